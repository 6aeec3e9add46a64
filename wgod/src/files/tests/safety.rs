//! Nothing leads out of the folder, and a complete torrent's files are never altered.
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use wgo_proto::PieceIndex;

use super::rig::*;
use crate::files::*;

fn failure(outcome: StoreOutcome) -> DiskError {
    match outcome {
        StoreOutcome::Failed(e) => e,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_symlink_planted_inside_leads_nowhere() {
    let rig = Rig::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x"), [9; 20_000]).unwrap();
    let torrent = multi("t", 32768, &[file("a/x", 20_000), file("x", 20_000)]);
    std::fs::create_dir(rig.path().join("t")).unwrap();
    symlink(outside.path(), rig.path().join("t/a")).unwrap();
    symlink(outside.path().join("x"), rig.path().join("t/x")).unwrap();
    let files = rig.open(&torrent);
    rig.prepare(&files);
    for piece in [0, 1] {
        let error = failure(rig.store(&files, &torrent, piece));
        assert_eq!(error.kind, DiskErrorKind::Obstructed, "{error}");
        let block = torrent.info.layout.block(PieceIndex(piece), 0);
        assert_eq!(rig.read(&files, &[block]).result.unwrap_err().kind, DiskErrorKind::Obstructed);
    }
    assert_eq!(rig.remove(&files).foreign, 2);
    assert_eq!(std::fs::read(outside.path().join("x")).unwrap(), [9; 20_000]);
    assert!(rig.path().join("t/x").is_symlink() && rig.path().join("t/a").is_symlink());
}

#[test]
fn the_torrents_own_root_folder_may_be_a_symlink() {
    let rig = Rig::new();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), rig.path().join("t")).unwrap();
    let torrent = multi("t", 32768, &[file("a/x", 20_000)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    assert!(rig.sync(&files, false).is_durable());
    assert!(std::fs::read(elsewhere.path().join("a/x")).unwrap() == torrent.payload);
    assert_eq!(rig.remove(&files).removed, 1);
    assert!(rig.path().join("t").is_symlink(), "it is the operator's");
}

#[test]
fn symlinks_empty_files_and_executables_are_made_as_the_torrent_says() {
    let rig = Rig::new();
    let made = [
        file("bin/tool", 10),
        Made { attr: "l", target: "bin/tool", ..file("links/tool", 0) },
        Made { attr: "x", ..file("bin/empty", 0) },
        Made { attr: "x", ..file("bin/run", 10) },
        pad(12),
    ];
    let torrent = multi("m", 32768, &made);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.prepare(&files);
    assert_eq!(
        std::fs::read_link(rig.path().join("m/links/tool")).unwrap(),
        std::path::Path::new("../bin/tool")
    );
    let mode = |name| std::fs::metadata(rig.path().join("m/bin").join(name)).unwrap().permissions().mode();
    assert_eq!(mode("empty") & 0o100, 0o100);
    assert!(!rig.path().join("m/bin/tool").exists(), "made when it is first written to");
    rig.store_all(&files, &torrent);
    assert_eq!((mode("run") & 0o100, mode("tool") & 0o111), (0o100, 0));
    assert!(rig.sync(&files, true).is_durable());
    assert_eq!(rig.content("m/links/tool"), rig.content("m/bin/tool"));
}

#[test]
fn a_complete_torrent_does_not_alter_its_files() {
    let rig = Rig::new();
    let torrent = multi("c", 32768, &[file("a", 32768), file("e", 0)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    rig.sync(&files, true);
    let before = std::fs::metadata(rig.path().join("c/a")).unwrap();
    assert_eq!(failure(rig.store(&files, &torrent, 0)).kind, DiskErrorKind::ReadOnly);
    rig.close(&files);
    let after = std::fs::metadata(rig.path().join("c/a")).unwrap();
    assert_eq!((before.mtime_nsec(), before.len()), (after.mtime_nsec(), after.len()));
    let again = rig.try_open(&torrent, false).unwrap();
    again.begin_writing().unwrap();
    assert_eq!(rig.store(&again, &torrent, 0), StoreOutcome::Stored);
}

#[test]
fn a_folder_that_is_gone_is_not_made_again_by_a_write() {
    let rig = Rig::new();
    let torrent = multi("g", 32768, &[file("a", 10)]);
    let mut spec = TorrentSpec {
        id: wgo_core::TorrentId(7),
        info: torrent.info.clone(),
        folder: rig.path().join("disk/downloads"),
        writes: true,
        preallocate: Preallocate::None,
        names: Vec::new(),
    };
    let files = rig.ask(|done| Job::Open { spec: spec.clone(), done }).unwrap();
    assert_eq!(failure(rig.store(&files, &torrent, 0)).kind, DiskErrorKind::Missing);
    rig.prepare(&files);
    assert_eq!(rig.store(&files, &torrent, 0), StoreOutcome::Stored);
    rig.close(&files);
    spec.folder = rig.path().join("disk/downloads/g/a");
    let refused = rig.ask(|done| Job::Open { spec, done }).unwrap_err();
    assert!(matches!(&refused, OpenError::Disk(e) if e.kind == DiskErrorKind::Obstructed), "{refused}");
    let folder = rig.path().join("not/yet");
    assert!(rig.ask(|done| Job::FreeSpace { device: 0, folder, done }).unwrap().free > 0);
}
