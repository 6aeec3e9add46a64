//! A disk in memory behind the daemon's `Disk` trait: an operation waits until the simulation lets it
//! happen, and may fail.
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use wgod::files::disk::{At, Completion, FileKind, FsStat, Mtime, OnDone, OpenHow, OpenMode, Output, Stat};
use wgod::files::{Bufs, Disk, Handle, Op};

/// `ENOSPC` on Linux.
const NO_SPACE: i32 = 28;

/// All files of one node.
#[derive(Default)]
pub(crate) struct SimDisk(Mutex<State>);

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Vec<u8>>,
    waiting: BTreeMap<u64, (Op, OnDone)>,
    submitted: Vec<u64>,
    next: u64,
    full: bool,
}

struct File(usize);

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a panic ends the simulation")
    }

    /// Operations submitted since the last call.
    pub(crate) fn submitted(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().submitted)
    }

    /// Operations that have not happened.
    pub(crate) fn waiting(&self) -> Vec<u64> {
        self.state().waiting.keys().copied().collect()
    }

    /// Lets an operation happen.
    pub(crate) fn finish(&self, number: u64) {
        let Some((op, done)) = self.state().waiting.remove(&number) else { return };
        let completion = self.state().perform(op);
        done(completion);
    }

    /// Loses every operation that has not happened: a crash.
    pub(crate) fn lose_waiting(&self) {
        let lost = std::mem::take(&mut self.state().waiting);
        self.state().submitted.clear();
        drop(lost);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state().full
    }

    /// The bytes of a file, for whoever checks or spoils them.
    pub(crate) fn with_file<R>(&self, path: &Path, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut state = self.state();
        let file = state.file_of(path);
        f(&mut state.files[file])
    }
}

impl State {
    fn file_of(&mut self, path: &Path) -> usize {
        if let Some(&file) = self.names.get(path) {
            return file;
        }
        self.files.push(Vec::new());
        self.names.insert(path.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn perform(&mut self, op: Op) -> Completion {
        match op {
            Op::Read { file, offset, mut bufs } => {
                let result = file.inner::<File>().map(|f| self.read(f.0, offset, &mut bufs));
                Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
            }
            Op::Write { file, offset, bufs } => {
                let result = file.inner::<File>().and_then(|f| self.write(f.0, offset, &bufs));
                Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
            }
            other => self.small(other).into(),
        }
    }

    fn small(&mut self, op: Op) -> io::Result<Output> {
        match op {
            Op::Open { at: At { dir: None, path }, how: OpenHow { mode, .. } } => {
                if !matches!(mode, OpenMode::Create { .. }) && !self.names.contains_key(&path) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok(Output::Opened(Handle::new(File(self.file_of(&path)))))
            }
            Op::SetLen { file, len } | Op::Allocate { file, len } => {
                let file = file.inner::<File>()?.0;
                self.files[file].resize(len as usize, 0);
                Ok(Output::Nothing)
            }
            Op::SyncData(file) | Op::SyncAll(file) | Op::SyncFs(file) => {
                file.inner::<File>()?;
                Ok(Output::Nothing)
            }
            Op::StatHandle(file) => {
                let inode = file.inner::<File>()?.0;
                let (kind, len) = (FileKind::File, self.files[inode].len() as u64);
                let inode = inode as u64;
                Ok(Output::Stat(Stat { kind, len, mtime: Mtime::default(), device: 1, inode }))
            }
            Op::StatFs(_) => {
                let free = if self.full { 0 } else { 1 << 40 };
                Ok(Output::FsStat(FsStat { free, total: 1 << 40, in_memory: false }))
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn read(&self, file: usize, offset: u64, bufs: &mut Bufs) -> usize {
        let mut at = offset as usize;
        for slice in &mut bufs.slices_mut() {
            let rest = self.files[file].get(at..).unwrap_or_default();
            let n = rest.len().min(slice.len());
            slice[..n].copy_from_slice(&rest[..n]);
            at += n;
        }
        at - offset as usize
    }

    fn write(&mut self, file: usize, offset: u64, bufs: &Bufs) -> io::Result<usize> {
        if self.full {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        let mut at = offset as usize;
        for slice in bufs.slices() {
            let end = at + slice.len();
            let bytes = &mut self.files[file];
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(&slice);
            at = end;
        }
        Ok(at - offset as usize)
    }
}

impl Disk for SimDisk {
    fn submit(&self, op: Op, done: OnDone) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, (op, done));
        state.submitted.push(number);
    }

    fn read_nowait(&self, _: &Handle, _: u64, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn device_hint(&self, _: &Path) -> u64 {
        1
    }
}
