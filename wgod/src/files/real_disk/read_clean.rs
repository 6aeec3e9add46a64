//! Reads for a check, which leave the page cache as it was: hashing a terabyte must not push the
//! machine's working set out of memory, nor read from the device what memory holds.
//!
//! What is cached is read through the cache, the rest directly. Whether it is cached, a read of one byte
//! with `RWF_NOWAIT` tells. A miss makes the kernel fetch that one page; it is dropped again.
//! (`cachestat` tells without a trace, but only since Linux 6.5 and past seccomp filters: what `pull` brings
//! in is found here as cached.)
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv, preadv2};

use super::{MAX_SLICES, RealFile};

/// Bytes read through the cache after one look. Where a cached stretch ends in it, the kernel fetches
/// what is missing of it, and that stays: so it is short. That also keeps what is read in the processor's
/// caches until it is hashed.
const CACHED: usize = 128 * 1024;

/// Bytes of a page; where it is larger, a page that was only looked at stays.
const PAGE: u64 = 4096;

/// Reads once, at most as much as fits into `slices`; 0 at the end of the file.
pub(super) fn read(file: &RealFile, offset: u64, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = slices.len().min(MAX_SLICES);
    let slices = slices.get_mut(..count).unwrap_or_default();
    if file.is_in_memory() {
        return Ok(preadv(&file.fd, &mut first(slices, CACHED), offset)?);
    }
    let look = if file.nowait.load(Ordering::Relaxed) { look(file, offset) } else { Err(Errno::OPNOTSUPP) };
    if look == Ok(0) {
        return Ok(0);
    }
    if look.is_ok()
        && let Ok(n @ 1..) = preadv2(&file.fd, &mut first(slices, CACHED), offset, ReadWriteFlags::NOWAIT)
    {
        return Ok(n);
    }
    if let Some(opened) = file.direct().filter(|opened| opened.fits(offset, slices)) {
        match preadv(opened.fd(), slices, offset) {
            Err(Errno::INVAL | Errno::OPNOTSUPP) => file.direct.refuse(),
            result => {
                if look == Err(Errno::AGAIN) {
                    drop_cached(file, offset, 1);
                }
                return Ok(result?);
            }
        }
    }
    let read = preadv(&file.fd, slices, offset)?;
    drop_cached(file, offset, read as u64);
    Ok(read)
}

/// One byte, if it is in memory.
fn look(file: &RealFile, offset: u64) -> Result<usize, Errno> {
    let looked = preadv2(&file.fd, &mut [IoSliceMut::new(&mut [0])], offset, ReadWriteFlags::NOWAIT);
    if matches!(looked, Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)) {
        file.nowait.store(false, Ordering::Relaxed);
    }
    looked
}

/// Drops bytes that were not cached before. Only advice: that it fails costs memory and nothing else.
fn drop_cached(file: &RealFile, offset: u64, len: u64) {
    // Whole pages only are dropped.
    if let Some(len) = NonZeroU64::new(len.next_multiple_of(PAGE)) {
        let _ = fadvise(&file.fd, offset, Some(len), Advice::DontNeed);
    }
}

/// The first `len` bytes of slices.
fn first<'a>(slices: &'a mut [IoSliceMut<'_>], len: usize) -> Vec<IoSliceMut<'a>> {
    let mut left = len;
    let mut out = Vec::new();
    for slice in slices {
        let n = left.min(slice.len());
        left -= n;
        if n > 0 {
            out.push(IoSliceMut::new(&mut slice[..n]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::files::disk::{At, OpenHow, OpenMode};
    use crate::files::scratch::Scratch;
    use crate::files::{BlockingDisk, Disk, Handle, RealDisk};

    const M: usize = 1 << 20;

    /// A file of 8 MiB and `extra` bytes, on the device and not in memory.
    fn cold_file(dir: &std::path::Path, extra: usize) -> (Vec<u8>, Handle) {
        let bytes: Vec<u8> = (0..8 * M + extra).map(|i| (i / 4096) as u8 ^ (i % 253) as u8).collect();
        let path = dir.join("f");
        std::fs::write(&path, &bytes).unwrap();
        let how = OpenHow { mode: OpenMode::Read, follow: false };
        let handle = BlockingDisk::new(Arc::new(RealDisk)).open(At::path(path), how).unwrap();
        let file: &RealFile = handle.inner().unwrap();
        rustix::fs::fdatasync(&file.fd).unwrap();
        fadvise(&file.fd, 0, None, Advice::DontNeed).unwrap();
        // What is read from now on brings nothing along.
        fadvise(&file.fd, 0, None, Advice::Random).unwrap();
        (bytes, handle)
    }

    /// All that is there of so many bytes, however many reads that takes.
    fn read_all(
        scratch: &mut Scratch,
        disk: &BlockingDisk,
        handle: &Handle,
        mut offset: usize,
        len: usize,
    ) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let read = scratch.read_clean(disk, handle, offset as u64, len - all.len()).unwrap();
            if read.is_empty() {
                break;
            }
            offset += read.len();
            all.extend_from_slice(read);
        }
        all
    }

    fn is_cached(handle: &Handle, offset: usize) -> bool {
        RealDisk.read_nowait(handle, offset as u64, &mut [IoSliceMut::new(&mut [0])]).is_ok()
    }

    #[test]
    fn the_content_is_right_at_any_offset_and_at_the_end() {
        for place in [std::env::temp_dir(), "/dev/shm".into()] {
            let Ok(dir) = tempfile::tempdir_in(&place) else { continue };
            let (bytes, handle) = cold_file(dir.path(), 777);
            let disk = BlockingDisk::new(Arc::new(RealDisk));
            let mut scratch = Scratch::new();
            for (offset, len) in [
                (0, M),
                (M, 2 * M),
                (5, 10),
                (4095, 2),
                (3 * M - 100, 300_000),
                (8 * M - 10, M),
                (9 * M, 100),
            ] {
                let want = bytes.get(offset..(offset + len).min(bytes.len())).unwrap_or_default();
                let read = read_all(&mut scratch, &disk, &handle, offset, len);
                assert!(read == want, "{offset} {len} on {}", place.display());
            }
        }
    }

    #[test]
    fn what_was_cached_stays_so_and_nothing_else_gets_cached() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, handle) = cold_file(dir.path(), 0);
        let file: &RealFile = handle.inner().unwrap();
        if file.is_in_memory() || is_cached(&handle, 7 * M + M / 2) || !is_cached_after_read(&handle) {
            println!("SKIPPED: the temp folder doesn't tell what it caches");
            return;
        }
        if file.direct().is_none() {
            println!("SKIPPED: no direct I/O in the temp folder");
            return;
        }
        let disk = BlockingDisk::new(Arc::new(RealDisk));
        preadv(&file.fd, &mut [IoSliceMut::new(&mut vec![0; M])], 2 * M as u64).unwrap();
        let mut scratch = Scratch::new();
        for n in 0..8 {
            let read = read_all(&mut scratch, &disk, &handle, n * M, M);
            assert!(read == bytes[n * M..(n + 1) * M], "MiB {n}");
        }
        for n in 0..7 {
            // Not the page that was looked at: whether it is in yet when it is dropped is a race.
            assert_eq!(is_cached(&handle, n * M + M / 4), n == 2, "MiB {n}");
        }
    }

    fn is_cached_after_read(handle: &Handle) -> bool {
        let file: &RealFile = handle.inner().unwrap();
        let at = 7 * M + M / 2 + 65536;
        preadv(&file.fd, &mut [IoSliceMut::new(&mut [0])], at as u64).unwrap();
        is_cached(handle, at)
    }
}
