//! Operations on one torrent that wait for disks: queued per torrent, one under way at a time, each in
//! a task of its own that gets what it needs and returns an [`Outcome`].
mod check;
mod checkpoint;
mod live;
mod missing;
mod remove;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{Id as TaskId, JoinError};
use wgo_api::result::Added;
use wgo_core::TorrentId;
use wgo_core::session::{Check, Fault, FaultKind};
use wgo_core::swarm::TrackerMemory;
use wgo_proto::{Bitfield, PieceIndex};

use super::Driver;
use super::checking::{self, CheckProgress};
use crate::files::{Done, Job, OpenError, Preallocate};
use crate::files::{TorrentFiles, TorrentSpec};
use crate::store::{Change, CheckKind, Counters, FileStamp, OwedCheck, StoreError};
use crate::torrent::{Broken, Torrent};

/// What can be asked of a torrent's lane.
#[derive(Debug)]
pub(super) enum Op {
    /// Make a new torrent durable.
    Add { changes: Vec<Change>, check: Check, reply: oneshot::Sender<Added> },
    /// Hash what must be hashed.
    Check(Check),
    /// Keep that a full check is owed of which nothing is done.
    ForgetCheck,
    /// Make a Swarm.
    GoLive,
    /// Drop the Swarm of a torrent without work.
    GoDormant,
    /// End everything and drop the Swarm.
    Halt,
    /// Make durable what is stored.
    Checkpoint,
    /// See whether what stood in the way is gone.
    Probe,
    /// Remove the torrent.
    Remove { data: bool, reply: oneshot::Sender<Result<(), String>> },
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A check found these pieces.
    Checked {
        files: Arc<TorrentFiles>,
        have: Bitfield,
        unverified: Bitfield,
        stamps: Vec<Option<FileStamp>>,
        completed_at: Option<u64>,
    },
    /// A check was paused here.
    Paused(Box<OwedCheck>),
    /// A check was called off before it began.
    Cancelled,
    /// The torrent is live.
    Live { torrent: Arc<Torrent>, files: Arc<TorrentFiles>, writing: bool },
    /// The torrent has no Swarm any more; this is where it stood.
    Down { rest: Box<Rest>, dormant: bool },
    /// It was to sleep, but has work again.
    NotIdle,
    /// A checkpoint succeeded.
    Checkpointed {
        durable: Bitfield,
        stamps: Vec<Option<FileStamp>>,
        completed_at: Option<u64>,
        low_space: Option<Fault>,
    },
    /// A checkpoint failed.
    NotCheckpointed { fault: Fault },
    /// There was no Swarm to checkpoint.
    NoCheckpoint,
    /// What stood in the way is gone.
    Healed { files: Arc<TorrentFiles> },
    /// What stood in the way is gone, and the files are not what they were.
    Changed,
    /// Something stands in the way.
    Faulted(Fault),
    /// A new torrent is durable, or could not be made so.
    Added { check: Check, result: Result<(), String>, reply: oneshot::Sender<Added> },
    /// It is gone.
    Removed { result: Result<(), String>, counters: Counters, reply: oneshot::Sender<Result<(), String>> },
    /// Nothing to report.
    Done,
}

/// Where a torrent stood when its Swarm was dropped.
#[derive(Debug)]
pub(super) struct Rest {
    pub have: Bitfield,
    pub unverified: Bitfield,
    pub partials: Vec<(PieceIndex, Bitfield)>,
    pub counters: Counters,
    pub stamps: Vec<Option<FileStamp>>,
    pub durable: bool,
    pub completed_at: Option<u64>,
    pub next_announce: Option<wgo_core::Time>,
    pub trackers: Option<TrackerMemory>,
}

/// Finds the torrent's files, or why it can't.
async fn open_files(cx: &Cx) -> Result<Arc<TorrentFiles>, OpenError> {
    if let Some(files) = &cx.files {
        return Ok(files.clone());
    }
    let spec = TorrentSpec {
        id: cx.id,
        info: cx.info.clone(),
        folder: cx.folder.clone(),
        writes: cx.writes,
        preallocate: cx.preallocate,
    };
    run_job(&cx.engine, |done| Job::Open { spec, done }).await
}

/// Runs a job and waits for its outcome.
pub(super) async fn run_job<T: crate::files::Unfinished + Send + 'static>(
    engine: &crate::engine::Engine,
    job: impl FnOnce(Done<T>) -> Job,
) -> T {
    let (sender, receiver) = oneshot::channel();
    // Whoever asked may be gone.
    engine.storage.submit_now(job(Done::new(move |outcome| drop(sender.send(outcome)))));
    receiver.await.unwrap_or_else(|_| T::unfinished())
}

/// What every operation gets: a copy of what it needs of its entry.
pub(super) struct Cx {
    engine: Arc<crate::engine::Engine>,
    id: TorrentId,
    info: Arc<wgo_proto::metainfo::Info>,
    folder: std::path::PathBuf,
    files: Option<Arc<TorrentFiles>>,
    live: Option<Arc<Torrent>>,
    have: Bitfield,
    durable: Bitfield,
    unverified: Bitfield,
    partials: Vec<(PieceIndex, Bitfield)>,
    stamps: Vec<Option<FileStamp>>,
    suspects: Vec<PieceIndex>,
    owed: Option<OwedCheck>,
    writing: bool,
    writes: bool,
    completed_at: Option<u64>,
    counters: Counters,
    preallocate: Preallocate,
    min_free_space: u64,
    max_peers: u32,
    tiers: Vec<Vec<String>>,
    user_peers: Vec<std::net::SocketAddr>,
    sequential: bool,
    hashes: wgo_proto::InfoHashes,
    seed: u64,
    /// What the trackers know of a torrent that sleeps; only for operations that wake or end it.
    trackers: Option<TrackerMemory>,
}

impl Driver {
    /// Queues an operation, and begins it if the lane is free.
    pub(super) fn push_op(&mut self, id: TorrentId, op: Op) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.lane.push_back(op);
            self.next_op(id);
        }
    }

    fn next_op(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.busy {
            return;
        }
        let Some(op) = entry.lane.pop_front() else { return };
        entry.busy = true;
        let Some(mut cx) = self.cx(id) else { return };
        if matches!(op, Op::GoLive | Op::Halt | Op::Remove { .. })
            && let Some(entry) = self.entries.get_mut(&id)
        {
            cx.trackers = entry.trackers.take();
        }
        match op {
            Op::Check(check) => self.begin_check(id, cx, check),
            Op::ForgetCheck => {
                let store = self.engine.store.clone();
                let change = Change::Check(id, Box::new(OwedCheck::anew(CheckKind::Full)));
                self.spawn(id, async move {
                    report(store.put(vec![change]).await);
                    Outcome::Done
                });
            }
            Op::GoLive => self.spawn(id, live::go_live(cx)),
            Op::GoDormant => self.spawn(id, live::go_dormant(cx)),
            Op::Halt => self.spawn(id, live::halt(cx)),
            Op::Checkpoint => self.spawn(id, checkpoint::run(cx)),
            Op::Probe => self.spawn(id, live::probe(cx)),
            Op::Add { changes, check, reply } => {
                let store = self.engine.store.clone();
                self.spawn(id, async move {
                    let result = store.put(changes).await.map_err(|error| error.to_string());
                    Outcome::Added { check, result, reply }
                });
            }
            Op::Remove { data, reply } => self.spawn(id, remove::run(cx, data, reply)),
        }
    }

    fn begin_check(&mut self, id: TorrentId, mut cx: Cx, check: Check) {
        // The session asks for no check that hashes nothing.
        let kind = checking::kind_of(check).unwrap_or(CheckKind::Suspects);
        cx.owed = cx.owed.filter(|owed| checking::continues(kind, owed));
        let kind = cx.owed.as_ref().map_or(kind, |owed| owed.kind);
        let progress = CheckProgress::new(kind, cx.owed.as_ref(), &cx.have);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.check = Some(progress.clone());
            // The check closes them.
            entry.files = None;
        }
        self.spawn(id, check::run(cx, kind, progress));
    }

    fn spawn(&mut self, id: TorrentId, work: impl Future<Output = Outcome> + Send + 'static) {
        let task = self.ops.spawn(async move { (id, work.await) });
        self.op_of.insert(task.id(), id);
    }

    fn cx(&self, id: TorrentId) -> Option<Cx> {
        let entry = self.entries.get(&id)?;
        Some(Cx {
            engine: self.engine.clone(),
            id,
            info: entry.info.clone(),
            folder: entry.settings.folder.clone(),
            files: entry.files.clone(),
            live: entry.live.clone(),
            have: entry.have.clone(),
            durable: entry.durable.clone(),
            unverified: entry.unverified.clone(),
            partials: entry.partials.clone(),
            stamps: entry.stamps.clone(),
            suspects: entry.suspects.clone(),
            owed: entry.owed.clone(),
            writing: entry.writing,
            writes: !entry.is_complete(),
            completed_at: entry.completed_at,
            counters: entry.counters.clone(),
            preallocate: self.tunables.preallocate,
            min_free_space: self.tunables.min_free_space,
            max_peers: self.tunables.max_peers_per_torrent,
            tiers: entry.tiers.clone(),
            user_peers: entry.settings.user_peers.clone(),
            sequential: entry.settings.sequential,
            hashes: entry.settings.hashes,
            seed: self.seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            trackers: None,
        })
    }

    /// An operation ended: its outcome becomes state, then the lane goes on.
    pub(super) fn on_op(&mut self, ended: Result<(TaskId, (TorrentId, Outcome)), JoinError>) {
        let (task, outcome) = match ended {
            Ok((task, (_, outcome))) => (task, Some(outcome)),
            Err(error) => {
                tracing::error!(%error, "an operation ended by a defect");
                (error.id(), None)
            }
        };
        let Some(id) = self.op_of.remove(&task) else { return };
        let mut cancelled = None;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.busy = false;
            cancelled = entry.check.take().filter(|check| check.is_cancelled());
        }
        match (outcome, cancelled) {
            (Some(outcome), Some(check)) => self.take_cancelled(id, outcome, &check),
            (Some(outcome), None) => self.take_outcome(id, outcome),
            (None, _) => self.op_failed(id),
        }
        self.touch();
        self.next_op(id);
    }

    /// A check was called off: how far it came is kept for the next one, unless that begins anew.
    fn take_cancelled(&mut self, id: TorrentId, outcome: Outcome, check: &CheckProgress) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let owed = match outcome {
            Outcome::Paused(owed) => Some(*owed),
            // It ended by itself just before, and nobody waits for that any more.
            Outcome::Checked { files, .. } => {
                entry.files = Some(files);
                Some(check.owed())
            }
            _ => None,
        };
        if owed.is_some() && !check.is_forgotten() {
            entry.owed = owed;
        }
    }

    /// An operation of the torrent panicked: what it was doing is unknown, so the torrent is taken down.
    /// One that was being added or removed is forgotten; whoever asked gets no answer.
    fn op_failed(&mut self, id: TorrentId) {
        match self.entries.get(&id) {
            Some(entry) if entry.leaving => drop(self.forget(id)),
            _ => self.fault(id, Fault { kind: FaultKind::Broken, message: Broken.to_string() }),
        }
    }

    fn take_outcome(&mut self, id: TorrentId, outcome: Outcome) {
        let now = self.engine.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match outcome {
            Outcome::Checked { files, have, unverified, stamps, completed_at } => {
                entry.unverified = unverified;
                entry.completed_at = completed_at;
                entry.partials.retain(|(piece, _)| !have.get(piece.0));
                let complete = have.is_full();
                entry.files = Some(files);
                entry.durable = have.clone();
                entry.have = have;
                entry.stamps = stamps;
                entry.watch_files();
                entry.suspects.clear();
                entry.owed = None;
                entry.writing = false;
                self.session.on_checked(now, id, complete);
            }
            Outcome::Live { torrent, files, writing } => {
                entry.files = Some(files);
                entry.writing = writing;
                entry.live = Some(torrent.clone());
                for waiter in self.waking.remove(&id).into_iter().flatten() {
                    // The connection may be gone.
                    let _ = waiter.send(Some(torrent.clone()));
                }
                self.session.on_live(now);
                // It may have failed before it was known here.
                self.on_broken(id);
            }
            Outcome::Down { rest, dormant } => self.on_down(id, *rest, dormant),
            Outcome::Checkpointed { durable, stamps, completed_at, low_space } => {
                entry.writing = !durable.is_full();
                if durable.is_full() {
                    entry.have = durable.clone();
                }
                entry.durable = durable;
                entry.stamps = stamps;
                entry.watch_files();
                entry.completed_at = completed_at;
                self.session.on_checkpointed(now, id, true);
                if let Some(fault) = low_space {
                    self.fault(id, fault);
                }
            }
            Outcome::NotCheckpointed { fault } => {
                let finished =
                    entry.live.as_ref().map(|live| live.call(|swarm, now| swarm.view(now).finished));
                if finished.is_some_and(|finished| finished == Ok(false)) {
                    self.session.on_lost(now, id);
                }
                self.session.on_checkpointed(now, id, false);
                self.fault(id, fault);
            }
            Outcome::NoCheckpoint => self.session.on_checkpointed(now, id, false),
            Outcome::Healed { files } => {
                entry.files = Some(files);
                self.session.on_healed(now, id);
            }
            Outcome::Changed => self.changed(id, "they were changed while they could not be read"),
            Outcome::Faulted(fault) => {
                self.waking.remove(&id);
                self.fault(id, fault);
            }
            Outcome::Added { check, result, reply } => self.on_added(id, check, result, reply),
            Outcome::NotIdle => self.session.wake(now, id),
            Outcome::Removed { result, counters, reply } => self.on_removed(id, result, &counters, reply),
            // Only the end of the daemon ends a check that nobody called off.
            Outcome::Paused(_) | Outcome::Cancelled | Outcome::Done => {}
        }
    }

    /// The torrent has no Swarm any more.
    fn on_down(&mut self, id: TorrentId, rest: Rest, dormant: bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let finished = rest.have.is_full();
        entry.live = None;
        entry.completed_at = rest.completed_at;
        entry.unverified = rest.unverified;
        entry.trackers = rest.trackers;
        if rest.durable {
            entry.durable = rest.have.clone();
            entry.writing = false;
        }
        entry.have = rest.have;
        entry.partials = rest.partials;
        entry.counters = rest.counters;
        entry.stamps = rest.stamps;
        if dormant {
            self.session.sleep_until(id, rest.next_announce);
        } else {
            self.session.on_halted(self.engine.clock.now(), id, finished);
        }
        // Whoever waits was too early: the torrent wakes again if it may.
        if self.waking.contains_key(&id) {
            self.wake(id);
        }
    }
}

/// A store that does not take what is not vital: the log says so, the next time tries again.
fn report(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "not saved; it is tried again with the next change");
    }
}
