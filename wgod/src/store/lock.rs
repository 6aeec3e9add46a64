//! The state directory as a possession: it is made private, and one daemon at a time holds it.
//!
//! This alone goes past the `Disk` seam: a lock is a matter between processes, not of content.
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

/// The file in the state directory that carries the lock and says who holds it.
pub(super) const LOCK_FILE: &str = "lock";

/// More than a path can have: what is longer wasn't written by a wgod.
const MAX_OWNER_LEN: u64 = 8192;

/// Possession of a state directory, until dropped or the process ends.
#[derive(Debug)]
pub(super) struct DirLock {
    /// Holds the `flock`.
    file: File,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file isn't enough: a program that is just being started (a hook) has a copy of it until its `exec`,
        // and the next daemon would be refused meanwhile.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl DirLock {
    /// Makes `dir` if it is missing, for its owner alone, and takes its lock.
    pub(super) fn take(dir: &Path, socket: &Path) -> Result<DirLock, StoreError> {
        make_state_dir(dir)?;
        let path = dir.join(LOCK_FILE);
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = how.open(&path).map_err(|e| StoreError::io("cannot open", &path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let (pid, socket) = read_owner(&mut file).unwrap_or_default();
                return Err(StoreError::Locked { state_dir: dir.to_owned(), pid, socket });
            }
            Err(e) => return Err(StoreError::io("cannot lock", &path, e.into())),
        }
        write_owner(&mut file, socket).map_err(|e| StoreError::io("cannot write", &path, e))?;
        Ok(DirLock { file })
    }
}

/// Makes a state directory if it is missing, for its owner alone.
pub fn make_state_dir(dir: &Path) -> Result<(), StoreError> {
    make_dir(dir)
}

/// Makes a directory for its owner alone, if it is missing.
pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| StoreError::io("cannot create the directory", dir, e))
}

/// Makes the names durable that lead to `dir`, which no sync of anything in it does: of the folders above it on its
/// file system, which an earlier run may have made and been killed before this. One that can't be opened was made by
/// somebody else.
pub(super) fn sync_way_to(dir: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path, e| StoreError::io("cannot sync the directory", path, e);
    let dir = std::path::absolute(dir).map_err(|e| failed(dir, e))?;
    let device = std::fs::metadata(&dir).map_err(|e| failed(&dir, e))?.dev();
    for above in dir.ancestors().skip(1) {
        match File::open(above) {
            Ok(folder) if folder.metadata().is_ok_and(|meta| meta.dev() == device) => {
                folder.sync_all().map_err(|e| failed(above, e))?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// Makes a file for its owner alone, before anything is in it, if it is missing.
pub(super) fn make_private_file(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|e| StoreError::io("cannot create", path, e))?;
    make_private(path)
}

/// Takes a file of the state directory from group and others, where the umask left them something.
pub(super) fn make_private(path: &Path) -> Result<(), StoreError> {
    let result = std::fs::set_permissions(path, Permissions::from_mode(0o600));
    result.map_err(|e| StoreError::io("cannot set the mode of", path, e))
}

/// Gives a file of the state directory to the owner of that, who runs the daemon: what root makes there by
/// hand would be closed to it.
pub(super) fn give_to_owner(dir: &Path, name: &str) -> Result<(), StoreError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let path = dir.join(name);
    let owner = std::fs::metadata(dir).map_err(|e| StoreError::io("cannot look at", dir, e))?;
    let given = std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid()));
    given.map_err(|e| StoreError::io("cannot change the owner of", path, e))
}

/// `PID \n SOCKET`, the socket's path as raw bytes to the end of the file.
fn write_owner(file: &mut File, socket: &Path) -> io::Result<()> {
    let mut owner = format!("{}\n", std::process::id()).into_bytes();
    owner.extend_from_slice(socket.as_os_str().as_bytes());
    file.set_len(0)?;
    file.write_all(&owner)
}

/// Empty between an owner's taking the lock and its writing this.
fn read_owner(file: &mut File) -> io::Result<(Option<u32>, Option<PathBuf>)> {
    let mut owner = Vec::new();
    file.take(MAX_OWNER_LEN).read_to_end(&mut owner)?;
    let mut parts = owner.splitn(2, |&b| b == b'\n');
    let pid = parts.next().and_then(|pid| std::str::from_utf8(pid).ok()?.parse().ok());
    let socket = parts.next().filter(|s| !s.is_empty()).map(|s| PathBuf::from(OsStr::from_bytes(s)));
    Ok((pid, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_learns_who_holds_the_directory_and_the_next_one_gets_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let socket = Path::new(OsStr::from_bytes(b"/run/w\xffgod\n/socket"));
        let first = DirLock::take(&dir, socket).unwrap();
        match DirLock::take(&dir, Path::new("/elsewhere")) {
            Err(StoreError::Locked { state_dir, pid, socket: held }) => {
                assert_eq!(state_dir, dir);
                assert_eq!(pid, Some(std::process::id()));
                assert_eq!(held.as_deref(), Some(socket));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        DirLock::take(&dir, Path::new("/elsewhere")).unwrap();
    }

    #[test]
    fn it_is_given_up_although_a_copy_of_its_file_is_open() {
        let root = tempfile::tempdir().unwrap();
        let lock = DirLock::take(root.path(), Path::new("s")).unwrap();
        let _copy = lock.file.try_clone().unwrap();
        drop(lock);
        DirLock::take(root.path(), Path::new("s")).unwrap();
    }

    #[test]
    fn directory_and_lock_file_are_the_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        let _lock = DirLock::take(&dir, Path::new("s")).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join(LOCK_FILE)), 0o600);
    }

    #[test]
    fn the_message_names_owner_and_socket_when_they_are_known() {
        let locked = |pid, socket| StoreError::Locked { state_dir: "/s".into(), pid, socket }.to_string();
        let full = locked(Some(7), Some("/run/x".into()));
        assert!(full.contains("/s") && full.contains("process 7") && full.contains("/run/x"), "{full}");
        assert!(!locked(None, None).contains("process"));
    }
}
