//! Operations on one torrent that wait for disks: queued per torrent, one under way at a time, each in
//! a task of its own that gets what it needs and returns an [`Outcome`].
mod add;
mod check;
mod checkpoint;
mod cx;
mod hindrance;
mod live;
pub(super) mod metadata;
mod missing;
mod outcome;
pub(super) mod relocate;
mod remove;
pub(super) mod rename;
mod select;

pub(super) use add::{Born, Newborn};
pub(super) use cx::Cx;
pub(super) use outcome::{Outcome, Rest};
pub(super) use relocate::Placed;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{Instrument, Span};
use wgo_core::TorrentId;
use wgo_core::metadata::Candidate;
use wgo_core::session::Check;

use super::checking::{self, CheckProgress};
use super::save::report;
use super::{Driver, Entry};
use crate::files::{Done, Job, OpenError, SyncOutcome, TorrentFiles, TorrentSpec};
use crate::store::{Change, CheckKind, OwedCheck, Progress};

/// What can be asked of a torrent's lane.
#[derive(Debug)]
pub(super) enum Op {
    /// Make a new torrent durable.
    Add(Newborn),
    /// Hash what must be hashed.
    Check(Check),
    /// Keep that a full check is owed of which nothing is done.
    ForgetCheck,
    /// Do what is due of a move: its first half, its second, or undo it.
    Move,
    /// Get the files ready for other ones to be wanted.
    Select,
    /// Remove the part file, once it is saved that nothing in it is needed.
    DropParts { saved: oneshot::Receiver<Result<(), String>> },
    /// Give files the names that they are to have.
    Rename,
    /// Forget what was known to be on disk; a full check is owed.
    StartOver,
    /// See whether metadata that came whole is the torrent's.
    Examine(Candidate),
    /// It is: make it durable, and go on with it.
    Learn(Box<metadata::Learning>),
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
    /// Tell whoever stopped the torrent that all before this has ended.
    Tell(oneshot::Sender<Result<(), String>>),
    /// Remove the torrent.
    Remove { data: bool, reply: oneshot::Sender<Result<(), String>> },
}

impl Op {
    /// Whether it goes by the names of files on disk, which must be known then.
    pub(super) fn needs_names(&self) -> bool {
        matches!(self, Op::Check(_) | Op::GoLive | Op::Move | Op::Probe | Op::Select | Op::DropParts { .. })
    }
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
        names: cx.names(),
    };
    run_job(&cx.engine, |done| Job::Open { spec, done }).await
}

/// Lets go of a torrent's files.
async fn close(cx: &Cx, torrent: Arc<TorrentFiles>) {
    // What could not be synced is not had, or is read back by a check.
    let _synced: SyncOutcome = run_job(&cx.engine, |done| Job::Close { torrent, done }).await;
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
        let next = loop {
            // A rename that was not ended goes on first.
            let unclear = entry.renaming.is_some() && entry.live.is_none();
            let next = match entry.lane.front() {
                Some(op) if unclear && op.needs_names() => Some(Op::Rename),
                _ => entry.lane.pop_front(),
            };
            match next {
                // Whoever asked may have hung up.
                Some(Op::Tell(reply)) => drop(reply.send(Ok(()))),
                next => break next,
            }
        };
        if entry.lane.is_empty() {
            // Thousands of torrents have nothing to do, and keep no room for it.
            entry.lane = VecDeque::new();
        }
        let Some(op) = next else { return };
        entry.busy = true;
        entry.learns = matches!(op, Op::Learn(_));
        let Some(mut cx) = self.cx(id) else { return };
        if matches!(op, Op::GoLive | Op::Halt | Op::Remove { .. })
            && let Some(entry) = self.entries.get_mut(&id)
        {
            cx.trackers = entry.trackers.take().map(|memory| *memory);
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
            Op::Move => self.begin_relocation(id, cx),
            Op::Select => self.begin_selecting(id, cx),
            Op::DropParts { saved } => self.spawn(id, select::drop_parts(cx, saved)),
            Op::Rename => self.begin_rename(id, cx),
            Op::StartOver => {
                let store = self.engine.store.clone();
                let check = Some(Box::new(OwedCheck::anew(CheckKind::Full)));
                let nothing = Progress { check, completed_at: cx.completed_at, ..Progress::default() };
                self.spawn(id, async move {
                    report(store.put(vec![Change::Progress(id, nothing)]).await);
                    Outcome::StartedOver
                });
            }
            Op::Examine(candidate) => self.spawn(id, metadata::examine(cx, candidate)),
            Op::Learn(learning) => self.spawn(id, metadata::learn(cx, learning)),
            Op::GoLive => self.spawn(id, live::go_live(cx)),
            Op::GoDormant => self.spawn(id, live::go_dormant(cx)),
            Op::Halt => self.spawn(id, live::halt(cx)),
            Op::Checkpoint => self.spawn(id, checkpoint::run(cx)),
            Op::Probe => self.spawn(id, live::probe(cx)),
            Op::Add(newborn) => self.spawn(id, add::run(cx, newborn)),
            // Told above.
            Op::Tell(_) => self.spawn(id, async { Outcome::Done }),
            Op::Remove { data, reply } => {
                let other = cx.moving.as_ref().map(|moving| self.kept(id, &moving.other)).unwrap_or_default();
                let kept = remove::Kept { here: self.kept(id, &cx.folder), other };
                let settings = self.entries.get(&id).map(|entry| Box::new(entry.settings.clone()));
                let moves = settings.filter(|_| cx.moving.is_some());
                self.spawn(id, remove::run(cx, kept, data, moves, reply));
            }
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

    fn begin_selecting(&mut self, id: TorrentId, cx: Cx) {
        let wish = self.entries.get_mut(&id).and_then(|entry| {
            let wish = entry.wish.as_ref()?.files.clone();
            // They are closed, whether or not it comes to anything.
            entry.files = None;
            Some(wish)
        });
        match wish {
            Some(wish) => self.spawn(id, select::run(cx, wish)),
            // An earlier one did it.
            None => self.spawn(id, async { Outcome::Done }),
        }
    }

    pub(super) fn spawn(&mut self, id: TorrentId, work: impl Future<Output = Outcome> + Send + 'static) {
        let span = self.entries.get(&id).map_or_else(Span::none, Entry::span);
        let task = self.ops.spawn(async move { (id, work.await) }.instrument(span));
        self.op_of.insert(task.id(), id);
    }
}
