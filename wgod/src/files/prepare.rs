//! What a torrent brings along besides payload: its folder, empty files and symlinks (BEP 47).
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::FileEntry;
use wgo_proto::path::SafePath;

use super::beneath::{Expected, Parents};
use super::blocking_disk::BlockingDisk;
use super::disk::{At, Op, OpenHow, OpenMode};
use super::error::{DiskError, DiskOp};
use super::place::{Space, free_space, nearest};
use super::torrent::TorrentFiles;

/// Makes the folder, then the empty files and symlinks that are missing. Files with payload are made
/// when they are first written to; pad files never. Returns the room that there is.
pub(super) fn prepare(torrent: &TorrentFiles) -> Result<Space, DiskError> {
    make_folder(&torrent.cx.disk, torrent.folder())?;
    torrent.base.settle(&torrent.cx.disk)?;
    for (index, entry) in torrent.info.files.iter().enumerate() {
        if entry.pad {
            continue;
        }
        if let Some(target) = &entry.symlink {
            make_symlink(torrent, entry, target)?;
        } else if entry.len == 0 {
            // Files are numbered by 32 bits.
            let file = FileIndex(index as u32);
            let disk = &torrent.cx.disk;
            let made = torrent.base.create_file(disk, &entry.path, entry.executable, Expected::Missing)?;
            torrent.note_volume(&made.parent);
            let is_new = !made.gained.is_empty();
            let mut state = torrent.state();
            if is_new {
                // All on the way to it: a try that failed may have made some of them.
                state.gained.extend(torrent.folders_of(file, entry));
                state.dirty.insert(file);
            }
        }
    }
    free_space(&torrent.cx.disk, torrent.folder())
}

/// Makes a folder and those above it, each durable in the one that it lies in.
pub(super) fn make_folder(disk: &BlockingDisk, folder: &std::path::Path) -> Result<(), DiskError> {
    let (existing, mut parent) = nearest(disk, folder)?;
    sync_entry(disk, existing)?;
    let mut path = existing.to_owned();
    for name in folder.strip_prefix(existing).unwrap_or(folder) {
        path.push(name);
        match disk.make_dir(At::inside(&parent, name)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(DiskError::new(DiskOp::Create, path, &e));
            }
            _ => {}
        }
        disk.sync_all(&parent).map_err(|e| DiskError::new(DiskOp::Sync, &path, &e))?;
        parent = nearest(disk, &path)?.1;
    }
    Ok(())
}

/// Makes a folder durable in the one that it lies in: an earlier run may have made it, and ended before it had done
/// that. Where that one can't be opened, or not be synced, somebody else made this.
pub(super) fn sync_entry(disk: &BlockingDisk, folder: &std::path::Path) -> Result<(), DiskError> {
    let how = OpenHow { mode: OpenMode::Dir, follow: true };
    let Some(Ok(above)) = folder.parent().map(|above| disk.open(At::path(above), how)) else { return Ok(()) };
    match disk.sync_all(&above) {
        Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            Err(DiskError::new(DiskOp::Sync, folder, &e))
        }
        _ => Ok(()),
    }
}

/// Makes a symlink to another of the torrent's paths. The target can't lead outside: it is a safe
/// path, written relative to where the link is. What is in its place already stays. A file system
/// without symlinks, or one that refuses them, is no reason not to download the rest.
fn make_symlink(torrent: &TorrentFiles, entry: &FileEntry, target: &SafePath) -> Result<(), DiskError> {
    let disk = &torrent.cx.disk;
    let (parent, mut gained) = torrent.base.open_parent(disk, &entry.path, Parents::Create)?;
    let at = At::inside(&parent.handle, entry.path.file_name());
    match disk.run(Op::Symlink { at, target: relative(&entry.path, target) }) {
        Ok(()) => gained.push(entry.path.as_path().parent().map(PathBuf::from).unwrap_or_default()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => {
            let error = DiskError::new(DiskOp::Link, torrent.base.full(&entry.path), &e);
            tracing::warn!(%error, "symlink left out");
        }
    }
    torrent.state().gained.extend(gained);
    Ok(())
}

/// The text of a link at `link` that leads to `target`, both relative to one folder.
pub(super) fn relative(link: &SafePath, target: &SafePath) -> PathBuf {
    // The last component of the link is its own name, not a folder on the way.
    let folders = link.components().count() - 1;
    let pairs = link.components().take(folders).zip(target.components());
    let common = pairs.take_while(|(a, b)| a == b).count();
    let mut path: PathBuf = std::iter::repeat_n("..", folders - common).collect();
    path.extend(target.components().skip(common));
    if path.as_os_str().is_empty() {
        path.push(".");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_text_climbs_to_the_common_folder_and_no_further() {
        let safe = |path: &str| SafePath::exact(path).unwrap();
        for (link, target, want) in [
            ("t/a", "t/b", "b"),
            ("t/x/a", "t/b", "../b"),
            ("t/x/a", "t/x/y/b", "y/b"),
            ("t/x/a", "t/y/b", "../y/b"),
            ("t/x/a", "t/x", "."),
            ("a", "b", "b"),
        ] {
            assert_eq!(relative(&safe(link), &safe(target)), PathBuf::from(want), "{link} -> {target}");
        }
    }
}
