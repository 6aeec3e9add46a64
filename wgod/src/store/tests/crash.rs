//! The power goes, or the process ends, at every operation of a workload: the restart finds the last
//! acknowledged state or the one after it, and no suspect piece is missing or too many.
use std::collections::BTreeSet;

use wgo_core::TorrentId;
use wgo_proto::PieceIndex;

use super::power_disk::{PowerDisk, Survives};
use super::world::{self, World, requests};
use crate::store::log_thread::{self, LogWork};
use crate::store::recovery::{Opened, Recovery};
use crate::store::{tables, worker};

/// The torrent that the workload writes to.
const ONE: TorrentId = TorrentId(1);

/// Pieces that are stored after each request of the workload; 5 and 6 are covered by later ones.
const STORED: [&[u32]; 9] = [&[], &[], &[5, 9], &[6, 700], &[], &[8], &[701], &[], &[]];

/// How far a run came.
#[derive(Debug, Default)]
struct Run {
    /// Requests that were acknowledged.
    acked: usize,
    /// Pieces that reached the log for sure.
    logged: BTreeSet<u32>,
    /// Pieces that may have.
    tried: BTreeSet<u32>,
    /// The store was being closed.
    closing: bool,
    closed: bool,
}

/// Runs the workload until the power goes. The log works as its thread does, but in step.
fn run(disk: &PowerDisk) -> Run {
    let mut out = Run::default();
    let Ok(Opened { mut database, mut log, .. }) = world::open(disk) else { return out };
    for (request, stored) in requests().into_iter().zip(STORED) {
        if worker::write(&mut database, request.iter()).is_err() {
            return out;
        }
        out.acked += 1;
        let work: Vec<LogWork> = request.into_iter().filter_map(worker::log_work).collect();
        if log_thread::perform(&mut log, work).is_err() {
            return out;
        }
        out.tried.extend(stored);
        let work = stored.iter().map(|&piece| LogWork::Stored(ONE, PieceIndex(piece))).collect();
        if log_thread::perform(&mut log, work).is_err() {
            return out;
        }
        out.logged.extend(stored);
    }
    out.closing = true;
    out.closed = database.commit(tables::end_run).and_then(|()| database.close()).is_ok();
    out
}

/// Opens what is left and holds it against what `run` was told.
fn verify(disk: &PowerDisk, run: &Run, kernel_survived: bool, what: &str) {
    let Opened { mut database, loaded, .. } = world::open(disk).unwrap_or_else(|e| panic!("{what}: {e}"));
    let worlds = World::after_each(&requests());
    let found = World::read(&mut database).unwrap();
    let may = &worlds[run.acked..worlds.len().min(run.acked + 2)];
    assert!(may.contains(&found), "{what}: neither state {} nor the next", run.acked);
    let Recovery { clean, suspect, .. } = loaded.recovery;
    assert!(!run.closed || clean, "{what}: a clean end isn't recognised");
    // Before the first run is marked as begun, nothing has happened yet.
    assert!(run.acked == 0 || run.closing || !clean, "{what}: a crash is taken for a clean end");
    let suspect: BTreeSet<u32> = suspect.get(&ONE).into_iter().flatten().map(|piece| piece.0).collect();
    let progress = database.read(|txn| tables::progress(txn, ONE)).unwrap().unwrap_or_default();
    for &piece in &suspect {
        assert!(run.tried.contains(&piece) && progress.writing, "{what}: {piece} was never stored");
        assert!(!progress.have.has(PieceIndex(piece)), "{what}: {piece} is known to be there");
    }
    if kernel_survived && progress.writing {
        for &piece in run.logged.iter().filter(|&&piece| !progress.have.has(PieceIndex(piece))) {
            assert!(suspect.contains(&piece), "{what}: {piece} was logged and is forgotten");
        }
    }
}

/// Ways in which one cut can end.
fn endings(at: u64) -> impl Iterator<Item = Survives> {
    let random = (0..5).map(move |n| Survives::Some(at * 100 + n));
    [Survives::All, Survives::Nothing].into_iter().chain(random)
}

#[test]
fn every_cut_leaves_the_old_or_the_new_state_with_all_that_was_acknowledged() {
    let mut at = 0;
    loop {
        let disk = PowerDisk::new();
        disk.cut_at(at);
        let run = run(&disk);
        for survives in endings(at) {
            let what = format!("cut at {at}, survives: {survives:?}");
            verify(&disk.restart(survives), &run, matches!(survives, Survives::All), &what);
        }
        if run.closed && disk.ops() <= at {
            break;
        }
        at += 1;
    }
    assert!(at > 100, "the workload has {at} operations");
}

#[test]
fn a_cut_during_the_recovery_from_a_cut_loses_nothing_either() {
    let total = {
        let disk = PowerDisk::new();
        run(&disk);
        disk.ops()
    };
    for first in (0..total).step_by(3) {
        let disk = PowerDisk::new();
        disk.cut_at(first);
        let run = run(&disk);
        for (n, survives) in endings(first).enumerate() {
            let kernel_survived = matches!(survives, Survives::All);
            // The recovery has a handful of operations; each ending meets another one of them.
            let second = (first + n as u64 * 5) % 16;
            let restarted = disk.restart(survives);
            restarted.cut_at(second);
            drop(world::open(&restarted));
            let again = if kernel_survived { Survives::All } else { Survives::Some(second) };
            let what = format!("cut at {first}, survives {survives:?}, and again at {second}");
            verify_after_recovery(&restarted.restart(again), &run, kernel_survived, &what);
        }
    }
}

/// As `verify`, but the run in between may have begun, so that a clean end counts no more.
fn verify_after_recovery(disk: &PowerDisk, run: &Run, kernel_survived: bool, what: &str) {
    let run = Run {
        acked: run.acked,
        logged: run.logged.clone(),
        tried: run.tried.clone(),
        closing: true,
        closed: false,
    };
    verify(disk, &run, kernel_survived, what);
}
