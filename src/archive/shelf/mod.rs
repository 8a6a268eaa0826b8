//! Where an export puts messages. Each is gathered first, in memory or in a file without a name,
//! because only its last byte tells whether it can be written with the line ends of files.

mod maildir;
mod mbox;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::text::LineEnds;
use super::wire::{Kept, PIECE};
use super::{ArchiveError, Output};
use crate::mail::{MailboxName, Uid, UidValidity};

/// Bytes of a message that are held in memory.
const MEMORY: usize = 1 << 20;
/// Longest name of a file.
const MAX_NAME: usize = 255;

/// A folder of messages in some format.
pub(super) trait Shelf {
    /// What follows is in this mailbox.
    fn folder(
        &mut self,
        name: &MailboxName,
        subscribed: bool,
        validity: UidValidity,
    ) -> Result<(), ArchiveError>;
    /// Whether the message is there, whole, from a run before.
    fn has(&self, uid: Uid) -> bool;
    /// Adds a message.
    fn put(&mut self, kept: &Kept, message: &mut Spool) -> Result<(), ArchiveError>;
    /// Writes what is left to write; what a person should know.
    fn finish(&mut self) -> Result<Vec<String>, ArchiveError>;
}

/// Opens a folder, which may hold part of an export.
pub(super) fn open(folder: &Path, output: Output) -> Result<Box<dyn Shelf>, ArchiveError> {
    Ok(match output {
        Output::Mbox => Box::new(mbox::MboxShelf::open(folder)?),
        Output::Maildir => Box::new(maildir::MaildirShelf::open(folder)?),
    })
}

/// One message on its way.
pub(super) struct Spool {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    pub(super) ends: LineEnds,
}

impl Spool {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            memory: Vec::new(),
            file: None,
            ends: LineEnds::default(),
        }
    }

    /// Makes room for the next one.
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.file = None;
        self.ends = LineEnds::default();
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.ends.pass(bytes);
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > MEMORY {
            self.spill().map_err(failed(&self.folder))?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => nameless(&self.folder)?,
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        self.file = Some(file);
        Ok(())
    }

    /// Its bytes from the first.
    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        if self.file.is_some() {
            self.spill()?;
        }
        match &mut self.file {
            Some(file) => {
                file.rewind()?;
                Ok(Box::new(BufReader::with_capacity(PIECE, file)))
            }
            None => Ok(Box::new(&self.memory[..])),
        }
    }
}

/// A file that is gone when it is closed, however that comes about.
fn nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(".pillarbox-export");
    let mut how = OpenOptions::new();
    let file = how.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// A file for mail, which is private.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    move |source| ArchiveError::Write { path: path.to_owned(), source }
}

fn check_name(path: &Path) -> Result<(), ArchiveError> {
    if path.iter().any(|part| part.len() > MAX_NAME) {
        return Err(failed(path)(io::ErrorKind::InvalidFilename.into()));
    }
    Ok(())
}
