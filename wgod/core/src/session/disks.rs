//! What becomes known of the disks under torrents: which device holds one, that it came back as another,
//! that what stood in a torrent's way may be gone, what stood there when the daemon ended.
use super::{Check, Device, Effect, Fault, FaultKind, Phase, Row, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// The torrent's files are on this device, whatever was thought before. A check that waits does so for
    /// this one from now on.
    pub fn on_device(&mut self, now: Time, id: TorrentId, device: Device) {
        // The devices that work is counted for stay the same until it ends, and a move knows its own.
        let moot = |row: &Row| row.device == device || row.move_to.is_some() || self.is_working(id);
        let Some(row) = self.rows.get(&id).filter(|row| !moot(row)) else { return };
        let waits = row.phase == Phase::CheckQueued;
        let freed = self.dequeue(id);
        if let Some(row) = self.rows.get_mut(&id) {
            row.device = device;
        }
        if waits {
            self.enqueue_check(now, id);
        }
        self.next_works(now, &freed);
    }

    /// The torrent's files are in another place than they were opened in, as after a disk came back: they
    /// are opened anew, and what the last checkpoint doesn't vouch for is hashed.
    pub fn on_remounted(&mut self, now: Time, id: TorrentId, device: Device) {
        if self.rows.get(&id).is_none_or(|row| row.phase != Phase::Active) {
            return;
        }
        self.leave(now, id);
        self.set_deadline(id, None);
        self.on_device(now, id, device);
        self.set_fault(id, None);
        if let Some(row) = self.rows.get_mut(&id)
            && row.needs == Check::None
        {
            row.needs = Check::Suspects;
        }
        self.proceed(now, id);
        self.fill_queue(now);
    }

    /// A torrent that was halted has pieces of which nobody knows whether they are on disk: that is found
    /// out before it runs again.
    pub fn on_doubt(&mut self, id: TorrentId) {
        let is_still = |phase| matches!(phase, Phase::Stopped | Phase::Moving);
        let still = |row: &&mut Row| is_still(row.phase) && row.needs == Check::None;
        if let Some(row) = self.rows.get_mut(&id).filter(still) {
            row.needs = Check::Suspects;
        }
    }

    /// A torrent that was halted has all it wants, and that could not be stored: the end of a check does that before it
    /// runs again. One that was started again meanwhile gets a checkpoint, as if it had just finished.
    pub fn on_unended(&mut self, id: TorrentId) {
        if self.rows.get(&id).is_some_and(|row| row.live && row.finished) {
            self.change(id, |row| row.completing = true);
            return self.checkpoint(id);
        }
        self.on_doubt(id);
    }

    /// Something about the torrent's disk changed: whether anything stands in its way is seen now, without
    /// waiting for the next probe.
    pub fn try_again(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get(&id) else { return };
        let broken = row.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Broken);
        if broken || !(row.started || row.check_asked) {
            return;
        }
        if row.phase == Phase::Active {
            if row.fault.is_some() {
                // What this probe says counts, as when its time had come.
                self.set_deadline(id, None);
            }
            self.effects.push_back(Effect::Probe(id));
        } else if row.fault.is_some() {
            self.set_deadline(id, None);
            self.set_fault(id, None);
            self.proceed(now, id);
        }
    }

    /// What stood in the torrent's way when the daemon ended: shown until it is known whether it still does.
    pub fn recall_fault(&mut self, id: TorrentId, fault: Fault) {
        if let Some(row) = self.rows.get_mut(&id).filter(|row| row.started || row.check_asked) {
            row.past_fault = Some(Box::new(fault));
        }
    }

    /// The one way to change what stands in a torrent's way: what is known of it from before is over, and
    /// the store hears of it.
    pub(super) fn set_fault(&mut self, id: TorrentId, fault: Option<Fault>) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let past = row.past_fault.take();
        let before = std::mem::replace(&mut row.fault, fault.map(Box::new));
        if row.fault != before.or(past) {
            self.effects.push_back(Effect::Save(id));
        }
    }
}
