//! Several torrents on one node, limits, slots.
use std::time::Duration;

use wgo_core::ByteRate;
use wgo_core::choke_mgr::{Automatic, SlotCount};
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::node::Habits;

use super::{seeds, small};

const MINUTES: Duration = Duration::from_secs(900);

/// The limit itself is checked for each run, over every window: `World::check_books`.
#[test]
fn two_torrents_under_one_limit_get_fair_shares() {
    seeds("two_torrents_under_one_limit_get_fair_shares", 2, |world| {
        let limit = ByteRate(200_000);
        let seed =
            world.node(Habits { up_limit: Some(limit), slots: SlotCount::Fixed(8), ..Habits::default() });
        let ids = [0, 1].map(|_| world.torrent(&Shape::new(80, 4, 0)));
        for id in ids {
            let all = wgo_proto::Bitfield::full(80);
            world.add(seed, id, all, wgo_core::session::Check::None);
        }
        world.run_for(Duration::from_secs(1));
        world.leecher(ids[0], Habits::default());
        for _ in 0..4 {
            world.leecher(ids[1], Habits::default());
        }
        world.run_for(Duration::from_secs(5));
        let sent = |world: &wgo_tests::sim::world::World| ids.map(|id| world.nodes[seed].torrents[&id].sent);
        let before = sent(world);
        world.run_for(Duration::from_secs(20));
        let after = sent(world);
        let got = [after[0] - before[0], after[1] - before[1]];
        let total = got[0] + got[1];
        assert!(total.abs_diff(4_000_000) < 80_000, "{total} bytes in 20 s at {limit}");
        assert!(got[0].abs_diff(got[1]) < total / 10, "one torrent got {got:?}");
    });
}

#[test]
fn many_torrents_of_the_same_nodes_all_finish() {
    seeds("many_torrents_of_the_same_nodes_all_finish", 2, |world| {
        let ids: Vec<_> = (0..4).map(|_| world.torrent(&Shape::new(10, 4, 77))).collect();
        let automatic = SlotCount::Automatic(Automatic::default());
        let habits = Habits { slots: automatic, up_limit: Some(ByteRate(300_000)), ..Habits::default() };
        let nodes: Vec<_> = (0..5).map(|_| world.node(habits.clone())).collect();
        for (number, id) in ids.iter().enumerate() {
            for node in &nodes {
                if node % 4 == number {
                    let all = wgo_proto::Bitfield::full(10);
                    world.add(*node, *id, all, wgo_core::session::Check::None);
                } else {
                    world.join(*node, *id);
                }
            }
        }
        for id in ids {
            world.finish_all(&nodes, id, MINUTES);
        }
    });
}

/// A low limit moves parts of blocks; nobody is taken for snubbing because of it.
#[test]
fn a_very_low_limit_still_serves() {
    seeds("a_very_low_limit_still_serves", 2, |world| {
        let id = world.torrent(&Shape::new(6, 2, 0));
        world.seeder(id, Habits { up_limit: Some(ByteRate(3_000)), ..Habits::default() });
        let leechers: Vec<_> = (0..3).map(|_| world.leecher(id, Habits::default())).collect();
        world.finish_all(&leechers, id, Duration::from_secs(1800));
    });
}

/// Who gives gets: with one slot each, the choker of a leecher prefers the peer it has most from.
#[test]
fn few_slots_are_enough_for_a_large_swarm() {
    seeds("few_slots_are_enough_for_a_large_swarm", 2, |world| {
        let id = world.torrent(&small());
        let one = Habits { slots: SlotCount::Fixed(1), ..Habits::default() };
        world.seeder(id, one.clone());
        let leechers: Vec<_> = (0..7).map(|_| world.leecher(id, one.clone())).collect();
        world.finish_all(&leechers, id, MINUTES);
    });
}
