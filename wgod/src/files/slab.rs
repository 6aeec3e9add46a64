//! Memory for block buffers: slabs straight from the system, cut into blocks that lie back to back.
//!
//! An allocator puts a header beside each aligned block and so spends 20 KiB on 16, and it gives memory
//! back and asks for it again in the middle of a download. A slab wastes nothing, huge pages can hold
//! it, and what is idle returns to the system block by block.
#![allow(unsafe_code, reason = "owned parts of one mapping; see the SAFETY comments")]
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use wgo_proto::BLOCK_LEN;

/// Bytes of a block as an array length.
pub(super) const LEN: usize = BLOCK_LEN as usize;
/// Bytes of a slab: a huge page of x86-64 and aarch64.
const SLAB_LEN: usize = 2 * 1024 * 1024;
/// Whether `madvise` can be called at all: Miri, which looks at the pointers here, has `mmap` and not that.
const TAKES_ADVICE: bool = !cfg!(miri);

/// Memory mapped from the system; unmapped when its last block is dropped.
struct Slab(NonNull<u8>);

// SAFETY: a slab is only an address and a duty to unmap; its bytes are reached through its blocks.
unsafe impl Send for Slab {}
// SAFETY: as above; nothing can be done with a shared slab.
unsafe impl Sync for Slab {}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `blocks` and is unmapped here only; each block holds the slab,
        // so none is left that could refer to it.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), SLAB_LEN) };
        // It fails for a range that isn't one, and this is one.
        debug_assert!(unmapped.is_ok());
    }
}

/// The memory of one block, 4 KiB-aligned, owned alone.
pub(super) struct Page {
    start: NonNull<[u8; LEN]>,
    _slab: Arc<Slab>,
}

// SAFETY: a page is the only way to its bytes, like a `Box<[u8; LEN]>`.
unsafe impl Send for Page {}
// SAFETY: as above: shared, it can only be read.
unsafe impl Sync for Page {}

impl Page {
    /// Its bytes: zeros, or what the last user left there.
    pub(super) fn bytes(&self) -> &[u8; LEN] {
        // SAFETY: the range lies in a slab that this page keeps mapped, is initialised (the system maps
        // zeros), and belongs to this page alone.
        unsafe { self.start.as_ref() }
    }

    /// The same, to be written to.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8; LEN] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { self.start.as_mut() }
    }

    /// Gives the memory back to the system; the bytes read as zeros from then on.
    pub(super) fn discard(&mut self) {
        if !TAKES_ADVICE {
            return;
        }
        // SAFETY: the range is this page's own, whole system pages (16 KiB, and a slab starts at one), and
        // nobody refers to its bytes. Private anonymous memory reads as zeros afterwards.
        let discarded = unsafe { madvise(self.start.as_ptr().cast(), LEN, Advice::LinuxDontNeed) };
        // Where system pages are larger (64 KiB on some aarch64) it is refused, and the memory is kept.
        let _kept = discarded.is_err();
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({:p})", self.start)
    }
}

/// The blocks of a fresh slab, all zeros.
pub(super) fn blocks() -> io::Result<Vec<Page>> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the system chooses the address, so nothing that exists is mapped over.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), SLAB_LEN, access, flags) }?;
    let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
    let slab = Arc::new(Slab(start));
    if TAKES_ADVICE {
        // SAFETY: the range was just mapped; this is advice on how to back it, which may be declined.
        let _advice = unsafe { madvise(start.as_ptr().cast(), SLAB_LEN, Advice::LinuxHugepage) };
    }
    let page = |number: usize| {
        // SAFETY: `number` is less than the blocks of a slab, so the offset stays inside it.
        let start = unsafe { start.add(number * LEN) };
        Page { start: start.cast(), _slab: slab.clone() }
    };
    Ok((0..SLAB_LEN / LEN).map(page).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether all its bytes are these. Miri, which takes a minute for each of a slab, looks at the first and the last.
    fn is_all(page: &Page, byte: u8) -> bool {
        let step = if cfg!(miri) { LEN - 1 } else { 1 };
        page.bytes().iter().step_by(step).all(|&found| found == byte)
    }

    #[test]
    fn blocks_of_a_slab_are_aligned_apart_and_zero() {
        let mut pages = blocks().unwrap();
        assert_eq!(pages.len(), 128);
        for (n, page) in pages.iter_mut().enumerate() {
            assert_eq!(page.bytes().as_ptr() as usize % 4096, 0);
            assert!(is_all(page, 0));
            page.bytes_mut().fill(n as u8);
        }
        for (n, page) in pages.iter().enumerate() {
            assert!(is_all(page, n as u8));
        }
    }

    #[test]
    fn a_block_outlives_its_siblings_and_moves_between_threads() {
        let mut page = blocks().unwrap().swap_remove(77);
        let page = std::thread::spawn(move || {
            page.bytes_mut().fill(7);
            page
        });
        assert!(is_all(&page.join().unwrap(), 7));
    }

    #[test]
    fn what_is_discarded_reads_as_zeros_and_can_be_used_again() {
        let mut pages = blocks().unwrap();
        pages[3].bytes_mut().fill(1);
        pages[4].bytes_mut().fill(2);
        pages[3].discard();
        if TAKES_ADVICE && rustix::param::page_size() <= LEN {
            assert!(is_all(&pages[3], 0));
        }
        assert!(is_all(&pages[4], 2), "its neighbour is untouched");
        pages[3].bytes_mut().fill(9);
        assert_eq!(pages[3].bytes()[LEN - 1], 9);
    }
}
