//! Ways in for the fuzz targets of `tests/fuzz`: each takes any bytes and must come back, whatever
//! they are, and what it says of them must hold.

use std::time::Instant;

use super::command::{Command, Recipient};
use super::data::{ChunkReader, DataReader};
use super::{Answer, Effect, Question, Role, Session, SessionSettings, Timeouts, reply};
use crate::accounts::sasl::Exchange;
use crate::mail::ReversePath;
use crate::mail::headers::{HeaderScan, Origin};
use crate::net::{LineBuffer, LineError};

/// Lines out of bytes that come in pieces of any size.
pub fn line(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let (mut buffer, mut whole) = (LineBuffer::default(), LineBuffer::default());
    whole.feed(bytes);
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        buffer.feed(piece);
        drain(&mut buffer, &mut lines);
        assert!(buffer.pending() <= LIMIT + 2, "more is kept than a line");
    }
    drain(&mut whole, &mut expected);
    assert_eq!(lines, expected, "pieces of another size give other lines");
}

const LIMIT: usize = 50;

fn drain(buffer: &mut LineBuffer, lines: &mut Vec<Result<Vec<u8>, LineError>>) {
    while let Some(line) = buffer.next_line(LIMIT).transpose() {
        let line = line.map(|line| line.0.to_vec());
        if let Ok(line) = &line {
            assert!(line.len() <= LIMIT && !line.contains(&b'\r') && !line.contains(&b'\n'));
        }
        lines.push(line);
    }
}

/// One command; what was understood can be written and is understood again.
pub fn command(bytes: &[u8]) {
    match Command::parse(bytes) {
        Ok(Command::Mail(mail)) => {
            let again = mail.from.to_string().parse::<ReversePath>();
            assert_eq!(again.as_ref(), Ok(&mail.from));
        }
        Ok(Command::Rcpt(Recipient::Address { address, asked, .. })) => {
            assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
            if let Some(orcpt) = asked.orcpt {
                assert_eq!(orcpt.xtext().parse().as_ref(), Ok(&orcpt));
            }
        }
        _ => {}
    }
}

/// A message by DATA and by BDAT, in pieces of any size.
pub fn data(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let mut whole = Vec::new();
    let mut reader = DataReader::new();
    let end = reader.read(bytes, &mut whole);
    let (mut pieces, mut used) = (Vec::new(), 0);
    let mut second = DataReader::new();
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        let progress = second.read(piece, &mut pieces);
        used += progress.used;
        if progress.ended {
            break;
        }
    }
    assert_eq!((used, second.has_bare_line_end()), (end.used, reader.has_bare_line_end()));
    assert_eq!(pieces, whole);
    if !reader.has_bare_line_end() && end.ended {
        let wire = bytes.get(..end.used).unwrap_or_default();
        assert!(wire == b".\r\n" || wire.ends_with(b"\r\n.\r\n"), "another end than CRLF.CRLF");
        let first = wire.windows(5).position(|five| five == b"\r\n.\r\n");
        assert!(first.is_none_or(|at| at + 5 == wire.len()), "an end was passed over");
        assert!(is_sound(&whole));
    }

    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let (mut reader, mut second) = (ChunkReader::new(), ChunkReader::new());
    reader.read(bytes, &mut whole);
    reader.finish(&mut whole);
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        second.read(piece, &mut pieces);
    }
    second.finish(&mut pieces);
    assert_eq!((&pieces, second.size()), (&whole, reader.size()));
    assert_eq!(reader.has_bare_line_end(), second.has_bare_line_end());
    if !reader.has_bare_line_end() {
        assert!(is_sound(&whole) && whole.starts_with(bytes));
    }
}

/// Whether every line end is CRLF, the last one included.
fn is_sound(text: &[u8]) -> bool {
    let bare = |at: usize, byte: u8| match byte {
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        b'\n' => at.checked_sub(1).and_then(|at| text.get(at)) != Some(&b'\r'),
        _ => false,
    };
    !text.iter().enumerate().any(|(at, byte)| bare(at, *byte))
        && (text.is_empty() || text.ends_with(b"\r\n"))
}

/// The header of a message, in pieces of any size.
pub fn header(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let Ok(ours) = "mail.example.org".parse() else { return };
    for origin in [Origin::Stranger, Origin::Account] {
        let mut whole = Vec::new();
        let mut scan = HeaderScan::new(origin, Clone::clone(&ours));
        scan.pass(bytes, &mut whole);
        let facts = scan.finish(&mut whole);
        let mut pieces = Vec::new();
        let mut second = HeaderScan::new(origin, Clone::clone(&ours));
        for piece in bytes.chunks(usize::from(*step).max(1)) {
            second.pass(piece, &mut pieces);
        }
        assert_eq!((second.finish(&mut pieces), &pieces), (facts, &whole));
        assert_eq!(scan.authors(), second.authors());
        assert!(whole.len() <= bytes.len(), "something was put in");
    }
}

/// A whole session: never without end, never more memory than a line, every reply a reply.
pub fn session(bytes: &[u8]) {
    let [choice, step, bytes @ ..] = bytes else { return };
    let role = match choice % 3 {
        0 => Role::Mx,
        1 => Role::Submission,
        _ => Role::Submissions,
    };
    let (Ok(hostname), Ok(postmaster)) = ("mail.example.org".parse(), "a@example.org".parse())
    else {
        return;
    };
    let now = Instant::now();
    let settings = SessionSettings {
        role,
        hostname,
        postmaster,
        peer: std::net::IpAddr::from([192, 0, 2, 1]),
        channel: (role == Role::Submissions).then(channel),
        number: 1,
        message_size: 1000,
        timeouts: Timeouts::default(),
    };
    let mut session = Session::new(settings, now);
    let mut messages = 0;
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        session.receive(piece);
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 10_000, "the session does not come to an end");
            match session.poll(now) {
                Effect::Read { .. } => break,
                Effect::Close => return,
                Effect::StartTls => session.tls_started(channel(), now),
                Effect::Ask(question) => session.answer(verdict(&question), now),
                Effect::Accept(handover) => {
                    assert!(!handover.envelope.to.is_empty());
                    messages += 1;
                    session.answer(Ok(()), now);
                }
                Effect::Reply(reply) => {
                    let mut wire = Vec::new();
                    reply.write(&mut wire);
                    assert!(is_sound(&wire) && (200..=559).contains(&reply.code()));
                }
                Effect::Body(body) => assert!(!body.is_empty() && body.len() <= bytes.len() + 2),
                Effect::BeginBody | Effect::DropBody | Effect::Misstep => {}
            }
        }
        assert!(session.pending() <= Exchange::LINE_MAX + 2, "more is kept than a line");
    }
    assert!(messages <= bytes.len() / 20);
}

fn verdict(question: &Question) -> Result<Answer, reply::Reply> {
    match question {
        Question::Login(login) if login.login != "a@example.org" => Err(reply::WRONG_LOGIN),
        Question::Salt(_) | Question::Proof(_) => Err(reply::WRONG_LOGIN),
        Question::Recipient { to, .. } if to.domain().as_str() != "example.org" => {
            Err(reply::NO_RELAY)
        }
        _ => Ok(Answer::Yes),
    }
}

fn channel() -> crate::net::Channel {
    crate::net::Channel {
        version: "TLSv1.3",
        suite: "TLS_AES_128_GCM_SHA256".to_owned(),
        bindings: crate::net::Bindings { exporter: Some([7; 32]), end_point: None },
    }
}
