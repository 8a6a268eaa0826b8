//! `auth.dkim`: are the keys published that our signatures need?

use super::{Area, Check, Found, Inputs, Outcome, Running};
use crate::dns::Answer;
use crate::mail::Domain;
use crate::policy::dkim::rotation::{KeyRecord, Role};

pub(super) struct Dkim;

impl Check for Dkim {
    fn id(&self) -> &'static str {
        "auth.dkim"
    }

    fn area(&self) -> Area {
        Area::Authentication
    }

    fn question(&self) -> &'static str {
        "Can others check the signatures of your mail (DKIM)?"
    }

    fn why(&self) -> &'static str {
        "Every message from here is signed. Others look up the key in the DNS; without it, or with \
         another key, the signature looks forged."
    }

    fn run<'a>(&'a self, inputs: &'a Inputs) -> Running<'a> {
        Box::pin(async move {
            let mut all = Vec::new();
            for domain in &inputs.site.domains {
                all.push(one(inputs, domain).await);
            }
            Found::worst(all)
        })
    }
}

/// All selectors of a domain. One good signature is enough for a message to pass.
async fn one(inputs: &Inputs, domain: &Domain) -> Found {
    let below = format!("._domainkey.{domain}");
    let ours = inputs.dkim.iter().filter(|key| key.name.as_str().ends_with(&below));
    let (mut all, mut others) = (Vec::new(), Vec::new());
    for record in ours {
        match record.role {
            Role::Present(_) => all.push(key(inputs, &record.name, &record.value).await),
            Role::Next => others.push(next(inputs, record).await),
            Role::Former(_) => {}
        }
    }
    if all.is_empty() {
        return Found::broken(
            format!("this box has no key to sign mail of {domain}"),
            "Start the box again: it makes missing keys when it starts.",
        );
    }
    // A missing key fails only its own signature; a wrong one may hide that another is fine.
    let one_is_well = all.iter().any(|found| found.outcome == Outcome::Ok);
    let all = all.into_iter().map(|found| if one_is_well { found.softened() } else { found });
    let found = Found::worst(all.chain(others));
    let now = inputs.clock.now();
    let ours = inputs.dkim.iter().filter(|key| key.name.as_str().ends_with(&below));
    let notes = ours.filter_map(|key| match key.role {
        Role::Former(_) if key.is_removable(now) => {
            Some(format!("{} is no longer needed: you may remove it", key.name))
        }
        Role::Present(_) if key.is_old(now) => Some(format!(
            "the key {} is older than a year: `pillarbox dns rotate` makes another one",
            key.name
        )),
        _ => None,
    });
    found.saw_all(notes.collect::<Vec<_>>())
}

/// A key that waits for its record. Nothing is signed with it, so nothing is broken.
async fn next(inputs: &Inputs, record: &KeyRecord) -> Found {
    let KeyRecord { name, value, .. } = record;
    let found = key(inputs, name, value).await;
    if matches!(found.outcome, Outcome::Ok | Outcome::Unknown(_)) {
        return found;
    }
    Found::attention(
        format!("the next key {name} waits for its record; the present one signs meanwhile"),
        format!("Publish this record: {name}. 3600 IN TXT \"{value}\""),
    )
}

async fn key(inputs: &Inputs, name: &Domain, value: &str) -> Found {
    let publish = format!("Publish this record: {name}. 3600 IN TXT \"{value}\"");
    let published = match inputs.resolver.txt(name).await {
        Answer::Yes(published) => published,
        Answer::No(_) => {
            return Found::broken(format!("the key {name} is not published"), publish)
                .saw(format!("no TXT record of {name}"));
        }
        Answer::CouldNotTell(why) => return Found::unknown(why),
    };
    let seen = published.iter().map(|text| format!("{name}: {text}"));
    let ours = tag(value, "p").unwrap_or_default();
    match published.as_slice() {
        [only] if tag(only, "p").as_deref() == Some("") => {
            Found::broken(format!("the key {name} is withdrawn: its p= is empty"), publish)
        }
        [only] if tag(only, "p") != Some(ours) => Found::broken(
            format!("another key than this box's is published at {name}"),
            format!("Replace the record. {publish}"),
        ),
        [only] if kind(only) != kind(value) => Found::broken(
            format!("the key {name} is published as another kind of key"),
            format!("Replace the record. {publish}"),
        ),
        [only] if tag(only, "t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y")) => {
            Found::attention(
                format!("the key {name} is marked as a test (t=y), so others ignore it"),
                format!("Replace the record. {publish}"),
            )
        }
        [_] => Found::ok(),
        more => Found::broken(
            format!("{} keys are published at {name}, and others cannot choose", more.len()),
            format!("Keep one record. {publish}"),
        ),
    }
    .saw_all(seen)
}

/// A tag's value without white space, which means nothing in the tags used here (RFC 6376 §3.2).
pub(super) fn tag(record: &str, name: &str) -> Option<String> {
    record.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        (key.trim() == name).then(|| value.chars().filter(|c| !c.is_whitespace()).collect())
    })
}

/// RFC 6376 §3.6.1: RSA when it does not say.
fn kind(record: &str) -> String {
    tag(record, "k").unwrap_or_else(|| "rsa".to_owned())
}
