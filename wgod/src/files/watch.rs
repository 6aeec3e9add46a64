//! Whether somebody else changed the files of a complete torrent.
//!
//! A file that another program writes to gives no sign of it to a reader, so length and time of each
//! file, as they were when its pieces were last known to be right, are compared whenever it is opened,
//! and those of open files now and then. Between two looks a change goes unseen, as does one that puts
//! the time back; whoever gets wrong bytes meanwhile finds that by their hash.
use std::sync::atomic::Ordering;

use wgo_proto::FileIndex;

use super::disk::{Handle, Mtime};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::job::Done;
use super::sync::Stamp;
use super::torrent::TorrentFiles;
use super::{Job, Storage};

impl TorrentFiles {
    /// From now on the files are to be as `stamps` say, until they are written to.
    pub fn watch(&self, stamps: impl IntoIterator<Item = Stamp>) {
        let known = stamps.into_iter().map(|stamp| (stamp.file, (stamp.len, stamp.mtime)));
        let mut known: Box<[_]> = known.collect();
        known.sort_unstable_by_key(|(file, _)| *file);
        self.state().known = known;
    }

    /// What a file was; `None` when nobody said, or when it is ours to write to.
    fn known(&self, file: FileIndex) -> Option<(u64, Mtime)> {
        if self.writes() {
            return None;
        }
        let state = self.state();
        let at = state.known.binary_search_by_key(&file, |(file, _)| *file).ok()?;
        Some(state.known[at].1)
    }

    /// Compares a file that was just opened.
    pub(super) fn compare(&self, file: FileIndex, opened: &Handle) -> Result<(), DiskError> {
        let Some(known) = self.known(file) else { return Ok(()) };
        let failed = |e| DiskError::new(DiskOp::Stat, self.path(file), &e);
        let now = self.cx.disk.stat_handle(opened).map_err(failed)?;
        if (now.len, now.mtime) == known { Ok(()) } else { Err(self.changed(file)) }
    }

    /// Compares the files that are open.
    pub(super) fn look(&self) -> Result<(), DiskError> {
        for file in self.cx.open.files_of(self.id) {
            let Some(known) = self.known(file) else { continue };
            match self.stat(file)? {
                Some(now) if (now.len, now.mtime) == known => {}
                Some(_) => return Err(self.changed(file)),
                None => {
                    return Err(DiskError::of_kind(DiskOp::Open, self.path(file), DiskErrorKind::Missing));
                }
            }
        }
        Ok(())
    }

    fn changed(&self, file: FileIndex) -> DiskError {
        DiskError::of_kind(DiskOp::Read, self.path(file), DiskErrorKind::Changed)
    }
}

impl Storage {
    /// Compares the files of a torrent that are open; `report` hears what is wrong with them. While a disk
    /// hangs, one look waits for it and no more.
    pub fn look(
        &self,
        torrent: &std::sync::Arc<TorrentFiles>,
        report: impl FnOnce(DiskError) + Send + 'static,
    ) {
        if torrent.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let looked = torrent.clone();
        let done = Done::new(move |result: Result<(), DiskError>| {
            looked.looking.store(false, Ordering::Release);
            if let Err(error) = result {
                report(error);
            }
        });
        self.submit_now(Job::Look { torrent: torrent.clone(), done });
    }
}
