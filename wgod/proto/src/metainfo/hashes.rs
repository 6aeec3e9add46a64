//! What each piece must hash to: the v1 `pieces` string (BEP 3) and the v2 piece layers (BEP 52), the
//! latter verified against the files' roots before they are believed.
use super::MetainfoError;
use crate::bencode::Dict;
use crate::layout::Layout;
use crate::merkle::{self, Hash};
use crate::units::{BLOCK_LEN, FileIndex, PieceIndex};
use std::collections::HashMap;
use std::sync::Arc;

/// The hashes of all pieces. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceHashes {
    v1: Option<Arc<[[u8; 20]]>>,
    v2: Option<Arc<Layers>>,
}

/// What verifies one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceCheck {
    /// SHA-1 of the whole piece, pad files included.
    V1([u8; 20]),
    /// A subtree of a v2 file's Merkle tree.
    V2(SubtreeCheck),
    /// Both, for a hybrid; a piece is good only if both hold.
    Both([u8; 20], SubtreeCheck),
}

/// The part of a file's Merkle tree that covers one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubtreeCheck {
    /// The subtree's root: `merkle::leaves_root(leaves, width)` must be it.
    pub root: Hash,
    /// Leaves of the subtree; those beyond the data are zero. A power of two.
    pub width: u32,
    /// Bytes of data, from the start of the piece; a hybrid's pad files are not part of it.
    pub len: u32,
}

/// The files of a v2 torrent that have data, and the rows of their trees that cover whole pieces.
#[derive(Debug, PartialEq, Eq)]
struct Layers {
    piece_len: u32,
    /// By ascending first piece.
    files: Vec<FileTree>,
    /// The layers one after another; files with the same root share one.
    nodes: Vec<Hash>,
}

#[derive(Debug, PartialEq, Eq)]
struct FileTree {
    first_piece: u32,
    len: u64,
    root: Hash,
    /// Where the layer begins in `nodes`. `None` for a file of one piece, whose root is the check, and for
    /// one whose layer is not known.
    layer: Option<usize>,
}

impl PieceHashes {
    /// The hashes of a v1 torrent: 20 bytes for each piece.
    pub(super) fn from_v1(pieces: &[u8], piece_count: u32) -> Result<PieceHashes, MetainfoError> {
        let (hashes, rest) = pieces.as_chunks::<20>();
        if !rest.is_empty() || hashes.len() != piece_count as usize {
            let expected = piece_count as usize * 20;
            return Err(MetainfoError::PieceHashes { expected, found: pieces.len() });
        }
        Ok(PieceHashes { v1: Some(hashes.into()), v2: None })
    }

    /// Adds the hashes of a v2 torrent. `roots` are the files' roots in the order of `layout`, which is
    /// the v2 one; `layers` is `piece layers`, absent when only the `info` dictionary is at hand.
    pub(super) fn with_v2(
        self,
        layout: &Layout,
        roots: &[Option<Hash>],
        layers: Option<Dict<'_>>,
    ) -> Result<PieceHashes, MetainfoError> {
        let mut rows = Rows::read(layers)?;
        let mut files = Vec::new();
        for (index, root) in (0u32..).zip(roots) {
            let Some(root) = *root else { continue };
            let pieces = layout.pieces_of(FileIndex(index));
            let layer = match pieces.len() {
                0 | 1 => None,
                count => rows.place(&root, count, layout.nominal_piece_len())?,
            };
            let len = layout.file_len(FileIndex(index));
            files.push(FileTree { first_piece: pieces.start, len, root, layer });
        }
        let layers = Layers { piece_len: layout.nominal_piece_len(), files, nodes: rows.nodes };
        Ok(PieceHashes { v2: Some(Arc::new(layers)), ..self })
    }

    /// The piece's SHA-1; `None` for a v2-only torrent or a piece that does not exist.
    pub fn v1(&self, piece: PieceIndex) -> Option<&[u8; 20]> {
        self.v1.as_ref()?.get(piece.0 as usize)
    }

    /// The piece's subtree; `None` for a v1 torrent, a piece that does not exist, or one of a file whose
    /// piece layer is not known (see [`PieceHashes::is_complete`]).
    pub fn v2(&self, piece: PieceIndex) -> Option<SubtreeCheck> {
        self.v2.as_ref()?.subtree(piece)
    }

    /// Everything that verifies a piece; `None` when nothing can.
    pub fn check(&self, piece: PieceIndex) -> Option<PieceCheck> {
        match (self.v1(piece), self.v2(piece)) {
            (Some(v1), Some(v2)) => Some(PieceCheck::Both(*v1, v2)),
            (Some(v1), None) => Some(PieceCheck::V1(*v1)),
            (None, Some(v2)) => Some(PieceCheck::V2(v2)),
            (None, None) => None,
        }
    }

    /// Whether every piece can be verified. A v2-only torrent from a magnet link lacks its piece layers
    /// until peers have sent them.
    pub fn is_complete(&self) -> bool {
        self.v1.is_some() || self.v2.as_ref().is_some_and(|layers| layers.is_complete())
    }
}

impl Layers {
    fn subtree(&self, piece: PieceIndex) -> Option<SubtreeCheck> {
        let after = self.files.partition_point(|file| file.first_piece <= piece.0);
        let file = self.files.get(after.checked_sub(1)?)?;
        let number = piece.0 - file.first_piece;
        let offset = u64::from(number) * u64::from(self.piece_len);
        let len =
            file.len.checked_sub(offset).filter(|left| *left > 0)?.min(u64::from(self.piece_len)) as u32;
        let (root, width) = if file.len <= u64::from(self.piece_len) {
            (file.root, len.div_ceil(BLOCK_LEN).next_power_of_two())
        } else {
            (*self.nodes.get(file.layer? + number as usize)?, self.piece_len / BLOCK_LEN)
        };
        Some(SubtreeCheck { root, width, len })
    }

    fn is_complete(&self) -> bool {
        self.files.iter().all(|file| file.len <= u64::from(self.piece_len) || file.layer.is_some())
    }
}

/// The layers as they came, and those that were verified.
struct Rows<'a> {
    came: HashMap<&'a [u8], &'a [u8]>,
    /// Start in `nodes` and count of hashes; each root's layer is verified and kept once.
    placed: HashMap<Hash, (usize, usize)>,
    nodes: Vec<Hash>,
}

impl<'a> Rows<'a> {
    fn read(layers: Option<Dict<'a>>) -> Result<Rows<'a>, MetainfoError> {
        let mut came = HashMap::new();
        for (root, value) in layers.iter().flat_map(Dict::iter) {
            let at = value.span().start;
            let invalid = |expected| MetainfoError::Invalid { key: "piece layers", at, expected };
            if root.len() != size_of::<Hash>() {
                return Err(invalid("the layer of a root of 32 bytes"));
            }
            let row = value.as_bytes().ok_or(invalid("a string of hashes"))?;
            came.entry(root).or_insert(row);
        }
        Ok(Rows { came, placed: HashMap::new(), nodes: Vec::new() })
    }

    /// Where the layer of `root` with `count` hashes begins in `nodes`; `None` if it did not come.
    fn place(&mut self, root: &Hash, count: usize, piece_len: u32) -> Result<Option<usize>, MetainfoError> {
        let wrong = |reason| MetainfoError::PieceLayer { root: *root, reason };
        let wrong_count = wrong("does not have one hash for each piece of its file");
        if let Some(&(start, placed)) = self.placed.get(root) {
            return if placed == count { Ok(Some(start)) } else { Err(wrong_count) };
        }
        let Some(row) = self.came.get(root.as_slice()) else { return Ok(None) };
        let (row, rest) = row.as_chunks::<32>();
        if !rest.is_empty() || row.len() != count {
            return Err(wrong_count);
        }
        if merkle::layer_root(row, (piece_len / BLOCK_LEN).ilog2()) != *root {
            return Err(wrong("does not hash to it"));
        }
        let start = self.nodes.len();
        self.nodes.extend_from_slice(row);
        self.placed.insert(*root, (start, count));
        Ok(Some(start))
    }
}
