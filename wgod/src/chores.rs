//! Small things that happen by the clock: the status line and watchdog of systemd, counted log lines.
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wgo_api::torrent::State;
use wgo_api::units::human_rate;

use crate::control::Control;
use crate::logging::Logging;
use crate::session::{Command, Glance, SessionHandle};
use crate::systemd;

/// Repeated faults are reported this often.
const REPEATS_INTERVAL: Duration = Duration::from_secs(10);
/// The line that `systemctl status` shows is renewed this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// The end of a reload waits this long for a new line.
const SOON: Duration = Duration::from_secs(2);

/// Makes the line that `systemctl status` shows.
#[derive(Clone)]
pub(crate) struct StatusLine {
    session: SessionHandle,
    control: Arc<Control>,
}

impl StatusLine {
    pub(crate) fn new(session: SessionHandle, control: Arc<Control>) -> StatusLine {
        StatusLine { session, control }
    }

    /// The line as it is now, by the session's own answer; `None` when the session has ended.
    async fn read(&self) -> Option<String> {
        let glance = self.session.ask(|reply| Command::Glance(None, reply)).await?.ok()?;
        Some(line(&glance, self.control.reload_failure().as_deref()))
    }

    /// The same, if the session answers soon.
    pub(crate) async fn read_soon(&self) -> Option<String> {
        tokio::time::timeout(SOON, self.read()).await.ok()?
    }
}

/// How many torrents, what they do, and what is wrong.
fn line(glance: &Glance, reload_failure: Option<&str>) -> String {
    let torrents: u32 = glance.states.values().sum();
    let (down, up) = (human_rate(glance.rates.0), human_rate(glance.rates.1));
    let plural = if torrents == 1 { "torrent" } else { "torrents" };
    let mut line = format!("{torrents} {plural}, down {down}, up {up}");
    if let Some(errors @ 1..) = glance.states.get(&State::Error) {
        line += &format!(", {errors} in error");
        if let Some(trouble) = &glance.trouble {
            // What follows the semicolon is advice, which `wgoctl list` shows.
            let trouble = trouble.split_once("; ").map_or(trouble.as_str(), |(what, _)| what);
            line += &format!(": {trouble}");
        }
    }
    if let Some(failure) = reload_failure {
        let first = failure.lines().next().unwrap_or_default();
        line += &format!("; the configuration could not be read again, the old one is in force: {first}");
    }
    line
}

/// Does them until the daemon stops.
pub(crate) async fn run(status: StatusLine, logging: Arc<Logging>, stopping: CancellationToken) {
    let mut repeats = tokio::time::interval(REPEATS_INTERVAL);
    let period = systemd::watchdog_interval().map_or(STATUS_INTERVAL, |limit| limit.min(STATUS_INTERVAL));
    let mut tick = tokio::time::interval(period);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = repeats.tick() => logging.report_repeats(Instant::now()),
            // The session's own answer feeds the watchdog: it does the work.
            _ = tick.tick() => tokio::select! {
                () = stopping.cancelled() => return,
                Some(line) = status.read() => systemd::alive(&line),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rates_and_what_is_wrong() {
        let mut glance = Glance { rates: (3_000_000, 1_000_000), ..Glance::default() };
        assert_eq!(line(&glance, None), "0 torrents, down 3.00 MB/s, up 1.00 MB/s");
        glance.states = [(State::Seeding, 10), (State::Error, 2)].into();
        assert_eq!(line(&glance, None), "12 torrents, down 3.00 MB/s, up 1.00 MB/s, 2 in error");
        glance.trouble = Some("disk full on /srv; it goes on by itself".to_owned());
        assert_eq!(
            line(&glance, None),
            "12 torrents, down 3.00 MB/s, up 1.00 MB/s, 2 in error: disk full on /srv"
        );
        glance.states = [(State::Seeding, 1)].into();
        assert_eq!(
            line(&glance, Some("wgod.toml:3: limits.upp: unknown key\nand more")),
            "1 torrent, down 3.00 MB/s, up 1.00 MB/s; the configuration could not be read again, the old one is in \
             force: wgod.toml:3: limits.upp: unknown key"
        );
    }
}
