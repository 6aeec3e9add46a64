//! What a move would do, and whether it can: what is where, what is in the way, how much room it takes.
use wgo_proto::FileIndex;
use wgo_proto::metainfo::FileEntry;
use wgo_proto::path::SafePath;

use super::super::beneath::Base;
use super::super::disk::{At, FileKind, Handle, OpenHow, OpenMode, Stat};
use super::super::error::{DiskError, DiskOp};
use super::super::place::{Place, find_folder, nearest};
use super::super::prepare::make_folder;
use super::copy::STRETCH;
use super::{MoveError, Relocation, Source, is_same};

/// How a file gets to the new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Something of the same length, perhaps of the same content, is there by its name.
    There,
    /// It gets a second name.
    Link,
    /// It is copied.
    Copy,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The files that exist in the old place.
    pub(super) files: Vec<(FileIndex, Way)>,
    /// Bytes that will be copied.
    pub(super) bytes: u64,
}

impl Relocation {
    /// Finds out whether the move can be made.
    pub(super) fn survey(&self) -> Result<(), MoveError> {
        self.plan().map(drop)
    }

    /// Makes the folder of the new place and marks it, which also tells whether files can be made there.
    pub(super) fn mark(&self) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        make_folder(disk, &self.to.folder)?;
        let folder = self.to.open(disk)?;
        let at = At::inside(&folder, self.mark_name());
        let how = OpenHow { mode: OpenMode::Create { executable: false }, follow: false };
        let failed = |e| DiskError::new(DiskOp::Create, self.to.folder.join(self.mark_name()), &e);
        let mark = disk.open(at, how).map_err(failed)?;
        disk.sync_all(&mark).map_err(failed)?;
        Ok(disk.sync_all(&folder).map_err(failed)?)
    }

    /// The way of every file. Touches nothing.
    pub(super) fn plan(&self) -> Result<Plan, MoveError> {
        let disk = &self.cx.disk;
        find_folder(disk, &self.from.folder)?;
        self.check_distinct()?;
        let from = Place::find(disk, &self.from, &self.info)?;
        let to = Place::find(disk, &self.to, &self.info)?;
        self.check_allowed(&to)?;
        self.check_free(&to)?;
        let mut plan = Plan { files: Vec::new(), bytes: 0 };
        for (file, entry) in self.payload() {
            self.check_cancelled()?;
            let Some(source) = self.source(file, entry)? else { continue };
            if source.name.suffixed && self.look(&self.to, &entry.path)?.is_some() {
                // It needs that name when it is complete.
                return Err(self.foreign(&source.name.path, &entry.path));
            }
            let way = match self.look(&self.to, &source.name.path)? {
                Some((_, there)) => self.compare_stat(&source, &there)?,
                None if source.stat.device == to.device && !self.is_shared(&from, file, entry) => Way::Link,
                None => Way::Copy,
            };
            if way == Way::Copy {
                plan.bytes += self.still_to_copy(file, &source)?;
            }
            plan.files.push((file, way));
        }
        self.check_small()?;
        self.check_room(plan.bytes)?;
        Ok(plan)
    }

    /// The two places must not be one.
    fn check_distinct(&self) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        let stat = |base: &Base, folder: &Handle| {
            disk.stat_handle(folder).map_err(|e| DiskError::new(DiskOp::Stat, &base.folder, &e))
        };
        let (existing, to) = nearest(disk, &self.to.folder)?;
        let from = self.from.open(disk)?;
        if existing == self.to.folder && is_same(&stat(&self.from, &from)?, &stat(&self.to, &to)?) {
            let (from, to) = (self.from.folder.clone(), self.to.folder.clone());
            return Err(MoveError::SameFolder { from, to });
        }
        Ok(())
    }

    /// Torrents may be there at all.
    fn check_allowed(&self, to: &Place) -> Result<(), MoveError> {
        let allowed = &self.cx.allowed;
        allowed.admit(&self.to.folder)?;
        for real in to.folders() {
            allowed.admit_real(real)?;
        }
        Ok(())
    }

    /// No other torrent has files there.
    fn check_free(&self, to: &Place) -> Result<(), MoveError> {
        let claims = self.claims(to);
        match self.cx.refs.user_of(self.id, &claims) {
            None => Ok(()),
            Some((path, other)) => {
                Err(MoveError::Occupied { path, this: self.info.name.clone(), other: other.to_string() })
            }
        }
    }

    /// What is there by a file's name may be that file; else it is in the way.
    fn compare_stat(&self, source: &Source, there: &Stat) -> Result<Way, MoveError> {
        let may_be_equal = there.kind == FileKind::File && there.len == source.stat.len;
        let path = &source.name.path;
        if may_be_equal { Ok(Way::There) } else { Err(self.foreign(path, path)) }
    }

    pub(super) fn foreign(&self, ours: &SafePath, theirs: &SafePath) -> MoveError {
        MoveError::Foreign { ours: self.from.full(ours), theirs: self.to.full(theirs) }
    }

    /// Empty files and symlinks are made anew; nothing else may have their names.
    fn check_small(&self) -> Result<(), MoveError> {
        let small = |entry: &&FileEntry| !entry.pad && (entry.len == 0 || entry.symlink.is_some());
        for entry in self.info.files.iter().filter(small) {
            let Some((_, there)) = self.look(&self.to, &entry.path)? else { continue };
            let wanted = if entry.symlink.is_some() { FileKind::Symlink } else { FileKind::File };
            if there.kind != wanted || (wanted == FileKind::File && there.len > 0) {
                return Err(self.foreign(&entry.path, &entry.path));
            }
        }
        Ok(())
    }

    pub(super) fn check_room(&self, need: u64) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        let folder = self.to.folder.clone();
        let (_, handle) = nearest(disk, &folder)?;
        let free = disk.stat_fs(&handle).map_err(|e| DiskError::new(DiskOp::Stat, &folder, &e))?.free;
        let keep = self.min_free_space;
        if need > 0 && need.saturating_add(keep) > free {
            return Err(MoveError::NoSpace { folder, need, free, keep });
        }
        Ok(())
    }

    /// Bytes of a file that a copy takes and that an earlier try has not copied yet.
    pub(super) fn still_to_copy(&self, file: FileIndex, source: &Source) -> Result<u64, MoveError> {
        let path = &source.name.path;
        if let Some(folder) = self.folder_of(&self.to, path)? {
            let staged = self.stat(At::inside(&folder.handle, self.staged_name(file)));
            if staged.is_ok_and(|staged| staged.is_some_and(|staged| is_whole_copy(&staged, &source.stat))) {
                return Ok(0);
            }
        }
        let failed = |e| DiskError::new(DiskOp::Read, self.from.full(path), &e);
        let how = OpenHow { mode: OpenMode::Read, follow: false };
        let opened = self.cx.disk.open(At::inside(&source.parent.handle, path.file_name()), how);
        self.data_len(&opened.map_err(failed)?, source.stat.len).map_err(|e| failed(e).into())
    }

    /// Bytes of a file outside its holes, in whole stretches.
    fn data_len(&self, file: &Handle, len: u64) -> std::io::Result<u64> {
        let (mut at, mut bytes) = (0, 0);
        while let Some(data) = self.cx.disk.next_data(file, at)?.filter(|data| *data < len) {
            at = data.saturating_add(STRETCH as u64).min(len);
            bytes += at - data;
        }
        Ok(bytes)
    }
}

/// Whether what has a staged name was copied to its end: it gets its time when the rest is durable.
pub(super) fn is_whole_copy(staged: &Stat, source: &Stat) -> bool {
    staged.kind == FileKind::File && (staged.len, staged.mtime) == (source.len, source.mtime)
}
