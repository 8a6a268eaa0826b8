//! Signing in, and the pages of those who did.

use jiff::Timestamp;

use super::super::junk;
use super::*;
use crate::accounts::{Accounts, JunkMarks, Password};
use crate::policy::greylist::Waiting;
use crate::policy::junk::{Lessons, Marks, Pile, Reason, Score, Shown, Told, Verdict};
use crate::queue::Item;
use crate::reports::{DmarcDay, Origin, Summary, TlsDay};
use crate::store::{AccountId, Options, QueueId, Store};

/// A post office of which only the accounts are real.
pub(super) struct Known {
    _folder: tempfile::TempDir,
    accounts: Accounts,
    pile: Mutex<Pile>,
    queue: Mutex<Vec<Item>>,
    summary: Mutex<Summary>,
    asked_back: Mutex<Vec<Waiting>>,
    sent: Mutex<Vec<u64>>,
}

impl Known {
    pub(super) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let accounts = Accounts::open(store, vec!["b.org".parse().unwrap()]).unwrap();
        Self {
            _folder: folder,
            accounts,
            pile: Mutex::default(),
            queue: Mutex::default(),
            summary: Mutex::default(),
            asked_back: Mutex::default(),
            sent: Mutex::default(),
        }
    }
}

impl Books for Known {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn usual_marks(&self) -> Marks {
        Marks::default()
    }

    fn lessons(&self, _: AccountId) -> Lessons {
        Lessons { spam: 0, ham: 7 }
    }

    fn pile(&self, _: AccountId, _: i32) -> Result<Pile, String> {
        Ok(self.pile.lock().unwrap().clone())
    }

    fn asked_back(&self) -> Vec<Waiting> {
        self.asked_back.lock().unwrap().clone()
    }

    fn queue(&self) -> Result<Vec<Item>, String> {
        Ok(self.queue.lock().unwrap().clone())
    }

    fn send_now(
        &self,
        id: QueueId,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        self.sent.lock().unwrap().push(id.0);
        let gone = id == QueueId(404);
        Box::pin(async move { if gone { Err("it is gone".to_owned()) } else { Ok(()) } })
    }

    fn reported(&self, _: u16) -> Result<Summary, String> {
        Ok(self.summary.lock().unwrap().clone())
    }
}

const ALICE: &str = "alice secret ☂";
const BOB: &str = "bob's secret";
/// What a stranger may write anywhere.
const HOSTILE: &str = "\"><script>alert(1)</script>&'";

/// A box in use, with its owner Alice, and Bob.
async fn house() -> House {
    let house = House::open().await;
    let text = "[domain]\nname = \"b.org\"\n[owner]\naddress = \"alice@b.org\"\n\
                [listen]\nhttps = [\"127.0.0.1:8443\"]\n";
    *house.memory.file.lock().unwrap() = ConfigFile::parse(text, "x").unwrap();
    for (address, password) in [("alice@b.org", ALICE), ("bob@b.org", BOB)] {
        let password = Password::new(password.to_owned());
        house.known.accounts.add(address.parse().unwrap(), password).await.unwrap();
    }
    house
}

impl House {
    /// A browser on the encrypted port.
    fn safe_browser(&self) -> Browser {
        Browser { address: self.secure, ..self.browser() }
    }

    async fn signed_in(&self, address: &str, password: &str) -> Browser {
        let mut browser = self.safe_browser();
        let answer = sign_in(&mut browser, address, password).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/junk")));
        browser.get("/junk").await;
        browser
    }
}

async fn sign_in(browser: &mut Browser, address: &str, password: &str) -> Answer {
    browser.post("/sign-in", &[("address", address), ("password", password)]).await
}

#[tokio::test]
async fn passwords_are_taken_on_encrypted_connections_alone() {
    let house = house().await;
    let mut open = house.browser();
    let page = open.get("/sign-in?to=/queue").await;
    let link = "https://127.0.0.1:8443/sign-in?to=/queue";
    assert!(page.body.contains(link) && !page.body.contains("password\""), "{}", page.body);
    let answer = sign_in(&mut open, "alice@b.org", ALICE).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (403, None));

    let mut safe = house.signed_in("alice@b.org", ALICE).await;
    assert_eq!(safe.get("/junk").await.status, 200);
    // A ticket that a connection in the clear brings opens nothing.
    open.cookie = safe.cookie.clone();
    assert_eq!(open.get("/junk").await.header("location"), Some("/sign-in?to=/junk"));
    assert!(open.get("/").await.body.contains("Sign in"));
}

#[tokio::test]
async fn who_signs_in_comes_to_the_page_that_was_asked_for_and_no_other_site() {
    let house = house().await;
    let mut browser = house.safe_browser();
    let answer = browser.get("/queue").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/sign-in?to=/queue")));
    let form = browser.get("/sign-in?to=/queue").await;
    assert!(form.body.contains("name=\"to\" value=\"/queue\""), "{}", form.body);
    for (to, place) in [("/queue", "/queue"), ("//evil.example/", "/junk"), ("", "/junk")] {
        let fields = [("address", " Alice@B.org "), ("password", ALICE), ("to", to)];
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.header("location"), Some(place), "{to}");
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-pillarbox="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200"));
    }
    assert_eq!(browser.get("/sign-in").await.header("location"), Some("/junk"));
    let status = browser.get("/").await.body;
    assert!(status.contains("Sign out") && status.contains("href=\"/queue\""), "{status}");
}

#[tokio::test]
async fn a_wrong_password_is_said_and_never_shown_and_guessing_has_to_wait() {
    let house = house().await;
    let mut browser = house.safe_browser();
    for tried in 1..=6 {
        let guess = format!("guess number {tried}");
        let answer = sign_in(&mut browser, HOSTILE, &guess).await;
        assert_eq!(answer.header("set-cookie"), None);
        assert!(!answer.body.contains(&guess) && !answer.body.contains("<script>a"));
        assert_eq!(answer.status, if tried == 6 { 429 } else { 403 }, "{tried}");
    }
    let answer = sign_in(&mut browser, "alice@b.org", ALICE).await;
    assert!(answer.status == 429 && answer.header("retry-after").is_some());
    assert!(answer.body.contains("were wrong, so none is taken for"), "{}", answer.body);
    // The page says so of mail programs, too.
    let program = house.known.accounts.authenticate(
        "alice@b.org",
        Password::new(ALICE.to_owned()),
        Ipv4Addr::LOCALHOST.into(),
    );
    assert!(program.await.is_err() && answer.body.contains("others wait, too"));
}

#[tokio::test]
async fn a_devices_password_opens_no_page() {
    let house = house().await;
    let address = "bob@b.org".parse().unwrap();
    let device = house.known.accounts.add_device(&address, "phone").await.unwrap();
    let answer = sign_in(&mut house.safe_browser(), "bob@b.org", device.expose()).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (403, None));
    assert!(answer.body.contains("password of a device"));
}

#[tokio::test]
async fn signing_out_and_a_new_password_end_a_session() {
    let house = house().await;
    let mut one = house.signed_in("bob@b.org", BOB).await;
    let mut two = house.signed_in("bob@b.org", BOB).await;
    let ticket = one.cookie.clone();
    assert_eq!(one.post("/sign-out", &[]).await.status, 403, "another site signs people out");
    let mark = one.mark.clone();
    let answer = one.post("/sign-out", &[("mark", &mark)]).await;
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    one.cookie = ticket;
    assert_eq!(one.get("/junk").await.status, 303, "the ticket opens still");
    assert_eq!(two.get("/junk").await.status, 200);
    let new = Password::new("quite another".to_owned());
    house.known.accounts.set_password(&"bob@b.org".parse().unwrap(), new).await.unwrap();
    assert_eq!(two.get("/junk").await.status, 303, "the old password opens still");
}

#[tokio::test]
async fn what_concerns_the_household_is_shown_to_its_owner_alone() {
    let house = house().await;
    house.known.asked_back.lock().unwrap().push(Waiting {
        first: Timestamp::UNIX_EPOCH,
        retry: Timestamp::UNIX_EPOCH,
        passed: None,
        peer: "192.0.2.7".parse().unwrap(),
        from: "shop.example".to_owned(),
        to: "bob@b.org".to_owned(),
        reason: "its address has no name".to_owned(),
    });
    let mut bob = house.signed_in("bob@b.org", BOB).await;
    let page = bob.get("/junk").await.body;
    assert!(!page.contains("shop.example") && !page.contains("/reports"), "{page}");
    for path in ["/queue", "/reports"] {
        assert_eq!(bob.get(path).await.status, 403, "{path}");
    }
    let mark = bob.mark.clone();
    assert_eq!(bob.post("/queue", &[("mark", &mark), ("id", "1")]).await.status, 403);
    assert!(house.known.sent.lock().unwrap().is_empty());
    let mut alice = house.signed_in("alice@b.org", ALICE).await;
    let page = alice.get("/junk").await.body;
    assert!(page.contains("shop.example") && page.contains("its address has no name."));
    assert!(page.contains("taken from 1970-01-01 00:00 on"), "{page}");
    for path in ["/queue", "/reports"] {
        assert_eq!(alice.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_other_providers_say_is_told_to_the_owner_alone() {
    let house = house().await;
    let told = "nobody wrote in your name";
    assert!(!house.browser().get("/").await.body.contains(told), "told to anybody");
    let mut bob = house.signed_in("bob@b.org", BOB).await;
    assert!(!bob.get("/").await.body.contains(told), "told to Bob");
    let mut alice = house.signed_in("alice@b.org", ALICE).await;
    assert!(alice.get("/").await.body.contains(told));
}

#[tokio::test]
async fn everybody_decides_when_mail_is_junk_to_them() {
    let house = house().await;
    let marks = |account| house.known.accounts.junk_marks(AccountId(account));
    let mut bob = house.signed_in("bob@b.org", BOB).await;
    let mark = bob.mark.clone();
    assert_eq!(bob.post("/junk/marks", &[("way", "strict")]).await.status, 403, "no mark");
    let mut choose = async |fields: &[(&str, &str)]| {
        bob.post("/junk/marks", &[&[("mark", mark.as_str())], fields].concat()).await
    };
    assert_eq!(choose(&[("way", "strict")]).await.header("location"), Some("/junk"));
    assert_eq!(marks(2), JunkMarks::new(35, 105).ok());
    assert_eq!(marks(1), None, "it is Alice's, too");
    let own = [("way", "own"), ("junk", " 60 "), ("refuse", "200")];
    assert_eq!(choose(&own).await.status, 303);
    assert_eq!(marks(2), JunkMarks::new(60, 200).ok());
    for (junk, refuse, words) in [
        ("5", "100", "not from 5 on"),
        ("60", "", "whole numbers"),
        ("120", "90", "refuse from 120 or more on"),
        (HOSTILE, "90", "&lt;script&gt;"),
    ] {
        let answer = choose(&[("way", "own"), ("junk", junk), ("refuse", refuse)]).await;
        assert!(answer.status == 422 && answer.body.contains(words), "{}", answer.body);
        assert!(!answer.body.contains("<script>a"));
    }
    assert_eq!(choose(&[]).await.status, 422);
    let answer = choose(&[("way", "another")]).await;
    assert!(answer.body.contains("<h1>This form was not taken"), "{}", answer.body);
    assert_eq!(marks(2), JunkMarks::new(60, 200).ok(), "a slip changed something");
    assert_eq!(choose(&[("way", "usual")]).await.status, 303);
    assert_eq!(marks(2), None);
    let again = bob.get("/junk/marks").await;
    assert_eq!((again.status, again.header("location")), (303, Some("/junk")));
    let answer = bob.get("/sign-out").await;
    assert!(answer.status == 405 && answer.body.contains("<h1>No such page"), "{}", answer.body);
}

#[tokio::test]
async fn the_junk_page_tells_why_and_stays_small_whatever_strangers_write() {
    let house = house().await;
    let reason = |points| Reason { points, text: HOSTILE.repeat(5) };
    let shown = |verdict| Shown {
        name: HOSTILE.repeat(2),
        address: HOSTILE.repeat(3),
        subject: HOSTILE.repeat(4),
        at: Timestamp::UNIX_EPOCH,
        told: Some(Told {
            verdict,
            marks: Marks::default(),
            score: Score { points: 72, reasons: [vec![reason(-3)], vec![reason(9); 20]].concat() },
        }),
    };
    *house.known.pile.lock().unwrap() = Pile {
        junk: [vec![shown(Verdict::Inbox)], vec![shown(Verdict::Junk); 49]].concat(),
        junk_in_all: 70,
        close: vec![shown(Verdict::Inbox); 10],
    };
    let mut alice = house.signed_in("alice@b.org", ALICE).await;
    let page = alice.get("/junk").await.body;
    assert!(page.len() < 50_000, "{} bytes", page.len());
    assert!(!page.contains("<script>a") && page.contains("&lt;script&gt;"));
    assert!(page.contains("Why 72 points") && page.contains("−3: ") && page.contains("+9: "));
    assert_eq!(page.matches("Moved here by you.").count(), 1);
    assert!(page.contains("older, in the folder itself") && page.contains("and smaller reasons"));
    assert!(page.contains("0 junk and 7 wanted") && page.contains("too little to be counted"));
    // Letters as people get them all have room.
    let usual = Shown {
        name: "Newsletter of the shop".to_owned(),
        address: "news@shop.example".to_owned(),
        subject: "Everything must go, this week only".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        told: Some(Told {
            verdict: Verdict::Junk,
            marks: Marks::default(),
            score: Score {
                points: 61,
                reasons: vec![
                    Reason { points: 24, text: "it urges to buy".to_owned() },
                    Reason { points: 20, text: "the sending machine has no name".to_owned() },
                    Reason { points: 17, text: "it has only HTML, no plain text".to_owned() },
                ],
            },
        }),
    };
    *house.known.pile.lock().unwrap() =
        Pile { junk: vec![usual; 50], junk_in_all: 50, close: Vec::new() };
    let page = alice.get(junk::PATH).await.body;
    assert_eq!(page.matches("Why 61 points").count(), 50);
    assert!(page.len() < 50_000, "{} bytes", page.len());
}

#[tokio::test]
async fn what_waits_is_told_with_the_reason_the_advice_and_the_time() {
    let house = house().await;
    let mut alice = house.signed_in("alice@b.org", ALICE).await;
    assert!(alice.get("/queue").await.body.contains("Nothing waits."));
    let item = |id, said: &str| Item {
        id: QueueId(id),
        from: "bob@b.org".to_owned(),
        received: Timestamp::UNIX_EPOCH,
        next_attempt: Some(Timestamp::UNIX_EPOCH),
        gives_up: Some(Timestamp::from_second(5 * 86_400).unwrap()),
        size: 4_200,
        recipients: vec![("carol@far.test".parse().unwrap(), said.to_owned()); 30],
        advice: vec!["the host makes senders wait: nothing needs to be done.".to_owned()],
    };
    let said = format!("refused for now (mx.far.test); it said: 450 {HOSTILE}\u{7}");
    *house.known.queue.lock().unwrap() = (0..99).map(|id| item(id, &said.repeat(9))).collect();
    let page = alice.get("/queue").await.body;
    assert!(page.len() < 50_000, "{} bytes", page.len());
    assert!(!page.contains("<script>a") && !page.contains('\u{7}'));
    for words in [
        "99 messages wait",
        "From bob@b.org",
        "carol@far.test",
        "it said: 450",
        "What to do: The host makes senders wait",
        "Next try 1970-01-01 00:00",
        "by 1970-01-06 00:00",
        "And for 20 more.",
        "more: pillarbox queue list",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let mark = alice.mark.clone();
    assert_eq!(alice.post("/queue", &[("id", "7")]).await.status, 403);
    let answer = alice.post("/queue", &[("mark", &mark), ("id", "7")]).await;
    assert_eq!(answer.header("location"), Some("/queue"));
    let answer = alice.post("/queue", &[("mark", &mark), ("id", "404")]).await;
    assert!(answer.status == 409 && answer.body.contains("It is gone."));
    assert_eq!(*house.known.sent.lock().unwrap(), [7, 404]);
}

#[tokio::test]
async fn what_others_report_is_summed_up_by_domain_and_source() {
    let house = house().await;
    let origin = |last: u8, messages, unproved, stopped| Origin {
        domain: "b.org".parse().unwrap(),
        source: std::net::IpAddr::from([198, 51, 100, last]),
        messages,
        unproved,
        stopped,
    };
    let reporters = (0..40).map(|number| (format!("{HOSTILE}{number}"), 1)).collect();
    *house.known.summary.lock().unwrap() = Summary {
        days: 30,
        reporters: 40,
        tls_reporters: 1,
        origins: vec![origin(7, 42, 0, 0), origin(8, 5, 5, 4), origin(9, 3, 1, 0)],
        dmarc: vec![DmarcDay {
            day: "2026-11-21".parse().unwrap(),
            domain: "b.org".parse().unwrap(),
            reporters,
            messages: 50,
            unproved: 6,
            stopped: 4,
            sources: Vec::new(),
        }],
        tls: vec![
            TlsDay {
                day: "2026-11-21".parse().unwrap(),
                domain: "b.org".parse().unwrap(),
                successes: 12,
                failures: 3,
                details: [(HOSTILE.to_owned(), 3)].into(),
            };
            300
        ],
    };
    let page = house.signed_in("alice@b.org", ALICE).await.get("/reports").await.body;
    assert!(page.len() < 50_000, "{} bytes", page.len());
    assert!(!page.contains("<script>a") && page.contains("and others"));
    for words in [
        "<td>198.51.100.7</td><td>42 messages, all passed</td>",
        "none passed; 4 were put aside or refused",
        "2 passed, 1 did not; none of those was stopped",
        "12 were encrypted as they should be, 3 failed",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}
