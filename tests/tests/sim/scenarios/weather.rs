//! Networks and machines that do not behave: partitions, routers that let nobody in, losses, connections that are
//! dead and don't know it, machines that are suspended, clocks that jump.
use std::time::Duration;

use wgo_core::ByteRate;
use wgo_core::limiter::Direction;
use wgo_tests::sim::link::NodeId;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::weather::Weather;
use wgo_tests::sim::world::World;

use super::{seeds, small};

const MINUTES: Duration = Duration::from_secs(900);
/// BEP 3 wants a message every two minutes; a minute more, a tick, and what is said at the end.
const SILENCE: Duration = Duration::from_secs(185);

fn slow() -> Habits {
    Habits { line: 100_000, ..Habits::default() }
}

#[test]
fn a_swarm_that_is_parted_goes_on_where_it_is_healed() {
    seeds("a_swarm_that_is_parted_goes_on_where_it_is_healed", 2, |world| {
        let id = world.torrent(&small());
        world.seeder(id, slow());
        let nodes: Vec<_> = (0..4).map(|_| world.leecher(id, slow())).collect();
        world.run_for(Duration::from_secs(6));
        // The seed and two of the leechers here, the others there.
        world.part(0b00111);
        world.run_for(Duration::from_secs(300));
        assert!(nodes[2..].iter().all(|node| !world.nodes[*node].is_complete(id)), "nobody reaches them");
        world.heal();
        world.finish_all(&nodes, id, MINUTES);
    });
}

#[test]
fn who_can_not_be_dialled_finds_whoever_can() {
    seeds("who_can_not_be_dialled_finds_whoever_can", 2, |world| {
        let id = world.torrent(&small());
        world.seeder(id, slow());
        let hidden = Habits { nat: true, ..slow() };
        let nodes: Vec<_> = (0..3).map(|_| world.leecher(id, hidden.clone())).collect();
        world.finish_all(&nodes, id, MINUTES);
        let between = |a: NodeId, b: NodeId| {
            world.links.iter().any(|link| [a, b].iter().all(|n| link.ends.iter().any(|end| end.node == *n)))
        };
        assert!(!between(nodes[0], nodes[1]), "two of them can't meet");
    });
}

#[test]
fn losses_jitter_and_spikes_only_cost_time() {
    seeds("losses_jitter_and_spikes_only_cost_time", 2, |world| {
        world.weather = Weather {
            jitter: Duration::from_millis(80),
            spike_one_in: 50,
            spike: Duration::from_secs(2),
            loss: 10_000,
            refused: 20,
            dials_lost: 20,
        };
        let id = world.torrent(&small());
        world.seeder(id, Habits::default());
        let nodes: Vec<_> = (0..3).map(|_| world.leecher(id, Habits::default())).collect();
        world.finish_all(&nodes, id, MINUTES);
    });
}

#[test]
fn an_end_that_never_hears_of_the_other_s_gives_it_up_in_time() {
    seeds("an_end_that_never_hears_of_the_other_s_gives_it_up_in_time", 3, |world| {
        let id = world.torrent(&small());
        let seed = world.seeder(id, slow());
        let node = world.leecher(id, slow());
        world.run_for(Duration::from_secs(4));
        assert_eq!(world.live_links.len(), 1);
        world.half_open();
        world.run_for(SILENCE);
        for link in world.links.iter().filter(|link| link.deaf.contains(&true)) {
            assert!(
                link.ends.iter().all(|end| end.key.is_none()),
                "it holds on to the dead\n{}",
                world.report()
            );
        }
        world.finish_all(&[node], id, MINUTES);
        assert!(world.nodes[seed].torrents[&id].sent > 0);
    });
}

/// Its clock stood still, or shows hours more when it wakes.
#[test]
fn a_machine_that_was_suspended_goes_on() {
    seeds("a_machine_that_was_suspended_goes_on", 2, |world| {
        for jumps in [false, true] {
            let id = world.torrent(&small());
            let seed = world.seeder(id, slow());
            let node = world.leecher(id, slow());
            world.run_for(Duration::from_secs(5));
            world.suspend(node, Duration::from_secs(7200), jumps);
            world.run_for(Duration::from_secs(7201));
            let before = world.nodes[node].torrents[&id].received;
            assert!(before < world.content(id).layout.total_len(), "it slept");
            world.finish_all(&[node], id, MINUTES);
            world.leave(seed);
            world.leave(node);
        }
    });
}

#[test]
fn clocks_that_differ_run_on_and_jump_are_nobody_else_s_business() {
    seeds("clocks_that_differ_run_on_and_jump_are_nobody_else_s_business", 2, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits { clock: (Duration::from_secs(1_000_000), 300), ..slow() });
        let nodes: Vec<_> = [(0, -300), (77, 0), (5_000, 40)]
            .map(|(ahead, gains)| Habits { clock: (Duration::from_secs(ahead), gains), ..slow() })
            .map(|habits| world.leecher(id, habits))
            .into();
        for hours in 1..6 {
            world.run_for(Duration::from_secs(3));
            world.jump(nodes[hours as usize % 3], Duration::from_secs(3600 * hours));
        }
        world.finish_all(&nodes, id, MINUTES);
    });
}

/// Each window of the run is checked against the limit as it is at the time: `books::Window`.
#[test]
fn download_limits_hold_while_they_are_changed() {
    seeds("download_limits_hold_while_they_are_changed", 2, |world| {
        let id = world.torrent(&small());
        for _ in 0..3 {
            world.seeder(id, Habits::default());
        }
        let limited = |rate| Habits { down_limit: Some(ByteRate(rate)), ..Habits::default() };
        let node = world.leecher(id, limited(40_000));
        let took = |world: &World, node: NodeId| world.nodes[node].torrents[&id].received;
        world.run_for(Duration::from_secs(10));
        let before = took(world, node);
        world.run_for(Duration::from_secs(10));
        let more = took(world, node) - before;
        assert!(more.abs_diff(400_000) < 70_000, "{more} bytes in 10 s at 40 kB/s");
        world.limit(node, Direction::Down, Some(ByteRate(0)));
        world.run_for(Duration::from_secs(1));
        let before = took(world, node);
        world.run_for(Duration::from_secs(100));
        assert_eq!(took(world, node), before, "a limit of nothing lets nothing in");
        world.limit(node, Direction::Down, Some(ByteRate(200_000)));
        world.finish_all(&[node], id, MINUTES);
    });
}
