//! Worlds that a generator makes of seeds, the same that `explore` explores by the thousand; and its tools.
use std::time::Duration;

use wgo_tests::sim::generate::generate;
use wgo_tests::sim::plan::{Happening, Plan};
use wgo_tests::sim::play::play;
use wgo_tests::sim::shrink::shrink;

use super::chosen_seeds;

/// Worlds that are played in an ordinary run.
const WORLDS: u64 = 24;

#[test]
fn worlds_made_of_seeds_keep_every_promise() {
    for seed in chosen_seeds(WORLDS) {
        let played = play(&generate(seed), false, &|_, _| {});
        assert!(
            played.failure.is_none(),
            "world {seed} failed; to see it happen: cargo run --profile explore -p wgo-tests --bin explore -- \
             --seed {seed} --trace"
        );
    }
}

#[test]
fn a_seed_is_one_run_whatever_it_holds() {
    for seed in [3, 8] {
        let plan = generate(seed);
        let run = |log| {
            let world = play(&plan, log, &|_, _| {}).world;
            (world.trace, world.steps, world.now)
        };
        assert_eq!(run(false), run(true), "somebody who reads along changes nothing");
    }
    assert_eq!(generate(5).to_string(), generate(5).to_string());
    assert_ne!(generate(5).to_string(), generate(6).to_string());
}

/// The failure needs a partition while a torrent is stopped; all else is taken out, in some order.
#[test]
fn a_failure_is_made_small() {
    let fails = |plan: &Plan| {
        let planted = |world: &wgo_tests::sim::world::World, what: &Happening| {
            let parted = world.nodes.iter().any(|node| node.part);
            assert!(!(parted && matches!(what, Happening::Heal)), "planted");
        };
        play(plan, false, &planted).failure.is_some()
    };
    let mut plan = (1..).map(generate).find(|plan| plan.happenings.len() > 20).unwrap();
    plan.happenings.truncate(22);
    for (number, planned) in plan.happenings.iter_mut().enumerate() {
        planned.at = Duration::from_millis(300 * number as u64);
        if matches!(planned.what, Happening::Part(_) | Happening::Heal) {
            planned.what = Happening::Resets(1);
        }
    }
    plan.happenings[6].what = Happening::Part(1);
    plan.happenings[15].what = Happening::Heal;
    assert!(fails(&plan), "it is there");
    let small = shrink(&plan, Duration::from_secs(60), fails);
    let left: Vec<usize> = small.happenings.iter().map(|planned| planned.number).collect();
    assert_eq!(left, [6, 15], "{small}");
    assert!(small.nodes.iter().any(|node| node.absent), "it needs few of the nodes");
    assert!(fails(&small));
}
