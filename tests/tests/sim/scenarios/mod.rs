//! What is simulated.
mod basics;
mod chaos;
mod disks;
mod distance;
mod limits;
mod lives;
mod nas;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_core::session::Check;
use wgo_proto::Bitfield;

use crate::content::Shape;
use crate::link::NodeId;
use crate::node::Habits;
use crate::world::World;

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

impl World {
    /// A node that has everything of a torrent.
    pub(crate) fn seeder(&mut self, id: TorrentId, habits: Habits) -> NodeId {
        let node = self.node(habits);
        let full = Bitfield::full(self.content(id).layout.piece_count());
        self.add(node, id, full, Check::None);
        node
    }

    /// A node that has nothing of it.
    pub(crate) fn leecher(&mut self, id: TorrentId, habits: Habits) -> NodeId {
        let node = self.node(habits);
        self.join(node, id);
        node
    }

    /// A node wants a torrent of which it has nothing.
    pub(crate) fn join(&mut self, node: NodeId, id: TorrentId) {
        let none = Bitfield::new(self.content(id).layout.piece_count());
        self.add(node, id, none, Check::None);
    }

    /// Runs until these nodes have everything, then lets the last messages arrive.
    pub(crate) fn finish_all(&mut self, nodes: &[NodeId], id: TorrentId, limit: Duration) {
        let nodes = nodes.to_vec();
        self.run("all finish", limit, |world| nodes.iter().all(|node| world.nodes[*node].is_complete(id)));
        self.run_for(Duration::from_secs(5));
        nodes.iter().for_each(|node| self.check_complete(*node, id));
    }
}

/// A torrent of 32 pieces of 4 blocks in one file, 2 MiB.
pub(crate) fn small() -> Shape {
    Shape::new(32, 4, 5000)
}
