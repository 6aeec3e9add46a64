//! The part file: where bytes go of files that nobody wants, in pieces that hold bytes of wanted ones.
//!
//! Only pieces that several files share need it. It has a place for each of them, whichever files are
//! wanted: nothing in it ever moves when that changes, and what isn't used takes no space where files may
//! have holes.
use std::sync::Arc;

use super::{FileEntry, Info};
use crate::layout::{Layout, Span, Spans};
use crate::path::SafePath;
use crate::units::{FileIndex, PieceIndex};

/// Which files are kept in the part file, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    /// Files whose share of shared pieces is kept there, ascending.
    parted: Box<[FileIndex]>,
    /// The pieces that several files share, ascending: a piece's place is its rank among them.
    shared: Box<[u32]>,
    piece_len: u32,
    /// Its number among the files.
    file: FileIndex,
}

impl Parts {
    /// Where a span of a piece that begins at byte `at` of it really lies.
    fn place(&self, piece: PieceIndex, at: u32, span: Span) -> Span {
        if self.parted.binary_search(&span.file).is_err() {
            return span;
        }
        let Ok(rank) = self.shared.binary_search(&piece.0) else { return span };
        let offset = rank as u64 * u64::from(self.piece_len) + u64::from(at);
        Span { file: self.file, offset, len: span.len }
    }
}

impl Info {
    /// The same torrent with a part file for the shared pieces of `parted`, if it has any. The part file is
    /// the last of its files, one more than its layout knows of; `tag` makes its name, and is to be that of
    /// no other torrent.
    pub fn with_parts(&self, tag: &str, parted: impl IntoIterator<Item = FileIndex>) -> Info {
        let mut info = self.without_parts();
        let shared = shared_pieces(&info.layout, &info.files);
        let Ok(path) = part_path(&info.files, tag) else { return info };
        if shared.is_empty() {
            return info;
        }
        let mut parted: Vec<FileIndex> = parted.into_iter().collect();
        parted.sort_unstable();
        let piece_len = info.layout.nominal_piece_len();
        let len = shared.len() as u64 * u64::from(piece_len);
        let file = FileIndex(info.files.len() as u32);
        info.files.push(FileEntry {
            path,
            len,
            pad: false,
            executable: false,
            hidden: true,
            symlink: None,
            mtime: None,
            sha1: None,
            pieces_root: None,
        });
        info.parts = Some(Arc::new(Parts { parted: parted.into(), shared: shared.into(), piece_len, file }));
        info
    }

    /// The same torrent without a part file.
    pub fn without_parts(&self) -> Info {
        let mut info = self.clone();
        if info.parts.take().is_some() {
            info.files.pop();
        }
        info
    }

    /// The part file, if there is one.
    pub fn part_file(&self) -> Option<FileIndex> {
        self.parts.as_ref().map(|parts| parts.file)
    }

    /// Whether a file's share of shared pieces is kept in the part file.
    pub fn is_parted(&self, file: FileIndex) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.parted.binary_search(&file).is_ok())
    }

    /// The pieces that may lie, in whole or in part, in a file as it is on disk: all that hold bytes of it,
    /// less those of which its bytes are in the part file; of that one all that it has a place for.
    pub fn pieces_in(&self, file: FileIndex) -> impl Iterator<Item = PieceIndex> + '_ {
        let parts = self.parts.as_deref();
        let here: &[u32] = parts.filter(|parts| parts.file == file).map_or(&[], |parts| &parts.shared);
        let parts = parts.filter(|_| self.is_parted(file));
        let elsewhere = move |piece: &u32| parts.is_some_and(|p| p.shared.binary_search(piece).is_ok());
        let own = self.layout.pieces_of(file).filter(move |piece| !elsewhere(piece));
        own.chain(here.iter().copied()).map(PieceIndex)
    }

    /// Where a piece's bytes `offset..offset + len` lie on disk, as [`Layout::spans`] says, but for those in
    /// the part file.
    pub fn spans(&self, piece: PieceIndex, offset: u32, len: u32) -> PartSpans<'_> {
        let parts = self.parts.as_deref();
        PartSpans { spans: self.layout.spans(piece, offset, len), parts, piece, at: offset }
    }
}

/// The spans of a run of bytes on disk; see [`Info::spans`].
#[derive(Clone, Debug)]
pub struct PartSpans<'a> {
    spans: Spans<'a>,
    parts: Option<&'a Parts>,
    piece: PieceIndex,
    /// Where in the piece the next one begins.
    at: u32,
}

impl Iterator for PartSpans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let span = self.spans.next()?;
        let at = self.at;
        self.at += span.len;
        Some(match self.parts {
            None => span,
            Some(parts) => parts.place(self.piece, at, span),
        })
    }
}

/// The pieces with bytes of several files, ascending.
fn shared_pieces(layout: &Layout, files: &[FileEntry]) -> Vec<u32> {
    let mut shared = Vec::new();
    let mut last = None;
    let stored = (0..).map(FileIndex).zip(files).filter(|(_, file)| !file.pad && file.len > 0);
    for pieces in stored.map(|(file, _)| layout.pieces_of(file)).filter(|pieces| !pieces.is_empty()) {
        if last == Some(pieces.start) && shared.last() != Some(&pieces.start) {
            shared.push(pieces.start);
        }
        last = Some(pieces.end - 1);
    }
    shared
}

/// A hidden name in the torrent's own folder, if it has one: so it goes where that goes.
fn part_path(files: &[FileEntry], tag: &str) -> Result<SafePath, crate::path::PathError> {
    let root = files.first().and_then(|file| {
        let root = file.path.components().next()?;
        let inside = |file: &FileEntry| file.path.components().next() == Some(root);
        (files.iter().all(inside) && file.path.parent().is_some()).then_some(root)
    });
    let name = format!(".{tag}.parts");
    SafePath::exact(&root.map_or(name.clone(), |root| format!("{root}/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Metainfo;

    const PIECE: u64 = 1 << 14;

    /// Pieces 0…4: `a` has 0 and half of 1, `b` a quarter of 1, `c` the rest of 1 and half of 2, `d` the rest.
    fn info() -> Info {
        let files = [("a", PIECE * 3 / 2), ("b", PIECE / 4), ("c", PIECE * 3 / 4), ("d", PIECE * 2)];
        let list: String =
            files.iter().map(|(name, len)| format!("d6:lengthi{len}e4:pathl1:{name}ee")).collect();
        let total: u64 = files.iter().map(|(_, len)| len).sum();
        let pieces = "x".repeat(total.div_ceil(PIECE) as usize * 20);
        let torrent = format!(
            "d4:infod5:filesl{list}e4:name1:t12:piece lengthi{PIECE}e6:pieces{}:{pieces}ee",
            pieces.len()
        );
        Metainfo::parse(torrent.as_bytes()).unwrap().info
    }

    fn spans(info: &Info, piece: u32) -> Vec<(u32, u64, u32)> {
        let whole = info.spans(PieceIndex(piece), 0, info.layout.piece_len(PieceIndex(piece)));
        whole.map(|span| (span.file.0, span.offset, span.len)).collect()
    }

    #[test]
    fn without_a_part_file_bytes_lie_where_the_layout_says() {
        let info = info();
        for piece in (0..info.layout.piece_count()).map(PieceIndex) {
            let len = info.layout.piece_len(piece);
            assert!(info.spans(piece, 3, len).eq(info.layout.spans(piece, 3, len)));
        }
        assert_eq!((info.part_file(), info.is_parted(FileIndex(1))), (None, false));
    }

    #[test]
    fn bytes_of_parted_files_in_shared_pieces_lie_in_the_part_file() {
        let (plain, quarter) = (info(), PIECE as u32 / 4);
        let info = plain.with_parts("ab12", [FileIndex(3), FileIndex(1)]);
        assert_eq!(info.part_file(), Some(FileIndex(4)));
        assert_eq!(info.files[4].path.as_str(), "t/.ab12.parts");
        assert_eq!(info.files[4].len, 2 * PIECE, "pieces 1 and 2 are shared");
        assert_eq!(spans(&info, 0), spans(&plain, 0));
        assert_eq!(
            spans(&info, 1),
            [(0, PIECE, 2 * quarter), (4, PIECE / 2, quarter), (2, 0, quarter)],
            "each byte at its place in the piece"
        );
        assert_eq!(spans(&info, 2), [(2, PIECE / 4, 2 * quarter), (4, PIECE + PIECE / 2, 2 * quarter)]);
        assert_eq!(spans(&info, 3), spans(&plain, 3), "nobody else has bytes of it");
        let from_within = info.spans(PieceIndex(2), 3 * quarter, 5).map(|s| (s.file.0, s.offset));
        assert_eq!(from_within.collect::<Vec<_>>(), [(4, PIECE + PIECE * 3 / 4)]);
    }

    #[test]
    fn a_place_does_not_depend_on_what_else_is_parted() {
        let one = info().with_parts("t", [FileIndex(3)]);
        let two = info().with_parts("t", [FileIndex(1), FileIndex(2), FileIndex(3)]);
        assert_eq!(spans(&one, 2)[1], spans(&two, 2)[1]);
    }

    #[test]
    fn the_pieces_in_a_file_itself() {
        let info = info().with_parts("t", [FileIndex(3)]);
        let pieces = |file| info.pieces_in(FileIndex(file)).map(|p| p.0).collect::<Vec<_>>();
        assert_eq!((pieces(0), pieces(3), pieces(4)), (vec![0, 1], vec![3, 4], vec![1, 2]));
    }

    #[test]
    fn taking_the_part_file_away_gives_the_torrent_as_it_was() {
        let plain = info();
        let parted = plain.with_parts("t", [FileIndex(1)]);
        assert_eq!(parted.without_parts(), plain);
        assert_eq!(parted.with_parts("t", [FileIndex(2)]).files.len(), 5);
    }

    #[test]
    fn a_torrent_without_shared_pieces_has_no_part_file() {
        let mut plain = info();
        plain.layout =
            Layout::v2(PIECE as u32, &[PIECE * 3 / 2, PIECE / 4, PIECE * 3 / 4, PIECE * 2]).unwrap();
        assert_eq!(plain.with_parts("t", [FileIndex(0)]), plain);
    }
}
