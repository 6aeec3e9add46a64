//! What is simulated.
mod basics;
mod chaos;
mod disks;
mod distance;
mod efficiency;
mod explored;
mod limits;
mod lives;
mod nas;
mod power;
mod rogues;
mod trouble;
mod weather;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::world::World;

/// Runs a scenario with some seeds, with the one that `WGOD_SIM_SEED` names, or with as many as
/// `WGOD_SIM_COUNT` says.
pub(crate) fn seeds(name: &str, count: u64, scenario: impl Fn(&mut World)) {
    for seed in chosen_seeds(count) {
        let mut world = World::new(seed);
        let run = AssertUnwindSafe(|| {
            scenario(&mut world);
            world.check_books();
        });
        if let Err(failure) = catch_unwind(run) {
            eprintln!("simulated time {:?}, step {}", world.now, world.steps);
            eprintln!("to replay: WGOD_SIM_SEED={seed} cargo test -p wgo-tests --test sim {name}");
            resume_unwind(failure);
        }
    }
}

/// The seeds `1..=count`, unless the environment says otherwise.
pub(crate) fn chosen_seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let count = number("WGOD_SIM_COUNT").unwrap_or(count);
    number("WGOD_SIM_SEED").map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

/// A torrent of 32 pieces of 4 blocks in one file, 2 MiB.
pub(crate) fn small() -> Shape {
    Shape::new(32, 4, 5000)
}
