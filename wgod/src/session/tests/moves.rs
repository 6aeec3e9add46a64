//! Moves: called off, cut short, refused, and in the way of other commands.
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use wgo_api::params::{LabelParams, MoveParams, RemoveParams};
use wgo_api::result::{ActResult, Acted};
use wgo_api::torrent::State;
use wgo_api::{ApiError, Kind};
use wgo_proto::wire::message::id;

use super::super::{Command, Verb};
use super::mounts::Nas;
use super::stop::Held;
use super::{PIECE, downloading, hash_of, names, seed, until_listed};
use crate::files::disk::OnDone;
use crate::files::{Disk, Handle, Op, RealDisk};
use crate::rig::*;
use crate::store::{TorrentRecord, Wanted};

/// A real disk on which moves are copies, which stand still or fail at will.
#[derive(Default)]
struct Copies {
    state: Mutex<Copying>,
    changed: Condvar,
}

#[derive(Default)]
struct Copying {
    /// Stretches that are copied before the next stands still.
    left: Option<u32>,
    fails: Option<Errno>,
    /// Deleting the file "t" stands still.
    holds: bool,
}

impl Copies {
    fn hold(&self, holds: bool) {
        self.state.lock().expect("whole").holds = holds;
        self.changed.notify_all();
    }

    fn set(&self, left: Option<u32>, fails: Option<Errno>) {
        let mut state = self.state.lock().expect("whole");
        *state = Copying { left, fails, ..*state };
        drop(state);
        self.changed.notify_all();
    }
}

impl Disk for Copies {
    fn submit(&self, op: Op, done: OnDone) {
        let refuse = |errno: Errno| Err(io::Error::from_raw_os_error(errno.raw_os_error())).into();
        match op {
            Op::Link { .. } | Op::Reflink { .. } => return done(refuse(Errno::XDEV)),
            Op::CopyRange { .. } => {
                let state = self.state.lock().expect("whole");
                let mut state = self.changed.wait_while(state, |s| s.left == Some(0)).expect("whole");
                state.left = state.left.map(|left| left - 1);
                if let Some(errno) = state.fails {
                    return done(refuse(errno));
                }
            }
            Op::Unlink(ref at) if at.path.ends_with("t") => {
                let state = self.state.lock().expect("whole");
                drop(self.changed.wait_while(state, |s| s.holds).expect("whole"));
            }
            _ => {}
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

const LEN: usize = 6 << 20;

/// A seed of 6 MiB on a disk of which copies are made in six stretches.
async fn seeding() -> (Rig, Arc<Copies>, Vec<u8>) {
    seeding_with(Arc::new(RealDisk)).await
}

/// The same, with the state on another disk.
async fn seeding_with(state: Arc<dyn Disk>) -> (Rig, Arc<Copies>, Vec<u8>) {
    let disk = Arc::new(Copies::default());
    let rig = Rig::on_two(disk.clone(), state).await;
    let payload = noise(LEN);
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&torrent_file("t", &payload, 1 << 18)).await;
    rig.until("t", State::Seeding).await;
    (rig, disk, payload)
}

fn elsewhere(rig: &Rig) -> PathBuf {
    rig.folder.with_file_name("elsewhere")
}

async fn ask(rig: &Rig, folder: Option<PathBuf>) -> Acted {
    let params = MoveParams { all: true, cancel: folder.is_none(), folder, ..MoveParams::default() };
    let acted: Option<Result<ActResult, ApiError>> =
        rig.session.ask(|reply| Command::Move(params, reply)).await;
    acted.expect("it answers").expect("it is done").torrents.pop().expect("one torrent")
}

async fn move_away(rig: &Rig) {
    assert_eq!(ask(rig, Some(elsewhere(rig))).await.error, None);
}

/// The torrent is there, whole, and nowhere else.
fn assert_only_in(place: &Path, other: &Path, payload: &[u8]) {
    assert!(std::fs::read(place.join("t")).expect("it is there") == payload);
    let names = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder)
            .map_or_else(|_| Vec::new(), |all| all.map(|e| e.expect("read").file_name()).collect())
    };
    assert_eq!((names(place), names(other)), (vec!["t".into()], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_is_served_from_its_new_place() {
    let (rig, _, payload) = seeding().await;
    let to = elsewhere(&rig);
    move_away(&rig).await;
    let moved =
        |row: &wgo_api::Torrent| row.state == State::Seeding && row.folder == to.display().to_string();
    let row = rig.until_row("t", moved).await;
    assert_eq!((row.done_bytes, row.error), (LEN as u64, None));
    assert_only_in(&to, &rig.folder, &payload);
    let mut mount = None;
    rig.engine
        .store
        .load(|record| mount = Some(record.expect("readable").progress.mount))
        .await
        .expect("loads");
    assert_eq!(mount, Some(None), "where the old disk was mounted says nothing of the new one");
    assert_eq!(ask(&rig, Some(to.clone())).await.error, None, "it is there already");
    let refused = ask(&rig, None).await;
    assert_eq!(
        (refused.kind, refused.error.as_deref()),
        (Some(Kind::Conflict), Some("it is not being moved"))
    );
    let to_folder = to.clone();
    let rig = rig.restart().await;
    let row = rig.until("t", State::Seeding).await;
    assert_eq!((row.folder, row.done_bytes), (to_folder.display().to_string(), LEN as u64));
    rig.quit().await;
}

/// A move of which half is copied, and that stands there.
async fn standing() -> (Rig, Arc<Copies>, Vec<u8>) {
    let (rig, disk, payload) = seeding().await;
    disk.set(Some(3), None);
    move_away(&rig).await;
    let row = rig.until_row("t", |row| row.state == State::Moving && row.progress > 0.2).await;
    assert!(row.progress < 0.3, "as much is to be hashed: {}", row.progress);
    (rig, disk, payload)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_called_off_leaves_nothing_behind() {
    let (rig, disk, payload) = standing().await;
    let refused = ask(&rig, Some(rig.folder.with_file_name("third"))).await;
    assert!(refused.error.is_some_and(|error| error.contains("elsewhere") && error.contains("--cancel")));
    assert_eq!(ask(&rig, None).await.error, None);
    disk.set(None, None);
    let row = rig.until("t", State::Seeding).await;
    assert_eq!((row.folder, row.error), (rig.folder.display().to_string(), None));
    assert_only_in(&rig.folder, &elsewhere(&rig), &payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_goes_on_after_the_daemon_ended_in_the_middle() {
    let (rig, disk, payload) = standing().await;
    let mut frees = tokio::task::JoinSet::new();
    frees.spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        disk.set(None, None);
    });
    let rig = rig.restart().await;
    frees.join_all().await;
    let to = elsewhere(&rig);
    let moved =
        |row: &wgo_api::Torrent| row.state == State::Seeding && row.folder == to.display().to_string();
    rig.until_row("t", moved).await;
    assert_only_in(&to, &rig.folder, &payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_is_removed_although_the_second_half_of_its_move_waits_for_a_save() {
    let state = Arc::new(Held::default());
    let (rig, disk, _) = seeding_with(state.clone()).await;
    disk.set(Some(3), None);
    move_away(&rig).await;
    rig.until_row("t", |row| row.state == State::Moving && row.progress > 0.2).await;
    // A save is under way, and that of the new place has to come after it.
    state.set(true);
    let labels = LabelParams { all: true, set: Some(vec!["x".into()]), ..LabelParams::default() };
    let labelled = rig.session.begin(|reply| Command::Label(labels, reply)).await.expect("it runs");
    disk.set(None, None);
    let to = elsewhere(&rig);
    rig.until_row("t", |row| row.folder == to.display().to_string()).await;
    let params = RemoveParams { all: true, data: true, ..RemoveParams::default() };
    let removed = rig.session.begin(|reply| Command::Remove(params, reply)).await.expect("it runs");
    // The next command comes after it.
    drop(rig.session.ask(|reply| Command::Name("t".to_owned(), reply)).await);
    state.set(false);
    let removed = tokio::time::timeout(Duration::from_secs(60), removed).await.expect("it is removed");
    assert_eq!(removed.expect("it answers").expect("it is done").torrents[0].error, None);
    drop(labelled);
    assert_eq!((names(&to), names(&rig.folder)), (vec![], vec![]));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_midway_leaves_the_torrent_where_it_is_and_running() {
    let (rig, disk, payload) = standing().await;
    disk.set(None, Some(Errno::NOSPC));
    let row = rig.until("t", State::Seeding).await;
    let said = row.error.expect("it says so");
    assert!(said.contains("elsewhere") && said.contains("No space left"), "{said}");
    assert_eq!(row.folder, rig.folder.display().to_string());
    assert_only_in(&rig.folder, &elsewhere(&rig), &payload);
    disk.set(None, None);
    move_away(&rig).await;
    let to = elsewhere(&rig).display().to_string();
    let row = rig.until_row("t", |row| row.state == State::Seeding && row.folder == to).await;
    assert_eq!(row.error, None, "what it said is forgotten");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_goes_midway_is_waited_for_or_given_up() {
    for give_up in [true, false] {
        let (rig, disk, payload) = standing().await;
        let away = rig.folder.with_file_name("away");
        std::fs::rename(elsewhere(&rig), &away).expect("moved");
        disk.set(None, None);
        let row = rig.until("t", State::Error).await;
        let said = row.error.expect("it says so");
        assert!(said.contains("elsewhere") && said.contains("--cancel"), "{said}");
        assert!(std::fs::read(rig.folder.join("t")).expect("it is there") == payload);
        if give_up {
            assert_eq!(ask(&rig, None).await.error, None);
            let row = rig.until("t", State::Seeding).await;
            assert_eq!((row.folder, row.error), (rig.folder.display().to_string(), None));
        } else {
            std::fs::rename(&away, elsewhere(&rig)).expect("moved");
            rig.until("t", State::Seeding).await;
            assert_only_in(&elsewhere(&rig), &rig.folder, &payload);
        }
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_not_moved() {
    let (rig, _, mut payload) = seeding().await;
    let path = rig.folder.join("t");
    let time = std::fs::metadata(&path).and_then(|meta| meta.modified()).expect("a time");
    payload[4 << 20] ^= 1;
    std::fs::write(&path, &payload).expect("written");
    std::fs::File::options().write(true).open(&path).and_then(|f| f.set_modified(time)).expect("set");
    move_away(&rig).await;
    let said = rig.until_row("t", |row| row.error.is_some()).await.error.unwrap_or_default();
    assert!(said.contains("files/t") && said.contains("wgoctl verify"), "{said}");
    rig.until("t", State::Seeding).await;
    assert_only_in(&rig.folder, &elsewhere(&rig), &payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_to_be_missing_is_not_left_behind() {
    let (rig, _, payload) = seeding().await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    let away = rig.folder.with_file_name("away");
    std::fs::rename(rig.folder.join("t"), &away).expect("moved");
    move_away(&rig).await;
    let said = rig.until("t", State::Error).await.error.unwrap_or_default();
    assert!(said.contains("files/t is missing"), "{said}");
    std::fs::rename(&away, rig.folder.join("t")).expect("moved");
    let to = elsewhere(&rig).display().to_string();
    rig.until_row("t", |row| row.state == State::Stopped && row.folder == to).await;
    assert_only_in(&elsewhere(&rig), &rig.folder, &payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_unfinished_pieces_move_along() {
    let (rig, payload, file, peer) = downloading(2).await;
    let mut there = Vec::new();
    for _ in 0..5 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
        there.push(asked);
    }
    rig.until_row("t", |row| row.downloaded_bytes as usize == 5 * PIECE / 4).await;
    move_away(&rig).await;
    let to = elsewhere(&rig).display().to_string();
    rig.until_row("t", |row| row.state == State::Downloading && row.folder == to).await;
    until_listed(&rig, &hash_of(&file), true).await;
    let peer = seed(&rig, &file).await;
    for _ in 0..3 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        assert!(!there.contains(&asked), "{asked:?} is on disk");
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    let row = rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!(row.downloaded_bytes, payload.len() as u64);
    assert_only_in(&elsewhere(&rig), &rig.folder, &payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_during_a_move_count_when_it_has_ended() {
    let (rig, disk, payload) = standing().await;
    rig.act(Verb::Verify).await;
    let told = rig.act(Verb::Stop).await.torrents.remove(0).error.unwrap_or_default();
    assert!(told.contains("it is being moved"), "nobody may take it for stopped: {told}");
    rig.until("t", State::Moving).await;
    disk.set(None, None);
    let to = elsewhere(&rig).display().to_string();
    let row = rig.until_row("t", |row| row.state == State::Stopped && row.folder == to).await;
    assert_eq!(row.error, None);
    assert_only_in(&elsewhere(&rig), &rig.folder, &payload);
    rig.act(Verb::Start).await;
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_removed_in_the_middle_leaves_one_place_or_none() {
    for data in [false, true] {
        let (rig, disk, payload) = standing().await;
        let params = RemoveParams { all: true, data, ..RemoveParams::default() };
        let removal = rig.session.ask(|reply| Command::Remove(params, reply));
        let (acted, ()) = tokio::join!(removal, async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            disk.set(None, None);
        });
        let acted = acted.expect("it answers").expect("it is done");
        assert!(acted.torrents.iter().all(|torrent| torrent.error.is_none()), "{acted:?}");
        if data {
            assert!(std::fs::read_dir(&rig.folder).expect("it stays").next().is_none());
            assert!(std::fs::read_dir(elsewhere(&rig)).expect("it stays").next().is_none());
        } else {
            assert_only_in(&rig.folder, &elsewhere(&rig), &payload);
        }
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_removed_in_the_middle_is_not_on_its_way_any_more_should_the_removal_be_cut() {
    let (rig, disk, _) = standing().await;
    disk.hold(true);
    let params = RemoveParams { all: true, data: true, ..RemoveParams::default() };
    let removal = rig.session.ask(|reply| Command::Remove(params, reply));
    let (acted, ()) = tokio::join!(removal, async {
        disk.set(None, None);
        let mut stored = record(&rig).await;
        while stored.progress.check.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            stored = record(&rig).await;
        }
        assert_eq!(stored.settings.moving, None);
        disk.hold(false);
    });
    assert!(acted.is_some_and(|acted| acted.is_ok()));
    rig.quit().await;
}

/// Of the only torrent.
async fn record(rig: &Rig) -> TorrentRecord {
    let mut found = None;
    rig.engine.store.load(|record| found = record.ok()).await.expect("readable");
    found.expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_comes_to_nothing_leaves_its_mark_until_that_is_saved() {
    let state = Arc::new(Nas::default());
    let (rig, disk, payload) = seeding_with(state.clone()).await;
    disk.set(Some(2), None);
    move_away(&rig).await;
    rig.until("t", State::Moving).await;
    state.full.store(true, Ordering::Relaxed);
    disk.set(None, Some(Errno::NOSPC));
    let row = rig.until("t", State::Error).await;
    assert!(
        row.error.as_ref().is_some_and(|error| error.contains("called off could not be saved")),
        "{row:?}"
    );
    let entries = || std::fs::read_dir(elsewhere(&rig)).expect("it is there").flatten();
    assert!(entries().any(|entry| entry.file_name().to_string_lossy().ends_with("-move")));
    state.full.store(false, Ordering::Relaxed);
    rig.until("t", State::Seeding).await;
    assert_only_in(&rig.folder, &elsewhere(&rig), &payload);
    while record(&rig).await.settings.moving.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_could_not_be_saved_are_saved_when_they_can_be() {
    let state = Arc::new(Nas::default());
    let (rig, _, _) = seeding_with(state.clone()).await;
    state.full.store(true, Ordering::Relaxed);
    let acted = rig.act(Verb::Stop).await.torrents.remove(0);
    assert!(acted.error.is_some_and(|error| error.contains("may not outlast a restart")));
    state.full.store(false, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    while record(&rig).await.settings.wanted != Wanted::Stopped {
        assert!(begun.elapsed() < SOON, "nobody saves it");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_torrents_place_is_refused_whether_it_runs_or_not() {
    let (rig, _, payload) = seeding().await;
    // The same file by another torrent, in the folder that the first is to go to.
    let twin = torrent_file("t", &payload, 1 << 19);
    std::fs::create_dir(elsewhere(&rig)).expect("made");
    let mut here = rig;
    here.folder = elsewhere(&here);
    here.add(&twin).await;
    let params = MoveParams {
        ids: vec![hash_of(&torrent_file("t", &payload, 1 << 18)).to_string()],
        folder: Some(here.folder.clone()),
        ..MoveParams::default()
    };
    let acted = here.session.ask(|reply| Command::Move(params, reply)).await;
    let acted = acted.expect("it answers").expect("it is done").torrents.remove(0);
    assert_eq!(acted.kind, Some(Kind::Conflict), "{acted:?}");
    assert!(acted.error.is_some_and(|error| error.contains("elsewhere/t") && error.contains("“t”")));
    here.quit().await;
}
