//! Where a torrent's bytes lie: pieces, blocks and files (BEP 3, BEP 52).
//!
//! [`Layout`] alone answers these questions, for the wire, the picker and the disk. In a v1 or hybrid
//! torrent the files follow one another without gaps (pad files included) and a piece may span many. In a
//! v2 torrent each file starts a piece, and its last piece is short.
use crate::units::{BLOCK_LEN, Block, FileIndex, PieceIndex};
use std::ops::Range;
use std::sync::Arc;

/// Most pieces of a torrent. libtorrent's bound too; a bitfield then has 256 KiB.
pub const MAX_PIECES: u32 = 1 << 21;
/// Most bytes of a piece, 512 MiB: the bound of the largest client in use.
pub const MAX_PIECE_LEN: u32 = 1 << 29;
/// Most bytes of a torrent, 256 TiB: sums of lengths and offsets stay far from overflow.
pub const MAX_TOTAL_LEN: u64 = 1 << 48;
/// Longest run of bytes that a peer may ask for in one request, 128 KiB.
pub const MAX_REQUEST_LEN: u32 = 128 * 1024;

/// The mapping between pieces and files of one torrent. Cloning it is cheap; look-ups take at most
/// O(log files).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    piece_len: u32,
    pieces: u32,
    total_len: u64,
    /// Each file starts a piece.
    aligned: bool,
    /// Starts ascend; a file of no bytes starts where the next one does.
    files: Box<[Extent]>,
}

/// A file's place in the torrent's address space, where piece `p` starts at `p × piece length`.
#[derive(Debug, PartialEq, Eq)]
struct Extent {
    start: u64,
    len: u64,
}

impl Extent {
    fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// A run of bytes in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file; it may be a pad file, whose bytes are zero and lie on no disk.
    pub file: FileIndex,
    /// First byte within the file.
    pub offset: u64,
    /// Bytes, never 0.
    pub len: u32,
}

/// Lengths from which no layout can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The piece length is 0 or above [`MAX_PIECE_LEN`].
    #[error("the piece length is {found} bytes; 1 to {MAX_PIECE_LEN} are possible")]
    PieceLen {
        /// Bytes.
        found: u32,
    },
    /// v2 only: the piece length is not a power of two of at least 16 KiB (BEP 52).
    #[error("the piece length is {found} bytes; a v2 torrent needs a power of two of at least 16384")]
    PieceLenV2 {
        /// Bytes.
        found: u32,
    },
    /// There is nothing to transfer.
    #[error("the files have no bytes")]
    Empty,
    /// Above [`MAX_TOTAL_LEN`], or more files than can be numbered.
    #[error("the files have more than {MAX_TOTAL_LEN} bytes")]
    TooLarge,
    /// Above [`MAX_PIECES`].
    #[error("{found} pieces; at most {MAX_PIECES} are possible")]
    TooManyPieces {
        /// Pieces.
        found: u64,
    },
}

/// A block that is not inside the torrent, or longer than anyone may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bytes {}+{} of piece {}, which has {piece_len} bytes (0: no such piece)",
    block.offset, block.len, block.piece.0
)]
pub struct OutOfRange {
    /// What came.
    pub block: Block,
    /// Bytes of that piece; 0 when the torrent has no such piece.
    pub piece_len: u32,
}

impl Layout {
    /// The layout of a v1 or hybrid torrent: `file_lens` in order, pad files included, nothing between.
    pub fn v1(piece_len: u32, file_lens: &[u64]) -> Result<Layout, LayoutError> {
        Layout::new(piece_len, file_lens, false)
    }

    /// The layout of a v2-only torrent: each file of `file_lens` starts a piece.
    pub fn v2(piece_len: u32, file_lens: &[u64]) -> Result<Layout, LayoutError> {
        if !piece_len.is_power_of_two() || piece_len < BLOCK_LEN {
            return Err(LayoutError::PieceLenV2 { found: piece_len });
        }
        Layout::new(piece_len, file_lens, true)
    }

    /// The layout of a torrent of which only the info-hash is known (BEP 9): no pieces and no files.
    pub fn unknown() -> Layout {
        let files = Box::new([]);
        Layout(Arc::new(Inner { piece_len: BLOCK_LEN, pieces: 0, total_len: 0, aligned: false, files }))
    }

    /// Whether the torrent's metadata has said it.
    pub fn is_known(&self) -> bool {
        self.0.pieces > 0
    }

    fn new(piece_len: u32, file_lens: &[u64], aligned: bool) -> Result<Layout, LayoutError> {
        if piece_len == 0 || piece_len > MAX_PIECE_LEN {
            return Err(LayoutError::PieceLen { found: piece_len });
        }
        if u32::try_from(file_lens.len()).is_err() {
            return Err(LayoutError::TooLarge);
        }
        let (mut next, mut total_len) = (0u64, 0u64);
        let mut files = Vec::with_capacity(file_lens.len());
        for &len in file_lens {
            if len > MAX_TOTAL_LEN - total_len {
                return Err(LayoutError::TooLarge);
            }
            total_len += len;
            files.push(Extent { start: next, len });
            next += len;
            if aligned {
                // Alignment gaps alone could overflow, so the pieces are bounded on the way.
                next = next.next_multiple_of(u64::from(piece_len));
                check_pieces(next, piece_len)?;
            }
        }
        if total_len == 0 {
            return Err(LayoutError::Empty);
        }
        let pieces = check_pieces(next, piece_len)?;
        Ok(Layout(Arc::new(Inner { piece_len, pieces, total_len, aligned, files: files.into() })))
    }

    /// Pieces; 1 to [`MAX_PIECES`], or 0 while the layout is not known.
    pub fn piece_count(&self) -> u32 {
        self.0.pieces
    }

    /// Bytes of every piece that is not cut short by an end.
    pub fn nominal_piece_len(&self) -> u32 {
        self.0.piece_len
    }

    /// Bytes of all files, pad files included.
    pub fn total_len(&self) -> u64 {
        self.0.total_len
    }

    /// Files, pad files included.
    pub fn file_count(&self) -> u32 {
        self.0.files.len() as u32
    }

    /// Bytes of a file; 0 for one that does not exist.
    pub fn file_len(&self, file: FileIndex) -> u64 {
        self.0.files.get(file.0 as usize).map_or(0, |extent| extent.len)
    }

    /// Where a file begins in the pieces laid end to end, where piece `p` begins at `p` times the nominal
    /// length; the end of the last file for one that does not exist.
    pub fn file_start(&self, file: FileIndex) -> u64 {
        let end = || self.0.files.last().map_or(0, Extent::end);
        self.0.files.get(file.0 as usize).map_or_else(end, |extent| extent.start)
    }

    /// Bytes of a piece; 0 for one that does not exist.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        if piece.0 >= self.0.pieces {
            return 0;
        }
        let start = self.piece_start(piece);
        let end = match self.0.aligned {
            false => self.0.total_len,
            true => self.extent_at(start).map_or(start, |(_, extent)| extent.end()),
        };
        // Not above `piece_len`, so it fits.
        end.saturating_sub(start).min(u64::from(self.0.piece_len)) as u32
    }

    /// Blocks of a piece, the last of which may be short; 0 for a piece that does not exist.
    pub fn blocks_in(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// Block `number` of a piece, from 0; its `len` is 0 when there is no such block.
    pub fn block(&self, piece: PieceIndex, number: u32) -> Block {
        let offset = number.saturating_mul(BLOCK_LEN);
        let len = self.piece_len(piece).saturating_sub(offset).min(BLOCK_LEN);
        Block { piece, offset, len }
    }

    /// Returns `block` if a peer may ask for it: inside its piece, 1 byte to [`MAX_REQUEST_LEN`].
    pub fn check(&self, block: Block) -> Result<Block, OutOfRange> {
        let piece_len = self.piece_len(block.piece);
        let inside = block.offset.checked_add(block.len).is_some_and(|end| end <= piece_len);
        match inside && (1..=MAX_REQUEST_LEN).contains(&block.len) {
            true => Ok(block),
            false => Err(OutOfRange { block, piece_len }),
        }
    }

    /// Whether `block` is one of the blocks that [`Layout::block`] gives.
    pub fn is_whole_block(&self, block: Block) -> bool {
        block.len > 0 && self.block(block.piece, block.number()) == block
    }

    /// Where a piece's bytes `offset..offset + len` lie, in order and without gaps; what is beyond the
    /// piece's end is left out. Pad files are included, files of no bytes are not.
    pub fn spans(&self, piece: PieceIndex, offset: u32, len: u32) -> Spans<'_> {
        let (offset, len) = (u64::from(offset), u64::from(len));
        let piece_end = self.piece_start(piece) + u64::from(self.piece_len(piece));
        let at = self.piece_start(piece) + offset;
        let end = (at + len).min(piece_end);
        let first = if at < end { self.extent_at(at).map_or(0, |(index, _)| index) } else { 0 };
        Spans { files: &self.0.files, next: first, at, end }
    }

    /// The file that holds a byte of a piece.
    pub fn file_of(&self, piece: PieceIndex, offset: u32) -> Option<FileIndex> {
        self.spans(piece, offset, 1).next().map(|span| span.file)
    }

    /// The pieces that hold bytes of a file, by index; empty for a file of no bytes. Its first and last
    /// piece may hold bytes of other files.
    pub fn pieces_of(&self, file: FileIndex) -> Range<u32> {
        let Some(extent) = self.0.files.get(file.0 as usize) else { return 0..0 };
        let piece_len = u64::from(self.0.piece_len);
        // Both are at most `pieces`, so they fit.
        let first = (extent.start / piece_len) as u32;
        match extent.len {
            0 => first..first,
            _ => first..extent.end().div_ceil(piece_len) as u32,
        }
    }

    fn piece_start(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.0.piece_len)
    }

    /// The last file that starts at or before an address: the one that holds it, if any does, because
    /// files of no bytes start where the next file does.
    fn extent_at(&self, address: u64) -> Option<(usize, &Extent)> {
        let after = self.0.files.partition_point(|extent| extent.start <= address);
        let index = after.checked_sub(1)?;
        Some((index, self.0.files.get(index)?))
    }
}

/// Pieces needed for an address space, if that many are allowed.
fn check_pieces(address_space: u64, piece_len: u32) -> Result<u32, LayoutError> {
    let found = address_space.div_ceil(u64::from(piece_len));
    match u32::try_from(found) {
        Ok(pieces) if pieces <= MAX_PIECES => Ok(pieces),
        _ => Err(LayoutError::TooManyPieces { found }),
    }
}

/// The file spans of a run of bytes; see [`Layout::spans`].
#[derive(Clone, Debug)]
pub struct Spans<'a> {
    files: &'a [Extent],
    next: usize,
    at: u64,
    end: u64,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.at < self.end {
            let extent = self.files.get(self.next)?;
            let file = FileIndex(self.next as u32);
            self.next += 1;
            let end = extent.end().min(self.end);
            if end <= self.at {
                continue;
            }
            // A span lies inside one piece, so its length fits.
            let span = Span { file, offset: self.at - extent.start, len: (end - self.at) as u32 };
            self.at = end;
            return Some(span);
        }
        None
    }
}

#[cfg(test)]
mod tests;
