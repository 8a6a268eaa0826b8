//! `pillarbox account quota`: how much an account may hold.

use clap::Args;

use crate::control::{AccountCommand, QuotaChange};
use crate::mail::Address;
use crate::store::Quota;

#[derive(Debug, Args)]
pub(super) struct QuotaArgs {
    /// The account
    address: Address,
    /// Most bytes its mailboxes may hold; K, M, G and T stand for thousands, millions and so on
    #[arg(long, value_name = "SIZE", value_parser = size)]
    storage: Option<u64>,
    /// Most messages its mailboxes may hold
    #[arg(long, value_name = "COUNT")]
    messages: Option<u64>,
    /// Take every limit away
    #[arg(long, conflicts_with_all = ["storage", "messages"])]
    none: bool,
}

pub(super) const EXAMPLE: &str = "Without options it shows what is set. What is stored already \
    stays; mail for a full account is turned away for now, and its sender tries again.\n\n\
    Example:\n  pillarbox account quota bob@example.org --storage 5G --messages 100000";

impl From<QuotaArgs> for AccountCommand {
    fn from(args: QuotaArgs) -> Self {
        let QuotaArgs { address, storage: bytes, messages, none } = args;
        let change =
            if none { QuotaChange::Remove } else { QuotaChange::Set(Quota { bytes, messages }) };
        Self::Quota { address, change }
    }
}

/// A size as people write it: `5G`, `500 MB`, `1000`.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size: write it like 500M or 5G");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let unit = unit.trim_start().to_ascii_uppercase();
    let times = match unit.strip_suffix('B').unwrap_or(&unit) {
        "" => 1,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(times));
    number.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1000", 1_000),
            ("5G", 5_000_000_000),
            ("5gb", 5_000_000_000),
            ("500 MB", 500_000_000),
            ("3k", 3_000),
            ("0", 0),
            ("7B", 7),
            ("2T", 2_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "5 GiB", "-1", "1.5G", "5GG", "99999999T", "5 G x", "ü"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
