//! Torrents in the making: v1 (BEP 3), v2 and hybrid (BEP 52), with pad files (BEP 47).
//!
//! A [`Draft`] lays files out in pieces. Whoever has the bytes hashes these pieces, and [`Draft::info`] and
//! [`torrent`] write the result. For the same files and options the `info` dictionary is the one that
//! libtorrent makes, byte for byte.
use super::MAX_PATHS_LEN;
use crate::bencode::MAX_DEPTH;
use crate::layout::{Layout, LayoutError, MAX_PIECES};
use crate::merkle::Subtree;
use crate::path::{SafePath, by_component};
use crate::units::{BLOCK_LEN, FileIndex, PieceIndex};

mod encode;

pub use encode::{Hashes, InfoKeys, OuterKeys, torrent};

/// Containers around the path of a file in a `file tree`: the torrent, `info`, the tree; and the file itself.
const AROUND_TREE: usize = 4;

/// Total sizes up to which pieces have 16 KiB, 32 KiB and so on. They are libtorrent's: 20 bytes of hash for
/// each piece then come to twice the square root of the size, and the info-hash is the same in both programs.
const AUTOMATIC: [u64; 10] = [
    2_684_355,
    10_737_418,
    42_949_673,
    171_798_692,
    687_194_767,
    2_748_779_069,
    10_995_116_278,
    43_980_465_111,
    175_921_860_444,
    703_687_441_777,
];

/// Longest pieces that are made; libtorrent refuses longer ones.
pub const MAX_NEW_PIECE_LEN: u32 = 128 << 20;

/// Which kinds of hashes a torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// SHA-1 of pieces that follow one another through all files.
    V1,
    /// Merkle trees of files.
    V2,
    /// Both, over pieces that begin with files.
    Hybrid,
}

/// How files are to become a torrent.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its kind.
    pub version: Version,
    /// Its name: that of the one file, or of the folder.
    pub name: String,
    /// Whether the files lie in a folder of that name; else there is one, called so.
    pub folder: bool,
    /// Bytes of a piece: a power of two of 16 KiB to [`MAX_NEW_PIECE_LEN`].
    pub piece_len: u32,
    /// Each file of a v1 torrent begins a piece, by pad files; others are always so.
    pub aligned: bool,
}

/// A file to be put into a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Below the folder; or the torrent's name, for one without a folder.
    pub path: SafePath,
    /// Bytes.
    pub len: u64,
    /// To be made executable where it arrives (BEP 47).
    pub executable: bool,
}

/// What lies behind a part of the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file with this index among those that were given.
    File(usize),
    /// So many zeros.
    Pad(u64),
}

/// Files laid out in pieces.
#[derive(Clone, Debug)]
pub struct Draft {
    shape: Shape,
    /// As they were given.
    files: Vec<NewFile>,
    /// In the order of their bytes; the files of `layout`.
    parts: Vec<Part>,
    layout: Layout,
}

/// Why files make no torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Their lengths don't fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The piece length isn't one that is made.
    #[error(
        "the piece length is {found} bytes; a power of two from {BLOCK_LEN} to {MAX_NEW_PIECE_LEN} is possible"
    )]
    PieceLen {
        /// Bytes.
        found: u32,
    },
    /// Two files of one path, or a file where another has a folder.
    #[error("{path:?} is there twice, or a file and a folder")]
    Clash {
        /// The path.
        path: SafePath,
    },
    /// A file lies in more folders than a `file tree` can be read with.
    #[error("{path:?} lies too deep: a v2 torrent has room for {} folders inside one another", MAX_DEPTH - AROUND_TREE - 1)]
    TooDeep {
        /// The file.
        path: SafePath,
    },
    /// All paths together are longer than a torrent may have them.
    #[error("the paths of the files have more than {MAX_PATHS_LEN} bytes together")]
    PathsTooLong,
}

/// The piece length for so many bytes, where nobody asks for one: from 16 MiB on, what
/// keeps the number of pieces at half of what is possible.
pub fn automatic_piece_len(total: u64) -> u32 {
    let doublings = AUTOMATIC.iter().filter(|most| **most < total).count();
    let mut len = BLOCK_LEN << doublings;
    while len < MAX_NEW_PIECE_LEN && total.div_ceil(u64::from(len)) > u64::from(MAX_PIECES / 2) {
        len *= 2;
    }
    len
}

impl Version {
    /// Whether it has SHA-1 of pieces.
    pub fn has_v1(self) -> bool {
        self != Version::V2
    }

    /// Whether it has Merkle trees.
    pub fn has_v2(self) -> bool {
        self != Version::V1
    }
}

impl Draft {
    /// Lays out `files`, whose order doesn't matter.
    ///
    /// A v1 torrent has them by the bytes of their whole paths, as libtorrent and mktorrent do; the others in
    /// the order of their tree, where a folder comes before the files whose names begin with its own (`a/b`
    /// before `a.b`): libtorrent uses the first order there too, and then refuses what it made.
    pub fn new(shape: Shape, files: Vec<NewFile>) -> Result<Draft, DraftError> {
        let piece_len = shape.piece_len;
        if !piece_len.is_power_of_two() || !(BLOCK_LEN..=MAX_NEW_PIECE_LEN).contains(&piece_len) {
            return Err(DraftError::PieceLen { found: piece_len });
        }
        let mut order: Vec<usize> = (0..files.len()).collect();
        let path = |index: &usize| files[*index].path.as_str();
        order.sort_unstable_by(|a, b| by_component(path(a), path(b)));
        check(&shape, order.iter().map(|index| &files[*index]))?;
        if shape.version == Version::V1 {
            order.sort_unstable_by_key(path);
        }
        let padded =
            files.len() > 1 && (shape.version == Version::Hybrid || shape.aligned && !shape.version.has_v2());
        let mut parts = Vec::new();
        for index in order {
            parts.push(Part::File(index));
            let len = files[index].len;
            let gap = (u64::from(piece_len) - len % u64::from(piece_len)) % u64::from(piece_len);
            if padded && gap > 0 && len > 0 {
                parts.push(Part::Pad(gap));
            }
        }
        let lens: Vec<u64> = parts.iter().map(|part| part.len(&files)).collect();
        let layout = match shape.version {
            Version::V2 => Layout::v2(piece_len, &lens)?,
            Version::V1 | Version::Hybrid => Layout::v1(piece_len, &lens)?,
        };
        Ok(Draft { shape, files, parts, layout })
    }

    /// Where the bytes of pieces lie in [`Draft::part`]s.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What a file of the layout is.
    pub fn part(&self, file: FileIndex) -> Option<Part> {
        self.parts.get(file.0 as usize).copied()
    }

    /// The torrent's kind.
    pub fn version(&self) -> Version {
        self.shape.version
    }

    /// The Merkle tree over a piece, if the torrent has trees.
    pub fn subtree(&self, piece: PieceIndex) -> Option<Subtree> {
        if !self.shape.version.has_v2() {
            return None;
        }
        // A file begins the piece, or goes on in it: padding never comes first.
        let first = self.layout.spans(piece, 0, 1).next()?;
        let (len, piece_len) = (self.layout.file_len(first.file), u64::from(self.shape.piece_len));
        let width = match len <= piece_len {
            true => len.div_ceil(u64::from(BLOCK_LEN)).next_power_of_two(),
            false => piece_len / u64::from(BLOCK_LEN),
        };
        let left = len.saturating_sub(first.offset).min(piece_len);
        Some(Subtree { width: u32::try_from(width).ok()?, len: u32::try_from(left).ok()? })
    }
}

impl Part {
    fn len(self, files: &[NewFile]) -> u64 {
        match self {
            Part::File(index) => files.get(index).map_or(0, |file| file.len),
            Part::Pad(len) => len,
        }
    }
}

/// `files` are in the order of their tree.
fn check<'a>(shape: &Shape, files: impl Iterator<Item = &'a NewFile> + Clone) -> Result<(), DraftError> {
    for (file, next) in files.clone().zip(files.clone().skip(1)) {
        if file.path == next.path || next.path.is_below(&file.path) {
            return Err(DraftError::Clash { path: file.path.clone() });
        }
    }
    let mut left = MAX_PATHS_LEN;
    for file in files {
        if shape.version.has_v2() && file.path.components().count() + AROUND_TREE > MAX_DEPTH {
            return Err(DraftError::TooDeep { path: file.path.clone() });
        }
        let len = file.path.as_str().len() + shape.name.len() + 1;
        left = left.checked_sub(len).ok_or(DraftError::PathsTooLong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
