//! The thread that writes the stored log, and the queue to it.
//!
//! Storage threads only append to a vector under a leaf lock; the writer takes all of it at once, so
//! an entry reaches the kernel as soon as the thread runs, within a millisecond as a rule and
//! independently of commits, and a hung state directory stalls nobody's downloads. HAVE doesn't wait
//! for it: what is lost with the process costs a re-download.
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use wgo_core::TorrentId;
use wgo_proto::PieceIndex;

use super::record::Progress;
use super::stored_log::StoredLog;

/// Entries that wait for a writer that doesn't come (a hung state directory): 1.5 MiB. Beyond it
/// entries are dropped and counted, each at the cost of a re-download after a crash.
const MAX_WAITING: usize = 65_536;

/// The writer's stack: it calls nothing deep.
const STACK_BYTES: usize = 128 * 1024;

/// Something for the log to do, in order.
#[derive(Debug)]
pub(super) enum LogWork {
    /// A piece was written and hashed.
    Stored(TorrentId, PieceIndex),
    /// A piece turned out not to be there.
    Refuted(TorrentId, PieceIndex),
    /// A checkpoint was committed.
    Cover(TorrentId, Box<Progress>),
    /// A torrent was removed.
    Forget(TorrentId),
}

/// The way to the writer.
#[derive(Debug, Default)]
pub(super) struct LogQueue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// Pieces are bounded by `MAX_WAITING`; the rest comes from commits, a few at a time.
    work: Vec<LogWork>,
    dropped: u64,
    stop: bool,
}

impl LogQueue {
    /// Hands `work` over. Never waits for a disk.
    pub(super) fn push(&self, work: LogWork) {
        let mut inner = self.inner();
        if inner.work.len() >= MAX_WAITING && matches!(work, LogWork::Stored(..) | LogWork::Refuted(..)) {
            inner.dropped += 1;
            return;
        }
        inner.work.push(work);
        // Otherwise the writer has been woken already.
        if inner.work.len() == 1 {
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Entries dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.inner().dropped
    }

    /// Lets the writer finish what waits and end.
    pub(super) fn stop(&self) {
        self.inner().stop = true;
        self.wake.notify_one();
    }

    /// Nothing here can be half-changed by a panic.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, as soon as there is some; `None` when there won't be any more.
    fn take(&self) -> Option<Vec<LogWork>> {
        let inner = self.wake.wait_while(self.inner(), |inner| inner.work.is_empty() && !inner.stop);
        let mut inner = inner.unwrap_or_else(PoisonError::into_inner);
        let work = std::mem::take(&mut inner.work);
        (!work.is_empty()).then_some(work)
    }
}

/// Starts the writer.
pub(super) fn start(queue: Arc<LogQueue>, log: StoredLog) -> io::Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name("wgod-log".into()).stack_size(STACK_BYTES);
    builder.spawn(move || run(&queue, log))
}

fn run(queue: &LogQueue, mut log: StoredLog) {
    let mut failing = false;
    while let Some(work) = queue.take() {
        let result = perform(&mut log, work);
        if let (Err(error), false) = (&result, failing) {
            tracing::warn!(
                path = %log.path().display(), error,
                "cannot write the log of stored pieces: after a crash some would be downloaded again"
            );
        }
        failing = result.is_err();
    }
}

/// Does `work` in order, pieces that follow each other in one write.
pub(super) fn perform(log: &mut StoredLog, work: Vec<LogWork>) -> Result<(), String> {
    let mut stored = Vec::new();
    let mut covered = false;
    let mut result = Ok(());
    let append = |log: &mut StoredLog, stored: &mut Vec<_>, result: &mut Result<(), String>| {
        if let (false, Err(e)) = (stored.is_empty(), log.append(stored)) {
            *result = Err(e.to_string());
        }
        stored.clear();
    };
    for work in work {
        if let LogWork::Stored(id, piece) = work {
            stored.push((id, piece));
            continue;
        }
        append(log, &mut stored, &mut result);
        covered = true;
        match work {
            LogWork::Cover(id, progress) => log.cover(id, &progress),
            LogWork::Forget(id) => log.forget(id),
            LogWork::Refuted(id, piece) => log.refute(id, piece),
            LogWork::Stored(..) => {}
        }
    }
    append(log, &mut stored, &mut result);
    if covered && let Err(e) = log.shrink() {
        result = Err(e.to_string());
    }
    result
}
