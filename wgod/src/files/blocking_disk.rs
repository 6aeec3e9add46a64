//! The disk as a thread sees it that waits: one call for each operation, and reads and writes that go on until
//! all is done. For storage threads and the database.
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::bufs::Bufs;
use super::disk::{At, Completion, Disk, FsStat, Handle, Op, OpenHow, OpenMode, Output, Stat};
use super::modes::{Modes, SharedModes};

/// The blocking face of a [`Disk`], for storage threads and the database: submits and waits.
#[derive(Clone)]
pub struct BlockingDisk {
    disk: Arc<dyn Disk>,
    /// Of what torrents make. The same for all clones.
    modes: Arc<SharedModes>,
}

impl fmt::Debug for BlockingDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockingDisk")
    }
}

impl BlockingDisk {
    /// Wraps `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> BlockingDisk {
        BlockingDisk { disk, modes: Arc::default() }
    }

    /// The disk itself.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// From now on new files and folders of torrents get these modes.
    pub(super) fn set_modes(&self, modes: Modes) {
        self.modes.set(modes);
    }

    /// How to make a file of a torrent.
    pub(super) fn new_file(&self, executable: bool) -> OpenMode {
        OpenMode::CreateNew { executable, mode: self.modes.load().of_file(executable) }
    }

    /// Makes a folder of a torrent, or one that it lies in.
    pub(super) fn make_dir(&self, at: At) -> io::Result<()> {
        self.run(Op::CreateDir { at, mode: self.modes.load().folder.map(u32::from) })
    }

    /// Submits `op` and waits for it.
    pub fn call(&self, op: Op) -> Completion {
        self.disk.perform(op)
    }

    /// Opens a file or directory.
    pub fn open(&self, at: At, how: OpenHow) -> io::Result<Handle> {
        match self.call(Op::Open { at, how }).result? {
            Output::Opened(handle) => Ok(handle),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads once; returns the buffers and the bytes read, which may be fewer than asked.
    pub fn read_at(&self, file: &Handle, offset: u64, bufs: Bufs) -> (Bufs, io::Result<usize>) {
        moved(self.call(Op::Read { file: file.clone(), offset, bufs }))
    }

    /// Writes once; returns the buffers and the bytes written, which may be fewer than asked.
    pub fn write_at(&self, file: &Handle, offset: u64, bufs: Bufs) -> (Bufs, io::Result<usize>) {
        moved(self.call(Op::Write { file: file.clone(), offset, bufs }))
    }

    /// Reads until the window of `bufs` is full or the file ends; returns the bytes read.
    pub fn read_full_at(&self, file: &Handle, offset: u64, bufs: Bufs) -> (Bufs, io::Result<usize>) {
        self.whole(offset, bufs, |offset, bufs| self.read_at(file, offset, bufs))
    }

    /// Reads by [`Op::ReadClean`] until there are `least` bytes or the file ends.
    pub fn read_clean_at(
        &self,
        file: &Handle,
        offset: u64,
        least: usize,
        bufs: Bufs,
    ) -> (Bufs, io::Result<usize>) {
        self.at_least(least, offset, bufs, |offset, bufs| {
            moved(self.call(Op::ReadClean { file: file.clone(), offset, bufs }))
        })
    }

    /// Writes the whole window of `bufs`.
    pub fn write_all_at(&self, file: &Handle, offset: u64, bufs: Bufs) -> (Bufs, io::Result<()>) {
        let want = bufs.window().len();
        let (bufs, result) = self.whole(offset, bufs, |offset, bufs| self.write_at(file, offset, bufs));
        let result =
            result.and_then(|n| if n == want { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) });
        (bufs, result)
    }

    /// Repeats `step` over the window until all of it moved or a step moved nothing.
    fn whole(
        &self,
        offset: u64,
        bufs: Bufs,
        step: impl Fn(u64, Bufs) -> (Bufs, io::Result<usize>),
    ) -> (Bufs, io::Result<usize>) {
        self.at_least(bufs.window().len(), offset, bufs, step)
    }

    /// The same until so many bytes are done.
    fn at_least(
        &self,
        least: usize,
        offset: u64,
        mut bufs: Bufs,
        step: impl Fn(u64, Bufs) -> (Bufs, io::Result<usize>),
    ) -> (Bufs, io::Result<usize>) {
        let window = bufs.window();
        let mut moved = 0;
        let result = loop {
            if moved >= least.min(window.len()) {
                break Ok(moved);
            }
            bufs.set_window(window.start + moved..window.end);
            let (back, result) = step(offset + moved as u64, bufs);
            bufs = back;
            match result {
                Ok(0) => break Ok(moved),
                Ok(n) => moved += n.min(window.len() - moved),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        bufs.set_window(window);
        (bufs, result)
    }

    /// Describes an open file.
    pub fn stat_handle(&self, file: &Handle) -> io::Result<Stat> {
        stat(self.call(Op::StatHandle(file.clone())))
    }

    /// Describes what a name stands for, without following a final symlink.
    pub fn stat(&self, at: At) -> io::Result<Stat> {
        stat(self.call(Op::Stat(at)))
    }

    /// Length of an open file in bytes.
    pub fn len(&self, file: &Handle) -> io::Result<u64> {
        Ok(self.stat_handle(file)?.len)
    }

    /// Describes the file system of an open file.
    pub fn stat_fs(&self, file: &Handle) -> io::Result<FsStat> {
        match self.call(Op::StatFs(file.clone())).result? {
            Output::FsStat(stat) => Ok(stat),
            other => Err(unexpected(&other)),
        }
    }

    /// First byte at or after `offset` outside a hole; `None` when only holes follow.
    pub fn next_data(&self, file: &Handle, offset: u64) -> io::Result<Option<u64>> {
        match self.call(Op::NextData { file: file.clone(), offset }).result? {
            Output::Offset(offset) => Ok(offset),
            other => Err(unexpected(&other)),
        }
    }

    /// The path without symlinks.
    pub fn canonical(&self, path: impl Into<PathBuf>) -> io::Result<PathBuf> {
        match self.call(Op::Canonical(path.into())).result? {
            Output::Path(path) => Ok(path),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs an operation that yields nothing: allocate, set length, sync, create, rename, remove.
    pub fn run(&self, op: Op) -> io::Result<()> {
        self.call(op).result.map(drop)
    }

    /// Copies bytes between two files without reading them; returns how many.
    pub fn copy_range(&self, from: &Handle, to: &Handle, offset: u64, len: u64) -> io::Result<usize> {
        let (from, to) = (from.clone(), to.clone());
        moved(self.call(Op::CopyRange { from, to, offset, len })).1
    }

    /// Makes the file exactly `len` bytes long.
    pub fn set_len(&self, file: &Handle, len: u64) -> io::Result<()> {
        self.run(Op::SetLen { file: file.clone(), len })
    }

    /// Makes the file's content durable.
    pub fn sync_data(&self, file: &Handle) -> io::Result<()> {
        self.run(Op::SyncData(file.clone()))
    }

    /// Makes a file or a directory durable with everything about it.
    pub fn sync_all(&self, file: &Handle) -> io::Result<()> {
        self.run(Op::SyncAll(file.clone()))
    }
}

fn moved(completion: Completion) -> (Bufs, io::Result<usize>) {
    let result = completion.result.and_then(|output| match output {
        Output::Moved(n) => Ok(n),
        other => Err(unexpected(&other)),
    });
    (completion.bufs.unwrap_or_default(), result)
}

fn stat(completion: Completion) -> io::Result<Stat> {
    match completion.result? {
        Output::Stat(stat) => Ok(stat),
        other => Err(unexpected(&other)),
    }
}

/// A disk answered an operation with another one's output: a fault of that `Disk`, not of the file.
fn unexpected(output: &Output) -> io::Error {
    io::Error::other(format!("the disk answered with {output:?}"))
}
