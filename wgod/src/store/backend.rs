//! redb's `StorageBackend` on the daemon's `Disk`, with a redo journal for failed syncs.
//!
//! After a failed fsync the kernel may have marked the pages clean although they never reached the
//! disk: a second fsync succeeds and proves nothing, while reads still show the new content. So what
//! was written since the last good sync is kept in memory, and written again before the database is
//! opened again. Between two syncs redb relies on no order, so neither does the repetition.
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{BlockingDisk, Bufs, Handle};

/// One file, as redb sees it. Clones share the file and its journal.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    disk: BlockingDisk,
    file: Handle,
    journal: Arc<Mutex<Vec<Step>>>,
}

/// Something done to the file since its last good sync.
#[derive(Debug)]
enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Backend {
    pub(super) fn new(disk: BlockingDisk, file: Handle) -> Backend {
        Backend { disk, file, journal: Arc::default() }
    }

    /// Repeats what no sync has confirmed, and syncs. Afterwards what reads show is durable.
    pub(super) fn heal(&self) -> io::Result<()> {
        for step in self.journal().iter() {
            match step {
                Step::Write { offset, bytes } => self.put(*offset, bytes)?,
                Step::SetLen(len) => self.disk.set_len(&self.file, *len)?,
            }
        }
        self.sync()
    }

    fn journal(&self) -> MutexGuard<'_, Vec<Step>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_all_at(&self.file, offset, Bufs::bytes(bytes.to_vec())).1
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync_data(&self.file)?;
        *self.journal() = Vec::new();
        Ok(())
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
        self.journal().push(Step::SetLen(len));
        self.disk.set_len(&self.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // Also when the write fails: part of it may have arrived.
        self.journal().push(Step::Write { offset, bytes: data.to_vec() });
        self.put(offset, data)
    }
}
