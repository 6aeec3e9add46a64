//! Checks find exactly what is on disk.
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use wgo_proto::PieceIndex;

use super::rig::*;
use crate::files::*;

type Verdicts = Arc<Mutex<Vec<Checked>>>;

fn check(files: &Arc<TorrentFiles>, pieces: CheckPieces) -> (Job, Verdicts, mpsc::Receiver<CheckOutcome>) {
    let (tx, rx) = mpsc::channel();
    let verdicts = Verdicts::default();
    let seen = verdicts.clone();
    let progress: OnChecked = Box::new(move |batch| seen.lock().unwrap().extend(batch));
    let done = Done::new(move |outcome| tx.send(outcome).unwrap());
    let check = Check::new(files.clone(), pieces, progress, Arc::default(), done);
    (Job::Check(Arc::new(check)), verdicts, rx)
}

fn good_pieces(rig: &Rig, files: &Arc<TorrentFiles>) -> Vec<u32> {
    let count = files.info().layout.piece_count();
    let (job, verdicts, rx) = check(files, CheckPieces::Range(0..count));
    rig.storage.run_here(job);
    assert_eq!(rx.try_recv().unwrap(), CheckOutcome::Finished(None));
    let mut verdicts = std::mem::take(&mut *verdicts.lock().unwrap());
    verdicts.sort_by_key(|checked| checked.piece);
    let pieces: Vec<u32> = verdicts.iter().map(|checked| checked.piece.0).collect();
    assert_eq!(pieces, (0..count).collect::<Vec<_>>(), "each piece has one verdict");
    verdicts.iter().filter(|checked| checked.good).map(|checked| checked.piece.0).collect()
}

#[test]
fn whole_wrong_missing_and_short_are_told_apart() {
    let rig = Rig::new();
    // Pieces: 0–1 in a, 2 in a and b, 3–4 in b, 5 in c.
    let made = [file("a", 32768 * 2 + 100), file("b", 32768 * 3 - 100), file("c", 500)];
    let torrent = multi("k", 32768, &made);
    let files = rig.open(&torrent);
    assert!(good_pieces(&rig, &files).is_empty(), "there is nothing yet");
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    assert_eq!(good_pieces(&rig, &files), [0, 1, 2, 3, 4, 5]);
    let path = |name| rig.path().join("k").join(name);
    let mut a = std::fs::read(path("a")).unwrap();
    a[40_000] ^= 1;
    std::fs::write(path("a"), &a).unwrap();
    assert_eq!(good_pieces(&rig, &files), [0, 2, 3, 4, 5]);
    std::fs::OpenOptions::new().write(true).open(path("b")).unwrap().set_len(40_000).unwrap();
    assert_eq!(good_pieces(&rig, &files), [0, 2, 5]);
    std::fs::remove_file(path("c")).unwrap();
    rig.close(&files);
    let files = rig.open(&torrent);
    assert_eq!(good_pieces(&rig, &files), [0, 2]);
    let (job, verdicts, rx) = check(&files, CheckPieces::List([PieceIndex(2), PieceIndex(1)].into()));
    rig.storage.run_here(job);
    assert_eq!(rx.try_recv(), Ok(CheckOutcome::Finished(None)));
    let want = [(2, true), (1, false)].map(|(n, good)| Checked { piece: PieceIndex(n), good });
    assert_eq!(*verdicts.lock().unwrap(), want);
}

#[test]
fn a_hole_is_a_piece_of_zeros_and_nothing_else() {
    let rig = Rig::new();
    // The pad file of the second torrent's content is zeros: its place in a real file may be a hole.
    let torrent = multi("z", 65536, &[file("a", 65536 * 4)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store(&files, &torrent, 2);
    assert_eq!(good_pieces(&rig, &files), [2]);
    let zeros = multi("zeros", 65536, &[pad(65536 * 2), file("end", 1)]);
    assert_eq!(good_pieces(&rig, &rig.open(&zeros)), [0, 1], "padding needs no file");
}

#[test]
fn a_cancelled_check_says_so() {
    let rig = Rig::new();
    let torrent = multi("x", 16384, &[file("a", 16384 * 20)]);
    let files = rig.open(&torrent);
    let (tx, rx) = mpsc::channel();
    let cancel = Arc::new(AtomicBool::new(true));
    let done = Done::new(move |outcome| tx.send(outcome).unwrap());
    let progress: OnChecked = Box::new(|batch| panic!("{batch:?}"));
    let check = Check::new(files, CheckPieces::Range(0..20), progress, cancel.clone(), done);
    assert!(cancel.load(Ordering::Relaxed));
    rig.storage.run_here(Job::Check(Arc::new(check)));
    assert_eq!(rx.try_recv(), Ok(CheckOutcome::Cancelled));
}

#[test]
fn a_check_of_nothing_ends_too() {
    let rig = Rig::new();
    let torrent = multi("n", 16384, &[file("a", 1)]);
    let (job, _, rx) = check(&rig.open(&torrent), CheckPieces::Range(0..0));
    rig.storage.run_here(job);
    assert_eq!(rx.try_recv(), Ok(CheckOutcome::Finished(None)));
}

#[test]
fn threads_share_a_check_and_stores_pass_it() {
    let limits = StorageLimits { threads: 3, ..StorageLimits::default() };
    let rig = Rig::with(Arc::new(RealDisk), tempfile::tempdir().unwrap(), limits);
    let torrent = multi("t", 1 << 20, &[file("a", 40 << 20), file("b", 3 << 20)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    let (job, verdicts, rx) = check(&files, CheckPieces::Range(0..43));
    rig.storage.submit_now(job);
    let (tx, synced) = mpsc::channel();
    let done = Done::new(move |outcome: SyncOutcome| tx.send(outcome.is_durable()).unwrap());
    rig.storage.submit_now(Job::Sync { torrent: files, have: None, seal: false, done });
    assert_eq!(synced.recv_timeout(Duration::from_secs(60)), Ok(true));
    assert_eq!(rx.recv_timeout(Duration::from_secs(60)), Ok(CheckOutcome::Finished(None)));
    let verdicts = verdicts.lock().unwrap();
    assert_eq!((verdicts.len(), verdicts.iter().all(|checked| checked.good)), (43, true));
}

/// A real disk that lists what is pulled and released, and sets a flag at a pull beyond 16 MiB.
#[derive(Default)]
struct Pulling {
    pulled: Mutex<Vec<Range<u64>>>,
    released: Mutex<Vec<Range<u64>>>,
    far: Arc<AtomicBool>,
}

impl Disk for Pulling {
    fn submit(&self, op: disk::Op, done: disk::OnDone) {
        RealDisk.submit(op, done);
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }

    fn pull(&self, _: &Handle, range: Range<u64>) -> bool {
        self.far.fetch_or(range.end > 16 << 20, Ordering::Relaxed);
        self.pulled.lock().unwrap().push(range);
        true
    }

    fn release(&self, _: &Handle, range: Range<u64>) {
        self.released.lock().unwrap().push(range);
    }
}

#[test]
fn what_a_check_pulls_is_what_it_reads_and_is_released() {
    let disk = Arc::new(Pulling::default());
    let limits = StorageLimits { threads: 1, ..StorageLimits::default() };
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), limits);
    let torrent = multi("p", 1 << 20, &[file("a", 20 << 20), file("b", 1 << 19), file("c", 3 << 19)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    // Pieces 8 and 9, the first of a batch, stay holes; `b` is too small to be pulled.
    let stored: Vec<u32> = (0..22).filter(|piece| !(8..10).contains(piece)).collect();
    for &piece in &stored {
        rig.store(&files, &torrent, piece);
    }
    assert_eq!(good_pieces(&rig, &files), stored);
    let mib = |range: &Range<u64>| (range.start >> 20)..(range.end >> 20);
    let pulled: Vec<_> = disk.pulled.lock().unwrap().drain(..).collect();
    assert_eq!(pulled.iter().map(mib).collect::<Vec<_>>(), [0..8, 10..16, 16..20, 0..1]);
    assert_eq!(std::mem::take(&mut *disk.released.lock().unwrap()), pulled);
    // A cancelled one releases, too.
    let (tx, rx) = mpsc::channel();
    let done = Done::new(move |outcome| tx.send(outcome).unwrap());
    let check = Check::new(files, CheckPieces::Range(0..22), Box::new(|_| ()), disk.far.clone(), done);
    disk.far.store(false, Ordering::Relaxed);
    rig.storage.run_here(Job::Check(Arc::new(check)));
    assert_eq!(rx.try_recv(), Ok(CheckOutcome::Cancelled));
    assert_eq!(*disk.pulled.lock().unwrap(), *disk.released.lock().unwrap());
}
