//! The daemon's durable state: a redb database and the log of stored pieces, in the state directory.
//!
//! [`Store`] is the handle that tasks and storage threads share. Behind it one thread owns the
//! database (`worker`) and one the log (`log_thread`); all their file access goes through the
//! [`Disk`] seam. What the session may rely on:
//!
//! - [`Store::put`] returns when its changes are durable, all of them or, after an error, none or
//!   all. Requests that wait while a commit is under way share the next one.
//! - An error leaves the store usable: it opens the database anew, and what was acknowledged is there.
//! - A checkpoint is a `put` of [`Change::Progress`]: what it names must have been synced before.
//!   Before the first write to a torrent's files comes [`Change::Writing`].
//! - While a check is owed ([`Change::Check`]), the checkpoint below it says what was had before; the
//!   checkpoint that follows the check ends it.
//! - Each piece that was written and hashed goes to [`Store::log_stored`]; after an unclean end
//!   [`Recovery::suspect`] has those that no checkpoint covered.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};
use wgo_core::TorrentId;
use wgo_proto::PieceIndex;

use crate::files::Disk;

mod backend;
mod backup;
mod backups;
mod change;
mod codec;
mod database;
mod error;
mod fields;
mod here;
mod lock;
mod log_thread;
mod record;
mod recovery;
mod rewritten;
mod rows;
mod schema;
mod state_dir;
mod stored_log;
mod tables;
mod worker;

pub use backup::{Age, BackupError, Contents, Transfer, TransferError, is_due};
pub use backups::{RestoreError, restore_offline};
pub use change::Change;
pub use codec::RowError;
pub use error::{Quarantined, StoreError};
pub use here::StoreHere;
pub use record::{
    Awaited, CheckKind, Counters, FileStamp, FinalFolder, GoalReached, Have, Move, MoveStage, NewerFields,
    OwedCheck, Partial, Progress, Rename, Settings, TorrentFault, TorrentRecord, Totals, Wanted,
};
pub use recovery::{Loaded, Recovery};
pub use rewritten::{leave, recover, rewritten, rewritten_backup};

use backups::Backups;
use lock::DirLock;
pub use lock::make_state_dir;
use log_thread::{LogQueue, LogWork};
use worker::{Request, Worker};

/// Requests that wait for the store thread; beyond it callers wait for room.
const QUEUE_LEN: usize = 1024;

/// The store. Cheap to clone; all clones are one store.
///
/// When the last clone is dropped without [`Store::close`], the next start takes it for a crash.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// `None` only while the last handle is dropped.
    requests: Option<mpsc::Sender<Request>>,
    log: Arc<LogQueue>,
    commits: Arc<AtomicU64>,
    backups: Backups,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Takes possession of `dir`, which is made if it is missing, and opens the state in it. `socket`
    /// is what a second daemon is told; `keep` automatic backups are kept, of which 0 means none. Blocks: the
    /// database may need a repair.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        socket: &Path,
        keep: u32,
    ) -> Result<(Store, Loaded), StoreError> {
        let lock = DirLock::take(dir, socket)?;
        lock::make_dir(&dir.join(backup::FOLDER))?;
        if !dir.join(database::FILE).exists() {
            // Before anything is acknowledged that lies in it.
            lock::sync_way_to(dir)?;
        }
        let recovery::Opened { dir: state, database, log, loaded } =
            recovery::open(disk.clone(), dir, schema::MIGRATIONS, keep)
                .map_err(|error| backups::with_way_on(error, disk, dir))?;
        lock::make_private(&database.path())?;
        lock::make_private(&log.path())?;
        let queue = Arc::new(LogQueue::default());
        let no_thread = |e| StoreError::io("cannot start a thread for", dir, e);
        let log_writer = log_thread::start(queue.clone(), log).map_err(no_thread)?;
        let (sender, requests) = mpsc::channel(QUEUE_LEN);
        let commits = Arc::new(AtomicU64::new(0));
        let worker =
            Worker { database, requests, log: queue.clone(), log_writer, lock, commits: commits.clone() };
        let builder = thread::Builder::new().name("wgod-store".into());
        let thread = builder.spawn(move || worker.run()).map_err(|e| {
            queue.stop();
            no_thread(e)
        })?;
        let (thread, backups) = (Mutex::new(Some(thread)), Backups::new(state, keep));
        Ok((Store(Arc::new(Inner { requests: Some(sender), log: queue, commits, backups, thread })), loaded))
    }

    /// Calls `each` with every torrent, in order of id, a few in memory at a time. A torrent whose
    /// record can't be read comes as an error that names it; the others come all the same.
    pub async fn load(
        &self,
        mut each: impl FnMut(Result<TorrentRecord, Quarantined>),
    ) -> Result<(), StoreError> {
        let mut from = Some(TorrentId(0));
        while let Some(first) = from {
            let page = self.ask(|reply| Request::Page(first, reply)).await?;
            from = page.last().and_then(|rows| rows.id.0.checked_add(1)).map(TorrentId);
            page.into_iter().for_each(|rows| each(rows.decode()));
        }
        Ok(())
    }

    /// Commits `changes` together; durable on return. Goes on when the caller drops this.
    pub async fn put(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Put(changes, reply)).await
    }

    /// One torrent; `None` when it isn't in the store.
    pub async fn torrent(&self, id: TorrentId) -> Result<Option<TorrentRecord>, StoreError> {
        let page = self.ask(|reply| Request::Page(id, reply)).await?;
        let rows = page.first().filter(|rows| rows.id == id);
        Ok(rows.map(|rows| rows.decode()).transpose()?)
    }

    /// The raw `.torrent` of a torrent; `None` when it isn't known, as for a magnet at first.
    pub async fn metainfo(&self, id: TorrentId) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|reply| Request::Metainfo(id, reply)).await
    }

    /// Notes that a piece was written and its hash was right. Called by storage threads; never waits
    /// for a disk, and the HAVE needn't wait for it (see `log_thread`).
    pub fn log_stored(&self, id: TorrentId, piece: PieceIndex) {
        self.0.log.push(LogWork::Stored(id, piece));
    }

    /// Notes that a piece of [`Recovery::suspect`], or one noted as stored, was hashed and is bad.
    pub fn log_refuted(&self, id: TorrentId, piece: PieceIndex) {
        self.0.log.push(LogWork::Refuted(id, piece));
    }

    /// Commits what waits, marks the end as clean and gives the directory free. Everything after it
    /// fails with [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        let result = self.ask(Request::Close).await;
        // It answered as the last thing it did, or it has ended already.
        self.0.join();
        result
    }

    /// Leaves the store's thread behind, whose disk hangs: nobody waits for it any more, so the process can
    /// end. The next start takes it for a crash.
    pub fn let_go(&self) {
        drop(self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// What the store has done so far.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            commits: self.0.commits.load(Ordering::Relaxed),
            log_entries_dropped: self.0.log.dropped(),
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.0.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Inner {
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store thread panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.requests = None;
        self.join();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.stats()).finish()
    }
}

/// Counts since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Commits of `put` requests.
    pub commits: u64,
    /// Entries of the stored log that were dropped because the state directory hung.
    pub log_entries_dropped: u64,
}

#[cfg(test)]
mod tests;
