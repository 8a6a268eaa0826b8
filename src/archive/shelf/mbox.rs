//! A file a mailbox, `Work/Bills.mbox` below the folder. A line above each message holds its
//! number, so that a second run goes on at the end, and cuts off what an interrupted one left there.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::ArchiveError;
use super::super::facts::X_STATUS;
use super::super::maildir::{DOT, escape};
use super::super::mbox::{Mark, Scan, Section, separator};
use super::super::text::{Normal, write_message};
use super::super::wire::{Kept, PIECE};
use super::{Shelf, Spool, check_name, failed};
use crate::files::create_private_folder;
use crate::mail::{Flag, Flags, MailboxName, SystemFlag, Uid, UidValidity};

/// Keywords in one field: a line stays short.
const KEYWORDS: usize = 4;

pub(super) struct MboxShelf {
    root: PathBuf,
    open: Option<Open>,
    present: HashSet<Uid>,
}

struct Open {
    path: PathBuf,
    file: BufWriter<File>,
    validity: UidValidity,
}

impl MboxShelf {
    pub(super) fn open(root: &Path) -> Result<Self, ArchiveError> {
        create_private_folder(root).map_err(failed(root))?;
        Ok(Self { root: root.to_owned(), open: None, present: HashSet::new() })
    }

    fn close(&mut self) -> Result<(), ArchiveError> {
        match &mut self.open {
            Some(open) => open.file.flush().map_err(failed(&open.path)),
            None => Ok(()),
        }
    }
}

impl Shelf for MboxShelf {
    fn folder(
        &mut self,
        name: &MailboxName,
        _subscribed: bool,
        validity: UidValidity,
    ) -> Result<(), ArchiveError> {
        self.close()?;
        let mut path = self.root.clone();
        path.extend(name.as_str().split(MailboxName::SEPARATOR).map(file_name));
        path.as_mut_os_string().push(".mbox");
        check_name(&path)?;
        if let Some(folder) = path.parent() {
            create_private_folder(folder).map_err(failed(folder))?;
        }
        let mut how = OpenOptions::new();
        let how = how.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = how.open(&path).map_err(failed(&path))?;
        let (present, end) = present(&path, validity)?;
        self.present = present;
        file.set_len(end).map_err(failed(&path))?;
        file.seek(SeekFrom::Start(end)).map_err(failed(&path))?;
        self.open = Some(Open { path, file: BufWriter::with_capacity(PIECE, file), validity });
        Ok(())
    }

    fn has(&self, uid: Uid) -> bool {
        self.present.contains(&uid)
    }

    fn put(&mut self, kept: &Kept, message: &mut Spool) -> Result<(), ArchiveError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        write(open, kept, message).map_err(failed(&open.path))
    }

    fn finish(&mut self) -> Result<Vec<String>, ArchiveError> {
        self.close()?;
        Ok(Vec::new())
    }
}

fn write(open: &mut Open, kept: &Kept, message: &mut Spool) -> io::Result<()> {
    let mark = Mark {
        validity: open.validity,
        uid: kept.uid,
        size: message.ends.len,
        date: kept.date,
        unix: message.ends.can_be_unix(),
        closed: message.ends.is_closed(),
    };
    let file = &mut open.file;
    file.write_all(separator(kept.date).as_bytes())?;
    file.write_all(status(&kept.flags).as_bytes())?;
    file.write_all(mark.line().as_bytes())?;
    write_message(&mut message.reader()?, file, mark.unix, true)?;
    file.write_all(if mark.closed { b"\n" } else { b"\n\n" })
}

/// Flags as mutt, Pine and Dovecot write them.
fn status(flags: &Flags) -> String {
    let mut lines =
        vec![format!("Status: {}O", if flags.has(SystemFlag::Seen) { "R" } else { "" })];
    let letters: String = X_STATUS
        .iter()
        .filter(|(_, flag)| flags.has(*flag))
        .map(|(letter, _)| char::from(*letter))
        .collect();
    if !letters.is_empty() {
        lines.push(format!("X-Status: {letters}"));
    }
    let words: Vec<String> = flags
        .iter()
        .filter_map(|flag| match flag {
            Flag::Keyword(word) => Some(word.as_str().to_owned()),
            Flag::System(_) => None,
        })
        .collect();
    for words in words.chunks(KEYWORDS) {
        lines.push(format!("X-Keywords: {}", words.join(" ")));
    }
    lines.join("\n") + "\n"
}

/// The numbers of the messages in a file, and where the last whole one ends.
fn present(path: &Path, validity: UidValidity) -> Result<(HashSet<Uid>, u64), ArchiveError> {
    let read = |source| ArchiveError::Read { path: path.to_owned(), source };
    let mut uids = HashSet::new();
    let mut end = 0;
    let mut last: Option<Section> = None;
    let size = path.metadata().map_err(read)?.len();
    for section in Scan::open(path).map_err(read)? {
        let section = section.map_err(read)?;
        if let Some(before) = last.replace(section) {
            let mark = before.mark.ok_or_else(|| ArchiveError::Foreign(path.to_owned()))?;
            if mark.validity == validity {
                uids.insert(mark.uid);
            }
        }
    }
    match last {
        Some(section) => match section.mark {
            Some(mark) if is_whole(path, &section, mark, size).map_err(read)? => {
                if mark.validity == validity {
                    uids.insert(mark.uid);
                }
                end = size;
            }
            // Only the first of a file could have been written by somebody else.
            None if section.at == 0 && size > 0 && !is_torn_start(path).map_err(read)? => {
                return Err(ArchiveError::Foreign(path.to_owned()));
            }
            _ => end = section.at,
        },
        None if size > 0 && !is_torn_start(path).map_err(read)? => {
            return Err(ArchiveError::Foreign(path.to_owned()));
        }
        None => {}
    }
    Ok((uids, end))
}

/// Whether the last message of a file has all its bytes, and its end.
fn is_whole(path: &Path, section: &Section, mark: Mark, size: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(section.range.start))?;
    let bytes = file.take(section.range.end - section.range.start);
    let mut message = Normal::new(BufReader::with_capacity(PIECE, bytes), section.form);
    let len = io::copy(&mut message, &mut io::sink())?;
    let after = if mark.closed { 1 } else { 2 };
    Ok(len == mark.size && section.range.end + after == size)
}

/// Whether a file without a whole message is the start of an export.
fn is_torn_start(path: &Path) -> io::Result<bool> {
    let start = separator(jiff::Timestamp::UNIX_EPOCH);
    let sender = start.get(.."From MAILER-DAEMON ".len()).unwrap_or_default().as_bytes();
    let mut found = Vec::new();
    File::open(path)?.take(sender.len() as u64).read_to_end(&mut found)?;
    Ok(sender.starts_with(&found))
}

/// A level's name as that of a file: told apart from hidden files, and from what mail programs
/// call their files.
fn file_name(level: &str) -> String {
    let name = escape(&level.replace('&', "&-"));
    let lower = name.to_lowercase();
    let ending = [".mbox", ".mbx", ".sbd"].iter().any(|ending| lower.ends_with(ending));
    if name.starts_with('.') || ending { name.replace('.', DOT) } else { name }
}
