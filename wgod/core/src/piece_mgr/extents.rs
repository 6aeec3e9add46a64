//! Extents: pieces that lie side by side on disk. Among equally rare pieces the picker prefers those of an
//! extent that is begun, so that they are complete at about the same time and the storage threads write
//! them together (as libtorrent's `piece_extent_affinity` does).
use smallvec::SmallVec;
use wgo_proto::Bitfield;

use super::PeerHave;
use super::candidates::ones;

/// Bytes of an extent: the longest write.
const LEN: u32 = 4 * 1024 * 1024;
/// Pieces of an extent at most, so that it lies in one word of a set.
const MOST_PIECES: u32 = 64;
/// Extents that are remembered: peers that have different pieces need several. When there are more, the
/// oldest is forgotten, and what it lacks is picked as any other piece.
const RECENT: usize = 8;

/// The extents of a torrent in which pieces were opened lately.
pub(super) struct Extents {
    /// Pieces of each, aligned: a power of two. One: pieces that are long by themselves.
    pieces: u32,
    /// The piece of each that was opened first; oldest first, so that what was begun first is completed
    /// first.
    recent: SmallVec<[u32; RECENT]>,
}

impl Extents {
    /// Of a torrent with pieces of `piece_len` bytes.
    pub(super) fn new(piece_len: u32) -> Extents {
        let fit = (LEN / piece_len.max(1)).clamp(1, MOST_PIECES);
        Extents { pieces: 1 << fit.ilog2(), recent: SmallVec::new() }
    }

    /// A piece was opened. Extents without any candidate, as `has_any` tells of a word, make room first.
    pub(super) fn begin(&mut self, piece: u32, has_any: impl Fn(usize, u64) -> bool) {
        let pieces = self.pieces;
        if pieces == 1 || self.recent.iter().any(|begun| begun / pieces == piece / pieces) {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.retain(|begun| {
                let (word, mask) = place(*begun, pieces);
                has_any(word, mask)
            });
        }
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(piece);
    }

    /// A piece of `set` in a remembered extent that the peer has and `take` accepts: the next after the
    /// one that was opened first. That one is random, so clients that are in the same extent at the same
    /// time don't all fetch the same pieces.
    pub(super) fn find(&self, set: &Bitfield, has: &PeerHave, take: impl Fn(u32) -> bool) -> Option<u32> {
        self.recent.iter().find_map(|&begun| {
            let (word, mask) = place(begun, self.pieces);
            let found = has.word_of(set, word) & mask;
            let after = u64::MAX >> (begun % 64);
            let base = word as u32 * 64;
            ones(base, found & after).chain(ones(base, found & !after)).find(|&piece| take(piece))
        })
    }

    /// Panics where what is remembered is too much, or nowhere in a torrent of `pieces`.
    pub(super) fn check_invariants(&self, pieces: u32) {
        assert!(self.recent.len() <= RECENT && (self.pieces > 1 || self.recent.is_empty()));
        for (at, begun) in self.recent.iter().enumerate() {
            assert!(*begun < pieces, "piece {begun} is of another torrent");
            let is_twice = self.recent[..at].iter().any(|other| other / self.pieces == begun / self.pieces);
            assert!(!is_twice, "the extent of piece {begun} is remembered twice");
        }
    }
}

/// The word of a set in which the extent of a piece lies, of so many pieces, and its bits there; the high
/// bit is the first piece.
fn place(piece: u32, pieces: u32) -> (usize, u64) {
    let first = piece - piece % pieces;
    (first as usize / 64, u64::MAX << (64 - pieces) >> (first % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_as_many_pieces_as_fit_and_lies_in_one_word() {
        for (piece_len, pieces) in [
            (0, 64),
            (1, 64),
            (16 << 10, 64),
            (64 << 10, 64),
            (256 << 10, 16),
            (300 << 10, 8),
            (1 << 20, 4),
            (2 << 20, 2),
            (3 << 20, 1),
            (4 << 20, 1),
            (512 << 20, 1),
        ] {
            assert_eq!(Extents::new(piece_len).pieces, pieces, "{piece_len}");
        }
        assert_eq!(place(3, 64), (0, u64::MAX));
        assert_eq!(place(64 + 31, 16), (1, 0x0000_ffff_0000_0000));
        assert_eq!(place(62, 2), (0, 3));
    }

    #[test]
    fn those_that_are_exhausted_are_forgotten_first_and_then_the_oldest() {
        let mut extents = Extents::new(1 << 20);
        (0..RECENT as u32).for_each(|extent| extents.begin(extent * 4 + 1, |_, _| true));
        extents.begin(2, |_, _| panic!("it is remembered"));
        extents.begin(100, |word, mask| (word, mask) != place(8, 4));
        assert_eq!(extents.recent[..], [1, 5, 13, 17, 21, 25, 29, 100]);
        extents.begin(200, |_, _| true);
        assert_eq!(extents.recent[..], [5, 13, 17, 21, 25, 29, 100, 200]);
        extents.check_invariants(201);
    }

    #[test]
    fn it_goes_on_from_the_piece_that_was_opened_first_and_round() {
        let mut extents = Extents::new(256 << 10);
        let mut set = Bitfield::full(100);
        extents.begin(85, |_, _| true);
        let mut order = Vec::new();
        while let Some(piece) = extents.find(&set, &PeerHave::All, |piece| piece != 90) {
            set.clear(piece);
            order.push(piece);
        }
        let wanted: Vec<u32> = (85..96).chain(80..85).filter(|piece| *piece != 90).collect();
        assert_eq!(order, wanted);
    }
}
