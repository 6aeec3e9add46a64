//! Moves: whatever stops one at whatever step, one place has every byte, and it ends well afterwards.
pub(super) mod bench;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use wgo_core::TorrentId;
use wgo_proto::FileIndex;

use self::bench::*;
use super::rig::*;
use crate::files::*;

/// By links, by copies, and by renaming files that can't have two names.
const WAYS: [Option<Errno>; 3] = [None, Some(Errno::XDEV), Some(Errno::PERM)];

#[test]
fn a_move_brings_everything_and_leaves_nothing() {
    for way in WAYS {
        let mut bench = Bench::new(way);
        let before = fs::metadata(bench.folder("old/t/a/x")).unwrap();
        assert_eq!(bench.go_on(), Ok(Settled::default()));
        bench.assert_only_in("new", "old");
        let after = fs::metadata(bench.folder("new/t/a/x")).unwrap();
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        assert_eq!(before.ino() == after.ino(), way != Some(Errno::XDEV), "{way:?}");
        assert!(bench.folder("new/t/link").is_symlink() && bench.folder("new/t/e").exists());
        assert_eq!(bench.go_on(), Ok(Settled::default()), "once more, as after a crash at the very end");
        bench.assert_only_in("new", "old");
    }
}

/// Cuts a move at each of its steps; afterwards it goes on, or back.
fn cut_at_any_step(new: fn(Option<Errno>) -> Bench) {
    for way in WAYS {
        for back in [false, true] {
            for after in 0.. {
                let mut bench = new(way);
                bench.disk.cut(after);
                let ended = bench.go_on();
                let over = bench.disk.is_over();
                bench.assert_whole();
                let mut bench = bench.restart(Cut::new(way));
                if bench.switched.is_none() && (back || !bench.marked) {
                    bench.undo().unwrap();
                    bench.assert_only_in("old", "new");
                } else if back {
                    break;
                } else {
                    assert_eq!(bench.go_on(), Ok(Settled::default()), "{way:?} after {after}");
                    bench.assert_only_in("new", "old");
                }
                if !over {
                    ended.unwrap();
                    assert!(after > 100, "{way:?}: it was cut at {after} places only");
                    break;
                }
            }
        }
    }
}

#[test]
fn cut_at_any_step_one_place_has_every_byte_and_the_move_can_go_on_or_back() {
    cut_at_any_step(Bench::new);
}

#[test]
fn so_it_is_with_files_that_have_names_of_ones_that_are_not_complete() {
    cut_at_any_step(Bench::suffixed);
}

#[test]
fn a_file_that_is_to_get_its_own_name_is_not_moved_to_where_something_has_it() {
    let bench = Bench::suffixed(None);
    fs::create_dir(bench.folder("new/t")).unwrap();
    fs::write(bench.folder("new/t/z"), "of somebody else").unwrap();
    let (ours, theirs) = (bench.folder("old/t/z.part"), bench.folder("new/t/z"));
    assert_eq!(bench.survey(), Err(MoveError::Foreign { ours, theirs }));
}

#[test]
fn what_is_placed_is_durable_and_nothing_goes_before_the_new_names_are() {
    let mut bench = Bench::new(Some(Errno::XDEV));
    bench.mark().unwrap();
    bench.disk.cut(usize::MAX);
    let placed = bench.place().unwrap();
    let steps = std::mem::take(&mut *bench.disk.trace.lock().unwrap());
    let mut files = steps.iter().map(String::as_str).filter(|step| *step != "copy");
    for _ in &placed.copied {
        assert_eq!(
            [files.next(), files.next(), files.next()],
            [Some("sync data"), Some("time"), Some("sync")]
        );
    }
    assert_eq!(files.collect::<Vec<_>>(), ["sync"; 4], "the folders new, t, t/a and t/a/b");
    (bench.marked, bench.switched) = (true, Some(placed.stamps));
    bench.go_on().unwrap();
    let steps = bench.disk.trace.lock().unwrap().clone();
    let named = steps.iter().rposition(|step| step.starts_with("name")).unwrap();
    let first = steps.iter().position(|step| step.starts_with("unlink")).unwrap();
    let synced = steps[named..first].iter().filter(|step| *step == "sync").count();
    assert_eq!((named < first, synced), (true, 4), "{steps:?}");
}

#[test]
fn that_the_mark_is_gone_is_durable_also_where_nothing_was_placed() {
    let bench = Bench::new(None);
    bench.mark().unwrap();
    bench.disk.cut(usize::MAX);
    bench.undo().unwrap();
    let steps = bench.disk.trace.lock().unwrap().clone();
    let gone = steps.iter().rposition(|step| step.starts_with("unlink")).unwrap();
    assert_eq!(steps[gone + 1..], ["sync"], "{steps:?}");
}

#[test]
fn folders_that_an_earlier_try_made_are_synced_by_the_one_that_succeeds() {
    for way in WAYS {
        for after in 0.. {
            let bench = Bench::new(way);
            bench.mark().unwrap();
            bench.disk.cut(after);
            let first = bench.place();
            let over = bench.disk.is_over();
            bench.disk.cut(usize::MAX);
            let placed = bench.place().unwrap();
            let steps = bench.disk.trace.lock().unwrap().clone();
            // Behind what is done for each file.
            let last = steps.iter().rev().take_while(|step| *step == "sync").count();
            // Files that can have one name only come later, with their folders.
            assert!(last >= 4, "{way:?} after {after}: new, t, t/a and t/a/b: {steps:?}");
            assert!(placed.stamps.len() == 3);
            if !over {
                first.unwrap();
                break;
            }
        }
    }
}

#[test]
fn an_old_file_stays_when_the_new_one_is_not_what_was_placed() {
    let mut bench = Bench::new(None);
    bench.mark().unwrap();
    (bench.marked, bench.switched) = (true, Some(bench.place().unwrap().stamps));
    // Somebody puts another file in its place.
    let mut entries = fs::read_dir(bench.folder("new/t/a")).unwrap().map(|entry| entry.unwrap().path());
    let placed = entries.find(|path| path.to_string_lossy().ends_with("-0")).unwrap();
    fs::remove_file(&placed).unwrap();
    fs::write(&placed, "another").unwrap();
    let settled = bench.go_on().unwrap();
    assert_eq!(settled.left.iter().map(|e| e.kind).collect::<Vec<_>>(), [DiskErrorKind::Changed]);
    assert!(bench.folder("old/t/a/x").exists() && !bench.folder("old/t/z").exists());
}

#[test]
fn files_that_another_torrent_uses_are_copied_and_stay() {
    for known in [true, false] {
        let mut bench = Bench::new(None);
        let other = multi("t", 16384, &[file("a/x", 70_000)]);
        let reader = TorrentSpec {
            id: TorrentId(9),
            info: other.info.clone(),
            folder: bench.folder("old"),
            writes: false,
            preallocate: Preallocate::None,
            names: Vec::new(),
        };
        if known {
            bench.rig.ask(|done| Job::Open { spec: reader, done }).unwrap();
        } else {
            bench.kept = [FileIndex(0)].into();
        }
        bench.go_on().unwrap();
        let (old, new) = (bench.folder("old/t/a/x"), bench.folder("new/t/a/x"));
        assert!(fs::read(&old).unwrap() == fs::read(&new).unwrap());
        assert_ne!(fs::metadata(&old).unwrap().ino(), fs::metadata(&new).unwrap().ino());
        assert_eq!(bench.tree("old").len(), 3, "two folders and the file: {:?}", bench.tree("old").keys());
    }
}

#[test]
fn a_torrents_own_folder_that_leads_to_the_new_place_keeps_its_files() {
    let mut bench = Bench::new(None);
    fs::rename(bench.folder("old/t"), bench.folder("new/t")).unwrap();
    std::os::unix::fs::symlink(bench.folder("new/t"), bench.folder("old/t")).unwrap();
    bench.go_on().unwrap();
    for (path, bytes) in bench.torrent.content() {
        if let Some(bytes) = bytes {
            assert!(path.ends_with("link") || fs::read(bench.folder("new").join(path)).unwrap() == bytes);
        }
    }
    assert!(bench.folder("old/t").is_symlink(), "it is the operator's");
}

#[test]
fn holes_stay_holes_and_what_is_not_there_is_no_matter() {
    let torrent = multi("s", 1 << 20, &[file("a", 64 << 20), file("b", 5)]);
    let mut bench = Bench::of(torrent, Some(Errno::XDEV));
    fs::remove_file(bench.folder("old/s/b")).unwrap();
    let sparse = fs::File::create(bench.folder("old/s/a")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise(100_000, 3), (32 << 20) + 5).unwrap();
    sparse.sync_all().unwrap();
    let before = fs::read(bench.folder("old/s/a")).unwrap();
    bench.mark().unwrap();
    (bench.marked, bench.switched) = (true, Some(bench.place().unwrap().stamps));
    bench.go_on().unwrap();
    let moved = fs::metadata(bench.folder("new/s/a")).unwrap();
    assert!(fs::read(bench.folder("new/s/a")).unwrap() == before);
    assert!(moved.blocks() * 512 < 8 << 20, "{} bytes are taken", moved.blocks() * 512);
    assert!(!bench.folder("new/s/b").exists());
}

#[test]
fn a_copy_that_was_made_is_not_made_again() {
    let bench = Bench::new(Some(Errno::XDEV));
    bench.mark().unwrap();
    bench.place().unwrap();
    bench.disk.cut(usize::MAX);
    let again = bench.place().unwrap();
    assert_eq!(again.copied.len(), 3, "their pieces are hashed all the same");
    assert!(!bench.disk.trace.lock().unwrap().contains(&"copy".to_owned()));
}

#[test]
fn a_new_place_that_vanished_is_not_made_again() {
    // It, or what was mounted on it, so that a folder is left.
    for folder_is_left in [false, true] {
        for switched in [false, true] {
            let mut bench = Bench::new(None);
            (bench.marked, bench.kept) = (true, [FileIndex(0)].into());
            bench.mark().unwrap();
            if switched {
                bench.switched = Some(bench.place().unwrap().stamps);
            }
            fs::rename(bench.folder("new"), bench.folder("away")).unwrap();
            if folder_is_left {
                fs::create_dir(bench.folder("new")).unwrap();
            }
            let before = bench.tree("old");
            let said = bench.work(RelocateWork::Settle).map(drop).and_then(|()| bench.place().map(drop));
            let said = if switched { said } else { bench.place().map(drop) }.unwrap_err();
            assert!(matches!(&said, MoveError::Disk(e) if e.kind == DiskErrorKind::Missing), "{said}");
            assert_eq!(bench.tree("old"), before);
            if folder_is_left {
                assert_eq!(bench.tree("new"), BTreeMap::new());
                fs::remove_dir(bench.folder("new")).unwrap();
            }
            assert!(!bench.folder("new").exists());
            fs::rename(bench.folder("away"), bench.folder("new")).unwrap();
            bench.kept.clear();
            bench.go_on().unwrap();
            bench.assert_only_in("new", "old");
        }
    }
}
