//! What went wrong on a disk: which operation, on which path, why, and what an operator can do.
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DiskOp {
    Open,
    Create,
    Read,
    Write,
    Allocate,
    Sync,
    Stat,
    Remove,
    Link,
    Move,
    Rename,
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskOp::Open => "open",
            DiskOp::Create => "create",
            DiskOp::Read => "read",
            DiskOp::Write => "write",
            DiskOp::Allocate => "reserve space for",
            DiskOp::Sync => "sync",
            DiskOp::Stat => "examine",
            DiskOp::Remove => "remove",
            DiskOp::Link => "make the symlink",
            DiskOp::Move => "move",
            DiskOp::Rename => "rename",
        })
    }
}

/// Why, as far as it decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskErrorKind {
    /// No space or quota left: the torrent pauses until there is.
    Full,
    /// The file or one of its folders doesn't exist.
    Missing,
    /// The file ends before the byte that was wanted.
    Short,
    /// Somebody else changed the file.
    Changed,
    /// The daemon's user may not.
    Permission,
    /// It lies in none of the folders of `storage.allowed_folders`.
    Outside,
    /// One of those folders is not the one that was there when the daemon confined itself.
    Replaced,
    /// The file system, or this torrent, is read-only.
    ReadOnly,
    /// Something else has the place of the file or folder: a symlink, a folder, a device.
    Obstructed,
    /// The device failed, or answered something that has no consequence of its own.
    Io,
    /// The storage threads were told to stop, or the torrent was closed, before it was done.
    Stopped,
}

/// One failed access, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What was being done.
    pub op: DiskOp,
    /// To which file or folder; empty when it never came that far.
    pub path: PathBuf,
    /// The system's error number, if the system refused it.
    pub errno: Option<i32>,
    /// What it amounts to.
    pub kind: DiskErrorKind,
}

impl DiskError {
    /// The system refused `op` on `path`.
    pub fn new(op: DiskOp, path: impl Into<PathBuf>, error: &io::Error) -> DiskError {
        DiskError { op, path: path.into(), errno: error.raw_os_error(), kind: kind_of(error) }
    }

    /// `op` on `path` can't be done for a reason that the system doesn't know.
    pub fn of_kind(op: DiskOp, path: impl AsRef<Path>, kind: DiskErrorKind) -> DiskError {
        DiskError { op, path: path.as_ref().to_owned(), errno: None, kind }
    }

    /// The storage was stopped before the job was done.
    pub fn stopped() -> DiskError {
        DiskError::of_kind(DiskOp::Open, "", DiskErrorKind::Stopped)
    }

    /// Whether a read failed because the file, or this part of it, is gone.
    pub fn is_lost_data(&self) -> bool {
        matches!(self.kind, DiskErrorKind::Missing | DiskErrorKind::Short)
    }
}

impl std::error::Error for DiskError {}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == DiskErrorKind::Stopped {
            return f.write_str("the storage was stopped before this was done");
        }
        write!(f, "cannot {} {}: ", self.op, self.path.display())?;
        match self.errno {
            Some(errno) => write!(f, "{}", io::Error::from_raw_os_error(errno))?,
            None => f.write_str(match self.kind {
                DiskErrorKind::Short => "the file is shorter than the torrent says",
                DiskErrorKind::Changed => "somebody changed the file",
                DiskErrorKind::Missing => "it is not there, or another folder has its place",
                DiskErrorKind::ReadOnly => "the torrent is complete and its files are not altered",
                DiskErrorKind::Obstructed => "it is not a regular file",
                DiskErrorKind::Outside => "it lies in none of the folders of `storage.allowed_folders`",
                _ => "the disk gave no reason",
            })?,
        }
        f.write_str(match self.kind {
            DiskErrorKind::Full => "; free some space and it goes on by itself",
            DiskErrorKind::Missing | DiskErrorKind::Short => {
                "; bring it back (is its disk mounted?) and it goes on by itself, or verify the torrent to start from what is there"
            }
            DiskErrorKind::Changed => "; what the torrent holds is hashed again",
            DiskErrorKind::Permission => "; give the daemon's user access to it and it goes on by itself",
            DiskErrorKind::Outside => "; add its folder there and restart wgod",
            DiskErrorKind::Replaced => {
                "; its folder of `storage.allowed_folders` was mounted, unmounted or made after wgod had confined itself to what was there: restart wgod, or allow the folder above the mount point"
            }
            DiskErrorKind::ReadOnly if self.errno.is_some() => "; mount it writable, or choose another folder",
            DiskErrorKind::Obstructed => "; move what is there out of the way",
            DiskErrorKind::Io => "; look for disk errors in the kernel's log",
            DiskErrorKind::ReadOnly | DiskErrorKind::Stopped => "",
        })
    }
}

fn kind_of(error: &io::Error) -> DiskErrorKind {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskErrorKind::Full,
        Some(Errno::NOENT) => DiskErrorKind::Missing,
        Some(Errno::ACCESS | Errno::PERM) => DiskErrorKind::Permission,
        Some(Errno::ROFS) => DiskErrorKind::ReadOnly,
        Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::INVAL | Errno::EXIST) => {
            DiskErrorKind::Obstructed
        }
        _ => DiskErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_failed_where_why_and_what_to_do() {
        for (errno, kind, want) in [
            (Errno::NOSPC, DiskErrorKind::Full, "free some space"),
            (Errno::DQUOT, DiskErrorKind::Full, "free some space"),
            (Errno::NOENT, DiskErrorKind::Missing, "verify the torrent"),
            (Errno::ACCESS, DiskErrorKind::Permission, "access"),
            (Errno::ROFS, DiskErrorKind::ReadOnly, "mount it writable"),
            (Errno::LOOP, DiskErrorKind::Obstructed, "out of the way"),
            (Errno::IO, DiskErrorKind::Io, "kernel's log"),
        ] {
            let error =
                DiskError::new(DiskOp::Write, "/x/y", &io::Error::from_raw_os_error(errno.raw_os_error()));
            assert_eq!(error.kind, kind);
            let text = error.to_string();
            assert!(text.starts_with("cannot write /x/y: ") && text.contains(want), "{text}");
        }
        for (kind, want) in [
            (
                DiskErrorKind::Outside,
                "none of the folders of `storage.allowed_folders`; add its folder there and restart",
            ),
            (DiskErrorKind::Replaced, "restart wgod, or allow the folder above"),
        ] {
            let text = DiskError::of_kind(DiskOp::Open, "/x/y", kind).to_string();
            assert!(text.starts_with("cannot open /x/y: ") && text.contains(want), "{text}");
        }
    }
}
