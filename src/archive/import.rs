//! The end at the files of an import: reads what [`super::walk`] finds, offers it to the store by
//! size and digest, and sends what is wanted. Small messages are held from the offer on, others
//! are read a second time.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::facts::{Facts, HEADER};
use super::labels::wish;
use super::walk::{Archive, Found, Place};
use super::wire::{
    DigestKey, FromStore, Head, MAX_OFFER, OFFER_BYTES, PIECE, ToStore, Wish, hear, say,
    send_broken, send_message,
};
use super::{ArchiveError, Format, Progress, Summary, Watch};
use crate::mail::{Flag, MailboxName, SystemFlag};

/// Messages up to this size are read only once.
const SMALL: u64 = 64 << 10;

/// What to import, and how.
#[derive(Debug)]
pub struct ImportOptions {
    /// A file or folder.
    pub path: PathBuf,
    /// What it is, when looking does not tell.
    pub format: Option<Format>,
    /// The mailbox to put everything into or below.
    pub into: Option<MailboxName>,
    /// All of it was read.
    pub seen: bool,
}

/// Imports over a line to the post office.
pub fn import(
    options: &ImportOptions,
    line: &UnixStream,
    watch: &mut dyn Watch,
) -> Result<Summary, ArchiveError> {
    let read = |source| ArchiveError::Read { path: options.path.clone(), source };
    let archive = Archive::look(&options.path, options.format).map_err(read)?;
    if archive.places.is_empty() {
        return Err(match archive.unreadable.into_iter().next() {
            Some(unreadable) => {
                ArchiveError::Read { path: unreadable.what.into(), source: unreadable.why }
            }
            None => ArchiveError::Nothing(options.path.clone()),
        });
    }
    let mut from = BufReader::new(line);
    let key = match hear(&mut from)? {
        Some(FromStore::Key(key)) => key,
        other => return Err(unexpected(other.as_ref()).into()),
    };
    let bytes_of = archive.places.iter().map(|place| place.bytes).sum();
    let mut import = Import {
        options,
        watch,
        key,
        from,
        to: BufWriter::with_capacity(PIECE, line),
        folders: BTreeMap::new(),
        offer: Vec::new(),
        offer_bytes: 0,
        progress: Progress { bytes_of, ..Progress::default() },
        summary: Summary::default(),
    };
    if let Some(first) = archive.ignored_first {
        let others = archive.ignored - 1;
        let first = first.display();
        import.summary.notes.push(match others {
            0 => format!("{first} holds no mail that is recognised and was left out"),
            n => {
                format!("{first} and {n} others hold no mail that is recognised and were left out")
            }
        });
    }
    for unreadable in archive.unreadable {
        import.summary.fail(unreadable.what, unreadable.why);
    }
    for place in &archive.places {
        if !import.place(place)? {
            break;
        }
    }
    Ok(import.summary)
}

struct Import<'a> {
    options: &'a ImportOptions,
    watch: &'a mut dyn Watch,
    key: DigestKey,
    from: BufReader<&'a UnixStream>,
    to: BufWriter<&'a UnixStream>,
    /// Numbers of the mailboxes there shall be.
    folders: BTreeMap<MailboxName, usize>,
    offer: Vec<Offered>,
    offer_bytes: u64,
    progress: Progress,
    summary: Summary,
}

/// A message on offer.
struct Offered {
    head: Head,
    found: Found,
    /// Its bytes when it is small.
    bytes: Option<Vec<u8>>,
}

impl Import<'_> {
    /// Whether to go on.
    fn place(&mut self, place: &Place) -> Result<bool, ArchiveError> {
        let mut wish = self.wish(&place.levels);
        wish.subscribed = place.subscribed;
        self.progress.mailbox = wish.name.to_string();
        if !self.folder(&wish)? {
            return Ok(false);
        }
        let messages = match place.messages() {
            Ok(messages) => messages,
            Err(error) => {
                self.summary.fail(place.path.display().to_string(), error);
                return Ok(true);
            }
        };
        for found in messages {
            match found {
                Ok(found) => {
                    if !self.message(found, &wish)? {
                        return Ok(false);
                    }
                }
                Err(unreadable) => self.summary.fail(unreadable.what, unreadable.why),
            }
        }
        self.send_offer()
    }

    fn wish(&self, levels: &[String]) -> Wish {
        let Some(into) = &self.options.into else { return wish(levels) };
        let mut below: Vec<String> = into.as_str().split('/').map(str::to_owned).collect();
        below.extend_from_slice(levels);
        wish(&below)
    }

    /// Sees to it that there is such a mailbox; whether to go on.
    fn folder(&mut self, wish: &Wish) -> Result<bool, ArchiveError> {
        if self.folders.contains_key(&wish.name) {
            return Ok(true);
        }
        say(&mut self.to, &ToStore::Folder(wish.clone()))?;
        match hear(&mut self.from)? {
            Some(FromStore::Ready) => {
                self.folders.insert(wish.name.clone(), self.folders.len());
                Ok(true)
            }
            other => self.stop(other),
        }
    }

    /// Whether to go on.
    fn message(&mut self, found: Found, wish: &Wish) -> Result<bool, ArchiveError> {
        let (len, name) = (found.len, found.name());
        match self.read(found) {
            Ok(Some((mut offered, facts))) => {
                let labels = facts.labels.filter(|_| offered.found.flags_in_header);
                let wishes = match labels.filter(|_| self.options.into.is_none()) {
                    Some(labels) => {
                        for flag in labels.flags().iter() {
                            offered.head.flags.insert(flag);
                        }
                        labels.wishes()
                    }
                    None => vec![wish.clone()],
                };
                for wish in &wishes {
                    // The offer so far is for the mailboxes so far.
                    if !self.folder(wish)? {
                        return Ok(false);
                    }
                    offered.head.folders.extend(self.folders.get(&wish.name));
                }
                self.offer_bytes += offered.head.size;
                self.offer.push(offered);
            }
            Ok(None) => self.summary.deleted += 1,
            Err(why) => self.summary.fail(name, why),
        }
        self.progress.messages += 1;
        self.progress.bytes += len;
        if self.offer.len() >= MAX_OFFER || self.offer_bytes >= OFFER_BYTES {
            return self.send_offer();
        }
        Ok(true)
    }

    /// Reads a message for the first time; nothing for one that is none any more.
    fn read(&self, found: Found) -> io::Result<Option<(Offered, Facts)>> {
        let mut message = found.open()?;
        let mut hasher = self.key.hasher();
        let (mut start, mut size, mut piece) = (Vec::new(), 0, vec![0; PIECE]);
        loop {
            let count = message.read(&mut piece)?;
            let bytes = piece.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            size += bytes.len() as u64;
            if start.len() < HEADER {
                start.extend_from_slice(bytes);
            }
        }
        check(&start)?;
        let facts = Facts::read(start.get(..HEADER).unwrap_or(&start));
        if facts.deleted && found.flags_in_header {
            return Ok(None);
        }
        let mut flags = found.flags.clone();
        if found.flags_in_header {
            for flag in facts.flags.iter() {
                flags.insert(flag);
            }
        }
        if self.options.seen {
            flags.insert(Flag::System(SystemFlag::Seen));
        }
        let date = found.date.or(facts.date()).unwrap_or(found.modified);
        let head = Head { digest: hasher.finish(), size, flags, date, folders: Vec::new() };
        let bytes = (size <= SMALL && size == start.len() as u64).then_some(start);
        Ok(Some((Offered { head, found, bytes }, facts)))
    }

    /// Offers what was read, and sends what is wanted; whether to go on.
    fn send_offer(&mut self) -> Result<bool, ArchiveError> {
        self.offer_bytes = 0;
        let offer = std::mem::take(&mut self.offer);
        if !offer.is_empty() {
            let heads = offer.iter().map(|offered| offered.head.clone()).collect();
            say(&mut self.to, &ToStore::Offer(heads))?;
            let wanted = match hear(&mut self.from)? {
                Some(FromStore::Wanted(wanted)) => wanted,
                other => return self.stop(other),
            };
            let mut failed = BTreeMap::new();
            for number in wanted {
                let offered = offer.get(number).ok_or_else(|| unexpected(None))?;
                if let Err(why) = send(&mut self.to, offered)? {
                    failed.insert(number, why.to_string());
                }
            }
            self.to.flush()?;
            let taken = match hear(&mut self.from)? {
                Some(FromStore::Taken(taken)) => taken,
                other => return self.stop(other),
            };
            self.summary.added += taken.added;
            self.summary.present += taken.present;
            for number in taken.broken {
                let why = failed.remove(&number).unwrap_or_else(|| CHANGED.to_owned());
                let name = offer.get(number).map(|offered| offered.found.name());
                self.summary.fail(name.unwrap_or_default(), why);
            }
        }
        self.watch.progress(&self.progress);
        self.summary.interrupted = self.watch.is_stopped();
        Ok(!self.summary.interrupted)
    }

    /// The post office cannot go on, or broke off.
    fn stop(&mut self, heard: Option<FromStore>) -> Result<bool, ArchiveError> {
        match heard {
            Some(FromStore::Stopped(why)) => {
                self.summary.stopped = Some(why);
                Ok(false)
            }
            other => Err(unexpected(other.as_ref()).into()),
        }
    }
}

const CHANGED: &str = "it changed while it was read; run the same command again";

fn send(to: &mut impl Write, offered: &Offered) -> io::Result<Result<(), io::Error>> {
    match &offered.bytes {
        Some(bytes) => send_message(to, &mut &bytes[..]),
        None => match offered.found.open() {
            Ok(mut message) => send_message(to, &mut message),
            Err(error) => {
                send_broken(to, &error.to_string())?;
                Ok(Err(error))
            }
        },
    }
}

/// Refuses what is no message in the clear.
fn check(start: &[u8]) -> io::Result<()> {
    const PACKED: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"];
    if start.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    if PACKED.iter().any(|magic| start.starts_with(magic)) {
        return Err(io::Error::other("it is compressed; unpack it first"));
    }
    Ok(())
}

fn unexpected(heard: Option<&FromStore>) -> io::Error {
    match heard {
        Some(_) => io::Error::other("it is another version"),
        None => io::ErrorKind::UnexpectedEof.into(),
    }
}
