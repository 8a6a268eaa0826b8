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
        let Self { account, over, hostname, to, id } = self;
        let to: Vec<String> = to.iter().map(|to| format!("<{to}>")).collect();
        let what = match over.what {
            Limit::Messages => format!("more than {} messages", over.allowed),
            Limit::NewRecipients => {
                format!("to more than {} people it never wrote to before", over.allowed)
            }
        };
        let text = format!(
            "Within a day, {account} has sent {what}.\n\
             Nothing is lost: what is over that is kept in the queue of this post office,\n\
             and so is what {account} sends next, until the day has passed.\n\n\
             Why this matters: a stolen password is used to send thousands of messages. Other\n\
             post offices would soon refuse everybody's mail from here.\n\n\
             What to do: if the messages are yours, look at them with \"pillarbox queue list\" and\n\
             let them go with \"pillarbox queue release\". If they are not, change the password of\n\
             {account} now, and remove the messages with \"pillarbox queue drop\". The limits\n\
             stand under [limits] in the configuration.\n"
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
