//! The pieces gained, in order, with a cursor per peer: HAVEs are told from it, coalesced.
use std::collections::VecDeque;

use wgo_proto::PieceIndex;

/// An append-only list whose old entries are dropped once every peer has been told.
///
/// Bounded by the pieces gained while the slowest peer did not read: at most the torrent's.
#[derive(Debug, Default)]
pub(super) struct HaveLog {
    dropped: u64,
    pieces: VecDeque<PieceIndex>,
}

impl HaveLog {
    /// The cursor of someone who has been told everything.
    pub(super) fn end(&self) -> u64 {
        self.dropped + self.pieces.len() as u64
    }

    /// Gains that somebody has not been told of, or nobody has been trimmed of.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn push(&mut self, piece: PieceIndex) {
        self.pieces.push_back(piece);
    }

    /// What was gained since `cursor`.
    pub(super) fn since(&self, cursor: u64) -> impl Iterator<Item = PieceIndex> + '_ {
        self.pieces.range((cursor.saturating_sub(self.dropped) as usize).min(self.pieces.len())..).copied()
    }

    /// Drops what everyone has been told.
    pub(super) fn trim(&mut self, lowest_cursor: u64) {
        let told = (lowest_cursor.saturating_sub(self.dropped) as usize).min(self.pieces.len());
        self.pieces.drain(..told);
        self.dropped += told as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cursor_sees_what_came_after_it_and_trimming_keeps_the_rest() {
        let mut log = HaveLog::default();
        log.push(PieceIndex(4));
        let early = log.end();
        log.push(PieceIndex(5));
        log.push(PieceIndex(6));
        log.trim(early);
        assert_eq!(log.since(early).collect::<Vec<_>>(), [PieceIndex(5), PieceIndex(6)]);
        assert_eq!(log.since(log.end()).count(), 0);
        log.trim(99);
        assert_eq!((log.end(), log.since(0).count()), (3, 0));
    }
}
