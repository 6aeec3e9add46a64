//! Renames: a torrent's files get other names on disk, for which it has no Swarm for a moment. The shell knows
//! the names, and does the work in the torrent's turn, before whatever comes after it.
use super::{Effect, Phase, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// Files of the torrent are to be renamed: what it does is interrupted for that and goes on at once.
    /// `false`, and nothing happens, while it is being moved or when there is no such torrent.
    pub fn rename(&mut self, now: Time, id: TorrentId) -> bool {
        let Some(row) = self.rows.get(&id).filter(|row| row.phase != Phase::Moving) else { return false };
        // With a fault its deadline is that of the next try, and stays.
        let has_fault = row.fault.is_some();
        self.leave(now, id);
        if !has_fault {
            self.set_deadline(id, None);
        }
        self.effects.push_back(Effect::Rename(id));
        self.proceed(now, id);
        self.fill_queue(now);
        true
    }
}
