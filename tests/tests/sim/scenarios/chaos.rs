//! Everything at once: what no scenario names.
use std::time::Duration;

use wgo_core::choke_mgr::{Automatic, SlotCount};
use wgo_core::session::Check;
use wgo_core::{ByteRate, TorrentId};
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::link::NodeId;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::world::World;

use super::seeds;

/// A node of any ordinary kind.
fn any_habits(world: &mut World) -> Habits {
    let rng = &mut world.rng;
    Habits {
        fast: rng.u32(..4) > 0,
        line: rng.u64(60_000..1_500_000),
        up_limit: (rng.u32(..4) == 0).then(|| ByteRate(rng.u64(20_000..200_000))),
        memory: if rng.bool() { 512 } else { rng.usize(4..40) },
        slots: match rng.u32(..3) {
            0 => SlotCount::Automatic(Automatic::default()),
            n => SlotCount::Fixed(n * 2),
        },
        max_peers: rng.u32(3..50),
        ..Habits::default()
    }
}

fn any_shape(world: &mut World) -> Shape {
    let rng = &mut world.rng;
    let piece_len = rng.u32(1..100_000).max(9_000);
    let files = (0..rng.usize(1..6)).map(|_| rng.u64(..400_000)).collect::<Vec<_>>();
    Shape { piece_len, files: if files.iter().sum::<u64>() == 0 { vec![1] } else { files } }
}

/// One random thing happens to one node.
fn mischief(world: &mut World, nodes: &[NodeId], ids: &[TorrentId], crashed: &mut Vec<NodeId>) {
    let node = nodes[world.rng.usize(..nodes.len())];
    let id = ids[world.rng.usize(..ids.len())];
    let up = world.nodes[node].up;
    match world.rng.u32(..11) {
        0 if up => world.command(node, |session, now| session.stop(now, id)),
        1 | 2 if up => world.command(node, |session, now| session.start(now, id)),
        3 if up => world.command(node, |session, now| session.verify(now, id)),
        4 => world.nodes[node].disk.set_full(true),
        5 => world.nodes[node].disk.set_full(false),
        6 if up => {
            world.crash(node);
            crashed.push(node);
        }
        7 => {
            if let Some(node) = crashed.pop() {
                world.restart(node, if node % 2 == 0 { Check::None } else { Check::Suspects });
            }
        }
        8 => world.tracker.down = !world.tracker.down,
        _ => (0..3).for_each(|_| world.flap()),
    }
}

#[test]
fn whatever_happens_all_honest_nodes_finish_in_the_end() {
    seeds("whatever_happens_all_honest_nodes_finish_in_the_end", 5, |world| {
        let ids: Vec<_> = (0..2)
            .map(|_| {
                let shape = any_shape(world);
                world.torrent(&shape)
            })
            .collect();
        for id in &ids {
            let habits = any_habits(world);
            world.seeder(*id, habits);
        }
        let poisoner = Habits { poison: 6, ..any_habits(world) };
        world.seeder(ids[0], poisoner);
        world.seeder(ids[1], Habits { stalls: true, ..Habits::default() });
        let nodes: Vec<_> = (0..5)
            .map(|_| {
                let habits = any_habits(world);
                let node = world.node(habits);
                ids.iter().for_each(|id| world.join(node, *id));
                node
            })
            .collect();
        let mut crashed = Vec::new();
        for _ in 0..60 {
            mischief(world, &nodes, &ids, &mut crashed);
            let wait = world.millis(1, 2000);
            world.run_for(wait);
        }
        world.tracker.down = false;
        crashed.into_iter().for_each(|node| world.restart(node, Check::None));
        for node in &nodes {
            world.nodes[*node].disk.set_full(false);
            ids.iter().for_each(|id| world.command(*node, |session, now| session.start(now, *id)));
        }
        for id in ids {
            world.finish_all(&nodes, id, Duration::from_secs(3600));
        }
    });
}
