//! Queues and threads: backpressure, hung devices, orderly stops.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use wgo_proto::PieceIndex;

use super::rig::*;
use crate::files::disk::OnDone;
use crate::files::gather::WRITE_PIECES;
use crate::files::*;

/// A real disk whose writes wait while it is hung.
#[derive(Default)]
struct Hanging {
    hung: Mutex<bool>,
    freed: Condvar,
    /// Writes that came.
    writes: AtomicUsize,
}

impl Hanging {
    fn set(&self, hung: bool) {
        *self.hung.lock().unwrap() = hung;
        self.freed.notify_all();
    }
}

impl Disk for Hanging {
    fn submit(&self, op: Op, done: OnDone) {
        if matches!(op, Op::Write { .. }) {
            self.writes.fetch_add(1, Ordering::SeqCst);
            drop(self.freed.wait_while(self.hung.lock().unwrap(), |hung| *hung).unwrap());
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

const PATIENCE: Duration = Duration::from_secs(60);

fn rig(disk: Arc<dyn Disk>, threads: usize) -> Rig {
    Rig::with(disk, tempfile::tempdir().unwrap(), StorageLimits { threads, ..StorageLimits::default() })
}

fn store(rig: &Rig, files: &Arc<TorrentFiles>, torrent: &Torrent, tx: &mpsc::Sender<StoreOutcome>) -> Job {
    let blocks = torrent.blocks(rig.storage.pool(), 0);
    let tx = tx.clone();
    let done = Done::new(move |outcome| drop(tx.send(outcome)));
    Job::Store { torrent: files.clone(), piece: PieceIndex(0), blocks, witness: None, done }
}

#[tokio::test]
async fn submitters_wait_while_a_hung_devices_queue_is_full_and_go_on_when_it_recovers() {
    let disk = Arc::new(Hanging::default());
    let rig = rig(disk.clone(), 1);
    let torrent = multi("q", 16384, &[file("a", 100)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    disk.set(true);
    let (tx, rx) = mpsc::channel();
    let mut accepted = 0;
    while tokio::time::timeout(
        Duration::from_millis(200),
        rig.storage.submit(store(&rig, &files, &torrent, &tx)),
    )
    .await
    .is_ok()
    {
        accepted += 1;
        assert!(accepted < 1000, "the queue has no bound");
    }
    let refused = rx.try_recv().unwrap();
    assert!(matches!(refused, StoreOutcome::Failed(e) if e.kind == DiskErrorKind::Stopped));
    let status = rig.storage.status();
    let device = status.iter().find(|device| device.running == 1).unwrap();
    assert!(device.oldest.is_some() && device.waiting > 10, "{device:?}");
    disk.set(false);
    rig.storage.submit(store(&rig, &files, &torrent, &tx)).await;
    assert_eq!(rig.storage.stop(PATIENCE).await, []);
    let outcomes: Vec<StoreOutcome> = rx.try_iter().collect();
    assert_eq!(outcomes, vec![StoreOutcome::Stored; accepted + 1], "what waited was done before the stop");
    assert_eq!(rig.storage.pool().leased_blocks(), 0);
}

#[tokio::test]
async fn a_stop_gives_up_on_a_hung_device_and_ends_what_waited() {
    let disk = Arc::new(Hanging::default());
    let rig = rig(disk.clone(), 2);
    let torrent = multi("q", 16384, &[file("a", 100)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    disk.set(true);
    let (tx, rx) = mpsc::channel();
    for _ in 0..60 {
        rig.storage.submit(store(&rig, &files, &torrent, &tx)).await;
    }
    let hung = rig.storage.stop(Duration::from_millis(300)).await;
    assert_eq!(hung.len(), 1, "{hung:?}");
    let waited = hung[0].waiting;
    // Each thread has one piece, or some that it stores together.
    assert!(hung[0].running == 2 && (60 - 2 * WRITE_PIECES..=58).contains(&waited), "{hung:?}");
    let stopped = StoreOutcome::Failed(DiskError::stopped());
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), vec![stopped.clone(); waited]);
    rig.storage.submit(store(&rig, &files, &torrent, &tx)).await;
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), stopped, "no job is taken after the stop");
    disk.set(false);
    for _ in waited..60 {
        assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), StoreOutcome::Stored);
    }
}

#[tokio::test]
async fn a_stop_ends_those_who_wait_for_room() {
    let disk = Arc::new(Hanging::default());
    let rig = rig(disk.clone(), 1);
    let torrent = multi("q", 16384, &[file("a", 100)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    disk.set(true);
    let (tx, rx) = mpsc::channel();
    let submit_until_refused = async {
        while rx.try_recv().is_err() {
            rig.storage.submit(store(&rig, &files, &torrent, &tx)).await;
        }
        disk.set(false);
    };
    let both = async { tokio::join!(submit_until_refused, rig.storage.stop(PATIENCE)) };
    let (_, hung) = tokio::time::timeout(PATIENCE / 2, both).await.expect("nobody waits for a dead queue");
    assert_eq!(hung, []);
}

#[tokio::test]
async fn a_check_gets_its_turn_among_many_stores_and_they_theirs() {
    let disk = Arc::new(Hanging::default());
    let rig = rig(disk.clone(), 1);
    let torrent = multi("q", 16384, &[file("a", 16384 * 8)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    disk.set(true);
    let order = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..60 {
        let blocks = torrent.blocks(rig.storage.pool(), 0);
        let order = order.clone();
        let done = Done::new(move |_: StoreOutcome| order.lock().unwrap().push("store"));
        rig.storage
            .submit(Job::Store { torrent: files.clone(), piece: PieceIndex(0), blocks, witness: None, done })
            .await;
    }
    let checked = order.clone();
    let done = Done::new(move |_: CheckOutcome| checked.lock().unwrap().push("check"));
    let check = Check::new(files, CheckPieces::Range(0..8), Box::new(|_| ()), Arc::default(), done);
    rig.storage.submit_now(Job::Check(Arc::new(check)));
    disk.set(false);
    while order.lock().unwrap().len() < 61 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let turn = order.lock().unwrap().iter().position(|what| *what == "check").unwrap();
    assert!((10..50).contains(&turn), "{turn}");
}

#[tokio::test]
async fn a_panic_ends_its_job_and_not_the_thread() {
    let rig = rig(Arc::new(RealDisk), 1);
    let torrent = multi("p", 16384, &[file("a", 100)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let done = Done::new(|_: StoreOutcome| panic!("a bug in the caller"));
    let blocks = torrent.blocks(rig.storage.pool(), 0);
    rig.storage
        .submit(Job::Store { torrent: files.clone(), piece: PieceIndex(0), blocks, witness: None, done })
        .await;
    let (tx, rx) = mpsc::channel();
    rig.storage.submit(store(&rig, &files, &torrent, &tx)).await;
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), StoreOutcome::Stored);
    assert_eq!(rig.storage.stop(PATIENCE).await, []);
}

#[tokio::test]
async fn closing_waits_for_jobs_under_way() {
    let disk = Arc::new(Hanging::default());
    let rig = rig(disk.clone(), 2);
    let torrent = multi("w", 16384, &[file("a", 100)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    disk.set(true);
    let (tx, rx) = mpsc::channel();
    rig.storage.submit(store(&rig, &files, &torrent, &tx)).await;
    while disk.writes.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let (closed_tx, closed) = mpsc::channel();
    let done = Done::new(move |outcome: SyncOutcome| closed_tx.send(outcome).unwrap());
    rig.storage.submit_now(Job::Close { torrent: files, done });
    assert!(closed.recv_timeout(Duration::from_millis(100)).is_err());
    disk.set(false);
    let outcome = closed.recv_timeout(PATIENCE).unwrap();
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), StoreOutcome::Stored);
    assert_eq!((outcome.stamps.len(), outcome.is_durable()), (1, true));
    assert_eq!(rig.storage.stop(PATIENCE).await, []);
}

#[tokio::test]
async fn pieces_that_are_hashed_together_have_verdicts_of_their_own() {
    let disk = Arc::new(Hanging::default());
    let rig = rig(disk.clone(), 1);
    let short = multi("short", 32768, &[file("a", 5 * 32768 + 100)]);
    let long = multi("long", 65536, &[file("b", 3 * 65536 + 20_000)]);
    let (short_files, long_files) = (rig.open(&short), rig.open(&long));
    rig.prepare(&short_files);
    rig.prepare(&long_files);
    disk.set(true);
    let (tx, rx) = mpsc::channel();
    let submit = async |files: &Arc<TorrentFiles>, torrent: &Torrent, piece: u32, spoilt: bool| {
        let mut blocks = torrent.blocks(rig.storage.pool(), piece);
        if spoilt && let Some(Some(block)) = blocks.last_mut() {
            block[0] ^= 1;
        }
        let (tx, name) = (tx.clone(), files.info().name.clone());
        let done = Done::new(move |outcome: StoreOutcome| drop(tx.send((name, piece, outcome))));
        rig.storage
            .submit(Job::Store {
                torrent: files.clone(),
                piece: PieceIndex(piece),
                blocks,
                witness: None,
                done,
            })
            .await;
    };
    for piece in 0..6 {
        submit(&short_files, &short, piece, piece == 2).await;
        if piece < 4 {
            submit(&long_files, &long, piece, piece == 3).await;
        }
    }
    disk.set(false);
    for _ in 0..10 {
        let (name, piece, outcome) = rx.recv_timeout(PATIENCE).unwrap();
        let spoilt = matches!((&name[..], piece), ("short", 2) | ("long", 3));
        let wanted = if spoilt { StoreOutcome::BadHash } else { StoreOutcome::Stored };
        assert_eq!(outcome, wanted, "{name} {piece}");
    }
    let closing = async { rig.ask(|done| Job::Close { torrent: short_files.clone(), done }) };
    assert!(closing.await.is_durable());
    submit(&short_files, &short, 0, false).await;
    submit(&long_files, &long, 0, false).await;
    let mut outcomes: Vec<_> = (0..2).map(|_| rx.recv_timeout(PATIENCE).unwrap()).collect();
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(outcomes[0].2, StoreOutcome::Stored, "the other torrent is not closed");
    assert!(matches!(&outcomes[1].2, StoreOutcome::Failed(e) if e.kind == DiskErrorKind::Stopped));
}

/// A real disk that turns, slowly, and lists where checks read it, with how many at once.
#[derive(Default)]
struct Turning {
    at_once: AtomicUsize,
    reads: Mutex<Vec<(u64, usize)>>,
}

impl Disk for Turning {
    fn submit(&self, op: Op, done: OnDone) {
        let Op::ReadClean { offset, .. } = op else { return RealDisk.submit(op, done) };
        let others = self.at_once.fetch_add(1, Ordering::SeqCst);
        self.reads.lock().unwrap().push((offset, others));
        let (_open, never) = mpsc::channel::<()>();
        let _slow = never.recv_timeout(Duration::from_millis(3));
        RealDisk.submit(op, done);
        self.at_once.fetch_sub(1, Ordering::SeqCst);
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }

    fn is_rotational(&self, _: u64) -> bool {
        true
    }
}

#[tokio::test]
async fn a_disk_that_turns_is_checked_in_one_sequence_once_it_is_slow() {
    let disk = Arc::new(Turning::default());
    let rig = rig(disk.clone(), 2);
    let piece = 1024 * 1024 + 65536;
    let torrent = multi("q", piece, &[file("a", piece * 40)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    let (tx, rx) = mpsc::channel();
    let done = Done::new(move |outcome| drop(tx.send(outcome)));
    let check = Check::new(files, CheckPieces::Range(0..40), Box::new(|_| ()), Arc::default(), done);
    rig.storage.submit_now(Job::Check(Arc::new(check)));
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), CheckOutcome::Finished(None));
    // Each thread took a batch of eight pieces before it was known.
    let mut reads = disk.reads.lock().unwrap().clone();
    reads.retain(|(offset, _)| *offset >= 16 * piece as u64);
    assert!(reads.len() >= 48 && reads.iter().all(|(_, others)| *others == 0), "{reads:?}");
    assert!(reads.is_sorted(), "{reads:?}");
}
