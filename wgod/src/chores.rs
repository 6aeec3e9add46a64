//! Small things that happen by the clock: the status line and watchdog of systemd, counted log lines.
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::logging::Logging;
use crate::session::{Command, SessionHandle};
use crate::systemd;

/// Repeated faults are reported this often.
const REPEATS_INTERVAL: Duration = Duration::from_secs(10);
/// The line that `systemctl status` shows is renewed this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// Does them until the daemon stops.
pub(crate) async fn run(session: SessionHandle, logging: Arc<Logging>, stopping: CancellationToken) {
    let mut repeats = tokio::time::interval(REPEATS_INTERVAL);
    let watchdog = systemd::watchdog_interval().map_or(STATUS_INTERVAL, |limit| limit.min(STATUS_INTERVAL));
    let mut status = tokio::time::interval(watchdog);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = repeats.tick() => logging.report_repeats(Instant::now()),
            _ = status.tick() => {
                // The session's own answer feeds the watchdog: it does the work.
                let Some(Ok(glance)) = session.ask(|reply| Command::Glance(None, reply)).await else { continue };
                let torrents: u32 = glance.states.values().sum();
                let (down, up) = (wgo_api::units::Rate(glance.rates.0), wgo_api::units::Rate(glance.rates.1));
                systemd::status(&format!("{torrents} torrents, down {down}, up {up}"));
                systemd::watchdog();
            }
        }
    }
}
