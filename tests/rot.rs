//! Bytes that rot under a whole post office: what a mail program sees of it over the network, and
//! what the box says of it afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::trouble::{PostOffice, pillarbox, text};

const ALICE: &str = "alice@home.test";

#[test]
fn one_damaged_piece_of_a_long_message_takes_no_other_message_along() {
    let post = RottenBox::start();
    let mut imap = Client::imap(&post);
    imap.say("a SELECT INBOX");
    for item in ["BODY.PEEK[]", "BODY.PEEK[TEXT]", "BODY.PEEK[]<1000.2500000>"] {
        let said = imap.say(&format!("b UID FETCH 1:* ({item})"));
        let last = said.last().unwrap();
        assert!(last.starts_with("b NO [CORRUPTION]") && last.contains("store verify"), "{last}");
        let fetched = said.iter().filter(|line| line.contains(" FETCH (")).count();
        assert_eq!(fetched, 2, "{item}: the small ones on both sides of it arrive");
    }
    // What is not damaged of it can be had.
    let said = imap.say("c UID FETCH 2 (BODY.PEEK[HEADER] BODY.PEEK[]<0.100000>)");
    assert_eq!(said.last().unwrap(), "c OK FETCH completed");
    assert!(said.iter().any(|line| line == "Subject: long"));

    let mut pop3 = Client::pop3(&post);
    for (command, sound) in
        [("RETR 1", true), ("RETR 2", false), ("TOP 2 3", true), ("RETR 3", true)]
    {
        pop3.send(command);
        let first = pop3.line();
        if sound {
            assert!(first.starts_with("+OK"), "{command}: {first}");
            while pop3.line() != "." {}
        } else {
            assert!(first.starts_with("-ERR [SYS/PERM]"), "{command}: {first}");
        }
    }
}

#[test]
fn damage_that_was_found_is_told_until_it_is_gone() {
    let mut rotten = RottenBox::start();
    let mut imap = Client::imap(&rotten);
    imap.say("a SELECT INBOX");
    for _ in 0..3 {
        imap.say("b UID FETCH 2 (BODY.PEEK[])");
    }
    assert_eq!(rotten.stats()["damaged_records"], 1, "however often it is read");

    let verify = rotten.ask(&["store", "verify", "--json"]);
    assert_eq!(verify.status.code(), Some(1));
    let verify: Value = serde_json::from_slice(&verify.stdout).unwrap();
    let named = serde_json::json!([{ "account": ALICE, "mailbox": "INBOX", "uid": 2 }]);
    assert_eq!(verify["messages"], named);
    let verify = text(&rotten.ask(&["store", "verify"]).stdout);
    assert!(verify.contains("Cannot be read: alice@home.test, INBOX, message 2"), "{verify}");

    rotten.post = rotten.post.stop_and_restart();
    let stats = rotten.stats();
    assert_eq!(stats["damaged_records"], 1);
    assert!(stats["damaged_since"].is_string(), "{stats}");
    let check = rotten.ask(&["check", "--only", "storage.card"]);
    assert_eq!(check.status.code(), Some(2));
    assert!(text(&check.stdout).contains("has lost parts"), "{}", text(&check.stdout));

    let file = rotten.file.clone();
    rotten.post = rotten.post.stop_and_harm(|folder| flip(folder, &file));
    assert_eq!(rotten.stats()["damaged_records"], 1);
    assert_eq!(rotten.ask(&["store", "verify"]).status.code(), Some(0));
    rotten.post = rotten.post.stop_and_restart();
    assert_eq!(rotten.stats()["damaged_records"], 0);
    assert!(rotten.stats()["damaged_since"].is_null());
}

/// A box with three letters of which the second, a long one, has one damaged byte far behind its
/// beginning.
struct RottenBox {
    post: PostOffice,
    /// What is in the long one.
    file: Vec<u8>,
}

impl RottenBox {
    fn start() -> Self {
        let post = PostOffice::start();
        let mails = tempfile::tempdir().unwrap();
        let file = noise(2_000_000);
        let long = [b"Subject: long\n\n".to_vec(), base64(&file)].concat();
        let letters =
            [b"Subject: before\n\nshort\n".to_vec(), long, b"Subject: after\n\n.\n".into()];
        for (number, letter) in letters.iter().enumerate() {
            let path = mails.path().join(format!("{number}.eml"));
            fs::write(&path, letter).unwrap();
            let path = path.display().to_string();
            let done = pillarbox(&["import", ALICE, &path, "--data", post.data()]);
            assert!(done.status.success(), "{}", text(&done.stderr));
        }
        let post = post.stop_and_harm(|folder| flip(folder, &file));
        Self { post, file }
    }

    fn ask(&self, command: &[&str]) -> Output {
        pillarbox(&[command, &["--data", self.post.data()]].concat())
    }

    fn stats(&self) -> Value {
        serde_json::from_slice(&self.ask(&["store", "stats", "--json"]).stdout).unwrap()
    }
}

/// Changes a bit of the file where the store has it, or changes it back.
fn flip(folder: &Path, file: &[u8]) {
    let path = folder.join("00000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    let there = file.get(1_500_000..1_500_016).unwrap();
    let at = bytes.windows(16).position(|window| window == there).unwrap();
    // Behind the bytes that were looked for.
    bytes[at + 16] ^= 1;
    fs::write(&path, bytes).unwrap();
}

/// Bytes that cannot be made smaller (xorshift).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// In lines of 76, as mail programs send files.
fn base64(file: &[u8]) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let lines = file.chunks(57).map(|line| BASE64_STANDARD.encode(line));
    lines.flat_map(|line| (line + "\n").into_bytes()).collect()
}

/// A mail program under TLS, logged in.
struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Client {
    fn imap(box_: &RottenBox) -> Self {
        let mut client = Self::start_tls(box_, box_.post.imap_port(), "s STARTTLS", 2);
        let said = client.say(&format!("l LOGIN {ALICE} \"long enough\""));
        assert!(said.last().unwrap().starts_with("l OK"), "{said:?}");
        client
    }

    fn pop3(box_: &RottenBox) -> Self {
        let mut client = Self::start_tls(box_, box_.post.pop3_port(), "STLS", 2);
        for command in [format!("USER {ALICE}"), "PASS long enough".to_owned()] {
            client.send(&command);
            let said = client.line();
            assert!(said.starts_with("+OK"), "{said}");
        }
        client
    }

    /// `lines`: the greeting and the answer.
    fn start_tls(box_: &RottenBox, port: u16, command: &str, lines: usize) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "{command}\r\n").unwrap();
        // Not a byte more than the lines: what follows is TLS.
        let mut byte = [0];
        let mut seen = 0;
        while seen < lines {
            stream.read_exact(&mut byte).unwrap();
            seen += usize::from(byte == *b"\n");
        }
        let mut roots = RootCertStore::empty();
        let pem = find(Path::new(box_.post.data()), "certificate.pem");
        roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("mail.home.test").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        Self { stream: BufReader::new(StreamOwned::new(session, stream)) }
    }

    fn send(&mut self, command: &str) {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        stream.flush().unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\n"), "the connection was closed");
        text(&line).trim_end().to_owned()
    }

    /// All lines of an IMAP answer; literals are lines too.
    fn say(&mut self, command: &str) -> Vec<String> {
        self.send(command);
        let tag = command.split(' ').next().unwrap();
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.starts_with(&format!("{tag} "))) {
            lines.push(self.line());
        }
        lines
    }
}

fn find(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(name) {
                return path;
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    panic!("no {name}");
}
