//! Which files of a torrent are wanted, and how much: what the operator says by file, made into what
//! the picker needs by piece.
//!
//! A piece that several files share is wanted as much as the one of them that is wanted most. So pieces
//! at the edges of unwanted files are fetched too, and their bytes must go somewhere.
use wgo_proto::layout::Layout;
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use crate::piece_mgr::Priority;

/// The ends of a file that come first on wish: so much of it at either end, but one piece at least. Players
/// look for their tables there.
const END_SHARE: u64 = 100;
/// And at most so many bytes at either end.
const MAX_END: u64 = 16 << 20;

/// What is wanted of a torrent's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// By file.
    files: Box<[Priority]>,
    /// By piece.
    pieces: Box<[Priority]>,
    /// The pieces that aren't skipped.
    wanted: Bitfield,
    /// Bytes of the files that aren't skipped.
    wanted_len: u64,
}

impl Selection {
    /// `files` has one priority for each file of `layout`; files that it lacks are `Normal`. `is_pad` names
    /// padding, which nobody wants for itself (BEP 47). With `ends_first` the first and last pieces of each
    /// file come before its others. `None`: every piece is wanted alike.
    pub fn new(
        layout: &Layout,
        files: &[Priority],
        is_pad: impl Fn(FileIndex) -> bool,
        ends_first: bool,
    ) -> Option<Selection> {
        if !ends_first && files.iter().all(|priority| *priority == Priority::Normal) {
            return None;
        }
        let count = layout.piece_count();
        let mut pieces = vec![Priority::Skip; count as usize];
        let mut raise = |piece: u32, to: Priority| {
            if let Some(priority) = pieces.get_mut(piece as usize) {
                *priority = to.max(*priority);
            }
        };
        let mut wanted_len = 0;
        let mut all = Vec::with_capacity(layout.file_count() as usize);
        for file in (0..layout.file_count()).map(FileIndex) {
            let priority = files.get(file.0 as usize).copied().unwrap_or_default();
            all.push(priority);
            if is_pad(file) || priority == Priority::Skip {
                continue;
            }
            wanted_len += layout.file_len(file);
            let range = layout.pieces_of(file);
            let ends = if ends_first { end_pieces(layout, file) } else { 0 };
            for piece in range.clone() {
                let at_end = piece - range.start < ends || range.end - piece <= ends;
                raise(piece, if at_end { higher(priority) } else { priority });
            }
        }
        let mut wanted = Bitfield::new(count);
        for (piece, _) in (0..).zip(&pieces).filter(|(_, priority)| **priority != Priority::Skip) {
            wanted.set(piece);
        }
        Some(Selection { files: all.into(), pieces: pieces.into(), wanted, wanted_len })
    }

    /// How much a file is wanted; `Skip` for one that doesn't exist.
    pub fn file(&self, file: FileIndex) -> Priority {
        self.files.get(file.0 as usize).copied().unwrap_or(Priority::Skip)
    }

    /// How much a piece is wanted; `Skip` for one that doesn't exist.
    pub fn piece(&self, piece: PieceIndex) -> Priority {
        self.pieces.get(piece.0 as usize).copied().unwrap_or(Priority::Skip)
    }

    /// The pieces that aren't skipped.
    pub fn wanted(&self) -> &Bitfield {
        &self.wanted
    }

    /// Bytes of the files that aren't skipped, without padding.
    pub fn wanted_len(&self) -> u64 {
        self.wanted_len
    }

    /// Whether `have` holds all that is wanted.
    pub fn is_met(&self, have: &Bitfield) -> bool {
        self.wanted.count_and_not(have) == 0
    }
}

/// How many pieces at either end of a file come first.
fn end_pieces(layout: &Layout, file: FileIndex) -> u32 {
    let bytes = (layout.file_len(file) / END_SHARE).min(MAX_END);
    // At most MAX_END / 1 pieces, so it fits.
    bytes.div_ceil(u64::from(layout.nominal_piece_len())).max(1) as u32
}

/// The next class up.
fn higher(priority: Priority) -> Priority {
    match priority {
        Priority::Skip => Priority::Skip,
        Priority::Low => Priority::Normal,
        Priority::Normal | Priority::High => Priority::High,
    }
}

#[cfg(test)]
mod tests {
    use Priority::{High, Low, Normal, Skip};

    use super::*;

    const PIECE: u32 = 1 << 14;

    /// Pieces 0…9; the files meet in the pieces 1, 4 and 6.
    fn layout() -> Layout {
        let lens = [1.5, 3.0, 2.0, 3.5].map(|pieces| (pieces * f64::from(PIECE)) as u64);
        Layout::v1(PIECE, &lens).unwrap()
    }

    fn pieces(files: &[Priority], ends_first: bool) -> Vec<Priority> {
        let selection = Selection::new(&layout(), files, |_| false, ends_first).unwrap();
        (0..10).map(|piece| selection.piece(PieceIndex(piece))).collect()
    }

    #[test]
    fn a_shared_piece_is_wanted_as_much_as_the_file_that_is_wanted_most() {
        assert_eq!(
            pieces(&[Skip, Low, Skip, High], false),
            [Skip, Low, Low, Low, Low, Skip, High, High, High, High]
        );
        assert_eq!(pieces(&[Normal, Skip, Skip, Skip], false)[..3], [Normal, Normal, Skip]);
        assert_eq!(pieces(&[Skip], false)[1..], [Normal; 9], "files that aren't named are normal");
    }

    #[test]
    fn the_ends_of_each_file_come_first_on_wish() {
        assert_eq!(
            pieces(&[Low, Skip, Normal, Normal], true),
            [Normal, Normal, Skip, Skip, High, Normal, High, Normal, Normal, High],
        );
    }

    #[test]
    fn all_alike_is_no_selection() {
        assert_eq!(Selection::new(&layout(), &[], |_| false, false), None);
        assert_eq!(Selection::new(&layout(), &[Normal; 4], |_| false, false), None);
        assert!(Selection::new(&layout(), &[], |_| false, true).is_some());
    }

    #[test]
    fn it_is_met_when_nothing_wanted_is_missing() {
        let selection = Selection::new(&layout(), &[Skip, Normal, Skip, Skip], |_| false, false).unwrap();
        let mut have = Bitfield::new(10);
        (2..5).for_each(|piece| assert!(have.set(piece)));
        assert!(!selection.is_met(&have));
        have.set(1);
        assert!(selection.is_met(&have));
        assert_eq!(selection.wanted().iter_ones().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn padding_makes_no_piece_wanted() {
        let layout = Layout::v1(PIECE, &[u64::from(PIECE) / 2, u64::from(PIECE) / 2, 10]).unwrap();
        let selection = Selection::new(&layout, &[Skip, Normal, Normal], |f| f.0 == 1, false).unwrap();
        assert_eq!(selection.wanted().iter_ones().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_does_not_exist_is_skipped() {
        let selection = Selection::new(&layout(), &[High], |_| false, false).unwrap();
        assert_eq!(selection.piece(PieceIndex(10)), Skip);
        assert_eq!((selection.file(FileIndex(4)), selection.file(FileIndex(0))), (Skip, High));
    }
}
