//! What operations do to a simulated disk, one at a time.
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use wgod::files::disk::{At, Completion, FileKind, FsStat, Mtime, OpenHow, OpenMode, Output, Stat};
use wgod::files::{Bufs, Handle, Op};

use super::pages::{PAGE, Pages};
use super::tree::{self, Inode, Kind, ROOT};
use super::{Condition, Device, Failing, LARGE, Open, State, device_of};

impl State {
    /// A change or a sync begins: an error once the power is gone, and for the one in which it goes.
    fn change(&mut self) -> io::Result<()> {
        if self.dark {
            return Err(Errno::IO.into());
        }
        self.changes += 1;
        match &mut self.until_dark {
            Some(0) => {
                self.dark = true;
                Err(Errno::IO.into())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether an operation is one of those that fail.
    fn fails(&mut self, device: u64, what: Failing) -> bool {
        let planned = self.failing.iter_mut().find(|(on, kind, _)| (*on, *kind) == (device, what));
        let fails = planned.is_some_and(|(_, _, left)| {
            *left -= 1;
            true
        });
        self.failing.retain(|(_, _, left)| *left > 0);
        fails
    }

    /// A random source for this operation.
    fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.changes ^ self.now.as_nanos() as u64)
    }

    /// What is behind a handle, if its device can be reached through it.
    pub(super) fn reach(&self, file: &Handle) -> io::Result<Inode> {
        let Open { inode, device, pulls } = *file.inner::<Open>()?;
        let known = self.device(device);
        let lost = known.condition == Condition::Gone || known.pulls != pulls;
        if lost || self.dark { Err(Errno::IO.into()) } else { Ok(inode) }
    }

    /// The folder that a name is relative to, if its device is there.
    fn base(&self, at: &At) -> io::Result<Inode> {
        if let Some(dir) = &at.dir {
            return self.reach(dir);
        }
        let gone = self.device(device_of(&at.path)).condition == Condition::Gone;
        if gone || self.dark { Err(Errno::IO.into()) } else { Ok(ROOT) }
    }

    pub(super) fn perform(&mut self, op: Op) -> Completion {
        match op {
            Op::Read { file, offset, mut bufs } | Op::ReadClean { file, offset, mut bufs } => {
                let result = self.read(&file, offset, &mut bufs);
                Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
            }
            Op::Write { file, offset, bufs } => {
                let result = self.write(&file, offset, &bufs);
                Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
            }
            Op::Open { at, how } => self.open(&at, how).map(Output::Opened).into(),
            Op::SetLen { .. } | Op::Allocate { .. } | Op::SetTime { .. } => {
                self.resize(op).map(|()| Output::Nothing).into()
            }
            Op::SyncData(file) | Op::SyncAll(file) => self.sync(&file).map(|()| Output::Nothing).into(),
            Op::SyncFs(file) => self.sync_fs(&file).map(|()| Output::Nothing).into(),
            Op::StatHandle(_) | Op::Stat(_) | Op::StatFs(_) | Op::NextData { .. } | Op::Canonical(_) => {
                self.look(op).into()
            }
            names => self.rename(names).map(|()| Output::Nothing).into(),
        }
    }

    fn open(&mut self, at: &At, how: OpenHow) -> io::Result<Handle> {
        let base = self.base(at)?;
        let found = self.tree.find(base, &at.path);
        let inode = match (how.mode, found) {
            (OpenMode::CreateNew { .. }, Ok(_)) => return Err(Errno::EXIST.into()),
            (OpenMode::Dir, Ok(inode)) if matches!(self.tree.kind(inode), Kind::File(_)) => {
                return Err(Errno::NOTDIR.into());
            }
            (OpenMode::Dir, found) => found?,
            (_, Ok(inode)) => self.tree.file(inode).map(|_| inode)?,
            (OpenMode::Create { .. } | OpenMode::CreateNew { .. }, Err(e)) if is_missing(&e) => {
                let (folder, name) = self.tree.place(base, &at.path)?;
                self.change()?;
                let device = self.tree.device(folder);
                self.tree.make(folder, name, Kind::File(Pages::default()), device)?
            }
            (_, Err(e)) => return Err(e),
        };
        let device = self.tree.device(inode);
        Ok(Handle::new(Open { inode, device, pulls: self.device(device).pulls }))
    }

    fn read(&mut self, file: &Handle, offset: u64, bufs: &mut Bufs) -> io::Result<usize> {
        let inode = self.reach(file)?;
        if self.fails(self.tree.device(inode), Failing::Reads) {
            return Err(Errno::IO.into());
        }
        let pages = self.tree.file(inode)?;
        let mut moved = 0;
        for slice in &mut bufs.slices_mut() {
            moved += pages.read(offset + moved as u64, slice);
        }
        Ok(moved)
    }

    fn write(&mut self, file: &Handle, offset: u64, bufs: &Bufs) -> io::Result<usize> {
        let inode = self.reach(file)?;
        let device = self.tree.device(inode);
        if self.device(device).condition == Condition::Full {
            return Err(Errno::NOSPC.into());
        }
        let bytes: Vec<u8> = bufs.slices().iter().flat_map(|slice| slice.iter().copied()).collect();
        let fits = self.room_for(inode, offset, bytes.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(Errno::NOSPC.into());
        }
        let result = self.change();
        let fails = self.fails(device, Failing::Writes);
        // A part of it may have been done.
        let done = if fails || result.is_err() { fits / 2 } else { fits };
        let now = self.now;
        self.tree.file_mut(inode)?.write(now, offset, &bytes[..done]);
        result?;
        if fails { Err(Errno::IO.into()) } else { Ok(done) }
    }

    /// Of so many bytes, those that there is room for.
    fn room_for(&self, inode: Inode, offset: u64, len: usize) -> usize {
        let device = self.tree.device(inode);
        let (Some(_), Ok(file)) = (self.device(device).capacity, self.tree.file(inode)) else { return len };
        let free = self.free(device) / PAGE as u64;
        if file.needs(offset, len) <= free {
            return len;
        }
        // Whole pages up to the first that finds no place.
        let ends =
            |pages: u64| ((offset / PAGE as u64 + pages) * PAGE as u64).saturating_sub(offset) as usize;
        (1..).map(ends).take_while(|end| *end < len && file.needs(offset, *end) <= free).last().unwrap_or(0)
    }

    fn free(&self, device: u64) -> u64 {
        match self.device(device) {
            Device { condition: Condition::Full, .. } => 0,
            Device { capacity: Some(all), .. } => all.saturating_sub(self.tree.used(device) * PAGE as u64),
            _ => LARGE,
        }
    }

    fn resize(&mut self, op: Op) -> io::Result<()> {
        let (Op::SetLen { file, .. } | Op::Allocate { file, .. } | Op::SetTime { file, .. }) = &op else {
            return Err(Errno::OPNOTSUPP.into());
        };
        let inode = self.reach(file)?;
        let (device, now) = (self.tree.device(inode), self.now);
        if let Op::Allocate { len, .. } = op {
            let wants = self.tree.file(inode)?.needs(0, len as usize) * PAGE as u64;
            if self.device(device).condition == Condition::Full || wants > self.free(device) {
                return Err(Errno::NOSPC.into());
            }
        }
        self.change()?;
        let pages = self.tree.file_mut(inode)?;
        match op {
            Op::SetLen { len, .. } => pages.set_len(now, len),
            Op::Allocate { len, .. } => pages.allocate(now, len),
            _ => {}
        }
        Ok(())
    }

    fn sync(&mut self, file: &Handle) -> io::Result<()> {
        let inode = self.reach(file)?;
        self.change()?;
        let untold = self.tree.file_mut(inode).is_ok_and(Pages::take_untold);
        let fails = self.fails(self.tree.device(inode), Failing::Syncs);
        let mut chance = self.chance();
        match (self.tree.file_mut(inode), fails) {
            (Ok(pages), false) => pages.sync(),
            (Ok(pages), true) => {
                let reverts = chance.bool();
                pages.fail_sync(&mut chance, reverts);
            }
            // What a journal didn't take, it takes the next time.
            (Err(_), true) => {}
            (Err(_), false) => self.tree.sync_folder(inode),
        }
        if fails || untold { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn sync_fs(&mut self, file: &Handle) -> io::Result<()> {
        let inode = self.reach(file)?;
        self.change()?;
        let device = self.tree.device(inode);
        if !self.fails(device, Failing::Syncs) {
            self.tree.sync_device(device);
            return Ok(());
        }
        let mut chance = self.chance();
        let reverts = chance.bool();
        self.tree.files_mut(device).for_each(|pages| pages.fail_sync_of_all(&mut chance, reverts));
        self.lost_unheard = true;
        Err(Errno::IO.into())
    }

    fn look(&self, op: Op) -> io::Result<Output> {
        match op {
            Op::StatHandle(file) => Ok(Output::Stat(self.stat(self.reach(&file)?))),
            Op::Stat(at) => Ok(Output::Stat(self.stat(self.tree.find(self.base(&at)?, &at.path)?))),
            Op::StatFs(file) => {
                let device = self.tree.device(self.reach(&file)?);
                let total = self.device(device).capacity.unwrap_or(LARGE);
                Ok(Output::FsStat(FsStat { free: self.free(device), total, in_memory: false }))
            }
            Op::NextData { file, offset } => {
                Ok(Output::Offset(self.tree.file(self.reach(&file)?)?.next_data(offset)))
            }
            Op::Canonical(path) => {
                self.tree.find(self.base(&At::path(&path))?, &path).map(|_| Output::Path(path))
            }
            _ => Err(Errno::OPNOTSUPP.into()),
        }
    }

    fn stat(&self, inode: Inode) -> Stat {
        let (kind, len, mtime) = match self.tree.kind(inode) {
            Kind::File(pages) => (FileKind::File, pages.len(), pages.mtime()),
            Kind::Folder(_) => (FileKind::Dir, 0, Duration::ZERO),
        };
        let mtime = Mtime { secs: mtime.as_secs() as i64, nanos: mtime.subsec_nanos() };
        Stat { kind, len, mtime, device: self.tree.device(inode), inode: inode as u64 }
    }

    /// Does what changes names.
    fn rename(&mut self, op: Op) -> io::Result<()> {
        let place = |state: &State, at: &At| -> io::Result<(Inode, PathBuf)> {
            let (folder, name) = state.tree.place(state.base(at)?, &at.path)?;
            Ok((folder, name.into()))
        };
        match op {
            Op::CreateDir { at, .. } => {
                let (folder, name) = place(self, &at)?;
                self.change()?;
                let device = self.tree.device(folder);
                let device = if folder == ROOT { device_of(&at.path) } else { device };
                let kind = Kind::Folder(tree::Folder::default());
                self.tree.make(folder, name.as_os_str(), kind, device).map(drop)
            }
            Op::Rename { ref from, ref to } | Op::RenameNew { ref from, ref to } => {
                let (from, to) = (place(self, from)?, place(self, to)?);
                self.change()?;
                let replaces = matches!(op, Op::Rename { .. });
                self.tree.rename((from.0, from.1.as_os_str()), (to.0, to.1.as_os_str()), replaces)
            }
            Op::Link { from, to } => {
                let file = self.tree.find(self.base(&from)?, &from.path)?;
                let (folder, name) = place(self, &to)?;
                self.change()?;
                self.tree.link(file, folder, name.as_os_str())
            }
            Op::Unlink(ref at) | Op::RemoveDir(ref at) => {
                let (folder, name) = place(self, at)?;
                if self.tree.entry(folder, name.as_os_str()).is_none() {
                    return Err(Errno::NOENT.into());
                }
                self.change()?;
                self.tree.remove(folder, name.as_os_str(), matches!(op, Op::RemoveDir(_)))
            }
            // No read-ahead, no copies within the disk, no symlinks: what uses them goes on without.
            _ => Err(Errno::OPNOTSUPP.into()),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOENT.raw_os_error())
}
