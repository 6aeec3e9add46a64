//! Spreading: as long as a seed is the only one who has some pieces, it suggests each of them to one peer (BEP 6), so
//! that each piece leaves it once before any leaves it twice. Left to themselves, peers that can't know what others have
//! just been sent ask for the same.
//!
//! Unlike super-seeding (BEP 16) it hides nothing: who doesn't know suggestions, or knows of a rarer piece, asks for
//! what he likes.
use wgo_proto::wire::message::Message;
use wgo_proto::{Bitfield, PieceIndex};

use super::Swarm;
use crate::units::PeerKey;

/// Suggestions that a peer has and hasn't followed yet: the next when it asks for one. With more, what is left goes to
/// few.
const AHEAD: usize = 2;

/// Pieces that are looked at in a second.
const LOOKED_AT: u32 = 4096;

/// What of a torrent has to be spread.
#[derive(Default)]
pub(super) enum Spread {
    /// Not known yet.
    #[default]
    Unknown,
    /// Some pieces may be at nobody's.
    UnderWay {
        /// Asked of us, or suggested to one who may yet ask.
        promised: Bitfield,
        /// The next piece to look at, and how many are left to look at.
        next: u32,
        left: u32,
        /// Each piece before this one is at somebody's.
        out: u32,
    },
    /// Each is at somebody's.
    Done,
}

impl Spread {
    /// Whether there may be pieces that are at nobody's.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Spread::UnderWay { .. })
    }
}

impl<B> Swarm<B> {
    /// Suggests to the peer what nobody else has or was promised. O(1) for each piece of the torrent, once.
    pub(super) fn suggest(&mut self, key: PeerKey) {
        if matches!(self.spread, Spread::Done) || !self.pieces.is_complete() {
            return;
        }
        let Some(peer) = self.peers.peer(key) else { return };
        if !peer.fast() || !peer.peer_interested || peer.closing.is_some() {
            return;
        }
        while self.peers.peer(key).is_some_and(|peer| peer.suggested_by_us.len() < AHEAD) {
            let Some(piece) = self.next_to_spread() else { return };
            if let Some(peer) = self.peers.peer_mut(key) {
                peer.suggested_by_us.push(piece);
                peer.send(&Message::Suggest(piece));
            }
            self.wake(key);
        }
    }

    /// The peer asks for a block of a piece.
    pub(super) fn asked_for(&mut self, key: PeerKey, piece: PieceIndex) {
        let Spread::UnderWay { promised, .. } = &mut self.spread else { return };
        promised.set(piece.0);
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let before = peer.suggested_by_us.len();
        peer.suggested_by_us.retain(|suggested| *suggested != piece);
        if peer.suggested_by_us.len() < before {
            self.suggest(key);
        }
    }

    /// The peer can't follow suggestions any more: others may.
    pub(super) fn take_back_suggestions(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let unfollowed = std::mem::take(&mut peer.suggested_by_us);
        if let Spread::UnderWay { promised, left, .. } = &mut self.spread {
            for piece in unfollowed {
                promised.clear(piece.0);
                // They lie behind: all are looked at once more.
                *left = promised.len();
            }
        }
    }

    /// Nobody is here: whoever comes next may have nothing.
    pub(super) fn spread_anew(&mut self) {
        self.spread = Spread::Unknown;
    }

    /// Once a second: looks whether each piece is at somebody's.
    pub(super) fn look_at_spread(&mut self) {
        let Spread::UnderWay { out, .. } = &mut self.spread else { return };
        let end = self.layout.piece_count().min(*out + LOOKED_AT);
        while *out < end && self.pieces.availability(PieceIndex(*out)) > 0 {
            *out += 1;
        }
        if *out == self.layout.piece_count() {
            self.spread = Spread::Done;
        }
    }

    /// The next piece that nobody has or was promised, promised now.
    fn next_to_spread(&mut self) -> Option<PieceIndex> {
        let pieces = self.layout.piece_count();
        if matches!(self.spread, Spread::Unknown) {
            // Each seed begins at another place, so that two don't spread the same.
            let next = self.pieces.any_piece();
            self.spread = Spread::UnderWay { promised: Bitfield::new(pieces), next, left: pieces, out: 0 };
        }
        let Spread::UnderWay { promised, next, left, .. } = &mut self.spread else { return None };
        while *left > 0 {
            let piece = PieceIndex(*next);
            *next = if *next + 1 < pieces { *next + 1 } else { 0 };
            *left -= 1;
            if !promised.get(piece.0) && self.pieces.availability(piece) == 0 {
                promised.set(piece.0);
                return Some(piece);
            }
        }
        None
    }
}
