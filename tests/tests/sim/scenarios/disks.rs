//! Disks that are slow, full or forgotten, and little memory.
use std::time::Duration;

use wgo_core::session::{Check, State};
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::node::Habits;

use super::{seeds, small};

const MINUTES: Duration = Duration::from_secs(900);

#[test]
fn a_crash_costs_what_came_since_the_last_checkpoint_at_most() {
    seeds("a_crash_costs_what_came_since_the_last_checkpoint_at_most", 5, |world| {
        let id = world.torrent(&small());
        world.seeder(id, Habits { line: 40_000, ..Habits::default() });
        world.run_for(Duration::from_secs(1));
        let node = world.leecher(id, Habits::default());
        let other = world.leecher(id, Habits::default());
        world.run_for(Duration::from_secs(35));
        let durable = world.nodes[node].torrents[&id].durable.count();
        assert!(durable > 0, "a checkpoint comes after 30 s");
        world.crash(node);
        world.run_for(Duration::from_secs(3));
        // The check finds also what no checkpoint has told of.
        let check = if world.rng.bool() { Check::None } else { Check::Full };
        world.restart(node, check);
        world.finish_all(&[node, other], id, MINUTES);
    });
}

#[test]
fn a_clean_stop_keeps_every_block() {
    seeds("a_clean_stop_keeps_every_block", 4, |world| {
        let id = world.torrent(&Shape::new(8, 16, 9));
        world.seeder(id, Habits { line: 150_000, ..Habits::default() });
        let node = world.leecher(id, Habits::default());
        for _ in 0..4 {
            let wait = world.millis(1500, 5000);
            world.run_for(wait);
            let now = world.now;
            world.nodes[node].session.stop(now, id);
            world.touched.insert((node, None));
            world.run_for(Duration::from_secs(2));
            assert_eq!(world.nodes[node].session.row(id).unwrap().state(), State::Stopped);
            let now = world.now;
            world.nodes[node].session.start(now, id);
            world.touched.insert((node, None));
        }
        world.finish_all(&[node], id, MINUTES);
        let entry = &world.nodes[node].torrents[&id];
        let total = world.content(id).layout.total_len();
        // Blocks whose connection ended in the middle count for nobody.
        assert!(entry.received <= total + 64 * 16384, "{} bytes came for {total}", entry.received);
        let links = world.links.iter().flat_map(|link| &link.ends).filter(|end| end.node == node);
        assert!(links.count() >= 4, "each start connects anew");
    });
}

#[test]
fn a_full_disk_pauses_the_torrent_until_there_is_space() {
    seeds("a_full_disk_pauses_the_torrent_until_there_is_space", 4, |world| {
        let id = world.torrent(&small());
        let slow = Habits { line: 100_000, ..Habits::default() };
        world.seeder(id, slow.clone());
        world.run_for(Duration::from_secs(1));
        let node = world.leecher(id, slow.clone());
        let other = world.leecher(id, slow);
        for _ in 0..2 {
            world.run_for(Duration::from_secs(2));
            world.nodes[node].disk.set_full(true);
            world.run("the fault shows", Duration::from_secs(60), |world| {
                world.nodes[node].session.row(id).unwrap().state() == State::Error
            });
            world.run_for(Duration::from_secs(1));
            let before = world.nodes[node].torrents[&id].received;
            world.run_for(Duration::from_secs(40));
            let more = world.nodes[node].torrents[&id].received - before;
            assert!(more < 512 * 1024, "{more} bytes came for a full disk");
            world.nodes[node].disk.set_full(false);
            world.run("it heals", Duration::from_secs(90), |world| {
                world.nodes[node].session.row(id).unwrap().state() != State::Error
            });
        }
        world.finish_all(&[node, other], id, MINUTES);
    });
}

#[test]
fn little_memory_spills_and_still_finishes() {
    seeds("little_memory_spills_and_still_finishes", 4, |world| {
        let id = world.torrent(&Shape::new(6, 32, 100));
        // Slow sources with different pieces keep several large pieces open at once.
        for _ in 0..4 {
            world.seeder(id, Habits { line: 60_000, ..Habits::default() });
        }
        let tight = Habits { memory: 8, ..Habits::default() };
        let nodes = [world.leecher(id, tight.clone()), world.leecher(id, Habits { fast: false, ..tight })];
        world.run("all finish", MINUTES, |world| {
            for node in nodes {
                let entry = &world.nodes[node].torrents[&id];
                let held = entry.live.as_ref().map_or(0, |swarm| swarm.held_blocks());
                // What was asked for when memory ended still arrives: a piece's worth and a window.
                assert!(held <= 8 + 64, "{held} blocks in memory");
            }
            nodes.iter().all(|node| world.nodes[*node].is_complete(id))
        });
        let spills: u32 = nodes.iter().map(|node| world.nodes[*node].torrents[&id].spills).sum();
        assert!(spills > 0, "the memory was not tight");
        world.finish_all(&nodes, id, MINUTES);
    });
}
