//! Checkpoints: what is stored becomes durable, then the have-bits are committed.
use wgo_core::session::{Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::super::entry::{to_file_stamp, to_stored};
use super::super::fault;
use super::{Cx, Outcome, run_job};
use crate::clock::unix_now;
use crate::files::{DiskError, Job, Space, SyncOutcome};
use crate::store::{Change, Counters, FileStamp, Partial, Progress, StoreError};
use crate::torrent::Torrent;

pub(super) async fn run(cx: Cx) -> Outcome {
    // A fault may have kept the Swarm from being made.
    let Some(live) = cx.live.clone() else { return Outcome::NoCheckpoint };
    let Some(files) = live.files().cloned() else { return Outcome::NoCheckpoint };
    let Ok((have, partials, counters)) = live.call(|swarm, now| {
        swarm.begin_checkpoint();
        (swarm.have_copy(), swarm.partials(), swarm.view(now).counters)
    }) else {
        return Outcome::NoCheckpoint;
    };
    let finished = cx.is_met(&have);
    let stored = Some(have.clone());
    let job = |done| Job::Sync { torrent: files, have: stored, seal: finished, done };
    let outcome: SyncOutcome = run_job(&cx.engine, job).await;
    if let Some(error) = in_doubt(&outcome) {
        return failed(&cx, &live, error);
    }
    // Who hears of its completion looks for its files under their own names.
    let unnamed = outcome.unnamed.as_ref().filter(|_| finished).map(fault::of_naming);
    let finished = finished && unnamed.is_none();
    let stamps = merge_stamps(&cx, &outcome);
    let completed_at = cx.completed_at.or_else(|| finished.then(|| unix_now().max(0) as u64));
    let progress = progress(&cx, &have, &partials, !finished, completed_at, &stamps);
    let changes = vec![
        Change::Progress(cx.id, progress),
        Change::Counters(cx.id, add_counters(&cx.counters, counters)),
    ];
    if let Err(error) = cx.engine.store.put(changes).await {
        return Outcome::NotCheckpointed { fault: store_fault(&error), synced: Some(stamps) };
    }
    match unnamed {
        None => Outcome::Checkpointed { durable: have, stamps, completed_at },
        Some(fault) => Outcome::Unnamed { durable: have, stamps, fault },
    }
}

/// The state that a checkpoint commits.
pub(super) fn progress(
    cx: &Cx,
    have: &Bitfield,
    partials: &[(PieceIndex, Bitfield)],
    writing: bool,
    completed_at: Option<u64>,
    stamps: &[Option<FileStamp>],
) -> Progress {
    let partials = partials.iter().map(|(piece, mask)| Partial { piece: *piece, blocks: mask.to_wire() });
    Progress {
        have: to_stored(have),
        partials: partials.collect(),
        writing,
        completed_at,
        files: stamps.to_vec(),
        mount: cx.mount.clone(),
        ..Progress::default()
    }
}

/// The totals of earlier sessions keep what the Swarm does not count.
pub(super) fn add_counters(before: &Counters, now: wgo_core::status::Counters) -> Counters {
    Counters { downloaded: now.downloaded, uploaded: now.uploaded, wasted: now.wasted, ..before.clone() }
}

/// Why not everything is durable.
pub(super) fn in_doubt(outcome: &SyncOutcome) -> Option<DiskError> {
    outcome.folder.clone().or_else(|| outcome.failed.first().map(|(_, error)| error.clone()))
}

/// What is known of the files now: the last checkpoint's stamps, and those that this one synced.
pub(super) fn merge_stamps(cx: &Cx, outcome: &SyncOutcome) -> Vec<Option<FileStamp>> {
    let mut stamps = cx.stamps.clone();
    stamps.resize(cx.info.files.len(), None);
    for stamp in &outcome.stamps {
        let FileIndex(index) = stamp.file;
        if let Some(slot) = stamps.get_mut(index as usize) {
            *slot = Some(to_file_stamp(stamp));
        }
    }
    stamps
}

/// A failed sync leaves unknown bytes behind: what was stored since the last checkpoint is not had any
/// more, and is fetched again.
fn failed(cx: &Cx, live: &std::sync::Arc<Torrent>, error: DiskError) -> Outcome {
    if let Some(lost) = cx.engine.call(live, |swarm, now| swarm.lose_unsynced(now, &cx.durable)) {
        refute(cx, &lost);
    }
    let unknown = || Fault { kind: FaultKind::Unreachable, message: error.to_string() };
    Outcome::NotCheckpointed { fault: fault::of_disk(&error).unwrap_or_else(unknown), synced: None }
}

/// Nobody is to look for these pieces after a crash: memory would still show what never reached the disk.
pub(super) fn refute(cx: &Cx, pieces: &[PieceIndex]) {
    pieces.iter().for_each(|piece| cx.engine.store.log_refuted(cx.id, *piece));
}

/// The fault of a torrent whose state the store doesn't take. That has nothing to do with the disk that its
/// files are on.
pub(super) fn store_fault(error: &StoreError) -> Fault {
    let full = error.is_disk_full();
    let kind = if full { FaultKind::DiskFull } else { FaultKind::NotWritable };
    let what = if full { "the disk that holds wgod's state is full" } else { "its state could not be saved" };
    Fault { kind, message: format!("{what}: {error}; it goes on by itself when it can be saved") }
}

/// The fault of a file system that has too little room for downloads, given what of it is free now.
pub(super) fn low_space(cx: &Cx, space: Space) -> Option<Fault> {
    let mut room = cx.room;
    room.update(space.free, space.total, cx.min_free_space, false);
    room.is_low().then(|| fault::of_room(&cx.folder, space, room, cx.min_free_space))
}
