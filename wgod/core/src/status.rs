//! Status: byte counters and the rates that every reader of the engine gets.
//!
//! Payload only, as users, ratios and trackers count it: protocol messages are not in here. The Swarm
//! keeps one [`Traffic`] per peer and one per torrent, the session one for the daemon.
use std::ops::{AddAssign, Sub};
use std::time::Duration;

use crate::{ByteRate, Time};

/// Seconds that a rate looks back over: long enough to hold many 16 KiB blocks of a slow peer, short
/// enough that the request pipeline and the choker follow a change within a few of their rounds.
const WINDOW_SECS: u64 = 8;

/// Bytes that passed in one direction during the last seven to eight seconds, as a rate.
///
/// One bucket per second of a ring. A constant flow is measured exactly, but for the last chunk that
/// has not come yet; an idle one decays to zero within the window. Reading changes nothing.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    /// Bytes of each second, at the second's number modulo the window.
    buckets: [u64; WINDOW_SECS as usize],
    /// The second that was written last.
    newest: u64,
    /// First byte after at least a window of silence: a young flow is averaged over its own age.
    began: Time,
}

impl RateMeter {
    /// Counts `bytes` at `now`.
    pub fn add(&mut self, now: Time, bytes: u64) {
        let second = now.since_start().as_secs().max(self.newest);
        let passed = (second - self.newest).min(WINDOW_SECS);
        for stale in 0..passed {
            self.buckets[((second - stale) % WINDOW_SECS) as usize] = 0;
        }
        self.newest = second;
        if self.buckets.iter().all(|&bytes| bytes == 0) {
            self.began = now;
        }
        let bucket = &mut self.buckets[(second % WINDOW_SECS) as usize];
        *bucket = bucket.saturating_add(bytes);
    }

    /// The average over the window, or over the flow's age when it is younger, but never over less
    /// than one second: a single block is no rate.
    pub fn rate(&self, now: Time) -> ByteRate {
        let second = now.since_start().as_secs().max(self.newest);
        let oldest = (second + 1).saturating_sub(WINDOW_SECS);
        let bytes = (oldest..=self.newest)
            .fold(0u64, |sum, s| sum.saturating_add(self.buckets[(s % WINDOW_SECS) as usize]));
        let since = self.began.max(Time::from_start(Duration::from_secs(oldest)));
        ByteRate::of(bytes, now.since(since).max(Duration::from_secs(1)))
    }
}

/// Payload bytes since the beginning of whatever they are counted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received, wasted ones included: what trackers want as `downloaded`.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
    /// Part of `downloaded` that was of no use: duplicates, unasked blocks, pieces that failed their hash.
    pub wasted: u64,
}

impl Counters {
    /// Uploaded per useful downloaded byte; `None` while nothing useful came.
    pub fn ratio(&self) -> Option<f64> {
        match self.downloaded.saturating_sub(self.wasted) {
            0 => None,
            useful => Some(self.uploaded as f64 / useful as f64),
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Counters) {
        self.downloaded = self.downloaded.saturating_add(more.downloaded);
        self.uploaded = self.uploaded.saturating_add(more.uploaded);
        self.wasted = self.wasted.saturating_add(more.wasted);
    }
}

impl Sub for Counters {
    type Output = Counters;

    /// What was added since `before`.
    fn sub(self, before: Counters) -> Counters {
        Counters {
            downloaded: self.downloaded.saturating_sub(before.downloaded),
            uploaded: self.uploaded.saturating_sub(before.uploaded),
            wasted: self.wasted.saturating_sub(before.wasted),
        }
    }
}

/// Counters and both rates of one peer, one torrent or the daemon.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    counters: Counters,
    down: RateMeter,
    up: RateMeter,
}

impl Traffic {
    /// Begins at `counters`: what earlier sessions moved, or zero.
    pub fn new(counters: Counters) -> Traffic {
        Traffic { counters, ..Traffic::default() }
    }

    /// `bytes` of payload came in.
    pub fn downloaded(&mut self, now: Time, bytes: u64) {
        self.counters.downloaded = self.counters.downloaded.saturating_add(bytes);
        self.down.add(now, bytes);
    }

    /// `bytes` of payload went out.
    pub fn uploaded(&mut self, now: Time, bytes: u64) {
        self.counters.uploaded = self.counters.uploaded.saturating_add(bytes);
        self.up.add(now, bytes);
    }

    /// `bytes` already counted as downloaded turned out to be of no use.
    pub fn wasted(&mut self, bytes: u64) {
        self.counters.wasted = self.counters.wasted.saturating_add(bytes);
    }

    /// The totals.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Payload per second that comes in.
    pub fn down_rate(&self, now: Time) -> ByteRate {
        self.down.rate(now)
    }

    /// Payload per second that goes out.
    pub fn up_rate(&self, now: Time) -> ByteRate {
        self.up.rate(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_constant_flow_is_measured_exactly_whenever_one_looks() {
        for rate in [1_000u64, 1_000_000, 1_000_000_000, 40_000_000_000] {
            let mut meter = RateMeter::default();
            for milli in 1..=60_000 {
                meter.add(at(milli), rate / 1000);
                if milli > 10_000 {
                    let seen = meter.rate(at(milli)).0;
                    assert!(seen.abs_diff(rate) * 1000 <= rate, "{seen} for {rate} at {milli} ms");
                }
            }
        }
    }

    #[test]
    fn a_young_flow_is_not_averaged_over_time_before_it() {
        let mut meter = RateMeter::default();
        for milli in 100_900..103_900 {
            meter.add(at(milli), 1000);
        }
        let seen = meter.rate(at(103_900)).0;
        assert!(seen.abs_diff(1_000_000) < 1000, "{seen}");
        let mut one = RateMeter::default();
        one.add(at(500), 16_384);
        assert_eq!(one.rate(at(500)).0, 16_384);
    }

    #[test]
    fn an_idle_flow_decays_to_zero_within_the_window() {
        let mut meter = RateMeter::default();
        for milli in 0..20_000 {
            meter.add(at(milli), 1000);
        }
        let mut last = u64::MAX;
        for milli in (20_000..28_000).step_by(1000) {
            let seen = meter.rate(at(milli)).0;
            assert!(seen <= last, "{seen} after {last}");
            last = seen;
        }
        assert_eq!(meter.rate(at(28_000)), ByteRate(0));
        meter.add(at(90_000), 5);
        assert_eq!(meter.rate(at(90_000)), ByteRate(5));
    }

    #[test]
    fn counters_subtract_to_what_was_added_and_give_the_ratio() {
        let before = Counters { downloaded: 10, uploaded: 5, wasted: 2 };
        let more = Counters { downloaded: 7, uploaded: 1, wasted: 0 };
        let mut after = before;
        after += more;
        assert_eq!(after - before, more);
        assert_eq!(Counters::default().ratio(), None);
        assert_eq!(Counters { downloaded: 12, uploaded: 5, wasted: 2 }.ratio(), Some(0.5));
    }

    #[test]
    fn traffic_keeps_directions_apart_and_continues_old_totals() {
        let mut traffic = Traffic::new(Counters { downloaded: 1, uploaded: 2, wasted: 0 });
        traffic.downloaded(at(0), 10);
        traffic.uploaded(at(0), 20);
        traffic.wasted(4);
        assert_eq!(traffic.counters(), Counters { downloaded: 11, uploaded: 22, wasted: 4 });
        assert_eq!((traffic.down_rate(at(0)), traffic.up_rate(at(0))), (ByteRate(10), ByteRate(20)));
    }

    proptest! {
        #[test]
        fn a_rate_never_exceeds_what_passed_in_the_window(
            adds in prop::collection::vec((0u64..3000, 0u64..1_000_000), 1..60)
        ) {
            let (mut meter, mut now, mut log) = (RateMeter::default(), 0, Vec::new());
            for (gap, bytes) in adds {
                now += gap;
                meter.add(at(now), bytes);
                log.push((now, bytes));
                let window: u64 = log.iter().filter(|e| e.0 + 8000 > now).map(|e| e.1).sum();
                prop_assert!(meter.rate(at(now)).0 <= window);
            }
        }
    }
}
