//! Open files, a bounded number of them, by torrent and file.
//!
//! Looked up on every read and write, also by async workers; filled and emptied by storage threads
//! only. A descriptor with unsynced writes is never closed unsynced: the error that its sync would
//! report would be lost with it.
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgo_core::TorrentId;
use wgo_proto::FileIndex;

use super::disk::{BlockingDisk, Handle};

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
    /// Syncs of evicted files that failed, until the next checkpoint asks. A sick disk fails all of
    /// them, so this is bounded by the files written to since.
    failed: HashMap<Key, io::Error>,
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
    /// Held while it is synced, until a failure is on record: the system reports it only once.
    syncing: Arc<Mutex<()>>,
}

/// An open file to be synced.
pub(super) struct ToSync {
    handle: Handle,
    syncing: Arc<Mutex<()>>,
}

/// A file to make room with.
enum Victim {
    Closed(#[allow(dead_code, reason = "closed by dropping it, outside the lock")] Entry),
    Dirty(Key, ToSync),
    None,
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

    /// Adds a file that was just opened and returns the handle to use, which is another one when
    /// another thread opened the file meanwhile.
    pub(super) fn insert(
        &self,
        disk: &BlockingDisk,
        key: Key,
        device: u64,
        handle: Handle,
        writable: bool,
    ) -> Handle {
        self.make_room(disk, device);
        let mut ring = self.lock();
        let (copy, syncing) = (handle.clone(), Arc::default());
        let fresh = Entry { key, device, handle: copy, writable, dirty: false, recent: true, syncing };
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
    fn make_room(&self, disk: &BlockingDisk, device: u64) {
        while self.lock().entries.len() >= self.limit {
            if !self.evict(disk, device) {
                return;
            }
        }
    }

    /// Closes one file, after a sync if it has unsynced writes; false when none can be closed.
    pub(super) fn evict(&self, disk: &BlockingDisk, device: u64) -> bool {
        let victim = self.lock().victim(device);
        match victim {
            Victim::Closed(_) => true,
            Victim::None => false,
            Victim::Dirty(key, file) => {
                self.sync(disk, key, &file);
                let mut ring = self.lock();
                // Someone may have taken it up again while it was synced; then it stays. The two
                // holders are the cache and `file`.
                let idle = ring.entry(key).is_some_and(|e| !e.dirty && e.handle.holders() <= 2);
                let closed = if idle { ring.remove(key) } else { None };
                drop(ring);
                closed.is_some()
            }
        }
    }

    /// Syncs a file, puts a failure on record.
    fn sync(&self, disk: &BlockingDisk, key: Key, file: &ToSync) {
        let _syncing = file.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = disk.sync_data(&file.handle) {
            self.lock().failed.insert(key, e);
        }
    }

    /// Syncs the file if it is open, clean or not. Returns whether it was, and a failure of this or
    /// of an earlier sync that nobody was told of.
    pub(super) fn sync_now(&self, disk: &BlockingDisk, key: Key) -> (bool, io::Result<()>) {
        let open = self.lock().entry(key).map(|entry| {
            entry.dirty = false;
            entry.to_sync()
        });
        if let Some(file) = &open {
            self.sync(disk, key, file);
        }
        (open.is_some(), self.take_failure(key).map_or(Ok(()), Err))
    }

    /// What went wrong when the file was synced to be closed, once.
    fn take_failure(&self, key: Key) -> Option<io::Error> {
        self.lock().failed.remove(&key)
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
        if !only_writable {
            ring.failed.retain(|key, _| key.0 != id);
        }
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

impl Entry {
    fn to_sync(&self) -> ToSync {
        ToSync { handle: self.handle.clone(), syncing: self.syncing.clone() }
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
    /// that would have to be synced on another device, which may hang.
    fn victim(&mut self, device: u64) -> Victim {
        for _ in 0..self.entries.len() * 2 {
            self.hand = (self.hand + 1) % self.entries.len();
            let Some(entry) = self.entries.get_mut(self.hand) else { break };
            if std::mem::take(&mut entry.recent) || entry.handle.holders() > 1 {
                continue;
            }
            let key = entry.key;
            if !entry.dirty {
                return self.remove(key).map_or(Victim::None, Victim::Closed);
            }
            if entry.device == device {
                entry.dirty = false;
                return Victim::Dirty(key, entry.to_sync());
            }
        }
        Victim::None
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
            self.cache.insert(&self.disk, key(n), 1, handle, writable)
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
        assert!(!bench.cache.evict(&bench.disk, 2), "syncing it could hang");
        assert!(bench.cache.evict(&bench.disk, 1));
        assert_eq!(bench.cache.len(), 0);
    }

    #[test]
    fn a_file_opened_to_read_is_not_written_to_and_stays_when_writing_ends() {
        let bench = Bench::new(4);
        drop((bench.open(0, true), bench.open(1, false)));
        assert!(bench.cache.get_to_write(key(0)).is_some() && bench.cache.get_to_write(key(1)).is_none());
        assert!(matches!(bench.cache.sync_now(&bench.disk, key(0)), (true, Ok(()))));
        assert!(matches!(bench.cache.sync_now(&bench.disk, key(7)), (false, Ok(()))));
        bench.cache.remove_torrent(TorrentId(1), true);
        assert_eq!(bench.cache.len(), 1);
    }
}
