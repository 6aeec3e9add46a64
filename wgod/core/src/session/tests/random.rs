//! Whatever operators, disks and the clock do, in any order: the rows stay in step with a shell that
//! carries out effects the way the real one does, and a torrent that is wanted gets to run.
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use wgo_proto::InfoHashes;

use super::rig::*;
use crate::piece_mgr::Priority;
use crate::session::{
    Check, Effect, FaultKind, Newcomer, Phase, Place, QueueLimits, Session, Shift, Underway,
};
use crate::time::Time;
use crate::units::{ByteRate, TorrentId};

/// What the shell has of one torrent: its lane of operations and whether there is a Swarm.
#[derive(Default)]
struct Lane {
    ops: VecDeque<Effect>,
    swarm: bool,
    complete: bool,
}

struct World {
    rig: Rig,
    lanes: BTreeMap<TorrentId, Lane>,
}

const KINDS: [FaultKind; 4] =
    [FaultKind::DiskFull, FaultKind::NotWritable, FaultKind::Unreachable, FaultKind::Broken];

const PRIORITIES: [Priority; 4] = [Priority::Normal, Priority::Low, Priority::High, Priority::Normal];

impl World {
    fn new() -> World {
        World { rig: Rig::with(Some(1), Some(1)), lanes: BTreeMap::new() }
    }

    /// Takes effects into the lanes, as the driver does.
    fn carry_out(&mut self) {
        for effect in self.rig.all_effects() {
            let id = match &effect {
                Effect::Check(id, _)
                | Effect::Move(id)
                | Effect::Select(id)
                | Effect::Rename(id)
                | Effect::GoLive(id)
                | Effect::GoDormant(id)
                | Effect::Halt(id)
                | Effect::Probe(id)
                | Effect::Checkpoint(id) => *id,
                Effect::CancelCheck(id) => {
                    if let Some(lane) = self.lanes.get_mut(id) {
                        lane.ops.retain(|op| !matches!(op, Effect::Check(..)));
                    }
                    continue;
                }
                Effect::CancelMove(id) => {
                    if let Some(lane) = self.lanes.get_mut(id) {
                        lane.ops.retain(|op| !matches!(op, Effect::Move(_)));
                        lane.ops.push_back(effect);
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.ops.push_back(effect);
            }
        }
    }

    /// The first operation of a lane ends, with a fault or without.
    fn end_op(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(op) = lane.ops.pop_front() else { return };
        let (swarm, complete) = (lane.swarm, lane.complete);
        let report = |world: &mut World, f: &dyn Fn(&mut Session, Time)| world.rig.call(|s, now| f(s, now));
        match (op, bad) {
            (Effect::GoLive(_) | Effect::Check(..) | Effect::Probe(_), Some(kind)) if !swarm => {
                self.rig.fault(id, kind);
            }
            (Effect::GoLive(_), _) => lane.swarm = true,
            (Effect::GoDormant(_), Some(_)) => report(self, &|s, now| s.wake(now, id)),
            (Effect::GoDormant(_), None) => {
                lane.swarm = false;
                report(self, &|s, now| s.sleep_until(id, Some(now + secs(60))));
            }
            (Effect::Halt(_), _) if swarm => {
                lane.swarm = false;
                report(self, &|s, now| s.on_halted(now, id, complete));
            }
            (Effect::Checkpoint(_), None) if swarm => {
                report(self, &|s, now| s.on_checkpointed(now, id, true))
            }
            (Effect::Checkpoint(_), Some(kind)) if swarm => {
                report(self, &|s, now| s.on_checkpointed(now, id, false));
                self.rig.fault(id, kind);
            }
            (Effect::Checkpoint(_), _) => report(self, &|s, now| s.on_checkpointed(now, id, false)),
            (Effect::Check(..), None) => report(self, &|s, now| s.on_checked(now, id, complete)),
            (Effect::Move(_), _) => {
                assert!(!swarm, "files are moved under a Swarm");
                self.end_move(id, bad);
            }
            (Effect::Select(_), bad) => self.end_selection(id, bad),
            (Effect::Rename(_), bad) => {
                assert!(!swarm, "files are renamed under a Swarm");
                self.end_rename(id, bad);
            }
            (Effect::CancelMove(_), _) => report(self, &|s, now| s.on_unmoved(now, id)),
            (Effect::Probe(_), Some(kind)) => self.rig.fault(id, kind),
            (Effect::Probe(_), None) => report(self, &|s, now| s.on_healed(now, id)),
            _ => {}
        }
    }

    /// A move fails, or one of its halves ends well: as in the driver the second comes right behind the first.
    fn end_move(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let Some(row) = self.rig.session.row(id) else { return };
        match (bad, row.switched) {
            // It is not worth trying again.
            (Some(FaultKind::DiskFull), false) => self.rig.call(|s, now| s.on_unmoved(now, id)),
            (Some(FaultKind::Broken), _) => self.rig.fault(id, FaultKind::Broken),
            (Some(kind), _) => self.rig.call(|s, now| s.on_move_fault(now, id, fault(kind))),
            (None, true) => self.rig.call(|s, now| s.on_moved(now, id)),
            (None, false) if row.phase == Phase::Moving => {
                self.rig.call(|s, _| s.on_switched(id));
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.ops.push_front(Effect::Move(id));
                }
            }
            (None, false) => {}
        }
    }

    /// Other files are wanted, so it has all of them or not; or it has to be found out, or can't be done.
    fn end_selection(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        assert!(!lane.swarm, "files are chosen under a Swarm");
        match bad {
            Some(kind @ (FaultKind::Unreachable | FaultKind::Broken)) => self.rig.fault(id, kind),
            bad => {
                lane.complete = !lane.complete;
                let complete = lane.complete;
                self.rig.call(|s, now| s.on_selected(now, id, complete, bad.is_some()));
            }
        }
    }

    /// Files could not be renamed: what comes next, and needs their names, fails with that.
    fn end_rename(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let (Some(kind), Some(lane)) = (bad, self.lanes.get_mut(&id)) else { return };
        let needs_names =
            |op: &Effect| matches!(op, Effect::GoLive(_) | Effect::Check(..) | Effect::Probe(_));
        if lane.ops.front().is_some_and(needs_names) {
            lane.ops.pop_front();
        }
        self.rig.fault(id, kind);
    }

    fn step(&mut self, (what, which, kind): (u8, u64, usize)) {
        let id = TorrentId(which);
        let known = self.lanes.contains_key(&id);
        match what {
            0 if !known => {
                self.lanes.insert(id, Lane { complete: kind == 1, ..Lane::default() });
                let needs = [Check::None, Check::Full, Check::Suspects][kind % 3];
                let (started, finished) = (kind != 2, kind == 1 && needs == Check::None);
                let (hashes, device) = (InfoHashes { v1: None, v2: None }, DISK + which / 3);
                self.rig.take(Newcomer {
                    id,
                    hashes,
                    started,
                    known: true,
                    needs,
                    check_asked: kind == 2,
                    finished,
                    device,
                    place: Place {
                        key: (kind == 3).then_some(which as i64),
                        priority: PRIORITIES[kind],
                        forced: which == 4 && kind == 1,
                    },
                    moving: (which == 3 && kind > 1).then_some(Underway { other: DISK, switched: kind == 3 }),
                });
            }
            1 => self.rig.call(|s, now| s.start(now, id)),
            2 => self.rig.call(|s, now| s.stop(now, id)),
            3 => self.rig.call(|s, now| s.verify(now, id)),
            4 if kind == 0 => {
                self.rig.call(|s, now| s.remove(now, id));
                self.lanes.remove(&id);
            }
            5 => self.rig.fault(id, KINDS[kind]),
            6 => self.event(id, kind),
            7 => {
                let limits = QueueLimits {
                    downloads: Some(which as u32),
                    seeds: Some(kind as u32),
                    active: (kind > 1).then_some(which as u32),
                    slow: ByteRate(if which == 2 { 0 } else { 1000 }),
                };
                self.rig.call(|s, now| s.set_queue(now, limits));
            }
            8 => self.rig.wait(secs(7 * (kind as u64 + 1))),
            14 => self.rig.call(|s, now| s.on_changed(now, id)),
            // What is left of a move that was called off must go first.
            15 if known && !self.lanes[&id].ops.contains(&Effect::CancelMove(id)) => {
                self.rig.call(|s, now| s.move_to(now, id, DISK + kind as u64 / 2));
            }
            15 => {}
            16 => self.rig.call(|s, now| s.cancel_move(now, id)),
            17 => self.rig.call(|s, now| s.on_remounted(now, id, DISK + kind as u64)),
            18 => self.rig.call(|s, now| s.try_again(now, id)),
            19 => self.rig.call(|s, now| s.on_device(now, id, DISK + kind as u64)),
            20 => self.rig.call(|s, now| s.start_now(now, id)),
            21 => self.rig.call(|s, now| s.set_priority(now, id, PRIORITIES[kind])),
            22 => {
                let shift = [Shift::Top, Shift::Up, Shift::Down, Shift::To(1)][kind];
                self.rig.call(|s, now| s.reorder(now, &[id, A], shift));
            }
            23 => self.traffic(id, kind),
            // Turns end, and torrents become slow.
            24 => self.rig.wait(secs(700 * (kind as u64 + 1))),
            25 => {
                let wait = (kind > 0).then(|| secs(kind as u64));
                self.rig.call(|s, now| s.look_at_goal(now, id, wait));
            }
            26 if known && matches!(self.lanes[&id].ops.front(), Some(Effect::Check(..))) => {
                self.rig.call(|s, now| s.on_hashed(now, id));
            }
            27 if known => drop(self.rig.call(|s, now| s.select(now, id))),
            28 => drop(self.rig.call(|s, now| s.rename(now, id))),
            _ => self.end_op(id, (what == 9).then_some(KINDS[kind])),
        }
        self.carry_out();
    }

    /// The torrent moves much, or nothing, for half a minute.
    fn traffic(&mut self, id: TorrentId, kind: usize) {
        for step in 0..4 {
            let bytes = if kind > 1 { 10_000 * (self.rig.now.since_start().as_secs() + step) } else { 0 };
            self.rig.call(|s, now| s.on_traffic(now, id, bytes, bytes));
            self.rig.wait(secs(10));
        }
    }

    /// What a Swarm reports, while there is one.
    fn event(&mut self, id: TorrentId, kind: usize) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.swarm) else { return };
        match kind {
            0 if !lane.complete => {
                lane.complete = true;
                self.rig.call(|s, now| s.on_finished(now, id));
            }
            1 => self.rig.call(|s, _| s.on_idle(id)),
            2 => {
                lane.complete = false;
                self.rig.call(|s, now| s.on_lost(now, id));
            }
            _ => self.rig.call(|s, _| s.on_unsynced(id, 2 << 30)),
        }
    }

    /// Everything works from now on, and there is room for all: every torrent that is wanted runs.
    fn settle(&mut self) {
        self.rig.call(|s, now| s.set_queue(now, QueueLimits::default()));
        let ids: Vec<TorrentId> = self.lanes.keys().copied().collect();
        for _ in 0..200 {
            self.carry_out();
            for id in &ids {
                self.end_op(*id, None);
                self.carry_out();
            }
            self.rig.wait(secs(1));
        }
        for id in ids {
            let lane = &self.lanes[&id];
            let row = self.rig.row(id);
            let broken = row.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Broken);
            if broken || !row.started {
                assert!(!lane.swarm, "{row:?} has a Swarm");
                continue;
            }
            assert!(row.fault.is_none(), "{row:?} does not heal");
            assert!(row.move_to.is_none() && !row.switched, "{row:?} is not moved");
            assert_eq!(row.phase, Phase::Active, "{row:?} does not run");
            assert_eq!(row.live, lane.swarm || !lane.ops.is_empty(), "{row:?} and the shell disagree");
            assert_eq!(row.finished, lane.complete, "{row:?} and the pieces disagree");
            assert!(!row.completing, "{row:?} is never told to be complete");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_keeps_the_invariants_and_everything_heals(
        steps in prop::collection::vec((0u8..31, 1u64..5, 0usize..4), 1..120)
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
    }
}
