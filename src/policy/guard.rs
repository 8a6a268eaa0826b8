//! The guard at port 25: when what is asked about a stranger and a message, and what follows from
//! the answers, in the order that costs least. At MAIL the DNS and the block lists are asked while the
//! stranger still talks; at RCPT who is unknown and suspicious is asked to come back; only what was
//! taken whole is scored. What the DNS cannot tell never speaks against anybody.

mod signals;

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::arc;
use super::dmarc::Policy;
use super::dnsbl::{Dnsbl, Finding, Listing, is_public};
use super::greylist::{Grey, Greylist, Triplet};
use super::junk::{self, FLAG, Junk, Marks, Seen, Signals, Verdict};
use super::rdns::{Helo, Reverse, generic};
use super::spf::Spf;
use super::{Authentication, Inspector, Origin, Peer, authenticate};
use crate::clock::{ClockTrust, SharedClock};
use crate::deliver::{Filing, Folder, Judge, Ruling};
use crate::dns::Resolver;
use crate::mail::{Address, Domain};
use crate::store::AccountId;

/// Looks after everybody who comes; cheap to clone.
#[derive(Clone)]
pub struct Guard {
    parts: Arc<Parts>,
}

/// What a guard stands on.
pub struct Parts {
    /// Asked about strangers.
    pub resolver: Resolver,
    /// Judges what has expired.
    pub clock: SharedClock,
    /// In whose name is written what was found.
    pub hostname: Domain,
    /// Tells junk from mail.
    pub junk: Arc<Junk>,
    /// Above which score what is done, by the account the message is for, if it is for one.
    pub marks: Box<dyn Fn(Option<AccountId>) -> Marks + Send + Sync>,
    /// Lists of bad addresses.
    pub lists: Dnsbl,
    /// Who was asked to come back.
    pub greylist: Arc<Greylist>,
}

impl Guard {
    /// A guard that asks these.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// An account hands in a message for these people: it knows them from now on.
    pub fn sent(&self, account: AccountId, to: &[Address]) {
        self.parts.junk.sent(account, to, None);
    }

    /// Somebody has said MAIL: the DNS is asked about him from now on.
    pub fn meet(&self, peer: Peer) -> Visit {
        let (parts, stranger) = (Arc::clone(&self.parts), peer.clone());
        let looking = tokio::spawn(async move {
            let lists = parts.lists.ask(stranger.ip);
            let (origin, lists) = tokio::join!(Origin::look_up(&parts.resolver, stranger), lists);
            Found { origin, lists }
        });
        Visit {
            guard: self.clone(),
            peer,
            search: Search::Looking(AbortOnDropHandle::new(looking)),
            inspector: Inspector::new(),
            reader: junk::Inspector::new(),
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("hostname", &self.parts.hostname).finish_non_exhaustive()
    }
}

/// What is known of a stranger before a byte of the message.
#[derive(Debug, Clone)]
struct Found {
    origin: Origin,
    lists: Vec<Finding>,
}

/// [`Found`], or who is finding it.
#[derive(Debug)]
enum Search {
    Looking(AbortOnDropHandle<Found>),
    Done(Box<Found>),
}

/// One MAIL command and the message that follows it.
#[derive(Debug)]
pub struct Visit {
    guard: Guard,
    peer: Peer,
    search: Search,
    inspector: Inspector,
    reader: junk::Inspector,
}

impl Visit {
    /// Whether mail for this recipient is taken now; `account` is whose it is, when it is somebody's
    /// here. Otherwise what to say with 451 4.7.1.
    pub async fn greet(
        &mut self,
        to: &Address,
        account: Option<AccountId>,
    ) -> Result<(), &'static str> {
        // What does not come from the open net has nobody to be wary of.
        if !is_public(self.peer.ip.to_canonical()) {
            return Ok(());
        }
        let parts = Arc::clone(&self.guard.parts);
        let from = self.peer.mail_from.address().cloned();
        if let (Some(account), Some(from)) = (account, &from)
            && parts.junk.has_written_to(account, from).unwrap_or(true)
        {
            return Ok(());
        }
        let Some(reason) = suspicion(&self.found().await) else { return Ok(()) };
        let from = from.map(|from| from.domain().clone());
        let triplet = Triplet { peer: self.peer.ip, from, to: to.clone() };
        match parts.greylist.ask(&triplet, &reason, parts.clock.now()) {
            Grey::Pass => Ok(()),
            Grey::Wait { .. } => {
                tracing::info!(peer = %self.peer.ip, %to, reason, "asked to come back");
                Err(Grey::REPLY)
            }
        }
    }

    /// Takes the next bytes of the message.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.inspector.pass(bytes);
        if self.reader.wants_more() {
            self.reader.feed(bytes);
        }
    }

    /// The message has ended: what to write on it, and who decides where it goes.
    pub async fn judge(mut self) -> Judged {
        let Found { origin, lists } = self.found().await;
        let Self { guard, inspector, reader, .. } = self;
        let parts = guard.parts;
        let trusted = parts.clock.trust() != ClockTrust::Unknown;
        let now = trusted.then(|| parts.clock.now());
        let seen = reader.finish();
        let (found, link_lists) = tokio::join!(
            authenticate(&parts.resolver, now, origin, inspector.finish()),
            links(&parts.lists, seen.facts.links.domains(MOST_LINKS)),
        );
        Judged {
            field: found.field(&parts.hostname),
            wish: Wish::of(&found),
            signals: signals::of(&found, lists, link_lists, now),
            seen,
            parts,
        }
    }

    async fn found(&mut self) -> Found {
        let found = match &mut self.search {
            Search::Done(found) => return Found::clone(found),
            Search::Looking(looking) => looking.await,
        };
        let found = found.unwrap_or_else(|error| unknown(self.peer.clone(), &error.to_string()));
        self.search = Search::Done(Box::new(found.clone()));
        found
    }
}

/// What lists of names say of these, asked one after the other: most mail leads to one or two.
async fn links(lists: &Dnsbl, domains: Vec<Domain>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for domain in &domains {
        findings.extend(lists.ask_name(domain).await);
    }
    findings
}

/// What makes a stranger suspicious, in words for the owner; nothing when he shows who he is.
fn suspicion(found: &Found) -> Option<String> {
    let listed = found.lists.iter().find_map(|finding| match &finding.listing {
        Listing::Listed { points, meaning } if *points > 0 => Some(meaning.clone()),
        _ => None,
    });
    if listed.is_some() {
        return listed;
    }
    let Origin { reverse, mail_from_spf, peer, .. } = &found.origin;
    match mail_from_spf {
        Some(Spf::Pass) => return None,
        Some(Spf::Fail | Spf::SoftFail) => {
            return Some("the sender's domain does not send from its address (SPF)".to_owned());
        }
        _ => {}
    }
    match reverse {
        Reverse::NoName => Some("its address has no name".to_owned()),
        Reverse::Unconfirmed(name) => Some(format!("the name {name} does not lead back to it")),
        Reverse::Confirmed(name) => generic(name, peer.ip),
        Reverse::CouldNotTell(_) => None,
    }
}

fn unknown(peer: Peer, why: &str) -> Found {
    let origin = Origin {
        peer,
        reverse: Reverse::CouldNotTell(why.to_owned()),
        helo: Helo::CouldNotTell(why.to_owned()),
        helo_spf: None,
        mail_from_spf: None,
    };
    Found { origin, lists: Vec::new() }
}

/// What was found out about a message, and who decides at delivery.
pub struct Judged {
    /// The `Authentication-Results` field with its CRLF.
    pub field: String,
    wish: Wish,
    signals: Signals,
    seen: Seen,
    parts: Arc<Parts>,
}

impl Judged {
    /// As the one who decides at delivery.
    pub fn into_judge(self) -> Arc<dyn Judge> {
        Arc::new(self)
    }
}

impl Judge for Judged {
    fn judge(&self, account: Option<AccountId>) -> Ruling {
        let Parts { junk, marks, .. } = &*self.parts;
        let marks = marks(account);
        let score = junk.judge(account.unwrap_or(NOBODY), &self.signals, &self.seen);
        let verdict = score.verdict(marks);
        let mut fields = score.field(marks).into_bytes();
        let unwanted = verdict != Verdict::Inbox || self.wish != Wish::Nothing;
        if unwanted {
            fields.extend_from_slice(FLAG.as_bytes());
        }
        let folder = if unwanted { Folder::Junk } else { Folder::Inbox };
        let filing = Filing { folder, fields };
        match (&self.wish, verdict) {
            (Wish::Refuse(reason), _) => {
                Ruling::Refuse { otherwise: filing, status: "5.7.26", reason: reason.clone() }
            }
            (_, Verdict::Refuse) => {
                let reason = Verdict::REPLY.to_owned();
                Ruling::Refuse { otherwise: filing, status: "5.7.1", reason }
            }
            _ => Ruling::File(filing),
        }
    }
}

impl std::fmt::Debug for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judged").field("wish", &self.wish).finish_non_exhaustive()
    }
}

/// What the author's domain asks for, whatever the score.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    Nothing,
    Junk,
    /// With this reason.
    Refuse(String),
}

impl Wish {
    /// A chain of forwarders that is whole shows that somebody on the way saw more than we can, so
    /// such mail is not refused (RFC 8617 §7.2.1; RFC 7960 §4.2).
    fn of(found: &Authentication) -> Self {
        match found.dmarc.disposition {
            Policy::None => Self::Nothing,
            Policy::Reject if !matches!(found.arc, arc::Arc::Pass(_)) => {
                let from = found.dmarc.from.as_ref();
                let whose =
                    from.map_or_else(|| "the author's domain".to_owned(), Domain::to_string);
                Self::Refuse(format!(
                    "{whose} asks to refuse mail in its name that nothing proves to be its own \
                     (DMARC)"
                ))
            }
            Policy::Reject | Policy::Quarantine => Self::Junk,
        }
    }
}

/// Domains of links that lists are asked about.
const MOST_LINKS: usize = 4;
/// No account has this number: it knows nobody and has learned nothing.
const NOBODY: AccountId = AccountId(0);
