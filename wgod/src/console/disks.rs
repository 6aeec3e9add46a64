//! The file systems that hold torrents, as `status` shows them.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::result::Disk;

use super::Console;
use crate::files::{DiskError, Done, Job, Space};

/// `status` waits so long for a file system's figures.
const DISK_PATIENCE: Duration = Duration::from_millis(500);
/// A disk operation that takes longer is shown as trouble.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(10);

impl Console {
    /// The file systems that hold torrents, with what is wrong with each. One that does not answer is shown
    /// without figures.
    pub(super) async fn disks(
        &self,
        mut folders: BTreeMap<u64, PathBuf>,
        troubles: &BTreeMap<u64, String>,
    ) -> Vec<Disk> {
        let engine = &self.inner.engine;
        let torrents = !folders.is_empty();
        if !torrents {
            let folder = self.inner.default_folder.clone();
            folders.insert(engine.storage.device_of(&folder), folder);
        }
        let devices = engine.storage.status();
        let mut disks = Vec::new();
        for (number, folder) in folders {
            let device = devices.iter().find(|device| device.device == number);
            let hung = device.and_then(|d| d.oldest).filter(|age| *age >= HUNG_AFTER);
            // One that hangs would only gather questions.
            let room = if hung.is_none() { self.free_space(number, &folder).await } else { None };
            let (space, failed) = match room {
                // Its own is not mounted: these are the figures of another.
                Some(Ok(space)) if torrents && space.device != number => {
                    (None, Some("gone: another disk is seen in its place; is it mounted?".to_owned()))
                }
                Some(Ok(space)) => (Some(space), None),
                Some(Err(error)) => (None, Some(format!("failing: {error}"))),
                None => (None, Some("hung: no answer".to_owned())),
            };
            disks.push(Disk {
                path: folder.display().to_string(),
                free_bytes: space.map(|space| space.free),
                size_bytes: space.map(|space| space.total),
                queue: device.map_or(0, |d| d.waiting as u32),
                error: hung
                    .map(|age| format!("hung: no answer for {} s", age.as_secs()))
                    .or(failed)
                    .or_else(|| troubles.get(&number).cloned()),
            });
        }
        disks
    }

    /// `None` when the disk does not answer.
    async fn free_space(&self, device: u64, folder: &std::path::Path) -> Option<Result<Space, DiskError>> {
        let (sender, answer) = oneshot::channel();
        let done = Done::new(move |room: Result<Space, DiskError>| drop(sender.send(room)));
        self.inner.engine.storage.submit_now(Job::FreeSpace { device, folder: folder.to_owned(), done });
        tokio::time::timeout(DISK_PATIENCE, answer).await.ok()?.ok()
    }
}
