#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
//! Real connections on loopback, a real store, real TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::accounts::Password;
use crate::deliver::{Filing, Slot, place};
use crate::mail::{Address, ReversePath};
use crate::store::{Batch, Options};

mod removal;

const HOST: &str = "mail.x.org";

struct House {
    folder: tempfile::TempDir,
    server: Server,
    account: AccountId,
    address: SocketAddr,
    stop: CancellationToken,
}

/// A box with one account that serves POP3 until dropped.
async fn house() -> House {
    house_with(Patience::NORMAL).await
}

async fn house_with(patience: Patience) -> House {
    let folder = tempfile::tempdir().unwrap();
    let host: Domain = HOST.parse().unwrap();
    let tls = Tls::self_signed(folder.path(), &host).unwrap();
    let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
    let accounts = Accounts::open(store.clone(), vec!["x.org".parse().unwrap()]).unwrap();
    let account = accounts.add(alice(), Password::new("correct horse".into())).await.unwrap();
    let server = Server { patience, ..Server::new(host, tls, accounts, store) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (serving, stopping) = (server.clone(), stop.clone());
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let (server, stop) = (serving.clone(), stopping.clone());
            let peer = Peer { address: from.ip(), local: address };
            tokio::spawn(async move { server.serve(Stream::Plain(stream), peer, stop).await });
        }
    });
    House { folder, server, account, address, stop }
}

fn alice() -> Address {
    "alice@x.org".parse().unwrap()
}

impl House {
    async fn deliver(&self, message: &[u8]) {
        let store = &self.server.store;
        let mut body = store.new_body();
        body.write(message).await.unwrap();
        let body = body.finish().await.unwrap();
        let (mut batch, now) = (Batch::new(), jiff::Timestamp::UNIX_EPOCH);
        let from = ReversePath::Null;
        let slot = Slot { account: self.account, recipient: &alice(), filing: &Filing::default() };
        place(store, &mut batch, slot, &from, b"", &body, now).await.unwrap();
        store.commit(batch).await.unwrap();
    }

    fn stored(&self) -> usize {
        list(&self.server.store, self.account).unwrap().1.len()
    }

    async fn plain(&self) -> Client<TcpStream> {
        let mut client = Client { stream: BufReader::new(connect(self.address).await) };
        assert_eq!(client.line().await, format!("+OK {HOST} POP3 ready"));
        client
    }

    /// A connection under TLS, logged in.
    async fn logged_in(&self) -> Client<TlsStream<TcpStream>> {
        let mut client = self.plain().await.start_tls(self.folder.path()).await;
        assert_eq!(client.ask("USER alice@x.org").await, "+OK now the password");
        let answer = client.ask("PASS correct horse").await;
        assert!(answer.starts_with("+OK "), "{answer}");
        client
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

struct Client<S> {
    stream: BufReader<S>,
}

impl Client<TcpStream> {
    async fn start_tls(mut self, folder: &Path) -> Client<TlsStream<TcpStream>> {
        self.say("STLS\r\n").await;
        self.handshake(folder).await
    }

    async fn handshake(mut self, folder: &Path) -> Client<TlsStream<TcpStream>> {
        assert_eq!(self.line().await, "+OK begin TLS");
        let mut roots = RootCertStore::empty();
        let pem = folder.join("certificate.pem");
        roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(HOST).unwrap();
        let stream = connector.connect(name, self.stream.into_inner()).await.unwrap();
        Client { stream: BufReader::new(stream) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    async fn ask(&mut self, text: &str) -> String {
        self.say(&format!("{text}\r\n")).await;
        self.line().await
    }

    /// A reply of many lines, up to and without its dot.
    async fn listed(&mut self, text: &str) -> Vec<u8> {
        let first = self.ask(text).await;
        assert!(first.starts_with("+OK"), "{first}");
        let mut bytes = Vec::new();
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).await.unwrap();
            if line == b".\r\n" {
                return bytes;
            }
            assert!(line.ends_with(b"\r\n"), "broke off");
            bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    async fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf().await, Ok([]) | Err(_))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_fetched_whole_and_removed_only_by_quit() {
    let house = house().await;
    // Longer than any buffer on the way, with dots at line starts all over.
    let big = format!("Subject: big\r\n\r\n{}", ".dots\r\n..\r\n.\r\n".repeat(100_000));
    house.deliver(big.as_bytes()).await;
    house.deliver(b"Subject: small\r\n\r\nhello\r\n").await;
    let header = "Return-Path: <>\r\nDelivered-To: alice@x.org\r\n";

    let mut client = house.logged_in().await;
    let size = big.len() + header.len();
    assert_eq!(client.ask("LIST 1").await, format!("+OK 1 {size}"));
    let message = client.listed("RETR 1").await;
    assert!(message == format!("{header}{big}").into_bytes(), "{} of {size}", message.len());
    let names = client.listed("UIDL").await;
    let top = client.listed("TOP 2 0").await;
    assert_eq!(top, format!("{header}Subject: small\r\n\r\n").into_bytes());
    assert!(client.ask("DELE 1").await.starts_with("+OK"));
    drop(client);
    assert_eq!(house.stored(), 2, "removed without QUIT");

    let mut client = loop {
        // The lost connection gives its lock back in its own time.
        let mut client = house.plain().await.start_tls(house.folder.path()).await;
        client.ask("USER alice@x.org").await;
        if !client.ask("PASS correct horse").await.starts_with("-ERR [IN-USE]") {
            break client;
        }
    };
    assert_eq!(client.listed("UIDL").await, names, "names have to last");
    assert!(client.ask("DELE 1").await.starts_with("+OK"));
    assert_eq!(client.ask("QUIT").await, "+OK 1 messages moved to the trash, goodbye");
    assert_eq!(house.stored(), 1, "not removed when told so");
    assert!(client.is_closed().await);
    let mut client = house.logged_in().await;
    assert_eq!(client.ask("UIDL 1").await.split('.').next_back(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_at_a_time_and_the_next_right_after() {
    let house = house().await;
    let mut first = house.logged_in().await;
    let mut second = house.plain().await.start_tls(house.folder.path()).await;
    second.ask("USER alice@x.org").await;
    assert!(second.ask("PASS correct horse").await.starts_with("-ERR [IN-USE]"));
    assert_eq!(first.ask("QUIT").await, "+OK goodbye");
    second.ask("USER alice@x.org").await;
    assert!(second.ask("PASS correct horse").await.starts_with("+OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_commands_are_answered_in_order() {
    let house = house().await;
    house.deliver(b"Subject: a\r\n\r\nb\r\n").await;
    let mut client = house.logged_in().await;
    client.say("NOOP\r\nTOP 1 0\r\nSTAT\r\nRETR 9\r\nQUIT\r\n").await;
    let mut said = Vec::new();
    while let line @ 1.. = client.stream.read_until(b'\n', &mut said).await.unwrap_or(0) {
        assert!(line < 1000);
    }
    let said = String::from_utf8(said).unwrap();
    let firsts: Vec<_> = said.lines().filter(|l| l.starts_with(['+', '-', '.'])).collect();
    assert_eq!(
        firsts,
        [
            "+OK still here",
            "+OK top of message follows",
            ".",
            &format!("+OK 1 {}", "Return-Path: <>Delivered-To: alice@x.orgSubject: ab".len() + 10),
            "-ERR no such message",
            "+OK goodbye"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_with_stls_in_the_clear_is_not_obeyed() {
    let house = house().await;
    let mut client = house.plain().await;
    client.say("CAPA\r\nSTLS\r\nCAPA\r\n").await;
    while client.line().await != "." {}
    let mut client = client.handshake(house.folder.path()).await;
    // The second CAPA was an attacker's: under TLS the first answer is to what was said there.
    assert_eq!(client.ask("NOOP").await, "-ERR log in first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_line_is_refused_and_needs_no_memory() {
    let house = house().await;
    let mut client = house.plain().await;
    let megabyte = "x".repeat(1 << 20);
    client.say(&format!("{megabyte}\r\nCAPA\r\n")).await;
    assert_eq!(client.line().await, "-ERR the line is too long");
    assert_eq!(client.line().await, "+OK this server can");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_idle_connections() {
    let house = house().await;
    let mut client = house.logged_in().await;
    house.stop.cancel();
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_let_go() {
    let (login, idle) = (Duration::from_secs(3), Duration::from_millis(200));
    let house = house_with(Patience { login, idle }).await;
    let start = Instant::now();
    // Half a line again and again does not help.
    let mut waiting = house.plain().await;
    let mut client = house.logged_in().await;
    assert_eq!(client.ask("NOOP").await, "+OK still here");
    assert!(client.is_closed().await);
    assert!(start.elapsed() >= idle && start.elapsed() < login, "{:?}", start.elapsed());
    while start.elapsed() < login.mul_f32(0.8) {
        waiting.say("N").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(waiting.is_closed().await);
    assert!(start.elapsed() >= login && start.elapsed() < login * 3, "{:?}", start.elapsed());
    assert_eq!((Patience::NORMAL.login.as_secs(), Patience::NORMAL.idle.as_secs()), (180, 600));
}
