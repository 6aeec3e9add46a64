//! The life of torrents (`Session`): whatever operators, disks and the clock do, in any order, beside a shell that
//! carries out effects as the real one does. In the end everything heals.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wgo_core::piece_mgr::Priority;
use wgo_core::session::{
    Check, Effect, Fault, FaultKind, Newcomer, Phase, Place, QueueLimits, Session, Shift, Underway,
};
use wgo_core::{ByteRate, Time, TorrentId};
use wgo_proto::InfoHashes;

use super::Reader;

/// The device of most torrents.
const DISK: u64 = 8;
const KINDS: [FaultKind; 4] = FaultKind::ALL;
const PRIORITIES: [Priority; 4] = [Priority::Normal, Priority::Low, Priority::High, Priority::Normal];
/// Seconds in which everything heals when nothing goes wrong any more.
const HEALING: u64 = 200;

/// What the shell has of one torrent.
#[derive(Default)]
struct Lane {
    ops: VecDeque<Effect>,
    swarm: bool,
    complete: bool,
}

struct World {
    session: Session,
    now: Time,
    lanes: BTreeMap<TorrentId, Lane>,
}

/// Rows stay in step with the shell, and a torrent that is wanted gets to run.
pub(super) fn session(data: &[u8]) {
    let mut reader = Reader::new(data);
    let limits = QueueLimits { downloads: Some(1), seeds: Some(1), ..QueueLimits::default() };
    let mut world = World {
        session: Session::new(limits),
        now: Time::from_start(Duration::from_secs(1000)),
        lanes: BTreeMap::new(),
    };
    while !reader.is_empty() {
        let (what, which) = (reader.byte(), reader.byte());
        world.step(what % 32, TorrentId(u64::from(which % 4) + 1), usize::from(which >> 4) % 4);
        world.carry_out();
    }
    world.settle();
}

fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: format!("{kind:?}") }
}

impl World {
    fn call<T>(&mut self, call: impl FnOnce(&mut Session, Time) -> T) -> T {
        let result = call(&mut self.session, self.now);
        self.session.check_invariants();
        result
    }

    fn wait(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.call(|session, now| session.handle_timeout(now));
        }
        self.now = end;
    }

    /// Takes effects into the lanes, as the driver does.
    fn carry_out(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            let Some(lane) = effect.torrent().and_then(|id| self.lanes.get_mut(&id)) else { continue };
            match effect {
                Effect::CancelCheck(_) => lane.ops.retain(|op| !matches!(op, Effect::Check(..))),
                Effect::CancelMove(_) => {
                    lane.ops.retain(|op| !matches!(op, Effect::Move(_)));
                    lane.ops.push_back(effect);
                }
                Effect::Check(..)
                | Effect::Move(_)
                | Effect::Select(_)
                | Effect::Rename(_)
                | Effect::GoLive(_)
                | Effect::GoDormant(_)
                | Effect::Halt(_)
                | Effect::Probe(_)
                | Effect::Checkpoint(_) => lane.ops.push_back(effect),
                _ => {}
            }
        }
    }

    fn step(&mut self, what: u8, id: TorrentId, kind: usize) {
        let known = self.lanes.contains_key(&id);
        let device = DISK + kind as u64;
        match what {
            0 | 1 if !known => self.add(id, kind),
            2 => self.call(|s, now| s.start(now, id)),
            3 => self.call(|s, now| s.stop(now, id)),
            4 => self.call(|s, now| s.verify(now, id)),
            5 if kind == 0 => {
                self.call(|s, now| s.remove(now, id));
                self.lanes.remove(&id);
            }
            6 => self.call(|s, now| s.on_fault(now, id, fault(KINDS[kind]))),
            7 => self.swarm_says(id, kind),
            8 => {
                let limits = QueueLimits {
                    downloads: Some(id.0 as u32),
                    seeds: Some(kind as u32),
                    active: (kind > 1).then_some(id.0 as u32),
                    slow: ByteRate(if id.0 == 2 { 0 } else { 1000 }),
                };
                self.call(|s, now| s.set_queue(now, limits));
            }
            9 => self.wait(7 * (kind as u64 + 1)),
            10 => self.call(|s, now| s.on_changed(now, id)),
            // What is left of a move that was called off must go first.
            11 if known && !self.lanes[&id].ops.contains(&Effect::CancelMove(id)) => {
                self.call(|s, now| s.move_to(now, id, DISK + kind as u64 / 2));
            }
            12 => self.call(|s, now| s.cancel_move(now, id)),
            13 => self.call(|s, now| s.on_remounted(now, id, device)),
            14 => self.call(|s, now| s.try_again(now, id)),
            15 => self.call(|s, now| s.on_device(now, id, device)),
            16 => self.call(|s, now| s.start_now(now, id)),
            17 => self.call(|s, now| s.set_priority(now, id, PRIORITIES[kind])),
            18 => {
                let shift = [Shift::Top, Shift::Up, Shift::Down, Shift::To(1)][kind];
                _ = self.call(|s, now| s.reorder(now, &[id, TorrentId(1)], shift));
            }
            19 => {
                for step in 0..4 {
                    let bytes = if kind > 1 { 10_000 * (self.now.since_start().as_secs() + step) } else { 0 };
                    self.call(|s, now| s.on_traffic(now, id, bytes, bytes));
                    self.wait(10);
                }
            }
            20 => self.wait(700 * (kind as u64 + 1)),
            21 => {
                let wait = (kind > 0).then(|| Duration::from_secs(kind as u64));
                self.call(|s, now| s.look_at_goal(now, id, wait));
            }
            22 if known && matches!(self.lanes[&id].ops.front(), Some(Effect::Check(..))) => {
                self.call(|s, now| s.on_hashed(now, id));
            }
            23 if known => _ = self.call(|s, now| s.select(now, id)),
            24 => _ = self.call(|s, now| s.rename(now, id)),
            25 | 26 => self.end_op(id, Some(KINDS[kind])),
            _ => self.end_op(id, None),
        }
    }

    fn add(&mut self, id: TorrentId, kind: usize) {
        self.lanes.insert(id, Lane { complete: kind == 1, ..Lane::default() });
        let needs = [Check::None, Check::Full, Check::Suspects][kind % 3];
        let newcomer = Newcomer {
            id,
            hashes: InfoHashes { v1: None, v2: None },
            started: kind != 2,
            known: true,
            needs,
            check_asked: kind == 2,
            finished: kind == 1 && needs == Check::None,
            device: DISK + id.0 / 3,
            place: Place {
                key: (kind == 3).then_some(id.0 as i64),
                priority: PRIORITIES[kind],
                forced: id.0 == 4 && kind == 1,
            },
            moving: (id.0 == 3 && kind > 1).then_some(Underway { other: DISK, switched: kind == 3 }),
        };
        self.call(|session, now| session.add(now, newcomer));
    }

    /// What a Swarm reports, while there is one.
    fn swarm_says(&mut self, id: TorrentId, kind: usize) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.swarm) else { return };
        match kind {
            0 if !lane.complete => {
                lane.complete = true;
                self.call(|s, now| s.on_finished(now, id));
            }
            1 => self.call(|s, _| s.on_idle(id)),
            2 => {
                lane.complete = false;
                self.call(|s, now| s.on_lost(now, id));
            }
            _ => self.call(|s, _| s.on_unsynced(id, 2 << 30)),
        }
    }

    /// The first operation of a lane ends, with a fault or without.
    fn end_op(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(op) = lane.ops.pop_front() else { return };
        let (swarm, complete) = (lane.swarm, lane.complete);
        match (op, bad) {
            (Effect::GoLive(_) | Effect::Check(..) | Effect::Probe(_), Some(kind)) if !swarm => {
                self.call(|s, now| s.on_fault(now, id, fault(kind)));
            }
            (Effect::GoLive(_), _) => lane.swarm = true,
            (Effect::GoDormant(_), Some(_)) => self.call(|s, now| s.wake(now, id)),
            (Effect::GoDormant(_), None) => {
                lane.swarm = false;
                self.call(|s, now| s.sleep_until(id, Some(now + Duration::from_secs(60))));
            }
            (Effect::Halt(_), _) if swarm => {
                lane.swarm = false;
                self.call(|s, now| s.on_halted(now, id, complete));
            }
            (Effect::Checkpoint(_), bad) => {
                let well = swarm && bad.is_none();
                self.call(|s, now| s.on_checkpointed(now, id, well));
                if let Some(kind) = bad.filter(|_| swarm) {
                    self.call(|s, now| s.on_fault(now, id, fault(kind)));
                }
            }
            (Effect::Check(..), None) => self.call(|s, now| s.on_checked(now, id, complete)),
            (Effect::Move(_), _) => self.end_move(id, bad),
            (Effect::Select(_), bad) => self.end_selection(id, bad),
            (Effect::Rename(_), Some(kind)) => self.end_rename(id, kind),
            (Effect::CancelMove(_), _) => self.call(|s, now| s.on_unmoved(now, id)),
            (Effect::Probe(_), Some(kind)) => self.call(|s, now| s.on_fault(now, id, fault(kind))),
            (Effect::Probe(_), None) => self.call(|s, now| s.on_healed(now, id)),
            _ => {}
        }
    }

    /// A move fails, or one of its halves ends well: the second comes right behind the first.
    fn end_move(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let Some(row) = self.session.row(id) else { return };
        assert!(!self.lanes[&id].swarm, "files are moved under a Swarm");
        match (bad, row.switched) {
            // It is not worth trying again.
            (Some(FaultKind::DiskFull), false) => self.call(|s, now| s.on_unmoved(now, id)),
            (Some(FaultKind::Broken), _) => self.call(|s, now| s.on_fault(now, id, fault(FaultKind::Broken))),
            (Some(kind), _) => self.call(|s, now| s.on_move_fault(now, id, fault(kind))),
            (None, true) => self.call(|s, now| s.on_moved(now, id)),
            (None, false) if row.phase == Phase::Moving => {
                self.call(|s, _| s.on_switched(id));
                self.lanes.entry(id).or_default().ops.push_front(Effect::Move(id));
            }
            (None, false) => {}
        }
    }

    /// Other files are wanted, so it has all of them or not; or it has to be found out, or can't be done.
    fn end_selection(&mut self, id: TorrentId, bad: Option<FaultKind>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        assert!(!lane.swarm, "files are chosen under a Swarm");
        match bad {
            Some(kind @ (FaultKind::Unreachable | FaultKind::Broken)) => {
                self.call(|s, now| s.on_fault(now, id, fault(kind)));
            }
            bad => {
                lane.complete = !lane.complete;
                let complete = lane.complete;
                self.call(|s, now| s.on_selected(now, id, complete, bad.is_some()));
            }
        }
    }

    /// Files could not be renamed: what comes next, and needs their names, fails with that.
    fn end_rename(&mut self, id: TorrentId, kind: FaultKind) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        assert!(!lane.swarm, "files are renamed under a Swarm");
        let needs_names =
            |op: &Effect| matches!(op, Effect::GoLive(_) | Effect::Check(..) | Effect::Probe(_));
        if lane.ops.front().is_some_and(needs_names) {
            lane.ops.pop_front();
        }
        self.call(|s, now| s.on_fault(now, id, fault(kind)));
    }

    /// Everything works from now on, and there is room for all: every torrent that is wanted runs.
    fn settle(&mut self) {
        self.call(|s, now| s.set_queue(now, QueueLimits::default()));
        let ids: Vec<TorrentId> = self.lanes.keys().copied().collect();
        for _ in 0..HEALING {
            self.carry_out();
            for id in &ids {
                self.end_op(*id, None);
                self.carry_out();
            }
            self.wait(1);
        }
        for id in ids {
            let (lane, row) = (&self.lanes[&id], self.session.row(id).expect("it was not removed"));
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
        }
    }
}
