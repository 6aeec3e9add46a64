//! Why an operation on a torrent's files goes no further, and what that makes of the torrent.
use wgo_core::session::Fault;

use super::super::fault;
use super::Outcome;
use crate::files::{DiskError, OpenError, Whereabouts};

/// What is in the way.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// Something that heals when its cause is gone.
    Fault(Fault),
    /// The files are elsewhere than they were opened.
    Elsewhere(Whereabouts),
    /// The files are not what they were.
    Changed,
    /// The storage was stopped, or a job of it panicked: that says nothing about the files.
    Stopped,
}

impl Hindrance {
    /// How the operation ends.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Hindrance::Fault(fault) => Outcome::Faulted(fault),
            Hindrance::Elsewhere(now) => Outcome::Remounted { device: now.device },
            Hindrance::Changed => Outcome::Changed,
            Hindrance::Stopped => Outcome::Unfinished,
        }
    }
}

impl From<Fault> for Hindrance {
    fn from(fault: Fault) -> Hindrance {
        Hindrance::Fault(fault)
    }
}

impl From<DiskError> for Hindrance {
    fn from(error: DiskError) -> Hindrance {
        fault::of_disk(&error).map_or(Hindrance::Stopped, Hindrance::Fault)
    }
}

impl From<OpenError> for Hindrance {
    fn from(error: OpenError) -> Hindrance {
        fault::of_open(&error).map_or(Hindrance::Stopped, Hindrance::Fault)
    }
}
