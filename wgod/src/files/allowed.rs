//! The folders that torrents may lie in (`[storage] allowed_folders`), and what an access that was refused
//! on their account is called.
//!
//! A path is judged twice: by how it is written, which asks no disk, so that nobody can learn through wgod what
//! there is elsewhere; then by where it really leads, symlinks followed. The kernel's Landlock, where there
//! is one, holds the process to the same folders (`confine/`).
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::blocking_disk::BlockingDisk;
use super::disk::At;
use super::error::{DiskError, DiskErrorKind, DiskOp};

/// The folders that torrents may lie in. Doesn't change while the daemon runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `None`: any.
    folders: Option<Vec<AllowedFolder>>,
    /// The kernel holds us to them, as they were at the start.
    enforced: bool,
}

/// One of them, as it was at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedFolder {
    /// The absolute path that the operator gave.
    pub given: PathBuf,
    /// The same folder, without symlinks.
    pub real: PathBuf,
    /// Device and inode; `None` when it wasn't there.
    pub identity: Option<(u64, u64)>,
}

impl Allowed {
    /// Any folder.
    pub fn any() -> Allowed {
        Allowed::default()
    }

    /// These folders and what is below them. `enforced`: the kernel knows them, by the inodes they had.
    pub fn only(folders: Vec<AllowedFolder>, enforced: bool) -> Allowed {
        Allowed { folders: Some(folders), enforced }
    }

    /// The folders as they were given; `None` when any will do.
    pub fn folders(&self) -> Option<impl Iterator<Item = &Path>> {
        self.folders.as_ref().map(|folders| folders.iter().map(|folder| folder.given.as_path()))
    }

    /// Whether `path`, as it is written, is one of the folders or below one. One with `..` is not: where that
    /// leads depends on symlinks.
    pub fn names(&self, path: &Path) -> bool {
        let climbs = path.components().any(|component| component == Component::ParentDir);
        self.has(|folder| !climbs && (path.starts_with(&folder.given) || path.starts_with(&folder.real)))
    }

    /// Whether `path`, which has no symlinks, is one of the folders or below one.
    pub fn holds(&self, path: &Path) -> bool {
        self.has(|folder| path.starts_with(&folder.real))
    }

    fn has(&self, is_it: impl Fn(&AllowedFolder) -> bool) -> bool {
        self.folders.as_ref().is_none_or(|folders| folders.iter().any(is_it))
    }

    /// Refuses a torrent's folder by how it is written.
    pub(super) fn admit(&self, folder: &Path) -> Result<(), DiskError> {
        if self.names(folder) { Ok(()) } else { Err(outside(folder)) }
    }

    /// Refuses a torrent's path by where it leads.
    pub(super) fn admit_real(&self, path: &Path) -> Result<(), DiskError> {
        if self.holds(path) { Ok(()) } else { Err(outside(path)) }
    }

    /// Finds out whether an access was refused because of these folders, which the kernel doesn't tell.
    pub(super) fn explain(&self, disk: &BlockingDisk, error: DiskError) -> DiskError {
        let (Some(folders), DiskErrorKind::Permission) = (&self.folders, error.kind) else { return error };
        let Ok(real) = real_path(disk, &error.path) else { return error };
        let Some(folder) = folders.iter().find(|folder| real.starts_with(&folder.real)) else {
            return DiskError { path: real, errno: None, kind: DiskErrorKind::Outside, ..error };
        };
        let now = disk.stat(At::path(&folder.real)).ok().map(|stat| (stat.device, stat.inode));
        match self.enforced && now != folder.identity {
            true => DiskError { kind: DiskErrorKind::Replaced, ..error },
            false => error,
        }
    }
}

/// The folders in a message, as given.
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(folders) = &self.folders else { return f.write_str("any folder") };
        for (n, folder) in folders.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{}", folder.given.display())?;
        }
        Ok(())
    }
}

fn outside(path: &Path) -> DiskError {
    DiskError::of_kind(DiskOp::Open, path, DiskErrorKind::Outside)
}

/// Where `path` leads, symlinks followed, of which the end need not exist. Opens nothing, so that it can be
/// asked where opening is refused.
pub(crate) fn real_path(disk: &BlockingDisk, path: &Path) -> Result<PathBuf, DiskError> {
    for existing in path.ancestors() {
        match disk.canonical(existing) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(DiskError::new(DiskOp::Stat, existing, &e)),
            Ok(real) => {
                let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
                return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
            }
        }
    }
    Err(DiskError::of_kind(DiskOp::Stat, path, DiskErrorKind::Missing))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::sync::Arc;

    use super::*;
    use crate::files::RealDisk;

    fn folder(given: &str, real: &str) -> AllowedFolder {
        AllowedFolder { given: given.into(), real: real.into(), identity: None }
    }

    #[test]
    fn a_path_is_judged_by_whole_components_and_never_climbs() {
        let allowed = Allowed::only(vec![folder("/srv/a", "/srv/a"), folder("/media", "/mnt/disk")], false);
        for (path, named, held) in [
            ("/srv/a", true, true),
            ("/srv/a/", true, true),
            ("/srv/a/x/y", true, true),
            ("/srv/a/./x", true, true),
            ("/srv/ab", false, false),
            ("/srv", false, false),
            ("/", false, false),
            ("/srv/a/../b", false, true),
            ("/media/x", true, false),
            ("/mnt/disk/x", true, true),
            ("srv/a", false, false),
        ] {
            assert_eq!((allowed.names(path.as_ref()), allowed.holds(path.as_ref())), (named, held), "{path}");
            assert!(Allowed::any().names(path.as_ref()) && Allowed::any().holds(path.as_ref()));
        }
        assert_eq!(allowed.to_string(), "/srv/a, /media");
    }

    #[test]
    fn the_end_of_a_path_need_not_exist_to_know_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("in/deep")).unwrap();
        symlink(&top, top.join("in/out")).unwrap();
        symlink(top.join("nowhere"), top.join("in/dangling")).unwrap();
        let disk = BlockingDisk::new(Arc::new(RealDisk));
        for (path, real) in
            [("in/deep/new/er", "in/deep/new/er"), ("in/out/new", "new"), ("in/dangling", "in/dangling")]
        {
            assert_eq!(real_path(&disk, &top.join(path)).unwrap(), top.join(real), "{path}");
        }
    }

    #[test]
    fn a_refused_access_is_told_apart_from_missing_rights() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("in")).unwrap();
        std::fs::create_dir_all(top.join("other")).unwrap();
        symlink(&top, top.join("in/out")).unwrap();
        let meta = top.join("in").metadata().unwrap();
        let known = |identity| AllowedFolder { given: top.join("in"), real: top.join("in"), identity };
        let same = Some((meta.dev(), meta.ino()));
        let disk = BlockingDisk::new(Arc::new(RealDisk));
        let explained = |identity, enforced, path: &str, kind| {
            let error = DiskError::of_kind(DiskOp::Open, top.join(path), kind);
            Allowed::only(vec![known(identity)], enforced).explain(&disk, error).kind
        };
        let error = DiskError::of_kind(DiskOp::Open, top.join("in/out/x"), DiskErrorKind::Permission);
        let explained_error = Allowed::only(vec![known(same)], true).explain(&disk, error);
        assert_eq!(explained_error.path, top.join("x"), "where it leads");
        use DiskErrorKind::{Io, Outside, Permission, Replaced};
        for (identity, enforced, path, kind, want) in [
            (same, true, "in/x", Permission, Permission),
            (same, true, "other/x", Permission, Outside),
            (same, true, "in/out/x", Permission, Outside),
            (None, true, "in/x", Permission, Replaced),
            (Some((1, 1)), true, "in/x", Permission, Replaced),
            (Some((1, 1)), false, "in/x", Permission, Permission),
            (same, true, "other/x", Io, Io),
        ] {
            assert_eq!(explained(identity, enforced, path, kind), want, "{path} {identity:?}");
        }
    }
}
