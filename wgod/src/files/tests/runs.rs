//! Pieces that are stored together: which writes they make, and what is told of each.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use rustix::io::Errno;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex};

use super::rig::*;
use crate::files::disk::OnDone;
use crate::files::piece::{Storing, store_each};
use crate::files::*;

/// A real disk that lists what is written, and refuses writes with a certain byte in them.
#[derive(Default)]
struct Listing {
    /// Offset and length of each write, in order.
    writes: Mutex<Vec<(u64, u64)>>,
    bad_byte: Mutex<Option<u64>>,
}

impl Disk for Listing {
    fn submit(&self, op: Op, done: OnDone) {
        if let Op::Write { offset, bufs, .. } = &op {
            let len = bufs.window().len() as u64;
            self.writes.lock().unwrap().push((*offset, len));
            if self.bad_byte.lock().unwrap().is_some_and(|bad| (*offset..offset + len).contains(&bad)) {
                return done(Err(io::Error::from_raw_os_error(Errno::IO.raw_os_error())).into());
            }
        }
        RealDisk.submit(op, done);
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

struct Bench {
    rig: Rig,
    disk: Arc<Listing>,
    torrent: Torrent,
    files: Arc<TorrentFiles>,
}

fn bench(piece_len: u64, made: &[Made]) -> Bench {
    let disk = Arc::new(Listing::default());
    let limits = StorageLimits { cached_blocks: 1000, ..StorageLimits::default() };
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), limits);
    let torrent = multi("r", piece_len as usize, made);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    Bench { rig, disk, torrent, files }
}

impl Bench {
    fn blocks(&self, piece: u32) -> Vec<Option<BlockBuf>> {
        self.torrent.blocks(self.rig.storage.pool(), piece)
    }

    /// What came of pieces stored together, by piece.
    fn store(&self, pieces: Vec<(u32, Vec<Option<BlockBuf>>)>) -> Vec<(u32, StoreOutcome)> {
        let (tx, rx) = mpsc::channel();
        let storing = |(piece, blocks): (u32, Vec<Option<BlockBuf>>)| {
            let tx = tx.clone();
            let done = Done::new(move |outcome| tx.send((piece, outcome)).unwrap());
            Storing { torrent: self.files.clone(), piece: PieceIndex(piece), blocks, witness: None, done }
        };
        store_each(pieces.into_iter().map(storing).collect());
        let mut outcomes: Vec<(u32, StoreOutcome)> = rx.try_iter().collect();
        outcomes.sort_by_key(|(piece, _)| *piece);
        outcomes
    }

    fn store_good(&self, pieces: &[u32]) -> Vec<(u32, StoreOutcome)> {
        self.store(pieces.iter().map(|&piece| (piece, self.blocks(piece))).collect())
    }

    fn writes(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.disk.writes.lock().unwrap())
    }
}

fn all_stored(pieces: impl IntoIterator<Item = u32>) -> Vec<(u32, StoreOutcome)> {
    pieces.into_iter().map(|piece| (piece, StoreOutcome::Stored)).collect()
}

const KIB: u64 = 1024;

#[test]
fn neighbours_are_written_by_one_write_in_whatever_order_they_come() {
    let bench = bench(256 * KIB, &[file("a", 4 << 20)]);
    assert_eq!(bench.store_good(&[3, 0, 7, 2, 1, 9, 8, 12, 14]), all_stored([0, 1, 2, 3, 7, 8, 9, 12, 14]));
    let runs = [(0, 4), (7, 3), (12, 1), (14, 1)].map(|(piece, n)| (piece * 256 * KIB, n * 256 * KIB));
    assert_eq!(bench.writes(), runs);
    assert_eq!(bench.store_good(&[13, 4, 5, 15, 6, 11, 10]).len(), 7);
    bench.rig.assert_on_disk(&bench.torrent);
    assert_eq!(bench.rig.storage.pool().leased_blocks(), 0);
}

#[test]
fn a_run_is_no_longer_than_the_longest_write() {
    let bench = bench(1 << 20, &[file("a", 6 << 20)]);
    bench.store_good(&[0, 1, 2, 3, 4, 5]);
    assert_eq!(bench.writes(), [(0, 4 << 20), (4 << 20, 2 << 20)]);
    bench.rig.assert_on_disk(&bench.torrent);
}

#[test]
fn pieces_of_any_length_are_joined_within_a_file_and_parted_where_one_ends() {
    let (piece, short) = (40_000, 1000);
    let made = [file("a", 3 * piece), file("b", 2 * piece + short), file("c", piece)];
    let bench = bench(piece as u64, &made);
    bench.store_good(&[0, 1, 2, 3, 4, 5, 6]);
    let (piece, short) = (piece as u64, short as u64);
    assert_eq!(bench.writes(), [(0, 3 * piece), (0, 2 * piece + short), (0, piece)]);
    bench.rig.assert_on_disk(&bench.torrent);
}

#[test]
fn a_bad_piece_in_the_middle_splits_the_run_and_is_not_written() {
    let bench = bench(64 * KIB, &[file("a", 7 * 65536)]);
    let mut pieces: Vec<_> = (0..7).map(|piece| (piece, bench.blocks(piece))).collect();
    pieces[3].1[2].as_mut().unwrap()[5] ^= 1;
    // A block that belongs to no piece must not move those that follow.
    pieces[6].1.extend(bench.blocks(0).drain(..1));
    let mut wanted = all_stored(0..7);
    (wanted[3].1, wanted[6].1) = (StoreOutcome::BadHash, StoreOutcome::BadHash);
    assert_eq!(bench.store(pieces), wanted);
    assert_eq!(bench.writes(), [(0, 3 * 65536), (4 * 65536, 2 * 65536)]);
    assert!(bench.rig.content("r/a")[3 * 65536..4 * 65536].iter().all(|&byte| byte == 0));
    bench.store_good(&[3, 6]);
    bench.rig.assert_on_disk(&bench.torrent);
}

#[test]
fn a_write_that_fails_fails_its_run_and_no_other() {
    let bench = bench(64 * KIB, &[file("a", 8 * 65536)]);
    *bench.disk.bad_byte.lock().unwrap() = Some(5 * 65536);
    let outcomes = bench.store_good(&[0, 1, 3, 4, 5, 7]);
    for (piece, outcome) in outcomes {
        let failed = matches!(&outcome, StoreOutcome::Failed(e) if e.kind == DiskErrorKind::Io);
        assert_eq!(failed, (3..=5).contains(&piece), "{piece}: {outcome:?}");
        assert!(failed || outcome == StoreOutcome::Stored);
    }
    *bench.disk.bad_byte.lock().unwrap() = None;
    assert_eq!(bench.store_good(&[2, 3, 4, 5, 6]), all_stored(2..7));
    bench.rig.assert_on_disk(&bench.torrent);
}

#[test]
fn a_piece_of_which_a_part_is_on_disk_is_written_by_itself() {
    let bench = bench(64 * KIB, &[file("a", 5 * 65536)]);
    let mut pieces: Vec<_> = (0..5).map(|piece| (piece, bench.blocks(piece))).collect();
    let (torrent, spilled) = (bench.files.clone(), vec![(1, pieces[2].1[1].take().unwrap())]);
    bench.rig.ask(|done| Job::Spill { torrent, piece: PieceIndex(2), blocks: spilled, done }).unwrap();
    bench.writes();
    assert_eq!(bench.store(pieces), all_stored(0..5));
    let (block, at) = (16 * KIB, 2 * 65536);
    let around = [(at, block), (at + 2 * block, 2 * block)];
    assert_eq!(bench.writes(), [(0, 2 * 65536), around[0], around[1], (3 * 65536, 2 * 65536)]);
    bench.rig.assert_on_disk(&bench.torrent);
}

#[test]
fn each_piece_of_a_run_is_kept_for_the_peers_that_ask_for_it() {
    let bench = bench(64 * KIB, &[file("a", 3 * 65536 - 100)]);
    let mut one = vec![0; wire_len(&[block(0, 0)])];
    bench.rig.store(&bench.files, &bench.torrent, 0);
    // Peers read from the torrent: what is stored from now on is worth keeping.
    assert!(matches!(bench.files.read_run_nowait(&[block(0, 0)], &mut one), Nowait::Done(1)));
    assert_eq!(bench.store_good(&[2, 0, 1]), all_stored(0..3));
    assert_eq!(bench.rig.storage.pool().leased_blocks(), 12, "what is kept");
    std::fs::write(bench.rig.path().join("r/a"), vec![0; 3 * 65536 - 100]).unwrap();
    for piece in 0..3 {
        let blocks: Vec<Block> = (0..4).map(|number| block(piece, number)).collect();
        let blocks: Vec<Block> =
            blocks.into_iter().filter(|block| block.offset + block.len < 65436).collect();
        let mut wire = vec![0; wire_len(&blocks)];
        assert!(
            matches!(bench.files.read_run_nowait(&blocks, &mut wire), Nowait::Done(n) if n == blocks.len())
        );
        let got = payload(&blocks, &wire);
        assert!(got == bench.torrent.piece(piece)[..got.len()], "piece {piece}");
    }
}

fn block(piece: u32, number: u32) -> Block {
    Block { piece: PieceIndex(piece), offset: number * BLOCK_LEN, len: BLOCK_LEN }
}
