//! The pages over a real socket, asked by a plain HTTP client.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is the failed test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::serve::serve_from;
use super::*;
use crate::net::Stream;
use crate::selfcheck::{Area, Finding, Outcome};

mod people;

/// Shorter than the real one, and long enough for a slow machine.
const PATIENCE: Patience =
    Patience { head: Duration::from_secs(1), whole: Duration::from_secs(20) };

/// A set-up that only remembers.
#[derive(Default)]
struct Memory {
    file: Mutex<ConfigFile>,
    passwords: Mutex<Vec<String>>,
    replaced: Mutex<Vec<String>>,
    fails: Mutex<Option<String>>,
}

impl Setup for Memory {
    fn file(&self) -> ConfigFile {
        self.file.lock().unwrap().clone()
    }

    fn apply(
        &self,
        mut answers: ConfigFile,
        replaces: Option<Address>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            if let Some(reason) = self.fails.lock().unwrap().take() {
                return Err(reason);
            }
            answers.resolve("x").map_err(|error| error.to_string())?;
            let owner = answers.owner.as_mut().unwrap();
            let password = owner.password.take();
            self.passwords.lock().unwrap().extend(password.map(|text| text.expose().to_owned()));
            self.replaced.lock().unwrap().extend(replaces.map(|address| address.to_string()));
            *self.file.lock().unwrap() = answers;
            Ok(())
        })
    }

    fn told(&self) -> Vec<String> {
        vec!["In the last 30 days nobody wrote in your name.".to_owned()]
    }

    fn records(&self) -> Vec<Record> {
        vec![Record {
            name: "example.org".to_owned(),
            kind: "MX".to_owned(),
            value: "10 mail.example.org".to_owned(),
            why: "brings mail here <&>".to_owned(),
        }]
    }
}

struct House {
    address: SocketAddr,
    /// Where connections count as encrypted.
    secure: SocketAddr,
    known: Arc<people::Known>,
    code: String,
    memory: Arc<Memory>,
    report: watch::Sender<Option<Report>>,
    board: watch::Sender<View>,
    stage: watch::Receiver<Stage>,
    recheck: Arc<Notify>,
    data: tempfile::TempDir,
    stop: CancellationToken,
}

impl House {
    async fn open() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), Arc::default(), Ipv4Addr::LOCALHOST).await
    }

    /// `seen_from` is where requests seem to come from.
    async fn in_folder(data: tempfile::TempDir, memory: Arc<Memory>, seen_from: Ipv4Addr) -> Self {
        let (report, board) = (watch::channel(None), watch::channel(View::default()));
        let (stage, code) = (watch::channel(Stage::Unclaimed), ClaimCode::random().unwrap());
        let (recheck, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let known = Arc::new(people::Known::open());
        let router = router(Web {
            setup: Arc::clone(&memory) as Arc<dyn Setup>,
            books: Arc::clone(&known) as Arc<dyn Books>,
            report: report.1,
            recheck: Arc::clone(&recheck),
            board: Some(board.1),
            code: code.clone(),
            stage: stage.0,
            data: data.path().to_owned(),
        });
        let mut addresses = Vec::new();
        for tls in [false, true] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let (ended, router) = (stop.clone(), router.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let from = Connection { peer: seen_from.into(), tls };
                    let (stream, router) = (Stream::Plain(stream), router.clone());
                    tokio::spawn(serve_from(stream, from, router, PATIENCE, ended.clone()));
                }
            });
        }
        let (address, secure) = (addresses[0], addresses[1]);
        let (report, board, stage, code) = (report.0, board.0, stage.1, code.to_string());
        Self { address, secure, known, code, memory, report, board, stage, recheck, data, stop }
    }

    fn browser(&self) -> Browser {
        Browser { address: self.address, host: None, cookie: String::new(), mark: String::new() }
    }

    /// A browser that has typed the code in.
    async fn owner(&self) -> Browser {
        let mut browser = self.browser();
        let answer = browser.post("/claim", &[("code", &self.code)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/setup")));
        browser.get("/setup").await;
        browser
    }
}

/// Keeps the cookie and the mark of the last form, as a browser does.
struct Browser {
    address: SocketAddr,
    /// What it calls the box, when not by its address.
    host: Option<String>,
    cookie: String,
    mark: String,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Browser {
    async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), "", "").await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_from(path, fields, "").await
    }

    async fn step(&mut self, fields: &[(&str, &str)]) -> Answer {
        let mark = self.mark.clone();
        let answer = self.post("/setup", &[fields, &[("mark", mark.as_str())]].concat()).await;
        if answer.status == 303 { self.get("/setup").await } else { answer }
    }

    async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], head: &str) -> Answer {
        let hex = |digit: u8| char::from_digit(digit.into(), 16).unwrap();
        let escape = |text: &str| -> String {
            text.bytes().flat_map(|byte| ['%', hex(byte >> 4), hex(byte & 15)]).collect()
        };
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, text)| format!("{}={}", escape(name), escape(text)))
            .collect();
        let head = format!("Content-Type: application/x-www-form-urlencoded\r\n{head}");
        self.send(&format!("POST {path}"), &head, &pairs.join("&")).await
    }

    async fn send(&mut self, request: &str, head: &str, body: &str) -> Answer {
        let text = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: a=b; {}\r\n\
             Content-Length: {}\r\n{head}\r\n{body}",
            self.host.as_ref().unwrap_or(&self.address.to_string()),
            self.cookie,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
        if let Some(cookie) = answer.header("set-cookie") {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        if let Some((_, rest)) = body.split_once("name=\"mark\" value=\"") {
            rest.split('"').next().unwrap().clone_into(&mut self.mark);
        }
        answer
    }
}

const NAMES: [(&str, &str); 2] = [("step", "domain"), ("domain.name", "example.org")];
const OWNER: [(&str, &str); 4] = [
    ("step", "owner"),
    ("owner.address", "alice"),
    ("owner.password", "open sesame ☂ "),
    ("owner.again", "open sesame ☂ "),
];

#[tokio::test]
async fn the_set_up_is_walked_from_the_code_to_the_phone() {
    let house = House::open().await;
    let mut browser = house.browser();
    let hello = browser.get("/").await;
    assert!(hello.body.contains("Code on the box’s display"), "{}", hello.body);
    assert_eq!(browser.get("/setup").await.status, 303);

    let mut browser = house.owner().await;
    assert_eq!(*house.stage.borrow(), Stage::Claimed);
    let mut pages = vec![hello];
    pages.push(browser.step(&NAMES).await);
    assert!(pages[1].body.contains("Step 2 of 5") && pages[1].body.contains("@example.org"));
    pages.push(browser.step(&OWNER).await);
    assert!(pages[2].body.contains("Step 3 of 5"), "{}", pages[2].body);
    assert_eq!(*house.memory.passwords.lock().unwrap(), ["open sesame ☂ "]);
    let relay = [
        ("step", "sending"),
        ("outbound.mode", "relay"),
        ("outbound.relay.host", "smtp.example.net"),
        ("outbound.relay.port", "465"),
        ("outbound.relay.user", "alice"),
        ("outbound.relay.password", "relay secret"),
    ];
    pages.push(browser.step(&relay).await);
    assert!(pages[3].body.contains("10 mail.example.org"), "{}", pages[3].body);
    assert!(pages[3].body.contains("&lt;&amp;&gt;"));
    pages.push(browser.step(&[("step", "sending"), ("go", "back")]).await);
    assert!(pages[4].body.contains("Step 4 of 5"), "a form of another step moved it");
    pages.push(browser.step(&[("step", "records"), ("go", "back")]).await);
    assert!(pages[5].body.contains("smtp.example.net"));
    pages.push(browser.step(&[("step", "sending"), ("outbound.mode", "direct")]).await);
    pages.push(browser.step(&[("step", "records")]).await);
    assert!(pages[7].body.contains("alice@example.org") && pages[7].body.contains("993"));
    assert!(house.data.path().join(WIZARD_FILE).exists());

    pages.push(browser.step(&[("step", "phone")]).await);
    assert_eq!((pages[8].status, pages[8].header("location")), (303, Some("/")));
    assert_eq!(*house.stage.borrow(), Stage::Done);
    assert!(!house.data.path().join(WIZARD_FILE).exists());
    for page in &pages {
        assert!(!page.body.contains("sesame") && !page.body.contains("secret"), "{}", page.body);
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
        assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    }

    // From now on the doors are closed, with the right code too.
    assert!(browser.get("/").await.body.contains("mail.example.org"));
    assert_eq!(browser.post("/claim", &[("code", &house.code)]).await.status, 403);
    assert_eq!(browser.step(&NAMES).await.status, 403);
    house.stop.cancel();
}

#[tokio::test]
async fn what_was_typed_is_shown_again_with_the_complaint_but_never_a_password() {
    let house = House::open().await;
    let mut browser = house.owner().await;
    let wrong = [("step", "domain"), ("domain.name", "\"><script>"), ("box.hostname", "a.b.org")];
    let page = browser.step(&wrong).await;
    assert_eq!(page.status, 422);
    assert!(page.body.contains("is not a domain name") && page.body.contains("a.b.org"));
    assert!(page.body.contains("&quot;&gt;&lt;script&gt;") && !page.body.contains("<script>"));

    browser.step(&NAMES).await;
    let mut differs = OWNER;
    differs[3].1 = "open sesam";
    let page = browser.step(&differs).await;
    assert_eq!(page.status, 422);
    assert!(page.body.contains("The two passwords differ") && page.body.contains("\"alice\""));
    assert!(!page.body.contains("sesam"), "{}", page.body);
    assert!(house.memory.passwords.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_to_carry_out_is_said_and_can_be_tried_again() {
    let house = House::open().await;
    let mut browser = house.owner().await;
    browser.step(&NAMES).await;
    *house.memory.fails.lock().unwrap() = Some("the card is full".to_owned());
    let page = browser.step(&OWNER).await;
    assert!(page.status == 422 && page.body.contains("The card is full."));
    assert!(browser.step(&OWNER).await.body.contains("Step 3 of 5"));
}

#[tokio::test]
async fn a_power_cut_costs_nothing_but_the_code_once_more() {
    let house = House::open().await;
    let mut browser = house.owner().await;
    browser.step(&NAMES).await;
    browser.step(&OWNER).await;
    let former = house.code.clone();

    let again = House::in_folder(house.data, house.memory, Ipv4Addr::LOCALHOST).await;
    browser.address = again.address;
    assert_eq!(browser.get("/setup").await.header("location"), Some("/"), "a ticket outlived it");
    assert_eq!(browser.post("/claim", &[("code", &former)]).await.status, 403);
    let mut browser = again.owner().await;
    assert!(browser.get("/setup").await.body.contains("Step 3 of 5"));

    // Back to the account: the mistaken one is replaced.
    browser.step(&[("step", "sending"), ("go", "back")]).await;
    let mut bob = OWNER;
    bob[1].1 = "bob@example.org";
    browser.step(&bob).await;
    assert_eq!(*again.memory.replaced.lock().unwrap(), ["alice@example.org"]);
}

#[tokio::test]
async fn a_box_set_up_by_other_means_has_no_wizard() {
    let house = House::open().await;
    let mut browser = house.owner().await;
    let text = "[domain]\nname = \"b.org\"\n[owner]\naddress = \"a@b.org\"\n";
    *house.memory.file.lock().unwrap() = ConfigFile::parse(text, "x").unwrap();
    assert_eq!(browser.step(&NAMES).await.status, 403);
    assert!(browser.get("/").await.body.contains("mail.b.org"));
}

#[tokio::test]
async fn guessing_shuts_the_door_for_everybody() {
    let house = House::open().await;
    for tried in 1..=5 {
        let answer = house.browser().post("/claim", &[("code", "0000-000")]).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.body.contains("30 seconds"), tried == 5, "{tried}");
    }
    let right = house.browser().post("/claim", &[("code", &house.code)]).await;
    assert_eq!(right.status, 403);
    assert!(right.body.contains("wrong too often") && right.header("set-cookie").is_none());
}

#[tokio::test]
async fn the_first_browser_wins() {
    let house = House::open().await;
    let mut owner = house.owner().await;
    let mut second = house.browser();
    let answer = second.post("/claim", &[("code", &house.code)]).await;
    assert!(answer.status == 403 && answer.body.contains("another browser"));
    assert_eq!(second.get("/setup").await.status, 303);
    second.cookie = "pillarbox-setup=AAAA".to_owned();
    assert_eq!(second.get("/setup").await.status, 303);
    assert_eq!(owner.get("/setup").await.status, 200);
    let cookie = house.browser().post("/claim", &[("code", "")]).await;
    assert!(cookie.header("set-cookie").is_none());
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let house = House::open().await;
    let mut owner = house.owner().await;
    let mark = owner.mark.clone();
    for (mark, head) in [
        ("", ""),
        ("guess", ""),
        (mark.as_str(), "Origin: http://evil.example\r\n"),
        (mark.as_str(), "Origin: null\r\n"),
        (mark.as_str(), "Sec-Fetch-Site: cross-site\r\n"),
    ] {
        let fields = [NAMES.as_slice(), &[("mark", mark)]].concat();
        let answer = owner.post_from("/setup", &fields, head).await;
        assert_eq!(answer.status, 403, "{mark:?} {head:?}");
    }
    assert!(owner.get("/setup").await.body.contains("Step 1 of 5"));
    let head = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", house.address);
    let fields = [NAMES.as_slice(), &[("mark", mark.as_str())]].concat();
    assert_eq!(owner.post_from("/setup", &fields, &head).await.status, 303);
}

#[tokio::test]
async fn the_ticket_stays_with_its_browser() {
    let house = House::open().await;
    let answer = house.browser().post("/claim", &[("code", &house.code)]).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(cookie.contains("Max-Age=1800"));
}

#[tokio::test]
async fn check_again_waits_for_the_new_answer() {
    let house = House::open().await;
    let mut owner = house.owner().await;
    owner.step(&NAMES).await;
    owner.step(&OWNER).await;
    owner.step(&[("step", "sending"), ("outbound.mode", "direct")]).await;
    // What carrying out the account asked for.
    house.recheck.notified().await;
    let checker = async {
        house.recheck.notified().await;
        house.report.send_replace(Some(report(Outcome::Broken("nobody knows it".to_owned()))));
    };
    let mark = owner.mark.clone();
    let fields = [("mark", mark.as_str())];
    let (answer, ()) = tokio::join!(owner.post("/setup/check", &fields), checker);
    assert_eq!(answer.header("location"), Some("/setup#check"));
    let page = owner.get("/setup").await.body;
    assert!(page.contains("Nobody knows it.") && page.contains("publish it"), "{page}");
}

#[tokio::test]
async fn the_state_of_the_box_is_said_in_words() {
    let text = "[domain]\nname = \"b.org\"\n[owner]\naddress = \"a@b.org\"\n";
    let memory = Arc::new(Memory::default());
    *memory.file.lock().unwrap() = ConfigFile::parse(text, "x").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let house = House::in_folder(folder, memory, Ipv4Addr::LOCALHOST).await;
    let mut browser = house.browser();
    assert!(browser.get("/").await.body.contains("Starting"));
    for (outcome, words) in [
        (Outcome::Ok, "All is well"),
        (Outcome::Unknown("no answer".to_owned()), "Probably all is well"),
        (Outcome::Attention("late".to_owned()), "One thing could be better."),
        (Outcome::Broken("gone".to_owned()), "One thing must be put right."),
        (Outcome::NotApplicable("relay".to_owned()), "All is well"),
    ] {
        house.report.send_replace(Some(report(outcome)));
        let page = browser.get("/").await.body;
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test]
async fn the_panel_is_shown_but_its_code_only_to_this_computer() {
    let near = House::open().await;
    let data = tempfile::tempdir().unwrap();
    let far = House::in_folder(data, Arc::default(), Ipv4Addr::new(192, 0, 2, 7)).await;
    for (house, private, status) in [(&near, true, 200), (&far, false, 200), (&far, true, 404)] {
        house.board.send_replace(View {
            png: Bytes::from_static(b"\x89PNG"),
            word: "waiting".to_owned(),
            led: vec![(100, 200), (100, 1600)],
            lines: vec!["Code 1234-5678".to_owned()],
            private,
        });
        let mut browser = house.browser();
        for path in ["/board", "/board.png", "/board.json"] {
            let answer = browser.get(path).await;
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.body.contains("1234"), status == 200 && path != "/board.png");
        }
    }
    let json = near.browser().get("/board.json").await.body;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["timeline"], serde_json::json!([[100, 200], [100, 1600]]));
    assert_eq!(json["word"], "waiting");
}

#[tokio::test]
async fn large_and_broken_requests_are_refused() {
    let house = House::open().await;
    let mut browser = house.browser();
    let large = "1".repeat(40_000);
    assert_eq!(browser.post("/claim", &[("code", &large)]).await.status, 413);
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let broken = browser.send("POST /claim", kind, "code=%FF%FE&code=1").await;
    assert!((400..500).contains(&broken.status), "{}", broken.status);
    assert_eq!(browser.get("/../etc/passwd").await.status, 404);
    assert_eq!(
        browser.get("/style.css").await.header("content-type").unwrap(),
        "text/css; charset=utf-8"
    );
}

#[tokio::test]
async fn a_caller_who_dawdles_is_let_go() {
    let memory = Arc::default();
    let house = House::in_folder(tempfile::tempdir().unwrap(), memory, Ipv4Addr::LOCALHOST).await;
    for words in ["", "GET / HTTP/1.1\r\nHo", "GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let reading = stream.read_to_end(&mut bytes);
        assert!(tokio::time::timeout(PATIENCE.head * 5, reading).await.is_ok(), "{words:?}");
    }
}

fn report(outcome: Outcome) -> Report {
    let finding = Finding {
        id: "dns.mx".to_owned(),
        area: Area::Dns,
        question: "Does the world find the box?".to_owned(),
        outcome,
        evidence: vec!["MX example.org: no answer".to_owned()],
        why: "Mail would not arrive.".to_owned(),
        fix: "publish it".to_owned(),
    };
    Report { at: jiff::Timestamp::UNIX_EPOCH, findings: vec![finding] }
}

#[tokio::test]
async fn other_hosts_find_the_mta_sts_policy_at_its_name_and_nowhere_else() {
    let file = |tls: &str| {
        let text = format!(
            "[domain]\nname = \"example.org\"\n[owner]\naddress = \"alice@example.org\"\n{tls}"
        );
        ConfigFile::parse(&text, "x").unwrap()
    };
    let house = House::open().await;
    *house.memory.file.lock().unwrap() = file("");
    let ask = async |host: &str| {
        let mut browser = house.browser();
        browser.host = Some(host.to_owned());
        browser.get("/.well-known/mta-sts.txt").await
    };
    for host in ["mta-sts.example.org", "MTA-STS.Example.ORG.:8443"] {
        let answer = ask(host).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain")));
        assert_eq!(
            answer.body,
            "version: STSv1\r\nmode: testing\r\nmx: mail.example.org\r\nmax_age: 86400\r\n"
        );
    }
    for host in ["example.org", "mail.example.org", "mta-sts.other.test", "-", ""] {
        assert_eq!(ask(host).await.status, 404, "{host}");
    }
    *house.memory.file.lock().unwrap() = file("[tls]\nmta_sts = \"off\"\n");
    assert_eq!(ask("mta-sts.example.org").await.status, 404);
}
