//! PieceMgr: which pieces and blocks a torrent has, wants, asks for and has received (BEP 3; BEP 6 for
//! `suggest` and `allowed_fast`).
//!
//! One [`PieceMgr`] in each `Swarm`, which calls it under its lock for every HAVE, request and block.
//! It neither reads nor writes payload: `B` is whatever holds a block of 16 KiB in memory.
//!
//! A piece is in one of four states. *Missing*: nothing of it is asked for or received; if it is wanted
//! it is a candidate (`candidates`). *Partial*: open, some of its blocks are asked for, received or
//! on disk (`partial`, `open_pieces`). *Verifying*: all blocks are with the storage threads, which
//! hash and write them. *Have*: written.
mod availability;
mod blocks;
mod candidates;
mod extents;
mod front;
mod invariants;
mod memory;
mod open_pieces;
mod partial;
mod peer_have;
mod picker;
mod verdict;

pub use blocks::{Complete, Receive};
pub use memory::Spill;
pub use peer_have::PeerHave;
pub use picker::{Ask, Order, Pace};
pub use verdict::{BadBlocks, Blame};

use wgo_proto::layout::Layout;
use wgo_proto::{Bitfield, PieceIndex};

use availability::Availability;
use candidates::Candidates;
use extents::Extents;
use open_pieces::OpenPieces;
use partial::Phase;

use crate::Time;
use crate::selection::Selection;

/// How much a piece is wanted. Pieces of a higher priority are opened first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Not wanted: never asked for. What is already there, or under way, is kept.
    Skip,
    /// After all others.
    Low,
    /// As every piece is at first.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// The state of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceState {
    /// Nothing of it is asked for or received.
    Missing,
    /// Some blocks are asked for, received or on disk.
    Partial,
    /// Complete, and being hashed and written.
    Verifying,
    /// Written.
    Have,
}

/// The pieces of one torrent: what we have and want, who has what, and the blocks under way.
///
/// About 3 bytes a piece, whatever the number of peers.
pub struct PieceMgr<B> {
    layout: Layout,
    have: Bitfield,
    /// Neither had nor skipped.
    wanted: Bitfield,
    /// Empty as long as every piece is `Normal`.
    priorities: Vec<Priority>,
    order: Order,
    availability: Availability,
    candidates: Candidates,
    extents: Extents,
    open: OpenPieces<B>,
    /// When pieces of peers that fell silent were last given to all.
    idle_shared_at: Time,
    /// There are leechers, and pieces that one of them has at most, as far as was looked lately.
    any_scarce: bool,
    rng: fastrand::Rng,
}

impl<B> PieceMgr<B> {
    /// A torrent of which the pieces in `have` are written. A `have` of another torrent's length counts
    /// as empty. `seed` decides among equal pieces.
    pub fn new(layout: Layout, have: Bitfield, seed: u64) -> Self {
        let pieces = layout.piece_count();
        let have = if have.len() == pieces { have } else { Bitfield::new(pieces) };
        let mut wanted = Bitfield::full(pieces);
        wanted.subtract(&have);
        let mut candidates = Candidates::new(pieces, seed);
        candidates.assign(Priority::Normal, wanted.clone());
        let extents = Extents::new(layout.nominal_piece_len());
        Self {
            layout,
            have,
            wanted,
            priorities: Vec::new(),
            order: Order::RarestFirst,
            availability: Availability::new(pieces),
            candidates,
            extents,
            open: OpenPieces::new(pieces),
            idle_shared_at: Time::ZERO,
            any_scarce: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    // What we have and want.

    /// The pieces that are written.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The pieces that we want and don't have; those being received or verified are among them.
    pub fn wanted(&self) -> &Bitfield {
        &self.wanted
    }

    /// How many pieces we want and don't have. O(1).
    pub fn missing_wanted(&self) -> u32 {
        self.wanted.count()
    }

    /// Whether every piece is written; of a torrent whose pieces are not known none is. O(1).
    pub fn is_complete(&self) -> bool {
        self.layout.is_known() && self.have.is_full()
    }

    /// Whether every piece that isn't skipped is written. O(1).
    pub fn is_finished(&self) -> bool {
        self.layout.is_known() && self.wanted.is_empty()
    }

    /// Whether we want `piece` and don't have it.
    pub fn wants(&self, piece: PieceIndex) -> bool {
        self.wanted.get(piece.0)
    }

    /// How many pieces a peer has that we want. Word-wise; a HAVE changes it as [`wants`](Self::wants)
    /// says, so it needs no recounting for that.
    pub fn interesting_count(&self, has: &PeerHave) -> u32 {
        has.count_in(&self.wanted)
    }

    /// The state of a piece.
    pub fn state(&self, piece: PieceIndex) -> PieceState {
        match self.open.get(piece).map(|partial| partial.phase) {
            Some(Phase::Filling) => PieceState::Partial,
            Some(Phase::Verifying) => PieceState::Verifying,
            None if self.have.get(piece.0) => PieceState::Have,
            None => PieceState::Missing,
        }
    }

    /// How much a piece is wanted.
    pub fn priority(&self, piece: PieceIndex) -> Priority {
        self.priorities.get(piece.0 as usize).copied().unwrap_or_default()
    }

    /// Changes how much a piece is wanted. O(1). One that we have stays; blocks of a newly skipped piece
    /// that are under way are still taken.
    pub fn set_priority(&mut self, piece: PieceIndex, priority: Priority) {
        let pieces = self.layout.piece_count();
        if piece.0 >= pieces || priority == self.priority(piece) {
            return;
        }
        self.remove_candidate(piece);
        self.priorities.resize(pieces as usize, Priority::Normal);
        self.priorities[piece.0 as usize] = priority;
        self.open.set_priority(piece, priority);
        if priority == Priority::Skip {
            self.wanted.clear(piece.0);
        } else if !self.have.get(piece.0) {
            self.wanted.set(piece.0);
        }
        self.insert_candidate(piece);
    }

    /// Changes how much every piece is wanted; `None`: all alike. O(pieces).
    pub fn select(&mut self, selection: Option<&Selection>) {
        for piece in (0..self.layout.piece_count()).map(PieceIndex) {
            self.set_priority(piece, selection.map_or(Priority::Normal, |s| s.piece(piece)));
        }
    }

    /// How pieces of equal priority are ordered.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Changes how pieces of equal priority are ordered.
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
        self.open.set_order(order);
    }

    // Who has what.

    /// Counts a peer's pieces, when it said what it has or the torrent's layout became known.
    /// Word-wise.
    pub fn add_peer(&mut self, has: &PeerHave) {
        match has {
            PeerHave::All => self.availability.seeds += 1,
            PeerHave::None => {}
            PeerHave::Some(bits) => {
                self.availability.peers += 1;
                self.count_all(bits, Availability::add_one, Availability::add);
            }
        }
    }

    /// Counts a departed peer's pieces no more. Word-wise. Its requests are called off by
    /// [`release`](Self::release).
    pub fn remove_peer(&mut self, has: &PeerHave) {
        match has {
            PeerHave::All => self.availability.seeds = self.availability.seeds.saturating_sub(1),
            PeerHave::None => {}
            PeerHave::Some(bits) => {
                self.availability.peers = self.availability.peers.saturating_sub(1);
                self.count_all(bits, Availability::remove_one, Availability::remove);
            }
        }
    }

    /// A counted peer got a piece (`have`). Returns whether that was new. O(1).
    pub fn peer_got(&mut self, has: &mut PeerHave, piece: PieceIndex) -> bool {
        let pieces = self.layout.piece_count();
        if let PeerHave::None = has {
            *has = PeerHave::Some(Bitfield::new(pieces));
            self.availability.peers += 1;
        }
        let PeerHave::Some(bits) = has else { return false };
        let is_new = bits.set(piece.0);
        if is_new {
            let change = self.availability.add_one(piece.0);
            self.candidates.shift(piece.0, self.priority(piece), change);
        }
        is_new
    }

    /// A counted peer has a piece no more (`lt_donthave`). Returns whether it had it. O(1), but for a
    /// peer that had all from the start.
    pub fn peer_lost(&mut self, has: &mut PeerHave, piece: PieceIndex) -> bool {
        let pieces = self.layout.piece_count();
        if piece.0 >= pieces {
            return false;
        }
        if let PeerHave::All = has {
            self.remove_peer(has);
            *has = PeerHave::Some(Bitfield::full(pieces));
            self.add_peer(has);
        }
        let PeerHave::Some(bits) = has else { return false };
        let had = bits.clear(piece.0);
        if had {
            let change = self.availability.remove_one(piece.0);
            self.candidates.shift(piece.0, self.priority(piece), change);
        }
        had
    }

    /// A piece at random.
    pub fn any_piece(&mut self) -> u32 {
        self.rng.u32(..self.layout.piece_count().max(1))
    }

    /// How many counted peers have a piece.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.seeds + u32::from(self.availability.beside_seeds(piece.0))
    }

    /// Few pieces move between levels one by one, many at once don't.
    fn count_all(
        &mut self,
        bits: &Bitfield,
        one: fn(&mut Availability, u32) -> (u16, u16),
        all: fn(&mut Availability, &Bitfield),
    ) {
        /// One move costs what so many pieces cost in bulk (60 ns against 0.2 ns).
        const MOVE_COST: u32 = 256;
        if bits.count() > bits.len() / MOVE_COST {
            all(&mut self.availability, bits);
            self.candidates.skip_peer();
            return;
        }
        for piece in bits.iter_ones() {
            let change = one(&mut self.availability, piece);
            self.candidates.shift(piece, self.priority(PieceIndex(piece)), change);
        }
    }

    /// Makes a piece a candidate if it is one: wanted, and nothing of it is open.
    fn insert_candidate(&mut self, piece: PieceIndex) {
        if self.wants(piece) && !self.open.contains(piece) {
            let copies = self.availability.beside_seeds(piece.0);
            self.candidates.insert(piece.0, self.priority(piece), copies);
        }
    }

    fn remove_candidate(&mut self, piece: PieceIndex) {
        self.candidates.remove(piece.0, self.priority(piece));
    }
}

#[cfg(test)]
mod tests;
