//! Checks that are paused, by a stop, an end of the daemon or a crash, and go on where they were.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use wgo_api::torrent::State;
use wgo_core::TorrentId;
use wgo_proto::Bitfield;

use super::super::Verb;
use super::super::entry::{from_stored, to_stored};
use super::PIECE;
use crate::files::disk::OnDone;
use crate::files::{Disk, Handle, Op, RealDisk};
use crate::rig::*;
use crate::store::{Change, CheckKind, Have, OwedCheck, TorrentRecord};

const COUNT: u32 = 200;

async fn record(rig: &Rig) -> TorrentRecord {
    let mut found = None;
    rig.engine.store.load(|record| found = record.ok()).await.expect("readable");
    found.expect("added")
}

fn up_to(end: u32) -> Bitfield {
    let mut set = Bitfield::new(COUNT);
    set.set_range(0..end);
    set
}

/// A complete torrent of one file that was seeding and is stopped.
async fn complete() -> Rig {
    let payload = noise(COUNT as usize * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&file).await;
    rig.until("t", State::Seeding).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    rig.restart().await
}

/// As if a full check had hashed half of the pieces and found half of those right: a lie, so what comes
/// out tells which pieces were hashed later.
async fn half_checked(rig: &Rig) -> TorrentId {
    let record = record(rig).await;
    let check = OwedCheck {
        kind: CheckKind::Full,
        checked: to_stored(&up_to(COUNT / 2)),
        good: to_stored(&up_to(COUNT / 4)),
        files: record.progress.files,
    };
    rig.engine.store.put(vec![Change::Check(record.id, Box::new(check))]).await.expect("durable");
    record.id
}

const ALL: u64 = COUNT as u64 * PIECE as u64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_goes_on_after_a_restart_and_a_verify_begins_anew() {
    let rig = complete().await;
    half_checked(&rig).await;
    let rig = rig.restart().await;
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_bytes, ALL / 4, "only what was looked at and right is claimed");
    rig.act(Verb::Start).await;
    let row = rig.until("t", State::Downloading).await;
    assert_eq!(row.done_bytes, ALL * 3 / 4, "what was checked before is not hashed again");
    assert_eq!(record(&rig).await.progress.check, None, "none is owed any more");
    rig.act(Verb::Verify).await;
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_changed_while_a_check_was_paused_are_hashed_again() {
    let rig = complete().await;
    half_checked(&rig).await;
    let file = std::fs::File::options().write(true).open(rig.folder.join("t")).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("touched");
    let rig = rig.restart().await;
    rig.act(Verb::Start).await;
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verify_of_a_stopped_torrent_goes_on_by_itself_after_a_restart() {
    let rig = complete().await;
    let id = half_checked(&rig).await;
    let mut settings = record(&rig).await.settings;
    settings.check_asked = true;
    rig.engine.store.put(vec![Change::Settings(id, Box::new(settings))]).await.expect("durable");
    let rig = rig.restart().await;
    let row = rig.until_row("t", |row| row.done_bytes > ALL / 2 && row.state == State::Stopped).await;
    assert_eq!(row.done_bytes, ALL * 3 / 4);
    let settled = || async { !record(&rig).await.settings.check_asked };
    while !settled().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_torrent_whose_first_check_was_cut_is_checked_not_downloaded() {
    let rig = complete().await;
    let id = record(&rig).await.id;
    // What an `add` commits, and a crash leaves.
    let progress = crate::store::Progress {
        check: Some(Box::new(OwedCheck::anew(CheckKind::Full))),
        ..crate::store::Progress::default()
    };
    rig.engine.store.put(vec![Change::Progress(id, progress)]).await.expect("durable");
    let rig = rig.restart().await;
    rig.act(Verb::Start).await;
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

/// A real disk that does not answer reads from `beyond` on, until it is freed.
struct Gate {
    beyond: u64,
    /// Reads that may still pass.
    open: Mutex<usize>,
    freed: Condvar,
    /// Syncs of files that fail.
    bad_syncs: AtomicUsize,
    /// Syncs of files so far.
    syncs: AtomicUsize,
}

impl Gate {
    fn new(beyond: u64) -> Arc<Gate> {
        let (bad_syncs, syncs) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Gate { beyond, open: Mutex::new(0), freed: Condvar::new(), bad_syncs, syncs })
    }

    fn open(&self) {
        *self.open.lock().expect("whole") = usize::MAX;
        self.freed.notify_all();
    }

    fn let_one_pass(&self) {
        *self.open.lock().expect("whole") = 1;
        self.freed.notify_all();
    }
}

impl Disk for Gate {
    fn submit(&self, op: Op, done: OnDone) {
        if matches!(op, Op::Read { offset, .. } | Op::ReadClean { offset, .. } if offset >= self.beyond) {
            let open = self.open.lock().expect("whole");
            let mut open = self.freed.wait_while(open, |open| *open == 0).expect("whole");
            *open -= 1;
        }
        if matches!(op, Op::SyncData(_)) {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            let bad =
                self.bad_syncs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bad| bad.checked_sub(1));
            if bad.is_ok() {
                let error = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
                return done(Err(error).into());
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

/// A check of a torrent of 40 pieces of 1 MiB that stands still before its end.
async fn standing() -> (Rig, Arc<Gate>) {
    const LEN: usize = 40 << 20;
    let mut payload = vec![0; LEN];
    fastrand::Rng::with_seed(1).fill(&mut payload);
    let gate = Gate::new(LEN as u64 / 4 * 3);
    let rig = Rig::on(gate.clone()).await;
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&torrent_file("t", &payload, 1 << 20)).await;
    let row = rig.until_row("t", |row| row.state == State::Checking && row.done_bytes >= 8 << 20).await;
    assert!(row.progress > 0.1 && row.progress < 0.9, "{}", row.progress);
    (rig, gate)
}

fn checked(record: &TorrentRecord) -> u32 {
    match record.progress.check.as_deref() {
        Some(OwedCheck { checked: Have::Nothing, .. }) | None => 0,
        Some(check) => from_stored(&check.checked, 40).count(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_pauses_a_check_and_a_clean_end_keeps_it() {
    let (rig, gate) = standing().await;
    let answers = async {
        rig.until("t", State::Stopped).await;
        gate.open();
    };
    tokio::join!(rig.act(Verb::Stop), answers);
    let kept = record(&rig).await;
    // What is being read is hashed to its end.
    assert!((8..=40).contains(&checked(&kept)), "{}", checked(&kept));
    assert_eq!(kept.progress.have, Have::Nothing, "nothing counts as had before the check has ended");
    let row = rig.row("t").await;
    assert_eq!(row.done_bytes, u64::from(checked(&kept)) << 20);
    rig.act(Verb::Start).await;
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_synced_when_a_check_was_paused_is_not_believed_at_its_end() {
    let (rig, gate) = standing().await;
    gate.bad_syncs.store(1, Ordering::Relaxed);
    let answers = async {
        rig.until("t", State::Stopped).await;
        gate.open();
    };
    tokio::join!(rig.act(Verb::Stop), answers);
    let lost = checked(&record(&rig).await);
    assert!(lost >= 8, "they were hashed, and were right: {lost}");
    assert_eq!(rig.row("t").await.done_bytes, 0);
    rig.act(Verb::Start).await;
    // Every further sync succeeds, which says nothing about those.
    let row = rig.until("t", State::Downloading).await;
    assert_eq!(row.done_bytes, u64::from(40 - lost) << 20);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_nobody_knew_is_durable_before_it_is_known_whatever_is_in_it() {
    let gate = Gate::new(u64::MAX);
    let rig = Rig::on(gate.clone()).await;
    // As a run leaves it that is killed in the middle of its first write.
    std::fs::write(rig.folder.join("t"), [0; 100]).expect("written");
    rig.add(&torrent_file("t", &noise(PIECE), PIECE)).await;
    rig.until("t", State::Downloading).await;
    assert!(record(&rig).await.progress.files.iter().any(Option::is_some), "it is known");
    assert_eq!(gate.syncs.load(Ordering::Relaxed), 1);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_daemon_pauses_a_check() {
    let (rig, gate) = standing().await;
    let mut opens = tokio::task::JoinSet::new();
    opens.spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gate.open();
    });
    let rig = rig.restart().await;
    opens.join_all().await;
    let row = rig.row("t").await;
    assert!(row.done_bytes >= 8 << 20, "{row:?}");
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

/// The clock runs ahead whenever all tasks wait, so the time to keep comes while the disk stands still but for a read
/// now and then, so that a thread comes to sync what was found.
#[tokio::test(start_paused = true)]
async fn a_crash_loses_only_what_was_hashed_since_it_was_last_kept() {
    let (rig, gate) = standing().await;
    while checked(&record(&rig).await) < 8 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        gate.let_one_pass();
    }
    gate.open();
    rig.until("t", State::Seeding).await;
    tokio::time::resume();
    rig.quit().await;
}
