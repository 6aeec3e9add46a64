//! What another client knew of a torrent that is taken over from it.
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::torrent::FilePriority;

/// What another client knew of a torrent. `have` is a claim: it counts without hashing for files that have
/// their length, and that were not modified since, as `modified` or `as_of` say. Of other files the claimed
/// pieces are hashed; of a torrent that is complete by its lengths, and all wanted, a sample first, as with
/// `check: "quick"`. Files that are missing are waited for, never downloaded anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Known {
    /// Pieces that it had: `"all"`, or a bitmap in base64, highest bit first, spare bits 0 (BEP 3). Without it
    /// files that exist are checked as `check` says.
    pub have: Option<String>,
    /// When each file was last modified, in Unix seconds, by its number in the torrent; `null` where that isn't
    /// known. Empty, or one for each file.
    pub modified: Vec<Option<i64>>,
    /// Unix seconds at which it knew so: a file without an entry in `modified` is believed if it was not
    /// modified later.
    pub as_of: Option<i64>,
    /// Payload bytes that it had received.
    pub downloaded_bytes: u64,
    /// Payload bytes that it had sent.
    pub uploaded_bytes: u64,
    /// Seconds for which it had run.
    pub active_secs: u64,
    /// Seconds of those as a seed.
    pub seeding_secs: u64,
    /// When it was added, Unix seconds.
    pub added_at: Option<u64>,
    /// When it was complete, Unix seconds.
    pub completed_at: Option<u64>,
    /// Upload limit in bytes/s.
    pub up_limit: Option<u64>,
    /// Download limit in bytes/s.
    pub down_limit: Option<u64>,
    /// Tiers of trackers that replace those of the torrent file.
    pub trackers: Option<Vec<Vec<String>>>,
    /// How much each file is wanted. Empty, or one for each file; not together with `choose`.
    pub priorities: Vec<FilePriority>,
    /// What the torrent was called, if not as its maker called it.
    pub name: Option<String>,
    /// Where each file was below `folder`, by its number in the torrent; `null`: where its maker put it. Empty, or
    /// one for each file. All files of a torrent lie in one folder, unless it has but one.
    pub paths: Vec<Option<String>>,
    /// Where its files go when it is complete, if that is not `folder`; an absolute path.
    pub final_folder: Option<PathBuf>,
}

/// What stands for every piece in [`Known::have`].
const ALL: &str = "all";

impl Known {
    /// `have` for every piece.
    pub fn all() -> Option<String> {
        Some(ALL.to_owned())
    }

    /// `have` for the pieces of a bitmap.
    pub fn some(bitmap: &[u8]) -> Option<String> {
        Some(BASE64.encode(bitmap))
    }

    /// Whether a file with this time, in Unix seconds, is as the other client left it, as far as times tell.
    pub fn is_unmodified(&self, file: usize, mtime: i64) -> bool {
        match (self.modified.get(file).copied().flatten(), self.as_of) {
            (Some(modified), _) => mtime == modified,
            (None, Some(as_of)) => mtime <= as_of,
            (None, None) => false,
        }
    }

    /// The pieces that it had; the bitmap as it came.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when it isn't base64.
    pub fn pieces(&self) -> Result<Claimed, ApiError> {
        match self.have.as_deref() {
            None => Ok(Claimed::Unknown),
            Some(ALL) => Ok(Claimed::All),
            Some(text) => match BASE64.decode(text) {
                Ok(bitmap) => Ok(Claimed::Some(bitmap)),
                Err(why) => {
                    let message = format!("`known.have` is neither \"all\" nor valid base64: {why}");
                    Err(ApiError::new(Kind::BadRequest, message))
                }
            },
        }
    }
}

/// Which pieces another client had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It isn't known.
    Unknown,
    /// All of them.
    All,
    /// Those of a bitmap, which may not fit the torrent.
    Some(Vec<u8>),
}
