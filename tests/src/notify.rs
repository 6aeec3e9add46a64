//! The end of systemd that hears from a service: a datagram socket, as in sd_notify(3).
use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait::try_until;

/// Listens to one service.
#[derive(Debug)]
pub struct Notified {
    path: PathBuf,
    socket: UnixDatagram,
    /// Messages that came and were not asked for yet.
    waiting: VecDeque<String>,
}

impl Notified {
    /// Listens in `folder`.
    pub fn listen(folder: &Path) -> Notified {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Notified { path, socket, waiting: VecDeque::new() }
    }

    /// What goes into the service's environment.
    pub fn env(&self) -> (String, String) {
        ("NOTIFY_SOCKET".to_owned(), self.path.display().to_string())
    }

    /// Waits for a message with `part` in it and returns it; those before it are gone.
    ///
    /// # Panics
    /// When none comes within `limit`.
    #[track_caller]
    pub fn hear(&mut self, part: &str, limit: Duration) -> String {
        let mut passed = Vec::new();
        let heard = try_until(limit, || {
            self.receive();
            while let Some(message) = self.waiting.pop_front() {
                if message.contains(part) {
                    return Some(message);
                }
                passed.push(message);
            }
            None
        });
        heard.unwrap_or_else(|| panic!("not heard within {limit:?}: {part:?}; but {passed:#?}"))
    }

    /// The messages that have come and were not heard yet.
    pub fn rest(&mut self) -> Vec<String> {
        self.receive();
        self.waiting.drain(..).collect()
    }

    fn receive(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            self.waiting.push_back(String::from_utf8_lossy(&buffer[..len]).into_owned());
        }
    }
}
