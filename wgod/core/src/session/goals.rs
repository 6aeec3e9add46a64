//! Seeding goals: when a torrent has been seeded enough, decided from figures alone.
use std::time::Duration;

use super::{Effect, Session};
use crate::time::Time;
use crate::units::TorrentId;

/// Uploaded bytes over a torrent's size, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(pub u32);

impl Ratio {
    /// The largest that is of any use, which also fits the type.
    pub const MAX: f64 = 100_000.0;

    /// The nearest; `None` for what is no ratio at all.
    pub fn of(ratio: f64) -> Option<Ratio> {
        (0.0..=Ratio::MAX).contains(&ratio).then(|| Ratio((ratio * 1000.0).round() as u32))
    }

    /// As a number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// What happens to a torrent that reached a goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterGoal {
    /// It stops.
    #[default]
    Stop,
    /// It is removed, and its files stay.
    Remove,
    /// It is removed with its files.
    RemoveWithFiles,
    /// Nothing: it has no goals.
    Keep,
}

/// The goals of one torrent; the first that it reaches counts. `None`: there is no such goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goals {
    /// Uploaded bytes over its size.
    pub ratio: Option<Ratio>,
    /// Seconds spent seeding.
    pub time: Option<u64>,
    /// Seconds spent seeding since the last upload.
    pub idle: Option<u64>,
    /// What happens then.
    pub action: AfterGoal,
}

/// What somebody chose of [`Goals`], a torrent's owner or a label's; `None` leaves it to who comes next.
/// Zero is no goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChosenGoals {
    /// Uploaded bytes over the size.
    pub ratio: Option<Ratio>,
    /// Seconds spent seeding.
    pub time: Option<u64>,
    /// Seconds spent seeding since the last upload.
    pub idle: Option<u64>,
    /// What happens then.
    pub action: Option<AfterGoal>,
}

impl ChosenGoals {
    /// These, and where nothing was chosen the others.
    pub fn or(self, others: ChosenGoals) -> ChosenGoals {
        ChosenGoals {
            ratio: self.ratio.or(others.ratio),
            time: self.time.or(others.time),
            idle: self.idle.or(others.idle),
            action: self.action.or(others.action),
        }
    }

    /// What is in force.
    pub fn in_force(self) -> Goals {
        Goals {
            ratio: self.ratio.filter(|ratio| ratio.0 > 0),
            time: self.time.filter(|secs| *secs > 0),
            idle: self.idle.filter(|secs| *secs > 0),
            action: self.action.unwrap_or_default(),
        }
    }
}

/// How much a torrent has been seeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Bytes of what it holds.
    pub size: u64,
    /// Seconds spent seeding.
    pub seeding: u64,
    /// Seconds of these since the last upload.
    pub idle: u64,
}

/// A goal that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// This ratio.
    Ratio(Ratio),
    /// So many seconds of seeding.
    Time(u64),
    /// So many seconds without an upload.
    Idle(u64),
}

impl Goals {
    /// The goal that is reached, if any. A torrent of no bytes has no ratio.
    pub fn reached(&self, seeded: &Seeded) -> Option<Reached> {
        if self.action == AfterGoal::Keep {
            return None;
        }
        let wanted = |ratio: &Ratio| u128::from(ratio.0) * u128::from(seeded.size);
        let enough = |ratio: &Ratio| seeded.size > 0 && u128::from(seeded.uploaded) * 1000 >= wanted(ratio);
        let ratio = self.ratio.filter(enough).map(Reached::Ratio);
        let time = self.time.filter(|secs| seeded.seeding >= *secs).map(Reached::Time);
        let idle = self.idle.filter(|secs| seeded.idle >= *secs).map(Reached::Idle);
        ratio.or(time).or(idle)
    }

    /// Seconds until a goal is reached if nothing is uploaded meanwhile.
    pub fn due_in(&self, seeded: &Seeded) -> Option<u64> {
        if self.action == AfterGoal::Keep {
            return None;
        }
        let time = self.time.map(|secs| secs.saturating_sub(seeded.seeding));
        let idle = self.idle.map(|secs| secs.saturating_sub(seeded.idle));
        time.into_iter().chain(idle).min()
    }
}

impl Session {
    /// A torrent that seeds may have been seeded enough in so long, [`Effect::Goal`] asks then; `None`:
    /// not by the clock alone.
    pub fn look_at_goal(&mut self, now: Time, id: TorrentId, wait: Option<Duration>) {
        if let Some(old) = self.goal_at.remove(&id) {
            self.goals_due.remove(&(old, id));
        }
        if let Some(wait) = wait.filter(|_| self.rows.contains_key(&id)) {
            self.goal_at.insert(id, now + wait);
            self.goals_due.insert((now + wait, id));
        }
    }

    /// Asks for the goals that are due.
    pub(super) fn goals_due(&mut self, now: Time) {
        while let Some(&(at, id)) = self.goals_due.first()
            && at <= now
        {
            self.goals_due.pop_first();
            self.goal_at.remove(&id);
            self.effects.push_back(Effect::Goal(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1_000_000;

    #[test]
    fn the_first_goal_that_is_reached_counts() {
        let goals =
            Goals { ratio: Some(Ratio(2000)), time: Some(3600), idle: Some(600), action: AfterGoal::Stop };
        for (uploaded, seeding, idle, reached) in [
            (0, 0, 0, None),
            (2 * SIZE - 1, 3599, 599, None),
            (2 * SIZE, 3599, 599, Some(Reached::Ratio(Ratio(2000)))),
            (0, 3600, 599, Some(Reached::Time(3600))),
            (0, 3599, 600, Some(Reached::Idle(600))),
            (9 * SIZE, 9999, 9999, Some(Reached::Ratio(Ratio(2000)))),
        ] {
            let seeded = Seeded { uploaded, size: SIZE, seeding, idle };
            assert_eq!(goals.reached(&seeded), reached, "{seeded:?}");
            let keep = Goals { action: AfterGoal::Keep, ..goals };
            assert_eq!(keep.reached(&seeded), None);
        }
    }

    #[test]
    fn what_is_not_set_is_never_reached_and_extremes_do_not_overflow() {
        let most = Seeded { uploaded: u64::MAX, size: 1, seeding: u64::MAX, idle: u64::MAX };
        assert_eq!(Goals::default().reached(&most), None);
        assert_eq!(Goals::default().due_in(&most), None);
        let goals = Goals { ratio: Ratio::of(Ratio::MAX), ..Goals::default() };
        let seeded = Seeded { uploaded: u64::MAX, size: u64::MAX, ..Seeded::default() };
        assert_eq!(goals.reached(&seeded), None);
        let nothing = Seeded { uploaded: 5, size: 0, ..Seeded::default() };
        assert_eq!(Goals { ratio: Some(Ratio(1)), ..Goals::default() }.reached(&nothing), None);
    }

    #[test]
    fn own_choices_win_and_zero_is_none() {
        let general = ChosenGoals {
            ratio: Some(Ratio(1500)),
            time: Some(60),
            idle: None,
            action: Some(AfterGoal::Remove),
        };
        let own = ChosenGoals { ratio: Some(Ratio(0)), idle: Some(30), ..ChosenGoals::default() };
        let expected = Goals { ratio: None, time: Some(60), idle: Some(30), action: AfterGoal::Remove };
        assert_eq!(own.or(general).in_force(), expected);
        assert_eq!(ChosenGoals::default().in_force(), Goals::default());
    }

    #[test]
    fn a_ratio_is_a_number_of_thousandths() {
        for (given, ratio) in [
            (0.0, Some(0)),
            (2.0, Some(2000)),
            (1.0005, Some(1001)),
            (Ratio::MAX, Some(100_000_000)),
            (Ratio::MAX + 1.0, None),
            (-0.1, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(Ratio::of(given), ratio.map(Ratio), "{given}");
        }
        assert_eq!(Ratio(1500).as_f64(), 1.5);
    }

    #[test]
    fn the_clock_alone_reaches_what_is_about_time() {
        let seeded = Seeded { uploaded: 0, size: SIZE, seeding: 100, idle: 40 };
        for (time, idle, due) in [
            (None, None, None),
            (Some(150), None, Some(50)),
            (Some(150), Some(60), Some(20)),
            (Some(50), Some(60), Some(0)),
        ] {
            let goals = Goals { ratio: Some(Ratio(1)), time, idle, action: AfterGoal::Stop };
            assert_eq!(goals.due_in(&seeded), due);
        }
    }
}
