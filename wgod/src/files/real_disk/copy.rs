//! What moves of files need of the system beyond reading and writing.
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::super::disk::{At, Mtime, os_error};
use super::base;

/// Renames unless something is at `to`. Where the file system can't promise that, the name is looked at just
/// before.
pub(super) fn rename_new(from: &At, to: &At) -> io::Result<()> {
    let (from_dir, to_dir) = (base(from)?, base(to)?);
    match fs::renameat_with(from_dir, &from.path, to_dir, &to.path, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        result => return Ok(result?),
    }
    match fs::statat(to_dir, &to.path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(fs::renameat(from_dir, &from.path, to_dir, &to.path)?),
        Err(e) => Err(e.into()),
        Ok(_) => Err(os_error(Errno::EXIST)),
    }
}

/// Bytes copied within the system.
pub(super) fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: u64,
    len: u64,
) -> io::Result<usize> {
    let (mut from_at, mut to_at) = (offset, offset);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Ok(fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), len)?)
}

/// Leaves the time of the last access as it is.
pub(super) fn set_time(file: BorrowedFd<'_>, mtime: Mtime) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
    };
    Ok(fs::futimens(file, &times)?)
}
