//! Other people's cases, which `tests/suites.py` makes a file of, and letters of ours for other
//! people's verifiers. Without its environment there are neither.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::policy::dkim::SigningKeys;

/// One case: records, a peer, and perhaps a message.
#[derive(Deserialize)]
struct Case {
    name: String,
    zone: String,
    /// Names about which the DNS cannot tell.
    silent: Vec<String>,
    ip: String,
    helo: String,
    mail_from: String,
    message: Option<String>,
    /// Words of which one must be among the results, such as `spf=pass`.
    want: Vec<String>,
}

/// With `PILLARBOX_CASES` naming a file of cases, all of them.
#[tokio::test]
async fn the_cases_of_public_suites_are_judged_as_they_say() {
    let Some(path) = std::env::var_os("PILLARBOX_CASES") else { return };
    let cases: Vec<Case> = serde_json::from_reader(File::open(path).unwrap()).unwrap();
    assert!(!cases.is_empty());
    let (mut wrong, mut impossible) = (Vec::new(), 0);
    for case in &cases {
        let Ok(mail_from) = case.mail_from.parse::<ReversePath>() else {
            // Refused at MAIL: no such sender gets as far as this.
            impossible += 1;
            continue;
        };
        let (world, resolver) = world(&case.zone).await;
        for name in &case.silent {
            world.fail(&name.parse().unwrap(), true);
        }
        let ip = case.ip.parse().unwrap();
        let peer = Peer { ip, helo: case.helo.clone(), mail_from };
        let origin = Origin::look_up(&resolver, peer, late()).await;
        let found = match &case.message {
            Some(message) => {
                let inspected = inspect(message.as_bytes(), 1000);
                authenticate(&resolver, None, origin, inspected, late()).await.field(&ours())
            }
            None => match origin.spf() {
                Some((_, spf)) => format!(" spf={spf:?} ").to_lowercase().replace('(', " "),
                None => " spf=none ".to_owned(),
            },
        };
        let words: Vec<&str> = found.split([' ', ';', '\t', '\r', '\n']).collect();
        if !case.want.iter().any(|word| words.contains(&word.as_str())) {
            wrong.push(format!("{}: {:?} expected, found {found}", case.name, case.want));
        }
    }
    println!("{} cases, {impossible} with senders that cannot be", cases.len());
    assert!(wrong.is_empty(), "{} are judged wrongly:\n{}", wrong.len(), wrong.join("\n"));
}

/// With `PILLARBOX_LETTERS` naming a folder, fills it with signed and sealed letters (`*.eml`) and
/// the records of their keys (`keys.json`).
#[tokio::test]
async fn letters_for_the_verifiers_of_others_are_written() {
    let Some(folder) = std::env::var_os("PILLARBOX_LETTERS").map(PathBuf::from) else { return };
    let own = tempfile::tempdir().unwrap();
    let domain: Domain = "home.test".parse().unwrap();
    let keys = SigningKeys::open_or_create(own.path(), std::slice::from_ref(&domain)).unwrap();
    let records: BTreeMap<String, String> =
        keys.records().into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let zone: String = records.iter().map(|(name, value)| txt(name, value)).collect();
    let (_world, resolver) = world(&zone).await;
    fs::write(folder.join("keys.json"), serde_json::to_vec(&records).unwrap()).unwrap();
    let long = "word  and \t word\r\n".repeat(2000);
    let bodies = ["Hello\r\n", "", "\r\n\r\n", " a \t\r\n \r\n", "x\r\n \r\n\r\n", long.as_str()];
    for (number, body) in bodies.into_iter().enumerate() {
        let mut letter = format!(
            "From: Alice <alice@home.test>\r\nTo: bob@far.test\r\nSubject:  odd \r\n\t folds \r\n\
             Message-ID: <{number}@home.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n{body}"
        );
        let signature = keys.sign(letter.as_bytes(), None).unwrap().unwrap();
        letter.insert_str(0, std::str::from_utf8(&signature).unwrap());
        for links in 0..3 {
            fs::write(folder.join(format!("{number}-{links}.eml")), &letter).unwrap();
            let origin =
                Origin::look_up(&resolver, peer("192.0.2.1", "client", "alice@home.test"), late())
                    .await;
            let found =
                authenticate(&resolver, None, origin, inspect(letter.as_bytes(), 999), late())
                    .await;
            letter.insert_str(0, &found.field(&ours()));
            let set = keys.seal(&domain, &ours(), letter.as_bytes(), None).unwrap().unwrap();
            letter.insert_str(0, std::str::from_utf8(&set).unwrap());
        }
    }
}
