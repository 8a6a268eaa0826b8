//! One conversation over a real socket, with real accounts and TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::accounts::sasl::scram;
use crate::accounts::{Accounts, Lookup, Password};
use crate::imap::Server;
use crate::mail::Address;
use crate::net::{Compressors, Deflated, Peer, Stream, Tls};

#[tokio::test]
async fn a_phone_logs_in_after_starttls_and_is_told_of_new_mail() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
    let domain = "example.org".parse().unwrap();
    let accounts = Accounts::open(store.clone(), vec![domain]).unwrap();
    let address = "alice@example.org".parse().unwrap();
    let account = accounts.add(address, Password::new("wonderland-7".into())).await.unwrap();
    let hostname = "mail.example.org".parse().unwrap();
    let tls = Tls::self_signed(&folder.path().join("tls"), &hostname).unwrap();
    let server = Server::new(
        hostname,
        tls,
        accounts,
        store.clone(),
        Arc::new(Index::open(folder.path(), &store)),
        Arc::new(Noon),
        1 << 20,
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let local = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move {
            let (stream, _) = listener.accept().await.unwrap();
            let peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), local };
            server.serve(Stream::Plain(stream), peer, stop).await;
        }
    });

    let mut plain = BufReader::new(TcpStream::connect(local).await.unwrap());
    expect(&mut plain, "* OK [CAPABILITY ").await;
    say(&mut plain, "a LOGIN alice@example.org wonderland-7\r\n").await;
    expect(&mut plain, "a NO [PRIVACYREQUIRED]").await;
    say(&mut plain, "b STARTTLS\r\n").await;
    expect(&mut plain, "b OK").await;

    let certificate = folder.path().join("tls/certificate.pem");
    let stream = connector(&certificate)
        .connect(ServerName::try_from("mail.example.org").unwrap(), plain.into_inner())
        .await
        .unwrap();
    let mut phone = BufReader::new(stream);
    say(&mut phone, "c LOGIN alice@example.org wonderland-7\r\nd SELECT INBOX\r\ne IDLE\r\n").await;
    expect(&mut phone, "c OK").await;
    while !line(&mut phone).await.starts_with("d OK") {}
    expect(&mut phone, "+ idling").await;

    let inbox = store.find_mailbox(account, &MailboxName::inbox()).unwrap().unwrap();
    let mut writer = store.new_body();
    writer.write(b"Subject: hello\r\n\r\nhi\r\n").await.unwrap();
    let body = writer.finish().await.unwrap();
    let mut batch = Batch::new();
    batch.add_message(inbox.id, b"", &body, Flags::none(), Noon.now());
    store.commit(batch).await.unwrap();
    expect(&mut phone, "* 1 EXISTS").await;
    expect(&mut phone, "* 0 RECENT").await;
    say(&mut phone, "DONE\r\nf FETCH 1 BODY.PEEK[TEXT]\r\n").await;
    expect(&mut phone, "e OK").await;
    expect(&mut phone, "* 1 FETCH (BODY[TEXT] {4}").await;
    expect(&mut phone, "hi").await;
    expect(&mut phone, ")").await;
    expect(&mut phone, "f OK").await;
    stop.cancel();
    expect(&mut phone, "* BYE").await;
    serving.await.unwrap();
}

#[tokio::test]
async fn news_do_not_keep_a_silent_phone_connected() {
    let house = Served::new(Duration::from_secs(2)).await;
    let mut phone = house.phone("wonderland-7").await;
    say(&mut phone, "b SELECT INBOX\r\nc IDLE\r\n").await;
    while !line(&mut phone).await.starts_with("+ idling") {}
    // News come more often than patience ends.
    for _ in 0..15 {
        house.deliver().await;
        if line(&mut phone).await.starts_with("* BYE Nothing was said") {
            return;
        }
        expect(&mut phone, "* 0 RECENT").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("still connected");
}

#[tokio::test]
async fn a_login_ends_when_its_password_is_taken_away() {
    let house = Served::new(Duration::from_mins(30)).await;
    let device = house.accounts.add_device(&house.address, "phone").await.unwrap();
    let mut phone = house.phone(device.expose()).await;
    let mut tablet = house.phone("wonderland-7").await;
    say(&mut phone, "b SELECT INBOX\r\nc IDLE\r\n").await;
    while !line(&mut phone).await.starts_with("+ idling") {}
    house.accounts.add_device(&house.address, "other").await.unwrap();
    house.deliver().await;
    expect(&mut phone, "* 1 EXISTS").await;
    expect(&mut phone, "* 0 RECENT").await;

    house.accounts.revoke_device(&house.address, "phone").await.unwrap();
    expect(&mut phone, "* BYE").await;
    say(&mut tablet, "b NOOP\r\n").await;
    expect(&mut tablet, "b OK").await;
    let password = Password::new("looking-glass-8".into());
    house.accounts.set_password(&house.address, password).await.unwrap();
    expect(&mut tablet, "* BYE").await;
}

/// A box whose only account is Alice's, on a real port under TLS.
struct Served {
    folder: TempDir,
    store: Store,
    accounts: Accounts,
    address: Address,
    local: std::net::SocketAddr,
    _stop: DropGuard,
}

impl Served {
    async fn new(patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let accounts = Accounts::open(store.clone(), vec!["example.org".parse().unwrap()]).unwrap();
        let address: Address = "alice@example.org".parse().unwrap();
        accounts.add(address.clone(), Password::new("wonderland-7".into())).await.unwrap();
        let hostname = "mail.example.org".parse().unwrap();
        let tls = Tls::self_signed(&folder.path().join("tls"), &hostname).unwrap();
        let (ours, clock) = (accounts.clone(), Arc::new(Noon));
        let search = Arc::new(Index::open(folder.path(), &store));
        let server =
            Server::new(hostname, tls.clone(), ours, store.clone(), search, clock, 1 << 20)
                .with_patience(patience);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let local = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = tls.accept(stream).await.unwrap();
                let (server, stop) = (server.clone(), stopped.clone());
                let peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), local };
                tokio::spawn(async move { server.serve(stream, peer, stop).await });
            }
        });
        Self { folder, store, accounts, address, local, _stop: stop.drop_guard() }
    }

    async fn phone(&self, password: &str) -> BufReader<TlsStream<TcpStream>> {
        let plain = TcpStream::connect(self.local).await.unwrap();
        let name = ServerName::try_from("mail.example.org").unwrap();
        let connector = connector(&self.folder.path().join("tls/certificate.pem"));
        let mut phone = BufReader::new(connector.connect(name, plain).await.unwrap());
        expect(&mut phone, "* OK").await;
        say(&mut phone, &format!("a LOGIN {} {password}\r\n", self.address)).await;
        expect(&mut phone, "a OK").await;
        phone
    }

    async fn deliver(&self) {
        let Lookup::Account(account) = self.accounts.lookup(&self.address) else { panic!() };
        let inbox = self.store.find_mailbox(account, &MailboxName::inbox()).unwrap().unwrap();
        let mut writer = self.store.new_body();
        writer.write(b"Subject: hello\r\n\r\nhi\r\n").await.unwrap();
        let body = writer.finish().await.unwrap();
        let mut batch = Batch::new();
        batch.add_message(inbox.id, b"", &body, Flags::none(), Noon.now());
        self.store.commit(batch).await.unwrap();
    }
}

fn connector(certificate: &Path) -> tokio_rustls::TlsConnector {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn expect(stream: &mut BufReader<impl AsyncRead + Unpin>, start: &str) {
    let line = line(stream).await;
    assert!(line.starts_with(start), "expected {start:?}, got {line:?}");
}

async fn line(stream: &mut BufReader<impl AsyncRead + Unpin>) -> String {
    let mut line = String::new();
    let read = stream.read_line(&mut line);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer").unwrap();
    line
}

#[tokio::test]
async fn a_phone_proves_itself_over_its_own_connection_and_then_compresses() {
    let house = Served::new(Duration::from_mins(30)).await;
    house.deliver().await;
    let device = house.accounts.add_device(&house.address, "phone").await.unwrap();
    for bound in [false, true] {
        let plain = TcpStream::connect(house.local).await.unwrap();
        let name = ServerName::try_from("mail.example.org").unwrap();
        let connector = connector(&house.folder.path().join("tls/certificate.pem"));
        let mut phone = BufReader::new(connector.connect(name, plain).await.unwrap());
        let greeting = line(&mut phone).await;
        assert!(greeting.contains("AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 "), "{greeting}");
        let (_, connection) = phone.get_ref().get_ref();
        let mut binding =
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap();
        // Somebody in the middle has another connection to the phone than to us.
        binding[0] ^= u8::from(!bound);
        let login = scram::client::Client {
            login: "alice@example.org",
            password: device.expose(),
            flag: "p=tls-exporter,,",
            binding: &binding,
        };
        let first = format!("a AUTHENTICATE SCRAM-SHA-256-PLUS {}\r\n", login.first());
        say(&mut phone, &first).await;
        let challenge = line(&mut phone).await;
        let (last, signature) = login.last(challenge.strip_prefix("+ ").unwrap().trim_end());
        say(&mut phone, &format!("{last}\r\n")).await;
        if !bound {
            expect(&mut phone, "a NO [AUTHENTICATIONFAILED]").await;
            continue;
        }
        expect(&mut phone, &format!("+ {signature}")).await;
        say(&mut phone, "\r\n").await;
        expect(&mut phone, "a OK [CAPABILITY").await;
        say(&mut phone, "b COMPRESS DEFLATE\r\n").await;
        expect(&mut phone, "b OK").await;
        let phone = Deflated::new(phone.into_inner(), b"", Compressors::new(1));
        let mut phone = BufReader::new(phone);
        say(&mut phone, "c SELECT INBOX\r\nd FETCH 1 BODY.PEEK[TEXT]\r\ne IDLE\r\n").await;
        while !line(&mut phone).await.starts_with("c OK") {}
        expect(&mut phone, "* 1 FETCH (BODY[TEXT] {4}").await;
        expect(&mut phone, "hi").await;
        expect(&mut phone, ")").await;
        expect(&mut phone, "d OK").await;
        expect(&mut phone, "+ idling").await;
        // Longer than the server keeps its compressor for.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        house.deliver().await;
        expect(&mut phone, "* 2 EXISTS").await;
        expect(&mut phone, "* 0 RECENT").await;
        say(&mut phone, "DONE\r\n").await;
        expect(&mut phone, "e OK").await;
        house.accounts.revoke_device(&house.address, "phone").await.unwrap();
        expect(&mut phone, "* BYE This login").await;
    }
}
