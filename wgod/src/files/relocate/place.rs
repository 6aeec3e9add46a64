//! The first half of a move: every file gets a second name in the new place, and the old one stays.
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::FileEntry;

use super::super::beneath::{Parent, Parents};
use super::super::disk::{At, Op, OpenHow, OpenMode};
use super::super::error::{DiskError, DiskErrorKind, DiskOp};
use super::super::names::{OnDisk, path_of};
use super::super::place::Place;
use super::super::sync::Stamp;
use super::super::torrent::{Preallocate, TorrentFiles, TorrentSpec};
use super::copy::is_unsupported;
use super::survey::{Way, is_whole_copy};
use super::{MoveError, Relocation, Source, folders_of, is_same};

/// What is in the new place now.
#[derive(Debug, Default)]
pub struct Placed {
    /// Files that were copied: their pieces are to be hashed.
    pub copied: Vec<FileIndex>,
    /// Files that can't have two names: they come to the new place when it is the torrent's.
    pub lifted: Vec<FileIndex>,
    /// What each file is there.
    pub stamps: Vec<Stamp>,
    /// The new place as it is, to hash what was copied; `None` if nothing was.
    pub view: Option<Arc<TorrentFiles>>,
}

/// How one file came to the new place.
enum Came {
    Copied,
    Linked,
    Lifted,
    WasThere,
}

impl Relocation {
    /// Puts every file there, durably.
    pub(super) fn place(&self) -> Result<Placed, MoveError> {
        // One that vanished is not made again: it may be a disk that isn't mounted.
        if !self.is_marked()? {
            return Err(self.vanished().into());
        }
        let plan = self.plan()?;
        let place = Place::find(&self.cx.disk, &self.to, &self.info)?;
        self.cx.refs.claim(self.id, &self.claims(&place)).map_err(|(path, other)| {
            let this = self.info.name.clone();
            MoveError::Occupied { path, this, other: other.to_string() }
        })?;
        (self.watch.total)(plan.bytes);
        let mut placed = Placed::default();
        let mut folders = BTreeSet::new();
        for (file, way) in plan.files {
            self.check_cancelled()?;
            let Some(entry) = self.info.files.get(file.0 as usize) else { continue };
            // Gone since the plan was made: what was had of it, its pieces' hashes tell.
            let Some(source) = self.source(file, entry)? else { continue };
            let came = self.bring(file, entry, way, &source, &mut folders)?;
            let OnDisk { path, suffixed } = source.name;
            let (name, base) = match came {
                Came::Copied | Came::Linked => (self.staged_path(file, &path), &self.to),
                Came::WasThere => (Some(path.clone()), &self.to),
                Came::Lifted => (Some(path.clone()), &self.from),
            };
            let found = name.map_or(Ok(None), |name| self.look(base, &name))?;
            let missing = || DiskError::of_kind(DiskOp::Stat, base.full(&path), DiskErrorKind::Missing);
            let (_, stat) = found.ok_or_else(missing)?;
            placed.stamps.push(Stamp { file, len: stat.len, mtime: stat.mtime, suffixed });
            match came {
                Came::Copied => placed.copied.push(file),
                Came::Lifted => placed.lifted.push(file),
                Came::Linked | Came::WasThere => {}
            }
        }
        self.sync_folders(&self.to, &folders)?;
        self.to.forget_parents();
        if !self.is_marked()? {
            return Err(self.vanished().into());
        }
        self.forget_open();
        if !placed.copied.is_empty() {
            placed.view = Some(self.view(&placed)?);
        }
        Ok(placed)
    }

    fn bring(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        way: Way,
        source: &Source,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<Came, MoveError> {
        let disk = &self.cx.disk;
        let path = &source.name.path;
        folders.extend(folders_of(path));
        if way == Way::There {
            return self.adopt(source);
        }
        let (target, _) = self.to.open_parent(disk, path, Parents::Create)?;
        let (from, to) = (
            At::inside(&source.parent.handle, path.file_name()),
            At::inside(&target.handle, self.staged_name(file)),
        );
        let failed = |e| DiskError::new(DiskOp::Create, self.to.folder.join(&to.path), &e);
        if let Some(staged) = self.stat(to.clone()).map_err(failed)? {
            if is_same(&staged, &source.stat) {
                return Ok(Came::Linked);
            }
            if is_whole_copy(&staged, &source.stat) {
                return Ok(Came::Copied);
            }
            // It is ours by its name, and not whole.
            disk.run(Op::Unlink(to.clone())).map_err(failed)?;
        }
        if way == Way::Link {
            match disk.run(Op::Link { from: from.clone(), to: to.clone() }) {
                Ok(()) => return Ok(Came::Linked),
                // Two mounts of one file system: a copy is needed after all, and room for it.
                Err(e) if has(&e, &[Errno::XDEV]) => {
                    let bytes = self.still_to_copy(file, source)?;
                    self.check_room(bytes)?;
                    (self.watch.total)(bytes);
                }
                Err(e) if is_unsupported(&e) || has(&e, &[Errno::PERM, Errno::ACCESS, Errno::MLINK]) => {
                    return Ok(Came::Lifted);
                }
                Err(e) => return Err(failed(e).into()),
            }
        }
        let opened = disk.open(from, OpenHow { mode: OpenMode::Read, follow: false });
        let opened = opened.map_err(|e| DiskError::new(DiskOp::Open, self.from.full(path), &e))?;
        let mode = disk.new_file(entry.executable);
        let made = disk.open(to.clone(), OpenHow { mode, follow: false }).map_err(failed)?;
        self.copy(path, &opened, &source.stat, &made)?;
        Ok(Came::Copied)
    }

    /// What is there by a file's name stays and is the torrent's, if it is the same.
    fn adopt(&self, source: &Source) -> Result<Came, MoveError> {
        let path = &source.name.path;
        let foreign = || self.foreign(path, path);
        let Some((there, stat)) = self.look(&self.to, path)? else { return Err(foreign()) };
        if is_same(&stat, &source.stat) {
            return Ok(Came::WasThere);
        }
        let disk = &self.cx.disk;
        let open = |parent: &Parent| {
            let how = OpenHow { mode: OpenMode::Read, follow: false };
            let opened = disk.open(At::inside(&parent.handle, path.file_name()), how);
            opened.map_err(|e| DiskError::new(DiskOp::Open, self.to.full(path), &e))
        };
        let (ours, theirs, len) = (open(&source.parent)?, open(&there)?, source.stat.len);
        match stat.len == len && self.is_equal(path, &ours, &theirs, len)? {
            true => {
                // It is to outlive the one that goes.
                disk.sync_all(&theirs).map_err(|e| {
                    // The next try is to compare what is on the disk, not what memory still shows of it.
                    disk.disk().release(&theirs, 0..len);
                    DiskError::new(DiskOp::Sync, self.to.full(path), &e)
                })?;
                Ok(Came::WasThere)
            }
            false => Err(foreign()),
        }
    }

    /// The new place under the names that its files have now.
    fn view(&self, placed: &Placed) -> Result<Arc<TorrentFiles>, MoveError> {
        let mut info = self.info.with_suffix(None);
        for stamp in &placed.stamps {
            let Some(entry) = info.files.get_mut(stamp.file.0 as usize) else { continue };
            let named = path_of(&self.info, stamp.file, entry, stamp.suffixed).path;
            let adopted = self.look(&self.to, &named)?.is_some();
            let staged = if adopted { None } else { self.staged_path(stamp.file, &named) };
            entry.path = staged.unwrap_or(named);
        }
        let spec = TorrentSpec {
            id: self.id,
            info: Arc::new(info),
            folder: self.to.folder.clone(),
            writes: false,
            preallocate: Preallocate::None,
            names: Vec::new(),
        };
        Ok(TorrentFiles::view(&self.cx, spec)?)
    }
}

fn has(error: &io::Error, errnos: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|found| errnos.iter().any(|errno| errno.raw_os_error() == found))
}
