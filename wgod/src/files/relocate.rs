//! Moving a torrent's files to another folder, so that whatever happens on the way one place has them all.
//!
//! Pieces of work, in the order in which the session asks for them:
//!
//! 1. [`Survey`](RelocateWork::Survey): nothing stands in the way, and there is room. Touches nothing. Then
//!    [`Mark`](RelocateWork::Mark): the folder is there, with a mark in it that tells it from the mount point
//!    of a disk that isn't mounted.
//! 2. [`Place`](RelocateWork::Place): every file gets a second name in the new place, one that nothing else
//!    has, as a link within a file system and as a copy beyond it, durably. The old place is untouched; the
//!    session has the copies hashed, then commits that the new place is the torrent's.
//! 3. [`Settle`](RelocateWork::Settle): the files in the new place get their names, then those in the old one
//!    go, each only if the new one is still what was committed.
//! 4. [`Undo`](RelocateWork::Undo), instead of 3: those second names go.
//!
//! Each can be done again after a crash at any of its steps. Where files can't have two names (FAT, or files
//! of somebody else), they keep the old one until 3 and are renamed then. Files that another torrent uses
//! are copied and stay. Nothing is ever written over: what is in the way with other content is refused.
//!
//! Long work on two disks: it has threads of its own for each device (`storage`), so that no other torrent
//! waits for it.
mod copy;
mod error;
mod place;
mod settle;
mod survey;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;
use wgo_core::TorrentId;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::{FileEntry, Info};
use wgo_proto::path::SafePath;

pub use error::MoveError;
pub use place::Placed;
pub use settle::Settled;

use super::beneath::{Base, Parent, Parents};
use super::disk::{At, FileKind, Handle, Stat};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::job::Done;
use super::names::{Name, OnDisk, path_of, paths_of};
use super::place::Place;
use super::sync::Stamp;
use super::torrent::{Context, has_root};

/// What a move is about.
pub struct RelocationSpec {
    /// The torrent.
    pub id: TorrentId,
    /// Its files.
    pub info: Arc<Info>,
    /// Sets its names in the new place apart from every other torrent's.
    pub tag: String,
    /// The folder of the old place.
    pub from: PathBuf,
    /// The folder of the new place.
    pub to: PathBuf,
    /// Files in the old place that another torrent has too, beside those that storage knows of.
    pub kept: BTreeSet<FileIndex>,
    /// What each file was when it was last known, by ascending number: in the new place, when that became the
    /// torrent's, before in the old one.
    pub stamps: Vec<Stamp>,
    /// Bytes to leave free on a file system.
    pub min_free_space: u64,
    /// How it is watched.
    pub watch: MoveWatch,
}

/// How a move is watched and called off.
pub struct MoveWatch {
    /// Set to end it early; not once it is settling.
    pub cancel: Arc<AtomicBool>,
    /// Told of bytes that are to be copied, of all and then of some more.
    pub total: Box<dyn Fn(u64) + Send + Sync>,
    /// Told of bytes that were copied, again and again.
    pub copied: Box<dyn Fn(u64) + Send + Sync>,
}

impl Default for MoveWatch {
    fn default() -> MoveWatch {
        MoveWatch { cancel: Arc::default(), total: Box::new(|_| ()), copied: Box::new(|_| ()) }
    }
}

/// A move of one torrent.
pub struct Relocation {
    pub(super) cx: Arc<Context>,
    /// The device that seems to hold the new place: whose queue the work goes to.
    pub(super) device: u64,
    id: TorrentId,
    info: Arc<Info>,
    tag: String,
    from: Base,
    to: Base,
    kept: BTreeSet<FileIndex>,
    stamps: Vec<Stamp>,
    min_free_space: u64,
    watch: MoveWatch,
}

/// A part of a move, and who hears of its end.
#[derive(Debug)]
#[allow(missing_docs, reason = "the module's text says what each does")]
pub enum RelocateWork {
    Survey(Done<Result<(), MoveError>>),
    Mark(Done<Result<(), MoveError>>),
    Place(Done<Result<Placed, MoveError>>),
    Settle(Done<Result<Settled, MoveError>>),
    Undo(Done<Result<(), MoveError>>),
}

impl fmt::Debug for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relocation({:?}, {:?} to {:?})", self.id, self.from.folder, self.to.folder)
    }
}

/// A file that was found in the old place. It has the same path in the new one.
struct Source {
    name: OnDisk,
    parent: Parent,
    stat: Stat,
}

impl Relocation {
    pub(super) fn new(cx: Arc<Context>, spec: RelocationSpec) -> Arc<Relocation> {
        let RelocationSpec { id, info, tag, from, to, kept, stamps, min_free_space, watch } = spec;
        let device = cx.disk.disk().device_hint(&to);
        let has_root = has_root(&info);
        let (from, to) = (Base::new(from, has_root), Base::new(to, has_root));
        Arc::new(Relocation { cx, device, id, info, tag, from, to, kept, stamps, min_free_space, watch })
    }

    /// Does a part of the move on this thread.
    pub(super) fn run(&self, work: RelocateWork) {
        match work {
            RelocateWork::Survey(done) => done.call(self.forgetting(|| self.survey())),
            RelocateWork::Mark(done) => done.call(self.forgetting(|| self.mark())),
            RelocateWork::Place(done) => done.call(self.forgetting(|| self.place())),
            RelocateWork::Settle(done) => done.call(self.forgetting(|| self.settle())),
            RelocateWork::Undo(done) => done.call(self.forgetting(|| self.undo())),
        }
    }

    /// Keeps no folder open afterwards: that would hold up an unmount.
    fn forgetting<T>(&self, work: impl FnOnce() -> T) -> T {
        let outcome = work();
        self.from.forget_parents();
        self.to.forget_parents();
        outcome
    }

    /// Nobody else may have files of the torrent open by number: they may be in either place.
    fn forget_open(&self) {
        self.cx.open.remove_torrent(self.id, false);
        self.cx.pieces.forget_torrent(self.id);
    }

    /// The files with bytes on disk.
    fn payload(&self) -> impl Iterator<Item = (FileIndex, &FileEntry)> {
        let files = (0..).map(FileIndex).zip(&self.info.files);
        files.filter(|(_, entry)| !entry.pad && entry.len > 0 && entry.symlink.is_none())
    }

    /// The name of a file in the new place until that is the torrent's.
    fn staged_name(&self, file: FileIndex) -> String {
        format!(".wgod-{}-{}", self.tag, file.0)
    }

    fn stamp(&self, file: FileIndex) -> Option<&Stamp> {
        let at = self.stamps.binary_search_by_key(&file, |stamp| stamp.file).ok()?;
        self.stamps.get(at)
    }

    /// The path of a file in either place once the new one is the torrent's: by then it is known which of its
    /// names it has.
    fn known_path(&self, file: FileIndex, entry: &FileEntry) -> SafePath {
        path_of(&self.info, file, entry, self.stamp(file).is_some_and(|stamp| stamp.suffixed)).path
    }

    /// The same with its folder.
    fn staged_path(&self, file: FileIndex, path: &SafePath) -> Option<SafePath> {
        let name = self.staged_name(file);
        let whole = path.parent().map_or_else(|| name.clone(), |folder| format!("{folder}/{name}"));
        SafePath::exact(&whole).ok()
    }

    /// The name of a mark in the folder of the new place, there from the survey until the end: without it that
    /// folder is another one, like the mount point of a disk that isn't mounted.
    fn mark_name(&self) -> String {
        format!(".wgod-{}-move", self.tag)
    }

    /// Whether the folder of the new place is the one that was found for the move.
    fn is_marked(&self) -> Result<bool, DiskError> {
        let folder = self.to.open(&self.cx.disk)?;
        let mark = self.stat(At::inside(&folder, self.mark_name()));
        Ok(mark.map_err(|e| DiskError::new(DiskOp::Stat, &self.to.folder, &e))?.is_some())
    }

    /// The error of a new place that is gone.
    fn vanished(&self) -> DiskError {
        DiskError::of_kind(DiskOp::Open, &self.to.folder, DiskErrorKind::Missing)
    }

    fn check_cancelled(&self) -> Result<(), MoveError> {
        if self.watch.cancel.load(Ordering::Relaxed) { Err(MoveError::Cancelled) } else { Ok(()) }
    }

    /// Whether another torrent uses the file in the old place.
    fn is_shared(&self, place: &Place, file: FileIndex, entry: &FileEntry) -> bool {
        let used = |path: &SafePath| self.cx.refs.is_shared(self.id, &place.path(path));
        self.kept.contains(&file) || self.paths(file, entry).iter().any(|name| used(&name.path))
    }

    /// Where a file may be in the old place, as far as is known.
    fn paths(&self, file: FileIndex, entry: &FileEntry) -> SmallVec<[OnDisk; 2]> {
        let known = self.stamp(file).map_or(Name::Unknown, |stamp| Name::found(stamp.suffixed));
        paths_of(&self.info, file, entry, known)
    }

    /// The paths of the new place, as storage knows them.
    fn claims(&self, place: &Place) -> Vec<PathBuf> {
        let stored = (0..).map(FileIndex).zip(&self.info.files).filter(|(_, entry)| !entry.pad);
        let names = stored.flat_map(|(file, entry)| self.paths(file, entry));
        names.map(|name| place.path(&name.path)).collect()
    }

    /// A folder beneath one of the places; `None` if it isn't there.
    fn folder_of(&self, base: &Base, path: &SafePath) -> Result<Option<Parent>, DiskError> {
        match base.open_parent(&self.cx.disk, path, Parents::MustExist) {
            Err(e) if e.kind == DiskErrorKind::Missing => Ok(None),
            found => Ok(Some(found?.0)),
        }
    }

    /// What is at a path of one of the places, and the folder that it is in; `None` if there is nothing.
    fn look(&self, base: &Base, path: &SafePath) -> Result<Option<(Parent, Stat)>, DiskError> {
        let Some(parent) = self.folder_of(base, path)? else { return Ok(None) };
        let at = At::inside(&parent.handle, path.file_name());
        let found = self.stat(at).map_err(|e| DiskError::new(DiskOp::Stat, base.full(path), &e))?;
        Ok(found.map(|stat| (parent, stat)))
    }

    /// A regular file in the old place, under one of its names.
    fn source(&self, file: FileIndex, entry: &FileEntry) -> Result<Option<Source>, DiskError> {
        for name in self.paths(file, entry) {
            let found = self.look(&self.from, &name.path)?.filter(|(_, stat)| stat.kind == FileKind::File);
            if let Some((parent, stat)) = found {
                return Ok(Some(Source { name, parent, stat }));
            }
        }
        Ok(None)
    }

    fn stat(&self, at: At) -> io::Result<Option<Stat>> {
        match self.cx.disk.stat(at) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            stat => stat.map(Some),
        }
    }

    /// Makes durable what folders gained or lost; those that are gone are no matter.
    fn sync_folders(&self, base: &Base, folders: &BTreeSet<PathBuf>) -> Result<(), DiskError> {
        for folder in folders {
            // They come from safe paths, which are text.
            let names = folder.iter().filter_map(|name| name.to_str());
            let opened: Handle = match base.open_dir(&self.cx.disk, names, Parents::MustExist) {
                Err(e) if e.kind == DiskErrorKind::Missing => continue,
                opened => opened?.handle,
            };
            let synced = self.cx.disk.sync_all(&opened);
            synced.map_err(|e| DiskError::new(DiskOp::Sync, base.folder.join(folder), &e))?;
        }
        Ok(())
    }
}

/// The folders that lead to a path, relative to its base, which is the last and empty. All of them are to be synced,
/// also those that were there: an earlier try may have made them, and ended before that was durable.
fn folders_of(path: &SafePath) -> impl Iterator<Item = PathBuf> {
    path.as_path().ancestors().skip(1).map(Path::to_owned)
}

/// Whether two descriptions are of one and the same file.
fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.device, a.inode) == (b.device, b.inode)
}
