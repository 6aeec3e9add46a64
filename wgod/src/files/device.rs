//! One device: its queue of jobs and the threads that do them.
//!
//! Threads are started when there is work and end when there was none for a while. A device that
//! hangs holds its own threads and queue and nobody else's.
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::check::{Check, Claim};
use super::gather::{Gather, go_together};
use super::job::{self, Job};
use super::piece::{Storing, store_each};
use super::torrent::Context;

/// Payload jobs that wait for a device at most. Peers that have more wait for room, and TCP makes
/// theirs wait; so the blocks they hold stay within the memory that was leased to them.
const MAX_WAITING: usize = 64;
/// A thread without work ends after this long.
const IDLE: Duration = Duration::from_secs(30);

/// What a device is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Its number (`st_dev`).
    pub device: u64,
    /// Jobs that wait.
    pub waiting: usize,
    /// Checks under way.
    pub checks: usize,
    /// Jobs being done.
    pub running: usize,
    /// How long the oldest of them has been running: far more than a second means that it hangs.
    pub oldest: Option<Duration>,
}

/// The queue. Shared by its threads and those who submit.
#[derive(Debug)]
pub(super) struct Device {
    number: u64,
    max_threads: usize,
    /// Slow checks read in one sequence.
    rotational: bool,
    cx: Arc<Context>,
    /// One permit for each payload job that may wait.
    room: Arc<Semaphore>,
    state: Mutex<State>,
    work: Condvar,
    /// Told whenever a thread ends.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Payload jobs, bounded by permits, and control jobs, of which each torrent has few.
    jobs: VecDeque<Waiting>,
    /// Pieces that wait for others to be hashed with; then they are jobs like the others.
    gather: Gather<Waiting>,
    /// At most one for each torrent. Done when no job waits, and one batch after each few jobs.
    checks: VecDeque<Arc<Check>>,
    /// Batches of checks that threads are at.
    batches: usize,
    /// Jobs done since the last batch of a check.
    jobs_since_batch: usize,
    /// When each thread began what it is doing; `None` when it waits for work.
    threads: Vec<(u64, Option<Instant>)>,
    next_thread: u64,
    stopping: bool,
}

/// A job, and its permit if it is for payload.
type Waiting = (Job, Option<OwnedSemaphorePermit>);

/// After so many jobs a check gets its turn, however many jobs wait.
const JOBS_PER_BATCH: usize = 16;

enum Work {
    Job(Job),
    Stores(Vec<Storing>),
    Prepare(Arc<Check>),
    /// With how many threads are at the check.
    Batch(Arc<Check>, std::ops::Range<usize>, usize),
}

impl Device {
    pub(super) fn new(number: u64, max_threads: usize, cx: Arc<Context>) -> Arc<Device> {
        Arc::new(Device {
            number,
            max_threads: max_threads.max(1),
            rotational: cx.disk.disk().is_rotational(number),
            cx,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            state: Mutex::default(),
            work: Condvar::new(),
            ended: Notify::new(),
        })
    }

    /// Room for one payload job; waits while the queue is full.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is closed when the device stops: then the job is refused anyway.
        self.room.clone().acquire_owned().await.ok()
    }

    /// Puts a job in the queue; drops it, which ends it, when the device is stopping.
    pub(super) fn push(self: &Arc<Device>, job: Job, room: Option<OwnedSemaphorePermit>) {
        let mut state = self.lock();
        if state.stopping {
            drop(state);
            return drop(job);
        }
        match job {
            Job::Check(check) => state.checks.push_back(check),
            Job::Store { ref blocks, .. } => {
                let len = blocks.len();
                state.gather.push(Instant::now(), (job, room), len);
            }
            job => state.jobs.push_back((job, room)),
        }
        self.wake(state);
    }

    /// Lets a thread see that work waits, starting one if too few are idle.
    fn wake(self: &Arc<Device>, mut state: MutexGuard<'_, State>) {
        let idle = state.threads.iter().filter(|(_, busy)| busy.is_none()).count();
        if idle < state.waiting() + state.checks.len() && state.threads.len() < self.max_threads {
            let id = state.next_thread;
            let device = self.clone();
            let thread = std::thread::Builder::new().name(format!("disk-{:x}", self.number));
            match thread.spawn(move || device.work(id)) {
                Ok(_) => {
                    state.next_thread += 1;
                    state.threads.push((id, None));
                }
                // With another thread the job waits for that; with none it waits for the next one.
                Err(error) => tracing::error!(%error, "cannot start a storage thread"),
            }
        }
        drop(state);
        self.work.notify_one();
    }

    /// A storage thread, from start to end.
    fn work(self: Arc<Device>, id: u64) {
        while let Some(work) = self.next(id) {
            job::contain(|| self.perform(work));
        }
        self.ended.notify_one();
    }

    fn perform(self: &Arc<Device>, work: Work) {
        match work {
            Work::Job(job) => job::run(&self.cx, job),
            Work::Stores(pieces) => store_each(pieces),
            Work::Batch(check, batch, threads) => {
                let _counted = InBatch(self);
                check.run(batch, threads, self.rotational && check.is_slow());
            }
            Work::Prepare(check) => {
                check.prepare();
                self.push(Job::Check(check), None);
            }
        }
    }

    /// The next work of thread `id`; `None` when it is to end.
    fn next(self: &Arc<Device>, id: u64) -> Option<Work> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(work) = state.take(now, self.rotational) {
                state.mark(id, Some(now));
                if state.waiting() > 0 || !state.checks.is_empty() {
                    self.wake(state);
                }
                return Some(work);
            }
            state.mark(id, None);
            if state.stopping {
                state.threads.retain(|(thread, _)| *thread != id);
                return None;
            }
            let due = state.gather.due();
            let patience = due.map_or(IDLE, |due| due.saturating_duration_since(now));
            let waited = self.work.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            // One that waited for a gathering to be due was not idle for long.
            if due.is_none() && waited.1.timed_out() && state.waiting() == 0 && state.checks.is_empty() {
                state.threads.retain(|(thread, _)| *thread != id);
                return None;
            }
        }
    }

    /// Takes no more jobs and lets the waiting ones be done, checks excepted.
    pub(super) fn begin_stop(&self) {
        self.room.close();
        let mut state = self.lock();
        state.stopping = true;
        let pieces = state.gather.take();
        state.jobs.extend(pieces);
        let checks = std::mem::take(&mut state.checks);
        drop(state);
        drop(checks);
        self.work.notify_all();
    }

    /// Waits until all threads have ended.
    pub(super) async fn stopped(&self) {
        while !self.lock().threads.is_empty() {
            self.ended.notified().await;
        }
    }

    /// Drops the jobs that a hung device will never do.
    pub(super) fn give_up(&self) {
        let jobs = std::mem::take(&mut self.lock().jobs);
        drop(jobs);
    }

    pub(super) fn status(&self) -> DeviceStatus {
        let state = self.lock();
        let running = state.threads.iter().filter_map(|(_, busy)| *busy);
        DeviceStatus {
            device: self.number,
            waiting: state.waiting(),
            checks: state.checks.len(),
            running: running.clone().count(),
            oldest: running.min().map(|since| since.elapsed()),
        }
    }

    /// Queues are whole whenever the lock is let go, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn mark(&mut self, id: u64, busy: Option<Instant>) {
        if let Some(thread) = self.threads.iter_mut().find(|(thread, _)| *thread == id) {
            thread.1 = busy;
        }
    }

    /// Jobs that wait, the gathering ones included.
    fn waiting(&self) -> usize {
        self.jobs.len() + self.gather.len()
    }

    /// The next work. Of `rotational` devices one thread at a time does a check that finds them slow.
    fn take(&mut self, now: Instant, rotational: bool) -> Option<Work> {
        if self.gather.is_ready(now) {
            let pieces = self.gather.take();
            self.jobs.extend(pieces);
        }
        let alone = |check: &Arc<Check>| rotational && check.is_slow();
        let may_check = self.batches == 0 || !self.checks.front().is_some_and(alone);
        let check_waits = may_check && self.jobs_since_batch >= JOBS_PER_BATCH && !self.checks.is_empty();
        if !check_waits && let Some(work) = self.take_job() {
            return Some(work);
        }
        self.jobs_since_batch = 0;
        while may_check && let Some(check) = self.checks.pop_front() {
            match check.claim() {
                // Put back when that is done.
                Claim::Prepare => return Some(Work::Prepare(check)),
                // Other threads join in, and other checks get their turn.
                Claim::Batch(batch) => {
                    self.checks.push_back(check.clone());
                    self.batches += 1;
                    return Some(Work::Batch(check, batch, self.batches));
                }
                Claim::Nothing => {}
            }
        }
        self.take_job()
    }

    /// The first job; pieces that wait behind one another are stored together.
    fn take_job(&mut self) -> Option<Work> {
        let (job, _room) = self.jobs.pop_front()?;
        self.jobs_since_batch += 1;
        let first = match storing(job) {
            Ok(piece) => piece,
            Err(job) => return Some(Work::Job(job)),
        };
        let lanes = wgo_hash::lanes();
        let mut held = first.blocks.len();
        let mut pieces = vec![first];
        while let Some((Job::Store { blocks, .. }, _)) = self.jobs.front()
            && go_together(pieces.len() + 1, held + blocks.len(), lanes)
        {
            held += blocks.len();
            let next = self.jobs.pop_front().and_then(|(job, _room)| storing(job).ok());
            pieces.extend(next);
        }
        self.jobs_since_batch += pieces.len() - 1;
        Some(Work::Stores(pieces))
    }
}

/// A thread that is at a batch, which is over when this is dropped.
struct InBatch<'a>(&'a Device);

impl Drop for InBatch<'_> {
    fn drop(&mut self) {
        self.0.lock().batches -= 1;
    }
}

/// The piece to be stored, if that is the job.
fn storing(job: Job) -> Result<Storing, Job> {
    match job {
        Job::Store { torrent, piece, blocks, witness, done } => {
            Ok(Storing { torrent, piece, blocks, witness, done })
        }
        other => Err(other),
    }
}
