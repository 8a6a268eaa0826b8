use super::*;
use crate::store::StoreError;

fn wire(reply: &Reply) -> String {
    let mut out = Vec::new();
    reply.write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Every reply of fixed words.
const FIXED: &[Reply] = &[
    READY_FOR_TLS,
    BYE,
    LOGGED_IN,
    OK,
    SENDER_OK,
    RECIPIENT_OK,
    GO_AHEAD,
    NOT_VERIFIED,
    HELP,
    TIMED_OUT,
    SHUTTING_DOWN,
    TOO_MANY_ERRORS,
    TOO_MANY_LOGINS,
    UNWELCOME,
    NOT_HTTP,
    TOO_MANY_RECIPIENTS,
    HELLO_FIRST,
    MAIL_FIRST,
    NESTED_MAIL,
    CHUNKS_UNDER_WAY,
    NO_RECIPIENTS,
    TLS_ALREADY,
    NO_LOGIN_HERE,
    LOGIN_ALREADY,
    LOGIN_IN_TRANSACTION,
    LOGIN_NEEDS_TLS,
    TLS_REQUIRED,
    LOGIN_REQUIRED,
    WRONG_LOGIN,
    LOGIN_TOO_LONG,
    TOO_BIG,
    BARE_LINE_END,
    LOOP,
    BACK_AGAIN,
    NO_FROM,
    BAD_FROM,
    NO_RELAY,
    NO_SUCH_USER,
    MAILBOX_FULL,
    NOT_YOUR_ADDRESS,
    LOGIN_UNAVAILABLE,
    FAILED,
];

/// Every reply that is made for the occasion or of an error.
fn made() -> Vec<Reply> {
    use CommandError::*;
    let address: Address = "bob@example.net".parse().unwrap();
    let commands = [
        Unknown,
        NotText,
        Http,
        HelloName,
        Argument,
        Parameter,
        UnknownParameter,
        Sender,
        Recipient,
        SourceRoute,
        Chunk,
        NeedsUtf8,
        Mechanism,
    ];
    let mut all: Vec<Reply> = commands.map(Reply::from).to_vec();
    all.extend([LineError::TooLong, LineError::Bare].map(Reply::from));
    let logins =
        [SaslError::Cancelled, SaslError::Base64, SaslError::Malformed, SaslError::OtherIdentity];
    all.extend(logins.map(Reply::from));
    let logins = [AuthError::Wrong, AuthError::Throttled(30), AuthError::Unavailable];
    all.extend(logins.iter().map(Reply::from));
    let stores = [
        StoreError::TooLarge,
        StoreError::Full,
        StoreError::OverQuota,
        StoreError::NoMailbox,
        StoreError::Closed,
    ];
    all.extend(stores.iter().map(Reply::from));
    let reason = "The domain example.net asks to refuse mail that it did not sign".to_owned();
    let accepts = [
        AcceptError::Relay(address.clone()),
        AcceptError::Alias(address.clone()),
        AcceptError::Unwanted { status: "5.7.26", reason },
    ];
    all.extend(accepts.iter().map(Reply::from));
    all.push(come_back(crate::policy::greylist::Grey::REPLY));
    let last: jiff::Timestamp = "2026-11-22T04:37:19Z".parse().unwrap();
    let entry = LedgerEntry {
        returned: 2,
        reported: 0,
        complaints: 0,
        since: last,
        last,
        kept_back_until: "2026-12-22T04:37:19Z".parse().ok(),
        words: "550 5.1.1 no such user; ".repeat(30),
    };
    all.push(kept_back(&address, &entry));
    all
}

/// `cargo test every_reply -- --nocapture` prints them.
#[test]
fn every_reply_has_a_status_and_words_that_a_person_understands() {
    let constants = include_str!("../reply.rs").matches("pub(crate) const ").count();
    assert_eq!(FIXED.len(), constants, "a reply is missing here");
    for reply in FIXED.iter().cloned().chain(made()) {
        let shown = wire(&reply);
        print!("{shown}");
        assert!(shown.is_ascii(), "{shown}");
        assert!(shown.split_inclusive("\r\n").all(|line| line.len() <= 512), "{shown}");
        if reply.code / 100 == 3 {
            continue;
        }
        // RFC 2034 §4: the same class, in each line.
        let mut numbers = reply.status.split('.');
        assert_eq!(numbers.next(), Some(&*(reply.code / 100).to_string()), "{shown}");
        assert!(
            numbers.clone().all(|n| n.parse::<u8>().is_ok()) && numbers.count() == 2,
            "{shown}"
        );
        let start = format!(" {} ", reply.status);
        assert!(shown.lines().all(|line| line[4..].starts_with(&start[1..])), "{shown}");
        if reply.code < 400 {
            continue;
        }
        assert!(reply.text.split_whitespace().count() >= 2, "{shown}");
        assert!(reply.text.starts_with(|c: char| c.is_uppercase()), "{shown}");
        let next = ["again", "later", "closing", "another", "come back"];
        let said = next.iter().any(|words| reply.text.contains(words));
        assert!(said || !reply.is_transient(), "what to do next? {shown}");
    }
}

#[test]
fn every_line_of_a_reply_carries_code_and_status() {
    assert_eq!(wire(&OK), "250 2.0.0 OK\r\n");
    assert_eq!(wire(&Reply::worded(250, "", "a\nb")), "250-a\r\n250 b\r\n");
    let help = wire(&HELP);
    assert!(help.starts_with("214-2.0.0 EHLO") && help.contains("\r\n214 2.0.0 Mail"));
}

#[test]
fn a_long_reply_goes_on_in_the_next_line() {
    let words = wire(&Reply::worded(550, "5.1.1", &"word ".repeat(200)));
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines.len(), 3, "{words}");
    assert!(lines[0].starts_with("550-5.1.1 word ") && lines[0].ends_with(" word"), "{words}");
    assert!(lines[2].starts_with("550 5.1.1 word "), "{words}");
    assert_eq!(words.matches("word").count(), 200);
    let block = wire(&Reply::worded(550, "5.1.1", &"x".repeat(1000)));
    assert_eq!(block.matches('x').count(), 1000);
    assert!(block.lines().all(|line| line.len() <= 510));
    assert_eq!(wire(&Reply::worded(550, "5.1.1", "")), "550 5.1.1 \r\n");
    let challenge = wire(&Reply::worded(334, "", &"x".repeat(1000)));
    assert_eq!(challenge.lines().count(), 1);
}

#[test]
fn a_reply_cannot_be_made_to_hold_another() {
    assert_eq!(wire(&Reply::worded(550, "5.1.1", "a\r\0b")), "550 5.1.1 ab\r\n");
    assert_eq!(wire(&Reply::worded(550, "5.1.1", "k\u{e4}the")), "550 5.1.1 k?the\r\n");
}

#[test]
fn a_full_card_is_temporary_and_other_failures_tell_strangers_nothing() {
    assert_eq!(Reply::from(&AcceptError::Store(StoreError::Full)).code(), 452);
    let error = StoreError::Index("secret".into());
    assert_eq!(wire(&Reply::from(&error)), wire(&FAILED));
    assert_eq!(Reply::from(&AuthError::Throttled(30)).code(), 454);
}
