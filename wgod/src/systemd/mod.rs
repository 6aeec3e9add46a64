//! What the daemon tells systemd (sd_notify(3), `Type=notify` in systemd.service(5)).
//!
//! Every call does nothing where no service manager listens. A message that can't be sent changes
//! nothing for the daemon, so failures are logged at `debug` and not returned.
use std::time::Duration;

use sd_notify::NotifyState;

pub mod activation;

/// Start-up is done: torrents are loaded and the control socket answers.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    // systemd compares the time stamp with that of its own request, so both are needed.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no time stamp for systemd"),
    }
}

/// The daemon is about to stop.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// The daemon lives.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often to call [`watchdog`]: half of what the unit allows; `None` when it asks for nothing.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
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

    /// The environment of a process can't be changed safely, so the test runs itself in another one.
    #[test]
    fn systemd_hears_of_each_step() {
        if std::env::var_os(CHILD).is_some() {
            ready("3 torrents");
            reloading();
            watchdog();
            assert_eq!(watchdog_interval(), Some(Duration::from_secs(15)));
            stopping("saving");
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
        assert_eq!(heard(), "READY=1\nSTATUS=3 torrents\n");
        let reload = heard();
        assert!(reload.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reload}");
        assert_eq!(heard(), "WATCHDOG=1\n");
        assert_eq!(heard(), "STOPPING=1\nSTATUS=saving\n");
    }
}
