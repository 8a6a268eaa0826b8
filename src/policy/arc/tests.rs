#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use super::super::dkim::SigningKeys;
use super::super::{Inspector, Origin, Peer, authenticate};
use super::*;
use crate::dns::Resolver;
use crate::dns::world::World;
use crate::policy::tests::late;

const LETTER: &str = "From: Alice <alice@example.net>\r\nTo: bob@home.test\r\n\
    Subject: Hello\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\n\
    \r\nHello  Bob,\r\n\r\nbye. \r\n\r\n";

struct Forwarder {
    _folder: tempfile::TempDir,
    keys: SigningKeys,
    domain: Domain,
    _world: World,
    resolver: Resolver,
}

impl Forwarder {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let domain: Domain = "home.test".parse().unwrap();
        let keys =
            SigningKeys::open_or_create(folder.path(), std::slice::from_ref(&domain)).unwrap();
        let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        for (name, value) in keys.records() {
            let strings: Vec<String> = value
                .as_bytes()
                .chunks(255)
                .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
                .collect();
            world.load(".", &format!("$TTL 60\n{name}. TXT {}\n", strings.join(" "))).unwrap();
        }
        let resolver = Resolver::new(&[world.local()]).unwrap();
        Self { _folder: folder, keys, domain, _world: world, resolver }
    }

    /// What the next one finds, with our field on top as if it were his.
    async fn receive(&self, message: &str) -> (Arc, String) {
        let mut inspector = Inspector::new();
        inspector.pass(message.as_bytes());
        let peer = Peer {
            ip: "192.0.2.1".parse().unwrap(),
            helo: "mx.example.net".to_owned(),
            mail_from: "alice@example.net".parse().unwrap(),
        };
        let origin = Origin::look_up(&self.resolver, peer, late()).await;
        let found = authenticate(&self.resolver, None, origin, inspector.finish(), late()).await;
        let field = found.field(&name());
        (found.arc, format!("{field}{message}"))
    }

    fn seal(&self, message: &str) -> Option<String> {
        let at = Some("2026-11-22T10:00:00Z".parse().unwrap());
        let set = self.keys.seal(&self.domain, &name(), message.as_bytes(), at).unwrap()?;
        let set = String::from_utf8(set).unwrap();
        assert!(set.lines().all(|line| line.len() < 79), "{set}");
        Some(format!("{set}{message}"))
    }
}

fn name() -> Domain {
    "mail.home.test".parse().unwrap()
}

#[tokio::test]
async fn seals_on_seals_hold_until_something_changes() {
    let forwarder = Forwarder::new().await;
    let mut message = LETTER.to_owned();
    for links in 0..3 {
        let (found, received) = forwarder.receive(&message).await;
        match &found {
            Arc::None if links == 0 => {}
            Arc::Pass(sealers) => assert_eq!(sealers.len(), links),
            other => panic!("after {links} links: {other:?}"),
        }
        message = forwarder.seal(&received).unwrap();
    }
    let (found, _) = forwarder.receive(&message).await;
    assert!(matches!(&found, Arc::Pass(sealers) if sealers.len() == 3), "{found:?}");
    for (this, that) in [
        ("Hello  Bob", "Hello Rob"),
        ("Subject: Hello", "Subject: Buy"),
        ("i=1; mail.home.test", "i=1; mail.evil.test"),
        ("cv=none", "cv=pass"),
    ] {
        assert!(message.contains(this), "{this}");
        let changed = message.replacen(this, that, 9);
        let (found, _) = forwarder.receive(&changed).await;
        assert!(matches!(found, Arc::Fail(_)), "{this}: {found:?}");
    }
}

#[tokio::test]
async fn a_broken_chain_is_sealed_once_as_broken_and_never_again() {
    let forwarder = Forwarder::new().await;
    let (_, received) = forwarder.receive(LETTER).await;
    let sealed = forwarder.seal(&received).unwrap().replace("bye", "buy");
    let (found, received) = forwarder.receive(&sealed).await;
    assert!(matches!(found, Arc::Fail(_)));
    let broken = forwarder.seal(&received).unwrap();
    assert!(broken.starts_with("ARC-Seal: i=2; a=rsa-sha256; cv=fail;"), "{broken}");
    let (found, received) = forwarder.receive(&broken).await;
    assert!(matches!(found, Arc::Fail(_)));
    assert_eq!(forwarder.seal(&received), None);
}

#[tokio::test]
async fn only_what_we_found_ourselves_is_sealed() {
    let forwarder = Forwarder::new().await;
    assert_eq!(forwarder.seal(LETTER), None);
    let foreign = format!("Authentication-Results: mx.evil.test; spf=pass\r\n{LETTER}");
    assert_eq!(forwarder.seal(&foreign), None);
    let domain: Domain = "example.net".parse().unwrap();
    let (_, received) = forwarder.receive(LETTER).await;
    let sealed = forwarder.keys.seal(&domain, &name(), received.as_bytes(), None);
    assert_eq!(sealed.unwrap(), None, "sealed for a domain that is not ours");
}
