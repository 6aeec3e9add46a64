//! Bytes of unwanted files: kept apart, found again, brought home.
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use wgo_proto::{Block, FileIndex, PieceIndex};

use super::relocate::bench::Cut;
use super::rig::*;
use crate::files::*;

/// Pieces of 32 KiB: `a` has 0 and a part of 1, `b` lies in 1, `c` has the rest of 1, 2, 3 and a part of 4, `d`
/// the rest.
fn torrent() -> Torrent {
    multi("t", 32768, &[file("a", 40_000), file("b", 1_000), file("x/c", 100_000), file("x/d", 50_000)])
}

fn parted(torrent: &Torrent, files: &[u32]) -> Torrent {
    let info = torrent.info.with_parts("0123", files.iter().copied().map(FileIndex));
    Torrent { info: Arc::new(info), payload: torrent.payload.clone() }
}

pub(super) fn good(rig: &Rig, files: &Arc<TorrentFiles>) -> Vec<u32> {
    try_good(rig, files).unwrap()
}

/// The pieces that are right on disk, unless the disk fails.
pub(super) fn try_good(rig: &Rig, files: &Arc<TorrentFiles>) -> Result<Vec<u32>, CheckOutcome> {
    let (tx, rx) = mpsc::channel();
    let progress = Box::new(move |checked: &[Checked]| {
        checked.iter().filter(|c| c.good).for_each(|c| tx.send(c.piece.0).unwrap());
    });
    let pieces = CheckPieces::Range(0..files.info().layout.piece_count());
    let cancel: Arc<AtomicBool> = Arc::default();
    let files = files.clone();
    let outcome =
        rig.ask(move |done| Job::Check(Arc::new(Check::new(files, pieces, progress, cancel, done))));
    let mut good: Vec<u32> = rx.iter().collect();
    good.sort_unstable();
    if matches!(outcome, CheckOutcome::Finished(None)) { Ok(good) } else { Err(outcome) }
}

fn assert_served(rig: &Rig, files: &Arc<TorrentFiles>, torrent: &Torrent, piece: u32) {
    let layout = &torrent.info.layout;
    let blocks: Vec<Block> =
        (0..layout.blocks_in(PieceIndex(piece))).map(|n| layout.block(PieceIndex(piece), n)).collect();
    let read = rig.read(files, &blocks);
    read.result.unwrap();
    assert!(payload(&blocks, &read.out) == torrent.piece(piece), "piece {piece}");
}

#[test]
fn an_unwanted_file_is_not_made_and_its_neighbours_pieces_are_whole() {
    let rig = Rig { preallocate: Preallocate::Full, ..Rig::new() };
    let torrent = parted(&torrent(), &[1, 2]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    for piece in [0, 1, 4, 5] {
        assert_eq!(rig.store(&files, &torrent, piece), StoreOutcome::Stored);
    }
    assert!(rig.sync(&files, false).is_durable());
    assert!(rig.content("t/a") == torrent.payload[..40_000]);
    assert!(rig.content("t/x/d") == torrent.payload[141_000..]);
    assert!(!rig.path().join("t/b").exists() && !rig.path().join("t/x/c").exists());
    assert_eq!(good(&rig, &files), [0, 1, 4, 5]);
    for piece in [0, 1, 4, 5] {
        assert_served(&rig, &files, &torrent, piece);
    }
    rig.close(&files);
    let files = rig.open(&torrent);
    assert_eq!(good(&rig, &files), [0, 1, 4, 5], "also by whoever opens it anew");
    assert!(rig.remove(&files).errors.is_empty());
    assert!(std::fs::read_dir(rig.path()).unwrap().next().is_none(), "the part file goes with the others");
}

#[test]
fn a_file_that_is_wanted_after_all_gets_its_bytes() {
    for preallocate in [Preallocate::None, Preallocate::Sparse, Preallocate::Full] {
        let rig = Rig { preallocate, ..Rig::new() };
        let plain = torrent();
        let before = parted(&plain, &[1, 2]);
        let files = rig.open(&before);
        for piece in [0, 1, 4, 5] {
            assert_eq!(rig.store(&files, &before, piece), StoreOutcome::Stored);
        }
        for again in 0..2 {
            let wanted = vec![FileIndex(2)];
            rig.ask(|done| Job::TakeOut { torrent: files.clone(), files: wanted, done }).unwrap();
            assert!(rig.sync(&files, false).is_durable(), "{again}");
        }
        rig.close(&files);
        let now = parted(&plain, &[1]);
        let files = rig.open(&now);
        assert_eq!(good(&rig, &files), [0, 1, 4, 5], "{preallocate:?}");
        for piece in [2, 3] {
            assert_eq!(rig.store(&files, &now, piece), StoreOutcome::Stored);
        }
        assert!(rig.content("t/x/c") == plain.payload[41_000..141_000]);
        rig.ask(|done| Job::TakeOut { torrent: files.clone(), files: vec![FileIndex(1)], done }).unwrap();
        rig.ask(|done| Job::DropParts { torrent: files.clone(), done }).unwrap();
        assert!(rig.sync(&files, false).is_durable());
        rig.close(&files);
        rig.assert_on_disk(&plain);
        let mut names: Vec<_> = std::fs::read_dir(rig.path().join("t")).unwrap().flatten().collect();
        names.sort_by_key(std::fs::DirEntry::file_name);
        assert_eq!(names.iter().map(|n| n.file_name()).collect::<Vec<_>>(), ["a", "b", "x"]);
    }
}

#[test]
fn nothing_is_taken_out_of_a_part_file_that_never_was() {
    let rig = Rig::new();
    let torrent = parted(&torrent(), &[1, 2]);
    let files = rig.open(&torrent);
    rig.ask(|done| Job::TakeOut { torrent: files.clone(), files: vec![FileIndex(2)], done }).unwrap();
    rig.ask(|done| Job::DropParts { torrent: files.clone(), done }).unwrap();
    assert!(rig.sync(&files, false).is_durable());
    assert!(std::fs::read_dir(rig.path()).unwrap().next().is_none());
}

#[test]
fn that_a_part_file_is_gone_is_durable_whichever_run_removed_it() {
    let disk = Cut::new(None);
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), StorageLimits::default());
    let torrent = parted(&torrent(), &[0]);
    let files = rig.open(&torrent);
    assert_eq!(rig.store(&files, &torrent, 1), StoreOutcome::Stored);
    assert!(rig.sync(&files, false).is_durable());
    for gone in ["unlink .0123.parts", "sync"] {
        disk.cut(usize::MAX);
        rig.ask(|done| Job::DropParts { torrent: files.clone(), done }).unwrap();
        let steps = disk.trace.lock().unwrap().clone();
        assert_eq!(
            (steps.first().map(String::as_str), steps.last().map(String::as_str)),
            (Some(gone), Some("sync")),
            "{steps:?}"
        );
    }
}

#[test]
fn neighbouring_pieces_are_written_and_spilled_to_the_right_places() {
    let rig = Rig::new();
    let torrent = parted(&torrent(), &[0, 3]);
    let files = rig.open(&torrent);
    // A part of piece 1 is written early.
    let mut blocks = torrent.blocks(rig.storage.pool(), 1);
    let first = blocks[0].take().unwrap();
    let (one, piece) = (files.clone(), PieceIndex(1));
    rig.ask(|done| Job::Spill { torrent: one, piece, blocks: vec![(0, first)], done }).unwrap();
    assert_eq!(rig.store_blocks(&files, 1, blocks), StoreOutcome::Stored);
    for piece in [2, 3, 4] {
        assert_eq!(rig.store(&files, &torrent, piece), StoreOutcome::Stored);
    }
    assert_eq!(good(&rig, &files), [1, 2, 3, 4]);
    assert!(rig.content("t/x/c") == torrent.payload[41_000..141_000]);
    assert!(!rig.path().join("t/a").exists() && !rig.path().join("t/x/d").exists());
}
