//! What the store reports when the disk, the state directory or what is in it fails it.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wgo_core::TorrentId;

use wgo_api::units::human_date;

use super::backup::{Contents, FOLDER};
use super::codec::RowError;

/// An error of the store. Cloned, because all requests that share a commit share its failure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon owns the state directory.
    #[error(
        "the state directory {} belongs to a running wgod{}{}; use that one, stop it, or give another --state-dir",
        .state_dir.display(),
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        .socket.as_ref().map(|s| format!(", which listens on {}", s.display())).unwrap_or_default(),
    )]
    Locked {
        /// The directory.
        state_dir: PathBuf,
        /// Its owner, where that wrote it down already.
        pid: Option<u32>,
        /// The owner's control socket, likewise.
        socket: Option<PathBuf>,
    },
    /// A newer release wrote the database; this one must not touch it.
    #[error(
        "{} has schema {found}, this wgod reads up to {known}: install the newer wgod again, or move the file away to start afresh",
        .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// The newest schema that this release reads.
        known: u64,
    },
    /// The disk refused.
    #[error("{} {}: {source}{}", .what, .path.display(), advice(.source))]
    Io {
        /// What was being done, as in "cannot read".
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The database can't be read or its commit failed for another reason than the disk's answer.
    #[error("the database {}: {source}", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What redb says.
        source: Arc<redb::Error>,
    },
    /// The database can't be begun with.
    #[error(
        "the database {} is damaged ({why}); it stays as it is. {}",
        .path.display(),
        way_on(.state_dir, .backup.as_ref())
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        why: String,
        /// Its directory.
        state_dir: PathBuf,
        /// The newest automatic backup that is whole, and what is in it.
        backup: Option<(PathBuf, Box<Contents>)>,
    },
    /// A torrent's record can't be read.
    #[error(transparent)]
    Quarantined(#[from] Quarantined),
    /// The store was closed, or its thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the disk under the state directory is full.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            StoreError::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            _ => false,
        }
    }

    /// Whether what is in the database is at fault, not the disk that holds it: what was found.
    pub(super) fn damage(&self) -> Option<(&PathBuf, String)> {
        match self {
            StoreError::Database { path, source } => Some((path, source.to_string())),
            // What redb makes of a file that doesn't begin as one of its own, or ends too early.
            StoreError::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Some((path, source.to_string())),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> StoreError {
        StoreError::Io { what, path: path.into(), source: Arc::new(source) }
    }
}

/// What to type where a database is damaged.
fn way_on(state_dir: &Path, backup: Option<&(PathBuf, Box<Contents>)>) -> String {
    let command = |file: &str| format!("wgod --state-dir {} --restore {file}", quoted(state_dir));
    match backup {
        Some((path, contents)) => {
            let made = human_date(i64::try_from(contents.created_at).unwrap_or(i64::MAX));
            let torrents = match contents.torrents {
                1 => "1 torrent".to_owned(),
                n => format!("{n} torrents"),
            };
            format!(
                "The newest good backup is of {made}, with {torrents}; to go on with it: {}",
                command(&quoted(path))
            )
        }
        None => format!(
            "There is no good backup in {}. To go on with one of your own: {}. \
             To start afresh, move the database away",
            quoted(&state_dir.join(FOLDER)),
            command("FILE")
        ),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// What the operator can do about an answer of the disk.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space there",
        io::ErrorKind::PermissionDenied => "; the user that runs wgod needs to own it",
        io::ErrorKind::ReadOnlyFilesystem => "; mount it writable or set another state directory",
        _ => "",
    }
}

/// A torrent whose record can't be read. The record stays as it is, the daemon goes on without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "torrent {}{}: its stored {part} can't be read: {error}; the record is kept and the torrent left out, \
     remove it and add it again to check its files",
    .id.0,
    .name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default()
)]
pub struct Quarantined {
    /// The torrent.
    pub id: TorrentId,
    /// Its name, if that much can be read.
    pub name: Option<String>,
    /// Which part: `settings`, `progress` or `counters`.
    pub part: &'static str,
    /// Why.
    pub error: RowError,
}
