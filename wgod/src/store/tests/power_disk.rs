//! A disk in memory that loses power, or fails, at a chosen operation.
//!
//! It keeps apart what was done to a file since its last sync from what is durable. A cut keeps all
//! of the unsynced part (the process died, the kernel didn't), none, or a random half of it, torn
//! between sectors and in any order; names survive as a prefix of what was done to them. After a
//! failed sync the content reads as before, but no later sync makes it durable: it has to be written
//! again.
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rustix::io::Errno;

use crate::files::Disk;
use crate::files::disk::{At, Completion, FileKind, Handle, Mtime, OnDone, Op, OpenMode, Output, Stat};

/// Written to the platter whole or not at all.
const SECTOR: usize = 512;

/// Clones are one disk.
#[derive(Clone, Debug)]
pub(in crate::store) struct PowerDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    held: tokio::sync::Notify,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameStep>,
    /// Operations so far that change something or sync.
    ops: u64,
    /// The operation at which the power goes.
    cut_at: Option<u64>,
    /// Operations that fail, and how.
    fault: Option<Fault>,
    hold_syncs: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum NameStep {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// Operations from `from` on, `count` of them, fail with `errno`; a write after half of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Fault {
    pub(super) from: u64,
    pub(super) count: u64,
    pub(super) errno: Errno,
}

/// What of the unsynced part a cut leaves.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Survives {
    /// All: only the process ended.
    All,
    Nothing,
    /// Random halves, by seed.
    Some(u64),
}

/// What a handle refers to; a directory has no inode.
struct Open(Option<usize>);

/// Syncs wait while it lives.
pub(in crate::store) struct Gate(PowerDisk);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.state().hold_syncs = false;
        self.0.0.released.notify_all();
    }
}

impl PowerDisk {
    pub(in crate::store) fn new() -> PowerDisk {
        PowerDisk(Arc::default())
    }

    fn with(state: State) -> PowerDisk {
        let disk = PowerDisk::new();
        *disk.state() = state;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Operations so far.
    pub(in crate::store) fn ops(&self) -> u64 {
        self.state().ops
    }

    /// The power goes at operation number `at`.
    pub(in crate::store) fn cut_at(&self, at: u64) {
        self.state().cut_at = Some(at);
    }

    pub(in crate::store) fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Makes the next sync, and those after it, wait until the gate is dropped.
    pub(in crate::store) fn hold_syncs(&self) -> Gate {
        self.state().hold_syncs = true;
        Gate(self.clone())
    }

    /// A sync waits at the gate.
    pub(super) async fn sync_is_held(&self) {
        self.0.held.notified().await;
    }

    /// Damages what is in a file, durably.
    pub(in crate::store) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[Path::new(name)];
        edit(&mut state.inodes[inode].now);
        state.inodes[inode].durable = state.inodes[inode].now.clone();
    }

    /// Renames a file, durably.
    pub(super) fn rename(&self, from: &str, to: &str) {
        let mut state = self.state();
        let step = NameStep::Rename(from.into(), to.into());
        rename(&mut state.names, &step);
        state.pending_names.clear();
        state.durable_names = state.names.clone();
    }

    /// The content of a file, as reads show it.
    pub(in crate::store) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(Path::new(name)).map(|&inode| state.inodes[inode].now.clone())
    }

    /// The disk as a restart finds it.
    pub(in crate::store) fn restart(&self, survives: Survives) -> PowerDisk {
        let mut state = self.state().clone();
        (state.ops, state.cut_at, state.fault, state.hold_syncs) = (0, None, None, false);
        let mut random = match survives {
            Survives::All => {
                state.pending_names.clear();
                state.durable_names = state.names.clone();
                // What reads show, also where a sync had failed.
                state.inodes.iter_mut().for_each(|inode| inode.durable = inode.now.clone());
                state.inodes.iter_mut().for_each(|inode| inode.pending.clear());
                return PowerDisk::with(state);
            }
            Survives::Nothing => None,
            Survives::Some(seed) => Some(fastrand::Rng::with_seed(seed)),
        };
        for inode in &mut state.inodes {
            for step in std::mem::take(&mut inode.pending) {
                if let Some(random) = &mut random {
                    survive(&mut inode.durable, &step, random);
                }
            }
            inode.now = inode.durable.clone();
        }
        let steps = std::mem::take(&mut state.pending_names);
        let kept = random.map_or(0, |mut random| random.usize(..=steps.len()));
        steps[..kept].iter().for_each(|step| rename(&mut state.durable_names, step));
        state.names = state.durable_names.clone();
        PowerDisk::with(state)
    }
}

fn survive(durable: &mut Vec<u8>, step: &Step, random: &mut fastrand::Rng) {
    if random.bool() {
        return;
    }
    let whole = random.bool();
    match step {
        Step::Write(offset, bytes) if !whole => {
            let mut at = 0;
            while at < bytes.len() {
                let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                if random.bool() {
                    apply(durable, &Step::Write(offset + at, bytes[at..end].to_vec()));
                }
                at = end;
            }
        }
        step => apply(durable, step),
    }
}

fn apply(content: &mut Vec<u8>, step: &Step) {
    match step {
        Step::SetLen(len) => content.resize(*len, 0),
        Step::Write(offset, bytes) => {
            let end = offset + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*offset..end].copy_from_slice(bytes);
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, step: &NameStep) {
    match step {
        NameStep::Set(name, inode) => drop(names.insert(name.clone(), *inode)),
        NameStep::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameStep::Remove(name) => drop(names.remove(name)),
    }
}

impl State {
    /// Counts an operation; whether it is done, done in half, or not at all.
    fn step(&mut self) -> (bool, io::Result<()>) {
        let op = self.ops;
        self.ops += 1;
        if self.cut_at.is_some_and(|at| op >= at) {
            return (self.cut_at == Some(op), Err(Errno::IO.into()));
        }
        match self.fault {
            Some(fault) if (fault.from..fault.from + fault.count).contains(&op) => {
                (false, Err(fault.errno.into()))
            }
            _ => (true, Ok(())),
        }
    }

    fn change(&mut self, file: &Handle, step: Step) -> io::Result<()> {
        let (done, result) = self.step();
        let dead = self.cut_at.is_some_and(|at| self.ops > at + 1);
        let inode = &mut self.inodes[inode_of(file)];
        let step = match step {
            step if done => step,
            Step::Write(offset, bytes) if !dead => Step::Write(offset, bytes[..bytes.len() / 2].to_vec()),
            _ => return result,
        };
        apply(&mut inode.now, &step);
        inode.pending.push(step);
        result
    }

    fn sync(&mut self, file: &Handle) -> io::Result<()> {
        let (_, result) = self.step();
        let powerless = self.cut_at.is_some_and(|at| self.ops > at);
        match file.inner::<Open>().unwrap().0 {
            Some(inode) => {
                let inode = &mut self.inodes[inode];
                if result.is_ok() {
                    // Not `now`: what a failed sync lost stays lost.
                    std::mem::take(&mut inode.pending).iter().for_each(|s| apply(&mut inode.durable, s));
                } else if !powerless {
                    inode.pending.clear();
                }
            }
            None if result.is_ok() => {
                std::mem::take(&mut self.pending_names)
                    .iter()
                    .for_each(|step| rename(&mut self.durable_names, step));
            }
            None => {}
        }
        result
    }

    fn name(&mut self, step: NameStep) -> io::Result<()> {
        let (done, result) = self.step();
        if done {
            rename(&mut self.names, &step);
            self.pending_names.push(step);
        }
        result
    }

    fn open(&mut self, at: &At, mode: OpenMode) -> io::Result<Handle> {
        if mode == OpenMode::Dir {
            return Ok(Handle::new(Open(None)));
        }
        if let Some(&inode) = self.names.get(&at.path) {
            return Ok(Handle::new(Open(Some(inode))));
        }
        if !matches!(mode, OpenMode::Create { .. }) {
            return Err(Errno::NOENT.into());
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.name(NameStep::Set(at.path.clone(), inode))?;
        Ok(Handle::new(Open(Some(inode))))
    }

    fn perform(&mut self, op: Op) -> Completion {
        let result = match op {
            Op::Read { file, offset, mut bufs } => {
                let content = &self.inodes[inode_of(&file)].now;
                let mut rest = content.get(offset as usize..).unwrap_or_default();
                let all = rest.len();
                for slice in &mut bufs.slices_mut() {
                    let n = slice.len().min(rest.len());
                    slice[..n].copy_from_slice(&rest[..n]);
                    rest = &rest[n..];
                }
                return Completion { result: Ok(Output::Moved(all - rest.len())), bufs: Some(bufs) };
            }
            Op::Write { file, offset, bufs } => {
                let bytes: Vec<u8> = bufs.slices().iter().flat_map(|s| s.iter().copied()).collect();
                let len = bytes.len();
                let result = self.change(&file, Step::Write(offset as usize, bytes));
                return Completion { result: result.map(|()| Output::Moved(len)), bufs: Some(bufs) };
            }
            Op::SetLen { file, len } => self.change(&file, Step::SetLen(len as usize)),
            Op::SyncData(file) | Op::SyncAll(file) => self.sync(&file),
            Op::Rename { from, to } => self.name(NameStep::Rename(from.path, to.path)),
            Op::Unlink(at) if !self.names.contains_key(&at.path) => Err(Errno::NOENT.into()),
            Op::Unlink(at) => self.name(NameStep::Remove(at.path)),
            Op::Open { at, how } => return self.open(&at, how.mode).map(Output::Opened).into(),
            Op::StatHandle(file) => {
                let len = self.inodes[inode_of(&file)].now.len() as u64;
                let (kind, mtime) = (FileKind::File, Mtime::default());
                return Ok(Output::Stat(Stat { kind, len, mtime, device: 0, inode: 0 })).into();
            }
            other => panic!("the store doesn't do this: {other:?}"),
        };
        result.map(|()| Output::Nothing).into()
    }
}

fn inode_of(file: &Handle) -> usize {
    file.inner::<Open>().unwrap().0.unwrap()
}

impl Disk for PowerDisk {
    fn submit(&self, op: Op, done: OnDone) {
        let mut state = self.state();
        while state.hold_syncs && matches!(op, Op::SyncData(_)) {
            self.0.held.notify_one();
            state = self.0.released.wait(state).unwrap();
        }
        let completion = state.perform(op);
        drop(state);
        done(completion);
    }

    fn read_nowait(&self, _: &Handle, _: u64, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn device_hint(&self, _: &Path) -> u64 {
        0
    }
}

#[test]
fn what_a_failed_sync_lost_no_later_sync_makes_durable() {
    use crate::files::disk::OpenHow;
    use crate::files::{BlockingDisk, Bufs};

    let power = PowerDisk::new();
    let disk = BlockingDisk::new(Arc::new(power.clone()));
    let how = OpenHow { mode: OpenMode::Create { executable: false }, follow: false };
    let dir = disk.open(At::path("/"), OpenHow { mode: OpenMode::Dir, follow: true }).unwrap();
    let file = disk.open(At::inside(&dir, "f"), how).unwrap();
    disk.sync_all(&dir).unwrap();
    disk.write_all_at(&file, 0, Bufs::bytes(vec![1])).1.unwrap();
    power.fail(Some(Fault { from: power.ops(), count: 1, errno: Errno::IO }));
    disk.sync_data(&file).unwrap_err();
    disk.write_all_at(&file, 1, Bufs::bytes(vec![2])).1.unwrap();
    disk.sync_data(&file).unwrap();
    assert_eq!(power.content("f").unwrap(), [1, 2]);
    assert_eq!(power.restart(Survives::Nothing).content("f").unwrap(), [0, 2]);
}
