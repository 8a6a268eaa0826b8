//! What is in a mailbox, in blocks of 1024 UIDs: which messages there are, which of them have which
//! system flag, when one last changed, and whose bytes they are. So a mailbox is opened, searched for
//! flags and looked through for changes without a look at each message's row. All of it follows
//! from the messages and is kept in step by `apply.rs`; `FORMAT.md` has the layout.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::codec::{Decoder, Encoder, Malformed};
use super::error::StoreError;
use super::index::{Bytes, index};
use super::rows::malformed;
use super::types::{BodyId, Mailbox, MailboxId, Message};
use crate::mail::uids::{BLOCK, Block, split};
use crate::mail::{Flag, Flags, Keyword, ModSeq, SystemFlag, Uid, UidSet};

/// The blocks of each mailbox: which messages there are, their flags and the last change.
pub(super) const BLOCKS: TableDefinition<'_, (u32, u32), Bytes> = TableDefinition::new("blocks");
/// The bodies of each block's messages.
pub(super) const HELD: TableDefinition<'_, (u32, u32), Bytes> = TableDefinition::new("held");
/// How many messages of a mailbox have a keyword.
pub(super) const KEYWORDS: TableDefinition<'_, (u32, &str), u32> = TableDefinition::new("keywords");

/// Runs in a set up to which it is written as runs; more take more bytes than a bit for each place.
const MOST_RUNS: usize = 40;

/// A mailbox as a whole, all of it from one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Its name, counts and numbers.
    pub mailbox: Mailbox,
    /// All its messages.
    pub uids: UidSet,
    /// Those without `\Seen`.
    pub unseen: UidSet,
    /// Those with `\Answered`.
    pub answered: UidSet,
    /// Those with `\Flagged`.
    pub flagged: UidSet,
    /// Those with `\Deleted`.
    pub deleted: UidSet,
    /// Those with `\Draft`.
    pub draft: UidSet,
    /// Every keyword that any of them has.
    pub keywords: BTreeSet<Keyword>,
}

/// A message and whose bytes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its number in the mailbox.
    pub uid: Uid,
    /// Where its bytes are, our trace fields aside.
    pub body: BodyId,
    /// Whether the message is all of its body's stored bytes and nothing else.
    pub is_body: bool,
}

/// A row of [`BLOCKS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The highest that a message of the block ever had, those included that are gone.
    pub(super) modseq: ModSeq,
    present: Block,
    unseen: Block,
    answered: Block,
    flagged: Block,
    deleted: Block,
    draft: Block,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.number(self.modseq.0);
        let Self { present, unseen, answered, flagged, deleted, draft, .. } = self;
        for set in [present, unseen, answered, flagged, deleted, draft] {
            encode_set(set, &mut out);
        }
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut from = Decoder(bytes);
        let mut decode = || {
            Ok(Self {
                modseq: from.modseq()?,
                present: decode_set(&mut from)?,
                unseen: decode_set(&mut from)?,
                answered: decode_set(&mut from)?,
                flagged: decode_set(&mut from)?,
                deleted: decode_set(&mut from)?,
                draft: decode_set(&mut from)?,
            })
        };
        decode().map_err(|error| malformed("a block of a mailbox", error))
    }

    fn note(&mut self, place: u16, flags: Option<&Flags>) {
        let has = |flag| flags.is_some_and(|flags| flags.has(flag));
        self.present.set(place, flags.is_some());
        self.unseen.set(place, flags.is_some_and(|flags| !flags.has(SystemFlag::Seen)));
        self.answered.set(place, has(SystemFlag::Answered));
        self.flagged.set(place, has(SystemFlag::Flagged));
        self.deleted.set(place, has(SystemFlag::Deleted));
        self.draft.set(place, has(SystemFlag::Draft));
    }
}

fn encode_set(set: &Block, out: &mut Encoder) {
    let runs = set.runs();
    if runs.len() > MOST_RUNS {
        out.number(u32::MAX);
        set.words().iter().for_each(|word| out.fixed(&word.to_le_bytes()));
        return;
    }
    out.number(runs.len() as u64);
    let mut end = 0;
    for (first, len) in runs {
        out.number(first - end);
        out.number(len);
        end = first + len;
    }
}

fn decode_set(from: &mut Decoder<'_>) -> Result<Block, Malformed> {
    let runs: u32 = from.number()?;
    let mut words = [0; 16];
    if runs == u32::MAX {
        for word in &mut words {
            *word = u64::from_le_bytes(from.fixed()?);
        }
        return Ok(Block::from_words(words));
    }
    let mut end = 0_u16;
    let mut set = Block::default();
    for _ in 0..runs {
        let first = end.checked_add(from.number()?).ok_or(Malformed)?;
        let len: u16 = from.number()?;
        end = first.checked_add(len).filter(|end| u32::from(*end) <= BLOCK).ok_or(Malformed)?;
        if runs == 1 {
            return Ok(Block::run(first, len));
        }
        (first..end).for_each(|place| {
            set_bit(&mut words, place);
        });
    }
    if runs > 0 {
        set = Block::from_words(words);
    }
    Ok(set)
}

fn set_bit(words: &mut [u64; 16], place: u16) {
    if let Some(word) = words.get_mut(usize::from(place / 64)) {
        *word |= 1 << (place % 64);
    }
}

/// A row of [`HELD`]: the body of each message, by its place.
type Bodies = BTreeMap<u16, (BodyId, bool)>;

fn encode_bodies(bodies: &Bodies) -> Vec<u8> {
    let mut out = Encoder::default();
    let (mut place_before, mut before) = (0, 0_u64);
    out.number(bodies.len() as u64);
    for (place, (body, is_body)) in bodies {
        out.number(place - place_before);
        let step = body.0.wrapping_sub(before).cast_signed();
        let zigzag = (step << 1) ^ (step >> 63);
        out.byte(u8::from(*is_body));
        out.number(zigzag.cast_unsigned());
        (place_before, before) = (*place, body.0);
    }
    out.finish()
}

fn decode_bodies(row: &[u8]) -> Result<Vec<(u16, BodyId, bool)>, StoreError> {
    let mut from = Decoder(row);
    let mut decode = || {
        let count: u16 = from.number()?;
        let (mut place, mut body) = (0_u16, 0_u64);
        let mut bodies = Vec::with_capacity(count.min(1024).into());
        for _ in 0..count {
            place = place.checked_add(from.number()?).ok_or(Malformed)?;
            let is_body = from.byte()? != 0;
            let zigzag: u64 = from.number()?;
            let step = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
            body = body.wrapping_add_signed(step);
            bodies.push((place, BodyId(body), is_body));
        }
        Ok(bodies)
    };
    decode().map_err(|error| malformed("a block of bodies", error))
}

/// The tables, open for change. Rows are kept here until [`Map::keep`].
pub(super) struct Map<'t> {
    blocks: Table<'t, (u32, u32), Bytes>,
    held: Table<'t, (u32, u32), Bytes>,
    keywords: Table<'t, (u32, &'static str), u32>,
    rows: BTreeMap<(u32, u32), Row>,
    bodies: BTreeMap<(u32, u32), Bodies>,
}

impl<'t> Map<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            blocks: txn.open_table(BLOCKS).map_err(index)?,
            held: txn.open_table(HELD).map_err(index)?,
            keywords: txn.open_table(KEYWORDS).map_err(index)?,
            rows: BTreeMap::new(),
            bodies: BTreeMap::new(),
        })
    }

    /// A message is in its mailbox now.
    pub(super) fn add(&mut self, id: MailboxId, message: &Message) -> Result<(), StoreError> {
        let (key, place) = at(id, message.uid);
        self.row(key)?.note(place, Some(&message.flags));
        let content = &message.content;
        self.bodies(key)?.insert(place, (content.body, content.is_body()));
        self.count_keywords(id, &message.flags, 1)
    }

    /// A message is not in its mailbox any more.
    pub(super) fn remove(&mut self, id: MailboxId, message: &Message) -> Result<(), StoreError> {
        let (key, place) = at(id, message.uid);
        self.row(key)?.note(place, None);
        self.bodies(key)?.remove(&place);
        self.count_keywords(id, &message.flags, -1)
    }

    /// A message has other flags now.
    pub(super) fn flag(
        &mut self,
        id: MailboxId,
        uid: Uid,
        old: &Flags,
        new: &Flags,
    ) -> Result<(), StoreError> {
        let (key, place) = at(id, uid);
        self.row(key)?.note(place, Some(new));
        self.count_keywords(id, old, -1)?;
        self.count_keywords(id, new, 1)
    }

    /// Something in a block changed then.
    pub(super) fn raise(
        &mut self,
        id: MailboxId,
        block: u32,
        modseq: ModSeq,
    ) -> Result<(), StoreError> {
        let row = self.row((id.0, block))?;
        row.modseq = row.modseq.max(modseq);
        Ok(())
    }

    /// A mailbox is gone.
    pub(super) fn forget(&mut self, id: MailboxId) -> Result<(), StoreError> {
        self.rows.retain(|(mailbox, _), _| *mailbox != id.0);
        self.bodies.retain(|(mailbox, _), _| *mailbox != id.0);
        let all = (id.0, 0)..=(id.0, u32::MAX);
        self.blocks.retain_in(all.clone(), |_, _| false).map_err(index)?;
        self.held.retain_in(all, |_, _| false).map_err(index)?;
        let words = keyword_rows(id, &self.keywords)?;
        for word in words {
            self.keywords.remove((id.0, &*word)).map_err(index)?;
        }
        Ok(())
    }

    /// Writes back what was kept, and lets go of it.
    pub(super) fn keep(&mut self) -> Result<(), StoreError> {
        for (key, row) in std::mem::take(&mut self.rows) {
            self.blocks.insert(key, &*row.encode()).map_err(index)?;
        }
        for (key, bodies) in std::mem::take(&mut self.bodies) {
            if bodies.is_empty() {
                self.held.remove(key).map_err(index)?;
            } else {
                self.held.insert(key, &*encode_bodies(&bodies)).map_err(index)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, key: (u32, u32)) -> Result<&mut Row, StoreError> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        Ok(match self.rows.entry(key) {
            Occupied(row) => row.into_mut(),
            Vacant(place) => {
                let row = self.blocks.get(key).map_err(index)?;
                place.insert(row.map_or(Ok(Row::default()), |row| Row::decode(row.value()))?)
            }
        })
    }

    fn bodies(&mut self, key: (u32, u32)) -> Result<&mut Bodies, StoreError> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        Ok(match self.bodies.entry(key) {
            Occupied(bodies) => bodies.into_mut(),
            Vacant(place) => {
                let row = self.held.get(key).map_err(index)?;
                let bodies = row.map_or(Ok(Vec::new()), |row| decode_bodies(row.value()))?;
                place.insert(bodies.into_iter().map(|(at, id, all)| (at, (id, all))).collect())
            }
        })
    }

    fn count_keywords(
        &mut self,
        id: MailboxId,
        flags: &Flags,
        change: i32,
    ) -> Result<(), StoreError> {
        for flag in flags.iter() {
            let Flag::Keyword(word) = flag else { continue };
            let key = (id.0, word.as_str());
            let old = self.keywords.get(key).map_err(index)?.map_or(0, |count| count.value());
            match old.saturating_add_signed(change) {
                0 => drop(self.keywords.remove(key).map_err(index)?),
                count => drop(self.keywords.insert(key, count).map_err(index)?),
            }
        }
        Ok(())
    }
}

fn at(id: MailboxId, uid: Uid) -> ((u32, u32), u16) {
    let (block, place) = split(uid.get());
    ((id.0, block), place)
}

/// A mailbox's rows of [`BLOCKS`], put together.
pub(super) fn overview(
    mailbox: Mailbox,
    blocks: &impl ReadableTable<(u32, u32), Bytes>,
    keywords: &impl ReadableTable<(u32, &'static str), u32>,
) -> Result<Overview, StoreError> {
    let id = mailbox.id;
    let words = keyword_rows(id, keywords)?;
    let mut all = Overview {
        mailbox,
        uids: UidSet::default(),
        unseen: UidSet::default(),
        answered: UidSet::default(),
        flagged: UidSet::default(),
        deleted: UidSet::default(),
        draft: UidSet::default(),
        keywords: words.iter().filter_map(|word| word.parse().ok()).collect(),
    };
    for row in rows(id, blocks)? {
        let (block, Row { present, unseen, answered, flagged, deleted, draft, .. }) = row?;
        all.uids.push(block, present);
        all.unseen.push(block, unseen);
        all.answered.push(block, answered);
        all.flagged.push(block, flagged);
        all.deleted.push(block, deleted);
        all.draft.push(block, draft);
    }
    Ok(all)
}

/// A mailbox's rows of [`HELD`], put together.
pub(super) fn held(
    id: MailboxId,
    rows: &impl ReadableTable<(u32, u32), Bytes>,
) -> Result<Vec<Held>, StoreError> {
    let mut all = Vec::new();
    for row in rows.range((id.0, 0)..=(id.0, u32::MAX)).map_err(index)? {
        let (key, row) = row.map_err(index)?;
        let base = key.value().1.saturating_mul(BLOCK);
        for (place, body, is_body) in decode_bodies(row.value())? {
            let uid = Uid::new(base.saturating_add(place.into()));
            all.extend(uid.map(|uid| Held { uid, body, is_body }));
        }
    }
    Ok(all)
}

/// The UIDs, from the first to the last, of each of a mailbox's blocks in which something changed
/// after `since`.
pub(super) fn changed_blocks(
    id: MailboxId,
    since: ModSeq,
    blocks: &impl ReadableTable<(u32, u32), Bytes>,
) -> Result<Vec<(u32, u32)>, StoreError> {
    let mut changed = Vec::new();
    for row in rows(id, blocks)? {
        let (block, row) = row?;
        if row.modseq > since {
            let first = block.saturating_mul(BLOCK);
            changed.push((first, first.saturating_add(BLOCK - 1)));
        }
    }
    Ok(changed)
}

fn rows(
    id: MailboxId,
    blocks: &impl ReadableTable<(u32, u32), Bytes>,
) -> Result<impl Iterator<Item = Result<(u32, Row), StoreError>>, StoreError> {
    let rows = blocks.range((id.0, 0)..=(id.0, u32::MAX)).map_err(index)?;
    Ok(rows.map(|row| {
        let (key, row) = row.map_err(index)?;
        Ok((key.value().1, Row::decode(row.value())?))
    }))
}

fn keyword_rows(
    id: MailboxId,
    keywords: &impl ReadableTable<(u32, &'static str), u32>,
) -> Result<Vec<String>, StoreError> {
    let mut words = Vec::new();
    for row in keywords.range((id.0, "")..).map_err(index)? {
        let (key, _) = row.map_err(index)?;
        let (mailbox, word) = key.value();
        if mailbox != id.0 {
            break;
        }
        words.push(word.to_owned());
    }
    Ok(words)
}
