//! Other files of a torrent are wanted: their bytes leave the part file, those of files that aren't wanted any
//! more go there from now on. Changes nothing that the store says: done again after a crash it comes to the
//! same.
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::Fault;
use wgo_proto::{FileIndex, PieceIndex};

use super::check::{on_disk, stat_all};
use super::checkpoint::{in_doubt, merge_stamps};
use super::hindrance::Hindrance;
use super::{Cx, Outcome, close, missing, open_files, run_job};
use crate::files::{DiskError, Job, SyncOutcome, TorrentFiles};
use crate::session::fault;
use crate::session::selecting::Selected;

/// Makes the files ready; `wish` has one priority for each file.
pub(super) async fn run(mut cx: Cx, wish: Vec<Priority>) -> Outcome {
    // Those that are open may be of a torrent that only reads.
    cx.writes = true;
    if let Some(files) = cx.files.take() {
        close(&cx, files).await;
    }
    match select(&cx, &wish).await {
        Ok(selected) => Outcome::Selected(selected),
        Err(Hindrance::Fault(fault)) => Outcome::NotSelected(fault),
        Err(Hindrance::Elsewhere(_) | Hindrance::Changed) => Outcome::NotSelected(elsewhere(&cx)),
        Err(Hindrance::Stopped) => Outcome::Unfinished,
    }
}

async fn select(cx: &Cx, wish: &[Priority]) -> Result<Selected, Hindrance> {
    let files = open_files(cx).await?;
    let selected = rearrange(cx, &files, wish).await;
    close(cx, files).await;
    selected
}

async fn rearrange(cx: &Cx, files: &Arc<TorrentFiles>, wish: &[Priority]) -> Result<Selected, Hindrance> {
    let is_skipped = |file: &FileIndex| wish.get(file.0 as usize) == Some(&Priority::Skip);
    missing::place(cx, files).await?;
    let found = stat_all(cx, files).await?;
    let is_there = |file: &FileIndex| found.get(file.0 as usize).is_some_and(Option::is_some);
    let all: Vec<FileIndex> = (0..cx.info.layout.file_count()).map(FileIndex).collect();
    let parted = |file: &FileIndex| cx.info.is_parted(*file);
    let home: Vec<FileIndex> = all.iter().copied().filter(|f| parted(f) && !is_skipped(f)).collect();
    let mut stamps = cx.stamps.clone();
    if !home.is_empty() {
        let taken: Result<(), DiskError> =
            run_job(&cx.engine, |done| Job::TakeOut { torrent: files.clone(), files: home, done }).await;
        taken?;
        let synced: SyncOutcome =
            run_job(&cx.engine, |done| Job::Sync { torrent: files.clone(), have: None, seal: false, done })
                .await;
        if let Some(error) = in_doubt(&synced) {
            return Err(error.into());
        }
        stamps = merge_stamps(cx, &synced);
    }
    let unmade = |file: &FileIndex| on_disk(cx, *file) && !is_there(file);
    let apart = all.iter().copied().filter(|f| is_skipped(f) && (parted(f) || unmade(f)));
    let apart: Vec<FileIndex> = apart.collect();
    let mut doubtful: Vec<PieceIndex> = Vec::new();
    for file in apart.iter().filter(|file| !parted(file)) {
        // One that was there before was deleted, with its share of pieces that we have.
        doubtful.extend(cx.info.pieces_in(*file).filter(|piece| cx.have.get(piece.0)));
        if let Some(stamp) = stamps.get_mut(file.0 as usize) {
            *stamp = None;
        }
    }
    doubtful.dedup();
    Ok(Selected { parted: apart, doubtful, stamps })
}

fn elsewhere(cx: &Cx) -> Fault {
    let message = format!("its files in {} are not what they were", cx.folder.display());
    Fault { kind: wgo_core::session::FaultKind::Unreachable, message }
}

/// Removes the part file once the store says that nothing in it is needed.
pub(super) async fn drop_parts(cx: Cx, saved: oneshot::Receiver<Result<(), String>>) -> Outcome {
    if !matches!(saved.await, Ok(Ok(()))) {
        // The next change tries again.
        return Outcome::Done;
    }
    let cx = Cx { files: None, writes: true, ..cx };
    let files = match open_files(&cx).await {
        Ok(files) => files,
        Err(_) => return Outcome::Done,
    };
    let dropped: Result<(), DiskError> =
        run_job(&cx.engine, |done| Job::DropParts { torrent: files.clone(), done }).await;
    close(&cx, files).await;
    match dropped {
        Ok(()) => Outcome::PartsDropped,
        Err(error) => {
            let what = fault::of_disk(&error).map_or_else(|| error.to_string(), |fault| fault.message);
            tracing::warn!(error = what, "what was kept of unwanted files stays on disk");
            Outcome::Done
        }
    }
}
