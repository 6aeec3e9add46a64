//! `SO_RCVLOWAT`, which no library that we use sets (socket(7)).
#![allow(unsafe_code, reason = "one system call without a safe wrapper")]
use std::os::fd::{AsFd, AsRawFd};

/// The socket counts as readable once `bytes` have come. What can't be set stays as it was.
pub(super) fn set(socket: &impl AsFd, bytes: u32) {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    let pointer = std::ptr::from_ref(&value).cast();
    // SAFETY: the descriptor is borrowed, so it is open; the system reads `len` bytes of `value`, which
    // outlives the call, and keeps no pointer.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, pointer, len) };
    // It fails for a socket that isn't one.
    debug_assert!(set == 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn is_readable(socket: &TcpStream, patience: Duration) -> bool {
        let patience = patience.try_into().unwrap();
        poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&patience)).unwrap() > 0
    }

    #[test]
    fn a_socket_is_readable_at_its_mark_and_at_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        set(&socket, 4);
        out.write_all(b"abc").unwrap();
        assert!(!is_readable(&socket, Duration::from_millis(50)));
        out.write_all(b"d").unwrap();
        assert!(is_readable(&socket, Duration::from_secs(30)));
        set(&socket, 100);
        assert!(!is_readable(&socket, Duration::from_millis(50)));
        drop(out);
        assert!(is_readable(&socket, Duration::from_secs(30)), "the end");
    }
}
