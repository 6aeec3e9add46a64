//! Bad peers and bad lines.
use std::time::Duration;

use wgo_core::peer::{CloseReason, Direction, Encryption, PeerInfo};
use wgo_proto::PeerId;
use wgo_proto::wire::Reserved;
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::link::{EndId, Link};
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::world::{Event, World};

use super::{seeds, small};

const MINUTES: Duration = Duration::from_secs(900);

/// Only the poisoner may ever be accused: `World::note_fault` fails otherwise.
#[test]
fn a_poisoner_is_banned_and_honest_peers_are_not() {
    seeds("a_poisoner_is_banned_and_honest_peers_are_not", 5, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits { line: 250_000, ..Habits::default() });
        let poisoner = world.seeder(id, Habits { poison: 4, ..Habits::default() });
        world.run_for(Duration::from_secs(1));
        let leechers: Vec<_> = (0..4).map(|_| world.leecher(id, Habits::default())).collect();
        world.finish_all(&leechers, id, MINUTES);
        for node in leechers {
            let failures = world.view(node, id).hash_failures;
            assert!(failures <= 3, "{failures} bad pieces before node {node} knew whom to blame");
        }
        assert!(world.nodes[poisoner].faults > 0, "nobody noticed the poisoner");
    });
}

/// Its one piece is still being hashed when it leaves.
#[test]
fn a_poisoner_that_leaves_before_the_verdict_stays_out() {
    seeds("a_poisoner_that_leaves_before_the_verdict_stays_out", 3, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits { line: 60_000, ..Habits::default() });
        let poisoner = world.seeder(id, Habits { poison: 1, ..Habits::default() });
        world.run_for(Duration::from_secs(1));
        let node = world.leecher(id, Habits::default());
        world.run_for(Duration::from_millis(1));
        // Seeds dial each other too; this is about the connection to the one that is poisoned.
        let between =
            |link: &Link| [node, poisoner].iter().all(|n| link.ends.iter().any(|end| end.node == *n));
        let of = |link: &Link| !link.cut && between(link);
        while world.view(node, id).hash_failures == 0 {
            world.run_for(Duration::from_millis(1));
            let links = (0..world.links.len()).filter(|at| of(&world.links[*at]));
            for link in links.collect::<Vec<_>>() {
                if world.links[link].ends.iter().any(|end| end.received >= 4 * 16384)
                    && world.is_storing(node)
                {
                    world.links[link].cut = true;
                    (0..2).for_each(|side| world.hear_end(EndId { link, side }));
                }
            }
            assert!(world.now.since_start() < MINUTES, "{}", world.report());
        }
        assert!(!world.links.iter().any(of), "it left before the verdict");
        let (addr, peer_id) = (world.nodes[poisoner].addr, PeerId([3; 20]));
        let (direction, reserved) = (Direction::Incoming, Reserved::FAST);
        let info = PeerInfo { addr, direction, id: peer_id, reserved, encryption: Encryption::None };
        let refused = world.call(node, id, |swarm, now| swarm.connect(now, info)).unwrap();
        assert!(matches!(refused, Err(CloseReason::Banned(_))), "{refused:?}");
        world.finish_all(&[node], id, MINUTES);
    });
}

#[test]
fn a_rare_poisoner_among_leechers_does_not_stop_the_swarm() {
    seeds("a_rare_poisoner_among_leechers_does_not_stop_the_swarm", 4, |world| {
        let id = world.torrent(&Shape::new(24, 8, 1));
        world.seeder(id, Habits { line: 400_000, ..Habits::default() });
        world.leecher(id, Habits { poison: 40, ..Habits::default() });
        let leechers: Vec<_> = (0..4).map(|_| world.leecher(id, Habits::default())).collect();
        world.finish_all(&leechers, id, MINUTES);
    });
}

#[test]
fn peers_that_answer_nothing_hold_nobody_up_for_long() {
    seeds("peers_that_answer_nothing_hold_nobody_up_for_long", 4, |world| {
        let id = world.torrent(&small());
        let honest = world.seeder(id, Habits { line: 400_000, ..Habits::default() });
        for _ in 0..3 {
            world.seeder(id, Habits { stalls: true, ..Habits::default() });
        }
        let leechers: Vec<_> = (0..3).map(|_| world.leecher(id, Habits::default())).collect();
        world.finish_all(&leechers, id, Duration::from_secs(120));
        assert!(world.nodes[honest].torrents[&id].sent > 0);
    });
}

fn flapping(world: &mut World, every: Duration) {
    let id = world.torrent(&small());
    world.seeder(id, Habits { line: 150_000, ..Habits::default() });
    let mut leechers: Vec<_> =
        (0..4).map(|_| world.leecher(id, Habits { line: 150_000, ..Habits::default() })).collect();
    leechers.push(world.leecher(id, Habits { fast: false, line: 150_000, ..Habits::default() }));
    world.flap_every = Some(every);
    world.after(every, Event::Flap);
    let nodes = leechers.clone();
    world.run("all finish", Duration::from_secs(3600), |world| {
        nodes.iter().all(|node| world.nodes[*node].is_complete(id))
    });
    world.flap_every = None;
    world.finish_all(&leechers, id, MINUTES);
}

#[test]
fn connections_that_break_all_the_time_only_cost_time() {
    seeds("connections_that_break_all_the_time_only_cost_time", 4, |world| {
        flapping(world, Duration::from_millis(1500));
    });
}

#[test]
fn a_tracker_that_comes_late_is_asked_again() {
    seeds("a_tracker_that_comes_late_is_asked_again", 3, |world| {
        let id = world.torrent(&small());
        world.tracker.down = true;
        world.seeder(id, Habits::default());
        let leechers: Vec<_> = (0..2).map(|_| world.leecher(id, Habits::default())).collect();
        world.run_for(Duration::from_secs(200));
        assert!(world.links.is_empty(), "nobody knows anybody");
        world.tracker.down = false;
        world.finish_all(&leechers, id, Duration::from_secs(3600));
    });
}

/// Without any tracker, an introduction is enough for two, and there is nobody else.
#[test]
fn two_who_are_introduced_need_no_tracker() {
    seeds("two_who_are_introduced_need_no_tracker", 2, |world| {
        let id = world.torrent(&small());
        world.tracker.down = true;
        let seed = world.seeder(id, Habits::default());
        let leecher = world.leecher(id, Habits::default());
        world.run_for(Duration::from_secs(1));
        world.introduce(leecher, id, seed);
        world.finish_all(&[leecher], id, Duration::from_secs(60));
    });
}
