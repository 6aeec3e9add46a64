//! The disk seam: every file access of the daemon is an [`Op`] submitted to a [`Disk`].
//!
//! Storage threads, the open-file cache and the database (through redb's `StorageBackend`) call it.
//! [`RealDisk`](super::RealDisk) completes on the calling thread; a simulated disk keeps the pair of
//! operation and completion and finishes it when its scenario says so.
use std::any::Any;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use super::bufs::Bufs;
use super::mounts::Mounts;

/// What finishes an operation. Called exactly once, on any thread, possibly before `submit` returns.
pub type OnDone = Box<dyn FnOnce(Completion) + Send>;

/// Files and directories, reached only by submitted operations.
pub trait Disk: Send + Sync + 'static {
    /// Begins `op`; `done` receives what came of it. Buffers inside `op` belong to the disk until
    /// then. An operation that can't be finished any more (the disk is gone) drops `done`.
    fn submit(&self, op: Op, done: OnDone);

    /// Does `op` on this thread, or waits until it is done. An operation that the disk dropped failed
    /// with `EIO`.
    fn perform(&self, op: Op) -> Completion {
        let (tx, rx) = mpsc::sync_channel(1);
        // The receiver outlives the operation: `send` fails only after this function has returned.
        self.submit(op, Box::new(move |completion| drop(tx.send(completion))));
        rx.recv().unwrap_or_else(|_| Err(os_error(rustix::io::Errno::IO)).into())
    }

    /// Reads from `offset` into `bufs` what is in memory already, without waiting for a device.
    /// Returns the bytes read, less than asked when the rest isn't at hand and 0 at the end of the
    /// file; [`io::ErrorKind::WouldBlock`] when nothing is at hand. Safe on an async worker.
    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// The device that probably holds `path`, found without touching that device, so that a hung
    /// mount can't hang the caller. Numbered as [`Stat::device`].
    fn device_hint(&self, path: &Path) -> u64;

    /// The file systems that are mounted, without a look at any of them; none where the disk has no such
    /// table.
    fn mounts(&self) -> Mounts {
        Mounts::default()
    }

    /// Whether reads from the device are slow unless each begins where the last one ended, as on disks that
    /// turn. Without a look at the device.
    fn is_rotational(&self, _device: u64) -> bool {
        false
    }

    /// Brings bytes of a file into memory, where that is the quickest way to read what is not there yet;
    /// whether it did. Then they are given back with [`release`](Self::release). Waits for the device.
    fn pull(&self, _file: &Handle, _range: Range<u64>) -> bool {
        false
    }

    /// Lets go of what was pulled.
    fn release(&self, _file: &Handle, _range: Range<u64>) {}
}

/// An open file or directory of the disk that returned it; closed when the last clone is dropped. A
/// file of which a clone exists counts as in use: a disk keeps none beyond the operation it is for.
#[derive(Clone)]
pub struct Handle(Arc<dyn Any + Send + Sync>);

impl Handle {
    /// Wraps what a [`Disk`] keeps for one open file.
    pub fn new<T: Any + Send + Sync>(inner: T) -> Handle {
        Handle(Arc::new(inner))
    }

    /// The wrapped value, for the disk that made it; `EBADF` for a handle of another disk.
    pub fn inner<T: Any>(&self) -> io::Result<&T> {
        self.0
            .downcast_ref()
            .ok_or_else(|| io::Error::from_raw_os_error(rustix::io::Errno::BADF.raw_os_error()))
    }

    /// How many clones of this handle exist.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:p})", Arc::as_ptr(&self.0))
    }
}

/// A name in the file system: absolute, or relative to an open directory.
#[derive(Clone, Debug)]
pub struct At {
    /// The directory that `path` is relative to; `None` when `path` is absolute.
    pub dir: Option<Handle>,
    /// The name. Relative to a directory it is one component where symlinks matter.
    pub path: PathBuf,
}

impl At {
    /// An absolute path.
    pub fn path(path: impl Into<PathBuf>) -> At {
        At { dir: None, path: path.into() }
    }

    /// `name` inside the open directory `dir`.
    pub fn inside(dir: &Handle, name: impl Into<PathBuf>) -> At {
        At { dir: Some(dir.clone()), path: name.into() }
    }
}

/// How to open. All handles are close-on-exec; opening as a file what isn't a regular file fails
/// with `EINVAL` and never waits (a FIFO, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// What the handle is for.
    pub mode: OpenMode,
    /// Whether a symlink as the last component is followed; if not, it is refused with `ELOOP`
    /// (`ENOTDIR` for a directory).
    pub follow: bool,
}

/// What a handle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reads of an existing file.
    Read,
    /// Reads and writes of an existing file.
    Write,
    /// Reads and writes; the file is created when it is missing, executable or not.
    Create {
        /// Whether a new file gets the executable bits that the umask allows.
        executable: bool,
    },
    /// Reads and writes of a file that is made; `EEXIST` when there is something.
    CreateNew {
        /// As in [`Create`](Self::Create).
        executable: bool,
        /// The new file's permission bits, whatever the umask; `None` leaves them to that.
        mode: Option<u32>,
    },
    /// A directory: the base of relative names, and what [`Op::SyncAll`] takes.
    Dir,
}

/// One operation.
#[derive(Debug)]
pub enum Op {
    /// Opens `at` → [`Output::Opened`].
    Open {
        /// Which file or directory.
        at: At,
        /// How.
        how: OpenHow,
    },
    /// Reads from `offset` into the window of `bufs` → [`Output::Moved`], short at the end of the file.
    Read {
        /// Where from.
        file: Handle,
        /// First byte in the file.
        offset: u64,
        /// Where to; come back in [`Completion::bufs`].
        bufs: Bufs,
    },
    /// As [`Op::Read`], possibly short, and leaves memory caching what it cached before: for reading a
    /// lot once. Fast for offsets, lengths and memory that are multiples of 4 KiB.
    ReadClean {
        /// Where from.
        file: Handle,
        /// First byte in the file.
        offset: u64,
        /// Where to; come back in [`Completion::bufs`].
        bufs: Bufs,
    },
    /// Begins to bring bytes into memory, for [`Disk::read_nowait`] to find; waits for none of them.
    /// `EOPNOTSUPP` where that doesn't find what is in memory.
    ReadAhead {
        /// The file.
        file: Handle,
        /// First byte in the file.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Writes the window of `bufs` at `offset` → [`Output::Moved`], possibly short.
    Write {
        /// Where to.
        file: Handle,
        /// First byte in the file.
        offset: u64,
        /// What; come back in [`Completion::bufs`].
        bufs: Bufs,
    },
    /// Reserves space for the first `len` bytes and grows the file to them if it is shorter;
    /// `EOPNOTSUPP` where the file system can't.
    Allocate {
        /// The file.
        file: Handle,
        /// Bytes from its start.
        len: u64,
    },
    /// Makes the file exactly `len` bytes long; new bytes read as zeros.
    SetLen {
        /// The file.
        file: Handle,
        /// Its new length.
        len: u64,
    },
    /// Makes what was written to the file durable, with its length (`fdatasync`).
    SyncData(Handle),
    /// Makes a file or directory durable with everything about it (`fsync`).
    SyncAll(Handle),
    /// Makes everything on the file system that holds this file durable (`syncfs`); `EOPNOTSUPP` where that is left
    /// to a sync of each file and folder.
    SyncFs(Handle),
    /// Describes an open file → [`Output::Stat`].
    StatHandle(Handle),
    /// Describes what the name stands for, a symlink itself rather than its target → [`Output::Stat`].
    Stat(At),
    /// Describes the file system of an open file → [`Output::FsStat`].
    StatFs(Handle),
    /// The first byte at or after `offset` that isn't in a hole → [`Output::Offset`].
    NextData {
        /// The file.
        file: Handle,
        /// Where to start looking.
        offset: u64,
    },
    /// Makes a directory; its parent must exist.
    CreateDir {
        /// Where.
        at: At,
        /// Its permission bits, whatever the umask; `None` leaves them to that.
        mode: Option<u32>,
    },
    /// Makes a symlink.
    Symlink {
        /// Where.
        at: At,
        /// The text it holds.
        target: PathBuf,
    },
    /// Renames, replacing what is at `to`.
    Rename {
        /// Old name.
        from: At,
        /// New name.
        to: At,
    },
    /// Renames; `EEXIST` when there is something at `to`, which stays.
    RenameNew {
        /// Old name.
        from: At,
        /// New name.
        to: At,
    },
    /// Gives a file another name beside its first; `EEXIST` when there is something, `EXDEV` when that is on
    /// another file system, `EPERM` or `EOPNOTSUPP` where files have one name only.
    Link {
        /// A name that it has.
        from: At,
        /// The name that it gets.
        to: At,
    },
    /// Makes the empty file `to` a copy of `from` that shares its space, where the file system can.
    Reflink {
        /// What is copied.
        from: Handle,
        /// The copy.
        to: Handle,
    },
    /// Copies bytes to the same place in another file without bringing them here → [`Output::Moved`],
    /// possibly short; an error where the system can't.
    CopyRange {
        /// Where from.
        from: Handle,
        /// Where to.
        to: Handle,
        /// First byte in both files.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Sets the time of the last change.
    SetTime {
        /// The file.
        file: Handle,
        /// The time.
        mtime: Mtime,
    },
    /// Removes a name that isn't a directory.
    Unlink(At),
    /// Removes an empty directory.
    RemoveDir(At),
    /// The path without symlinks, `.` and `..` → [`Output::Path`]; it must exist.
    Canonical(PathBuf),
}

/// What came of one operation.
#[derive(Debug)]
pub struct Completion {
    /// The outcome.
    pub result: io::Result<Output>,
    /// The buffers of a read or a write, also when it failed.
    pub bufs: Option<Bufs>,
}

impl From<io::Result<Output>> for Completion {
    fn from(result: io::Result<Output>) -> Completion {
        Completion { result, bufs: None }
    }
}

/// What an operation yields.
#[derive(Debug)]
pub enum Output {
    /// Nothing but success.
    Nothing,
    /// An open file or directory.
    Opened(Handle),
    /// Bytes read or written.
    Moved(usize),
    /// A file's description.
    Stat(Stat),
    /// A file system's description.
    FsStat(FsStat),
    /// A position; `None` when there is none up to the end of the file.
    Offset(Option<u64>),
    /// A path.
    Path(PathBuf),
}

/// What a name or handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symlink.
    Symlink,
    /// Anything else: a device, a socket, a FIFO.
    Other,
}

/// A file's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// Last change of its content.
    pub mtime: Mtime,
    /// Number of the device that holds it (`st_dev`).
    pub device: u64,
    /// Its number there (`st_ino`).
    pub inode: u64,
}

/// A modification time: seconds and nanoseconds since 1970, as the file system keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    /// Whole seconds, negative before 1970.
    pub secs: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
}

/// A file system's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsStat {
    /// Bytes that an unprivileged process can still use.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Whether its files live in memory (tmpfs, ramfs), so that a read never waits.
    pub in_memory: bool,
}

pub(super) fn os_error(errno: rustix::io::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}
