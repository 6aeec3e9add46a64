//! A torrent that is moved between two folders, on a disk that ends at will; and what must be true afterwards.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use wgo_core::TorrentId;
use wgo_proto::{Bitfield, FileIndex};

use super::super::rig::*;
use crate::files::disk::{At, OnDone};
use crate::files::*;

pub(in super::super) const PIECE: usize = 32768;

/// A real disk that ends all at once, as a process that is killed sees it, and that can't do everything.
#[derive(Default)]
pub(in super::super) struct Cut {
    pub(in super::super) done: AtomicUsize,
    /// Operations that are done; the others fail.
    pub(in super::super) after: AtomicUsize,
    /// What linking fails with.
    pub(in super::super) link: Option<Errno>,
    pub(in super::super) trace: Mutex<Vec<String>>,
}

impl Cut {
    pub(in super::super) fn new(link: Option<Errno>) -> Arc<Cut> {
        Arc::new(Cut { after: usize::MAX.into(), link, ..Cut::default() })
    }

    /// Only so many more operations are done.
    pub(in super::super) fn cut(&self, after: usize) {
        self.done.store(0, Ordering::Relaxed);
        self.after.store(after, Ordering::Relaxed);
        self.trace.lock().unwrap().clear();
    }

    pub(in super::super) fn is_over(&self) -> bool {
        self.done.load(Ordering::Relaxed) > self.after.load(Ordering::Relaxed)
    }
}

impl Disk for Cut {
    fn submit(&self, op: Op, done: OnDone) {
        let errno = match &op {
            _ if self.done.fetch_add(1, Ordering::Relaxed) >= self.after.load(Ordering::Relaxed) => {
                Some(Errno::IO)
            }
            Op::Link { .. } => self.link,
            _ => None,
        };
        let name = |at: &At| at.path.display().to_string();
        let said = match &op {
            Op::Write { .. } | Op::CopyRange { .. } | Op::Reflink { .. } => Some("copy".to_owned()),
            Op::SyncData(_) => Some("sync data".to_owned()),
            Op::SyncAll(_) => Some("sync".to_owned()),
            Op::SetTime { .. } => Some("time".to_owned()),
            Op::RenameNew { to, .. } => Some(format!("name {}", name(to))),
            Op::Unlink(at) => Some(format!("unlink {}", name(at))),
            _ => None,
        };
        self.trace.lock().unwrap().extend(said);
        match errno {
            Some(errno) => done(Err(io::Error::from_raw_os_error(errno.raw_os_error())).into()),
            None => RealDisk.submit(op, done),
        }
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

/// A torrent whose files are moved from one folder to another.
pub(super) struct Bench {
    pub(super) rig: Rig,
    pub(super) disk: Arc<Cut>,
    pub(super) torrent: Torrent,
    pub(super) id: TorrentId,
    pub(super) kept: BTreeSet<FileIndex>,
    pub(super) free: u64,
    /// The move was asked for and its folder marked.
    pub(super) marked: bool,
    /// What the store knows of the old place.
    pub(super) known: Vec<Stamp>,
    /// What the store would know of the new place.
    pub(super) switched: Option<Vec<Stamp>>,
}

impl Bench {
    pub(super) fn new(link: Option<Errno>) -> Bench {
        Bench::of(Bench::torrent(), link)
    }

    fn torrent() -> Torrent {
        let symlink = Made { attr: "l", target: "a/x", ..file("link", 0) };
        let made =
            [file("a/x", 70_000), pad(28_304), file("a/b/y", 40_000), file("e", 0), file("z", 10), symlink];
        multi("t", PIECE, &made)
    }

    pub(super) fn of(torrent: Torrent, link: Option<Errno>) -> Bench {
        let disk = Cut::new(link);
        let rig = Rig::with(disk.clone(), folder(), StorageLimits::default());
        for folder in ["old", "new"] {
            fs::create_dir(rig.path().join(folder)).unwrap();
        }
        let bench = Bench::on(rig, disk, torrent);
        let files = bench.open("old");
        bench.rig.prepare(&files);
        bench.rig.store_all(&files, &bench.torrent);
        assert!(bench.rig.sync(&files, true).is_durable());
        bench
    }

    /// With files that have names of ones that aren't complete: `a/b/y` and `z`.
    pub(super) fn suffixed(link: Option<Errno>) -> Bench {
        let Torrent { info, payload } = Bench::torrent();
        let info = Arc::new(info.with_suffix(Some(&".part".parse().unwrap())));
        let mut bench = Bench::of(Torrent { info: info.clone(), payload }, link);
        let files = bench.open("old");
        let all = (0..info.layout.file_count()).map(FileIndex).collect();
        let stat = |done| Job::Stat { torrent: files.clone(), files: all, done };
        let stamps: Result<Vec<Stamp>, DiskError> = bench.rig.ask(stat);
        let mut have = Bitfield::full(info.layout.piece_count());
        have.clear(info.layout.piece_count() - 1);
        let named: SyncOutcome = bench.rig.ask(|done| Job::Name { torrent: files.clone(), have, done });
        assert!(named.is_durable() && named.unnamed.is_none());
        bench.rig.close(&files);
        // Of before: a crash came between.
        bench.known = stamps.unwrap();
        assert!(bench.known.iter().filter(|stamp| stamp.suffixed).count() == 3);
        assert!(bench.folder("old/t/a/x").exists() && bench.folder("old/t/z.part").exists());
        bench
    }

    /// What a file is called on disk.
    fn name_of(&self, path: &Path) -> PathBuf {
        let is_part = self.torrent.info.suffix().is_some() && !path.ends_with("a/x");
        let has_content = path.ends_with("z") || path.ends_with("a/b/y");
        let end = if is_part && has_content { ".part" } else { "" };
        PathBuf::from(format!("{}{end}", path.display()))
    }

    pub(super) fn on(rig: Rig, disk: Arc<Cut>, torrent: Torrent) -> Bench {
        let (id, kept, free, marked, switched) = (TorrentId(1), BTreeSet::new(), 0, false, None);
        Bench { rig, disk, torrent, id, kept, free, marked, known: Vec::new(), switched }
    }

    /// Nothing is open, nothing is known but what the store has.
    pub(super) fn restart(self, disk: Arc<Cut>) -> Bench {
        let Bench { rig, torrent, marked, known, switched, .. } = self;
        let rig = Rig::with(disk.clone(), rig.dir, StorageLimits::default());
        Bench { marked, known, switched, ..Bench::on(rig, disk, torrent) }
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.rig.path().join(name)
    }

    pub(super) fn open(&self, folder: &str) -> Arc<TorrentFiles> {
        self.try_open(folder).unwrap()
    }

    pub(super) fn try_open(&self, folder: &str) -> Result<Arc<TorrentFiles>, OpenError> {
        let (info, folder) = (self.torrent.info.clone(), self.folder(folder));
        let spec = TorrentSpec {
            id: self.id,
            info,
            folder,
            writes: true,
            preallocate: Preallocate::Sparse,
            names: Vec::new(),
        };
        self.rig.ask(|done| Job::Open { spec, done })
    }

    pub(super) fn relocation(&self) -> Arc<Relocation> {
        self.rig.storage.relocation(RelocationSpec {
            id: self.id,
            info: self.torrent.info.clone(),
            tag: "0123456789abcdef".into(),
            from: self.folder("old"),
            to: self.folder("new"),
            kept: self.kept.clone(),
            stamps: self.switched.clone().unwrap_or_else(|| self.known.clone()),
            min_free_space: self.free,
            watch: MoveWatch::default(),
        })
    }

    pub(super) fn work<T>(
        &self,
        work: impl FnOnce(Done<Result<T, MoveError>>) -> RelocateWork,
    ) -> Result<T, MoveError>
    where
        T: Send + 'static,
    {
        let relocation = self.relocation();
        self.rig.ask(|done| Job::Relocate { relocation, work: work(done) })
    }

    pub(super) fn mark(&self) -> Result<(), MoveError> {
        self.work(RelocateWork::Mark)
    }

    pub(super) fn survey(&self) -> Result<(), MoveError> {
        self.work(RelocateWork::Survey)
    }

    /// The first half, of a move that was asked for.
    pub(super) fn place(&self) -> Result<Placed, MoveError> {
        self.work(RelocateWork::Place)
    }

    pub(super) fn undo(&self) -> Result<(), MoveError> {
        self.work(RelocateWork::Undo)
    }

    /// As the session does it: from where it stands to the end. Fails where a step does.
    pub(super) fn go_on(&mut self) -> Result<Settled, String> {
        if !self.marked {
            self.survey().and_then(|()| self.mark()).map_err(|e| e.to_string())?;
            self.marked = true;
        }
        if self.switched.is_none() {
            self.try_open("old").map_err(|e| e.to_string())?;
            let placed = self.place().map_err(|e| e.to_string())?;
            if let Some(view) = placed.view.clone() {
                self.check(&view, &placed.copied);
            }
            self.switched = Some(placed.stamps);
        }
        let files = self.try_open("new").map_err(|e| e.to_string())?;
        let prepared: Result<crate::files::Space, DiskError> =
            self.rig.ask(|done| Job::Prepare { torrent: files.clone(), done });
        prepared.map_err(|e| e.to_string())?;
        self.work(RelocateWork::Settle).map_err(|e| e.to_string())
    }

    /// The pieces of what was copied are right, unless the disk ended.
    pub(super) fn check(&self, view: &Arc<TorrentFiles>, copied: &[FileIndex]) {
        let layout = &self.torrent.info.layout;
        let pieces =
            copied.iter().flat_map(|file| layout.pieces_of(*file)).map(wgo_proto::PieceIndex).collect();
        let bad = Arc::new(AtomicUsize::new(0));
        let count = bad.clone();
        let progress = move |checked: &[Checked]| {
            count.fetch_add(checked.iter().filter(|c| !c.good).count(), Ordering::Relaxed);
        };
        let view = view.clone();
        let _outcome: CheckOutcome = self.rig.ask(|done| {
            let pieces = CheckPieces::List(pieces);
            Job::Check(Arc::new(Check::new(view, pieces, Box::new(progress), Arc::default(), done)))
        });
        assert!(bad.load(Ordering::Relaxed) == 0 || self.disk.is_over());
    }

    /// Everything below a folder: contents of files, targets of links.
    pub(super) fn tree(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                    // So that folders that are left count.
                    found.insert(entry.path().strip_prefix(self.rig.path()).unwrap().join(""), vec![]);
                } else if kind.is_symlink() {
                    let target = fs::read_link(entry.path()).unwrap();
                    found.insert(entry.path(), target.into_os_string().into_encoded_bytes());
                } else {
                    found.insert(entry.path(), fs::read(entry.path()).unwrap());
                }
            }
        }
        found
            .into_iter()
            .map(|(path, bytes)| {
                (path.strip_prefix(self.folder(folder)).map(PathBuf::from).unwrap_or(path), bytes)
            })
            .collect()
    }

    /// A place has all of the torrent and nothing else, the other has nothing.
    pub(super) fn assert_only_in(&self, place: &str, other: &str) {
        for (path, bytes) in self.torrent.content() {
            let Some(bytes) = bytes else { continue };
            let path = self.folder(place).join(self.name_of(&path));
            if !path.is_symlink() {
                assert!(fs::read(&path).unwrap() == bytes, "{}", path.display());
            }
        }
        let left: Vec<_> =
            self.tree(place).into_keys().filter(|path| path.to_string_lossy().contains(".wgod")).collect();
        assert_eq!(left, [] as [PathBuf; 0]);
        assert_eq!(self.tree(other), BTreeMap::new(), "{other}");
    }

    /// The place that is the torrent's has every byte, under one of the names that a restart knows of.
    pub(super) fn assert_whole(&self) {
        let files = (0..)
            .zip(self.torrent.content())
            .filter(|(index, _)| self.torrent.info.files[*index as usize].symlink.is_none());
        for (index, (path, bytes)) in files {
            let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { continue };
            let path = self.name_of(&path);
            let (old, new) = (self.folder("old").join(&path), self.folder("new").join(&path));
            let staged = new.with_file_name(format!(".wgod-0123456789abcdef-{index}"));
            let names = if self.switched.is_some() { vec![staged, new, old] } else { vec![old] };
            let found = names.iter().find_map(|name| fs::read(name).ok());
            assert!(found.as_deref() == Some(bytes), "{}", path.display());
        }
    }
}

/// In memory where that can be: the tests sync a lot.
pub(in super::super) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
