//! What passed under a limit, and whether that was ever too much.
use wgo_core::{ByteRate, Time};

use crate::sim::link::NodeId;

/// The bytes of one direction of a node, as far as a limit holds. Any window is checked, at once: the most that any
/// window which ends now has beyond its allowance is the total minus the lowest balance before.
#[derive(Default)]
pub struct Window {
    limit: Option<ByteRate>,
    since: Time,
    total: i128,
    lowest: i128,
    /// So much more may pass until then: what was granted under the limit before.
    grace: (Time, u64),
}

/// What was granted under another limit has passed after this.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

impl Window {
    pub fn new(limit: Option<ByteRate>) -> Window {
        Window { limit, ..Window::default() }
    }

    /// Another limit holds from now on. What was granted before may still pass.
    pub fn set(&mut self, now: Time, limit: Option<ByteRate>) {
        let before = self.limit.map_or(0, |limit| burst_of(limit.0));
        *self = Window { limit, since: now, total: 0, lowest: 0, grace: (now + GRACE, before) };
    }

    /// `bytes` pass; `slack` more may be on top of a burst.
    pub fn pass(&mut self, node: NodeId, now: Time, bytes: u64, slack: u64) {
        let Some(limit) = self.limit else { return };
        let allowed = i128::from(limit.over(now.since(self.since)));
        self.lowest = self.lowest.min(self.total - allowed);
        self.total += i128::from(bytes);
        let beyond = self.total - allowed - self.lowest;
        let grace = if now < self.grace.0 { self.grace.1 } else { 0 };
        let burst = i128::from(burst_of(limit.0) + slack + grace);
        assert!(
            beyond <= burst,
            "node {node} moved {beyond} bytes beyond {limit} at {now:?}, more than {burst}"
        );
    }
}

/// Bytes that may pass beyond a limit within any window: a tenth of a second, and a turn each.
pub fn burst_of(rate: u64) -> u64 {
    ByteRate(rate).over(std::time::Duration::from_millis(200)) + 2 * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(std::time::Duration::from_millis(millis))
    }

    #[test]
    fn a_limit_that_holds_is_left_alone() {
        let mut window = Window::new(Some(ByteRate(10_000)));
        (1..1000).for_each(|n| window.pass(0, at(n * 100), 1000, 0));
        window.set(at(100_000), Some(ByteRate(1000)));
        (1..100).for_each(|n| window.pass(0, at(100_000 + n * 1000), 1000, 0));
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn too_much_within_any_window_is_seen() {
        let mut window = Window::new(Some(ByteRate(10_000)));
        window.pass(0, at(1000), 100, 0);
        // On the average of its life it is far below.
        (0..20).for_each(|n| window.pass(0, at(100_000 + n * 10), 1000, 0));
    }
}
