//! A watched folder on its disk: what is in it, what a file holds, what becomes of it. Whoever calls may wait for
//! the disk.
//!
//! Others write into the folder, perhaps hostile ones. So every file is reached by its name in the open folder,
//! and no symlink is followed: it could show us what its maker may not read.
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fstat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

/// Names that are looked at in a folder; more are looked at when some of these are gone.
const NAMES: usize = 100_000;
/// Bytes of a .torrent file at most, as many as `add` takes over the control socket.
const MAX_LEN: u64 = 45 << 20;
/// Names that are tried for a file that is renamed.
const NUMBERS: u32 = 100;

/// What tells whether a file is the one that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    /// Its number within its file system.
    pub(super) inode: u64,
    /// Bytes.
    pub(super) len: u64,
    /// When it was changed: seconds from the Unix epoch.
    pub(super) secs: i64,
    /// And nanoseconds.
    pub(super) nanos: u32,
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Stamp { inode: stat.st_ino, len: stat.st_size as u64, secs: stat.st_mtime, nanos }
    }
}

/// What may hold a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A .torrent file.
    Torrent,
    /// A text file with a magnet link.
    Magnet,
}

/// What a file's name says of it; `None` for all that is no business of ours.
pub(super) fn kind(name: &OsStr) -> Option<Kind> {
    let name = name.as_bytes();
    let ends = |end: &str| {
        let at = name.len().checked_sub(end.len());
        at.is_some_and(|at| at > 0 && name[at..].eq_ignore_ascii_case(end.as_bytes()))
    };
    match name.first() {
        // Hidden: what programs write to before they give a file its name.
        None | Some(b'.') => None,
        _ if ends(".torrent") => Some(Kind::Torrent),
        _ if ends(".magnet") => Some(Kind::Magnet),
        _ => None,
    }
}

/// What a look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Files to deal with.
    pub(super) files: Vec<(OsString, Stamp)>,
    /// What has the name of one and is none: a symlink, say.
    pub(super) odd: Vec<OsString>,
    /// There are more than were looked at.
    pub(super) more: bool,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: OwnedFd,
    /// Device and number.
    pub(super) identity: (u64, u64),
}

impl Folder {
    /// Opens it.
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        let dir = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&dir)?;
        Ok(Folder { dir, identity: (stat.st_dev, stat.st_ino) })
    }

    /// What is in it, but for files that are known.
    pub(super) fn look(&self, known: &HashSet<Stamp>) -> io::Result<Found> {
        let mut found = Found::default();
        let mut looked = 0;
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if kind(name).is_none() {
                continue;
            }
            if looked == NAMES {
                found.more = true;
                break;
            }
            looked += 1;
            // It may be gone by now.
            let Ok(stat) = self.stat(name) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if known.contains(&Stamp::of(&stat)) => {}
                FileType::RegularFile => found.files.push((name.to_owned(), Stamp::of(&stat))),
                _ => found.odd.push(name.to_owned()),
            }
        }
        Ok(found)
    }

    /// What a file holds.
    ///
    /// # Errors
    /// It is gone, not a file any more, too large, or can't be read.
    pub(super) fn read(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        // Opening a pipe or a device must neither wait nor do anything.
        let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.dir, name, how, Mode::empty())?);
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_LEN {
            true => {
                Err(io::Error::other(format!("it has more than {MAX_LEN} bytes, too many for a torrent")))
            }
            false => Ok(bytes),
        }
    }

    /// Deletes a file, if it is still the one that was seen.
    pub(super) fn delete(&self, name: &OsStr, stamp: &Stamp) -> io::Result<()> {
        if !self.is_still(name, stamp) {
            return Ok(());
        }
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Puts `suffix` behind a file's name, if it is still the one that was seen. A name that is taken gets a
    /// number. Returns the new name; `None` if the file isn't that one any more.
    pub(super) fn rename(&self, name: &OsStr, stamp: &Stamp, suffix: &str) -> io::Result<Option<OsString>> {
        for number in 0..NUMBERS {
            if !self.is_still(name, stamp) {
                return Ok(None);
            }
            let number = if number == 0 { String::new() } else { format!(".{number}") };
            let new = OsString::from_vec([name.as_bytes(), suffix.as_bytes(), number.as_bytes()].concat());
            match self.rename_to(name, &new) {
                Ok(()) => return Ok(Some(new)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other(format!("there are {NUMBERS} files with {suffix} behind that name")))
    }

    fn rename_to(&self, name: &OsStr, new: &OsStr) -> Result<(), Errno> {
        match renameat_with(&self.dir, name, &self.dir, new, RenameFlags::NOREPLACE) {
            // The file system doesn't have that (NFS, FUSE).
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match self.stat(new) {
                Ok(_) => Err(Errno::EXIST),
                Err(_) => renameat(&self.dir, name, &self.dir, new),
            },
            renamed => renamed,
        }
    }

    fn is_still(&self, name: &OsStr, stamp: &Stamp) -> bool {
        self.stat(name).is_ok_and(|stat| Stamp::of(&stat) == *stamp)
    }

    fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn stamp(folder: &Folder, name: &str) -> Stamp {
        Stamp::of(&folder.stat(OsStr::new(name)).unwrap())
    }

    #[test]
    fn only_names_of_torrents_count() {
        for (name, want) in [
            ("a.torrent", Some(Kind::Torrent)),
            ("A.TORRENT", Some(Kind::Torrent)),
            ("ä b.magnet", Some(Kind::Magnet)),
            (".torrent", None),
            (".a.torrent", None),
            ("a.torrent.added", None),
            ("a.torrent.error", None),
            ("torrent", None),
            ("", None),
        ] {
            assert_eq!(kind(OsStr::new(name)), want, "{name}");
        }
    }

    #[test]
    fn files_are_found_and_neither_symlinks_nor_folders_nor_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.torrent", "b.torrent", "c.txt", ".d.torrent"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        symlink("/etc/passwd", dir.path().join("link.torrent")).unwrap();
        fs::create_dir(dir.path().join("dir.torrent")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let known = HashSet::from([stamp(&folder, "a.torrent")]);
        let mut found = folder.look(&known).unwrap();
        found.odd.sort();
        assert_eq!(found.files, [("b.torrent".into(), stamp(&folder, "b.torrent"))]);
        assert_eq!(found.odd, ["dir.torrent", "link.torrent"]);
        assert!(!found.more);
        assert_eq!(folder.look(&known).unwrap().files.len(), 1, "a second look sees the same");
    }

    #[test]
    fn what_a_file_holds_is_read_and_nothing_beyond_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.torrent"), "content").unwrap();
        symlink("/etc/passwd", dir.path().join("link.torrent")).unwrap();
        let big = File::create(dir.path().join("big.torrent")).unwrap();
        big.set_len(MAX_LEN + 1).unwrap();
        rustix::fs::mknodat(CWD, dir.path().join("pipe.torrent"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let read = |name: &str| folder.read(OsStr::new(name)).map_err(|error| error.to_string());
        assert_eq!(read("a.torrent").unwrap(), b"content");
        for (name, why) in [
            ("link.torrent", "symbolic"),
            ("big.torrent", "too many for a torrent"),
            ("pipe.torrent", "not a file"),
            ("gone.torrent", "No such file"),
        ] {
            assert!(read(name).unwrap_err().contains(why), "{name}");
        }
    }

    #[test]
    fn a_file_is_renamed_or_deleted_unless_it_is_another_by_then() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let name = OsStr::new("a.torrent");
        for want in ["a.torrent.added", "a.torrent.added.1", "a.torrent.added.2"] {
            write("a.torrent", want);
            let renamed = folder.rename(name, &stamp(&folder, "a.torrent"), ".added").unwrap();
            assert_eq!(renamed.as_deref(), Some(OsStr::new(want)));
        }
        assert_eq!(
            fs::read(dir.path().join("a.torrent.added")).unwrap(),
            b"a.torrent.added",
            "nothing is replaced"
        );

        write("a.torrent", "one");
        let seen = stamp(&folder, "a.torrent");
        write("a.torrent", "another");
        assert_eq!(folder.rename(name, &seen, ".error").unwrap(), None);
        folder.delete(name, &seen).unwrap();
        assert!(names(dir.path()).contains(&"a.torrent".to_owned()));
        folder.delete(name, &stamp(&folder, "a.torrent")).unwrap();
        folder.delete(name, &seen).unwrap();
        assert_eq!(names(dir.path()), ["a.torrent.added", "a.torrent.added.1", "a.torrent.added.2"]);
    }
}
