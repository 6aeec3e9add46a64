//! Connections passed on to somebody who is elsewhere.
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::pause;

/// How often the threads look whether to end.
const TICK: Duration = Duration::from_millis(20);

/// A running relay; ends, with its connections, when dropped.
pub struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Passes on to `to` whatever comes to `at`.
    pub fn start(at: SocketAddr, to: SocketAddr) -> Relay {
        let listener = TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut passing = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let Ok((here, _)) = listener.accept() else {
                    pause(TICK);
                    continue;
                };
                // Whoever is passed on to may refuse.
                let Ok(there) = TcpStream::connect(to) else { continue };
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let until = until.clone();
                    passing.push(std::thread::spawn(move || pass(from, to, &until)));
                }
            }
            passing.into_iter().for_each(|thread| drop(thread.join()));
        });
        Relay { stop, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// One direction, until either end has had enough.
fn pass(mut from: TcpStream, mut to: TcpStream, stop: &AtomicBool) {
    let mut buf = [0; 65536];
    from.set_nonblocking(false).unwrap();
    from.set_read_timeout(Some(TICK)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        match from.read(&mut buf) {
            Ok(0) => break,
            Ok(n) if to.write_all(&buf[..n]).is_err() => break,
            Ok(_) => {}
            Err(error) if is_quiet(&error) => {}
            Err(_) => break,
        }
    }
    let _gone = to.shutdown(Shutdown::Write);
}

fn is_quiet(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
