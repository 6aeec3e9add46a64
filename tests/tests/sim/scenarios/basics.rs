//! Ordinary swarms: everyone finishes, whatever the torrent's shape.
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_core::session::Check;
use wgo_proto::Bitfield;
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::world::World;

use super::{seeds, small};

const MINUTES: Duration = Duration::from_secs(600);

fn one_seed_and_eight(world: &mut World) {
    let id = world.torrent(&small());
    world.seeder(id, Habits::default());
    let leechers: Vec<_> = (0..8).map(|_| world.leecher(id, Habits::default())).collect();
    world.finish_all(&leechers, id, MINUTES);
    world.check_answered();
    for node in leechers {
        let events = &world.tracker.events[&(id, node)];
        let (started, completed) = (wgo_core::tracker::Event::Started, wgo_core::tracker::Event::Completed);
        assert_eq!(events[..], [started, completed], "node {node} told its tracker");
        assert_eq!(world.nodes[node].torrents[&id].completed, 1);
    }
}

#[test]
fn one_seed_and_eight_leechers_finish() {
    seeds("one_seed_and_eight_leechers_finish", 2, one_seed_and_eight);
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

#[test]
fn peers_without_the_fast_extension_finish_too() {
    seeds("peers_without_the_fast_extension_finish_too", 2, |world| {
        let id = world.torrent(&small());
        let plain = || Habits { fast: false, ..Habits::default() };
        world.seeder(id, Habits::default());
        let mut leechers: Vec<_> = (0..3).map(|_| world.leecher(id, plain())).collect();
        leechers.extend((0..3).map(|_| world.leecher(id, Habits::default())));
        world.finish_all(&leechers, id, MINUTES);
    });
}

/// One block, one piece, a last piece of one byte, files that end inside blocks, empty files.
#[test]
fn torrents_of_any_shape_finish() {
    let file = |pieces, blocks, short| Shape::new(pieces, blocks, short);
    let shapes = [
        Shape { piece_len: 16384, files: vec![1] },
        file(1, 1, 0),
        file(1, 4, 3),
        file(2, 4, 4 * 16384 - 1),
        file(40, 1, 16000),
        Shape { piece_len: 32768, files: vec![10, 0, 16384, 70_001, 0, 5, 32768 * 3, 1] },
        Shape { piece_len: 20_000, files: vec![123_456, 77] },
    ];
    seeds("torrents_of_any_shape_finish", 2, |world| {
        for shape in &shapes {
            let id = world.torrent(shape);
            world.seeder(id, Habits::default());
            let fast = world.leecher(id, Habits::default());
            let plain = world.leecher(id, Habits { fast: false, ..Habits::default() });
            world.finish_all(&[fast, plain], id, MINUTES);
        }
    });
}

/// The seed's line is the bottleneck, so pieces spread well only if each leaves it about once.
#[test]
fn the_seed_sends_each_piece_about_once_while_leechers_trade_the_rest() {
    seeds("the_seed_sends_each_piece_about_once_while_leechers_trade_the_rest", 3, |world| {
        let id = world.torrent(&small());
        let seed = world.seeder(id, Habits { line: 200_000, ..Habits::default() });
        let leechers: Vec<_> = (0..6).map(|_| world.leecher(id, Habits::default())).collect();
        world.finish_all(&leechers, id, MINUTES);
        let copies =
            world.nodes[seed].torrents[&id].sent as f64 / world.content(id).layout.total_len() as f64;
        assert!(copies < 3.0, "the seed sent {copies:.2} copies to six leechers");
    });
}

#[test]
fn a_seed_that_leaves_after_one_copy_is_not_missed() {
    seeds("a_seed_that_leaves_after_one_copy_is_not_missed", 4, |world| {
        let id = world.torrent(&small());
        let seed = world.seeder(id, Habits { line: 300_000, ..Habits::default() });
        let leechers: Vec<_> = (0..5).map(|_| world.leecher(id, Habits::default())).collect();
        let others = leechers.clone();
        world.run("one copy exists", MINUTES, |world| {
            world.content(id).pieces().all(|piece| others.iter().any(|node| has(world, *node, id, piece.0)))
        });
        world.leave(seed);
        world.finish_all(&leechers, id, MINUTES);
    });
}

fn has(world: &World, node: usize, id: TorrentId, piece: u32) -> bool {
    world.nodes[node].torrents[&id].live.as_ref().is_some_and(|swarm| swarm.have().get(piece))
}

/// Nobody has everything, together they do.
#[test]
fn leechers_with_different_halves_complete_each_other() {
    seeds("leechers_with_different_halves_complete_each_other", 3, |world| {
        let id = world.torrent(&small());
        let nodes: Vec<_> = (0..4).map(|_| world.node(Habits::default())).collect();
        for (number, node) in (0..).zip(&nodes) {
            let mut have = Bitfield::new(32);
            (0..32).filter(|piece| piece % 4 == number).for_each(|piece| assert!(have.set(piece)));
            world.add(*node, id, have, Check::Full);
        }
        world.finish_all(&nodes, id, MINUTES);
    });
}

/// DESIGN: interest is told with the handshake, free slots are filled at once, so the first block
/// comes within a few round trips and not after ten seconds.
#[test]
fn the_first_bytes_come_within_a_few_round_trips() {
    seeds("the_first_bytes_come_within_a_few_round_trips", 4, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits::default());
        // The choke rounds of the seed are well under way before anyone comes.
        world.run_for(Duration::from_secs(13));
        for late in 0..4 {
            let joined = world.now;
            let node = world.leecher(id, Habits { fast: late % 2 == 0, ..Habits::default() });
            world.run("the first block", Duration::from_secs(60), |world| {
                world.nodes[node].torrents[&id].first_block_at.is_some()
            });
            let wait = world.now.since(joined);
            assert!(
                wait < Duration::from_millis(2500),
                "newcomer {late} waited {wait:?} for its first block"
            );
            world.run_for(Duration::from_millis(3700));
        }
    });
}
