//! Time as the engine sees it: a point on a monotonic line that the caller supplies.
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment, as time passed since the engine began. The shell maps it to its monotonic clock, a
/// simulation to whatever it likes; it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The beginning.
    pub const ZERO: Time = Time(Duration::ZERO);

    /// The moment `since` after the beginning.
    pub const fn from_start(since: Duration) -> Time {
        Time(since)
    }

    /// How long after the beginning this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(rhs))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Time> for Time {
    type Output = Duration;

    fn sub(self, rhs: Time) -> Duration {
        self.since(rhs)
    }
}
