//! Giving a torrent's files other names: once the store knows of it, and back if it can't be done.
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_core::session::{Fault, FaultKind};
use wgo_proto::FileIndex;
use wgo_proto::metainfo::Info;

use super::super::entry::from_file_stamp;
use super::super::fault;
use super::super::renaming::refusal;
use super::{Cx, Outcome, close, missing, open_files, run_job};
use crate::files::{
    DiskErrorKind, Done, Job, Renaming, RenamingError, RenamingSpec, RenamingWork, TorrentFiles,
};

fn renaming(cx: &Cx, new: Arc<Info>, kept: BTreeSet<FileIndex>) -> Arc<Renaming> {
    let stamps = (0..).zip(&cx.stamps).filter_map(|(file, stamp)| Some(from_file_stamp(file, (*stamp)?)));
    cx.engine.storage.renaming(RenamingSpec {
        id: cx.id,
        old: cx.info.clone(),
        new,
        folder: cx.folder.clone(),
        kept,
        stamps: stamps.collect(),
        mount: cx.mount.clone(),
        begun: missing::has_begun(cx),
    })
}

async fn work(
    cx: &Cx,
    renaming: &Arc<Renaming>,
    work: impl FnOnce(Done<Result<(), RenamingError>>) -> RenamingWork,
) -> Result<(), RenamingError> {
    let renaming = renaming.clone();
    run_job(&cx.engine, |done| Job::Rename { renaming, work: work(done) }).await
}

/// Sees whether the files can have the names of `new`.
pub(in crate::session) async fn survey(
    cx: &Cx,
    new: Arc<Info>,
    kept: BTreeSet<FileIndex>,
) -> Result<(), RenamingError> {
    work(cx, &renaming(cx, new, kept), RenamingWork::Survey).await
}

/// Gives the files the names of `new`, or all their old ones back. `again`: that was begun before.
pub(in crate::session) async fn run(
    mut cx: Cx,
    new: Arc<Info>,
    kept: BTreeSet<FileIndex>,
    saved: oneshot::Receiver<Result<(), String>>,
    again: bool,
) -> Outcome {
    match saved.await {
        Ok(Ok(())) => {}
        Ok(Err(why)) if again => {
            let message = format!("a rename could not be saved: {why}; it is tried again by itself");
            return Outcome::RenameStands(Fault { kind: FaultKind::DiskFull, message });
        }
        Ok(Err(why)) => {
            let message = format!("nothing was renamed, since that could not be saved: {why}");
            let error = wgo_api::ApiError::new(wgo_api::Kind::Disk, message);
            return Outcome::Renamed { ended: Err(error), files: cx.files };
        }
        // The torrent was removed.
        Err(_) => return Outcome::Done,
    }
    let was_open = cx.files.is_some();
    if let Some(files) = cx.files.take() {
        close(&cx, files).await;
    }
    let renaming = renaming(&cx, new.clone(), kept);
    let Err(error) = work(&cx, &renaming, RenamingWork::Apply).await else {
        cx.info = new;
        return Outcome::Renamed { ended: Ok(()), files: reopen(&cx, was_open).await };
    };
    if is_stopped(&error) {
        return Outcome::Unfinished;
    }
    match work(&cx, &renaming, RenamingWork::Undo).await {
        Ok(()) => Outcome::Renamed { ended: Err(refusal(&error)), files: reopen(&cx, was_open).await },
        Err(back) if is_stopped(&back) => Outcome::Unfinished,
        Err(back) => {
            tracing::warn!(error = %back, "files have partly new names, and don't get the old ones back");
            Outcome::RenameStands(stands(&error))
        }
    }
}

/// Takes hold of the files again, so that other torrents leave them alone. If that can't be, whatever comes
/// next finds out why.
async fn reopen(cx: &Cx, was_open: bool) -> Option<Arc<TorrentFiles>> {
    if was_open { open_files(cx).await.ok() } else { None }
}

fn is_stopped(error: &RenamingError) -> bool {
    matches!(error, RenamingError::Disk(error) if error.kind == DiskErrorKind::Stopped)
}

/// What stands in the way of a rename that is neither done nor undone.
fn stands(error: &RenamingError) -> Fault {
    let kind = match error {
        RenamingError::Disk(error) => fault::of_disk(error).map_or(FaultKind::Unreachable, |f| f.kind),
        RenamingError::Gone { .. } | RenamingError::Unmounted { .. } => FaultKind::Unreachable,
        RenamingError::InTheWay { .. }
        | RenamingError::Occupied { .. }
        | RenamingError::Shared { .. }
        | RenamingError::LinkedRoot { .. } => FaultKind::NotWritable,
    };
    Fault { kind, message: format!("files are being renamed: {error}; it is tried again by itself") }
}

/// Ends a rename of a torrent that is to be removed, so that its files are found.
pub(super) async fn abandon(cx: &mut Cx, kept: BTreeSet<FileIndex>) {
    let Some(new) = cx.renaming.take() else { return };
    if let Some(files) = cx.files.take() {
        close(cx, files).await;
    }
    match work(cx, &renaming(cx, new.clone(), kept), RenamingWork::Apply).await {
        Ok(()) => cx.info = new,
        Err(error) => {
            tracing::warn!(torrent = cx.info.name, %error, "some of its files may keep other names and stay");
        }
    }
}
