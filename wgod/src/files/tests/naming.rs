//! Files that aren't complete have a name that says so: whatever ends the process at whatever step, nothing is
//! lost, what has its own name is whole, and what is somebody else's stays as it is.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use wgo_core::TorrentId;
use wgo_proto::{Bitfield, Block, FileIndex, PieceIndex};

use super::parts::{good, try_good};
use super::relocate::bench::{Cut, folder};
use super::rig::*;
use crate::files::disk::{At, OnDone};
use crate::files::*;

const PIECE: usize = 32768;

/// Pieces 0 and 1 are of `a`, 1 to 3 of `b`, 3 of `z`.
fn torrent() -> Torrent {
    with_suffix(multi("t", PIECE, &[file("a", 40_000), file("d/b", 60_000), file("e", 0), file("z", 10)]))
}

fn with_suffix(torrent: Torrent) -> Torrent {
    let info = torrent.info.with_suffix(Some(&".part".parse().unwrap()));
    Torrent { info: Arc::new(info), ..torrent }
}

fn pieces(torrent: &Torrent, set: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut pieces = Bitfield::new(torrent.info.layout.piece_count());
    for piece in set {
        pieces.set(piece);
    }
    pieces
}

fn open(rig: &Rig, torrent: &Torrent, names: Vec<Name>) -> Result<Arc<TorrentFiles>, OpenError> {
    let (info, folder, preallocate) = (torrent.info.clone(), rig.path().to_owned(), rig.preallocate);
    let spec = TorrentSpec { id: TorrentId(1), info, folder, writes: true, preallocate, names };
    rig.ask(|done| Job::Open { spec, done })
}

fn sync(rig: &Rig, files: &Arc<TorrentFiles>, have: &Bitfield) -> SyncOutcome {
    let (torrent, seal) = (files.clone(), have.is_full());
    rig.ask(|done| Job::Sync { torrent, have: Some(have.clone()), seal, done })
}

fn stat(rig: &Rig, files: &Arc<TorrentFiles>) -> Result<Vec<Stamp>, DiskError> {
    let all = (0..files.info().layout.file_count()).map(FileIndex).collect();
    rig.ask(|done| Job::Stat { torrent: files.clone(), files: all, done })
}

/// Which files were found, and whether their names have the suffix.
fn found(rig: &Rig, files: &Arc<TorrentFiles>) -> Vec<(u32, bool)> {
    stat(rig, files).unwrap().iter().map(|stamp| (stamp.file.0, stamp.suffixed)).collect()
}

/// Files below the folder and their content.
fn tree(rig: &Rig) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![rig.path().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => {
                    let name = entry.strip_prefix(rig.path()).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, fs::read(entry).unwrap());
                }
            }
        }
    }
    found
}

fn names(rig: &Rig) -> Vec<String> {
    tree(rig).into_keys().collect()
}

fn put(rig: &Rig, path: &str, bytes: &[u8]) -> PathBuf {
    let path = rig.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_file_gets_its_own_name_when_all_of_it_is_durable() {
    let torrent = torrent();
    let disk = Cut::new(None);
    let rig = Rig::with(disk.clone(), folder(), StorageLimits::default());
    let files = open(&rig, &torrent, vec![]).unwrap();
    rig.prepare(&files);
    for piece in [1, 0] {
        assert_eq!(rig.store(&files, &torrent, piece), StoreOutcome::Stored);
    }
    assert_eq!(names(&rig), ["t/a.part", "t/d/b.part", "t/e"], "stored is not durable");
    let read = rig.read(&files, &[Block { piece: PieceIndex(0), offset: 0, len: 16384 }]);
    read.result.unwrap();
    disk.cut(usize::MAX);
    let outcome = sync(&rig, &files, &pieces(&torrent, [0, 1]));
    let found: Vec<_> = outcome.stamps.iter().map(|stamp| (stamp.file.0, stamp.suffixed)).collect();
    assert_eq!((found, &outcome.unnamed), (vec![(0, false), (1, true), (2, false)], &None));
    assert_eq!(names(&rig), ["t/a", "t/d/b.part", "t/e"]);
    let steps = disk.trace.lock().unwrap().clone();
    let named = steps.iter().position(|step| step == "name a").unwrap();
    let data = steps.iter().rposition(|step| step == "sync data").unwrap();
    assert!(data < named && steps[named..].contains(&"sync".to_owned()), "{steps:?}");
    // It was open under its old name.
    let read = rig.read(&files, &[Block { piece: PieceIndex(0), offset: 16384, len: 16384 }]);
    read.result.unwrap();
    for piece in [2, 3] {
        rig.store(&files, &torrent, piece);
    }
    assert!(sync(&rig, &files, &Bitfield::full(4)).is_durable() && !files.writes());
    assert_eq!(names(&rig), ["t/a", "t/d/b", "t/e", "t/z"]);
    rig.assert_on_disk(&torrent);
    assert_eq!(good(&rig, &files), [0, 1, 2, 3]);
}

/// What the store would know.
#[derive(Default)]
struct Committed {
    have: Vec<u32>,
    stamps: BTreeMap<FileIndex, Stamp>,
}

impl Committed {
    fn names(&self, torrent: &Torrent) -> Vec<Name> {
        let files = (0..torrent.info.layout.file_count()).map(FileIndex);
        let known = |stamp: &Stamp| Name::found(stamp.suffixed);
        files.map(|file| self.stamps.get(&file).map_or(Name::Nowhere, known)).collect()
    }

    /// Downloads as the session does it, from where it stands to the end; returns the pieces that it stored, and
    /// whether the disk held out.
    fn go_on(&mut self, rig: &Rig, torrent: &Torrent) -> (Vec<u32>, bool) {
        let mut stored = Vec::new();
        let held = self.download(rig, torrent, &mut stored).is_some();
        (stored, held)
    }

    fn download(&mut self, rig: &Rig, torrent: &Torrent, stored: &mut Vec<u32>) -> Option<()> {
        let files = open(rig, torrent, self.names(torrent)).ok()?;
        stat(rig, &files).ok()?;
        let mut have = try_good(rig, &files).ok()?;
        let prepared: Result<Space, DiskError> =
            rig.ask(|done| Job::Prepare { torrent: files.clone(), done });
        prepared.ok()?;
        let missing: Vec<u32> = (0..4).filter(|piece| !have.contains(piece)).collect();
        for piece in missing {
            match rig.store(&files, torrent, piece) {
                StoreOutcome::Stored => {}
                _ => return None,
            }
            stored.push(piece);
            have.push(piece);
            let outcome = sync(rig, &files, &pieces(torrent, have.iter().copied()));
            if !outcome.is_durable() || outcome.unnamed.is_some() {
                return None;
            }
            self.have.clone_from(&have);
            self.stamps.extend(outcome.stamps.iter().map(|stamp| (stamp.file, *stamp)));
        }
        let named: SyncOutcome =
            rig.ask(|done| Job::Name { torrent: files.clone(), have: Bitfield::full(4), done });
        (named.is_durable() && named.unnamed.is_none()).then_some(())
    }
}

#[test]
fn cut_at_any_step_nothing_is_lost_and_what_has_its_own_name_is_whole() {
    let torrent = torrent();
    for after in 0.. {
        let disk = Cut::new(None);
        let rig = Rig::with(disk.clone(), folder(), StorageLimits::default());
        let mut committed = Committed::default();
        disk.cut(after);
        let (stored, held) = committed.go_on(&rig, &torrent);
        let over = disk.is_over();
        let left = tree(&rig);
        for (path, bytes) in torrent.content() {
            let path = path.to_str().unwrap();
            let (own, second) = (left.get(path), left.get(&format!("{path}.part")));
            assert!(own.is_none_or(|own| Some(own.as_slice()) == bytes), "{path} after {after}");
            assert!(own.is_none() || second.is_none(), "{path} is there twice after {after}");
        }
        let rig = Rig::with(Cut::new(None), rig.dir, StorageLimits::default());
        let (again, whole) = committed.go_on(&rig, &torrent);
        assert!(whole, "after {after}");
        let twice: Vec<_> = again.iter().filter(|piece| stored.contains(piece)).collect();
        assert_eq!(twice, [] as [&u32; 0], "stored again after {after}");
        rig.assert_on_disk(&torrent);
        assert_eq!(names(&rig), ["t/a", "t/d/b", "t/e", "t/z"], "after {after}");
        if !over {
            assert!(held && after > 60, "it was cut at {after} places only");
            break;
        }
    }
}

#[test]
fn what_has_the_name_of_a_complete_file_is_not_written_over() {
    let torrent = torrent();
    let rig = Rig::new();
    let files = open(&rig, &torrent, vec![]).unwrap();
    assert_eq!(found(&rig, &files), []);
    // It comes when nothing of ours is there, and is no less somebody else's.
    let theirs = put(&rig, "t/a", &noise(40_000, 77));
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    let full = Bitfield::full(4);
    for _ in 0..2 {
        let outcome = sync(&rig, &files, &full);
        let ours = rig.path().join("t/a.part");
        assert_eq!(outcome.unnamed, Some(NamingError::InTheWay { ours, theirs: theirs.clone() }));
        assert!(outcome.is_durable() && files.writes(), "it isn't sealed");
    }
    assert_eq!(names(&rig), ["t/a", "t/a.part", "t/d/b", "t/e", "t/z"]);
    assert!(rig.content("t/a") == noise(40_000, 77) && rig.content("t/a.part") == torrent.payload[..40_000]);
    fs::rename(&theirs, rig.path().join("theirs")).unwrap();
    assert_eq!(sync(&rig, &files, &full).unnamed, None);
    assert!(!files.writes());
    assert!(rig.content("theirs") == noise(40_000, 77));
    rig.assert_on_disk(&torrent);
}

#[test]
fn of_two_files_the_whole_one_counts_and_then_the_one_that_says_what_it_is() {
    let torrent = torrent();
    let whole = &torrent.payload[..40_000];
    for (own, second, suffixed) in [
        (Some(40_000), None, false),
        (Some(100), None, false),
        (None, Some(100), true),
        (Some(40_000), Some(100), false),
        (Some(100), Some(40_000), true),
        (Some(100), Some(100), true),
        (Some(50_000), Some(100), true),
        (Some(0), Some(0), true),
    ] {
        let rig = Rig::new();
        let bytes = |len: usize| noise(len, 5);
        own.map(|len| put(&rig, "t/a", &bytes(len)));
        second.map(|len| put(&rig, "t/a.part", &bytes(len)));
        let files = open(&rig, &torrent, vec![]).unwrap();
        assert_eq!(found(&rig, &files), [(0, suffixed)], "{own:?} {second:?}");
        rig.prepare(&files);
        rig.store(&files, &torrent, 0);
        rig.store(&files, &torrent, 1);
        assert!(sync(&rig, &files, &pieces(&torrent, [0, 1])).is_durable());
        let (ours, theirs, len) = match suffixed {
            true => (second, own.map(|len| ("t/a", len)), second),
            false => (own, second.map(|len| ("t/a.part", len)), own),
        };
        assert!(ours.is_some());
        let ours = if suffixed && own.is_some() { "t/a.part" } else { "t/a" };
        assert!(rig.content(ours)[..40_000] == *whole, "{own:?} {second:?} {len:?}");
        if let Some((path, len)) = theirs {
            assert!(rig.content(path) == noise(len, 5), "{path} is as it was: {own:?} {second:?}");
        }
    }
}

#[test]
fn what_another_client_left_under_either_name_is_found_whole() {
    let torrent = torrent();
    let rig = Rig::new();
    put(&rig, "t/a", &torrent.payload[..40_000]);
    put(&rig, "t/d/b.part", &torrent.payload[40_000..100_000]);
    put(&rig, "t/z.part", &torrent.payload[100_000..]);
    let files = open(&rig, &torrent, vec![]).unwrap();
    assert_eq!(found(&rig, &files), [(0, false), (1, true), (3, true)]);
    assert_eq!(good(&rig, &files), [0, 1, 2, 3]);
    let named: SyncOutcome = rig.ask(|done| Job::Name { torrent: files, have: Bitfield::full(4), done });
    assert!(named.is_durable() && named.unnamed.is_none());
    assert_eq!(names(&rig), ["t/a", "t/d/b", "t/z"]);
    rig.prepare(&open(&rig, &torrent, vec![]).unwrap());
    rig.assert_on_disk(&torrent);
}

#[test]
fn removal_takes_the_file_under_the_name_that_it_has_and_no_other() {
    let torrent = torrent();
    let rig = Rig::new();
    let files = open(&rig, &torrent, vec![]).unwrap();
    rig.prepare(&files);
    rig.store(&files, &torrent, 0);
    rig.store(&files, &torrent, 1);
    assert!(sync(&rig, &files, &pieces(&torrent, [0, 1])).is_durable());
    put(&rig, "t/a.part", b"theirs");
    put(&rig, "t/d/b", b"theirs");
    let outcome = rig.remove(&files);
    assert_eq!((outcome.removed, outcome.foreign), (3, 0));
    assert_eq!(names(&rig), ["t/a.part", "t/d/b"]);
    // Of one that nobody has looked at yet.
    put(&rig, "t/a", b"theirs, too");
    put(&rig, "t/z.part", b"ours");
    assert_eq!(rig.remove(&open(&rig, &torrent, vec![]).unwrap()).removed, 3);
    assert_eq!(names(&rig), ["t/a"]);
}

#[test]
fn a_file_that_is_kept_apart_gets_no_name_for_it() {
    let plain = torrent();
    let info = plain.info.with_parts("0123", [FileIndex(1)]).with_suffix(plain.info.suffix());
    let torrent = Torrent { info: Arc::new(info), ..plain };
    let rig = Rig::new();
    let part = torrent.info.files[torrent.info.part_file().unwrap().0 as usize].path.to_string();
    let files = open(&rig, &torrent, vec![]).unwrap();
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    assert_eq!(sync(&rig, &files, &Bitfield::full(4)).unnamed, None);
    // The rest of it is in the part file.
    assert_eq!(names(&rig), [&part, "t/a", "t/d/b.part", "t/e", "t/z"]);
}

#[test]
fn two_names_of_one_file_become_one() {
    let torrent = torrent();
    let rig = Rig::new();
    let files = open(&rig, &torrent, vec![]).unwrap();
    rig.prepare(&files);
    rig.store_all(&files, &torrent);
    fs::hard_link(rig.path().join("t/a.part"), rig.path().join("t/a")).unwrap();
    assert_eq!(sync(&rig, &files, &Bitfield::full(4)).unnamed, None);
    assert_eq!(names(&rig), ["t/a", "t/d/b", "t/e", "t/z"]);
    rig.assert_on_disk(&torrent);
}

/// A real disk that takes shorter names than Linux does.
struct Short;

impl Disk for Short {
    fn submit(&self, op: Op, done: OnDone) {
        let is_long = |at: &At| at.path.to_string_lossy().ends_with(".part");
        match &op {
            Op::Open { at, .. } | Op::Stat(at) if is_long(at) => {
                done(Err(io::Error::from_raw_os_error(Errno::NAMETOOLONG.raw_os_error())).into());
            }
            _ => RealDisk.submit(op, done),
        }
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

#[test]
fn where_a_name_is_too_long_with_the_suffix_the_file_has_its_own() {
    let torrent = torrent();
    let rig = Rig::with(Arc::new(Short), folder(), StorageLimits::default());
    let files = open(&rig, &torrent, vec![]).unwrap();
    assert_eq!(found(&rig, &files), []);
    rig.prepare(&files);
    rig.store(&files, &torrent, 1);
    assert_eq!(names(&rig), ["t/a", "t/d/b", "t/e"]);
    assert_eq!(found(&rig, &files), [(0, false), (1, false), (2, false)]);
    rig.store_all(&files, &torrent);
    assert_eq!(sync(&rig, &files, &Bitfield::full(4)).unnamed, None);
    rig.assert_on_disk(&torrent);
}
