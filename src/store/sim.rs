//! A disk in memory that behaves as badly as a real one may: what was not synced can be lost, torn
//! at any sector or written out of order when the power goes, names that were not synced come and
//! go, and operations fail at chosen moments. Everything follows from the seed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskFile, How};

const SECTOR: usize = 512;

/// Random numbers (`SplitMix64`), the same for a seed on every machine.
#[derive(Debug, Clone)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone)]
pub(super) struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug, Clone)]
struct World {
    rng: Rng,
    files: Vec<State>,
    /// Names as the running system sees them, and as a restarted one would.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes until the power goes.
    power: Option<u64>,
    off: bool,
    /// Changes until one fails.
    fault: Option<(u64, io::ErrorKind)>,
    failed: bool,
    free: u64,
    /// Syncs of files, and bytes written to them.
    syncs: u64,
}

#[derive(Debug, Default, Clone)]
struct State {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                to.resize(to.len().max(offset + bytes.len()), 0);
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(len) => to.resize(*len, 0),
        }
    }
}

impl SimDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: Rng(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            power: None,
            off: false,
            fault: None,
            failed: false,
            free: u64::MAX,
            syncs: 0,
        })))
    }

    /// The power goes after so many changes of the disk.
    pub(super) fn cut_power_after(&self, changes: u64) {
        self.0.lock().unwrap().power = Some(changes);
    }

    /// One change of the disk fails, after so many others.
    pub(super) fn fail_after(&self, changes: u64, kind: io::ErrorKind) {
        self.0.lock().unwrap().fault = Some((changes, kind));
    }

    /// The power goes now.
    pub(super) fn power_off(&self) {
        self.0.lock().unwrap().off = true;
    }

    /// Whether the failure that was planned has come.
    pub(super) fn has_failed(&self) -> bool {
        self.0.lock().unwrap().failed
    }

    /// No failure is planned, none has come.
    pub(super) fn repair(&self) {
        let mut world = self.0.lock().unwrap();
        (world.fault, world.failed) = (None, false);
    }

    pub(super) fn set_free(&self, bytes: u64) {
        self.0.lock().unwrap().free = bytes;
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.lock().unwrap().off
    }

    /// Syncs of files so far.
    pub(super) fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// A copy of the disk as the running system sees it.
    pub(super) fn copy(&self) -> Self {
        let world = self.0.lock().unwrap();
        let copy = Self::new(0);
        {
            let mut new = copy.0.lock().unwrap();
            new.files.clone_from(&world.files);
            new.names.clone_from(&world.names);
        }
        copy
    }

    /// Another disk with the same on it, and chances of its own.
    pub(super) fn twin(&self, seed: u64) -> Self {
        let world = World { rng: Rng(seed), ..self.0.lock().unwrap().clone() };
        Self(Arc::new(Mutex::new(world)))
    }

    /// Changes bytes behind everybody's back.
    pub(super) fn rot(&self, name: &str, offset: usize, flip: u8) {
        let mut world = self.0.lock().unwrap();
        let id = world.names[name];
        world.files[id].now[offset] ^= flip;
        world.files[id].durable[offset] ^= flip;
    }

    pub(super) fn len(&self, name: &str) -> usize {
        let world = self.0.lock().unwrap();
        world.files[world.names[name]].now.len()
    }

    /// What is left when the power comes back. Handles of before must not be used any more.
    pub(super) fn restart(&self) {
        let mut world = self.0.lock().unwrap();
        let world = &mut *world;
        let mood = world.rng.below(4);
        let keep = |rng: &mut Rng| match mood {
            0 => true,
            1 => false,
            2 => rng.once_in(2),
            _ => !rng.once_in(8),
        };
        for file in &mut world.files {
            for change in std::mem::take(&mut file.unsynced) {
                match change {
                    Change::Write(offset, bytes) => {
                        let mut at = 0;
                        while at < bytes.len() {
                            let end = at + SECTOR - (offset + at) % SECTOR;
                            let part = &bytes[at..end.min(bytes.len())];
                            if keep(&mut world.rng) {
                                Change::Write(offset + at, part.to_vec()).apply(&mut file.durable);
                            }
                            at += part.len();
                        }
                    }
                    length @ Change::Length(_) if keep(&mut world.rng) => {
                        length.apply(&mut file.durable);
                    }
                    Change::Length(_) => {}
                }
            }
            file.now.clone_from(&file.durable);
        }
        let mut names = world.durable_names.clone();
        for (name, id) in &world.names {
            if world.durable_names.get(name) != Some(id) && keep(&mut world.rng) {
                names.insert(name.clone(), *id);
            }
        }
        for name in world.durable_names.keys() {
            if !world.names.contains_key(name) && keep(&mut world.rng) {
                names.remove(name);
            }
        }
        world.durable_names.clone_from(&names);
        world.names = names;
        world.off = false;
        world.power = None;
    }

    fn change(&self) -> std::sync::MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap();
        if let Some(power) = &mut world.power {
            *power = power.saturating_sub(1);
            if *power == 0 {
                world.off = true;
            }
        }
        world
    }
}

impl World {
    fn power(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Whether the change under way is the one that fails.
    fn fault(&mut self) -> io::Result<()> {
        match &mut self.fault {
            Some((0, kind)) => {
                let kind = *kind;
                self.fault = None;
                self.failed = true;
                Err(kind.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.0.lock().unwrap();
        world.power()?;
        Ok(world.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, how: How) -> io::Result<Arc<dyn DiskFile>> {
        let known = self.0.lock().unwrap().names.get(name).copied();
        let fresh = how == How::Fresh;
        let mut world = match known {
            Some(_) if !fresh => self.0.lock().unwrap(),
            _ => self.change(),
        };
        world.power()?;
        if known.is_none() && how == How::Known {
            return Err(io::ErrorKind::NotFound.into());
        }
        let id = known.unwrap_or(world.files.len());
        if known.is_none() {
            world.fault()?;
            world.files.push(State::default());
            world.names.insert(name.to_owned(), id);
        }
        if fresh {
            let file = &mut world.files[id];
            file.now.clear();
            file.unsynced.push(Change::Length(0));
        }
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.change();
        world.power()?;
        world.fault()?;
        world.names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut world = self.change();
        world.power()?;
        world.fault()?;
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().free)
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let world = self.disk.0.lock().unwrap();
        world.power()?;
        Ok(world.files[self.id].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.disk.0.lock().unwrap();
        world.power()?;
        let bytes = &world.files[self.id].now;
        let from = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let was_off = self.disk.is_off();
        let mut world = self.disk.change();
        if was_off {
            return world.power();
        }
        let failed = world.fault();
        let part = if failed.is_err() { world.rng.below(bytes.len()) } else { bytes.len() };
        let change = Change::Write(usize::try_from(offset).unwrap(), bytes[..part].to_vec());
        let file = &mut world.files[self.id];
        change.apply(&mut file.now);
        file.unsynced.push(change);
        world.power()?;
        failed
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.change();
        world.power()?;
        world.fault()?;
        let change = Change::Length(usize::try_from(len).unwrap());
        let file = &mut world.files[self.id];
        change.apply(&mut file.now);
        file.unsynced.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.change();
        world.power()?;
        world.syncs += 1;
        let failed = world.fault();
        let file = &mut world.files[self.id];
        let unsynced = std::mem::take(&mut file.unsynced);
        // A failed sync forgets what it should have written, and goes on showing it.
        if failed.is_ok() {
            for change in unsynced {
                change.apply(&mut file.durable);
            }
        }
        failed
    }
}
