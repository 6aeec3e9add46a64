//! Removal takes what is the torrent's own, and shared files stay.
use super::relocate::bench::Cut;
use super::rig::*;
use crate::files::*;

#[test]
fn removal_takes_the_torrents_files_and_empty_folders_only() {
    let rig = Rig::new();
    let link = Made { attr: "l", target: "a/x", ..file("link", 0) };
    let torrent = multi("r", 32768, &[file("a/x", 5), file("a/b/y", 5), pad(7), file("c/z", 5), link]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    std::fs::write(rig.path().join("r/a/mine.txt"), "keep").unwrap();
    std::fs::remove_file(rig.path().join("r/c/z")).unwrap();
    std::fs::create_dir(rig.path().join("r/c/z")).unwrap();
    let outcome = rig.remove(&files);
    let want = RemoveOutcome { removed: 3, foreign: 1, ..RemoveOutcome::default() };
    assert_eq!(outcome, want);
    assert!(!rig.path().join("r/a/b").exists() && !rig.path().join("r/link").is_symlink());
    assert_eq!(rig.content("r/a/mine.txt"), b"keep");
    assert!(rig.path().join("r/c/z").is_dir());
    assert_eq!(rig.storage.open_files(), 0);
}

#[test]
fn nothing_is_left_of_a_torrent_that_had_its_folder_alone() {
    let rig = Rig::new();
    let torrent = multi("r", 32768, &[file("a/b/c/d", 5), file("e", 0)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    assert_eq!(rig.remove(&files).removed, 2);
    assert_eq!(std::fs::read_dir(rig.path()).unwrap().count(), 0, "and the folder itself stays");
}

#[test]
fn what_a_removal_that_was_killed_had_taken_is_gone_durably_after_the_next() {
    let disk = Cut::new(None);
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), StorageLimits::default());
    let torrent = multi("r", 32768, &[file("a/x", 5), file("y", 5)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    // Killed before it synced a folder.
    for path in ["r/a/x", "r/y"] {
        std::fs::remove_file(rig.path().join(path)).unwrap();
    }
    std::fs::write(rig.path().join("r/a/mine"), "keep").unwrap();
    disk.cut(usize::MAX);
    assert_eq!(rig.remove(&files), RemoveOutcome::default());
    assert_eq!(*disk.trace.lock().unwrap(), ["sync"; 3], "the folder, r and r/a");
}

#[test]
fn a_shared_file_stays_until_its_last_torrent_goes() {
    let rig = Rig::new();
    let torrent = multi("s", 32768, &[file("a", 50_000)]);
    let first = rig.open(&torrent);
    rig.prepare(&first);
    rig.store_all(&first, &torrent);
    rig.sync(&first, true);
    let second = rig.try_open(&torrent, false).unwrap();
    let outcome = rig.remove(&first);
    assert_eq!((outcome.removed, outcome.shared), (0, 1));
    rig.assert_on_disk(&torrent);
    assert_eq!(rig.remove(&second).removed, 1);
}

#[test]
fn a_second_writer_is_refused_by_any_way_to_the_file() {
    let rig = Rig::new();
    let torrent = multi("s", 32768, &[file("a", 50_000), pad(10)]);
    let other = multi("s", 16384, &[file("b", 1), file("a", 50_000), pad(10)]);
    let writer = rig.open(&torrent);
    rig.prepare(&writer);
    let refused = rig.try_open(&other, true).unwrap_err();
    let OpenError::SecondWriter(refused) = refused else { panic!("{refused}") };
    assert!(refused.path.ends_with("s/a"), "{refused}");
    // The same folder by another name.
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(rig.path(), link.path().join("l")).unwrap();
    let spec = TorrentSpec {
        id: wgo_core::TorrentId(99),
        info: other.info.clone(),
        folder: link.path().join("l"),
        writes: true,
        preallocate: Preallocate::None,
        names: Vec::new(),
    };
    assert!(matches!(rig.ask(|done| Job::Open { spec, done }), Err(OpenError::SecondWriter(_))));
    let reader = rig.try_open(&other, false).unwrap();
    assert!(reader.begin_writing().is_err());
    rig.store_all(&writer, &torrent);
    assert!(rig.sync(&writer, true).is_durable());
    reader.begin_writing().unwrap();
    assert!(writer.begin_writing().is_err(), "now the other one writes");
}

#[test]
fn a_path_that_another_torrent_uses_is_not_preallocated() {
    let rig = Rig::new();
    let torrent = multi("s", 32768, &[file("a", 100_000)]);
    let _reader = rig.try_open(&torrent, false).unwrap();
    let writer = rig.open(&torrent);
    rig.store(&writer, &torrent, 0);
    assert_eq!(std::fs::metadata(rig.path().join("s/a")).unwrap().len(), 32768);
}
