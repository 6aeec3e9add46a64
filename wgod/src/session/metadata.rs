//! Torrents of which only the info-hash is known: what came of the metadata that peers sent, or an operator, and
//! what that makes of them (BEP 9, 53).
//!
//! Two things are committed one after the other. First the metadata, and whether a check is owed; then what the
//! choice of files comes to, with the other settings. A daemon that ends in between does the second at its start.
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::result::{AddStatus, Added};
use wgo_core::TorrentId;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::{Check, Fault, FaultKind};
use wgo_core::tracker::MAX_TRACKERS;
use wgo_proto::metainfo::{Info, Metainfo, PartSuffix};
use wgo_proto::{Bitfield, FileIndex, InfoHashes};

use super::Driver;
use super::checking::check_of;
use super::entry::{About, Entry, on_disk, selection_of};
use super::ops::Op;
use super::ops::metadata::{Learning, Ready, Taught, Verdict};
use super::renaming::{Pending, names_in_force};
use super::selecting::{Missed, choose_what_there_is};
use crate::hooks;
use crate::store::{Awaited, CheckKind, FinalFolder, OwedCheck, Settings};

/// What metadata makes of a torrent's settings.
#[derive(Clone, Debug)]
pub(super) struct Arranged {
    pub(super) hashes: InfoHashes,
    pub(super) name: String,
    pub(super) file_priorities: Vec<Priority>,
    /// Files kept apart, where nothing of the torrent is on the disk.
    pub(super) parted: Option<Vec<FileIndex>>,
    /// Where it begins, and goes in the end, if these are two places.
    pub(super) begins: Option<(std::path::PathBuf, FinalFolder)>,
    /// What its files have behind their names until they are complete.
    pub(super) part_suffix: Option<PartSuffix>,
    /// The check that is owed if something of it is on the disk.
    pub(super) check: CheckKind,
    /// Why it can't begin as it is.
    pub(super) trouble: Option<String>,
}

/// What can't be done before the metadata is known.
pub(super) fn not_yet(what: &str) -> ApiError {
    let message = format!(
        "its metadata is not known yet, so {what}; `wgoctl wait ID --for metadata` returns when it is"
    );
    ApiError::new(Kind::Unsupported, message)
}

/// The wanted files, as they were chosen before it was known what there is. `Err`: none is.
pub(super) fn apply_choice(info: &Info, awaited: &Awaited) -> Result<(Vec<Priority>, Vec<Missed>), String> {
    let count = info.layout.file_count();
    let selects = |file: u32| {
        // They are in order, and there may be many.
        let at = awaited.select.partition_point(|range| *range.end() < file);
        awaited.select.get(at).is_some_and(|range| range.contains(&file))
    };
    let before: Vec<Priority> = match awaited.select.is_empty() {
        true => Vec::new(),
        false => {
            (0..count).map(|file| if selects(file) { Priority::Normal } else { Priority::Skip }).collect()
        }
    };
    let (files, missed) = choose_what_there_is(info, &before, &awaited.choose);
    let is_wanted = |file: u32| files.get(file as usize) != Some(&Priority::Skip);
    let is_pad = |file: u32| info.files.get(file as usize).is_none_or(|file| file.pad);
    if (0..count).any(|file| is_wanted(file) && !is_pad(file)) {
        return Ok((files, missed));
    }
    let why = match missed.first() {
        Some(missed) => missed.to_string(),
        None if awaited.choose.is_empty() => {
            format!("it has {count} files, and none of the numbers in the magnet link's `so`")
        }
        None => "each is skipped".to_owned(),
    };
    Err(format!(
        "its metadata has come, but none of its files is wanted as it was added: {why}; choose with `wgoctl files ID --only …`, then `wgoctl start ID`, which without a choice fetches all"
    ))
}

impl Arranged {
    /// Changes the settings; `there`: files of it may be on the disk, and its choice is made when they were looked at.
    fn apply(&self, settings: &mut Settings, in_place: bool, there: bool) {
        settings.hashes = self.hashes;
        settings.name.clone_from(&self.name);
        settings.file_priorities.clone_from(&self.file_priorities);
        settings.part_suffix.clone_from(&self.part_suffix);
        settings.parted = if there { None } else { self.parted.clone() };
        if self.trouble.is_none() {
            settings.awaited = None;
        }
        if let Some((begins, home)) = &self.begins
            && !in_place
            && settings.final_folder.is_none()
            && settings.folder == home.path
        {
            settings.folder.clone_from(begins);
            settings.final_folder = Some(home.clone());
        }
    }
}

impl Entry {
    /// Whether it is known what the torrent consists of.
    pub(super) fn is_known(&self) -> bool {
        self.info.layout.is_known()
    }

    /// The operator has seen what there is: what was chosen before counts no longer.
    pub(super) fn forget_early_choice(&mut self) {
        if self.is_known() {
            self.settings.awaited = None;
        }
    }
}

impl Driver {
    /// Metadata that peers sent was looked at.
    pub(super) fn on_examined(&mut self, id: TorrentId, size: u32, verdict: Verdict) {
        let Some(entry) = self.entries.get(&id).filter(|entry| !entry.is_known() && !entry.removing) else {
            return;
        };
        let _said = entry.span().entered();
        match verdict {
            Verdict::Wrong => {
                tracing::info!(fault = "wrong hash", size, "metadata is thrown away");
                if let Some(live) = entry.live.clone() {
                    self.engine.call(&live, |swarm, now| swarm.metadata_wrong(now, size));
                }
            }
            Verdict::Unusable(why) => self.cannot_use(id, &why),
            Verdict::Right(metainfo, raw) => match self.arrange(id, *metainfo, raw, Some(size)) {
                Ok(learning) => self.begin_learning(id, learning),
                Err(error) => self.cannot_use(id, &error.message),
            },
        }
    }

    /// The metadata is the torrent's, and nothing can be done with it until an operator starts it again.
    fn cannot_use(&mut self, id: TorrentId, why: &str) {
        let message =
            format!("its metadata has come, but {why}; `wgoctl start ID` fetches and tries it again");
        self.fault(id, Fault { kind: FaultKind::Broken, message });
    }

    /// Before whatever else its lane has to do.
    fn begin_learning(&mut self, id: TorrentId, learning: Box<Learning>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.lane.push_front(Op::Learn(learning));
        }
    }

    /// An operator has the torrent file of a torrent whose metadata has still to come.
    pub(super) fn learn_from_file(
        &mut self,
        id: TorrentId,
        metainfo: Metainfo,
        raw: Vec<u8>,
        reply: oneshot::Sender<Added>,
    ) {
        self.name_nodes(&metainfo);
        match self.arrange(id, metainfo, raw, None) {
            Ok(mut learning) => {
                learning.reply = Some(reply);
                self.push_op(id, Op::Learn(learning));
            }
            Err(error) => drop(reply.send(self.not_learnt(id, error))),
        }
    }

    /// Another link of a torrent whose metadata has still to come: its trackers are asked, too.
    pub(super) fn add_trackers(&mut self, id: TorrentId, more: &[Vec<String>]) {
        let Some(entry) = self.entries.get(&id) else { return };
        let tiers = with_more(entry.settings.trackers.clone().unwrap_or_default(), more);
        let shared = self.urls.share(&tiers);
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.tiers != shared) else { return };
        entry.settings.trackers = Some(tiers);
        entry.tiers = shared;
        entry.retiered = true;
        self.tell_trackers(id);
        self.save(id);
    }

    /// The DHT may ask the nodes that a torrent names, unless it is private (BEP 5, 27).
    pub(super) fn name_nodes(&self, metainfo: &Metainfo) {
        if !metainfo.info.private {
            self.engine.dht.on_named(&metainfo.nodes);
        }
    }

    fn not_learnt(&self, id: TorrentId, error: ApiError) -> Added {
        let entry = self.entries.get(&id);
        Added::failed(entry.map(Entry::hash_text), entry.map(|entry| entry.settings.name.clone()), error)
    }

    /// What metadata will make of a torrent.
    fn arrange(
        &mut self,
        id: TorrentId,
        metainfo: Metainfo,
        raw: Vec<u8>,
        size: Option<u32>,
    ) -> Result<Box<Learning>, ApiError> {
        let entry =
            self.entries.get(&id).ok_or_else(|| ApiError::new(Kind::NoMatch, "it is being removed"))?;
        let conflict = |why: String| ApiError::new(Kind::Conflict, why);
        let known = entry.settings.hashes;
        let differs = known.v1.is_some_and(|v1| Some(v1) != metainfo.hashes.v1)
            || known.v2.is_some_and(|v2| Some(v2) != metainfo.hashes.v2);
        if differs {
            let why =
                "only one of its two info-hashes is that of the torrent; the magnet link is wrong: remove it";
            return Err(conflict(why.to_owned()));
        }
        let taken =
            metainfo.hashes.wire().find_map(|hash| self.by_hash.get(&hash).filter(|other| **other != id));
        if let Some(other) = taken.and_then(|other| self.entries.get(other)) {
            let name = &other.settings.name;
            return Err(conflict(format!("it is the same torrent as {name:?} ({})", other.hash_text())));
        }
        if let Some(other) = self.second_writer(&metainfo.info, &entry.settings.folder) {
            return Err(conflict(other));
        }
        let awaited = entry.settings.awaited.clone().unwrap_or_default();
        let (file_priorities, trouble) = match apply_choice(&metainfo.info, &awaited) {
            Ok((files, missed)) => {
                let _said = entry.span().entered();
                missed.iter().for_each(|missed| tracing::warn!("{missed}"));
                (files, None)
            }
            Err(why) => (Vec::new(), Some(why)),
        };
        let runs = self.session.row(id).is_some_and(|row| row.started);
        if let Some(why) = trouble.clone().filter(|_| size.is_none() || !runs) {
            return Err(ApiError::new(Kind::NoMatch, why));
        }
        let begins = self.beginning(&metainfo.info, &entry.settings.folder);
        let begins = begins.map(|begins| (begins, self.final_folder(&entry.settings.folder)));
        let apart = kept_apart(&metainfo.info, &file_priorities);
        let mut settings = entry.settings.clone();
        if let Some((begins, home)) = &begins {
            settings.folder.clone_from(begins);
            settings.final_folder = Some(home.clone());
        }
        let arranged = Arranged {
            part_suffix: self.suffix_of_new(&metainfo.info, &settings),
            hashes: metainfo.hashes,
            name: metainfo.info.name.clone(),
            file_priorities,
            parted: (!apart.is_empty()).then_some(apart),
            begins,
            check: if awaited.quick { CheckKind::Quick } else { CheckKind::Full },
            trouble,
        };
        arranged.apply(&mut settings, false, false);
        let about = About::of(&metainfo);
        let tiers = with_more(settings.trackers.clone().unwrap_or_default(), &metainfo.tiers);
        let selection = selection_of(&metainfo.info, &settings);
        let info = Arc::new(on_disk(metainfo.info, &settings));
        let tiers = self.urls.share(&tiers);
        Ok(Box::new(Learning { arranged, info, selection, about, tiers, raw, size, reply: None }))
    }

    /// The metadata is durable, or it could not be made so.
    pub(super) fn on_taught(&mut self, id: TorrentId, taught: Taught) {
        let Taught { mut learning, in_place, there, result } = taught;
        let reply = learning.reply.take();
        let ready = match result {
            Ok(ready) => ready,
            Err(fault) => return self.not_taught(id, learning.size, fault, reply),
        };
        if self.entries.get(&id).is_none_or(Entry::is_known) {
            // An operator was quicker than the peers.
            return self.answer_learnt(id, reply);
        }
        let (name, trouble) = (learning.arranged.name.clone(), learning.arranged.trouble.clone());
        let needs = if there { check_of(learning.arranged.check) } else { Check::None };
        self.take_on(id, *learning, in_place, there);
        let Some(entry) = self.entries.get(&id) else { return };
        entry.span().in_scope(|| tracing::info!(name, "metadata known"));
        if let Some(message) = trouble {
            // Before the session may begin with it.
            self.fault(id, Fault { kind: FaultKind::Broken, message });
        }
        let kept = ready.is_some_and(|ready| self.go_on(id, ready));
        if self.entries.get(&id).is_none_or(|entry| entry.removing) {
            // What was made for it goes with it.
            return;
        }
        if there {
            self.push_op(id, Op::Halt);
            self.begin_selection(id);
        }
        self.session.on_metadata(self.engine.clock.now(), id, needs, kept);
        self.tune(id);
        self.happened(hooks::Event::Metadata, id);
        self.touch();
        self.answer_learnt(id, reply);
    }

    /// The entry becomes that of a torrent of which nothing is stored.
    fn take_on(&mut self, id: TorrentId, learning: Learning, in_place: bool, there: bool) {
        let Learning { arranged, info, selection, about, tiers, .. } = learning;
        let hashes = arranged.hashes;
        let was = self.entries.get(&id).map(Entry::hash_text);
        let new_tiers = self.entries.get(&id).is_some_and(|entry| entry.tiers != tiers);
        self.entries.rearrange(&id, |entry| {
            arranged.apply(&mut entry.settings, in_place, there);
            let none = Bitfield::new(info.layout.piece_count());
            entry.info = if there { Arc::new(info.without_parts()) } else { info };
            entry.selection = selection;
            entry.about = about;
            (entry.have, entry.durable, entry.unverified) = (none.clone(), none.clone(), none);
            entry.owed = there.then(|| Box::new(OwedCheck::anew(arranged.check)));
            if new_tiers {
                let all = tiers.iter().map(|tier| tier.iter().map(|url| url.to_string()).collect());
                entry.settings.trackers = Some(all.collect());
                entry.tiers = tiers;
                entry.retiered = true;
            }
        });
        for hash in hashes.wire() {
            self.by_hash.insert(hash, id);
        }
        if let Some(was) = was.filter(|was| *was != hashes.canonical().to_string()) {
            // A hybrid that was known by its v2 hash: whoever follows the list sees it go under one name, and come
            // under the other.
            self.touch();
            self.remember_removed(was);
        }
        let Some(entry) = self.entries.get(&id) else { return };
        if entry.live.is_some() {
            // It may have another one now, and may be found to be private.
            self.listen(id);
        } else if entry.info.private {
            self.engine.dht.leave(id);
        }
    }

    /// The Swarm goes on with the connections that it has; whether there is one.
    fn go_on(&mut self, id: TorrentId, ready: Ready) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.files = Some(ready.files.clone());
        let (info, live) = (entry.info.clone(), entry.live.clone());
        self.begin_writing(id, ready.place);
        let Some(live) = live else { return false };
        live.set_content(info, ready.files);
        self.engine.call(&live, |swarm, now| swarm.learn(now, *ready.learnt)).is_some()
    }

    /// It could not be made durable: it is fetched again when that may be possible.
    fn not_taught(
        &mut self,
        id: TorrentId,
        size: Option<u32>,
        fault: Fault,
        reply: Option<oneshot::Sender<Added>>,
    ) {
        if let Some(reply) = reply {
            let error =
                ApiError::new(Kind::Disk, format!("its metadata could not be saved: {}", fault.message));
            drop(reply.send(self.not_learnt(id, error)));
        }
        let live = self.entries.get(&id).and_then(|entry| entry.live.clone());
        if let (Some(live), Some(size)) = (live, size) {
            self.engine.call(&live, |swarm, now| swarm.metadata_again(now, size));
            self.fault(id, fault);
        }
    }

    /// Saves the settings; who added the file hears when that is done.
    fn answer_learnt(&mut self, id: TorrentId, reply: Option<oneshot::Sender<Added>>) {
        let Some(reply) = reply else { return self.save(id) };
        let saved = self.saved(id);
        let Some(entry) = self.entries.get(&id) else { return };
        let (info_hash, name) = (Some(entry.hash_text()), Some(entry.settings.name.clone()));
        self.replies.spawn(async move {
            let answer = match saved.await {
                Ok(Ok(())) => Added { info_hash, name, status: AddStatus::Present, error: None, kind: None },
                Ok(Err(why)) => Added::failed(info_hash, name, ApiError::new(Kind::Disk, why)),
                Err(_) => Added::failed(info_hash, name, ApiError::new(Kind::NoMatch, "it is being removed")),
            };
            // Whoever asked may have hung up.
            drop(reply.send(answer));
        });
    }
}

/// The trackers of a magnet link, and after them those of a torrent file, or another link, that it lacks.
fn with_more(mut tiers: Vec<Vec<String>>, others: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut known = tiers.iter().map(Vec::len).sum::<usize>();
    for tier in others {
        let new = |url: &&String| !tiers.iter().flatten().any(|known| known == *url);
        let more: Vec<String> =
            tier.iter().filter(new).take(MAX_TRACKERS.saturating_sub(known)).cloned().collect();
        if !more.is_empty() {
            known += more.len();
            tiers.push(more);
        }
    }
    tiers
}

/// What the store has of a torrent whose metadata came just before the last run ended: the choice is made now; or of
/// one of which nothing was wanted, which is so still. The error is for the operator.
pub(super) fn settle_choice(info: &Info, settings: &mut Settings) -> Option<String> {
    let awaited = settings.awaited.as_deref()?;
    settings.name.clone_from(&info.name);
    match apply_choice(info, awaited) {
        Ok((files, _)) => {
            settings.file_priorities = files;
            settings.awaited = None;
            None
        }
        Err(why) => Some(why),
    }
}

/// What the store knows of a torrent's files: with their names, and those that they are to get.
pub(super) fn take_up(
    raw: Option<&[u8]>,
    settings: &Settings,
) -> Result<(Metainfo, Option<Box<Pending>>), String> {
    let raw = match raw {
        Some(raw) => raw,
        None if settings.awaited.is_some() => {
            return Ok((Metainfo::unknown(settings.hashes, settings.name.clone()), None));
        }
        None => return Err("its metainfo is missing".to_owned()),
    };
    let mut metainfo = Metainfo::parse(raw).map_err(|error| format!("its metainfo is damaged: {error}"))?;
    let (info, renaming) = names_in_force(metainfo.info, settings)
        .map_err(|error| format!("the names of its files are damaged: {error}"))?;
    metainfo.info = info;
    Ok((metainfo, renaming))
}

/// The files that nobody wants and that would lie on the disk.
fn kept_apart(info: &Info, files: &[Priority]) -> Vec<FileIndex> {
    let is_skipped = |file: &FileIndex| files.get(file.0 as usize) == Some(&Priority::Skip);
    let lies = |file: &FileIndex| {
        info.files.get(file.0 as usize).is_some_and(|f| !f.pad && f.len > 0 && f.symlink.is_none())
    };
    (0..info.layout.file_count()).map(FileIndex).filter(|file| is_skipped(file) && lies(file)).collect()
}
