//! The halves of a move: the files get second names in the new place and are found to be right; after the
//! switch they get their own there, and the old ones go.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use wgo_core::session::{Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::super::entry::{from_file_stamp, to_file_stamp};
use super::super::fault;
use super::super::moving::{MoveProgress, not_moved};
use super::hindrance::Hindrance;
use super::{Cx, Outcome, check, close, missing, open_files, run_job};
use crate::files::{
    Check as CheckJob, CheckOutcome, CheckPieces, Checked, DiskError, DiskErrorKind, Done, Job, MoveError,
    MoveWatch, Placed as PlacedFiles, RelocateWork, Relocation, RelocationSpec, Settled, Space, SyncOutcome,
    TorrentFiles,
};
use crate::store::{FileStamp, Move, MoveStage};

/// Digits of the info-hash in the names that files have on their way.
const TAG_LEN: usize = 16;

/// What is in the new place.
#[derive(Debug)]
pub(in crate::session) struct Placed {
    /// What each file is there.
    pub stamps: Vec<Option<FileStamp>>,
}

fn relocation(
    cx: &Cx,
    places: (PathBuf, PathBuf),
    kept: BTreeSet<FileIndex>,
    watch: MoveWatch,
) -> Arc<Relocation> {
    let (from, to) = places;
    let stamps = (0..).zip(&cx.stamps).filter_map(|(file, stamp)| Some(from_file_stamp(file, (*stamp)?)));
    let spec = RelocationSpec {
        id: cx.id,
        info: cx.info.clone(),
        tag: cx.hashes.canonical().to_string().chars().take(TAG_LEN).collect(),
        from,
        to,
        kept,
        stamps: stamps.collect(),
        min_free_space: cx.min_free_space,
        watch,
    };
    cx.engine.storage.relocation(spec)
}

/// Sees whether a move can be made.
pub(in crate::session) async fn survey(
    cx: &Cx,
    kept: BTreeSet<FileIndex>,
    to: PathBuf,
) -> Result<(), MoveError> {
    let relocation = relocation(cx, (cx.folder.clone(), to), kept, MoveWatch::default());
    run_job(&cx.engine, |done| Job::Relocate { relocation, work: RelocateWork::Survey(done) }).await
}

/// Makes the folder that a torrent is to go to, and marks it.
pub(in crate::session) async fn mark(cx: &Cx, to: PathBuf) -> Result<(), MoveError> {
    let relocation = relocation(cx, (cx.folder.clone(), to), BTreeSet::new(), MoveWatch::default());
    run_job(&cx.engine, |done| Job::Relocate { relocation, work: RelocateWork::Mark(done) }).await
}

/// The first half.
pub(in crate::session) async fn place(
    cx: Cx,
    to: PathBuf,
    kept: BTreeSet<FileIndex>,
    progress: Arc<MoveProgress>,
) -> Outcome {
    if let Err(ended) = all_there(&cx).await {
        return ended;
    }
    let arrives = cx.final_folder.as_ref() == Some(&to);
    let watch = progress.watch(cx.engine.clock);
    let relocation = relocation(&cx, (cx.folder.clone(), to.clone()), kept, watch);
    let job = relocation.clone();
    let placed: Result<PlacedFiles, MoveError> =
        run_job(&cx.engine, |done| Job::Relocate { relocation: job, work: RelocateWork::Place(done) }).await;
    let placed = match placed {
        Ok(placed) => verify(&cx, &placed, &progress).await.map(|()| placed),
        Err(error) => Err(error),
    };
    let error = match placed {
        Ok(placed) => {
            let mut stamps = vec![None; cx.info.files.len()];
            for stamp in &placed.stamps {
                if let Some(slot) = stamps.get_mut(stamp.file.0 as usize) {
                    *slot = Some(to_file_stamp(stamp));
                }
            }
            return Outcome::Placed(Placed { stamps });
        }
        Err(error) => error,
    };
    match error {
        MoveError::Cancelled => Outcome::MoveStopped,
        MoveError::Disk(ref disk) if disk.kind == DiskErrorKind::Stopped => Outcome::Unfinished,
        // Trying again is no use before somebody does something about it, and the old place is whole. Nobody
        // waits for one that goes to its final folder: until that can be reached it seeds on.
        MoveError::Disk(ref disk) if disk.kind != DiskErrorKind::Full && !arrives => faulted(&to, disk),
        error => Outcome::CalledOff { why: not_moved(&to, &error) },
    }
}

/// What is had must be there: what is missing would be left behind.
async fn all_there(cx: &Cx) -> Result<(), Outcome> {
    let stands = |fault: Option<Fault>| fault.map_or(Outcome::Unfinished, Outcome::MoveFaulted);
    let files = open_files(cx).await.map_err(|error| stands(fault::of_open(&error)))?;
    match missing::place(cx, &files).await {
        Ok(_) => {}
        Err(Hindrance::Fault(fault)) => return Err(Outcome::MoveFaulted(fault)),
        Err(_) => return Err(Outcome::Unfinished),
    }
    let stamps = check::stat_all(cx, &files).await.map_err(|error| stands(fault::of_disk(&error)))?;
    missing::files(cx, &cx.have, &stamps).map_or(Ok(()), |fault| Err(Outcome::MoveFaulted(fault)))
}

/// Hashes what was copied.
async fn verify(cx: &Cx, placed: &PlacedFiles, progress: &Arc<MoveProgress>) -> Result<(), MoveError> {
    let Some(view) = placed.view.clone() else { return Ok(()) };
    let layout = &cx.info.layout;
    let touched = |files: &[FileIndex]| {
        let mut pieces = Bitfield::new(layout.piece_count());
        for piece in files.iter().flat_map(|file| layout.pieces_of(*file)) {
            pieces.set(piece);
        }
        pieces
    };
    let mut pieces = touched(&placed.copied);
    // Those are partly in the old place still.
    pieces.subtract(&touched(&placed.lifted));
    let wanted: Arc<[PieceIndex]> = pieces.iter_ones().filter(|p| cx.have.get(*p)).map(PieceIndex).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    progress.expect(wanted.iter().map(|piece| u64::from(layout.piece_len(*piece))).sum());
    let bad: Arc<Mutex<Option<PieceIndex>>> = Arc::default();
    let (found, told, clock, lens) = (bad.clone(), progress.clone(), cx.engine.clock, layout.clone());
    let on_checked = move |verdicts: &[Checked]| {
        for verdict in verdicts {
            told.add(clock.now(), u64::from(lens.piece_len(verdict.piece)));
            if !verdict.good {
                found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(verdict.piece);
            }
        }
    };
    let (files, cancel): (Arc<TorrentFiles>, _) = (view, progress.cancel());
    let outcome = run_job(&cx.engine, |done: Done<CheckOutcome>| {
        Job::Check(Arc::new(CheckJob::new(
            files,
            CheckPieces::List(wanted),
            Box::new(on_checked),
            cancel,
            done,
        )))
    });
    match outcome.await {
        CheckOutcome::Cancelled => return Err(MoveError::Cancelled),
        CheckOutcome::Finished(Some(error)) => return Err(error.into()),
        CheckOutcome::Finished(None) => {}
    }
    let bad = *bad.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(piece) = bad else { return Ok(()) };
    let copied = |span: &wgo_proto::layout::Span| placed.copied.contains(&span.file);
    let file = layout.spans(piece, 0, layout.piece_len(piece)).find(copied).map(|span| span.file);
    let path = file.and_then(|file| cx.info.files.get(file.0 as usize)).map(|entry| entry.path.as_path());
    Err(MoveError::Wrong { path: cx.folder.join(path.unwrap_or("".as_ref())) })
}

fn faulted(to: &std::path::Path, error: &DiskError) -> Outcome {
    let Some(Fault { kind, message }) = fault::of_disk(error) else { return Outcome::Unfinished };
    let message = format!(
        "moving to {}: {message}; its old place is whole, and `wgoctl move ID --cancel` goes back to it",
        to.display()
    );
    Outcome::MoveFaulted(Fault { kind, message })
}

/// The second half, once the store knows of the new place.
pub(in crate::session) async fn settle(
    mut cx: Cx,
    from: PathBuf,
    kept: BTreeSet<FileIndex>,
    saved: oneshot::Receiver<Result<(), String>>,
) -> Outcome {
    match saved.await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            let message = format!("its new place could not be saved: {why}; it is tried again by itself");
            return Outcome::MoveFaulted(Fault { kind: FaultKind::DiskFull, message });
        }
        Err(_) => return Outcome::MoveStopped,
    }
    if let Some(files) = cx.files.take() {
        close(&cx, files).await;
    }
    match finish(&cx, from, kept).await {
        Ok(files) => Outcome::Moved { files },
        Err(fault) => fault.map_or(Outcome::Unfinished, Outcome::MoveFaulted),
    }
}

async fn finish(
    cx: &Cx,
    from: PathBuf,
    kept: BTreeSet<FileIndex>,
) -> Result<Arc<TorrentFiles>, Option<Fault>> {
    let of_disk = |error: DiskError| fault::of_disk(&error);
    let files = open_files(cx).await.map_err(|error| fault::of_open(&error))?;
    // Empty files and symlinks, which are not worth moving.
    let prepared: Result<Space, DiskError> =
        run_job(&cx.engine, |done| Job::Prepare { torrent: files.clone(), done }).await;
    prepared.map_err(of_disk)?;
    let relocation = relocation(cx, (from.clone(), cx.folder.clone()), kept, MoveWatch::default());
    let settled: Result<Settled, MoveError> =
        run_job(&cx.engine, |done| Job::Relocate { relocation, work: RelocateWork::Settle(done) }).await;
    let settled = settled.map_err(|error| match error {
        MoveError::Disk(error) => of_disk(error),
        error => Some(Fault { kind: FaultKind::NotWritable, message: error.to_string() }),
    })?;
    for error in &settled.left {
        tracing::warn!(torrent = cx.info.name, %error, "an old file stays where it was");
    }
    if settled.more > 0 {
        tracing::warn!(torrent = cx.info.name, more = settled.more, "old files stay where they were");
    }
    let _synced: SyncOutcome =
        run_job(&cx.engine, |done| Job::Sync { torrent: files.clone(), have: None, seal: !cx.writes, done })
            .await;
    Ok(files)
}

/// Removes what was put into the new place of a move that was called off, once the store knows that: as long as it says
/// that the move goes on, a place without its mark counts as one that is gone. `saved`: none if nobody can wait.
pub(in crate::session) async fn undo(
    cx: Cx,
    to: PathBuf,
    saved: Option<oneshot::Receiver<Result<(), String>>>,
) -> Outcome {
    if let Some(Err(why)) = match saved {
        Some(saved) => saved.await.ok(),
        None => None,
    } {
        let message =
            format!("that its move was called off could not be saved: {why}; it is tried again by itself");
        return Outcome::MoveFaulted(Fault { kind: FaultKind::DiskFull, message });
    }
    match take_back(&cx, to.clone()).await {
        Err(MoveError::Disk(error)) if error.kind == DiskErrorKind::Stopped => Outcome::Unfinished,
        Err(error) => {
            tracing::warn!(torrent = cx.info.name, to = %to.display(), %error, "what was copied stays");
            Outcome::Unmoved { why: None }
        }
        Ok(()) => Outcome::Unmoved { why: None },
    }
}

async fn take_back(cx: &Cx, to: PathBuf) -> Result<(), MoveError> {
    let places = (cx.folder.clone(), to);
    let relocation = relocation(cx, places, BTreeSet::new(), MoveWatch::default());
    run_job(&cx.engine, |done| Job::Relocate { relocation, work: RelocateWork::Undo(done) }).await
}

/// Leaves one place of a torrent that is to be removed in the middle of a move.
pub(super) async fn abandon(cx: &Cx, kept: BTreeSet<FileIndex>) {
    let Some(Move { other, stage }) = cx.moving.clone() else { return };
    let left = match stage {
        MoveStage::Placing | MoveStage::Undoing => take_back(cx, other).await.err().map(|e| e.to_string()),
        MoveStage::Switched => {
            let fault = finish(cx, other, kept).await.err();
            fault.map(|fault| fault.map_or_else(|| "the daemon stopped".to_owned(), |fault| fault.message))
        }
    };
    if let Some(error) = left {
        tracing::warn!(torrent = cx.info.name, error, "something of its move stays on disk");
    }
}
