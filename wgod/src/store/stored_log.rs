//! `stored.log`: pieces that were written and hashed but are in no committed bitmap yet.
//!
//! Append-only, checksummed, never synced while the daemon runs: it outlives a crash of the process,
//! and of a power cut it is only a hint. A lost entry costs a re-download of its piece, a stale or
//! repeated one a hash; none can make a bit true.
//!
//! ```text
//! entry = torrent id (8 bytes) piece (4) epoch (4) crc32 of those 16 (4), all little-endian
//! ```
//!
//! Entries have one size, so a damaged one hides no other. The *epoch* is the number of the daemon's
//! run, committed to the database at open: entries of an earlier run, which come back when a power
//! cut undoes an unsynced truncation, don't count.
//!
//! Once a commit covers every entry, the file is cut to nothing. When some stay uncovered for long (a
//! device that can't be synced), the file is replaced by one that has only those: a second file,
//! written whole and then renamed, so that at each moment the name leads to all uncovered entries.
//! One thread owns the log, so nothing is appended in between.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use wgo_core::TorrentId;
use wgo_proto::PieceIndex;

use super::StoreError;
use super::record::Progress;
use super::state_dir::StateDir;
use crate::files::{Bufs, Handle};

/// Its name.
pub(super) const FILE: &str = "stored.log";
const SUCCESSOR: &str = "stored.log.new";

/// Bytes of an entry.
const ENTRY_LEN: usize = 20;

/// Entries read at a time: 80 KiB.
const READ_ENTRIES: usize = 4096;

/// A log below this isn't worth replacing: 64 KiB are read in no time.
const REPLACE_ABOVE: u64 = 64 * 1024;

/// Pieces of torrents, ordered.
pub(super) type Pieces = BTreeMap<TorrentId, BTreeSet<PieceIndex>>;

/// What an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    /// What the entries name.
    pub(super) pieces: Pieces,
    /// Entries whose checksum is wrong, a torn last one included.
    pub(super) damaged: u64,
}

/// The log, and what of it no commit covers.
#[derive(Debug)]
pub(super) struct StoredLog {
    dir: StateDir,
    file: Handle,
    epoch: u32,
    /// Bytes of the file that are whole entries of ours.
    len: u64,
    uncovered: Pieces,
    /// Encoded entries that the file doesn't have yet because the disk refused them. Bounded by
    /// `uncovered`, which has each of them; dropped when that becomes empty.
    unwritten: Vec<u8>,
    /// The file names pieces that turned out not to be there.
    refuted: bool,
}

/// Reads what earlier runs left, of epochs from `epoch` on.
pub(super) fn leftover(dir: &StateDir, epoch: u32) -> Result<Leftover, StoreError> {
    let mut out = Leftover::default();
    let Some(file) = dir.open_existing(FILE)? else { return Ok(out) };
    let mut offset = 0;
    loop {
        let bufs = Bufs::bytes(vec![0; ENTRY_LEN * READ_ENTRIES]);
        let (bufs, result) = dir.disk().read_full_at(&file, offset, bufs);
        let read = result.map_err(|e| dir.error("cannot read", FILE, e))?;
        let bytes = bufs.into_bytes();
        let bytes = bytes.get(..read).unwrap_or_default();
        for entry in bytes.chunks(ENTRY_LEN) {
            match decode(entry) {
                Some((id, piece, e)) if e >= epoch => {
                    out.pieces.entry(id).or_default().insert(piece);
                }
                Some(_) => {}
                None => out.damaged += 1,
            }
        }
        offset += read as u64;
        if read < ENTRY_LEN * READ_ENTRIES {
            return Ok(out);
        }
    }
}

impl StoredLog {
    /// Begins the log of run `epoch` with `suspects`, which replace all that was there. Synced when
    /// there are any: they are all that is known of those pieces.
    pub(super) fn begin(dir: &StateDir, epoch: u32, suspects: Pieces) -> Result<StoredLog, StoreError> {
        let durable = !suspects.is_empty();
        let (file, len) = write_successor(dir, epoch, &suspects, durable)?;
        Ok(StoredLog {
            dir: dir.clone(),
            file,
            epoch,
            len,
            uncovered: suspects,
            unwritten: Vec::new(),
            refuted: false,
        })
    }

    /// Appends entries. After an error they are kept and written with the next ones.
    pub(super) fn append(&mut self, stored: &[(TorrentId, PieceIndex)]) -> io::Result<()> {
        for &(id, piece) in stored {
            if self.uncovered.entry(id).or_default().insert(piece) {
                self.unwritten.extend_from_slice(&encode(id, piece, self.epoch));
            }
        }
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let bytes = Bufs::bytes(std::mem::take(&mut self.unwritten));
        let (bufs, result) = self.dir.disk().write_all_at(&self.file, self.len, bytes);
        let bytes = bufs.into_bytes();
        match result {
            Ok(()) => self.len += bytes.len() as u64,
            // The next attempt writes over whatever part arrived.
            Err(_) => self.unwritten = bytes,
        }
        result
    }

    /// A committed checkpoint says what of a torrent is durable.
    pub(super) fn cover(&mut self, id: TorrentId, progress: &Progress) {
        if !progress.writing {
            self.uncovered.remove(&id);
        } else if let Some(pieces) = self.uncovered.get_mut(&id) {
            pieces.retain(|&piece| !progress.have.has(piece));
            if pieces.is_empty() {
                self.uncovered.remove(&id);
            }
        }
    }

    /// A torrent is gone.
    pub(super) fn forget(&mut self, id: TorrentId) {
        self.uncovered.remove(&id);
    }

    /// A piece turned out not to be there: no need to hash it after a crash.
    pub(super) fn refute(&mut self, id: TorrentId, piece: PieceIndex) {
        if let Some(pieces) = self.uncovered.get_mut(&id) {
            self.refuted |= pieces.remove(&piece);
            if pieces.is_empty() {
                self.uncovered.remove(&id);
            }
        }
    }

    /// Gives back the space of entries that no longer count, where that is worth it.
    pub(super) fn shrink(&mut self) -> Result<(), StoreError> {
        if self.uncovered.is_empty() {
            (self.unwritten, self.refuted) = (Vec::new(), false);
            if self.len > 0 {
                let result = self.dir.disk().set_len(&self.file, 0);
                result.map_err(|e| self.dir.error("cannot truncate", FILE, e))?;
                self.len = 0;
            }
            return Ok(());
        }
        let entries: usize = self.uncovered.values().map(BTreeSet::len).sum();
        let worth = self.len > REPLACE_ABOVE && self.len / 2 > (entries * ENTRY_LEN) as u64;
        // What was refuted must not be looked for after a crash: memory may show what never reached the disk.
        if worth || self.refuted {
            let (file, len) = write_successor(&self.dir, self.epoch, &self.uncovered, false)?;
            (self.file, self.len, self.unwritten, self.refuted) = (file, len, Vec::new(), false);
        }
        Ok(())
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path_of(FILE)
    }
}

/// Writes a new file with `pieces` and gives it the log's name.
fn write_successor(
    dir: &StateDir,
    epoch: u32,
    pieces: &Pieces,
    durable: bool,
) -> Result<(Handle, u64), StoreError> {
    let file = dir.create(SUCCESSOR)?;
    let mut bytes = Vec::new();
    for (&id, pieces) in pieces {
        pieces.iter().for_each(|&piece| bytes.extend_from_slice(&encode(id, piece, epoch)));
    }
    let len = bytes.len() as u64;
    let result = dir.disk().write_all_at(&file, 0, Bufs::bytes(bytes)).1;
    result.map_err(|e| dir.error("cannot write", SUCCESSOR, e))?;
    if durable {
        dir.disk().sync_all(&file).map_err(|e| dir.error("cannot sync", SUCCESSOR, e))?;
    }
    dir.rename(SUCCESSOR, FILE)?;
    if durable {
        dir.sync()?;
    }
    Ok((file, len))
}

fn encode(id: TorrentId, piece: PieceIndex, epoch: u32) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    entry[..8].copy_from_slice(&id.0.to_le_bytes());
    entry[8..12].copy_from_slice(&piece.0.to_le_bytes());
    entry[12..16].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32fast::hash(&entry[..16]);
    entry[16..].copy_from_slice(&crc.to_le_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<(TorrentId, PieceIndex, u32)> {
    let entry: &[u8; ENTRY_LEN] = entry.try_into().ok()?;
    let (body, crc) = entry.split_last_chunk::<4>()?;
    let (id, rest) = body.split_first_chunk::<8>()?;
    let (piece, rest) = rest.split_first_chunk::<4>()?;
    let (epoch, _) = rest.split_first_chunk::<4>()?;
    let whole = crc32fast::hash(body) == u32::from_le_bytes(*crc);
    whole.then(|| {
        let id = TorrentId(u64::from_le_bytes(*id));
        (id, PieceIndex(u32::from_le_bytes(*piece)), u32::from_le_bytes(*epoch))
    })
}

#[cfg(test)]
#[path = "stored_log/tests.rs"]
mod tests;
