//! Where a torrent's paths really are: without symlinks, so that two ways to one file have one name; on
//! which file system, and whether that is mounted.
use std::io;
use std::path::{Path, PathBuf};

use wgo_proto::FileIndex;
use wgo_proto::metainfo::{FileEntry, Info};
use wgo_proto::path::SafePath;

use super::beneath::Base;
use super::blocking_disk::BlockingDisk;
use super::disk::{At, FileKind, Handle, OpenHow, OpenMode};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::names::{Name, OnDisk, paths_of};
use super::torrent::{TorrentFiles, has_root};

/// The real place of a torrent's folder.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder without symlinks, as far as it exists.
    folder: PathBuf,
    /// Where the torrent's root folder is, when that is a symlink.
    root: Option<PathBuf>,
    /// The device that holds the folder, or would if it existed.
    pub(super) device: u64,
}

/// Where a torrent's files are at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The device that holds the folder, or would if it existed.
    pub device: u64,
    /// Where the file system that holds the files is mounted; `None` where no mounts are known.
    pub mount: Option<PathBuf>,
    /// The folder, if it exists.
    pub(super) folder: Option<FolderId>,
    /// What was said to be mounted isn't, and none of the torrent's files are there without it.
    pub unmounted: bool,
}

/// What tells a folder from another one at the same path: the numbers of its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderId(u64, u64);

impl FolderId {
    /// Of an open folder.
    pub(super) fn of(disk: &BlockingDisk, folder: &Handle) -> io::Result<FolderId> {
        disk.stat_handle(folder).map(|stat| FolderId(stat.device, stat.inode))
    }
}

impl Whereabouts {
    /// Whether the torrent's folder exists.
    pub fn exists(&self) -> bool {
        self.folder.is_some()
    }
}

impl Place {
    /// Finds the place. The folder, or the end of its path, need not exist yet.
    pub(super) fn find(disk: &BlockingDisk, base: &Base, info: &Info) -> Result<Place, DiskError> {
        let (folder, mut device) = locate(disk, &base.folder)?;
        let mut root = None;
        if let Some(name) = root_name(base, info) {
            let path = base.folder.join(name);
            if disk.stat(At::path(&path)).is_ok_and(|stat| stat.kind == FileKind::Symlink) {
                let (real, holder) = locate(disk, &path)?;
                device = holder;
                root = Some(real);
            }
        }
        Ok(Place { folder, root, device })
    }

    /// The folder and, where that is elsewhere, the torrent's root folder.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.folder).chain(&self.root).map(PathBuf::as_path)
    }

    /// The real path of one of the torrent's paths.
    pub(super) fn path(&self, path: &SafePath) -> PathBuf {
        match &self.root {
            None => self.folder.join(path.as_path()),
            Some(root) => path.components().skip(1).fold(root.clone(), |path, name| path.join(name)),
        }
    }
}

/// The name of the torrent's root folder, if it has one.
fn root_name<'a>(base: &Base, info: &'a Info) -> Option<&'a str> {
    info.files.first().filter(|_| base.has_root)?.path.components().next()
}

/// Where the files of a torrent are now, whatever it was when they were opened. `recorded` is where their
/// file system was mounted when it was last known.
pub(super) fn whereabouts(torrent: &TorrentFiles, recorded: Option<&Path>) -> Result<Whereabouts, DiskError> {
    let (disk, base, info) = (&torrent.cx.disk, &torrent.base, torrent.info());
    let mounts = disk.disk().mounts();
    let lacks = recorded.is_some_and(|point| mounts.lacks(point));
    let place = match Place::find(disk, base, info) {
        // What is below the mount point may be out of bounds for a daemon that confined itself.
        Err(e) if lacks && e.kind == DiskErrorKind::Permission => {
            return Ok(Whereabouts { device: torrent.device, mount: None, folder: None, unmounted: true });
        }
        place => place?,
    };
    let folder = match nearest(disk, &base.folder)? {
        (existing, handle) if existing == base.folder => {
            let failed = |e| DiskError::new(DiskOp::Stat, existing, &e);
            Some(FolderId::of(disk, &handle).map_err(failed)?)
        }
        _ => None,
    };
    let root = place.root.clone().or_else(|| Some(place.folder.join(root_name(base, info)?)));
    let mount = mounts.holding(root.as_ref().unwrap_or(&place.folder)).map(|mount| mount.point.clone());
    let unmounted = lacks && !has_files(disk, &place, base, info)?;
    Ok(Whereabouts { device: place.device, mount, folder, unmounted })
}

/// Whether any of the torrent's files is there, of those that take space.
fn has_files(disk: &BlockingDisk, place: &Place, base: &Base, info: &Info) -> Result<bool, DiskError> {
    for (file, entry) in stored(info) {
        if length_of(disk, place, base, info, file, entry)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files that take space.
fn stored(info: &Info) -> impl Iterator<Item = (FileIndex, &FileEntry)> {
    let files = (0..).map(FileIndex).zip(&info.files);
    files.filter(|(_, file)| !file.pad && file.len > 0 && file.symlink.is_none())
}

/// The length of a regular file in a torrent's place.
fn length_of(
    disk: &BlockingDisk,
    place: &Place,
    base: &Base,
    info: &Info,
    file: FileIndex,
    entry: &FileEntry,
) -> Result<Option<u64>, DiskError> {
    for OnDisk { path, .. } in paths_of(info, file, entry, Name::Unknown) {
        match disk.stat(At::path(place.path(&path))) {
            Ok(stat) if stat.kind == FileKind::File => return Ok(Some(stat.len)),
            Ok(_) => {}
            Err(e) if is_absent(&e) => {}
            Err(e) => return Err(DiskError::new(DiskOp::Stat, base.full(&path), &e)),
        }
    }
    Ok(None)
}

/// What of a torrent seems to be in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No file that may be one of its.
    Nothing,
    /// A file by the name of one, and not longer.
    Some,
    /// All of them, in their full lengths.
    All,
}

/// Looks by names and lengths for a torrent's files in a folder.
pub(super) fn find_files(disk: &BlockingDisk, folder: &Path, info: &Info) -> Result<Presence, DiskError> {
    let base = Base::new(folder.to_owned(), has_root(info));
    let place = Place::find(disk, &base, info)?;
    let (mut found, mut all) = (false, true);
    for (file, entry) in stored(info) {
        let len = length_of(disk, &place, &base, info, file, entry)?;
        found |= len.is_some_and(|len| len <= entry.len);
        all &= len == Some(entry.len);
        if found && !all {
            return Ok(Presence::Some);
        }
    }
    Ok(if found { Presence::All } else { Presence::Nothing })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path without symlinks and its device, from the deepest part of it that exists.
fn locate(disk: &BlockingDisk, path: &Path) -> Result<(PathBuf, u64), DiskError> {
    let (existing, handle) = nearest(disk, path)?;
    let failed = |e| DiskError::new(DiskOp::Stat, existing, &e);
    let device = disk.stat_handle(&handle).map_err(failed)?.device;
    let real = disk.canonical(existing).map_err(failed)?;
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    // Joining an empty path would add a slash.
    let whole = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
    Ok((whole, device))
}

/// Opens the deepest existing folder of `path`.
pub(super) fn nearest<'a>(disk: &BlockingDisk, path: &'a Path) -> Result<(&'a Path, Handle), DiskError> {
    let how = OpenHow { mode: OpenMode::Dir, follow: true };
    for existing in path.ancestors() {
        match disk.open(At::path(existing), how) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(DiskError::new(DiskOp::Open, existing, &e)),
            Ok(handle) => return Ok((existing, handle)),
        }
    }
    Err(DiskError::of_kind(DiskOp::Open, path, DiskErrorKind::Missing))
}

/// Whether the folder is there.
pub(super) fn find_folder(disk: &BlockingDisk, folder: &Path) -> Result<(), DiskError> {
    match nearest(disk, folder)? {
        (existing, _) if existing == folder => Ok(()),
        _ => Err(DiskError::of_kind(DiskOp::Open, folder, DiskErrorKind::Missing)),
    }
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The file system's device (`st_dev`).
    pub device: u64,
    /// What can still be written.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// The room in `folder`, or in what will hold it.
pub(super) fn free_space(disk: &BlockingDisk, folder: &Path) -> Result<Space, DiskError> {
    let (_, handle) = nearest(disk, folder)?;
    let failed = |e| DiskError::new(DiskOp::Stat, folder, &e);
    let stat = disk.stat_fs(&handle).map_err(failed)?;
    let device = disk.stat_handle(&handle).map_err(failed)?.device;
    Ok(Space { device, free: stat.free, total: stat.total })
}
