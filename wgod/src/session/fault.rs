//! What a disk error means for its torrent, and what the operator reads.
use wgo_core::session::{Fault, FaultKind};

use crate::files::{DiskError, DiskErrorKind, OpenError};

/// The fault of a disk error; `None` when it says nothing about the disk.
pub(super) fn of_disk(error: &DiskError) -> Option<Fault> {
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

/// The fault of files that can't be opened.
pub(super) fn of_open(error: &OpenError) -> Option<Fault> {
    match error {
        OpenError::Disk(error) => of_disk(error),
        OpenError::SecondWriter(other) => {
            Some(Fault { kind: FaultKind::NotWritable, message: other.to_string() })
        }
    }
}
