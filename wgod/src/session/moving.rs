//! Moves: what operators ask of them, how far they are, and what their ends make of a torrent.
//!
//! The torrent's settings say in the store that it is on its way, and where to; the driver alone changes
//! that, so it is always clear which place is the torrent's. See `files/relocate.rs` for the order of things.
mod progress;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::MoveParams;
use wgo_api::result::{ActResult, Acted};
use wgo_core::TorrentId;
use wgo_core::session::{Fault, Phase, Underway};
use wgo_proto::FileIndex;

pub(super) use progress::MoveProgress;

use super::Driver;
use super::entry::Entry;
use super::ops::{Cx, Op, Outcome, Placed, relocate};
use crate::files::{DiskErrorKind, MoveError};
use crate::store::{Change, Move, MoveStage, Rename, Settings};

/// The answer to a call on several torrents.
type ActReply = oneshot::Sender<Result<ActResult, ApiError>>;
/// What one torrent of a call waits for.
pub(super) type Wait = oneshot::Receiver<Result<(), ApiError>>;

/// What a call finds of one torrent.
pub(super) enum Asked {
    /// Its answer comes.
    Waits(Wait),
    /// It is on the way.
    Moves,
    /// It is there.
    There,
}

/// Whether a torrent can be moved is known, or the folder that it goes to is marked.
pub(super) struct Surveyed {
    pub(super) id: TorrentId,
    pub(super) folder: PathBuf,
    pub(super) marked: bool,
    pub(super) result: Result<(), MoveError>,
    pub(super) asker: Asker,
}

/// A move that was asked for while metadata of the torrent was made durable: until that is done it is open whether there
/// are files to be moved.
#[derive(Debug)]
pub(super) struct Postponed {
    id: TorrentId,
    folder: PathBuf,
    reply: oneshot::Sender<Result<(), ApiError>>,
}

/// Who wants a torrent moved.
pub(super) enum Asker {
    /// A caller of the API, who waits for an answer.
    Caller(oneshot::Sender<Result<(), ApiError>>),
    /// The torrent is complete and goes to its final folder.
    Nobody,
}

/// The move of an earlier run, as the session has to know of it; one that was called off is undone beside it.
pub(super) fn underway(settings: &Settings, device_of: impl Fn(&Path) -> u64) -> Option<Underway> {
    let moving = settings.moving.as_ref().filter(|moving| moving.stage != MoveStage::Undoing)?;
    Some(Underway { other: device_of(&moving.other), switched: moving.stage == MoveStage::Switched })
}

impl Driver {
    /// Moves torrents, or calls that off; answers when what was asked for would survive a crash.
    pub(super) fn relocate(&mut self, params: &MoveParams, reply: ActReply) {
        let selected = match self.select(&params.ids, params.all) {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut acted: Vec<(Acted, Option<Wait>)> = Vec::new();
        for (given, found) in selected {
            let begun = found.and_then(|id| {
                let wait = match &params.folder {
                    Some(folder) => self.ask_move(id, folder),
                    None => self.ask_cancel(id).map(Asked::Waits),
                };
                let acted = Acted { note: self.note_of(id), ..self.acted(&given, id) };
                wait.map(|asked| match asked {
                    Asked::Waits(wait) => (acted, Some(wait)),
                    // It is so, but whoever had it so may have been told that this could not be saved.
                    Asked::Moves | Asked::There if !self.is_saved(id) => {
                        let (reply, wait) = oneshot::channel();
                        self.answer_when_saved(id, reply);
                        (acted, Some(wait))
                    }
                    Asked::Moves => (acted, None),
                    Asked::There => (acted.unchanged(), None),
                })
            });
            acted.push(begun.unwrap_or_else(|error| (Acted::failed(given, error), None)));
        }
        self.replies.spawn(async move {
            let mut torrents = Vec::new();
            for (acted, wait) in acted {
                let gone =
                    || ApiError::new(Kind::Stopping, "the daemon stopped, or the torrent was removed, first");
                let ended = match wait {
                    Some(wait) => wait.await.unwrap_or_else(|_| Err(gone())),
                    None => Ok(()),
                };
                torrents.push(match ended {
                    Ok(()) => acted,
                    Err(error) => Acted::failed(acted.id, error),
                });
            }
            drop(reply.send(Ok(ActResult { torrents })));
        });
    }

    /// Looks whether a torrent can be moved, and has it done then.
    fn ask_move(&mut self, id: TorrentId, folder: &Path) -> Result<Asked, ApiError> {
        let gone = || ApiError::new(Kind::NoMatch, "it is being removed");
        let entry = self.entries.get(&id).filter(|entry| !entry.removing);
        let entry = entry.ok_or_else(gone)?;
        match &entry.settings.moving {
            Some(moving) if moving.stage == MoveStage::Placing && moving.other == folder => {
                return Ok(Asked::Moves);
            }
            Some(moving) => return Err(busy(moving, &entry.settings.folder)),
            None => {}
        }
        if let Some(names) = &entry.settings.renaming {
            return Err(renaming(names));
        }
        if !entry.is_known() {
            if !entry.is_learning() {
                return Ok(self.redirect_unknown(id, folder));
            }
            let (reply, wait) = oneshot::channel();
            // Bounded by the callers, each of whom waits for the answer.
            self.postponed.push(Postponed { id, folder: folder.to_owned(), reply });
            return Ok(Asked::Waits(wait));
        }
        if let Some(redirected) = self.redirect(id, folder) {
            return redirected.map(Asked::Waits);
        }
        if self.entries.get(&id).is_none_or(|entry| entry.settings.folder == folder) {
            return Ok(Asked::There);
        }
        if let Some(occupied) = self.occupied(id, folder) {
            return Err(refusal(&occupied));
        }
        let (reply, wait) = oneshot::channel();
        self.survey(id, folder.to_owned(), Asker::Caller(reply));
        Ok(Asked::Waits(wait))
    }

    /// Moves that were put off are asked for, once it is known what there is to be moved.
    pub(super) fn ask_postponed(&mut self, id: TorrentId) {
        if self.postponed.is_empty() || self.entries.get(&id).is_some_and(Entry::is_learning) {
            return;
        }
        let due: Vec<Postponed> = self.postponed.extract_if(.., |one| one.id == id).collect();
        for Postponed { folder, reply, .. } in due {
            let answer = match self.ask_move(id, &folder) {
                Ok(Asked::Waits(wait)) => {
                    // If it is dropped, so is the other end: whoever asked hears of that.
                    self.replies.spawn(async move {
                        if let Ok(answer) = wait.await {
                            drop(reply.send(answer));
                        }
                    });
                    continue;
                }
                Ok(Asked::Moves | Asked::There) => Ok(()),
                Err(error) => Err(error),
            };
            drop(reply.send(answer));
        }
    }

    /// Nothing stands in the way of a move, or something does.
    pub(super) fn on_surveyed(&mut self, surveyed: Surveyed) {
        let Surveyed { id, folder, marked, result, asker } = surveyed;
        if self.entries.get(&id).is_none_or(|entry| entry.removing) {
            return;
        }
        // Whoever asked may have hung up; the work is done all the same.
        match result {
            Ok(()) if marked => self.begin_move(id, folder, asker),
            Ok(()) => self.mark_folder(id, folder, asker),
            Err(error) => {
                if marked {
                    self.entries.relocate(&id, |settings| settings.moving = None);
                    self.save(id);
                }
                match (asker, &error) {
                    (Asker::Caller(reply), _) => drop(reply.send(Err(refusal(&error)))),
                    (Asker::Nobody, MoveError::SameFolder { .. }) => {
                        self.stay(id);
                        self.save(id);
                    }
                    (Asker::Nobody, _) => self.not_arrived(id, &not_moved(&folder, &error), false),
                }
            }
        }
    }

    /// It can be moved, unless something came between.
    fn mark_folder(&mut self, id: TorrentId, folder: PathBuf, asker: Asker) {
        let occupied = self.occupied(id, &folder).map(|error| refusal(&error));
        let Some(cx) = self.cx(id) else { return };
        let Some(entry) = self.entries.get(&id) else { return };
        let moving = entry.settings.moving.as_ref().map(|moving| busy(moving, &entry.settings.folder));
        let renaming = entry.settings.renaming.as_ref().map(renaming);
        match (moving.or(renaming).or(occupied), asker) {
            (Some(error), Asker::Caller(reply)) => drop(reply.send(Err(error))),
            (Some(error), Asker::Nobody) => {
                self.not_arrived(id, &not_moved(&folder, &error.message), false);
            }
            (None, Asker::Nobody) if cx.final_folder.as_ref() != Some(&folder) => {
                // It was told another one meanwhile, or to stay.
                self.arrivals.plan(id, self.engine.clock.now());
                self.arrive(id);
            }
            (None, asker) => self.mark(cx, folder, asker),
        }
    }

    fn mark(&mut self, cx: Cx, folder: PathBuf, asker: Asker) {
        let id = cx.id;
        // Should the daemon end before it is decided, the mark goes at the next start.
        let moving = Move { other: folder.clone(), stage: MoveStage::Undoing };
        self.entries.relocate(&id, |settings| settings.moving = Some(moving));
        let saved = self.saved(id);
        self.surveys.spawn(async move {
            let result = match saved.await {
                Ok(Ok(())) => relocate::mark(&cx, folder.clone()).await,
                Ok(Err(why)) => Err(MoveError::Unsaved { why }),
                Err(_) => Err(MoveError::Cancelled),
            };
            Surveyed { id, folder, marked: true, result, asker }
        });
    }

    fn begin_move(&mut self, id: TorrentId, folder: PathBuf, asker: Asker) {
        let home = self.final_folder(&folder);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        tracing::info!(torrent = entry.settings.name, to = %folder.display(), "to be moved");
        let device = self.engine.storage.device_of(&folder);
        entry.move_error = None;
        let moving = Move { other: folder, stage: MoveStage::Placing };
        self.entries.relocate(&id, |settings| {
            settings.moving = Some(moving);
            // One that was still to leave the folder where it began ends there.
            settings.final_folder = settings.final_folder.take().map(|_| home);
        });
        self.session.move_to(self.engine.clock.now(), id, device);
        self.touch();
        match asker {
            Asker::Caller(reply) => self.answer_when_saved(id, reply),
            Asker::Nobody => self.save(id),
        }
    }

    fn ask_cancel(&mut self, id: TorrentId) -> Result<Wait, ApiError> {
        let entry = self.entries.get_mut(&id).filter(|entry| !entry.removing);
        let entry = entry.ok_or_else(|| ApiError::new(Kind::NoMatch, "it is being removed"))?;
        let arrives = entry.is_to_arrive();
        match &mut entry.settings.moving {
            // It is tried again and again.
            None if arrives => {}
            None => return Err(ApiError::new(Kind::Conflict, "it is not being moved")),
            Some(moving) if moving.stage != MoveStage::Placing => {
                return Err(busy(moving, &entry.settings.folder));
            }
            Some(moving) => moving.stage = MoveStage::Undoing,
        }
        // Of one that is complete that says where it is to be.
        self.stay(id);
        self.session.cancel_move(self.engine.clock.now(), id);
        let (reply, wait) = oneshot::channel();
        self.answer_when_saved(id, reply);
        Ok(wait)
    }

    pub(super) fn answer_when_saved(&mut self, id: TorrentId, reply: oneshot::Sender<Result<(), ApiError>>) {
        let saved = self.saved(id);
        self.replies.spawn(async move {
            // Without an answer the torrent was removed.
            if let Ok(saved) = saved.await {
                drop(reply.send(saved.map_err(|why| ApiError::new(Kind::Disk, why))));
            }
        });
    }

    /// Another torrent that has one of these files where they are to go.
    pub(super) fn occupied(&self, id: TorrentId, folder: &Path) -> Option<MoveError> {
        let entry = self.entries.get(&id)?;
        let info = &entry.info;
        let mut others = self.entries.neighbours(folder, info);
        let other = others.find(|other| other.id != id && other.has_paths_of(info, folder))?;
        let shared = |path: &std::borrow::Cow<'_, str>| other.paths().any(|other| other == *path);
        let mut paths = entry.paths_of(info).map(|(_, path)| path);
        let (this, other_name) = (info.name.clone(), other.settings.name.clone());
        Some(MoveError::Occupied { path: folder.join(&*paths.find(shared)?), this, other: other_name })
    }

    /// The files in a folder that another torrent has too: storage knows of those only that ran.
    pub(super) fn kept(&self, id: TorrentId, folder: &Path) -> BTreeSet<FileIndex> {
        let Some(info) = self.entries.get(&id).map(|entry| entry.info.clone()) else {
            return BTreeSet::new();
        };
        self.entries.shared(id, folder, &info)
    }

    /// Begins the half of the torrent's move that is due, in its lane.
    pub(super) fn begin_relocation(&mut self, id: TorrentId, cx: Cx) {
        let Some(moving) = cx.moving.clone() else { return self.spawn(id, async { Outcome::Done }) };
        let Move { other, stage } = moving;
        match stage {
            MoveStage::Placing => {
                let kept = self.kept(id, &cx.folder);
                let progress = MoveProgress::new();
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.moving = Some(progress.clone());
                }
                self.spawn(id, relocate::place(cx, other, kept, progress));
            }
            MoveStage::Undoing => {
                // One that the session knows nothing of is undone beside all else, and not tried again.
                let waits = self.session.row(id).is_some_and(|row| row.phase == Phase::Moving);
                let saved = waits.then(|| self.saved(id));
                self.spawn(id, relocate::undo(cx, other, saved));
            }
            MoveStage::Switched => {
                let kept = self.kept(id, &other);
                if let Some(entry) = self.entries.get_mut(&id) {
                    // Those of the old place.
                    entry.files = None;
                    let stamps = entry.stamps.clone();
                    entry.unsaved.push(Change::Moved(id, stamps));
                }
                let saved = self.saved(id);
                self.spawn(id, relocate::settle(cx, other, kept, saved));
            }
        }
    }

    /// A move was called off.
    pub(super) fn cancel_move(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // Its end sees to the rest.
        if let Some(progress) = &entry.moving {
            return progress.stop();
        }
        entry.lane.retain(|op| !matches!(op, Op::Move));
        self.push_op(id, Op::Move);
    }

    /// The files are whole in the new place: it is the torrent's from the next save on.
    pub(super) fn on_placed(&mut self, id: TorrentId, placed: Placed) {
        let moves = self.session.row(id).is_some_and(|row| row.phase == Phase::Moving);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(moving) = entry.settings.moving.as_mut().filter(|_| moves) else { return };
        if moving.stage == MoveStage::Placing {
            moving.stage = MoveStage::Switched;
            std::mem::swap(&mut moving.other, &mut entry.settings.folder);
            entry.stamps = placed.stamps;
            // That of the old place; the next look at the new one finds its own.
            entry.mount = None;
            self.session.on_switched(id);
        }
        // Else it was called off in the last moment.
        entry.lane.push_front(Op::Move);
    }

    /// A move under way ended early, because somebody called it off or the daemon ends.
    pub(super) fn on_move_stopped(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.settings.moving.as_ref().is_some_and(|moving| moving.stage == MoveStage::Undoing) {
            entry.lane.push_front(Op::Move);
        }
    }

    /// Nothing is left to do of a move.
    pub(super) fn on_moved(&mut self, id: TorrentId, files: Arc<crate::files::TorrentFiles>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        tracing::info!(torrent = entry.settings.name, to = %entry.settings.folder.display(), "moved");
        entry.files = Some(files);
        entry.watch_files();
        self.entries.relocate(&id, |settings| {
            settings.moving = None;
            let home = settings.final_folder.take();
            settings.final_folder = home.filter(|home| home.path != settings.folder);
        });
        self.arrivals.forget(id);
        self.session.on_moved(self.engine.clock.now(), id);
        self.arrived(id);
    }

    /// A move can't be made: what is in the new place goes next.
    pub(super) fn on_called_off(&mut self, id: TorrentId, why: String) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(moving) = &mut entry.settings.moving else { return };
        moving.stage = MoveStage::Undoing;
        entry.move_error = Some(why);
        entry.lane.push_front(Op::Move);
    }

    /// The torrent stays where it was, by wish or because of `why`, or of what a move that was called off ended by.
    pub(super) fn on_unmoved(&mut self, id: TorrentId, why: Option<String>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let why = why.or_else(|| entry.move_error.take());
        let arrives = entry.settings.final_folder.is_some();
        match &why {
            Some(_) if arrives => {}
            Some(why) => tracing::warn!(torrent = entry.settings.name, error = why, "not moved"),
            None => tracing::info!(torrent = entry.settings.name, "its move was called off"),
        }
        entry.move_error.clone_from(&why);
        self.entries.relocate(&id, |settings| settings.moving = None);
        self.session.on_unmoved(self.engine.clock.now(), id);
        match why {
            Some(why) if arrives => self.not_arrived(id, &why, true),
            // The daemon ended before the move began. One that somebody called off has no final folder.
            None if arrives => self.arrivals.plan(id, self.engine.clock.now()),
            _ => {}
        }
        self.save(id);
    }

    /// Something stands in the way of a move, which is tried again by itself.
    pub(super) fn on_move_faulted(&mut self, id: TorrentId, fault: Fault) {
        let known =
            self.session.row(id).and_then(|row| row.fault.as_deref()).is_some_and(|old| *old == fault);
        if !known && let Some(entry) = self.entries.get(&id) {
            tracing::warn!(torrent = entry.settings.name, error = fault.message, "its move stands");
        }
        self.session.on_move_fault(self.engine.clock.now(), id, fault);
    }
}

/// The error of a torrent whose files stay where they are.
pub(super) fn not_moved(to: &Path, why: &impl std::fmt::Display) -> String {
    format!("not moved to {}: {why}", to.display())
}

/// Why a torrent on its way can't be sent on another.
pub(super) fn busy(moving: &Move, folder: &Path) -> ApiError {
    let message = match moving.stage {
        MoveStage::Placing => format!(
            "it is being moved to {}; call that off first, with `wgoctl move ID --cancel`",
            moving.other.display()
        ),
        MoveStage::Undoing => {
            format!(
                "a move to {} is just being begun or undone; try again in a moment",
                moving.other.display()
            )
        }
        MoveStage::Switched => format!(
            "its files are in {} already, and what is left of them in {} is being deleted; wait for that",
            folder.display(),
            moving.other.display()
        ),
    };
    ApiError::new(Kind::Conflict, message)
}

/// Why a torrent can't be sent off now.
fn renaming(names: &Rename) -> ApiError {
    let message = format!("“{}” is becoming “{}”; try again when that is over", names.from, names.to);
    ApiError::new(Kind::Conflict, message)
}

/// A move that is not begun.
fn refusal(error: &MoveError) -> ApiError {
    let kind = match error {
        MoveError::SameFolder { .. } | MoveError::Foreign { .. } | MoveError::Occupied { .. } => {
            Kind::Conflict
        }
        MoveError::NoSpace { .. } => Kind::DiskFull,
        MoveError::Disk(error) => match error.kind {
            DiskErrorKind::Full => Kind::DiskFull,
            DiskErrorKind::Permission | DiskErrorKind::Outside => Kind::Permission,
            DiskErrorKind::Obstructed => Kind::Conflict,
            DiskErrorKind::Stopped => Kind::Stopping,
            _ => Kind::Disk,
        },
        MoveError::Wrong { .. } | MoveError::Unsaved { .. } => Kind::Disk,
        MoveError::Cancelled => Kind::Stopping,
    };
    ApiError::new(kind, error.to_string())
}
