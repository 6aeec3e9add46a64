//! Why a move can't be made or goes on no further.
use std::path::PathBuf;

use wgo_api::units::Size;

use super::super::error::DiskError;

/// Why a move ended without a new place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// A disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The new place is the old one by another name.
    #[error("{from} and {to} are the same folder; its files are there already", from = from.display(), to = to.display())]
    SameFolder {
        /// The old place.
        from: PathBuf,
        /// The new place.
        to: PathBuf,
    },
    /// Something is in the way.
    #[error(
        "{theirs} is in the way: it is not the same as {ours}, and nothing is overwritten; move it away, or choose another folder",
        theirs = theirs.display(), ours = ours.display()
    )]
    Foreign {
        /// The file that is to be moved.
        ours: PathBuf,
        /// What is where it is to go.
        theirs: PathBuf,
    },
    /// Another torrent's files are there.
    #[error(
        "{path} belongs to “{other}”, and “{this}” can't take its place; choose another folder, or remove “{other}” first",
        path = path.display()
    )]
    Occupied {
        /// One of the files.
        path: PathBuf,
        /// The torrent that is to be moved.
        this: String,
        /// The one that is there.
        other: String,
    },
    /// The store doesn't take that it is to be moved: after a crash nobody would know what is in the new place.
    #[error("nothing was moved, since that could not be saved: {why}")]
    Unsaved {
        /// What the store says.
        why: String,
    },
    /// There is not enough room.
    #[error(
        "{folder} has no room: {need} would be copied to it, it has {free} left, and `min_free_space` keeps {keep} of that; free some space, or choose another folder",
        folder = folder.display(), need = Size(*need), free = Size(*free), keep = Size(*keep)
    )]
    NoSpace {
        /// The new place.
        folder: PathBuf,
        /// Bytes that would be copied.
        need: u64,
        /// Bytes that are left.
        free: u64,
        /// `min_free_space`.
        keep: u64,
    },
    /// What was copied is not what the torrent says.
    #[error(
        "the copy of {path} does not have the right content; `wgoctl verify` tells whether the file itself is damaged",
        path = path.display()
    )]
    Wrong {
        /// The file that was copied.
        path: PathBuf,
    },
    /// It was called off.
    #[error("the move was called off")]
    Cancelled,
}
