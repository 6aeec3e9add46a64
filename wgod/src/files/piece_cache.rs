//! Payload kept in memory to be sent: pieces just written, and what was read ahead for a peer.
//!
//! A piece that was written directly is in no page cache, and other peers ask for it at once; where the
//! system can't tell what it caches (NFS, FUSE), what is read ahead goes here too. Bounded by the share
//! of `[storage] memory` that the daemon gives it. Everything in it has matched its hash on the way in,
//! or is what the disk held when it was read.
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgo_core::TorrentId;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex};

use super::buf::BlockBuf;

/// Blocks that come and go together: 1 MiB, the longest read ahead.
pub(super) const STRETCH: u32 = 64;

/// What nobody read for so many trims goes: a minute, at the daemon's interval of 5 s.
const IDLE_TRIMS: u8 = 12;

/// Which stretch of which piece.
type Key = (TorrentId, PieceIndex, u32);

/// The cache. Its lock is a leaf lock, held for look-ups and moves in memory only.
pub(super) struct PieceCache {
    limit: usize,
    /// As `Inner::held`, to pass an empty cache by without the lock.
    held: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    stretches: HashMap<Key, Stretch>,
    /// Oldest first, each key of `stretches` once.
    order: VecDeque<Key>,
    /// Blocks in all of them.
    held: usize,
}

struct Stretch {
    /// Number of the first block in its piece.
    first: u32,
    blocks: Arc<[BlockBuf]>,
    /// Read since it was last the oldest.
    used: bool,
    /// Trims since it came or was read.
    idle: u8,
}

impl PieceCache {
    /// An empty cache of at most `limit` blocks.
    pub(super) fn new(limit: usize) -> PieceCache {
        PieceCache { limit, held: AtomicUsize::new(0), inner: Mutex::default() }
    }

    /// Keeps neighbouring blocks of a piece, the first of which has number `first`. They take the place
    /// of what the stretches held. The oldest go to make room, unless they were read lately.
    pub(super) fn insert(&self, id: TorrentId, piece: PieceIndex, first: u32, blocks: Vec<BlockBuf>) {
        if self.limit == 0 {
            return;
        }
        let mut gone = Vec::new();
        let mut inner = self.lock();
        let mut blocks = blocks.into_iter();
        let mut first = first;
        loop {
            let room = STRETCH - first % STRETCH;
            let part: Arc<[BlockBuf]> = blocks.by_ref().take(room as usize).collect();
            if part.is_empty() {
                break;
            }
            let key = (id, piece, first / STRETCH);
            gone.extend(inner.remove(key));
            inner.held += part.len();
            inner.stretches.insert(key, Stretch { first, blocks: part, used: false, idle: 0 });
            inner.order.push_back(key);
            first += room;
        }
        while inner.held > self.limit
            && let Some(key) = inner.order.front().copied()
        {
            let used = inner.stretches.get_mut(&key).is_some_and(|oldest| std::mem::take(&mut oldest.used));
            if used {
                inner.order.rotate_left(1);
            } else {
                gone.extend(inner.remove(key));
            }
        }
        self.finish(inner, gone);
    }

    /// Copies the beginning of `run`, as far as it is here, into `out`, slices in a row. Returns the
    /// bytes copied.
    pub(super) fn read(&self, id: TorrentId, run: Block, out: &mut [&mut [u8]]) -> usize {
        if self.held.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut copied = 0;
        let mut out = Out { slices: out, at: 0 };
        while copied < run.len {
            let number = (run.offset + copied) / BLOCK_LEN;
            let Some((first, blocks)) = self.stretch((id, run.piece, number / STRETCH)) else { break };
            let Some(rest) = number.checked_sub(first).and_then(|skip| blocks.get(skip as usize..)) else {
                break;
            };
            let mut within = ((run.offset + copied) % BLOCK_LEN) as usize;
            let mut moved = 0;
            for block in rest {
                let bytes = block.get(within..).unwrap_or_default();
                let want = (run.len - copied) as usize - moved;
                moved += out.put(bytes.get(..want.min(bytes.len())).unwrap_or_default());
                within = 0;
            }
            if moved == 0 {
                break;
            }
            // Within a run, whose length is 32 bits.
            copied += moved as u32;
        }
        copied as usize
    }

    fn stretch(&self, key: Key) -> Option<(u32, Arc<[BlockBuf]>)> {
        let mut inner = self.lock();
        let stretch = inner.stretches.get_mut(&key)?;
        (stretch.used, stretch.idle) = (true, 0);
        Some((stretch.first, stretch.blocks.clone()))
    }

    /// Forgets one piece: what the disk holds of it is another thing now.
    pub(super) fn forget_piece(&self, id: TorrentId, piece: PieceIndex) {
        self.forget(|key| (key.0, key.1) == (id, piece));
    }

    /// Forgets a torrent.
    pub(super) fn forget_torrent(&self, id: TorrentId) {
        self.forget(|key| key.0 == id);
    }

    fn forget(&self, matches: impl Fn(&Key) -> bool) {
        if self.blocks() == 0 {
            return;
        }
        let mut inner = self.lock();
        let gone = inner.remove_all(|key, _| matches(key));
        self.finish(inner, gone);
    }

    /// Lets go of what nobody read for a while. Called at a steady interval.
    pub(super) fn trim(&self) {
        if self.blocks() == 0 {
            return;
        }
        let mut inner = self.lock();
        inner.stretches.values_mut().for_each(|stretch| stretch.idle += 1);
        let gone = inner.remove_all(|_, stretch| stretch.idle >= IDLE_TRIMS);
        self.finish(inner, gone);
    }

    /// Blocks held.
    pub(super) fn blocks(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Ends a change. What is gone returns to the pool outside the lock.
    fn finish(&self, inner: MutexGuard<'_, Inner>, gone: Vec<Stretch>) {
        self.held.store(inner.held, Ordering::Relaxed);
        drop(inner);
        drop(gone);
    }

    /// Nothing panics between two steps that belong together, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, key: Key) -> Option<Stretch> {
        let stretch = self.stretches.remove(&key)?;
        self.held -= stretch.blocks.len();
        match self.order.front() {
            Some(first) if *first == key => drop(self.order.pop_front()),
            _ => self.order.retain(|other| *other != key),
        }
        Some(stretch)
    }

    fn remove_all(&mut self, matches: impl Fn(&Key, &Stretch) -> bool) -> Vec<Stretch> {
        let matching = self.stretches.iter().filter(|(key, stretch)| matches(key, stretch));
        let keys: Vec<Key> = matching.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }
}

/// Where the next bytes go.
struct Out<'a, 'b> {
    slices: &'a mut [&'b mut [u8]],
    /// Bytes of the first slice that are full.
    at: usize,
}

impl Out<'_, '_> {
    /// Copies as much of `bytes` as fits; returns how much that is.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut left = bytes;
        while !left.is_empty()
            && let Some(slice) = self.slices.first_mut()
        {
            let room = slice.get_mut(self.at..).unwrap_or_default();
            let n = room.len().min(left.len());
            room[..n].copy_from_slice(&left[..n]);
            left = &left[n..];
            self.at += n;
            if self.at == slice.len() {
                self.at = 0;
                let slices = std::mem::take(&mut self.slices);
                self.slices = slices.split_first_mut().map(|(_, rest)| rest).unwrap_or_default();
            }
        }
        bytes.len() - left.len()
    }
}

impl fmt::Debug for PieceCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PieceCache({} of {} blocks)", self.blocks(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::BufPool;

    const ID: TorrentId = TorrentId(1);

    /// `count` blocks, the first of which has number `first`; their bytes tell piece and block.
    fn blocks(pool: &BufPool, piece: u32, first: u32, count: u32) -> Vec<BlockBuf> {
        let fill = |number| {
            let mut buf = pool.take().unwrap();
            buf.append(&[byte(piece, number); BLOCK_LEN as usize]);
            buf
        };
        (first..first + count).map(fill).collect()
    }

    fn byte(piece: u32, number: u32) -> u8 {
        (piece * 100 + number) as u8
    }

    fn read(cache: &PieceCache, piece: u32, offset: u32, len: u32) -> Vec<u8> {
        let mut out = vec![0; len as usize];
        let (a, b) = out.split_at_mut(len as usize / 3);
        let run = Block { piece: PieceIndex(piece), offset, len };
        let n = cache.read(ID, run, &mut [a, b]);
        out.truncate(n);
        out
    }

    #[test]
    fn any_run_of_bytes_is_read_across_blocks_and_stretches() {
        let pool = BufPool::new();
        let cache = PieceCache::new(200);
        cache.insert(ID, PieceIndex(2), 60, blocks(&pool, 2, 60, 10));
        let start = 60 * BLOCK_LEN;
        let want: Vec<u8> = (60..70).flat_map(|n| [byte(2, n); BLOCK_LEN as usize]).collect();
        for (offset, len) in
            [(0, 10), (5, BLOCK_LEN), (3 * BLOCK_LEN - 1, 3 * BLOCK_LEN), (0, 10 * BLOCK_LEN)]
        {
            let from = offset as usize;
            assert!(
                read(&cache, 2, start + offset, len) == want[from..from + len as usize],
                "{offset} {len}"
            );
        }
        assert!(read(&cache, 2, start - 1, 10).is_empty(), "what is before isn't here");
        assert_eq!(read(&cache, 2, start + 9 * BLOCK_LEN + 5, 2 * BLOCK_LEN).len(), BLOCK_LEN as usize - 5);
        assert!(read(&cache, 1, start, 10).is_empty());
        let other = Block { piece: PieceIndex(2), offset: start, len: 1 };
        assert_eq!(cache.read(TorrentId(9), other, &mut [&mut [0]]), 0);
    }

    #[test]
    fn it_stays_within_its_limit_and_keeps_what_is_read() {
        let pool = BufPool::new();
        let cache = PieceCache::new(16);
        for piece in 0..20 {
            cache.insert(ID, PieceIndex(piece), 0, blocks(&pool, piece, 0, 4));
            assert_eq!(read(&cache, 0, 0, 1).len(), 1, "read all the time");
            assert!(cache.blocks() <= 16 && pool.leased_blocks() == cache.blocks());
        }
        assert_eq!(read(&cache, 19, 0, 1).len(), 1, "the newest");
        assert_eq!(read(&cache, 1, 0, 1).len(), 0, "an old one");
        cache.insert(ID, PieceIndex(0), 0, blocks(&pool, 0, 0, 64));
        assert!(cache.blocks() <= 16, "more than it may ever hold");
    }

    #[test]
    fn what_is_forgotten_replaced_or_trimmed_returns_to_the_pool() {
        let pool = BufPool::new();
        let cache = PieceCache::new(200);
        cache.insert(ID, PieceIndex(0), 0, blocks(&pool, 7, 0, 8));
        cache.insert(ID, PieceIndex(0), 0, blocks(&pool, 0, 0, 8));
        cache.insert(ID, PieceIndex(1), 0, blocks(&pool, 1, 0, 8));
        cache.insert(TorrentId(2), PieceIndex(0), 0, blocks(&pool, 0, 0, 8));
        assert_eq!((read(&cache, 0, 0, 1), pool.leased_blocks()), (vec![byte(0, 0)], 24));
        cache.forget_piece(ID, PieceIndex(0));
        assert_eq!((read(&cache, 0, 0, 1), pool.leased_blocks()), (vec![], 16));
        cache.forget_torrent(ID);
        assert_eq!((cache.blocks(), pool.leased_blocks()), (8, 8));
        cache.insert(ID, PieceIndex(1), 0, blocks(&pool, 1, 0, 8));
        let trims = |n| (0..n).for_each(|_| cache.trim());
        trims(IDLE_TRIMS - 1);
        assert_eq!((cache.blocks(), read(&cache, 1, 0, 1)), (16, vec![byte(1, 0)]));
        trims(IDLE_TRIMS - 1);
        assert_eq!((cache.blocks(), pool.leased_blocks()), (8, 8), "what was read stays");
        trims(1);
        assert_eq!((cache.blocks(), pool.leased_blocks()), (0, 0));
        let none = PieceCache::new(0);
        none.insert(ID, PieceIndex(0), 0, blocks(&pool, 0, 0, 8));
        assert_eq!(pool.leased_blocks(), 0);
    }
}
