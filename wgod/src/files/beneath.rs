//! Names beneath a torrent's folder: each component is opened relative to its parent and never
//! through a symlink, so that nothing planted inside the folder leads out of it.
//!
//! The folder itself is the operator's and may be reached through symlinks, and so may the torrent's
//! own root folder in it (people move that to another disk and leave a symlink).
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use wgo_proto::path::SafePath;

use super::disk::{At, BlockingDisk, Handle, Op, OpenHow, OpenMode};
use super::error::{DiskError, DiskOp};

/// The operator's folder and how a torrent's names lie in it.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// The absolute path of the folder.
    pub(super) folder: PathBuf,
    /// The first component of each path is the torrent's root folder, not its only file.
    pub(super) has_root: bool,
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

/// An open file and what its opening changed.
pub(super) struct File {
    pub(super) handle: Handle,
    pub(super) gained: Vec<PathBuf>,
}

impl Base {
    /// The absolute path of `path`, for people.
    pub(super) fn full(&self, path: &SafePath) -> PathBuf {
        self.folder.join(path.as_path())
    }

    /// Opens the operator's folder.
    pub(super) fn open(&self, disk: &BlockingDisk) -> Result<Handle, DiskError> {
        let how = OpenHow { mode: OpenMode::Dir, follow: true };
        disk.open(At::path(&self.folder), how).map_err(|e| DiskError::new(DiskOp::Open, &self.folder, &e))
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
            let how = OpenHow { mode: OpenMode::Dir, follow: depth == 0 && self.has_root };
            let mut opened = disk.open(At::inside(&handle, name), how);
            if parents == Parents::Create && is_missing(&opened) {
                match disk.run(Op::CreateDir(At::inside(&handle, name))) {
                    // Someone else, perhaps another storage thread, was faster.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(e) => {
                        let path = self.folder.join(relative.join(name));
                        return Err(DiskError::new(DiskOp::Create, path, &e));
                    }
                    Ok(()) => gained.push(relative.clone()),
                }
                opened = disk.open(At::inside(&handle, name), how);
            }
            relative.push(name);
            let failed = |e| DiskError::new(DiskOp::Open, self.folder.join(&relative), &e);
            handle = opened.map_err(failed)?;
        }
        Ok(Folder { handle, gained })
    }

    /// Opens the folder that holds `path`.
    pub(super) fn open_parent(
        &self,
        disk: &BlockingDisk,
        path: &SafePath,
        parents: Parents,
    ) -> Result<Folder, DiskError> {
        let mut components = path.components();
        components.next_back();
        self.open_dir(disk, components, parents)
    }

    /// Opens an existing file, to read or to write.
    pub(super) fn open_file(
        &self,
        disk: &BlockingDisk,
        path: &SafePath,
        mode: OpenMode,
    ) -> Result<Handle, DiskError> {
        let parent = self.open_parent(disk, path, Parents::MustExist)?;
        let how = OpenHow { mode, follow: false };
        disk.open(At::inside(&parent.handle, path.file_name()), how)
            .map_err(|e| DiskError::new(DiskOp::Open, self.full(path), &e))
    }

    /// Opens a file to write, and makes it and its folders when they are missing. The operator's
    /// folder must exist: a disk that isn't mounted must not be mistaken for an empty one.
    pub(super) fn create_file(
        &self,
        disk: &BlockingDisk,
        path: &SafePath,
        executable: bool,
    ) -> Result<File, DiskError> {
        let Folder { handle: parent, mut gained } = self.open_parent(disk, path, Parents::Create)?;
        let open = |mode| disk.open(At::inside(&parent, path.file_name()), OpenHow { mode, follow: false });
        let mut opened = open(OpenMode::Write);
        let mut op = DiskOp::Open;
        if is_missing(&opened) {
            op = DiskOp::Create;
            opened = open(OpenMode::Create { executable });
            let parent = path.as_path().parent().unwrap_or(Path::new(""));
            gained.push(parent.to_owned());
        }
        let handle = opened.map_err(|e| DiskError::new(op, self.full(path), &e))?;
        Ok(File { handle, gained })
    }
}

fn is_missing<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|e| e.raw_os_error() == Some(Errno::NOENT.raw_os_error()))
}
