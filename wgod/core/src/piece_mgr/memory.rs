//! What partial pieces hold in memory and on disk.
use wgo_proto::{Bitfield, PieceIndex};

use super::partial::{Partial, Phase};
use super::{Complete, PieceMgr, PieceState};

/// Blocks of an incomplete piece, to be written early so that their memory is free.
#[derive(Debug, PartialEq, Eq)]
pub struct Spill<B> {
    /// The piece.
    pub piece: PieceIndex,
    /// The blocks by number, ascending; not all of them lie next to each other.
    pub blocks: Vec<(u32, B)>,
}

impl<B> PieceMgr<B> {
    /// Buffers that partial pieces hold in memory. O(1).
    pub fn held_blocks(&self) -> usize {
        self.open.held()
    }

    /// Buffers that were handed to the storage threads, to be verified and written or only written, and
    /// are not back yet. O(1).
    pub fn away_blocks(&self) -> usize {
        self.open.away()
    }

    /// Blocks asked for and not received, each once: buffers that are likely to be held soon. O(1).
    pub fn requested_blocks(&self) -> usize {
        self.open.requested()
    }

    /// Pieces that are partial or being verified. O(1).
    pub fn open_pieces(&self) -> usize {
        self.open.len()
    }

    /// Gives up the buffers of the piece that had no progress for the longest time, to be written early.
    /// `None` when no piece holds any, but those whose last spill isn't done. O(open pieces).
    ///
    /// The piece goes on meanwhile. [`spilled`](Self::spilled) must follow.
    pub fn spill(&mut self) -> Option<Spill<B>> {
        let able = |partial: &&Partial<B>| {
            partial.phase == Phase::Filling && partial.tally.held > 0 && !partial.spilling
        };
        let piece =
            self.open.iter().filter(able).min_by_key(|partial| (partial.progress, partial.piece))?.piece;
        let blocks = self.open.change(piece, |partial| {
            partial.spilling = true;
            partial.take_held()
        })?;
        Some(Spill { piece, blocks })
    }

    /// The blocks of a spill are written, or (`ok` false) lost, and missing again. Returns the piece if
    /// all its other blocks came meanwhile.
    pub fn spilled(&mut self, piece: PieceIndex, ok: bool) -> Option<Complete<B>> {
        let complete = self.open.change(piece, |partial| {
            if !partial.spilling {
                return None;
            }
            let doubtful = std::mem::take(&mut partial.doubtful);
            partial.spilled(ok && !doubtful);
            partial.take_if_filled()
        });
        self.close_if_blank(piece);
        complete.flatten()
    }

    /// Bytes of blocks that had been received and are missing again, since the last call: they came in vain.
    pub fn take_dropped(&mut self) -> u64 {
        let layout = &self.layout;
        let len = |(piece, number)| u64::from(layout.block(piece, number).len);
        self.open.take_dropped().into_iter().map(len).sum()
    }

    /// The blocks on disk of every piece that isn't complete there, for the store. O(open blocks).
    pub fn partial_masks(&self) -> impl Iterator<Item = (PieceIndex, Bitfield)> + '_ {
        let masks = self.open.iter().map(|partial| (partial.piece, partial.on_disk()));
        masks.filter(|(_, mask)| !mask.is_empty())
    }

    /// Takes up a partial piece where an earlier run left it: the blocks of `mask` are on disk. Ignored
    /// when the piece isn't missing or has another number of blocks. Returns it when no block is missing.
    pub fn restore_partial(&mut self, piece: PieceIndex, mask: &Bitfield) -> Option<Complete<B>> {
        let blocks = self.layout.blocks_in(piece);
        if self.state(piece) != PieceState::Missing || mask.is_empty() || mask.len() != blocks {
            return None;
        }
        self.remove_candidate(piece);
        let mut partial = Partial::new(piece, blocks);
        partial.restore(mask);
        let complete = partial.take_if_filled();
        let priority = self.priority(piece);
        self.open.insert(partial, priority);
        complete
    }
}
