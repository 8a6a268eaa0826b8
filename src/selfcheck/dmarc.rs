//! `auth.dmarc`: do our domains say what to do with forged mail?

use super::dkim::tag;
use super::{Area, Check, Found, Inputs, Running, records};
use crate::dns::Answer;
use crate::mail::Domain;

pub(super) struct Dmarc;

impl Check for Dmarc {
    fn id(&self) -> &'static str {
        "auth.dmarc"
    }

    fn area(&self) -> Area {
        Area::Authentication
    }

    fn question(&self) -> &'static str {
        "Does your domain say what others shall do with forged mail (DMARC)?"
    }

    fn why(&self) -> &'static str {
        "DMARC ties the sender people see to SPF and DKIM. Large providers trust domains that \
         have it more, and it keeps others from writing in your name."
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

async fn one(inputs: &Inputs, domain: &Domain) -> Found {
    let wanted = records::dmarc(domain);
    let publish = format!("Publish this record: _dmarc.{domain}. 3600 IN TXT \"{wanted}\"");
    // RFC 7489 §6.6.3: a domain without a record of its own has that of the domain above it.
    let mut place = Some(domain.clone());
    while let Some(above) = place {
        let Ok(name) = above.child("_dmarc") else { break };
        let txt = match inputs.resolver.txt(&name).await {
            Answer::Yes(txt) => txt,
            Answer::No(_) => Vec::new(),
            Answer::CouldNotTell(why) => return Found::unknown(why),
        };
        let found: Vec<_> = txt.iter().filter(|text| is_dmarc(text)).collect();
        match found.as_slice() {
            [] => place = parent(&above),
            [only] => return judge(&name, only, &publish),
            more => {
                return Found::broken(
                    format!("{name} has {} DMARC records; others take none of them", more.len()),
                    format!("Keep one of them. {publish}"),
                )
                .saw_all(more.iter().map(|text| format!("{name}: {text}")));
            }
        }
    }
    Found::attention(format!("{domain} has no DMARC record"), publish)
        .saw(format!("no TXT record of _dmarc.{domain} begins with v=DMARC1"))
}

fn judge(name: &Domain, record: &str, publish: &str) -> Found {
    let policy = tag(record, "p").map(|policy| policy.to_ascii_lowercase());
    match policy.as_deref() {
        Some("quarantine" | "reject") => Found::ok(),
        Some("none") => Found::ok().saw(
            "p=none asks only for reports; p=quarantine protects your name once all mail passes",
        ),
        Some(other) => Found::broken(
            format!("the DMARC record {name} asks for \"{other}\", which nobody understands"),
            format!("Replace the record. {publish}"),
        ),
        None => Found::broken(
            format!("the DMARC record {name} does not say what to do: its p= is missing"),
            format!("Replace the record. {publish}"),
        ),
    }
    .saw(format!("{name}: {record}"))
}

fn is_dmarc(text: &str) -> bool {
    tag(text.split(';').next().unwrap_or_default(), "v").is_some_and(|version| version == "DMARC1")
}

/// The domain above, as long as it has a dot: nobody publishes DMARC for `org`.
fn parent(domain: &Domain) -> Option<Domain> {
    let (_, above) = domain.as_str().split_once('.')?;
    above.contains('.').then(|| above.parse().ok())?
}
