//! What goes over a line between whoever reads or writes the archive and the post office: JSON
//! objects, one a line, and the bytes of messages between them in pieces with their length before
//! each. Both sides wait for each other after every batch, so neither holds more than one.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::mail::{Flags, MailboxName, SpecialUse, Uid, UidValidity};

/// Most messages offered at once.
pub(super) const MAX_OFFER: usize = 128;
/// Bytes of messages after which an offer is made.
pub(super) const OFFER_BYTES: u64 = 4 << 20;
/// Bytes of one piece of a message.
pub(super) const PIECE: usize = 64 << 10;
/// Longest line in bytes: an offer of messages with many keywords fits.
const MAX_LINE: u64 = 8 << 20;
/// Longest reason in bytes why a message breaks off.
const MAX_REASON: usize = 1000;
/// In place of a length: the message breaks off here.
const BROKEN: u32 = u32::MAX;

/// What an import tells the post office.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToStore {
    /// There shall be such a mailbox; it gets the next number from 0.
    Folder(Wish),
    /// These messages could come.
    Offer(Vec<Head>),
}

/// What the post office answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromStore {
    /// First of all: the key of this line's digests.
    Key(DigestKey),
    /// The mailbox wished for is there.
    Ready,
    /// These of the offer are not there yet: their bytes, please, in this order.
    Wanted(Vec<usize>),
    /// The offer is carried out and durable.
    Taken(Taken),
    /// Nothing of the offer was taken, and nothing more can be; a line for a person.
    Stopped(String),
}

/// A mailbox as the archive knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Wish {
    /// Its name, when nothing is known by its use.
    pub(super) name: MailboxName,
    /// It is below the mailbox of this use, or is that one when `below` is empty.
    pub(super) special_use: Option<SpecialUse>,
    /// The levels below it, each with the separator before it.
    pub(super) below: String,
    /// Whether it was subscribed to, when that is known.
    pub(super) subscribed: Option<bool>,
}

/// A message that could come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) flags: Flags,
    pub(super) date: Timestamp,
    /// Numbers of the mailboxes it belongs into.
    pub(super) folders: Vec<usize>,
}

/// What became of an offer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) added: u64,
    /// Left alone: the same bytes are in that mailbox.
    pub(super) present: u64,
    /// Those that broke off or came otherwise than offered.
    pub(super) broken: Vec<usize>,
}

/// What an export hears from the post office.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromAccount {
    /// First of all: how much there is.
    Overview { messages: u64, bytes: u64 },
    /// The messages offered next are in this mailbox.
    Folder { name: MailboxName, subscribed: bool, validity: UidValidity },
    /// These messages could come; answered with the positions of those that are wanted.
    Offer(Vec<Kept>),
    /// That was all.
    End,
    /// Nothing more can be read; a line for a person.
    Stopped(String),
}

/// A message in a mailbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) uid: Uid,
    pub(super) size: u64,
    pub(super) flags: Flags,
    pub(super) date: Timestamp,
}

/// Drawn for each line, so that nobody can make two messages of one digest.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct DigestKey([u8; 32]);

/// Tells messages apart by their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Digest([u8; 16]);

impl DigestKey {
    /// A random key.
    pub(super) fn draw() -> io::Result<Self> {
        let mut key = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        Ok(Self(key))
    }

    pub(super) fn hasher(self) -> Hasher {
        Hasher(Box::new(blake3::Hasher::new_keyed(&self.0)))
    }
}

/// Digests bytes as they pass.
pub(super) struct Hasher(Box<blake3::Hasher>);

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> Digest {
        let mut digest = [0; 16];
        self.0.finalize_xof().fill(&mut digest);
        Digest(digest)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Writes one line.
pub(super) fn say(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one line; nothing when the other side is done.
pub(super) fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes the bytes of one message. When they cannot be read, the other side is told and the
/// reason returned.
pub(super) fn send_message(
    to: &mut impl Write,
    message: &mut impl Read,
) -> io::Result<Result<(), io::Error>> {
    let mut piece = vec![0; PIECE];
    loop {
        match message.read(&mut piece) {
            Ok(0) => {
                to.write_all(&0_u32.to_le_bytes())?;
                return Ok(Ok(()));
            }
            Ok(count) => {
                let bytes = piece.get(..count).unwrap_or_default();
                let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
                to.write_all(&length.to_le_bytes())?;
                to.write_all(bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                send_broken(to, &error.to_string())?;
                return Ok(Err(error));
            }
        }
    }
}

/// Breaks a message off.
pub(super) fn send_broken(to: &mut impl Write, reason: &str) -> io::Result<()> {
    let reason = reason.as_bytes().get(..MAX_REASON).unwrap_or(reason.as_bytes());
    to.write_all(&BROKEN.to_le_bytes())?;
    let length = u32::try_from(reason.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(reason)
}

/// The next part of a message on the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes are in the buffer.
    Bytes,
    /// The message is whole.
    End,
    /// It breaks off, for this reason.
    Broken(String),
}

/// Reads the next part of a message into `buffer`.
pub(super) fn next_piece(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Piece> {
    let length = match number(from)? {
        0 => return Ok(Piece::End),
        BROKEN => {
            let length = usize::try_from(number(from)?).unwrap_or(usize::MAX).min(MAX_REASON);
            let mut reason = vec![0; length];
            from.read_exact(&mut reason)?;
            return Ok(Piece::Broken(String::from_utf8_lossy(&reason).into_owned()));
        }
        length => usize::try_from(length).unwrap_or(usize::MAX),
    };
    if length > PIECE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    Ok(Piece::Bytes)
}

fn number(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
