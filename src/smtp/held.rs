//! What people are told when an account has sent more than it may in a day: what is kept back, why
//! that is so, and what to do, the same words for the account and for the owner.

use jiff::Timestamp;

use crate::mail::headers::date;
use crate::mail::{Address, Domain};
use crate::policy::allowance::{Limit, Over};

/// A notice about one account.
#[derive(Debug)]
pub(super) struct Notice<'a> {
    /// Who sent so much.
    pub(super) account: &'a Address,
    /// Who can let it go.
    pub(super) owner: &'a Address,
    /// Whom the first message that is held is for.
    pub(super) first: &'a [Address],
    pub(super) over: Over,
    /// The box.
    pub(super) hostname: &'a Domain,
    /// Who is told; more than one sees the other, they live in one house.
    pub(super) to: &'a [Address],
    /// Makes the Message-ID unique.
    pub(super) id: &'a str,
}

impl Notice<'_> {
    /// The whole message.
    pub(super) fn compose(&self, at: Timestamp) -> String {
        let Self { account, owner, first, over, hostname, to, id } = self;
        let to: Vec<String> = to.iter().map(|to| format!("<{to}>")).collect();
        let what = match over.what {
            Limit::Messages => format!("more than {} messages", over.allowed),
            Limit::NewRecipients => {
                format!("to more than {} people it never wrote to before", over.allowed)
            }
        };
        let (knob, most) = match over.what {
            Limit::Messages => ("messages_per_day", "messages"),
            Limit::NewRecipients => ("new_recipients_per_day", "new people"),
        };
        let others = match first.len() {
            0 | 1 => String::new(),
            more => format!(" and {} others", more - 1),
        };
        let first = first.first().map(|to| format!(" The first is to {to}{others}."));
        let first = first.unwrap_or_default();
        let text = format!(
            "Within a day, {account} has sent {what}.\n\
             Nothing is lost: what is over that is kept in the queue of this post office, and so\n\
             is what {account} sends next, until the day has passed.{first}\n\n\
             Why this matters: a stolen password is used to send thousands of messages. Other\n\
             post offices would soon refuse everybody's mail from here.\n\n\
             What to do: what is kept does not go by itself. The owner, {owner}, sees it\n\
             on the box with \"pillarbox queue list\".\n\
             - If {account} wrote it: \"pillarbox queue release\" and the number of a message\n\
             lets it go. Who writes so much every day gets more than {} {most} a day with\n\
             {knob} under [limits] in the configuration.\n\
             - If not, somebody else knows the password: change it now, with\n\
             \"pillarbox account passwd {account}\", and remove each message with\n\
             \"pillarbox queue drop\" and its number.\n",
            over.allowed,
        );
        format!(
            "Date: {}\r\nFrom: Pillarbox <postmaster@{hostname}>\r\nTo: {}\r\n\
             Subject: Mail of {account} is being held\r\nMessage-ID: <{id}.held@{hostname}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}",
            date(at),
            to.join(",\r\n "),
            text.replace('\n', "\r\n"),
        )
    }
}
