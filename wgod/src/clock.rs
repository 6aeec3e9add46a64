//! The engine's clock: maps the runtime's monotonic clock to [`Time`].
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wgo_core::Time;

/// When the engine began. Copied to whoever needs the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The engine's time.
    pub fn now(self) -> Time {
        Time::from_start(self.0.elapsed())
    }

    /// When the runtime's clock shows `time`.
    pub fn instant(self, time: Time) -> Instant {
        // Deadlines lie at most days ahead; a century keeps the sum inside what `Instant` holds.
        self.0 + time.since_start().min(Duration::from_secs(100 * 365 * 86_400))
    }
}

/// Seconds since 1970, for what outlives the process. Nothing is decided by it: the machine's clock may jump.
pub fn unix_now() -> i64 {
    unix_secs(SystemTime::now())
}

/// 0 for what lies before 1970: a clock that was never set.
fn unix_secs(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_shows_0_and_one_of_another_century_its_seconds() {
        let hour = Duration::from_secs(3600);
        assert_eq!(unix_secs(UNIX_EPOCH - hour), 0);
        assert_eq!(unix_secs(UNIX_EPOCH), 0);
        assert_eq!(unix_secs(UNIX_EPOCH + 24 * 365 * 200 * hour), 200 * 365 * 86_400);
    }
}
