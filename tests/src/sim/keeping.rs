//! What a node keeps across restarts: the daemon's own store, on the simulated disk, and what the simulation may
//! expect to find in it. A node without one keeps its last checkpoints in memory.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use wgo_core::session::{Check, Newcomer, Place};
use wgo_core::status::Counters;
use wgo_core::{Time, TorrentId};
use wgo_proto::{Bitfield, PieceIndex};
use wgod::session::{from_stored, to_stored};
use wgod::store::{
    Change, Counters as StoredCounters, FileStamp, Have, Partial, Progress, Settings, StoreError, StoreHere,
    TorrentRecord, Wanted,
};

use crate::sim::link::NodeId;
use crate::sim::node::Entry;
use crate::sim::world::World;

/// The device of the state directory, which no torrent is on.
pub const STATE_DEVICE: u64 = 99;

/// The state directory.
pub fn state_dir() -> PathBuf {
    format!("/{STATE_DEVICE}/state").into()
}

/// What the store said of a torrent, and what a change under way may have made of that.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// It may be there.
    pub may_be: bool,
    /// It must be there.
    pub must_be: bool,
    /// The pieces that it may have; the first are those of the last checkpoint that was acknowledged.
    pub have: Vec<Bitfield>,
    /// What the operator may be found to want of it.
    pub wanted: Vec<Wanted>,
    /// Its completion was announced.
    pub completed: bool,
    /// It was being removed with its files, and comes back without them if that wasn't done.
    pub leaving: bool,
}

/// The store, if the node has one.
#[derive(Default)]
pub struct Keeping {
    pub store: Option<StoreHere>,
    pub told: BTreeMap<TorrentId, Told>,
    /// Pieces that rotted on disk since they were last hashed.
    pub rotten: BTreeSet<(TorrentId, PieceIndex)>,
    /// Power cuts that it went through.
    pub cuts: u32,
    /// When its disks were last troubled.
    pub troubled: Option<Time>,
}

impl Told {
    /// What is known of a torrent with these pieces.
    pub fn of(have: Bitfield) -> Told {
        Told { have: vec![have], ..Told::default() }
    }
}

impl World {
    /// Opens a new store, empty.
    pub fn open_store(&mut self, node: NodeId) {
        if !self.nodes[node].habits.store || self.nodes[node].keeping.store.is_some() {
            return;
        }
        let one = &mut self.nodes[node];
        one.disk.set_now(self.now);
        let (store, _) = StoreHere::open(one.disk.clone(), &state_dir()).expect("the disk is well");
        one.keeping.store = Some(store);
    }

    /// Commits changes; those that name a torrent's pieces, wishes or end are what may be found from now on.
    pub fn put(&mut self, node: NodeId, changes: Vec<Change>) -> Result<(), StoreError> {
        let now = self.now;
        let one = &mut self.nodes[node];
        if one.habits.store && one.keeping.store.is_none() {
            // The power went while somebody was still at work.
            return Err(StoreError::Closed);
        }
        one.disk.set_now(now);
        let before = one.keeping.told.clone();
        for change in &changes {
            expect(&mut one.keeping.told, change);
        }
        let Some(store) = &mut one.keeping.store else {
            settle(&mut one.keeping.told, &changes);
            return Ok(());
        };
        let result = store.put(changes.clone());
        match &result {
            Ok(()) => settle(&mut one.keeping.told, &changes),
            // Either is there: what was, or what was to be.
            Err(_) => merge(&mut one.keeping.told, before),
        }
        result
    }

    /// A piece was hashed and written.
    pub fn note_stored(&mut self, node: NodeId, id: TorrentId, piece: PieceIndex) {
        let now = self.now;
        let one = &mut self.nodes[node];
        if let Some(store) = &mut one.keeping.store {
            store.log_stored(id, piece);
        }
        one.keeping.rotten.remove(&(id, piece));
        if let Some(entry) = one.torrents.get_mut(&id) {
            entry.stored_at.entry(piece).or_insert(now);
        }
    }

    /// What is stored of a torrent that is added.
    pub fn record(&self, node: NodeId, id: TorrentId, have: &Bitfield) -> TorrentRecord {
        let stamps = self.nodes[node].torrents.get(&id).map(|entry| entry.stamps.clone()).unwrap_or_default();
        let completed_at = have.is_full().then_some(1);
        let progress = Progress { have: to_stored(have), files: stamps, completed_at, ..Progress::default() };
        let settings = self.settings(node, id, Wanted::Started);
        TorrentRecord { id, settings, progress, counters: StoredCounters::default() }
    }

    fn settings(&self, node: NodeId, id: TorrentId, wanted: Wanted) -> Settings {
        let content = self.content(id);
        Settings {
            hashes: content.info_hashes(),
            name: content.info.name.clone(),
            folder: content.folder(self.nodes[node].device(id)),
            wanted,
            ..Settings::blank()
        }
    }

    /// The operator's wishes are to be kept.
    pub fn save_wishes(&mut self, node: NodeId, id: TorrentId) {
        let Some(started) = self.nodes[node].session.row(id).map(|row| row.started) else { return };
        if self.nodes[node].keeping.store.is_none() {
            return;
        }
        let wanted = if started { Wanted::Started } else { Wanted::Stopped };
        let settings = self.settings(node, id, wanted);
        // One that fails is tried again with the next change.
        let _result = self.put(node, vec![Change::Settings(id, Box::new(settings))]);
    }

    /// A checkpoint's changes.
    pub fn progress(
        &self,
        node: NodeId,
        id: TorrentId,
        have: &Bitfield,
        partials: &[(PieceIndex, Bitfield)],
        writing: bool,
    ) -> Progress {
        let entry = &self.nodes[node].torrents[&id];
        let partial =
            |(piece, mask): &(PieceIndex, Bitfield)| Partial { piece: *piece, blocks: mask.to_wire() };
        Progress {
            have: to_stored(have),
            partials: partials.iter().map(partial).collect(),
            writing,
            completed_at: entry.completed_at,
            files: entry.stamps.clone(),
            ..Progress::default()
        }
    }

    /// A node that has a store begins again: with what that says, which is what was acknowledged.
    pub fn boot(&mut self, node: NodeId) {
        let began = self.recovers(node);
        assert!(began, "node {node} can't open its state\n{}", self.report());
    }

    /// The same, where the power may go meanwhile; whether it got over that.
    pub fn recovers(&mut self, node: NodeId) -> bool {
        let disk = self.nodes[node].disk.clone();
        disk.set_now(self.now);
        let mut opened = StoreHere::open(disk.clone(), &state_dir());
        if opened.is_err() && !disk.is_dark() {
            // It fails as long as the disk does, and is begun again then.
            disk.mend();
            opened = StoreHere::open(disk.clone(), &state_dir());
        }
        if disk.is_dark() {
            return false;
        }
        let (mut store, loaded) =
            opened.unwrap_or_else(|e| panic!("node {node} can't open its state: {e}\n{}", self.report()));
        let records = store.load().unwrap_or_else(|e| panic!("node {node} can't read its state: {e}"));
        self.nodes[node].keeping.store = Some(store);
        self.nodes[node].up = true;
        let records: Vec<TorrentRecord> =
            records.into_iter().map(|record| record.expect("no record is damaged")).collect();
        self.check_records(node, &records);
        let mut old = std::mem::take(&mut self.nodes[node].torrents);
        let mut suspect = loaded.recovery.suspect;
        for record in records {
            let suspects = suspect.remove(&record.id).unwrap_or_default();
            self.take_up(node, record, suspects, &mut old);
        }
        assert!(suspect.is_empty(), "suspects of torrents that aren't there: {suspect:?}");
        self.touched.insert((node, None));
        true
    }

    /// Takes up a torrent of the store.
    fn take_up(
        &mut self,
        node: NodeId,
        record: TorrentRecord,
        suspects: Vec<PieceIndex>,
        old: &mut BTreeMap<TorrentId, Entry>,
    ) {
        let TorrentRecord { id, settings, progress, counters } = record;
        let layout = self.content(id).layout.clone();
        let have = from_stored(&progress.have, layout.piece_count());
        for piece in &suspects {
            assert!(progress.writing && !have.get(piece.0), "{id:?}: {piece:?} is no suspect");
        }
        let mask = |partial: Partial| {
            Some((partial.piece, Bitfield::from_wire(&partial.blocks, layout.blocks_in(partial.piece)).ok()?))
        };
        let device = self.nodes[node].device(id);
        let fresh = Entry::new(self.content(id).paths(device), have.clone(), self.steps as u32);
        let before = old.remove(&id);
        let entry = Entry {
            partials: progress.partials.into_iter().filter_map(mask).collect(),
            stamps: progress.files,
            writing: progress.writing,
            completed_at: progress.completed_at,
            suspects,
            sent: counters.uploaded,
            received: counters.downloaded,
            counters: Counters {
                downloaded: counters.downloaded,
                uploaded: counters.uploaded,
                wasted: counters.wasted,
            },
            completed: before.as_ref().map_or(0, |entry| entry.completed),
            epoch: before.map_or(fresh.epoch, |entry| entry.epoch + 1),
            // What was received since the counters were kept is forgotten.
            lossy: true,
            ..fresh
        };
        let (hashes, finished, now) = (self.content(id).info_hashes(), have.is_full(), self.clock(node));
        let started = settings.wanted == Wanted::Started;
        let newcomer = Newcomer {
            started,
            needs: Check::Suspects,
            ..newcomer(id, hashes, Check::Suspects, finished, device)
        };
        let one = &mut self.nodes[node];
        one.torrents.insert(id, entry);
        one.session.add(now, newcomer);
    }

    /// Ends a node's store in order, if its disk lets it.
    pub fn close_store(&mut self, node: NodeId) -> bool {
        if let Some(store) = self.nodes[node].keeping.store.take() {
            return store.close().is_ok();
        }
        true
    }
}

/// A torrent as a Session gets it.
pub fn newcomer(
    id: TorrentId,
    hashes: wgo_proto::InfoHashes,
    needs: Check,
    finished: bool,
    device: u64,
) -> Newcomer {
    let (started, check_asked, moving, place) = (true, false, None, Place::default());
    Newcomer { id, hashes, started, known: true, needs, check_asked, finished, device, moving, place }
}

/// A change is under way: what may be found grows.
fn expect(told: &mut BTreeMap<TorrentId, Told>, change: &Change) {
    match change {
        Change::Torrent(record) => {
            let one = told.entry(record.id).or_default();
            let have = bits(&record.progress.have);
            *one = Told {
                may_be: true,
                have: vec![have],
                wanted: vec![record.settings.wanted],
                ..Told::default()
            };
        }
        Change::Progress(id, progress) => {
            let one = told.entry(*id).or_default();
            one.completed &= progress.have == Have::All;
            one.have.push(bits(&progress.have));
        }
        Change::Settings(id, settings) => told.entry(*id).or_default().wanted.push(settings.wanted),
        Change::Remove(id) => told.entry(*id).or_default().must_be = false,
        _ => {}
    }
}

/// A change is acknowledged: nothing else may be found.
fn settle(told: &mut BTreeMap<TorrentId, Told>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Torrent(record) => told.entry(record.id).or_default().must_be = true,
            Change::Progress(id, _) => {
                let have = &mut told.entry(*id).or_default().have;
                have.drain(..have.len().saturating_sub(1));
            }
            Change::Settings(id, _) => {
                let wanted = &mut told.entry(*id).or_default().wanted;
                wanted.drain(..wanted.len().saturating_sub(1));
            }
            Change::Remove(id) => drop(told.remove(id)),
            _ => {}
        }
    }
}

/// Nobody knows whether a change was made.
fn merge(told: &mut BTreeMap<TorrentId, Told>, before: BTreeMap<TorrentId, Told>) {
    for (id, old) in before {
        let one = told.entry(id).or_default();
        one.may_be |= old.may_be;
        for have in old.have {
            if !one.have.contains(&have) {
                one.have.insert(0, have);
            }
        }
        one.wanted.extend(old.wanted);
        one.leaving |= old.leaving;
    }
}

/// A stored set as bits: of an unknown number of pieces where it has none or all.
fn bits(have: &Have) -> Bitfield {
    match have {
        Have::Some { pieces, .. } => from_stored(have, *pieces),
        Have::All => Bitfield::full(1),
        Have::Nothing => Bitfield::new(0),
    }
}

/// Whether a stored set is what was told.
pub fn is_told(have: &Have, told: &Told) -> bool {
    told.have.contains(&bits(have))
}

/// What was known of the files, with what a sync says.
pub fn merge_stamps(known: &mut Vec<Option<FileStamp>>, files: usize, news: &[wgod::files::Stamp]) {
    known.resize(files, None);
    for stamp in news {
        if let Some(slot) = known.get_mut(stamp.file.0 as usize) {
            *slot = Some(wgod::session::to_file_stamp(stamp));
        }
    }
}

impl Entry {
    /// A torrent of which nothing is known but its pieces.
    pub fn new(paths: Vec<PathBuf>, have: Bitfield, epoch: u32) -> Entry {
        Entry {
            files: None,
            paths,
            live: None,
            ends: Default::default(),
            timer: None,
            lane: VecDeque::new(),
            pulls: u32::MAX,
            epoch,
            durable: have.clone(),
            stamps: Vec::new(),
            writing: false,
            suspects: Vec::new(),
            checking: Check::None,
            completed_at: have.is_full().then_some(1),
            stored_at: BTreeMap::new(),
            hashed: 0,
            partials: Vec::new(),
            counters: Counters::default(),
            sent: 0,
            received: 0,
            seen_good: Bitfield::new(have.len()),
            completed: 0,
            first_block_at: None,
            finished_at: None,
            spills: 0,
            trackers: None,
            stored: 0,
            lossy: !have.is_empty(),
            bad: Default::default(),
            spoilt: Default::default(),
            named: Default::default(),
            named_by: None,
            dialing: Default::default(),
            failed_dials: Default::default(),
            told_complete: false,
            paced: false,
            have,
        }
    }
}
