//! Complete files get their own names, which until then ended in a suffix ([`names`](super::names)).
//!
//! That comes after the sync that made the last of a file durable, and before that is committed: a file that has
//! its own name is whole, whenever the power fails. Nothing is ever written over.
use std::io;
use std::path::{Path, PathBuf};

use wgo_proto::{Bitfield, FileIndex};

use super::beneath::{Parent, Parents};
use super::disk::{At, Op, Stat};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::names::Name;
use super::sync::{SyncOutcome, sync};
use super::torrent::TorrentFiles;

/// Why a complete file can't have its own name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// Something else has it.
    #[error(
        "{ours} is complete, and something else is in the way of its own name, {theirs}; move that away and it goes on by itself",
        ours = ours.display(), theirs = theirs.display()
    )]
    InTheWay {
        /// The file.
        ours: PathBuf,
        /// Its own path.
        theirs: PathBuf,
    },
    /// The disk says no.
    #[error("{ours} is complete and can't have its own name: {error}", ours = ours.display())]
    Disk {
        /// The file.
        ours: PathBuf,
        /// Why.
        error: DiskError,
    },
}

/// Makes the files durable of which `have` has all pieces and that don't have their own names yet, whoever wrote
/// them, and gives them these, durably.
pub(super) fn sync_and_name(torrent: &TorrentFiles, have: &Bitfield) -> SyncOutcome {
    for file in due(torrent, have) {
        let Some(path) = torrent.info.suffixed_path(file) else { continue };
        // One that is gone keeps its name; whoever reads it finds out.
        if let Ok((parent, _)) = torrent.base.open_parent(&torrent.cx.disk, &path, Parents::MustExist) {
            torrent.note_volume(&parent);
            torrent.state().dirty.insert(file);
        }
    }
    sync(torrent, Some(have))
}

/// The files whose names are known to have the suffix, and of which `have` has all pieces.
fn due(torrent: &TorrentFiles, have: &Bitfield) -> Vec<FileIndex> {
    let whole = |file: &FileIndex| {
        // The share of unwanted files in other files' pieces is elsewhere.
        !torrent.info.is_parted(*file) && torrent.layout().pieces_of(*file).all(|piece| have.get(piece))
    };
    torrent.names.suffixed().filter(whole).collect()
}

/// Gives their own names to the files of which `have` has all pieces, but not to those that `failed` to become
/// durable. That is durable when the folders that the torrent notes as having gained an entry are synced. Returns
/// the first error.
pub(super) fn give_names(
    torrent: &TorrentFiles,
    have: &Bitfield,
    failed: &[(FileIndex, DiskError)],
) -> Option<NamingError> {
    let mut first = None;
    let durable = |file: &FileIndex| failed.iter().all(|(failed, _)| failed != file);
    for file in due(torrent, have).into_iter().filter(durable) {
        match give_name(torrent, file) {
            Ok(true) => drop(torrent.state().named.insert(file)),
            Ok(false) => {}
            Err(error) => {
                // Of a torrent that would be complete without it somebody else says it.
                if !have.is_full() && torrent.names.is_news(file) {
                    tracing::warn!(%error, "a file keeps the name of one that isn't complete");
                }
                first.get_or_insert(error);
            }
        }
    }
    first
}

/// Whether it has its own name now; not if it isn't there.
fn give_name(torrent: &TorrentFiles, file: FileIndex) -> Result<bool, NamingError> {
    let (disk, base) = (&torrent.cx.disk, &torrent.base);
    let (Some(entry), Some(from)) = (torrent.entry(file), torrent.info.suffixed_path(file)) else {
        return Ok(false);
    };
    let (ours, theirs) = (base.full(&from), base.full(&entry.path));
    let failed = |error: DiskError| {
        let error = torrent.explain(error);
        NamingError::Disk { ours: ours.clone(), error }
    };
    let _giving = torrent.names.give();
    let parent = match base.open_parent(disk, &from, Parents::MustExist) {
        Err(e) if e.kind == DiskErrorKind::Missing => return Ok(false),
        parent => parent.map_err(failed)?.0,
    };
    let at = |name: &str| At::inside(&parent.handle, name);
    let refused = |e: &io::Error| failed(DiskError::new(DiskOp::Rename, &ours, e));
    let (old, new) = (at(from.file_name()), at(entry.path.file_name()));
    // One that has that name for good in another torrent keeps it beside its own.
    let shared = torrent.is_used(&from);
    let step = if shared { Op::Link { from: old, to: new } } else { Op::RenameNew { from: old, to: new } };
    match disk.run(step) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let here = stat(torrent, &parent, from.file_name()).map_err(|e| refused(&e))?;
            let there = stat(torrent, &parent, entry.path.file_name()).map_err(|e| refused(&e))?;
            match (here, there) {
                // Somebody gave it both names: the one that isn't to be seen goes.
                (Some(here), Some(there)) if (here.device, here.inode) == (there.device, there.inode) => {
                    let gone = || disk.run(Op::Unlink(at(from.file_name())));
                    if shared { Ok(()) } else { gone() }.map_err(|e| refused(&e))?;
                }
                _ => return Err(NamingError::InTheWay { ours, theirs }),
            }
        }
        // Somebody did it, or took it away; whoever reads it finds out.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let there = stat(torrent, &parent, entry.path.file_name()).map_err(|e| refused(&e))?;
            if there.is_none() {
                return Ok(false);
            }
        }
        Err(e) => return Err(refused(&e)),
    }
    torrent.names.set(file, Name::Own);
    let folder = from.as_path().parent().unwrap_or(Path::new(""));
    torrent.state().gained.insert(folder.to_owned());
    Ok(true)
}

fn stat(torrent: &TorrentFiles, parent: &Parent, name: &str) -> io::Result<Option<Stat>> {
    match torrent.cx.disk.stat(At::inside(&parent.handle, name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        stat => stat.map(Some),
    }
}
