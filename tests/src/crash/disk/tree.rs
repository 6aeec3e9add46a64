//! Files and folders of the disk, each as it is seen and as it is on the platter.
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::Errno;

/// The root folder's number, by FUSE's convention.
pub(super) const ROOT: u64 = 1;

/// What fails, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Of what needs room (writes beyond the end, new entries), this share finds none.
    pub full: f64,
    /// This share of syncs fails; what they should have brought over is lost.
    pub sync: f64,
    /// This share of writes fails.
    pub write: f64,
}

/// Something that was done to a file and isn't on the platter.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes were written.
    Write { offset: u64, bytes: Vec<u8>, mtime: SystemTime },
    /// The length was changed.
    SetLen { len: u64, mtime: SystemTime },
    /// The time was set.
    Touch { mtime: SystemTime },
}

/// Content of a file.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mtime: SystemTime,
}

impl Content {
    fn new() -> Content {
        Content { bytes: Vec::new(), mtime: UNIX_EPOCH }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.bytes.resize(len as usize, 0);
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes, mtime } => {
                self.write(*offset, bytes);
                self.mtime = *mtime;
            }
            Change::SetLen { len, mtime } => {
                self.set_len(*len);
                self.mtime = *mtime;
            }
            Change::Touch { mtime } => self.mtime = *mtime,
        }
    }
}

/// Entries of a folder.
pub(super) type Entries = BTreeMap<OsString, u64>;

/// What an inode is.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File { seen: Content, kept: Content, pending: Vec<Change> },
    Dir { seen: Entries, kept: Entries, mtime: SystemTime },
    Link { target: Vec<u8> },
}

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) mode: u16,
}

/// One operation on folders that isn't on the platter: which names stand for what from then on. It arrives whole
/// or not at all.
pub(super) type Renaming = Vec<(u64, OsString, Option<u64>)>;

/// All of a disk.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) renamings: Vec<Renaming>,
    pub(super) faults: Faults,
    pub(super) failures: u64,
    /// What a sync takes for each byte. It covers what was written before it, as it does on a disk.
    pub(super) sync_pace: Duration,
    next: u64,
    dice: fastrand::Rng,
}

impl Default for Tree {
    fn default() -> Self {
        let root = Inode { node: dir(), mode: 0o755 };
        Tree {
            inodes: BTreeMap::from([(ROOT, root)]),
            renamings: Vec::new(),
            faults: Faults::default(),
            failures: 0,
            sync_pace: Duration::ZERO,
            next: ROOT + 1,
            dice: fastrand::Rng::with_seed(0),
        }
    }
}

fn dir() -> Node {
    Node::Dir { seen: Entries::new(), kept: Entries::new(), mtime: SystemTime::now() }
}

impl Tree {
    /// Fails this operation if it is to.
    fn roll(&mut self, share: f64, errno: Errno) -> Result<(), Errno> {
        if share > 0.0 && self.dice.f64() < share {
            self.failures += 1;
            return Err(errno);
        }
        Ok(())
    }

    pub(super) fn inode(&self, ino: u64) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::ENOENT)
    }

    fn entries(&self, dir: u64) -> Result<&Entries, Errno> {
        match &self.inode(dir)?.node {
            Node::Dir { seen, .. } => Ok(seen),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn lookup(&self, dir: u64, name: &OsStr) -> Result<u64, Errno> {
        self.entries(dir)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// Entries with what they stand for.
    pub(super) fn list(&self, dir: u64) -> Result<Vec<(OsString, u64)>, Errno> {
        Ok(self.entries(dir)?.iter().map(|(name, ino)| (name.clone(), *ino)).collect())
    }

    /// Names that the running system sees for an inode.
    pub(super) fn names(&self, ino: u64) -> u32 {
        let count = |inode: &Inode| match &inode.node {
            Node::Dir { seen, .. } => seen.values().filter(|other| **other == ino).count() as u32,
            _ => 0,
        };
        self.inodes.values().map(count).sum()
    }

    /// Does to folders what `renaming` says.
    fn rename_all(&mut self, renaming: Renaming) {
        for (dir, name, ino) in &renaming {
            if let Some(Inode { node: Node::Dir { seen, mtime, .. }, .. }) = self.inodes.get_mut(dir) {
                set(seen, name, *ino);
                *mtime = SystemTime::now();
            }
        }
        self.renamings.push(renaming);
    }

    /// Makes something.
    pub(super) fn make(&mut self, dir: u64, name: &OsStr, kind: Made, mode: u32) -> Result<u64, Errno> {
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.roll(self.faults.full, Errno::ENOSPC)?;
        let node = match kind {
            Made::File => {
                let seen = Content { mtime: SystemTime::now(), ..Content::new() };
                Node::File { seen, kept: Content::new(), pending: Vec::new() }
            }
            Made::Dir => self::dir(),
            Made::Link(target) => Node::Link { target },
        };
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, Inode { node, mode: (mode & 0o7777) as u16 });
        self.rename_all(vec![(dir, name.to_owned(), Some(ino))]);
        Ok(ino)
    }

    pub(super) fn link(&mut self, ino: u64, dir: u64, name: &OsStr) -> Result<(), Errno> {
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.rename_all(vec![(dir, name.to_owned(), Some(ino))]);
        Ok(())
    }

    pub(super) fn unlink(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(dir, name)?;
        if matches!(self.inode(ino)?.node, Node::Dir { .. }) {
            return Err(Errno::EISDIR);
        }
        self.rename_all(vec![(dir, name.to_owned(), None)]);
        Ok(())
    }

    pub(super) fn rmdir(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(dir, name)?;
        if !self.entries(ino)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.rename_all(vec![(dir, name.to_owned(), None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), new: bool) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        if let Ok(there) = self.lookup(to.0, to.1) {
            if new {
                return Err(Errno::EEXIST);
            }
            if there == ino {
                return Ok(());
            }
            match (&self.inode(there)?.node, &self.inode(ino)?.node) {
                (Node::Dir { seen, .. }, Node::Dir { .. }) if !seen.is_empty() => {
                    return Err(Errno::ENOTEMPTY);
                }
                (Node::Dir { .. }, Node::Dir { .. }) => {}
                (Node::Dir { .. }, _) => return Err(Errno::EISDIR),
                (_, Node::Dir { .. }) => return Err(Errno::ENOTDIR),
                _ => {}
            }
        }
        self.rename_all(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(ino))]);
        Ok(())
    }

    pub(super) fn read(&self, ino: u64, offset: u64, size: u32) -> Result<&[u8], Errno> {
        let bytes = &self.content(ino)?.bytes;
        let start = bytes.len().min(offset as usize);
        let end = bytes.len().min(start + size as usize);
        Ok(&bytes[start..end])
    }

    pub(super) fn content(&self, ino: u64) -> Result<&Content, Errno> {
        match &self.inode(ino)?.node {
            Node::File { seen, .. } => Ok(seen),
            Node::Dir { .. } => Err(Errno::EISDIR),
            Node::Link { .. } => Err(Errno::EINVAL),
        }
    }

    /// Changes a file as the running system sees it.
    pub(super) fn change(&mut self, ino: u64, change: Change) -> Result<(), Errno> {
        let len = self.content(ino)?.bytes.len() as u64;
        match &change {
            Change::Write { offset, bytes, .. } => {
                self.roll(self.faults.write, Errno::EIO)?;
                if offset + bytes.len() as u64 > len {
                    self.roll(self.faults.full, Errno::ENOSPC)?;
                }
            }
            Change::SetLen { len: new, .. } if *new > len => self.roll(self.faults.full, Errno::ENOSPC)?,
            Change::SetLen { .. } | Change::Touch { .. } => {}
        }
        if let Some(Inode { node: Node::File { seen, pending, .. }, .. }) = self.inodes.get_mut(&ino) {
            seen.apply(&change);
            pending.push(change);
        }
        Ok(())
    }

    /// How long a sync takes.
    pub(super) fn sync_time(&self, ino: u64) -> Duration {
        let written = |change: &Change| match change {
            Change::Write { bytes, .. } => bytes.len() as u32,
            Change::SetLen { .. } | Change::Touch { .. } => 0,
        };
        match self.inodes.get(&ino).map(|inode| &inode.node) {
            Some(Node::File { pending, .. }) => self.sync_pace * pending.iter().map(written).sum(),
            _ => Duration::ZERO,
        }
    }

    /// Brings a file's content over; with `data` alone not a time without which it can be read.
    pub(super) fn sync_file(&mut self, ino: u64, data: bool) -> Result<(), Errno> {
        let failed = self.roll(self.faults.sync, Errno::EIO);
        let Some(Inode { node: Node::File { seen, kept, pending }, .. }) = self.inodes.get_mut(&ino) else {
            return Err(Errno::EINVAL);
        };
        if failed.is_err() {
            // As Linux does: what could not be written is dropped, and no later sync tries again. It still reads as
            // written as long as the kernel's page cache has it; what reaches us then is what the platter holds.
            pending.clear();
            let len = seen.bytes.len();
            seen.bytes.clone_from(&kept.bytes);
            seen.bytes.resize(len, 0);
            return failed;
        }
        // That only the time is another is nothing that `fdatasync` writes.
        let (len, time) = (kept.bytes.len(), kept.mtime);
        pending.drain(..).for_each(|change| kept.apply(&change));
        let last = seen.mtime;
        kept.mtime = if data && len == kept.bytes.len() { time } else { last };
        let mtime = kept.mtime;
        if mtime != last {
            pending.push(Change::Touch { mtime: last });
        }
        Ok(())
    }

    /// Brings a folder's entries over.
    pub(super) fn sync_dir(&mut self, ino: u64) -> Result<(), Errno> {
        self.roll(self.faults.sync, Errno::EIO)?;
        let (now, later) = std::mem::take(&mut self.renamings)
            .into_iter()
            .partition(|renaming: &Renaming| renaming.iter().any(|(dir, ..)| *dir == ino));
        self.renamings = later;
        now.iter().for_each(|renaming| self.keep(renaming));
        Ok(())
    }

    /// Does to the platter what `renaming` says.
    pub(super) fn keep(&mut self, renaming: &Renaming) {
        for (dir, name, ino) in renaming {
            if let Some(Inode { node: Node::Dir { kept, .. }, .. }) = self.inodes.get_mut(dir) {
                set(kept, name, *ino);
            }
        }
    }
}

/// What is made.
#[derive(Debug)]
pub(super) enum Made {
    File,
    Dir,
    Link(Vec<u8>),
}

fn set(entries: &mut Entries, name: &OsStr, ino: Option<u64>) {
    match ino {
        Some(ino) => drop(entries.insert(name.to_owned(), ino)),
        None => drop(entries.remove(name)),
    }
}
