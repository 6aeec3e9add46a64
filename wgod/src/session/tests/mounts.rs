//! File systems that are mounted and unmounted below torrents, and disks that fill: what each is told, and
//! what is done on disk meanwhile.
use std::fs;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wgo_api::params::RemoveParams;
use wgo_api::torrent::{State, Torrent as Row, Trouble};
use wgo_proto::metainfo::Metainfo;
use wgo_proto::wire::message::id;

use super::super::{AddRequest, Command, Tunables, Verb};
use super::{PIECE, hash_of, seed, until_listed};
use crate::files::disk::{FsStat, OnDone, Output};
use crate::files::{Disk, Handle, Mount, Mounts, Op, RealDisk};
use crate::rig::*;
use crate::store::TorrentRecord;

/// The machine's disk with a table of mounts and a measure of room of its own.
#[derive(Default)]
pub(super) struct Nas {
    mounted: Mutex<Vec<PathBuf>>,
    free: Mutex<Option<u64>>,
    /// No write succeeds.
    pub(super) full: AtomicBool,
    /// No folder can be made.
    read_only: AtomicBool,
}

impl Nas {
    fn mount(&self, point: &Path) {
        self.mounted.lock().expect("whole").push(point.to_owned());
    }

    fn unmount(&self, point: &Path) {
        self.mounted.lock().expect("whole").retain(|other| other != point);
    }

    fn set_free(&self, free: u64) {
        *self.free.lock().expect("whole") = Some(free);
    }
}

impl Disk for Nas {
    fn submit(&self, op: Op, done: OnDone) {
        if self.full.load(Ordering::Relaxed) && matches!(op, Op::Write { .. } | Op::SetLen { .. }) {
            return done(Err(io::ErrorKind::StorageFull.into()).into());
        }
        if self.read_only.load(Ordering::Relaxed) && matches!(op, Op::CreateDir { .. }) {
            return done(Err(io::Error::from_raw_os_error(rustix::io::Errno::ROFS.raw_os_error())).into());
        }
        let asks = matches!(op, Op::StatFs(_));
        let mut completion = RealDisk.perform(op);
        if let (true, Some(free)) = (asks, *self.free.lock().expect("whole")) {
            completion.result = Ok(Output::FsStat(FsStat { free, total: 1 << 30, in_memory: false }));
        }
        done(completion);
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }

    fn mounts(&self) -> Mounts {
        let points = self.mounted.lock().expect("whole").clone();
        let all = [PathBuf::from("/")].into_iter().chain(points);
        Mounts::new((1..).zip(all).map(|(device, point)| Mount { point, device }).collect())
    }
}

/// A daemon whose folder for torrents is a mount point.
async fn mounted() -> (Rig, Arc<Nas>) {
    let nas = Arc::new(Nas::default());
    let rig = Rig::on(nas.clone()).await;
    nas.mount(&rig.folder);
    (rig, nas)
}

/// The file system goes, as `umount -l` does it: below its mount point there is an empty folder.
fn unmount(nas: &Nas, folder: &Path) {
    fs::rename(folder, folder.with_extension("disk")).expect("moved");
    fs::create_dir(folder).expect("a mount point");
    nas.unmount(folder);
}

fn mount_again(nas: &Nas, folder: &Path) {
    fs::remove_dir(folder).expect("nothing was put below the mount point");
    fs::rename(folder.with_extension("disk"), folder).expect("moved");
    nas.mount(folder);
}

async fn until_unmounted(rig: &Rig) -> Row {
    let said = |row: &Row| row.error.as_ref().is_some_and(|error| error.contains("is not mounted"));
    let row = rig.until_row("t", |row| row.state == State::Error && said(row)).await;
    assert_eq!(row.error_kind, Some(Trouble::Unavailable));
    let error = row.error.clone().unwrap_or_default();
    assert!(error.contains(&format!("wgoctl verify --start-over {}", row.info_hash)), "{error}");
    row
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().expect("it is there").next().is_none()
}

/// The torrent "t", live and without a byte: no checkpoint knows a file of it.
async fn untouched() -> (Rig, Arc<Nas>, Vec<u8>, Vec<u8>) {
    let (rig, nas) = mounted().await;
    let payload = noise(4 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    rig.add(&file).await;
    until_listed(&rig, &hash_of(&file), true).await;
    rig.until("t", State::Downloading).await;
    (rig, nas, payload, file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_mount_point_is_not_downloaded_into_though_no_checkpoint_knows_a_file() {
    let (rig, nas, payload, file) = untouched().await;
    let folder = rig.folder.clone();
    let rig = rig.restart_after(|| unmount(&nas, &folder)).await;
    until_unmounted(&rig).await;
    // An explicit check forgets nothing, a start makes nothing.
    rig.act(Verb::Verify).await;
    until_unmounted(&rig).await;
    rig.act(Verb::Start).await;
    until_unmounted(&rig).await;
    assert!(is_empty(&folder));
    mount_again(&nas, &folder);
    rig.until("t", State::Downloading).await;
    let peer = seed(&rig, &file).await;
    for _ in 0..16 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!(fs::read(folder.join("t")).expect("written"), payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_goes_below_a_live_download_stops_it_until_it_is_back() {
    for same in [true, false] {
        goes_and_comes_back(same).await;
    }
}

/// `same`: what comes back are the folder and file that went, else others with the same bytes, to which what
/// is open since before doesn't lead.
async fn goes_and_comes_back(same: bool) {
    let (rig, nas, payload, file) = untouched().await;
    let peer = seed(&rig, &file).await;
    // A piece and a part of another; that it has the first it may say before it asks for the rest.
    let (mut blocks, mut told) = (0, false);
    while blocks < 6 || !told {
        let (kind, body) = peer.next().await.expect("the connection holds");
        told |= kind == Some(id::HAVE);
        if kind == Some(id::REQUEST) && blocks < 6 {
            peer.send(&piece_message(block_of(&body, None), &payload, PIECE)).await;
            blocks += 1;
        }
    }
    let folder = rig.folder.clone();
    unmount(&nas, &folder);
    until_unmounted(&rig).await;
    assert!(is_empty(&folder));
    drop(peer);
    if !same {
        let (disk, old) = (folder.with_extension("disk"), folder.with_extension("old"));
        fs::rename(&disk, &old).expect("moved");
        fs::create_dir(&disk).expect("made");
        fs::copy(old.join("t"), disk.join("t")).expect("copied");
    }
    mount_again(&nas, &folder);
    let row = rig.until("t", State::Downloading).await;
    assert_eq!(row.done_bytes, PIECE as u64, "what was stored is still had");
    let peer = seed(&rig, &file).await;
    // Two that have everything part.
    while let Some((kind, body)) = peer.next().await {
        if kind == Some(id::REQUEST) {
            peer.send(&piece_message(block_of(&body, None), &payload, PIECE)).await;
        }
    }
    rig.until("t", State::Seeding).await;
    assert_eq!(fs::read(folder.join("t")).expect("there"), payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_what_is_not_mounted_says_so_and_starts_over() {
    let (rig, nas, _, file) = untouched().await;
    let folder = rig.folder.clone();
    let rig = rig.restart_after(|| unmount(&nas, &folder)).await;
    until_unmounted(&rig).await;
    rig.act(Verb::StartOver).await;
    rig.until("t", State::Downloading).await;
    until_listed(&rig, &hash_of(&file), true).await;
    // It is where it is now, also for the next start.
    let rig = rig.restart().await;
    rig.until("t", State::Downloading).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_there_without_the_mount_of_before_is_used() {
    let (rig, nas) = mounted().await;
    let payload = noise(4 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    fs::write(rig.folder.join("t"), &payload[..3 * PIECE]).expect("written");
    rig.add(&file).await;
    rig.until_row("t", |row| row.state == State::Downloading && row.done_bytes == 3 * PIECE as u64).await;
    let folder = rig.folder.clone();
    // The disk's content now lies on the file system that held its mount point.
    let rig = rig.restart_after(|| nas.unmount(&folder)).await;
    rig.until_row("t", |row| row.state == State::Downloading && row.done_bytes == 3 * PIECE as u64).await;
    // And a deeper mount than is known, with the data in it.
    let rig = rig.restart_after(|| nas.mount(&folder)).await;
    rig.until_row("t", |row| row.state == State::Downloading && row.done_bytes == 3 * PIECE as u64).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_folder_in_the_place_of_a_live_downloads_is_opened_anew() {
    let (rig, _nas, payload, file) = untouched().await;
    let peer = seed(&rig, &file).await;
    for _ in 0..4 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    peer.expect(id::HAVE).await;
    let (folder, old) = (rig.folder.clone(), rig.folder.with_extension("old"));
    fs::rename(&folder, &old).expect("moved");
    fs::create_dir(&folder).expect("made");
    fs::copy(old.join("t"), folder.join("t")).expect("copied");
    // What had its descriptors would go on writing to the old one for ever.
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    rig.act(Verb::Start).await;
    let peer = seed(&rig, &file).await;
    for _ in 0..12 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!(fs::read(folder.join("t")).expect("there"), payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_low_disk_holds_all_its_downloads_and_lets_them_go_clearly_above() {
    let (rig, nas) = mounted().await;
    let (one, two) = (noise(2 * PIECE), noise(3 * PIECE));
    let full = noise(4 * PIECE);
    fs::write(rig.folder.join("full"), &full).expect("written");
    nas.set_free(2000);
    rig.session.apply(Tunables { min_free_space: 1000, ..tunables() }).await;
    for (name, payload) in [("one", &one), ("two", &two), ("full", &full)] {
        rig.add(&torrent_file(name, payload, PIECE)).await;
    }
    let all = |state| {
        let rig = &rig;
        async move {
            rig.until("one", state).await;
            rig.until("two", state).await;
        }
    };
    all(State::Downloading).await;
    rig.until("full", State::Seeding).await;
    nas.set_free(900);
    all(State::Error).await;
    let row = rig.row("two").await;
    let error = row.error.unwrap_or_default();
    assert_eq!(row.error_kind, Some(Trouble::DiskFull));
    assert!(error.contains("min_free_space") && error.contains("900 B"), "{error}");
    assert_eq!(rig.row("full").await.state, State::Seeding, "what is complete goes on");
    // The store knows it, for the next start to show.
    let mut kinds = Vec::new();
    while kinds != [Some("disk_full".to_owned()), Some("disk_full".to_owned()), None] {
        kinds.clear();
        let note = |record: Result<TorrentRecord, _>| {
            kinds.push(record.expect("readable").settings.error.map(|error| error.kind));
        };
        rig.engine.store.load(note).await.expect("readable");
    }
    let rig = rig.restart().await;
    rig.session.apply(Tunables { min_free_space: 1000, ..tunables() }).await;
    let all = |state| {
        let rig = &rig;
        async move {
            rig.until("one", state).await;
            rig.until("two", state).await;
        }
    };
    nas.set_free(950);
    all(State::Error).await;
    nas.set_free(1100);
    all(State::Downloading).await;
    assert_eq!(rig.row("one").await.error, None);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_without_room_at_the_start_uploads_what_it_has() {
    let (rig, nas) = mounted().await;
    nas.set_free(900);
    rig.session.apply(Tunables { min_free_space: 1000, ..tunables() }).await;
    let payload = noise(2 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    fs::write(rig.folder.join("t"), &payload[..PIECE]).expect("written");
    rig.add(&file).await;
    rig.until("t", State::Error).await;
    until_listed(&rig, &hash_of(&file), true).await;
    let peer = rig.peer(hash_of(&file), 1).await;
    peer.says(&[
        wgo_proto::wire::Message::Have(wgo_proto::PieceIndex(1)),
        wgo_proto::wire::Message::Interested,
        wgo_proto::wire::Message::Unchoke,
    ])
    .await;
    peer.expect(id::UNCHOKE).await;
    peer.says(&[wgo_proto::wire::Message::Request(block(0, 1))]).await;
    let body = peer.expect(id::PIECE).await;
    assert_eq!(body[8..], payload[wgo_proto::BLOCK_LEN as usize..][..wgo_proto::BLOCK_LEN as usize]);
    nas.set_free(5000);
    peer.expect(id::REQUEST).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_could_not_be_made_at_the_start_is_made_when_it_can_be() {
    let (rig, nas) = mounted().await;
    nas.read_only.store(true, Ordering::Relaxed);
    let file = torrent_file("t", &noise(PIECE), PIECE);
    let folder = rig.folder.join("new/deep");
    let metainfo = Metainfo::parse(&file).expect("a torrent of ours");
    let request = AddRequest { folder: folder.clone(), ..request(&rig, metainfo, &file) };
    let added = rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await;
    assert_eq!(added.expect("it answers").error, None);
    let row = rig.until("t", State::Error).await;
    assert_eq!(row.error_kind, Some(Trouble::NotWritable), "{row:?}");
    until_listed(&rig, &hash_of(&file), true).await;
    nas.read_only.store(false, Ordering::Relaxed);
    assert_eq!(rig.until("t", State::Downloading).await.error, None);
    seed(&rig, &file).await.expect(id::REQUEST).await;
    // Once it was there it isn't made again.
    fs::remove_dir(&folder).expect("nothing is in it");
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    rig.act(Verb::Start).await;
    let row = rig.until("t", State::Error).await;
    assert!(row.error.is_some_and(|error| error.contains("is missing; bring it back")));
    assert!(!folder.exists());
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_while_the_state_cannot_be_saved_is_forgotten_later() {
    let state = Arc::new(Nas::default());
    let rig = Rig::on_two(Arc::new(RealDisk), state.clone()).await;
    let payload = noise(PIECE);
    fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&torrent_file("t", &payload, PIECE)).await;
    rig.until("t", State::Seeding).await;
    state.full.store(true, Ordering::Relaxed);
    let params = RemoveParams { all: true, data: true, ..RemoveParams::default() };
    let acted = rig.session.ask(|reply| Command::Remove(params, reply)).await;
    let acted = acted.expect("it answers").expect("it is done").torrents;
    let why = acted[0].error.clone().expect("the store can't forget it");
    assert!(why.contains("removed, but not from wgod's state") && why.contains("free some space"), "{why}");
    assert!(!rig.folder.join("t").exists(), "its file is gone all the same");
    state.full.store(false, Ordering::Relaxed);
    let mut stored = 1;
    while stored > 0 {
        stored = 0;
        rig.engine.store.load(|_| stored += 1).await.expect("readable");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_state_is_told_from_that_of_the_files() {
    let state = Arc::new(Nas::default());
    let rig = Rig::on_two(Arc::new(RealDisk), state.clone()).await;
    rig.add(&torrent_file("t", &noise(PIECE), PIECE)).await;
    rig.until("t", State::Downloading).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    state.full.store(true, Ordering::Relaxed);
    rig.act(Verb::Start).await;
    let row = rig.until("t", State::Error).await;
    let error = row.error.unwrap_or_default();
    assert!(
        error.contains("holds wgod's state is full") && error.contains("free some space there"),
        "{error}"
    );
    assert_eq!(row.error_kind, Some(Trouble::DiskFull));
    state.full.store(false, Ordering::Relaxed);
    assert_eq!(rig.until("t", State::Downloading).await.error, None);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_finds_all_is_not_over_before_that_is_saved() {
    let state = Arc::new(Nas::default());
    let rig = Rig::on_two(Arc::new(RealDisk), state.clone()).await;
    let payload = noise(2 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    fs::write(rig.folder.join("t"), &payload).expect("written");
    let metainfo = Metainfo::parse(&file).expect("a torrent of ours");
    let request = AddRequest { paused: true, ..request(&rig, metainfo, &file) };
    let added = rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await;
    assert_eq!(added.expect("it answers").error, None);
    state.full.store(true, Ordering::Relaxed);
    rig.act(Verb::Start).await;
    let row = rig.until("t", State::Error).await;
    assert_eq!((row.error_kind, row.completed_at), (Some(Trouble::DiskFull), None), "{row:?}");
    state.full.store(false, Ordering::Relaxed);
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.completed_at, kept_completion(&rig).await);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_complete_and_is_stopped_before_that_is_saved_is_complete_once_it_is() {
    let state = Arc::new(Nas::default());
    let rig = Rig::on_two(Arc::new(RealDisk), state.clone()).await;
    let payload = noise(PIECE);
    let file = torrent_file("t", &payload, PIECE);
    rig.add(&file).await;
    let peer = seed(&rig, &file).await;
    state.full.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    let row = rig.until("t", State::Error).await;
    assert_eq!((row.done_bytes, row.completed_at), (PIECE as u64, None), "{row:?}");
    rig.act(Verb::Stop).await;
    assert_eq!(rig.until("t", State::Stopped).await.completed_at, None);
    drop(peer);
    state.full.store(false, Ordering::Relaxed);
    rig.act(Verb::Start).await;
    let row = rig.until_row("t", |row| row.state == State::Seeding && row.completed_at.is_some()).await;
    assert_eq!(row.completed_at, kept_completion(&rig).await);
    rig.quit().await;
}

/// When the store says that the torrent got complete.
async fn kept_completion(rig: &Rig) -> Option<u64> {
    let mut kept = None;
    rig.engine
        .store
        .load(|record| kept = record.expect("readable").progress.completed_at)
        .await
        .expect("readable");
    kept
}
