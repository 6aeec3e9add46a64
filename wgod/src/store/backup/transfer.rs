//! Backups on their way to and from callers of the API, in parts: files that have no name, so that nothing
//! is left of them however it ends.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::BackupError;
use crate::files::{Bufs, Handle};
use crate::store::StoreError;
use crate::store::state_dir::StateDir;

/// Files that are kept at a time. The one that was used the longest ago makes room for another.
const MOST: usize = 4;
/// One that nobody asks for any more is given up.
const IDLE: Duration = Duration::from_secs(600);
/// Bytes of a part at most.
const PART: u64 = 4 << 20;

/// A file on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Names it in the calls that follow.
    pub id: String,
    /// Its bytes so far.
    pub len: u64,
}

/// Why a call about a backup failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransferError {
    /// It was given up, or never was.
    #[error("there is no such transfer any more: others came, or it was left alone for {} minutes; begin again", IDLE.as_secs() / 60)]
    Gone,
    /// A part that doesn't follow the last one.
    #[error("the next part begins at byte {expected}, this one at {found}")]
    Offset {
        /// Where it is.
        expected: u64,
        /// What the caller says.
        found: u64,
    },
    /// The file is no good.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The state directory, or its disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub(in crate::store) struct Held {
    id: String,
    pub(super) file: Handle,
    pub(super) len: u64,
    used: Instant,
}

impl Held {
    pub(in crate::store) fn transfer(&self) -> Transfer {
        Transfer { id: self.id.clone(), len: self.len }
    }
}

/// The files that are on their way.
#[derive(Debug, Default)]
pub(in crate::store) struct Transfers {
    /// The one used last is at the end. At most `MOST`.
    held: Mutex<VecDeque<Held>>,
    count: AtomicU64,
}

impl Transfers {
    /// A new empty file. It is in nobody's way until it is [kept](Self::keep).
    pub(in crate::store) fn begin(
        &self,
        dir: &StateDir,
        private: impl Fn(&std::path::Path) -> Result<(), StoreError>,
    ) -> Result<Held, StoreError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("transfer-{count}.tmp");
        private(&dir.path_of(&name))?;
        let file = dir.create(&name)?;
        dir.unlink(&name)?;
        Ok(Held { id: format!("{}-{count}", std::process::id()), file, len: 0, used: Instant::now() })
    }

    /// Takes a file out, so that nobody else uses it meanwhile.
    pub(in crate::store) fn take(&self, id: &str) -> Result<Held, TransferError> {
        let mut held = self.lock();
        let at = held.iter().position(|held| held.id == id).ok_or(TransferError::Gone)?;
        held.remove(at).ok_or(TransferError::Gone)
    }

    /// Puts a file back.
    pub(in crate::store) fn keep(&self, mut file: Held) {
        file.used = Instant::now();
        let mut held = self.lock();
        if held.len() >= MOST {
            held.pop_front();
        }
        held.push_back(file);
    }

    /// Gives up what nobody asked for in a while.
    pub(in crate::store) fn drop_idle(&self, now: Instant) {
        self.lock().retain(|held| now.saturating_duration_since(held.used) < IDLE);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a file, empty at its end.
pub(in crate::store) fn read(dir: &StateDir, held: &Held, offset: u64) -> Result<Vec<u8>, StoreError> {
    let len = PART.min(held.len.saturating_sub(offset)) as usize;
    let (bufs, read) = dir.disk().read_full_at(&held.file, offset, Bufs::bytes(vec![0; len]));
    let read = read.map_err(|e| dir.error("cannot read the backup in", "", e))?;
    let mut bytes = bufs.into_bytes();
    bytes.truncate(read);
    Ok(bytes)
}

/// Appends a part that begins at `offset`.
pub(in crate::store) fn append(
    dir: &StateDir,
    held: &mut Held,
    offset: u64,
    part: Vec<u8>,
) -> Result<(), TransferError> {
    if offset != held.len {
        return Err(TransferError::Offset { expected: held.len, found: offset });
    }
    let len = part.len() as u64;
    let written = dir.disk().write_all_at(&held.file, offset, Bufs::bytes(part)).1;
    written.map_err(|e| dir.error("cannot keep the backup in", "", e))?;
    held.len += len;
    Ok(())
}
