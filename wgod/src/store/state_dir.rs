//! The open state directory: its files, reached by name through the `Disk` seam.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use crate::files::disk::{At, OpenHow, OpenMode};
use crate::files::{BlockingDisk, Disk, Handle, Op};

/// An open state directory. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct StateDir {
    disk: BlockingDisk,
    handle: Handle,
    path: PathBuf,
}

impl StateDir {
    /// Opens an existing directory.
    pub(super) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<StateDir, StoreError> {
        let disk = BlockingDisk::new(disk);
        let how = OpenHow { mode: OpenMode::Dir, follow: true };
        let handle = disk.open(At::path(path), how);
        let handle = handle.map_err(|e| StoreError::io("cannot open the state directory", path, e))?;
        Ok(StateDir { disk, handle, path: path.to_owned() })
    }

    pub(super) fn disk(&self) -> &BlockingDisk {
        &self.disk
    }

    /// The path of the file `name`.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// An error about the file `name`.
    pub(super) fn error(&self, what: &'static str, name: &str, error: io::Error) -> StoreError {
        StoreError::io(what, self.path_of(name), error)
    }

    /// Opens `name` for reading and writing, if it is there.
    pub(super) fn open_existing(&self, name: &str) -> Result<Option<Handle>, StoreError> {
        let how = OpenHow { mode: OpenMode::Write, follow: false };
        match self.disk.open(At::inside(&self.handle, name), how) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("cannot open", name, e)),
        }
    }

    /// An empty file `name`; what was there is gone.
    pub(super) fn create(&self, name: &str) -> Result<Handle, StoreError> {
        let how = OpenHow { mode: OpenMode::Create { executable: false }, follow: false };
        let opened = self.disk.open(At::inside(&self.handle, name), how);
        let emptied = opened.and_then(|file| self.disk.set_len(&file, 0).map(|()| file));
        emptied.map_err(|e| self.error("cannot create", name, e))
    }

    /// Opens `name` for reading, if it is there.
    pub(super) fn open_to_read(&self, name: &str) -> Result<Option<Handle>, StoreError> {
        let how = OpenHow { mode: OpenMode::Read, follow: false };
        match self.disk.open(At::inside(&self.handle, name), how) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("cannot open", name, e)),
        }
    }

    /// The directory `name` in this one.
    pub(super) fn inside(&self, name: &str) -> Result<StateDir, StoreError> {
        let how = OpenHow { mode: OpenMode::Dir, follow: true };
        let handle = self.disk.open(At::inside(&self.handle, name), how);
        let handle = handle.map_err(|e| self.error("cannot open the directory", name, e))?;
        Ok(StateDir { disk: self.disk.clone(), handle, path: self.path_of(name) })
    }

    /// Removes a file; one that isn't there is fine.
    pub(super) fn unlink(&self, name: &str) -> Result<(), StoreError> {
        match self.disk.run(Op::Unlink(At::inside(&self.handle, name))) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.error("cannot remove", name, e)),
            _ => Ok(()),
        }
    }

    /// Renames a file, replacing the one at `to`.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (from_at, to_at) = (At::inside(&self.handle, from), At::inside(&self.handle, to));
        let result = self.disk.run(Op::Rename { from: from_at, to: to_at });
        result.map_err(|e| self.error("cannot rename", from, e))
    }

    /// Makes the names durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let result = self.disk.sync_all(&self.handle);
        result.map_err(|e| StoreError::io("cannot sync the directory", &self.path, e))
    }
}
