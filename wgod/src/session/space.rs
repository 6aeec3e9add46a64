//! The disks that torrents are on, watched while it matters: the room on those that downloads write to, and
//! which file systems are mounted.
//!
//! A disk has one question under way at most, so one that hangs gathers none. Where too little is free, all
//! downloads of that disk wait, and only they: uploading goes on. What changes is told to the session at
//! once, which otherwise looks again only now and then.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_core::session::{Fault, FaultKind, Room};

use super::{Driver, Event, fault};
use crate::files::{DiskError, DiskErrorKind, Done, Job, Mounts, Space};

/// Between two looks: so far below the least room may a quick download come.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(3);

/// What is known of the disks.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// Those with downloads or with trouble, by number; bounded by the machine's file systems.
    known: BTreeMap<u64, Disk>,
    mounts: Option<Mounts>,
}

#[derive(Debug, Default)]
struct Disk {
    room: Room,
    /// A question is under way.
    asked: bool,
    /// A write was refused since the last question.
    refused: bool,
    /// What is free, by the last answer.
    space: Option<Space>,
    /// Why it gives no answer, or what last failed on it.
    failure: Option<String>,
}

impl Disks {
    /// Whether the device had room when that was last seen.
    pub(super) fn room(&self, device: u64) -> Room {
        self.known.get(&device).map(|disk| disk.room).unwrap_or_default()
    }

    /// What is wrong with each disk that has trouble, for people. `min_free_space` as configured.
    pub(super) fn troubles(&self, min_free_space: u64) -> BTreeMap<u64, String> {
        let trouble = |disk: &Disk| match (&disk.failure, disk.space) {
            (Some(failure), _) => Some(format!("failing: {failure}")),
            (None, Some(space)) if disk.room.is_low() => {
                Some(fault::room_text(space, disk.room, min_free_space))
            }
            _ => None,
        };
        self.known.iter().filter_map(|(device, disk)| Some((*device, trouble(disk)?))).collect()
    }
}

impl Driver {
    /// The clock's part: asks the disks that downloads write to, and sees what was mounted and unmounted.
    pub(super) fn watch_disks(&mut self) {
        self.watch_mounts();
        self.forget_again();
        self.save_again();
        self.watch_arrivals();
        let folders = self.downloads();
        self.disks.known.retain(|device, disk| disk.asked || folders.contains_key(device));
        for (device, folder) in folders {
            self.ask_room(device, folder);
        }
    }

    /// The devices of torrents that download, with a folder on each.
    fn downloads(&self) -> BTreeMap<u64, PathBuf> {
        let mut folders = BTreeMap::new();
        for id in self.session.live() {
            let (Some(row), Some(entry)) = (self.session.row(id), self.entries.get(&id)) else { continue };
            if !row.finished {
                folders.entry(row.device).or_insert_with(|| entry.settings.folder.clone());
            }
        }
        folders
    }

    fn ask_room(&mut self, device: u64, folder: PathBuf) {
        let disk = self.disks.known.entry(device).or_default();
        if std::mem::replace(&mut disk.asked, true) {
            return;
        }
        let engine = self.engine.clone();
        let done = Done::new(move |room| engine.tell(Event::Room(device, room)));
        self.engine.storage.submit_now(Job::FreeSpace { device, folder, done });
    }

    /// A disk said what is free.
    pub(super) fn on_room(&mut self, device: u64, answer: Result<Space, DiskError>) {
        let min = self.tunables.min_free_space;
        let Some(disk) = self.disks.known.get_mut(&device) else { return };
        disk.asked = false;
        let space = match answer {
            Ok(space) => space,
            Err(error) => {
                // Its torrents find what that means for them.
                disk.failure = (error.kind == DiskErrorKind::Io).then(|| error.to_string());
                return;
            }
        };
        let was_low = disk.room.is_low();
        disk.room.update(space.free, space.total, min, std::mem::take(&mut disk.refused));
        disk.space = Some(space);
        let room = disk.room;
        match (was_low, room.is_low()) {
            (false, true) => self.hold_downloads(device, space, room),
            (true, false) => {
                tracing::info!(free = space.free, "a disk has room again");
                self.try_again(|driver, id| driver.is_full(id, device));
            }
            _ => {}
        }
    }

    /// All downloads of the device wait.
    fn hold_downloads(&mut self, device: u64, space: Space, room: Room) {
        let downloads = self.session.live().filter_map(|id| self.session.row(id));
        let on_it = downloads.filter(|row| !row.finished && row.device == device && row.fault.is_none());
        let ids: Vec<TorrentId> = on_it.map(|row| row.id).collect();
        for id in ids {
            let Some(entry) = self.entries.get(&id) else { continue };
            let fault = fault::of_room(&entry.settings.folder, space, room, self.tunables.min_free_space);
            self.fault(id, fault);
        }
    }

    fn is_full(&self, id: TorrentId, device: u64) -> bool {
        let row = self.session.row(id).filter(|row| row.device == device);
        row.is_some_and(|row| row.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::DiskFull))
    }

    /// A torrent's files could not be read or written.
    pub(super) fn disk_failed(&mut self, id: TorrentId, error: &DiskError, fault: Fault) {
        let place = self.session.row(id).map(|row| row.device);
        if let (Some(device), Some(entry)) = (place, self.entries.get(&id)) {
            let folder = entry.settings.folder.clone();
            match error.kind {
                DiskErrorKind::Full => {
                    self.disks.known.entry(device).or_default().refused = true;
                    self.ask_room(device, folder);
                }
                DiskErrorKind::Io => {
                    self.disks.known.entry(device).or_default().failure = Some(error.to_string());
                }
                _ => {}
            }
        }
        self.fault(id, fault);
    }

    /// A torrent of the device is well again.
    pub(super) fn disk_works(&mut self, device: u64) {
        if let Some(disk) = self.disks.known.get_mut(&device) {
            disk.failure = None;
        }
    }

    /// The least room changed.
    pub(super) fn ask_all_rooms(&mut self) {
        for (device, folder) in self.downloads() {
            self.ask_room(device, folder);
        }
    }

    /// Torrents whose file system was mounted or unmounted are looked at now.
    fn watch_mounts(&mut self) {
        if self.entries.values().next().is_none() {
            return;
        }
        let now = self.engine.storage.mounts();
        let before = self.disks.mounts.replace(now.clone()).unwrap_or_else(|| now.clone());
        if now == before {
            // A mount that came and went between two looks.
            return self.miss_mounts(&now);
        }
        let differs = |point: &Path| now.on(point) != before.on(point);
        self.arrivals.hurry(self.engine.clock.now());
        for entry in self.entries.values() {
            let folder = &entry.settings.folder;
            let found = now.holding(folder).filter(|mount| before.holding(folder) != Some(mount));
            if let Some(mount) = found {
                self.session.on_device(self.engine.clock.now(), entry.id, mount.device);
            }
        }
        self.try_again(|driver, id| {
            let Some(entry) = driver.entries.get(&id) else { return false };
            let folder = &entry.settings.folder;
            entry.mount.as_deref().is_some_and(differs) || now.holding(folder) != before.holding(folder)
        });
    }

    /// Live torrents that don't know yet that their file system isn't mounted.
    fn miss_mounts(&mut self, now: &Mounts) {
        let ids: Vec<TorrentId> = self.session.live().collect();
        for id in ids {
            let well = self.session.row(id).is_some_and(|row| row.fault.is_none());
            let mount = self.entries.get(&id).and_then(|entry| entry.mount.as_deref());
            if well && mount.is_some_and(|point| now.lacks(point)) {
                self.session.try_again(self.engine.clock.now(), id);
            }
        }
    }

    fn try_again(&mut self, which: impl Fn(&Driver, TorrentId) -> bool) {
        let ids: Vec<TorrentId> = self.entries.ids().into_iter().filter(|id| which(self, *id)).collect();
        for id in ids {
            self.session.try_again(self.engine.clock.now(), id);
        }
    }
}
