//! The lock file: one process per data folder. The lock itself is the system's and ends with its
//! holder. Inside stands who holds it: its number, for the message, and since which start of the
//! computer. A holder that goes in order takes that out again; so what is left there tells whether
//! the last one was ended by a power cut, or died while the computer ran on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::OpenError;

/// Held while the folder is ours.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// The last holder died, and not because the power was cut: perhaps of what lies in the folder.
    pub(super) died: bool,
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
        let mut words = text.split_whitespace();
        let pid = words.next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        if busy {
            return Err(OpenError::Busy { dir: dir.display().to_string(), pid });
        }
        let start = start_of_the_computer();
        let died = words.next().is_some_and(|then| then == start);
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{} {start}", std::process::id())
        };
        write(&mut file).map_err(io("write"))?;
        Ok(Self { file, died })
    }

    /// Lets go of the folder in order.
    pub(super) fn release(self) {
        // What stays written costs a look at the index at the next opening.
        let _ = self.file.set_len(0);
        // A child that another thread is just starting shares the lock for a moment; this ends it
        // for both. Otherwise it ends with the file.
        let _ = self.file.unlock();
    }
}

/// The same from one start of the computer to the next, and never again; empty where there is no such.
fn start_of_the_computer() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
