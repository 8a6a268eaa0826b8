//! A second opinion: `smtp-proto` reads the same lines. Where the two disagree, the difference is
//! listed below with the sentence that decides; any other is a failure.

use std::borrow::Cow;

use proptest::prelude::*;
use smtp_proto::{
    MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MAIL_REQUIRETLS, MAIL_RET_FULL, MAIL_RET_HDRS,
    MAIL_SMTPUTF8, RCPT_NOTIFY_DELAY, RCPT_NOTIFY_FAILURE, RCPT_NOTIFY_NEVER, RCPT_NOTIFY_SUCCESS,
    Request,
};

use super::*;
use crate::mail::{Notify, Return};

/// What a line means, as far as both can say it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Hello(&'static str, String),
    Mail { from: String, size: u64, flags: u64, envid: Option<String> },
    Rcpt { to: String, flags: u64, orcpt: Option<String> },
    Bdat(u64, bool),
    Word(&'static str),
    Nothing,
}

/// A difference that is known, and why ours is right.
struct Difference {
    /// The sentence that decides.
    why: &'static str,
    /// Whether it is this one.
    is: fn(&str, &Meaning, &Meaning) -> bool,
}

const KNOWN: &[Difference] = &[];

fn ours(line: &str) -> Meaning {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Ehlo(name)) => Meaning::Hello("EHLO", name.to_string()),
        Ok(Command::Helo(name)) => Meaning::Hello("HELO", name.to_string()),
        Ok(Command::Mail(mail)) => {
            let asked = &mail.asked;
            let bit = |bit: u64, set: bool| if set { bit } else { 0 };
            Meaning::Mail {
                from: mail.from.to_string(),
                size: mail.size.unwrap_or(0),
                flags: bit(MAIL_SMTPUTF8, asked.utf8)
                    | bit(MAIL_REQUIRETLS, asked.require_tls)
                    | bit(MAIL_RET_FULL, asked.ret == Some(Return::Full))
                    | bit(MAIL_RET_HDRS, asked.ret == Some(Return::Headers))
                    | bit(MAIL_BODY_7BIT, asked.body == Some(BodyKind::SevenBit))
                    | bit(MAIL_BODY_8BITMIME, asked.body == Some(BodyKind::EightBitMime)),
                envid: asked.envid.as_ref().map(|id| id.as_str().to_owned()),
            }
        }
        Ok(Command::Rcpt(to)) => {
            let (to, asked) = match to {
                Recipient::Postmaster(asked) => ("postmaster".to_owned(), asked),
                Recipient::Address { address, asked, .. } => (address.to_string(), asked),
            };
            let flags = match asked.notify {
                None => 0,
                Some(Notify::Never) => RCPT_NOTIFY_NEVER,
                Some(Notify::On { success, failure, delay }) => {
                    u64::from(success) * RCPT_NOTIFY_SUCCESS
                        | u64::from(failure) * RCPT_NOTIFY_FAILURE
                        | u64::from(delay) * RCPT_NOTIFY_DELAY
                }
            };
            Meaning::Rcpt { to, flags, orcpt: asked.orcpt.map(|orcpt| orcpt.to_string()) }
        }
        Ok(Command::Bdat(chunk)) => Meaning::Bdat(chunk.size, chunk.last),
        Ok(Command::Auth { .. }) => Meaning::Word("AUTH"),
        Ok(Command::Data) => Meaning::Word("DATA"),
        Ok(Command::StartTls) => Meaning::Word("STARTTLS"),
        Ok(Command::Rset) => Meaning::Word("RSET"),
        Ok(Command::Noop) => Meaning::Word("NOOP"),
        Ok(Command::Quit) => Meaning::Word("QUIT"),
        Ok(Command::Verify) => Meaning::Word("VRFY"),
        Ok(Command::Help) => Meaning::Word("HELP"),
        Err(_) => Meaning::Nothing,
    }
}

fn theirs(line: &str) -> Meaning {
    let wire = format!("{line}\r\n");
    let owned = |text: Cow<'_, str>| text.into_owned();
    match Request::parse(&mut wire.as_bytes().iter()) {
        Ok(Request::Ehlo { host }) => Meaning::Hello("EHLO", owned(host)),
        Ok(Request::Helo { host }) => Meaning::Hello("HELO", owned(host)),
        Ok(Request::Mail { from }) => Meaning::Mail {
            from: owned(from.address),
            size: from.size as u64,
            flags: from.flags,
            envid: from.env_id.map(owned),
        },
        Ok(Request::Rcpt { to }) => {
            Meaning::Rcpt { to: owned(to.address), flags: to.flags, orcpt: to.orcpt.map(owned) }
        }
        Ok(Request::Bdat { chunk_size, is_last }) => Meaning::Bdat(chunk_size as u64, is_last),
        Ok(Request::Auth { .. }) => Meaning::Word("AUTH"),
        Ok(Request::Data) => Meaning::Word("DATA"),
        Ok(Request::StartTls) => Meaning::Word("STARTTLS"),
        Ok(Request::Rset) => Meaning::Word("RSET"),
        Ok(Request::Noop { .. }) => Meaning::Word("NOOP"),
        Ok(Request::Quit) => Meaning::Word("QUIT"),
        Ok(Request::Vrfy { .. } | Request::Expn { .. }) => Meaning::Word("VRFY"),
        Ok(Request::Help { .. }) => Meaning::Word("HELP"),
        Ok(_) | Err(_) => Meaning::Nothing,
    }
}

/// Lines that are nearly sound: each part is mostly right.
fn line() -> impl Strategy<Value = String> {
    let part = |all: &'static [&'static str]| prop::sample::select(all);
    let path = part(&[
        "<alice@example.org>", "<>", "<a@b>", "<\"a b\"@example.org>", "<a.b+c@x.example.org>",
        "<postmaster>", "<@x,@y:a@b.org>", "<a@b@c>", "<a@[192.0.2.1]>", "<.a@b.org>",
        "<a..b@b.org>", "<a@b.org", "a@b.org", "<a@b..org>", "<a@-b.org>", "< a@b.org>",
        "<a@b.org.>", "<A@B.ORG>", "<a%b@c.org>", "<\"a\\\"b\"@c.org>", "<\"\"@c.org>", "<a>",
        "<a@>", "<@b.org>", "<a b@c.org>", "<käthe@b.org>",
    ]);
    let mail = part(&[
        "SIZE=1", "SIZE=12345678", "SIZE=", "SIZE=x", "SIZE", "SIZE=-1", "BODY=7BIT",
        "BODY=8BITMIME", "BODY=BINARYMIME", "BODY=", "BODY=x", "SMTPUTF8", "SMTPUTF8=1",
        "REQUIRETLS", "REQUIRETLS=1", "RET=FULL", "RET=HDRS", "RET=", "RET=x", "ENVID=abc",
        "ENVID=a+2Bb", "ENVID=a+2b", "ENVID=a=b", "ENVID=", "AUTH=<>", "AUTH=a", "size=5",
        "Body=8bitmime", "ret=hdrs", "FOO", "FOO=1",
    ]);
    let rcpt = part(&[
        "NOTIFY=NEVER", "NOTIFY=SUCCESS", "NOTIFY=FAILURE,DELAY", "NOTIFY=SUCCESS,FAILURE,DELAY",
        "NOTIFY=NEVER,DELAY", "NOTIFY=", "NOTIFY=x", "NOTIFY", "notify=delay",
        "NOTIFY=SUCCESS,SUCCESS", "ORCPT=rfc822;a@b.org", "ORCPT=rfc822;a+2Bb@b.org",
        "ORCPT=RFC822;x", "ORCPT=a@b", "ORCPT=", "ORCPT=x;y", "ORCPT=utf-8;a@b", "FOO=1",
    ]);
    let spaced = |parameters: Vec<&str>, space: &str| {
        parameters.iter().fold(String::new(), |text, word| text + space + word)
    };
    let space = || part(&[" ", " ", " ", "  "]);
    let from = (part(&["MAIL FROM:", "mail from:", "MAIL FROM: ", "MAIL  FROM:", "MAIL FROM", "MAIL"]),
        path.clone(), prop::collection::vec(mail, 0..4), space())
        .prop_map(move |(verb, path, all, space)| format!("{verb}{path}{}", spaced(all, space)));
    let to = (part(&["RCPT TO:", "Rcpt To:", "RCPT TO: ", "RCPT FROM:", "RCPT"]), path,
        prop::collection::vec(rcpt, 0..3), space())
        .prop_map(move |(verb, path, all, space)| format!("{verb}{path}{}", spaced(all, space)));
    let other = part(&[
        "EHLO x", "EHLO", "EHLO ", "EHLO mx.example.org", "EHLO [192.0.2.1]", "EHLO x y", "helo x",
        "HELO", "DATA", "data", "DATA x", "BDAT 5", "BDAT 5 LAST", "bdat 0 last", "BDAT",
        "BDAT x", "BDAT 5 x", "BDAT 5 LAST x", "BDAT -5", "BDAT 05", "RSET", "RSET x", "NOOP",
        "NOOP x", "QUIT", "QUIT x", "VRFY a", "VRFY", "EXPN a", "HELP", "HELP x", "STARTTLS",
        "STARTTLS x", "AUTH PLAIN", "AUTH PLAIN AGEAYg==", "AUTH LOGIN", "AUTH CRAM-MD5",
        "AUTH SCRAM-SHA-256", "AUTH scram-sha-256-plus", "AUTH", "FOO", "", " ", " NOOP", "LHLO x",
        "ETRN x", "GET / HTTP/1.1", "QUITX", "DATA ", "NOOP\tx", "RCPT TO:<a@b>\0",
    ]).prop_map(str::to_owned);
    prop_oneof![4 => from, 3 => to, 2 => other]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn two_readers_of_a_line_differ_only_where_an_rfc_decides(line in line()) {
        let (our, their) = (ours(&line), theirs(&line));
        if our != their {
            let known = KNOWN.iter().any(|known| (known.is)(&line, &our, &their));
            prop_assert!(known, "{line:?}\n ours   {our:?}\n theirs {their:?}");
        }
    }
}

#[test]
fn explore() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..30000 {
        let line = line().new_tree(&mut runner).unwrap().current();
        let (our, their) = (ours(&line), theirs(&line));
        if our != their && !KNOWN.iter().any(|known| (known.is)(&line, &our, &their)) {
            let length = line.len();
            seen.entry((length, line)).or_insert((our, their));
        }
    }
    for ((_, line), (our, their)) in seen.iter().take(90) {
        println!("{line:?}\n   ours   {our:?}\n   theirs {their:?}");
    }
    println!("{} in all; {}", seen.len(), KNOWN.first().map_or("", |k| k.why));
}
