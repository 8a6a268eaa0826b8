//! A second opinion: `smtp-proto` reads the same lines. Where the two disagree, the difference is
//! listed below with the sentence that decides; any other is a failure.

use std::borrow::Cow;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
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
    /// Whether this line has what it is about, in capitals.
    is: fn(&str) -> bool,
    /// It is we who take the line.
    lenient: bool,
}

impl Difference {
    const fn strict(why: &'static str, is: fn(&str) -> bool) -> Self {
        Self { why, is, lenient: false }
    }

    const fn lenient(why: &'static str, is: fn(&str) -> bool) -> Self {
        Self { why, is, lenient: true }
    }
}

const KNOWN: &[Difference] = &[
    Difference::strict(
        "RFC 5321 §4.1.1: RSET, DATA and QUIT permit no parameters, and servers SHOULD reject \
         commands containing them; RFC 3207 §4: STARTTLS has none",
        |line| line.ends_with(" X") && starts(line, &["DATA", "QUIT", "RSET", "STARTTLS"]),
    ),
    Difference::strict(
        "RFC 5321 §4.1.1.1: ehlo = \"EHLO\" SP ( Domain / address-literal ) CRLF",
        |line| line == "EHLO X Y",
    ),
    Difference::strict(
        "RFC 5321 §2.4: a command begins with its verb; §4.1.1.9 and §2.3.8: no control characters",
        |line| line.starts_with(' ') || line.contains(char::is_control),
    ),
    Difference::strict(
        "RFC 3030 §2: bdat-cmd ::= \"BDAT\" SP chunk-size [ SP end-marker ] CR LF",
        |line| line == "BDAT 5 LAST X",
    ),
    Difference::strict(
        "RFC 4954 §4: a mechanism that the server does not support is answered with 504",
        |line| line == "AUTH CRAM-MD5",
    ),
    Difference::strict(
        "RFC 5321 §4.1.1.3: rcpt = \"RCPT TO:\" ( \"<Postmaster@\" Domain \">\" / \"<Postmaster>\" / \
         Forward-path ): nobody is no recipient",
        |line| line.starts_with("RCPT") && line.contains("<>"),
    ),
    Difference::strict(
        "RFC 5321 §4.1.2: Reverse-path = Path / \"<>\", and a Path has a Mailbox with its domain",
        |line| line.starts_with("MAIL") && line.contains("<POSTMASTER>"),
    ),
    Difference::strict(
        "RFC 5321 §4.1.2: Mailbox = Local-part \"@\" ( Domain / address-literal ); Domain = \
         sub-domain *(\".\" sub-domain); sub-domain = Let-dig [Ldh-str]",
        |line| ["@>", "@-B", "B..ORG", "<A B@"].iter().any(|wrong| line.contains(wrong)),
    ),
    Difference::strict(
        "RFC 5321 §4.1.2: Path = \"<\" [ A-d-l \":\" ] Mailbox \">\": no space inside",
        |line| line.contains("< "),
    ),
    Difference::strict(
        "RFC 5321 §3.6.1: servers MAY decline to accept addresses that specify source routes",
        |line| line.contains("<@"),
    ),
    Difference::strict(
        "RFC 6531 §3.4: only after SMTPUTF8 in MAIL may an address have characters beyond ASCII \
         (of RCPT the session decides)",
        |line| line.starts_with("MAIL") && !line.is_ascii(),
    ),
    Difference::strict("RFC 3461 §4.5: each parameter at most once", |line| {
        let words = || line.split(' ').skip(2).map(|word| word.split('=').next());
        words().enumerate().any(|(at, word)| words().skip(at + 1).any(|other| other == word))
    }),
    Difference::strict(
        "RFC 3461 §4: hexchar = \"+\" and two upper case hexadecimal digits; xchar is none of \
         \"+\" and \"=\"",
        |line| ["ENVID=Q+2B", "ENVID=A=B"].iter().any(|wrong| line.contains(wrong)),
    ),
    Difference::strict(
        "RFC 3461 §4.1: notify-esmtp-value = \"NEVER\" / 1#notify-list-element",
        |line| line.contains("NOTIFY=NEVER,"),
    ),
    Difference::strict(
        "RFC 3030 §3: BINARYMIME is for servers that announce it; this one does not",
        |line| line.contains("BODY=BINARYMIME"),
    ),
    Difference::lenient(
        "RFC 5321 §7.3: VRFY may be answered 252 to everything, so what is asked does not matter",
        |line| line == "VRFY",
    ),
    Difference::lenient(
        "RFC 3461 §4.2: original-recipient-address = addr-type \";\" xtext; addr-type = atom",
        |line| line.contains("ORCPT=X;Y") || line.contains("ORCPT=UTF-8;"),
    ),
];

fn ours(line: &str) -> Meaning {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Ehlo(name)) => Meaning::Hello("EHLO", name.to_string()),
        Ok(Command::Helo(name)) => Meaning::Hello("HELO", name.to_string()),
        Ok(Command::Mail(mail)) => {
            let asked = &mail.asked;
            Meaning::Mail {
                from: mail.from.address().map(plain).unwrap_or_default(),
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
                // As they write it.
                Recipient::Postmaster(asked) => (String::new(), asked),
                Recipient::Address { address, asked, .. } => (plain(&address), asked),
            };
            let flags = match asked.notify {
                None => 0,
                Some(Notify::Never) => RCPT_NOTIFY_NEVER,
                Some(Notify::On { success, failure, delay }) => {
                    bit(RCPT_NOTIFY_SUCCESS, success)
                        | bit(RCPT_NOTIFY_FAILURE, failure)
                        | bit(RCPT_NOTIFY_DELAY, delay)
                }
            };
            Meaning::Rcpt { to, flags, orcpt: asked.orcpt.map(|orcpt| orcpt.address().to_owned()) }
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

fn bit(bit: u64, set: bool) -> u64 {
    if set { bit } else { 0 }
}

/// An address without its quotes.
fn plain(address: &Address) -> String {
    format!("{}@{}", address.local().as_str(), address.domain())
}

/// The same of theirs: domains have one form only with us.
fn plainly(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
            format!("{local}@{domain}")
        }
        None => address.to_owned(),
    }
}

fn starts(line: &str, verbs: &[&str]) -> bool {
    verbs.iter().any(|verb| line.starts_with(verb))
}

fn theirs(line: &str) -> Meaning {
    let wire = format!("{line}\r\n");
    let owned = |text: Cow<'_, str>| text.into_owned();
    match Request::parse(&mut wire.as_bytes().iter()) {
        Ok(Request::Ehlo { host }) => Meaning::Hello("EHLO", owned(host)),
        Ok(Request::Helo { host }) => Meaning::Hello("HELO", owned(host)),
        Ok(Request::Mail { from }) => Meaning::Mail {
            from: plainly(&from.address),
            size: from.size as u64,
            flags: from.flags,
            envid: from.env_id.map(owned),
        },
        Ok(Request::Rcpt { to }) => {
            Meaning::Rcpt { to: plainly(&to.address), flags: to.flags, orcpt: to.orcpt.map(owned) }
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
        "<alice@example.org>",
        "<>",
        "<a@b>",
        "<\"a b\"@example.org>",
        "<a.b+c@x.example.org>",
        "<postmaster>",
        "<@x,@y:a@b.org>",
        "<a@b@c>",
        "<a@[192.0.2.1]>",
        "<.a@b.org>",
        "<a..b@b.org>",
        "<a@b.org",
        "a@b.org",
        "<a@b..org>",
        "<a@-b.org>",
        "< a@b.org>",
        "<a@b.org.>",
        "<A@B.ORG>",
        "<a%b@c.org>",
        "<\"a\\\"b\"@c.org>",
        "<\"\"@c.org>",
        "<a>",
        "<a@>",
        "<@b.org>",
        "<a b@c.org>",
        "<käthe@b.org>",
    ]);
    let mail = part(&[
        "SIZE=1",
        "SIZE=12345678",
        "SIZE=",
        "SIZE=x",
        "SIZE",
        "SIZE=-1",
        "BODY=7BIT",
        "BODY=8BITMIME",
        "BODY=BINARYMIME",
        "BODY=",
        "BODY=x",
        "SMTPUTF8",
        "SMTPUTF8=1",
        "REQUIRETLS",
        "REQUIRETLS=1",
        "RET=FULL",
        "RET=HDRS",
        "RET=",
        "RET=x",
        "ENVID=abc",
        "ENVID=a+2Bb",
        "ENVID=q+2b",
        "ENVID=a=b",
        "ENVID=",
        "AUTH=<>",
        "AUTH=a",
        "size=5",
        "Body=8bitmime",
        "ret=hdrs",
        "FOO",
        "FOO=1",
    ]);
    let rcpt = part(&[
        "NOTIFY=NEVER",
        "NOTIFY=SUCCESS",
        "NOTIFY=FAILURE,DELAY",
        "NOTIFY=SUCCESS,FAILURE,DELAY",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=",
        "NOTIFY=x",
        "NOTIFY",
        "notify=delay",
        "NOTIFY=SUCCESS,SUCCESS",
        "ORCPT=rfc822;a@b.org",
        "ORCPT=rfc822;a+2Bb@b.org",
        "ORCPT=RFC822;x",
        "ORCPT=a@b",
        "ORCPT=",
        "ORCPT=x;y",
        "ORCPT=utf-8;a@b",
        "FOO=1",
    ]);
    let spaced = |parameters: Vec<&str>, space: &str| {
        parameters.iter().fold(String::new(), |text, word| text + space + word)
    };
    let space = || part(&[" ", " ", " ", "  "]);
    let from = (
        part(&["MAIL FROM:", "mail from:", "MAIL FROM: ", "MAIL  FROM:", "MAIL FROM", "MAIL"]),
        path.clone(),
        prop::collection::vec(mail, 0..4),
        space(),
    )
        .prop_map(move |(verb, path, all, space)| format!("{verb}{path}{}", spaced(all, space)));
    let to = (
        part(&["RCPT TO:", "Rcpt To:", "RCPT TO: ", "RCPT FROM:", "RCPT"]),
        path,
        prop::collection::vec(rcpt, 0..3),
        space(),
    )
        .prop_map(move |(verb, path, all, space)| format!("{verb}{path}{}", spaced(all, space)));
    let other = part(&[
        "EHLO x",
        "EHLO",
        "EHLO ",
        "EHLO mx.example.org",
        "EHLO [192.0.2.1]",
        "EHLO x y",
        "helo x",
        "HELO",
        "DATA",
        "data",
        "DATA x",
        "BDAT 5",
        "BDAT 5 LAST",
        "bdat 0 last",
        "BDAT",
        "BDAT x",
        "BDAT 5 x",
        "BDAT 5 LAST x",
        "BDAT -5",
        "BDAT 05",
        "RSET",
        "RSET x",
        "NOOP",
        "NOOP x",
        "QUIT",
        "QUIT x",
        "VRFY a",
        "VRFY",
        "EXPN a",
        "HELP",
        "HELP x",
        "STARTTLS",
        "STARTTLS x",
        "AUTH PLAIN",
        "AUTH PLAIN AGEAYg==",
        "AUTH LOGIN",
        "AUTH CRAM-MD5",
        "AUTH SCRAM-SHA-256",
        "AUTH scram-sha-256-plus",
        "AUTH",
        "FOO",
        "",
        " ",
        " NOOP",
        "LHLO x",
        "ETRN x",
        "GET / HTTP/1.1",
        "QUITX",
        "DATA ",
        "NOOP\tx",
        "RCPT TO:<a@b>\0",
    ])
    .prop_map(str::to_owned);
    prop_oneof![4 => from, 3 => to, 2 => other]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn two_readers_of_a_line_differ_only_where_an_rfc_decides(line in line()) {
        let (our, their) = (ours(&line), theirs(&line));
        if our != their {
            let line = line.to_ascii_uppercase();
            let one_takes_it = |lenient: bool| {
                if lenient { their == Meaning::Nothing } else { our == Meaning::Nothing }
            };
            let known = KNOWN.iter().find(|known| one_takes_it(known.lenient) && (known.is)(&line));
            prop_assert!(known.is_some(), "{line:?}\n ours   {our:?}\n theirs {their:?}");
        }
    }
}

#[test]
fn every_difference_that_is_listed_is_one() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = vec![false; KNOWN.len()];
    for _ in 0..30_000 {
        let line = line().new_tree(&mut runner).unwrap().current();
        let (our, their) = (ours(&line), theirs(&line));
        let line = line.to_ascii_uppercase();
        for (met, known) in met.iter_mut().zip(KNOWN) {
            *met |= our != their && (known.is)(&line);
        }
    }
    let idle: Vec<_> = KNOWN.iter().zip(met).filter(|(_, met)| !met).map(|it| it.0.why).collect();
    assert_eq!(idle, [""; 0], "these explain nothing");
}
