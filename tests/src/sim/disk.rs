//! A node's disks in memory, behind the daemon's `Disk` trait, which are what disks may be at their worst: full,
//! slow, hung, gone; failing single operations; and, when the power goes, without whatever no sync had covered.
//!
//! `pages` is one file's bytes, `tree` the names. Operations happen at once: the simulation decides when a job runs
//! (`jobs`), so nothing is asked of a device that hangs. Every choice is made by the world's seed.
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use wgo_core::Time;
use wgod::files::disk::OnDone;
use wgod::files::{Disk, Handle, Op};

mod operations;
mod pages;
mod tree;

pub use pages::Ending;
use pages::Pages;
use tree::{Inode, Kind, ROOT, Tree};

/// When a world begins, by the clocks of its disks: file times are after it.
const EPOCH: Duration = Duration::from_secs(1_600_000_000);
/// Bytes of a device that has no limit.
const LARGE: u64 = 1 << 40;

/// What a device does with operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// All of them.
    #[default]
    Well,
    /// None that writes, as where an administrator's quota is used up.
    Full,
    /// They wait until it answers again.
    Hung,
    /// It is not mounted: none succeeds.
    Gone,
}

/// What single operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    Reads,
    Writes,
    Syncs,
}

/// One device.
#[derive(Clone, Copy, Debug, Default)]
struct Device {
    condition: Condition,
    /// Times that it was pulled out. What was opened before leads nowhere.
    pulls: u32,
    /// Bytes that it holds; no end of them where there is none.
    capacity: Option<u64>,
}

/// All files of one node.
#[derive(Default)]
pub struct SimDisk(Mutex<State>);

#[derive(Default)]
struct State {
    tree: Tree,
    devices: BTreeMap<u64, Device>,
    now: Duration,
    /// Operations so far that change something or sync.
    changes: u64,
    /// So many of them are still done; then the power goes.
    until_dark: Option<u64>,
    /// The power is gone: nothing is done any more.
    dark: bool,
    /// What fails on a device, and how often.
    failing: Vec<(u64, Failing, u32)>,
    /// A sync of a whole device lost what somebody had written to it who may not have asked for the sync.
    lost_unheard: bool,
}

struct Open {
    inode: Inode,
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

    /// What its clock says.
    pub fn set_now(&self, now: Time) {
        self.state().now = EPOCH + now.since_start();
    }

    pub fn set(&self, device: u64, condition: Condition) {
        self.state().devices.entry(device).or_default().condition = condition;
    }

    pub fn condition(&self, device: u64) -> Condition {
        self.state().device(device).condition
    }

    pub fn set_full(&self, full: bool) {
        self.set(0, if full { Condition::Full } else { Condition::Well });
    }

    /// A device holds so many bytes from now on.
    pub fn set_capacity(&self, device: u64, bytes: Option<u64>) {
        self.state().devices.entry(device).or_default().capacity = bytes;
    }

    /// The next so many operations of a kind fail on a device with `EIO`, whatever file they are for.
    pub fn fail(&self, device: u64, what: Failing, times: u32) {
        self.state().failing.push((device, what, times));
    }

    /// Nothing that was to fail fails any more.
    pub fn mend(&self) {
        self.state().failing.clear();
    }

    /// Whether a sync of a whole device failed: other torrents than the one that asked for it read what they have lost, until
    /// their own sync tells them.
    pub fn has_lost_unheard(&self) -> bool {
        self.state().lost_unheard
    }

    /// Pulls a device out: what was not synced is lost, and what is open leads nowhere.
    pub fn pull(&self, device: u64) {
        let mut state = self.state();
        let entry = state.devices.entry(device).or_default();
        (entry.condition, entry.pulls) = (Condition::Gone, entry.pulls + 1);
        let nothing = Ending { kept: 0, torn: 0 };
        state.tree.cut(&mut fastrand::Rng::with_seed(0), nothing, |on| on == device);
    }

    /// Times that a device was pulled out.
    pub fn pulls(&self, device: u64) -> u32 {
        self.state().device(device).pulls
    }

    /// The power goes after so many more operations that change something, in the middle of the next.
    pub fn cut_after(&self, changes: u64) {
        self.state().until_dark = Some(changes);
    }

    /// Nothing is done any more, or everything again: for whoever lets go of what a process had.
    pub fn set_dark(&self, dark: bool) {
        let mut state = self.state();
        (state.dark, state.until_dark) = (dark, None);
    }

    /// Length and time of a file.
    pub fn stat(&self, path: &Path) -> Option<(u64, Duration)> {
        let state = self.state();
        let file = state.tree.file(state.tree.find(ROOT, path).ok()?).ok()?;
        Some((file.len(), file.mtime()))
    }

    /// Whether the power is gone.
    pub fn is_dark(&self) -> bool {
        self.state().dark
    }

    /// Operations so far that change something or sync.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The power is back; of what no sync had covered there is what `ending` leaves. Devices are well.
    pub fn cut(&self, rng: &mut fastrand::Rng, ending: Ending) {
        let mut state = self.state();
        state.tree.cut(rng, ending, |_| true);
        (state.dark, state.until_dark) = (false, None);
        state.failing.clear();
    }

    /// Makes everything durable as it is: what a scenario put there.
    pub fn settle(&self, path: &Path) {
        let device = device_of(path);
        let mut state = self.state();
        state.tree.sync_folder(ROOT);
        state.tree.sync_device(device);
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &Path) -> bool {
        self.state().tree.find(ROOT, path).is_ok()
    }

    /// Forgets a file.
    pub fn unlink(&self, path: &Path) {
        let mut state = self.state();
        if let Ok((folder, name)) = state.tree.place(ROOT, path) {
            drop(state.tree.remove(folder, name, false));
        }
    }

    /// Makes a folder, with those that it is in, durably.
    pub fn make_folder(&self, path: &Path) {
        let mut state = self.state();
        state.make_folders(path);
        state.tree.sync_folder(ROOT);
        state.tree.sync_device(device_of(path));
    }

    /// Puts bytes into a file of at least `len` bytes, which is made if need be: by somebody else, and not durably.
    pub fn plant(&self, path: &Path, len: u64, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        let now = state.now;
        let file = state.file_of(path);
        if file.len() < len {
            file.set_len(now, len);
        }
        file.write(now, offset, bytes);
    }

    /// Whether a file has these bytes there.
    pub fn holds(&self, path: &Path, offset: u64, want: &[u8]) -> bool {
        let state = self.state();
        let Ok(inode) = state.tree.find(ROOT, path) else { return want.is_empty() };
        let mut found = vec![0; want.len()];
        state.tree.file(inode).is_ok_and(|file| file.read(offset, &mut found) == want.len() && found == want)
    }

    /// A byte of a file changes where it lies; nobody is told, and its time stays.
    pub fn rot(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.state();
        state.file_of(path).rot(offset, mask);
    }

    /// The bytes of a file, for whoever checks or spoils them: that is durable at once, and leaves its time.
    pub fn with_file<R>(&self, path: &Path, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut state = self.state();
        let file = state.file_of(path);
        let mut bytes = vec![0; file.len() as usize];
        file.read(0, &mut bytes);
        let before = bytes.clone();
        let out = f(&mut bytes);
        for (at, (old, new)) in before.iter().zip(&bytes).enumerate().filter(|(_, (old, new))| old != new) {
            file.rot(at as u64, old ^ new);
        }
        out
    }
}

impl State {
    fn device(&self, number: u64) -> Device {
        self.devices.get(&number).copied().unwrap_or_default()
    }

    /// A folder, made if need be.
    fn make_folders(&mut self, path: &Path) -> Inode {
        let mut at = ROOT;
        let device = device_of(path);
        for name in path.iter().skip(1) {
            at = match self.tree.entry(at, name) {
                Some(inode) => inode,
                None => self
                    .tree
                    .make(at, name, Kind::Folder(tree::Folder::default()), device)
                    .expect("it is in a folder, and isn't there"),
            };
        }
        at
    }

    fn file_of(&mut self, path: &Path) -> &mut Pages {
        let folder = self.make_folders(path.parent().unwrap_or(Path::new("/")));
        let name = path.file_name().expect("a file has a name");
        let inode = match self.tree.entry(folder, name) {
            Some(inode) => inode,
            None => self
                .tree
                .make(folder, name, Kind::File(Pages::default()), device_of(path))
                .expect("it is in a folder, and isn't there"),
        };
        self.tree.file_mut(inode).expect("a scenario's file is no folder")
    }
}

impl Disk for SimDisk {
    fn submit(&self, op: Op, done: OnDone) {
        let completion = self.state().perform(op);
        done(completion);
    }

    fn read_nowait(&self, _: &Handle, _: u64, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn release(&self, file: &Handle, _: std::ops::Range<u64>) {
        let mut state = self.state();
        if let Ok(pages) = state.reach(file).and_then(|inode| state.tree.file_mut(inode)) {
            pages.forget();
        }
    }

    fn device_hint(&self, path: &Path) -> u64 {
        device_of(path)
    }
}
