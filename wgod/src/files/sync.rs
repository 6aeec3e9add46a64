//! Checkpoints: what was written becomes durable.
//!
//! A file's content with `fdatasync`, each folder that gained an entry with `fsync`. After a failed
//! sync the file is closed, so that it is opened afresh, and reported: its pieces since the last
//! checkpoint are in doubt, and syncing again would wrongly succeed.
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use wgo_proto::{Bitfield, FileIndex};

use super::beneath::Parents;
use super::disk::{Handle, Mtime, Op, OpenMode};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::naming::{NamingError, give_names};
use super::prepare::sync_entry;
use super::torrent::{TorrentFiles, Written};

/// With more files than this, and when one of them was closed meanwhile, the whole file system is synced
/// once before them: their own syncs then find nothing to wait for and only report errors.
const MANY_FILES: usize = 64;

/// Length and time of a file after a sync: what the store compares at the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The file.
    pub file: FileIndex,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last written to.
    pub mtime: Mtime,
    /// Its name ends in the torrent's suffix for files that aren't complete.
    pub suffixed: bool,
}

/// What a checkpoint did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncOutcome {
    /// Files written to since the last checkpoint that are durable now.
    pub stamps: Vec<Stamp>,
    /// Files in doubt.
    pub failed: Vec<(FileIndex, DiskError)>,
    /// A folder whose new entries are in doubt, and with them every file written to: nothing of this
    /// checkpoint may be committed.
    pub folder: Option<DiskError>,
    /// Why a complete file doesn't have its own name: the first of them. Its content is durable all the same.
    pub unnamed: Option<NamingError>,
}

impl SyncOutcome {
    /// Whether all that was written before the checkpoint is durable.
    pub fn is_durable(&self) -> bool {
        self.failed.is_empty() && self.folder.is_none()
    }
}

/// Makes everything durable that was stored before the call. Files of which `have`, what was stored before, has
/// all pieces get their own names.
pub(super) fn sync(torrent: &TorrentFiles, have: Option<&Bitfield>) -> SyncOutcome {
    let (dirty, reopened, volumes) = {
        let mut state = torrent.state();
        let volumes = state.volumes.clone();
        // What is written from now on is for the next checkpoint, which must hear of failures from here.
        state.volumes.iter_mut().for_each(|written| written.seen = written.volume.failures());
        let reopened = std::mem::take(&mut state.reopened);
        (std::mem::take(&mut state.dirty), reopened, volumes)
    };
    let mut outcome = SyncOutcome::default();
    // Their own sync tells of every write since the last checkpoint.
    let whole = |file: &&FileIndex| !reopened.contains(file) && torrent.cx.open.is_dirty(torrent.key(**file));
    let whole: BTreeSet<FileIndex> = dirty.iter().filter(whole).copied().collect();
    let many = dirty.len() > MANY_FILES || whole.len() < dirty.len();
    let synced = if many { sync_volumes(torrent, &volumes) } else { Ok(false) };
    for &file in &dirty {
        // Where there is no sync of all, its own must do, which may not hear of a write that failed before it was closed.
        let volume = if whole.contains(&file) || matches!(synced, Ok(false)) { None } else { Some(&synced) };
        match sync_file(torrent, file, volume) {
            Ok(stamp) => outcome.stamps.push(stamp),
            Err(e) => {
                forget(torrent, file);
                outcome.failed.push((file, e));
            }
        }
    }
    if let Some(have) = have {
        outcome.unnamed = give_names(torrent, have, &outcome.failed);
    }
    note_names(torrent, &mut outcome);
    outcome.folder = sync_folders(torrent).err();
    torrent.base.forget_parents();
    outcome
}

/// Makes files durable that were found on disk, whoever wrote them, with the entries that lead to them: of an earlier
/// run that was killed, and of others, only the system knows what reached the disk.
pub(super) fn settle(torrent: &TorrentFiles, files: &[FileIndex]) -> SyncOutcome {
    let mut outcome = SyncOutcome::default();
    let mut folders = BTreeSet::new();
    let many = files.len() > MANY_FILES;
    for (done, &file) in files.iter().enumerate() {
        match settle_file(torrent, file, many && done == 0) {
            Ok(those) => folders.extend(those),
            Err(error) => {
                forget(torrent, file);
                outcome.failed.push((file, error));
            }
        }
    }
    let synced = folders.iter().try_for_each(|folder| sync_folder(torrent, folder));
    torrent.base.forget_parents();
    outcome.folder = synced.and_then(|()| sync_entry(&torrent.cx.disk, torrent.folder())).err();
    outcome
}

/// Returns the folders that lead to it. `all`: everything on its file system goes first.
fn settle_file(torrent: &TorrentFiles, file: FileIndex, all: bool) -> Result<Vec<PathBuf>, DiskError> {
    let disk = &torrent.cx.disk;
    let entry = torrent.entry(file).ok_or_else(|| torrent.no_such(file))?;
    let handle = torrent.handle_to_read(file)?;
    let whole = if all { can_sync(disk.run(Op::SyncFs(handle.clone()))) } else { Ok(()) };
    let synced = can_sync(disk.sync_data(&handle)).and(whole);
    synced.map_err(|e| DiskError::new(DiskOp::Sync, torrent.path(file), &e))?;
    Ok(torrent.folders_of(file, entry))
}

/// What can't be synced at all was not written by us.
fn can_sync(result: io::Result<()>) -> io::Result<()> {
    let never = [Errno::INVAL, Errno::ROFS, Errno::OPNOTSUPP].map(Errno::raw_os_error);
    match result {
        Err(e) if e.raw_os_error().is_some_and(|errno| never.contains(&errno)) => Ok(()),
        result => result,
    }
}

/// A file that could not be made durable is opened afresh, and memory forgets what it shows of it: that may never have
/// reached the disk, and a check would believe it.
fn forget(torrent: &TorrentFiles, file: FileIndex) {
    // One that can't be opened shows nothing.
    if let Ok(handle) = torrent.handle_to_read(file) {
        torrent.cx.disk.disk().release(&handle, 0..torrent.layout().file_len(file));
    }
    torrent.cx.open.remove(torrent.key(file));
}

/// One sync for all, and for files that were closed since they were written to. What it reports may be
/// about somebody else's files. False if a volume can't do that: each file must be synced by itself.
fn sync_volumes(torrent: &TorrentFiles, volumes: &[Written]) -> io::Result<bool> {
    let disk = &torrent.cx.disk;
    // Each of them, whatever came of those before.
    let synced: Vec<_> = volumes.iter().map(|written| written.volume.sync(disk, written.seen)).collect();
    synced.into_iter().try_fold(true, |all, one| one.map(|one| all && one))
}

/// `volume` is what came of the sync of all, for a file that can't tell of every write itself.
fn sync_file(
    torrent: &TorrentFiles,
    file: FileIndex,
    volume: Option<&io::Result<bool>>,
) -> Result<Stamp, DiskError> {
    let disk = &torrent.cx.disk;
    let failed = |e: &io::Error| DiskError::new(DiskOp::Sync, torrent.path(file), e);
    match (torrent.cx.open.sync_now(disk, torrent.key(file)), volume) {
        (Some(synced), _) => synced.map_err(|e| failed(&e))?,
        (None, Some(_)) => {}
        // Closed in this moment.
        (None, None) => disk.sync_data(&reopen(torrent, file)?).map_err(|e| failed(&e))?,
    }
    if let Some(Err(e)) = volume {
        return Err(failed(e));
    }
    let stat = torrent
        .stat(file)?
        .ok_or_else(|| DiskError::of_kind(DiskOp::Sync, torrent.path(file), DiskErrorKind::Missing))?;
    Ok(stat)
}

fn reopen(torrent: &TorrentFiles, file: FileIndex) -> Result<Handle, DiskError> {
    let missing = || DiskError::of_kind(DiskOp::Open, torrent.path(file), DiskErrorKind::Missing);
    let entry = torrent.entry(file).ok_or_else(missing)?;
    torrent.open_existing(file, entry, OpenMode::Write)
}

/// Says of files that got their own names, now or since the last checkpoint, what they are.
fn note_names(torrent: &TorrentFiles, outcome: &mut SyncOutcome) {
    let mut named = std::mem::take(&mut torrent.state().named);
    outcome
        .stamps
        .iter_mut()
        .filter(|stamp| named.remove(&stamp.file))
        .for_each(|stamp| stamp.suffixed = false);
    // One that can't be looked at is in doubt no more than before.
    outcome.stamps.extend(named.into_iter().filter_map(|file| torrent.stat(file).ok().flatten()));
}

/// Makes durable what folders gained, in the order in which that is noted: after what is in them.
fn sync_folders(torrent: &TorrentFiles) -> Result<(), DiskError> {
    let gained = std::mem::take(&mut torrent.state().gained);
    let mut result = Ok(());
    for folder in gained {
        let synced = sync_folder(torrent, &folder);
        if synced.is_err() {
            torrent.state().gained.insert(folder);
            result = result.and(synced);
        }
    }
    result
}

pub(super) fn sync_folder(torrent: &TorrentFiles, relative: &Path) -> Result<(), DiskError> {
    // They come from safe paths, which are text.
    let names = relative.iter().filter_map(|name| name.to_str());
    let folder = torrent.base.open_dir(&torrent.cx.disk, names, Parents::MustExist)?;
    let synced = can_sync(torrent.cx.disk.sync_all(&folder.handle));
    synced.map_err(|e| DiskError::new(DiskOp::Sync, torrent.base.folder.join(relative), &e))
}
