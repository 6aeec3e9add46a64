//! Effects of the session, actions of Swarms and reports of tasks, each carried out or passed on.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::Instrument;
use wgo_core::TorrentId;
use wgo_core::external::Voter;
use wgo_core::metadata::share_held;
use wgo_core::session::{Effect, Fault, FaultKind, Phase, share_memory};
use wgo_core::swarm::Action;
use wgo_core::tracker::{Announce, Event as TrackerEvent, Outcome as Answer, Retry};
use wgo_proto::tracker as wire;

use super::ops::Op;
use super::{Driver, Event, fault};
use crate::files::{BlockBuf, DiskErrorKind};
use crate::hooks;
use crate::store::{CheckKind, OwedCheck};
use crate::torrent::Torrent;
use crate::tracker::TrackerError;

impl Driver {
    /// Carries out everything that the session wants.
    pub(super) fn carry_out(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            let torrent = effect.torrent();
            match effect {
                Effect::Check(id, check) => self.push_op(id, Op::Check(check)),
                Effect::Move(id) => self.push_op(id, Op::Move),
                Effect::Rename(id) => self.push_op(id, Op::Rename),
                Effect::CancelMove(id) => self.cancel_move(id),
                Effect::CancelCheck(id) => self.cancel_check(id),
                Effect::ForgetCheck(id) => self.forget_check(id),
                Effect::Listen(id) => self.listen(id),
                Effect::Select(id) => self.push_op(id, Op::Select),
                Effect::GoLive(id) => {
                    // Whoever comes before the Swarm is made waits for it.
                    self.listen(id);
                    self.push_op(id, Op::GoLive);
                }
                Effect::GoDormant(id) => self.push_op(id, Op::GoDormant),
                Effect::Halt(id) => self.push_op(id, Op::Halt),
                Effect::Pause { id, requests, uploads } => self.pause(id, requests, uploads),
                Effect::Probe(id) => self.probe(id),
                Effect::Checkpoint(id) => self.push_op(id, Op::Checkpoint),
                Effect::Look(id) => self.look(id),
                Effect::Save(id) => self.save(id),
                Effect::ChokeRound => self.choke_round(),
                Effect::ChokeFill => self.choke_fill(),
                Effect::Housekeep => self.housekeep(),
                Effect::Completed(id) => self.completed(id),
                Effect::Goal(id) => self.look_at_goal(id),
            }
            if let Some(id) = torrent {
                self.count_time(id);
            }
            self.touch();
        }
    }

    /// It is found by others, and they by it.
    pub(super) fn listen(&self, id: TorrentId) {
        if let Some(entry) = self.entries.get(&id) {
            self.engine.join(id, &entry.settings.hashes, entry.info.private, entry.need());
        }
    }

    /// One that waits already, as for a disk that hangs, is enough.
    fn probe(&mut self, id: TorrentId) {
        if self.entries.get(&id).is_some_and(|entry| !entry.lane.iter().any(|op| matches!(op, Op::Probe))) {
            self.push_op(id, Op::Probe);
        }
    }

    fn cancel_check(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.lane.retain(|op| !matches!(op, Op::Check(_)));
        if let Some(check) = &entry.check {
            check.pause();
        }
    }

    fn forget_check(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.owed = Some(Box::new(OwedCheck::anew(CheckKind::Full)));
        if let Some(check) = &entry.check {
            check.forget();
        }
        let op = if std::mem::take(&mut entry.starts_over) { Op::StartOver } else { Op::ForgetCheck };
        // Behind the check that is ending, which may still keep what it found.
        self.push_op(id, op);
    }

    fn look(&mut self, id: TorrentId) {
        let Some(live) = self.entries.get(&id).and_then(|entry| entry.live.clone()) else { return };
        let engine = self.engine.clone();
        let report = move |error| engine.tell(Event::DiskFailed(id, error));
        if let Some(files) = live.files() {
            self.engine.storage.look(files, report);
        }
    }

    pub(super) fn pause(&mut self, id: TorrentId, requests: bool, uploads: bool) {
        let Some(live) = self.entries.get(&id).and_then(|entry| entry.live.clone()) else { return };
        self.engine.call(&live, |swarm, now| {
            swarm.set_requests_paused(now, requests);
            swarm.set_uploads_paused(now, uploads);
        });
    }

    /// Every torrent that has a Swarm, by number. Costs nothing for those that sleep.
    pub(super) fn live_torrents(&self) -> Vec<Arc<Torrent>> {
        self.session.live().filter_map(|id| self.entries.get(&id)?.live.clone()).collect()
    }

    /// Shares payload memory out among the torrents that download, and tells the session what waits for
    /// a checkpoint.
    fn housekeep(&mut self) {
        self.save_counters();
        let now = self.engine.clock.now();
        let mut torrents = Vec::new();
        let mut held = Vec::new();
        let mut fetching = Vec::new();
        for live in self.live_torrents() {
            let limited = self.engine.shaper.is_limited(live.id, wgo_core::limiter::Direction::Down);
            let Ok((view, blocks)) = live.call(|swarm, now| {
                swarm.set_download_limited(limited);
                (swarm.view(now), swarm.held_blocks())
            }) else {
                continue;
            };
            let counters = view.counters;
            self.session.on_unsynced(live.id, view.unsynced_bytes);
            self.session.on_traffic(now, live.id, counters.downloaded, counters.uploaded);
            self.on_uploaded(live.id, counters.uploaded);
            if view.unknown {
                fetching.push(live.clone());
            } else if !view.finished {
                torrents.push(live.clone());
                held.push(blocks);
            }
        }
        let shares = share_memory(self.tunables.memory_blocks, &held);
        for (torrent, blocks) in torrents.iter().zip(shares) {
            let _broken = torrent.call(|swarm, now| swarm.set_memory(now, blocks));
        }
        for torrent in &fetching {
            let _broken = torrent.call(|swarm, _| swarm.set_metadata_limit(share_held(fetching.len())));
        }
    }

    /// The torrent finished, durably: the trackers hear of it, it is no longer written to, and goes to its
    /// final folder.
    fn completed(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get(&id) else { return };
        entry.span().in_scope(|| tracing::info!("complete"));
        if let Some(live) = entry.live.clone() {
            self.engine.call(&live, |swarm, now| {
                // `completed` is for the whole torrent (BEP 21).
                if swarm.view(now).complete {
                    swarm.announce_completed(now);
                }
            });
        }
        self.engine.dht.set_need(id, entry.need());
        self.arrive(id);
        self.tell_completion(id);
    }

    pub(super) fn on_action(&mut self, torrent: &Arc<Torrent>, action: Action<BlockBuf>) {
        let now = self.engine.clock.now();
        let ended = torrent.stopping.is_cancelled();
        match action {
            // What a Swarm that is ending finds of itself, its end reports as a whole.
            Action::Finished | Action::Idle | Action::Dial(..) | Action::ReadMetadata(..) if ended => {}
            // Right or wrong, it is so whether the torrent runs or not.
            Action::Metadata(candidate) => self.push_op(torrent.id, Op::Examine(candidate)),
            Action::ReadMetadata(key, piece) => self.engine.tell_metadata(torrent, key, piece),
            Action::DhtNode(addr) => self.engine.dht.on_node(addr),
            Action::Dial(addr, greeting) => crate::dial::submit(&self.engine, torrent, addr, greeting),
            Action::Announce(announce) => self.announce(torrent, announce),
            Action::Filtered(addresses) => self.engine.ip_filter.count(addresses.into()),
            Action::Store(complete) => self.engine.store_piece_now(torrent, complete),
            // By a proxy, it is the proxy that they see.
            Action::SeenAt { .. } if self.engine.proxies.for_peers().is_some() => {}
            Action::SeenAt { by, at } => self.engine.outside.vote(Voter::Peer(by), at),
            Action::Spill(spill) => self.engine.spill(torrent, spill),
            Action::Finished => self.session.on_finished(now, torrent.id),
            Action::InterestChanged => self.session.on_interest_changed(now),
            Action::Idle => self.session.on_idle(torrent.id),
        }
    }

    /// Our addresses are others now.
    pub(super) fn tell_own_addrs(&self) {
        let own = self.engine.own_addrs();
        for entry in self.entries.values() {
            if let Some(live) = &entry.live {
                self.engine.call(live, |swarm, _| swarm.set_own(&own));
            }
        }
    }

    /// Carries an announce to its tracker, in a task that outlives the torrent.
    fn announce(&self, torrent: &Arc<Torrent>, announce: Announce) {
        let (engine, torrent) = (self.engine.clone(), torrent.clone());
        let told = self.announcement(&torrent, &announce);
        let span = torrent.span.clone();
        let work = async move {
            let query = wire::http::AnnounceQuery {
                announce: &told,
                tracker_id: announce.tracker_id.as_deref(),
                ip: engine.outside.chosen(),
                ipv4: None,
                ipv6: None,
            };
            let answer = engine.trackers.announce(&announce.url, &query).await;
            engine.counters.announces.ended(&answer);
            engine.call(&torrent, |swarm, now| match &answer {
                Ok(reply) => {
                    let outcome = outcome_of(reply);
                    swarm.on_announced(now, announce.id, &outcome, &reply.peers);
                }
                Err(failure) => {
                    swarm.on_announce_failed(now, announce.id, &failure.to_string(), retry_of(failure));
                }
            });
        };
        self.engine.announces.spawn(work.instrument(span));
    }

    /// Waits until trackers have heard all that there is to say. A tracker that is just being told something hears
    /// `stopped` after that.
    pub(super) async fn last_announces(&mut self) {
        let announces = self.engine.announces.clone();
        announces.close();
        loop {
            tokio::select! {
                biased;
                Some((torrent, action)) = self.actions.recv() => self.on_action(&torrent, action),
                () = announces.wait() => match self.actions.try_recv() {
                    Ok((torrent, action)) => self.on_action(&torrent, action),
                    Err(_) => return,
                },
            }
        }
    }

    /// What a tracker is told.
    fn announcement(&self, torrent: &Torrent, announce: &Announce) -> wire::Announce {
        wire::Announce {
            hash: torrent.hash,
            peer_id: self.engine.peer_id,
            port: self.engine.announced_port(),
            uploaded: announce.stats.uploaded,
            downloaded: announce.stats.downloaded,
            left: announce.stats.left,
            event: announce.event.map(|event| match event {
                TrackerEvent::Started => wire::Event::Started,
                TrackerEvent::Completed => wire::Event::Completed,
                TrackerEvent::Stopped => wire::Event::Stopped,
            }),
            key: announce.key,
            num_want: Some(announce.stats.num_want),
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Crowded(waiting) => self.turn_over(waiting),
            Event::DiskFailed(id, error)
                if matches!(error.kind, DiskErrorKind::Changed | DiskErrorKind::Short) =>
            {
                self.changed(id, &error.to_string());
            }
            Event::DiskFailed(id, error) => {
                let Some(fault) = fault::of_disk(&error) else { return };
                self.disk_failed(id, &error, fault);
            }
            Event::Hashed(id, check) => self.on_hashed(id, &check),
            Event::CompletionTold(id) => self.on_completion_told(id),
            Event::Forgot(ids, done) => self.on_forgot(ids, done),
            Event::Room(device, answer) => self.on_room(device, answer),
            // Of those that many peers found, the first is enough.
            Event::Doubt(id, piece) if self.session.row(id).is_some_and(|row| row.live) => {
                if let Some(entry) = self.entries.get(&id) {
                    let _said = entry.span().entered();
                    tracing::warn!(
                        piece = piece.0,
                        "a piece that a quick check believed is wrong; hashing everything"
                    );
                }
                self.session.verify(self.engine.clock.now(), id);
            }
            Event::Doubt(..) => {}
            Event::Scraped(told) => self.on_scraped(told),
            Event::PeerFound(id, addrs) => self.name_peers(id, &addrs),
            Event::Wake(id, reply) => match self.entries.get(&id).map(|entry| entry.live.clone()) {
                None => drop(reply),
                Some(Some(live)) if !live.is_stopping() => drop(reply.send(Some(live))),
                Some(_) => {
                    let waiting = self.waking.entry(id).or_default();
                    waiting.retain(|other| !other.is_closed());
                    waiting.push(reply);
                    self.wake(id);
                }
            },
        }
    }

    /// Somebody else changed files of the torrent. Many peers find that at once.
    pub(super) fn changed(&mut self, id: TorrentId, why: &str) {
        if !self.session.row(id).is_some_and(|row| row.phase == Phase::Active) {
            return;
        }
        if let Some(entry) = self.entries.get(&id) {
            entry.span().in_scope(|| tracing::warn!(why, "its files are hashed again"));
        }
        self.waking.remove(&id);
        self.session.on_changed(self.engine.clock.now(), id);
        self.touch();
    }

    /// Makes a torrent live that someone waits for; who waits for one that may not be is told so.
    pub(super) fn wake(&mut self, id: TorrentId) {
        self.session.wake(self.engine.clock.now(), id);
        if !self.session.row(id).is_some_and(|row| row.live) {
            self.waking.remove(&id);
        }
    }

    /// Something stands in the torrent's way: the log says so once, the session decides what goes on.
    pub(super) fn fault(&mut self, id: TorrentId, fault: Fault) {
        // Whoever waited for its Swarm did so in vain.
        self.waking.remove(&id);
        // What is left undone then says nothing about the torrent.
        if self.is_stopping() {
            return;
        }
        let known =
            self.session.row(id).and_then(|row| row.fault.as_deref()).is_some_and(|old| *old == fault);
        let was_well = self.is_well(id);
        if !known && let Some(entry) = self.entries.get(&id) {
            entry.span().in_scope(|| tracing::warn!(error = fault.message, "torrent stands"));
        }
        self.session.on_fault(self.engine.clock.now(), id, fault);
        if was_well && !self.is_well(id) {
            self.happened(hooks::Event::Error, id);
        }
        self.touch();
    }

    /// Whether nothing stands in the torrent's way, nor did when it was last tried.
    fn is_well(&self, id: TorrentId) -> bool {
        self.session.row(id).is_some_and(|row| row.trouble().is_none())
    }

    /// The torrent's Swarm panicked: it is taken down, the others go on.
    pub(super) fn on_broken(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get(&id) else { return };
        // One that was replaced meanwhile is no matter.
        match &entry.live {
            Some(live) if live.broken_told.load(Ordering::Relaxed) => live.stop(),
            _ => return,
        }
        let message = crate::torrent::Broken.to_string();
        self.fault(id, Fault { kind: FaultKind::Broken, message });
    }
}

fn retry_of(failure: &TrackerError) -> Retry {
    match failure.retry() {
        None => Retry::BackOff,
        Some(wire::Retry::Never) => Retry::Never,
        Some(wire::Retry::After(wait)) => Retry::After(wait),
    }
}

fn outcome_of(reply: &wire::AnnounceReply) -> Answer {
    Answer {
        interval: reply.interval,
        min_interval: reply.min_interval,
        tracker_id: reply.tracker_id.clone(),
        seeders: reply.counts.seeders,
        leechers: reply.counts.leechers,
        downloaded: reply.counts.completed,
        peers: reply.peers.len(),
        warning: reply.warning.clone(),
    }
}
