//! What requests do to the tables and read from them, within a transaction that `database` runs.
use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, Table, WriteTransaction};
use wgo_core::TorrentId;
use wgo_core::dht::snapshot::Snapshot;

use super::change::Change;
use super::codec::RowError;
use super::error::Quarantined;
use super::record::{Counters, Progress, TorrentRecord, Totals};
use super::rows;
use super::schema::{
    COUNTERS, DHT, DHT_KNOWN, META, META_CLEAN, META_DOWNLOADED, META_EPOCH, META_NEXT_ID, META_UPLOADED,
    METAINFO, OVERRIDES, PROGRESS, TORRENTS, number,
};

/// The small tables, read at open.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) clean: bool,
    pub(super) epoch: u32,
    pub(super) next_id: TorrentId,
    pub(super) totals: Totals,
    pub(super) overrides: BTreeMap<String, serde_json::Value>,
    pub(super) dht: Option<Snapshot>,
}

pub(super) fn header(txn: &ReadTransaction) -> Result<Header, redb::Error> {
    let meta = txn.open_table(META)?;
    let mut overrides = BTreeMap::new();
    for entry in txn.open_table(OVERRIDES)?.iter()? {
        let (key, value) = entry?;
        match serde_json::from_str(value.value()) {
            Ok(value) => drop(overrides.insert(key.value().to_owned(), value)),
            Err(e) => tracing::warn!(key = key.value(), error = %e, "a stored override isn't JSON, ignored"),
        }
    }
    let dht = txn.open_table(DHT)?.get(DHT_KNOWN)?.map(|row| rows::decode_dht(row.value()));
    let dht = dht.transpose().unwrap_or_else(|error| {
        tracing::warn!(%error, "the saved nodes of the DHT can't be read; it begins with its bootstrap list");
        None
    });
    Ok(Header {
        dht,
        clean: number(&meta, META_CLEAN)? == 1,
        epoch: number(&meta, META_EPOCH)? as u32,
        next_id: TorrentId(number(&meta, META_NEXT_ID)?),
        totals: Totals {
            downloaded: number(&meta, META_DOWNLOADED)?,
            uploaded: number(&meta, META_UPLOADED)?,
        },
        overrides,
    })
}

/// Marks a run of the daemon as begun.
pub(super) fn begin_run(txn: &WriteTransaction, epoch: u32) -> Result<(), redb::Error> {
    let mut meta = txn.open_table(META)?;
    meta.insert(META_CLEAN, 0)?;
    meta.insert(META_EPOCH, u64::from(epoch))?;
    Ok(())
}

/// Marks the run as ended well.
pub(super) fn end_run(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(META)?.insert(META_CLEAN, 1)?;
    Ok(())
}

/// The tables that changes touch, opened once per commit.
pub(super) struct Tables<'t> {
    torrents: Table<'t, u64, &'static [u8]>,
    progress: Table<'t, u64, &'static [u8]>,
    counters: Table<'t, u64, &'static [u8]>,
    metainfo: Table<'t, u64, &'static [u8]>,
    overrides: Table<'t, &'static str, &'static str>,
    meta: Table<'t, &'static str, u64>,
    dht: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            torrents: txn.open_table(TORRENTS)?,
            progress: txn.open_table(PROGRESS)?,
            counters: txn.open_table(COUNTERS)?,
            metainfo: txn.open_table(METAINFO)?,
            overrides: txn.open_table(OVERRIDES)?,
            meta: txn.open_table(META)?,
            dht: txn.open_table(DHT)?,
        })
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<(), redb::Error> {
        match change {
            Change::Torrent(record) => self.put_torrent(record)?,
            Change::Settings(id, settings) if self.knows(*id)? => {
                self.torrents.insert(id.0, rows::encode_settings(settings).as_slice())?;
            }
            Change::Progress(id, progress) if self.knows(*id)? => {
                self.progress.insert(id.0, rows::encode_progress(progress).as_slice())?;
            }
            Change::Writing(id, mount) if self.knows(*id)? => self.amend(*id, |progress| {
                progress.writing = true;
                progress.mount.clone_from(mount);
            })?,
            Change::Check(id, check) if self.knows(*id)? => {
                self.amend(*id, |progress| progress.check = Some(check.clone()))?;
            }
            Change::Moved(id, files) if self.knows(*id)? => self.amend(*id, |progress| {
                progress.files.clone_from(files);
                progress.mount = None;
            })?,
            Change::Counters(id, counters) if self.knows(*id)? => {
                self.counters.insert(id.0, rows::encode_counters(counters).as_slice())?;
            }
            Change::Metainfo(id, bytes) if self.knows(*id)? => {
                self.metainfo.insert(id.0, bytes.as_slice())?;
            }
            Change::Settings(id, _)
            | Change::Progress(id, _)
            | Change::Writing(id, _)
            | Change::Check(id, _)
            | Change::Moved(id, _)
            | Change::Counters(id, _)
            | Change::Metainfo(id, _) => {
                tracing::debug!(torrent = id.0, "a change to a torrent that is gone, dropped");
            }
            Change::Remove(id) => {
                let counters = self.counters.remove(id.0)?.map(|row| rows::decode_counters(row.value()));
                // A row that can't be read adds nothing.
                if let Some(Ok(counters)) = counters {
                    self.add_to(META_DOWNLOADED, counters.downloaded)?;
                    self.add_to(META_UPLOADED, counters.uploaded)?;
                }
                for table in [&mut self.torrents, &mut self.progress, &mut self.metainfo] {
                    table.remove(id.0)?;
                }
            }
            Change::Dht(known) => drop(self.dht.insert(DHT_KNOWN, rows::encode_dht(known).as_slice())?),
            Change::Override { key, value: Some(value) } => {
                self.overrides.insert(key.as_str(), value.to_string().as_str())?;
            }
            Change::Override { key, value: None } => {
                self.overrides.remove(key.as_str())?;
            }
        }
        Ok(())
    }

    fn add_to(&mut self, total: &'static str, bytes: u64) -> Result<(), redb::Error> {
        let sum = number(&self.meta, total)?.saturating_add(bytes);
        self.meta.insert(total, sum)?;
        Ok(())
    }

    fn knows(&self, id: TorrentId) -> Result<bool, redb::Error> {
        Ok(self.torrents.get(id.0)?.is_some())
    }

    fn put_torrent(&mut self, record: &TorrentRecord) -> Result<(), redb::Error> {
        let id = record.id.0;
        self.torrents.insert(id, rows::encode_settings(&record.settings).as_slice())?;
        self.progress.insert(id, rows::encode_progress(&record.progress).as_slice())?;
        self.counters.insert(id, rows::encode_counters(&record.counters).as_slice())?;
        if id >= number(&self.meta, META_NEXT_ID)? {
            self.meta.insert(META_NEXT_ID, id.saturating_add(1))?;
        }
        Ok(())
    }

    /// Changes a part of the progress. A row that can't be read stays as it is: its torrent is quarantined
    /// and not running.
    fn amend(&mut self, id: TorrentId, change: impl FnOnce(&mut Progress)) -> Result<(), redb::Error> {
        let stored = self.progress.get(id.0)?.map(|row| rows::decode_progress(row.value()));
        let Ok(mut progress) = stored.unwrap_or_else(|| Ok(Progress::default())) else { return Ok(()) };
        change(&mut progress);
        self.progress.insert(id.0, rows::encode_progress(&progress).as_slice())?;
        Ok(())
    }
}

/// The rows of one torrent, not decoded yet.
#[derive(Debug)]
pub(super) struct StoredRows {
    pub(super) id: TorrentId,
    settings: Vec<u8>,
    progress: Option<Vec<u8>>,
    counters: Option<Vec<u8>>,
}

impl StoredRows {
    fn len(&self) -> usize {
        let of = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, Vec::len);
        self.settings.len() + of(&self.progress) + of(&self.counters)
    }

    pub(super) fn decode(&self) -> Result<TorrentRecord, Quarantined> {
        let settings = rows::decode_settings(&self.settings);
        let name = settings.as_ref().ok().map(|s| s.name.clone());
        let bad = |part, error: RowError| Quarantined { id: self.id, name: name.clone(), part, error };
        let progress = self.progress.as_deref().map(rows::decode_progress).transpose();
        let counters = self.counters.as_deref().map(rows::decode_counters).transpose();
        Ok(TorrentRecord {
            id: self.id,
            settings: settings.map_err(|e| bad("settings", e))?,
            progress: progress.map_err(|e| bad("progress", e))?.unwrap_or_else(Progress::default),
            counters: counters.map_err(|e| bad("counters", e))?.unwrap_or_else(Counters::default),
        })
    }
}

/// Torrents from `from` on, in order of id, until `max_bytes` are reached; at least one.
pub(super) fn page(
    txn: &ReadTransaction,
    from: TorrentId,
    max_bytes: usize,
) -> Result<Vec<StoredRows>, redb::Error> {
    let (progress, counters) = (txn.open_table(PROGRESS)?, txn.open_table(COUNTERS)?);
    let (mut out, mut bytes) = (Vec::new(), 0);
    for entry in txn.open_table(TORRENTS)?.range(from.0..)? {
        let (id, settings) = entry?;
        let rows = StoredRows {
            id: TorrentId(id.value()),
            settings: settings.value().to_vec(),
            progress: progress.get(id.value())?.map(|row| row.value().to_vec()),
            counters: counters.get(id.value())?.map(|row| row.value().to_vec()),
        };
        bytes += rows.len();
        out.push(rows);
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(out)
}

/// The stored progress of a torrent; `None` where there is none or it can't be read.
pub(super) fn progress(txn: &ReadTransaction, id: TorrentId) -> Result<Option<Progress>, redb::Error> {
    let row = txn.open_table(PROGRESS)?.get(id.0)?;
    Ok(row.and_then(|row| rows::decode_progress(row.value()).ok()))
}

/// The raw `.torrent` of a torrent.
pub(super) fn metainfo(txn: &ReadTransaction, id: TorrentId) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(txn.open_table(METAINFO)?.get(id.0)?.map(|row| row.value().to_vec()))
}
