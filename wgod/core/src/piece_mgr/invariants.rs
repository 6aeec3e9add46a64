//! What is always true of a [`PieceMgr`]; asserted after every step of simulations and tests.
use wgo_proto::{Block, PieceIndex};

use super::candidates::CLASSES;
use super::{PeerHave, PieceMgr, Priority};
use crate::PeerKey;

impl<B> PieceMgr<B> {
    /// Panics where the state contradicts itself. O(pieces).
    pub fn check_invariants(&self) {
        let pieces = self.layout.piece_count();
        assert_eq!((self.have.len(), self.wanted.len()), (pieces, pieces));
        self.have.check_invariants();
        self.wanted.check_invariants();
        self.open.check_invariants();
        self.candidates.check_invariants(&self.availability);
        self.extents.check_invariants(pieces);
        for piece in (0..pieces).map(PieceIndex) {
            let (have, open) = (self.have.get(piece.0), self.open.contains(piece));
            let priority = self.priority(piece);
            assert!(!(have && open), "{piece:?} is in two states");
            assert_eq!(self.wants(piece), !have && priority != Priority::Skip, "{piece:?} wanted");
            for class in CLASSES {
                let expected = self.wants(piece) && !open && class == priority;
                assert_eq!(self.candidates.contains(piece.0, class), expected, "{piece:?} in {class:?}");
            }
        }
    }

    /// Every block that is asked for, with each peer that it is asked of.
    pub fn requests(&self) -> impl Iterator<Item = (PeerKey, Block)> + '_ {
        self.open.iter().flat_map(|partial| {
            let block = |number| self.layout.block(partial.piece, number);
            partial.requests().map(move |(peer, number)| (peer, block(number)))
        })
    }

    /// Panics unless `peers` are what is counted as available. O(pieces × peers).
    pub fn check_availability<'a>(&self, peers: impl Iterator<Item = &'a PeerHave> + Clone) {
        for piece in (0..self.layout.piece_count()).map(PieceIndex) {
            let copies = peers.clone().filter(|has| has.get(piece)).count() as u32;
            assert_eq!(self.availability(piece), copies, "copies of {piece:?}");
        }
        let is_sized = |has: &PeerHave| !matches!(has, PeerHave::Some(bits) if bits.len() != self.have.len());
        assert!(peers.into_iter().all(is_sized), "a peer's bitfield is of another torrent");
    }
}
