//! Finds mail below a path and tells by looking what it is: Maildirs, mboxes, single messages, and
//! folders of these in each other. What is found is read one message at a time, oldest file first.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Format;
use super::maildir::{self, Keywords};
use super::mbox::{self, Scan};
use super::text::{Form, Normal};
use super::wire::PIECE;
use crate::mail::structure::fields;
use crate::mail::{Flags, utf7};

/// The file in a folder `Work.mbox` that Apple Mail writes.
const APPLE: &str = "mbox";
/// Deepest folder below the path.
const MAX_DEPTH: usize = 64;
/// Names of files sorted at once; of more, each window costs one more look at the folder.
const WINDOW: usize = 16 << 10;

/// Something that becomes one mailbox.
#[derive(Debug)]
pub(super) struct Place {
    /// Its name, from the top.
    pub(super) levels: Vec<String>,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// Whether it is subscribed to, when that is known.
    pub(super) subscribed: Option<bool>,
    /// Bytes of the files, for the progress.
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `path` holds `cur` and `new`.
    Maildir,
    /// `path` is the file.
    Mbox,
    /// `path` holds files of one message each, or is one.
    Eml,
}

/// A message that was found, not yet read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Which of the file's, from 1.
    pub(super) number: Option<u64>,
    start: u64,
    /// Bytes in the file.
    pub(super) len: u64,
    form: Form,
    /// Flags told outside of the message.
    pub(super) flags: Flags,
    /// Whether the header may tell flags as well.
    pub(super) flags_in_header: bool,
    /// The date told outside of the message.
    pub(super) date: Option<Timestamp>,
    /// When nothing else is known.
    pub(super) modified: Timestamp,
}

impl Found {
    /// What to call it in a message to a person.
    pub(super) fn name(&self) -> String {
        match self.number {
            Some(number) => format!("{} (message {number})", self.path.display()),
            None => self.path.display().to_string(),
        }
    }

    /// Its bytes as they go over the wire.
    pub(super) fn open(&self) -> io::Result<Normal<BufReader<Take<File>>>> {
        let mut file = File::open(&self.path)?;
        if self.start > 0 {
            file.seek(SeekFrom::Start(self.start))?;
        }
        let size = usize::try_from(self.len).unwrap_or(PIECE).clamp(512, PIECE);
        Ok(Normal::new(BufReader::with_capacity(size, file.take(self.len)), self.form))
    }
}

/// Something that cannot be read; the rest can.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) what: String,
    pub(super) why: io::Error,
}

/// What is below a path.
#[derive(Debug, Default)]
pub(super) struct Archive {
    pub(super) places: Vec<Place>,
    pub(super) unreadable: Vec<Unreadable>,
    /// Files that are not recognised as mail, and the first of them.
    pub(super) ignored: u64,
    pub(super) ignored_first: Option<PathBuf>,
    /// Folders seen, by device and number: links may lead in a circle.
    seen: HashSet<(u64, u64)>,
}

impl Archive {
    /// Looks everywhere below `path`; `format` leaves out what is not of it.
    pub(super) fn look(path: &Path, format: Option<Format>) -> io::Result<Self> {
        let mut archive = Self::default();
        let meta = fs::metadata(path)?;
        if meta.is_dir() {
            let mut levels = Vec::new();
            // Apple Mail: the folder is named after the mailbox, its file is not.
            let name = file_name(path);
            if path.join(APPLE).is_file() && has_ending(&name, &["mbox"]) {
                levels.push(level(&name));
            }
            archive.folder(path, &levels, format, 0);
            archive.subscribe(path);
        } else {
            let name = file_name(path);
            let kind = match format {
                Some(Format::Eml) => Some(Kind::Eml),
                Some(Format::Mbox) => Some(Kind::Mbox),
                Some(Format::Maildir) => None,
                None if mbox::is_mbox(path)? => Some(Kind::Mbox),
                None => (is_eml(&name) || is_message(path)?).then_some(Kind::Eml),
            };
            match kind {
                Some(Kind::Mbox) => archive.add(vec![level(&name)], path, Kind::Mbox, meta.len()),
                Some(kind) => archive.add(Vec::new(), path, kind, meta.len()),
                None => {}
            }
        }
        Ok(archive)
    }

    fn folder(&mut self, path: &Path, levels: &[String], format: Option<Format>, depth: usize) {
        if depth > MAX_DEPTH {
            return self.fail(path, io::Error::other("it is nested too deeply"));
        }
        match fs::metadata(path) {
            Ok(meta) if !self.seen.insert((meta.dev(), meta.ino())) => return,
            Ok(_) => {}
            Err(error) => return self.fail(path, error),
        }
        let wanted = |kind: Format| format.is_none_or(|format| format == kind);
        let is_maildir = maildir::is_maildir(path);
        if is_maildir && wanted(Format::Maildir) {
            let bytes = ["cur", "new"].map(|sub| size_of(&path.join(sub), |_| true));
            self.add(levels.to_vec(), path, Kind::Maildir, bytes.iter().sum());
        }
        let names = match sorted_names(path) {
            Ok(names) => names,
            Err(error) => return self.fail(path, error),
        };
        let mut eml = false;
        for name in names {
            let (inner, name) = (path.join(&name), name.to_string_lossy().into_owned());
            let Ok(meta) = fs::metadata(&inner) else { continue };
            if meta.is_dir() {
                if is_maildir && matches!(name.as_str(), "cur" | "new" | "tmp") {
                    continue;
                }
                let mut below = levels.to_vec();
                match name.strip_prefix('.') {
                    Some(_) if is_maildir || maildir::is_maildir(&inner) => {
                        below.extend(maildir::levels(&name));
                    }
                    Some(_) => continue,
                    None => below.push(level(&name)),
                }
                self.folder(&inner, &below, format, depth + 1);
            } else if meta.is_file() && !name.starts_with('.') {
                if is_eml(&name) {
                    eml = true;
                } else if wanted(Format::Mbox) && !is_maildir && !is_index(&name) {
                    self.maybe_mbox(&inner, levels, &name, meta.len());
                }
            }
        }
        if eml && wanted(Format::Eml) {
            self.add(levels.to_vec(), path, Kind::Eml, size_of(path, is_eml));
        }
    }

    fn maybe_mbox(&mut self, path: &Path, levels: &[String], name: &str, bytes: u64) {
        match mbox::is_mbox(path).map(|is| is || bytes == 0 && has_ending(name, &["mbox"])) {
            Ok(true) => {
                let mut below = levels.to_vec();
                if name != APPLE || levels.is_empty() {
                    below.push(level(name));
                }
                self.add(below, path, Kind::Mbox, bytes);
            }
            Ok(false) => {
                self.ignored += 1;
                self.ignored_first.get_or_insert_with(|| path.to_owned());
            }
            Err(error) => self.fail(path, error),
        }
    }

    fn add(&mut self, levels: Vec<String>, path: &Path, kind: Kind, bytes: u64) {
        self.places.push(Place { levels, path: path.to_owned(), kind, subscribed: None, bytes });
    }

    fn fail(&mut self, path: &Path, why: io::Error) {
        self.unreadable.push(Unreadable { what: path.display().to_string(), why });
    }

    /// What a Maildir says of subscriptions.
    fn subscribe(&mut self, path: &Path) {
        if let Some(subscribed) = maildir::subscriptions(path) {
            let folders = self.places.iter_mut().filter(|place| place.kind == Kind::Maildir);
            for place in folders.filter(|place| !place.levels.is_empty()) {
                place.subscribed = Some(subscribed.contains(&place.levels));
            }
        }
    }
}

impl Place {
    /// Its messages, one after the other.
    pub(super) fn messages(
        &self,
    ) -> io::Result<Box<dyn Iterator<Item = Result<Found, Unreadable>> + '_>> {
        let fail = |path: &Path, why| Unreadable { what: path.display().to_string(), why };
        match self.kind {
            Kind::Maildir => {
                let keywords = Keywords::read(&self.path);
                let files =
                    Files::new(vec![self.path.join("cur"), self.path.join("new")], |_| true);
                Ok(Box::new(files.map(move |file| {
                    let path = file.map_err(|why| fail(&self.path, why))?;
                    let name = file_name(&path);
                    let meta = file_meta(&path).map_err(|why| fail(&path, why))?;
                    let verbatim = maildir::is_verbatim(&name, meta.len());
                    let form = Form { verbatim, quoted: false };
                    let mut found = whole(path, &meta, form);
                    found.date = Some(found.modified);
                    found.flags = maildir::flags(&name, &keywords);
                    Ok(found)
                })))
            }
            Kind::Mbox => {
                let modified = modified(&fs::metadata(&self.path)?);
                let sections = Scan::open(&self.path)?.zip(1..);
                Ok(Box::new(sections.map(move |(section, number)| {
                    let section = section.map_err(|why| fail(&self.path, why))?;
                    Ok(Found {
                        path: self.path.clone(),
                        number: Some(number),
                        start: section.range.start,
                        len: section.range.end - section.range.start,
                        form: section.form,
                        flags: section.flags,
                        flags_in_header: section.mark.is_none(),
                        date: section.mark.map(|mark| mark.date).or(section.date),
                        modified,
                    })
                })))
            }
            Kind::Eml => {
                let files = if self.path.is_dir() {
                    Files::new(vec![self.path.clone()], is_eml)
                } else {
                    Files::single(self.path.clone())
                };
                Ok(Box::new(files.map(move |file| {
                    let path = file.map_err(|why| fail(&self.path, why))?;
                    let meta = file_meta(&path).map_err(|why| fail(&path, why))?;
                    let mut found = whole(path, &meta, Form { verbatim: false, quoted: false });
                    found.flags_in_header = true;
                    Ok(found)
                })))
            }
        }
    }
}

fn whole(path: PathBuf, meta: &Metadata, form: Form) -> Found {
    Found {
        path,
        number: None,
        start: 0,
        len: meta.len(),
        form,
        flags: Flags::none(),
        flags_in_header: false,
        date: None,
        modified: modified(meta),
    }
}

/// Anything but a file could keep whoever reads it waiting.
fn file_meta(path: &Path) -> io::Result<Metadata> {
    let meta = fs::metadata(path)?;
    if meta.is_file() { Ok(meta) } else { Err(io::Error::other("it is no file")) }
}

/// Whether a file starts like a message.
fn is_message(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(1_000).read_to_end(&mut start)?;
    let name = fields(&start).next().map(|field| field.name).unwrap_or_default();
    Ok(!name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

fn modified(meta: &Metadata) -> Timestamp {
    let time = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The files of some folders, sorted by number and name, a window of them in memory.
struct Files {
    folders: Vec<PathBuf>,
    such: fn(&str) -> bool,
    window: BTreeSet<Key>,
    last: Option<Key>,
    /// The window holds the last names.
    ends: bool,
    single: Option<PathBuf>,
}

impl Files {
    fn new(folders: Vec<PathBuf>, such: fn(&str) -> bool) -> Self {
        Self { folders, such, window: BTreeSet::new(), last: None, ends: false, single: None }
    }

    fn single(path: PathBuf) -> Self {
        Self { single: Some(path), ends: true, ..Self::new(Vec::new(), |_| false) }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.ends = true;
        for (folder, path) in self.folders.iter().enumerate() {
            let entries = match fs::read_dir(path) {
                // A Maildir may have only one of the two.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let text = name.to_string_lossy();
                if text.starts_with('.') || !(self.such)(&text) || entry.file_type()?.is_dir() {
                    continue;
                }
                let key = Key { number: leading_number(&text), name: name.into(), folder };
                if self.last.as_ref().is_none_or(|last| key > *last) {
                    self.window.insert(key);
                }
                if self.window.len() > WINDOW {
                    self.window.pop_last();
                    self.ends = false;
                }
            }
        }
        Ok(())
    }
}

impl Iterator for Files {
    type Item = io::Result<PathBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(path) = self.single.take() {
            return Some(Ok(path));
        }
        if self.window.is_empty()
            && !self.ends
            && let Err(error) = self.fill()
        {
            self.ends = true;
            return Some(Err(error));
        }
        let key = self.window.pop_first()?;
        let path = self.folders.get(key.folder).map(|folder| folder.join(&*key.name));
        self.last = Some(key);
        path.map(Ok)
    }
}

/// Names of a Maildir start with the second in which they were made.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    number: u64,
    name: Box<std::ffi::OsStr>,
    folder: usize,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |key: &Self| (key.number, key.folder);
        let name = || self.name.cmp(&other.name);
        self.number.cmp(&other.number).then_with(name).then_with(|| parts(self).cmp(&parts(other)))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn leading_number(name: &str) -> u64 {
    let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
    name.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

fn sorted_names(path: &Path) -> io::Result<BTreeSet<std::ffi::OsString>> {
    let (mut names, mut eml) = (BTreeSet::new(), false);
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Single messages are counted in thousands and read later.
        let name = entry.file_name();
        if is_eml(&name.to_string_lossy()) && entry.file_type()?.is_file() {
            if eml {
                continue;
            }
            eml = true;
        }
        names.insert(name);
    }
    Ok(names)
}

fn size_of(folder: &Path, such: fn(&str) -> bool) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let files = entries.flatten().filter(|entry| such(&entry.file_name().to_string_lossy()));
    files.filter_map(|entry| entry.metadata().ok()).filter(Metadata::is_file).map(|m| m.len()).sum()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn has_ending(name: &str, endings: &[&str]) -> bool {
    let ending = Path::new(name).extension().unwrap_or_default();
    endings.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn is_eml(name: &str) -> bool {
    has_ending(name, &["eml"])
}

/// What mail programs keep beside their mboxes.
fn is_index(name: &str) -> bool {
    has_ending(name, &["msf", "dat", "db", "json", "html", "sqlite", "snm", "toc"])
}

/// The name of a mailbox from that of its file or folder.
fn level(name: &str) -> String {
    let stem = [".mbox", ".sbd", ".mbx"].iter().find_map(|ending| {
        let at = name.len().checked_sub(ending.len()).filter(|at| *at > 0)?;
        name.get(at..)?.eq_ignore_ascii_case(ending).then(|| name.get(..at))?
    });
    utf7::decode(stem.unwrap_or(name).as_bytes())
}
