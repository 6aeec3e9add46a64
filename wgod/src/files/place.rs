//! Where a torrent's paths really are: without symlinks, so that two ways to one file have one name.
use std::io;
use std::path::{Path, PathBuf};

use wgo_proto::metainfo::Info;
use wgo_proto::path::SafePath;

use super::beneath::Base;
use super::blocking_disk::BlockingDisk;
use super::disk::{At, FileKind, Handle, OpenHow, OpenMode};
use super::error::{DiskError, DiskErrorKind, DiskOp};

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

impl Place {
    /// Finds the place. The folder, or the end of its path, need not exist yet.
    pub(super) fn find(disk: &BlockingDisk, base: &Base, info: &Info) -> Result<Place, DiskError> {
        let (folder, mut device) = locate(disk, &base.folder)?;
        let name = info.files.first().and_then(|file| file.path.components().next());
        let mut root = None;
        if base.has_root
            && let Some(name) = name
        {
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
    /// What can still be written.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// The room in `folder`, or in what will hold it.
pub(super) fn free_space(disk: &BlockingDisk, folder: &Path) -> Result<Space, DiskError> {
    let (_, handle) = nearest(disk, folder)?;
    let stat = disk.stat_fs(&handle).map_err(|e| DiskError::new(DiskOp::Stat, folder, &e))?;
    Ok(Space { free: stat.free, total: stat.total })
}
