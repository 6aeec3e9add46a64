//! The clock of one node: when its engine thinks it is. Each began at another moment, runs at its own pace, stands
//! still while its machine is suspended, and may jump forwards; it never goes back, as monotonic clocks don't.
use std::time::Duration;

use wgo_core::Time;

/// A node's clock, as a function of the world's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead of the world where the world begins; behind, if negative. Nanoseconds.
    ahead: i128,
    /// How much it gains in a million.
    gains: i32,
}

const MILLION: i128 = 1_000_000;

impl Clock {
    /// One that is ahead from the beginning, and gains so much in a million.
    pub fn new(ahead: Duration, gains: i32) -> Clock {
        Clock { ahead: ahead.as_nanos() as i128, gains }
    }

    /// What it shows at a moment of the world.
    pub fn at(&self, world: Time) -> Time {
        let passed = nanos(world);
        time(self.ahead + passed + (passed * i128::from(self.gains)).div_euclid(MILLION))
    }

    /// The first moment of the world at which it shows `own` or more.
    pub fn when(&self, own: Time) -> Time {
        let wanted = (nanos(own) - self.ahead).max(0) * MILLION;
        let mut world = time(wanted.div_euclid(MILLION + i128::from(self.gains)));
        while self.at(world) < own {
            world += Duration::from_nanos(1);
        }
        world
    }

    /// It jumps forwards.
    pub fn jump(&mut self, by: Duration) {
        self.ahead += by.as_nanos() as i128;
    }

    /// It shows at `until` what it showed at `since`: it stood still.
    pub fn stand_still(&mut self, since: Time, until: Time) {
        self.ahead -= nanos(self.at(until)) - nanos(self.at(since));
    }
}

fn nanos(time: Time) -> i128 {
    time.since_start().as_nanos() as i128
}

fn time(nanos: i128) -> Time {
    Time::from_start(Duration::from_nanos(nanos.clamp(0, i128::from(u64::MAX)) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn a_clock_runs_at_its_pace_jumps_and_stands_still_but_never_goes_back() {
        for gains in [-200, 0, 37, 500] {
            let mut clock = Clock::new(Duration::from_secs(7), gains);
            let fresh = clock.at(at(1000));
            assert!(fresh.since(at(1006)) > Duration::from_millis(400), "{fresh:?}");
            clock.jump(Duration::from_secs(3600));
            assert_eq!(clock.at(at(1000)), fresh + Duration::from_secs(3600));
            let before = clock.at(at(1000));
            clock.stand_still(at(1000), at(9000));
            assert_eq!(clock.at(at(9000)), before);
            for own in [before, before + Duration::from_nanos(1), before + Duration::from_millis(12_345)] {
                let when = clock.when(own);
                assert!(clock.at(when) >= own);
                let earlier = Time::from_start(when.since_start() - Duration::from_nanos(1));
                assert!(clock.at(earlier) < own, "{own:?} was shown earlier than {when:?}");
            }
        }
    }
}
