//! Mount points: which file system holds a path, by the kernel's table, without a look at any of them.
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its number (`st_dev`).
    pub device: u64,
}

/// The mounted file systems; empty where a disk knows of none. Of several on one point the last is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// These, in the order in which they were mounted.
    pub fn new(mounts: Vec<Mount>) -> Mounts {
        Mounts(mounts)
    }

    /// Those of `/proc/self/mountinfo` (proc_pid_mountinfo(5): field 3 is `major:minor`, field 5 the mount
    /// point). A line that says neither is left out.
    pub fn parse(mountinfo: &str) -> Mounts {
        Mounts(mountinfo.lines().filter_map(parse_line).collect())
    }

    /// The one that holds `path`, if symlinks on the way are not counted.
    pub fn holding(&self, path: &Path) -> Option<&Mount> {
        let over = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // The last of those that are equally deep.
        over.max_by_key(|mount| mount.point.components().count())
    }

    /// Whether nothing is mounted on `point`, as far as anything is known.
    pub fn lacks(&self, point: &Path) -> bool {
        !self.0.is_empty() && self.0.iter().all(|mount| mount.point != point)
    }

    /// What is seen on `point`.
    pub fn on(&self, point: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == point)
    }
}

fn parse_line(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    Some(Mount { point: unescape(fields.nth(1)?), device })
}

/// Undoes the kernel's `\040` for a space, and the like.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                out.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        31 22 0:41 / /mnt rw shared:2 master:1 - tmpfs tmpfs rw,size=100k\n\
        30 31 0:40 / /mnt/my\\040disk rw - nfs nas:/export/my\\040disk rw\n\
        33 22 8:17 /sub /srv/b\\134\\011\\012 rw - xfs /dev/sdb1 rw\n\
        34 22 0:50 / /nas rw - autofs systemd-1 rw\n\
        35 34 0:51 / /nas rw - nfs4 nas:/ rw\n\
        36 22 8:33 / /mnt/gone//deleted rw - ext4 /dev/sdc1 rw\n";

    #[test]
    fn the_deepest_and_latest_mount_holds_a_path() {
        let mounts = Mounts::parse(TABLE);
        for (path, point, major, minor) in [
            ("/home/x", "/", 8, 1),
            ("/", "/", 8, 1),
            ("/mnt/my disk/y", "/mnt/my disk", 0, 40),
            ("/mnt/my disk", "/mnt/my disk", 0, 40),
            ("/mnt/my", "/mnt", 0, 41),
            ("/mntx", "/", 8, 1),
            ("/srv/b\\\t\n/c", "/srv/b\\\t\n", 8, 17),
            ("/nas/films", "/nas", 0, 51),
        ] {
            let want = Mount { point: point.into(), device: fs::makedev(major, minor) };
            assert_eq!(mounts.holding(Path::new(path)), Some(&want), "{path}");
        }
    }

    #[test]
    fn a_point_lacks_its_mount_only_where_mounts_are_known() {
        let mounts = Mounts::parse(TABLE);
        assert!(mounts.lacks(Path::new("/mnt/my")) && mounts.lacks(Path::new("/mnt/my disk/y")));
        assert!(!mounts.lacks(Path::new("/nas")) && !mounts.lacks(Path::new("/")));
        assert_eq!(mounts.on(Path::new("/nas")).map(|mount| mount.device), Some(fs::makedev(0, 51)));
        assert!(!Mounts::default().lacks(Path::new("/mnt")));
    }

    #[test]
    fn lines_that_say_nothing_are_left_out() {
        for garbage in
            ["", "garbage\n\n", "1 2 x:y z", "1 2 8:1", "1 2 8:1 /", "1 2 8 / /a", "\\ \\0 \\1:2 \\"]
        {
            assert_eq!(Mounts::parse(garbage), Mounts::default(), "{garbage:?}");
        }
        assert_eq!(unescape("/a\\04\\"), Path::new("/a\\04\\"), "an escape that is cut short");
    }
}
