//! redb's `StorageBackend` on the daemon's `Disk`.
//!
//! After a failed fsync the kernel may take pages for clean that never reached the disk: they read as
//! written, and no later fsync writes them. That is harmless here, since redb commits in two phases
//! and, opened again, builds only on pages whose sync had succeeded, except for the header, which it
//! writes anew. `tests/faults.rs` holds it to that at every operation.
use std::io;

use crate::files::{BlockingDisk, Bufs, Handle};

/// One file, as redb sees it.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    disk: BlockingDisk,
    file: Handle,
}

impl Backend {
    pub(super) fn new(disk: BlockingDisk, file: Handle) -> Backend {
        Backend { disk, file }
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.disk.len(&self.file)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (bufs, result) = self.disk.read_full_at(&self.file, offset, Bufs::bytes(vec![0; out.len()]));
        if result? != out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.copy_from_slice(&bufs.into_bytes());
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(&self.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data(&self.file)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write_all_at(&self.file, offset, Bufs::bytes(data.to_vec())).1
    }
}
