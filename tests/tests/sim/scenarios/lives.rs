//! The life of torrents, as the operator and the queue decide it, in the middle of everything else.
use std::time::Duration;

use wgo_core::ByteRate;
use wgo_core::session::{Fault, FaultKind, QueueLimits, State};
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::world::World;

use super::{seeds, small};

const MINUTES: Duration = Duration::from_secs(900);

/// Start, stop, verify, faults and queue limits at random, on all nodes; then everyone finishes.
#[test]
fn commands_at_random_do_not_confuse_the_session() {
    seeds("commands_at_random_do_not_confuse_the_session", 4, |world| {
        let ids: Vec<_> = (0..3).map(|_| world.torrent(&Shape::new(12, 4, 1))).collect();
        let slow = Habits { line: 100_000, ..Habits::default() };
        let nodes: Vec<_> = (0..4).map(|_| world.node(slow.clone())).collect();
        for id in &ids {
            world.seeder(*id, slow.clone());
            nodes.iter().for_each(|node| world.join(*node, *id));
        }
        for _ in 0..120 {
            let node = nodes[world.rng.usize(..nodes.len())];
            let id = ids[world.rng.usize(..ids.len())];
            let choice = world.rng.u32(..8);
            let limit = |n: u32| (n < 3).then_some(n);
            let (downloads, seeds) = (limit(world.rng.u32(..6)), limit(world.rng.u32(..6)));
            let queue = QueueLimits { downloads, seeds, slow: ByteRate(500), ..QueueLimits::default() };
            let full = world.rng.bool();
            match choice {
                0 | 1 => world.command(node, |session, now| session.stop(now, id)),
                2 | 3 => world.command(node, |session, now| session.start(now, id)),
                4 => world.command(node, |session, now| session.verify(now, id)),
                5 => world.command(node, |session, now| session.set_queue(now, queue)),
                6 => world.nodes[node].disk.set_full(full),
                _ => world.command(node, |session, now| {
                    let fault = Fault { kind: FaultKind::Unreachable, message: "gone".into() };
                    session.on_fault(now, id, fault);
                }),
            }
            let wait = world.millis(1, 900);
            world.run_for(wait);
        }
        for node in nodes.clone() {
            world.nodes[node].disk.set_full(false);
            world.command(node, |session, now| session.set_queue(now, QueueLimits::default()));
            for id in ids.clone() {
                world.command(node, |session, now| session.start(now, id));
            }
        }
        for id in ids {
            world.finish_all(&nodes, id, MINUTES);
        }
    });
}

#[test]
fn a_queue_of_one_downloads_one_after_the_other() {
    seeds("a_queue_of_one_downloads_one_after_the_other", 3, |world| {
        let ids: Vec<_> = (0..3).map(|_| world.torrent(&Shape::new(10, 4, 1))).collect();
        let queue = QueueLimits { downloads: Some(1), ..QueueLimits::default() };
        let node = world.node(Habits { queue, ..Habits::default() });
        for id in &ids {
            world.seeder(*id, Habits { line: 200_000, ..Habits::default() });
            world.join(node, *id);
        }
        world.run("all finish", MINUTES, |world| {
            let downloads =
                ids.iter().filter(|id| world.state(node, **id) == Some(State::Downloading)).count();
            assert!(downloads <= 1, "{downloads} at once");
            ids.iter().all(|id| world.nodes[node].is_complete(*id))
        });
    });
}

/// A complete torrent without company sleeps; whoever wants it wakes it.
#[test]
fn a_lonely_seed_sleeps_and_wakes_for_a_peer() {
    seeds("a_lonely_seed_sleeps_and_wakes_for_a_peer", 3, |world| {
        let id = world.torrent(&small());
        let seed = world.seeder(id, Habits::default());
        let asleep = move |world: &World| world.nodes[seed].torrents[&id].live.is_none();
        world.run("it sleeps", Duration::from_secs(60), asleep);
        assert_eq!(world.state(seed, id), Some(State::Seeding));
        let node = world.leecher(id, Habits::default());
        world.finish_all(&[node], id, MINUTES);
        // Ten minutes for those who may come back, half a minute of idleness, a last dial.
        world.run("it sleeps again", Duration::from_secs(660), asleep);
    });
}

/// Files that rot are found by a check, fetched again, and nobody is served rot.
#[test]
fn a_check_finds_what_is_bad_and_it_is_fetched_again() {
    seeds("a_check_finds_what_is_bad_and_it_is_fetched_again", 3, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits::default());
        let node = world.leecher(id, Habits::default());
        world.finish_all(&[node], id, MINUTES);
        world.command(node, |session, now| session.stop(now, id));
        let path = world.nodes[node].torrents[&id].paths[0].clone();
        world.nodes[node].disk.with_file(&path, |file| file[70_000] ^= 1);
        if let Some(entry) = world.nodes[node].torrents.get_mut(&id) {
            entry.seen_good.clear_all();
        }
        world.command(node, |session, now| session.verify(now, id));
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.nodes[node].torrents[&id].have.count_zeros(), 1);
        world.command(node, |session, now| session.start(now, id));
        world.finish_all(&[node], id, MINUTES);
        let twice = |world: &World| world.nodes[node].torrents[&id].completed == 2;
        world.run("it completes again", Duration::from_secs(60), twice);
    });
}
