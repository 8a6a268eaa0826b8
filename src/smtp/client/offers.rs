//! What a host says it can do.

use super::Reply;

/// Extensions of use to us.
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword, there or not")]
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) starttls: bool,
    pub(super) pipelining: bool,
    pub(super) eight_bit: bool,
    pub(super) utf8: bool,
    pub(super) dsn: bool,
    pub(super) require_tls: bool,
    /// `Some(0)` is no limit.
    pub(super) size: Option<u64>,
    pub(super) plain: bool,
    pub(super) login: bool,
}

impl Offers {
    /// Reads the reply to EHLO (RFC 5321 §4.1.1.1).
    pub(super) fn parse(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines().iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Some hosts write `AUTH=LOGIN`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next().unwrap_or_default() {
                "STARTTLS" => offers.starttls = true,
                "PIPELINING" => offers.pipelining = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.utf8 = true,
                "DSN" => offers.dsn = true,
                "REQUIRETLS" => offers.require_tls = true,
                "SIZE" => {
                    let limit = words.next().and_then(|n| n.parse().ok());
                    offers.size = Some(limit.unwrap_or(0));
                }
                "AUTH" => {
                    for word in words {
                        offers.plain |= word == "PLAIN";
                        offers.login |= word == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}
