//! Pieces that wait for company: several are hashed together for little more than one alone costs, and
//! small ones that lie side by side are written together.
//!
//! They wait only while pieces come quickly, so that one that comes by itself is stored at once. The
//! time is small against the 200 ms in which HAVEs are gathered.
use std::time::{Duration, Instant};

/// A piece waits this long at most, and at all only if the last one came within it.
const PATIENCE: Duration = Duration::from_millis(40);
/// Blocks that wait at most: large pieces hold too much memory meanwhile. 16 MiB.
const MOST_BLOCKS: usize = 1024;
/// Blocks of small pieces that are worth a write together: 4 MiB, the longest.
const WRITE_BLOCKS: usize = 256;
/// Pieces of such a write at most: 256 KiB each is where joining them matters most, and what is told of
/// each waits for all.
pub(super) const WRITE_PIECES: usize = 16;

/// Pieces that are hashed together whatever their size.
const FEW: usize = 4;

/// Whether so many pieces, of so many blocks in all, are taken together: to be hashed in so many lanes, or
/// to be written.
pub(super) fn go_together(pieces: usize, blocks: usize, lanes: usize) -> bool {
    pieces <= lanes.min(FEW)
        || (pieces <= lanes && blocks <= MOST_BLOCKS)
        || (pieces <= WRITE_PIECES && blocks <= WRITE_BLOCKS)
}

/// The pieces that wait, as many as go together.
#[derive(Debug)]
pub(super) struct Gather<T> {
    waiting: Vec<T>,
    blocks: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// When the last piece of all came.
    last: Option<Instant>,
    /// Whether the present ones wait no longer.
    ready: bool,
    /// Pieces that are worth waiting for, to be hashed together.
    lanes: usize,
}

impl<T> Default for Gather<T> {
    fn default() -> Gather<T> {
        Gather::new(wgo_hash::lanes())
    }
}

impl<T> Gather<T> {
    fn new(lanes: usize) -> Gather<T> {
        Gather { waiting: Vec::new(), blocks: 0, since: None, last: None, ready: false, lanes }
    }

    /// A piece of so many blocks comes.
    pub(super) fn push(&mut self, now: Instant, piece: T, blocks: usize) {
        let alone = self.last.is_none_or(|last| now.saturating_duration_since(last) > PATIENCE);
        self.last = Some(now);
        self.since.get_or_insert(now);
        self.waiting.push(piece);
        self.blocks += blocks;
        // Where the next one would not fit, waiting for it is in vain.
        let (pieces, all) = (self.waiting.len() + 1, self.blocks + blocks);
        let full = !go_together(pieces, all, self.lanes) || all > MOST_BLOCKS;
        self.ready |= alone || full;
    }

    /// Whether [`take`](Self::take) has something to give.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && (self.ready || self.due().is_none_or(|due| due <= now))
    }

    /// When those that wait have waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// All that wait, in order.
    pub(super) fn take(&mut self) -> Vec<T> {
        (self.blocks, self.since, self.ready) = (0, None, false);
        std::mem::take(&mut self.waiting)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken at once after each piece comes, `(ms, blocks)`.
    fn taken(lanes: usize, pieces: &[(u64, usize)]) -> Vec<usize> {
        let (start, mut gather) = (Instant::now(), Gather::new(lanes));
        let each = pieces.iter().map(|&(ms, blocks)| {
            let now = start + Duration::from_millis(ms);
            let due = if gather.is_ready(now) { gather.take().len() } else { 0 };
            gather.push(now, (), blocks);
            due + if gather.is_ready(now) { gather.take().len() } else { 0 }
        });
        each.collect()
    }

    #[test]
    fn a_piece_by_itself_does_not_wait() {
        assert_eq!(taken(4, &[(0, 64), (1000, 64), (2000, 64)]), [1, 1, 1]);
    }

    #[test]
    fn pieces_that_come_quickly_wait_for_four() {
        assert_eq!(taken(4, &[(0, 64), (5, 64), (10, 64), (15, 64), (20, 64), (25, 64)]), [1, 0, 0, 0, 4, 0]);
    }

    #[test]
    fn nobody_waits_longer_than_the_patience() {
        let (start, mut gather) = (Instant::now(), Gather::new(4));
        gather.push(start, 1, 64);
        assert_eq!(gather.take(), [1]);
        assert_eq!(gather.due(), None);
        gather.push(start + PATIENCE / 2, 2, 64);
        assert!(!gather.is_ready(start + PATIENCE));
        assert_eq!(gather.due(), Some(start + PATIENCE / 2 + PATIENCE));
        assert!(gather.is_ready(start + PATIENCE / 2 + PATIENCE));
    }

    #[test]
    fn small_pieces_wait_for_a_long_write() {
        let small = |blocks| -> Vec<(u64, usize)> { (0..20).map(|nth| (nth, blocks)).collect() };
        let mut wanted = [0; 20];
        (wanted[0], wanted[16]) = (1, 16);
        for (lanes, blocks) in [(4, 16), (4, 1), (1, 16)] {
            assert_eq!(taken(lanes, &small(blocks)), wanted, "{lanes} {blocks}");
        }
        assert_eq!(taken(4, &small(32))[..10], [1, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
        assert_eq!(taken(1, &small(64))[..10], [1, 0, 0, 0, 4, 0, 0, 0, 4, 0]);
    }

    #[test]
    fn pieces_wait_for_many_lanes_until_they_hold_much() {
        let quick = |blocks| -> Vec<(u64, usize)> { (0..20).map(|nth| (nth, blocks)).collect() };
        assert_eq!(taken(8, &quick(128))[..9], [1, 0, 0, 0, 0, 0, 0, 0, 8]);
        assert_eq!(taken(8, &quick(64))[..9], [1, 0, 0, 0, 0, 0, 0, 0, 8]);
        assert_eq!(taken(8, &quick(256))[..9], [1, 0, 0, 0, 4, 0, 0, 0, 4]);
    }

    #[test]
    fn large_pieces_do_not_wait() {
        assert_eq!(taken(4, &[(0, 1024), (5, 1024), (10, 1024)]), [1, 1, 1]);
        assert_eq!(taken(4, &[(0, 400), (5, 400), (10, 400), (15, 400)]), [1, 0, 2, 0]);
        assert_eq!(taken(1, &[(0, 256), (1, 256), (2, 256)]), [1, 1, 1]);
    }
}
