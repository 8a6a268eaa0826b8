//! Small files that must not be lost, torn or read by others: settings, keys, certificates, marks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Replaces a file, readable by its owner alone. Durable when it returns; a power cut or a failure
/// before that leaves the former content.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_of(path)?;
    let written = write_new(&draft, bytes).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // The failure that counts is told; a draft that stays is removed by the next attempt.
        let _ = fs::remove_file(&draft);
    }
    written?;
    // A rename is only durable once its folder is.
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Makes a folder, and those above it, for its owner alone. One that is there stays as it is: who
/// may look into it was somebody's decision.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    Ok(path.with_file_name(name))
}

/// A new file, never one that is there: it could be open to others, or lead elsewhere.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_can_read_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_private_folder(&inner).unwrap();
        create_private_folder(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
        let path = inner.join("key.pem");
        // Left behind by a power cut, or put there by somebody else.
        fs::write(inner.join("key.pem.new"), "longer than the secret").unwrap();
        fs::set_permissions(inner.join("key.pem.new"), PermissionsExt::from_mode(0o666)).unwrap();
        write_private(&path, b"secret").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"secret".to_vec(), 0o600));
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_former_content_and_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that is not empty cannot be replaced by a file.
        let taken = folder.path().join("taken");
        create_private_folder(&taken.join("inner")).unwrap();
        assert!(write_private(&taken, b"text").is_err());
        assert!(taken.join("inner").is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn neighbours_that_differ_in_their_ending_have_drafts_of_their_own() {
        let of = |name: &str| draft_of(Path::new(name)).unwrap();
        assert_ne!(of("/x/key.pem"), of("/x/key.der"));
    }
}
