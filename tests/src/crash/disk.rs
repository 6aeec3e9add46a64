//! A disk that loses at a power cut what was not synced: all of it in memory, mounted by FUSE.
//!
//! `Tree` keeps each file and folder twice: as the running system sees it, and as it is on the
//! platter. `fsync` of a file brings over its content, of a folder its entries; [`Disk::cut`] lets a seeded part of
//! everything else arrive, down to single sectors, and drops the rest. What POSIX promises nothing about isn't
//! promised here: a synced file without a synced entry is gone, and the kernel hands no `syncfs` to a FUSE disk.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};

mod cut;
mod fuse;
mod tree;

use tree::Tree;

pub use cut::Survival;
pub use tree::Faults;

/// A disk, mounted or not. Unmounted when it is dropped.
#[derive(Debug)]
pub struct Disk {
    tree: Arc<Mutex<Tree>>,
    at: PathBuf,
    mounted: Option<BackgroundSession>,
}

impl Disk {
    /// An empty disk, mounted at `at`, a folder that exists.
    ///
    /// # Errors
    /// What the system says when FUSE can't be mounted.
    pub fn mount(at: &Path) -> io::Result<Disk> {
        let mut disk = Disk { tree: Arc::default(), at: at.to_owned(), mounted: None };
        disk.attach()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    fn attach(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("wgod-power-cuts".into())];
        self.mounted = Some(fuser::spawn_mount(fuse::Mounted(self.tree.clone()), &self.at, &config)?);
        Ok(())
    }

    /// The power fails and comes back. Whoever used the disk must have ended.
    pub fn cut(&mut self, seed: u64) -> Survival {
        let mut dice = fastrand::Rng::with_seed(seed);
        let survival = Survival::choose(&mut dice);
        self.fall_back(survival, &mut dice);
        survival
    }

    /// The power fails and comes back, and nothing is there but what was synced.
    pub fn lose(&mut self) {
        self.fall_back(Survival::Nothing, &mut fastrand::Rng::with_seed(0));
    }

    fn fall_back(&mut self, survival: Survival, dice: &mut fastrand::Rng) {
        if let Some(mounted) = self.mounted.take() {
            match mounted.umount_and_join() {
                // The kernel's word for a request that it was about to hand over when the disk went: what the dead
                // daemon had open is being closed.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                other => other.unwrap(),
            }
        }
        self.tree().cut(survival, dice);
        self.attach().unwrap();
    }

    /// What fails from now on.
    pub fn fail(&self, faults: Faults) {
        self.tree().faults = faults;
    }

    /// How long a sync takes from now on, for each byte.
    pub fn slow(&self, pace: Duration) {
        self.tree().sync_pace = pace;
    }

    /// Operations that failed on purpose so far.
    pub fn failures(&self) -> u64 {
        self.tree().failures
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            // Unmounted in any case; that somebody still holds it open is no second failure.
            let _ = mounted.umount_and_join();
        }
    }
}
