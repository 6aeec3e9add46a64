//! File systems that are written to: a sync of each tells of every write that failed on it, also of
//! files that were closed meanwhile.
//!
//! `syncfs` reports a failure since its descriptor was opened or last asked, once (Linux 5.8). So a
//! descriptor must be open before the first write whose fate it is to tell, and whoever asks counts the
//! failures for the others.
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::blocking_disk::BlockingDisk;
use super::disk::{Handle, Op};

/// Those that a torrent writes to. Bounded by the machine's file systems.
#[derive(Debug, Default)]
pub(super) struct Volumes(Mutex<HashMap<u64, Weak<Volume>>>);

impl Volumes {
    /// The volume with number `device`, which holds `folder`.
    pub(super) fn of(&self, device: u64, folder: &Handle) -> Arc<Volume> {
        let mut volumes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(volume) = volumes.get(&device).and_then(Weak::upgrade) {
            return volume;
        }
        volumes.retain(|_, volume| volume.strong_count() > 0);
        let volume = Arc::new(Volume {
            folder: folder.clone(),
            failures: AtomicU64::new(0),
            syncing: Mutex::default(),
        });
        volumes.insert(device, Arc::downgrade(&volume));
        volume
    }
}

/// One file system. Keeps a folder on it open.
#[derive(Debug)]
pub(super) struct Volume {
    folder: Handle,
    failures: AtomicU64,
    /// Held from the system's answer until it is counted: it is given only once.
    syncing: Mutex<()>,
}

impl Volume {
    /// Syncs that failed so far.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Makes everything durable that was written before. An error if any write failed since `failures`
    /// was read as `seen`, whosever it was. False if nothing was done: each file must be synced by itself.
    pub(super) fn sync(&self, disk: &BlockingDisk, seen: u64) -> io::Result<bool> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = sync_whole(disk, &self.folder);
        if synced.is_err() {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        if self.failures() == seen { synced } else { synced.and_then(|_| Err(lost())) }
    }
}

/// Makes everything durable on the file system that holds `folder`; false where each file and folder must be synced
/// by itself.
pub(super) fn sync_whole(disk: &BlockingDisk, folder: &Handle) -> io::Result<bool> {
    match disk.run(Op::SyncFs(folder.clone())) {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => Ok(false),
        synced => synced.map(|()| true),
    }
}

/// Another torrent's checkpoint was told of the failure.
fn lost() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}
