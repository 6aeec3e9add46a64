//! What is stored read and written again, and recovery from any of it: for whoever proves that nothing is lost or
//! made up on the way.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use wgo_core::TorrentId;

use super::backup;
use super::codec::sealed;
use super::record::Progress;
use super::recovery::{Recovery, open};
use super::schema::{self, PROGRESS};
use super::stored_log;
use super::{StoreError, rows, tables};
use crate::files::{Bufs, Disk};

/// A row of settings, progress or counters (`kind` 0, 1, 2) of these fields, as it is when it was read and written
/// again; `None` if it can't be read. Version and checksum are put around the fields first.
pub fn rewritten(kind: u8, fields: &[u8]) -> Option<Vec<u8>> {
    let row = sealed(fields);
    match kind {
        0 => rows::decode_settings(&row).map(|settings| rows::encode_settings(&settings)),
        1 => rows::decode_progress(&row).map(|progress| rows::encode_progress(&progress)),
        2 => rows::decode_counters(&row).map(|counters| rows::encode_counters(&counters)),
        _ => return None,
    }
    .ok()
}

/// A backup without its checksum, as it is when it was read and written again; `None` if it can't be restored from.
/// The checksum is put behind it first.
pub fn rewritten_backup(body: &[u8]) -> Option<Vec<u8>> {
    backup::rewritten(body)
}

/// What an end that was not clean left: rows of progress, without version and checksum, and the log of stored
/// pieces. Replaces what there is in `dir`.
///
/// # Errors
/// Of the disk.
pub fn leave(
    disk: Arc<dyn Disk>,
    dir: &Path,
    progress: &[(TorrentId, Vec<u8>)],
    log: &[u8],
) -> Result<(), StoreError> {
    let mut opened = open(disk, dir, schema::MIGRATIONS, 0)?;
    opened.database.commit(|txn| {
        let mut table = txn.open_table(PROGRESS)?;
        for (id, fields) in progress {
            table.insert(id.0, &sealed(fields)[..])?;
        }
        Ok(())
    })?;
    let file = opened.dir.create(stored_log::FILE)?;
    let written = opened.dir.disk().write_all_at(&file, 0, Bufs::bytes(log.to_vec())).1;
    written.map_err(|error| opened.dir.error("cannot write", stored_log::FILE, error))
}

/// What a start makes of it: recovery, and the progress of the torrents of which it can be read.
///
/// # Errors
/// Of the disk, and where a row can't be read.
pub fn recover(
    disk: Arc<dyn Disk>,
    dir: &Path,
    torrents: &[TorrentId],
) -> Result<(Recovery, BTreeMap<TorrentId, Progress>), StoreError> {
    let mut opened = open(disk, dir, schema::MIGRATIONS, 0)?;
    let mut known = BTreeMap::new();
    for id in torrents {
        if let Some(progress) = opened.database.read(|txn| tables::progress(txn, *id))? {
            known.insert(*id, progress);
        }
    }
    Ok((opened.loaded.recovery, known))
}
