//! Adding torrents: found to be new, their paths free, durable, then acknowledged.
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::result::{AddStatus, Added};
use wgo_core::TorrentId;
use wgo_core::peer_mgr::Source;
use wgo_core::session::{Check, Newcomer, Place};
use wgo_proto::metainfo::{Info, PartSuffix};
use wgo_proto::path::SafePath;
use wgo_proto::{Bitfield, FileIndex};

use super::claims::{self, Begun, Taken};
use super::entry::{About, Entry, Shown, from_stored, on_disk, selection_of};
use super::goals::Activity;
use super::happened::Telling;
use super::ops::{Born, Newborn, Op};
use super::selecting::{check_patterns, choose};
use super::tally::Share;
use super::{AddRequest, Driver};
use crate::clock::unix_now;
use crate::hooks;
use crate::store::{Awaited, NewerFields, Settings, TorrentRecord, Wanted};
use wgo_core::piece_mgr::Priority;

/// A folder is on the device that it was on so long ago, as far as queues of checks go.
const DEVICE_BELIEVED: Duration = Duration::from_secs(1);
/// Why a torrent file or metadata is of no use here.
pub(super) const V2_ONLY: &str =
    "it is a v2-only torrent; this version of wgod transfers v1 and hybrid torrents";
/// Peers that an operator named, of one torrent; of more, the last count.
const MAX_NAMED_PEERS: usize = 200;

impl Driver {
    /// Adds a torrent, or says that it is here.
    pub(super) fn add(&mut self, mut request: AddRequest, reply: oneshot::Sender<Added>) {
        let name = request.metainfo.info.name.clone();
        let hash = request.metainfo.hashes.canonical();
        let refuse = |kind: Kind, message: String| {
            Added::failed(Some(hash.to_string()), Some(name.clone()), ApiError::new(kind, message))
        };
        // Whoever asked may have hung up; the work is done all the same.
        let known = request.metainfo.hashes.wire().find_map(|hash| self.by_hash.get(&hash).copied());
        if let Some(id) = known {
            return self.add_again(id, request, reply);
        }
        // A link with nothing but a v2 hash (btmh) may be that of a hybrid: the metadata tells.
        if request.metainfo.hashes.v1.is_none() && request.metainfo.info.layout.is_known() {
            drop(reply.send(refuse(Kind::Unsupported, V2_ONLY.into())));
            return;
        }
        let info = &mut request.metainfo.info;
        let renames = request.known.as_deref().map(|known| claims::rename(known, info)).transpose();
        if let Some(other) = self.second_writer(&request.metainfo.info, &request.folder) {
            drop(reply.send(refuse(Kind::Conflict, other)));
            return;
        }
        let info = &request.metainfo.info;
        let known = request.known.as_deref().map(|known| Taken::of(known, info, &request.choose)).transpose();
        let files = match info.layout.is_known() {
            true => choose(info, &[], &request.choose),
            // They are chosen when it is known what there is.
            false => check_patterns(&request.choose).map(|()| Vec::new()),
        };
        let (renames, known, files) =
            match renames.and_then(|renames| Ok((renames.unwrap_or_default(), known?, files?))) {
                Ok(chosen) => chosen,
                Err(error) => {
                    let hash = Some(hash.to_string());
                    drop(reply.send(Added::failed(hash, Some(name), error)));
                    return;
                }
            };
        let id = TorrentId(self.next_id);
        self.next_id += 1;
        let hosts = std::mem::take(&mut request.hosts);
        let mut settings = new_settings(&request, files, self.place_of_new(id, &request));
        settings.renames = renames;
        let (entry, op) = self.new_entry(id, request, settings, known, reply);
        self.insert(entry);
        self.push_op(id, op);
        self.look_up(id, hosts);
    }

    /// It is here already: peers that came along are tried, nothing else changes.
    /// One whose metadata has to come takes it from a file, and trackers from another link.
    fn add_again(&mut self, id: TorrentId, request: AddRequest, reply: oneshot::Sender<Added>) {
        let answer = self.added_again(id, &request);
        let waits = self.entries.get(&id).is_some_and(|entry| !entry.is_known() && !entry.leaving);
        match answer.status == AddStatus::Present && waits {
            true if request.raw.is_empty() => self.add_trackers(id, &request.metainfo.tiers),
            true => return self.learn_from_file(id, request.metainfo, request.raw, reply),
            false => {}
        }
        drop(reply.send(answer));
    }

    /// The answer to that.
    fn added_again(&mut self, id: TorrentId, request: &AddRequest) -> Added {
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
        self.name_peers(id, &request.peers);
        self.look_up(id, request.hosts.clone());
        Added { info_hash: Some(hash), name: Some(name), status: AddStatus::Present, error: None, kind: None }
    }

    /// The operator names peers of a torrent: they are tried, at once or when it runs.
    pub(super) fn name_peers(&mut self, id: TorrentId, peers: &[SocketAddr]) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let known = &mut entry.settings.user_peers;
        let new: Vec<SocketAddr> = peers.iter().copied().filter(|peer| !known.contains(peer)).collect();
        if let Some(live) = entry.live.clone() {
            let peers = peers.to_vec();
            self.engine.call(&live, |swarm, now| swarm.add_candidates(now, peers, Source::User));
        }
        if !new.is_empty() {
            let Some(entry) = self.entries.get_mut(&id) else { return };
            let known = &mut entry.settings.user_peers;
            known.extend(new);
            let too_many = known.len().saturating_sub(MAX_NAMED_PEERS);
            known.drain(..too_many);
            entry.named_anew = true;
            self.save(id);
        }
    }

    /// What the names of a new torrent's files end in until they are complete: nothing if another torrent has a
    /// file of such a name.
    pub(super) fn suffix_of_new(&self, info: &Info, settings: &Settings) -> Option<PartSuffix> {
        let suffix = self.tunables.part_suffix.clone()?;
        let info = info.with_suffix(Some(&suffix));
        let files = (0..info.layout.file_count()).map(FileIndex);
        let names: Vec<SafePath> = files.filter_map(|file| info.suffixed_path(file)).collect();
        let names: BTreeSet<&str> = names.iter().map(SafePath::as_str).collect();
        let has_one = |place: &Path| {
            self.entries.neighbours(place, &info).any(|other| other.first_of(&names, place).is_some())
        };
        if settings.places().any(has_one) {
            let torrent = &settings.name;
            tracing::info!(torrent, %suffix, "another torrent has such a name: its files have their own at once");
            return None;
        }
        Some(suffix)
    }

    /// Another torrent that would write to the same files.
    pub(super) fn second_writer(&self, info: &Info, folder: &Path) -> Option<String> {
        let others = self.entries.neighbours(folder, info);
        let mut others = others.filter(|entry| entry.has_paths_of(info, folder));
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

    fn place_of_new(&self, id: TorrentId, request: &AddRequest) -> Place {
        Place { key: self.session.key_of_new(id), priority: request.priority, forced: false }
    }

    fn new_entry(
        &mut self,
        id: TorrentId,
        request: AddRequest,
        mut settings: Settings,
        known: Option<Taken>,
        reply: oneshot::Sender<Added>,
    ) -> (Entry, Op) {
        let AddRequest { metainfo, raw, check, known: told, .. } = request;
        self.name_nodes(&metainfo);
        let Begun { check, progress, counters, claims } =
            Begun::of(known, check, &metainfo.info, &mut settings);
        // What another client has begun stays where that has put it.
        let begins = if claims.is_none() { self.beginning(&metainfo.info, &settings.folder) } else { None };
        let ends = told.and_then(|known| known.final_folder).unwrap_or_else(|| settings.folder.clone());
        if let Some(begins) = begins {
            settings.folder = begins;
        }
        if ends != settings.folder {
            settings.final_folder = Some(self.final_folder(&ends));
        }
        settings.part_suffix = self.suffix_of_new(&metainfo.info, &settings);
        let owed = progress.check.clone();
        let have = from_stored(&progress.have, metainfo.info.layout.piece_count());
        let completed_at = progress.completed_at;
        let record = TorrentRecord { id, settings: settings.clone(), progress, counters: counters.clone() };
        let record = Box::new(record);
        let about = About::of(&metainfo);
        let entry = Entry {
            id,
            tiers: self.urls.share(settings.trackers.as_ref().unwrap_or(&metainfo.tiers)),
            selection: selection_of(&metainfo.info, &settings),
            info: Arc::new(on_disk(metainfo.info, &settings)),
            about,
            settings,
            files: None,
            live: None,
            durable: have.clone(),
            unverified: Bitfield::new(have.len()),
            have,
            partials: Vec::new(),
            stamps: Vec::new(),
            suspects: Vec::new(),
            mount: None,
            writing: false,
            completed_at,
            counters,
            retiered: false,
            activity: Activity::default(),
            trackers: None,
            told: Vec::new(),
            starts_over: false,
            owed,
            claims,
            check: None,
            moving: None,
            renaming: None,
            move_error: None,
            wish: None,
            ranked_anew: false,
            named_anew: false,
            lane: VecDeque::new(),
            busy: false,
            learns: false,
            leaving: true,
            removing: false,
            saving: super::save::Saving::default(),
            unsaved: Vec::new(),
            awaiting_save: Vec::new(),
            telling: Telling::default(),
            shown: Shown::default(),
            share: Share::default(),
        };
        (entry, Op::Add(Newborn { record, raw, check, reply }))
    }

    /// The store has it, or not: it is listed and begins, or is forgotten.
    pub(super) fn on_added(&mut self, id: TorrentId, born: Born) {
        let Born { check, in_place, result, reply } = born;
        if in_place {
            self.entries.relocate(&id, Settings::begin_in_place);
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (hash, name) = (Some(entry.hash_text()), Some(entry.settings.name.clone()));
        if let Err(error) = result {
            // It may be in the store all the same.
            self.remembered.push(id);
            self.forget(id);
            let error = ApiError::new(Kind::Disk, format!("it could not be saved: {error}"));
            drop(reply.send(Added::failed(hash, name, error)));
            return;
        }
        entry.leaving = false;
        let (hashes, started) = (entry.settings.hashes, entry.settings.wanted == Wanted::Started);
        let finished = check == Check::Suspects && entry.is_finished();
        let (place, known) = (entry.settings.place, entry.is_known());
        entry.span().in_scope(|| tracing::info!("added"));
        let folder = entry.settings.folder.clone();
        let device = self.device_of(&folder);
        let (check_asked, moving, needs) = (false, None, check);
        let newcomer =
            Newcomer { id, hashes, started, known, needs, check_asked, finished, device, moving, place };
        self.begin_selection(id);
        self.session.add(self.engine.clock.now(), newcomer);
        self.happened(hooks::Event::Added, id);
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
        self.arrivals.forget(id);
        for hash in entry.settings.hashes.wire() {
            self.by_hash.remove(&hash);
        }
        self.engine.shaper.remove_torrent(id);
        self.waking.remove(&id);
        Some(entry)
    }
}

/// What is to be done when the metadata of a magnet link has come.
fn awaited_of(request: &AddRequest) -> Option<Box<Awaited>> {
    let AddRequest { metainfo, select, choose, check, .. } = request;
    let quick = *check == wgo_api::params::Check::Quick;
    let awaited = Awaited { select: select.clone(), choose: choose.clone(), quick };
    (!metainfo.info.layout.is_known()).then(|| Box::new(awaited))
}

/// The trackers that are not in a torrent file.
fn trackers_of(request: &AddRequest) -> Option<Vec<Vec<String>>> {
    (!request.metainfo.info.layout.is_known()).then(|| request.metainfo.tiers.clone())
}

/// What is kept of what a torrent was added with.
fn new_settings(request: &AddRequest, file_priorities: Vec<Priority>, place: Place) -> Settings {
    Settings {
        hashes: request.metainfo.hashes,
        name: request.metainfo.info.name.clone(),
        folder: request.folder.clone(),
        added_at: unix_now().max(0) as u64,
        wanted: if request.paused { Wanted::Stopped } else { Wanted::Started },
        check_asked: false,
        error: None,
        labels: request.labels.clone(),
        sequential: request.sequential,
        up_limit: None,
        down_limit: None,
        place,
        goals: request.goals,
        goal_reached: None,
        file_priorities,
        ends_first: request.first_last,
        parted: None,
        awaited: awaited_of(request),
        trackers: trackers_of(request),
        user_peers: request.peers.clone(),
        moving: None,
        final_folder: None,
        renames: Vec::new(),
        renaming: None,
        part_suffix: None,
        completion_owed: true,
        newer: NewerFields::default(),
    }
}
