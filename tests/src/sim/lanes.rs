//! Torrents whose disk doesn't do what it should: what waits for one that hangs, in order, as in the
//! shell's lanes; what is found of one that is full or gone.
use wgo_core::TorrentId;
use wgo_core::session::{Effect, Fault, FaultKind};
use wgo_proto::{Bitfield, PieceIndex};

use crate::sim::disk::Condition;
use crate::sim::link::NodeId;
use crate::sim::world::World;

/// What waits for a torrent's disk.
#[derive(Debug)]
pub enum LaneOp {
    /// What the session wants.
    Do(Effect),
    /// The torrent goes, with its files or without.
    Remove { data: bool },
}

/// The torrent of an effect that waits for the torrent's disk.
fn waits(effect: &Effect) -> Option<TorrentId> {
    match effect {
        Effect::Check(id, _)
        | Effect::GoLive(id)
        | Effect::GoDormant(id)
        | Effect::Halt(id)
        | Effect::Probe(id)
        | Effect::Checkpoint(id) => Some(*id),
        _ => None,
    }
}

impl World {
    fn condition(&self, node: NodeId, id: TorrentId) -> Condition {
        self.nodes[node].disk.condition(self.nodes[node].device(id))
    }

    /// Whether what is open of the torrent leads nowhere any more.
    fn is_stale(&self, node: NodeId, id: TorrentId) -> bool {
        let pulls = self.nodes[node].disk.pulls(self.nodes[node].device(id));
        self.nodes[node].torrents.get(&id).is_some_and(|entry| entry.pulls != pulls)
    }

    /// Puts an effect behind what waits for the torrent's disk; gives it back if it need not wait.
    pub fn queue_up(&mut self, node: NodeId, effect: Effect) -> Option<Effect> {
        let Some(id) = waits(&effect) else { return Some(effect) };
        let hangs = self.condition(node, id) == Condition::Hung;
        let entry = self.nodes[node].torrents.get_mut(&id)?;
        if !hangs && entry.lane.is_empty() {
            return Some(effect);
        }
        entry.lane.push_back(LaneOp::Do(effect));
        None
    }

    /// A check is paused: one that has not begun never does.
    pub fn cancel_check(&mut self, node: NodeId, id: TorrentId) {
        self.next_epoch(node, id);
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.lane.retain(|op| !matches!(op, LaneOp::Do(Effect::Check(..))));
        }
    }

    /// Makes a disk so; what waited for it goes on.
    pub fn set_disk(&mut self, node: NodeId, device: u64, condition: Condition) {
        self.nodes[node].disk.set(device, condition);
        for operation in self.nodes[node].disk.submitted() {
            let wait = self.millis(0, 100);
            self.after(wait, crate::sim::world::Event::Disk(node, operation));
        }
        if condition == Condition::Hung {
            return;
        }
        let one = &self.nodes[node];
        let ids: Vec<TorrentId> =
            one.torrents.keys().copied().filter(|id| one.device(*id) == device).collect();
        for id in ids {
            self.go_on(node, id);
        }
        self.settle();
    }

    fn go_on(&mut self, node: NodeId, id: TorrentId) {
        while let Some(op) = self.nodes[node].torrents.get_mut(&id).and_then(|entry| entry.lane.pop_front()) {
            self.touched.insert((node, None));
            match op {
                LaneOp::Do(effect) => self.do_effect(node, effect),
                LaneOp::Remove { data } => self.forget(node, id, data),
            }
        }
    }

    /// The operator removes a torrent.
    pub fn remove(&mut self, node: NodeId, id: TorrentId, data: bool) {
        let now = self.clock(node);
        self.nodes[node].session.remove(now, id);
        self.touched.insert((node, None));
        self.settle();
        let hangs = self.condition(node, id) == Condition::Hung;
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        if hangs || !entry.lane.is_empty() {
            entry.lane.retain(|op| matches!(op, LaneOp::Do(Effect::Halt(_))));
            entry.lane.push_back(LaneOp::Remove { data });
        } else {
            self.forget(node, id, data);
        }
    }

    fn forget(&mut self, node: NodeId, id: TorrentId, data: bool) {
        self.finish_jobs(node, id);
        let Some(entry) = self.nodes[node].torrents.remove(&id) else { return };
        assert!(entry.live.is_none(), "it is halted before it is removed");
        for path in entry.paths.iter().filter(|_| data) {
            self.nodes[node].disk.unlink(path);
        }
    }

    /// What stands in a torrent's way on its disk now.
    pub fn hindrance(&self, node: NodeId, id: TorrentId) -> Option<Fault> {
        let complete = self.nodes[node].torrents.get(&id).is_some_and(|entry| entry.have.is_full());
        let kind = match self.condition(node, id) {
            Condition::Gone => FaultKind::Unreachable,
            Condition::Full if !complete => FaultKind::DiskFull,
            _ => return None,
        };
        Some(Fault { kind, message: format!("{kind:?}") })
    }

    /// A fault shows.
    pub fn stand(&mut self, node: NodeId, id: TorrentId, fault: Fault) {
        let now = self.clock(node);
        self.nodes[node].session.on_fault(now, id, fault);
        self.touched.insert((node, None));
    }

    /// A probe reaches the disk.
    pub fn probed(&mut self, node: NodeId, id: TorrentId) {
        if self.queue_up(node, Effect::Probe(id)).is_none() {
            return;
        }
        let now = self.clock(node);
        if let Some(fault) = self.hindrance(node, id) {
            return self.stand(node, id, fault);
        }
        let (stale, device) = (self.is_stale(node, id), self.nodes[node].device(id));
        let session = &mut self.nodes[node].session;
        if stale {
            session.on_remounted(now, id, device)
        } else {
            session.on_healed(now, id)
        }
        self.touched.insert((node, None));
    }

    /// A check comes to the disk: whether it may hash. What was opened before is opened anew.
    pub fn reaches_for_check(&mut self, node: NodeId, id: TorrentId) -> bool {
        let check = wgo_core::session::Check::Full;
        if self.queue_up(node, Effect::Check(id, check)).is_none() {
            return false;
        }
        if let Some(fault) = self.hindrance(node, id).filter(|fault| fault.kind == FaultKind::Unreachable) {
            self.stand(node, id, fault);
            return false;
        }
        let pulls = self.nodes[node].disk.pulls(self.nodes[node].device(id));
        let paths = self.nodes[node].torrents[&id].paths.clone();
        let files = paths.into_iter().map(|path| self.open(node, path)).collect();
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            (entry.files, entry.pulls) = (files, pulls);
        }
        true
    }

    /// A Swarm is gone: what it had is durable, if its disk takes that.
    pub fn settle_down(&mut self, node: NodeId, id: TorrentId) {
        let lost = self.condition(node, id) == Condition::Gone || self.is_stale(node, id);
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        if lost {
            entry.have = entry.durable.clone();
            entry.partials.clear();
        } else {
            entry.durable = entry.have.clone();
            let paths = entry.paths.clone();
            paths.iter().for_each(|path| self.nodes[node].disk.settle(path));
        }
        let (now, finished) = (self.clock(node), self.nodes[node].torrents[&id].have.is_full());
        self.nodes[node].session.on_halted(now, id, finished);
    }

    /// A checkpoint failed: what came since the last is in doubt.
    pub fn lose_doubtful(&mut self, node: NodeId, id: TorrentId, have: &Bitfield) {
        let Some(entry) = self.nodes[node].torrents.get(&id) else { return };
        let doubtful: Vec<PieceIndex> = have.iter_and_not(&entry.durable).map(PieceIndex).collect();
        self.call(node, id, |swarm, now| swarm.lose(now, doubtful));
        let now = self.clock(node);
        if self.call(node, id, |swarm, now| swarm.view(now).finished) == Some(false) {
            self.nodes[node].session.on_lost(now, id);
        }
    }
}
