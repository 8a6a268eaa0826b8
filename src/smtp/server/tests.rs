//! The server on real sockets, with a real store, directory and queue behind it.

mod authors;
mod strangers;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWrite, BufReader, BufStream};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;

use super::*;
use crate::accounts::Password;
use crate::accounts::sasl::scram;
use crate::clock::SystemClock;
use crate::config::{DailyLimits, Outbound, OutboundMode};
use crate::dns::Resolver;
use crate::dns::world::World;
use crate::mail::MailboxName;
use crate::policy::dkim::SigningKeys;
use crate::policy::dnsbl::Dnsbl;
use crate::policy::greylist::Greylist;
use crate::policy::guard;
use crate::policy::junk::{Junk, Marks};
use crate::policy::notes::Notes;
use crate::queue::{QueueParts, Schedule};
use crate::reports::Reports;
use crate::smtp::client::{self, Client, Security, Target, Verdict};
use crate::store::{AccountId, Options};

#[tokio::test]
async fn a_strangers_message_lies_in_the_inbox_when_it_is_acknowledged() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let mut stranger = post.call(Role::Mx).await;
    let message = "From: <bob@example.net>\r\n\r\n.leading dot\r\n\r\nlast line\r\n";
    let replies = stranger
        .say(
            "HELO mx.example.net\r\nMAIL FROM:<bob@example.net>\r\n\
             RCPT TO:<carol@example.net>\r\nRCPT TO:<nobody@example.org>\r\n\
             RCPT TO:<alice@example.org>\r\nDATA\r\n",
            7,
        )
        .await;
    let codes: Vec<&str> = replies.iter().map(|line| line.get(..3).unwrap_or_default()).collect();
    assert_eq!(codes, ["220", "250", "250", "550", "550", "250", "354"][..7], "{replies:?}");
    let stuffed = message.replace("\r\n.", "\r\n..");
    let last = stranger.say(&format!("{stuffed}.\r\n"), 1).await;
    assert!(last.concat().starts_with("250 2.0.0"), "{last:?}");
    let inbox = post.inbox();
    assert_eq!(inbox.len(), 1);
    let stored = inbox.first().unwrap();
    assert!(stored.ends_with(message), "{stored}");
    assert!(stored.contains("Received: from mx.example.net ([127.0.0.1])\r\n"), "{stored}");
}

#[tokio::test]
async fn our_own_sending_end_submits_over_starttls_and_over_tls() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    for (role, security) in
        [(Role::Submission, Security::StartTls), (Role::Submissions, Security::Implicit)]
    {
        let address = post.listen(role).await;
        let message = b"From: <alice@example.org>\r\nBcc: <secret@example.net>\r\n\r\nHello\r\n";
        let mail = client::Mail {
            from: "alice@example.org".parse().unwrap(),
            to: ["alice@example.org", "bob@example.net"]
                .map(|to| to.parse::<Address>().unwrap().into())
                .to_vec(),
            size: message.len() as u64,
            asked: crate::mail::MailRequests::default(),
        };
        let target = target(address, security, "correct horse");
        let report = post.client().send(&target, &mail, || Ok(message.as_slice())).await;
        let verdicts = report.unwrap().verdicts;
        assert!(matches!(verdicts.as_slice(), [Verdict::Deliver(_), Verdict::Deliver(_)]));
        let stored = post.inbox().pop().unwrap();
        assert!(stored.contains(" with ESMTPSA (TLSv1.3 TLS_"), "{stored}");
        assert!(!stored.contains("secret"), "{stored}");
        assert!(stored.contains("Message-ID: <") && stored.contains("Date: "), "{stored}");
    }
    assert_eq!(post.queue.list().unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_password_sends_nothing() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let address = post.listen(Role::Submission).await;
    let mail = client::Mail {
        from: "alice@example.org".parse().unwrap(),
        to: vec!["bob@example.net".parse::<Address>().unwrap().into()],
        size: 3,
        asked: crate::mail::MailRequests::default(),
    };
    let target = target(address, Security::StartTls, "wrong horse");
    let sent = post.client().send(&target, &mail, || Ok(b"x\r\n".as_slice())).await;
    assert!(matches!(sent, Err(client::Fault::Login(_))), "{sent:?}");
    assert!(post.queue.list().unwrap().is_empty());
}

/// One that nobody takes for junk.
const LETTER: &str = "From: b@example.net\r\nTo: alice@example.org\r\nSubject: Monday\r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\n\r\nSee you then!\r\n";

#[tokio::test]
async fn a_full_card_acknowledges_nothing() {
    let full = Options { reserve: u64::MAX, ..Options::default() };
    let post = PostOffice::open(Options::default(), Timeouts::default()).await.reopen(full).await;
    let mut stranger = post.call(Role::Mx).await;
    let lines = "HELO x\r\nMAIL FROM:<b@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";
    stranger.say(lines, 5).await;
    let reply = stranger.say("Subject: x\r\n\r\nx\r\n.\r\n", 1).await;
    assert!(reply.concat().starts_with("452 4.3.1"), "{reply:?}");
    assert!(post.inbox().is_empty());
}

#[tokio::test]
async fn a_full_mailbox_is_told_at_rcpt_and_what_does_not_fit_after_data() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let mut batch = crate::store::Batch::new();
    batch.set_quota(post.alice, crate::store::Quota { bytes: Some(2000), messages: None });
    post.store.commit(batch).await.unwrap();
    let mut stranger = post.call(Role::Mx).await;
    stranger.say("EHLO x\r\n", 12).await;
    let to = "RCPT TO:<alice@example.org>\r\n";
    let mail = |size: &str| format!("RSET\r\nMAIL FROM:<b@example.net>{size}\r\n{to}");
    for (size, answer) in [(" SIZE=2001", "452 4.2.2"), (" SIZE=2000", "250"), ("", "250")] {
        let replies = stranger.say(&mail(size), 3).await;
        assert!(replies.last().unwrap().starts_with(answer), "{size}: {replies:?}");
    }
    let long = format!("DATA\r\nSubject: x\r\n\r\n{}.\r\n", "0123456789\r\n".repeat(180));
    let replies = stranger.say(&long, 2).await;
    assert!(replies.last().unwrap().starts_with("452 4.2.2"), "{replies:?}");
    assert!(post.inbox().is_empty());
    let short = format!("{}DATA\r\n{LETTER}.\r\n", mail(""));
    let replies = stranger.say(&short, 5).await;
    assert!(replies.last().unwrap().starts_with("250 2.0.0"), "{replies:?}");
    assert_eq!(post.inbox().len(), 1);
}

#[tokio::test]
async fn who_says_nothing_and_who_says_it_slowly_are_told_and_hung_up_on() {
    let short = Duration::from_millis(150);
    let timeouts = Timeouts { command: short, ..Timeouts::default() };
    let post = PostOffice::open(Options::default(), timeouts).await;
    let mut silent = post.call(Role::Mx).await;
    assert!(silent.rest().await.contains("421 4.4.2"));
    let mut slow = post.call(Role::Mx).await;
    let began = Instant::now();
    for _ in 0..40 {
        if slow.0.write_all(b"N").await.and(slow.0.flush().await).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if began.elapsed() > short * 2 {
            break;
        }
    }
    assert!(slow.rest().await.contains("421 4.4.2"));
}

#[tokio::test]
async fn a_login_by_proof_is_bound_to_its_connection() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    for (bound, code) in [(true, "235 2.7.0"), (false, "535 5.7.8")] {
        let mut phone = post.call_under_tls().await;
        let offered = phone.say("EHLO phone\r\n", 12).await.concat();
        assert!(offered.contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 "), "{offered}");
        let (_, connection) = phone.0.get_ref().get_ref();
        let mut binding =
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap();
        // Somebody in the middle has another connection to the phone than to us.
        binding[0] ^= u8::from(!bound);
        let login = scram::client::Client {
            login: "alice@example.org",
            password: "correct horse",
            flag: "p=tls-exporter,,",
            binding: &binding,
        };
        let first = format!("AUTH SCRAM-SHA-256-PLUS {}\r\n", login.first());
        let challenge = phone.say(&first, 1).await.concat();
        let challenge = challenge.strip_prefix("334 ").unwrap().trim_end();
        let (last, signature) = login.last(challenge);
        let reply = phone.say(&format!("{last}\r\n"), 1).await.concat();
        if bound {
            assert_eq!(reply, format!("334 {signature}\r\n"));
            assert!(phone.say("\r\n", 1).await.concat().starts_with(code));
            let sent = phone.say("MAIL FROM:<alice@example.org>\r\n", 1).await.concat();
            assert!(sent.starts_with("250 2.1.0"), "{sent}");
        } else {
            assert!(reply.starts_with(code), "{reply}");
        }
    }
}

#[tokio::test]
async fn nobody_is_logged_in_before_the_client_has_seen_our_proof() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    for (answer, code) in [("*", "501 5.7.0"), ("eA==", "501 5.5.2")] {
        let mut phone = post.call_under_tls().await;
        phone.say("EHLO phone\r\n", 12).await;
        let login = scram::client::Client {
            login: "alice@example.org",
            password: "correct horse",
            flag: "n,,",
            binding: b"",
        };
        assert_eq!(phone.say("AUTH SCRAM-SHA-256\r\n", 1).await, ["334 \r\n"]);
        let challenge = phone.say(&format!("{}\r\n", login.first()), 1).await.concat();
        let (last, _) = login.last(challenge.strip_prefix("334 ").unwrap().trim_end());
        phone.say(&format!("{last}\r\n"), 1).await;
        let reply = phone.say(&format!("{answer}\r\n"), 1).await.concat();
        assert!(reply.starts_with(code), "{reply}");
        let reply = phone.say("MAIL FROM:<alice@example.org>\r\n", 1).await.concat();
        assert!(reply.starts_with("530 5.7.0"), "{reply}");
    }
}

#[tokio::test]
async fn mail_over_the_days_allowance_is_held_and_told_of_once() {
    let daily = DailyLimits { messages: 2, new_recipients: 200 };
    let post = PostOffice::open_with(Options::default(), Timeouts::default(), daily).await;
    let mut phone = post.call_under_tls().await;
    phone.say("EHLO phone\r\n", 12).await;
    let plain = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAGNvcnJlY3QgaG9yc2U=\r\n";
    assert!(phone.say(plain, 1).await.concat().starts_with("235"));
    for _ in 0..5 {
        let letter = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n";
        phone.say(letter, 3).await;
        let reply = phone.say("From: <alice@example.org>\r\n\r\nHello\r\n.\r\n", 1).await;
        assert!(reply.concat().starts_with("250 2.0.0"), "{reply:?}");
    }
    let queue = post.queue.list().unwrap();
    let held = |item: &&crate::queue::Item| {
        item.recipients.iter().all(|(_, said)| said.contains("more was sent than the account may"))
    };
    assert_eq!((queue.len(), queue.iter().filter(held).count()), (5, 3));
    let inbox = post.inbox();
    let notice = inbox.first().unwrap();
    assert_eq!(inbox.len(), 1);
    assert!(notice.contains("Subject: Mail of alice@example.org is being held\r\n"), "{notice}");
    assert!(notice.contains("has sent more than 2 messages.\r\n"), "{notice}");
    assert!(notice.contains("The first is to bob@example.net.\r\n"), "{notice}");
    assert!(notice.contains("messages_per_day under [limits]"), "{notice}");
    // What stays in the house is not counted, and the owner's word ends the hold.
    phone.say("MAIL FROM:<alice@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n", 3).await;
    phone.say("From: <alice@example.org>\r\n\r\nHello\r\n.\r\n", 1).await;
    assert_eq!(post.inbox().len(), 2);
    let last = queue.iter().find(held).unwrap().id;
    post.queue.release(last).await.unwrap();
    assert_eq!(post.queue.list().unwrap().iter().filter(held).count(), 2);
}

#[tokio::test]
async fn a_stop_is_told_to_everyone_connected() {
    let post = PostOffice::open(Options::default(), Timeouts::default()).await;
    let mut idle = post.call(Role::Mx).await;
    idle.say("EHLO x\r\n", 2).await;
    post.stop.cancel();
    assert!(idle.rest().await.contains("421 4.3.2"));
    post.tasks.close();
    timeout(Duration::from_secs(5), post.tasks.wait()).await.unwrap();
}

/// A whole post office in a temporary folder, with one account.
struct PostOffice {
    folder: TempDir,
    /// Knows no name, unless it is told one.
    world: World,
    server: Arc<Server>,
    store: Store,
    queue: Queue,
    reports: Reports,
    greylist: Arc<Greylist>,
    alice: AccountId,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl PostOffice {
    async fn open(options: Options, timeouts: Timeouts) -> Self {
        Self::open_with(options, timeouts, DailyLimits::default()).await
    }

    async fn open_with(options: Options, timeouts: Timeouts, daily: DailyLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open_in(folder, options, timeouts, daily).await
    }

    /// Closes and opens the same folder with other options.
    async fn reopen(self, options: Options) -> Self {
        let Self { folder, server, store, queue, .. } = self;
        drop((server, queue));
        store.close().await.unwrap();
        Self::open_in(folder, options, Timeouts::default(), DailyLimits::default()).await
    }

    async fn open_in(
        folder: TempDir,
        options: Options,
        timeouts: Timeouts,
        daily: DailyLimits,
    ) -> Self {
        let domain: Domain = "example.org".parse().unwrap();
        let hostname: Domain = "localhost".parse().unwrap();
        let alice: Address = "alice@example.org".parse().unwrap();
        let path = |name: &str| folder.path().join(name);
        let store = Store::open(&path("store"), options).unwrap();
        let accounts = Accounts::open(store.clone(), vec![domain.clone()]).unwrap();
        if accounts.list().is_empty() {
            let password = Password::new("correct horse".to_owned());
            accounts.add(alice.clone(), password).await.unwrap();
        }
        let clock: SharedClock = Arc::new(SystemClock);
        let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let resolver = Resolver::new(&[world.local()]).unwrap();
        let queue = Queue::new(QueueParts {
            store: store.clone(),
            accounts: accounts.clone(),
            resolver: resolver.clone(),
            keys: SigningKeys::open_or_create(&path("keys"), &[domain]).unwrap(),
            hostname: hostname.clone(),
            outbound: Outbound::from(OutboundMode::Hold),
            listens: Vec::new(),
            clock: Arc::clone(&clock),
            schedule: Schedule::default(),
        })
        .unwrap();
        let tls = Tls::self_signed(&path("tls"), &hostname).unwrap();
        let Lookup::Account(account) = accounts.lookup(&alice) else { panic!("no alice") };
        let settings =
            ServerSettings { hostname, postmaster: alice, message_size: 16 << 20, timeouts };
        let reports = Reports::open(store.clone(), accounts.clone(), Arc::clone(&clock)).unwrap();
        let notes = Arc::new(Notes::open(&path("store")));
        let junk = Arc::new(Junk::open(Arc::clone(&notes)));
        let greylist = Arc::new(Greylist::open(notes));
        let allowance = Allowance::new(store.clone(), Arc::clone(&junk), daily);
        let guard = Guard::new(guard::Parts {
            resolver: resolver.clone(),
            clock: Arc::clone(&clock),
            hostname: settings.hostname.clone(),
            junk,
            marks: Box::new(|_| Marks::default()),
            lists: Dnsbl::new(resolver, Vec::new()),
            greylist: Arc::clone(&greylist),
            witness: Arc::new(reports.clone()),
        });
        let (queue, store) = (queue.clone(), store.clone());
        let house = House {
            tls,
            accounts,
            queue: queue.clone(),
            store: store.clone(),
            guard,
            allowance,
            clock,
        };
        Self {
            folder,
            world,
            server: Arc::new(Server::new(settings, house)),
            store,
            queue,
            reports,
            greylist,
            alice: account,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Serves connections of one role on a port of the system's choice.
    async fn listen(&self, role: Role) -> SocketAddr {
        self.listen_to(role, None).await
    }

    /// The same, and whoever calls is taken to call from another place.
    async fn listen_to(&self, role: Role, place: Option<IpAddr>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let (server, stop) = (Arc::clone(&self.server), self.stop.clone());
        let serve = async move {
            while let Some(Ok((stream, from))) = stop.run_until_cancelled(listener.accept()).await {
                let peer = Peer { address: place.unwrap_or(from.ip()), local };
                let (server, stop) = (Arc::clone(&server), stop.clone());
                tokio::spawn(async move { server.serve(stream, peer, role, stop).await });
            }
        };
        self.tasks.spawn(serve);
        local
    }

    async fn call(&self, role: Role) -> Caller {
        let address = self.listen(role).await;
        Caller(BufStream::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn call_from(&self, role: Role, place: IpAddr) -> Caller {
        let address = self.listen_to(role, Some(place)).await;
        Caller(BufStream::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Calls port 465 as a phone does.
    async fn call_under_tls(&self) -> Caller<TlsStream<TcpStream>> {
        let address = self.listen(Role::Submissions).await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let mut caller = Caller(BufStream::new(stream));
        assert!(caller.say("", 1).await.concat().starts_with("220"));
        caller
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let certificate = self.folder.path().join("tls/certificate.pem");
        CertificateDer::from_pem_file(certificate).unwrap()
    }

    fn client(&self) -> Client {
        let root = self.certificate();
        let hello = "client.example.net".parse().unwrap();
        Client::new(hello, &[root], client::Timeouts::default()).unwrap()
    }

    /// The messages in Alice's inbox, oldest first.
    fn inbox(&self) -> Vec<String> {
        let inbox = self.store.find_mailbox(self.alice, &MailboxName::inbox()).unwrap().unwrap();
        let text = |content: &crate::store::Content| {
            let mut text = String::new();
            self.store.read(content).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        self.store.messages(inbox.id).unwrap().iter().map(|m| text(&m.content)).collect()
    }
}

/// Someone who speaks SMTP by hand.
struct Caller<S = TcpStream>(BufStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin;

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// Sends text, then reads so many lines.
    async fn say(&mut self, text: &str, lines: usize) -> Vec<String> {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        let mut replies = Vec::new();
        for _ in 0..lines {
            let mut line = String::new();
            let read = timeout(Duration::from_secs(20), self.0.read_line(&mut line)).await;
            assert!(read.unwrap().unwrap() > 0, "hung up after {replies:?}");
            replies.push(line);
        }
        replies
    }

    /// Everything until the server hangs up.
    async fn rest(&mut self) -> String {
        let mut text = String::new();
        let mut reader = BufReader::new(&mut self.0);
        timeout(Duration::from_secs(10), reader.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }
}

fn target(address: SocketAddr, security: Security, password: &str) -> Target {
    let login = ("alice@example.org".to_owned(), Password::new(password.to_owned()));
    Target { address, name: "localhost".parse().unwrap(), security, login: Some(login) }
}
