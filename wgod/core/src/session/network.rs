//! The network comes back: what sleeps is to tell its trackers where we are now.
use super::Session;
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// Of `ids` those that sleep are woken, one after the other as seeds are that start together.
    pub fn rouse(&mut self, now: Time, ids: impl IntoIterator<Item = TorrentId>) {
        for id in ids {
            let Some(row) = self.rows.get(&id).filter(|row| row.dormant && row.fault.is_none()) else {
                continue;
            };
            let due = row.deadline;
            let turn = self.next_turn(now);
            if due.is_none_or(|due| due > turn) {
                self.set_deadline(id, Some(turn));
            }
        }
    }
}
