//! The rarest pieces of a set, in order: all that rarest-first ever looks at.
use std::collections::{BTreeMap, BTreeSet};

use wgo_proto::Bitfield;

use super::availability::Availability;

/// Pieces that a front is built with: enough that building, which looks at every piece (0.1 ms for
/// 100,000), comes once in a thousand pieces.
const LEN: u32 = 1024;
/// Counters that the histogram is spread over, as neighbours mostly are of one level and would wait
/// for each other.
const LANES: usize = 4;

/// Every piece of the set below a level, and some of that level. A piece's level is how many peers have
/// it, seeds and peers not seen yet left out.
#[derive(Default)]
pub(super) struct Front {
    order: BTreeSet<(u16, u32)>,
    level_of: BTreeMap<u32, u16>,
    limit: u16,
}

impl Front {
    /// Picks the rarest pieces out of `set`; those of the last level from a place that `spin` gives, so
    /// that not every client begins with the same ones.
    pub(super) fn build(set: &Bitfield, availability: &Availability, spin: u32) -> Front {
        let all = set.count() <= LEN;
        let (limit, below) = if all { (u16::MAX, 0) } else { limit(set, availability) };
        let mut quota = LEN.saturating_sub(below);
        let mut found = Vec::with_capacity(LEN as usize);
        let words = set.words().len();
        let start = spin as usize % words.max(1);
        for at in (start..words).chain(0..start) {
            availability.each_of(set, at, |piece, level| {
                let fits = all || level < limit || level == limit && quota > 0;
                if fits {
                    quota -= u32::from(!all && level == limit);
                    found.push((level, piece));
                }
            });
        }
        let level_of = found.iter().map(|&(level, piece)| (piece, level)).collect();
        Front { order: found.into_iter().collect(), level_of, limit }
    }

    /// Whether pieces that aren't in here may be rarer than those that are.
    pub(super) fn is_outdated(&self, set: &Bitfield) -> bool {
        let partial = self.order.len() < set.count() as usize;
        partial && self.order.first().is_none_or(|&(level, _)| level > self.limit)
    }

    /// A piece became one of the set.
    pub(super) fn insert(&mut self, piece: u32, level: u16) {
        if level <= self.limit {
            self.order.insert((level, piece));
            self.level_of.insert(piece, level);
        }
    }

    /// A piece is no more one of the set.
    pub(super) fn remove(&mut self, piece: u32) {
        if let Some(level) = self.level_of.remove(&piece) {
            self.order.remove(&(level, piece));
        }
    }

    /// A piece of the set is had by one peer more or less than before.
    pub(super) fn shift(&mut self, piece: u32, (from, to): (u16, u16)) {
        let Some(level) = self.level_of.get_mut(&piece) else { return self.insert(piece, to) };
        self.order.remove(&(*level, piece));
        // One up or down, as unseen peers may have parted the level from the count.
        *level = if to > from { level.saturating_add(1) } else { level.saturating_sub(1) };
        self.order.insert((*level, piece));
    }

    /// The pieces, the rarest first, those of a level from `any` piece on.
    pub(super) fn iter_from(&self, any: u32) -> impl Iterator<Item = u32> + '_ {
        let mut level = self.order.first().map(|&(level, _)| level);
        let levels = std::iter::from_fn(move || {
            let this = level?;
            let above = this.checked_add(1).and_then(|above| self.order.range((above, 0)..).next());
            level = above.map(|&(level, _)| level);
            Some(this)
        });
        let of_level = move |level| {
            let (from, to) = ((level, any), (level, u32::MAX));
            self.order.range(from..=to).chain(self.order.range((level, 0)..from))
        };
        levels.flat_map(of_level).map(|&(_, piece)| piece)
    }

    /// Panics where the front contradicts itself, the set, or the counts; those may differ by as much
    /// as there are `unseen` peers.
    pub(super) fn check_invariants(&self, set: &Bitfield, availability: &Availability, unseen: u32) {
        assert_eq!(self.order.len(), self.level_of.len(), "each piece is in the front once");
        for &(level, piece) in &self.order {
            assert!(set.get(piece), "piece {piece} is in the front and no candidate");
            assert_eq!(self.level_of.get(&piece), Some(&level), "level of {piece}");
            let gap = u32::from(availability.beside_seeds(piece).abs_diff(level));
            assert!(gap <= unseen, "level of {piece}");
        }
        let is_rare = |&piece: &u32| availability.beside_seeds(piece) < self.limit;
        if unseen == 0 {
            let missing = set.iter_ones().filter(is_rare).find(|piece| !self.level_of.contains_key(piece));
            assert_eq!(missing, None, "a rare piece is not in the front");
        }
    }
}

/// The level at which the rarest [`LEN`] pieces end, and how many are below it.
fn limit(set: &Bitfield, availability: &Availability) -> (u16, u32) {
    let levels = availability.peers as usize + 1;
    let mut lanes = vec![[0u32; LANES]; levels.min(usize::from(u16::MAX) + 1)];
    for at in 0..set.words().len() {
        availability.each_of(set, at, |piece, level| {
            if let Some(lane) = lanes.get_mut(usize::from(level)) {
                lane[piece as usize % LANES] += 1;
            }
        });
    }
    let mut below = 0;
    for (level, lane) in (0..=u16::MAX).zip(&lanes) {
        let here: u32 = lane.iter().sum();
        if below + here >= LEN {
            return (level, below);
        }
        below += here;
    }
    (u16::MAX, below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Piece `n` is had by `copies(n)` peers.
    fn counted(pieces: u32, copies: impl Fn(u32) -> u16) -> Availability {
        let mut availability = Availability::new(pieces);
        availability.peers = 100;
        for piece in 0..pieces {
            (0..copies(piece)).for_each(|_| _ = availability.add_one(piece));
        }
        availability
    }

    #[test]
    fn it_holds_what_is_below_a_level_and_some_of_that_level() {
        let availability = counted(10_000, |piece| (piece % 20) as u16);
        let set = Bitfield::full(10_000);
        let front = Front::build(&set, &availability, 12_345);
        front.check_invariants(&set, &availability, 0);
        // 500 of each level.
        assert_eq!((front.order.len(), front.limit), (1024, 2));
        let order: Vec<u32> = front.iter_from(5_000).collect();
        assert_eq!(order.len(), 1024);
        assert_eq!((order[0], order[499], order[500], order[1000] % 20), (5_000, 4_980, 5_001, 2));
        assert!(!front.is_outdated(&set));
    }

    #[test]
    fn it_is_outdated_when_all_that_is_left_has_become_common() {
        let availability = counted(3_000, |_| 4);
        let mut set = Bitfield::full(3_000);
        let mut front = Front::build(&set, &availability, 0);
        let pieces: Vec<u32> = front.iter_from(0).collect();
        for &piece in &pieces[1..] {
            set.clear(piece);
            front.remove(piece);
        }
        assert!(!front.is_outdated(&set));
        front.shift(pieces[0], (4, 5));
        assert!(front.is_outdated(&set), "others are had by four");
        front.shift(2_999, (4, 3));
        assert!(!front.is_outdated(&set), "what becomes rare enters it");
        assert_eq!(front.iter_from(0).next(), Some(2_999));
    }
}
