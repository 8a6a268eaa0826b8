use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Result<Command, CommandError> {
    Command::parse(line.as_bytes())
}

fn mail(line: &str) -> MailFrom {
    match parse(line).unwrap() {
        Command::Mail(mail) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn what_phones_send_is_understood() {
    let sent = mail("mail FROM:<alice@example.org> BODY=8BITMIME SIZE=1234 SMTPUTF8");
    assert_eq!((sent.size, sent.asked.utf8), (Some(1234), true));
    assert_eq!(sent.asked.body, Some(BodyKind::EightBitMime));
    assert_eq!(mail("MAIL FROM: <a@b>  ").from.to_string(), "a@b");
    assert_eq!(mail("MAIL FROM:<>").from, ReversePath::Null);
    assert!(mail("MAIL FROM:<a@b> AUTH=<>").author);
    assert_eq!(mail("MAIL FROM:<\"a> b\"@c> SIZE=0").from.to_string(), "\"a> b\"@c");
    assert_eq!(mail("MAIL FROM:<a@b> SIZE=99999999999999999999").size, Some(u64::MAX));
    let postmaster = Recipient::Postmaster(RecipientRequests::default());
    assert_eq!(parse("rcpt to:<PostMaster>"), Ok(Command::Rcpt(postmaster)));
    assert_eq!(parse("BDAT 12"), Ok(Command::Bdat(Chunk { size: 12, last: false })));
    assert_eq!(parse("bdat 0  last"), Ok(Command::Bdat(Chunk { size: 0, last: true })));
    assert_eq!(parse("NOOP whatever"), Ok(Command::Noop));
    assert_eq!(parse("quit "), Ok(Command::Quit));
}

#[test]
fn what_two_servers_could_read_differently_is_refused() {
    for (line, why) in [
        ("MAIL FROM:a@b", CommandError::Argument),
        ("MAIL FROM <a@b>", CommandError::Argument),
        ("MAIL FROM:<a@b>SIZE=1", CommandError::Argument),
        ("MAIL FROM:<a@b", CommandError::Argument),
        ("MAIL FROM:<a@b><c@d>", CommandError::Argument),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=2", CommandError::Parameter),
        ("MAIL FROM:<a@b> SIZE=-1", CommandError::Parameter),
        ("MAIL FROM:<a@b> SIZE=", CommandError::Parameter),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", CommandError::Parameter),
        ("MAIL FROM:<a@b> SMTPUTF8=1", CommandError::Parameter),
        ("MAIL FROM:<a@b> SMTPUTF8=", CommandError::Parameter),
        ("MAIL FROM:<a@b> RET=BODY", CommandError::Parameter),
        ("MAIL FROM:<a@b> RET", CommandError::Parameter),
        ("MAIL FROM:<a@b> ENVID=a ENVID=b", CommandError::Parameter),
        ("MAIL FROM:<a@b> BY=120;R", CommandError::UnknownParameter),
        ("MAIL FROM:<a@b> ENVID=ä", CommandError::Parameter),
        ("MAIL FROM:<a>", CommandError::Sender),
        ("MAIL FROM:<ä@b>", CommandError::NeedsUtf8),
        ("RCPT TO:<>", CommandError::Recipient),
        ("RCPT TO:<a@[127.0.0.1]>", CommandError::Recipient),
        ("RCPT TO:<@x,@y:a@b>", CommandError::SourceRoute),
        ("RCPT TO:<a@b> NOTIFY=", CommandError::Parameter),
        ("RCPT TO:<a@b> ORCPT=a@b", CommandError::Parameter),
        ("RCPT TO:<a@b> SIZE=1", CommandError::UnknownParameter),
        ("BDAT", CommandError::Chunk),
        ("BDAT 1 FIRST", CommandError::Chunk),
        ("BDAT -1 LAST", CommandError::Chunk),
        ("BDAT 0x10", CommandError::Chunk),
        ("BDAT 1LAST", CommandError::Chunk),
        ("EHLO", CommandError::HelloName),
        ("EHLO a b", CommandError::HelloName),
        ("DATA now", CommandError::Argument),
        ("AUTH CRAM-MD5", CommandError::Mechanism),
        ("NOOP \0", CommandError::NotText),
        ("GET / HTTP/1.1", CommandError::Http),
        ("", CommandError::Unknown),
    ] {
        assert_eq!(parse(line), Err(why), "{line}");
    }
    assert_eq!(Command::parse(b"EHLO \xff"), Err(CommandError::NotText));
}

#[test]
fn a_name_cannot_break_the_trace_field() {
    let Ok(Command::Ehlo(name)) = parse("EHLO evil(by)<x>;käthe") else { panic!() };
    assert_eq!(name.to_string(), "evil?by??x??k?the");
}

#[test]
fn routes_hidden_in_a_local_part_are_seen() {
    let routed = |text: &str| is_routed(text.parse::<Address>().unwrap().local());
    assert!(routed("a%b@c") && routed("a!b@c") && routed("\"a@b\"@c"));
    assert!(!routed("a+b.c@d"));
}

proptest! {
    #[test]
    fn no_line_makes_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Command::parse(&line);
    }

    #[test]
    fn no_path_makes_the_parser_panic(line in "(MAIL FROM|RCPT TO):[<>\"\\\\@ =äS]{0,20}") {
        let _ = parse(&line);
    }
}
