//! The simulation's counterpart of the shell's session driver: carries out what a node's Session and
//! Swarms want.
use std::collections::BTreeSet;
use std::path::PathBuf;

use wgo_core::TorrentId;
use wgo_core::peer::CloseReason;
use wgo_core::peer_mgr::Source;
use wgo_core::session::{Check, Effect, FaultKind, share_memory};
use wgo_core::swarm::{Action, Start, Swarm, SwarmConfig};
use wgo_proto::Bitfield;
use wgod::store::{Change, FileStamp};

use crate::sim::jobs::Task;
use crate::sim::keeping::newcomer;
use crate::sim::link::{EndId, NodeId};
use crate::sim::node::{Entry, Payload};
use crate::sim::tracker::Heard;
use crate::sim::world::{Event, World};

impl World {
    /// Gives a torrent to a node, which has the pieces of `have` on disk and believes it or checks.
    pub fn add(&mut self, node: NodeId, id: TorrentId, have: Bitfield, check: Check) {
        assert!(self.try_add(node, id, have, check), "the node's state can be kept");
    }

    /// The same; whether it was kept.
    pub fn try_add(&mut self, node: NodeId, id: TorrentId, have: Bitfield, check: Check) -> bool {
        let device = self.nodes[node].device(id);
        let content = self.content(id);
        let (hashes, paths, raw) = (content.info_hashes(), content.paths(device), content.raw.clone());
        assert_eq!(have.len(), content.layout.piece_count());
        self.open_store(node);
        let mut stamps = Vec::new();
        if !have.is_empty() {
            self.nodes[node].disk.set_now(self.now);
            have.iter_ones().for_each(|piece| self.plant(node, id, &paths, wgo_proto::PieceIndex(piece)));
            self.nodes[node].disk.settle(&paths[0]);
            stamps = self.stamps_of(node, &paths);
        }
        // What is late for a torrent that was removed is not for this one.
        let entry = Entry { stamps, ..Entry::new(paths, have.clone(), self.steps as u32) };
        let (finished, now) = (have.is_full(), self.clock(node));
        self.nodes[node].torrents.insert(id, entry);
        let record = self.record(node, id, &have);
        if self.put(node, vec![Change::Torrent(Box::new(record)), Change::Metainfo(id, raw)]).is_err() {
            self.nodes[node].torrents.remove(&id);
            return false;
        }
        self.nodes[node].session.add(now, newcomer(id, hashes, check, finished, device));
        self.touched.insert((node, None));
        true
    }

    /// What files are like that a scenario put there.
    fn stamps_of(&self, node: NodeId, paths: &[PathBuf]) -> Vec<Option<FileStamp>> {
        let stamp = |path: &PathBuf| {
            let (len, mtime) = self.nodes[node].disk.stat(path)?;
            Some(FileStamp { len, mtime_nanos: mtime.as_nanos() as i64, suffixed: false })
        };
        paths.iter().map(stamp).collect()
    }

    /// Puts a right piece on a node's disk.
    fn plant(&mut self, node: NodeId, id: TorrentId, paths: &[PathBuf], piece: wgo_proto::PieceIndex) {
        let content = self.content(id);
        let (layout, bytes) = (&content.layout, content.piece(piece));
        let mut at = 0;
        for span in layout.spans(piece, 0, layout.piece_len(piece)) {
            let share = &bytes[at..at + span.len as usize];
            at += share.len();
            let path = &paths[span.file.0 as usize];
            self.nodes[node].disk.plant(path, layout.file_len(span.file), span.offset, share);
        }
    }

    /// Carries out what a node's Session wants; whether there was anything.
    pub fn carry_out(&mut self, node: NodeId) -> bool {
        let mut any = false;
        while let Some(effect) = self.nodes[node].session.poll_effect() {
            any = true;
            self.touched.insert((node, None));
            if let Some(effect) = self.queue_up(node, effect) {
                self.do_effect(node, effect);
            }
        }
        any
    }

    /// Carries out one of them.
    pub fn do_effect(&mut self, node: NodeId, effect: Effect) {
        match effect {
            Effect::Check(id, check) => {
                if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
                    entry.checking = check;
                }
                let (wait, epoch) = (self.millis(20, 200), self.epoch(node, id));
                self.after(wait, Event::Checked(node, id, epoch));
            }
            Effect::CancelCheck(id) => self.cancel_check(node, id),
            // A check finds the same however often it begins.
            Effect::ForgetCheck(_) => {}
            // Nobody else writes to simulated disks.
            Effect::Look(_) => {}
            // No simulated torrent has a goal.
            Effect::Goal(_) => {}
            // Nobody moves, renames or chooses files here.
            Effect::Move(_) | Effect::CancelMove(_) | Effect::Rename(_) | Effect::Select(_) => {}
            // No simulated daemon starts so many seeds that one of them has to wait.
            Effect::Listen(id) => unreachable!("{id:?} waits for its turn"),
            Effect::GoLive(id) => self.go_live(node, id),
            Effect::GoDormant(id) => self.go_dormant(node, id),
            Effect::Halt(id) => self.halt(node, id),
            Effect::Pause { id, requests, uploads } => {
                self.call(node, id, |swarm, now| {
                    swarm.set_requests_paused(now, requests);
                    swarm.set_uploads_paused(now, uploads);
                });
            }
            Effect::Probe(id) => {
                let wait = self.millis(1, 30);
                self.after(wait, Event::Probe(node, id));
            }
            Effect::Checkpoint(id) => self.checkpoint(node, id),
            Effect::Save(id) => self.save_wishes(node, id),
            Effect::ChokeRound => self.choke_round(node),
            Effect::ChokeFill => self.choke_fill(node),
            Effect::Housekeep => self.housekeep(node),
            Effect::Completed(id) => self.completed(node, id),
        }
    }

    pub fn next_epoch(&mut self, node: NodeId, id: TorrentId) {
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.epoch += 1;
        }
    }

    /// A check has its turn.
    pub fn checked(&mut self, node: NodeId, id: TorrentId, epoch: u32) {
        let Some(check) = self.nodes[node].torrents.get(&id).map(|entry| entry.checking) else { return };
        if self.epoch(node, id) == epoch && self.reaches_for_check(node, id, check) {
            self.check(node, id, check);
        }
    }

    fn go_live(&mut self, node: NodeId, id: TorrentId) {
        // After a fault the session can't know whether it kept the Swarm from being made.
        if self.nodes[node].torrents.get(&id).is_none_or(|entry| entry.live.is_some()) {
            return;
        }
        let hindrance = match self.hindrance(node, id).map_or_else(|| self.reach(node, id), Err) {
            Err(fault) if fault.kind == FaultKind::Unreachable => return self.stand(node, id, fault),
            Err(fault) => Some(fault),
            Ok(false) => return,
            Ok(true) => None,
        };
        if !self.make(node, id) {
            return;
        }
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        let partials = std::mem::take(&mut entry.partials);
        self.call(node, id, |swarm, now| {
            swarm.restore_partials(&partials);
            swarm.set_requests_paused(now, hindrance.is_some());
        });
        let now = self.clock(node);
        match hindrance {
            Some(fault) => self.nodes[node].session.on_fault(now, id, fault),
            None => self.nodes[node].session.on_live(now, id),
        }
        self.touched.insert((node, None));
    }

    /// Makes a torrent's Swarm; after a fault the session can't know whether it kept it from being made.
    pub fn make(&mut self, node: NodeId, id: TorrentId) -> bool {
        let (seed, now) = (self.rng.u64(..), self.clock(node));
        let content = self.content(id);
        let (hash, layout) = (content.hash(), content.layout.clone());
        let (tiers, private) = (content.tiers(), content.private);
        let one = &mut self.nodes[node];
        let (peer_id, max_peers) = (one.peer_id(), one.habits.max_peers);
        let (listen_port, pex) = (one.addr.port(), one.habits.pex);
        let config = SwarmConfig { peer_id, listen_port, max_peers, private, pex, metadata_len: 0 };
        let Some(entry) = one.torrents.get_mut(&id).filter(|entry| entry.live.is_none()) else {
            return false;
        };
        let (have, counters) = (entry.have.clone(), entry.counters);
        let start = Start { id, hash, layout, have, selection: None, counters, tiers, seed };
        let mut swarm = Swarm::new(now, config, start);
        match entry.trackers.take() {
            Some(memory) => swarm.resume_trackers(memory),
            // Whoever was named before was named in another session.
            None => (entry.named, entry.named_by) = Default::default(),
        }
        entry.bad.clear();
        entry.spoilt.clear();
        entry.dialing.clear();
        entry.failed_dials.clear();
        entry.live = Some(swarm);
        entry.paced = false;
        entry.epoch += 1;
        entry.timer = None;
        true
    }

    fn go_dormant(&mut self, node: NodeId, id: TorrentId) {
        let asleep = self.call(node, id, |swarm, _| (swarm.may_sleep(), swarm.next_announce()));
        let Some((quiet, wake)) = asleep else { return };
        if !quiet {
            // Somebody came meanwhile; it goes to sleep another time.
            let now = self.clock(node);
            return self.nodes[node].session.wake(now, id);
        }
        let memory = self.call(node, id, |swarm, _| swarm.suspend_trackers());
        self.save(node, id);
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.trackers = memory;
        }
        self.nodes[node].session.sleep_until(id, wake);
    }

    /// Keeps what a Swarm knows and drops it.
    pub fn save(&mut self, node: NodeId, id: TorrentId) {
        let now = self.clock(node);
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        let Some(swarm) = entry.live.take() else { return };
        assert!(entry.ends.is_empty(), "a Swarm ends after its connections");
        entry.have = swarm.have_copy();
        entry.partials = swarm.partials();
        entry.counters = swarm.view(now).counters;
        let epoch = entry.epoch;
        entry.epoch += 1;
        if !swarm.trackers_quiet() {
            self.nodes[node].leaving.insert((id, epoch), swarm);
        }
    }

    pub fn halt(&mut self, node: NodeId, id: TorrentId) {
        self.part_from_trackers(node, id);
        let Some(entry) = self.nodes[node].torrents.get(&id) else { return };
        let ends: Vec<EndId> = entry.ends.values().copied().collect();
        self.call(node, id, |swarm, now| {
            swarm.close_all(&CloseReason::Stopped);
            swarm.announce_stopped(now);
        });
        for end in ends {
            self.end(end, CloseReason::Stopped);
        }
        self.finish_jobs(node, id);
        let spills = self.call(node, id, |swarm, _| swarm.spill_all()).unwrap_or_default();
        for spill in spills {
            self.start(node, id, Task::Spill { piece: spill.piece, blocks: spill.blocks });
        }
        self.finish_jobs(node, id);
        // A piece that a spill completed is left as it lies on the disk: all its blocks are there.
        self.save(node, id);
        self.settle_down(node, id);
    }

    /// A node stops all it does, in order, and is not there any more.
    pub fn leave(&mut self, node: NodeId) {
        let ids: Vec<TorrentId> = self.nodes[node].torrents.keys().copied().collect();
        for id in ids {
            let now = self.clock(node);
            self.nodes[node].session.stop(now, id);
        }
        self.touched.insert((node, None));
        self.settle();
        for id in self.nodes[node].torrents.keys().copied().collect::<Vec<_>>() {
            self.close_files(node, id);
        }
        let _clean = self.close_store(node);
        self.nodes[node].up = false;
    }

    /// The node ends without warning: what was not made durable is not known any more.
    pub fn crash(&mut self, node: NodeId) {
        let ids: Vec<TorrentId> = self.nodes[node].torrents.keys().copied().collect();
        for id in &ids {
            let Some(entry) = self.nodes[node].torrents.get_mut(id) else { continue };
            let links: BTreeSet<usize> = entry.ends.values().map(|end| end.link).collect();
            let ends = std::mem::take(&mut entry.ends);
            entry.live = None;
            entry.files = None;
            entry.timer = None;
            entry.epoch += 1;
            entry.lane.clear();
            entry.partials.clear();
            entry.have = entry.durable.clone();
            entry.told_complete &= entry.durable.is_full();
            entry.sent = 0;
            entry.received = 0;
            entry.counters = Default::default();
            entry.trackers = None;
            entry.lossy = true;
            entry.bad.clear();
            entry.spoilt.clear();
            for end in ends.into_values() {
                let one = &mut self.links[end.link].ends[end.side];
                one.key = None;
                let (up, down) = (std::mem::take(&mut one.up), std::mem::take(&mut one.down));
                (one.inbox, one.pending, one.eof) = (Vec::new(), Vec::new(), false);
                self.give_up_share(node, up);
                self.give_up_share(node, down);
            }
            links.into_iter().for_each(|link| self.cut(link));
            self.tracker.events.remove(&(*id, node));
        }
        let of_it = |((_, of, _), _): &(&(TorrentId, NodeId, u32), &mut Heard)| *of == node;
        self.tracker.sessions.iter_mut().filter(of_it).for_each(|(_, heard)| heard.gone = true);
        let one = &mut self.nodes[node];
        one.crashed = true;
        one.leaving.clear();
        // Nothing that lets go of it writes any more.
        one.disk.set_dark(true);
        one.jobs.clear();
        one.owed.clear();
        one.keeping.store = None;
        one.storage = one.new_storage();
        one.disk.set_dark(false);
        one.up = false;
        one.session = wgo_core::session::Session::new(one.habits.queue);
        one.session_timer = None;
        one.choke = Default::default();
    }

    /// A node that crashed begins again, with what its last checkpoints say; one that has no store checks so.
    pub fn restart(&mut self, node: NodeId, check: Check) {
        if self.nodes[node].habits.store {
            return self.boot(node);
        }
        self.nodes[node].up = true;
        let rows: Vec<_> =
            self.nodes[node].torrents.iter().map(|(id, entry)| (*id, entry.have.is_full())).collect();
        for (id, finished) in rows {
            let (now, hashes, device) =
                (self.clock(node), self.content(id).info_hashes(), self.nodes[node].device(id));
            self.nodes[node].session.add(now, newcomer(id, hashes, check, finished, device));
        }
        self.touched.insert((node, None));
    }

    fn checkpoint(&mut self, node: NodeId, id: TorrentId) {
        let begun = self.call(node, id, |swarm, _| {
            swarm.begin_checkpoint();
            (swarm.have_copy(), swarm.partials())
        });
        if let Some((have, partials)) = begun {
            self.start(node, id, Task::Sync { have, partials });
        }
    }

    fn completed(&mut self, node: NodeId, id: TorrentId) {
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        assert!(entry.durable.is_full(), "completed before everything is durable");
        self.check_useful(node, id);
        let now = self.now;
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        assert!(!std::mem::replace(&mut entry.told_complete, true), "node {node} completes {id:?} twice");
        entry.completed += 1;
        entry.finished_at = Some(now);
        if let Some(told) = self.nodes[node].keeping.told.get_mut(&id) {
            told.completed = true;
        }
        self.call(node, id, |swarm, now| swarm.announce_completed(now));
    }

    fn housekeep(&mut self, node: NodeId) {
        let now = self.clock(node);
        let one = &mut self.nodes[node];
        let (mut ids, mut held, mut paced) = (Vec::new(), Vec::new(), Vec::new());
        for (id, entry) in &one.torrents {
            let Some(swarm) = &entry.live else { continue };
            let view = swarm.view(now);
            one.session.on_unsynced(*id, view.unsynced_bytes);
            one.session.on_traffic(now, *id, view.counters.downloaded, view.counters.uploaded);
            let limited = !one.limiter.is_unlimited(*id, wgo_core::limiter::Direction::Down);
            if limited != entry.paced {
                paced.push((*id, limited));
            }
            if !view.finished {
                ids.push(*id);
                held.push(swarm.held_blocks());
            }
        }
        one.storage.trim();
        let shares = share_memory(one.habits.memory, &held);
        for (id, limited) in paced {
            if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
                entry.paced = limited;
            }
            self.call(node, id, |swarm, _| swarm.set_download_limited(limited));
        }
        for (id, blocks) in ids.into_iter().zip(shares) {
            self.call(node, id, |swarm, now| swarm.set_memory(now, blocks));
        }
    }

    /// Carries out what a Swarm wants.
    pub fn act(&mut self, node: NodeId, id: TorrentId, action: Action<Payload>) {
        let now = self.clock(node);
        match action {
            Action::Dial(addr, _) => {
                self.check_dial(node, id, addr);
                self.dial(node, id, addr);
            }
            Action::Announce(_) => unreachable!("announces are sent where they are made"),
            Action::Store(complete) => {
                self.start(node, id, Task::Store { piece: complete.piece, blocks: complete.blocks });
            }
            Action::Spill(spill) => {
                if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
                    entry.spills += 1;
                }
                self.start(node, id, Task::Spill { piece: spill.piece, blocks: spill.blocks });
            }
            Action::Finished => self.nodes[node].session.on_finished(now, id),
            Action::InterestChanged => self.nodes[node].session.on_interest_changed(now),
            Action::Idle => self.nodes[node].session.on_idle(id),
            // The address of a simulated node never changes.
            Action::SeenAt { .. } => {}
            // There is no DHT.
            Action::DhtNode(_) => {}
            Action::Filtered(_) => {}
            // Every simulated torrent is known, and nobody asks for its metadata.
            Action::Metadata(_) | Action::ReadMetadata(..) => unreachable!("{id:?} is no magnet link"),
        }
        self.touched.insert((node, None));
    }

    /// Tells a node of another, as `--peer` does.
    pub fn introduce(&mut self, node: NodeId, id: TorrentId, other: NodeId) {
        let addr = self.nodes[other].addr;
        self.call(node, id, |swarm, now| swarm.add_candidates(now, [addr], Source::User));
    }
}
