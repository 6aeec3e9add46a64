//! Block buffers: the unit of payload memory, from a pool that counts what is out.
//!
//! A connection receives straight into one, a partial piece holds them until its piece is written,
//! then they return to the pool. Who may lease how many is the session's decision (`[storage]
//! memory`); the pool only counts and keeps a bounded reserve.
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::slab::{self, LEN, Page};

/// Memory for one block of payload: 16 KiB, 4 KiB-aligned, with the length that is filled.
/// Dereferences to the filled bytes. Returns to its pool when dropped.
pub struct BlockBuf {
    /// `None` only while the buffer is being dropped.
    page: Option<Page>,
    filled: usize,
    pool: Arc<Shared>,
}

impl BlockBuf {
    /// Bytes that a buffer can hold.
    pub const CAPACITY: usize = LEN;

    /// The bytes after the filled ones: what to receive into, then [`add_filled`](Self::add_filled).
    pub fn unfilled(&mut self) -> &mut [u8] {
        let filled = self.filled;
        self.page.as_mut().and_then(|page| page.bytes_mut().get_mut(filled..)).unwrap_or_default()
    }

    /// Counts `n` more bytes as filled, at most to the capacity.
    pub fn add_filled(&mut self, n: usize) {
        self.set_filled(self.filled.saturating_add(n));
    }

    /// Makes the first `n` bytes the filled ones, at most the capacity. Bytes that nothing was
    /// written to hold zeros or what the buffer's last use left there.
    pub fn set_filled(&mut self, n: usize) {
        self.filled = n.min(LEN);
    }

    /// Appends as much of `bytes` as fits, and returns how much that is.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.unfilled();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.add_filled(n);
        n
    }
}

impl Deref for BlockBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.page.as_ref().and_then(|page| page.bytes().get(..self.filled)).unwrap_or_default()
    }
}

impl DerefMut for BlockBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let filled = self.filled;
        self.page.as_mut().and_then(|page| page.bytes_mut().get_mut(..filled)).unwrap_or_default()
    }
}

impl Drop for BlockBuf {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            self.pool.put(page);
        }
    }
}

impl fmt::Debug for BlockBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockBuf({} bytes)", self.filled)
    }
}

/// Where block buffers come from and return to. Cheap to clone; all clones are one pool.
#[derive(Clone, Default)]
pub struct BufPool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    leased: AtomicUsize,
    refused: AtomicU64,
    /// The last fresh memory was refused, and that was said.
    is_short: AtomicBool,
    #[cfg(test)]
    starved: AtomicBool,
    idle: Mutex<Idle>,
}

/// A leaf lock: nothing else is taken under it.
#[derive(Default)]
struct Idle {
    /// Bounded by the most that were ever out at once, which the session's leases bound.
    warm: Vec<Page>,
    /// Idle ones whose memory the system has back; used when no warm one is left.
    cold: Vec<Page>,
    /// Fewest warm buffers since the last trim: that many weren't needed.
    spare: usize,
}

impl BufPool {
    /// An empty pool.
    pub fn new() -> BufPool {
        BufPool::default()
    }

    /// An empty buffer: the one that was used last, else fresh memory. `None` when the system has none:
    /// whoever wanted to receive waits and asks again.
    pub fn take(&self) -> Option<BlockBuf> {
        #[cfg(test)]
        if self.0.starved.load(Ordering::Relaxed) {
            self.0.refuse(&io::ErrorKind::OutOfMemory.into());
            return None;
        }
        let reused = {
            let mut idle = self.0.idle();
            let page = idle.warm.pop();
            idle.spare = idle.spare.min(idle.warm.len());
            page.or_else(|| idle.cold.pop())
        };
        let page = reused.or_else(|| self.0.grow())?;
        self.0.leased.fetch_add(1, Ordering::Relaxed);
        Some(BlockBuf { page: Some(page), filled: 0, pool: self.0.clone() })
    }

    /// Buffers that the system had no memory for.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// From now on, or no longer, there is no memory.
    #[cfg(test)]
    pub(crate) fn starve(&self, starved: bool) {
        self.0.starved.store(starved, Ordering::Relaxed);
    }

    /// Buffers that are out.
    pub fn leased_blocks(&self) -> usize {
        self.0.leased.load(Ordering::Relaxed)
    }

    /// Buffers kept in memory for reuse.
    pub fn idle_blocks(&self) -> usize {
        self.0.idle().warm.len()
    }

    /// Gives back to the system half of the buffers that stayed idle ever since the last call, so that
    /// an idle daemon shrinks. Called at a steady interval. Returns how many these were.
    pub fn trim(&self) -> usize {
        let mut unneeded: Vec<Page> = {
            let mut idle = self.0.idle();
            let count = idle.spare.div_ceil(2);
            let unneeded = idle.warm.drain(..count).collect();
            idle.spare = idle.warm.len();
            unneeded
        };
        unneeded.iter_mut().for_each(Page::discard);
        let trimmed = unneeded.len();
        self.0.idle().cold.append(&mut unneeded);
        trimmed
    }
}

impl fmt::Debug for BufPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufPool({} leased, {} idle)", self.leased_blocks(), self.idle_blocks())
    }
}

impl Shared {
    /// A panic can't leave the reserve half-changed, so a poisoned lock is still good.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of a fresh slab; the others are idle, and cold until they are written to.
    fn grow(&self) -> Option<Page> {
        let mut pages = slab::blocks().map_err(|error| self.refuse(&error)).ok()?;
        if self.is_short.swap(false, Ordering::Relaxed) {
            tracing::info!(
                refused = self.refused.load(Ordering::Relaxed),
                "there is memory for payload again"
            );
        }
        let page = pages.pop();
        self.idle().cold.append(&mut pages);
        page
    }

    /// Counts a refusal; says so when it is the first of its kind.
    fn refuse(&self, error: &io::Error) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if !self.is_short.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                "the system has no memory for payload: peers are read from again when there is some; \
                 lower [storage] memory, or let the daemon have more"
            );
        }
    }

    fn put(&self, page: Page) {
        self.leased.fetch_sub(1, Ordering::Relaxed);
        self.idle().warm.push(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_fills_and_starts_empty_when_reused() {
        let pool = BufPool::new();
        let mut buf = pool.take().unwrap();
        assert_eq!(buf.unfilled().as_ptr() as usize % 4096, 0);
        assert_eq!((buf.len(), buf.unfilled().len()), (0, BlockBuf::CAPACITY));
        assert_eq!(buf.append(b"hello"), 5);
        buf.unfilled()[0] = b'!';
        buf.add_filled(1);
        assert_eq!(&buf[..], b"hello!");
        assert_eq!(buf.append(&[7; 20_000]), BlockBuf::CAPACITY - 6);
        assert_eq!((buf.len(), buf.append(b"x")), (BlockBuf::CAPACITY, 0));
        drop(buf);
        assert_eq!(pool.take().unwrap().len(), 0);
    }

    #[test]
    fn the_pool_counts_leases_and_keeps_what_comes_back() {
        let pool = BufPool::new();
        let out: Vec<BlockBuf> = (0..300).map(|_| pool.take().unwrap()).collect();
        assert_eq!((pool.leased_blocks(), pool.idle_blocks()), (300, 0));
        let mut places: Vec<*const u8> = out.iter().map(|buf| buf.as_ptr()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 300, "each has memory of its own");
        drop(out);
        assert_eq!((pool.leased_blocks(), pool.idle_blocks()), (0, 300));
        let _one = pool.take().unwrap();
        assert_eq!((pool.leased_blocks(), pool.idle_blocks()), (1, 299));
    }

    #[test]
    fn trimming_returns_what_was_not_used_since_the_last_trim_and_only_that() {
        let pool = BufPool::new();
        drop((0..8).map(|_| pool.take().unwrap()).collect::<Vec<_>>());
        assert_eq!(pool.trim(), 0, "all eight were in use since the start");
        let used: Vec<BlockBuf> = (0..6).map(|_| pool.take().unwrap()).collect();
        drop(used);
        assert_eq!(pool.trim(), 1, "two were never needed");
        let mut rounds = 0;
        while pool.idle_blocks() > 0 {
            pool.trim();
            rounds += 1;
        }
        assert!(rounds <= 4, "{rounds}");
        let mut again: Vec<BlockBuf> = (0..8).map(|_| pool.take().unwrap()).collect();
        for buf in &mut again {
            buf.append(b"usable");
        }
        assert!(again.iter().all(|buf| &buf[..] == b"usable"));
    }

    #[test]
    fn threads_that_share_a_pool_never_share_a_buffer() {
        let pool = BufPool::new();
        let uses = if cfg!(miri) { 3 } else { 1000 };
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..uses {
                        let mut buf = pool.take().unwrap();
                        buf.append(&[thread; 64]);
                        std::thread::yield_now();
                        assert_eq!(buf[..], [thread; 64]);
                        drop(buf);
                        pool.trim();
                    }
                });
            }
        });
        assert_eq!(pool.leased_blocks(), 0);
    }

    #[test]
    fn without_memory_a_buffer_is_refused_and_counted_and_nothing_else_happens() {
        let pool = BufPool::new();
        let out = pool.take().unwrap();
        pool.starve(true);
        assert!(pool.take().is_none() && pool.take().is_none());
        assert_eq!((pool.refused(), pool.leased_blocks()), (2, 1));
        pool.starve(false);
        assert!(pool.take().is_some());
        drop(out);
        assert_eq!(pool.leased_blocks(), 0);
    }
}
