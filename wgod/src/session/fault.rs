//! What a disk error means for its torrent, and what the operator reads.
use std::path::Path;

use wgo_api::units::{Size, human_bytes};
use wgo_core::session::{Fault, FaultKind, Room};

use crate::files::{DiskError, DiskErrorKind, NamingError, OpenError, Space};
use crate::store::TorrentFault;

/// The fault of a disk error; `None` when it says nothing about the disk.
pub fn of_disk(error: &DiskError) -> Option<Fault> {
    let kind = match error.kind {
        DiskErrorKind::Full => FaultKind::DiskFull,
        DiskErrorKind::Permission
        | DiskErrorKind::Outside
        | DiskErrorKind::Replaced
        | DiskErrorKind::ReadOnly
        | DiskErrorKind::Obstructed => FaultKind::NotWritable,
        DiskErrorKind::Missing | DiskErrorKind::Short | DiskErrorKind::Changed | DiskErrorKind::Io => {
            FaultKind::Unreachable
        }
        DiskErrorKind::Stopped => return None,
    };
    Some(Fault { kind, message: error.to_string() })
}

/// What a file system without room for downloads has, and how much they need.
pub(super) fn room_text(space: Space, room: Room, min_free_space: u64) -> String {
    let (free, least) = (human_bytes(space.free), Size(min_free_space));
    let why = match space.free < min_free_space {
        true => format!("low: {free} left, less than `min_free_space` ({least})"),
        false if room.resumes_at() > min_free_space.checked_add(min_free_space / 10) => {
            format!("full: {free} left of {}", human_bytes(space.total))
        }
        false => format!("low: {free} left, hardly more than `min_free_space` ({least})"),
    };
    let enough = human_bytes(room.resumes_at().unwrap_or_default());
    format!("{why}; downloading goes on by itself when {enough} are free")
}

/// The fault of a file system without room for downloads.
pub(super) fn of_room(folder: &Path, space: Space, room: Room, min_free_space: u64) -> Fault {
    let text = room_text(space, room, min_free_space);
    Fault { kind: FaultKind::DiskFull, message: format!("the disk of {} is {text}", folder.display()) }
}

/// A fault as the store keeps it.
pub(super) fn to_stored(fault: &Fault) -> TorrentFault {
    TorrentFault { kind: fault.kind.as_str().to_owned(), message: fault.message.clone(), path: None }
}

/// A stored fault. One of a kind that another release knew is shown as the gravest that heals.
pub(super) fn from_stored(fault: &TorrentFault) -> Fault {
    let kind = FaultKind::ALL.into_iter().find(|kind| kind.as_str() == fault.kind);
    Fault { kind: kind.unwrap_or(FaultKind::Unreachable), message: fault.message.clone() }
}

/// The fault of a complete torrent of which a file can't have its own name.
pub(super) fn of_naming(error: &NamingError) -> Fault {
    let kind = match error {
        NamingError::InTheWay { .. } => FaultKind::NotWritable,
        NamingError::Disk { error, .. } => of_disk(error).map_or(FaultKind::NotWritable, |fault| fault.kind),
    };
    Fault { kind, message: error.to_string() }
}

/// The fault of files that can't be opened.
pub fn of_open(error: &OpenError) -> Option<Fault> {
    match error {
        OpenError::Disk(error) => of_disk(error),
        OpenError::SecondWriter(other) => {
            Some(Fault { kind: FaultKind::NotWritable, message: other.to_string() })
        }
    }
}
