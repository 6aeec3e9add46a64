//! Giving a torrent's files other names in its folder, so that a crash at any step leaves each file whole
//! under one of two known names. (A file that isn't complete may have a name that says so: then both of those do.)
//!
//! 1. [`Survey`](RenamingWork::Survey): nothing stands in the way. Touches nothing. Then the session commits
//!    which names are to become which.
//! 2. [`Apply`](RenamingWork::Apply): each file that has its old name gets the new one, folders are made for
//!    that and go when they are empty, and all of it is durable. Then the session commits the new names.
//! 3. [`Undo`](RenamingWork::Undo), instead: the same the other way round.
//!
//! Old and new names are all different (`Info::renamed` sees to that), so what is found on disk says what is
//! done. Each can be done again after a crash at any of its steps. A file that another torrent uses too gets
//! the new name beside its old one. Nothing is ever written over.
mod error;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use smallvec::SmallVec;
use wgo_core::TorrentId;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::{FileEntry, Info};
use wgo_proto::path::SafePath;

pub use error::RenamingError;

use super::beneath::{Base, Parent, Parents};
use super::disk::{At, FileKind, Op, Stat};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::job::Done;
use super::names::{Name, OnDisk, path_of, paths_of};
use super::place::{Place, whereabouts};
use super::prepare::relative;
use super::remove::remove_folder;
use super::sync::Stamp;
use super::torrent::{Context, Preallocate, TorrentFiles, TorrentSpec, has_root};
use super::volumes::sync_whole;

/// With more folders than this the whole file system is synced once instead of each.
const MANY_FOLDERS: usize = 64;

/// What is to be renamed.
#[derive(Clone, Debug)]
pub struct RenamingSpec {
    /// The torrent.
    pub id: TorrentId,
    /// Its files with their old names.
    pub old: Arc<Info>,
    /// The same with their new ones.
    pub new: Arc<Info>,
    /// The folder that they lie in.
    pub folder: PathBuf,
    /// Files that another torrent has too, beside those that storage knows of.
    pub kept: BTreeSet<FileIndex>,
    /// What files were when they were last known, by ascending number.
    pub stamps: Vec<Stamp>,
    /// Where their file system was mounted then.
    pub mount: Option<PathBuf>,
    /// Something of the torrent is on disk, so its folder must be there.
    pub begun: bool,
}

/// A rename of files of one torrent.
pub struct Renaming {
    pub(super) cx: Arc<Context>,
    /// The device that seems to hold the folder: whose queue the work goes to.
    pub(super) device: u64,
    spec: RenamingSpec,
    old: Base,
    new: Base,
}

/// A part of a rename, and who hears of its end.
#[derive(Debug)]
#[allow(missing_docs, reason = "the module's text says what each does")]
pub enum RenamingWork {
    Survey(Done<Result<(), RenamingError>>),
    Apply(Done<Result<(), RenamingError>>),
    Undo(Done<Result<(), RenamingError>>),
}

impl fmt::Debug for Renaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renaming({:?} in {:?})", self.spec.id, self.spec.folder)
    }
}

/// The names that files have, and those that they are to get.
#[derive(Clone, Copy)]
struct Sides<'a> {
    from: Side<'a>,
    to: Side<'a>,
    back: bool,
}

#[derive(Clone, Copy)]
struct Side<'a> {
    info: &'a Info,
    base: &'a Base,
}

/// A file that was found.
struct Found {
    name: OnDisk,
    parent: Parent,
    stat: Stat,
}

impl Renaming {
    pub(super) fn new(cx: Arc<Context>, spec: RenamingSpec) -> Arc<Renaming> {
        let device = cx.disk.disk().device_hint(&spec.folder);
        let old = Base::new(spec.folder.clone(), has_root(&spec.old));
        let new = Base::new(spec.folder.clone(), has_root(&spec.new));
        Arc::new(Renaming { cx, device, spec, old, new })
    }

    /// Does a part of the rename on this thread.
    pub(super) fn run(&self, work: RenamingWork) {
        match work {
            RenamingWork::Survey(done) => done.call(self.finish(self.survey())),
            RenamingWork::Apply(done) => done.call(self.finish(self.apply(false))),
            RenamingWork::Undo(done) => done.call(self.finish(self.apply(true))),
        }
    }

    /// Keeps no folder open, and finds out why an access was refused.
    fn finish(&self, outcome: Result<(), RenamingError>) -> Result<(), RenamingError> {
        self.old.forget_parents();
        self.new.forget_parents();
        outcome.map_err(|error| match error {
            RenamingError::Disk(error) => self.cx.allowed.explain(&self.cx.disk, error).into(),
            error => error,
        })
    }

    fn sides(&self, back: bool) -> Sides<'_> {
        let old = Side { info: &self.spec.old, base: &self.old };
        let new = Side { info: &self.spec.new, base: &self.new };
        let (from, to) = if back { (new, old) } else { (old, new) };
        Sides { from, to, back }
    }

    /// Whether there is a folder to rename files in. None is no error for a torrent that has nothing on disk.
    fn is_there(&self) -> Result<bool, RenamingError> {
        let RenamingSpec { id, folder, mount, .. } = &self.spec;
        let view = |info: &Arc<Info>| {
            let (info, folder) = (info.clone(), folder.clone());
            let (writes, preallocate) = (false, Preallocate::None);
            let spec = TorrentSpec { id: *id, info, folder, writes, preallocate, names: Vec::new() };
            whereabouts(&*TorrentFiles::view(&self.cx, spec)?, mount.as_deref())
        };
        let now = view(&self.spec.old)?;
        if let Some(mount) = mount.as_ref().filter(|_| now.unmounted)
            // Half of the files may have their new names.
            && view(&self.spec.new)?.unmounted
        {
            return Err(RenamingError::Unmounted { mount: mount.clone(), folder: folder.clone() });
        }
        if !now.exists() && self.spec.begun {
            return Err(DiskError::of_kind(DiskOp::Open, folder, DiskErrorKind::Missing).into());
        }
        Ok(now.exists())
    }

    /// The files that are renamed or lead elsewhere, with the names that they have and get.
    fn pairs<'a>(
        &self,
        sides: Sides<'a>,
    ) -> impl Iterator<Item = (FileIndex, &'a FileEntry, &'a FileEntry)> + use<'a> {
        let files = (0..).map(FileIndex).zip(sides.from.info.files.iter().zip(&sides.to.info.files));
        let changes = |from: &FileEntry, to: &FileEntry| {
            !from.pad && (from.path != to.path || from.symlink != to.symlink)
        };
        files.filter(move |(_, (from, to))| changes(from, to)).map(|(file, (from, to))| (file, from, to))
    }

    fn survey(&self) -> Result<(), RenamingError> {
        let disk = &self.cx.disk;
        if !self.is_there()? {
            return Ok(());
        }
        let sides = self.sides(false);
        let old = Place::find(disk, &self.old, &self.spec.old)?;
        let new = Place::find(disk, &self.new, &self.spec.new)?;
        for real in new.folders() {
            self.cx.allowed.admit_real(real)?;
        }
        let root = |info: &Info| {
            info.files.first().and_then(|entry| entry.path.components().next()).map(str::to_owned)
        };
        if old.folders().nth(1).is_some() && root(&self.spec.old) != root(&self.spec.new) {
            let path = self.spec.folder.join(root(&self.spec.old).unwrap_or_default());
            return Err(RenamingError::LinkedRoot { path });
        }
        let names = self.pairs(sides).flat_map(|(file, _, to)| self.paths(sides.to, file, to));
        let paths: Vec<PathBuf> = names.map(|name| new.path(&name.path)).collect();
        if let Some((path, other)) = self.cx.refs.user_of(self.spec.id, &paths) {
            return Err(RenamingError::Occupied { path, other: other.to_string() });
        }
        for (file, from, to) in self.pairs(sides) {
            let ours = self.file(sides.from, file, from)?;
            if ours.is_none() && self.stamp(file).is_some() && self.file(sides.to, file, to)?.is_none() {
                return Err(RenamingError::Gone { path: self.old.full(&from.path) });
            }
            let names = match &ours {
                // One that isn't complete needs its own name later.
                Some(ours) => self.new_paths(sides.to, file, to, ours.name.suffixed),
                None => self.paths(sides.to, file, to),
            };
            for OnDisk { path, .. } in names {
                match (&ours, self.look(&self.new, &path)?) {
                    (_, None) => {}
                    // A link that only leads elsewhere keeps its place.
                    _ if from.path == to.path => {}
                    // One name by two ways of writing it.
                    (Some(ours), Some((_, there)))
                        if is_same(&ours.stat, &there) && !self.is_shared(sides.from, &old, file) => {}
                    (None, Some((_, there))) if from.symlink.is_some() && there.kind == FileKind::Symlink => {
                    }
                    // Somebody renamed it already.
                    (None, Some((_, there)))
                        if self.stamp(file).is_some_and(|known| is_known(known, &there)) => {}
                    _ => return Err(RenamingError::InTheWay { path: self.new.full(&path) }),
                }
            }
        }
        Ok(())
    }

    fn apply(&self, back: bool) -> Result<(), RenamingError> {
        // Nobody else may have files of the torrent open by number.
        self.cx.open.remove_torrent(self.spec.id, false);
        self.cx.pieces.forget_torrent(self.spec.id);
        if !self.is_there()? {
            return Ok(());
        }
        let sides = self.sides(back);
        let old = Place::find(&self.cx.disk, &self.old, &self.spec.old)?;
        let (mut left, mut gained) = (BTreeSet::new(), BTreeSet::new());
        for (file, from, to) in self.pairs(sides) {
            let shared = self.is_shared(Side { info: &self.spec.old, base: &self.old }, &old, file);
            match from.symlink.is_some() {
                true => self.relink(sides, file, from, to, shared)?,
                false => self.rename(sides, file, from, to, shared)?,
            }
            left.extend(folders_of(&from.path));
            gained.extend(folders_of(&to.path));
        }
        // Before the old folders go: each file is under one of its names at any time.
        self.sync(sides.to.base, &gained)?;
        sides.from.base.forget_parents();
        // Deeper folders sort after those that hold them.
        for folder in left.iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
            remove_folder(&self.cx.disk, sides.from.base, folder)?;
        }
        Ok(self.sync(sides.from.base, &left)?)
    }

    fn rename(
        &self,
        sides: Sides<'_>,
        file: FileIndex,
        from: &FileEntry,
        to: &FileEntry,
        shared: bool,
    ) -> Result<(), RenamingError> {
        let disk = &self.cx.disk;
        let Some(Found { name, parent: source, stat: ours }) = self.file(sides.from, file, from)? else {
            return Ok(());
        };
        if !name.suffixed && self.has_second(sides.to, file, to)? {
            // That one is it, and what has its old name now is somebody else's.
            return Ok(());
        }
        // Whether it is complete its new name says, too.
        let target_name = path_of(sides.to.info, file, to, name.suffixed).path;
        let failed = |e: &io::Error| DiskError::new(DiskOp::Rename, sides.from.base.full(&name.path), e);
        let in_the_way = || RenamingError::InTheWay { path: sides.to.base.full(&target_name) };
        let there = self.look(sides.to.base, &target_name)?;
        let (target, _) = sides.to.base.open_parent(disk, &target_name, Parents::Create)?;
        let from_at = At::inside(&source.handle, name.path.file_name());
        let to_at = At::inside(&target.handle, target_name.file_name());
        match there.map(|(_, there)| is_same(&ours, &there)) {
            // What was in the way of the new name: it never became that.
            Some(false) if sides.back => Ok(()),
            Some(false) => Err(in_the_way()),
            // It had both names for the other torrent's sake.
            Some(true) if shared && sides.back => {
                Ok(disk.run(Op::Unlink(from_at)).map_err(|e| failed(&e))?)
            }
            Some(true) if shared => Ok(()),
            // Two ways of writing one name, where the file system takes them for the same. Of two links to one
            // file, which somebody made, both stay.
            Some(true) => Ok(disk.run(Op::Rename { from: from_at, to: to_at }).map_err(|e| failed(&e))?),
            None if shared => match disk.run(Op::Link { from: from_at, to: to_at }) {
                Err(e) if has_one_name(&e) => {
                    Err(RenamingError::Shared { path: sides.from.base.full(&name.path) })
                }
                linked => Ok(linked.map_err(|e| failed(&e))?),
            },
            None => match disk.run(Op::RenameNew { from: from_at, to: to_at }) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(in_the_way()),
                renamed => Ok(renamed.map_err(|e| failed(&e))?),
            },
        }
    }

    /// A symlink can't be renamed, since its text is relative: it is made anew.
    fn relink(
        &self,
        sides: Sides<'_>,
        file: FileIndex,
        from: &FileEntry,
        to: &FileEntry,
        shared: bool,
    ) -> Result<(), RenamingError> {
        let disk = &self.cx.disk;
        let Some(target) = &to.symlink else { return Ok(()) };
        let failed = |e: &io::Error| DiskError::new(DiskOp::Link, sides.to.base.full(&to.path), e);
        let stays = from.path == to.path;
        let old = match self.file(sides.from, file, from)? {
            Some(found) => Some(At::inside(&found.parent.handle, from.path.file_name())),
            // A crash may have come between its end and its new beginning.
            None if stays => None,
            None => return Ok(()),
        };
        let parents = if old.is_some() { Parents::Create } else { Parents::MustExist };
        let parent = match sides.to.base.open_parent(disk, &to.path, parents) {
            Err(e) if e.kind == DiskErrorKind::Missing => return Ok(()),
            parent => parent?.0,
        };
        let remove = |old: At| disk.run(Op::Unlink(old)).map_err(|e| failed(&e));
        let before = old.clone().filter(|_| stays);
        before.map_or(Ok(()), remove)?;
        let at = At::inside(&parent.handle, to.path.file_name());
        match disk.run(Op::Symlink { at, target: relative(&to.path, target) }) {
            // From before a crash, or somebody else's: the payload doesn't depend on it.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|e| failed(&e))?,
        }
        let after = old.filter(|_| !stays && !shared);
        Ok(after.map_or(Ok(()), remove)?)
    }

    /// Makes durable what folders gained or lost; those that are gone are no matter.
    fn sync(&self, base: &Base, folders: &BTreeSet<PathBuf>) -> Result<(), DiskError> {
        let disk = &self.cx.disk;
        if folders.len() > MANY_FOLDERS {
            let folder = base.open(disk)?;
            let failed = |e: io::Error| DiskError::new(DiskOp::Sync, &base.folder, &e);
            if sync_whole(disk, &folder).map_err(failed)? {
                return Ok(());
            }
        }
        for folder in folders {
            // They come from safe paths, which are text.
            let names = folder.iter().filter_map(|name| name.to_str());
            let opened = match base.open_dir(disk, names, Parents::MustExist) {
                Err(e) if e.kind == DiskErrorKind::Missing => continue,
                opened => opened?.handle,
            };
            let synced = disk.sync_all(&opened);
            synced.map_err(|e| DiskError::new(DiskOp::Sync, base.folder.join(folder), &e))?;
        }
        Ok(())
    }

    /// Whether another torrent uses a file under its old name.
    fn is_shared(&self, side: Side<'_>, old: &Place, file: FileIndex) -> bool {
        let used = |entry: &FileEntry| {
            let mut paths = self.paths(side, file, entry).into_iter();
            paths.any(|name| self.cx.refs.is_shared(self.spec.id, &old.path(&name.path)))
        };
        self.spec.kept.contains(&file) || side.info.files.get(file.0 as usize).is_some_and(used)
    }

    /// Where a file may be, as far as is known.
    fn paths(&self, side: Side<'_>, file: FileIndex, entry: &FileEntry) -> SmallVec<[OnDisk; 2]> {
        let known = self.stamp(file).map_or(Name::Unknown, |stamp| Name::found(stamp.suffixed));
        paths_of(side.info, file, entry, known)
    }

    /// Whether a file that isn't known to have its own name is there under the other one.
    fn has_second(&self, side: Side<'_>, file: FileIndex, entry: &FileEntry) -> Result<bool, DiskError> {
        let second = self.paths(side, file, entry).into_iter().find(|name| name.suffixed);
        second.map_or(Ok(false), |name| Ok(self.look(side.base, &name.path)?.is_some()))
    }

    /// The path that a file gets, and the one that it is to get when it is complete.
    fn new_paths(
        &self,
        side: Side<'_>,
        file: FileIndex,
        entry: &FileEntry,
        suffixed: bool,
    ) -> SmallVec<[OnDisk; 2]> {
        let (now, own) = (path_of(side.info, file, entry, suffixed), path_of(side.info, file, entry, false));
        if now.suffixed { SmallVec::from_buf([now, own]) } else { SmallVec::from_iter([own]) }
    }

    fn stamp(&self, file: FileIndex) -> Option<&Stamp> {
        let at = self.spec.stamps.binary_search_by_key(&file, |stamp| stamp.file).ok()?;
        self.spec.stamps.get(at)
    }

    /// The torrent's file, or link, under one of its names; `None` if it isn't there.
    fn file(&self, side: Side<'_>, file: FileIndex, entry: &FileEntry) -> Result<Option<Found>, DiskError> {
        let kind = if entry.symlink.is_some() { FileKind::Symlink } else { FileKind::File };
        for name in self.paths(side, file, entry) {
            let found = self.look(side.base, &name.path)?.filter(|(_, stat)| stat.kind == kind);
            if let Some((parent, stat)) = found {
                return Ok(Some(Found { name, parent, stat }));
            }
        }
        Ok(None)
    }

    /// What is at a path, and the folder that it is in; `None` if there is nothing.
    fn look(&self, base: &Base, path: &SafePath) -> Result<Option<(Parent, Stat)>, DiskError> {
        let disk = &self.cx.disk;
        let parent = match base.open_parent(disk, path, Parents::MustExist) {
            Err(e) if e.kind == DiskErrorKind::Missing => return Ok(None),
            parent => parent?.0,
        };
        match disk.stat(At::inside(&parent.handle, path.file_name())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            stat => Ok(Some((parent, stat.map_err(|e| DiskError::new(DiskOp::Stat, base.full(path), &e))?))),
        }
    }
}

/// The folders that a path lies in, relative to its base, which is the last and empty.
fn folders_of(path: &SafePath) -> impl Iterator<Item = PathBuf> {
    path.as_path().ancestors().skip(1).map(Path::to_owned)
}

fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.device, a.inode) == (b.device, b.inode)
}

fn is_known(known: &Stamp, stat: &Stat) -> bool {
    stat.kind == FileKind::File && (known.len, known.mtime) == (stat.len, stat.mtime)
}

/// Whether files can't have two names there.
fn has_one_name(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::PERM | Errno::ACCESS | Errno::MLINK | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}
