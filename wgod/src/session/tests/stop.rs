//! `stop` is answered when the torrent has stopped, for scripts that copy its files next.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wgo_api::ApiError;
use wgo_api::params::{RemoveParams, SelectParams};
use wgo_api::result::ActResult;
use wgo_api::torrent::State;
use wgo_proto::wire::message::id;

use super::super::{Command, Verb};
use super::{PIECE, give, seed};
use crate::files::disk::OnDone;
use crate::files::{Disk, Handle, Op, RealDisk};
use crate::rig::*;
use crate::store::Have;

/// A real disk that makes nothing durable while it is held, or once it is broken.
#[derive(Default)]
pub(super) struct Held {
    held: Mutex<bool>,
    freed: Condvar,
    /// Syncs that have waited, or do.
    pub(super) waited: AtomicU32,
    broken: AtomicBool,
}

impl Held {
    pub(super) fn set(&self, held: bool) {
        *self.held.lock().expect("whole") = held;
        self.freed.notify_all();
    }
}

impl Disk for Held {
    fn submit(&self, op: Op, done: OnDone) {
        if matches!(op, Op::SyncData(_) | Op::SyncAll(_) | Op::SyncFs(_)) {
            let held = self.held.lock().expect("whole");
            self.waited.fetch_add(u32::from(*held), Ordering::Relaxed);
            drop(self.freed.wait_while(held, |held| *held).expect("whole"));
            if self.broken.load(Ordering::Relaxed) {
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

/// Blocks of a piece.
const BLOCKS: usize = PIECE / wgo_proto::BLOCK_LEN as usize;
/// A checkpoint begins so soon after a piece, on the slowest machine.
const CHECKPOINT: Duration = Duration::from_secs(90);

type Answer = oneshot::Receiver<Result<ActResult, ApiError>>;

/// A torrent with one piece that no checkpoint covers, on a disk that makes nothing durable from now on; its payload and
/// its file.
async fn one_piece() -> (Rig, Arc<Held>, Vec<u8>, Vec<u8>) {
    let disk = Arc::new(Held::default());
    let rig = Rig::on(disk.clone()).await;
    let payload = noise(4 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    rig.add(&file).await;
    let peer = seed(&rig, &file).await;
    give(&peer, &payload, BLOCKS).await;
    peer.expect(id::HAVE).await;
    disk.set(true);
    (rig, disk, payload, file)
}

/// The same, told to stop.
async fn stopping() -> (Rig, Arc<Held>, Answer) {
    let (rig, disk, ..) = one_piece().await;
    let params = SelectParams { all: true, ..SelectParams::default() };
    let answer = rig.session.begin(|reply| Command::Act(Verb::Stop, params, reply)).await;
    rig.until("t", State::Stopped).await;
    (rig, disk, answer.expect("it runs"))
}

/// What the store knows of the torrent.
async fn stored(rig: &Rig) -> (Have, bool) {
    let mut known = None;
    let all = rig.engine.store.load(|record| {
        let progress = record.expect("it can be read").progress;
        known = Some((progress.have, progress.writing));
    });
    all.await.expect("the store answers");
    known.expect("there is one torrent")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_answered_when_the_last_checkpoint_is_durable() {
    let (rig, disk, mut answer) = stopping().await;
    assert!(answer.try_recv().is_err(), "answered before");
    disk.set(false);
    let acted = answer.await.expect("it answers").expect("it is done").torrents;
    assert_eq!(acted[0].error, None);
    let (have, writing) = stored(&rig).await;
    assert!(matches!(have, Have::Some { .. }) && !writing, "{have:?}");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_is_not_waited_for_and_the_answer_says_so() {
    let (rig, disk, answer) = stopping().await;
    let acted = answer.await.expect("it answers").expect("it is done").torrents;
    let why = acted[0].error.clone().unwrap_or_default();
    assert!(why.contains("does that disk answer?"), "{why}");
    disk.set(false);
    // It ends all the same.
    rig.act(Verb::Stop).await;
    let (have, writing) = stored(&rig).await;
    assert!(matches!(have, Have::Some { .. }) && !writing, "{have:?}");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_stopped_is_answered_at_once_whatever_its_disk_does() {
    let (rig, disk, answer) = stopping().await;
    disk.set(false);
    answer.await.expect("it answers").expect("it is done");
    disk.set(true);
    rig.act(Verb::Stop).await;
    disk.set(false);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_or_removes_it_hears_that_what_came_last_may_not_be_on_disk() {
    for removes in [false, true] {
        let (rig, disk, ..) = one_piece().await;
        disk.broken.store(true, Ordering::Relaxed);
        disk.set(false);
        let answer: Option<Result<ActResult, ApiError>> = if removes {
            let params = RemoveParams { all: true, ..RemoveParams::default() };
            rig.session.ask(|reply| Command::Remove(params, reply)).await
        } else {
            let params = SelectParams { all: true, ..SelectParams::default() };
            rig.session.ask(|reply| Command::Act(Verb::Stop, params, reply)).await
        };
        let acted = answer.expect("it answers").expect("there is one").torrents;
        let error = acted[0].error.clone().unwrap_or_default();
        assert!(error.contains("what it stored last may not be on disk: cannot sync"), "{error}");
        assert_eq!(error.starts_with("it is removed, but"), removes, "{error}");
        rig.quit().await;
    }
}

/// What comes while the disk syncs is of the next checkpoint: this sync may not cover it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_says_nothing_of_a_piece_that_came_while_it_was_made() {
    let (rig, disk, payload, file) = one_piece().await;
    let begun = Instant::now();
    while disk.waited.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < CHECKPOINT, "no checkpoint begins");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let peer = seed(&rig, &file).await;
    give(&peer, &payload, BLOCKS).await;
    peer.expect(id::HAVE).await;
    disk.set(false);
    let noted = loop {
        match stored(&rig).await {
            (Have::Nothing, _) => {}
            (Have::Some { bits, .. }, writing) => break (bits, writing),
            (Have::All, _) => panic!("it isn't whole"),
        }
        assert!(begun.elapsed() < 2 * CHECKPOINT, "no checkpoint ends");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let (bits, writing) = noted;
    assert_eq!((bits.iter().map(|bits| bits.count_ones()).sum::<u32>(), writing), (1, true));
    drop(peer);
    rig.quit().await;
}
