//! For tests of what stands on the store: a disk in memory whose power can be cut after so many
//! changes, and comes back with what a real disk might have kept.

use super::Store;
use super::power;
use super::sim::SimDisk;

/// The plug of such a disk.
pub(crate) struct Plug {
    disk: SimDisk,
}

impl Plug {
    /// An empty store, and its disk's plug.
    pub(crate) fn new() -> (Store, Self) {
        let plug = Self { disk: SimDisk::new(0) };
        (plug.back(), plug)
    }

    /// The plug of another disk with the same on it. The seed decides what a cut leaves there.
    pub(crate) fn copy(&self, seed: u64) -> Self {
        Self { disk: self.disk.twin(seed) }
    }

    /// The power goes after so many changes of the disk.
    pub(crate) fn cut_after(&self, changes: u64) {
        self.disk.cut_power_after(changes);
    }

    /// Whether the power is gone.
    pub(crate) fn is_off(&self) -> bool {
        self.disk.is_off()
    }

    /// The store on what is on the disk now; no store of before may be open.
    pub(crate) fn back(&self) -> Store {
        if self.disk.is_off() {
            self.disk.restart();
        } else {
            self.disk.cut_power_after(u64::MAX);
        }
        let writer = power::open(&self.disk, false).expect("what was synced can be opened");
        Store::start(writer, None).expect("a thread")
    }
}
