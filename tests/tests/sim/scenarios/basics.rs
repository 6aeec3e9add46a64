//! Ordinary swarms.
use std::time::Duration;

use super::{seeds, small};
use crate::node::Habits;
use crate::world::World;

const MINUTES: Duration = Duration::from_secs(600);

fn one_seed_and_eight(world: &mut World) {
    let id = world.torrent(&small());
    world.seeder(id, Habits::default());
    let leechers: Vec<_> = (0..8).map(|_| world.leecher(id, Habits::default())).collect();
    world.finish_all(&leechers, id, MINUTES);
    world.check_answered();
}

#[test]
fn one_seed_and_eight_leechers_finish() {
    seeds("one_seed_and_eight_leechers_finish", 4, one_seed_and_eight);
}

#[test]
fn one_seed_is_one_run_to_the_bit() {
    let run = |seed| {
        let mut world = World::new(seed);
        one_seed_and_eight(&mut world);
        (world.trace, world.steps, world.now)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}
