//! Copies of files: sharing their space where the file system can, within the system where that can, else
//! read and written in stretches that go past the page cache; holes stay holes.
use std::io;

use rustix::io::Errno;
use wgo_proto::path::SafePath;

use super::super::bufs::Bufs;
use super::super::disk::{Handle, Op, Stat};
use super::super::error::{DiskError, DiskOp};
use super::super::scratch::Scratch;
use super::{MoveError, Relocation};

/// Bytes of one read and write: the device is fastest with those, and a move is called off between two.
pub(super) const STRETCH: usize = 1024 * 1024;
/// What direct transfers of every common file system are content with.
const ALIGN: usize = 4096;

impl Relocation {
    /// Fills a new file with the content of another, durably, and gives it that one's time as the sign that
    /// it is whole.
    pub(super) fn copy(
        &self,
        path: &SafePath,
        source: &Handle,
        stat: &Stat,
        target: &Handle,
    ) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        let written = |e| self.write_failed(path, &e);
        // Whatever the reason that it can't, copying finds out more.
        let shared = disk.run(Op::Reflink { from: source.clone(), to: target.clone() }).is_ok();
        if !shared {
            self.reserve(source, stat.len, target).map_err(written)?;
            self.copy_bytes(path, source, stat.len, target)?;
        }
        disk.sync_data(target).map_err(written)?;
        disk.run(Op::SetTime { file: target.clone(), mtime: stat.mtime }).map_err(written)?;
        disk.sync_all(target).map_err(written)?;
        Ok(())
    }

    fn write_failed(&self, path: &SafePath, error: &io::Error) -> DiskError {
        DiskError::new(DiskOp::Write, self.to.full(path), error)
    }

    /// Gives the copy its length, and its space if the file has no holes.
    fn reserve(&self, source: &Handle, len: u64, target: &Handle) -> io::Result<()> {
        let disk = &self.cx.disk;
        if !self.has_holes(source, len)? {
            match disk.run(Op::Allocate { file: target.clone(), len }) {
                Err(e) if is_unsupported(&e) => {}
                result => return result,
            }
        }
        disk.set_len(target, len)
    }

    fn has_holes(&self, file: &Handle, len: u64) -> io::Result<bool> {
        let mut at = 0;
        while at < len {
            if self.cx.disk.next_data(file, at)? != Some(at) {
                return Ok(true);
            }
            at += STRETCH as u64;
        }
        Ok(false)
    }

    fn copy_bytes(
        &self,
        path: &SafePath,
        source: &Handle,
        len: u64,
        target: &Handle,
    ) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        let read = |e: &io::Error| DiskError::new(DiskOp::Read, self.from.full(path), e);
        let mut memory = Bufs::bytes(vec![0; STRETCH + ALIGN]);
        let mut in_system = true;
        let mut at = 0;
        while let Some(data) = disk.next_data(source, at).map_err(|e| read(&e))?.filter(|data| *data < len) {
            self.check_cancelled()?;
            at = data - data % ALIGN as u64;
            let n = (len - at).min(STRETCH as u64);
            let copied = if in_system { disk.copy_range(source, target, at, n) } else { Ok(0) };
            let moved = match copied {
                Ok(moved @ 1..) => moved as u64,
                // A full disk is full for every way. Of other errors the plain way tells more.
                Err(e) if matches!(errno(&e), Some(Errno::NOSPC | Errno::DQUOT)) => {
                    return Err(self.write_failed(path, &e).into());
                }
                _ => {
                    in_system = false;
                    let (back, bytes) = self.read_stretch(source, at, n as usize, memory);
                    let bytes = bytes.map_err(|e| read(&e))?;
                    let (back, written) = disk.write_all_at(target, at, back);
                    written.map_err(|e| self.write_failed(path, &e))?;
                    memory = back;
                    bytes as u64
                }
            };
            if moved == 0 {
                // Somebody shortened it meanwhile; what is missing of it, its pieces' hashes tell.
                break;
            }
            (self.watch.copied)(moved);
            at += moved;
        }
        Ok(())
    }

    /// The next bytes of a file; the window is on them.
    fn read_stretch(&self, file: &Handle, at: u64, len: usize, memory: Bufs) -> (Bufs, io::Result<usize>) {
        let bytes = memory.into_bytes();
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        let mut bufs = Bufs::bytes(bytes);
        // Whole pages, so that it can be read directly; the file ends where it ends.
        bufs.set_window(start..start + len.next_multiple_of(ALIGN));
        let (mut bufs, read) = self.cx.disk.read_clean_at(file, at, len, bufs);
        let read = read.map(|read| read.min(len));
        bufs.set_window(start..start + read.as_ref().map_or(0, |read| *read));
        (bufs, read)
    }

    /// Whether two files of one length have the same content.
    pub(super) fn is_equal(
        &self,
        path: &SafePath,
        a: &Handle,
        b: &Handle,
        len: u64,
    ) -> Result<bool, MoveError> {
        let disk = &self.cx.disk;
        let failed = |base: &super::Base, e: io::Error| DiskError::new(DiskOp::Read, base.full(path), &e);
        let (mut ours, mut theirs) = (Scratch::new(), Scratch::new());
        let mut at = 0;
        while at < len {
            self.check_cancelled()?;
            let n = (len - at).min(STRETCH as u64) as usize;
            let ours = ours.read_clean(disk, a, at, n).map_err(|e| failed(&self.from, e))?;
            let theirs = theirs.read_clean(disk, b, at, n).map_err(|e| failed(&self.to, e))?;
            let n = ours.len().min(theirs.len());
            if n == 0 || ours[..n] != theirs[..n] {
                return Ok(false);
            }
            at += n as u64;
        }
        Ok(true)
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

/// Whether a file system can't do it at all.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::OPNOTSUPP | Errno::NOSYS))
}
