//! Adding torrents: found to be new, their paths free, durable, then acknowledged.
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::Check as ApiCheck;
use wgo_api::result::{AddStatus, Added};
use wgo_core::TorrentId;
use wgo_core::peer_mgr::Source;
use wgo_core::session::{Check, Newcomer};
use wgo_proto::Bitfield;

use super::checking::kind_of;
use super::entry::{About, Entry, Shown, selection_of, with_parts};
use super::selecting::choose;
use super::tally::Share;
use super::{AddRequest, Driver};
use crate::clock::unix_now;
use crate::store::{Change, Counters, NewerFields, OwedCheck, Progress, Settings, TorrentRecord, Wanted};
use wgo_core::piece_mgr::Priority;

/// A folder is on the device that it was on so long ago, as far as queues of checks go.
const DEVICE_BELIEVED: Duration = Duration::from_secs(1);

impl Driver {
    /// Adds a torrent, or says that it is here.
    pub(super) fn add(&mut self, request: AddRequest, reply: oneshot::Sender<Added>) {
        let name = request.metainfo.info.name.clone();
        let hash = request.metainfo.hashes.canonical();
        let refuse = |kind: Kind, message: String| {
            Added::failed(Some(hash.to_string()), Some(name.clone()), ApiError::new(kind, message))
        };
        // Whoever asked may have hung up; the work is done all the same.
        let known = request.metainfo.hashes.wire().find_map(|hash| self.by_hash.get(&hash).copied());
        if let Some(id) = known {
            drop(reply.send(self.add_again(id, &request)));
            return;
        }
        if request.metainfo.hashes.v1.is_none() {
            let message = "it is a v2-only torrent; this version of wgod transfers v1 and hybrid torrents";
            drop(reply.send(refuse(Kind::Unsupported, message.into())));
            return;
        }
        if let Some(other) = self.second_writer(&request) {
            drop(reply.send(refuse(Kind::Conflict, other)));
            return;
        }
        let files = match choose(&request.metainfo.info, &[], &request.choose) {
            Ok(files) => files,
            Err(error) => {
                let hash = Some(hash.to_string());
                drop(reply.send(Added::failed(hash, Some(name), error)));
                return;
            }
        };
        let id = TorrentId(self.next_id);
        self.next_id += 1;
        let (entry, check) = self.new_entry(id, request, files, reply);
        self.insert(entry);
        self.push_op(id, check);
    }

    /// It is here already: peers that came along are tried, nothing else changes.
    fn add_again(&mut self, id: TorrentId, request: &AddRequest) -> Added {
        let Some(entry) = self.entries.get(&id) else {
            return Added::failed(None, None, ApiError::new(Kind::Internal, "torrent table out of step"));
        };
        let (hash, name) = (entry.hash_text(), entry.settings.name.clone());
        if entry.removing {
            let error = ApiError::new(Kind::Conflict, "it is being removed; add it again when it is gone");
            return Added::failed(Some(hash), Some(name), error);
        }
        if request.fail_if_exists {
            let error = ApiError::new(Kind::Present, "it is here already");
            return Added::failed(Some(hash), Some(name), error);
        }
        if let Some(live) = entry.live.clone() {
            let peers = request.peers.clone();
            self.engine.call(&live, |swarm, now| swarm.add_candidates(now, peers, Source::User));
        }
        Added { info_hash: Some(hash), name: Some(name), status: AddStatus::Present, error: None, kind: None }
    }

    /// Another torrent that would write to the same files.
    fn second_writer(&self, request: &AddRequest) -> Option<String> {
        let info = &request.metainfo.info;
        let others = self.entries.neighbours(&request.folder, info);
        let mut others = others.filter(|entry| entry.has_paths_of(info, &request.folder));
        let other = others.find(|entry| !entry.is_finished() || entry.settings.moving.is_some())?;
        if other.settings.moving.is_some() {
            return Some(format!(
                "{:?} would write to the same files as {:?} ({}), which is being moved; choose another folder, or wait",
                info.name,
                other.settings.name,
                other.hash_text()
            ));
        }
        Some(format!(
            "{:?} would write to the same files as {:?} ({}), which is not complete; choose another folder, or wait",
            info.name,
            other.settings.name,
            other.hash_text()
        ))
    }

    fn new_entry(
        &self,
        id: TorrentId,
        request: AddRequest,
        file_priorities: Vec<Priority>,
        reply: oneshot::Sender<Added>,
    ) -> (Entry, super::ops::Op) {
        let AddRequest {
            metainfo, raw, folder, paused, labels, check, peers, sequential, first_last, ..
        } = request;
        let settings = Settings {
            hashes: metainfo.hashes,
            name: metainfo.info.name.clone(),
            folder,
            added_at: unix_now().max(0) as u64,
            wanted: if paused { Wanted::Stopped } else { Wanted::Started },
            check_asked: false,
            error: None,
            labels,
            sequential,
            up_limit: None,
            down_limit: None,
            priority: Priority::Normal,
            file_priorities,
            ends_first: first_last,
            parted: None,
            trackers: None,
            user_peers: peers,
            moving: None,
            newer: NewerFields::default(),
        };
        let have = Bitfield::new(metainfo.info.layout.piece_count());
        let check = match check {
            _ if metainfo.info.layout.piece_count() == 0 => Check::None,
            ApiCheck::Quick => Check::Quick,
            ApiCheck::Full => Check::Full,
        };
        let owed = kind_of(check).map(OwedCheck::anew).map(Box::new);
        let record = TorrentRecord {
            id,
            settings: settings.clone(),
            progress: Progress { check: owed.clone(), ..Progress::default() },
            counters: Counters::default(),
        };
        let changes = vec![Change::Torrent(Box::new(record)), Change::Metainfo(id, raw)];
        let about = About::of(&metainfo);
        let entry = Entry {
            id,
            tiers: metainfo.tiers,
            selection: selection_of(&metainfo.info, &settings),
            info: Arc::new(with_parts(metainfo.info, &settings)),
            about,
            settings,
            files: None,
            live: None,
            durable: have.clone(),
            unverified: have.clone(),
            have,
            partials: Vec::new(),
            stamps: Vec::new(),
            suspects: Vec::new(),
            mount: None,
            writing: false,
            completed_at: None,
            counters: Counters::default(),
            retiered: false,
            trackers: None,
            starts_over: false,
            owed,
            check: None,
            moving: None,
            move_error: None,
            wish: None,
            lane: VecDeque::new(),
            busy: false,
            leaving: true,
            removing: false,
            saving: super::save::Saving::default(),
            unsaved: Vec::new(),
            awaiting_save: Vec::new(),
            shown: Shown::default(),
            share: Share::default(),
        };
        (entry, super::ops::Op::Add { changes, check, reply })
    }

    /// The store has it, or not: it is listed and begins, or is forgotten.
    pub(super) fn on_added(
        &mut self,
        id: TorrentId,
        check: Check,
        result: Result<(), String>,
        reply: oneshot::Sender<Added>,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (hash, name) = (Some(entry.hash_text()), Some(entry.settings.name.clone()));
        if let Err(error) = result {
            self.forget(id);
            let error = ApiError::new(Kind::Disk, format!("it could not be saved: {error}"));
            drop(reply.send(Added::failed(hash, name, error)));
            return;
        }
        entry.leaving = false;
        let (hashes, started) = (entry.settings.hashes, entry.settings.wanted == Wanted::Started);
        entry.span().in_scope(|| tracing::info!("added"));
        let folder = entry.settings.folder.clone();
        let device = self.device_of(&folder);
        let (check_asked, finished, moving) = (false, false, None);
        let newcomer = Newcomer { id, hashes, started, needs: check, check_asked, finished, device, moving };
        self.begin_selection(id);
        self.session.add(self.engine.clock.now(), newcomer);
        drop(reply.send(Added { info_hash: hash, name, status: AddStatus::Added, error: None, kind: None }));
    }

    /// The device of a folder. Thousands of torrents that are added together are asked about once.
    fn device_of(&mut self, folder: &Path) -> u64 {
        let now = self.engine.clock.now();
        if let Some((known, device, until)) = &self.last_device
            && known == folder
            && now < *until
        {
            return *device;
        }
        let device = self.engine.storage.device_of(folder);
        self.last_device = Some((folder.to_owned(), device, now + DEVICE_BELIEVED));
        device
    }

    /// Drops everything that is known of a torrent.
    pub(super) fn forget(&mut self, id: TorrentId) -> Option<Box<Entry>> {
        let entry = self.entries.remove(&id)?;
        self.tally.remove(id, &entry.share);
        self.unseen.remove(&id);
        for hash in entry.settings.hashes.wire() {
            self.by_hash.remove(&hash);
        }
        self.engine.shaper.remove_torrent(id);
        self.waking.remove(&id);
        Some(entry)
    }
}
