//! A Maildir with its folders beside it, as Dovecot and Courier have it. The name of a file holds
//! the message's number, so that a second run knows what is there.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::ArchiveError;
use super::super::maildir::{KEYWORDS, Keywords, SUBSCRIPTIONS, folder_name, letters};
use super::super::text::write_message;
use super::super::wire::Kept;
use super::{Shelf, Spool, check_name, create, failed};
use crate::files::{create_private_folder, write_private};
use crate::mail::{MailboxName, Uid, UidValidity};

pub(super) struct MaildirShelf {
    root: PathBuf,
    /// Before the flags; file systems of other computers have no colon.
    separator: char,
    folder: PathBuf,
    validity: Option<UidValidity>,
    present: HashSet<Uid>,
    keywords: Keywords,
    /// Keywords for which there was no letter.
    lost: usize,
    subscribed: BTreeSet<String>,
}

impl MaildirShelf {
    pub(super) fn open(root: &Path) -> Result<Self, ArchiveError> {
        make(root)?;
        let probe = root.join("tmp").join("pillarbox:2,");
        let separator = match create(&probe) {
            Ok(_) => {
                fs::remove_file(&probe).map_err(failed(&probe))?;
                ':'
            }
            Err(_) => ';',
        };
        Ok(Self {
            root: root.to_owned(),
            separator,
            folder: root.to_owned(),
            validity: None,
            present: HashSet::new(),
            keywords: Keywords::default(),
            lost: 0,
            subscribed: BTreeSet::new(),
        })
    }

    fn base(&self, kept: &Kept) -> String {
        let validity = self.validity.map_or(0, |validity| validity.0.get());
        let second = kept.date.as_second().max(0);
        format!("{second}.V{validity}U{}.pillarbox", kept.uid.get())
    }

    fn write(&mut self, kept: &Kept, message: &mut Spool) -> io::Result<()> {
        let base = self.base(kept);
        let draft = self.folder.join("tmp").join(&base);
        let mut file = create(&draft)?;
        let (unix, len) = (message.ends.can_be_unix(), message.ends.len);
        let size = write_message(&mut message.reader()?, &mut file, unix, false)?;
        file.flush()?;
        file.set_times(FileTimes::new().set_modified(SystemTime::from(kept.date)))?;
        let before = self.keywords.text();
        let (letters, lost) = letters(&kept.flags, &mut self.keywords);
        self.lost += lost;
        let text = self.keywords.text();
        if text != before {
            // Before the first name with a new letter in it.
            write_private(&self.folder.join(KEYWORDS), text.as_bytes())?;
        }
        let name = format!("{base},S={size},W={len}{}2,{letters}", self.separator);
        fs::rename(&draft, self.folder.join("cur").join(name))
    }
}

impl Shelf for MaildirShelf {
    fn folder(
        &mut self,
        name: &MailboxName,
        subscribed: bool,
        validity: UidValidity,
    ) -> Result<(), ArchiveError> {
        let folder = if name.is_inbox() { None } else { Some(folder_name(name.as_str())) };
        self.folder = folder.as_ref().map_or(self.root.clone(), |folder| self.root.join(folder));
        check_name(&self.folder)?;
        make(&self.folder)?;
        if let Some(folder) = folder {
            // Tells others that this is a folder of the one above.
            let mark = self.folder.join("maildirfolder");
            create(&mark).map_err(failed(&mark))?;
            if subscribed {
                self.subscribed.insert(folder.trim_start_matches('.').to_owned());
            }
        }
        self.keywords = Keywords::read(&self.folder);
        self.validity = Some(validity);
        self.present = present(&self.folder.join("cur"), validity)
            .and_then(|mut there| {
                there.extend(present(&self.folder.join("new"), validity)?);
                Ok(there)
            })
            .map_err(failed(&self.folder))?;
        Ok(())
    }

    fn has(&self, uid: Uid) -> bool {
        self.present.contains(&uid)
    }

    fn put(&mut self, kept: &Kept, message: &mut Spool) -> Result<(), ArchiveError> {
        self.write(kept, message).map_err(|source| failed(&self.folder)(source))
    }

    fn finish(&mut self) -> Result<Vec<String>, ArchiveError> {
        let path = self.root.join(SUBSCRIPTIONS);
        let former = fs::read_to_string(&path).unwrap_or_default();
        // Dovecot's second version is a live one: not ours to change.
        if !former.starts_with("V\t") {
            self.subscribed.extend(former.lines().map(str::to_owned));
            let mut lines = String::new();
            for name in &self.subscribed {
                lines.push_str(name);
                lines.push('\n');
            }
            write_private(&path, lines.as_bytes()).map_err(failed(&path))?;
        }
        let lost = (self.lost > 0).then(|| {
            format!(
                "{} keywords of messages were left out: a Maildir has letters for 26 a folder",
                self.lost
            )
        });
        Ok(lost.into_iter().collect())
    }
}

fn make(folder: &Path) -> Result<(), ArchiveError> {
    for sub in ["cur", "new", "tmp"] {
        let path = folder.join(sub);
        create_private_folder(&path).map_err(failed(&path))?;
    }
    Ok(())
}

/// The numbers of the messages an export has put there.
fn present(folder: &Path, validity: UidValidity) -> io::Result<HashSet<Uid>> {
    let start = format!("V{}U", validity.0);
    let mut uids = HashSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let mut parts = name.split(['.', ',']).skip(1);
        let uid = parts.next().and_then(|part| part.strip_prefix(&start)?.parse().ok());
        if parts.next() == Some("pillarbox") {
            uids.extend(uid.and_then(Uid::new));
        }
    }
    Ok(uids)
}
