//! Checks: which pieces the disk really holds.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use wgo_core::session::{Check, Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::super::entry::{CheckProgress, to_stored};
use super::super::fault;
use super::{Cx, Outcome, open_files, run_job};
use crate::clock::unix_now;
use crate::files::{
    Check as CheckJob, CheckOutcome, CheckPieces, Checked, Done, Job, Stamp, SyncOutcome, TorrentFiles,
};
use crate::store::{Change, FileStamp, Progress};

/// Pieces that a quick check hashes (DESIGN).
const SAMPLE: u32 = 16;

/// Looks at the files that the paths name now: descriptors of before may be of files that are deleted.
pub(super) async fn run(mut cx: Cx, kind: Check, progress: Arc<CheckProgress>) -> Outcome {
    if let Some(files) = cx.files.take() {
        close(&cx, files).await;
    }
    let files = match open_files(&cx).await {
        Ok(files) => files,
        Err(error) => {
            return fault::of_open(&error).map_or(Outcome::Cancelled, Outcome::Faulted);
        }
    };
    let outcome = look(&cx, &files, kind, &progress).await;
    if !matches!(outcome, Outcome::Checked { .. }) {
        close(&cx, files).await;
    }
    outcome
}

async fn close(cx: &Cx, torrent: Arc<TorrentFiles>) {
    // What could not be synced is read back by the check.
    let _synced: SyncOutcome = run_job(&cx.engine, |done| Job::Close { torrent, done }).await;
}

async fn look(cx: &Cx, files: &Arc<TorrentFiles>, kind: Check, progress: &Arc<CheckProgress>) -> Outcome {
    let stamps = match stat_all(cx, files).await {
        Ok(stamps) => stamps,
        Err(error) => return fault::of_disk(&error).map_or(Outcome::Cancelled, Outcome::Faulted),
    };
    let found = match kind {
        Check::None => Ok(Some(Found::hashed(cx.have.clone()))),
        Check::Full => full(cx, files, progress).await,
        Check::Quick => quick(cx, files, &stamps, progress).await,
        Check::Suspects => suspects(cx, files, &stamps, progress).await,
    };
    let Found { have, unverified } = match found {
        Ok(Some(have)) => have,
        Ok(None) => return Outcome::Cancelled,
        Err(fault) => return Outcome::Faulted(fault),
    };
    let mut hashed = have.clone();
    hashed.subtract(&unverified);
    let completed_at = match cx.completed_at {
        _ if !have.is_full() => None,
        None => Some(unix_now().max(0) as u64),
        known => known,
    };
    let changed = hashed != cx.durable || cx.writing || cx.stamps.is_empty();
    if changed {
        let change = Progress {
            have: to_stored(&hashed),
            writing: false,
            completed_at,
            files: stamps.clone(),
            ..Progress::default()
        };
        super::report(cx.engine.store.put(vec![Change::Progress(cx.id, change)]).await);
    }
    Outcome::Checked { files: files.clone(), have, unverified, stamps, completed_at }
}

/// What a check found.
struct Found {
    /// The pieces that are there.
    have: Bitfield,
    /// Those of them that were not hashed.
    unverified: Bitfield,
}

impl Found {
    fn hashed(have: Bitfield) -> Found {
        Found { unverified: Bitfield::new(have.len()), have }
    }
}

/// Length and time of every file; `None` for one that is missing.
pub(super) async fn stat_all(
    cx: &Cx,
    files: &Arc<TorrentFiles>,
) -> Result<Vec<Option<FileStamp>>, crate::files::DiskError> {
    let count = cx.info.files.len() as u32;
    let wanted: Vec<FileIndex> = (0..count).map(FileIndex).filter(|file| on_disk(cx, *file)).collect();
    let job = |done| Job::Stat { torrent: files.clone(), files: wanted, done };
    let found: Result<Vec<Stamp>, _> = run_job(&cx.engine, job).await;
    let mut stamps = vec![None; count as usize];
    for stamp in found? {
        if let Some(slot) = stamps.get_mut(stamp.file.0 as usize) {
            *slot = Some(to_file_stamp(&stamp));
        }
    }
    Ok(stamps)
}

pub(super) fn to_file_stamp(stamp: &Stamp) -> FileStamp {
    let nanos = stamp.mtime.secs.saturating_mul(1_000_000_000).saturating_add(i64::from(stamp.mtime.nanos));
    FileStamp { len: stamp.len, mtime_nanos: nanos }
}

/// Whether the file has bytes on disk.
fn on_disk(cx: &Cx, file: FileIndex) -> bool {
    cx.info.files.get(file.0 as usize).is_some_and(|f| !f.pad && f.len > 0 && f.symlink.is_none())
}

async fn full(
    cx: &Cx,
    files: &Arc<TorrentFiles>,
    progress: &Arc<CheckProgress>,
) -> Result<Option<Found>, Fault> {
    let count = cx.info.layout.piece_count();
    let have = hash(cx, files, CheckPieces::Range(0..count), Bitfield::new(count), progress).await?;
    Ok(have.map(Found::hashed))
}

/// Every file has its length, and a sample of pieces is right: then all are believed. Else a full check.
async fn quick(
    cx: &Cx,
    files: &Arc<TorrentFiles>,
    stamps: &[Option<FileStamp>],
    progress: &Arc<CheckProgress>,
) -> Result<Option<Found>, Fault> {
    let whole = |(index, stamp): (usize, &Option<FileStamp>)| {
        let file = &cx.info.files[index];
        !on_disk(cx, FileIndex(index as u32)) || stamp.is_some_and(|stamp| stamp.len == file.len)
    };
    let count = cx.info.layout.piece_count();
    if stamps.iter().enumerate().all(whole) && count > 0 {
        let sample: BTreeSet<u32> = (0..SAMPLE).map(|n| sampled(n, count, cx.seed)).collect();
        let expected = sample.len() as u32;
        let list: Arc<[PieceIndex]> = sample.into_iter().map(PieceIndex).collect();
        let found = hash(cx, files, CheckPieces::List(list), Bitfield::new(count), progress).await?;
        match found {
            None => return Ok(None),
            Some(good) if good.count() == expected => {
                let have = Bitfield::full(count);
                let mut unverified = have.clone();
                unverified.subtract(&good);
                return Ok(Some(Found { have, unverified }));
            }
            Some(_) => {}
        }
    }
    full(cx, files, progress).await
}

/// The first piece, the last, and others spread by the seed.
fn sampled(n: u32, count: u32, seed: u64) -> u32 {
    match n {
        0 => 0,
        1 => count - 1,
        _ => (seed.rotate_left(n * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) % u64::from(count)) as u32,
    }
}

/// What the stored state says, less what changed behind our back, plus what the log of stored pieces
/// names and hashes right.
async fn suspects(
    cx: &Cx,
    files: &Arc<TorrentFiles>,
    stamps: &[Option<FileStamp>],
    progress: &Arc<CheckProgress>,
) -> Result<Option<Found>, Fault> {
    let mut have = cx.have.clone();
    let mut list: BTreeSet<u32> = cx.suspects.iter().map(|piece| piece.0).collect();
    let layout = &cx.info.layout;
    let mut missing = Vec::new();
    for (index, found) in stamps.iter().enumerate() {
        let file = FileIndex(index as u32);
        if !on_disk(cx, file) {
            continue;
        }
        let known = cx.stamps.get(index).copied().flatten();
        if is_unchanged(known, *found, cx.writing) {
            continue;
        }
        let pieces = layout.pieces_of(file);
        let had = pieces.clone().any(|piece| have.get(piece));
        if had && found.is_none() {
            missing.push(cx.info.files[index].path.as_str().to_owned());
        }
        list.extend(pieces.clone().filter(|piece| have.get(*piece)));
        have.clear_range(pieces);
    }
    if let Some(first) = missing.first() {
        // Never taken for "nothing downloaded yet": a mount may be missing.
        let message = format!(
            "{} of its files are missing from {}, such as {first:?}; put them back and it goes on by itself, or run `wgoctl verify` to start from what is there",
            missing.len(),
            cx.folder.display()
        );
        return Err(Fault { kind: FaultKind::Unreachable, message });
    }
    if list.is_empty() {
        return Ok(Some(Found::hashed(have)));
    }
    tracing::info!(
        torrent = cx.info.name,
        pieces = list.len(),
        "hashing what the last checkpoint does not cover"
    );
    let list: Arc<[PieceIndex]> = list.into_iter().map(PieceIndex).collect();
    let tried = list.clone();
    let found = hash(cx, files, CheckPieces::List(list), have, progress).await?;
    if let Some(have) = &found {
        for piece in tried.iter().filter(|piece| !have.get(piece.0)) {
            cx.engine.store.log_refuted(cx.id, *piece);
        }
    }
    Ok(found.map(Found::hashed))
}

/// Whether nobody else touched a file. One that we were writing to has a new time anyhow, and may only
/// have grown.
fn is_unchanged(known: Option<FileStamp>, found: Option<FileStamp>, writing: bool) -> bool {
    match (known, found) {
        (Some(known), Some(found)) if writing => found.len >= known.len,
        (Some(known), Some(found)) => known == found,
        (Some(_), None) => false,
        // Never synced with data in it, so no piece of it counts as stored.
        (None, _) => true,
    }
}

/// Hashes pieces; the good ones are added to `have`. `None` when it was cancelled.
async fn hash(
    cx: &Cx,
    files: &Arc<TorrentFiles>,
    pieces: CheckPieces,
    have: Bitfield,
    progress: &Arc<CheckProgress>,
) -> Result<Option<Bitfield>, Fault> {
    let found = Arc::new(Mutex::new(have));
    let (collect, counter) = (found.clone(), progress.clone());
    let on_checked = move |verdicts: &[Checked]| {
        let mut found = collect.lock().unwrap_or_else(PoisonError::into_inner);
        for verdict in verdicts.iter().filter(|verdict| verdict.good) {
            found.set(verdict.piece.0);
        }
        counter.add(verdicts.len());
    };
    let cancel = progress.cancel.clone();
    let job = |done: Done<CheckOutcome>| {
        Job::Check(Arc::new(CheckJob::new(files.clone(), pieces, Box::new(on_checked), cancel, done)))
    };
    match run_job(&cx.engine, job).await {
        CheckOutcome::Cancelled => Ok(None),
        CheckOutcome::Finished(error) => {
            if let Some(error) = error {
                tracing::warn!(torrent = cx.info.name, %error, "some pieces could not be read");
            }
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Some(found.clone()))
        }
    }
}
