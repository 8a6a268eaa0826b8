#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::dns::world::World;
use crate::mail::Address;
use crate::net::certified;
use crate::smtp::client::{Client, Timeouts};
use crate::store::Options;

const POLICY: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mx.far.test\r\nmx: *.pool.test\r\nmax_age: 86400\r\n";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

#[test]
fn a_policy_is_read_as_rfc_8461_writes_it() {
    let policy = Policy::parse(POLICY).unwrap();
    assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 86400));
    for host in ["mx.far.test", "a.pool.test"] {
        assert!(policy.names(&domain(host)), "{host}");
    }
    for host in ["x.mx.far.test", "pool.test", "a.b.pool.test", "far.test"] {
        assert!(!policy.names(&domain(host)), "{host}");
    }
    let wide = "version: STSv1\nmode: testing\nmx: mx.Bücher.test\nmax_age: 99999999999\nx: y\n";
    let wide = Policy::parse(wide).unwrap();
    assert!(wide.names(&domain("mx.xn--bcher-kva.test")));
    assert_eq!(wide.max_age, LONGEST);
    assert!(Policy::parse("version: STSv1\nmode: none\nmax_age: 1\n").is_ok());
    for wrong in [
        "",
        "mode: enforce\nmx: a.test\nmax_age: 1\n",
        "version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1\n",
        "version: STSv1\nmode: sometimes\nmx: a.test\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmx: a.test\n",
        "version: STSv1\nmode: enforce\nmx: a test\nmax_age: 1\n",
        "version: STSv1\nmode: enforce\nmx: *.*.test\nmax_age: 1\n",
        "<html>",
    ] {
        assert!(Policy::parse(wrong).is_err(), "{wrong:?}");
    }
    let long = format!("version: STSv1\nmode: enforce\nmax_age: 1\n{}", "mx: a.test\n".repeat(101));
    assert!(Policy::parse(&long).is_err());
}

#[test]
fn the_record_must_be_one_and_whole() {
    let id = |texts: &[&str]| policy_id(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(id(&["v=STSv1; id=20261122T10;"]).as_deref(), Some("20261122T10"));
    assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=1"]).as_deref(), Some("1"));
    for wrong in [
        &["v=STSv1; id=1;", "v=STSv1; id=2;"][..],
        &["v=STSv1; id=;"],
        &["v=STSv1; id=a-b;"],
        &["v=STSv10; id=1;"],
        &["id=1; v=STSv1;"],
        &[],
    ] {
        assert_eq!(id(wrong), None, "{wrong:?}");
    }
}

/// A web host that gives out what it is told, and counts.
struct Web {
    said: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    port: u16,
    certificate: rustls_pki_types::CertificateDer<'static>,
}

async fn web() -> Web {
    let (certificate, acceptor) = certified("mta-sts.far.test");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(ok(POLICY)));
    let asked = Arc::new(AtomicUsize::new(0));
    let (answer, count) = (Arc::clone(&said), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer.lock().unwrap().clone();
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Web { said, asked, port, certificate }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn world() -> World {
    let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    world
        .load(
            ".",
            "$TTL 0\n_mta-sts.far.test. TXT \"v=STSv1; id=1;\"\nmta-sts.far.test. A 127.0.0.1\n",
        )
        .unwrap();
    world
}

fn policies(store: &Store, world: &World, web: &Web) -> Policies {
    let roots = std::slice::from_ref(&web.certificate);
    let hello: Address = "a@box.example.org".parse().unwrap();
    let client = Client::new(hello.domain().clone(), roots, Timeouts::default()).unwrap();
    let resolver = Resolver::new(&[world.local()]).unwrap();
    Policies::new(store.clone(), resolver, Fetcher::anywhere(client.web().unwrap(), web.port))
}

#[tokio::test]
async fn a_policy_is_remembered_as_long_as_it_says_and_fetched_when_it_changes() {
    let (world, web) = (world().await, web().await);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let far = domain("far.test");
    let first = policies(&store, &world, &web);
    let Known::Policy(policy) = first.of(&far, at(0)).await else { panic!("no policy") };
    assert_eq!(policy.mode, Mode::Enforce);
    assert!(matches!(first.of(&far, at(10)).await, Known::Policy(_)));
    assert_eq!(web.asked.load(Ordering::Relaxed), 1, "asked again for what was known");

    // Another process, and somebody hides the record and the host.
    let second = policies(&store, &world, &web);
    world.remove(&domain("_mta-sts.far.test"));
    world.remove(&domain("mta-sts.far.test"));
    assert!(matches!(second.of(&far, at(86_000)).await, Known::Policy(_)));
    assert_eq!(second.of(&far, at(86_401)).await, Known::Nothing, "older than it may be");

    // A new id means a new policy.
    world
        .load(
            ".",
            "$TTL 0\n_mta-sts.far.test. TXT \"v=STSv1; id=2;\"\nmta-sts.far.test. A 127.0.0.1\n",
        )
        .unwrap();
    *web.said.lock().unwrap() = ok(&POLICY.replace("enforce", "none"));
    assert_eq!(policies(&store, &world, &web).of(&far, at(20)).await, Known::Nothing);
    assert_eq!(web.asked.load(Ordering::Relaxed), 2);
    assert_eq!(
        policies(&store, &world, &web).of(&domain("other.test"), at(20)).await,
        Known::Nothing
    );
}

#[tokio::test]
async fn what_is_no_policy_is_none_and_is_not_asked_for_at_once_again() {
    let (world, web) = (world().await, web().await);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let far = domain("far.test");
    for (said, why) in [
        ("HTTP/1.1 302 Found\r\nLocation: /else\r\n\r\n".to_owned(), Unreadable::Fetch),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(), Unreadable::Fetch),
        (ok(POLICY).replace("text/plain", "text/html"), Unreadable::Fetch),
        (ok(&"x: y\n".repeat(20_000)), Unreadable::Invalid),
        (ok("version: STSv1\n"), Unreadable::Invalid),
        ("rubbish".to_owned(), Unreadable::Fetch),
    ] {
        *web.said.lock().unwrap() = said.clone();
        let policies = policies(&store, &world, &web);
        assert_eq!(policies.of(&far, at(0)).await, Known::Unreadable(why), "{said}");
        let asked = web.asked.load(Ordering::Relaxed);
        assert_eq!(policies.of(&far, at(1)).await, Known::Nothing);
        assert_eq!(web.asked.load(Ordering::Relaxed), asked);
    }
    // A certificate for another name.
    world
        .load(
            ".",
            "$TTL 0\n_mta-sts.wrong.test. TXT \"v=STSv1; id=1;\"\nmta-sts.wrong.test. A 127.0.0.1\n",
        )
        .unwrap();
    let policies = policies(&store, &world, &web);
    let known = policies.of(&domain("wrong.test"), at(0)).await;
    assert_eq!(known, Known::Unreadable(Unreadable::Certificate));
}
