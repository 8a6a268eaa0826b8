//! The end at the files of an export: takes what the store offers, as far as it is not there yet.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::shelf::{self, Shelf, Spool};
use super::wire::{FromAccount, Kept, Piece, hear, next_piece, say};
use super::{ArchiveError, Output, Progress, Summary, Watch};

/// Exports into a folder, over a line to the post office.
pub fn export(
    folder: &Path,
    output: Output,
    line: &UnixStream,
    watch: &mut dyn Watch,
) -> Result<Summary, ArchiveError> {
    let mut export = Export {
        shelf: shelf::open(folder, output)?,
        spool: Spool::new(folder),
        from: BufReader::new(line),
        to: BufWriter::new(line),
        skip: false,
        progress: Progress::default(),
        summary: Summary::default(),
    };
    while export.step()? {
        watch.progress(&export.progress);
        if watch.is_stopped() {
            export.summary.interrupted = true;
            break;
        }
    }
    export.summary.notes = export.shelf.finish()?;
    // All of it at once: a sync for each file would take longer than writing it.
    let synced = File::open(folder).and_then(|folder| Ok(nix::unistd::syncfs(folder)?));
    synced.map_err(|source| ArchiveError::Write { path: folder.to_owned(), source })?;
    Ok(export.summary)
}

struct Export<'a> {
    shelf: Box<dyn Shelf>,
    spool: Spool,
    from: BufReader<&'a UnixStream>,
    to: BufWriter<&'a UnixStream>,
    /// The mailbox at hand cannot be written.
    skip: bool,
    progress: Progress,
    summary: Summary,
}

impl Export<'_> {
    /// Hears one thing and does it; whether there is more.
    fn step(&mut self) -> Result<bool, ArchiveError> {
        match hear(&mut self.from)? {
            Some(FromAccount::Overview { bytes, .. }) => self.progress.bytes_of = bytes,
            Some(FromAccount::Folder { name, subscribed, validity }) => {
                self.progress.mailbox = name.to_string();
                self.skip = false;
                match self.shelf.folder(&name, subscribed, validity) {
                    Err(ArchiveError::Write { source, .. })
                        if source.kind() == ErrorKind::InvalidFilename =>
                    {
                        self.skip = true;
                        self.summary.fail(name.to_string(), "its name is too long for a file");
                    }
                    made => made?,
                }
            }
            Some(FromAccount::Offer(offer)) => self.offer(&offer)?,
            Some(FromAccount::End) => return Ok(false),
            Some(FromAccount::Stopped(why)) => {
                self.summary.stopped = Some(why);
                return Ok(false);
            }
            None => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
        }
        Ok(true)
    }

    fn offer(&mut self, offer: &[Kept]) -> Result<(), ArchiveError> {
        let missing = |kept: &Kept| !self.skip && !self.shelf.has(kept.uid);
        let wanted: Vec<usize> = offer
            .iter()
            .enumerate()
            .filter_map(|(number, kept)| missing(kept).then_some(number))
            .collect();
        say(&mut self.to, &wanted)?;
        if !self.skip {
            self.summary.present += (offer.len() - wanted.len()) as u64;
        }
        for kept in wanted.into_iter().filter_map(|number| offer.get(number)) {
            self.message(kept)?;
        }
        self.progress.messages += offer.len() as u64;
        self.progress.bytes += offer.iter().map(|kept| kept.size).sum::<u64>();
        Ok(())
    }

    fn message(&mut self, kept: &Kept) -> Result<(), ArchiveError> {
        let mut piece = Vec::new();
        self.spool.clear();
        loop {
            match next_piece(&mut self.from, &mut piece)? {
                Piece::Bytes => self.spool.write(&piece)?,
                Piece::End => break,
                Piece::Broken(why) => {
                    let name = format!("{} message {}", self.progress.mailbox, kept.uid.get());
                    self.summary.fail(name, why);
                    return Ok(());
                }
            }
        }
        self.shelf.put(kept, &mut self.spool)?;
        self.summary.added += 1;
        Ok(())
    }
}
