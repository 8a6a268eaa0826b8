#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::os::unix::fs::PermissionsExt;

use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};

use super::*;
use crate::dns::world::World;

const MESSAGE: &str = "From: Alice <alice@example.org>\r\nTo: bob@example.net\r\n\
    Subject: One  two\r\n three\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@example.org>\r\n\r\nHello  Bob,\r\n\r\n.dot \r\n\r\n";

fn keys(folder: &Path) -> SigningKeys {
    SigningKeys::open_or_create(folder, &["example.org".parse().unwrap()]).unwrap()
}

async fn world(keys: &SigningKeys) -> (World, MessageAuthenticator) {
    let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    for (name, value) in keys.records() {
        let strings: Vec<String> = value
            .as_bytes()
            .chunks(255)
            .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
            .collect();
        world.load(".", &format!("$TTL 60\n{name}. TXT {}\n", strings.join(" "))).unwrap();
    }
    let (config, options) = world.config();
    let authenticator = MessageAuthenticator::new(config, options).unwrap();
    (world, authenticator)
}

async fn verify(authenticator: &MessageAuthenticator, message: &str) -> Vec<bool> {
    let parsed = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
    let results = authenticator.verify_dkim(&parsed).await;
    results.iter().map(|output| *output.result() == DkimResult::Pass).collect()
}

#[tokio::test]
async fn both_signatures_convince_a_stranger_until_something_changes() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let (_world, authenticator) = world(&keys).await;
    let at = "2026-11-22T10:00:00Z".parse().unwrap();
    for message in [MESSAGE.to_owned(), MESSAGE.repeat(3000), MESSAGE.replace("Hello", "")] {
        let signature = keys.sign(message.as_bytes(), Some(at)).unwrap().unwrap();
        let signature = String::from_utf8(signature).unwrap();
        assert!(signature.contains(" t=1795341600;"), "{signature}");
        assert!(signature.lines().all(|line| line.len() < 79), "{signature}");
        let whole = format!("{signature}{message}");
        assert_eq!(verify(&authenticator, &whole).await, [true, true]);
        for changed in [
            whole.replacen("Bob,", "Rob,", 1),
            whole.replacen("Subject: One", "Subject: Two", 1),
            format!("From: eve@example.com\r\n{whole}"),
            format!("Subject: other\r\n{whole}"),
        ] {
            let passed = verify(&authenticator, &changed).await;
            assert!(!passed.contains(&true), "accepted: {}", &changed[..200]);
        }
    }
}

#[tokio::test]
async fn folding_on_the_way_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let (_world, authenticator) = world(&keys).await;
    let signature = keys.sign(MESSAGE.as_bytes(), None).unwrap().unwrap();
    let signature = String::from_utf8(signature).unwrap();
    assert!(!signature.contains(" t="), "a date was claimed without a clock");
    let signed = format!("Received: by relay\r\n{signature}{MESSAGE}");
    let refolded = signed.replace("One  two\r\n three", "One\r\n\ttwo three  ");
    assert_eq!(verify(&authenticator, &refolded).await, [true, true]);
}

#[test]
fn only_our_own_authors_are_signed_for() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    for from in ["eve@example.com", "a@example.org, b@example.com", "nobody"] {
        let message = MESSAGE.replace("Alice <alice@example.org>", from);
        assert_eq!(keys.sign(message.as_bytes(), None).unwrap(), None, "{from}");
    }
    let endless = format!("X: {}\r\n", "x".repeat(2 << 20));
    assert!(matches!(keys.sign(endless.as_bytes(), None), Err(SignError::Header)));
}

#[test]
fn keys_stay_the_same_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let first = keys(folder.path());
    assert_eq!(first.records(), keys(folder.path()).records());
    for entry in fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let path = folder.path().join("pb1r.example.org.der");
    fs::write(&path, b"nonsense").unwrap();
    let error = SigningKeys::open_or_create(folder.path(), &["example.org".parse().unwrap()]);
    assert!(error.unwrap_err().to_string().contains("pb1r.example.org.der"));
}
