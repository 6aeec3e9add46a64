//! The real [`Disk`]: Linux system calls, completed on the calling thread.
//!
//! Each operation that a storage thread waits for is one system call on that thread; why not io_uring
//! is in ARCHITECTURE.md.
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, Advice, AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags, preadv, preadv2, pwritev};

use self::direct::{Direct, MIN_WRITE, Opened, Step};
use self::pull::Pulled;
use super::disk::{
    At, Completion, Disk, FileKind, FsStat, Handle, Mtime, OnDone, Op, OpenHow, OpenMode, Output, Stat,
    os_error,
};
use super::mounts::Mounts;

mod cachestat;
mod copy;
mod direct;
mod mode;
mod pull;
mod read_clean;

/// Longest buffered write. One of 1 MiB costs ten times as much a byte: it makes very large folios
/// (measured, see DESIGN).
const MAX_BUFFERED: usize = 256 * 1024;
/// Buffers of one system call at most (`IOV_MAX` of Linux).
const MAX_SLICES: usize = 1024;
/// Magic numbers of file systems whose files live in memory (`statfs(2)`).
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
/// The one of FUSE.
const FUSE_MAGIC: u64 = 0x6573_5546;

/// The machine's file systems.
#[derive(Debug, Default)]
pub struct RealDisk;

/// What a handle of [`RealDisk`] holds.
struct RealFile {
    fd: OwnedFd,
    /// Reads never wait: the file lives in memory. Of a folder asked for when a file is made in it, of a
    /// file when it is opened: what reads without waiting must not ask a file system that hangs.
    in_memory: OnceLock<bool>,
    /// Cleared when the file system turns out not to take `RWF_NOWAIT`.
    nowait: AtomicBool,
    direct: Direct,
    pulled: Pulled,
}

impl RealFile {
    fn new(fd: OwnedFd, access: OFlags) -> RealFile {
        RealFile {
            fd,
            in_memory: OnceLock::new(),
            nowait: AtomicBool::new(true),
            direct: Direct::new(access),
            pulled: Pulled::default(),
        }
    }

    fn is_in_memory(&self) -> bool {
        *self.in_memory.get_or_init(|| fs_stat(self.fd.as_fd()).is_ok_and(|stat| stat.in_memory))
    }

    /// The descriptor for direct transfers, if there can be one.
    fn direct(&self) -> Option<&Opened> {
        if self.is_in_memory() { None } else { self.direct.get(self.fd.as_fd()) }
    }
}

impl Disk for RealDisk {
    fn submit(&self, op: Op, done: OnDone) {
        done(perform(op));
    }

    fn perform(&self, op: Op) -> Completion {
        perform(op)
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let file: &RealFile = file.inner()?;
        let bufs = bufs.get_mut(..bufs.len().min(MAX_SLICES)).unwrap_or_default();
        if file.nowait.load(Ordering::Relaxed) {
            match preadv2(&file.fd, bufs, offset, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    file.nowait.store(false, Ordering::Relaxed)
                }
                result => return Ok(result?),
            }
        }
        if file.is_in_memory() {
            Ok(preadv(&file.fd, bufs, offset)?)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn device_hint(&self, path: &Path) -> u64 {
        self.mounts().holding(path).map_or(0, |mount| mount.device)
    }

    fn mounts(&self) -> Mounts {
        // procfs never waits for another file system.
        Mounts::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    fn is_rotational(&self, device: u64) -> bool {
        is_rotational(Path::new("/sys/dev/block"), device)
    }

    fn pull(&self, file: &Handle, range: Range<u64>) -> bool {
        file.inner().is_ok_and(|file| pull::pull(file, range))
    }

    fn release(&self, file: &Handle, range: Range<u64>) {
        if let Ok(file) = file.inner() {
            pull::release(file, range);
        }
    }
}

/// What the kernel says of a block device; a partition is asked for its disk. Anything else (a network, a
/// device that a file system made up) is not rotational.
fn is_rotational(devices: &Path, device: u64) -> bool {
    let folder = devices.join(format!("{}:{}", fs::major(device), fs::minor(device)));
    let says = |path| std::fs::read_to_string(folder.join(path)).ok();
    // Of a partition's link the parent is the disk's folder.
    says("queue/rotational").or_else(|| says("../queue/rotational")).is_some_and(|text| text.trim() == "1")
}

fn perform(op: Op) -> Completion {
    match op {
        Op::Read { file, offset, mut bufs } => {
            let result = read(&file, offset, &mut bufs.slices_mut());
            Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
        }
        Op::Write { file, offset, bufs } => {
            let result = file.inner().and_then(|file| write(file, offset, &bufs.slices()));
            Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
        }
        Op::ReadClean { file, offset, mut bufs } => {
            let result = file.inner().and_then(|file| read_clean::read(file, offset, &mut bufs.slices_mut()));
            Completion { result: result.map(Output::Moved), bufs: Some(bufs) }
        }
        op => simple(op).into(),
    }
}

fn read(file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let file: &RealFile = file.inner()?;
    let count = bufs.len().min(MAX_SLICES);
    Ok(preadv(&file.fd, bufs.get_mut(..count).unwrap_or_default(), offset)?)
}

/// Writes the first bytes of `slices`: directly if they fit and are worth it.
fn write(file: &RealFile, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let opened = if total >= MIN_WRITE { file.direct() } else { None };
    let mut len = total;
    match opened.map(|opened| (opened, opened.plan(offset, slices))) {
        Some((opened, Step::Direct(n))) => {
            let _order = file.direct.lock_direct();
            match pwritev(opened.fd(), &first(slices, n), offset) {
                Err(Errno::INVAL | Errno::OPNOTSUPP) => file.direct.refuse(),
                result => return Ok(result?),
            }
        }
        Some((_, Step::Buffered(n))) => len = n,
        None => {}
    }
    let _order = file.direct.lock_buffered();
    Ok(pwritev(&file.fd, &first(slices, len.min(MAX_BUFFERED)), offset)?)
}

/// The first `len` bytes of slices, as many as one system call takes.
fn first<'a>(slices: &'a [IoSlice<'_>], len: usize) -> Vec<IoSlice<'a>> {
    let mut left = len;
    let mut out = Vec::new();
    for slice in slices.iter().filter(|slice| !slice.is_empty()).take(MAX_SLICES) {
        let part = slice.get(..left.min(slice.len())).unwrap_or_default();
        left -= part.len();
        if part.is_empty() {
            break;
        }
        out.push(IoSlice::new(part));
    }
    out
}

/// Has the kernel read what will be asked for next.
fn read_ahead(file: &RealFile, offset: u64, len: u64) -> io::Result<()> {
    if file.is_in_memory() {
        return Ok(());
    }
    if !file.nowait.load(Ordering::Relaxed) {
        return Err(os_error(Errno::OPNOTSUPP));
    }
    Ok(fs::fadvise(&file.fd, offset, NonZeroU64::new(len), Advice::WillNeed)?)
}

fn simple(op: Op) -> io::Result<Output> {
    match op {
        Op::Open { at, how } => return open(&at, how).map(Output::Opened),
        Op::Allocate { file, len } => {
            let file: &RealFile = file.inner()?;
            // It would clear every page first, for a quarter of a second a GiB, while every write waits.
            if file.is_in_memory() {
                return Err(os_error(Errno::OPNOTSUPP));
            }
            fs::fallocate(&file.fd, FallocateFlags::empty(), 0, len)?;
        }
        Op::SetLen { file, len } => fs::ftruncate(fd(&file)?, len)?,
        Op::ReadAhead { file, offset, len } => read_ahead(file.inner()?, offset, len)?,
        Op::SyncData(file) => fs::fdatasync(fd(&file)?)?,
        Op::SyncAll(file) => fs::fsync(fd(&file)?)?,
        Op::SyncFs(file) => sync_fs(fd(&file)?)?,
        Op::StatHandle(file) => return Ok(Output::Stat(stat_of(&fs::fstat(fd(&file)?)?))),
        Op::Stat(at) => {
            let stat = fs::statat(base(&at)?, &at.path, AtFlags::SYMLINK_NOFOLLOW)?;
            return Ok(Output::Stat(stat_of(&stat)));
        }
        Op::StatFs(file) => return Ok(Output::FsStat(fs_stat(fd(&file)?)?)),
        Op::NextData { file, offset } => return next_data(fd(&file)?, offset).map(Output::Offset),
        Op::CreateDir { at, mode } => mode::make_dir(&at, mode)?,
        Op::Symlink { at, target } => fs::symlinkat(&target, base(&at)?, &at.path)?,
        Op::Rename { from, to } => fs::renameat(base(&from)?, &from.path, base(&to)?, &to.path)?,
        Op::RenameNew { from, to } => copy::rename_new(&from, &to)?,
        Op::Link { from, to } => {
            fs::linkat(base(&from)?, &from.path, base(&to)?, &to.path, AtFlags::empty())?;
        }
        Op::Reflink { from, to } => fs::ioctl_ficlone(fd(&to)?, fd(&from)?)?,
        Op::CopyRange { from, to, offset, len } => {
            return copy::copy_range(fd(&from)?, fd(&to)?, offset, len).map(Output::Moved);
        }
        Op::SetTime { file, mtime } => copy::set_time(fd(&file)?, mtime)?,
        Op::Unlink(at) => fs::unlinkat(base(&at)?, &at.path, AtFlags::empty())?,
        Op::RemoveDir(at) => fs::unlinkat(base(&at)?, &at.path, AtFlags::REMOVEDIR)?,
        Op::Canonical(path) => return std::fs::canonicalize(path).map(Output::Path),
        // `perform` has taken these.
        Op::Read { .. } | Op::ReadClean { .. } | Op::Write { .. } => return Err(os_error(Errno::INVAL)),
    }
    Ok(Output::Nothing)
}

fn fd(file: &Handle) -> io::Result<BorrowedFd<'_>> {
    Ok(file.inner::<RealFile>()?.fd.as_fd())
}

/// The directory that the name is relative to.
fn base(at: &At) -> io::Result<BorrowedFd<'_>> {
    at.dir.as_ref().map_or(Ok(CWD), fd)
}

fn open(at: &At, how: OpenHow) -> io::Result<Handle> {
    // Without NONBLOCK, opening a FIFO that someone put in place of a file waits for its other end.
    let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if !how.follow {
        flags |= OFlags::NOFOLLOW;
    }
    let mut bits = 0o666;
    flags |= match how.mode {
        OpenMode::Read => OFlags::RDONLY,
        OpenMode::Write => OFlags::RDWR,
        OpenMode::Create { executable } => {
            bits = if executable { 0o777 } else { 0o666 };
            OFlags::RDWR | OFlags::CREATE
        }
        OpenMode::CreateNew { executable, mode } => {
            bits = mode.unwrap_or(if executable { 0o777 } else { 0o666 });
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL
        }
        OpenMode::Dir => OFlags::RDONLY | OFlags::DIRECTORY,
    };
    let fd = fs::openat(base(at)?, &at.path, flags, Mode::from_raw_mode(bits))?;
    if let OpenMode::CreateNew { mode: Some(mode), .. } = how.mode {
        mode::give(fd.as_fd(), mode, &at.path);
    }
    let access = match how.mode {
        OpenMode::Dir | OpenMode::Read => OFlags::RDONLY,
        OpenMode::Write | OpenMode::Create { .. } | OpenMode::CreateNew { .. } => OFlags::RDWR,
    };
    let file = RealFile::new(fd, access);
    match (how.mode, &at.dir) {
        (OpenMode::Dir, _) => {}
        // A regular file, on the file system of its folder.
        (OpenMode::CreateNew { .. }, Some(dir)) => {
            let in_memory = dir.inner::<RealFile>()?.is_in_memory();
            file.in_memory.get_or_init(|| in_memory);
        }
        _ if stat_of(&fs::fstat(&file.fd)?).kind != FileKind::File => return Err(os_error(Errno::INVAL)),
        _ => {
            file.is_in_memory();
        }
    }
    Ok(Handle::new(file))
}

fn stat_of(stat: &fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    let mtime = Mtime { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    Stat { kind, len, mtime, device: stat.st_dev, inode: stat.st_ino }
}

/// The field is 32 bits wide or sign-extended, by architecture.
fn magic(stat: &fs::StatFs) -> u64 {
    u64::from(stat.f_type as u32)
}

fn fs_stat(fd: BorrowedFd<'_>) -> io::Result<FsStat> {
    let stat = fs::fstatfs(fd)?;
    let unit = u64::try_from(stat.f_bsize).unwrap_or(0);
    let magic = magic(&stat);
    Ok(FsStat {
        free: stat.f_bavail.saturating_mul(unit),
        total: stat.f_blocks.saturating_mul(unit),
        in_memory: magic == TMPFS_MAGIC || magic == RAMFS_MAGIC,
    })
}

/// Linux does not ask a FUSE server to sync all, and says that it is done.
fn sync_fs(fd: BorrowedFd<'_>) -> io::Result<()> {
    if magic(&fs::fstatfs(fd)?) == FUSE_MAGIC {
        return Err(os_error(Errno::OPNOTSUPP));
    }
    Ok(fs::syncfs(fd)?)
}

fn next_data(fd: BorrowedFd<'_>, offset: u64) -> io::Result<Option<u64>> {
    match fs::seek(fd, SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        // A file system that doesn't know its holes: all of it is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
#[path = "real_disk/tests.rs"]
mod tests;
