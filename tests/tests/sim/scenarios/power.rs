//! The power goes, hundreds of times, and what was found that way.
use std::cell::Cell;
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_tests::sim::disk::{Ending, Failing};
use wgo_tests::sim::link::NodeId;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::outages::{Outages, Tally};
use wgo_tests::sim::world::World;

use super::{seeds, small};

/// Power cuts of one world.
const CUTS: u32 = 30;
/// Nothing that no sync had covered is there.
const NOTHING: Ending = Ending { kept: 0, torn: 0 };
const MINUTES: Duration = Duration::from_secs(900);

/// `WGOD_SIM_COUNT` worlds make so many times 30 power cuts.
#[test]
fn no_power_cut_loses_what_was_acknowledged_or_makes_believe_what_is_not_there() {
    let tally = Cell::new(Tally::default());
    seeds("no_power_cut_loses_what_was_acknowledged_or_makes_believe_what_is_not_there", 6, |world| {
        let mut sum = tally.get();
        sum.add(Outages::play(world, CUTS));
        tally.set(sum);
    });
    let sum = tally.get();
    eprintln!("{sum:?}");
    assert!(sum.cuts >= CUTS && sum.torn > 0, "{sum:?}");
}

#[test]
fn a_seed_of_power_cuts_is_the_same_world_each_time() {
    let play = |seed| {
        let mut world = World::new(seed);
        let tally = Outages::play(&mut world, 6);
        let changes: Vec<u64> = world.nodes.iter().map(|node| node.disk.changes()).collect();
        (tally, world.trace, world.steps, changes)
    };
    assert_eq!(play(5), play(5));
    assert_ne!(play(5), play(6));
}

/// A slow seeder, and a node with a store that fetches from it.
fn pair(world: &mut World) -> (NodeId, TorrentId) {
    let id = world.torrent(&small());
    world.seeder(id, Habits { line: 60_000, ..Habits::default() });
    let node = world.leecher(id, Habits { store: true, ..Habits::default() });
    (node, id)
}

/// Runs until a node has so many pieces.
fn until_has(world: &mut World, node: NodeId, id: TorrentId, pieces: u32) {
    world.run("it has some", MINUTES, |world| {
        let live = world.nodes[node].torrents[&id].live.as_ref();
        live.is_some_and(|swarm| swarm.have().count() >= pieces)
    });
}

/// What a check finds after the process was killed is in memory, perhaps, and nowhere else.
#[test]
fn a_kill_and_a_power_cut_leave_no_bit_for_what_only_memory_had() {
    seeds("a_kill_and_a_power_cut_leave_no_bit_for_what_only_memory_had", 2, |world| {
        let (node, id) = pair(world);
        until_has(world, node, id, 4);
        world.crash(node);
        world.run_for(Duration::from_secs(1));
        world.boot(node);
        world.run_for(Duration::from_secs(1));
        assert!(world.nodes[node].torrents[&id].hashed >= 4, "what was stored is looked for");
        assert!(world.nodes[node].torrents[&id].durable.count() >= 4, "and found");
        world.power_cut_to(node, NOTHING);
        world.run_for(Duration::from_secs(1));
        world.boot(node);
        assert!(world.nodes[node].torrents[&id].durable.count() >= 4, "it was made durable");
        world.finish_all(&[node], id, MINUTES);
    });
}

/// After a sync that failed, the next one succeeds and says nothing about what the first one lost.
#[test]
fn what_a_failed_sync_lost_is_fetched_again_and_not_believed_later() {
    seeds("what_a_failed_sync_lost_is_fetched_again_and_not_believed_later", 3, |world| {
        let (node, id) = pair(world);
        until_has(world, node, id, 4);
        world.trouble(node);
        world.nodes[node].disk.fail(0, Failing::Syncs, 1);
        world.run("a checkpoint fails", MINUTES, |world| {
            let row = world.nodes[node].session.row(id);
            row.is_some_and(|row| row.trouble().is_some())
        });
        world.run("one succeeds", MINUTES, |world| !world.nodes[node].torrents[&id].durable.is_empty());
        world.power_cut_to(node, NOTHING);
        world.run_for(Duration::from_secs(1));
        world.boot(node);
        world.finish_all(&[node], id, MINUTES);
    });
}

#[test]
fn a_clean_stop_leaves_nothing_to_hash() {
    seeds("a_clean_stop_leaves_nothing_to_hash", 2, |world| {
        let (node, id) = pair(world);
        until_has(world, node, id, 5);
        assert!(world.shut_down(node), "all is kept");
        world.boot(node);
        world.run_for(Duration::from_secs(2));
        let entry = &world.nodes[node].torrents[&id];
        assert_eq!((entry.hashed, entry.durable.count() >= 5), (0, true));
        world.finish_all(&[node], id, MINUTES);
    });
}
