//! The pieces that could be opened next: wanted, and nothing of them asked for or received yet. In
//! three priority classes, each with its pieces in buckets of equal availability.
use wgo_proto::{Bitfield, PieceIndex};

use super::{PeerHave, Priority, availability::Availability};

/// Priorities that are ever picked, the first to be picked first.
pub(super) const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
/// Pieces of the buckets that are tried for a peer that lacks them before a word-wise search is the
/// cheaper way.
const PROBES: usize = 64;
/// Buckets are good enough while peers unseen are not more than one in so many: what is rare among
/// hundreds of peers doesn't change with one of them, and building them takes 0.3 ms then (100,000 pieces, 900 levels).
const SEEN_TO_UNSEEN: u32 = 16;
/// Pieces that the word-wise search compares.
const SAMPLES: usize = 64;

/// What may be opened, and in which order.
///
/// The sets are always right. The buckets, once built, follow every change of one piece. A peer that
/// comes or goes with many pieces moves none of them: it only makes the buckets inexact, and the next
/// look at them builds them anew if too many such peers did.
pub(super) struct Candidates {
    classes: [Class; 3],
    /// For each candidate, where it is in the buckets. Meaningless unless `built`.
    places: Vec<Place>,
    built: bool,
    /// Peers that came or went since the buckets were built and aren't in them.
    unseen_peers: u32,
}

struct Class {
    set: Bitfield,
    /// By level: the availability beside seeds, not counting unseen peers.
    buckets: Vec<Vec<u32>>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    at: u32,
    level: u16,
}

impl Candidates {
    pub(super) fn new(pieces: u32) -> Self {
        let class = || Class { set: Bitfield::new(pieces), buckets: Vec::new() };
        let classes = [class(), class(), class()];
        Self { classes, places: Vec::new(), built: false, unseen_peers: 0 }
    }

    pub(super) fn insert(&mut self, piece: u32, priority: Priority, availability: u16) {
        let Some(class) = class_of(priority) else { return };
        if self.classes[class].set.set(piece) && self.built {
            self.push(class, piece, availability);
        }
    }

    pub(super) fn remove(&mut self, piece: u32, priority: Priority) {
        let Some(class) = class_of(priority) else { return };
        if self.classes[class].set.clear(piece) && self.built {
            self.pull(class, piece);
        }
    }

    /// The availability of `piece` changed from the first to the second.
    pub(super) fn shift(&mut self, piece: u32, priority: Priority, (from, to): (u16, u16)) {
        let Some(class) = class_of(priority) else { return };
        if self.built && from != to && self.classes[class].set.get(piece) {
            let level = self.pull(class, piece);
            // One up or down, as unseen peers may have parted the level from the availability.
            self.push(
                class,
                piece,
                if to > from { level.saturating_add(1) } else { level.saturating_sub(1) },
            );
        }
    }

    /// Makes all of `set` candidates of one priority, in place of what was there.
    pub(super) fn assign(&mut self, priority: Priority, set: Bitfield) {
        if let Some(class) = class_of(priority) {
            self.classes[class].set = set;
            self.built = false;
        }
    }

    pub(super) fn contains(&self, piece: u32, priority: Priority) -> bool {
        class_of(priority).is_some_and(|class| self.classes[class].set.get(piece))
    }

    /// A peer with many pieces came or went.
    pub(super) fn skip_peer(&mut self) {
        self.unseen_peers = self.unseen_peers.saturating_add(1);
    }

    /// Gives the memory of the buckets back; they are built anew when they are needed again.
    pub(super) fn trim(&mut self) {
        self.built = false;
        self.places = Vec::new();
        for class in &mut self.classes {
            class.buckets = Vec::new();
        }
    }

    /// Builds the buckets anew if they aren't good enough: O(pieces).
    pub(super) fn refresh(&mut self, availability: &Availability, pieces: u32) {
        if self.built && self.unseen_peers <= availability.peers / SEEN_TO_UNSEEN {
            return;
        }
        self.places.resize(pieces as usize, Place::default());
        for Class { set, buckets } in &mut self.classes {
            buckets.iter_mut().for_each(Vec::clear);
            for piece in set.iter_ones() {
                let level = availability.beside_seeds(piece);
                let place = push(buckets, piece, level);
                self.places[piece as usize] = place;
            }
        }
        self.built = true;
        self.unseen_peers = 0;
    }

    /// Whether no connected peer has any candidate. O(candidates) only where that is nearly so.
    pub(super) fn is_exhausted(&self, availability: &Availability) -> bool {
        let obtainable = |piece| availability.is_obtainable(piece);
        !self.classes.iter().any(|class| class.set.iter_ones().any(obtainable))
    }

    /// The rarest piece of a class that the peer has, or the commonest; any of those when several are,
    /// as far as the buckets see. They must be built.
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
        for class in self.classes.iter().filter(|_| self.built) {
            let in_buckets: usize = class.buckets.iter().map(Vec::len).sum();
            assert_eq!(in_buckets, class.set.count() as usize, "buckets hold each candidate once");
            for (level, bucket) in class.buckets.iter().enumerate() {
                for (at, &piece) in bucket.iter().enumerate() {
                    assert!(class.set.get(piece), "piece {piece} is in a bucket and no candidate");
                    let place = self.places[piece as usize];
                    assert_eq!((place.level as usize, place.at as usize), (level, at), "place of {piece}");
                    let gap = u32::from(availability.beside_seeds(piece).abs_diff(place.level));
                    assert!(gap <= self.unseen_peers, "level of {piece}");
                }
            }
        }
    }

    fn push(&mut self, class: usize, piece: u32, level: u16) {
        self.places[piece as usize] = push(&mut self.classes[class].buckets, piece, level);
    }

    /// Takes a piece out of its bucket; returns the bucket's level.
    fn pull(&mut self, class: usize, piece: u32) -> u16 {
        let Place { at, level } = self.places[piece as usize];
        let bucket = &mut self.classes[class].buckets[usize::from(level)];
        bucket.swap_remove(at as usize);
        if let Some(&moved) = bucket.get(at as usize) {
            self.places[moved as usize].at = at;
        }
        level
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

fn push(buckets: &mut Vec<Vec<u32>>, piece: u32, level: u16) -> Place {
    if usize::from(level) >= buckets.len() {
        buckets.resize_with(usize::from(level) + 1, Vec::new);
    }
    let bucket = &mut buckets[usize::from(level)];
    bucket.push(piece);
    Place { at: bucket.len() as u32 - 1, level }
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
