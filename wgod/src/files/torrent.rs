//! One torrent's files: where they lie, which are open, what has been written since the last sync.
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use rustix::io::Errno;
use smallvec::SmallVec;
use wgo_core::TorrentId;
use wgo_proto::metainfo::{FileEntry, Info};
use wgo_proto::path::SafePath;
use wgo_proto::{FileIndex, layout::Layout};

use super::allowed::Allowed;
use super::beneath::{Base, Expected, Parent};
use super::blocking_disk::BlockingDisk;
use super::buf::BufPool;
use super::cache::OpenFiles;
use super::disk::{Handle, Mtime, Op, OpenMode};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::names::{Name, Names, path_of};
use super::piece_cache::PieceCache;
use super::place::{Place, Whereabouts};
use super::refs::{PathRefs, SecondWriter};
use super::upload::UploadState;
use super::volumes::{Volume, Volumes};

/// What all torrents share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) disk: BlockingDisk,
    pub(super) open: OpenFiles,
    pub(super) refs: PathRefs,
    pub(super) pool: BufPool,
    pub(super) pieces: PieceCache,
    pub(super) volumes: Volumes,
    /// Where torrents may lie.
    pub(super) allowed: Allowed,
    /// Bytes of payload hashed so far.
    pub(super) hashed: AtomicU64,
}

/// How space is reserved when a file is first written to (`[storage] preallocate`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocate {
    /// Not at all: the file grows with what is written.
    None,
    /// It gets its full length, without space.
    Sparse,
    /// It gets its full length and space (`fallocate`); sparse where the file system can't, or lies in
    /// memory.
    #[default]
    Full,
}

/// What [`Job::Open`](super::Job::Open) needs to know.
#[derive(Clone, Debug)]
pub struct TorrentSpec {
    /// The torrent.
    pub id: TorrentId,
    /// Its files.
    pub info: Arc<Info>,
    /// The absolute folder that they lie in.
    pub folder: PathBuf,
    /// Whether it will write: a complete torrent only reads, and never alters its files.
    pub writes: bool,
    /// How space is reserved.
    pub preallocate: Preallocate,
    /// What is known of the names of its first files, if they may have two.
    pub names: Vec<Name>,
}

/// Why a torrent's files can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The folder can't be reached.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another torrent writes to one of the files.
    #[error(transparent)]
    SecondWriter(#[from] SecondWriter),
}

/// The files of one live torrent. Reading what is in memory is a call on it
/// ([`read_nowait`](Self::read_nowait)); everything else is a [`Job`](super::Job).
#[derive(Debug)]
pub struct TorrentFiles {
    pub(super) id: TorrentId,
    pub(super) info: Arc<Info>,
    pub(super) base: Base,
    /// The device that holds the folder: whose queue its jobs go to.
    pub(super) device: u64,
    pub(super) cx: Arc<Context>,
    /// What its files are called at the moment.
    pub(super) names: Names,
    /// Names shared files.
    place: Place,
    preallocate: Preallocate,
    writes: AtomicBool,
    closing: AtomicBool,
    pub(super) upload: UploadState,
    /// Held for reading by each job, for writing by close and remove. Lock order: this, then `state`.
    gate: RwLock<()>,
    state: Mutex<State>,
    /// A look at the open files is under way.
    pub(super) looking: AtomicBool,
}

/// What changed. Never held during an operation on the disk.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Files written to since the last checkpoint, also those that were closed since.
    pub(super) dirty: BTreeSet<FileIndex>,
    /// Those of them that were closed and opened again: the present descriptor may not tell of all.
    pub(super) reopened: BTreeSet<FileIndex>,
    /// The volumes that they lie on, from before the first write until the last.
    pub(super) volumes: SmallVec<[Written; 1]>,
    /// Folders that gained an entry since the last checkpoint, relative to the base.
    pub(super) gained: BTreeSet<PathBuf>,
    /// Files that got their own names since the last checkpoint.
    pub(super) named: BTreeSet<FileIndex>,
    /// Files whose space was reserved, so that it is done once.
    prepared: HashSet<FileIndex>,
    /// Length and time of files whose pieces are right, by file.
    pub(super) known: Box<[(FileIndex, (u64, Mtime))]>,
}

/// A volume that a torrent writes to.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) device: u64,
    pub(super) volume: Arc<Volume>,
    /// The volume's failures before what is to be synced next was written.
    pub(super) seen: u64,
}

/// A job under way.
pub(super) struct Entered<'a> {
    base: &'a Base,
    _gate: RwLockReadGuard<'a, ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.base.forget_parents();
    }
}

impl TorrentFiles {
    /// Finds the folder and registers the paths. Called on a storage thread.
    pub(super) fn open(cx: &Arc<Context>, spec: TorrentSpec) -> Result<Arc<TorrentFiles>, OpenError> {
        let writes = spec.writes;
        let files = TorrentFiles::view(cx, spec)?;
        let paths: Vec<PathBuf> = files.paths().collect();
        cx.refs.register(files.id, &files.info.name, writes, &paths)?;
        Ok(files)
    }

    /// The same without a hold on the paths: to look at files while a move is under way.
    pub(super) fn view(cx: &Arc<Context>, spec: TorrentSpec) -> Result<Arc<TorrentFiles>, DiskError> {
        let TorrentSpec { id, info, folder, writes, preallocate, names } = spec;
        let base = Base::new(folder, has_root(&info));
        cx.allowed.admit(&base.folder)?;
        let place = Place::find(&cx.disk, &base, &info).map_err(|e| cx.allowed.explain(&cx.disk, e))?;
        for real in place.folders() {
            cx.allowed.admit_real(real)?;
        }
        Ok(Arc::new(TorrentFiles {
            id,
            names: Names::new(&info, &names),
            info,
            base,
            device: place.device,
            cx: cx.clone(),
            place,
            preallocate,
            writes: AtomicBool::new(writes),
            closing: AtomicBool::new(false),
            upload: UploadState::default(),
            gate: RwLock::new(()),
            state: Mutex::default(),
            looking: AtomicBool::new(false),
        }))
    }

    /// The torrent.
    pub fn id(&self) -> TorrentId {
        self.id
    }

    /// The folder that the files lie in.
    pub fn folder(&self) -> &Path {
        &self.base.folder
    }

    /// The device that holds the folder (`st_dev`).
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Whether its files are in another place now than when they were opened: to reach them they are to be
    /// opened again.
    pub fn is_elsewhere(&self, now: &Whereabouts) -> bool {
        now.device != self.device || now.folder.is_some_and(|folder| self.base.is_settled_elsewhere(folder))
    }

    /// Whether its folder was there, or was made, for a download that goes on.
    pub fn is_settled(&self) -> bool {
        self.base.is_settled()
    }

    /// Its metainfo.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Whether its files may be written to.
    pub fn writes(&self) -> bool {
        self.writes.load(Ordering::Acquire)
    }

    /// Allows writes again, for a torrent that lost pieces or wants more files. Refused when another
    /// torrent writes to one of the files. Touches no disk.
    pub fn begin_writing(&self) -> Result<(), SecondWriter> {
        self.cx.refs.begin_writing(self.id, |index| self.paths().nth(index).unwrap_or_default())?;
        self.writes.store(true, Ordering::Release);
        Ok(())
    }

    /// The torrent is complete and synced: only reads from now on. Called on a storage thread.
    pub(super) fn end_writing(&self) {
        self.writes.store(false, Ordering::Release);
        self.base.unsettle();
        self.cx.open.remove_torrent(self.id, true);
        let volumes = std::mem::take(&mut self.state().volumes);
        drop(volumes);
        self.cx.refs.end_writing(self.id);
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.info.layout
    }

    pub(super) fn entry(&self, file: FileIndex) -> Option<&FileEntry> {
        self.info.files.get(file.0 as usize)
    }

    /// Whether the file is on no disk: padding, or not in the torrent at all.
    pub(super) fn is_pad(&self, file: FileIndex) -> bool {
        self.entry(file).is_none_or(|entry| entry.pad)
    }

    /// The absolute path of a file, for people: the one that it has now, as far as is known.
    pub fn path(&self, file: FileIndex) -> PathBuf {
        let now = |entry| self.base.full(&self.path_now(file, entry));
        self.entry(file).map(now).unwrap_or_default()
    }

    /// The folders that lead to a file, up to the torrent's, relative to that.
    pub(super) fn folders_of(&self, file: FileIndex, entry: &FileEntry) -> Vec<PathBuf> {
        let path = self.path_now(file, entry);
        path.as_path().ancestors().skip(1).map(Path::to_owned).collect()
    }

    fn path_now(&self, file: FileIndex, entry: &FileEntry) -> SafePath {
        path_of(&self.info, file, entry, self.is_suffixed(file)).path
    }

    /// All real paths that its files have or may get, each at a place of its own.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let files = || (0..).map(FileIndex).zip(&self.info.files).filter(|(_, file)| !file.pad);
        let seconds = files().filter_map(|(file, _)| self.info.suffixed_path(file));
        let own = files().map(|(_, entry)| self.place.path(&entry.path));
        own.chain(seconds.map(|path| self.place.path(&path)))
    }

    /// Whether another torrent uses this file.
    pub(super) fn is_shared(&self, file: FileIndex, entry: &FileEntry) -> bool {
        self.is_used(&self.path_now(file, entry))
    }

    /// Whether another torrent uses what is at a path.
    pub(super) fn is_used(&self, path: &SafePath) -> bool {
        self.cx.refs.is_shared(self.id, &self.place.path(path))
    }

    /// Lets a job begin; `None` once the torrent is being closed.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        (!self.is_closing()).then_some(Entered { base: &self.base, _gate: gate })
    }

    /// Whether a long job should end early.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Finds out whether an access was refused on account of where it leads.
    pub(super) fn explain(&self, error: DiskError) -> DiskError {
        self.cx.allowed.explain(&self.cx.disk, error)
    }

    /// Keeps new jobs out and waits for those under way.
    pub(super) fn shut(&self) {
        self.closing.store(true, Ordering::Release);
        drop(self.gate.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Nothing more is done to its files: lets go of their paths and of all that is open but files.
    pub(super) fn let_go(&self) {
        self.base.forget_parents();
        let volumes = std::mem::take(&mut self.state().volumes);
        drop(volumes);
        self.cx.refs.release(self.id);
    }

    /// Sets stay whole whatever panics, so poison is ignored.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn key(&self, file: FileIndex) -> (TorrentId, FileIndex) {
        (self.id, file)
    }

    /// The file if it is open already. Safe on an async worker.
    pub(super) fn open_already(&self, file: FileIndex) -> Option<Handle> {
        self.cx.open.get(self.key(file))
    }

    /// A handle to read with, opening the file if need be.
    pub(super) fn handle_to_read(&self, file: FileIndex) -> Result<Handle, DiskError> {
        if let Some(handle) = self.open_already(file) {
            return Ok(handle);
        }
        let entry = self.entry(file).ok_or_else(|| self.no_such(file))?;
        let opened = self.with_room(|| self.open_existing(file, entry, OpenMode::Read))?;
        self.compare(file, &opened)?;
        Ok(self.cx.open.insert(self.key(file), self.device, opened, false))
    }

    /// A handle to write `len` bytes with, making the file and reserving its space if need be.
    /// [`wrote`](Self::wrote) must be called after the write, before the handle is dropped. A file that
    /// is written whole needs no space reserved and isn't kept open.
    pub(super) fn handle_to_write(&self, file: FileIndex, len: u32) -> Result<Handle, DiskError> {
        let entry = self.entry(file).ok_or_else(|| self.no_such(file))?;
        if !self.writes() {
            return Err(DiskError::of_kind(DiskOp::Write, self.path(file), DiskErrorKind::ReadOnly));
        }
        if let Some(handle) = self.cx.open.get_to_write(self.key(file)) {
            return Ok(handle);
        }
        let is_first = self.state().prepared.insert(file);
        let expected = if is_first { Expected::Missing } else { Expected::There };
        let opened = self.open_to_write(file, entry, expected, u64::from(len) < entry.len);
        if opened.is_err() && is_first {
            self.state().prepared.remove(&file);
        }
        opened
    }

    fn open_to_write(
        &self,
        file: FileIndex,
        entry: &FileEntry,
        expected: Expected,
        keep: bool,
    ) -> Result<Handle, DiskError> {
        let opened = self.with_room(|| self.open_or_make(file, entry, expected))?;
        self.note_volume(&opened.parent);
        {
            let mut state = self.state();
            if expected == Expected::Missing || !opened.gained.is_empty() {
                // They may be there because an earlier run made them and ended before they were synced, or because a
                // try that failed did.
                state.gained.extend(self.folders_of(file, entry));
            }
            if state.dirty.contains(&file) {
                state.reopened.insert(file);
            }
        }
        if !keep {
            return Ok(opened.handle);
        }
        let handle = self.cx.open.insert(self.key(file), self.device, opened.handle, true);
        if expected == Expected::Missing {
            let failed = |e| DiskError::new(DiskOp::Allocate, self.path(file), &e);
            self.reserve(&handle, file, entry).map_err(failed)?;
        }
        Ok(handle)
    }

    /// Something will be written in this folder.
    pub(super) fn note_volume(&self, parent: &Parent) {
        let mut state = self.state();
        if state.volumes.iter().all(|written| written.device != parent.device) {
            let volume = self.cx.volumes.of(parent.device, &parent.handle);
            let seen = volume.failures();
            state.volumes.push(Written { device: parent.device, volume, seen });
        }
    }

    /// The file was written to, or a write failed half-way: the next checkpoint syncs it.
    pub(super) fn wrote(&self, file: FileIndex) {
        self.cx.open.wrote(self.key(file));
        self.state().dirty.insert(file);
    }

    /// Reserves the file's space as configured. Never shortens it, and leaves a file that another
    /// torrent uses as it is. Most of the part file is never used.
    fn reserve(&self, handle: &Handle, file: FileIndex, entry: &FileEntry) -> io::Result<()> {
        let is_part_file = self.info.part_file() == Some(file);
        if self.preallocate == Preallocate::None
            || entry.len == 0
            || is_part_file
            || self.is_shared(file, entry)
        {
            return Ok(());
        }
        let disk = &self.cx.disk;
        if self.preallocate == Preallocate::Full {
            let allocated = disk.run(Op::Allocate { file: handle.clone(), len: entry.len });
            match allocated.as_ref().map_err(|e| e.raw_os_error().map(Errno::from_raw_os_error)) {
                Err(Some(Errno::OPNOTSUPP | Errno::NOSYS)) => {}
                _ => return allocated,
            }
        }
        if disk.len(handle)? < entry.len { disk.set_len(handle, entry.len) } else { Ok(()) }
    }

    /// Opens; when the process is out of descriptors, closes cached files, as many as an opening may need
    /// in turn (folder, file and the one that is opened), and tries again.
    fn with_room<T>(&self, open: impl Fn() -> Result<T, DiskError>) -> Result<T, DiskError> {
        const TRIES: usize = 3;
        let full = [Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error()];
        for _ in 0..TRIES {
            match open() {
                Err(e) if e.errno.is_some_and(|errno| full.contains(&errno)) => {
                    if !self.cx.open.evict(self.device) {
                        return Err(e);
                    }
                }
                result => return result,
            }
        }
        open()
    }

    pub(super) fn no_such(&self, file: FileIndex) -> DiskError {
        DiskError::of_kind(DiskOp::Open, self.path(file), DiskErrorKind::Missing)
    }
}

/// Whether the first component of each path is the torrent's own folder, not its only file.
pub(super) fn has_root(info: &Info) -> bool {
    info.files.iter().any(|file| file.path.components().nth(1).is_some())
}
