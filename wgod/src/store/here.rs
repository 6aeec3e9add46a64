//! The store without threads of its own: each call does its work, on this thread, before it returns. For simulations,
//! where time and disks are simulated too; made of the parts of which [`Store`](super::Store) is made.
use std::path::Path;
use std::sync::Arc;

use wgo_core::TorrentId;
use wgo_proto::PieceIndex;

use super::change::Change;
use super::database::Database;
use super::error::{Quarantined, StoreError};
use super::log_thread::{self, LogWork};
use super::record::TorrentRecord;
use super::recovery::{self, Loaded, Opened};
use super::stored_log::StoredLog;
use super::{schema, tables, worker};
use crate::files::Disk;

/// An open store that nobody else uses. Dropped without [`close`](StoreHere::close), the next start takes that for
/// a crash.
#[derive(Debug)]
pub struct StoreHere {
    database: Database,
    log: StoredLog,
}

impl StoreHere {
    /// Opens the state in `dir`, which exists and which nobody else has open.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(StoreHere, Loaded), StoreError> {
        let Opened { database, log, loaded, .. } = recovery::open(disk, dir, schema::MIGRATIONS, 0)?;
        Ok((StoreHere { database, log }, loaded))
    }

    /// As [`Store::put`](super::Store::put).
    pub fn put(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        worker::write(&mut self.database, changes.iter())?;
        self.log(changes.into_iter().filter_map(worker::log_work).collect());
        Ok(())
    }

    /// As [`Store::log_stored`](super::Store::log_stored).
    pub fn log_stored(&mut self, id: TorrentId, piece: PieceIndex) {
        self.log(vec![LogWork::Stored(id, piece)]);
    }

    /// As [`Store::log_refuted`](super::Store::log_refuted).
    pub fn log_refuted(&mut self, id: TorrentId, piece: PieceIndex) {
        self.log(vec![LogWork::Refuted(id, piece)]);
    }

    fn log(&mut self, work: Vec<LogWork>) {
        if let Err(error) = log_thread::perform(&mut self.log, work) {
            // It is written with the next one; until then a crash would cost a download.
            tracing::debug!(error, "the log of stored pieces could not be written");
        }
    }

    /// Every torrent, in order of id.
    pub fn load(&mut self) -> Result<Vec<Result<TorrentRecord, Quarantined>>, StoreError> {
        let page = self.database.read(|txn| tables::page(txn, TorrentId(0), usize::MAX))?;
        Ok(page.iter().map(|rows| rows.decode()).collect())
    }

    /// As [`Store::metainfo`](super::Store::metainfo).
    pub fn metainfo(&mut self, id: TorrentId) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.read(|txn| tables::metainfo(txn, id))
    }

    /// As [`Store::close`](super::Store::close).
    pub fn close(mut self) -> Result<(), StoreError> {
        self.database.commit(tables::end_run)?;
        self.database.close()
    }
}
