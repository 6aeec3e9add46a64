//! What an operation takes along: a copy of what it needs of its torrent's entry.
use std::sync::Arc;

use wgo_core::piece_mgr::Priority;
use wgo_core::swarm::TrackerMemory;
use wgo_core::{Selection, TorrentId};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use crate::files::{Name, Preallocate, TorrentFiles};
use crate::session::Driver;
use crate::session::claims::Claims;
use crate::session::entry::is_met;
use crate::store::{Counters, FileStamp, Move, OwedCheck};
use crate::torrent::Torrent;

/// What every operation gets: a copy of what it needs of its entry.
pub(in crate::session) struct Cx {
    pub(super) engine: Arc<crate::engine::Engine>,
    pub(in crate::session) id: TorrentId,
    pub(super) info: Arc<wgo_proto::metainfo::Info>,
    pub(in crate::session) folder: std::path::PathBuf,
    pub(in crate::session) moving: Option<Move>,
    pub(super) selection: Option<Arc<Selection>>,
    /// Where its files go when it is complete, if that is elsewhere.
    pub(in crate::session) final_folder: Option<std::path::PathBuf>,
    /// The torrent with the names of a rename that was begun and has not ended.
    pub(super) renaming: Option<Arc<wgo_proto::metainfo::Info>>,
    pub(super) files: Option<Arc<TorrentFiles>>,
    pub(in crate::session) live: Option<Arc<Torrent>>,
    pub(super) have: Bitfield,
    pub(super) durable: Bitfield,
    pub(super) unverified: Bitfield,
    pub(super) partials: Vec<(PieceIndex, Bitfield)>,
    pub(super) stamps: Vec<Option<FileStamp>>,
    pub(super) suspects: Vec<PieceIndex>,
    pub(super) owed: Option<OwedCheck>,
    pub(super) claims: Option<Arc<Claims>>,
    pub(super) mount: Option<std::path::PathBuf>,
    pub(super) writing: bool,
    pub(super) writes: bool,
    pub(super) completed_at: Option<u64>,
    pub(super) counters: Counters,
    pub(super) preallocate: Preallocate,
    pub(super) min_free_space: u64,
    /// Whether its device had room when that was last seen.
    pub(super) room: wgo_core::session::Room,
    pub(super) max_peers: u32,
    pub(super) pex: bool,
    pub(super) tiers: wgo_core::tracker::Tiers,
    pub(super) user_peers: Vec<std::net::SocketAddr>,
    pub(super) sequential: bool,
    pub(super) hashes: wgo_proto::InfoHashes,
    pub(super) seed: u64,
    /// What the trackers know of a torrent that sleeps; only for operations that wake or end it.
    pub(super) trackers: Option<TrackerMemory>,
}

impl Cx {
    /// Whether `have` holds all that is wanted.
    pub(super) fn is_met(&self, have: &Bitfield) -> bool {
        is_met(self.selection.as_deref(), have)
    }

    /// What is known of the names that its files have on disk; nothing where they have one only.
    pub(super) fn names(&self) -> Vec<Name> {
        // What another client knew of a file says nothing about its name here.
        if self.info.suffix().is_none() || self.claims.is_some() {
            return Vec::new();
        }
        // Files that nobody has seen since a check had ended were made here, if at all.
        let unseen = if self.owed.is_none() { Name::Nowhere } else { Name::Unknown };
        let known = |stamp: &Option<FileStamp>| stamp.map(|stamp| Name::found(stamp.suffixed));
        self.stamps.iter().map(|stamp| known(stamp).unwrap_or(unseen)).collect()
    }

    /// The absolute path of a file by the name that it had when it was last known.
    pub(super) fn path_of(&self, file: FileIndex) -> std::path::PathBuf {
        let stamp = self.stamps.get(file.0 as usize).copied().flatten();
        let second = if stamp.is_some_and(|s| s.suffixed) { self.info.suffixed_path(file) } else { None };
        let own = || self.info.files.get(file.0 as usize).map(|entry| entry.path.clone());
        second.or_else(own).map_or_else(|| self.folder.clone(), |path| self.folder.join(path.as_path()))
    }

    /// Whether it is known what the torrent consists of.
    pub(super) fn is_known(&self) -> bool {
        self.info.layout.is_known()
    }

    /// Whether the file may be missing: nobody wants it, or it is the part file, of which little is lost.
    pub(super) fn may_miss(&self, file: FileIndex) -> bool {
        let skips = |selection: &Arc<Selection>| selection.file(file) == Priority::Skip;
        self.info.part_file() == Some(file) || self.selection.as_ref().is_some_and(skips)
    }
}

impl Driver {
    pub(in crate::session) fn cx(&self, id: TorrentId) -> Option<Cx> {
        let entry = self.entries.get(&id)?;
        Some(Cx {
            engine: self.engine.clone(),
            id,
            info: entry.info.clone(),
            folder: entry.settings.folder.clone(),
            moving: entry.settings.moving.clone(),
            selection: entry.selection.clone(),
            final_folder: entry.settings.final_folder.as_ref().map(|folder| folder.path.clone()),
            renaming: entry.renaming.as_ref().and_then(|pending| pending.begun()),
            files: entry.files.clone(),
            live: entry.live.clone(),
            have: entry.have.clone(),
            durable: entry.durable.clone(),
            unverified: entry.unverified.clone(),
            partials: entry.partials.clone(),
            stamps: entry.stamps.clone(),
            suspects: entry.suspects.clone(),
            owed: entry.owed.as_deref().cloned(),
            claims: entry.claims.clone(),
            mount: entry.mount.clone(),
            writing: entry.writing,
            writes: !entry.is_finished(),
            completed_at: entry.completed_at,
            counters: entry.counters_now(self.engine.clock.now()),
            preallocate: self.tunables.preallocate,
            min_free_space: self.tunables.min_free_space,
            room: self.disks.room(self.session.row(id).map_or(0, |row| row.device)),
            max_peers: self.tunables.max_peers_per_torrent,
            pex: self.tunables.pex,
            tiers: entry.tiers.clone(),
            user_peers: entry.settings.user_peers.clone(),
            sequential: entry.settings.sequential,
            hashes: entry.settings.hashes,
            seed: self.seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            trackers: None,
        })
    }
}
