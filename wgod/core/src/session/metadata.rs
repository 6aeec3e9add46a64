//! Metadata (BEP 9): a torrent of which only the info-hash is known runs, if it may, to fetch what it consists of.
use super::{Check, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// The metadata of a torrent is known. `ready`: its Swarm goes on with it, since nothing of it is on the disk; the
    /// files can be written to. Else it begins as a new torrent does, with the check that it `needs`.
    pub fn on_metadata(&mut self, now: Time, id: TorrentId, needs: Check, ready: bool) {
        let Some(row) = self.rows.get(&id).filter(|row| !row.known) else { return };
        if ready && row.live && row.fault.is_none() {
            self.change(id, |row| row.known = true);
            return self.set_deadline(id, self.next_care(now, id));
        }
        let has_fault = row.fault.is_some();
        self.leave(now, id);
        if !has_fault {
            self.set_deadline(id, None);
        }
        self.change(id, |row| {
            row.known = true;
            row.needs = needs;
        });
        self.proceed(now, id);
        self.fill_queue(now);
    }
}
