//! Long fat links: what one peer fills, and how soon a newcomer gets something.
use std::time::Duration;

use wgo_core::choke_mgr::SlotCount;
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::world::World;

use super::{seeds, small};

/// 200 Mbit/s.
const LINE: u64 = 25_000_000;
/// One way; 100 ms there and back.
const DISTANCE: Duration = Duration::from_millis(50);

/// A node at the end of such a link, with the memory that a daemon has by default. Its sockets take what
/// is under way, its disk is quick: what is left is the protocol.
fn far() -> Habits {
    Habits {
        line: LINE,
        distance: Some(DISTANCE),
        socket: 8 << 20,
        batch: 256 * 1024,
        disk_millis: 1,
        memory: 2048,
        ..Habits::default()
    }
}

fn have(world: &World, node: usize, id: wgo_core::TorrentId) -> u32 {
    world.nodes[node].torrents[&id].live.as_ref().map_or(0, |swarm| swarm.have().count())
}

#[test]
fn one_peer_fills_a_long_fat_link() {
    seeds("one_peer_fills_a_long_fat_link", 1, |world| {
        let pieces = 96;
        let id = world.torrent(&Shape::new(pieces, 32, 0));
        world.seeder(id, far());
        world.run_for(Duration::from_secs(13));
        let node = world.leecher(id, far());
        let minute = Duration::from_secs(60);
        world.run("a connection", minute, |world| !world.nodes[node].torrents[&id].ends.is_empty());
        let connected = world.now;
        world.run("the first piece", minute, |world| have(world, node, id) > 0);
        let first = world.now;
        world.run("all pieces", minute, |world| world.nodes[node].is_complete(id));
        let (wait, time) = (first.since(connected), world.now.since(first));
        let bytes = (pieces - 1) * 32 * u64::from(wgo_proto::BLOCK_LEN);
        let share = bytes as f64 / time.as_secs_f64() / LINE as f64;
        // Interest, unchoke and three round trips of slow start: 4, 8, 16 and the last 4 blocks.
        assert!(wait < Duration::from_millis(650), "the first piece came after {wait:?}");
        assert!(share > 0.85, "{share:.2} of the line is used after the first piece");
    });
}

/// Five times the distance: they hear of us and we of them at once, then interest, unchoke, request and
/// block take one each. No slot waits for a choke round.
#[test]
fn a_newcomer_gets_its_first_block_as_soon_as_the_distance_allows() {
    seeds("a_newcomer_gets_its_first_block_as_soon_as_the_distance_allows", 2, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits { slots: SlotCount::Fixed(8), ..far() });
        world.run_for(Duration::from_secs(13));
        for newcomer in 0..4 {
            let node = world.leecher(id, far());
            let minute = Duration::from_secs(60);
            world.run("a connection", minute, |world| !world.nodes[node].torrents[&id].ends.is_empty());
            let connected = world.now;
            world.run("a block", minute, |world| world.nodes[node].torrents[&id].first_block_at.is_some());
            let wait = world.now.since(connected);
            assert!(wait < DISTANCE * 4 + Duration::from_millis(20), "newcomer {newcomer} waited {wait:?}");
            // Among them one that comes while the last round is younger than another may follow.
            world.run_for(Duration::from_millis(if newcomer == 1 { 100 } else { 3_000 }));
        }
    });
}
