//! ID (RFC 2971): who the client says it is, and who we are. What is said before the login is kept
//! until it is known whose device it is.

use super::command::Tag;
use super::session::{Effect, Session};
use super::view::Expunges;
use crate::accounts::Login;
use crate::mail::Domain;

use super::extensions::Off;

/// Longest description of a client, in characters.
const MAX_CLIENT: usize = 100;
/// What makes up the description of a client, in this order.
const TOLD: [&str; 4] = ["name", "version", "os", "os-version"];

/// Who is at the other end.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Said before the login.
    client: Option<String>,
    /// Where the account's domain is.
    pub(super) domain: Option<Domain>,
}

impl Session {
    pub(super) fn id(&mut self, tag: &Tag, fields: &[(String, Option<String>)]) {
        if let Some(client) = described(fields) {
            if self.is_guest() {
                self.identity.client = Some(client);
            } else {
                self.effect(Effect::Client(client));
            }
        }
        self.out.line(if self.is_guest() {
            // A stranger need not know for which release to look up weaknesses.
            "ID (\"name\" \"Pillarbox\")"
        } else {
            concat!("ID (\"name\" \"Pillarbox\" \"version\" \"", env!("CARGO_PKG_VERSION"), "\")")
        });
        self.finish(tag, "ID completed", Some(Expunges::Told));
    }

    /// A login was right: what holds for this account holds from now on.
    pub(super) fn known_as(&mut self, login: &Login) {
        self.off = Off::of(&login.without);
        self.identity.domain = Some(login.address.domain().clone());
        if let Some(client) = self.identity.client.take() {
            self.effect(Effect::Client(client));
        }
    }
}

/// A client in one line, such as `iPhone Mail 18.5 iOS`; nothing when it says nothing of itself.
fn described(fields: &[(String, Option<String>)]) -> Option<String> {
    let value = |wanted: &&str| {
        let found = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.and_then(|(_, value)| value.as_deref())
    };
    let words: Vec<&str> = TOLD.iter().filter_map(value).flat_map(str::split_whitespace).collect();
    let text = words.join(" ");
    let plain = text.chars().filter(|c| !c.is_control()).take(MAX_CLIENT);
    Some(plain.collect::<String>()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a missing description is the failed test")]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn a_client_is_described_in_one_line_of_bounded_length() {
        let fields =
            [field("OS", "iOS"), field("name", "iPhone\r\nMail"), field("version", "18.5")];
        assert_eq!(described(&fields).unwrap(), "iPhone Mail 18.5 iOS");
        assert_eq!(described(&[field("vendor", "x"), ("name".to_owned(), None)]), None);
        let long = described(&[field("name", &"ü".repeat(1000))]).unwrap();
        assert_eq!(long.chars().count(), MAX_CLIENT);
        assert_eq!(described(&[field("name", "a\u{1b}[31mb")]).unwrap(), "a[31mb");
    }
}
