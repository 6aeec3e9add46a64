//! When an automatic backup is due. The clock of the machine may jump, back to 1970 or ahead by a century:
//! that costs a backup too many or a few hours of waiting, and never one backup after the other.
use std::time::Duration;

/// Between two backups.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// A wall clock may say that an interval is over when the machine slept through most of it; less than this
/// of running time is nevertheless too soon.
const LEAST: Duration = Duration::from_secs(6 * 3600);
/// A daemon that has just started may not know the time yet, and may be about to crash again.
const SETTLE: Duration = Duration::from_secs(600);

/// What is known of the time since the newest automatic backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Whether there is one.
    pub exists: bool,
    /// It was made in this run.
    pub own: bool,
    /// Time since it was made, or since the start where it isn't ours, by the clock that never jumps.
    pub running: Duration,
    /// Time since it was made by the wall clock; `None` when that says it lies in the future.
    pub wall: Option<Duration>,
}

/// Whether the next one is due.
pub fn is_due(age: Age) -> bool {
    let day_by_wall = age.wall.is_some_and(|wall| wall >= INTERVAL);
    match age {
        Age { exists: false, .. } => true,
        Age { own: true, running, .. } => running >= INTERVAL || (day_by_wall && running >= LEAST),
        Age { own: false, running, wall: None, .. } => running >= LEAST,
        Age { own: false, running, .. } => day_by_wall && running >= SETTLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const YEAR: u64 = 365 * 24 * HOUR;

    fn due(own: bool, running: u64, wall: Option<u64>) -> bool {
        let running = Duration::from_secs(running);
        is_due(Age { exists: true, own, running, wall: wall.map(Duration::from_secs) })
    }

    #[test]
    fn daily_in_a_long_run_and_across_restarts() {
        assert!(is_due(Age { exists: false, own: false, running: Duration::ZERO, wall: None }));
        for (own, running, wall, expected) in [
            (true, 23 * HOUR, 23 * HOUR, false),
            (true, 24 * HOUR, 24 * HOUR, true),
            (false, HOUR, 2 * HOUR, false),
            (false, 60, 30 * HOUR, false),
            (false, 600, 30 * HOUR, true),
            (false, 20 * HOUR, 24 * HOUR, true),
        ] {
            assert_eq!(due(own, running, Some(wall)), expected, "{own} {running} {wall}");
        }
    }

    #[test]
    fn a_clock_that_jumps_neither_stops_backups_nor_makes_many() {
        // To 2100, and back to 1970.
        assert!(!due(true, HOUR, Some(73 * YEAR)));
        assert!(due(true, 6 * HOUR, Some(73 * YEAR)));
        assert!(!due(true, 23 * HOUR, None) && due(true, 24 * HOUR, None));
        assert!(!due(false, HOUR, None) && due(false, 6 * HOUR, None));
        // A machine without a clock of its own boots in 1970, crashes, and boots again.
        assert!(!due(false, 60, None) && !due(false, 60, Some(50 * YEAR)));
    }
}
