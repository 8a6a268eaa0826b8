//! The lock file: one process per data folder. The lock itself is the system's and ends with its
//! holder. Inside stands its number, for the message to others.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::OpenError;

/// Held while the folder is ours.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let io = |doing| {
            let path = path.display().to_string();
            move |source| OpenError::Io { doing, path, source }
        };
        let mut how = OpenOptions::new();
        let how = how.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = how.open(&path).map_err(io("open"))?;
        let busy = match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        };
        let mut text = String::new();
        // Whoever holds it may be writing just now: then the number is unknown.
        let _ = file.read_to_string(&mut text);
        let pid = text.trim().parse().unwrap_or(0);
        if busy {
            return Err(OpenError::Busy { dir: dir.display().to_string(), pid });
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(io("write"))?;
        Ok(Self { file })
    }

    /// Lets go of the folder in order.
    pub(super) fn release(self) {
        // A child that another thread is just starting shares the lock for a moment; this ends it
        // for both. Otherwise it ends with the file.
        let _ = self.file.unlock();
    }
}
