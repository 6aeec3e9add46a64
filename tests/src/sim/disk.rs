//! Disks in memory behind the daemon's `Disk` trait: an operation waits until the simulation lets it
//! happen, and may fail. Each device is well or not by itself.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use wgod::files::disk::{At, Completion, FileKind, FsStat, Mtime, OnDone, OpenHow, OpenMode, Output, Stat};
use wgod::files::{Bufs, Disk, Handle, Op};

/// `ENOSPC` on Linux.
pub const NO_SPACE: i32 = 28;
/// `EIO` on Linux.
const IO: i32 = 5;

/// What a device does with operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// All of them.
    #[default]
    Well,
    /// None that writes.
    Full,
    /// They wait until it answers again.
    Hung,
    /// It is not mounted: none succeeds.
    Gone,
}

/// One device.
#[derive(Default)]
struct Device {
    condition: Condition,
    /// Times that it was pulled out. What was opened before leads nowhere.
    pulls: u32,
}

/// All files of one node.
#[derive(Default)]
pub struct SimDisk(Mutex<State>);

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Vec<u8>>,
    /// What is left of each file when its device is pulled out.
    synced: Vec<Vec<u8>>,
    devices: BTreeMap<u64, Device>,
    waiting: BTreeMap<u64, (Op, OnDone)>,
    submitted: Vec<u64>,
    next: u64,
    /// Operations that a device which hangs owes.
    owed: BTreeSet<u64>,
}

struct File {
    number: usize,
    device: u64,
    pulls: u32,
}

/// The device of a path: `/N/…` is on device N.
pub fn device_of(path: &Path) -> u64 {
    let name = path.components().nth(1).and_then(|name| name.as_os_str().to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a panic ends the simulation")
    }

    /// Operations submitted since the last call.
    pub fn submitted(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().submitted)
    }

    /// Operations that have not happened.
    pub fn waiting(&self) -> Vec<u64> {
        self.state().waiting.keys().copied().collect()
    }

    /// Lets an operation happen, if its device answers.
    pub fn finish(&self, number: u64) {
        let mut state = self.state();
        let hangs = |(op, _): &(Op, OnDone)| state.condition(state.device_of_op(op)) == Condition::Hung;
        if state.waiting.get(&number).is_some_and(hangs) {
            state.owed.insert(number);
            return;
        }
        let Some((op, done)) = state.waiting.remove(&number) else { return };
        let completion = state.perform(op);
        drop(state);
        done(completion);
    }

    /// Loses every operation that has not happened: a crash.
    pub fn lose_waiting(&self) {
        let lost = std::mem::take(&mut self.state().waiting);
        self.state().submitted.clear();
        self.state().owed.clear();
        drop(lost);
    }

    /// Sets how a device is. What it owed counts as submitted again.
    pub fn set(&self, device: u64, condition: Condition) {
        let mut state = self.state();
        state.devices.entry(device).or_default().condition = condition;
        let owed = std::mem::take(&mut state.owed);
        state.submitted.extend(owed);
    }

    pub fn condition(&self, device: u64) -> Condition {
        self.state().condition(device)
    }

    /// Pulls a device out: what was not synced is lost, and what is open leads nowhere.
    pub fn pull(&self, device: u64) {
        let mut state = self.state();
        let entry = state.devices.entry(device).or_default();
        (entry.condition, entry.pulls) = (Condition::Gone, entry.pulls + 1);
        let on_it: Vec<usize> =
            state.names.iter().filter(|(path, _)| device_of(path) == device).map(|(_, file)| *file).collect();
        for file in on_it {
            state.files[file] = state.synced[file].clone();
        }
    }

    /// Times that a device was pulled out.
    pub fn pulls(&self, device: u64) -> u32 {
        self.state().devices.get(&device).map_or(0, |device| device.pulls)
    }

    /// Makes a file durable as it is: what a scenario put there.
    pub fn settle(&self, path: &Path) {
        let mut state = self.state();
        let file = state.file_of(path);
        state.synced[file] = state.files[file].clone();
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &Path) -> bool {
        self.state().names.contains_key(path)
    }

    /// Forgets a file.
    pub fn unlink(&self, path: &Path) {
        self.state().names.remove(path);
    }

    pub fn set_full(&self, full: bool) {
        self.set(0, if full { Condition::Full } else { Condition::Well });
    }

    /// The bytes of a file, for whoever checks or spoils them.
    pub fn with_file<R>(&self, path: &Path, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
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
        self.synced.push(Vec::new());
        self.names.insert(path.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn condition(&self, device: u64) -> Condition {
        self.devices.get(&device).map(|device| device.condition).unwrap_or_default()
    }

    fn device_of_op(&self, op: &Op) -> u64 {
        let of = |file: &Handle| file.inner::<File>().map_or(0, |file| file.device);
        match op {
            Op::Open { at, .. } => device_of(&at.path),
            Op::Read { file, .. } | Op::Write { file, .. } => of(file),
            Op::SyncData(file) | Op::SyncAll(file) | Op::SyncFs(file) | Op::StatHandle(file) => of(file),
            _ => 0,
        }
    }

    /// The file of a handle, if its device can be reached through it.
    fn reach(&self, file: &Handle) -> io::Result<usize> {
        let File { number, device, pulls } = *file.inner::<File>()?;
        let known = self.devices.get(&device);
        let lost = known.is_some_and(|device| device.condition == Condition::Gone || device.pulls != pulls);
        if lost { Err(io::Error::from_raw_os_error(IO)) } else { Ok(number) }
    }

    fn perform(&mut self, op: Op) -> Completion {
        match op {
            Op::Read { file, offset, mut bufs } => {
                let result = self.reach(&file).map(|file| self.read(file, offset, &mut bufs));
                Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
            }
            Op::Write { file, offset, bufs } => {
                let device = file.inner::<File>().map_or(0, |file| file.device);
                let full = self.condition(device) == Condition::Full;
                let refused = || io::Error::from_raw_os_error(NO_SPACE);
                let file = self.reach(&file).and_then(|file| if full { Err(refused()) } else { Ok(file) });
                let result = file.map(|file| self.write(file, offset, &bufs));
                Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
            }
            other => self.small(other).into(),
        }
    }

    fn small(&mut self, op: Op) -> io::Result<Output> {
        match op {
            Op::Open { at: At { dir: None, path }, how: OpenHow { mode, .. } } => {
                let device = device_of(&path);
                let gone = self.condition(device) == Condition::Gone;
                if gone || (!matches!(mode, OpenMode::Create { .. }) && !self.names.contains_key(&path)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let pulls = self.devices.get(&device).map_or(0, |device| device.pulls);
                Ok(Output::Opened(Handle::new(File { number: self.file_of(&path), device, pulls })))
            }
            Op::SetLen { file, len } | Op::Allocate { file, len } => {
                let file = self.reach(&file)?;
                self.files[file].resize(len as usize, 0);
                Ok(Output::Nothing)
            }
            Op::SyncData(file) | Op::SyncAll(file) | Op::SyncFs(file) => {
                let file = self.reach(&file)?;
                self.synced[file] = self.files[file].clone();
                Ok(Output::Nothing)
            }
            Op::StatHandle(file) => {
                let inode = self.reach(&file)?;
                let (kind, len) = (FileKind::File, self.files[inode].len() as u64);
                let inode = inode as u64;
                Ok(Output::Stat(Stat { kind, len, mtime: Mtime::default(), device: 0, inode }))
            }
            Op::StatFs(file) => {
                let full = self.condition(file.inner::<File>()?.device) == Condition::Full;
                let free = if full { 0 } else { 1 << 40 };
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

    fn write(&mut self, file: usize, offset: u64, bufs: &Bufs) -> usize {
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
        at - offset as usize
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

    fn device_hint(&self, path: &Path) -> u64 {
        device_of(path)
    }
}
