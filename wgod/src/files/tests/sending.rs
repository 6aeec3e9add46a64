//! Reading for upload with the piece cache: few disk jobs, bounded memory, nothing stale.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use wgo_proto::{Block, PieceIndex};

use super::rig::*;
use crate::files::disk::OnDone;
use crate::files::*;

/// A file system that can't tell what is cached (NFS, FUSE), and counts reads.
#[derive(Default)]
struct Opaque(AtomicUsize);

impl Disk for Opaque {
    fn submit(&self, op: Op, done: OnDone) {
        match op {
            Op::ReadAhead { .. } => {
                done(Err(io::Error::from_raw_os_error(Errno::OPNOTSUPP.raw_os_error())).into())
            }
            op => {
                self.0.fetch_add(usize::from(matches!(op, Op::Read { .. })), Ordering::Relaxed);
                RealDisk.submit(op, done);
            }
        }
    }

    fn read_nowait(&self, _: &Handle, _: u64, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

struct Bench {
    rig: Rig,
    disk: Arc<Opaque>,
    torrent: Torrent,
    files: Arc<TorrentFiles>,
}

const PIECE: usize = 2 << 20;

fn bench(cached_blocks: usize) -> Bench {
    let disk = Arc::new(Opaque::default());
    let limits = StorageLimits { cached_blocks, ..StorageLimits::default() };
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), limits);
    let torrent = multi("s", PIECE, &[file("a", 2 * PIECE), file("b", 40_000), file("c", 500_000)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    Bench { rig, disk, torrent, files }
}

impl Bench {
    /// Blocks `from..to` of a piece, as a peer task reads them: from memory, else by a job. Returns
    /// whether no job was needed.
    fn send(&self, piece: u32, from: u32, to: u32) -> bool {
        let layout = &self.torrent.info.layout;
        let blocks: Vec<Block> = (from..to).map(|n| layout.block(PieceIndex(piece), n)).collect();
        let mut wire = vec![0; wire_len(&blocks)];
        let (from_memory, wire) = match self.files.read_run_nowait(&blocks, &mut wire) {
            Nowait::Done(n) if n == blocks.len() => (true, wire),
            Nowait::Failed(e) => panic!("{e}"),
            _ => {
                let read = self.rig.read(&self.files, &blocks);
                read.result.unwrap();
                (false, read.out)
            }
        };
        let start = from as usize * 16384;
        let want = &self.torrent.piece(piece)[start..];
        let got = payload(&blocks, &wire);
        assert!(got == want[..got.len()], "piece {piece}, blocks {from}..{to}");
        from_memory
    }

    fn reads(&self) -> usize {
        self.disk.0.swap(0, Ordering::Relaxed)
    }

    fn check(&self, pieces: std::ops::Range<u32>) {
        let (files, pieces) = (self.files.clone(), CheckPieces::Range(pieces));
        let outcome = self.rig.ask(|done| {
            Job::Check(Arc::new(Check::new(files, pieces, Box::new(|_| {}), Arc::default(), done)))
        });
        assert_eq!(outcome, CheckOutcome::Finished(None));
    }
}

#[test]
fn a_peer_that_reads_in_order_costs_one_disk_job_a_mebibyte() {
    let bench = bench(768);
    bench.rig.store_all(&bench.files, &bench.torrent);
    assert_eq!(bench.rig.storage.cached_blocks(), 0, "nobody asked yet: nothing is kept");
    bench.reads();
    for from in (0..128).step_by(8) {
        assert_eq!(bench.send(0, from, from + 8), from % 64 != 0, "block {from}");
    }
    assert_eq!(bench.reads(), 2);
    assert_eq!(bench.rig.storage.cached_blocks(), 128);
    assert!(bench.send(0, 60, 70), "across what was read ahead twice");
    // The last piece lies in two files: the second one isn't opened for what may be wanted next.
    assert!(!bench.send(2, 0, 1) && bench.send(2, 1, 2));
    assert_eq!(bench.reads(), 1);
    assert!(!bench.send(2, 2, 3) && bench.send(2, 3, 30));
    assert_eq!(bench.reads(), 2, "where they meet, both are read");
}

#[test]
fn a_small_cache_is_never_exceeded_and_the_answers_stay_right() {
    for limit in [0, 1, 20, 100] {
        let bench = bench(limit);
        bench.rig.store_all(&bench.files, &bench.torrent);
        for round in 0..3 {
            for (piece, from) in [(0, 0), (1, 64), (0, 100), (1, 3), (2, 0), (0, 8)] {
                bench.send(piece, from, from + 9);
                let cached = bench.rig.storage.cached_blocks();
                assert!(cached <= limit, "{cached} of {limit}, round {round}");
                assert_eq!(bench.rig.storage.pool().leased_blocks(), cached);
            }
        }
        bench.rig.close(&bench.files);
        assert_eq!((bench.rig.storage.cached_blocks(), bench.rig.storage.pool().leased_blocks()), (0, 0));
    }
}

#[test]
fn what_is_written_while_peers_read_is_sent_without_the_disk() {
    let bench = bench(768);
    bench.rig.store(&bench.files, &bench.torrent, 0);
    bench.send(0, 0, 1);
    bench.rig.store(&bench.files, &bench.torrent, 1);
    bench.reads();
    assert!(bench.send(1, 0, 16) && bench.send(1, 100, 128));
    assert_eq!(bench.reads(), 0);
    // A piece of which a part was spilled is kept as far as it was in memory.
    let mut blocks = bench.torrent.blocks(bench.rig.storage.pool(), 2);
    let spilled = vec![(5, blocks[5].take().unwrap())];
    let (torrent, piece) = (bench.files.clone(), PieceIndex(2));
    bench.rig.ask(|done| Job::Spill { torrent, piece, blocks: spilled, done }).unwrap();
    assert_eq!(bench.rig.store_blocks(&bench.files, 2, blocks), StoreOutcome::Stored);
    for from in 0..10 {
        bench.send(2, from, from + 2);
    }
}

#[test]
fn a_piece_that_a_check_finds_bad_is_forgotten_and_others_are_not() {
    let bench = bench(768);
    bench.rig.store_all(&bench.files, &bench.torrent);
    assert!(!bench.send(0, 0, 8) && !bench.send(1, 0, 8));
    let path = bench.rig.path().join("s/a");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(bench.send(0, 8, 16), "read before it changed, and right");
    bench.check(0..2);
    let block = bench.torrent.info.layout.block(PieceIndex(0), 8);
    assert_eq!(bench.files.read_nowait(block, &mut vec![0; 16384]), Nowait::Miss);
    assert!(bench.send(1, 8, 16));
}

#[test]
fn a_torrent_that_is_opened_again_gets_nothing_of_before() {
    let bench = bench(768);
    bench.rig.store_all(&bench.files, &bench.torrent);
    bench.send(0, 0, 8);
    bench.rig.close(&bench.files);
    assert_eq!(bench.rig.storage.cached_blocks(), 0);
    bench.rig.storage.trim();
    assert_eq!(bench.rig.storage.pool().leased_blocks(), 0);
}
