//! Sockets that systemd bound for us and hands over at the start (`wgod.socket`; sd_listen_fds(3)).
//!
//! `main` takes them before anything else opens a descriptor. Their files belong to systemd, which goes
//! on listening when we have ended; so we never remove them.
#![allow(unsafe_code, reason = "one block that takes ownership of what systemd passes")]
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// `FileDescriptorName=` of the control socket.
const CONTROL: &str = "control";

/// `FileDescriptorName=` of the one for lookers.
const LOOKING: &str = "control-ro";

/// What a socket has that nobody named (sd_listen_fds_with_names(3)); `systemd-socket-activate` passes
/// such.
const UNNAMED: &str = "unknown";

/// Sockets that listen already.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The control socket.
    pub control: Option<UnixListener>,
    /// The one for lookers.
    pub looking: Option<UnixListener>,
}

impl Inherited {
    /// Where the control socket is, if it was handed over and has a name in the file system.
    pub fn control_path(&self) -> Option<PathBuf> {
        path_of(self.control.as_ref()?)
    }
}

/// Where a listener is, if it has a name in the file system.
pub fn path_of(listener: &UnixListener) -> Option<PathBuf> {
    listener.local_addr().ok()?.as_pathname().map(Into::into)
}

/// Why what systemd hands over can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The environment is not what systemd writes.
    #[error("the sockets that the service manager announces can't be taken over ($LISTEN_FDS): {0}")]
    Announced(io::Error),
    /// Taken before.
    #[error("the service manager's sockets were taken over already")]
    Twice,
    /// A name that says nothing to us.
    #[error(
        "the service manager hands over a socket named {0:?}; set FileDescriptorName={CONTROL} in the unit of \
         the control socket, FileDescriptorName={LOOKING} in that of the read-only one"
    )]
    Name(String),
    /// Two of one name.
    #[error(
        "the service manager hands over two sockets named {0}; one unit of each is enough, with one ListenStream="
    )]
    Several(&'static str),
    /// Not a stream socket of this machine that listens.
    #[error(
        "the service manager hands over as {0} what is not a listening Unix socket; ListenStream= takes a path"
    )]
    Kind(&'static str),
}

/// The sockets that systemd hands over to this process; none where it was started otherwise.
///
/// # Errors
/// They aren't the ones that our units describe.
pub fn take() -> Result<Inherited, ActivationError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let passed: Vec<(RawFd, String)> =
        sd_notify::listen_fds_with_names().map_err(ActivationError::Announced)?.collect();
    if passed.is_empty() {
        return Ok(Inherited::default());
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(ActivationError::Twice);
    }
    // All are owned, so closed, whatever is wrong with one.
    let passed: Vec<(OwnedFd, String)> = passed
        .into_iter()
        // SAFETY: the descriptor is open: `listen_fds_with_names` has just set a flag of it. It is nobody
        // else's: systemd passes it to the process that $LISTEN_PID names, which is this one, to own, and
        // `TAKEN` keeps it from being owned twice.
        .map(|(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name))
        .collect();
    let alone = passed.len() == 1;
    let mut inherited = Inherited::default();
    for (fd, name) in passed {
        let (place, name) = match name.as_str() {
            CONTROL => (&mut inherited.control, CONTROL),
            LOOKING => (&mut inherited.looking, LOOKING),
            UNNAMED if alone => (&mut inherited.control, CONTROL),
            _ => return Err(ActivationError::Name(name)),
        };
        let listener = listener(fd).ok_or(ActivationError::Kind(name))?;
        if place.replace(listener).is_some() {
            return Err(ActivationError::Several(name));
        }
    }
    Ok(inherited)
}

/// `None` when it isn't a Unix socket that listens.
fn listener(fd: OwnedFd) -> Option<UnixListener> {
    let socket = fd.as_fd();
    let fits = sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(socket) == Ok(true);
    let listener = UnixListener::from(fd);
    (fits && listener.set_nonblocking(true).is_ok()).then_some(listener)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_a_unix_socket_that_listens_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let taken = listener(UnixListener::bind(&path).unwrap().into()).unwrap();
        assert_eq!(path_of(&taken), Some(path.clone()));
        assert_eq!(taken.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it must not block");
        drop(taken);
        assert!(path.exists(), "it is not ours to remove");
        let (connected, _peer) = UnixStream::pair().unwrap();
        assert!(listener(connected.into()).is_none());
        assert!(listener(TcpListener::bind("127.0.0.1:0").unwrap().into()).is_none());
        assert!(listener(tempfile::tempfile().unwrap().into()).is_none());
    }
}
