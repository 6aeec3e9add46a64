//! Whose turn it is on a device: checks and moves read or write so much that two at once would make a disk
//! seek between them. One at a time on each device, first come first served; a move takes the device that it
//! reads from and the one that it writes to. A check gives its device on while what it found is being saved.
//! A device that hangs holds up no other.
use super::{Device, Effect, Phase, Row, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// Puts the torrent's work behind what waits for its devices.
    pub(super) fn enqueue(&mut self, id: TorrentId) {
        let Some(row) = self.rows.get(&id) else { return };
        for device in row.work_devices() {
            self.waiting.entry(device).or_default().push_back(id);
        }
    }

    /// The torrent waits no longer for anything; returns the devices that it waited for.
    pub(super) fn dequeue(&mut self, id: TorrentId) -> Vec<Device> {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.waits()) else { return Vec::new() };
        let devices: Vec<Device> = row.work_devices().collect();
        row.move_waits = false;
        if row.phase == Phase::CheckQueued {
            row.phase = Phase::Stopped;
        }
        for device in &devices {
            if let Some(waiting) = self.waiting.get_mut(device) {
                waiting.retain(|other| *other != id);
                if waiting.is_empty() {
                    self.waiting.remove(device);
                }
            }
        }
        devices
    }

    /// Begins the work that waits longest for a device, if nothing else it needs is busy or promised to work
    /// that waits longer.
    pub(super) fn next_work(&mut self, now: Time, device: Device) {
        let Some(&id) = self.waiting.get(&device).and_then(|waiting| waiting.front()) else { return };
        if !self.may_begin(id) {
            return;
        }
        let Some(row) = self.rows.get(&id) else { return };
        let (devices, is_check) =
            (row.work_devices().collect::<Vec<Device>>(), row.phase == Phase::CheckQueued);
        for device in devices {
            self.working.insert(device, id);
            if let Some(waiting) = self.waiting.get_mut(&device) {
                waiting.pop_front();
                if waiting.is_empty() {
                    self.waiting.remove(&device);
                }
            }
        }
        if is_check { self.begin_check(id) } else { self.begin_move(now, id) }
    }

    pub(super) fn next_works(&mut self, now: Time, devices: &[Device]) {
        devices.iter().for_each(|device| self.next_work(now, *device));
    }

    /// Whether work that waits has its turn on all of its devices.
    fn may_begin(&self, id: TorrentId) -> bool {
        let Some(row) = self.rows.get(&id) else { return false };
        row.work_devices().all(|device| {
            let first = self.waiting.get(&device).and_then(|waiting| waiting.front());
            !self.working.contains_key(&device) && first == Some(&id)
        })
    }

    /// Whether work of the torrent is under way; that of a check may need its device no longer.
    pub(super) fn is_working(&self, id: TorrentId) -> bool {
        self.rows.get(&id).is_some_and(|row| matches!(row.phase, Phase::Checking | Phase::Moving))
    }

    /// The torrent's work is no longer under way; returns the devices that are free now.
    pub(super) fn end_work(&mut self, id: TorrentId) -> Vec<Device> {
        let mine = self.working.iter().filter(|(_, other)| **other == id);
        let devices: Vec<Device> = mine.map(|(device, _)| *device).collect();
        self.working.retain(|_, other| *other != id);
        devices
    }

    fn begin_check(&mut self, id: TorrentId) {
        self.change(id, |row| row.phase = Phase::Checking);
        if let Some(row) = self.rows.get(&id) {
            self.effects.push_back(Effect::Check(id, row.needs));
        }
    }

    /// Asserts what must always hold of queues and work under way.
    pub(super) fn check_devices(&self) {
        for row in self.rows.values() {
            let holds_device = self.working.values().any(|id| *id == row.id);
            assert!(!holds_device || self.is_working(row.id), "{row:?}");
            assert!(holds_device || row.phase != Phase::Moving, "{row:?}");
            let waits = self.waiting.values().flatten().filter(|id| **id == row.id).count();
            let expected = if row.waits() { row.work_devices().count() } else { 0 };
            assert_eq!(expected, waits, "{row:?} {:?}", self.waiting);
            assert!(!row.waits() || !self.may_begin(row.id), "{row:?} waits for idle devices");
            assert!(!row.move_waits || row.move_to.is_some(), "{row:?}");
            assert!(!row.switched || row.move_to.is_some(), "{row:?}");
            assert!(!(row.move_waits && row.phase == Phase::CheckQueued), "{row:?}");
        }
        assert!(self.waiting.values().all(|waiting| !waiting.is_empty()), "{:?}", self.waiting);
        assert!(self.working.values().all(|id| self.rows.contains_key(id)), "{:?}", self.working);
    }
}

impl Row {
    /// The devices that its work takes: the next, or that under way.
    fn work_devices(&self) -> impl Iterator<Item = Device> + use<> {
        let moves = self.move_waits || self.phase == Phase::Moving;
        let other = self.move_to.filter(|to| moves && *to != self.device);
        std::iter::once(self.device).chain(other)
    }

    /// Whether it waits for its turn.
    fn waits(&self) -> bool {
        self.move_waits || self.phase == Phase::CheckQueued
    }
}
