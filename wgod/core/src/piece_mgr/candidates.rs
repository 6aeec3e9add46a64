//! The pieces that could be opened next: wanted, and nothing of them asked for or received yet. In
//! three priority classes, each with its pieces in buckets of equal availability.
use wgo_proto::{Bitfield, PieceIndex};

use super::{PeerHave, Priority, availability::Availability};

/// Priorities that are ever picked, the first to be picked first.
pub(super) const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
/// Pieces of the buckets that are tried for a peer that lacks them before a word-wise search is the
/// cheaper way.
const PROBES: usize = 64;
/// Pieces that the word-wise search compares.
const SAMPLES: usize = 64;

/// What may be opened, and in which order.
///
/// The sets are always right. The buckets follow them piece by piece while `fresh`; a change of many
/// pieces at once only marks them stale, and the next look at them builds them anew.
pub(super) struct Candidates {
    classes: [Class; 3],
    /// For each candidate, its position in its bucket. Meaningless unless `fresh`.
    place: Vec<u32>,
    fresh: bool,
}

struct Class {
    set: Bitfield,
    /// By availability beside seeds, from 0.
    buckets: Vec<Vec<u32>>,
}

impl Candidates {
    pub(super) fn new(pieces: u32) -> Self {
        let class = || Class { set: Bitfield::new(pieces), buckets: Vec::new() };
        Self { classes: [class(), class(), class()], place: Vec::new(), fresh: false }
    }

    pub(super) fn insert(&mut self, piece: u32, priority: Priority, availability: u16) {
        let Some(class) = class_of(priority) else { return };
        if self.classes[class].set.set(piece) && self.fresh {
            self.push(class, piece, availability);
        }
    }

    pub(super) fn remove(&mut self, piece: u32, priority: Priority, availability: u16) {
        let Some(class) = class_of(priority) else { return };
        if self.classes[class].set.clear(piece) && self.fresh {
            self.pull(class, piece, availability);
        }
    }

    /// The availability of `piece` changed from the first to the second.
    pub(super) fn shift(&mut self, piece: u32, priority: Priority, (from, to): (u16, u16)) {
        let Some(class) = class_of(priority) else { return };
        if self.fresh && from != to && self.classes[class].set.get(piece) {
            self.pull(class, piece, from);
            self.push(class, piece, to);
        }
    }

    /// Makes all of `set` candidates of one priority, in place of what was there.
    pub(super) fn assign(&mut self, priority: Priority, set: Bitfield) {
        if let Some(class) = class_of(priority) {
            self.classes[class].set = set;
            self.invalidate();
        }
    }

    pub(super) fn contains(&self, piece: u32, priority: Priority) -> bool {
        class_of(priority).is_some_and(|class| self.classes[class].set.get(piece))
    }

    fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.set.is_empty())
    }

    /// The availability of many pieces changed.
    pub(super) fn invalidate(&mut self) {
        self.fresh = false;
    }

    /// Gives the memory of the buckets back; they are built anew when they are needed again.
    pub(super) fn trim(&mut self) {
        self.fresh = false;
        self.place = Vec::new();
        for class in &mut self.classes {
            class.buckets = Vec::new();
        }
    }

    /// Builds stale buckets anew: O(pieces), once for any number of changes.
    pub(super) fn refresh(&mut self, availability: &Availability, pieces: u32) {
        if self.fresh {
            return;
        }
        self.place.resize(pieces as usize, 0);
        for Class { set, buckets } in &mut self.classes {
            buckets.iter_mut().for_each(Vec::clear);
            for piece in set.iter_ones() {
                let level = usize::from(availability.beside_seeds(piece));
                if level >= buckets.len() {
                    buckets.resize_with(level + 1, Vec::new);
                }
                self.place[piece as usize] = buckets[level].len() as u32;
                buckets[level].push(piece);
            }
        }
        self.fresh = true;
    }

    /// Whether no connected peer has any candidate. O(1) while fresh, but for the number of buckets.
    pub(super) fn is_exhausted(&self, availability: &Availability) -> bool {
        if self.is_empty() || availability.seeds > 0 {
            return self.is_empty();
        }
        let no_copy = |piece| availability.beside_seeds(piece) == 0;
        self.classes.iter().all(|class| match self.fresh {
            true => class.buckets.iter().skip(1).all(Vec::is_empty),
            false => class.set.iter_ones().all(no_copy),
        })
    }

    /// The rarest piece of a class that the peer has, or the commonest; any of those when several are.
    /// The buckets must be fresh.
    ///
    /// Exact unless the peer lacks all of the first [`PROBES`] in order; then it is the rarest of at
    /// least [`SAMPLES`] that are found from a random place on, or of all if there are fewer.
    pub(super) fn by_availability(
        &self,
        priority: Priority,
        has: &PeerHave,
        rarest: bool,
        availability: &Availability,
        rng: &mut fastrand::Rng,
    ) -> Option<u32> {
        let class = &self.classes[class_of(priority)?];
        if class.set.is_empty() {
            return None;
        }
        let mut probes = 0;
        for at in 0..class.buckets.len() {
            let bucket = &class.buckets[if rarest { at } else { class.buckets.len() - 1 - at }];
            let start = if bucket.is_empty() { 0 } else { rng.usize(..bucket.len()) };
            for &piece in bucket[start..].iter().chain(&bucket[..start]) {
                if has.get(PieceIndex(piece)) {
                    return Some(piece);
                }
                probes += 1;
                if probes == PROBES {
                    return class.sample(has, rarest, availability, rng);
                }
            }
        }
        None
    }

    /// Any piece of a class that the peer has.
    pub(super) fn any(&self, priority: Priority, has: &PeerHave, rng: &mut fastrand::Rng) -> Option<u32> {
        let class = &self.classes[class_of(priority)?];
        let (base, word) = class.words_from_anywhere(has, rng).find(|&(_, word)| word != 0)?;
        let nth = rng.u32(..word.count_ones());
        ones(base, word).nth(nth as usize)
    }

    /// The first piece of a class that the peer has.
    pub(super) fn first(&self, priority: Priority, has: &PeerHave) -> Option<u32> {
        has.first_in(&self.classes[class_of(priority)?].set)
    }

    /// Panics where sets and buckets don't agree with each other or with the availability.
    pub(super) fn check_invariants(&self, availability: &Availability) {
        for class in self.classes.iter().filter(|_| self.fresh) {
            let in_buckets: usize = class.buckets.iter().map(Vec::len).sum();
            assert_eq!(in_buckets, class.set.count() as usize, "buckets hold each candidate once");
            for (level, bucket) in class.buckets.iter().enumerate() {
                for (place, &piece) in bucket.iter().enumerate() {
                    assert!(class.set.get(piece), "piece {piece} is in a bucket and no candidate");
                    assert_eq!(usize::from(availability.beside_seeds(piece)), level, "bucket of {piece}");
                    assert_eq!(self.place[piece as usize] as usize, place, "place of {piece}");
                }
            }
        }
    }

    fn push(&mut self, class: usize, piece: u32, availability: u16) {
        let (buckets, level) = (&mut self.classes[class].buckets, usize::from(availability));
        if level >= buckets.len() {
            buckets.resize_with(level + 1, Vec::new);
        }
        self.place[piece as usize] = buckets[level].len() as u32;
        buckets[level].push(piece);
    }

    fn pull(&mut self, class: usize, piece: u32, availability: u16) {
        let bucket = &mut self.classes[class].buckets[usize::from(availability)];
        let place = self.place[piece as usize];
        bucket.swap_remove(place as usize);
        if let Some(&moved) = bucket.get(place as usize) {
            self.place[moved as usize] = place;
        }
    }
}

impl Class {
    fn sample(
        &self,
        has: &PeerHave,
        rarest: bool,
        availability: &Availability,
        rng: &mut fastrand::Rng,
    ) -> Option<u32> {
        let found = self.words_from_anywhere(has, rng).flat_map(|(base, word)| ones(base, word));
        found.take(SAMPLES).min_by_key(|&piece| {
            let count = availability.beside_seeds(piece);
            if rarest { count } else { u16::MAX - count }
        })
    }

    /// Every word of the set with only what the peer has, from a random one on, each with the number of
    /// its first piece.
    fn words_from_anywhere<'a>(
        &'a self,
        has: &'a PeerHave,
        rng: &mut fastrand::Rng,
    ) -> impl Iterator<Item = (u32, u64)> + 'a {
        let words = self.set.words().len();
        let start = if words == 0 { 0 } else { rng.usize(..words) };
        (start..words).chain(0..start).map(|at| (at as u32 * 64, has.word_of(&self.set, at)))
    }
}

fn class_of(priority: Priority) -> Option<usize> {
    CLASSES.iter().position(|&class| class == priority)
}

/// The pieces of one word; the high bit is the first.
fn ones(base: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.leading_zeros();
        (bit < 64).then(|| {
            word &= !(1 << (63 - bit));
            base + bit
        })
    })
}
