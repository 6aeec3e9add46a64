//! Moves: a torrent's files are brought to another folder, when the devices have time. Until its turn comes
//! it goes on; from then until the end it has no Swarm. The shell knows both places and how far it is.
//!
//! A move has two halves. Before the switch the old place is the torrent's, and the move can be called off;
//! afterwards the new place is, and what is left to do must be done before the files are touched.
use super::{Check, Device, Effect, Fault, Phase, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// The torrent's files are to go to a folder on this device, whether it runs or not.
    pub fn move_to(&mut self, now: Time, id: TorrentId, device: Device) {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.move_to.is_none()) else { return };
        row.move_to = Some(device);
        let active = row.phase == Phase::Active;
        if active && row.needs == Check::None {
            self.enqueue_move(now, id);
        } else {
            self.proceed(now, id);
        }
    }

    /// The torrent's files are to stay where they are. Of a move under way the shell tells the end with
    /// [`on_unmoved`](Self::on_unmoved). One that has switched goes on.
    pub fn cancel_move(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get(&id).filter(|r| r.move_to.is_some() && !r.switched) else { return };
        let under_way = row.phase == Phase::Moving;
        self.effects.push_back(Effect::CancelMove(id));
        if !under_way {
            self.on_unmoved(now, id);
        }
    }

    /// The files are whole in the new place, which is the torrent's from now on.
    pub fn on_switched(&mut self, id: TorrentId) {
        let Some(row) = self.rows.get_mut(&id).filter(|row| !row.switched) else { return };
        let Some(to) = row.move_to else { return };
        row.switched = true;
        row.move_to = Some(std::mem::replace(&mut row.device, to));
    }

    /// Nothing is left to do of the torrent's move.
    pub fn on_moved(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_some_and(|row| row.switched) {
            self.end_move(now, id);
        }
    }

    /// The torrent's move was given up or called off, and nothing is left of it.
    pub fn on_unmoved(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_some_and(|row| row.move_to.is_some() && !row.switched) {
            self.end_move(now, id);
        }
    }

    /// Something stands in the way of the move. It is tried again by itself, until it is called off.
    pub fn on_move_fault(&mut self, now: Time, id: TorrentId, fault: Fault) {
        if self.rows.get(&id).is_none_or(|row| row.phase != Phase::Moving) {
            return;
        }
        let freed = self.end_work(id);
        self.change(id, |row| row.phase = Phase::Stopped);
        self.impede(now, id, fault);
        self.next_works(now, &freed);
        self.fill_queue(now);
    }

    fn end_move(&mut self, now: Time, id: TorrentId) {
        let waited = self.dequeue(id);
        let freed = self.end_work(id);
        let was_moving = !freed.is_empty();
        self.change(id, |row| {
            row.move_to = None;
            row.switched = false;
            if was_moving {
                row.phase = Phase::Stopped;
            }
        });
        // What stands in the way of one that is still was in the way of the move.
        if let Some(row) = self.rows.get_mut(&id)
            && row.phase == Phase::Stopped
        {
            row.fault = None;
            self.set_deadline(id, None);
        }
        self.effects.push_back(Effect::Save(id));
        self.proceed(now, id);
        self.next_works(now, &waited);
        self.next_works(now, &freed);
    }

    /// Waits for its turn, which may be now.
    pub(super) fn enqueue_move(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get_mut(&id).filter(|row| !row.move_waits) else { return };
        row.move_waits = true;
        let device = row.device;
        self.enqueue(id);
        self.next_work(now, device);
    }

    /// Its turn has come.
    pub(super) fn begin_move(&mut self, now: Time, id: TorrentId) {
        let was_active = self.rows.get(&id).is_some_and(|row| row.phase == Phase::Active);
        self.change(id, |row| {
            row.phase = Phase::Moving;
            row.move_waits = false;
            row.rest();
            row.fault = None;
            row.probes = 0;
        });
        self.set_deadline(id, None);
        if was_active {
            self.effects.push_back(Effect::Halt(id));
        }
        self.effects.push_back(Effect::Move(id));
        self.fill_queue(now);
    }
}
