//! Peers of every bad class, each beside one good source: they cost time, and nobody else is taken for them.
use std::time::Duration;

use wgo_tests::sim::node::Habits;
use wgo_tests::sim::rogue::Class;

use super::{seeds, small};

#[test]
fn whoever_misbehaves_keeps_nobody_from_finishing() {
    for (number, class) in Class::ALL.into_iter().enumerate() {
        let fast = number % 2 == 0;
        seeds("whoever_misbehaves_keeps_nobody_from_finishing", 1, |world| {
            let id = world.torrent(&small());
            world.seeder(id, Habits { line: 150_000, ..Habits::default() });
            let rogues: Vec<_> = (0..2)
                .map(|_| world.rogue(id, Habits { rogue: Some(class), fast, ..Habits::default() }))
                .collect();
            world.run_for(Duration::from_secs(1));
            let nodes: Vec<_> = (0..2).map(|_| world.leecher(id, Habits::default())).collect();
            world.finish_all(&nodes, id, Duration::from_secs(600));
            world.check_bans();
            let met = rogues
                .iter()
                .any(|rogue| world.links.iter().any(|link| link.ends.iter().any(|end| end.node == *rogue)));
            assert!(met, "nobody met a {class:?}");
            let banned = nodes.iter().any(|node| {
                let now = world.clock(*node);
                let swarm = world.nodes[*node].torrents[&id].live.as_ref();
                swarm.is_some_and(|swarm| !swarm.bans(now).is_empty())
            });
            assert!(class != Class::Poisoner || banned, "a poisoner is not found out");
        });
    }
}
