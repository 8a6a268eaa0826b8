//! What changed, against what is there: a client that applies the one to what it knew has the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::power::Trial;
use super::super::shared::Shared;
use super::*;

const BOX: MailboxId = MailboxId(1);

/// What a client knows of a mailbox.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    modseq: ModSeq,
    entries: BTreeMap<Uid, Entry>,
}

impl Known {
    fn of(shared: &Shared, mailbox: MailboxId) -> Option<Self> {
        let (row, entries) = shared.index.entries(mailbox).unwrap()?;
        assert_eq!(entries.len(), row.messages as usize);
        let whole = shared.index.messages(mailbox).unwrap();
        let short = whole.into_iter().map(|message| Entry {
            uid: message.uid,
            modseq: message.modseq,
            flags: message.flags,
            body: message.content.body,
            is_body: message.content.is_body(),
            size: message.content.size(),
        });
        assert_eq!(entries, short.collect::<Vec<_>>());
        let entries = entries.into_iter().map(|entry| (entry.uid, entry)).collect();
        Some(Self { modseq: row.highest_modseq, entries })
    }

    fn learn(&mut self, changes: &Changes) {
        self.modseq = changes.mailbox.highest_modseq;
        self.entries.extend(changes.changed.iter().map(|entry| (entry.uid, entry.clone())));
        for uid in &changes.vanished {
            assert!(changes.changed.iter().all(|entry| entry.uid != *uid), "both there and gone");
            assert!(*uid < changes.mailbox.uid_next);
            self.entries.remove(uid);
        }
    }
}

#[test]
fn who_learns_what_changed_knows_what_is_there() {
    let (mut by_ring, mut by_rows) = (0, 0);
    for seed in 0..60 {
        let mut trial = Trial::new(seed);
        let mut writer = trial.open().unwrap();
        // So few that many clients come from further back.
        Arc::get_mut(&mut writer.shared).unwrap().recent = Recent::new(8);
        let mut clients: Vec<(MailboxId, Known)> = Vec::new();
        for step in 0..40 {
            assert!(trial.step(&mut writer));
            let shared = &writer.shared;
            for number in 1..10 {
                let mailbox = MailboxId(number);
                clients.extend(Known::of(shared, mailbox).map(|known| (mailbox, known)));
            }
            if step % 10 == 0 {
                clients.drain(..clients.len() / 2);
            }
            for (mailbox, known) in &mut clients {
                let look = |recent| shared.index.changed_since(*mailbox, known.modseq, recent);
                let there = Known::of(shared, *mailbox);
                let Some(changes) = look(&shared.recent).unwrap() else {
                    assert_eq!(there, None, "seed {seed}");
                    continue;
                };
                let ring = |modseq| shared.recent.between(*mailbox, modseq, ModSeq(u64::MAX));
                by_ring += u32::from(ring(known.modseq).is_some());
                by_rows += u32::from(ring(known.modseq).is_none());
                assert_eq!(Some(&changes), look(&Recent::new(8)).unwrap().as_ref(), "seed {seed}");
                assert!(changes.changed.iter().all(|entry| entry.modseq > known.modseq));
                if step % 3 == 0 {
                    known.learn(&changes);
                    assert_eq!(Some(&*known), there.as_ref(), "seed {seed}");
                }
            }
        }
    }
    assert!(by_ring > 1000 && by_rows > 1000, "{by_ring} and {by_rows}: one way is not tried");
}

fn uids(numbers: &[u32]) -> BTreeSet<Uid> {
    numbers.iter().filter_map(|number| Uid::new(*number)).collect()
}

fn change(mailbox: MailboxId, modseq: u64, uid: u32) -> Touched {
    (mailbox, Some((ModSeq(modseq), Uid::new(uid).unwrap())))
}

#[test]
fn only_what_is_surely_complete_is_told_from_memory() {
    let recent = Recent::new(3);
    let since = |since| recent.between(BOX, ModSeq(since), ModSeq(100));
    assert_eq!(since(7), None, "of a mailbox never seen nothing is known");
    recent.add(vec![change(BOX, 8, 1)]);
    assert_eq!(since(6), None);
    assert_eq!(since(7), Some(uids(&[1])));
    assert_eq!(since(8), Some(uids(&[])));
    recent.add(vec![change(BOX, 9, 1), change(BOX, 9, 2)]);
    assert_eq!(since(7), Some(uids(&[1, 2])));
    assert_eq!(recent.between(BOX, ModSeq(7), ModSeq(8)), Some(uids(&[1])));
    // The oldest makes place for one of another mailbox.
    recent.add(vec![change(MailboxId(2), 3, 3)]);
    assert_eq!(since(7), None);
    assert_eq!(since(8), Some(uids(&[1, 2])));
    // Half of a change is no more known than none of it.
    recent.add(vec![change(MailboxId(2), 4, 3)]);
    assert_eq!(since(8), None);
    assert_eq!(since(9), Some(uids(&[])));
    recent.add(vec![change(MailboxId(2), 5, 3)]);
    assert_eq!(since(9), None);
    assert_eq!(recent.between(MailboxId(2), ModSeq(2), ModSeq(5)), Some(uids(&[3])));
    recent.add(vec![(MailboxId(2), None)]);
    assert_eq!(recent.between(MailboxId(2), ModSeq(4), ModSeq(5)), None);
}

#[test]
fn memory_is_bounded_whatever_is_deleted_meanwhile() {
    let recent = Recent::new(100);
    for round in 0..1000 {
        let mailbox = MailboxId(round % 7);
        recent.add((0..50).map(|uid| change(mailbox, u64::from(round), uid + 1)).collect());
        if round % 5 == 0 {
            recent.add(vec![(mailbox, None)]);
        }
        let rings = recent.lock();
        let held: usize = rings.of.values().map(|ring| ring.changes.len()).sum();
        assert!(held <= rings.order.len() && rings.order.len() <= 100);
    }
}
