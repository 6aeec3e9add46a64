//! Blocks that arrive, and requests that are called off.
use smallvec::SmallVec;
use wgo_proto::{Block, PieceIndex};

use super::PieceMgr;
use crate::{PeerKey, Time};

/// What became of a block that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Receive<B> {
    /// Taken.
    Stored {
        /// Other peers that were asked for the block too; their requests are off, and each is owed a
        /// CANCEL.
        cancel: SmallVec<[PeerKey; 2]>,
        /// The piece, when this was its last block.
        complete: Option<Complete<B>>,
    },
    /// We have the block already.
    Duplicate(B),
    /// We never asked this peer for it, or no longer can use it.
    Unwanted(B),
}

/// A piece whose blocks are all there, to be hashed and written. The piece is `Verifying` until
/// [`PieceMgr::stored`], [`PieceMgr::failed`] or [`PieceMgr::write_failed`].
#[derive(Debug, PartialEq, Eq)]
pub struct Complete<B> {
    /// The piece.
    pub piece: PieceIndex,
    /// Its blocks in order. `None`: on disk, to be read back for hashing.
    pub blocks: Vec<Option<B>>,
    /// It was wrong before, and who is to blame is not clear: digests of its blocks are wanted even when it is
    /// right.
    pub doubted: bool,
}

impl<B> PieceMgr<B> {
    /// Takes a block from `peer`.
    ///
    /// A block whose request to this peer was called off (it timed out, or we were choked) is taken all
    /// the same if it is still missing and its piece still open, and counts as this peer's: it was on its
    /// way when we gave up, and is here now. Whoever else was asked for it in the meantime gets a CANCEL.
    /// A block that this peer was never asked for is not taken, so that nobody can slip bad blocks
    /// into the pieces of others.
    pub fn receive(&mut self, now: Time, peer: PeerKey, block: Block, buf: B) -> Receive<B> {
        if !self.layout.is_whole_block(block) {
            return Receive::Unwanted(buf);
        }
        match self.open.slot(block.piece) {
            Some(slot) => {
                self.open.change_at(slot, |partial| partial.receive(now, peer, block.number(), buf))
            }
            None if self.have.get(block.piece.0) => Receive::Duplicate(buf),
            None => Receive::Unwanted(buf),
        }
    }

    /// A request is off: choked, rejected, timed out, or the peer is gone. A piece of which nothing else
    /// was asked for or received is not open any more. Requests that don't exist are no matter.
    pub fn release(&mut self, peer: PeerKey, block: Block) {
        if !self.layout.is_whole_block(block) {
            return;
        }
        self.open.change(block.piece, |partial| partial.release(peer, block.number()));
        self.close_if_blank(block.piece);
    }

    /// Turns an open piece without any block into a missing one.
    pub(super) fn close_if_blank(&mut self, piece: PieceIndex) {
        if self.open.get(piece).is_some_and(|partial| partial.is_blank()) {
            self.open.remove(piece);
            self.insert_candidate(piece);
        }
    }
}
