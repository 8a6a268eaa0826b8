//! Strangers at the doors of IMAP and POP3, in the clear and under TLS, who say whatever costs the
//! most and stay: none of them makes the box hold more than 64 kB for it. The memory is that of the
//! whole process, as the kernel counts it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::trouble::PostOffice;

/// Strangers of one kind at once.
const STRANGERS: usize = 64;
/// How often each says the same again.
const TIMES: usize = 400;
/// What one of them may cost, in KiB.
const MOST: u64 = 64;

/// What is said before the login, over and over or once.
struct Attack {
    what: &'static str,
    once: String,
    again: String,
}

fn attack(what: &'static str, once: impl Into<String>, again: impl Into<String>) -> Attack {
    Attack { what, once: once.into(), again: again.into() }
}

fn imap_attacks() -> Vec<Attack> {
    let literal = format!(" {{4000+}}\r\n{}", "x".repeat(4000));
    let first = "n,,n=alice@home.test,r=".to_owned() + &"r".repeat(250);
    vec![
        attack("nothing", "", ""),
        attack("an endless line", "", "x".repeat(4000)),
        attack("questions whose answers are not taken", "", "a CAPABILITY\r\n".repeat(300)),
        attack("mistakes whose answers are not taken", "", "a FROBNICATE\r\n".repeat(300)),
        attack("a literal that is not finished", "a LOGIN {4096+}\r\n", "x".repeat(10)),
        attack("literals without end", "a LOGIN", literal),
        attack("a line that is almost too long", format!("a ID ({}", "(".repeat(8000)), ""),
        attack("parentheses", format!("a ID ({}\r\n", "(".repeat(8000)), "a ID (((\r\n"),
        attack(
            "a proof that never comes",
            format!("a AUTHENTICATE SCRAM-SHA-256 {}\r\n", base64(first.as_bytes())),
            "",
        ),
        attack("a login left open", format!("a AUTHENTICATE PLAIN\r\n{}", "A".repeat(8000)), ""),
    ]
}

fn pop3_attacks() -> Vec<Attack> {
    let first = "n,,n=alice@home.test,r=".to_owned() + &"r".repeat(250);
    vec![
        attack("nothing", "", ""),
        attack("an endless line", "", "x".repeat(4000)),
        attack("questions whose answers are not taken", "", "CAPA\r\n".repeat(600)),
        attack("a long login", format!("AUTH PLAIN {}", "A".repeat(12_000)), ""),
        attack("a name", format!("USER {}\r\n", "x".repeat(240)), ""),
        attack(
            "a proof that never comes",
            format!("AUTH SCRAM-SHA-256 {}\r\n", base64(first.as_bytes())),
            "",
        ),
    ]
}

#[test]
fn no_stranger_costs_more_than_64_kib_before_the_login() {
    let mut worst = (0, String::new());
    for (protocol, attacks) in [("IMAP", imap_attacks()), ("POP3", pop3_attacks())] {
        for secure in [false, true] {
            let post = PostOffice::start();
            let tls = trusting(Path::new(post.data()));
            let at = if protocol == "IMAP" { post.imap_port() } else { post.pop3_port() };
            // What one kind leaves behind counts against the next.
            let before = post.memory_kib();
            for Attack { what, once, again } in &attacks {
                let mut strangers: Vec<Box<dyn Stranger>> =
                    (0..STRANGERS).map(|_| call(protocol, at, secure.then_some(&tls))).collect();
                for stranger in &mut strangers {
                    if stranger.tell(once.as_bytes()) && !again.is_empty() {
                        let _ = (0..TIMES).all(|_| stranger.tell(again.as_bytes()));
                    }
                }
                std::thread::sleep(Duration::from_millis(100));
                let each = post.memory_kib().saturating_sub(before) / STRANGERS as u64;
                let way = if secure { "under TLS" } else { "in the clear" };
                println!("{protocol} {way}, {what}: {each} KiB each");
                assert!(each <= MOST, "{protocol} {way}, {what}: {each} KiB each");
                if each >= worst.0 {
                    worst = (each, format!("{protocol} {way}, {what}"));
                }
            }
        }
    }
    println!("the most: {} KiB, {}", worst.0, worst.1);
}

#[test]
fn a_crowd_of_wrong_logins_is_hashed_two_at_a_time() {
    let post = PostOffice::start();
    let tls = trusting(Path::new(post.data()));
    let before = post.memory_kib();
    let mut strangers: Vec<_> =
        (0..40).map(|_| call("IMAP", post.imap_port(), Some(&tls))).collect();
    for (number, stranger) in strangers.iter_mut().enumerate() {
        assert!(stranger.tell(format!("a LOGIN nobody-{number}@home.test guess\r\n").as_bytes()));
    }
    std::thread::sleep(Duration::from_secs(2));
    let grown = post.peak_kib().saturating_sub(before);
    println!("{grown} KiB for 40 logins at once");
    // 19 MiB for each of the two, and the connections.
    assert!(grown < (2 * 19 + 6) << 10, "{grown} KiB");
}

/// One end of a connection, which writes until the box takes no more.
trait Stranger {
    /// Whether all of it was taken.
    fn tell(&mut self, bytes: &[u8]) -> bool;
}

impl<S: Write> Stranger for S {
    fn tell(&mut self, bytes: &[u8]) -> bool {
        match self.write_all(bytes).and_then(|()| self.flush()) {
            Ok(()) => true,
            Err(error) => {
                let expected = [
                    ErrorKind::WouldBlock,
                    ErrorKind::TimedOut,
                    ErrorKind::BrokenPipe,
                    ErrorKind::ConnectionReset,
                    ErrorKind::ConnectionAborted,
                ];
                assert!(expected.contains(&error.kind()), "{error}");
                false
            }
        }
    }
}

fn call(protocol: &str, port: u16, tls: Option<&Arc<ClientConfig>>) -> Box<dyn Stranger> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    line(&mut stream);
    let Some(tls) = tls else {
        stream.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
        return Box::new(stream);
    };
    let start = if protocol == "IMAP" { "a STARTTLS\r\n" } else { "STLS\r\n" };
    stream.write_all(start.as_bytes()).unwrap();
    assert!(line(&mut stream).contains("OK"));
    let name = ServerName::try_from("mail.home.test").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(tls), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    stream.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
    Box::new(StreamOwned::new(connection, stream))
}

/// One line, byte by byte: what follows may be TLS.
fn line(stream: &mut TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Trusts the certificate that the box made for itself.
fn trusting(data: &Path) -> Arc<ClientConfig> {
    let mut folders = vec![data.to_owned()];
    let mut roots = RootCertStore::empty();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "certificate.pem") {
                roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
