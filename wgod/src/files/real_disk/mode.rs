//! Modes of new files and folders, where the operator says what they are to be.
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Once;

use rustix::fs::{self, Mode, OFlags};

use super::super::disk::At;
use super::base;

const SETGID: u32 = 0o2000;
const SPECIAL_AND_PLAIN: u32 = 0o7777;

/// Makes a folder.
pub(super) fn make_dir(at: &At, mode: Option<u32>) -> io::Result<()> {
    let dir = base(at)?;
    // What the system refuses of the special bits must not be in the way of the folder itself.
    let plain = mode.map_or(0o777, |mode| mode & 0o777);
    fs::mkdirat(dir, &at.path, Mode::from_raw_mode(plain))?;
    let Some(mode) = mode else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = fs::openat(dir, &at.path, flags, Mode::empty())?;
    give(std::os::fd::AsFd::as_fd(&made), mode, &at.path);
    Ok(())
}

/// Gives what was just made the bits that the umask took away. A folder keeps the setgid bit that it has from
/// the one that it lies in. Where the system refuses (it knows no modes, or a service may set no setgid bit),
/// fewer may use it than was asked for, never more: it was made with these bits at most.
pub(super) fn give(made: BorrowedFd<'_>, mode: u32, path: &Path) {
    static TOLD: Once = Once::new();
    let given = fs::fstat(made).and_then(|stat| {
        let has = stat.st_mode & SPECIAL_AND_PLAIN;
        let wanted = mode | (has & SETGID);
        if has == wanted { Ok(()) } else { fs::fchmod(made, Mode::from_raw_mode(wanted)) }
    });
    if let Err(error) = given {
        TOLD.call_once(|| {
            tracing::warn!(
                path = %path.display(),
                mode = format!("{mode:04o}"),
                %error,
                "new files or folders don't get the mode of storage.file_mode or storage.folder_mode, others may not get it either; set the umask instead, or leave out the setgid bit under a service's RestrictSUIDSGID="
            );
        });
    }
}
