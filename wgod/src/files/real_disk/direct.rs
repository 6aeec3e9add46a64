//! O_DIRECT: payload goes between memory and device without a copy and without the page cache.
//!
//! A file's second descriptor, opened when a transfer is first worth it. File systems say which
//! addresses and offsets they take; one that says nothing gets 4 KiB, and one that refuses a transfer
//! after all is never asked again for that file.
//!
//! Buffered and direct writes to one file mix: the sectors at a piece's edges that it shares with its
//! neighbours go through the page cache. What that relies on (`kiocb_invalidate_pages` and
//! `kiocb_invalidate_post_direct_write` of Linux):
//! - Before a direct write the kernel writes back what is dirty in its range and drops it from the page
//!   cache; afterwards it drops what a reader brought in meanwhile. So a read that begins after a write
//!   returned sees it, whichever way either went.
//! - That fails only when a buffered write dirties a folio of the range *during* the direct write (a
//!   folio may be much larger than a sector). `order` keeps them apart. The common file systems' own
//!   inode locks do too, but not by promise.
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::MAX_SLICES;

/// Offsets and lengths are multiples of this at least, also where a file system takes less: below its
/// own block size it works slowly and alone.
const MIN_UNIT: usize = 4096;
/// The least that is written directly. A direct write waits for the device: in pieces of 256 KiB that
/// saves next to nothing and halves the rate (system time of storing on ext4, in CPU-s/GiB: buffered 0.4
/// to 0.5, direct in 256 KiB 0.35, in 1 MiB 0.19, in 4 MiB 0.15).
pub(super) const MIN_WRITE: usize = 512 * 1024;

/// The direct side of one open file.
pub(super) struct Direct {
    /// What the second descriptor is for.
    access: OFlags,
    /// The file system can't, or it refused: never, or never again.
    off: AtomicBool,
    opened: OnceLock<Opened>,
    order: RwLock<()>,
}

/// The second descriptor and what it takes.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    /// Addresses are multiples of this.
    address: usize,
    /// Offsets and lengths are multiples of this.
    unit: usize,
}

/// How the first bytes of a write go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Direct(usize),
    Buffered(usize),
}

impl Direct {
    /// For a file opened with `access` (`RDONLY` or `RDWR`). Opens nothing yet.
    pub(super) fn new(access: OFlags) -> Direct {
        Direct { access, off: AtomicBool::new(false), opened: OnceLock::new(), order: RwLock::new(()) }
    }

    /// The second descriptor of `file`, unless it can't be had.
    pub(super) fn get(&self, file: BorrowedFd<'_>) -> Option<&Opened> {
        if self.off.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(opened) = self.opened.get() {
            return Some(opened);
        }
        match Opened::open(file, self.access) {
            Ok(opened) => Some(self.opened.get_or_init(|| opened)),
            // Out of descriptors or memory: not this time.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => None,
            Err(_) => {
                self.refuse();
                None
            }
        }
    }

    /// The file system refused: never again for this file.
    pub(super) fn refuse(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    /// Held during a direct write.
    pub(super) fn lock_direct(&self) -> RwLockReadGuard<'_, ()> {
        self.order.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held during a buffered write.
    pub(super) fn lock_buffered(&self) -> RwLockWriteGuard<'_, ()> {
        self.order.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// Takes `opened` as the second descriptor, whatever the file system says.
    #[cfg(test)]
    pub(super) fn force(&self, opened: Opened) {
        assert!(self.opened.set(opened).is_ok());
    }
}

impl Opened {
    /// Opens the file behind `file` again: by its descriptor, so that a name which now stands for
    /// something else can't lead elsewhere.
    fn open(file: BorrowedFd<'_>, access: OFlags) -> Result<Opened, Errno> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = access | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = fs::openat(CWD, path, flags, Mode::empty())?;
        let (mut address, mut unit) = (MIN_UNIT, MIN_UNIT);
        if let Ok(stat) = fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
            && stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0
        {
            if stat.stx_dio_offset_align == 0 {
                return Err(Errno::OPNOTSUPP);
            }
            address = (stat.stx_dio_mem_align as usize).max(1);
            unit = MIN_UNIT.max(stat.stx_dio_offset_align as usize);
        }
        Ok(Opened { fd, address, unit })
    }

    #[cfg(test)]
    pub(super) fn with_alignment(fd: OwnedFd, address: usize, unit: usize) -> Opened {
        Opened { fd, address, unit }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How the first bytes of a write at `offset` go. Direct needs addresses and offsets that agree; up
    /// to the next multiple of the unit and after the last one it is buffered.
    pub(super) fn plan(&self, offset: u64, slices: &[IoSlice<'_>]) -> Step {
        let total = slices.iter().map(|slice| slice.len()).sum();
        let beyond = (offset % self.unit as u64) as usize;
        let head = if beyond == 0 { 0 } else { self.unit - beyond };
        match self.direct_len(slices, head) {
            n if n < MIN_WRITE => Step::Buffered(total),
            n if head == 0 => Step::Direct(n),
            _ => Step::Buffered(head),
        }
    }

    /// Bytes after the first `skip` that one direct write takes.
    fn direct_len(&self, slices: &[IoSlice<'_>], mut skip: usize) -> usize {
        let mut len = 0;
        let mut count = 0;
        for slice in slices {
            let part = slice.get(skip.min(slice.len())..).unwrap_or_default();
            skip -= slice.len() - part.len();
            if part.is_empty() {
                continue;
            }
            count += 1;
            if !(part.as_ptr() as usize).is_multiple_of(self.address) || count > MAX_SLICES {
                break;
            }
            len += part.len() - part.len() % self.unit;
            if !part.len().is_multiple_of(self.unit) {
                break;
            }
        }
        len
    }

    /// Whether a read at `offset` into `slices` can go directly as it is.
    pub(super) fn fits(&self, offset: u64, slices: &[IoSliceMut<'_>]) -> bool {
        let fit = |slice: &IoSliceMut<'_>| {
            (slice.as_ptr() as usize).is_multiple_of(self.address) && slice.len().is_multiple_of(self.unit)
        };
        offset.is_multiple_of(self.unit as u64) && slices.iter().all(fit)
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
