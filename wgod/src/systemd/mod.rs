//! What the daemon tells systemd (sd_notify(3), `Type=notify` in systemd.service(5)).
//!
//! Every call does nothing where no service manager listens. A message that can't be sent changes
//! nothing for the daemon, so failures are logged at `debug` and not returned.
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

pub mod activation;

/// Of a status line, the bytes that are sent: it is to fit a terminal, and systemd drops messages of more
/// than a page.
const LINE: usize = 400;

/// The daemon starts, does `what` first, and tells of itself again within `allowed` (else it counts as
/// hung once the unit's own time-out is over).
pub fn starting(what: &str, allowed: Duration) {
    send(&[extend(allowed), NotifyState::Status(&one_line(what))]);
}

/// Start-up or a reload is done: torrents are loaded and the control socket answers.
pub fn ready(status: Option<&str>) {
    match status {
        Some(status) => send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]),
        None => send(&[NotifyState::Ready]),
    }
}

/// The daemon lives; with the line for `systemctl status`.
pub fn alive(status: &str) {
    send(&[NotifyState::Watchdog, NotifyState::Status(&one_line(status))]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    // systemd compares the time stamp with that of its own request, so both are needed.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no time stamp for systemd"),
    }
}

/// The daemon is about to stop, which takes up to `allowed`.
pub fn stopping(status: &str, allowed: Duration) {
    send(&[NotifyState::Stopping, extend(allowed), NotifyState::Status(&one_line(status))]);
}

/// Tells of a long start as long as it gets on: one that hangs tells nothing, and times out.
#[derive(Debug, Default)]
pub struct Pulse {
    last: Option<Instant>,
}

impl Pulse {
    /// So often at most.
    const PERIOD: Duration = Duration::from_secs(5);
    /// What a single step may take.
    const STEP: Duration = Duration::from_secs(60);

    /// `done` of `all` steps are done; `doing` says what they do.
    pub fn beat(&mut self, doing: &str, done: usize, all: usize) {
        if self.last.is_none_or(|last| last.elapsed() >= Pulse::PERIOD) {
            self.last = Some(Instant::now());
            starting(&format!("{doing}, {done} of {all}"), Pulse::STEP);
        }
    }
}

fn extend(allowed: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(allowed.as_micros()).unwrap_or(u32::MAX))
}

/// A status as one line: names of files are in it, and a line break would begin another message.
fn one_line(status: &str) -> String {
    let mut line: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > LINE {
        line.truncate(line.floor_char_boundary(LINE));
        line.push('…');
    }
    line
}

/// How often to call [`alive`]: half of what the unit allows; `None` when it asks for nothing.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Whether a service manager watches this process, which starts it again when it ends by an error.
pub fn restarts() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd can't be told");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// Set for the process that plays the daemon.
    const CHILD: &str = "WGOD_TEST_SYSTEMD_CHILD";

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nREADY=1\u{1b}[31m\tb"), "a READY=1 [31m b");
        let long = one_line(&"ä".repeat(1000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (LINE / 2 + 1, true));
    }

    /// The environment of a process can't be changed safely, so the test runs itself in another one.
    #[test]
    fn systemd_hears_of_each_step() {
        if std::env::var_os(CHILD).is_some() {
            let mut pulse = Pulse::default();
            pulse.beat("loading", 0, 9);
            pulse.beat("loading", 1, 9);
            ready(None);
            reloading();
            ready(Some("3 torrents"));
            alive("a name\nSTOPPING=1");
            assert_eq!(watchdog_interval(), Some(Duration::from_secs(15)));
            stopping("saving", Duration::from_secs(10));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "systemd::tests::systemd_hears_of_each_step"])
            .env(CHILD, "1")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "30000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let mut buffer = [0; 256];
        let mut heard = || {
            let len = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        };
        assert_eq!(heard(), "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=loading, 0 of 9\n");
        assert_eq!(heard(), "READY=1\n");
        let reload = heard();
        assert!(reload.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reload}");
        assert_eq!(heard(), "READY=1\nSTATUS=3 torrents\n");
        assert_eq!(heard(), "WATCHDOG=1\nSTATUS=a name STOPPING=1\n");
        assert_eq!(heard(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000\nSTATUS=saving\n");
    }
}
