//! Removal of a torrent's files from disk: only what is its own.
//!
//! Files that another torrent uses stay, and so does everything that the torrent doesn't list: a
//! folder goes only when it is empty, and the operator's folder never.
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use wgo_proto::FileIndex;
use wgo_proto::metainfo::FileEntry;

use super::beneath::{Base, Parents};
use super::blocking_disk::BlockingDisk;
use super::disk::{At, FileKind, Handle, Op};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::names::OnDisk;
use super::sync::sync_folder;
use super::torrent::TorrentFiles;

/// Errors kept of one removal; the rest are counted.
const MAX_ERRORS: usize = 16;

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveOutcome {
    /// Files and symlinks removed.
    pub removed: usize,
    /// Files that another torrent uses, left alone.
    pub shared: usize,
    /// Names of the torrent that stand for something else now (a folder, a symlink), left alone.
    pub foreign: usize,
    /// What couldn't be removed: the first few.
    pub errors: Vec<DiskError>,
    /// How many more there were.
    pub more_errors: usize,
}

impl RemoveOutcome {
    fn fail(&mut self, error: DiskError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.more_errors += 1;
        }
    }
}

enum Removed {
    Yes,
    WasNotThere,
    Foreign,
}

/// Removes the files, but for those of `kept`, then the folders that are empty without them.
pub(super) fn remove(torrent: &TorrentFiles, kept: &BTreeSet<FileIndex>) -> RemoveOutcome {
    let mut outcome = RemoveOutcome::default();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    // Neighbours in the list mostly share a folder: it is kept open.
    let mut last: Option<(PathBuf, Handle)> = None;
    let files = (0..).map(FileIndex).zip(&torrent.info.files);
    for (index, entry) in files.filter(|(_, entry)| !entry.pad) {
        torrent.learn_name(index);
        if kept.contains(&index) || torrent.is_shared(index, entry) {
            outcome.shared += 1;
            continue;
        }
        let parent = entry.path.as_path().parent().unwrap_or(Path::new(""));
        folders.extend(parent.ancestors().filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned));
        match remove_entry(torrent, index, entry, parent, &mut last) {
            Ok(Removed::Yes) => outcome.removed += 1,
            Ok(Removed::Foreign) => outcome.foreign += 1,
            Ok(Removed::WasNotThere) => {}
            Err(e) => outcome.fail(e),
        }
    }
    drop(last);
    // Deeper folders sort after those that hold them.
    for folder in folders.iter().rev() {
        if let Err(e) = remove_folder(&torrent.cx.disk, &torrent.base, folder) {
            outcome.fail(e);
        }
    }
    folders.insert(PathBuf::new());
    // Else a power cut might bring back what nobody knows any more, also what a run that was killed had removed.
    for folder in &folders {
        match sync_folder(torrent, folder) {
            Err(e) if e.kind != DiskErrorKind::Missing => outcome.fail(e),
            _ => {}
        }
    }
    outcome
}

fn remove_entry(
    torrent: &TorrentFiles,
    file: FileIndex,
    entry: &FileEntry,
    parent: &Path,
    last: &mut Option<(PathBuf, Handle)>,
) -> Result<Removed, DiskError> {
    let disk = &torrent.cx.disk;
    let handle = match last {
        Some((path, handle)) if path == parent => handle,
        _ => match torrent.base.open_parent(disk, &entry.path, Parents::MustExist) {
            Ok((folder, _)) => &mut last.insert((parent.to_owned(), folder.handle)).1,
            Err(e) if e.kind == DiskErrorKind::Missing => return Ok(Removed::WasNotThere),
            Err(e) if e.kind == DiskErrorKind::Obstructed => return Ok(Removed::Foreign),
            Err(e) => return Err(e),
        },
    };
    let mut foreign = false;
    let removed = torrent.find(file, entry, |OnDisk { path, .. }| {
        let at = At::inside(handle, path.file_name());
        let failed = |e: io::Error| DiskError::new(DiskOp::Remove, torrent.base.full(path), &e);
        let kind = match disk.stat(at.clone()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            stat => stat.map_err(failed)?.kind,
        };
        let ours = if entry.symlink.is_some() { FileKind::Symlink } else { FileKind::File };
        if kind != ours {
            foreign = true;
            return Ok(None);
        }
        disk.run(Op::Unlink(at)).map(Some).map_err(failed)
    })?;
    Ok(match removed {
        Some(()) => Removed::Yes,
        None if foreign => Removed::Foreign,
        None => Removed::WasNotThere,
    })
}

/// Removes one file of the torrent if it is there and a file.
pub(super) fn remove_file(
    torrent: &TorrentFiles,
    file: FileIndex,
    entry: &FileEntry,
) -> Result<(), DiskError> {
    let parent = entry.path.as_path().parent().unwrap_or(Path::new(""));
    remove_entry(torrent, file, entry, parent, &mut None).map(drop)
}

/// Removes a folder beneath a base if it is empty.
pub(super) fn remove_folder(disk: &BlockingDisk, base: &Base, relative: &Path) -> Result<(), DiskError> {
    let mut names: Vec<&str> = relative.iter().filter_map(|name| name.to_str()).collect();
    let Some(name) = names.pop() else { return Ok(()) };
    let parent = match base.open_dir(disk, names.into_iter(), Parents::MustExist) {
        Err(e) if matches!(e.kind, DiskErrorKind::Missing | DiskErrorKind::Obstructed) => return Ok(()),
        parent => parent?.handle,
    };
    match disk.run(Op::RemoveDir(At::inside(&parent, name))) {
        // A symlink, or a folder with something else in it, isn't ours.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::AlreadyExists
            ) =>
        {
            Ok(())
        }
        removed => removed.map_err(|e| DiskError::new(DiskOp::Remove, base.folder.join(relative), &e)),
    }
}
