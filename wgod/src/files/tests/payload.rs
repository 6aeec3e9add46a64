//! Payload goes to the right places and comes back.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use wgo_proto::{Block, FileIndex, PieceIndex};

use super::rig::*;
use crate::files::disk::OnDone;
use crate::files::*;

fn whole_piece(torrent: &Torrent, piece: u32) -> Vec<Block> {
    let layout = &torrent.info.layout;
    (0..layout.blocks_in(PieceIndex(piece))).map(|n| layout.block(PieceIndex(piece), n)).collect()
}

/// Stores a torrent piece by piece, compares the disk, reads it back both ways.
fn round_trip(rig: &Rig, torrent: &Torrent) {
    let files = rig.open(torrent);
    rig.prepare(&files);
    rig.store_all(&files, torrent);
    rig.assert_on_disk(torrent);
    let outcome = rig.sync(&files, true);
    assert!(outcome.is_durable() && !files.writes(), "{outcome:?}");
    for piece in 0..torrent.info.layout.piece_count() {
        let blocks = whole_piece(torrent, piece);
        let read = rig.read(&files, &blocks);
        read.result.unwrap();
        assert!(payload(&blocks, &read.out) == torrent.piece(piece), "piece {piece}");
        let mut wire = vec![0xEE; wire_len(&blocks)];
        match files.read_run_nowait(&blocks, &mut wire) {
            Nowait::Done(n) => {
                let got = wire_len(&blocks[..n]);
                let want = &torrent.piece(piece)[..got - n * HEADER_LEN];
                assert!(payload(&blocks[..n], &wire[..got]) == want, "piece {piece}");
                assert_eq!(wire[..HEADER_LEN], [0xEE; HEADER_LEN], "the header's gap is left alone");
            }
            Nowait::Miss => {}
            Nowait::Failed(e) => panic!("{e}"),
        }
    }
    rig.close(&files);
    assert_eq!(rig.storage.open_files(), 0);
    assert_eq!(rig.storage.pool().leased_blocks(), 0);
}

#[test]
fn torrents_of_all_shapes_are_written_and_read_back() {
    let cases: &[(&str, usize, Vec<Made>)] = &[
        ("one block", 16384, vec![file("a", 5)]),
        ("folders", 32768, vec![file("a/b/c", 40_000), file("a/d", 1), file("e", 70_000)]),
        ("empty", 32768, vec![file("x", 0), file("y", 100), file("z/empty", 0)]),
        ("a piece in many files", 65536, (0..50).map(|n| file(&format!("f{n}"), 1000 + n)).collect()),
        (
            "padding",
            32768,
            vec![file("a", 100), pad(32668), file("b", 32768 * 2 + 7), pad(32761), file("c", 1)],
        ),
        ("only padding in a block", 65536, vec![file("a", 10), pad(65526), file("b", 9)]),
        ("Unicode", 16384, vec![file("Ünï/日本語/🦀 file", 20_000), file("العربية", 1)]),
        ("odd piece length", 50_000, vec![file("a", 120_001), file("b", 3)]),
    ];
    let rig = Rig::new();
    for (name, piece_len, files) in cases {
        round_trip(&rig, &multi(name, *piece_len, files));
    }
}

#[test]
fn a_handful_of_descriptors_is_enough() {
    let limits = StorageLimits { open_files: 2, ..StorageLimits::default() };
    let rig = Rig::with(std::sync::Arc::new(RealDisk), tempfile::tempdir().unwrap(), limits);
    let torrent = multi("many", 32768, &(0..40).map(|n| file(&format!("{n}"), 5000)).collect::<Vec<_>>());
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    assert!(rig.storage.open_files() <= 2);
    let outcome = rig.sync(&files, false);
    assert_eq!((outcome.stamps.len(), outcome.is_durable()), (40, true), "evicted files too");
    rig.assert_on_disk(&torrent);
}

#[test]
fn nothing_waits_for_a_file_that_is_not_open_or_not_cached() {
    for place in [std::env::temp_dir(), "/dev/shm".into()] {
        let Ok(dir) = tempfile::tempdir_in(&place) else {
            println!("SKIPPED: no {} here", place.display());
            continue;
        };
        let rig = Rig::with(std::sync::Arc::new(RealDisk), dir, StorageLimits::default());
        let torrent = multi("t", 65536, &[file("a", 50_000), file("b", 50_000)]);
        let files = rig.open(&torrent);
        rig.prepare(&files);
        rig.store_all(&files, &torrent);
        rig.close(&files);
        let files = rig.try_open(&torrent, false).unwrap();
        let block = torrent.info.layout.block(PieceIndex(0), 0);
        let mut out = vec![0; block.len as usize];
        assert_eq!(files.read_nowait(block, &mut out), Nowait::Miss, "nothing is open");
        rig.read(&files, &[block]).result.unwrap();
        assert_eq!(files.read_nowait(block, &mut out), Nowait::Done(1), "just read: {place:?}");
        assert!(out == torrent.piece(0)[..16384]);
        // File b isn't open: blocks up to it are given, the one that straddles isn't.
        let blocks = whole_piece(&torrent, 0);
        let mut wire = vec![0; wire_len(&blocks)];
        assert_eq!(files.read_run_nowait(&blocks, &mut wire), Nowait::Done(3), "{place:?}");
        assert_eq!(files.read_run_nowait(&blocks, &mut wire[1..]), Nowait::Miss, "a buffer of another size");
    }
}

#[test]
fn spilled_blocks_are_read_back_to_be_hashed() {
    let rig = Rig::new();
    let torrent = multi("s", 131_072, &[file("a", 50_000), pad(15_536), file("b", 65_536)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let mut blocks = torrent.blocks(rig.storage.pool(), 0);
    let spilled = [1, 2, 3, 6].map(|n| (n as u32, blocks[n].take().unwrap())).into();
    let (to, piece) = (files.clone(), PieceIndex(0));
    rig.ask(|done| Job::Spill { torrent: to, piece, blocks: spilled, done }).unwrap();
    assert_eq!(rig.store_blocks(&files, 0, blocks), StoreOutcome::Stored);
    rig.assert_on_disk(&torrent);
}

#[test]
fn a_bad_piece_is_told_and_not_written() {
    let rig = Rig::new();
    let torrent = multi("b", 32768, &[file("a", 40_000)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let mut blocks = torrent.blocks(rig.storage.pool(), 0);
    blocks[1].as_mut().unwrap()[5] ^= 1;
    assert_eq!(rig.store_blocks(&files, 0, blocks), StoreOutcome::BadHash);
    let mut short = torrent.blocks(rig.storage.pool(), 0);
    short[0].as_mut().unwrap().set_filled(100);
    assert_eq!(rig.store_blocks(&files, 0, short), StoreOutcome::BadHash);
    assert!(!rig.path().join("b/a").exists());
    let StoreOutcome::Failed(e) = rig.store_blocks(&files, 1, vec![None]) else { panic!() };
    assert_eq!(e.kind, DiskErrorKind::Missing, "nothing was spilled");
}

#[test]
fn space_is_reserved_as_configured_and_never_taken_away() {
    use std::os::unix::fs::MetadataExt;
    for mode in [Preallocate::None, Preallocate::Sparse, Preallocate::Full] {
        let rig = Rig { preallocate: mode, ..Rig::new() };
        let torrent = multi("p", 65536, &[file("a", 1 << 20), file("long", 1 << 17)]);
        std::fs::create_dir(rig.path().join("p")).unwrap();
        std::fs::write(rig.path().join("p/long"), vec![1; 1 << 18]).unwrap();
        let files = rig.open(&torrent);
        rig.store(&files, &torrent, 0);
        rig.store(&files, &torrent, 17);
        let meta = std::fs::metadata(rig.path().join("p/a")).unwrap();
        assert_eq!(meta.len(), if mode == Preallocate::None { 65536 } else { 1 << 20 }, "{mode:?}");
        let probe = std::fs::File::create(rig.path().join("probe")).unwrap();
        if rustix::fs::fallocate(&probe, rustix::fs::FallocateFlags::empty(), 0, 4096).is_err() {
            println!("SKIPPED: no fallocate in the temp folder");
        } else {
            assert_eq!(meta.blocks() * 512 >= 1 << 20, mode == Preallocate::Full, "{mode:?}");
        }
        assert_eq!(std::fs::metadata(rig.path().join("p/long")).unwrap().len(), 1 << 18, "{mode:?}");
    }
}

#[test]
fn a_checkpoint_names_what_was_written_since_the_last() {
    let rig = Rig::new();
    let torrent = multi("c", 32768, &[file("a", 32768), file("d/b", 32768), file("empty", 0)]);
    let files = rig.open(&torrent);
    assert_eq!(stamps(&rig.sync(&files, false)), []);
    rig.prepare(&files);
    rig.store(&files, &torrent, 1);
    assert_eq!(stamps(&rig.sync(&files, false)), [(FileIndex(1), 32768), (FileIndex(2), 0)]);
    assert_eq!(stamps(&rig.sync(&files, false)), []);
    rig.store(&files, &torrent, 0);
    let outcome = rig.close(&files);
    assert_eq!(stamps(&outcome), [(FileIndex(0), 32768)]);
    let again = rig.open(&torrent);
    let torrent_files = again.clone();
    let all = (0..3).map(FileIndex).collect();
    let now = rig.ask(|done| Job::Stat { torrent: torrent_files, files: all, done }).unwrap();
    assert_eq!(now[0], outcome.stamps[0], "nothing touched it in between");
    assert_eq!(now.len(), 3);
    let StoreOutcome::Failed(e) = rig.store(&files, &torrent, 0) else { panic!() };
    assert_eq!(e.kind, DiskErrorKind::Stopped, "the old handle is closed");
}

#[test]
fn more_files_than_a_few_are_synced_together() {
    let rig = Rig::new();
    let made: Vec<Made> = (0..100).map(|n| file(&format!("{}/{n}", n % 7), 3000)).collect();
    let torrent = multi("m", 32768, &made);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    let outcome = rig.sync(&files, true);
    assert_eq!((outcome.stamps.len(), outcome.is_durable()), (100, true));
}

#[test]
fn a_file_that_shrank_or_vanished_is_told_from_a_disk_that_failed() {
    let rig = Rig::new();
    let torrent = multi("v", 32768, &[file("a", 32768), file("b", 32768)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    rig.sync(&files, true);
    let block = |piece| torrent.info.layout.block(PieceIndex(piece), 1);
    rig.read(&files, &[block(0)]).result.unwrap();
    std::fs::OpenOptions::new().write(true).open(rig.path().join("v/a")).unwrap().set_len(100).unwrap();
    std::fs::remove_file(rig.path().join("v/b")).unwrap();
    let mut out = vec![0; 16384];
    let short = rig.read(&files, &[block(0)]).result.unwrap_err();
    assert_eq!((short.kind, short.is_lost_data()), (DiskErrorKind::Short, true));
    assert_eq!(files.read_nowait(block(0), &mut out), Nowait::Failed(short));
    let missing = rig.read(&files, &[block(1)]).result.unwrap_err();
    assert_eq!((missing.kind, missing.is_lost_data()), (DiskErrorKind::Missing, true));
}

fn any_torrent() -> impl Strategy<Value = (usize, Vec<Made>)> {
    let len = prop_oneof![Just(0_usize), 1..100_usize, 10_000..60_000_usize, Just(16384), Just(32768)];
    let one = (len, 0..4_u8, 0..3_u8);
    (
        prop_oneof![Just(16384_usize), Just(32768), Just(65536), Just(20_000)],
        prop::collection::vec(one, 1..12),
    )
        .prop_map(|(piece_len, list)| {
            let mut files = vec![file("first", 1)];
            for (n, (len, kind, depth)) in list.into_iter().enumerate() {
                let made = if kind == 0 { pad(len.max(1)) } else { file(&n.to_string(), len) };
                let path = if kind == 0 { made.path } else { format!("{}{}", "d/".repeat(depth.into()), n) };
                files.push(Made { path, ..made });
            }
            (piece_len, files)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_torrent_is_written_and_read_back((piece_len, files) in any_torrent(), mode in 0..3_usize) {
        let preallocate = [Preallocate::None, Preallocate::Sparse, Preallocate::Full][mode];
        let rig = Rig { preallocate, ..Rig::new() };
        round_trip(&rig, &multi("any", piece_len, &files));
    }
}

/// Counts the openings of files and folders.
#[derive(Default)]
struct Openings(AtomicUsize);

impl Disk for Openings {
    fn submit(&self, op: Op, done: OnDone) {
        self.0.fetch_add(usize::from(matches!(op, Op::Open { .. })), Ordering::Relaxed);
        RealDisk.submit(op, done);
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

#[test]
fn small_files_of_one_folder_are_opened_once_each() {
    let disk = Arc::new(Openings::default());
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), StorageLimits::default());
    let made: Vec<Made> = (0..64).map(|n| file(&format!("d/e/{n}"), 1024)).collect();
    let torrent = multi("s", 64 * 1024, &made);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let before = disk.0.load(Ordering::Relaxed);
    assert_eq!(rig.store(&files, &torrent, 0), StoreOutcome::Stored);
    // The way to the folder: the base and three names, two of which are tried, made and tried again.
    let opened = disk.0.load(Ordering::Relaxed) - before;
    assert!(opened <= 64 + 8, "{opened} openings for 64 files");
    assert_eq!(rig.storage.open_files(), 0, "none is kept");
    assert_eq!(rig.sync(&files, true).stamps.len(), 64);
    rig.assert_on_disk(&torrent);
}

#[test]
fn threads_that_write_to_a_new_file_at_once_all_find_it() {
    for _ in 0..50 {
        let rig = Rig::new();
        let torrent = multi("n", 16384, &[file("a", 8 * 16384)]);
        let files = rig.open(&torrent);
        rig.prepare(&files);
        let jobs: Vec<_> = (0..8).map(|piece| (piece, torrent.blocks(rig.storage.pool(), piece))).collect();
        let storage = &rig.storage;
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for (piece, blocks) in jobs {
                let (torrent, tx) = (files.clone(), tx.clone());
                scope.spawn(move || {
                    let done = Done::new(move |outcome| tx.send(outcome).unwrap());
                    storage.run_here(Job::Store {
                        torrent,
                        piece: PieceIndex(piece),
                        blocks,
                        witness: None,
                        done,
                    });
                });
            }
        });
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), vec![StoreOutcome::Stored; 8]);
        rig.assert_on_disk(&torrent);
    }
}

#[test]
fn a_folder_that_was_moved_away_between_two_pieces_is_made_again() {
    let rig = Rig::new();
    let torrent = multi("m", 32768, &[file("d/a", 32768), file("d/b", 32768)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    assert_eq!(rig.store(&files, &torrent, 0), StoreOutcome::Stored);
    std::fs::rename(rig.path().join("m/d"), rig.path().join("away")).unwrap();
    assert_eq!(rig.store(&files, &torrent, 1), StoreOutcome::Stored);
    assert_eq!(rig.content("m/d/b"), torrent.piece(1));
    assert_eq!(rig.sync(&files, false).failed.len(), 1, "the other file isn't there");
}
