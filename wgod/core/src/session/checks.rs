//! Checks: what must be hashed before a torrent may exchange data, and whose turn it is. Paused and taken up again at will, by the shell, which knows how far each is.
use super::{Check, Effect, Phase, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// Everything is to be hashed from the beginning, whether the torrent runs or not; after its move, if that
    /// is under way.
    pub fn verify(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get(&id) else { return };
        if row.phase != Phase::Moving {
            self.leave(now, id);
        }
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.needs = Check::Full;
        row.check_asked = true;
        row.fault = None;
        row.past_fault = None;
        self.effects.push_back(Effect::ForgetCheck(id));
        self.effects.push_back(Effect::Save(id));
        self.proceed(now, id);
        self.fill_queue(now);
    }

    /// A check has looked at all that it has to: the next one gets its device while what it found is being
    /// saved. [`on_checked`](Self::on_checked) follows.
    pub fn on_hashed(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_some_and(|row| row.phase == Phase::Checking) {
            let freed = self.end_work(id);
            self.next_works(now, &freed);
        }
    }

    /// A check ended: what it found is the torrent's state now.
    pub fn on_checked(&mut self, now: Time, id: TorrentId, finished: bool) {
        if self.rows.get(&id).is_none_or(|row| row.phase != Phase::Checking) {
            return;
        }
        let freed = self.end_work(id);
        self.change(id, |row| {
            row.phase = Phase::Stopped;
            row.needs = Check::None;
            row.check_asked = false;
            row.finished = finished;
        });
        self.effects.push_back(Effect::Save(id));
        self.proceed(now, id);
        self.next_works(now, &freed);
    }

    /// Somebody else changed the torrent's files: nothing is served before what changed is hashed. Of a
    /// torrent that is written to, the stored stamps can't tell what that is.
    pub fn on_changed(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get(&id).filter(|row| row.phase == Phase::Active) else { return };
        let sealed = row.finished && !row.completing;
        self.leave(now, id);
        self.set_deadline(id, None);
        self.set_fault(id, None);
        if let Some(row) = self.rows.get_mut(&id) {
            row.needs = if sealed { Check::Suspects } else { Check::Full };
            row.probes = 0;
        }
        if !sealed {
            // The stamps of its end take in the change.
            self.effects.push_back(Effect::ForgetCheck(id));
        }
        self.proceed(now, id);
        self.fill_queue(now);
    }

    /// Waits for its turn, which may be now.
    pub(super) fn enqueue_check(&mut self, now: Time, id: TorrentId) {
        self.change(id, |row| row.phase = Phase::CheckQueued);
        self.enqueue(id);
        if let Some(device) = self.rows.get(&id).map(|row| row.device) {
            self.next_work(now, device);
        }
    }
}
