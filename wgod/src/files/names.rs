//! What files are called on disk: by their own names, or with a suffix while they aren't complete
//! ([`Info::suffixed_path`]).
//!
//! Whoever looks for a file goes by what is known of it, from the store or from an earlier look. One of which
//! nothing is known may have come from another client, or be left from before the suffix was set, and counts
//! under its own name, too ([`TorrentFiles::stat`] decides where both are there). One that has its own name keeps
//! it for good: only complete files get it ([`give_names`](super::naming::give_names)), and what has the other
//! name then is somebody else's. One that was looked for and is nowhere will be made with the suffix: what gets
//! its own name meanwhile is somebody else's, and isn't written to.
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::io::Errno;
use smallvec::SmallVec;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::{FileEntry, Info};
use wgo_proto::path::SafePath;

use super::beneath::{Base, Expected, File, Parents};
use super::blocking_disk::BlockingDisk;
use super::disk::{At, FileKind, Handle, OpenMode, Stat};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::sync::Stamp;
use super::torrent::TorrentFiles;

/// What is known of a file's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Name {
    /// Nothing.
    #[default]
    Unknown,
    /// It is its own.
    Own,
    /// It ends in the suffix.
    Suffixed,
    /// Neither was there.
    Nowhere,
}

impl Name {
    /// The name of a file that was found.
    pub fn found(suffixed: bool) -> Name {
        if suffixed { Name::Suffixed } else { Name::Own }
    }

    fn from_byte(byte: u8) -> Name {
        match byte {
            1 => Name::Own,
            2 => Name::Suffixed,
            3 => Name::Nowhere,
            _ => Name::Unknown,
        }
    }
}

/// A path that a file may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnDisk {
    pub(super) path: SafePath,
    pub(super) suffixed: bool,
}

/// The paths at which to look for a file, in this order: the first that is there counts.
pub(super) fn paths_of(info: &Info, file: FileIndex, entry: &FileEntry, name: Name) -> SmallVec<[OnDisk; 2]> {
    let own = OnDisk { path: entry.path.clone(), suffixed: false };
    let second = if name == Name::Own { None } else { info.suffixed_path(file) };
    let Some(path) = second else { return SmallVec::from_iter([own]) };
    let suffixed = OnDisk { path, suffixed: true };
    match name {
        Name::Suffixed | Name::Nowhere => SmallVec::from_buf([suffixed, own]),
        Name::Own | Name::Unknown => SmallVec::from_buf([own, suffixed]),
    }
}

/// The path of a file that was found under a name of this kind; its own where it has no other.
pub(super) fn path_of(info: &Info, file: FileIndex, entry: &FileEntry, suffixed: bool) -> OnDisk {
    let second = if suffixed { info.suffixed_path(file) } else { None };
    let suffixed = second.is_some();
    OnDisk { path: second.unwrap_or_else(|| entry.path.clone()), suffixed }
}

/// The names of an open torrent's files.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// A [`Name`] for each file; none where files have one name only.
    known: Box<[AtomicU8]>,
    /// Held for reading while a file is looked for under two names, for writing while one gets its own, which
    /// otherwise might be under neither when it is looked for. Comes after all other locks.
    giving: RwLock<()>,
    /// Files of which it was said that they can't have their own names. A leaf lock.
    told: Mutex<BTreeSet<FileIndex>>,
}

impl Names {
    /// Of the files of `info`; `known` has those of the first files, or of none.
    pub(super) fn new(info: &Info, known: &[Name]) -> Names {
        if info.suffix().is_none() {
            return Names::default();
        }
        let of = |index: usize| AtomicU8::new(known.get(index).copied().unwrap_or_default() as u8);
        Names { known: (0..info.files.len()).map(of).collect(), ..Names::default() }
    }

    pub(super) fn get(&self, file: FileIndex) -> Name {
        let known = self.known.get(file.0 as usize).map(|known| known.load(Ordering::Acquire));
        known.map_or(Name::Own, Name::from_byte)
    }

    pub(super) fn set(&self, file: FileIndex, name: Name) {
        if let Some(known) = self.known.get(file.0 as usize) {
            known.store(name as u8, Ordering::Release);
        }
    }

    /// Of a file of which nothing was known.
    fn learn(&self, file: FileIndex, name: Name) {
        if let Some(known) = self.known.get(file.0 as usize) {
            let (unknown, name) = (Name::Unknown as u8, name as u8);
            // Else somebody was faster.
            let _known = known.compare_exchange(unknown, name, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// The files whose names are known to have the suffix.
    pub(super) fn suffixed(&self) -> impl Iterator<Item = FileIndex> + '_ {
        let files = (0..).map(FileIndex).zip(&self.known);
        files
            .filter(|(_, known)| Name::from_byte(known.load(Ordering::Acquire)) == Name::Suffixed)
            .map(|(file, _)| file)
    }

    /// It guards no data, so poison is ignored.
    fn look(&self) -> RwLockReadGuard<'_, ()> {
        self.giving.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give(&self) -> RwLockWriteGuard<'_, ()> {
        self.giving.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it wasn't said yet that a file can't have its own name.
    pub(super) fn is_news(&self, file: FileIndex) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(file)
    }
}

impl TorrentFiles {
    /// Whether some of its files are known to have the suffix.
    pub fn has_suffixed(&self) -> bool {
        self.names.suffixed().next().is_some()
    }

    /// Whether a file's name is known to have the suffix.
    pub fn is_suffixed(&self, file: FileIndex) -> bool {
        self.names.get(file) == Name::Suffixed
    }

    /// Goes to a file under the names that it may have, until it is there under one.
    pub(super) fn find<T>(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        mut reach: impl FnMut(&OnDisk) -> Result<Option<T>, DiskError>,
    ) -> Result<Option<T>, DiskError> {
        let _looking = self.names.look();
        for on_disk in paths_of(&self.info, file, entry, self.names.get(file)) {
            let found = match reach(&on_disk) {
                // Some file systems take shorter names than Linux does.
                Err(e) if on_disk.suffixed && is_too_long(&e) => None,
                found => found?,
            };
            if let Some(found) = found {
                self.names.set(file, Name::found(on_disk.suffixed));
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Length and time of a file as it is; `None` when there is no such regular file. Of one of which nothing is
    /// known that is the whole one, if there are two, or else the one with the suffix: with the other one
    /// somebody else's file would be written over.
    pub(super) fn stat(&self, file: FileIndex) -> Result<Option<Stamp>, DiskError> {
        let Some(entry) = self.entry(file) else { return Ok(None) };
        let is_unknown = self.names.get(file) == Name::Unknown;
        let mut partial = None;
        let whole = self.find(file, entry, |on_disk| {
            let found = self.stat_at(file, on_disk)?;
            if is_unknown && !on_disk.suffixed && found.is_some_and(|stamp| stamp.len != entry.len) {
                partial = found;
                return Ok(None);
            }
            Ok(found)
        })?;
        let found = whole.or(partial);
        self.names.learn(file, found.map_or(Name::Nowhere, |stamp| Name::found(stamp.suffixed)));
        Ok(found)
    }

    /// Finds out which of the names of a file counts, if nothing is known of it.
    pub(super) fn learn_name(&self, file: FileIndex) {
        if self.names.get(file) == Name::Unknown {
            // Whoever goes to the file meets the error, too.
            let _known = self.stat(file);
        }
    }

    fn stat_at(
        &self,
        file: FileIndex,
        OnDisk { path, suffixed }: &OnDisk,
    ) -> Result<Option<Stamp>, DiskError> {
        let disk = &self.cx.disk;
        let parent = match self.base.open_parent(disk, path, Parents::MustExist) {
            Err(e) if e.kind == DiskErrorKind::Missing => return Ok(None),
            parent => parent?.0,
        };
        match disk.stat(At::inside(&parent.handle, path.file_name())) {
            Ok(Stat { kind: FileKind::File, len, mtime, .. }) => {
                Ok(Some(Stamp { file, len, mtime, suffixed: *suffixed }))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(DiskError::new(DiskOp::Stat, self.base.full(path), &e)),
        }
    }

    /// Opens an existing file.
    pub(super) fn open_existing(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        mode: OpenMode,
    ) -> Result<Handle, DiskError> {
        let mut missing = None;
        let found = self.find(file, entry, |on_disk| {
            match self.base.open_file(&self.cx.disk, &on_disk.path, mode) {
                Err(e) if e.kind == DiskErrorKind::Missing => {
                    missing.get_or_insert(e);
                    Ok(None)
                }
                opened => opened.map(Some),
            }
        })?;
        match (found, missing) {
            (Some(handle), _) => Ok(handle),
            (None, Some(missing)) => Err(missing),
            (None, None) => Err(self.no_such(file)),
        }
    }

    /// Opens a file to write to it. One that is nowhere is made, under the name that it has until it is
    /// complete.
    pub(super) fn open_or_make(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        expected: Expected,
    ) -> Result<File, DiskError> {
        let (disk, base): (&BlockingDisk, &Base) = (&self.cx.disk, &self.base);
        let second = self.info.suffixed_path(file);
        self.learn_name(file);
        // It may get its own name at any moment.
        let _looking = self.names.look();
        let second = second.filter(|_| self.names.get(file) != Name::Own);
        let make = |path: &SafePath| base.create_file(disk, path, entry.executable, expected);
        let Some(second) = second else { return make(&entry.path) };
        let (made, name) = match make(&second) {
            Err(e) if is_too_long(&e) => (make(&entry.path)?, Name::Own),
            made => (made?, Name::Suffixed),
        };
        self.names.set(file, name);
        Ok(made)
    }
}

fn is_too_long(error: &DiskError) -> bool {
    error.errno == Some(Errno::NAMETOOLONG.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_proto::metainfo::Metainfo;

    #[test]
    fn a_file_is_looked_for_where_it_is_known_to_be() {
        let torrent =
            [&b"d4:infod6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces20:"[..], &[b'p'; 20], b"ee"];
        let plain = Metainfo::parse(&torrent.concat()).unwrap().info;
        let named = plain.with_suffix(Some(&".part".parse().unwrap()));
        let paths = |info: &Info, name| {
            let paths = paths_of(info, FileIndex(0), &info.files[0], name);
            paths.iter().map(|on_disk| on_disk.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths(&named, Name::Unknown), ["x", "x.part"]);
        assert_eq!(paths(&named, Name::Suffixed), ["x.part", "x"]);
        assert_eq!(paths(&named, Name::Own), ["x"], "x.part is somebody else's");
        assert_eq!(paths(&plain, Name::Suffixed), ["x"]);
        let path = |info: &Info, suffixed| path_of(info, FileIndex(0), &info.files[0], suffixed);
        assert_eq!(path(&named, true), OnDisk { path: SafePath::exact("x.part").unwrap(), suffixed: true });
        assert_eq!(path(&plain, true), path(&named, false));
    }
}
