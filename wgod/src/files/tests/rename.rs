//! Renames: whatever stops one at whatever step, every file is whole under one of its two names, and it can be
//! ended either way.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use wgo_core::TorrentId;
use wgo_proto::metainfo::{FileEntry, Info};
use wgo_proto::path::SafePath;
use wgo_proto::{Bitfield, FileIndex};

use super::relocate::bench::{Cut, folder};
use super::rig::*;
use crate::files::*;

const PIECE: usize = 32768;
/// The torrent's folder, a folder in it, and a file.
const CASES: [(&str, &str); 4] =
    [("t", "u"), ("t/a", "t/new/place"), ("t/a/x", "t/y y"), ("t", "t/in/itself")];

/// A whole torrent on a disk that ends at will, of which something is renamed.
struct Bench {
    rig: Rig,
    disk: Arc<Cut>,
    torrent: Torrent,
    new: Arc<Info>,
    spec: RenamingSpec,
    /// Pieces that were had when files got their own names, if they have two.
    part: Option<u32>,
}

impl Bench {
    fn new(from: &str, to: &str) -> Bench {
        Bench::of(from, to, None)
    }

    /// With files that have names of ones that aren't complete, if `part` has what is had.
    fn of(from: &str, to: &str, part: Option<u32>) -> Bench {
        let links = Made { attr: "l", target: "a/x", ..file("link", 0) };
        let deep = Made { attr: "l", target: "z", ..file("a/b/up", 0) };
        let made = [
            file("a/x", 70_000),
            pad(28_304),
            file("a/b/y", 40_000),
            file("e", 0),
            file("z", 10),
            links,
            deep,
        ];
        let mut torrent = multi("t", PIECE, &made);
        if part.is_some() {
            torrent.info = Arc::new(torrent.info.with_suffix(Some(&".part".parse().unwrap())));
        }
        let disk = Cut::new(None);
        let rig = Rig::with(disk.clone(), folder(), StorageLimits::default());
        let files = rig.open(&torrent);
        rig.prepare(&files);
        rig.store_all(&files, &torrent);
        assert!(rig.sync(&files, true).is_durable());
        let all: Vec<FileIndex> = (0..).map(FileIndex).take(torrent.info.files.len()).collect();
        let stat = |done| Job::Stat { torrent: files.clone(), files: all, done };
        let stamps: Result<Vec<Stamp>, DiskError> = rig.ask(stat);
        if let Some(count) = part {
            let mut have = Bitfield::new(torrent.info.layout.piece_count());
            have.set_range(0..count);
            // A crash came before the stamps knew of it.
            let named: SyncOutcome = rig.ask(|done| Job::Name { torrent: files.clone(), have, done });
            assert!(named.is_durable() && named.unnamed.is_none());
        }
        rig.close(&files);
        let safe = |path: &str| SafePath::exact(path).unwrap();
        let changed = torrent.info.renamed(&safe(from), &safe(to)).unwrap();
        let new = Arc::new(torrent.info.with_paths(&changed).unwrap());
        let spec = RenamingSpec {
            id: TorrentId(1),
            old: torrent.info.clone(),
            new: new.clone(),
            folder: rig.path().to_owned(),
            kept: Default::default(),
            stamps: stamps.unwrap(),
            mount: None,
            begun: true,
        };
        Bench { rig, disk, torrent, new, spec, part }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.rig.path().join(path)
    }

    fn work(
        &self,
        work: impl FnOnce(Done<Result<(), RenamingError>>) -> RenamingWork,
    ) -> Result<(), RenamingError> {
        let renaming = self.rig.storage.renaming(self.spec.clone());
        self.rig.ask(|done| Job::Rename { renaming, work: work(done) })
    }

    fn survey(&self) -> Result<(), RenamingError> {
        self.work(RenamingWork::Survey)
    }

    fn apply(&self) -> Result<(), RenamingError> {
        self.work(RenamingWork::Apply)
    }

    fn undo(&self) -> Result<(), RenamingError> {
        self.work(RenamingWork::Undo)
    }

    /// Everything in the folder: contents of files; folders end in a slash; of links, what they lead to.
    fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.rig.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                let name = path.strip_prefix(self.rig.path()).unwrap().to_owned();
                if kind.is_dir() {
                    folders.push(path);
                    found.insert(name.join(""), vec![]);
                } else if kind.is_symlink() {
                    // What it leads to may have another name for now.
                    let leads = fs::canonicalize(&path).unwrap_or_else(|_| fs::read_link(&path).unwrap());
                    let base = self.rig.path().canonicalize().unwrap();
                    let leads = leads.strip_prefix(base).map(Path::to_owned).unwrap_or(leads);
                    // One to a file that isn't complete leads nowhere yet.
                    let bytes = leads.into_os_string().into_encoded_bytes();
                    found.insert(name, if self.part.is_some() { vec![] } else { bytes });
                } else {
                    found.insert(name, fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// What a folder has that holds these files and nothing else.
    fn wanted(&self, info: &Info) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut wanted = BTreeMap::new();
        for (entry, (_, bytes)) in info.files.iter().zip(self.torrent.content()) {
            let Some(bytes) = bytes else { continue };
            let leads = entry.symlink.as_ref().map(|target| target.as_str().as_bytes());
            let leads = leads.map(|leads| if self.part.is_some() { &[] } else { leads });
            wanted.insert(self.name_of(entry), leads.unwrap_or(bytes).to_vec());
            let folders = entry.path.as_path().ancestors().skip(1).filter(|path| *path != Path::new(""));
            wanted.extend(folders.map(|path| (path.join(""), vec![])));
        }
        wanted
    }

    /// What a file is called on disk: only the first is complete.
    fn name_of(&self, entry: &FileEntry) -> PathBuf {
        let has_content = entry.len > 0 && entry.symlink.is_none() && entry.len != 70_000;
        let end = if self.part.is_some() && has_content { ".part" } else { "" };
        PathBuf::from(format!("{}{end}", entry.path))
    }

    fn assert_has(&self, info: &Info) {
        let (found, wanted) = (self.tree(), self.wanted(info));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        assert!(found == wanted);
    }

    /// Each file is there once, whole, under its old name or its new one.
    fn assert_whole(&self) {
        let pairs = self.torrent.info.files.iter().zip(&self.new.files);
        for ((old, new), (_, bytes)) in pairs.zip(self.torrent.content()) {
            let Some(bytes) = bytes.filter(|_| old.symlink.is_none()) else { continue };
            let mut names = vec![self.name_of(old)];
            names.extend((new.path != old.path).then(|| self.name_of(new)));
            let found: Vec<_> =
                names.iter().filter_map(|name| fs::read(self.rig.path().join(name)).ok()).collect();
            assert!(found == [bytes], "{}", old.path);
        }
    }

    /// As after a crash: nothing is open.
    fn restart(self) -> Bench {
        let disk = Cut::new(None);
        let rig = Rig::with(disk.clone(), self.rig.dir, StorageLimits::default());
        Bench { rig, disk, ..self }
    }
}

#[test]
fn a_rename_gives_new_names_and_leaves_nothing_of_the_old_ones() {
    for (from, to) in CASES {
        let bench = Bench::new(from, to);
        bench.assert_has(&bench.torrent.info);
        let before = fs::metadata(bench.path("t/a/x")).unwrap();
        bench.survey().unwrap();
        bench.assert_has(&bench.torrent.info);
        bench.apply().unwrap();
        bench.assert_has(&bench.new);
        let after = fs::metadata(bench.path(bench.new.files[0].path.as_str())).unwrap();
        assert_eq!((before.ino(), before.modified().unwrap()), (after.ino(), after.modified().unwrap()));
        bench.apply().unwrap();
        bench.assert_has(&bench.new);
        bench.undo().unwrap();
        bench.assert_has(&bench.torrent.info);
    }
}

/// Cuts renames at each of their steps; afterwards they go on, or back.
fn cut_at_any_step(part: Option<u32>) {
    for (from, to) in CASES {
        for back in [false, true] {
            for after in 0.. {
                let bench = Bench::of(from, to, part);
                bench.disk.cut(after);
                let ended = bench.apply();
                let over = bench.disk.is_over();
                bench.assert_whole();
                let bench = bench.restart();
                if back {
                    // A crash in that, too.
                    bench.disk.cut(after / 2);
                    let _cut = bench.undo();
                    bench.assert_whole();
                    let bench = bench.restart();
                    bench.undo().unwrap();
                    bench.assert_has(&bench.torrent.info);
                } else {
                    bench.apply().unwrap();
                    bench.assert_has(&bench.new);
                }
                if !over {
                    ended.unwrap();
                    assert!(after > 20, "it was cut at {after} places only");
                    break;
                }
            }
        }
    }
}

#[test]
fn cut_at_any_step_every_file_has_one_name_and_the_rename_ends_either_way() {
    cut_at_any_step(None);
}

#[test]
fn so_it_is_with_files_that_have_names_of_ones_that_are_not_complete() {
    cut_at_any_step(Some(3));
}

#[test]
fn what_has_the_name_that_a_file_is_to_get_is_in_the_way() {
    for there in ["t/c/b/y", "t/c/b/y.part"] {
        let bench = Bench::of("t/a", "t/c", Some(3));
        fs::create_dir_all(bench.path("t/c/b")).unwrap();
        fs::write(bench.path(there), "of somebody else").unwrap();
        assert_eq!(bench.survey(), Err(RenamingError::InTheWay { path: bench.path(there) }));
    }
}

#[test]
fn new_names_are_durable_before_it_is_said_to_be_done() {
    let bench = Bench::new("t", "u");
    bench.disk.cut(usize::MAX);
    bench.apply().unwrap();
    let steps = bench.disk.trace.lock().unwrap().clone();
    let named = steps.iter().rposition(|step| step.starts_with("name")).unwrap();
    let synced = steps[named..].iter().filter(|step| *step == "sync").count();
    // The folder itself twice, for what went and for what came; u, u/a, u/a/b.
    assert_eq!(synced, 5, "{steps:?}");
}

#[test]
fn what_is_in_the_way_is_refused_and_nothing_changes() {
    let bench = Bench::new("t/a", "t/c");
    fs::create_dir_all(bench.path("t/c/b")).unwrap();
    fs::write(bench.path("t/c/b/y"), "of somebody else").unwrap();
    let theirs = bench.path("t/c/b/y");
    let before = bench.tree();
    assert_eq!(bench.survey(), Err(RenamingError::InTheWay { path: theirs.clone() }));
    // It may come after the survey: then what was done is undone.
    assert_eq!(bench.apply(), Err(RenamingError::InTheWay { path: theirs }));
    assert_ne!(bench.tree(), before);
    bench.undo().unwrap();
    assert_eq!(bench.tree(), before);
    for link in [false, true] {
        let bench = Bench::new("t/a", "t/c");
        match link {
            true => symlink(bench.path("t/z"), bench.path("t/c")).unwrap(),
            false => fs::write(bench.path("t/c"), "").unwrap(),
        }
        let error = bench.survey().unwrap_err();
        let obstructed = matches!(&error, RenamingError::Disk(e) if e.kind == DiskErrorKind::Obstructed);
        assert!(obstructed, "{error}");
    }
}

#[test]
fn what_the_operator_renamed_already_is_taken_as_it_is_and_nothing_else_is() {
    let bench = Bench::new("t", "u");
    fs::rename(bench.path("t"), bench.path("u")).unwrap();
    bench.survey().unwrap();
    bench.apply().unwrap();
    // Links were made anew for their own sake only.
    bench.assert_has(&bench.new);
    let bench = Bench::new("t", "u");
    fs::rename(bench.path("t"), bench.path("u")).unwrap();
    fs::write(bench.path("u/z"), "0123456789").unwrap();
    assert_eq!(bench.survey(), Err(RenamingError::InTheWay { path: bench.path("u/z") }));
}

#[test]
fn files_that_are_missing_are_not_forgotten() {
    let bench = Bench::new("t", "u");
    fs::rename(bench.path("t/z"), bench.path("z")).unwrap();
    assert_eq!(bench.survey(), Err(RenamingError::Gone { path: bench.path("t/z") }));
    fs::rename(bench.path("z"), bench.path("t/z")).unwrap();
    let mut bench =
        Bench { spec: RenamingSpec { folder: bench.path("gone"), ..bench.spec.clone() }, ..bench };
    let missing =
        |error: RenamingError| matches!(error, RenamingError::Disk(e) if e.kind == DiskErrorKind::Missing);
    assert!(missing(bench.survey().unwrap_err()) && missing(bench.apply().unwrap_err()));
    // Of a torrent that has nothing on disk only the names change.
    (bench.spec.begun, bench.spec.stamps) = (false, vec![]);
    bench.survey().unwrap();
    bench.apply().unwrap();
    assert!(!bench.path("gone").exists());
}

#[test]
fn a_torrents_own_folder_that_is_a_link_keeps_its_name() {
    let bench = Bench::new("t", "u");
    fs::create_dir(bench.path("elsewhere")).unwrap();
    fs::rename(bench.path("t"), bench.path("elsewhere/t")).unwrap();
    symlink(bench.path("elsewhere/t"), bench.path("t")).unwrap();
    assert_eq!(bench.survey(), Err(RenamingError::LinkedRoot { path: bench.path("t") }));
    let safe = |path: &str| SafePath::exact(path).unwrap();
    let changed = bench.torrent.info.renamed(&safe("t/a"), &safe("t/b")).unwrap();
    let new = Arc::new(bench.torrent.info.with_paths(&changed).unwrap());
    let bench = Bench { spec: RenamingSpec { new: new.clone(), ..bench.spec.clone() }, new, ..bench };
    bench.survey().unwrap();
    bench.apply().unwrap();
    assert!(
        bench.path("elsewhere/t/b/x").exists() && bench.path("t").is_symlink(),
        "what is in it may be renamed"
    );
}

#[test]
fn a_file_that_another_torrent_uses_gets_a_second_name() {
    for known in [true, false] {
        let mut bench = Bench::new("t", "u");
        let other = multi("t", 16384, &[file("a/x", 70_000)]);
        let reader = TorrentSpec {
            id: TorrentId(9),
            info: other.info.clone(),
            folder: bench.rig.path().to_owned(),
            writes: false,
            preallocate: Preallocate::None,
            names: Vec::new(),
        };
        match known {
            true => drop(bench.rig.ask(|done| Job::Open { spec: reader, done }).unwrap()),
            false => bench.spec.kept = [FileIndex(0)].into(),
        }
        bench.survey().unwrap();
        bench.apply().unwrap();
        bench.apply().unwrap();
        let inode = |path: &str| fs::metadata(bench.path(path)).map(|meta| meta.ino()).ok();
        assert!(inode("t/a/x").is_some() && inode("t/a/x") == inode("u/a/x"));
        assert!(!bench.path("t/z").exists());
        bench.undo().unwrap();
        bench.assert_has(&bench.torrent.info);
    }
    // Where that can't be it is refused, and what was done is undone.
    let mut bench = Bench::new("t", "u");
    let disk = Cut::new(Some(Errno::PERM));
    bench.rig = Rig::with(disk, bench.rig.dir, StorageLimits::default());
    bench.spec.kept = [FileIndex(4)].into();
    assert_eq!(bench.apply(), Err(RenamingError::Shared { path: bench.path("t/z") }));
    bench.undo().unwrap();
    bench.assert_has(&bench.torrent.info);
}

#[test]
fn another_torrents_file_is_not_taken() {
    let bench = Bench::new("t", "u");
    let other = multi("u", 16384, &[file("z", 10)]);
    let spec = TorrentSpec {
        id: TorrentId(9),
        info: other.info.clone(),
        folder: bench.rig.path().to_owned(),
        writes: true,
        preallocate: Preallocate::None,
        names: Vec::new(),
    };
    bench.rig.ask(|done| Job::Open { spec, done }).unwrap();
    let path = bench.rig.path().canonicalize().unwrap().join("u/z");
    assert_eq!(bench.survey(), Err(RenamingError::Occupied { path, other: "u".into() }));
}

#[test]
fn a_second_name_that_somebody_made_is_left_with_the_first() {
    let bench = Bench::new("t/z", "t/n");
    fs::hard_link(bench.path("t/z"), bench.path("t/n")).unwrap();
    bench.survey().unwrap();
    bench.apply().unwrap();
    let inode = |path: &str| fs::metadata(bench.path(path)).unwrap().ino();
    assert_eq!(inode("t/z"), inode("t/n"), "on a file system without case they may be one name");
}
