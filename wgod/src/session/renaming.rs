//! Renames: what operators ask of them, and what their ends make of a torrent.
//!
//! The torrent's settings say in the store what is becoming what, before the first file has its new name;
//! until they say that it is done, each file may have either. See `files/rename.rs` for the work itself.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::RenameParams;
use wgo_api::result::RenameResult;
use wgo_core::TorrentId;
use wgo_core::session::Fault;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::{Info, RenameError};
use wgo_proto::path::SafePath;

use super::Driver;
use super::entry::{Entry, on_disk};
use super::metadata::not_yet;
use super::moving::busy;
use super::ops::{Cx, Op, Outcome, rename};
use crate::files::{DiskErrorKind, RenamingError, TorrentFiles};
use crate::store::{Rename, Settings};

/// The answer to a call.
type Reply = oneshot::Sender<Result<RenameResult, ApiError>>;

/// Whether files can be renamed is known.
pub(super) struct Surveyed {
    id: TorrentId,
    old: Arc<Info>,
    names: Rename,
    new: Arc<Info>,
    result: Result<(), RenamingError>,
    reply: Reply,
}

/// A rename that the settings have, until it is done or undone.
#[derive(Debug)]
pub(super) struct Pending {
    /// The torrent with its new names.
    pub(super) info: Arc<Info>,
    /// It was begun before: in another run, or its disk said no.
    again: bool,
    /// Who waits for it.
    reply: Option<Reply>,
}

impl Pending {
    /// The torrent with its new names, if some of its files may have them.
    pub(super) fn begun(&self) -> Option<Arc<Info>> {
        self.again.then(|| self.info.clone())
    }

    /// The torrent is being removed: whoever waits hears of that.
    pub(super) fn dismiss(&mut self) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(Err(gone())));
        }
    }
}

/// Names that are to come.
struct Plan {
    names: Rename,
    info: Info,
    /// The files whose names change.
    files: Vec<(FileIndex, SafePath)>,
}

/// A torrent's metainfo with the names that are in force, and those of a rename that an earlier run began.
pub(super) fn names_in_force(
    info: Info,
    settings: &Settings,
) -> Result<(Info, Option<Box<Pending>>), RenameError> {
    let mut info = info;
    // The part file goes by the others' names.
    if !settings.renames.is_empty() {
        info = info.with_paths(&settings.renames)?;
    }
    // Settings from before its metadata came have the name of a link.
    if settings.awaited.is_none() || !settings.renames.is_empty() {
        info.name.clone_from(&settings.name);
    }
    let info = on_disk(info, settings);
    let Some(names) = &settings.renaming else { return Ok((info, None)) };
    let (new, _) = with_names(&info, names, settings)?;
    Ok((info, Some(Box::new(Pending { info: Arc::new(new), again: true, reply: None }))))
}

/// The torrent after a rename, and the files that it concerns.
fn with_names(
    info: &Info,
    names: &Rename,
    settings: &Settings,
) -> Result<(Info, Vec<(FileIndex, SafePath)>), RenameError> {
    let plain = info.without_parts();
    let mut new = plain.with_paths(&plain.renamed(&names.from, &names.to)?)?;
    if plain.is_named_after(&names.from) {
        new.name = names.to.file_name().to_owned();
    }
    // The part file lies where the others lie.
    let new = on_disk(new, settings);
    let files = changed(info, &new);
    Ok((new, files))
}

impl Driver {
    /// Renames a file or folder of a torrent; answers when that is done and durable.
    pub(super) fn rename(&mut self, params: &RenameParams, reply: Reply) {
        let (id, plan) = match self.plan_rename(params) {
            Ok(planned) => planned,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let (Some(entry), Some(cx)) = (self.entries.get(&id), self.cx(id)) else { return };
        if plan.files.is_empty() {
            return drop(reply.send(Ok(renamed(entry, &plan.names, 0))));
        }
        let (old, kept) = (entry.info.clone(), self.kept(id, &cx.folder));
        let (names, new) = (plan.names, Arc::new(plan.info));
        self.rename_surveys.spawn(async move {
            let result = rename::survey(&cx, new.clone(), kept).await;
            Surveyed { id, old, names, new, result, reply }
        });
    }

    fn plan_rename(&self, params: &RenameParams) -> Result<(TorrentId, Plan), ApiError> {
        let id = self.resolve(&params.id)?;
        let entry = self.entries.get(&id).filter(|entry| !entry.removing);
        let entry = entry.ok_or_else(gone)?;
        if !entry.is_known() {
            return Err(not_yet("what its files are called is not known either"));
        }
        if let Some(error) = unready(entry) {
            return Err(error);
        }
        let names = Rename { from: old_path(&params.path)?, to: new_path(&params.to)? };
        let (info, files) = with_names(&entry.info, &names, &entry.settings).map_err(|error| {
            let kind = match error {
                RenameError::NoSuchPath { .. }
                | RenameError::Suffixed { .. }
                | RenameError::NoSuchFile { .. } => Kind::NoMatch,
                RenameError::Padding { .. }
                | RenameError::Clash { .. }
                | RenameError::Reserved { .. }
                | RenameError::Tangled { .. } => Kind::Conflict,
                RenameError::Outside { .. } | RenameError::Path { .. } | RenameError::TooLong => {
                    Kind::BadRequest
                }
            };
            ApiError::new(kind, error.to_string()).path(params.path.clone())
        })?;
        match self.taken(id, &entry.settings.folder, &info, &files) {
            Some(error) => Err(refusal(&error)),
            None => Ok((id, Plan { names, info, files })),
        }
    }

    /// Another torrent has a path that a file is to get.
    fn taken(
        &self,
        id: TorrentId,
        folder: &Path,
        new: &Info,
        files: &[(FileIndex, SafePath)],
    ) -> Option<RenamingError> {
        let stored = |file: &FileIndex| new.files.get(file.0 as usize).is_some_and(|entry| !entry.pad);
        let files = files.iter().filter(|(file, _)| stored(file));
        let seconds: Vec<SafePath> = files.clone().filter_map(|(file, _)| new.suffixed_path(*file)).collect();
        let paths = files.map(|(_, path)| path).chain(&seconds);
        let paths: BTreeSet<&str> = paths.map(SafePath::as_str).collect();
        let mut others = self.entries.neighbours(folder, new).filter(|other| other.id != id);
        others.find_map(|other| {
            let path = other.first_of(&paths, folder)?;
            Some(RenamingError::Occupied { path: folder.join(&*path), other: other.settings.name.clone() })
        })
    }

    /// Nothing on disk stands in the way of a rename, or something does.
    pub(super) fn on_rename_surveyed(&mut self, surveyed: Surveyed) {
        let Surveyed { id, old, names, new, result, reply } = surveyed;
        let Some(entry) = self.entries.get(&id).filter(|entry| !entry.removing) else {
            return drop(reply.send(Err(gone())));
        };
        let came_between = || match unready(entry) {
            None if !Arc::ptr_eq(&entry.info, &old) => Some(ApiError::new(
                Kind::Conflict,
                "another rename came first; look at its files and try again",
            )),
            None => {
                let files = changed(&old, &new);
                self.taken(id, &entry.settings.folder, &new, &files).map(|error| refusal(&error))
            }
            unready => unready,
        };
        if let Some(error) = result.err().map(|error| refusal(&error)).or_else(came_between) {
            return drop(reply.send(Err(error)));
        }
        let pending = Pending { info: new, again: false, reply: Some(reply) };
        self.entries.rearrange(&id, |entry| {
            entry.settings.renaming = Some(names);
            entry.renaming = Some(Box::new(pending));
        });
        if !self.session.rename(self.engine.clock.now(), id) {
            let why = ApiError::new(Kind::Conflict, "it is being moved; try again when that is over");
            let files = self.entries.get(&id).and_then(|entry| entry.files.clone());
            self.end_rename(id, Err(why), files);
        }
        self.touch();
    }

    /// Does the torrent's rename, in its lane.
    pub(super) fn begin_rename(&mut self, id: TorrentId, cx: Cx) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pending = entry.renaming.as_mut().filter(|_| cx.live.is_none());
        let Some(pending) = pending else { return self.spawn(id, async { Outcome::Done }) };
        let (new, again) = (pending.info.clone(), std::mem::replace(&mut pending.again, true));
        // Those of the old names are closed.
        entry.files = None;
        let kept = self.kept(id, &cx.folder);
        let saved = self.saved(id);
        self.spawn(id, rename::run(cx, new, kept, saved, again));
    }

    /// The files have their new names, or their old ones because of an error, and are open by these.
    pub(super) fn end_rename(
        &mut self,
        id: TorrentId,
        ended: Result<(), ApiError>,
        files: Option<Arc<TorrentFiles>>,
    ) {
        let (mut pending, mut names) = (None, None);
        self.entries.rearrange(&id, |entry| {
            pending = entry.renaming.take();
            names = entry.settings.renaming.take();
            if let Some(pending) = pending.as_ref().filter(|_| ended.is_ok()) {
                take_names(entry, &pending.info);
            }
            entry.files = files;
            entry.watch_files();
        });
        let (Some(pending), Some(names), Some(entry)) = (pending, names, self.entries.get(&id)) else {
            return;
        };
        let (torrent, Rename { from, to }) = (&entry.settings.name, &names);
        match &ended {
            Ok(()) => tracing::info!(torrent, %from, %to, "renamed"),
            Err(error) => tracing::warn!(torrent, %from, %to, %error, "not renamed"),
        }
        let files = pending.info.files.iter().filter(|file| !file.pad);
        let files = files.filter(|file| file.path == names.to || file.path.is_below(&names.to)).count();
        let result = ended.map(|()| renamed(entry, &names, files));
        let saved = self.saved(id);
        let Some(reply) = pending.reply else { return };
        self.replies.spawn(async move {
            let answer = match (result, saved.await) {
                (Ok(_), Ok(Err(why))) => Err(ApiError::new(Kind::Disk, format!("it is renamed, but {why}"))),
                (result, _) => result,
            };
            // Whoever asked may have hung up.
            drop(reply.send(answer));
        });
    }

    /// Files have partly new names and partly old ones, and nobody may touch them until that is over: what
    /// comes next fails, and is tried again with it.
    pub(super) fn on_rename_stands(&mut self, id: TorrentId, fault: Fault) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(reply) = entry.renaming.as_mut().and_then(|pending| pending.reply.take()) {
            drop(reply.send(Err(ApiError::new(Kind::Disk, fault.message.clone()))));
        }
        self.waking.remove(&id);
        let next = entry.lane.pop_front_if(|op| op.needs_names());
        match next {
            Some(Op::Move) => self.on_move_faulted(id, fault),
            _ => self.fault(id, fault),
        }
    }
}

fn gone() -> ApiError {
    ApiError::new(Kind::NoMatch, "it is being removed")
}

/// Why a torrent's files can't be renamed now.
fn unready(entry: &Entry) -> Option<ApiError> {
    if let Some(moving) = &entry.settings.moving {
        return Some(busy(moving, &entry.settings.folder));
    }
    let Rename { from, to } = entry.settings.renaming.as_ref()?;
    let message = format!("“{from}” is still becoming “{to}”; try again when that is over");
    Some(ApiError::new(Kind::Conflict, message))
}

/// The new names are those in force.
fn take_names(entry: &mut Entry, new: &Arc<Info>) {
    let mut renames: BTreeMap<FileIndex, SafePath> =
        std::mem::take(&mut entry.settings.renames).into_iter().collect();
    let own = |(file, _): &(FileIndex, SafePath)| new.part_file() != Some(*file);
    renames.extend(changed(&entry.info, new).into_iter().filter(own));
    entry.settings.renames = renames.into_iter().collect();
    entry.settings.name.clone_from(&new.name);
    entry.info = new.clone();
}

fn changed(old: &Info, new: &Info) -> Vec<(FileIndex, SafePath)> {
    let files = (0..).map(FileIndex).zip(old.files.iter().zip(&new.files));
    files
        .filter(|(_, (old, new))| old.path != new.path)
        .map(|(file, (_, new))| (file, new.path.clone()))
        .collect()
}

fn renamed(entry: &Entry, names: &Rename, files: usize) -> RenameResult {
    RenameResult {
        info_hash: entry.hash_text(),
        name: entry.settings.name.clone(),
        path: names.from.to_string(),
        to: names.to.to_string(),
        files: files as u64,
    }
}

/// What the torrent is asked for. A path that can't be is that of no file.
fn old_path(given: &str) -> Result<SafePath, ApiError> {
    SafePath::exact(given.trim_end_matches('/')).map_err(|_| {
        let message = format!("the torrent has no file or folder {given:?}");
        ApiError::new(Kind::NoMatch, message).path(given)
    })
}

fn new_path(given: &str) -> Result<SafePath, ApiError> {
    let why = match SafePath::exact(given) {
        Ok(path) => return Ok(path),
        Err(_) if given.starts_with('/') => {
            "it is absolute; paths are relative to the torrent's folder".to_owned()
        }
        Err(_) if given.ends_with('/') => "it ends in `/`: give the new name, too".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ApiError::new(Kind::BadRequest, format!("{given:?} can't be a new path: {why}")).path(given))
}

/// A rename that is not made.
pub(super) fn refusal(error: &RenamingError) -> ApiError {
    let (kind, path) = match error {
        RenamingError::InTheWay { path }
        | RenamingError::Occupied { path, .. }
        | RenamingError::Shared { path }
        | RenamingError::LinkedRoot { path } => (Kind::Conflict, path),
        RenamingError::Gone { path } | RenamingError::Unmounted { folder: path, .. } => (Kind::Disk, path),
        RenamingError::Disk(error) => {
            let kind = match error.kind {
                DiskErrorKind::Full => Kind::DiskFull,
                DiskErrorKind::Permission | DiskErrorKind::Outside | DiskErrorKind::Replaced => {
                    Kind::Permission
                }
                DiskErrorKind::Obstructed => Kind::Conflict,
                DiskErrorKind::Stopped => Kind::Stopping,
                _ => Kind::Disk,
            };
            (kind, &error.path)
        }
    };
    ApiError::new(kind, error.to_string()).path(path.display().to_string())
}
