//! Which pieces one peer has (BEP 3 `bitfield` and `have`, BEP 6 `have_all` and `have_none`).
//!
//! Kept by each peer's state, changed through `PieceMgr`, which counts what it says.
use wgo_proto::{Bitfield, PieceIndex};

/// Which pieces a peer has. Seeds and newcomers, the most common, hold no bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerHave {
    /// Every piece, as told at once by `have_all` or a full `bitfield`.
    All,
    /// No piece yet.
    None,
    /// The pieces whose bit is one; one bit for each piece of the torrent. All may be ones when a
    /// peer finished while connected: it isn't turned into `All` then, as a peer that takes its last
    /// piece back and forth would make us recount all pieces each time.
    Some(Bitfield),
}

impl PeerHave {
    /// From a `bitfield` message.
    pub fn from_bitfield(bits: Bitfield) -> PeerHave {
        match bits {
            bits if bits.is_empty() => PeerHave::None,
            bits if bits.is_full() => PeerHave::All,
            bits => PeerHave::Some(bits),
        }
    }

    /// The pieces of both. Word-wise.
    pub fn union(self, other: PeerHave) -> PeerHave {
        match (self, other) {
            (PeerHave::All, _) | (_, PeerHave::All) => PeerHave::All,
            (PeerHave::None, has) | (has, PeerHave::None) => has,
            (PeerHave::Some(mut bits), PeerHave::Some(more)) => {
                bits.union_with(&more);
                PeerHave::from_bitfield(bits)
            }
        }
    }

    /// Whether the peer has `piece`.
    pub fn get(&self, piece: PieceIndex) -> bool {
        match self {
            PeerHave::All => true,
            PeerHave::None => false,
            PeerHave::Some(bits) => bits.get(piece.0),
        }
    }

    /// Whether the peer has every piece.
    pub fn is_seed(&self) -> bool {
        match self {
            PeerHave::All => true,
            PeerHave::None => false,
            PeerHave::Some(bits) => bits.is_full(),
        }
    }

    /// How many pieces the peer has, of the `pieces` that the torrent has. O(1).
    pub fn count(&self, pieces: u32) -> u32 {
        match self {
            PeerHave::All => pieces,
            PeerHave::None => 0,
            PeerHave::Some(bits) => bits.count(),
        }
    }

    /// How many pieces of `set` the peer has. Word-wise.
    pub(super) fn count_in(&self, set: &Bitfield) -> u32 {
        match self {
            PeerHave::All => set.count(),
            PeerHave::None => 0,
            PeerHave::Some(bits) => bits.count_and(set),
        }
    }

    /// The lowest piece of `set` that the peer has. Word-wise.
    pub(super) fn first_in(&self, set: &Bitfield) -> Option<u32> {
        match self {
            PeerHave::All => set.first_one(),
            PeerHave::None => None,
            PeerHave::Some(bits) => bits.first_and(set),
        }
    }

    /// The pieces of `set` that the peer has, ascending. Word-wise.
    pub(super) fn iter_in<'a>(&'a self, set: &'a Bitfield) -> impl Iterator<Item = u32> + 'a {
        let all = matches!(self, PeerHave::All).then(|| set.iter_ones());
        let some = if let PeerHave::Some(bits) = self { Some(bits.iter_and(set)) } else { None };
        all.into_iter().flatten().chain(some.into_iter().flatten())
    }

    /// Word `index` of `set` with only the pieces that the peer has.
    pub(super) fn word_of(&self, set: &Bitfield, index: usize) -> u64 {
        let word = set.words().get(index).copied().unwrap_or(0);
        match self {
            PeerHave::All => word,
            PeerHave::None => 0,
            PeerHave::Some(bits) => word & bits.words().get(index).copied().unwrap_or(0),
        }
    }
}
