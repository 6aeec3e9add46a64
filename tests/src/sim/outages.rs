//! Lives of a few daemons under power cuts: torrents of several shapes are added, fetched, checked and removed while
//! the power goes at random operations of the disk, in the middle of checkpoints, commits and recoveries; processes are
//! killed, disks fill up and fail, bits rot. In the end everything is there.
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_core::session::Check;
use wgo_proto::{Bitfield, PieceIndex};
use wgod::files::Preallocate;

use crate::sim::content::Shape;
use crate::sim::disk::{Failing, SimDisk};
use crate::sim::link::NodeId;
use crate::sim::node::Habits;
use crate::sim::world::World;

/// Disks of a victim that torrents are on.
const DISKS: u64 = 2;
/// Everything is fetched within so long once all is well.
const END: Duration = Duration::from_secs(7200);

/// What happened in a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub cuts: u32,
    /// Those of them that came in the middle of an operation.
    pub torn: u32,
    pub kills: u32,
    pub stops: u32,
    /// Pieces that starts hashed.
    pub hashed: u32,
    pub faults: u32,
    pub removed: u32,
    pub rotten: u32,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.cuts += other.cuts;
        self.torn += other.torn;
        self.kills += other.kills;
        self.stops += other.stops;
        self.hashed += other.hashed;
        self.faults += other.faults;
        self.removed += other.removed;
        self.rotten += other.rotten;
    }
}

/// A world of outages.
pub struct Outages {
    victims: Vec<NodeId>,
    ids: Vec<TorrentId>,
    /// Bits may rot: then nobody but the victim has what it would send.
    rots: bool,
    tally: Tally,
}

impl Outages {
    /// Plays a world of so many power cuts.
    pub fn play(world: &mut World, cuts: u32) -> Tally {
        let mut play = Outages::begin(world);
        while play.tally.cuts < cuts {
            let victim = play.victims[world.rng.usize(..play.victims.len())];
            play.turn(world, victim);
        }
        play.end(world);
        play.tally
    }

    fn begin(world: &mut World) -> Outages {
        let ids: Vec<TorrentId> = (0..3)
            .map(|_| {
                let shape = any_shape(world);
                world.torrent(&shape)
            })
            .collect();
        let seeder = world.node(Habits { line: 120_000, ..Habits::default() });
        for id in &ids {
            let full = Bitfield::full(world.content(*id).layout.piece_count());
            world.add(seeder, *id, full, Check::None);
        }
        let rots = world.rng.bool();
        let victims: Vec<NodeId> = (0..if rots { 1 } else { 2 })
            .map(|_| {
                let habits = any_victim(world);
                world.node(habits)
            })
            .collect();
        for victim in &victims {
            ids.iter().for_each(|id| world.join(*victim, *id));
        }
        Outages { victims, ids, rots, tally: Tally::default() }
    }

    /// Something happens to a victim, then time passes.
    fn turn(&mut self, world: &mut World, victim: NodeId) {
        if !world.nodes[victim].up {
            return self.begin_again(world, victim);
        }
        let id = self.ids[world.rng.usize(..self.ids.len())];
        let known = world.nodes[victim].torrents.contains_key(&id);
        // Often in the middle of what comes next.
        let armed = world.rng.u32(..3) == 0;
        if armed {
            let changes = match world.rng.u32(..3) {
                0 => world.rng.u64(..12),
                1 => world.rng.u64(..100),
                _ => world.rng.u64(..1000),
            };
            world.nodes[victim].disk.cut_after(changes);
        }
        match world.rng.u32(..24) {
            0 => world.command(victim, |session, now| session.stop(now, id)),
            1..=4 => world.command(victim, |session, now| session.start(now, id)),
            5 | 6 => world.command(victim, |session, now| session.verify(now, id)),
            7 | 8 if known => self.remove(world, victim, id),
            9..=11 if !known => self.add(world, victim, id),
            12 => self.kill(world, victim),
            13 => self.stop(world, victim),
            14..=16 => self.cut(world, victim),
            17..=19 => self.fault(world, victim),
            20 if self.rots && known => self.rot(world, victim, id),
            _ => {}
        }
        let wait = world.millis(1, 12_000);
        self.pass(world, victim, wait);
    }

    /// Time passes for a victim, up to a power cut.
    fn pass(&mut self, world: &mut World, victim: NodeId, wait: Duration) {
        let until = world.now + wait;
        while world.nodes[victim].up && world.now < until {
            world.run_for(Duration::from_millis(200).min(until.since(world.now)));
        }
        self.count(world);
    }

    /// Power cuts that came in the middle of something.
    fn count(&mut self, world: &mut World) {
        for victim in &self.victims {
            let cuts = std::mem::take(&mut world.nodes[*victim].keeping.cuts);
            self.tally.cuts += cuts;
            self.tally.torn += cuts;
        }
    }

    fn cut(&mut self, world: &mut World, victim: NodeId) {
        if world.nodes[victim].up {
            world.power_cut(victim);
            world.settle();
            world.nodes[victim].keeping.cuts -= 1;
            self.tally.cuts += 1;
        }
    }

    fn kill(&mut self, world: &mut World, victim: NodeId) {
        world.crash(victim);
        world.settle();
        self.tally.kills += 1;
    }

    /// The daemon ends in order and begins again: it has nothing to hash then.
    fn stop(&mut self, world: &mut World, victim: NodeId) {
        let owed: u32 = world.nodes[victim].keeping.rotten.len() as u32;
        let busy = world.nodes[victim].torrents.values().any(|entry| !entry.lane.is_empty());
        let checks = self.ids.iter().any(|id| {
            let row = world.nodes[victim].session.row(*id);
            row.is_some_and(|row| row.needs != Check::None || row.trouble().is_some())
        });
        let whole = world.shut_down(victim);
        self.count(world);
        self.tally.stops += 1;
        if !whole || busy || checks || owed > 0 {
            return;
        }
        world.boot(victim);
        world.run_for(Duration::from_secs(2));
        if world.nodes[victim].up {
            let hashed: u32 = world.nodes[victim].torrents.values().map(|entry| entry.hashed).sum();
            assert_eq!(hashed, 0, "pieces are hashed after a clean stop\n{}", world.report());
        }
    }

    /// The daemon begins after a crash or a cut, perhaps into the next cut.
    fn begin_again(&mut self, world: &mut World, victim: NodeId) {
        let wait = world.millis(1, 3000);
        world.run_for(wait);
        if world.rng.u32(..4) == 0 {
            let changes = world.rng.u64(..25);
            if !try_boot(world, victim, changes) {
                self.tally.cuts += 1;
                self.tally.torn += 1;
                return;
            }
        } else {
            world.boot(victim);
        }
        world.settle();
        world.remove_again(victim);
        let wait = world.millis(1, 2000);
        self.pass(world, victim, wait);
        let hashed: u32 = world.nodes[victim].torrents.values().map(|entry| entry.hashed).sum();
        self.tally.hashed += hashed;
    }

    fn remove(&mut self, world: &mut World, victim: NodeId, id: TorrentId) {
        let data = world.rng.bool();
        world.remove(victim, id, data);
        self.tally.removed += 1;
    }

    /// A torrent comes, or comes back to files that were left.
    fn add(&mut self, world: &mut World, victim: NodeId, id: TorrentId) {
        let none = Bitfield::new(world.content(id).layout.piece_count());
        let check = if world.rng.bool() { Check::Full } else { Check::None };
        world.try_add(victim, id, none, check);
        world.settle();
    }

    /// A disk fails some operations, or is full, or the state's disk does and is.
    fn fault(&mut self, world: &mut World, victim: NodeId) {
        world.trouble(victim);
        self.tally.faults += 1;
        let device = match world.rng.u32(..4) {
            0 => crate::sim::keeping::STATE_DEVICE,
            n => u64::from(n) % DISKS,
        };
        let what = [Failing::Reads, Failing::Writes, Failing::Syncs, Failing::Syncs][world.rng.usize(..4)];
        let times = world.rng.u32(1..4);
        // The store reads its own pages all the time; what it can't read at a start keeps it from starting.
        let state = device == crate::sim::keeping::STATE_DEVICE;
        let what = if state && what == Failing::Reads { Failing::Writes } else { what };
        if world.rng.u32(..4) == 0 && !state {
            let capacity = world.rng.u64(100_000..3_000_000);
            world.nodes[victim].disk.set_capacity(device, Some(capacity));
        } else {
            world.nodes[victim].disk.fail(device, what, times);
        }
        if world.rng.bool() {
            mend(&world.nodes[victim].disk, false);
        }
    }

    fn rot(&mut self, world: &mut World, victim: NodeId, id: TorrentId) {
        let have = &world.nodes[victim].torrents[&id].durable;
        let pieces: Vec<PieceIndex> = have.iter_ones().map(PieceIndex).collect();
        if let Some(piece) = pieces.get(world.rng.usize(..pieces.len().max(1))) {
            world.rot(victim, id, *piece);
            self.tally.rotten += 1;
        }
    }

    /// All is mended and wanted, what rotted is looked for, and all is there in the end.
    fn end(&mut self, world: &mut World) {
        for victim in self.victims.clone() {
            mend(&world.nodes[victim].disk, true);
            if !world.nodes[victim].up {
                world.boot(victim);
            }
            world.settle();
            world.remove_again(victim);
            for id in self.ids.clone() {
                if !world.nodes[victim].torrents.contains_key(&id) {
                    self.add(world, victim, id);
                }
                world.command(victim, |session, now| session.start(now, id));
                if world.nodes[victim].keeping.rotten.iter().any(|(other, _)| *other == id) {
                    world.command(victim, |session, now| session.verify(now, id));
                }
            }
        }
        for id in self.ids.clone() {
            let victims = self.victims.clone();
            world.run("all is there, and durable", END, |world| {
                victims.iter().all(|victim| {
                    let one = &world.nodes[*victim];
                    let rotten = one.keeping.rotten.iter().any(|(other, _)| *other == id);
                    !rotten && one.torrents.get(&id).is_some_and(|entry| entry.durable.is_full())
                })
            });
            self.victims.iter().for_each(|victim| world.check_complete(*victim, id));
        }
    }
}

/// Begins a node whose power goes again after so many changes; whether it got over that.
fn try_boot(world: &mut World, victim: NodeId, changes: u64) -> bool {
    let disk = world.nodes[victim].disk.clone();
    disk.cut_after(changes);
    if !world.recovers(victim) {
        world.power_cut(victim);
        world.nodes[victim].keeping.cuts = 0;
        return false;
    }
    true
}

/// What was planned to fail doesn't; with `all` there is room again, too.
fn mend(disk: &SimDisk, all: bool) {
    if all {
        disk.mend();
        (0..DISKS).for_each(|device| disk.set_capacity(device, None));
        disk.set_dark(false);
    }
}

/// A torrent of one of the shapes that are written in different ways.
fn any_shape(world: &mut World) -> Shape {
    match world.rng.u32(..5) {
        0 => Shape::new(20, 4, 5000),
        // Pieces across files, an empty one among them.
        1 => Shape { piece_len: 40_000, files: vec![90_000, 1, 0, 200_000, 333] },
        // More files than are synced one by one.
        2 => Shape { piece_len: 50_000, files: (0..80).map(|n| 2000 + n * 97).collect() },
        // Large pieces, which are spilled.
        3 => Shape::new(4, 32, 100),
        _ => {
            let files = (0..world.rng.usize(1..6)).map(|_| world.rng.u64(1..300_000)).collect();
            Shape { piece_len: world.rng.u32(9_000..100_000), files }
        }
    }
}

fn any_victim(world: &mut World) -> Habits {
    let rng = &mut world.rng;
    Habits {
        store: true,
        disks: DISKS,
        memory: [6, 24, 512][rng.usize(..3)],
        disk_millis: [5, 40, 400][rng.usize(..3)],
        preallocate: [Preallocate::None, Preallocate::Sparse, Preallocate::Full][rng.usize(..3)],
        fast: rng.u32(..4) > 0,
        ..Habits::default()
    }
}
