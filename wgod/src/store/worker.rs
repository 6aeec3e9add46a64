//! The thread that owns the database: takes requests, groups them into commits, answers.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use wgo_core::TorrentId;

use super::StoreError;
use super::change::Change;
use super::database::Database;
use super::lock::DirLock;
use super::log_thread::{LogQueue, LogWork};
use super::tables::{self, StoredRows, Tables};

/// A commit takes in waiting requests until their changes are about this large: it bounds the memory
/// that a commit takes and the wait of its first request.
const MAX_COMMIT_BYTES: usize = 8 << 20;

/// Torrents of one page while loading: about this many bytes of rows.
const PAGE_BYTES: usize = 256 << 10;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a handle asks of the thread. A caller that hung up is no reason not to do it.
#[derive(Debug)]
pub(super) enum Request {
    Put(Vec<Change>, Reply<()>),
    Metainfo(TorrentId, Reply<Option<Vec<u8>>>),
    Page(TorrentId, Reply<Vec<StoredRows>>),
    /// Begins a backup → its number.
    Export {
        /// It is of use as long as somebody else holds this.
        wanted: Arc<()>,
        /// Unix seconds.
        created_at: u64,
        /// Number of an automatic one, else 0.
        serial: u64,
        reply: Reply<u64>,
    },
    /// The next bytes of a backup; `None` after the last.
    ExportPage(u64, Reply<Option<Vec<u8>>>),
    Close(Reply<()>),
}

/// What the thread owns.
pub(super) struct Worker {
    pub(super) database: Database,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) log: Arc<LogQueue>,
    pub(super) log_writer: JoinHandle<()>,
    pub(super) lock: DirLock,
    pub(super) commits: Arc<AtomicU64>,
}

impl Worker {
    /// Serves requests until one closes the store or the last handle is dropped.
    pub(super) fn run(mut self) {
        let mut failing = false;
        let closer = loop {
            let Some(first) = self.requests.blocking_recv() else { break None };
            let Group { puts, reads, close } = self.gather(first);
            if !puts.is_empty() {
                let result = self.commit(puts);
                self.note(&mut failing, result.err());
            }
            for read in reads {
                self.serve(read);
            }
            self.database.drop_unwanted_exports();
            if close.is_some() {
                break close;
            }
        };
        let result = match closer {
            Some(_) => self.database.commit(tables::end_run).and_then(|()| self.database.close()),
            None => self.database.close(),
        };
        self.log.stop();
        if self.log_writer.join().is_err() {
            tracing::error!("the writer of the stored log panicked");
        }
        // Whoever asked may open the directory again as soon as it is answered.
        drop(self.lock);
        drop(self.requests);
        match (closer, result) {
            (Some(reply), result) => drop(reply.send(result)),
            (None, Err(error)) => tracing::warn!(%error, "the store was dropped and cannot be closed"),
            (None, Ok(())) => {}
        }
    }

    /// Everything that waits, up to the size of a commit.
    fn gather(&mut self, first: Request) -> Group {
        let mut group = Group::default();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Put(changes, reply) => {
                    bytes += changes.iter().map(Change::weight).sum::<usize>();
                    group.puts.push((changes, reply));
                }
                Request::Close(reply) => {
                    group.close = Some(reply);
                    break;
                }
                read => group.reads.push(read),
            }
            next = if bytes < MAX_COMMIT_BYTES { self.requests.try_recv().ok() } else { None };
        }
        group
    }

    fn commit(&mut self, puts: Vec<(Vec<Change>, Reply<()>)>) -> Result<(), StoreError> {
        let (changes, replies): (Vec<_>, Vec<_>) = puts.into_iter().unzip();
        let result = write(&mut self.database, changes.iter().flatten());
        if result.is_ok() {
            self.commits.fetch_add(1, Ordering::Relaxed);
            changes.into_iter().flatten().filter_map(log_work).for_each(|work| self.log.push(work));
        }
        for reply in replies {
            // Whoever hung up doesn't want to know.
            drop(reply.send(result.clone()));
        }
        result
    }

    /// Logs when commits begin to fail and when they work again, once each.
    fn note(&self, failing: &mut bool, error: Option<StoreError>) {
        match (&error, *failing) {
            (Some(error), false) => tracing::error!(%error, "nothing can be stored"),
            (None, true) => tracing::info!(path = %self.database.path().display(), "storing works again"),
            _ => {}
        }
        *failing = error.is_some();
    }

    fn serve(&mut self, read: Request) {
        match read {
            Request::Metainfo(id, reply) => {
                drop(reply.send(self.database.read(|txn| tables::metainfo(txn, id))));
            }
            Request::Page(from, reply) => {
                drop(reply.send(self.database.read(|txn| tables::page(txn, from, PAGE_BYTES))));
            }
            Request::Export { wanted, created_at, serial, reply } => {
                drop(reply.send(self.database.begin_export(&wanted, created_at, serial)));
            }
            Request::ExportPage(number, reply) => drop(reply.send(self.database.next_page(number))),
            // `gather` has taken these.
            Request::Put(..) | Request::Close(_) => {}
        }
    }
}

/// Requests that are served together: one commit, then the reads, which thereby see it.
#[derive(Default)]
struct Group {
    puts: Vec<(Vec<Change>, Reply<()>)>,
    reads: Vec<Request>,
    close: Option<Reply<()>>,
}

/// Commits changes, in order and together.
pub(super) fn write<'c>(
    database: &mut Database,
    changes: impl Iterator<Item = &'c Change>,
) -> Result<(), StoreError> {
    database.commit(|txn| {
        let mut tables = Tables::open(txn)?;
        let mut changes = changes;
        changes.try_for_each(|change| tables.apply(change))
    })
}

/// What a committed change means for the stored log.
pub(super) fn log_work(change: Change) -> Option<LogWork> {
    match change {
        Change::Progress(id, progress) => Some(LogWork::Cover(id, Box::new(progress))),
        Change::Torrent(record) => Some(LogWork::Cover(record.id, Box::new(record.progress))),
        Change::Remove(id) => Some(LogWork::Forget(id)),
        _ => None,
    }
}
