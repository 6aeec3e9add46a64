//! Where torrents stand in the line, and how they are moved in it.
use std::collections::BTreeSet;

use super::super::{Effect, Session, line};
use crate::piece_mgr::Priority;
use crate::time::Time;
use crate::units::TorrentId;

/// Where a torrent stands, as the store keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Orders torrents of the same priority. `None`: as they were added.
    pub key: Option<i64>,
    /// Ranks before everything else.
    pub priority: Priority,
    /// It runs outside of the queue.
    pub forced: bool,
}

/// Where torrents are to go in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Before all others.
    Top,
    /// Behind all others.
    Bottom,
    /// Before the one that each is behind now.
    Up,
    /// Behind the one that each is before now.
    Down,
    /// So many others are to be before them.
    To(usize),
}

impl Session {
    /// What the store is to keep of where a torrent stands.
    pub fn place(&self, id: TorrentId) -> Option<Place> {
        let row = self.rows.get(&id)?;
        let key = Some(row.queue_key).filter(|key| *key != line::key_of(id));
        Some(Place { key, priority: row.priority, forced: row.forced })
    }

    /// The key of a torrent that is about to be added, behind all others; `None`: it needs none.
    pub fn key_of_new(&self, id: TorrentId) -> Option<i64> {
        Some(self.queue.line.last_key(id)).filter(|key| *key != line::key_of(id))
    }

    /// How many torrents are before this one, whatever they do at present; `None` for one that runs
    /// outside of the queue.
    pub fn queue_position(&self, id: TorrentId) -> Option<usize> {
        let row = self.rows.get(&id).filter(|row| !row.forced)?;
        self.queue.line.position(row.queue_key, id)
    }

    /// Brings torrents, in this order, to another part of the line, which may change who runs. Returns those
    /// whose place the store has to keep: these, and seldom others that made room.
    pub fn reorder(&mut self, now: Time, ids: &[TorrentId], shift: Shift) -> BTreeSet<TorrentId> {
        let mut seen = BTreeSet::new();
        let ids: Vec<TorrentId> =
            ids.iter().copied().filter(|id| self.rows.contains_key(id) && seen.insert(*id)).collect();
        let changed = match shift {
            Shift::Top => self.put_all(&ids, 0),
            Shift::Bottom => self.put_all(&ids, usize::MAX),
            Shift::To(position) => self.put_all(&ids, position),
            Shift::Up => self.nudge(seen, true),
            Shift::Down => self.nudge(seen, false),
        };
        self.fill_queue(now);
        changed
    }

    fn put_all(&mut self, ids: &[TorrentId], at: usize) -> BTreeSet<TorrentId> {
        let mut changed = BTreeSet::new();
        for id in ids {
            if let Some(row) = self.rows.get(id) {
                self.queue.line.remove(row.queue_key, *id);
            }
        }
        let at = at.min(self.queue.line.len());
        for (behind, id) in ids.iter().enumerate() {
            let (key, moved) = self.queue.line.put(at + behind, *id);
            for (id, key) in moved.into_iter().chain([(*id, key)]) {
                self.change(id, |row| row.queue_key = key);
                self.effects.push_back(Effect::Save(id));
                changed.insert(id);
            }
        }
        changed
    }

    /// Moves each by one, those nearest to that end first; those that are there already stay, and so do
    /// those behind them.
    fn nudge(&mut self, ids: BTreeSet<TorrentId>, up: bool) -> BTreeSet<TorrentId> {
        let position = |id: &TorrentId| self.queue.line.position(self.rows.get(id)?.queue_key, *id);
        let mut places: Vec<usize> = ids.iter().filter_map(position).collect();
        places.sort_unstable();
        if !up {
            places.reverse();
        }
        let end = self.queue.line.len().saturating_sub(1);
        let mut changed = BTreeSet::new();
        for (order, place) in places.into_iter().enumerate() {
            let stays = if up { place <= order } else { place + order >= end };
            if let Some(id) = self.queue.line.at(place).filter(|_| !stays) {
                changed.append(&mut self.put_all(&[id], if up { place - 1 } else { place + 1 }));
            }
        }
        changed
    }
}
