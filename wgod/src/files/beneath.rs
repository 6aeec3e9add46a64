//! Names beneath a torrent's folder: each component is opened relative to its parent and never
//! through a symlink, so that nothing planted inside the folder leads out of it.
//!
//! The folder itself is the operator's and may be reached through symlinks, and so may the torrent's
//! own root folder in it (people move that to another disk and leave a symlink).
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use wgo_proto::path::SafePath;

use super::blocking_disk::BlockingDisk;
use super::disk::{At, Handle, OpenHow, OpenMode};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::place::FolderId;

/// Folders that are kept open for the jobs under way.
const RECENT: usize = 4;

/// The operator's folder and how a torrent's names lie in it.
#[derive(Debug)]
pub(super) struct Base {
    /// The absolute path of the folder.
    pub(super) folder: PathBuf,
    /// The first component of each path is the torrent's root folder, not its only file.
    pub(super) has_root: bool,
    /// The folder that a download was prepared in. Another one at its path is not taken for it: the file
    /// system may be unmounted by now, and what is below its mount point is another disk. A leaf lock.
    settled: Mutex<Option<FolderId>>,
    /// A leaf lock.
    recent: Mutex<Recent>,
}

/// What [`open_parent`](Base::open_parent) found lately, by path relative to the base: a job often has
/// many small files of one folder. Empty after a job.
#[derive(Debug, Default)]
struct Recent {
    /// At most [`RECENT`].
    open: Vec<(PathBuf, Parent)>,
    /// A folder that didn't exist, and all that would be in it.
    missing: Option<PathBuf>,
}

/// Whether folders that are missing are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parents {
    MustExist,
    Create,
}

/// An open folder beneath the base, and the folders that gained an entry on the way to it: paths
/// relative to the base, empty for the base itself.
pub(super) struct Folder {
    pub(super) handle: Handle,
    pub(super) gained: Vec<PathBuf>,
}

/// The open folder that holds a file, and the device that it lies on (`st_dev`).
#[derive(Clone, Debug)]
pub(super) struct Parent {
    pub(super) handle: Handle,
    pub(super) device: u64,
}

/// An open file, its folder, and the folders that gained an entry.
pub(super) struct File {
    pub(super) handle: Handle,
    pub(super) parent: Parent,
    pub(super) gained: Vec<PathBuf>,
}

impl Base {
    /// Names beneath `folder`.
    pub(super) fn new(folder: PathBuf, has_root: bool) -> Base {
        Base { folder, has_root, settled: Mutex::default(), recent: Mutex::default() }
    }

    /// The absolute path of `path`, for people.
    pub(super) fn full(&self, path: &SafePath) -> PathBuf {
        self.folder.join(path.as_path())
    }

    /// Takes the folder that is there now for the torrent's.
    pub(super) fn settle(&self, disk: &BlockingDisk) -> Result<(), DiskError> {
        let handle = self.open_any(disk)?;
        *self.settled() = Some(self.id_of(disk, &handle)?);
        Ok(())
    }

    /// It is not written to any more: whatever folder is there may be read, and its files are compared.
    pub(super) fn unsettle(&self) {
        *self.settled() = None;
    }

    /// Whether a download was prepared.
    pub(super) fn is_settled(&self) -> bool {
        self.settled().is_some()
    }

    /// Whether the torrent was prepared in another folder than this one.
    pub(super) fn is_settled_elsewhere(&self, folder: FolderId) -> bool {
        self.settled().is_some_and(|settled| settled != folder)
    }

    /// Opens the operator's folder.
    pub(super) fn open(&self, disk: &BlockingDisk) -> Result<Handle, DiskError> {
        let handle = self.open_any(disk)?;
        let settled = *self.settled();
        if settled.is_some() && settled != Some(self.id_of(disk, &handle)?) {
            return Err(DiskError::of_kind(DiskOp::Open, &self.folder, DiskErrorKind::Missing));
        }
        Ok(handle)
    }

    fn open_any(&self, disk: &BlockingDisk) -> Result<Handle, DiskError> {
        let how = OpenHow { mode: OpenMode::Dir, follow: true };
        disk.open(At::path(&self.folder), how).map_err(|e| DiskError::new(DiskOp::Open, &self.folder, &e))
    }

    fn id_of(&self, disk: &BlockingDisk, folder: &Handle) -> Result<FolderId, DiskError> {
        FolderId::of(disk, folder).map_err(|e| DiskError::new(DiskOp::Stat, &self.folder, &e))
    }

    fn settled(&self) -> MutexGuard<'_, Option<FolderId>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the folder of `components` beneath the base; of none, the base itself.
    pub(super) fn open_dir<'a>(
        &self,
        disk: &BlockingDisk,
        components: impl Iterator<Item = &'a str>,
        parents: Parents,
    ) -> Result<Folder, DiskError> {
        let mut handle = self.open(disk)?;
        let mut gained = Vec::new();
        let mut relative = PathBuf::new();
        for (depth, name) in components.enumerate() {
            relative.push(name);
            let how = OpenHow { mode: OpenMode::Dir, follow: depth == 0 && self.has_root };
            let mut opened = disk.open(At::inside(&handle, name), how);
            if parents == Parents::Create && is_missing(&opened) {
                match disk.make_dir(At::inside(&handle, name)) {
                    // Someone else, perhaps another storage thread, was faster.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(e) => {
                        return Err(DiskError::new(DiskOp::Create, self.folder.join(relative), &e));
                    }
                    Ok(()) => gained.push(relative.parent().unwrap_or(Path::new("")).to_owned()),
                }
                opened = disk.open(At::inside(&handle, name), how);
            }
            if is_missing(&opened) {
                self.recent().missing = Some(relative.clone());
            }
            let failed = |e| DiskError::new(DiskOp::Open, self.folder.join(&relative), &e);
            handle = opened.map_err(failed)?;
        }
        Ok(Folder { handle, gained })
    }

    /// Opens the folder that holds `path`, or finds it open; and the folders that gained an entry.
    pub(super) fn open_parent(
        &self,
        disk: &BlockingDisk,
        path: &SafePath,
        parents: Parents,
    ) -> Result<(Parent, Vec<PathBuf>), DiskError> {
        let relative = parent_of(path);
        if let Some(known) = self.recent().find(relative, parents) {
            return known.map(|parent| (parent, Vec::new())).ok_or_else(|| {
                DiskError::of_kind(DiskOp::Open, self.folder.join(relative), DiskErrorKind::Missing)
            });
        }
        let mut components = path.components();
        components.next_back();
        let Folder { handle, gained } = self.open_dir(disk, components, parents)?;
        let stat = disk.stat_handle(&handle);
        let failed = |e| DiskError::new(DiskOp::Stat, self.folder.join(relative), &e);
        let parent = Parent { handle, device: stat.map_err(failed)?.device };
        let pushed_out = self.recent().push(relative, parent.clone());
        drop(pushed_out);
        Ok((parent, gained))
    }

    /// Closes what was kept open for a job. What people do to the folders is seen by the next one.
    pub(super) fn forget_parents(&self) {
        let recent = std::mem::take(&mut *self.recent());
        drop(recent);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an existing file, to read or to write.
    pub(super) fn open_file(
        &self,
        disk: &BlockingDisk,
        path: &SafePath,
        mode: OpenMode,
    ) -> Result<Handle, DiskError> {
        let (parent, _) = self.open_parent(disk, path, Parents::MustExist)?;
        let how = OpenHow { mode, follow: false };
        disk.open(At::inside(&parent.handle, path.file_name()), how)
            .map_err(|e| DiskError::new(DiskOp::Open, self.full(path), &e))
    }

    /// Opens a file to write, and makes it and its folders when they are missing; `expected` says what to
    /// try first. The operator's folder must exist: a disk that isn't mounted must not be mistaken for
    /// an empty one.
    pub(super) fn create_file(
        &self,
        disk: &BlockingDisk,
        path: &SafePath,
        executable: bool,
        expected: Expected,
    ) -> Result<File, DiskError> {
        let (parent, mut gained) = self.open_parent(disk, path, Parents::Create)?;
        let open = |mode| {
            let at = At::inside(&parent.handle, path.file_name());
            disk.open(at, OpenHow { mode, follow: false })
        };
        let create = disk.new_file(executable);
        let mut mode = if expected == Expected::Missing { create } else { OpenMode::Write };
        let mut opened = open(mode);
        // Another storage thread may make it between two tries.
        for _ in 0..2 {
            let exists = opened.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists);
            mode = match mode {
                OpenMode::Write if is_missing(&opened) => create,
                OpenMode::CreateNew { .. } if exists => OpenMode::Write,
                _ => break,
            };
            opened = open(mode);
        }
        let created = mode == create;
        let op = if created { DiskOp::Create } else { DiskOp::Open };
        let handle = opened.map_err(|e| DiskError::new(op, self.full(path), &e))?;
        if created {
            gained.push(parent_of(path).to_owned());
        }
        Ok(File { handle, parent, gained })
    }
}

impl Recent {
    /// The open folder, `Some(None)` if it is known to be missing and nobody is to make it.
    fn find(&self, relative: &Path, parents: Parents) -> Option<Option<Parent>> {
        let known = self.open.iter().find(|(name, _)| name.as_os_str() == relative.as_os_str());
        if let Some((_, parent)) = known {
            return Some(Some(parent.clone()));
        }
        let missing = self.missing.as_ref().filter(|_| parents == Parents::MustExist)?;
        relative.starts_with(missing).then_some(None)
    }

    /// Adds one; returns the one that has to go.
    fn push(&mut self, relative: &Path, parent: Parent) -> Option<(PathBuf, Parent)> {
        self.missing = None;
        self.open.push((relative.to_owned(), parent));
        if self.open.len() > RECENT { Some(self.open.remove(0)) } else { None }
    }
}

/// What a file that is to be written to is thought to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Missing,
    There,
}

/// The folder of a file, relative to the base.
fn parent_of(path: &SafePath) -> &Path {
    path.as_path().parent().unwrap_or(Path::new(""))
}

fn is_missing<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|e| e.raw_os_error() == Some(Errno::NOENT.raw_os_error()))
}
