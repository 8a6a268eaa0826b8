//! What happened, as the log keeps it: results, never requests. UIDs, modification sequences and
//! numbers are in the events, so that playing the log again always makes the same index.

use jiff::Timestamp;

use super::changes::Entry;
use super::codec::{Decoder, Encoder, Malformed};
use super::record::Key;
use super::threads::{IdHash, ThreadId};
use super::transfer::Form;
use super::types::{AccountId, BodyId, Mailbox, MailboxId, Message, QueueId, QueueRecord};
use crate::mail::{Flags, ModSeq, SpecialUse, Uid, UidValidity};

/// One batch in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// Batches of one sync share it; each sync has a higher one.
    pub(super) group: u64,
    /// What happened, in order.
    pub(super) events: Vec<Event>,
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Numbers below these are used up. Stands at the head of each segment, so that no number
    /// returns when an old segment is damaged or dropped.
    Counters(Counters),
    /// A mailbox is new or has changed; counts are not part of it.
    Mailbox(Mailbox),
    /// A mailbox and its messages are gone.
    MailboxDeleted(MailboxId),
    /// A body exists, or lies elsewhere now.
    Body(BodyId, Stored),
    /// A part exists, or lies elsewhere now.
    Part(Hash, ChunkRef),
    /// A message is in a mailbox.
    Message(MailboxId, Message),
    /// In an account, these message ids belong to a thread.
    Thread(AccountId, ThreadId, Vec<IdHash>),
    /// An account is gone, and its number never comes back: its threads are forgotten.
    AccountGone(AccountId),
    /// Flags are now these.
    Flags(MailboxId, ModSeq, Vec<(Uid, Flags)>),
    /// Messages are gone.
    Expunged(MailboxId, ModSeq, Vec<Uid>),
    /// A queue record exists.
    Queued(QueueRecord),
    /// A queue record has a new state.
    QueueState(QueueId, Vec<u8>),
    /// A queue record is gone.
    Dequeued(QueueId),
    /// A setting has this value.
    Setting(String, Vec<u8>),
    /// A setting is gone.
    SettingDeleted(String),
}

/// The lowest numbers never given yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) mailbox: u32,
    pub(super) body: u64,
    pub(super) queue: u64,
    pub(super) uid_validity: u32,
}

impl Counters {
    /// Before anything happened.
    pub(super) const START: Self = Self { mailbox: 1, body: 1, queue: 1, uid_validity: 1 };

    /// The higher of each.
    pub(super) fn raise(&mut self, other: Self) {
        self.mailbox = self.mailbox.max(other.mailbox);
        self.body = self.body.max(other.body);
        self.queue = self.queue.max(other.queue);
        self.uid_validity = self.uid_validity.max(other.uid_validity);
    }

    pub(super) fn encode(self, out: &mut Encoder) {
        out.number(self.mailbox);
        out.number(self.body);
        out.number(self.queue);
        out.number(self.uid_validity);
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            mailbox: from.number()?,
            body: from.number()?,
            queue: from.number()?,
            uid_validity: from.number()?,
        })
    }
}

/// What a part is known by: keyed BLAKE3 of its bytes. Nobody without the store's key can make two
/// that collide, or find out which one is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hash(pub(super) [u8; 16]);

impl Hash {
    pub(super) fn of(key: &Key, part: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(b"part").update(part);
        let mut hash = [0; 16];
        hasher.finalize_xof().fill(&mut hash);
        Self(hash)
    }
}

/// Where a body lies: a plain stream, and parts taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stored {
    /// Bytes at the beginning of the plain stream that were not received: a message's prefix.
    pub(super) lead: u32,
    /// The plain stream, in the order of its bytes.
    pub(super) chunks: Vec<ChunkRef>,
    /// What was taken out of it, in order.
    pub(super) parts: Vec<PartUse>,
}

/// A part in the place it was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartUse {
    /// Received bytes of the plain stream before it.
    pub(super) at: u64,
    /// How its text was laid out.
    pub(super) form: Form,
    /// Bytes of the part.
    pub(super) len: u32,
    /// Which part.
    pub(super) hash: Hash,
}

impl PartUse {
    /// Bytes of its text.
    pub(super) fn text_len(&self) -> u64 {
        self.form.encoded_len(self.len.into())
    }
}

impl Stored {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.number(self.lead);
        out.number(self.chunks.len() as u64);
        self.chunks.iter().for_each(|chunk| chunk.encode(out));
        out.number(self.parts.len() as u64);
        for part in &self.parts {
            out.number(part.at);
            out.number(part.form.to_bits());
            out.number(part.len);
            out.fixed(&part.hash.0);
        }
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            lead: from.number()?,
            chunks: from.list(ChunkRef::decode)?,
            parts: from.list(|from| {
                Ok(PartUse {
                    at: from.number()?,
                    form: Form::from_bits(from.number()?).ok_or(Malformed)?,
                    len: from.number()?,
                    hash: Hash(from.fixed()?),
                })
            })?,
        })
    }

    /// As format 1 had it.
    fn decode_1(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { chunks: from.list(ChunkRef::decode)?, ..Self::default() })
    }
}

/// Where a piece of a body lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkRef {
    /// Number of the segment.
    pub(super) segment: u32,
    /// Where its record begins there.
    pub(super) offset: u64,
    /// Bytes of the whole record.
    pub(super) stored: u32,
    /// Bytes it stands for.
    pub(super) raw: u32,
}

impl ChunkRef {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.number(self.segment);
        out.number(self.offset);
        out.number(self.stored);
        out.number(self.raw);
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            segment: from.number()?,
            offset: from.number()?,
            stored: from.number()?,
            raw: from.number()?,
        })
    }
}

impl Commit {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.number(self.group);
        out.number(self.events.len() as u64);
        self.events.iter().for_each(|event| event.encode(&mut out));
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder(bytes);
        let group = from.number()?;
        let events = from.list(Event::decode)?;
        from.end()?;
        Ok(Self { group, events })
    }
}

impl Event {
    /// Bytes of it in a commit, before packing.
    pub(super) fn size(&self) -> usize {
        let mut out = Encoder::default();
        self.encode(&mut out);
        out.finish().len()
    }

    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Counters(counters) => {
                out.byte(1);
                counters.encode(out);
            }
            Self::Mailbox(mailbox) => {
                out.byte(2);
                out.number(mailbox.id.0);
                encode_mailbox(mailbox, out);
            }
            Self::MailboxDeleted(id) => {
                out.byte(3);
                out.number(id.0);
            }
            Self::Body(id, stored) => {
                out.byte(13);
                out.number(id.0);
                stored.encode(out);
            }
            Self::Part(hash, chunk) => {
                out.byte(16);
                out.fixed(&hash.0);
                chunk.encode(out);
            }
            Self::Message(mailbox, message) => {
                out.byte(17);
                out.number(mailbox.0);
                out.uid(message.uid);
                encode_message(message, out);
            }
            Self::Thread(account, thread, ids) => {
                out.byte(18);
                out.number(account.0);
                out.number(thread.0);
                out.number(ids.len() as u64);
                for id in ids {
                    out.fixed(&id.0);
                }
            }
            Self::AccountGone(account) => {
                out.byte(19);
                out.number(account.0);
            }
            Self::Flags(mailbox, modseq, changed) => {
                out.byte(6);
                out.number(mailbox.0);
                out.number(modseq.0);
                out.number(changed.len() as u64);
                for (uid, flags) in changed {
                    out.uid(*uid);
                    out.flags(flags);
                }
            }
            Self::Expunged(mailbox, modseq, uids) => {
                out.byte(7);
                out.number(mailbox.0);
                out.number(modseq.0);
                out.number(uids.len() as u64);
                for uid in uids {
                    out.uid(*uid);
                }
            }
            Self::Queued(record) => {
                out.byte(15);
                out.number(record.id.0);
                out.content(&record.content);
                out.bytes(&record.state);
            }
            Self::QueueState(id, state) => {
                out.byte(9);
                out.number(id.0);
                out.bytes(state);
            }
            Self::Dequeued(id) => {
                out.byte(10);
                out.number(id.0);
            }
            Self::Setting(key, value) => {
                out.byte(11);
                out.bytes(key.as_bytes());
                out.bytes(value);
            }
            Self::SettingDeleted(key) => {
                out.byte(12);
                out.bytes(key.as_bytes());
            }
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte()? {
            1 => Self::Counters(Counters::decode(from)?),
            2 => {
                let id = MailboxId(from.number()?);
                Self::Mailbox(decode_mailbox(id, from)?)
            }
            3 => Self::MailboxDeleted(MailboxId(from.number()?)),
            4 => Self::Body(BodyId(from.number()?), Stored::decode_1(from)?),
            13 => Self::Body(BodyId(from.number()?), Stored::decode(from)?),
            16 => Self::Part(Hash(from.fixed()?), ChunkRef::decode(from)?),
            format @ (5 | 14 | 17) => {
                let (mailbox, uid) = (MailboxId(from.number()?), from.uid()?);
                let layout = match format {
                    5 => MessageLayout::One,
                    14 => MessageLayout::Two,
                    _ => MessageLayout::Three,
                };
                Self::Message(mailbox, decode_message(uid, from, layout)?)
            }
            18 => {
                let (account, thread) = (AccountId(from.number()?), ThreadId(from.number()?));
                Self::Thread(account, thread, from.list(|from| Ok(IdHash(from.fixed()?)))?)
            }
            19 => Self::AccountGone(AccountId(from.number()?)),
            6 => {
                let (mailbox, modseq) = (MailboxId(from.number()?), from.modseq()?);
                let changed = from.list(|from| Ok((from.uid()?, from.flags()?)))?;
                Self::Flags(mailbox, modseq, changed)
            }
            7 => {
                let (mailbox, modseq) = (MailboxId(from.number()?), from.modseq()?);
                Self::Expunged(mailbox, modseq, from.list(Decoder::uid)?)
            }
            format @ (8 | 15) => Self::Queued(QueueRecord {
                id: QueueId(from.number()?),
                content: if format == 8 { from.content_1()? } else { from.content()? },
                state: from.bytes()?.to_vec(),
            }),
            9 => Self::QueueState(QueueId(from.number()?), from.bytes()?.to_vec()),
            10 => Self::Dequeued(QueueId(from.number()?)),
            11 => Self::Setting(from.text()?.to_owned(), from.bytes()?.to_vec()),
            12 => Self::SettingDeleted(from.text()?.to_owned()),
            _ => return Err(Malformed),
        })
    }
}

/// A mailbox without its number and counts.
pub(super) fn encode_mailbox(mailbox: &Mailbox, out: &mut Encoder) {
    out.number(mailbox.account.0);
    out.bytes(mailbox.name.as_str().as_bytes());
    out.number(mailbox.uid_validity.0.get());
    out.uid(mailbox.uid_next);
    out.number(mailbox.highest_modseq.0);
    out.byte(match mailbox.special_use {
        None => 0,
        Some(SpecialUse::Archive) => 1,
        Some(SpecialUse::Drafts) => 2,
        Some(SpecialUse::Junk) => 3,
        Some(SpecialUse::Sent) => 4,
        Some(SpecialUse::Trash) => 5,
    });
    out.byte(u8::from(mailbox.subscribed));
}

/// The reverse of [`encode_mailbox`], with nothing in it.
pub(super) fn decode_mailbox(id: MailboxId, from: &mut Decoder<'_>) -> Result<Mailbox, Malformed> {
    Ok(Mailbox {
        id,
        account: AccountId(from.number()?),
        name: from.text()?.parse().map_err(|_| Malformed)?,
        uid_validity: UidValidity(from.nonzero()?),
        uid_next: from.uid()?,
        highest_modseq: from.modseq()?,
        special_use: match from.byte()? {
            0 => None,
            1 => Some(SpecialUse::Archive),
            2 => Some(SpecialUse::Drafts),
            3 => Some(SpecialUse::Junk),
            4 => Some(SpecialUse::Sent),
            5 => Some(SpecialUse::Trash),
            _ => return Err(Malformed),
        },
        subscribed: from.byte()? != 0,
        messages: 0,
        unseen: 0,
        size: 0,
    })
}

/// A message without its UID.
pub(super) fn encode_message(message: &Message, out: &mut Encoder) {
    out.number(message.modseq.0);
    out.flags(&message.flags);
    out.time(message.internal_date);
    out.time(message.save_date);
    out.content(&message.content);
    // No body has the number 0.
    out.number(message.thread.map_or(0, |thread| thread.0));
}

/// How the formats wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageLayout {
    One,
    Two,
    /// Of today, in the index too.
    Three,
}

/// The reverse of [`encode_message`].
pub(super) fn decode_message(
    uid: Uid,
    from: &mut Decoder<'_>,
    layout: MessageLayout,
) -> Result<Message, Malformed> {
    Ok(Message {
        uid,
        modseq: from.modseq()?,
        flags: from.flags()?,
        internal_date: from.time()?,
        save_date: from.time()?,
        content: match layout {
            MessageLayout::One => from.content_1()?,
            MessageLayout::Two | MessageLayout::Three => from.content()?,
        },
        thread: match layout {
            MessageLayout::One | MessageLayout::Two => None,
            MessageLayout::Three => Some(from.number()?).filter(|n| *n != 0).map(ThreadId),
        },
    })
}

/// Of what [`encode_message`] wrote, what lists of a mailbox need; nothing when it did not change after
/// `since`.
pub(super) fn decode_entry(
    uid: Uid,
    since: ModSeq,
    from: &mut Decoder<'_>,
) -> Result<Option<Entry>, Malformed> {
    let modseq = from.modseq()?;
    if modseq <= since {
        return Ok(None);
    }
    let flags = from.flags()?;
    let _dates = (from.time()?, from.time()?);
    let (body, is_body, size) = from.content_in_short()?;
    Ok(Some(Entry { uid, modseq, flags, body, is_body, size }))
}

/// What the index can keep of a time: microseconds.
pub(super) fn storable(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
