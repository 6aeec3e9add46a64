//! The second half of a move: the files get their names in the new place, and the old ones go. Or, when it is
//! called off: what was put there goes.
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::FileEntry;

use super::super::beneath::{Parent, Parents};
use super::super::disk::{At, FileKind, Op, Stat};
use super::super::error::{DiskError, DiskErrorKind, DiskOp};
use super::super::names::OnDisk;
use super::super::place::Place;
use super::super::remove::remove_folder;
use super::{MoveError, Relocation, Source, folders_of, is_same};

/// What is left in the old place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Files that could not be deleted there, or may not be since the new ones changed: the first few.
    pub left: Vec<DiskError>,
    /// How many more.
    pub more: usize,
}

/// Errors kept of one move; the rest are counted.
const MAX_ERRORS: usize = 4;

impl Settled {
    fn note(&mut self, error: DiskError) {
        if self.left.len() < MAX_ERRORS { self.left.push(error) } else { self.more += 1 }
    }
}

impl Relocation {
    pub(super) fn settle(&self) -> Result<Settled, MoveError> {
        self.forget_open();
        if !self.is_marked()? && !self.has_all_names()? {
            return Err(self.vanished().into());
        }
        let from = match Place::find(&self.cx.disk, &self.from, &self.info) {
            Ok(place) => Some(place),
            // The old place can't be reached any more: nothing of it is needed, unless files are still to come.
            Err(error) => {
                tracing::warn!(%error, "the old files can't be looked at");
                None
            }
        };
        let mut folders = BTreeSet::new();
        for (file, entry) in self.payload() {
            self.give_name(file, entry, from.as_ref(), &mut folders)?;
        }
        self.sync_folders(&self.to, &folders)?;
        let mut settled = Settled::default();
        if let Some(from) = &from {
            self.clear(from, &mut settled);
        }
        self.unmark()?;
        self.sync_folders(&self.to, &BTreeSet::from([PathBuf::new()]))?;
        Ok(settled)
    }

    /// Whether every file has its name in the new place: a crash at the very end leaves that without a mark.
    fn has_all_names(&self) -> Result<bool, MoveError> {
        for (file, entry) in self.payload().filter(|(file, _)| self.stamp(*file).is_some()) {
            match self.look(&self.to, &self.known_path(file, entry))? {
                Some((_, stat)) if self.is_known(file, &stat) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes the mark away: nothing is left to do in the new place.
    fn unmark(&self) -> Result<(), DiskError> {
        let disk = &self.cx.disk;
        let folder = self.to.open(disk)?;
        match disk.run(Op::Unlink(At::inside(&folder, self.mark_name()))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            gone => {
                gone.map_err(|e| DiskError::new(DiskOp::Remove, self.to.folder.join(self.mark_name()), &e))
            }
        }
    }

    /// Gives a file in the new place its name, if it has not got it.
    fn give_name(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        from: Option<&Place>,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        let path = self.known_path(file, entry);
        let failed = |e: &io::Error| DiskError::new(DiskOp::Move, self.to.full(&path), e);
        if let Some(parent) = self.folder_of(&self.to, &path)? {
            let staged = At::inside(&parent.handle, self.staged_name(file));
            let named = At::inside(&parent.handle, path.file_name());
            let there = self.stat(named.clone()).map_err(|e| failed(&e))?;
            if let Some(ours) = self.stat(staged.clone()).map_err(|e| failed(&e))? {
                match (there, disk.run(Op::RenameNew { from: staged.clone(), to: named })) {
                    // Renaming one name of a file to its other does nothing.
                    (Some(there), _) if is_same(&there, &ours) => {
                        disk.run(Op::Unlink(staged)).map_err(|e| failed(&e))?;
                    }
                    (_, Err(e)) if e.kind() == io::ErrorKind::AlreadyExists => {
                        return Err(self.foreign(&path, &path));
                    }
                    (_, renamed) => renamed.map_err(|e| failed(&e))?,
                }
                folders.extend(folders_of(&path));
                return Ok(());
            }
            if there.is_some() {
                // It may have got it in a run that was killed before it was durable.
                folders.extend(folders_of(&path));
                return Ok(());
            }
        }
        match from {
            Some(from) if !self.is_shared(from, file, entry) => self.lift(file, entry, folders),
            _ => Ok(()),
        }
    }

    /// Renames a file that could have one name only. Only one that the new place is known to have.
    fn lift(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), MoveError> {
        let disk = &self.cx.disk;
        let known = self.source(file, entry)?.filter(|source| self.is_known(file, &source.stat));
        let Some(Source { name: OnDisk { path, .. }, parent, stat }) = known else { return Ok(()) };
        let (target, _) = self.to.open_parent(disk, &path, Parents::Create)?;
        if target.device != stat.device {
            return Ok(());
        }
        folders.extend(folders_of(&path));
        let from = At::inside(&parent.handle, path.file_name());
        let to = At::inside(&target.handle, path.file_name());
        let renamed = disk.run(Op::RenameNew { from, to });
        Ok(renamed.map_err(|e| DiskError::new(DiskOp::Move, self.from.full(&path), &e))?)
    }

    /// Whether a file is what it was when the new place became the torrent's.
    fn is_known(&self, file: FileIndex, stat: &Stat) -> bool {
        let known = self.stamp(file);
        stat.kind == FileKind::File && known.is_some_and(|s| (s.len, s.mtime) == (stat.len, stat.mtime))
    }

    /// Deletes the files of the old place and the folders that are empty without them. The new place is
    /// whole: what can't be deleted is told, and no reason to stop.
    fn clear(&self, from: &Place, settled: &mut Settled) {
        let mut folders = BTreeSet::new();
        let entries = (0..).map(FileIndex).zip(&self.info.files);
        for (file, entry) in entries.filter(|(_, entry)| !entry.pad) {
            if self.is_shared(from, file, entry) {
                continue;
            }
            folders.extend(folders_of(&entry.path));
            if let Err(error) = self.clear_file(file, entry) {
                settled.note(error);
            }
        }
        // Deeper folders sort after those that hold them.
        for folder in folders.iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
            if let Err(error) = remove_folder(&self.cx.disk, &self.from, folder) {
                settled.note(error);
            }
        }
        // Else a crash might bring back what is no longer known of.
        if let Err(error) = self.sync_folders(&self.from, &folders) {
            settled.note(error);
        }
    }

    fn clear_file(&self, file: FileIndex, entry: &FileEntry) -> Result<(), DiskError> {
        let path = self.known_path(file, entry);
        let failed = |e: &io::Error| DiskError::new(DiskOp::Remove, self.from.full(&path), e);
        let old = match self.look(&self.from, &path) {
            Err(e) if matches!(e.kind, DiskErrorKind::Missing | DiskErrorKind::Obstructed) => None,
            old => old?,
        };
        let ours = if entry.symlink.is_some() { FileKind::Symlink } else { FileKind::File };
        let Some((parent, old)) = old.filter(|(_, old)| old.kind == ours) else { return Ok(()) };
        let Some((target, new)) = self.look(&self.to, &path)? else {
            // An empty file or a link that the new place does without, or somebody took it away.
            return Ok(());
        };
        if self.is_one_folder(&parent, &target).map_err(|e| failed(&e))? {
            return Ok(());
        }
        let small = entry.len == 0 || entry.symlink.is_some();
        // Of a file with two names one is enough, whatever is known of it: a power cut may have put its time back.
        let stays = is_same(&old, &new) || if small { new.kind == ours } else { self.is_known(file, &new) };
        if !stays {
            let changed = DiskErrorKind::Changed;
            return Err(DiskError::of_kind(DiskOp::Remove, self.from.full(&path), changed));
        }
        let gone = self.cx.disk.run(Op::Unlink(At::inside(&parent.handle, path.file_name())));
        gone.map_err(|e| failed(&e))
    }

    fn is_one_folder(&self, a: &Parent, b: &Parent) -> io::Result<bool> {
        let disk = &self.cx.disk;
        Ok(is_same(&disk.stat_handle(&a.handle)?, &disk.stat_handle(&b.handle)?))
    }

    /// Takes away what was put into the new place, and the folders that are empty without it.
    pub(super) fn undo(&self) -> Result<(), MoveError> {
        self.forget_open();
        self.cx.refs.drop_claims(self.id);
        let disk = &self.cx.disk;
        // The mark is there in any case.
        let mut folders = BTreeSet::from([PathBuf::new()]);
        for (file, entry) in self.payload() {
            let Some(parent) = self.folder_of(&self.to, &entry.path)? else { continue };
            folders.extend(folders_of(&entry.path));
            let staged = At::inside(&parent.handle, self.staged_name(file));
            match disk.run(Op::Unlink(staged)) {
                Err(e) if e.raw_os_error() != Some(Errno::NOENT.raw_os_error()) => {
                    return Err(DiskError::new(DiskOp::Remove, self.to.full(&entry.path), &e).into());
                }
                _ => {}
            }
        }
        self.to.forget_parents();
        for folder in folders.iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
            remove_folder(disk, &self.to, folder)?;
        }
        self.unmark()?;
        Ok(self.sync_folders(&self.to, &folders)?)
    }
}
