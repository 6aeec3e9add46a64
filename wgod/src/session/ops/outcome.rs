//! How operations end, and what that makes of the torrent.
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{Id as TaskId, JoinError};
use wgo_api::error::ApiError;
use wgo_core::TorrentId;
use wgo_core::session::{Fault, FaultKind};
use wgo_core::swarm::TrackerMemory;
use wgo_proto::metainfo::Info;
use wgo_proto::{Bitfield, PieceIndex};

use super::metadata::{Taught, Verdict};
use super::{Born, Placed};
use crate::files::{TorrentFiles, Whereabouts};
use crate::session::Driver;
use crate::session::checking::CheckProgress;
use crate::session::entry::is_met;
use crate::session::selecting::Selected;
use crate::store::{Counters, FileStamp, OwedCheck};
use crate::torrent::{Broken, Torrent};

/// How an operation ended.
#[derive(Debug)]
pub(in crate::session) enum Outcome {
    /// A check found these pieces.
    Checked {
        files: Arc<TorrentFiles>,
        place: Box<Whereabouts>,
        have: Bitfield,
        unverified: Bitfield,
        stamps: Vec<Option<FileStamp>>,
        completed_at: Option<u64>,
    },
    /// A check was paused here.
    Paused(Box<OwedCheck>),
    /// A check found all that is wanted, but a file can't have its own name, or it can't be stored: it is tried again
    /// with what is left of the check.
    Unended(Box<OwedCheck>, Fault),
    /// A move's files are whole in the new place.
    Placed(Placed),
    /// The new place has all, and the old one nothing any more.
    Moved { files: Arc<TorrentFiles> },
    /// The move can't be made: it is called off, and what is in the new place goes.
    CalledOff { why: String },
    /// The files stay where they were, by wish or because of this.
    Unmoved { why: Option<String> },
    /// Something stands in the way of a move.
    MoveFaulted(Fault),
    /// A move was ended early.
    MoveStopped,
    /// Its files have their new names, or their old ones and this is why; they are open by these.
    Renamed { ended: Result<(), ApiError>, files: Option<Arc<TorrentFiles>> },
    /// Some have their new names, others not, and this stands in the way.
    RenameStands(Fault),
    /// The torrent is live; it may be written to from now on if its place is known. `fault`: it may only be
    /// read from.
    Live {
        torrent: Arc<Torrent>,
        files: Option<Arc<TorrentFiles>>,
        place: Option<Whereabouts>,
        fault: Option<Fault>,
    },
    /// The torrent has no Swarm any more; this is where it stood.
    Down { rest: Box<Rest>, dormant: bool },
    /// It was to sleep, but has work again.
    NotIdle,
    /// A checkpoint succeeded.
    Checkpointed { durable: Bitfield, stamps: Vec<Option<FileStamp>>, completed_at: Option<u64> },
    /// The same of a torrent that has all it wants, but a file can't have its own name: it isn't complete.
    Unnamed { durable: Bitfield, stamps: Vec<Option<FileStamp>>, fault: Fault },
    /// A checkpoint failed. `synced`: what the files are, if only the store didn't take it.
    NotCheckpointed { fault: Fault, synced: Option<Vec<Option<FileStamp>>> },
    /// There was no Swarm to checkpoint.
    NoCheckpoint,
    /// What stood in the way is gone.
    Healed { files: Arc<TorrentFiles>, place: Whereabouts },
    /// The same of a torrent whose metadata has to come.
    HealedUnknown,
    /// Metadata that came whole was looked at.
    Examined { size: u32, verdict: Verdict },
    /// The metadata is durable, or isn't.
    Taught(Box<Taught>),
    /// Its files are elsewhere than they were opened, on this device.
    Remounted { device: u64 },
    /// The files are ready for others to be wanted.
    Selected(Selected),
    /// They can't be made ready.
    NotSelected(Fault),
    /// The part file is gone.
    PartsDropped,
    /// Its files are in its final folder already.
    Ahead,
    /// What was known of its files is forgotten.
    StartedOver,
    /// What stood in the way is gone, and the files are not what they were.
    Changed,
    /// Something stands in the way.
    Faulted(Fault),
    /// A new torrent is durable, or could not be made so.
    Added(Born),
    /// It is gone.
    /// `forgotten`: also from the store.
    Removed {
        result: Result<(), String>,
        forgotten: bool,
        counters: Counters,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Nothing to report.
    Done,
    /// Storage did not do it: it is being stopped, or a job of it panicked.
    Unfinished,
}

/// Where a torrent stood when its Swarm was dropped.
#[derive(Debug)]
pub(in crate::session) struct Rest {
    pub have: Bitfield,
    pub unverified: Bitfield,
    pub partials: Vec<(PieceIndex, Bitfield)>,
    /// Pieces of which nobody knows whether they are on disk.
    pub suspects: Vec<PieceIndex>,
    pub counters: Counters,
    pub stamps: Vec<Option<FileStamp>>,
    /// The disk refused to make durable what it stored last.
    pub unsynced: bool,
    pub durable: bool,
    /// Why what it stored last may not outlast a crash.
    pub undurable: Option<String>,
    pub completed_at: Option<u64>,
    pub next_announce: Option<wgo_core::Time>,
    pub trackers: Option<TrackerMemory>,
}

impl Driver {
    /// An operation ended: its outcome becomes state, then the lane goes on.
    pub(in crate::session) fn on_op(&mut self, ended: Result<(TaskId, (TorrentId, Outcome)), JoinError>) {
        let (task, outcome) = match ended {
            Ok((task, (_, outcome))) => (task, Some(outcome)),
            Err(error) => {
                tracing::error!(%error, "an operation ended by a defect");
                (error.id(), None)
            }
        };
        let Some(id) = self.op_of.remove(&task) else { return };
        self.saved_beside.remove(&id);
        let mut cancelled = None;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.busy = false;
            entry.learns = false;
            entry.moving = None;
            cancelled = entry.check.take().filter(|check| check.is_cancelled());
        }
        match (outcome, cancelled) {
            (Some(outcome), Some(check)) => self.take_cancelled(id, outcome, &check),
            (Some(outcome), None) => self.take_outcome(id, outcome),
            (None, _) => self.op_failed(id),
        }
        self.tell_trackers(id);
        self.touch();
        self.next_op(id);
        self.ask_postponed(id);
    }

    /// A check was called off: how far it came is kept for the next one, unless that begins anew.
    fn take_cancelled(&mut self, id: TorrentId, outcome: Outcome, check: &CheckProgress) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let owed = match outcome {
            Outcome::Paused(owed) | Outcome::Unended(owed, _) => Some(owed),
            // It ended by itself just before, and nobody waits for that any more.
            Outcome::Checked { files, .. } => {
                entry.files = Some(files);
                Some(Box::new(check.owed()))
            }
            _ => None,
        };
        if owed.is_some() && !check.is_forgotten() {
            entry.owed = owed;
        }
    }

    /// An operation of the torrent panicked, or a disk job of it: what it was doing is unknown, so the torrent is
    /// taken down. One that was being added or removed is forgotten; whoever asked gets no answer.
    fn op_failed(&mut self, id: TorrentId) {
        let fault = Fault { kind: FaultKind::Broken, message: Broken.to_string() };
        // Whoever waits for a choice of files would wait for good.
        self.on_not_selected(id, &fault);
        match self.entries.get(&id) {
            Some(entry) if entry.leaving => drop(self.forget(id)),
            _ => self.fault(id, fault),
        }
    }

    fn take_outcome(&mut self, id: TorrentId, outcome: Outcome) {
        let now = self.engine.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match outcome {
            Outcome::Checked { files, place, have, unverified, stamps, completed_at } => {
                let begun = entry.claims.is_none() && (entry.writing || !entry.have.is_empty());
                entry.unverified = unverified;
                entry.completed_at = completed_at;
                let info = &entry.info;
                entry.partials.retain(|(piece, _)| !have.get(piece.0) && is_there(info, *piece, &stamps));
                let finished = is_met(entry.selection.as_deref(), &have);
                entry.files = Some(files);
                entry.durable = have.clone();
                entry.have = have;
                entry.stamps = stamps;
                entry.watch_files();
                entry.suspects.clear();
                (entry.owed, entry.claims) = (None, None);
                entry.writing = false;
                self.on_checked(id, finished, begun, *place);
            }
            Outcome::Placed(placed) => self.on_placed(id, placed),
            Outcome::Moved { files } => self.on_moved(id, files),
            Outcome::CalledOff { why } => self.on_called_off(id, why),
            Outcome::Unmoved { why } => self.on_unmoved(id, why),
            Outcome::MoveFaulted(fault) => self.on_move_faulted(id, fault),
            Outcome::MoveStopped => self.on_move_stopped(id),
            Outcome::Renamed { ended, files } => self.end_rename(id, ended, files),
            Outcome::RenameStands(fault) => self.on_rename_stands(id, fault),
            Outcome::Live { torrent, files, place, fault } => self.on_live(id, &torrent, files, place, fault),
            Outcome::Down { rest, dormant } => self.on_down(id, *rest, dormant),
            Outcome::Checkpointed { durable, stamps, completed_at } => {
                entry.on_checkpointed(durable, stamps);
                entry.completed_at = completed_at;
                self.session.on_checkpointed(now, id, true);
            }
            Outcome::Unnamed { durable, stamps, fault } => {
                entry.durable = durable;
                entry.stamps = stamps;
                self.on_not_checkpointed(id, fault);
            }
            Outcome::NotCheckpointed { fault, synced } => {
                if let Some(stamps) = synced {
                    entry.stamps = stamps;
                }
                self.on_not_checkpointed(id, fault);
            }
            Outcome::NoCheckpoint => self.session.on_checkpointed(now, id, false),
            Outcome::Healed { files, place } => self.on_healed(id, files, place),
            Outcome::HealedUnknown => self.session.on_healed(now, id),
            Outcome::Examined { size, verdict } => self.on_examined(id, size, verdict),
            Outcome::Taught(taught) => self.on_taught(id, *taught),
            Outcome::Remounted { device } => self.on_moved_disk(id, device),
            Outcome::Selected(selected) => self.on_selected(id, selected),
            Outcome::NotSelected(fault) => self.on_not_selected(id, &fault),
            Outcome::PartsDropped => self.on_parts_dropped(id),
            Outcome::Ahead => self.on_ahead(id),
            Outcome::StartedOver => entry.start_over(),
            Outcome::Changed => self.changed(id, "they were changed while they could not be read"),
            Outcome::Faulted(fault) => self.fault(id, fault),
            Outcome::Added(born) => self.on_added(id, born),
            Outcome::NotIdle => self.session.wake(now, id),
            Outcome::Removed { result, forgotten, counters, reply } => {
                if !forgotten {
                    self.remembered.push(id);
                }
                self.on_removed(id, result, &counters, reply);
            }
            Outcome::Unended(owed, fault) => {
                entry.owed = Some(owed);
                self.fault(id, fault);
            }
            Outcome::Done => {}
            // As the daemon ends, so do checks that nobody called off, and storage.
            Outcome::Paused(_) | Outcome::Unfinished if self.is_stopping() => {}
            Outcome::Paused(_) | Outcome::Unfinished => self.op_failed(id),
        }
    }

    /// Its files are elsewhere than they were opened.
    fn on_moved_disk(&mut self, id: TorrentId, device: u64) {
        let Some(entry) = self.entries.get(&id) else { return };
        tracing::info!(
            torrent = entry.settings.name,
            "its disk came back as another; its files are opened anew"
        );
        self.waking.remove(&id);
        self.session.on_remounted(self.engine.clock.now(), id, device);
    }

    /// What stood in the torrent's way is gone.
    fn on_healed(&mut self, id: TorrentId, files: Arc<TorrentFiles>, place: Whereabouts) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.files = Some(files);
        match entry.is_finished() {
            true => self.settle(id, place),
            false => self.begin_writing(id, place),
        }
        self.session.on_healed(self.engine.clock.now(), id);
        if let Some(row) = self.session.row(id) {
            self.disk_works(row.device);
        }
    }

    /// A check ended. `begun`: the torrent had something before.
    fn on_checked(&mut self, id: TorrentId, complete: bool, begun: bool, place: Whereabouts) {
        self.session.on_checked(self.engine.clock.now(), id, complete);
        self.settle(id, place);
        if complete {
            self.found_complete(id, begun);
        }
        self.arrive(id);
    }

    /// The torrent has a Swarm.
    fn on_live(
        &mut self,
        id: TorrentId,
        torrent: &Arc<Torrent>,
        files: Option<Arc<TorrentFiles>>,
        place: Option<Whereabouts>,
        fault: Option<Fault>,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.files = files;
        // They may have been opened just now.
        entry.watch_files();
        entry.live = Some(torrent.clone());
        for waiter in self.waking.remove(&id).into_iter().flatten() {
            // The connection may be gone.
            let _ = waiter.send(Some(torrent.clone()));
        }
        if fault.is_none() {
            self.session.on_live(self.engine.clock.now(), id);
        }
        if let Some(place) = place {
            self.begin_writing(id, place);
        }
        if let Some(fault) = fault {
            self.fault(id, fault);
        }
        self.tune(id);
        // Nor of a network that went or came.
        let online = self.is_online();
        self.engine.call(torrent, |swarm, now| swarm.set_online(now, online));
        // What came to stand in its way while it was made, it has not heard of.
        if let Some(kind) = self.session.row(id).and_then(|row| Some(row.fault.as_ref()?.kind)) {
            self.pause(id, true, kind == FaultKind::Unreachable);
        }
        // It may have failed before it was known here.
        self.on_broken(id);
    }

    /// What is stored could not be made durable.
    fn on_not_checkpointed(&mut self, id: TorrentId, fault: Fault) {
        let Some(entry) = self.entries.get(&id) else { return };
        let now = self.engine.clock.now();
        let finished = entry.live.as_ref().map(|live| live.call(|swarm, now| swarm.view(now).finished));
        if finished.is_some_and(|finished| finished == Ok(false)) {
            self.session.on_lost(now, id);
        }
        self.session.on_checkpointed(now, id, false);
        self.fault(id, fault);
    }

    /// The torrent's files were found.
    fn settle(&mut self, id: TorrentId, place: Whereabouts) {
        self.session.on_device(self.engine.clock.now(), id, place.device);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.mount = place.mount;
        }
    }

    /// The store has the mark that the torrent is written to.
    pub(in crate::session) fn begin_writing(&mut self, id: TorrentId, place: Whereabouts) {
        self.settle(id, place);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.writing = true;
        }
    }

    /// The torrent has no Swarm any more.
    fn on_down(&mut self, id: TorrentId, rest: Rest, dormant: bool) {
        let (now, online) = (self.engine.clock.now(), self.is_online());
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let finished = is_met(entry.selection.as_deref(), &rest.have);
        if let Some(why) = &rest.undurable {
            entry.tell_stopped(why);
        }
        entry.live = None;
        entry.completed_at = rest.completed_at;
        entry.unverified = rest.unverified;
        entry.trackers = rest.trackers.map(Box::new);
        let next_announce = entry.trackers.as_mut().map_or(rest.next_announce, |trackers| {
            trackers.set_online(now, online);
            trackers.next_announce()
        });
        if rest.durable {
            entry.durable = rest.have.clone();
            entry.writing = false;
        }
        entry.have = rest.have;
        entry.partials = rest.partials;
        let untold =
            finished && rest.durable && rest.completed_at.is_some() && entry.settings.completion_owed;
        // What is complete and isn't known to be so was not stored, or not named: the end of a check does both.
        let unended = finished && entry.is_known() && rest.completed_at.is_none();
        let in_doubt = !rest.suspects.is_empty();
        entry.suspects.extend(rest.suspects);
        // Its time has been counted meanwhile, and goes on.
        let Counters { active_secs, seeding_secs, idle_secs, .. } = entry.counters;
        entry.counters = Counters { active_secs, seeding_secs, idle_secs, ..rest.counters };
        entry.stamps = rest.stamps;
        if dormant {
            self.session.sleep_until(id, next_announce);
            self.look_at_goal(id);
        } else {
            self.session.on_halted(now, id, finished);
            match unended {
                true => self.session.on_unended(id),
                false if in_doubt => self.session.on_doubt(id),
                false => {}
            }
            self.arrive_at_last(id);
        }
        // It was stopped between its completion and the word of it.
        if untold {
            self.tell_completion(id);
        }
        // Whoever waits was too early: the torrent wakes again if it may.
        if self.waking.contains_key(&id) {
            self.wake(id);
        }
    }
}

/// Whether every file that the piece is in exists.
fn is_there(info: &Info, piece: PieceIndex, stamps: &[Option<FileStamp>]) -> bool {
    let spans = info.spans(piece, 0, info.layout.piece_len(piece));
    let mut files = spans.map(|span| span.file.0 as usize);
    files.all(|file| {
        info.files.get(file).is_some_and(|file| file.pad) || matches!(stamps.get(file), Some(Some(_)))
    })
}
