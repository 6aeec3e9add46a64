//! What a request changes in the database.
use std::path::PathBuf;

use wgo_core::TorrentId;
use wgo_core::dht::snapshot::Snapshot;

use super::record::{Counters, FileStamp, OwedCheck, Progress, Settings, TorrentRecord};

/// One change. Those of one request are committed together, in order.
///
/// A change to a part of a torrent that isn't in the store is dropped: a checkpoint may meet a
/// removal on its way.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds a torrent, or replaces all of its parts.
    Torrent(Box<TorrentRecord>),
    /// Replaces what the operator and the life cycle decide.
    Settings(TorrentId, Box<Settings>),
    /// A checkpoint: replaces what is durably on disk. Entries of the stored log that it covers are
    /// dropped after the commit; without `writing`, all of the torrent's.
    Progress(TorrentId, Progress),
    /// Sets the `writing` mark and where the file system is mounted, and leaves the rest of the progress
    /// as it is. To be durable before the first write to the torrent's files.
    Writing(TorrentId, Option<PathBuf>),
    /// A check is owed, or further: leaves the rest of the progress as it is. The next
    /// [`Change::Progress`] ends it.
    Check(TorrentId, Box<OwedCheck>),
    /// The files are others with the same content in another place: what is known of them and of where their
    /// file system was mounted, the rest of the progress stays as it is.
    Moved(TorrentId, Vec<Option<FileStamp>>),
    /// Replaces the totals of a torrent.
    Counters(TorrentId, Counters),
    /// Stores the raw `.torrent`.
    Metainfo(TorrentId, Vec<u8>),
    /// Removes everything about a torrent, but that its totals are added to those of the daemon. Its id is
    /// never used again.
    Remove(TorrentId),
    /// What the node of the DHT knows now.
    Dht(Snapshot),
    /// Sets an override of a configuration key, or takes it back.
    Override {
        /// The key, such as `limits.up`.
        key: String,
        /// Its value; `None` removes the override.
        value: Option<serde_json::Value>,
    },
}

impl Change {
    /// About how many bytes it adds to a commit.
    pub(super) fn weight(&self) -> usize {
        match self {
            Change::Metainfo(_, bytes) => bytes.len(),
            Change::Torrent(record) => 1024 + record.progress.weight() + record.settings.weight(),
            Change::Settings(_, settings) => 256 + settings.weight(),
            Change::Progress(_, progress) => progress.weight(),
            Change::Moved(_, files) => 256 + files.len() * 16,
            Change::Check(_, check) => 256 + check.weight(),
            Change::Dht(known) => 256 + known.nodes.len() * 38,
            _ => 256,
        }
    }
}
