//! What is measured of a crowd, and what it is measured against.
use std::time::Duration;

use crate::sim::efficiency::crowd::{Member, Run};

/// One number of one run.
#[derive(Clone, Debug)]
pub struct Measure {
    pub name: String,
    pub value: f64,
    /// Whether more of it is better.
    pub more_is_better: bool,
}

/// A number of which less is better.
pub fn less(name: impl Into<String>, value: f64) -> Measure {
    Measure { name: name.into(), value, more_is_better: false }
}

/// A number of which more is better.
pub fn more(name: impl Into<String>, value: f64) -> Measure {
    Measure { name: name.into(), value, more_is_better: true }
}

/// The middle one of some numbers; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Run {
    /// The least time in which a fluid that is split at will could fill everybody who came at once: what the seeds
    /// must send, what the slowest takes, what all can send together.
    pub fn fluid_bound(&self) -> f64 {
        let size = self.size as f64;
        let seeds: u64 = self.plan.seeds.iter().map(|habits| habits.up()).sum();
        let classes = &self.plan.classes;
        let others: u64 = classes.iter().map(|class| class.habits.up() * class.count as u64).sum();
        let count: usize = classes.iter().map(|class| class.count).sum();
        let slowest = classes.iter().filter_map(|class| class.habits.line_down).min().unwrap_or(u64::MAX);
        let bounds =
            [size / seeds as f64, size / slowest as f64, size * count as f64 / (seeds + others) as f64];
        bounds.into_iter().fold(0.0, f64::max)
    }

    /// The times that those of a class needed, in seconds; of all without one.
    pub fn times(&self, class: Option<&str>) -> Vec<f64> {
        let of = self.members(class);
        of.map(|member| member.done.unwrap_or(self.plan.limit).as_secs_f64()).collect()
    }

    pub fn last(&self, class: Option<&str>) -> f64 {
        self.times(class).into_iter().fold(0.0, f64::max)
    }

    pub fn median(&self, class: Option<&str>) -> f64 {
        median(self.times(class))
    }

    /// The median of a time that not all have.
    pub fn median_of(&self, of: impl Fn(&Member) -> Option<Duration>) -> f64 {
        let limit = self.plan.limit;
        median(self.members.iter().map(|member| of(member).unwrap_or(limit).as_secs_f64()).collect())
    }

    /// Payload for nothing, in per cent of all.
    pub fn duplicates(&self) -> f64 {
        let sum = |of: fn(&Member) -> u64| self.members.iter().map(of).sum::<u64>() as f64;
        100.0 * sum(|m| m.wasted) / sum(|m| m.received).max(1.0)
    }

    /// Copies that the seeds had sent when each piece had left them.
    pub fn copies_until_second(&self) -> f64 {
        self.second_copy.map_or(99.0, |(_, sent)| sent as f64 / self.size as f64)
    }

    /// What those of one class had got on average, to what those of another had, when the first was done.
    pub fn share(&self, of: &str, to: &str) -> f64 {
        let mean = |class| {
            let got: Vec<u64> = self.members(Some(class)).map(|member| member.early.0).collect();
            got.iter().sum::<u64>() as f64 / got.len().max(1) as f64
        };
        mean(of) / mean(to).max(1.0)
    }

    /// How closely what each had got goes with what it had sent, when the first was done (Pearson).
    pub fn reciprocation(&self) -> f64 {
        let pairs: Vec<(f64, f64)> =
            self.members.iter().map(|m| (m.early.1 as f64, m.early.0 as f64)).collect();
        let n = pairs.len() as f64;
        let mean = pairs.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / n, sum.1 + p.1 / n));
        let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in pairs {
            let (x, y) = (x - mean.0, y - mean.1);
            (xy, xx, yy) = (xy + x * y, xx + x * x, yy + y * y);
        }
        if xx * yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
    }

    pub fn unfinished(&self) -> f64 {
        self.members.iter().filter(|member| member.done.is_none()).count() as f64
    }

    fn members(&self, class: Option<&str>) -> impl Iterator<Item = &Member> {
        let name = |member: &Member| self.plan.classes[member.class].name;
        self.members.iter().filter(move |member| class.is_none_or(|class| name(member) == class))
    }
}

impl crate::sim::node::Habits {
    /// Bytes per second that it gives at most.
    pub fn up(&self) -> u64 {
        let shut = matches!(self.slots, wgo_core::choke_mgr::SlotCount::Fixed(0));
        let limit = self.up_limit.map_or(u64::MAX, |limit| limit.0);
        if shut { 0 } else { self.line.min(limit) }
    }
}
