//! The pieces that could be opened next: wanted, and nothing of them asked for or received yet. In
//! three priority classes, each with its rarest pieces in order.
use std::cell::Cell;

use wgo_proto::{Bitfield, PieceIndex};

use super::extents::Extents;
use super::{PeerHave, Priority, availability::Availability, front::Front};

/// Priorities that are ever picked, the first to be picked first.
pub(super) const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
/// Pieces of the front that are tried for a peer that lacks them before a word-wise search is the
/// cheaper way.
const PROBES: usize = 64;
/// Levels are good enough while peers unseen are not more than one in so many: what is rare among
/// hundreds of peers doesn't change with one of them.
const SEEN_TO_UNSEEN: u32 = 16;
/// Pieces that the word-wise search compares.
const SAMPLES: usize = 64;

/// What may be opened, and in which order.
///
/// The sets are always right. The fronts, once built, follow every change of one piece. A peer that
/// comes or goes with many pieces moves none of them: it only makes their levels inexact, and the next
/// look at them builds them anew if too many such peers did.
pub(super) struct Candidates {
    classes: [Class; 3],
    built: bool,
    /// Peers that came or went since the fronts were built and aren't in their levels.
    unseen_peers: u32,
    /// Differs from build to build, and from client to client.
    spin: u32,
    /// What is known of whether anyone has a candidate.
    source: Cell<Source>,
}

struct Class {
    set: Bitfield,
    front: Front,
}

#[derive(Clone, Copy)]
enum Source {
    /// The first place to look.
    At(u32),
    /// Nobody but seeds has any.
    Nowhere,
}

impl Candidates {
    /// None, of a torrent of `pieces`.
    pub(super) fn new(pieces: u32, seed: u64) -> Self {
        let class = || Class { set: Bitfield::new(pieces), front: Front::default() };
        let spin = (seed ^ seed >> 32) as u32;
        let source = Cell::new(Source::At(0));
        Self { classes: [class(), class(), class()], built: false, unseen_peers: 0, spin, source }
    }

    pub(super) fn insert(&mut self, piece: u32, priority: Priority, availability: u16) {
        let built = self.built;
        let Some(class) = self.class_mut(priority) else { return };
        if class.set.set(piece) {
            if built {
                class.front.insert(piece, availability);
            }
            self.gained_source(availability);
        }
    }

    pub(super) fn remove(&mut self, piece: u32, priority: Priority) {
        let Some(class) = self.class_mut(priority) else { return };
        if class.set.clear(piece) {
            class.front.remove(piece);
        }
    }

    /// The availability of `piece` changed from the first to the second.
    pub(super) fn shift(&mut self, piece: u32, priority: Priority, change: (u16, u16)) {
        let built = self.built;
        let Some(class) = self.class_mut(priority) else { return };
        if change.0 != change.1 && class.set.get(piece) {
            if built {
                class.front.shift(piece, change);
            }
            self.gained_source(change.1);
        }
    }

    /// Makes all of `set` candidates of one priority, in place of what was there.
    pub(super) fn assign(&mut self, priority: Priority, set: Bitfield) {
        if let Some(class) = self.class_mut(priority) {
            class.set = set;
            self.built = false;
            self.source.set(Source::At(0));
        }
    }

    pub(super) fn contains(&self, piece: u32, priority: Priority) -> bool {
        class_of(priority).is_some_and(|class| self.classes[class].set.get(piece))
    }

    /// A peer with many pieces came or went.
    pub(super) fn skip_peer(&mut self) {
        self.unseen_peers = self.unseen_peers.saturating_add(1);
        self.gained_source(1);
    }

    /// Gives the memory of the fronts back; they are built anew when they are needed again.
    pub(super) fn trim(&mut self) {
        self.built = false;
        self.classes.iter_mut().for_each(|class| class.front = Front::default());
    }

    /// Builds the fronts anew if they aren't good enough: O(pieces).
    pub(super) fn refresh(&mut self, availability: &Availability) {
        let outdated = !self.built || self.unseen_peers > availability.peers / SEEN_TO_UNSEEN;
        for Class { set, front } in &mut self.classes {
            if outdated || front.is_outdated(set) {
                // An odd number far from all regular ones (Knuth's multiplicative hash).
                self.spin = self.spin.wrapping_add(0x9e37_79b1);
                *front = Front::build(set, availability, self.spin);
            }
        }
        if outdated {
            self.built = true;
            self.unseen_peers = 0;
        }
    }

    /// Whether no connected peer has any candidate. The search goes on where the last one ended, and
    /// begins anew only when there may be another answer.
    pub(super) fn is_exhausted(&self, availability: &Availability) -> bool {
        if availability.seeds > 0 {
            return self.classes.iter().all(|class| class.set.is_empty());
        }
        let Source::At(from) = self.source.get() else { return true };
        let obtainable = |piece: &u32| availability.is_obtainable(*piece);
        let onwards = |class: &Class| class.set.ones_from(from).find(obtainable);
        let found = self.classes.iter().find_map(onwards).or_else(|| {
            let classes = self.classes.iter().filter(|_| from > 0);
            classes.filter_map(|class| class.set.iter_ones().find(obtainable)).next()
        });
        self.source.set(found.map_or(Source::Nowhere, Source::At));
        found.is_none()
    }

    /// Someone who is no seed may have a candidate now.
    fn gained_source(&mut self, availability: u16) {
        if availability > 0 && matches!(self.source.get(), Source::Nowhere) {
            self.source.set(Source::At(0));
        }
    }

    /// The rarest piece of a class that the peer has, or the commonest; any of those when several are,
    /// as far as the levels tell. The fronts must be built.
    ///
    /// The rarest is exact unless the peer lacks all of the first [`PROBES`] in order; then, and of the
    /// commonest, it is that of at least [`SAMPLES`] found from a random place on, or of all if there
    /// are fewer.
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
        if rarest {
            let front = class.front.iter_from(rng.u32(..class.set.len()));
            if let Some(piece) = front.take(PROBES).find(|piece| has.get(PieceIndex(*piece))) {
                return Some(piece);
            }
        }
        class.sample(has, rarest, availability, rng)
    }

    /// A piece of the class of `piece`, as rare as that or rarer, that the peer has and that lies in an
    /// extent which is begun; none when `piece` is one that few have. O(1).
    pub(super) fn beside_begun(
        &self,
        piece: u32,
        priority: Priority,
        has: &PeerHave,
        extents: &Extents,
        availability: &Availability,
    ) -> Option<u32> {
        if !availability.is_plentiful(piece) {
            return None;
        }
        let copies = availability.beside_seeds(piece);
        let is_as_rare = |piece| availability.beside_seeds(piece) <= copies;
        extents.find(&self.classes[class_of(priority)?].set, has, is_as_rare)
    }

    /// Whether any of some pieces of one word is a candidate.
    pub(super) fn has_any(&self, word: usize, mask: u64) -> bool {
        let any = |class: &Class| class.set.words().get(word).is_some_and(|pieces| pieces & mask != 0);
        self.classes.iter().any(any)
    }

    /// The highest priority of which there are any.
    pub(super) fn top_priority(&self) -> Priority {
        let any =
            |priority: &Priority| class_of(*priority).is_some_and(|at| !self.classes[at].set.is_empty());
        CLASSES.into_iter().find(any).unwrap_or(Priority::Skip)
    }

    /// The rarest of each class.
    pub(super) fn rarest(&self) -> impl Iterator<Item = u32> + '_ {
        self.classes.iter().filter_map(|class| class.front.iter_from(0).next())
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

    /// Panics where sets and fronts don't agree with each other or with the availability.
    pub(super) fn check_invariants(&self, availability: &Availability) {
        for Class { set, front } in self.classes.iter().filter(|_| self.built) {
            front.check_invariants(set, availability, self.unseen_peers);
        }
        if matches!(self.source.get(), Source::Nowhere) {
            let had = |piece| availability.beside_seeds(piece) > 0;
            assert!(!self.classes.iter().any(|class| class.set.iter_ones().any(had)), "someone has one");
        }
    }

    fn class_mut(&mut self, priority: Priority) -> Option<&mut Class> {
        class_of(priority).map(|class| &mut self.classes[class])
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
pub(super) fn ones(base: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.leading_zeros();
        (bit < 64).then(|| {
            word &= !(1 << (63 - bit));
            base + bit
        })
    })
}
