//! Backups through the handle, on a real disk: beside commits, by parts, and what a start finds afterwards.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use wgo_core::TorrentId;

use super::{add, ids, open};
use crate::files::RealDisk;
use crate::store::{BackupError, Change, RestoreError, Store, StoreError, TransferError, restore_offline};

const SOCKET: &str = "/run/socket";

fn restore(dir: &Path, file: &Path) -> Result<u64, RestoreError> {
    let restored = restore_offline(Arc::new(RealDisk), dir, Path::new(SOCKET), file);
    restored.map(|(contents, _)| contents.torrents)
}

async fn fetch(store: &Store) -> Vec<u8> {
    let (transfer, contents) = store.export().await.unwrap();
    assert_eq!(transfer.len, contents.size);
    let mut bytes = Vec::new();
    loop {
        let part = store.read_transfer(transfer.id.clone(), bytes.len() as u64).await.unwrap();
        if part.is_empty() {
            break;
        }
        bytes.extend(part);
    }
    let again = store.read_transfer(transfer.id, 0).await;
    assert!(matches!(again, Err(TransferError::Gone)), "what was read to its end is given up: {again:?}");
    bytes
}

/// More than a page, and more than a part of a transfer.
fn large() -> Vec<Change> {
    (1..=12).flat_map(|id| [add(id), Change::Metainfo(TorrentId(id), vec![id as u8; 500_000])]).collect()
}

#[tokio::test]
async fn a_session_goes_out_by_parts_and_comes_back_in_with_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put(large()).await.unwrap();
    let bytes = fetch(&store).await;
    store.put((2..=12).map(|id| Change::Remove(TorrentId(id))).chain([add(77)]).collect()).await.unwrap();

    let mut transfer = store.append_transfer(None, 0, vec![]).await.unwrap();
    for part in bytes.chunks(1 << 20) {
        transfer = store.append_transfer(Some(transfer.id), transfer.len, part.to_vec()).await.unwrap();
    }
    let out_of_place = store.append_transfer(Some(transfer.id.clone()), 5, vec![1]).await;
    assert!(matches!(out_of_place, Err(TransferError::Offset { .. })), "{out_of_place:?}");
    assert_eq!(store.inspect(transfer.id.clone()).await.unwrap().torrents, 12);
    let called = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let when = called.clone();
    let staged = move || when.store(true, std::sync::atomic::Ordering::SeqCst);
    let (_, before) = store.restore(transfer.id, staged).await.unwrap();
    assert!(called.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(ids(&store).await, [1, 77], "until the next start nothing changes");
    store.close().await.unwrap();

    let (store, loaded) = open(dir.path());
    assert_eq!(loaded.restored.as_deref(), Some(&*before));
    assert_eq!(ids(&store).await, (1..=12).collect::<Vec<_>>());
    assert_eq!(loaded.next_id, TorrentId(13));
    let metainfo = store.metainfo(TorrentId(9)).await.unwrap().unwrap();
    assert!(metainfo == vec![9; 500_000]);
    store.close().await.unwrap();
    fs::rename(before, dir.path().join("state.redb")).unwrap();
    assert_eq!(ids(&open(dir.path()).0).await, [1, 77]);
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_the_transfer_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let transfer = store.append_transfer(None, 0, b"no backup".to_vec()).await.unwrap();
    for _ in 0..2 {
        let refused = store.restore(transfer.id.clone(), || panic!("it was taken")).await;
        assert!(matches!(refused, Err(TransferError::Backup(BackupError::NotABackup))), "{refused:?}");
    }
    store.close().await.unwrap();
    assert!(open(dir.path()).1.restored.is_none());
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restor")), "{left:?}");
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[tokio::test]
async fn a_backup_is_of_one_moment_and_commits_go_on_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.keep_backups(3);
    store.put(large()).await.unwrap();
    let backup = store.back_up();
    let puts = async {
        for id in 100..140 {
            store.put(vec![add(id), Change::Metainfo(TorrentId(id), vec![0; 20_000])]).await.unwrap();
        }
    };
    let (path, ()) = tokio::join!(backup, puts);
    let path = path.unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ids(&store).await.len(), 52);
    store.close().await.unwrap();
    // Each commit adds a torrent with its metainfo: a backup of half of one would have more of one kind.
    let torrents = restore(dir.path(), &path).unwrap();
    let (store, _) = open(dir.path());
    let ids = ids(&store).await;
    assert_eq!(ids.len() as u64, torrents);
    assert!(ids.iter().copied().eq((1..=12).chain(100..100 + torrents - 12)), "{ids:?}");
    for id in ids {
        assert!(store.metainfo(TorrentId(id)).await.unwrap().is_some(), "{id}");
    }
}

#[tokio::test]
async fn a_closed_store_ends_its_backups_and_old_transfers_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let first = store.append_transfer(None, 0, vec![1]).await.unwrap();
    for _ in 0..4 {
        store.append_transfer(None, 0, vec![2]).await.unwrap();
    }
    let gone = store.append_transfer(Some(first.id), 1, vec![1]).await;
    assert!(matches!(gone, Err(TransferError::Gone)), "{gone:?}");
    store.close().await.unwrap();
    assert!(matches!(store.back_up().await, Err(StoreError::Closed)));
    assert!(matches!(store.export().await, Err(TransferError::Store(StoreError::Closed))));
    let left = fs::read_dir(dir.path().join("backups")).unwrap().count();
    assert_eq!(left, 0, "half a backup stays");
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_the_command_that_goes_on_with_the_newest_good_backup() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("it's here");
    let (store, _) = open(&dir);
    store.keep_backups(3);
    store.put(vec![add(1)]).await.unwrap();
    let good = store.back_up().await.unwrap();
    store.put(vec![add(2)]).await.unwrap();
    let newest = store.back_up().await.unwrap();
    store.close().await.unwrap();
    let database = dir.join("state.redb");
    let damage = |bytes: &[u8]| fs::write(&database, bytes).unwrap();
    let refusal = || Store::open(Arc::new(RealDisk), &dir, Path::new(SOCKET), 3).unwrap_err().to_string();

    damage(&[0x55; 9000]);
    let told = refusal();
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    let command = |file: &Path| format!("wgod --state-dir {} --restore {}", quoted(&dir), quoted(file));
    assert!(told.contains(&command(&newest)) && told.contains("with 2 torrents"), "{told}");
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&newest, bytes).unwrap();
    let told = refusal();
    assert!(told.contains(&command(&good)) && told.contains("with 1 torrent;"), "{told}");
    assert!(fs::read(&database).unwrap() == [0x55; 9000], "it is kept as it is");

    assert!(matches!(restore(&dir, &newest), Err(RestoreError::Backup { .. })));
    assert_eq!(restore(&dir, &good).unwrap(), 1);
    assert_eq!(ids(&open(&dir).0).await, [1]);
    assert!(fs::read(dir.join("state.redb.before-restore")).unwrap() == [0x55; 9000]);

    fs::remove_dir_all(dir.join("backups")).unwrap();
    damage(b"");
    damage(&[1; 100]);
    let told = refusal();
    assert!(told.contains("no good backup") && told.contains("--restore FILE"), "{told}");
}

#[tokio::test]
async fn a_running_daemon_keeps_others_from_restoring_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.keep_backups(1);
    store.put(vec![add(1)]).await.unwrap();
    let backup = store.back_up().await.unwrap();
    let refused = restore(dir.path(), &backup);
    assert!(matches!(refused, Err(RestoreError::Store(StoreError::Locked { .. }))), "{refused:?}");
    store.close().await.unwrap();
    let missing = restore(dir.path(), &dir.path().join("missing")).unwrap_err().to_string();
    assert!(
        missing.contains("missing: it can't be read") && missing.contains("nothing was restored"),
        "{missing}"
    );
    let folder = restore(dir.path(), dir.path()).unwrap_err().to_string();
    assert!(folder.contains("no backup of wgod"), "{folder}");
}

#[tokio::test]
async fn what_root_restores_belongs_to_the_user_that_runs_the_daemon() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !rustix::process::geteuid().is_root() {
        return println!(
            "SKIPPED what_root_restores_belongs_to_the_user_that_runs_the_daemon: it takes root"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.keep_backups(1);
    store.put(vec![add(1)]).await.unwrap();
    let backup = store.back_up().await.unwrap();
    store.close().await.unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    chown(dir.path(), Some(4321), Some(8765)).unwrap();
    restore(dir.path(), &backup).unwrap();
    for name in ["state.redb", "lock"] {
        let about = fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o777), (4321, 8765, 0o600), "{name}");
    }
}
