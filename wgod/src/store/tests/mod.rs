//! Tests of the store: the handle and its threads here, what power cuts and failing disks leave of it
//! in `crash` and `faults`.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wgo_core::{ByteRate, TorrentId};
use wgo_proto::{InfoHashV1, InfoHashes};

use super::*;
use crate::files::RealDisk;

mod backup;
mod backups;
mod crash;
mod damage;
mod faults;
mod kill;
pub(super) mod power_disk;
mod rows;
mod schema;
mod world;

/// A torrent with a bit of everything; `id` makes it differ from others.
fn record(id: u64) -> TorrentRecord {
    TorrentRecord {
        id: TorrentId(id),
        settings: Settings {
            hashes: InfoHashes { v1: Some(InfoHashV1([id as u8; 20])), v2: None },
            name: format!("torrent {id}"),
            folder: PathBuf::from("/srv/torrents"),
            added_at: 1_700_000_000 + id,
            wanted: Wanted::Started,
            check_asked: false,
            error: None,
            labels: vec!["linux".into()],
            sequential: id.is_multiple_of(2),
            up_limit: Some(ByteRate(1000 * id)),
            down_limit: None,
            place: Default::default(),
            goals: Default::default(),
            goal_reached: None,
            file_priorities: vec![],
            trackers: None,
            user_peers: vec![],
            moving: None,
            ends_first: false,
            parted: None,
            awaited: None,
            final_folder: None,
            renames: vec![],
            renaming: None,
            part_suffix: None,
            completion_owed: id.is_multiple_of(2),
            newer: NewerFields::default(),
        },
        progress: Progress::default(),
        counters: Counters::default(),
    }
}

/// Progress of a torrent of `pieces` pieces that has `have` and is being written to.
pub(super) fn writing(pieces: u32, have: &[u32]) -> Progress {
    let mut bits = vec![0; pieces.div_ceil(8) as usize];
    for &piece in have {
        bits[piece as usize / 8] |= 0x80 >> (piece % 8);
    }
    Progress { have: Have::Some { pieces, bits }, writing: true, ..Progress::default() }
}

fn add(id: u64) -> Change {
    Change::Torrent(Box::new(record(id)))
}

fn open(dir: &Path) -> (Store, Loaded) {
    Store::open(Arc::new(RealDisk), dir, Path::new("/run/socket"), 0).unwrap()
}

async fn ids(store: &Store) -> Vec<u64> {
    let mut ids = Vec::new();
    store.load(|record| ids.push(record.unwrap().id.0)).await.unwrap();
    ids
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart_and_what_was_removed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = open(dir.path());
    assert!(loaded.recovery.clean);
    assert_eq!(loaded.next_id, TorrentId(1));
    store
        .put(vec![add(1), Change::Metainfo(TorrentId(1), b"d4:info".to_vec()), add(2), add(7)])
        .await
        .unwrap();
    let counters = |downloaded, uploaded| Counters { downloaded, uploaded, ..Counters::default() };
    store.put(vec![Change::Counters(TorrentId(7), counters(2, u64::MAX))]).await.unwrap();
    store.put(vec![Change::Remove(TorrentId(7)), Change::Remove(TorrentId(7))]).await.unwrap();
    store
        .put(vec![Change::Counters(TorrentId(2), counters(3, 9)), Change::Remove(TorrentId(2))])
        .await
        .unwrap();
    let key = || "limits.up".to_owned();
    let value = serde_json::json!("2 MB/s");
    store.put(vec![Change::Override { key: key(), value: Some(value.clone()) }]).await.unwrap();
    let totals = Totals { downloaded: 5, uploaded: u64::MAX };
    store.close().await.unwrap();
    assert!(matches!(store.put(vec![add(3)]).await, Err(StoreError::Closed)));

    let (store, loaded) = open(dir.path());
    assert!(loaded.recovery.clean);
    assert_eq!(loaded.next_id, TorrentId(8), "ids are never used again");
    assert_eq!((loaded.totals, loaded.overrides.get(&key())), (totals, Some(&value)));
    assert_eq!(ids(&store).await, [1]);
    assert_eq!(store.torrent(TorrentId(1)).await.unwrap(), Some(record(1)));
    assert_eq!(store.torrent(TorrentId(0)).await.unwrap(), None);
    assert_eq!(store.metainfo(TorrentId(1)).await.unwrap().as_deref(), Some(&b"d4:info"[..]));
    assert_eq!(store.metainfo(TorrentId(2)).await.unwrap(), None);
    store.put(vec![Change::Override { key: key(), value: None }]).await.unwrap();
    store.close().await.unwrap();
    assert!(open(dir.path()).1.overrides.is_empty());
}

#[tokio::test]
async fn loading_pages_through_more_torrents_than_one_page_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    // A page is 256 KiB: 40 records of 16 KiB take three.
    let big = |id| {
        let mut record = record(id);
        record.progress = writing(8 * 16 * 1024, &[id as u32]);
        Change::Torrent(Box::new(record))
    };
    store.put((1..=40).map(big).collect()).await.unwrap();
    assert_eq!(ids(&store).await, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_part_is_replaced_without_touching_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut want = record(1);
    store.put(vec![add(1)]).await.unwrap();
    want.settings.labels = vec!["a".into(), "b".into()];
    want.counters.uploaded = 99;
    want.progress = writing(9, &[0, 8]);
    store.put(vec![Change::Settings(want.id, Box::new(want.settings.clone()))]).await.unwrap();
    store.put(vec![Change::Counters(want.id, want.counters.clone())]).await.unwrap();
    let synced = Progress { writing: false, ..want.progress.clone() };
    store.put(vec![Change::Progress(want.id, synced), Change::Writing(want.id, None)]).await.unwrap();
    assert_eq!(store.torrent(want.id).await.unwrap(), Some(want));
}

#[tokio::test]
async fn changes_to_a_torrent_that_is_gone_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(vec![add(1), Change::Remove(TorrentId(1))]).await.unwrap();
    store
        .put(vec![
            Change::Progress(TorrentId(1), writing(8, &[1])),
            Change::Writing(TorrentId(1), None),
            Change::Counters(TorrentId(1), Counters::default()),
            Change::Settings(TorrentId(1), Box::new(record(1).settings)),
            Change::Metainfo(TorrentId(1), vec![1]),
        ])
        .await
        .unwrap();
    assert!(ids(&store).await.is_empty());
    assert_eq!(store.metainfo(TorrentId(1)).await.unwrap(), None);
}

#[tokio::test]
async fn requests_that_wait_share_a_commit() {
    let disk = power_disk::PowerDisk::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.redb"), "").unwrap();
    std::fs::write(dir.path().join("stored.log"), "").unwrap();
    let (store, _) = Store::open(Arc::new(disk.clone()), dir.path(), Path::new("s"), 0).unwrap();
    const N: u64 = 200;
    let gate = disk.hold_syncs();
    let first = store.put(vec![add(1)]);
    let rest = async {
        // The first one's commit waits at the gate when the others are sent.
        disk.sync_is_held().await;
        let puts = futures(&store, 2..=N);
        let release = async { drop(gate) };
        tokio::join!(puts, release).0
    };
    let (first, rest) = tokio::join!(first, rest);
    first.unwrap();
    assert!(rest.into_iter().all(|r| r.is_ok()));
    assert_eq!(store.stats().commits, 2, "{N} requests");
    assert_eq!(ids(&store).await.len() as u64, N);
}

#[tokio::test]
async fn a_store_whose_disk_hangs_is_left_behind() {
    let disk = power_disk::PowerDisk::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.redb"), "").unwrap();
    std::fs::write(dir.path().join("stored.log"), "").unwrap();
    let (store, _) = Store::open(Arc::new(disk.clone()), dir.path(), Path::new("s"), 0).unwrap();
    let gate = disk.hold_syncs();
    let close = store.close();
    tokio::select! {
        closed = close => panic!("closed without its disk: {closed:?}"),
        () = disk.sync_is_held() => {}
    }
    store.let_go();
    // Would wait for the thread for ever, and the thread for the gate.
    drop(store);
    drop(gate);
}

/// Puts one torrent per id, all at once.
async fn futures(store: &Store, ids: std::ops::RangeInclusive<u64>) -> Vec<Result<(), StoreError>> {
    let mut tasks = tokio::task::JoinSet::new();
    for id in ids {
        let store = store.clone();
        tasks.spawn(async move { store.put(vec![add(id)]).await });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn a_second_store_is_refused_with_the_owners_socket_and_may_follow_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    match Store::open(Arc::new(RealDisk), dir.path(), Path::new("/other"), 0) {
        Err(StoreError::Locked { pid, socket, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert_eq!(socket.as_deref(), Some(Path::new("/run/socket")));
        }
        other => panic!("{other:?}"),
    }
    store.close().await.unwrap();
    open(dir.path());
}

#[tokio::test]
async fn every_file_of_the_state_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let (_store, _) = open(&dir);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        let mode = if about.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(about.permissions().mode() & 0o777, mode, "{entry:?}");
        names.push(entry.file_name());
    }
    names.sort();
    assert_eq!(names, ["backups", "lock", "state.redb", "stored.log"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_reported_and_kept_and_the_others_load() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(vec![add(1), add(2), add(3)]).await.unwrap();
    store.close().await.unwrap();
    let garbage = |table: redb::TableDefinition<'_, u64, &[u8]>, id: u64, row: &[u8]| {
        let db = redb::Database::open(dir.path().join("state.redb")).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(table).unwrap().insert(id, row).unwrap();
        txn.commit().unwrap();
    };
    garbage(crate::store::schema::TORRENTS, 1, b"no row");
    garbage(crate::store::schema::PROGRESS, 3, b"");

    let (store, _) = open(dir.path());
    for _ in 0..2 {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let sort = |r: Result<TorrentRecord, Quarantined>| match r {
            Ok(record) => good.push(record.id.0),
            Err(quarantined) => bad.push(quarantined),
        };
        store.load(sort).await.unwrap();
        assert_eq!(good, [2]);
        assert_eq!((bad[0].id.0, bad[0].part, bad[0].name.as_deref()), (1, "settings", None));
        assert_eq!((bad[1].id.0, bad[1].part, bad[1].name.as_deref()), (3, "progress", Some("torrent 3")));
        assert!(bad[1].to_string().contains("torrent 3"), "{}", bad[1]);
        // The mark must not turn what can't be read into an empty record.
        store.put(vec![Change::Writing(TorrentId(3), None)]).await.unwrap();
    }
    assert!(matches!(store.torrent(TorrentId(1)).await, Err(StoreError::Quarantined(_))));
    store.put(vec![Change::Remove(TorrentId(1)), add(3)]).await.unwrap();
    assert_eq!(ids(&store).await, [2, 3]);
}

#[tokio::test]
async fn after_a_crash_the_logged_pieces_outside_the_bitmap_are_suspect() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (one, idle) = (TorrentId(1), TorrentId(2));
    store.put(vec![add(1), add(2), Change::Progress(one, writing(20, &[3]))]).await.unwrap();
    for (id, piece) in [(one, 3), (one, 4), (one, 4), (one, 19), (one, 20), (idle, 1), (TorrentId(9), 1)] {
        store.log_stored(id, PieceIndex(piece));
    }
    drop(store);

    let (store, loaded) = open(dir.path());
    assert!(!loaded.recovery.clean);
    let suspect = |loaded: &Loaded| loaded.recovery.suspect.clone().into_iter().collect::<Vec<_>>();
    assert_eq!(suspect(&loaded), [(one, vec![PieceIndex(4), PieceIndex(19)])]);
    // One is bad, a crash in the middle of the check must not lose the other.
    store.log_refuted(one, PieceIndex(19));
    drop(store);
    let (store, loaded) = open(dir.path());
    assert!(suspect(&loaded)[0].1.contains(&PieceIndex(4)));
    store.put(vec![Change::Progress(one, writing(20, &[3, 4, 19]))]).await.unwrap();
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.recovery.clean, suspect(&loaded)), (false, vec![]));
    store.close().await.unwrap();
    assert!(open(dir.path()).1.recovery.clean);
}
