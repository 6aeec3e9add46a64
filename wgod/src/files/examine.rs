//! A folder as an operator has to know it: its file system, its room, whether the daemon may write there.
//!
//! This goes past the `Disk` seam: it looks at the system, and changes and reads no content.
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::{DiskError, DiskOp};
use super::place::Space;

/// What a folder is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The folder, or the deepest one above it that exists.
    pub existing: PathBuf,
    /// The file system that holds it.
    pub kind: FsKind,
    /// The room there.
    pub space: Space,
    /// Why the daemon can't make files there, if it can't.
    pub refused: Option<String>,
    /// Whether files can be written around the page cache; `None` where that can't be tried.
    pub direct: Option<bool>,
}

/// A file system, by what can be expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsKind {
    /// On a disk of this machine.
    Local(&'static str),
    /// On another machine.
    Network(&'static str),
    /// In memory: gone with the next start of the machine.
    Memory(&'static str),
    /// Served by a program: anything is possible.
    Fuse,
    /// Without files of 4 GiB and more, permissions, or both.
    Simple(&'static str),
    /// None that is known here.
    Other(u64),
}

impl FsKind {
    /// By the number that `statfs(2)` gives; the numbers are those of linux/magic.h and statfs(2).
    fn of(magic: u64) -> FsKind {
        match magic {
            0xef53 => FsKind::Local("ext4"),
            0x5846_5342 => FsKind::Local("XFS"),
            0x9123_683e => FsKind::Local("Btrfs"),
            0x2fc1_2fc1 => FsKind::Local("ZFS"),
            0xf2f5_2010 => FsKind::Local("F2FS"),
            0xca45_1a4e => FsKind::Local("bcachefs"),
            0x7366_746e => FsKind::Local("NTFS"),
            0x794c_7630 => FsKind::Local("overlay"),
            0x6969 => FsKind::Network("NFS"),
            0xff53_4d42 | 0xfe53_4d42 | 0x517b => FsKind::Network("SMB"),
            0x00c3_6400 => FsKind::Network("Ceph"),
            0x0102_1997 => FsKind::Network("9P"),
            0x0102_1994 => FsKind::Memory("tmpfs"),
            0x8584_58f6 => FsKind::Memory("ramfs"),
            0x6573_5546 => FsKind::Fuse,
            0x4d44 => FsKind::Simple("FAT"),
            0x2011_bab0 => FsKind::Simple("exFAT"),
            other => FsKind::Other(other),
        }
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            FsKind::Local(name) | FsKind::Network(name) | FsKind::Memory(name) | FsKind::Simple(name) => {
                name.to_owned()
            }
            FsKind::Fuse => "FUSE".to_owned(),
            FsKind::Other(magic) => format!("file system {magic:#x}"),
        }
    }
}

/// Looks at `folder`, or at what will hold it.
pub(super) fn examine(folder: &Path) -> Result<Folder, DiskError> {
    let failed = |path: &Path, error: Errno| DiskError::new(DiskOp::Stat, path, &io::Error::from(error));
    let mut last = Errno::NOENT;
    for existing in folder.ancestors() {
        let stat = match rustix::fs::statfs(existing) {
            Ok(stat) => stat,
            Err(error @ (Errno::NOENT | Errno::NOTDIR)) => {
                last = error;
                continue;
            }
            Err(error) => return Err(failed(existing, error)),
        };
        let unit = u64::try_from(stat.f_bsize).unwrap_or(0);
        let space = Space {
            device: rustix::fs::stat(existing).map_err(|error| failed(existing, error))?.st_dev,
            free: stat.f_bavail.saturating_mul(unit),
            total: stat.f_blocks.saturating_mul(unit),
        };
        let (refused, direct) = try_to_write(existing);
        // The field is 32 bits wide or sign-extended, by architecture.
        let kind = FsKind::of(u64::from(stat.f_type as u32));
        return Ok(Folder { existing: existing.to_owned(), kind, space, refused, direct });
    }
    Err(failed(folder, last))
}

/// Whether a file can be made, by making one that has no name; and whether that can be written directly.
fn try_to_write(folder: &Path) -> (Option<String>, Option<bool>) {
    let make = |direct: OFlags| -> rustix::io::Result<OwnedFd> {
        rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC | direct, Mode::RUSR)
    };
    match make(OFlags::empty()) {
        Ok(_file) => (None, Some(make(OFlags::DIRECT).is_ok())),
        // Not every file system has such files; then the permissions have to do.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            let may = rustix::fs::accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
            (may.err().map(|error| io::Error::from(error).to_string()), None)
        }
        Err(error) => (Some(io::Error::from(error).to_string()), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_looked_at_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let found = examine(dir.path()).unwrap();
        assert_eq!((found.existing.as_path(), &found.refused), (dir.path(), &None));
        assert!(found.space.total > 0 && found.space.free <= found.space.total);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn of_a_folder_to_come_the_one_above_counts() {
        let dir = tempfile::tempdir().unwrap();
        let found = examine(&dir.path().join("a/b")).unwrap();
        assert_eq!(found.existing, dir.path());
        std::fs::write(dir.path().join("file"), "").unwrap();
        let found = examine(&dir.path().join("file/below")).unwrap();
        assert_eq!(found.existing, dir.path().join("file"));
        assert!(found.refused.is_some(), "a file holds no files: {found:?}");
    }

    #[test]
    fn what_takes_no_files_says_why() {
        let found = examine(Path::new("/proc/self")).unwrap();
        assert!(found.refused.is_some(), "{found:?}");
        assert!(matches!(found.kind, FsKind::Other(_)), "{found:?}");
        assert_eq!(FsKind::of(0xef53).name(), "ext4");
    }
}
