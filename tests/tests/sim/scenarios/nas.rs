//! Twenty hours of a machine with three disks that fill, hang, vanish and come back, while torrents are
//! added, stopped, checked and removed.
use std::collections::BTreeMap;
use std::time::Duration;

use wgo_core::session::{Check, State};
use wgo_core::{Time, TorrentId};
use wgo_proto::Bitfield;
use wgo_tests::sim::content::Shape;
use wgo_tests::sim::disk::Condition;
use wgo_tests::sim::link::NodeId;
use wgo_tests::sim::node::Habits;
use wgo_tests::sim::world::World;

use super::seeds;

const HOURS: Duration = Duration::from_secs(20 * 3600);
/// How long after its disk is well a torrent may still say that it isn't: the longest wait for a probe, and
/// what it and a check take.
const GRACE: Duration = Duration::from_secs(150);
/// Disks of the machine.
const DISKS: u64 = 3;

/// The machine, and since when each of its disks has been well.
struct Nas {
    node: NodeId,
    ids: Vec<TorrentId>,
    well_since: BTreeMap<u64, Time>,
    troubles: u32,
}

impl Nas {
    /// A machine that wants torrents on all its disks, and one that has them all.
    fn new(world: &mut World) -> Nas {
        let shapes = [Shape::new(8, 2, 7), Shape { piece_len: 40_000, files: vec![90_000, 1, 0, 200_000] }];
        let ids: Vec<_> = (0..DISKS + 1).map(|n| world.torrent(&shapes[n as usize % 2])).collect();
        let seeder = world.node(Habits { line: 3000, ..Habits::default() });
        for id in &ids {
            let full = Bitfield::full(world.content(*id).layout.piece_count());
            world.add(seeder, *id, full, Check::None);
        }
        let node = world.node(Habits { disks: DISKS, ..Habits::default() });
        ids.iter().for_each(|id| world.join(node, *id));
        Nas { node, ids, well_since: (0..DISKS).map(|disk| (disk, world.now)).collect(), troubles: 0 }
    }

    /// Something happens to a disk.
    fn disk(&mut self, world: &mut World) {
        let disk = world.rng.u64(..DISKS);
        match world.rng.u32(..8) {
            0 => world.set_disk(self.node, disk, Condition::Full),
            1 => world.set_disk(self.node, disk, Condition::Hung),
            2 => world.set_disk(self.node, disk, Condition::Gone),
            3 => {
                // Whoever waited for it hears that it is gone.
                world.nodes[self.node].disk.pull(disk);
                world.set_disk(self.node, disk, Condition::Gone);
            }
            _ => return self.mend(world, disk),
        }
        self.well_since.remove(&disk);
        self.troubles += 1;
    }

    fn mend(&mut self, world: &mut World, disk: u64) {
        world.set_disk(self.node, disk, Condition::Well);
        self.well_since.entry(disk).or_insert(world.now);
    }

    /// The operator, or the mains, does something.
    fn operator(&mut self, world: &mut World) {
        let (node, id) = (self.node, self.ids[world.rng.usize(..self.ids.len())]);
        let known = world.nodes[node].torrents.contains_key(&id);
        match world.rng.u32(..12) {
            0 => world.command(node, |session, now| session.stop(now, id)),
            1..=3 => world.command(node, |session, now| session.start(now, id)),
            4 => world.command(node, |session, now| session.verify(now, id)),
            5..=7 if known => {
                let data = world.rng.bool();
                world.remove(node, id, data);
            }
            8..=10 if !known => self.add(world, id),
            11 if world.rng.u32(..4) == 0 => {
                world.crash(node);
                world.restart(node, Check::Suspects);
                // As after any start, nothing is known to be well.
                self.well_since.values_mut().for_each(|since| *since = world.now);
            }
            _ => {}
        }
    }

    /// A torrent comes, or comes back to files that were left.
    fn add(&self, world: &mut World, id: TorrentId) {
        let none = Bitfield::new(world.content(id).layout.piece_count());
        world.add(self.node, id, none, Check::Full);
    }

    /// What must hold at any time: the state tells no lie about the disk, and a disk that is well has no
    /// torrent that waits for it.
    fn check(&self, world: &World) {
        let node = &world.nodes[self.node];
        for (id, entry) in &node.torrents {
            for piece in entry.durable.iter_ones().map(wgo_proto::PieceIndex) {
                assert!(
                    world.is_on_disk(self.node, *id, piece),
                    "{id:?} lacks {piece:?}\n{}",
                    world.report()
                );
            }
            let Some(row) = node.session.row(*id) else { continue };
            let since = self.well_since.get(&node.device(*id)).copied();
            let settled = since.is_some_and(|since| world.now.since(since) > GRACE);
            assert!(
                !settled || row.state() != State::Error,
                "its disk is well, and yet {row:?}\n{}",
                world.report()
            );
        }
    }

    /// Everything is mended, and all is wanted: all is there in the end.
    fn end(mut self, world: &mut World) {
        (0..DISKS).for_each(|disk| self.mend(world, disk));
        for id in self.ids.clone() {
            if !world.nodes[self.node].torrents.contains_key(&id) {
                self.add(world, id);
            }
            world.command(self.node, |session, now| session.start(now, id));
        }
        for id in self.ids.clone() {
            world.finish_all(&[self.node], id, Duration::from_secs(7200));
        }
        world.run_for(GRACE);
        self.check(world);
        for id in &self.ids {
            let row = world.nodes[self.node].session.row(*id).expect("it is there");
            assert_eq!((row.state(), row.finished), (State::Seeding, true), "{row:?}");
        }
    }
}

#[test]
fn twenty_hours_of_bad_disks_end_with_everything_in_its_place() {
    seeds("twenty_hours_of_bad_disks_end_with_everything_in_its_place", 2, |world| {
        let mut nas = Nas::new(world);
        while world.now.since(Time::ZERO) < HOURS {
            match world.rng.bool() {
                true => nas.disk(world),
                false => nas.operator(world),
            }
            let wait = world.millis(100, 400_000);
            world.run_for(wait);
            nas.check(world);
        }
        assert!(nas.troubles > 50, "{} troubles in 20 hours", nas.troubles);
        nas.end(world);
    });
}
