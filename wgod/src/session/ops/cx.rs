//! What an operation takes along: a copy of what it needs of its torrent's entry.
use std::sync::Arc;

use wgo_core::TorrentId;
use wgo_core::swarm::TrackerMemory;
use wgo_proto::{Bitfield, PieceIndex};

use crate::files::{Preallocate, TorrentFiles};
use crate::session::Driver;
use crate::store::{Counters, FileStamp, Move, OwedCheck};
use crate::torrent::Torrent;

/// What every operation gets: a copy of what it needs of its entry.
pub(in crate::session) struct Cx {
    pub(super) engine: Arc<crate::engine::Engine>,
    pub(super) id: TorrentId,
    pub(super) info: Arc<wgo_proto::metainfo::Info>,
    pub(in crate::session) folder: std::path::PathBuf,
    pub(in crate::session) moving: Option<Move>,
    pub(super) files: Option<Arc<TorrentFiles>>,
    pub(super) live: Option<Arc<Torrent>>,
    pub(super) have: Bitfield,
    pub(super) durable: Bitfield,
    pub(super) unverified: Bitfield,
    pub(super) partials: Vec<(PieceIndex, Bitfield)>,
    pub(super) stamps: Vec<Option<FileStamp>>,
    pub(super) suspects: Vec<PieceIndex>,
    pub(super) owed: Option<OwedCheck>,
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
    pub(super) tiers: Vec<Vec<String>>,
    pub(super) user_peers: Vec<std::net::SocketAddr>,
    pub(super) sequential: bool,
    pub(super) hashes: wgo_proto::InfoHashes,
    pub(super) seed: u64,
    /// What the trackers know of a torrent that sleeps; only for operations that wake or end it.
    pub(super) trackers: Option<TrackerMemory>,
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
            files: entry.files.clone(),
            live: entry.live.clone(),
            have: entry.have.clone(),
            durable: entry.durable.clone(),
            unverified: entry.unverified.clone(),
            partials: entry.partials.clone(),
            stamps: entry.stamps.clone(),
            suspects: entry.suspects.clone(),
            owed: entry.owed.as_deref().cloned(),
            mount: entry.mount.clone(),
            writing: entry.writing,
            writes: !entry.is_complete(),
            completed_at: entry.completed_at,
            counters: entry.counters_now(self.engine.clock.now()),
            preallocate: self.tunables.preallocate,
            min_free_space: self.tunables.min_free_space,
            room: self.disks.room(self.session.row(id).map_or(0, |row| row.device)),
            max_peers: self.tunables.max_peers_per_torrent,
            tiers: entry.tiers.clone(),
            user_peers: entry.settings.user_peers.clone(),
            sequential: entry.settings.sequential,
            hashes: entry.settings.hashes,
            seed: self.seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            trackers: None,
        })
    }
}
