//! Opening the state: the database, the log that an earlier run left, and what follows from both.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wgo_core::TorrentId;
use wgo_core::dht::snapshot::Snapshot;
use wgo_proto::PieceIndex;

use super::StoreError;
use super::backup::{Export, Slots, restore};
use super::database::Database;
use super::record::Totals;
use super::schema::Migration;
use super::state_dir::StateDir;
use super::stored_log::{self, Pieces, StoredLog};
use super::tables;
use crate::clock::unix_now;
use crate::files::Disk;

/// What the store holds besides torrents, at open.
#[derive(Debug)]
pub struct Loaded {
    /// How the last run ended, and what to hash because of it.
    pub recovery: Recovery,
    /// The id for the next new torrent.
    pub next_id: TorrentId,
    /// Totals of all runs.
    pub totals: Totals,
    /// Configuration overrides: key → value.
    pub overrides: BTreeMap<String, serde_json::Value>,
    /// What the node of the DHT knew.
    pub dht: Option<Snapshot>,
    /// A backup was restored: this run is the first with it. Where the database is that it replaced.
    pub restored: Option<PathBuf>,
}

/// How the last run ended.
#[derive(Debug)]
pub struct Recovery {
    /// It closed the store, or there was none.
    pub clean: bool,
    /// Pieces that were stored but are in no committed bitmap, of torrents marked `writing`: to be
    /// hashed. Empty after a clean end, unless a torrent's files couldn't be synced then.
    pub suspect: BTreeMap<TorrentId, Vec<PieceIndex>>,
    /// Entries of the log that were damaged and ignored. A torn last one is nothing unusual.
    pub damaged_entries: u64,
}

/// The open state, before threads are put around it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) dir: StateDir,
    pub(super) database: Database,
    pub(super) log: StoredLog,
    pub(super) loaded: Loaded,
}

/// Opens the state in `dir`, which exists, and begins a run. Before a database is migrated, a backup of it
/// is added to the automatic ones, of which `keep` stay.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    migrations: &[Migration],
    keep: u32,
) -> Result<Opened, StoreError> {
    let dir = StateDir::open(disk, dir)?;
    // A stored log that belongs to the database before it names nothing in this one: a restored torrent
    // isn't marked as being written to.
    let restored = restore::swap(&dir)?.then(|| dir.path_of(restore::BEFORE));
    let mut database = Database::open(&dir, migrations, |old| {
        if keep > 0
            && let Err(error) = back_up_before_migration(&dir, old, keep)
        {
            tracing::warn!(%error, "no backup could be made before the database is brought to this release's schema");
        }
    })?;
    let header = database.read(tables::header)?;
    let leftover = stored_log::leftover(&dir, header.epoch)?;
    let suspects = suspects(&mut database, leftover.pieces)?;
    let suspect = suspects.iter().map(|(&id, pieces)| (id, pieces.iter().copied().collect())).collect();
    let epoch = header.epoch.saturating_add(1);
    // The log first: should we end between the two, its entries are of no earlier run than the
    // database knows, so they still count.
    let log = StoredLog::begin(&dir, epoch, suspects)?;
    database.commit(|txn| tables::begin_run(txn, epoch))?;
    let recovery = Recovery { clean: header.clean, suspect, damaged_entries: leftover.damaged };
    let loaded = Loaded {
        recovery,
        next_id: header.next_id,
        totals: header.totals,
        overrides: header.overrides,
        dht: header.dht,
        restored,
    };
    Ok(Opened { dir, database, log, loaded })
}

fn back_up_before_migration(dir: &StateDir, database: &mut Database, keep: u32) -> Result<(), StoreError> {
    let snapshot = database.snapshot()?;
    let path = database.path();
    let failed = move |source| StoreError::Database { path: path.clone(), source: Arc::new(source) };
    let made = Slots::open(dir)?.add(keep, |serial| {
        let mut export = Export::begin(snapshot, unix_now().max(0) as u64, serial).map_err(&failed)?;
        Ok(Box::new(move || export.next_page().map_err(&failed)))
    })?;
    tracing::info!(backup = %made.display(), "backed up before the database is brought to this release's schema");
    Ok(())
}

/// Of `logged`, what the committed state doesn't cover.
fn suspects(database: &mut Database, logged: Pieces) -> Result<Pieces, StoreError> {
    let mut out = Pieces::new();
    for (id, mut pieces) in logged {
        let Some(progress) = database.read(|txn| tables::progress(txn, id))? else { continue };
        if progress.writing {
            pieces.retain(|&piece| progress.have.covers(piece) && !progress.have.has(piece));
            if !pieces.is_empty() {
                out.insert(id, pieces);
            }
        }
    }
    Ok(out)
}
