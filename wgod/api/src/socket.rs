//! The Unix socket on disk: bound with the right mode, taken over from a dead daemon only, removed at
//! the end; and whether a client may use it.
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Read and write for the owner and the group: connecting takes write permission.
pub const MODE: u32 = 0o660;

/// Mode of a folder that has to be made for the socket.
const FOLDER_MODE: u32 = 0o750;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Why the socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error("{}: another daemon answers on this socket; stop it with `wgoctl quit`, or give this one another socket", .0.display())]
    InUse(PathBuf),
    /// Something that we did not make.
    #[error("{}: exists and is not a socket; remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Longer than the kernel takes.
    #[error("{}: the path of a socket may have at most 107 bytes", .0.display())]
    TooLong(PathBuf),
    /// The operating system refuses.
    #[error("{}: cannot {action}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether this process may use a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It may connect, as far as permissions go.
    Usable,
    /// The socket, or a folder on the way to it, is for others.
    Forbidden,
    /// There is nothing.
    Absent,
}

/// Whether this process may use the socket at `path`, as far as that can be told without connecting.
pub fn reach(path: &Path) -> Reach {
    match rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        Err(Errno::ACCESS | Errno::PERM) => Reach::Forbidden,
        Err(Errno::NOENT | Errno::NOTDIR) => Reach::Absent,
        // Whatever else is wrong with it, connecting tells better.
        Ok(()) | Err(_) => Reach::Usable,
    }
}

/// Where the read-only socket is that belongs to the one at `path`: in the folder beside, `-ro` behind
/// both names, so that another group can own that folder. `/run/wgod/wgod.sock` has
/// `/run/wgod-ro/wgod-ro.sock`.
pub fn looking_twin(path: &Path) -> Option<PathBuf> {
    let mut folder = path.parent()?.file_name()?.to_owned();
    folder.push(LOOKING);
    let mut name = path.file_stem()?.to_owned();
    name.push(LOOKING);
    let twin = path.parent()?.with_file_name(folder).join(name);
    Some(path.extension().map_or(twin.clone(), |extension| twin.with_added_extension(extension)))
}

/// What the names of a read-only socket and its folder end in.
const LOOKING: &str = "-ro";

/// What to do about a refusal.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that runs the daemon needs to own the socket's folder, or give the socket another path"
        }
        _ => "",
    }
}

/// The socket's place in the file system. Dropping it removes the socket, if it still is this one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: after someone put another socket there, it isn't ours to remove.
    identity: (u64, u64),
    /// Keeps the inode's number from being given to another file.
    _pin: OwnedFd,
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity);
        if still_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Binds `path` and listens, non-blocking. Folders on the way are made.
///
/// The mode holds from the start: it is set on the socket before `bind`, which gives the file that
/// mode less the umask (`unix_bind_bsd`), and what the umask took is added before `listen`, until
/// which the kernel refuses every connection. So at no time can someone connect whom `mode` forbids.
///
/// A lock on the folder makes daemons that start at once take turns.
///
/// # Errors
/// A daemon answers there, something else is there, or the system refuses.
pub fn bind(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), SocketError> {
    let failed = |action| {
        let path = path.to_owned();
        move |source: io::Error| SocketError::Io { action, path, source }
    };
    let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong(path.to_owned()))?;
    make_folder(path)?;
    let lock = File::open(folder_of(path)).map_err(failed("open the folder of the socket"))?;
    let taken = rustix::fs::flock(&lock, FlockOperation::LockExclusive);
    taken.map_err(|e| failed("lock the folder of the socket")(e.into()))?;

    let socket = new_socket().map_err(|e| failed("make a socket")(e.into()))?;
    rustix::fs::fchmod(&socket, Mode::from_bits_truncate(mode))
        .map_err(|e| failed("set the mode of the socket")(e.into()))?;
    let mut bound = rustix::net::bind(&socket, &address);
    if bound == Err(Errno::ADDRINUSE) {
        remove_stale(path, &address)?;
        bound = rustix::net::bind(&socket, &address);
    }
    bound.map_err(|e| failed("bind the socket")(e.into()))?;

    let found = fs::symlink_metadata(path).map_err(failed("look at the socket"))?;
    let pin = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| failed("look at the socket")(e.into()))?;
    let file = SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()), _pin: pin };
    if found.mode() & 0o777 != mode {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, permissions).map_err(failed("set the mode of the socket"))?;
    }
    rustix::net::listen(&socket, BACKLOG).map_err(|e| failed("listen on the socket")(e.into()))?;
    Ok((UnixListener::from(socket), file))
}

/// Makes the folder of the socket `path`, and those above it, unless they are there.
///
/// # Errors
/// The system refuses.
pub fn make_folder(path: &Path) -> Result<(), SocketError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder_of(path));
    made.map_err(|source| SocketError::Io {
        action: "make the folder of the socket",
        path: path.to_owned(),
        source,
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes the socket of a daemon that died: one on which nobody listens.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let failed = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    let probe = new_socket().map_err(|e| failed("make a socket")(e.into()))?;
    match rustix::net::connect(probe.as_fd(), address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed("remove the stale socket")),
        Err(Errno::NOENT) => Ok(()),
        // EAGAIN says that the queue of connections is full: somebody listens.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(error) => Err(failed("probe the socket that is there")(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_socket_has_its_mode_and_goes_away_with_its_owner() {
        let dir = folder();
        let path = dir.path().join("new/s");
        let (_listener, file) = bind(&path, MODE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o027, 0);
        assert_eq!(file.path(), path);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn the_read_only_socket_lies_in_a_folder_of_its_own() {
        for (path, twin) in [
            ("/run/wgod/wgod.sock", Some("/run/wgod-ro/wgod-ro.sock")),
            ("/run/wgod@x/wgod.sock", Some("/run/wgod@x-ro/wgod-ro.sock")),
            ("/tmp/d.e/s", Some("/tmp/d.e-ro/s-ro")),
            ("/s", None),
            ("s", None),
        ] {
            assert_eq!(looking_twin(Path::new(path)).as_deref(), twin.map(Path::new), "{path}");
        }
    }

    #[test]
    fn a_live_socket_is_refused_and_a_stale_one_replaced() {
        let dir = folder();
        let path = dir.path().join("s");
        let (listener, file) = bind(&path, MODE).unwrap();
        assert!(matches!(bind(&path, MODE), Err(SocketError::InUse(_))));
        std::mem::drop(listener);
        let (_second, second_file) = bind(&path, 0o600).unwrap();
        drop(file);
        assert!(path.exists(), "the first owner must not remove the second one's socket");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(second_file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = folder();
        let path = dir.path().join("s");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(bind(&path, MODE), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(bind(&long, MODE), Err(SocketError::TooLong(_))));
    }

    #[test]
    fn a_full_queue_of_connections_counts_as_live() {
        let dir = folder();
        let path = dir.path().join("s");
        let (_listener, _file) = bind(&path, MODE).unwrap();
        let address = SocketAddrUnix::new(&path).unwrap();
        let mut held = Vec::new();
        loop {
            let socket = new_socket().unwrap();
            if rustix::net::connect(&socket, &address).is_err() {
                break;
            }
            held.push(socket);
        }
        assert!(matches!(bind(&path, MODE), Err(SocketError::InUse(_))));
    }
}
