//! What a disk error means for its torrent, and what the operator reads.
use wgo_core::session::{Fault, FaultKind};

use crate::files::{DiskError, DiskErrorKind, OpenError};

/// The fault of a disk error; `None` when it says nothing about the disk.
pub(super) fn of_disk(error: &DiskError) -> Option<Fault> {
    let (kind, advice) = match error.kind {
        DiskErrorKind::Full => (FaultKind::DiskFull, "it goes on by itself when there is space again"),
        DiskErrorKind::Missing | DiskErrorKind::Short => (
            FaultKind::Unreachable,
            "put the file back and it goes on by itself, or run `wgoctl verify` to start from what is there",
        ),
        DiskErrorKind::Permission => {
            (FaultKind::NotWritable, "give the daemon's user access and it goes on by itself")
        }
        DiskErrorKind::ReadOnly => {
            (FaultKind::NotWritable, "make the file system writable and it goes on by itself")
        }
        DiskErrorKind::Obstructed => {
            (FaultKind::NotWritable, "move away what has its place and it goes on by itself")
        }
        DiskErrorKind::Io => (FaultKind::Unreachable, "check the device; it is tried again by itself"),
        DiskErrorKind::Stopped => return None,
    };
    Some(Fault { kind, message: format!("{error}; {advice}") })
}

/// The fault of files that can't be opened.
pub(super) fn of_open(error: &OpenError) -> Option<Fault> {
    match error {
        OpenError::Disk(error) => of_disk(error),
        OpenError::SecondWriter(other) => {
            Some(Fault { kind: FaultKind::NotWritable, message: other.to_string() })
        }
    }
}
