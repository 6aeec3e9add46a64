//! Torrents whose disk doesn't do what it should: what waits for one that hangs, in order, as in the
//! shell's lanes; what is found of one that is full or gone.
use std::collections::BTreeSet;

use wgo_core::TorrentId;
use wgo_core::session::{Check, Effect, Fault, FaultKind};
use wgo_proto::PieceIndex;
use wgod::files::{Job, RemoveOutcome, SyncOutcome};
use wgod::store::Change;

use crate::sim::disk::Condition;
use crate::sim::link::{EndId, NodeId};
use crate::sim::opening::in_doubt;
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
    pub fn condition(&self, node: NodeId, id: TorrentId) -> Condition {
        self.nodes[node].disk.condition(self.nodes[node].device(id))
    }

    /// Whether what is open of the torrent leads nowhere any more.
    fn is_stale(&self, node: NodeId, id: TorrentId) -> bool {
        let pulls = self.nodes[node].disk.pulls(self.nodes[node].device(id));
        self.nodes[node].torrents.get(&id).is_some_and(|entry| entry.files.is_none() || entry.pulls != pulls)
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
        for job in std::mem::take(&mut self.nodes[node].owed) {
            let wait = self.millis(0, 100);
            self.after(wait, crate::sim::world::Event::Disk(node, job));
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
        if !self.nodes[node].up {
            // The power went meanwhile.
            return;
        }
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
        let halted = self.nodes[node].torrents.get(&id).is_none_or(|entry| entry.live.is_none());
        assert!(halted, "it is halted before it is removed");
        match data {
            true => {
                if let Some(told) = self.nodes[node].keeping.told.get_mut(&id) {
                    told.leaving = true;
                }
                // What can't be reached stays where it is.
                if let Ok(torrent) = self.open_files(node, id) {
                    let job = |done| Job::Remove { torrent, kept: BTreeSet::new(), done };
                    let _removed: RemoveOutcome = self.run_on_disk(node, job);
                }
            }
            false => self.close_files(node, id),
        }
        // One that the store doesn't forget comes back with the next start.
        let forgotten = self.put(node, vec![Change::Remove(id)]).is_ok();
        let one = &mut self.nodes[node];
        one.torrents.remove(&id);
        one.keeping.rotten.retain(|(other, _)| !forgotten || *other != id);
    }

    /// Whether the torrent's files can be reached, and written to if that is wanted: a fault if not. `false`: they
    /// are not what they were, or the storage was stopped.
    pub fn reach(&mut self, node: NodeId, id: TorrentId) -> Result<bool, Fault> {
        let Some(entry) = self.nodes[node].torrents.get(&id) else { return Ok(false) };
        let whole = match &entry.live {
            Some(swarm) => swarm.have().is_full(),
            None => entry.have.is_full(),
        };
        let reached = if whole { self.seal(node, id) } else { self.prepare(node, id).map(|()| true) };
        match reached {
            Ok(false) => {
                let now = self.clock(node);
                self.nodes[node].session.on_changed(now, id);
                self.touched.insert((node, None));
                Ok(false)
            }
            Ok(true) => Ok(true),
            Err(Some(fault)) => Err(fault),
            Err(None) => Ok(false),
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
        if stale {
            self.nodes[node].session.on_remounted(now, id, device);
        } else {
            match self.reach(node, id) {
                Err(fault) => return self.stand(node, id, fault),
                Ok(false) => return,
                Ok(true) => self.nodes[node].session.on_healed(now, id),
            }
        }
        self.touched.insert((node, None));
    }

    /// A check comes to the disk: whether it may hash.
    pub fn reaches_for_check(&mut self, node: NodeId, id: TorrentId, check: Check) -> bool {
        if self.queue_up(node, Effect::Check(id, check)).is_none() {
            return false;
        }
        if let Some(fault) = self.hindrance(node, id).filter(|fault| fault.kind == FaultKind::Unreachable) {
            self.stand(node, id, fault);
            return false;
        }
        true
    }

    /// A Swarm is gone: what it had is made durable, and kept.
    pub fn settle_down(&mut self, node: NodeId, id: TorrentId) {
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        let (have, partials) = (entry.have.clone(), entry.partials.clone());
        let files = entry.files.clone();
        let (stored, seal) = (Some(have.clone()), have.is_full());
        let job = |torrent, done| Job::Sync { torrent, have: stored, seal, done };
        let outcome: SyncOutcome = self.run_job(node, files, job);
        if self.nodes[node].disk.is_dark() {
            return;
        }
        let doubted = in_doubt(&outcome).is_some();
        if doubted {
            if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
                let lost: Vec<PieceIndex> = have.iter_and_not(&entry.durable).map(PieceIndex).collect();
                entry.have = entry.durable.clone();
                entry.told_complete &= entry.have.is_full();
                entry.partials.clear();
                entry.lossy = true;
                self.refute(node, id, &lost);
            }
        } else {
            // What can't be kept is found again after a crash.
            let _result = self.commit(node, id, &have, &partials, false, &outcome.stamps);
        }
        let (now, finished) = (self.clock(node), self.nodes[node].torrents[&id].have.is_full());
        self.nodes[node].session.on_halted(now, id, finished);
    }

    /// A checkpoint failed: what came since the last is in doubt, and is fetched again.
    pub fn lose_doubtful(&mut self, node: NodeId, id: TorrentId) {
        let Some(durable) = self.nodes[node].torrents.get(&id).map(|entry| entry.durable.clone()) else {
            return;
        };
        let lost = self.call(node, id, |swarm, now| swarm.lose_unsynced(now, &durable)).unwrap_or_default();
        let ends: Vec<EndId> = self.nodes[node].torrents[&id].ends.values().copied().collect();
        for end in ends {
            self.links[end.link].ends[end.side].watch.loses(&lost);
        }
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.lossy = true;
            entry.told_complete &= lost.is_empty();
        }
        self.refute(node, id, &lost);
    }

    /// Nobody is to look for these pieces after a crash.
    fn refute(&mut self, node: NodeId, id: TorrentId, pieces: &[PieceIndex]) {
        let one = &mut self.nodes[node];
        if let Some(store) = &mut one.keeping.store {
            pieces.iter().for_each(|piece| store.log_refuted(id, *piece));
        }
        if let Some(entry) = one.torrents.get_mut(&id) {
            entry.stored_at.retain(|piece, _| !pieces.contains(piece));
        }
    }
}
