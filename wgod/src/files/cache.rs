//! Open files, a bounded number of them, by torrent and file.
//!
//! Looked up on every read and write, also by async workers; filled and emptied by storage threads
//! only. A file may be closed with unsynced writes: its volume's sync reports what becomes of them
//! ([`Volumes`](super::volumes::Volumes)).
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wgo_core::TorrentId;
use wgo_proto::FileIndex;

use super::blocking_disk::BlockingDisk;
use super::disk::Handle;

/// Open files at most, unless configured. Enough for each peer of a busy seedbox to hit.
pub const DEFAULT_OPEN_FILES: usize = 256;

/// Which file of which torrent.
pub(super) type Key = (TorrentId, FileIndex);

/// The cache. Its lock is a leaf lock, held for look-ups and moves in memory only.
#[derive(Debug)]
pub(super) struct OpenFiles {
    limit: usize,
    inner: Mutex<Ring>,
}

/// A clock: the hand passes entries used since its last pass, and takes the first that wasn't.
#[derive(Debug, Default)]
struct Ring {
    index: HashMap<Key, usize>,
    entries: Vec<Entry>,
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    device: u64,
    handle: Handle,
    writable: bool,
    /// Written to since its last sync.
    dirty: bool,
    /// Used since the hand last passed.
    recent: bool,
}

impl OpenFiles {
    /// An empty cache of at most `limit` files, or a quarter of the descriptors that the process may
    /// open: a file may take two, one of them for direct writes.
    pub(super) fn new(limit: usize) -> OpenFiles {
        let rlimit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = rlimit.map_or(usize::MAX, |n| usize::try_from(n / 4).unwrap_or(usize::MAX));
        OpenFiles { limit: limit.min(most).max(1), inner: Mutex::default() }
    }

    /// An open file to read from.
    pub(super) fn get(&self, key: Key) -> Option<Handle> {
        let mut ring = self.lock();
        let entry = ring.entry(key)?;
        entry.recent = true;
        Some(entry.handle.clone())
    }

    /// An open file to write to. It can't be closed while the handle is held; whoever wrote calls
    /// [`wrote`](Self::wrote) before letting go of it.
    pub(super) fn get_to_write(&self, key: Key) -> Option<Handle> {
        let mut ring = self.lock();
        let entry = ring.entry(key).filter(|entry| entry.writable)?;
        entry.recent = true;
        Some(entry.handle.clone())
    }

    /// The file has unsynced writes.
    pub(super) fn wrote(&self, key: Key) {
        if let Some(entry) = self.lock().entry(key) {
            entry.dirty = true;
        }
    }

    /// Whether the file is open and what was written to it went through the present descriptor.
    pub(super) fn is_dirty(&self, key: Key) -> bool {
        self.lock().entry(key).is_some_and(|entry| entry.dirty)
    }

    /// Adds a file that was just opened and returns the handle to use, which is another one when
    /// another thread opened the file meanwhile.
    pub(super) fn insert(&self, key: Key, device: u64, handle: Handle, writable: bool) -> Handle {
        self.make_room(device);
        let mut ring = self.lock();
        let fresh = Entry { key, device, handle: handle.clone(), writable, dirty: false, recent: true };
        let replaced = match ring.entry(key) {
            Some(entry) if entry.writable || !writable => return entry.handle.clone(),
            Some(entry) => Some(std::mem::replace(entry, fresh)),
            None => {
                let at = ring.entries.len();
                ring.entries.push(fresh);
                ring.index.insert(key, at);
                None
            }
        };
        drop(ring);
        drop(replaced);
        handle
    }

    /// Closes files until one more fits. When all are in use or belong to a device that may hang,
    /// the limit is exceeded for a while, by at most one file for each storage thread.
    fn make_room(&self, device: u64) {
        while self.lock().entries.len() >= self.limit {
            if !self.evict(device) {
                return;
            }
        }
    }

    /// Closes one file; false when none can be closed.
    pub(super) fn evict(&self, device: u64) -> bool {
        let victim = self.lock().victim(device);
        // Closed here, outside the lock.
        victim.is_some()
    }

    /// Syncs the file if it is open, clean or not; `None` if it isn't.
    pub(super) fn sync_now(&self, disk: &BlockingDisk, key: Key) -> Option<io::Result<()>> {
        let handle = self.lock().entry(key).map(|entry| {
            entry.dirty = false;
            entry.handle.clone()
        });
        handle.map(|handle| disk.sync_data(&handle))
    }

    /// Forgets one file; it is closed when its last user is done.
    pub(super) fn remove(&self, key: Key) {
        let removed = self.lock().remove(key);
        drop(removed);
    }

    /// Forgets a torrent's files: all, or those open for writing.
    pub(super) fn remove_torrent(&self, id: TorrentId, only_writable: bool) {
        let mut ring = self.lock();
        let of_torrent = ring.entries.iter().filter(|e| e.key.0 == id && (e.writable || !only_writable));
        let keys: Vec<Key> = of_torrent.map(|e| e.key).collect();
        let removed: Vec<Option<Entry>> = keys.into_iter().map(|key| ring.remove(key)).collect();
        drop(ring);
        drop(removed);
    }

    /// The files of a torrent that are open.
    pub(super) fn files_of(&self, id: TorrentId) -> Vec<FileIndex> {
        let ring = self.lock();
        ring.entries.iter().map(|entry| entry.key).filter(|key| key.0 == id).map(|key| key.1).collect()
    }

    /// Files open now.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Every method leaves the ring whole before anything can panic, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        let at = *self.index.get(&key)?;
        self.entries.get_mut(at)
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let at = self.index.remove(&key)?;
        let removed = self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.key, at);
        }
        Some(removed)
    }

    /// Two rounds of the clock: the first forgets recent use. Nothing in use is taken, and nothing
    /// unsynced on another device, which may hang: there closing can mean writing.
    fn victim(&mut self, device: u64) -> Option<Entry> {
        for _ in 0..self.entries.len() * 2 {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = self.entries.get_mut(self.hand)?;
            let in_use = std::mem::take(&mut entry.recent) || entry.handle.holders() > 1;
            if !in_use && (!entry.dirty || entry.device == device) {
                let key = entry.key;
                return self.remove(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::files::RealDisk;
    use crate::files::disk::{At, OpenHow, OpenMode};

    struct Bench {
        dir: tempfile::TempDir,
        disk: BlockingDisk,
        cache: OpenFiles,
    }

    impl Bench {
        fn new(limit: usize) -> Bench {
            let disk = BlockingDisk::new(Arc::new(RealDisk));
            Bench { dir: tempfile::tempdir().unwrap(), disk, cache: OpenFiles::new(limit) }
        }

        fn open(&self, n: u32, writable: bool) -> Handle {
            let path = self.dir.path().join(n.to_string());
            let how = OpenHow { mode: OpenMode::Create { executable: false }, follow: false };
            let handle = self.disk.open(At::path(path), how).unwrap();
            self.cache.insert(key(n), 1, handle, writable)
        }
    }

    fn key(n: u32) -> Key {
        (TorrentId(1), FileIndex(n))
    }

    #[test]
    fn the_cache_stays_within_its_limit_and_keeps_what_is_used() {
        let bench = Bench::new(4);
        for n in 0..20 {
            drop(bench.open(n, n % 3 == 0));
            bench.cache.wrote(key(n));
            drop(bench.cache.get(key(0)));
            assert!(bench.cache.len() <= 4);
        }
        assert!(bench.cache.get(key(0)).is_some(), "used all the time");
        assert!(bench.cache.get(key(1)).is_none());
    }

    #[test]
    fn a_file_in_use_is_not_closed_and_the_limit_gives_way() {
        let bench = Bench::new(2);
        let held: Vec<Handle> = (0..3).map(|n| bench.open(n, true)).collect();
        assert_eq!(bench.cache.len(), 3);
        drop(held);
        drop(bench.open(3, false));
        assert_eq!(bench.cache.len(), 2);
    }

    #[test]
    fn unsynced_files_of_another_device_are_left_alone() {
        let bench = Bench::new(1);
        drop(bench.open(0, true));
        bench.cache.wrote(key(0));
        assert!(!bench.cache.evict(2), "closing it could hang");
        assert!(bench.cache.evict(1));
        assert_eq!(bench.cache.len(), 0);
    }

    #[test]
    fn a_file_opened_to_read_is_not_written_to_and_stays_when_writing_ends() {
        let bench = Bench::new(4);
        drop((bench.open(0, true), bench.open(1, false)));
        assert!(bench.cache.get_to_write(key(0)).is_some() && bench.cache.get_to_write(key(1)).is_none());
        assert!(matches!(bench.cache.sync_now(&bench.disk, key(0)), Some(Ok(()))));
        assert!(bench.cache.sync_now(&bench.disk, key(7)).is_none());
        bench.cache.remove_torrent(TorrentId(1), true);
        assert_eq!(bench.cache.len(), 1);
    }
}
