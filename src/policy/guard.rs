//! The guard at port 25: when what is asked about a stranger and a message, and what follows from
//! the answers, in the order that costs least. Nothing is asked before a stranger has named somebody
//! who lives here; then the DNS and the block lists are asked at once, while the stranger still
//! talks, and who is unknown and suspicious is asked to come back. Signatures, policies and links
//! are looked at when the message is there, and only then it is scored. All questions about a
//! message have one time limit, and what the DNS cannot tell never speaks against anybody.

mod signals;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
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
    /// Is told what became of the mail.
    pub witness: Arc<dyn Witness>,
}

/// Somebody who wants to know what became of the mail of strangers, such as who reports on it.
pub trait Witness: Send + Sync {
    /// A message was taken or refused for good. `done` is what was done with it because of its
    /// author's policy, which may be less than that asks for; `header` and `to` are the message's.
    fn saw(&self, found: &Authentication, done: Policy, header: &[u8], to: &[Address]);
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

    #[cfg(all(test, feature = "demo"))]
    pub(super) fn greylist(&self) -> &Greylist {
        &self.parts.greylist
    }

    /// As if all lists had passed their tests.
    #[cfg(all(test, feature = "demo"))]
    pub(super) fn trust_lists(&self) {
        self.parts.lists.trust();
    }

    /// Somebody has said MAIL. Nobody is asked about him before he names somebody who lives here.
    pub fn meet(&self, peer: Peer) -> Visit {
        Visit {
            guard: self.clone(),
            peer,
            search: Search::NotYet,
            waited: Duration::ZERO,
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
    NotYet,
    Looking(AbortOnDropHandle<Found>),
    Done(Box<Found>),
}

/// One MAIL command and the message that follows it.
#[derive(Debug)]
pub struct Visit {
    guard: Guard,
    peer: Peer,
    search: Search,
    /// How long the stranger has waited for the DNS.
    waited: Duration,
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
        self.look();
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
        self.look();
        let Found { origin, lists } = self.found().await;
        let until = Instant::now() + PATIENCE.saturating_sub(self.waited);
        let Self { guard, inspector, reader, .. } = self;
        let parts = guard.parts;
        let trusted = parts.clock.trust() != ClockTrust::Unknown;
        let now = trusted.then(|| parts.clock.now());
        let (seen, inspected) = (reader.finish(), inspector.finish());
        let header = inspected.header.clone();
        let (found, link_lists) = tokio::join!(
            authenticate(&parts.resolver, now, origin, inspected, until),
            parts.lists.ask_names(seen.facts.links.domains(MOST_LINKS), until),
        );
        Judged {
            field: found.field(&parts.hostname),
            wish: Wish::of(&found),
            signals: signals::of(&found, lists, link_lists, &parts.hostname, now),
            found,
            header,
            seen,
            parts,
        }
    }

    /// Begins to ask about the stranger, if that has not begun.
    fn look(&mut self) {
        if matches!(self.search, Search::NotYet) {
            let (parts, peer) = (Arc::clone(&self.guard.parts), self.peer.clone());
            let until = Instant::now() + MEETING;
            let looking = tokio::spawn(async move {
                let lists = parts.lists.ask(peer.ip, until);
                let origin = Origin::look_up(&parts.resolver, peer, until);
                let (origin, lists) = tokio::join!(origin, lists);
                Found { origin, lists }
            });
            self.search = Search::Looking(AbortOnDropHandle::new(looking));
        }
    }

    async fn found(&mut self) -> Found {
        let began = Instant::now();
        let found = match &mut self.search {
            Search::Done(found) => return Found::clone(found),
            Search::Looking(looking) => looking.await.map_err(|error| error.to_string()),
            Search::NotYet => Err("nobody was asked".to_owned()),
        };
        self.waited += began.elapsed();
        let found = found.unwrap_or_else(|why| unknown(self.peer.clone(), &why));
        self.search = Search::Done(Box::new(found.clone()));
        found
    }
}

/// What makes a stranger suspicious, in words for the owner; nothing when he shows who he is. The
/// large senders of codes that somebody waits for all pass SPF, and get onto the lists of traps and
/// complaints now and then: that alone makes nobody wait.
fn suspicion(found: &Found) -> Option<String> {
    let Origin { reverse, mail_from_spf, peer, .. } = &found.origin;
    let enough = if *mail_from_spf == Some(Spf::Pass) { WEIGHTY } else { 1 };
    let listed = found.lists.iter().find_map(|finding| match &finding.listing {
        Listing::Listed { points, meaning } if *points >= enough => {
            Some(format!("its address is {meaning}"))
        }
        _ => None,
    });
    if listed.is_some() {
        return listed;
    }
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
    found: Authentication,
    header: Vec<u8>,
    seen: Seen,
    parts: Arc<Parts>,
}

impl Judged {
    /// The message for these people was taken, or refused for good. One that has to come again is
    /// not told of: it is when it comes.
    pub fn conclude(&self, taken: bool, to: &[Address]) {
        let done = match self.wish {
            Wish::Nothing => Policy::None,
            Wish::Refuse(_) if !taken => Policy::Reject,
            Wish::Refuse(_) | Wish::Junk => Policy::Quarantine,
        };
        self.parts.witness.saw(&self.found, done, &self.header, to);
    }
}

impl Judge for Judged {
    fn judge(&self, account: Option<AccountId>) -> Ruling {
        let Parts { junk, marks, .. } = &*self.parts;
        let marks = marks(account);
        let score = junk.judge(account.unwrap_or(NOBODY), &self.signals, &self.seen);
        let verdict = score.verdict(marks);
        let done = verdict.max(match self.wish {
            Wish::Nothing => Verdict::Inbox,
            Wish::Junk => Verdict::Junk,
            Wish::Refuse(_) => Verdict::Refuse,
        });
        let mut fields = score.field_after(done, marks).into_bytes();
        let unwanted = done != Verdict::Inbox;
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
    /// such mail is not refused (RFC 8617 §7.2.1; RFC 7960 §4.2); nor when that cannot be told.
    fn of(found: &Authentication) -> Self {
        match found.dmarc.disposition {
            // Else two authors would be a way around the policies of both.
            _ if found.dmarc.hidden && is_public(found.origin.peer.ip.to_canonical()) => Self::Junk,
            Policy::None => Self::Nothing,
            Policy::Reject if matches!(found.arc, arc::Arc::None | arc::Arc::Fail(_)) => {
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

/// How long a stranger waits for the DNS in all; what it has not told by then could not be told. A
/// household's resolver answers within a tenth of a second, and one that does not answer at all
/// must not keep connections open.
const PATIENCE: Duration = Duration::from_secs(8);
/// The part of it for what is asked about the stranger himself.
const MEETING: Duration = Duration::from_secs(5);
/// Points of a listing that speaks against whoever passes SPF, too.
const WEIGHTY: i32 = 50;
/// Domains of links that lists are asked about.
const MOST_LINKS: usize = 4;
/// No account has this number: it knows nobody and has learned nothing.
const NOBODY: AccountId = AccountId(0);
