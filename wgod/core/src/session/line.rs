//! The line in which torrents stand, whatever they do at present: who is before whom, and who is how far
//! from its head.
//!
//! A torrent's place is a key that it keeps for good, so that moving one changes no other's and a restart
//! changes none. What people see is how many stand before it.
use std::collections::BTreeSet;

use crate::units::TorrentId;

/// Between the keys of two torrents that were added one after the other: room for more than thirty to be put
/// at the same spot, each at half of what is left, before any other key has to change.
const SPACING: i64 = 1 << 32;
/// Between the keys of those that have to make room: dozens fit between two of the others.
const STEP: i64 = SPACING >> 6;
/// Keys of the store are taken for so much at most, so that there is always room before and behind.
const MAX_KEY: i64 = 1 << 62;

/// The key of a torrent that nobody ever moved.
pub(super) fn key_of(id: TorrentId) -> i64 {
    within(i64::try_from(id.0).unwrap_or(i64::MAX).saturating_mul(SPACING))
}

/// A key that leaves room.
pub(super) fn within(key: i64) -> i64 {
    key.clamp(-MAX_KEY, MAX_KEY)
}

/// Every torrent, in order.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Sorted. Torrents are nearly always added at the end; elsewhere it costs moving 16 bytes for each
    /// torrent behind, far less than their rows take to look at once.
    places: Vec<(i64, TorrentId)>,
    /// From here on torrents may be in other places than when that was last asked.
    shifted: Option<usize>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Who stands at a position.
    pub(super) fn at(&self, position: usize) -> Option<TorrentId> {
        self.places.get(position).map(|(_, id)| *id)
    }

    /// Where a torrent stands, from 0.
    pub(super) fn position(&self, key: i64, id: TorrentId) -> Option<usize> {
        self.places.binary_search(&(key, id)).ok()
    }

    pub(super) fn insert(&mut self, key: i64, id: TorrentId) {
        if let Err(at) = self.places.binary_search(&(key, id)) {
            self.places.insert(at, (key, id));
            self.note(at);
        }
    }

    /// Takes a torrent out, and says where it stood.
    pub(super) fn remove(&mut self, key: i64, id: TorrentId) -> Option<usize> {
        let at = self.position(key, id)?;
        self.places.remove(at);
        self.note(at);
        Some(at)
    }

    /// A key behind all others, for a torrent that is new.
    pub(super) fn last_key(&self, id: TorrentId) -> i64 {
        match self.places.last() {
            Some(&(last, _)) if last >= key_of(id) => last.saturating_add(SPACING),
            _ => key_of(id),
        }
    }

    /// Puts a torrent that is not in the line at a position. Returns its key, and those torrents that got
    /// another key to make room, with it: nearly always none.
    pub(super) fn put(&mut self, at: usize, id: TorrentId) -> (i64, Vec<(TorrentId, i64)>) {
        let at = at.min(self.places.len());
        let before = at.checked_sub(1).map(|before| self.places[before].0);
        let after = self.places.get(at).map(|(key, _)| *key);
        let key = match (before, after) {
            (None, None) => key_of(id),
            (None, Some(after)) => after.saturating_sub(SPACING),
            (Some(before), None) => before.saturating_add(SPACING),
            (Some(before), Some(after)) => before.midpoint(after),
        };
        let fits = before.is_none_or(|before| before < key) && after.is_none_or(|after| key < after);
        let key = if fits { key } else { before.map_or(key, |before| before.saturating_add(STEP)) };
        self.places.insert(at, (key, id));
        self.note(at);
        let (mut least, mut moved) = (key, Vec::new());
        for place in &mut self.places[at + 1..] {
            if place.0 > least {
                break;
            }
            least = least.saturating_add(STEP);
            place.0 = least;
            moved.push((place.1, least));
        }
        (key, moved)
    }

    /// Torrents that may stand elsewhere than when this was last asked.
    pub(super) fn take_shifted(&mut self) -> BTreeSet<TorrentId> {
        let from = self.shifted.take().unwrap_or(self.places.len());
        self.places.get(from..).unwrap_or_default().iter().map(|(_, id)| *id).collect()
    }

    fn note(&mut self, at: usize) {
        self.shifted = Some(self.shifted.map_or(at, |first| first.min(at)));
    }

    /// Asserts that the order is what the keys say.
    pub(super) fn check_invariants(&self) {
        assert!(self.places.is_sorted(), "{:?}", self.places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(ids: &[u64]) -> Line {
        let mut line = Line::default();
        ids.iter().for_each(|id| line.insert(key_of(TorrentId(*id)), TorrentId(*id)));
        line
    }

    fn ids(line: &Line) -> Vec<u64> {
        line.places.iter().map(|(_, id)| id.0).collect()
    }

    #[test]
    fn new_torrents_go_to_the_end_even_behind_one_that_was_sent_there() {
        let mut line = line(&[1, 2, 3]);
        line.remove(key_of(TorrentId(1)), TorrentId(1));
        let (key, moved) = line.put(2, TorrentId(1));
        assert!(moved.is_empty());
        assert_eq!(ids(&line), [2, 3, 1]);
        let key_of_new = line.last_key(TorrentId(4));
        assert!(key_of_new > key);
        line.insert(key_of_new, TorrentId(4));
        assert_eq!(ids(&line), [2, 3, 1, 4]);
        assert_eq!(line.position(key, TorrentId(1)), Some(2));
    }

    #[test]
    fn those_behind_a_change_are_told_of_once() {
        let mut line = line(&[1, 2, 3, 4]);
        assert_eq!(line.take_shifted().len(), 4);
        assert!(line.take_shifted().is_empty());
        line.remove(key_of(TorrentId(2)), TorrentId(2));
        line.remove(key_of(TorrentId(4)), TorrentId(4));
        assert_eq!(line.take_shifted().into_iter().collect::<Vec<_>>(), [TorrentId(3)]);
    }

    proptest! {
        #[test]
        fn a_torrent_stands_where_it_was_put_and_the_others_keep_their_order(
            moves in prop::collection::vec((0usize..6, 0usize..6), 1..200)
        ) {
            let mut line = line(&[1, 2, 3, 4, 5, 6]);
            let mut model: Vec<u64> = (1..=6).collect();
            let mut keys: Vec<i64> = (0..=6).map(|id| key_of(TorrentId(id))).collect();
            for (from, to) in moves {
                let id = model.remove(from);
                model.insert(to, id);
                prop_assert_eq!(line.remove(keys[id as usize], TorrentId(id)), Some(from));
                let (key, moved) = line.put(to, TorrentId(id));
                keys[id as usize] = key;
                moved.into_iter().for_each(|(other, key)| keys[other.0 as usize] = key);
                line.check_invariants();
                prop_assert_eq!(ids(&line), model.clone());
                for (at, id) in model.iter().enumerate() {
                    prop_assert_eq!(line.position(keys[*id as usize], TorrentId(*id)), Some(at));
                }
            }
        }

        #[test]
        fn putting_all_at_the_same_spot_moves_few(spot in 1usize..5, ids in 100u64..300) {
            let mut line = line(&[1, 2, 3, 4, 5, 6]);
            let mut moved = 0;
            for id in 100..=ids {
                moved += line.put(spot, TorrentId(id)).1.len();
                line.check_invariants();
                prop_assert_eq!(line.places[spot].1, TorrentId(id));
            }
            prop_assert!(moved as u64 <= (ids - 99) * 20, "{moved}");
        }
    }
}
