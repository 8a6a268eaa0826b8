//! Changing the signing keys without a message in between that nobody can check: the next key is
//! made, its records are published by the owner, and only once the DNS shows them does it sign.
//! The former key's records stay a while, because mail signed with it is still on its way; then the
//! owner may remove them, and the key is destroyed once they are gone.
//!
//! Keys have numbers; `pb1r` and `pb1e` are the selectors of the first pair. Which one signs stands
//! in `rotation.json` beside the keys, replaced whole before anything follows from it: a power cut
//! leaves the former key signing, whose records are still there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{DomainKeys, KeyError, SigningKeys};
use crate::dns::{Answer, Resolver};
use crate::files::{create_private_folder, write_private};
use crate::mail::Domain;

/// A key's record, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name.
    pub name: Domain,
    /// The TXT record's value. One longer than 255 bytes is to be split into several strings by
    /// whoever writes the zone (RFC 6376 §3.6.2.2).
    pub value: String,
    /// Which key it is.
    pub role: Role,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Signs, since this moment.
    Present(Option<Timestamp>),
    /// Will sign once its records are published.
    Next,
    /// Has signed; its record is to stay until this moment.
    Former(Timestamp),
}

impl KeyRecord {
    /// Whether it may be removed from the DNS.
    pub fn is_removable(&self, now: Timestamp) -> bool {
        matches!(self.role, Role::Former(until) if until <= now)
    }

    /// Whether its key signs for so long that a new one is in order.
    pub fn is_old(&self, now: Timestamp) -> bool {
        matches!(self.role, Role::Present(Some(since)) if now.duration_since(since) > OLD)
    }
}

/// How a domain's keys stand, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whose keys.
    pub domain: Domain,
    /// The selectors that sign.
    pub present: Vec<String>,
    /// Since when; nothing when it is not known.
    pub since: Option<Timestamp>,
    /// They sign for more than a year.
    pub old: bool,
    /// The selectors that wait for their records.
    pub next: Vec<String>,
    /// The records of former keys, and until when they are to stay.
    pub former: Vec<(Vec<Domain>, Timestamp)>,
    /// Those that may be removed.
    pub removable: Vec<Domain>,
}

impl Standing {
    /// What it comes to, and what to do next, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = vec![format!(
            "Mail of {} is signed with the keys {}.",
            self.domain,
            self.present.join(" and ")
        )];
        if !self.next.is_empty() {
            said.push(format!(
                "The keys {} wait: publish their records (`pillarbox dns` shows them). The box \
                 looks every hour, and signs with them from the moment it sees both.",
                self.next.join(" and ")
            ));
        } else if self.old {
            said.push(
                "They are older than a year: `pillarbox dns rotate` makes new ones. Nothing \
                 changes until you have published their records."
                    .to_owned(),
            );
        }
        for (names, until) in &self.former {
            said.push(format!(
                "Leave {} published until {}: mail signed with these keys is still on its way.",
                list(names),
                until.strftime("%Y-%m-%d")
            ));
        }
        if !self.removable.is_empty() {
            said.push(format!(
                "You may remove {} from your DNS: nothing needs them any more.",
                list(&self.removable)
            ));
        }
        said
    }
}

fn list(names: &[Domain]) -> String {
    names.iter().map(Domain::as_str).collect::<Vec<_>>().join(" and ")
}

/// Former keys' records stay so long: queues try for five days, and people read even later.
const STAY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Keys that sign for longer should be replaced.
const OLD: SignedDuration = SignedDuration::from_hours(366 * 24);
const STATES: &str = "rotation.json";

/// All keys in a folder.
pub(super) struct Ring {
    folder: PathBuf,
    keys: RwLock<BTreeMap<Domain, Pair>>,
    /// What the file says, of domains that are no longer ours too. Held while it is changed.
    states: Mutex<BTreeMap<Domain, State>>,
}

/// A domain's keys in use.
struct Pair {
    present: Arc<DomainKeys>,
    next: Option<Arc<DomainKeys>>,
}

/// Where a domain's rotation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    present: u32,
    /// Nothing for the first keys: their file knows.
    since: Option<Timestamp>,
    next: Option<u32>,
    former: Vec<Former>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    number: u32,
    until: Timestamp,
    records: Vec<(Domain, String)>,
}

impl Default for State {
    fn default() -> Self {
        Self { present: 1, since: None, next: None, former: Vec::new() }
    }
}

impl Ring {
    pub(super) fn open_or_create(folder: &Path, domains: &[Domain]) -> Result<Self, KeyError> {
        create_private_folder(folder)
            .map_err(|source| KeyError::File { path: folder.to_owned(), source })?;
        let states = read(&folder.join(STATES))?;
        let mut keys = BTreeMap::new();
        for domain in domains {
            let state = states.get(domain).cloned().unwrap_or_default();
            let open = |number| DomainKeys::open_or_create(folder, domain, number).map(Arc::new);
            let present = open(state.present)?;
            let next = state.next.map(open).transpose()?;
            keys.insert(domain.clone(), Pair { present, next });
        }
        let (keys, states) = (RwLock::new(keys), Mutex::new(states));
        Ok(Self { folder: folder.to_owned(), keys, states })
    }

    /// The keys that sign for a domain.
    pub(super) fn present(&self, domain: &Domain) -> Option<Arc<DomainKeys>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(domain).map(|pair| Arc::clone(&pair.present))
    }

    pub(super) fn domains(&self) -> Vec<Domain> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.keys().cloned().collect()
    }

    fn next(&self, domain: &Domain) -> Option<Arc<DomainKeys>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(domain).and_then(|pair| pair.next.clone())
    }

    fn state(&self, domain: &Domain) -> State {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.get(domain).cloned().unwrap_or_default()
    }

    /// Makes a domain's next keys, unless there are some. Takes seconds on a small board.
    fn begin(&self, domain: &Domain) -> Result<(), KeyError> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = states.get(domain).cloned().unwrap_or_default();
        if state.next.is_some() {
            return Ok(());
        }
        let number = state.present.saturating_add(1);
        // On the card before anything speaks of them; made before a power cut, they are used now.
        let made = Arc::new(DomainKeys::open_or_create(&self.folder, domain, number)?);
        state.next = Some(number);
        self.write(&mut states, domain, state)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = keys.get_mut(domain) {
            pair.next = Some(made);
        }
        Ok(())
    }

    /// The next keys sign from now on. Whoever calls has seen their records.
    fn turn(&self, domain: &Domain, seen: &DomainKeys, now: Timestamp) -> Result<bool, KeyError> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = states.get(domain).cloned().unwrap_or_default();
        let (Some(next), Some(present)) = (self.next(domain), self.present(domain)) else {
            return Ok(false);
        };
        if state.next != Some(seen.number) || next.number != seen.number {
            return Ok(false);
        }
        let records = present.records(domain);
        state.former.push(Former { number: state.present, until: now + STAY, records });
        state.present = next.number;
        state.since = Some(now);
        state.next = None;
        self.write(&mut states, domain, state)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(domain.clone(), Pair { present: next, next: None });
        Ok(true)
    }

    /// A former key's records are gone from the DNS: it is destroyed.
    fn forget(&self, domain: &Domain, number: u32) -> Result<(), KeyError> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = states.get(domain).cloned().unwrap_or_default();
        for path in DomainKeys::paths(&self.folder, domain, number) {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(KeyError::File { path, source });
                }
                _ => {}
            }
        }
        // A power cut before this does it all again.
        state.former.retain(|former| former.number != number);
        self.write(&mut states, domain, state)
    }

    fn write(
        &self,
        states: &mut BTreeMap<Domain, State>,
        domain: &Domain,
        state: State,
    ) -> Result<(), KeyError> {
        let path = self.folder.join(STATES);
        let mut new = states.clone();
        new.insert(domain.clone(), state);
        let text = serde_json::to_vec_pretty(&new).map_err(io::Error::from);
        text.and_then(|text| write_private(&path, &text))
            .map_err(|source| KeyError::File { path, source })?;
        *states = new;
        Ok(())
    }

    /// When the present keys were made or began to sign.
    fn since(&self, domain: &Domain, state: &State) -> Option<Timestamp> {
        state.since.or_else(|| {
            let [rsa, _] = DomainKeys::paths(&self.folder, domain, state.present);
            Timestamp::try_from(fs::metadata(rsa).ok()?.modified().ok()?).ok()
        })
    }
}

fn read(path: &Path) -> Result<BTreeMap<Domain, State>, KeyError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| KeyError::State { path: path.to_owned(), reason: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(KeyError::File { path: path.to_owned(), source }),
    }
}

impl SigningKeys {
    /// The records of all keys there are: to publish, but for those that may be removed.
    pub fn all_records(&self) -> Vec<KeyRecord> {
        let mut all = Vec::new();
        for domain in self.ring.domains() {
            let state = self.ring.state(&domain);
            let mut add = |records: Vec<(Domain, String)>, role| {
                all.extend(records.into_iter().map(|(name, value)| KeyRecord {
                    name,
                    value,
                    role,
                }));
            };
            if let Some(present) = self.ring.present(&domain) {
                add(present.records(&domain), Role::Present(self.ring.since(&domain, &state)));
            }
            if let Some(next) = self.ring.next(&domain) {
                add(next.records(&domain), Role::Next);
            }
            for former in state.former {
                add(former.records, Role::Former(former.until));
            }
        }
        all
    }

    /// How the keys of each domain stand.
    pub fn standing(&self, now: Timestamp) -> Vec<Standing> {
        let all = self.ring.domains().into_iter().map(|domain| {
            let state = self.ring.state(&domain);
            let since = self.ring.since(&domain, &state);
            let selectors = |keys: Option<Arc<DomainKeys>>| {
                keys.map_or_else(Vec::new, |keys| keys.selectors().to_vec())
            };
            let (gone, former): (Vec<_>, Vec<_>) =
                state.former.into_iter().partition(|former| former.until <= now);
            let names = |former: Former| former.records.into_iter().map(|(name, _)| name);
            Standing {
                present: selectors(self.ring.present(&domain)),
                since,
                old: since.is_some_and(|since| now.duration_since(since) > OLD),
                next: selectors(self.ring.next(&domain)),
                former: former
                    .into_iter()
                    .map(|former| {
                        let until = former.until;
                        (names(former).collect(), until)
                    })
                    .collect(),
                removable: gone.into_iter().flat_map(names).collect(),
                domain,
            }
        });
        all.collect()
    }

    /// Makes the next keys of a domain of ours, unless there are some. They do not sign yet.
    pub async fn begin_rotation(&self, domain: &Domain) -> Result<(), KeyError> {
        let (ring, domain) = (Arc::clone(&self.ring), domain.clone());
        let made = tokio::task::spawn_blocking(move || ring.begin(&domain)).await;
        made.unwrap_or_else(|error| Err(KeyError::Generate(error.to_string())))
    }

    /// Looks which next keys are published, and signs with them from now on; destroys former keys
    /// whose time is over and whose records are gone. What the DNS cannot tell changes nothing.
    /// Gives the domains whose keys have changed.
    pub async fn advance_rotation(
        &self,
        resolver: &Resolver,
        now: Timestamp,
    ) -> Result<Vec<Domain>, KeyError> {
        let mut turned = Vec::new();
        for domain in self.ring.domains() {
            if let Some(next) = self.ring.next(&domain)
                && all_published(resolver, &next.records(&domain)).await
                && self.ring.turn(&domain, &next, now)?
            {
                turned.push(domain.clone());
            }
            for former in self.ring.state(&domain).former {
                if former.until <= now && none_published(resolver, &former.records).await {
                    self.ring.forget(&domain, former.number)?;
                }
            }
        }
        Ok(turned)
    }
}

/// Both records, and nothing else at their names.
async fn all_published(resolver: &Resolver, records: &[(Domain, String)]) -> bool {
    for (name, value) in records {
        match resolver.txt(name).await {
            Answer::Yes(texts) if matches!(texts.as_slice(), [only] if is_same(only, value)) => {}
            Answer::Yes(_) | Answer::No(_) | Answer::CouldNotTell(_) => return false,
        }
    }
    !records.is_empty()
}

async fn none_published(resolver: &Resolver, records: &[(Domain, String)]) -> bool {
    for (name, _) in records {
        match resolver.txt(name).await {
            Answer::No(_) => {}
            Answer::Yes(_) | Answer::CouldNotTell(_) => return false,
        }
    }
    true
}

/// Whether both records say the same key: white space means nothing, nor do other tags, but for the
/// kind of key, and those that take the key back or make it a trial (RFC 6376 §3.6.1).
fn is_same(published: &str, ours: &str) -> bool {
    let tag = |record: &str, name: &str| {
        record.split(';').find_map(|part| {
            let (key, value) = part.split_once('=')?;
            let value = value.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            (key.trim() == name).then_some(value)
        })
    };
    let kind = |record| tag(record, "k").unwrap_or_else(|| "rsa".to_owned());
    let trial = tag(published, "t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y"));
    tag(published, "p") == tag(ours, "p") && kind(published) == kind(ours) && !trial
}

#[cfg(all(test, feature = "demo"))]
mod tests;
