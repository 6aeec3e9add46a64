//! How well crowds use their lines, in small: what `swarm-table` measures of large ones, held to bounds.
use std::time::Duration;

use wgo_core::choke_mgr::SlotCount;
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::efficiency::crowd::{Class, Joins, Plan, Run, home};
use wgo_tests::sim::node::Habits;

/// Bytes per second of an ordinary line.
const UP: u64 = 125_000;
const SEEDS: u64 = 2;

/// 4 MiB in pieces of 64 KiB: half a minute of an ordinary line. The end, in which blocks are asked of two, is much of
/// so short a download.
fn small() -> Shape {
    Shape::new(64, 4, 0)
}

/// 16 MiB.
fn ordinary() -> Shape {
    Shape::new(256, 4, 0)
}

fn each_seed(plan: &Plan, judge: impl Fn(&Run)) {
    for seed in super::chosen_seeds(SEEDS) {
        let run = plan.run(seed);
        eprintln!(
            "seed {seed}: last {:.2} and median {:.2} × the bound, {:.2} copies until the second, {:.1} % twice",
            run.last(None) / run.fluid_bound(),
            run.median(None) / run.fluid_bound(),
            run.copies_until_second(),
            run.duplicates(),
        );
        judge(&run);
    }
}

/// A fluid that is split at will gives the bound; what pieces, rounds and handshakes cost a swarm that lives for so
/// short is two thirds of it.
#[test]
fn a_flash_crowd_is_filled_in_little_more_than_the_least_time() {
    each_seed(&Plan::equal(small(), 20, home(UP)), |run| {
        let last = run.last(None) / run.fluid_bound();
        assert!(last < 1.67, "the last is done after {last:.2} × the least time");
        assert!(run.copies_until_second() < 1.35, "the seed sends what others have");
        assert!(run.duplicates() < 6.0, "{:.2} % comes twice", run.duplicates());
    });
}

#[test]
fn nothing_is_lost_with_a_seed_that_leaves_after_one_copy() {
    each_seed(&Plan { seeds_leave: true, ..Plan::equal(small(), 20, home(UP)) }, |run| {
        assert_eq!(run.unfinished(), 0.0);
        assert!(run.last(None) / run.fluid_bound() < 1.67);
    });
}

#[test]
fn who_gives_nothing_gets_less_than_who_gives() {
    let class =
        |name, count, habits| Class { name, count, habits, joins: Joins::Within(Duration::from_secs(3)) };
    let rider = Habits { slots: SlotCount::Fixed(0), ..home(UP) };
    let plan = Plan {
        classes: vec![class("honest", 14, home(UP)), class("rider", 6, rider)],
        ..Plan::equal(small(), 0, home(4 * UP))
    };
    each_seed(&plan, |run| {
        let (rider, honest) = (run.median(Some("rider")), run.median(Some("honest")));
        eprintln!("riders {rider:.0} s, honest {honest:.0} s, share {:.2}", run.share("rider", "honest"));
        assert!(rider > honest, "riders are done after {rider:.0} s, others after {honest:.0} s");
        assert!(run.share("rider", "honest") < 1.0);
    });
}

#[test]
fn the_end_of_a_download_is_not_fetched_twice() {
    let mut plan = Plan { seeds: vec![home(UP); 5], ..Plan::equal(ordinary(), 1, home(UP)) };
    // Those who have the last blocks are slow.
    plan.seeds.extend(vec![home(UP / 25); 5]);
    each_seed(&plan, |run| {
        assert!(run.duplicates() < 2.0, "{:.2} % comes twice", run.duplicates());
        assert!(run.last(None) / run.fluid_bound() < 1.6);
    });
}
