//! The crowds that are looked at, and what of each.
use std::time::Duration;

use wgo_core::ByteRate;
use wgo_core::choke_mgr::SlotCount;

use crate::sim::content::Shape;
use crate::sim::efficiency::crowd::{Class, Joins, Plan, Run, home};
use crate::sim::efficiency::measure::{Measure, less, more};
use crate::sim::node::Habits;

/// Bytes per second that an ordinary line takes.
pub const UP: u64 = 125_000;

/// A crowd and what is measured of it.
pub struct Scenario {
    pub name: &'static str,
    /// Left out when there is no time.
    pub long: bool,
    pub plan: Plan,
    pub measures: fn(&Run) -> Vec<Measure>,
}

/// 16 MiB in pieces of 64 KiB: two minutes of an ordinary line.
fn torrent() -> Shape {
    Shape::new(256, 4, 0)
}

/// The same bytes in longer pieces.
fn long_pieces() -> Shape {
    Shape::new(64, 16, 0)
}

/// All that are looked at.
pub fn all() -> Vec<Scenario> {
    let mut all = flash();
    all.extend(unequal());
    all.extend(riders());
    all.extend(ends());
    all.extend(limits());
    all
}

fn scenario(name: &'static str, plan: Plan, measures: fn(&Run) -> Vec<Measure>) -> Scenario {
    Scenario { name, long: false, plan, measures }
}

fn class(name: &'static str, count: usize, habits: Habits) -> Class {
    Class { name, count, habits, joins: Joins::Within(Duration::from_secs(3)) }
}

/// One that gives nothing.
fn rider() -> Habits {
    Habits { slots: SlotCount::Fixed(0), ..home(UP) }
}

fn of_flash(run: &Run) -> Vec<Measure> {
    let bound = run.fluid_bound();
    vec![
        less("last done / fluid bound", run.last(None) / bound),
        less("median done / fluid bound", run.median(None) / bound),
        less("seed's copies until the second", run.copies_until_second()),
        less("second copy / its bound", second_at(run)),
        less("seed's copies in all", run.seeds_sent as f64 / run.size as f64),
        less("duplicates %", run.duplicates()),
        less("first piece after, s", run.median_of(|member| member.first_piece)),
        less("first upload after, s", run.median_of(|member| member.first_upload)),
    ]
}

/// When each piece had left the seeds, to when it could have.
fn second_at(run: &Run) -> f64 {
    let up: u64 = run.plan.seeds.iter().map(Habits::up).sum();
    let at = run.second_copy.map_or(run.plan.limit, |(at, _)| at);
    at.as_secs_f64() * up as f64 / run.size as f64
}

fn of_end(run: &Run) -> Vec<Measure> {
    let bound = run.fluid_bound();
    vec![
        less("last done / fluid bound", run.last(None) / bound),
        less("median done / fluid bound", run.median(None) / bound),
        less("duplicates %", run.duplicates()),
    ]
}

fn flash() -> Vec<Scenario> {
    let equal = |shape, count| Plan::equal(shape, count, home(UP));
    let left = |run: &Run| {
        let mut measures = of_flash(run);
        measures.push(less("never done", run.unfinished()));
        measures
    };
    let slow_seeds = Plan { seeds: vec![home(UP / 4); 2], ..equal(torrent(), 40) };
    vec![
        scenario("crowd of 50", equal(torrent(), 50), of_flash),
        scenario("crowd of 50, long pieces", equal(long_pieces(), 50), of_flash),
        Scenario { long: true, ..scenario("crowd of 200", equal(torrent(), 200), of_flash) },
        scenario("seed leaves after one copy", Plan { seeds_leave: true, ..equal(torrent(), 50) }, left),
        scenario("two slow seeds", slow_seeds, of_flash),
    ]
}

fn unequal() -> Vec<Scenario> {
    let mixed = Plan {
        classes: vec![class("fast", 25, home(5 * UP)), class("slow", 25, home(UP / 2))],
        ..Plan::equal(torrent(), 0, home(5 * UP))
    };
    let of_mixed = |run: &Run| {
        let (size, bound) = (run.size as f64, run.fluid_bound());
        let own = size / (5 * UP) as f64;
        vec![
            less("last fast / fluid bound", run.last(Some("fast")) / bound),
            less("last slow / fluid bound", run.last(Some("slow")) / bound),
            less("median fast / its own upload time", run.median(Some("fast")) / own),
            more("slow's share to fast's", run.share("slow", "fast")),
            more("got goes with given", run.reciprocation()),
            less("seed's copies until the second", run.copies_until_second()),
            less("duplicates %", run.duplicates()),
        ]
    };
    let few_slow = Plan {
        classes: vec![class("fast", 45, home(UP)), class("slow", 5, home(UP / 10))],
        ..Plan::equal(torrent(), 0, home(UP))
    };
    let of_few = |run: &Run| {
        let (size, fast) = (run.size as f64, class("", 1, home(UP)).habits.up() as f64);
        vec![
            less("last fast / its own upload time", run.last(Some("fast")) * fast / size),
            less("median fast / its own upload time", run.median(Some("fast")) * fast / size),
            less("last slow / its line's time", run.last(Some("slow")) * fast / size),
            less("duplicates %", run.duplicates()),
        ]
    };
    let late = Class { joins: Joins::Every(Duration::from_secs(4)), ..class("all", 40, home(UP)) };
    let of_late = |run: &Run| {
        let own = run.size as f64 / UP as f64;
        vec![
            less("median done / upload time", run.median(None) / own),
            less("last done / upload time", run.last(None) / own),
            less("first piece after, s", run.median_of(|member| member.first_piece)),
            less("first upload after, s", run.median_of(|member| member.first_upload)),
            less("seed's copies in all", run.seeds_sent as f64 / run.size as f64),
            less("duplicates %", run.duplicates()),
        ]
    };
    vec![
        scenario("lines 10:1, half each", mixed, of_mixed),
        scenario("5 slow among 45", few_slow, of_few),
        scenario(
            "one comes each 4 s",
            Plan { classes: vec![late], ..Plan::equal(torrent(), 0, home(UP)) },
            of_late,
        ),
    ]
}

fn riders() -> Vec<Scenario> {
    // The seed has a better line, or all would wait for it alike.
    let with = |riders: usize| Plan {
        classes: vec![class("honest", 50 - riders, home(UP)), class("rider", riders, rider())],
        ..Plan::equal(torrent(), 0, home(4 * UP))
    };
    let of_riders = |run: &Run| {
        let bound = run.fluid_bound();
        vec![
            less("last honest / fluid bound", run.last(Some("honest")) / bound),
            more("median rider / median honest", run.median(Some("rider")) / run.median(Some("honest"))),
            less("rider's share to honest's", run.share("rider", "honest")),
            more("got goes with given", run.reciprocation()),
            less("duplicates %", run.duplicates()),
        ]
    };
    vec![
        scenario("10 % ride free", with(5), of_riders),
        scenario("30 % ride free", with(15), of_riders),
        scenario("50 % ride free", with(25), of_riders),
    ]
}

fn ends() -> Vec<Scenario> {
    let many_seeds = |count| Plan { seeds: vec![home(UP); 10], ..Plan::equal(torrent(), count, home(UP)) };
    let far = Habits { distance: Some(Duration::from_millis(150)), ..home(UP) };
    let mut slow_tail = many_seeds(5);
    slow_tail.seeds.extend(vec![home(UP / 25); 5]);
    vec![
        scenario("2 and a seed", Plan::equal(torrent(), 2, home(UP)), of_end),
        scenario("1 of 10 seeds", many_seeds(1), of_end),
        scenario("5 of 10 seeds", many_seeds(5), of_end),
        scenario("5 of 10 seeds, 5 very slow ones too", slow_tail, of_end),
        scenario("20, far apart", Plan::equal(torrent(), 20, far), of_flash),
    ]
}

fn limits() -> Vec<Scenario> {
    let limited = Habits { up_limit: Some(ByteRate(50_000)), line_down: Some(2_500_000), ..home(20 * UP) };
    let fast = Habits { socket: 256 * 1024, batch: 64 * 1024, line_down: Some(20 * UP), ..home(20 * UP) };
    let shape = Shape::new(128, 4, 0);
    vec![
        scenario("30, limits of 50 kB/s", Plan::equal(shape, 30, limited), of_flash),
        scenario("30, lines of 20 Mbit/s", Plan::equal(Shape::new(512, 4, 0), 30, fast), of_flash),
    ]
}
