//! The work that storage threads do, and the promise that each piece of it ends with a call.
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wgo_proto::metainfo::Info;
use wgo_proto::{Bitfield, Block, FileIndex, PieceIndex};

use super::allowed::real_path;
use super::buf::BlockBuf;
use super::check::{Check, CheckOutcome};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::examine::{Folder, examine};
use super::naming::sync_and_name;
use super::parts::{drop_parts, take_out};
use super::piece::{StoreOutcome, Storing, store_each, write_blocks};
use super::place::{Presence, Space, Whereabouts, find_files, free_space, whereabouts};
use super::prepare::prepare;
use super::relocate::{RelocateWork, Relocation};
use super::remove::{RemoveOutcome, remove};
use super::rename::{Renaming, RenamingWork};
use super::sync::{Stamp, SyncOutcome, settle, sync};
use super::torrent::{Context, OpenError, TorrentFiles, TorrentSpec};
use super::upload::{read_run, wire_len};
use super::witness::Witness;

/// What a job calls when it ended: on the storage thread that did it, or, when the job was dropped
/// because the storage stopped or its submitter went away, wherever that happened. It is called
/// exactly once. It must not submit to a full queue and wait there, and whoever drops a job must not
/// hold a lock that the call takes.
pub struct Done<T: Unfinished>(Option<Box<dyn FnOnce(T) + Send>>);

/// An outcome that says that the work was not done.
pub trait Unfinished {
    /// The outcome of a job that was dropped.
    fn unfinished() -> Self;
}

impl<T: Unfinished> Done<T> {
    /// Calls `call` with the outcome.
    pub fn new(call: impl FnOnce(T) + Send + 'static) -> Done<T> {
        Done(Some(Box::new(call)))
    }

    pub(super) fn call(mut self, outcome: T) {
        if let Some(call) = self.0.take() {
            call(outcome);
        }
    }
}

impl<T: Unfinished> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call(T::unfinished());
        }
    }
}

impl<T: Unfinished> fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

impl<T, E: From<DiskError>> Unfinished for Result<T, E> {
    fn unfinished() -> Self {
        Err(DiskError::stopped().into())
    }
}

impl Unfinished for StoreOutcome {
    fn unfinished() -> Self {
        StoreOutcome::Failed(DiskError::stopped())
    }
}

impl Unfinished for CheckOutcome {
    fn unfinished() -> Self {
        CheckOutcome::Cancelled
    }
}

impl Unfinished for SyncOutcome {
    fn unfinished() -> Self {
        SyncOutcome { folder: Some(DiskError::stopped()), ..SyncOutcome::default() }
    }
}

impl Unfinished for RemoveOutcome {
    fn unfinished() -> Self {
        RemoveOutcome { errors: vec![DiskError::stopped()], ..RemoveOutcome::default() }
    }
}

impl Unfinished for ReadOutcome {
    fn unfinished() -> Self {
        ReadOutcome { out: Vec::new(), result: Err(DiskError::stopped()) }
    }
}

/// What a read for upload gave.
#[derive(Debug)]
pub struct ReadOutcome {
    /// The buffer that came with the job, now as long as the blocks are on the wire. Gaps for headers
    /// hold anything.
    pub out: Vec<u8>,
    /// Whether the payloads are in it.
    pub result: Result<(), DiskError>,
}

/// A calculation that keeps its outcome to itself, or drops it with itself.
pub struct Work(Box<dyn FnOnce() + Send>);

impl Work {
    /// Work to be done by a storage thread.
    pub fn new(work: impl FnOnce() + Send + 'static) -> Work {
        Work(Box::new(work))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// One piece of work.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field is what its job's description names")]
pub enum Job {
    /// Finds a torrent's folder and takes hold of its paths. Makes nothing on disk.
    Open { spec: TorrentSpec, done: Done<Result<Arc<TorrentFiles>, OpenError>> },
    /// Sees where the torrent's files are now; `mount` is where their file system was mounted.
    FindFolder {
        torrent: Arc<TorrentFiles>,
        mount: Option<PathBuf>,
        done: Done<Result<Whereabouts, DiskError>>,
    },
    /// Which of a torrent's files are in a folder, by their names and lengths.
    FindFiles { folder: PathBuf, info: Arc<Info>, done: Done<Result<Presence, DiskError>> },
    /// At the start of a download: makes the folder, empty files and symlinks. From then on nothing is
    /// made in another folder that takes its place.
    Prepare { torrent: Arc<TorrentFiles>, done: Done<Result<Space, DiskError>> },
    /// Hashes a complete piece and writes it; `None` is a block that was spilled before.
    Store {
        torrent: Arc<TorrentFiles>,
        piece: PieceIndex,
        blocks: Vec<Option<BlockBuf>>,
        witness: Option<Witness>,
        done: Done<StoreOutcome>,
    },
    /// Writes blocks of an unfinished piece, by number, to free their memory.
    Spill {
        torrent: Arc<TorrentFiles>,
        piece: PieceIndex,
        blocks: Vec<(u32, BlockBuf)>,
        done: Done<Result<(), DiskError>>,
    },
    /// Reads blocks that follow one another in one piece, laid out as
    /// [`TorrentFiles::read_run_nowait`] does.
    Read { torrent: Arc<TorrentFiles>, blocks: Vec<Block>, out: Vec<u8>, done: Done<ReadOutcome> },
    /// Verifies pieces on disk, in the background.
    Check(Arc<Check>),
    /// Makes durable what was stored before. Files of which `have`, what was stored before, has all pieces get
    /// their own names. `seal`: if all of that succeeds the torrent is complete, and its files are only read from
    /// then on.
    Sync { torrent: Arc<TorrentFiles>, have: Option<Bitfield>, seal: bool, done: Done<SyncOutcome> },
    /// Files of which all pieces were found to be right get their own names: they are made durable, whoever wrote
    /// them, as [`Job::Sync`] does it.
    Name { torrent: Arc<TorrentFiles>, have: Bitfield, done: Done<SyncOutcome> },
    /// Makes files durable in which a check found pieces, whoever wrote them.
    Settle { torrent: Arc<TorrentFiles>, files: Vec<FileIndex>, done: Done<SyncOutcome> },
    /// Length and time of files; those that are missing are left out.
    Stat { torrent: Arc<TorrentFiles>, files: Vec<FileIndex>, done: Done<Result<Vec<Stamp>, DiskError>> },
    /// Sees whether somebody else changed the files that are open.
    Look { torrent: Arc<TorrentFiles>, done: Done<Result<(), DiskError>> },
    /// Copies what the part file holds of these files into them, to be made durable by a sync.
    TakeOut { torrent: Arc<TorrentFiles>, files: Vec<FileIndex>, done: Done<Result<(), DiskError>> },
    /// Removes the part file, of which nothing is needed any more.
    DropParts { torrent: Arc<TorrentFiles>, done: Done<Result<(), DiskError>> },
    /// Deletes the torrent's files and closes it. `kept` are those that stay because another torrent has them
    /// too: storage knows of those torrents only that ran.
    Remove { torrent: Arc<TorrentFiles>, kept: BTreeSet<FileIndex>, done: Done<RemoveOutcome> },
    /// Makes durable what was stored, closes the files and lets go of the paths.
    Close { torrent: Arc<TorrentFiles>, done: Done<SyncOutcome> },
    /// A part of a move, on threads for moves.
    Relocate { relocation: Arc<Relocation>, work: RelocateWork },
    /// A part of a rename, on threads for moves.
    Rename { renaming: Arc<Renaming>, work: RenamingWork },
    /// The room in a folder of the device, or in what will hold it.
    FreeSpace { device: u64, folder: PathBuf, done: Done<Result<Space, DiskError>> },
    /// Where a folder really is, symlinks followed. The end of its path need not exist.
    Locate { folder: PathBuf, done: Done<Result<PathBuf, DiskError>> },
    /// Something that takes the processor for long, and no disk.
    Compute(Work),
    /// What a folder is like, or what will hold it.
    Examine { folder: PathBuf, done: Done<Result<Folder, DiskError>> },
}

impl Job {
    /// The torrent that it is about, if that is open.
    pub(super) fn torrent(&self) -> Option<&Arc<TorrentFiles>> {
        match self {
            Job::Open { .. }
            | Job::FreeSpace { .. }
            | Job::Locate { .. }
            | Job::Relocate { .. }
            | Job::FindFiles { .. }
            | Job::Rename { .. }
            | Job::Compute(_)
            | Job::Examine { .. } => None,
            Job::Check(check) => Some(&check.torrent),
            Job::FindFolder { torrent, .. }
            | Job::Prepare { torrent, .. }
            | Job::Store { torrent, .. }
            | Job::Spill { torrent, .. }
            | Job::Read { torrent, .. }
            | Job::Sync { torrent, .. }
            | Job::Name { torrent, .. }
            | Job::Settle { torrent, .. }
            | Job::Stat { torrent, .. }
            | Job::Look { torrent, .. }
            | Job::TakeOut { torrent, .. }
            | Job::DropParts { torrent, .. }
            | Job::Remove { torrent, .. }
            | Job::Close { torrent, .. } => Some(torrent),
        }
    }
}

/// Does a job from beginning to end on this thread. A check goes batch by batch in its queue instead.
pub(super) fn run(cx: &Arc<Context>, job: Job) {
    match job {
        Job::Open { spec, done } => done.call(TorrentFiles::open(cx, spec)),
        Job::FreeSpace { folder, done, .. } => {
            done.call(free_space(&cx.disk, &folder).map_err(|e| cx.allowed.explain(&cx.disk, e)));
        }
        Job::Locate { folder, done } => done.call(real_path(&cx.disk, &folder)),
        Job::Relocate { relocation, work } => relocation.run(work),
        Job::FindFiles { folder, info, done } => {
            let found = find_files(&cx.disk, &folder, &info);
            done.call(found.map_err(|e| cx.allowed.explain(&cx.disk, e)));
        }
        Job::Rename { renaming, work } => renaming.run(work),
        Job::Compute(work) => (work.0)(),
        Job::Examine { folder, done } => done.call(examine(&folder)),
        Job::FindFolder { torrent, mount, done } => {
            done.call(gated(&torrent, || whereabouts(&torrent, mount.as_deref())));
        }
        Job::Prepare { torrent, done } => done.call(gated(&torrent, || prepare(&torrent))),
        Job::Store { torrent, piece, blocks, witness, done } => {
            store_each(vec![Storing { torrent, piece, blocks, witness, done }]);
        }
        Job::Spill { torrent, piece, blocks, done } => done.call(gated(&torrent, || {
            let blocks = blocks.into_iter().map(|(number, block)| (number as usize, Some(block)));
            write_blocks(&torrent, piece, blocks, |_, _| {})
        })),
        Job::Read { torrent, blocks, mut out, done } => {
            out.resize(wire_len(&blocks), 0);
            let result = gated(&torrent, || read_run(&torrent, &blocks, &mut out));
            done.call(ReadOutcome { out, result });
        }
        Job::Check(check) => {
            check.prepare();
            while let super::check::Claim::Batch(batch) = check.claim() {
                check.run(batch, 1, false);
            }
        }
        Job::Sync { torrent, have, seal, done } => {
            let outcome = gated(&torrent, || Ok(sync(&torrent, have.as_ref())));
            if seal && outcome.as_ref().is_ok_and(|outcome| outcome.is_durable() && outcome.unnamed.is_none())
            {
                torrent.end_writing();
            }
            done.call(outcome.unwrap_or_else(|_| SyncOutcome::unfinished()));
        }
        Job::Name { torrent, have, done } => {
            let outcome = gated(&torrent, || Ok(sync_and_name(&torrent, &have)));
            done.call(outcome.unwrap_or_else(|_| SyncOutcome::unfinished()));
        }
        Job::Settle { torrent, files, done } => {
            let outcome = gated(&torrent, || Ok(settle(&torrent, &files)));
            done.call(outcome.unwrap_or_else(|_| SyncOutcome::unfinished()));
        }
        Job::Stat { torrent, files, done } => done.call(gated(&torrent, || {
            files.iter().filter_map(|file| torrent.stat(*file).transpose()).collect()
        })),
        Job::Look { torrent, done } => done.call(gated(&torrent, || torrent.look())),
        Job::TakeOut { torrent, files, done } => {
            done.call(gated(&torrent, || take_out(&torrent, &files)));
        }
        Job::DropParts { torrent, done } => done.call(gated(&torrent, || drop_parts(&torrent))),
        Job::Remove { torrent, kept, done } => {
            torrent.shut();
            cx.open.remove_torrent(torrent.id, false);
            cx.pieces.forget_torrent(torrent.id);
            let outcome = remove(&torrent, &kept);
            torrent.let_go();
            done.call(outcome);
        }
        Job::Close { torrent, done } => {
            torrent.shut();
            cx.pieces.forget_torrent(torrent.id);
            let outcome = sync(&torrent, None);
            cx.open.remove_torrent(torrent.id, false);
            torrent.let_go();
            done.call(outcome);
        }
    }
}

/// Does work of which a panic ends no more than this: a `done` in it is told by being dropped.
pub(super) fn contain(work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        tracing::error!("a disk job panicked; this is a bug in wgod");
    }
}

/// Does work on a torrent unless it is closed.
fn gated<T>(torrent: &TorrentFiles, work: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    match torrent.enter() {
        Some(_gate) => work().map_err(|error| torrent.explain(error)),
        None => Err(DiskError::of_kind(DiskOp::Open, torrent.folder(), DiskErrorKind::Stopped)),
    }
}
