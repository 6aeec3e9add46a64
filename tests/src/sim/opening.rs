//! A torrent's files on the simulated disk: found, made ready to be written to, checked, made durable, as the shell's
//! operations do it, by the daemon's own jobs.
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use wgo_core::TorrentId;
use wgo_core::session::{Check, Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};
use wgod::files::{
    Check as CheckJob, CheckOutcome, CheckPieces, Checked, DiskError, DiskErrorKind, Job, OpenError, Space,
    Stamp, SyncOutcome, TorrentFiles, TorrentSpec,
};
use wgod::session::{doubted, is_unchanged, of_disk, of_open};
use wgod::store::{Change, Counters, FileStamp, StoreError};

use crate::sim::keeping::merge_stamps;
use crate::sim::link::NodeId;
use crate::sim::world::World;

/// What stands in the way; nothing where the daemon's storage was stopped.
type Hindrance = Option<Fault>;

impl World {
    /// The torrent's files, found if need be.
    pub fn open_files(&mut self, node: NodeId, id: TorrentId) -> Result<Arc<TorrentFiles>, Hindrance> {
        let (writes, open) = match self.nodes[node].torrents.get(&id) {
            Some(entry) => (!entry.have.is_full(), entry.files.clone()),
            None => return Err(None),
        };
        if let Some(files) = open {
            return Ok(files);
        }
        let (device, content) = (self.nodes[node].device(id), self.content(id));
        let spec = TorrentSpec {
            id,
            info: content.info.clone(),
            folder: content.folder(device),
            writes,
            preallocate: self.nodes[node].habits.preallocate,
            names: Vec::new(),
        };
        let opened: Result<Arc<TorrentFiles>, OpenError> =
            self.run_on_disk(node, |done| Job::Open { spec, done });
        let files = opened.map_err(|error| of_open(&error))?;
        let pulls = self.nodes[node].disk.pulls(device);
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            (entry.files, entry.pulls) = (Some(files.clone()), pulls);
        }
        Ok(files)
    }

    /// Lets go of the torrent's files.
    pub fn close_files(&mut self, node: NodeId, id: TorrentId) {
        let files = self.nodes[node].torrents.get_mut(&id).and_then(|entry| entry.files.take());
        if let Some(torrent) = files {
            // What could not be synced is not had, or is read back by a check.
            let _synced: SyncOutcome = self.run_on_disk(node, |done| Job::Close { torrent, done });
        }
    }

    /// Before the first write: folder, room, and the mark that says what a crash would put in doubt.
    pub fn prepare(&mut self, node: NodeId, id: TorrentId) -> Result<(), Hindrance> {
        let files = self.open_files(node, id)?;
        let other = |other: wgod::files::SecondWriter| Fault {
            kind: FaultKind::NotWritable,
            message: other.to_string(),
        };
        files.begin_writing().map_err(|error| Some(other(error)))?;
        let prepared: Result<Space, DiskError> =
            self.run_on_disk(node, |done| Job::Prepare { torrent: files, done });
        let space = prepared.map_err(|error| of_disk(&error))?;
        if space.free == 0 {
            return Err(Some(Fault { kind: FaultKind::DiskFull, message: "no room".into() }));
        }
        self.put(node, vec![Change::Writing(id, None)]).map_err(|error| Some(store_fault(&error)))?;
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.writing = true;
        }
        Ok(())
    }

    /// Before a complete torrent is read from; whether its files are what they were.
    pub fn seal(&mut self, node: NodeId, id: TorrentId) -> Result<bool, Hindrance> {
        let files = self.open_files(node, id)?;
        let torrent = files.clone();
        let looked: Result<(), DiskError> = self.run_on_disk(node, |done| Job::Look { torrent, done });
        if looked.is_err_and(|error| error.kind == DiskErrorKind::Changed) {
            return Ok(false);
        }
        if files.writes() {
            let job = |done| Job::Sync { torrent: files, have: None, seal: true, done };
            let _sealed: SyncOutcome = self.run_on_disk(node, job);
        }
        Ok(true)
    }

    /// A check's turn has come: what it finds is what is had.
    pub fn check(&mut self, node: NodeId, id: TorrentId, check: Check) {
        self.close_files(node, id);
        let files = match self.open_files(node, id) {
            Ok(files) => files,
            Err(fault) => return self.stand_if(node, id, fault),
        };
        let stamps = match self.stamps(node, id, &files) {
            Ok(stamps) => stamps,
            Err(fault) => return self.stand_if(node, id, fault),
        };
        let count = self.content(id).layout.piece_count();
        let (base, wanted) = match check {
            Check::Suspects => match self.suspects(node, id, &stamps) {
                Ok(plan) => plan,
                Err(fault) => return self.stand(node, id, fault),
            },
            _ => (Bitfield::new(count), Bitfield::full(count)),
        };
        let mut good = self.hash(node, &files, &wanted);
        // And files that nobody knew, as the shell does.
        let is_there = |stamps: &[Option<FileStamp>], file: FileIndex| {
            stamps.get(file.0 as usize).is_some_and(Option::is_some)
        };
        let known = &self.nodes[node].torrents[&id].stamps;
        let found: Vec<FileIndex> = (0..self.content(id).layout.file_count())
            .map(FileIndex)
            .filter(|file| {
                let is_new = is_there(&stamps, *file) && !is_there(known, *file);
                let mut pieces = self.content(id).info.pieces_in(*file);
                self.is_stored(id, *file) && (is_new || pieces.any(|piece| good.get(piece.0)))
            })
            .collect();
        if !found.is_empty() {
            let job = |done| Job::Settle { torrent: files, files: found, done };
            let settled: SyncOutcome = self.run_on_disk(node, job);
            if let Some(error) = settled.folder {
                return self.report_disk_error(node, id, Some(error));
            }
            for (file, _) in settled.failed {
                // To hash it once more would only tell what is in memory.
                let pieces: Vec<PieceIndex> = self.content(id).info.pieces_in(file).collect();
                for piece in pieces {
                    good.clear(piece.0);
                }
            }
        }
        if self.nodes[node].disk.is_dark() {
            return;
        }
        let mut have = base;
        have.union_with(&good);
        let refuted: Vec<PieceIndex> = wanted.iter_and_not(&have).map(PieceIndex).collect();
        if let Some(store) = self.nodes[node].keeping.store.as_mut().filter(|_| check == Check::Suspects) {
            refuted.iter().for_each(|piece| store.log_refuted(id, *piece));
        }
        self.end_check(node, id, have, stamps, &wanted);
    }

    /// Commits what a check found.
    fn end_check(
        &mut self,
        node: NodeId,
        id: TorrentId,
        have: Bitfield,
        stamps: Vec<Option<FileStamp>>,
        hashed: &Bitfield,
    ) {
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        entry.hashed += hashed.count();
        entry.lossy |= !entry.partials.is_empty() || have != entry.have;
        let news = have != entry.durable || entry.writing || stamps != entry.stamps || !hashed.is_empty();
        entry.completed_at = have.is_full().then(|| entry.completed_at.unwrap_or(1));
        entry.told_complete &= have.is_full();
        entry.stamps = stamps;
        entry.stored_at.clear();
        entry.suspects.clear();
        entry.partials.clear();
        entry.writing = false;
        if news {
            let progress = self.progress(node, id, &have, &[], false);
            // What is not kept is found again.
            let kept = self.put(node, vec![Change::Progress(id, progress)]).is_ok();
            for piece in hashed.iter_ones().filter(|piece| kept || have.get(*piece)).map(PieceIndex) {
                self.nodes[node].keeping.rotten.remove(&(id, piece));
            }
        }
        let finished = have.is_full();
        self.check_found(node, id, &have);
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.durable = have.clone();
            entry.have = have;
        }
        self.watch_files(node, id);
        let now = self.clock(node);
        self.nodes[node].session.on_checked(now, id, finished);
        self.touched.insert((node, None));
    }

    /// Has files compared with what they are now known to be, whenever they are opened.
    fn watch_files(&mut self, node: NodeId, id: TorrentId) {
        let Some(entry) = self.nodes[node].torrents.get(&id) else { return };
        let stamp = |(file, stamp): (u32, &Option<FileStamp>)| {
            let stamp = (*stamp)?;
            let mtime = wgod::files::Mtime {
                secs: stamp.mtime_nanos.div_euclid(NANOS),
                nanos: stamp.mtime_nanos.rem_euclid(NANOS) as u32,
            };
            Some(Stamp { file: FileIndex(file), len: stamp.len, mtime, suffixed: false })
        };
        if let Some(files) = &entry.files {
            files.watch((0..).zip(&entry.stamps).filter_map(stamp));
        }
    }

    /// Length and time of every file; none for one that is missing.
    pub fn stamps(
        &mut self,
        node: NodeId,
        id: TorrentId,
        files: &Arc<TorrentFiles>,
    ) -> Result<Vec<Option<FileStamp>>, Hindrance> {
        let count = self.content(id).layout.file_count();
        let wanted = (0..count).map(FileIndex).filter(|file| self.is_stored(id, *file)).collect();
        let torrent = files.clone();
        let job = |done| Job::Stat { torrent, files: wanted, done };
        let found: Result<Vec<Stamp>, DiskError> = self.run_on_disk(node, job);
        let mut stamps = Vec::new();
        merge_stamps(&mut stamps, count as usize, &found.map_err(|error| of_disk(&error))?);
        Ok(stamps)
    }

    fn is_stored(&self, id: TorrentId, file: FileIndex) -> bool {
        self.content(id).layout.file_len(file) > 0
    }

    /// Which pieces count without a look, and which are to be hashed, as the shell decides it.
    fn suspects(
        &self,
        node: NodeId,
        id: TorrentId,
        stamps: &[Option<FileStamp>],
    ) -> Result<(Bitfield, Bitfield), Fault> {
        let entry = &self.nodes[node].torrents[&id];
        let info = &self.content(id).info;
        let found = |file: FileIndex| stamps.get(file.0 as usize).copied().flatten();
        let known = |file: FileIndex| entry.stamps.get(file.0 as usize).copied().flatten();
        let expected = |file: FileIndex| {
            known(file).is_some() || info.pieces_in(file).any(|piece| entry.have.get(piece.0))
        };
        let files = (0..info.files.len() as u32).map(FileIndex).filter(|file| self.is_stored(id, *file));
        if let Some(file) = files.clone().find(|file| found(*file).is_none() && expected(*file)) {
            return Err(Fault { kind: FaultKind::Unreachable, message: format!("{file:?} is missing") });
        }
        let changed = |file: FileIndex| {
            self.is_stored(id, file) && !is_unchanged(known(file), found(file), entry.writing)
        };
        Ok(doubted(info, &entry.have, &entry.suspects, changed))
    }

    /// Those of the pieces that are right on disk.
    fn hash(&mut self, node: NodeId, files: &Arc<TorrentFiles>, wanted: &Bitfield) -> Bitfield {
        if wanted.is_empty() {
            return wanted.clone();
        }
        let good = Arc::new(Mutex::new(Bitfield::new(wanted.len())));
        let pieces = CheckPieces::List(wanted.iter_ones().map(PieceIndex).collect());
        let found = good.clone();
        let tell = move |verdicts: &[Checked]| {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            for one in verdicts.iter().filter(|one| one.good) {
                found.set(one.piece.0);
            }
        };
        let files = files.clone();
        let job = |done| {
            let check = CheckJob::new(files, pieces, Box::new(tell), Arc::new(AtomicBool::new(false)), done);
            Job::Check(Arc::new(check))
        };
        let _ended: CheckOutcome = self.run_on_disk(node, job);
        good.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A checkpoint: what was had when it began becomes durable, then that is committed.
    pub fn sync(
        &mut self,
        node: NodeId,
        id: TorrentId,
        epoch: u32,
        files: Option<Arc<TorrentFiles>>,
        have: Bitfield,
        partials: Vec<(PieceIndex, Bitfield)>,
    ) {
        let (stored, seal) = (Some(have.clone()), have.is_full());
        let job = |torrent, done| Job::Sync { torrent, have: stored, seal, done };
        let outcome: SyncOutcome = self.run_job(node, files, job);
        if self.nodes[node].disk.is_dark() || self.epoch(node, id) != epoch {
            return;
        }
        let doubt = in_doubt(&outcome);
        self.tell(Some(node), || match &doubt {
            None => format!("torrent {}: a checkpoint of {} pieces", id.0, have.count()),
            Some(error) => format!("torrent {}: a checkpoint fails: {error}", id.0),
        });
        if let Some(error) = doubt {
            self.lose_doubtful(node, id);
            self.checkpointed(node, id, false);
            let unknown = || Fault { kind: FaultKind::Unreachable, message: error.to_string() };
            return self.stand(node, id, of_disk(&error).unwrap_or_else(unknown));
        }
        match self.commit(node, id, &have, &partials, !seal, &outcome.stamps) {
            Ok(()) => self.checkpointed(node, id, true),
            Err(error) => {
                self.checkpointed(node, id, false);
                self.stand(node, id, store_fault(&error));
            }
        }
    }

    /// The session hears of a checkpoint's end.
    pub fn checkpointed(&mut self, node: NodeId, id: TorrentId, ok: bool) {
        let now = self.clock(node);
        if !ok && self.call(node, id, |swarm, now| swarm.view(now).finished) == Some(false) {
            self.nodes[node].session.on_lost(now, id);
        }
        self.nodes[node].session.on_checkpointed(now, id, ok);
        self.touched.insert((node, None));
    }

    /// Commits that these pieces are durable.
    pub fn commit(
        &mut self,
        node: NodeId,
        id: TorrentId,
        have: &Bitfield,
        partials: &[(PieceIndex, Bitfield)],
        writing: bool,
        stamps: &[Stamp],
    ) -> Result<(), StoreError> {
        let files = self.content(id).layout.file_count() as usize;
        let counters = self.call(node, id, |swarm, now| swarm.view(now).counters);
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return Ok(()) };
        let counters = counters.unwrap_or(entry.counters);
        merge_stamps(&mut entry.stamps, files, stamps);
        if have.is_full() {
            entry.completed_at.get_or_insert(1);
        }
        let counters = Counters {
            downloaded: counters.downloaded,
            uploaded: counters.uploaded,
            wasted: counters.wasted,
            ..Counters::default()
        };
        let progress = self.progress(node, id, have, partials, writing);
        self.put(node, vec![Change::Progress(id, progress), Change::Counters(id, counters)])?;
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.durable = have.clone();
            entry.writing = writing;
            entry.stored_at.retain(|piece, _| !have.get(piece.0));
        }
        self.watch_files(node, id);
        Ok(())
    }

    /// A fault shows, if it is one.
    pub fn stand_if(&mut self, node: NodeId, id: TorrentId, fault: Hindrance) {
        if let Some(fault) = fault {
            self.stand(node, id, fault);
        }
    }
}

/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// Why not everything is durable.
pub fn in_doubt(outcome: &SyncOutcome) -> Option<DiskError> {
    outcome.folder.clone().or_else(|| outcome.failed.first().map(|(_, error)| error.clone()))
}

/// The fault of a torrent whose state the store doesn't take.
fn store_fault(error: &StoreError) -> Fault {
    let kind = if error.is_disk_full() { FaultKind::DiskFull } else { FaultKind::NotWritable };
    Fault { kind, message: error.to_string() }
}
