//! What is wanted of a torrent changes in a way that concerns its files: it has no Swarm for a moment. The
//! shell does the work in the torrent's turn, before whatever comes after it.
use super::{Check, Effect, Phase, Session};
use crate::time::Time;
use crate::units::TorrentId;

impl Session {
    /// Other files of the torrent are wanted: what it does is interrupted for that and goes on at once.
    /// `false`, and nothing happens, while it is being moved or when there is no such torrent.
    pub fn select(&mut self, now: Time, id: TorrentId) -> bool {
        let Some(row) = self.rows.get(&id).filter(|row| row.phase != Phase::Moving) else { return false };
        // With a fault its deadline is that of the next try, and stays.
        let has_fault = row.fault.is_some();
        self.leave(now, id);
        if !has_fault {
            self.set_deadline(id, None);
        }
        self.effects.push_back(Effect::Select(id));
        self.proceed(now, id);
        self.fill_queue(now);
        true
    }

    /// Other files are wanted now; `finished`: all of that is stored. `doubt`: some of it has to be hashed
    /// before it counts.
    pub fn on_selected(&mut self, now: Time, id: TorrentId, finished: bool, doubt: bool) {
        let Some(row) = self.rows.get(&id) else { return };
        let news = finished && !row.finished && !doubt;
        if row.finished != finished {
            self.settle(now, id, finished);
        }
        if news {
            self.effects.push_back(Effect::Completed(id));
        }
        if doubt {
            self.leave(now, id);
            if let Some(row) = self.rows.get_mut(&id).filter(|row| row.needs == Check::None) {
                row.needs = Check::Suspects;
            }
            self.proceed(now, id);
            self.fill_queue(now);
        }
    }
}
