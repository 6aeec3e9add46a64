//! The way in: jobs go to the queue of the device that holds the torrent.
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::allowed::Allowed;
use super::blocking_disk::BlockingDisk;
use super::buf::BufPool;
use super::cache::{DEFAULT_OPEN_FILES, OpenFiles};
use super::device::{Device, DeviceStatus};
use super::disk::Disk;
use super::job::{self, Job};
use super::modes::Modes;
use super::mounts::Mounts;
use super::piece_cache::PieceCache;
use super::refs::PathRefs;
use super::relocate::{Relocation, RelocationSpec};
use super::rename::{Renaming, RenamingSpec};
use super::torrent::Context;
use super::volumes::Volumes;

/// How much of the machine storage may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// Threads for each device (`[storage] procs`), at least 1.
    pub threads: usize,
    /// Open files at most; a quarter of the process's descriptors if that is less.
    pub open_files: usize,
    /// Blocks of the piece cache.
    pub cached_blocks: usize,
}

impl Default for StorageLimits {
    fn default() -> StorageLimits {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // 12 MiB of pieces to be sent.
        StorageLimits { threads, open_files: DEFAULT_OPEN_FILES, cached_blocks: 768 }
    }
}

/// Threads for moves to one device: the session has one move under way for each, and others are looked into
/// beside it.
const MOVE_THREADS: usize = 2;

/// All storage of the daemon. Lives as long as the daemon; [`stop`](Self::stop) ends it in order.
#[derive(Debug)]
pub struct Storage {
    cx: Arc<Context>,
    threads: usize,
    /// Bounded by the machine's file systems. A leaf lock.
    devices: Mutex<Devices>,
}

#[derive(Debug, Default)]
struct Devices {
    by_number: HashMap<u64, Arc<Device>>,
    /// Moves to each device: long work, for which nothing else is to wait.
    movers: HashMap<u64, Arc<Device>>,
    stopping: bool,
}

impl Storage {
    /// Storage on `disk`, without any thread yet. Torrents may lie in any folder.
    pub fn new(disk: Arc<dyn Disk>, limits: StorageLimits) -> Storage {
        Storage::within(disk, limits, Allowed::any())
    }

    /// Storage for torrents that lie in folders of `allowed`.
    pub fn within(disk: Arc<dyn Disk>, limits: StorageLimits, allowed: Allowed) -> Storage {
        let cx = Context {
            disk: BlockingDisk::new(disk),
            open: OpenFiles::new(limits.open_files),
            refs: PathRefs::default(),
            pool: BufPool::new(),
            pieces: PieceCache::new(limits.cached_blocks),
            volumes: Volumes::default(),
            allowed,
            hashed: AtomicU64::default(),
        };
        Storage { cx: Arc::new(cx), threads: limits.threads, devices: Mutex::default() }
    }

    /// From now on new files and folders of torrents get these modes.
    pub fn set_modes(&self, modes: Modes) {
        self.cx.disk.set_modes(modes);
    }

    /// Where block buffers come from.
    pub fn pool(&self) -> &BufPool {
        &self.cx.pool
    }

    /// Submits a payload job (store, spill, read); waits while the device has too many. A future that
    /// is dropped while it waits drops the job, whose `done` is then told that it wasn't done.
    pub async fn submit(&self, job: Job) {
        let device = self.device(&job);
        let room = device.room().await;
        device.push(job, room);
    }

    /// Submits any other job without waiting. The caller has at most a few of them for each torrent.
    pub fn submit_now(&self, job: Job) {
        self.device(&job).push(job, None);
    }

    /// Does a job on this thread: for a simulation, which has none of its own.
    pub fn run_here(&self, job: Job) {
        job::run(&self.cx, job);
    }

    /// A move to be done with [`Job::Relocate`]. Touches no disk.
    pub fn relocation(&self, spec: RelocationSpec) -> Arc<Relocation> {
        Relocation::new(self.cx.clone(), spec)
    }

    /// A rename to be done with [`Job::Rename`]. Touches no disk.
    pub fn renaming(&self, spec: RenamingSpec) -> Arc<Renaming> {
        Renaming::new(self.cx.clone(), spec)
    }

    /// Whether a torrent other than `id` that is open has this file, whose path has no symlinks.
    #[cfg(test)]
    pub(crate) fn is_used(&self, id: wgo_core::TorrentId, path: &Path) -> bool {
        self.cx.refs.is_shared(id, path)
    }

    /// The device that seems to hold a folder, found without waiting for any disk.
    pub fn device_of(&self, folder: &Path) -> u64 {
        self.cx.disk.disk().device_hint(folder)
    }

    /// The file systems that are mounted, found without waiting for any of them.
    pub fn mounts(&self) -> Mounts {
        self.cx.disk.disk().mounts()
    }

    /// What each device is busy with, moves excepted.
    pub fn status(&self) -> Vec<DeviceStatus> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let devices: Vec<Arc<Device>> = devices.by_number.values().cloned().collect();
        devices.iter().map(|device| device.status()).collect()
    }

    /// Gives back memory that wasn't needed lately. Called at a steady interval.
    pub fn trim(&self) {
        self.cx.pieces.trim();
        self.cx.pool.trim();
    }

    /// Blocks in the piece cache.
    pub fn cached_blocks(&self) -> usize {
        self.cx.pieces.blocks()
    }

    /// Bytes of payload hashed so far: received, or checked.
    pub fn hashed_bytes(&self) -> u64 {
        self.cx.hashed.load(Ordering::Relaxed)
    }

    /// Files open now.
    pub fn open_files(&self) -> usize {
        self.cx.open.len()
    }

    /// Takes no more jobs, ends checks, does what waits and ends the threads. Devices that aren't done
    /// after `patience` hang: their waiting jobs are dropped, and they are returned.
    pub async fn stop(&self, patience: Duration) -> Vec<DeviceStatus> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
        let devices = self.all();
        devices.iter().for_each(|device| device.begin_stop());
        let deadline = tokio::time::Instant::now() + patience;
        let mut hung = Vec::new();
        for device in devices {
            if tokio::time::timeout_at(deadline, device.stopped()).await.is_err() {
                hung.push(device.status());
                device.give_up();
            }
        }
        hung
    }

    fn all(&self) -> Vec<Arc<Device>> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.by_number.values().chain(devices.movers.values()).cloned().collect()
    }

    /// The device that a job is for: its torrent's, or the one that seems to hold the folder.
    fn device(&self, job: &Job) -> Arc<Device> {
        let number = match (job.torrent(), job) {
            (Some(torrent), _) => torrent.device,
            (_, Job::Open { spec, .. }) => self.device_of(&spec.folder),
            (_, Job::Locate { folder, .. } | Job::Examine { folder, .. } | Job::FindFiles { folder, .. }) => {
                self.device_of(folder)
            }
            (_, Job::FreeSpace { device, .. }) => *device,
            (_, Job::Relocate { relocation, .. }) => relocation.device,
            (_, Job::Rename { renaming, .. }) => renaming.device,
            _ => 0,
        };
        let moves = matches!(job, Job::Relocate { .. } | Job::Rename { .. });
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let stopping = devices.stopping;
        let fresh = || {
            let threads = if moves { MOVE_THREADS } else { self.threads };
            let device = Device::new(number, threads, self.cx.clone());
            if stopping {
                device.begin_stop();
            }
            device
        };
        let devices = if moves { &mut devices.movers } else { &mut devices.by_number };
        devices.entry(number).or_insert_with(fresh).clone()
    }
}
