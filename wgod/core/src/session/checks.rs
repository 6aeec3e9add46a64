//! Checks: what must be hashed before a torrent may exchange data, and whose turn it is. One at a time on
//! each device; paused and taken up again at will, by the shell, which knows how far each is.
use super::{Check, Device, Effect, Phase, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// Everything is to be hashed from the beginning, whether the torrent runs or not.
    pub fn verify(&mut self, now: Time, id: TorrentId) {
        if !self.rows.contains_key(&id) {
            return;
        }
        self.leave(id);
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.needs = Check::Full;
        row.check_asked = true;
        row.fault = None;
        let device = row.device;
        self.effects.push_back(Effect::ForgetCheck(id));
        self.effects.push_back(Effect::Save(id));
        self.enqueue_check(id);
        self.next_check(device);
        self.fill_queue(now);
    }

    /// A check ended: what it found is the torrent's state now.
    pub fn on_checked(&mut self, now: Time, id: TorrentId, finished: bool) {
        let Some(device) = self.end_check(id) else { return };
        self.change(id, |row| {
            row.phase = Phase::Stopped;
            row.needs = Check::None;
            row.check_asked = false;
            row.finished = finished;
        });
        self.effects.push_back(Effect::Save(id));
        self.proceed(now, id);
        self.next_check(device);
    }

    /// Somebody else changed the torrent's files: nothing is served before what changed is hashed. Of a
    /// torrent that is written to, the stored stamps can't tell what that is.
    pub fn on_changed(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get(&id).filter(|row| row.phase == Phase::Active) else { return };
        let sealed = row.finished && !row.completing;
        self.leave(id);
        self.set_deadline(id, None);
        if let Some(row) = self.rows.get_mut(&id) {
            row.needs = if sealed { Check::Suspects } else { Check::Full };
            row.fault = None;
            row.probes = 0;
        }
        if !sealed {
            // The stamps of its end take in the change.
            self.effects.push_back(Effect::ForgetCheck(id));
        }
        self.proceed(now, id);
        self.fill_queue(now);
    }

    pub(super) fn enqueue_check(&mut self, id: TorrentId) {
        self.change(id, |row| row.phase = Phase::CheckQueued);
        if let Some(row) = self.rows.get(&id) {
            self.checks.entry(row.device).or_default().push_back(id);
        }
    }

    /// Begins the check that waits longest for a device, if the device has none under way.
    pub(super) fn next_check(&mut self, device: Device) {
        if self.checking.contains_key(&device) {
            return;
        }
        let Some(waiting) = self.checks.get_mut(&device) else { return };
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.checks.remove(&device);
        }
        let Some(id) = next else { return };
        self.checking.insert(device, id);
        self.change(id, |row| row.phase = Phase::Checking);
        if let Some(row) = self.rows.get(&id) {
            self.effects.push_back(Effect::Check(id, row.needs));
        }
    }

    /// Whether the torrent is being hashed.
    pub(super) fn is_checking(&self, id: TorrentId) -> bool {
        self.rows.get(&id).is_some_and(|row| self.checking.get(&row.device) == Some(&id))
    }

    /// The torrent's check is no longer under way; returns the device that is free now.
    pub(super) fn end_check(&mut self, id: TorrentId) -> Option<Device> {
        let device = self.rows.get(&id)?.device;
        (self.checking.get(&device) == Some(&id)).then(|| self.checking.remove(&device))?;
        Some(device)
    }
}
