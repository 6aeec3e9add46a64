//! Why a torrent is refused, in words for the operator who added it.
use crate::bencode::BencodeError;
use crate::layout::LayoutError;
use crate::merkle::Hash;
use crate::path::PathError;

/// A torrent that cannot be used. Offsets are bytes of what was parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Not bencoding, or a key that must be there once is there twice.
    #[error("not a valid torrent: {0}")]
    Bencode(#[from] BencodeError),
    /// Bencoding, but not a torrent.
    #[error("not a torrent: the file is not a dictionary")]
    NotDict,
    /// A key that must be there is not.
    #[error("not a valid torrent: `{key}` is missing from the dictionary at byte {at}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Where its dictionary begins.
        at: usize,
    },
    /// A key's value is of the wrong kind or out of range.
    #[error("not a valid torrent: `{key}` at byte {at} is not {expected}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Where the value begins.
        at: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// `meta version` is one that this program does not know (BEP 52).
    #[error("the torrent is of version {found}; 1 and 2 are supported")]
    MetaVersion {
        /// The version.
        found: i64,
    },
    /// Lengths that make no torrent.
    #[error("not a usable torrent: {0}")]
    Layout(#[from] LayoutError),
    /// `pieces` doesn't have one hash for each piece.
    #[error("not a valid torrent: `pieces` has {found} bytes; {expected} are needed for its pieces")]
    PieceHashes {
        /// 20 bytes a piece.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A file's path is unusable.
    #[error("not a usable torrent: {error} (file at byte {at})")]
    Path {
        /// Why.
        error: PathError,
        /// Where the file's entry begins.
        at: usize,
    },
    /// The paths of all files together have more than [`super::MAX_PATHS_LEN`] bytes.
    #[error("not a usable torrent: the paths of its files have more than {} bytes", super::MAX_PATHS_LEN)]
    PathsTooLong,
    /// A symbolic link leads out of the torrent, or carries data (BEP 47).
    #[error("refused: symbolic link {path:?} {reason}")]
    Symlink {
        /// The link's own path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The order of `file tree` is the order of the pieces, so it must be the one of BEP 52.
    #[error("not a valid torrent: invalid bencoding: the keys of `file tree` are out of order at byte {at}")]
    TreeOrder {
        /// The first key out of order, or there twice.
        at: usize,
    },
    /// `file tree` is not made as BEP 52 says.
    #[error("not a valid torrent: `file tree` at byte {at}: {reason}")]
    Tree {
        /// Where.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A v2 file with data has no `pieces root`.
    #[error("not a valid torrent: file {path:?} has no `pieces root`")]
    NoRoot {
        /// The file.
        path: String,
    },
    /// A v2 file is a pad file; v2 torrents have none.
    #[error("not a valid torrent: file {path:?} of the v2 `file tree` is a pad file")]
    PadInTree {
        /// The file.
        path: String,
    },
    /// `piece layers` don't belong to the files' roots.
    #[error("not a valid torrent: the piece layer of root {} {reason}", hex(root))]
    PieceLayer {
        /// The root.
        root: Hash,
        /// What is wrong.
        reason: &'static str,
    },
    /// The v1 and the v2 half of a hybrid describe different files (BEP 52).
    #[error("not a valid torrent: its v1 and v2 file lists differ: {difference}")]
    Hybrid {
        /// The first difference.
        difference: String,
    },
}

fn hex(root: &Hash) -> String {
    root.iter().map(|byte| format!("{byte:02x}")).collect()
}
