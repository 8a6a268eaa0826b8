//! What a client believes its selected mailbox to be: which number is which message. Others may
//! change the mailbox at any time; the client learns it when the protocol allows, and until then
//! its numbers keep their meaning (RFC 3501 §7.4.1). A view holds runs of UIDs, so that a mailbox of
//! 200,000 messages costs a session some kilobytes; flags are looked up when they are needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mail::{Flag, Flags, Keyword, ModSeq, SystemFlag, Uid, UidSet};
use crate::store::{Changes, Entry, MailboxId, Overview};

use super::command::{Ranges, SequenceSet};
use super::extensions::{Enabled, Resync};
use super::respond::{Output, uid_ranges};

/// A selected mailbox as its client sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) mailbox: MailboxId,
    /// EXAMINE.
    pub(super) read_only: bool,
    /// Everything up to this change of the mailbox is in it.
    seen: ModSeq,
    /// By number, beginning with 1.
    uids: UidSet,
    /// Those without `\Seen`, as far as the client was told.
    unread: UidSet,
    /// Later changes that the client was told already: they are no news.
    told: Vec<(ModSeq, UidSet)>,
    /// What `$` stands for, as UIDs: those of messages that go away are not given again, so that
    /// they leave it by themselves (RFC 5182 §2.1).
    pub(super) saved: Arc<Ranges>,
    /// What the client was told with FLAGS.
    keywords: BTreeSet<Keyword>,
}

/// Changes of which it is kept that they were told; of more, some are told twice.
const MOST_TOLD: usize = 64;

/// Keywords told with FLAGS; a mailbox may have more.
const MOST_KEYWORDS: usize = 200;

/// Keywords that mail programs agree on (RFC 9051 §2.3.2): offered before a message has them.
const USUAL: [&str; 5] = ["$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing"];

/// A message by both its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) number: u32,
    pub(super) uid: Uid,
}

/// Whether messages may vanish from the numbering now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expunges {
    Told,
    /// During FETCH, STORE and SEARCH by number (RFC 3501 §7.4.1, RFC 7162 §3.2.10.2).
    Held,
}

impl View {
    /// Of a mailbox as it was at one moment.
    pub(super) fn new(overview: Overview, read_only: bool) -> Self {
        let Overview { mailbox, uids, unseen: unread, keywords, .. } = overview;
        let (mailbox, seen) = (mailbox.id, mailbox.highest_modseq);
        let usual = USUAL.iter().filter_map(|keyword| keyword.parse().ok());
        let keywords = usual.chain(keywords).take(MOST_KEYWORDS).collect();
        let (told, saved) = (Vec::new(), Arc::default());
        Self { mailbox, read_only, seen, uids, unread, told, saved, keywords }
    }

    /// The flags a message here may have, as FLAGS tells them.
    pub(super) fn flags(&self) -> String {
        let system = SystemFlag::ALL.map(|flag| flag.name().to_owned());
        let keywords = self.keywords.iter().map(|keyword| keyword.as_str().to_owned());
        system.into_iter().chain(keywords).collect::<Vec<_>>().join(" ")
    }

    /// Tells FLAGS when these flags have a keyword that is new to the client: it has to come before
    /// the first response that names it (RFC 3501 §7.2.6).
    pub(super) fn introduce_keywords(&mut self, flags: &Flags, out: &mut Output) {
        let before = self.keywords.len();
        for flag in flags.iter() {
            if let Flag::Keyword(keyword) = flag
                && self.keywords.len() < MOST_KEYWORDS
            {
                self.keywords.insert(keyword);
            }
        }
        if self.keywords.len() > before {
            out.line(&format!("FLAGS ({})", self.flags()));
        }
    }

    /// What changed after this is news.
    pub(super) fn seen(&self) -> ModSeq {
        self.seen
    }

    /// The messages the client knows of.
    pub(super) fn uids(&self) -> &UidSet {
        &self.uids
    }

    /// The highest UID there is.
    pub(super) fn last(&self) -> Option<Uid> {
        self.uids.last()
    }

    pub(super) fn len(&self) -> u32 {
        self.uids.len()
    }

    /// The messages a set names; numbers of no message name nothing.
    pub(super) fn targets(&self, set: &SequenceSet, by_uid: bool) -> Vec<Target> {
        match set {
            SequenceSet::Given(ranges) => self.within(ranges, by_uid),
            SequenceSet::Saved => self.within(&self.saved, true),
        }
    }

    fn within(&self, set: &Ranges, by_uid: bool) -> Vec<Target> {
        let last = if by_uid { self.uids.last().map_or(0, Uid::get) } else { self.len() };
        let mut targets = Vec::new();
        for (from, to) in set.ranges(last) {
            let (first, last) = if by_uid {
                let above = to.checked_add(1).map_or(self.len(), |above| self.uids.below(above));
                (self.uids.below(from) + 1, above)
            } else {
                (from, to)
            };
            targets.extend(self.numbered(first, last));
        }
        targets
    }

    pub(super) fn all(&self) -> Vec<Target> {
        self.numbered(1, self.len()).collect()
    }

    /// Whether a message is unread, as far as the client knows.
    pub(super) fn is_unread(&self, uid: Uid) -> bool {
        self.unread.contains(uid)
    }

    /// Whether the client knows what a message is like since then.
    pub(super) fn knows(&self, uid: Uid, modseq: ModSeq) -> bool {
        let told = |(at, uids): &(ModSeq, UidSet)| *at == modseq && uids.contains(uid);
        modseq <= self.seen || self.told.iter().any(told)
    }

    /// Notes what the client is told right now.
    pub(super) fn told(&mut self, uid: Uid, flags: &Flags, modseq: ModSeq) {
        if !self.uids.contains(uid) {
            return;
        }
        self.mark(uid, flags);
        if modseq <= self.seen {
            return;
        }
        if let Some((_, uids)) = self.told.iter_mut().find(|(at, _)| *at == modseq) {
            uids.insert(uid);
            return;
        }
        if self.told.len() >= MOST_TOLD {
            self.told.remove(0);
        }
        self.told.push((modseq, UidSet::from_iter([uid])));
    }

    /// Notes that all of a change was told: when it follows on what was seen, so was everything up to
    /// it, and nothing has to be kept of it.
    pub(super) fn told_all(&mut self, modseq: ModSeq) {
        if modseq.0 == self.seen.0 + 1 {
            self.see(modseq);
        }
    }

    /// Removes messages and tells so. By number it is the highest first: then no number shifts before
    /// it is told.
    pub(super) fn expunge(&mut self, gone: &[Uid], enabled: Enabled, out: &mut Output) {
        let gone: UidSet = gone.iter().copied().filter(|uid| self.uids.contains(*uid)).collect();
        if gone.is_empty() {
            return;
        }
        if enabled.resync == Resync::Qresync {
            // RFC 7162 §3.2.10.2: only what the client knows of.
            out.raw("* VANISHED ").raw(&uid_ranges(gone.ranges())).raw("\r\n");
        } else {
            let numbers: Vec<u32> = gone.iter().filter_map(|uid| self.uids.number(uid)).collect();
            for number in numbers.into_iter().rev() {
                out.raw("* ").number(number).raw(" EXPUNGE\r\n");
            }
        }
        self.uids = self.uids.without(&gone);
        self.unread = self.unread.without(&gone);
    }

    /// Tells what changed since the last time: messages gone, new ones, other flags. Returns
    /// whether something had to be held back.
    pub(super) fn update(
        &mut self,
        news: Changes,
        expunges: Expunges,
        enabled: Enabled,
        out: &mut Output,
    ) -> bool {
        let gone = news.vanished.iter().any(|uid| self.uids.contains(*uid));
        let held = expunges == Expunges::Held && gone;
        if !held {
            self.expunge(&news.vanished, enabled, out);
        }
        let last = self.uids.last();
        let is_new = |entry: &Entry| last.is_none_or(|last| entry.uid > last);
        let (new, mut changed): (Vec<_>, Vec<_>) = news.changed.into_iter().partition(is_new);
        changed.retain(|entry| !self.knows(entry.uid, entry.modseq));
        if !held {
            // Else all of it is asked for again; what is told now is then no news.
            self.see(news.mailbox.highest_modseq);
        }
        for entry in &new {
            self.uids.insert(entry.uid);
            self.told(entry.uid, &entry.flags, entry.modseq);
        }
        if !new.is_empty() {
            out.raw("* ").number(self.len()).raw(" EXISTS\r\n");
            // RFC 3501 §7.3.2: told with EXISTS. No message is recent here.
            out.recent();
        }
        for entry in changed {
            if let Some(number) = self.uids.number(entry.uid) {
                self.introduce_keywords(&entry.flags, out);
                // With the UID: a client that works with UIDs need not look the number up.
                let modseq = enabled.modseq(entry.modseq);
                out.fetch_flags(number, Some(entry.uid), &entry.flags, modseq);
                self.told(entry.uid, &entry.flags, entry.modseq);
            }
        }
        if gone && enabled.resync == Resync::Qresync {
            // RFC 7162 §3.2, §6: a client that goes on from here after a broken connection hears of
            // what is held back, however high the modification sequences are that it was told.
            out.line(&format!("OK [HIGHESTMODSEQ {}] All up to here was told", self.seen.0));
        }
        held
    }

    fn see(&mut self, modseq: ModSeq) {
        self.seen = self.seen.max(modseq);
        self.told.retain(|(at, _)| *at > self.seen);
    }

    fn mark(&mut self, uid: Uid, flags: &Flags) {
        if flags.has(SystemFlag::Seen) {
            self.unread.remove(uid);
        } else {
            self.unread.insert(uid);
        }
    }

    fn numbered(&self, first: u32, last: u32) -> impl Iterator<Item = Target> {
        self.uids.numbered(first, last).map(|(number, uid)| Target { number, uid })
    }
}
