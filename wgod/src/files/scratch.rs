//! Memory for reading files in large stretches, laid out for direct reads.
use std::io;
use std::ops::Range;

use super::blocking_disk::BlockingDisk;
use super::bufs::Bufs;
use super::disk::Handle;

/// What direct reads of every common file system are content with.
const ALIGN: usize = 4096;

/// Reusable memory for [`read_clean`](Self::read_clean); grows to the longest read.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
}

impl Scratch {
    /// No memory yet.
    pub(super) fn new() -> Scratch {
        Scratch::default()
    }

    /// Bytes of `file` from `offset` on, `len` at most; none at its end. What memory cached before, it
    /// caches afterwards ([`Op::ReadClean`](super::Op::ReadClean)), and that comes in short stretches, which
    /// are still near when they are hashed. The device is fastest with stretches of 1 MiB that begin at
    /// multiples of 4 KiB.
    pub(super) fn read_clean(
        &mut self,
        disk: &BlockingDisk,
        file: &Handle,
        offset: u64,
        len: usize,
    ) -> io::Result<&[u8]> {
        let before = (offset % ALIGN as u64) as usize;
        let whole = (before + len).next_multiple_of(ALIGN);
        if self.bytes.len() < whole + ALIGN {
            // Not `resize`, which would copy what is there.
            self.bytes = vec![0; whole + ALIGN];
        }
        let start = self.bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        let mut bufs = Bufs::bytes(std::mem::take(&mut self.bytes));
        bufs.set_window(start..start + whole);
        let (bufs, read) = disk.read_clean_at(file, offset - before as u64, before + 1, bufs);
        self.bytes = bufs.into_bytes();
        let found: Range<usize> = start + before..start + read?.clamp(before, before + len);
        Ok(self.bytes.get(found).unwrap_or_default())
    }
}
