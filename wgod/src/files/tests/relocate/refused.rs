//! Moves that can't be made: what is in the way stays, and is named.
use std::collections::BTreeMap;
use std::fs;

use rustix::io::Errno;
use wgo_core::TorrentId;
use wgo_proto::FileIndex;

use super::super::rig::*;
use super::bench::*;
use crate::files::*;

#[test]
fn what_is_in_the_way_is_refused_by_name_and_stays() {
    for (theirs, content) in
        [("t/a/x", &b"something else"[..]), ("t/z", b"0123456789"), ("t/link", b""), ("t/e", b"1")]
    {
        let bench = Bench::new(None);
        let path = bench.folder("new").join(theirs);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let refused =
            bench.survey().and_then(|()| bench.mark()).and_then(|()| bench.place().map(drop)).unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, MoveError::Foreign { .. }), "{refused:?}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert!(said.contains(bench.folder("old").join(theirs).to_str().unwrap()), "{said}");
        bench.undo().unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        bench
            .rig
            .read(&bench.open("old"), &[bench.torrent.info.layout.block(wgo_proto::PieceIndex(0), 0)])
            .result
            .unwrap();
    }
}

#[test]
fn what_comes_in_the_way_after_the_switch_is_not_written_over() {
    let mut bench = Bench::new(None);
    bench.mark().unwrap();
    (bench.marked, bench.switched) = (true, Some(bench.place().unwrap().stamps));
    fs::write(bench.folder("new/t/z"), "mine").unwrap();
    let said = bench.go_on().unwrap_err();
    assert!(said.contains("new/t/z"), "{said}");
    assert_eq!(fs::read(bench.folder("new/t/z")).unwrap(), b"mine");
    bench.assert_whole();
    fs::remove_file(bench.folder("new/t/z")).unwrap();
    bench.go_on().unwrap();
    bench.assert_only_in("new", "old");
}

#[test]
fn an_equal_file_that_is_there_is_used_and_survives_the_undoing() {
    for undo in [true, false] {
        let mut bench = Bench::new(Some(Errno::XDEV));
        fs::create_dir(bench.folder("new/t")).unwrap();
        fs::copy(bench.folder("old/t/z"), bench.folder("new/t/z")).unwrap();
        bench.survey().unwrap();
        if undo {
            bench.mark().unwrap();
            assert!(!bench.place().unwrap().copied.contains(&FileIndex(4)));
            bench.undo().unwrap();
            assert_eq!(bench.tree("new").len(), 2, "its folder and it");
            continue;
        }
        bench.go_on().unwrap();
        bench.assert_only_in("new", "old");
    }
}

#[test]
fn a_place_that_another_torrent_has_is_refused_with_both_names() {
    let bench = Bench::new(None);
    let other = multi("t", 16384, &[file("a/x", 70_000)]);
    let spec = TorrentSpec {
        id: TorrentId(9),
        info: other.info.clone(),
        folder: bench.folder("new"),
        writes: true,
        preallocate: Preallocate::None,
        names: Vec::new(),
    };
    let theirs = bench.rig.ask(|done| Job::Open { spec: spec.clone(), done }).unwrap();
    bench.mark().unwrap();
    for refused in [bench.survey().unwrap_err(), bench.place().unwrap_err()] {
        let MoveError::Occupied { path, this, other } = refused else { panic!("{refused}") };
        assert_eq!((path, this, other), (bench.folder("new/t/a/x"), "t".into(), "t".into()));
    }
    bench.rig.close(&theirs);
    // And the other way round: what is on its way there has the place already.
    bench.place().unwrap();
    assert!(matches!(
        bench.rig.ask(|done| Job::Open { spec: spec.clone(), done }),
        Err(OpenError::SecondWriter(_))
    ));
    bench.undo().unwrap();
    bench.rig.ask(|done| Job::Open { spec, done }).unwrap();
}

#[test]
fn one_folder_by_two_names_is_not_moved() {
    let bench = Bench::new(None);
    fs::remove_dir(bench.folder("new")).unwrap();
    std::os::unix::fs::symlink(bench.folder("old"), bench.folder("new")).unwrap();
    assert!(matches!(bench.survey(), Err(MoveError::SameFolder { .. })));
    bench.mark().unwrap();
    let before = bench.tree("old");
    assert!(matches!(bench.place(), Err(MoveError::SameFolder { .. })));
    assert_eq!(bench.tree("old"), before);
}

#[test]
fn nothing_planted_in_the_new_place_leads_out_of_it() {
    let bench = Bench::new(Some(Errno::XDEV));
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(bench.folder("new/t")).unwrap();
    std::os::unix::fs::symlink(outside.path(), bench.folder("new/t/a")).unwrap();
    bench.mark().unwrap();
    for refused in [bench.survey().unwrap_err(), bench.place().unwrap_err()] {
        assert!(matches!(&refused, MoveError::Disk(e) if e.kind == DiskErrorKind::Obstructed), "{refused}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn want_of_room_is_told_before_anything_is_copied() {
    let mut bench = Bench::new(Some(Errno::XDEV));
    bench.free = u64::MAX / 2;
    // Links take none, so it is asked of a file that is to be copied.
    bench.survey().unwrap();
    bench.kept = [FileIndex(2)].into();
    let refused = bench.survey().unwrap_err();
    let MoveError::NoSpace { need, .. } = refused else { panic!("{refused}") };
    assert_eq!(need, 40_000);
    let said = refused.to_string();
    assert!(
        said.contains("min_free_space") && said.contains(bench.folder("new").to_str().unwrap()),
        "{said}"
    );
    assert_eq!(bench.tree("new"), BTreeMap::new());
}
