//! Why files can't be renamed.
use std::path::PathBuf;

use super::super::error::DiskError;

/// Why a rename can't be made, or goes on no further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenamingError {
    /// A disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something has the new name.
    #[error(
        "{path} is there already, and nothing is overwritten; move it away, or choose another name",
        path = path.display()
    )]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// Another torrent's file has the new name.
    #[error("{path} belongs to “{other}”; choose another name", path = path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
        /// The torrent that has it.
        other: String,
    },
    /// A file that was there is missing.
    #[error(
        "{path} is missing and can't be renamed; bring it back (is its disk mounted?), or give it up with `wgoctl verify --start-over ID`",
        path = path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// Another torrent needs the old name, and a file can't have two.
    #[error(
        "{path} belongs to another torrent too, and here a file can't have two names; rename it in neither, or `wgoctl move` one of the two first",
        path = path.display()
    )]
    Shared {
        /// The file.
        path: PathBuf,
    },
    /// The torrent's own folder is a symlink of the operator's.
    #[error(
        "{path} is a symbolic link, which wgod doesn't rename, and the files stay where it leads; put the folder itself there, or use `wgoctl move`",
        path = path.display()
    )]
    LinkedRoot {
        /// The link.
        path: PathBuf,
    },
    /// The disk is not there.
    #[error(
        "{mount} is not mounted, and the torrent's files are missing from {folder}; mount it and try again",
        mount = mount.display(), folder = folder.display()
    )]
    Unmounted {
        /// Where its file system was mounted.
        mount: PathBuf,
        /// The torrent's folder.
        folder: PathBuf,
    },
}
