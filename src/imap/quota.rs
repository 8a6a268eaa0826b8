//! QUOTA (RFC 9208, which keeps the shape of RFC 2087): how much the account may hold, and holds.
//! All of an account's mailboxes share one quota root; an account without limits has none. Only the
//! owner of the box sets quotas.

use super::command::{Asked, Tag};
use super::respond::Output;
use super::session::Session;
use super::view::Expunges;
use crate::store::{AccountId, Quota, Usage};

/// The name of the one root, as in the examples of RFC 9208 §4.2.
const ROOT: &str = "";
/// STORAGE counts in these (RFC 9208 §5.1).
const UNIT: u64 = 1024;

impl Session {
    pub(super) fn quota(&mut self, tag: Tag, account: AccountId, asked: Asked) {
        if asked == Asked::Set {
            // RFC 9208 §4.1.3: not announced (QUOTASET), and not a client's business.
            return self.no(&tag, "[NOPERM] Quotas are set on the box, by its owner");
        }
        self.ask_quota(account, move |session, answer| {
            let (quota, usage) = match answer {
                Ok(found) => found,
                Err(error) => return session.failed(&tag, &error),
            };
            match asked {
                Asked::Root(root) if root != ROOT || quota == Quota::NONE => {
                    return session.no(&tag, "[NONEXISTENT] There is no such quota root");
                }
                Asked::Root(_) | Asked::Set => {}
                // The mailbox need not exist (RFC 9208 §4.1.2).
                Asked::Mailbox(name) => {
                    session.out.raw("* QUOTAROOT ").mailbox(name.as_str());
                    session.out.raw(if quota == Quota::NONE { "\r\n" } else { " \"\"\r\n" });
                }
            }
            if quota != Quota::NONE {
                session.out.quota(quota, usage);
            }
            session.finish(&tag, "Quota told", Some(Expunges::Told));
        });
    }
}

impl Output {
    /// Each limit as resource, usage and limit: Thunderbird reads no other shape.
    fn quota(&mut self, quota: Quota, usage: Usage) {
        let storage = quota.bytes.map(|most| ("STORAGE", usage.bytes.div_ceil(UNIT), most / UNIT));
        let message = quota.messages.map(|most| ("MESSAGE", usage.messages, most));
        self.raw("* QUOTA ").string(ROOT.as_bytes()).raw(" (");
        for (i, (name, used, most)) in storage.into_iter().chain(message).enumerate() {
            self.raw(if i == 0 { "" } else { " " }).raw(name);
            self.raw(" ").number(used).raw(" ").number(most);
        }
        self.raw(")\r\n");
    }
}
