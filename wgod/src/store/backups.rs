//! The store's side of backups: each runs on a thread of its own, which asks the store's for a page at a
//! time, so that commits go on meanwhile, and a slow disk under the file holds up nothing else.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot};
use wgo_core::TorrentId;

use super::backup::{self, BackupError, Contents, Pages, Slots, Transfer, TransferError, Transfers, restore};
use super::lock::{self, DirLock};
use super::state_dir::StateDir;
use super::worker::Request;
use super::{Store, StoreError, schema};
use crate::clock::unix_now;
use crate::files::Disk;

/// Backups that are made, read, written or loaded at a time; more of them take turns.
const TURNS: usize = 2;

/// What the store keeps for backups.
#[derive(Debug)]
pub(super) struct Backups {
    pub(super) dir: StateDir,
    /// Automatic ones to keep; 0: none are made.
    pub(super) keep: AtomicU32,
    pub(super) transfers: Transfers,
    pub(super) turns: Arc<Semaphore>,
    /// Held while a database is made of a backup.
    pub(super) restoring: Mutex<()>,
}

impl Backups {
    pub(super) fn new(dir: StateDir, keep: u32) -> Backups {
        let turns = Arc::new(Semaphore::new(TURNS));
        Backups {
            dir,
            keep: AtomicU32::new(keep),
            transfers: Transfers::default(),
            turns,
            restoring: Mutex::default(),
        }
    }
}

impl Store {
    /// How many automatic backups to keep; 0 makes none and leaves those there are.
    pub fn keep_backups(&self, keep: u32) {
        self.0.backups.keep.store(keep, Ordering::Relaxed);
    }

    /// Whether automatic backups are to be made.
    pub fn keeps_backups(&self) -> bool {
        self.0.backups.keep.load(Ordering::Relaxed) > 0
    }

    /// When the newest automatic backup was made, in Unix seconds by the wall clock of then; `None` where
    /// there is none.
    pub async fn newest_backup(&self) -> Result<Option<u64>, StoreError> {
        self.aside(|store| Slots::open(&store.0.backups.dir)?.newest()).await
    }

    /// Makes an automatic backup, and removes those that are too many. Returns its path.
    pub async fn back_up(&self) -> Result<PathBuf, StoreError> {
        self.aside(|store| {
            let Backups { dir, keep, .. } = &store.0.backups;
            // It may have been removed since the start.
            lock::make_dir(&dir.path_of(backup::FOLDER))?;
            let keep = keep.load(Ordering::Relaxed);
            let path = Slots::open(dir)?.add(keep, |serial| store.pages(serial))?;
            lock::make_private(&path)?;
            Ok(path)
        })
        .await
    }

    /// Makes a backup for a caller of the API to fetch by parts.
    pub async fn export(&self) -> Result<(Transfer, Contents), TransferError> {
        self.aside(|store| {
            let Backups { dir, transfers, .. } = &store.0.backups;
            let mut held = transfers.begin(dir, lock::make_private_file)?;
            let contents = backup::fill(dir, &mut held, store.pages(0)?)?;
            let transfer = held.transfer();
            transfers.keep(held);
            Ok((transfer, contents))
        })
        .await
    }

    /// A part of a transfer from `offset` on; empty at its end, where it is given up.
    pub async fn read_transfer(&self, id: String, offset: u64) -> Result<Vec<u8>, TransferError> {
        self.aside(move |store| {
            let Backups { dir, transfers, .. } = &store.0.backups;
            let held = transfers.take(&id)?;
            let part = backup::read_part(dir, &held, offset);
            if part.as_ref().map_or(true, |part| !part.is_empty()) {
                transfers.keep(held);
            }
            Ok(part?)
        })
        .await
    }

    /// Appends a part to a transfer, which `None` begins.
    pub async fn append_transfer(
        &self,
        id: Option<String>,
        offset: u64,
        part: Vec<u8>,
    ) -> Result<Transfer, TransferError> {
        self.aside(move |store| {
            let Backups { dir, transfers, .. } = &store.0.backups;
            let mut held = match id {
                Some(id) => transfers.take(&id)?,
                None => transfers.begin(dir, lock::make_private_file)?,
            };
            let appended = backup::append_part(dir, &mut held, offset, part);
            let transfer = held.transfer();
            transfers.keep(held);
            appended.map(|()| transfer)
        })
        .await
    }

    /// What a transfer holds, all of which is checked.
    pub async fn inspect(&self, id: String) -> Result<Contents, TransferError> {
        self.aside(move |store| {
            let Backups { dir, transfers, .. } = &store.0.backups;
            let held = transfers.take(&id)?;
            let contents = backup::verify_held(dir, &held);
            transfers.keep(held);
            Ok(contents?)
        })
        .await
    }

    /// Makes a database of a transfer, which the next start takes in place of this one, and then calls
    /// `when_staged`. Returns what is in it, and where the present one will be kept.
    pub async fn restore(
        &self,
        id: String,
        when_staged: impl FnOnce() + Send + 'static,
    ) -> Result<(Contents, PathBuf), TransferError> {
        self.aside(move |store| {
            let Backups { dir, transfers, .. } = &store.0.backups;
            let held = transfers.take(&id)?;
            // They make the same file. It guards nothing that a panic could leave half-changed.
            let _turn = store.0.backups.restoring.lock().unwrap_or_else(PoisonError::into_inner);
            let stage = || {
                backup::verify_held(dir, &held)?;
                lock::make_private_file(&dir.path_of(restore::RESTORING))?;
                backup::stage_held(dir, &held, schema::MIGRATIONS)
            };
            match stage() {
                Ok(contents) => {
                    when_staged();
                    Ok((contents, dir.path_of(restore::BEFORE)))
                }
                Err(error) => {
                    transfers.keep(held);
                    Err(error)
                }
            }
        })
        .await
    }

    /// Whether it holds no torrent, so that a backup would only push a better one out.
    pub async fn is_empty(&self) -> bool {
        let page = self.ask(|reply| Request::Page(TorrentId(0), reply)).await;
        page.is_ok_and(|page| page.is_empty())
    }

    /// An error that keeps the daemon from starting, with what to do about it.
    pub async fn explain(&self, error: StoreError) -> StoreError {
        if error.damage().is_none() {
            return error;
        }
        let unexplained = error.clone();
        let explained: Result<_, StoreError> = self
            .aside(move |store| {
                let dir = &store.0.backups.dir;
                Ok(with_way_on(error, dir.disk().disk().clone(), &dir.path_of("")))
            })
            .await;
        explained.unwrap_or(unexplained)
    }

    /// Gives up transfers that nobody asks for any more.
    pub fn drop_idle_transfers(&self) {
        self.0.backups.transfers.drop_idle(Instant::now());
    }

    /// The bytes of a backup of what is committed now. To be called outside of the async workers.
    fn pages(&self, serial: u64) -> Result<Pages, StoreError> {
        let (wanted, created_at) = (Arc::new(()), unix_now().max(0) as u64);
        let held = wanted.clone();
        let number =
            self.ask_blocking(|reply| Request::Export { wanted: held, created_at, serial, reply })?;
        let store = self.clone();
        Ok(Box::new(move || {
            let _wanted = &wanted;
            store.ask_blocking(|reply| Request::ExportPage(number, reply))
        }))
    }

    fn ask_blocking<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.0.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.blocking_send(request(reply)).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` on a thread of its own when it is its turn. It goes on when the caller drops this, and
    /// ends with the store: every page that it asks for is refused then.
    async fn aside<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let turn = self.0.backups.turns.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (sender, result) = oneshot::channel();
        let store = self.clone();
        let thread = thread::Builder::new().name("wgod-backup".into()).spawn(move || {
            // A caller that hung up doesn't want to know.
            drop(sender.send(work(&store)));
            drop(turn);
        });
        let dir = || self.0.backups.dir.path_of("");
        thread.map_err(|e| StoreError::io("cannot start a thread for", dir(), e))?;
        result.await.map_err(|_| StoreError::Closed)?
    }
}

/// Of damage in the database of `dir`, names the backup to go on with.
pub(super) fn with_way_on(error: StoreError, disk: Arc<dyn Disk>, dir: &Path) -> StoreError {
    let Some((path, why)) = error.damage() else { return error };
    let slots = StateDir::open(disk, dir).and_then(|state| Slots::open(&state));
    let backup = slots.ok().and_then(|slots| slots.newest_good());
    let backup = backup.map(|(path, contents)| (path, Box::new(contents)));
    StoreError::Damaged { path: path.clone(), why, state_dir: dir.components().collect(), backup }
}

/// Restores the backup in `file` into the state directory `dir`, which no daemon may be using. Returns what
/// is in it, and where the database is that it replaced, if there was one.
pub fn restore_offline(
    disk: Arc<dyn Disk>,
    dir: &Path,
    socket: &Path,
    file: &Path,
) -> Result<(Contents, Option<PathBuf>), RestoreError> {
    let failed = |error: BackupError| RestoreError::Backup { path: file.to_owned(), error };
    let read = |error| failed(BackupError::Read(Arc::new(error)));
    let open = || {
        let open = File::open(file).map_err(read)?;
        let about = open.metadata().map_err(read)?;
        if about.is_file() { Ok((open, about.len())) } else { Err(failed(BackupError::NotABackup)) }
    };
    // Before anything is made: most mistakes are in the name of the file.
    let (from, len) = open()?;
    backup::verify(from, len).map_err(failed)?;
    let lock = DirLock::take(dir, socket)?;
    let state = StateDir::open(disk, dir)?;
    lock::make_private_file(&state.path_of(restore::RESTORING))?;
    let (from, len) = open()?;
    let contents = backup::stage(&state, from, len, schema::MIGRATIONS).map_err(|error| match error {
        TransferError::Backup(error) => failed(error),
        TransferError::Store(error) => error.into(),
        other => RestoreError::Store(StoreError::io("cannot restore to", dir, std::io::Error::other(other))),
    })?;
    for name in [restore::RESTORED, lock::LOCK_FILE] {
        lock::give_to_owner(dir, name)?;
    }
    let before = state.path_of(restore::BEFORE);
    let replaces = state.open_to_read(super::database::FILE)?.is_some();
    restore::swap(&state)?;
    drop(lock);
    Ok((contents, replaces.then_some(before)))
}

/// Why a backup was not restored. The state is what it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is no good.
    #[error("{}: {error}; nothing was restored", .path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: BackupError,
    },
    /// The state directory, or its disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}
