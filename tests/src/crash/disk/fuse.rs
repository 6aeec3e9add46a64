//! The disk's tree as FUSE asks for it.
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::tree::{Change, Made, Node, Tree};
use crate::wait::pause;

/// Nothing changes behind the kernel's back while it is mounted.
const TTL: Duration = Duration::from_secs(3600);
/// Bytes of a block, as `statfs` counts.
const BLOCK: u32 = 4096;
/// Blocks of the disk: 16 GiB, so that the daemon finds room enough.
const BLOCKS: u64 = 4 << 20;
/// Longest name.
const NAME_LEN: u32 = 255;

/// The file system that FUSE drives.
#[derive(Debug)]
pub(super) struct Mounted(pub(super) Arc<Mutex<Tree>>);

impl Mounted {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a sync when it has taken its time, in which others are served.
    fn synced(&self, ino: INodeNo, reply: ReplyEmpty, sync: impl FnOnce(&mut Tree) -> Result<(), Errno>) {
        let mut tree = self.tree();
        let takes = tree.sync_time(ino.0);
        let done = sync(&mut tree);
        if takes.is_zero() {
            return empty(reply, done);
        }
        thread::spawn(move || {
            pause(takes);
            empty(reply, done);
        });
    }
}

fn attr(tree: &Tree, ino: u64) -> Result<FileAttr, Errno> {
    let inode = tree.inode(ino)?;
    let (kind, size, mtime) = match &inode.node {
        Node::File { seen, .. } => (FileType::RegularFile, seen.bytes.len() as u64, seen.mtime),
        Node::Dir { mtime, .. } => (FileType::Directory, 0, *mtime),
        Node::Link { target } => (FileType::Symlink, target.len() as u64, UNIX_EPOCH),
    };
    let nlink = if kind == FileType::Directory { 2 } else { tree.names(ino) };
    Ok(FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind,
        perm: inode.mode,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

fn entry(reply: ReplyEntry, made: Result<FileAttr, Errno>) {
    match made {
        Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = self.tree();
        entry(reply, tree.lookup(parent.0, name).and_then(|ino| attr(&tree, ino)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attr(&self.tree(), ino.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        let mut work = || {
            if let (Some(mode), Some(inode)) = (mode, tree.inodes.get_mut(&ino.0)) {
                inode.mode = (mode & 0o7777) as u16;
            }
            if let Some(len) = size {
                tree.change(ino.0, Change::SetLen { len, mtime: SystemTime::now() })?;
            }
            if let Some(mtime) = mtime
                && tree.content(ino.0).is_ok()
            {
                let mtime = match mtime {
                    TimeOrNow::SpecificTime(time) => time,
                    TimeOrNow::Now => SystemTime::now(),
                };
                tree.change(ino.0, Change::Touch { mtime })?;
            }
            attr(&tree, ino.0)
        };
        match work() {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree().inode(ino.0).map(|inode| &inode.node) {
            Ok(Node::Link { target }) => reply.data(target),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _: &Request, dir: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mut tree = self.tree();
        let made = tree.make(dir.0, name, Made::Dir, mode & !umask);
        entry(reply, made.and_then(|ino| attr(&tree, ino)));
    }

    fn unlink(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().unlink(dir.0, name));
    }

    fn rmdir(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().rmdir(dir.0, name));
    }

    fn symlink(&self, _: &Request, dir: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let mut tree = self.tree();
        let target = Made::Link(target.as_os_str().to_owned().into_vec());
        let made = tree.make(dir.0, name, target, 0o777);
        entry(reply, made.and_then(|ino| attr(&tree, ino)));
    }

    fn rename(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        to_dir: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let new = flags.contains(RenameFlags::RENAME_NOREPLACE);
        empty(reply, self.tree().rename((dir.0, name), (to_dir.0, to_name), new));
    }

    fn link(&self, _: &Request, ino: INodeNo, dir: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let made = tree.link(ino.0, dir.0, name);
        entry(reply, made.and_then(|()| attr(&tree, ino.0)));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // What memory holds of it outlasts a close, as on a disk.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree().read(ino.0, offset, size) {
            Ok(bytes) => reply.data(bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let change = Change::Write { offset, bytes: data.to_vec(), mtime: SystemTime::now() };
        match self.tree().change(ino.0, change) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.synced(ino, reply, |tree| tree.sync_file(ino.0, datasync));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.synced(ino, reply, |tree| tree.sync_dir(ino.0));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let tree = self.tree();
        let entries = match tree.list(ino.0) {
            Ok(entries) => entries,
            Err(errno) => return reply.error(errno),
        };
        for (at, (name, child)) in entries.iter().enumerate().skip(offset as usize) {
            let Ok(attr) = attr(&tree, *child) else { continue };
            if reply.add(attr.ino, at as u64 + 1, attr.kind, OsStr::from_bytes(name.as_bytes())) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, NAME_LEN, BLOCK);
    }

    fn create(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut tree = self.tree();
        let made = tree.make(dir.0, name, Made::File, mode & !umask);
        match made.and_then(|ino| attr(&tree, ino)) {
            Ok(attr) => {
                reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE)
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut tree = self.tree();
        let end = offset + length;
        let grown = tree.content(ino.0).map(|content| (content.bytes.len() as u64) < end);
        let done = grown.and_then(|grows| match grows {
            true => tree.change(ino.0, Change::SetLen { len: end, mtime: SystemTime::now() }),
            false => Ok(()),
        });
        empty(reply, done);
    }
}
