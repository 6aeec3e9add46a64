//! How fast torrents are, as far as the queue cares, and how long they have had their places.
use std::time::Duration;

use super::super::Row;
use crate::time::Time;
use crate::units::ByteRate;

/// A torrent that moves less than [`QueueLimits::slow`](super::QueueLimits::slow) for so long does not count: time to hear from its
/// trackers and to connect.
pub const SLOW_AFTER: Duration = Duration::from_secs(60);
/// Its rate is the average over so long, so that a block now and then is no rate.
const PACE_WINDOW: Duration = Duration::from_secs(20);
/// A seed keeps its place for so long while others wait: about the time in which a tracker, asked at its usual
/// interval, sends peers. Slow ones likewise where there are too many of them.
pub const TURN: Duration = Duration::from_secs(30 * 60);

/// How fast a torrent that runs is, as far as the queue cares.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Pace {
    /// When it got its place.
    pub(super) since: Time,
    /// When it was last found fast enough.
    busy_at: Time,
    /// When the present window began, and the bytes moved until then.
    window: Option<(Time, u64)>,
}

impl Pace {
    pub(super) fn new(now: Time) -> Box<Pace> {
        Box::new(Pace { since: now, busy_at: now, window: None })
    }

    pub(super) fn update(&mut self, now: Time, bytes: u64, slow: ByteRate) {
        let Some((began, before)) = self.window else {
            self.window = Some((now, bytes));
            return;
        };
        if now.since(began) < PACE_WINDOW {
            return;
        }
        if ByteRate::of(bytes.saturating_sub(before), now.since(began)) >= slow {
            self.busy_at = now;
        }
        self.window = Some((now, bytes));
    }
}

impl Row {
    pub(super) fn is_slow(&self, now: Time) -> bool {
        self.pace.as_ref().is_some_and(|pace| now.since(pace.busy_at) >= SLOW_AFTER)
    }

    pub(super) fn had_its_turn(&self, now: Time) -> bool {
        self.pace.as_ref().is_some_and(|pace| now.since(pace.since) >= TURN)
    }
}
