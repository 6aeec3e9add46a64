//! The plan handed to the kernel's Landlock (landlock(7)): a process gives up every access to files that no
//! rule grants, for itself and all that it starts.
//!
//! A rule belongs to a folder's inode and covers what is below it, mounts that come later too. What is
//! mounted on that very folder later hides the inode, and the rule with it.
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use rustix::fs::FileType;

use super::plan::{Grant, Rights};
use crate::files::{AllowedFolder, BlockingDisk, RealDisk, real_path};

/// The newest version of the interface whose rights to files this program knows it does without. Older
/// kernels control fewer of them.
const KNOWN: ABI = ABI::V5;

/// An allowed folder, found.
pub(super) struct Folder {
    pub(super) allowed: AllowedFolder,
    /// `None`: it can't be granted.
    pub(super) open: Option<PathFd>,
}

/// Why nothing is enforced.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unenforced {
    #[error(
        "this kernel was built without it (Linux has it from 5.13), or the service's system call filter keeps it back"
    )]
    Missing,
    #[error("it is switched off on this machine; the kernel's parameter lsm= turns it on")]
    Disabled,
    #[error("the kernel took no rule")]
    Nothing,
    #[error(transparent)]
    Refused(#[from] RulesetError),
}

/// Finds an allowed folder, and why it can't be granted. May wait for its file system.
pub(super) fn look(path: &Path) -> (Folder, Option<io::Error>) {
    let disk = BlockingDisk::new(Arc::new(RealDisk));
    let real = real_path(&disk, path).unwrap_or_else(|_| path.to_owned());
    let (open, identity, why) = match open(&real) {
        Ok((open, identity)) => (Some(open), Some(identity), None),
        Err(error) => (None, None, Some(error)),
    };
    (Folder { allowed: AllowedFolder { given: path.to_owned(), real, identity }, open }, why)
}

fn open(folder: &Path) -> io::Result<(PathFd, (u64, u64))> {
    // The trailing point has an automatic mount made, whose inode is the one to know.
    let inside = folder.join(".");
    let found = inside.metadata()?;
    let open = PathFd::new(&inside).map_err(io::Error::other)?;
    Ok((open, (found.dev(), found.ino())))
}

/// Gives up all access to files but what is granted; returns the version of the interface in force.
pub(super) fn enforce<'a>(
    grants: &[Grant],
    folders: impl IntoIterator<Item = &'a Folder>,
) -> Result<u32, Unenforced> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.scope(Scope::Signal)?;
    let mut ruleset = ruleset.create()?;
    for Grant { path, rights } in grants {
        // What isn't there need not be reached.
        if let Ok(open) = PathFd::new(path) {
            let access = access(*rights) & for_kind(&open);
            ruleset = ruleset.add_rule(PathBeneath::new(open, access))?;
        }
    }
    for open in folders.into_iter().filter_map(|folder| folder.open.as_ref()) {
        ruleset = ruleset.add_rule(PathBeneath::new(open, access(Rights::Own)))?;
    }
    let status = ruleset.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (_, LandlockStatus::NotEnabled) => Err(Unenforced::Disabled),
        (_, LandlockStatus::NotImplemented) => Err(Unenforced::Missing),
        (RulesetStatus::NotEnforced, _) => Err(Unenforced::Nothing),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as u32),
    }
}

fn access(rights: Rights) -> BitFlags<AccessFs> {
    match rights {
        Rights::Own => make_bitflags!(AccessFs::{
            ReadFile | WriteFile | Truncate | ReadDir | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir | Refer
        }),
        // Listing is what opens the folder, for its lock.
        Rights::Sockets => make_bitflags!(AccessFs::{ ReadDir | MakeSock | RemoveFile }),
        Rights::Read => make_bitflags!(AccessFs::{ ReadFile | ReadDir }),
    }
}

/// The rights that there are to a file, or to a folder.
fn for_kind(open: &PathFd) -> BitFlags<AccessFs> {
    let kind = rustix::fs::fstat(open.as_fd()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if kind == Ok(FileType::Directory) { AccessFs::from_all(KNOWN) } else { AccessFs::from_file(KNOWN) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Runs `test` on a thread that is confined to `own`, with `sockets` and `read` beside it; whether the kernel can.
    fn confined(own: &Path, grants: &[Grant], test: impl FnOnce() + Send) {
        let enforced = std::thread::scope(|scope| {
            let confined = scope.spawn(|| {
                let enforced = enforce(grants, &[look(own).0]);
                if enforced.is_ok() {
                    test();
                }
                enforced
            });
            confined.join().unwrap()
        });
        if let Err(error) = enforced {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("SKIPPED: Landlock is not to be had here: {error}");
        }
    }

    fn refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_confined_thread_does_all_that_it_needs_in_its_folders_and_nothing_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        let [own, other, read, sockets] = ["own", "other", "read", "sockets"].map(|name| top.join(name));
        for folder in [&own, &other, &read, &sockets] {
            fs::create_dir_all(folder.join("sub")).unwrap();
            fs::write(folder.join("file"), "old").unwrap();
        }
        symlink(&other, own.join("out")).unwrap();
        fs::write(top.join("single"), "x").unwrap();
        let grants = [
            Grant { path: read.clone(), rights: Rights::Read },
            Grant { path: sockets.clone(), rights: Rights::Sockets },
            Grant { path: top.join("single"), rights: Rights::Read },
            Grant { path: top.join("missing"), rights: Rights::Read },
        ];
        confined(&own, &grants, || {
            fs::create_dir(own.join("new")).unwrap();
            fs::write(own.join("new/a"), "payload").unwrap();
            fs::rename(own.join("new/a"), own.join("sub/b")).unwrap();
            fs::OpenOptions::new().write(true).open(own.join("sub/b")).unwrap().set_len(3).unwrap();
            symlink("b", own.join("sub/link")).unwrap();
            assert_eq!(fs::read(own.join("sub/link")).unwrap(), b"pay");
            fs::remove_file(own.join("sub/b")).unwrap();
            fs::remove_dir(own.join("new")).unwrap();

            assert_eq!(fs::read(read.join("file")).unwrap(), b"old");
            assert_eq!(fs::read(top.join("single")).unwrap(), b"x");
            drop(UnixListener::bind(sockets.join("s")).unwrap());
            fs::remove_file(sockets.join("s")).unwrap();

            for forbidden in [&other, &sockets, &own.join("out")] {
                assert!(refused(fs::read(forbidden.join("file"))), "{}", forbidden.display());
                assert!(refused(fs::write(forbidden.join("file"), "new")));
                assert!(refused(fs::create_dir(forbidden.join("new"))));
            }
            assert!(refused(fs::read_dir(&other)));
            assert!(refused(fs::remove_file(other.join("file"))));
            assert!(refused(fs::write(read.join("file"), "new")));
            assert!(fs::rename(own.join("file"), other.join("moved")).is_err());
            assert!(refused(UnixListener::bind(own.join("s"))));
        });
        assert_eq!(fs::read(other.join("file")).unwrap(), b"old");
    }

    #[test]
    fn what_is_no_folder_is_not_granted_and_its_place_is_known_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::write(top.join("file"), "").unwrap();
        symlink(&top, top.join("link")).unwrap();
        for (path, real, why) in [
            ("link/file", "file", io::ErrorKind::NotADirectory),
            ("link/new", "new", io::ErrorKind::NotFound),
        ] {
            let (folder, error) = look(&top.join(path));
            assert_eq!(error.map(|error| error.kind()), Some(why), "{path}");
            assert!(folder.open.is_none() && folder.allowed.identity.is_none());
            assert_eq!(folder.allowed.real, top.join(real));
        }
    }
}
