//! The scripts in `tests/dialogs/*.smtp`, and what no script can say. A script is read as a
//! conversation; see `tests/dialogs/README.md` for its few words.

mod script;
mod smuggling;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::accounts::sasl::Exchange;
use crate::mail::Envelope;
use crate::net::{Bindings, Channel};

#[test]
fn every_dialog_goes_as_written_however_its_bytes_arrive() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut scripts = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "smtp") {
            let script = fs::read_to_string(&path).unwrap();
            for piece in [usize::MAX, 1, 7] {
                script::play(&path.display().to_string(), &script, piece);
            }
            scripts += 1;
        }
    }
    assert!(scripts >= 10, "only {scripts} scripts were found");
}

#[test]
fn a_hundred_thousand_recipients_are_answered_one_by_one_and_never_dropped() {
    let mut house = House::new(Role::Submissions);
    house.log_in();
    house.send(b"MAIL FROM:<alice@example.org>\r\n", usize::MAX);
    house.replies.clear();
    let all: Vec<String> =
        (0..100_000).map(|number| format!("RCPT TO:<r{number}@example.net>\r\n")).collect();
    house.send(all.concat().as_bytes(), 16 << 10);
    let codes = |code: &str| house.replies.iter().filter(|line| line.starts_with(code)).count();
    assert_eq!((codes("250 2.1.5"), codes("452 4.5.3")), (1000, 99_000));
    house.send(b"DATA\r\nFrom: <alice@example.org>\r\n\r\nhi\r\n.\r\n", usize::MAX);
    assert_eq!(house.messages.pop_front().unwrap().envelope.to.len(), 1000);
    assert!(!house.closed);
}

#[test]
fn a_line_of_a_megabyte_needs_no_memory_and_harms_no_other() {
    for role in [Role::Mx, Role::Submissions] {
        let mut house = House::new(role);
        for _ in 0..1024 {
            house.send(&[b'x'; 1024], usize::MAX);
            assert!(house.session.pending() <= Exchange::LINE_MAX);
        }
        house.replies.clear();
        house.send(b"\r\nNOOP\r\n", usize::MAX);
        assert_eq!(house.replies, ["250 2.0.0 OK"]);
    }
}

#[test]
fn a_huge_message_passes_in_pieces_and_nothing_is_kept_back() {
    let mut house = House::new(Role::Mx);
    house.begin_message("alice@example.org");
    let line = [b"x".repeat(100_000).as_slice(), b"\r\n"].concat();
    for _ in 0..9 {
        house.send(&line, 16 << 10);
        assert_eq!(house.session.pending(), 0);
        assert!(house.largest_piece <= 16 << 10);
    }
    house.send(b".\r\n", usize::MAX);
    assert_eq!(house.messages.pop_front().unwrap().body.len(), 9 * 100_002);
}

#[test]
fn a_message_without_end_is_hung_up_on() {
    let mut house = House::new(Role::Mx);
    house.begin_message("alice@example.org");
    for _ in 0..10_000 {
        house.send(&[b'x'; 1024], usize::MAX);
    }
    assert!(house.closed && house.messages.is_empty());
    assert!(house.replies.back().unwrap().starts_with("552 5.3.4"));
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_end_and_the_next_is_taken() {
    let mut house = House::new(Role::Mx);
    house.begin_message("alice@example.org");
    house.send(&b"x".repeat(1_100_000), 16 << 10);
    house.send(b"\r\n.\r\n", usize::MAX);
    assert!(house.replies.back().unwrap().starts_with("552 5.3.4"));
    assert!(house.dropped);
    house.begin_message("alice@example.org");
    house.send(b"small\r\n.\r\n", usize::MAX);
    assert_eq!(house.messages.len(), 1);
}

#[test]
fn fifty_hops_pass_and_fifty_one_are_a_loop() {
    for (hops, code) in [(50, "250 2.0.0"), (51, "554 5.4.6")] {
        let mut house = House::new(Role::Mx);
        house.begin_message("alice@example.org");
        house.send("Received: by x; y\r\n".repeat(hops).as_bytes(), usize::MAX);
        house.send(b"\r\nReceived: in the text\r\n.\r\n", usize::MAX);
        assert!(house.replies.back().unwrap().starts_with(code), "{:?}", house.replies);
    }
}

#[test]
fn a_client_that_dribbles_is_not_waited_for() {
    let mut house = House::new(Role::Mx);
    let start = house.now;
    // One byte a minute gains no time for the command it belongs to.
    for _ in 0..4 {
        house.now += Duration::from_mins(1);
        house.send(b"N", usize::MAX);
        assert_eq!(house.until, start + Duration::from_mins(5));
    }
    // Nor do commands, before there is a sign of real business.
    for _ in 0..4 {
        house.now += Duration::from_mins(2);
        house.send(b"\r\nNOOP\r\n", usize::MAX);
        assert!(house.until <= start + Duration::from_mins(10));
    }
    house.session.time_out();
    house.run();
    assert!(house.closed && house.replies.back().unwrap().starts_with("421 4.4.2"));

    let mut house = House::new(Role::Mx);
    let start = house.now;
    house.begin_message("alice@example.org");
    for _ in 0..3 {
        house.now += Duration::from_mins(9);
        house.send(b"x", usize::MAX);
    }
    assert_eq!(house.until, start + Duration::from_mins(10));
}

#[test]
fn a_stopping_service_says_so() {
    let mut house = House::new(Role::Mx);
    house.send(b"EHLO x\r\n", usize::MAX);
    house.session.shut_down();
    house.run();
    assert!(house.closed && house.replies.back().unwrap().starts_with("421 4.3.2"));
}

#[test]
fn a_client_that_wastes_time_is_sent_away() {
    for (line, most) in [("BOGUS", 10), ("NOOP", 100), ("RCPT TO:<a@b>", 1000)] {
        let mut house = House::new(Role::Mx);
        house.send(b"EHLO x\r\n", usize::MAX);
        house.replies.clear();
        house.send(format!("{line}\r\n").repeat(2000).as_bytes(), 4096);
        assert!(house.closed && house.replies.len() <= most + 1, "{line}");
        assert!(house.replies.back().unwrap().starts_with("421 4.7.0"), "{line}");
    }
    let mut house = House::new(Role::Mx);
    house.send(b"HELO x\r\nMAIL FROM:<>\r\n", usize::MAX);
    house.replies.clear();
    house.send("RCPT TO:<guess@example.org>\r\n".repeat(2000).as_bytes(), 4096);
    assert!(house.closed && house.replies.len() <= 101, "a guesser goes on");
    assert!(house.missteps >= 99);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_of_any_kind_in_any_pieces_get_the_same_replies(
        fragments in prop::collection::vec(fragment(), 0..25),
        pieces in prop::collection::vec(1usize..40, 1..20),
        role in prop::sample::select(vec![Role::Mx, Role::Submission, Role::Submissions]),
    ) {
        let bytes = fragments.concat();
        let mut whole = House::new(role);
        whole.send(&bytes, usize::MAX);
        let mut parts = House::new(role);
        let mut rest = bytes.as_slice();
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            parts.send(now, usize::MAX);
            rest = later;
        }
        prop_assert_eq!(whole.replies, parts.replies);
        prop_assert_eq!(whole.messages, parts.messages);
        prop_assert_eq!(whole.closed, parts.closed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn of_what_our_people_send_only_blind_copies_go_and_only_what_is_missing_comes(
        fields in prop::collection::vec(any_field(), 0..8),
        (date, id, author) in any::<(bool, bool, bool)>(),
        body in prop::collection::vec("[ -~\t\u{0}\u{e4}]{0,40}", 0..6),
        at in 0usize..8,
        piece in prop::sample::select(vec![1, 7, usize::MAX]),
    ) {
        let mut header = fields;
        let mut put = |there: bool, field: &str| {
            if there {
                header.insert(at.min(header.len()), field.to_owned());
            }
        };
        put(date, "DATE: whenever\r\n");
        put(id, "message-ID :x\r\n");
        put(author, "From: \"A\" <alice@example.org>\r\n");
        let text: String = body.iter().flat_map(|line| [line, "\r\n"]).collect();
        let sent = format!("{}\r\n{text}", header.concat());
        header.retain(|field| !field.starts_with("Bcc"));
        let kept = format!("{}\r\n{text}", header.concat());

        let mut house = House::new(Role::Submissions);
        house.log_in();
        let envelope = b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n";
        house.send(envelope, usize::MAX);
        let stuffed = format!("\r\n{sent}").replace("\r\n.", "\r\n..");
        house.send(&stuffed.as_bytes()[2..], piece);
        house.send(b".\r\n", usize::MAX);
        let taken = house.messages.pop_front().unwrap();
        prop_assert_eq!(String::from_utf8(taken.body).unwrap(), kept);
        let added = |name: &str| taken.trace.matches(&format!("\r\n{name}: ")).count();
        let missing = [date, id, author].map(|there| usize::from(!there));
        prop_assert_eq!([added("Date"), added("Message-ID"), added("From")], missing);
        let fields = taken.trace.lines().filter(|line| !line.starts_with('\t')).count();
        prop_assert_eq!(fields, 1 + missing.iter().sum::<usize>());
    }
}

/// A field of a header, sound or odd, but no From, Date or Message-ID.
fn any_field() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "To",
        "X-Spam",
        "Received",
        "sender",
        "Bcc",
        "Bcc ",
        "DKIM-Signature",
        "X-From",
        "Dates",
    ]);
    (name, "[ -~\t\u{e4}]{0,30}", prop::collection::vec("[ \t][!-~]{0,20}[ \t]{0,2}", 0..3))
        .prop_map(|(name, value, folds)| {
            let folds: String = folds.iter().flat_map(|fold| ["\r\n", fold]).collect();
            format!("{name}:{value}{folds}\r\n")
        })
}

/// Pieces of sense and nonsense.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let sense = prop::sample::select(vec![
        "EHLO x\r\n",
        "HELO x\r\n",
        "STARTTLS\r\n",
        "AUTH LOGIN\r\n",
        "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHdvbmRlcmxhbmQtNw==\r\n",
        "MAIL FROM:<alice@example.org>\r\n",
        "MAIL FROM:<> SIZE=5\r\n",
        "RCPT TO:<alice@example.org>\r\n",
        "RCPT TO:<bob@example.net>\r\n",
        "DATA\r\n",
        "Bcc: x\r\n",
        "Subject: x\r\n",
        "\r\n",
        ".\r\n",
        ".",
        "\r",
        "\n",
        "RSET\r\n",
        "QUIT\r\n",
        "*\r\n",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let long = (1900usize..2200).prop_map(|length| vec![b'y'; length]);
    prop_oneof![12 => sense, 1 => prop::collection::vec(any::<u8>(), 0..12), 1 => long]
}

/// A message the session handed over.
#[derive(Debug, PartialEq)]
struct Taken {
    envelope: Envelope,
    trace: String,
    body: Vec<u8>,
}

/// Everything around a session: a directory of one account, and a place for its messages.
struct House {
    role: Role,
    session: Session,
    now: Instant,
    until: Instant,
    replies: VecDeque<String>,
    messages: VecDeque<Taken>,
    body: Vec<u8>,
    largest_piece: usize,
    dropped: bool,
    wants_tls: bool,
    closed: bool,
    missteps: u32,
}

impl House {
    fn new(role: Role) -> Self {
        let now = Instant::now();
        let settings = SessionSettings {
            role,
            hostname: "mail.example.org".parse().unwrap(),
            postmaster: "postmaster@example.org".parse().unwrap(),
            peer: "192.0.2.7".parse().unwrap(),
            channel: (role == Role::Submissions).then(channel),
            number: 1,
            message_size: 1_000_000,
            timeouts: Timeouts::default(),
        };
        let mut house = Self {
            role,
            session: Session::new(settings, now),
            now,
            until: now,
            replies: VecDeque::new(),
            messages: VecDeque::new(),
            body: Vec::new(),
            largest_piece: 0,
            dropped: false,
            wants_tls: false,
            closed: false,
            missteps: 0,
        };
        house.run();
        house
    }

    fn send(&mut self, bytes: &[u8], piece: usize) {
        for bytes in bytes.chunks(piece) {
            self.session.receive(bytes);
            if !self.wants_tls && !self.closed {
                self.run();
            }
        }
    }

    fn log_in(&mut self) {
        let plain = b"EHLO x\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHdvbmRlcmxhbmQtNw==\r\n";
        self.send(plain, usize::MAX);
        assert!(self.replies.back().unwrap().starts_with("235"));
    }

    fn begin_message(&mut self, to: &str) {
        let lines = format!("EHLO x\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        self.send(lines.as_bytes(), usize::MAX);
        assert!(self.replies.back().unwrap().starts_with("354"));
    }

    fn start_tls(&mut self) {
        assert!(std::mem::take(&mut self.wants_tls), "no handshake was asked for");
        self.session.tls_started(channel(), self.now);
        self.run();
    }

    fn run(&mut self) {
        loop {
            match self.session.poll(self.now) {
                Effect::Reply(reply) => {
                    let mut wire = Vec::new();
                    reply.write(&mut wire);
                    let wire = String::from_utf8(wire).unwrap();
                    self.replies.extend(wire.lines().map(str::to_owned));
                }
                Effect::Misstep => self.missteps += 1,
                Effect::Read { until } => {
                    self.until = until;
                    return;
                }
                Effect::StartTls => {
                    self.wants_tls = true;
                    return;
                }
                Effect::Ask(question) => {
                    let verdict = answer(&question, self.role);
                    self.session.answer(verdict, self.now);
                }
                Effect::BeginBody => self.body.clear(),
                Effect::Body(bytes) => {
                    self.largest_piece = self.largest_piece.max(bytes.len());
                    self.body.extend_from_slice(&bytes);
                }
                Effect::DropBody => {
                    self.dropped = true;
                    self.body.clear();
                }
                Effect::Accept(handover) => {
                    let verdict = self.take(&handover);
                    self.session.answer(verdict, self.now);
                }
                Effect::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn take(&mut self, handover: &Handover) -> Result<(), Reply> {
        if handover.envelope.addresses().any(|to| to.to_string() == "full@example.org") {
            return Err(Reply::from(&crate::store::StoreError::Full));
        }
        let at = "2026-11-22T04:37:19Z".parse().unwrap();
        self.messages.push_back(Taken {
            envelope: handover.envelope.clone(),
            trace: String::from_utf8(handover.trace(at)).unwrap(),
            body: std::mem::take(&mut self.body),
        });
        Ok(())
    }
}

fn channel() -> Channel {
    let suite = "TLS_AES_128_GCM_SHA256".to_owned();
    let bindings = Bindings { exporter: Some([7; 32]), end_point: None };
    Channel { version: "TLSv1.3", suite, bindings }
}

/// Alice lives here; the card is full for one address, another has room for 1000 bytes.
fn answer(question: &Question, role: Role) -> Result<Answer, Reply> {
    let verdict = match question {
        // SCRAM has tests with a real directory.
        Question::Salt(_) | Question::Proof(_) => Err(reply::WRONG_LOGIN),
        Question::Login(credentials) => {
            let right = credentials.login == "alice@example.org"
                && credentials.password.expose() == "wonderland-7";
            if right { Ok(()) } else { Err(reply::WRONG_LOGIN) }
        }
        Question::Sender { from, .. } => {
            let from = from.address().map(ToString::to_string);
            let hers = from.is_none_or(|from| from == "alice@example.org");
            if hers || role == Role::Mx { Ok(()) } else { Err(reply::NOT_YOUR_ADDRESS) }
        }
        Question::Authors(authors) => {
            let hers = authors.iter().all(|author| author.to_string() == "alice@example.org");
            if hers { Ok(()) } else { Err(reply::NOT_YOUR_ADDRESS) }
        }
        Question::Recipient { to, size } => match to.to_string().as_str() {
            "small@example.org" if size.is_none_or(|size| size <= 1000) => Ok(()),
            "small@example.org" => Err(reply::MAILBOX_FULL),
            "alice@example.org" | "full@example.org" | "postmaster@example.org" => Ok(()),
            _ if to.domain().as_str() == "example.org" => Err(reply::NO_SUCH_USER),
            _ if role == Role::Mx => Err(reply::NO_RELAY),
            _ => Ok(()),
        },
    };
    verdict.map(Answer::from)
}
