//! The simulated trackers: who is in which swarm, what each heard, and whether that is what BEP 3 says it should.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::swarm::{Action, Swarm};
use wgo_core::tracker::{Announce, Event, Outcome, Retry};
use wgo_core::{Time, TorrentId};

use crate::sim::link::NodeId;
use crate::sim::node::Payload;
use crate::sim::world::{Event as Happening, World};

/// An announce takes less to come to its tracker.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// What trackers ask for is less than the minute that everybody leaves them in peace.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// One that did not answer is asked again after a quarter of a minute, a quarter less.
const RETRY: Duration = Duration::from_secs(11);
/// Who leaves has said so within this time.
const FAREWELL: Duration = Duration::from_secs(30);

/// A session that has to end with a word.
#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    who: (TorrentId, NodeId, u32),
    since: Time,
}

/// What a tracker knows of each torrent, and what it heard from whom.
#[derive(Default)]
pub struct Tracker {
    pub peers: BTreeMap<TorrentId, BTreeSet<NodeId>>,
    pub events: BTreeMap<(TorrentId, NodeId), Vec<Event>>,
    pub down: bool,
    /// When it was down last.
    pub down_at: Option<Time>,
    /// Of a hundred answers so many are lost on their way.
    pub answers_lost: u32,
    /// What it heard in each session of each torrent, by the session's key.
    pub sessions: BTreeMap<(TorrentId, NodeId, u32), Heard>,
}

/// What a tracker heard in one session.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub last: Option<Event>,
    pub last_at: Time,
    /// By the clock of whoever spoke.
    said_at: Option<Time>,
    /// Whoever spoke is dead.
    pub gone: bool,
    /// Its last answer did not arrive: the same may come once more.
    pub unsure: bool,
    pub started: bool,
    pub completed: bool,
    pub stopped: bool,
    /// Something was missing when it was first heard.
    pub incomplete: bool,
}

impl Heard {
    /// BEP 3: `started` comes first, `completed` once and never of who began complete, `stopped` last.
    fn hear(&mut self, who: NodeId, now: Time, announce: &Announce) {
        if let (None, Some(before)) = (announce.event, self.said_at) {
            let (least, pause) = (if self.unsure { RETRY } else { MIN_INTERVAL }, now.since(before));
            assert!(pause + UNDER_WAY >= least, "node {who} announces after {pause:?}: {self:?}");
        }
        self.said_at = Some(now);
        let repeats = self.unsure && announce.event == self.last;
        match announce.event {
            Some(Event::Started) => {
                // Who had left for another tracker may be back.
                assert!(!self.started || self.stopped || repeats, "node {who} starts twice: {self:?}");
                self.incomplete |= announce.stats.left > 0;
                (self.started, self.stopped) = (true, false);
            }
            event => {
                assert!(self.started, "node {who} says {event:?} before it starts");
                assert!(!self.stopped || repeats, "node {who} says {event:?} after it stopped: {self:?}");
                self.incomplete |= announce.stats.left > 0;
            }
        }
        match announce.event {
            Some(Event::Completed) => {
                assert!(!self.completed || repeats, "node {who} completes twice: {self:?}");
                assert!(self.incomplete, "node {who} completes what was complete when it began");
                assert_eq!(announce.stats.left, 0, "node {who} completes with bytes left");
                self.completed = true;
            }
            Some(Event::Stopped) => self.stopped = true,
            _ => {}
        }
        self.last = announce.event;
        self.unsure = false;
    }
}

impl World {
    fn tracker_at(&mut self, url: &str) -> &mut Tracker {
        if url.starts_with("http://other.") { &mut self.other_tracker } else { &mut self.tracker }
    }

    /// A node has stood still, or its clock has jumped: an answer under way to it may come too late by that.
    pub fn doubt_answers(&mut self, node: NodeId) {
        self.nodes[node].jumped = Some(self.now);
        for tracker in [&mut self.tracker, &mut self.other_tracker] {
            let of_it = |((_, of, _), _): &(&(TorrentId, NodeId, u32), &mut Heard)| *of == node;
            tracker.sessions.iter_mut().filter(of_it).for_each(|(_, heard)| heard.unsure = true);
        }
    }

    /// The tracker hears an announce and answers with some of the others.
    pub fn announced(&mut self, node: NodeId, id: TorrentId, announce: Announce, epoch: u32) {
        let down = self.tracker_at(&announce.url).down;
        self.tell(Some(node), || {
            let (event, left) = (announce.event, announce.stats.left);
            format!("announces torrent {}: {event:?}, left {left}, tracker down: {down}", id.0)
        });
        if down {
            if announce.event == Some(Event::Stopped) {
                // There is no second try. Whoever comes back starts anew.
                let tracker = self.tracker_at(&announce.url);
                tracker.sessions.entry((id, node, announce.key)).or_default().stopped = true;
            }
            return self.answered(node, id, epoch, |s, now| {
                s.on_announce_failed(now, announce.id, "down", Retry::BackOff);
            });
        }
        let lost = self.tracker_at(&announce.url).answers_lost;
        let lost = lost > 0 && self.rng.u32(..100) < lost;
        let (now, clock) = (self.now, self.clock(node));
        let jumped = self.nodes[node].jumped.is_some_and(|at| now.since(at) < UNDER_WAY);
        let tracker = self.tracker_at(&announce.url);
        let heard = tracker.sessions.entry((id, node, announce.key)).or_default();
        heard.hear(node, clock, &announce);
        (heard.unsure, heard.last_at) = (lost || jumped, now);
        let peers = tracker.peers.entry(id).or_default();
        match announce.event {
            Some(Event::Stopped) => peers.remove(&node),
            _ => peers.insert(node),
        };
        let mut others: Vec<NodeId> = peers.iter().copied().filter(|other| *other != node).collect();
        tracker.events.entry((id, node)).or_default().extend(announce.event);
        self.rng.shuffle(&mut others);
        // Whoever wants nobody may be told of somebody nevertheless.
        let want = (announce.stats.num_want as usize).max(2);
        let addrs: Vec<_> = others.into_iter().take(want).map(|other| self.nodes[other].addr).collect();
        if lost {
            return self.answered(node, id, epoch, |s, now| {
                s.on_announce_failed(now, announce.id, "timed out", Retry::BackOff);
            });
        }
        let outcome = Outcome {
            interval: Some(Duration::from_secs(60)),
            min_interval: Some(Duration::from_secs(10)),
            peers: addrs.len(),
            ..Outcome::default()
        };
        // One that is told good-bye is not used any more.
        if self.epoch(node, id) == epoch
            && announce.event != Some(Event::Stopped)
            && let Some(entry) = self.nodes[node].torrents.get_mut(&id)
        {
            // Another one begins with that; one that hears more before it is told good-bye is used no more.
            let begins = announce.event == Some(Event::Started) || entry.named_by.is_none();
            let before = entry.named_by.take_if(|_| begins);
            // Whoever came before any had answered came by one of them.
            if before.is_some_and(|before| before != announce.url) {
                entry.named.clear();
            }
            if *entry.named_by.get_or_insert_with(|| announce.url.clone()) == announce.url {
                entry.named.extend(&addrs);
            }
        }
        self.answered(node, id, epoch, |s, now| s.on_announced(now, announce.id, &outcome, &addrs));
    }

    /// A Swarm hears an answer: the live one, or one that is over but for this.
    fn answered(
        &mut self,
        node: NodeId,
        id: TorrentId,
        epoch: u32,
        f: impl FnOnce(&mut Swarm<Payload>, Time),
    ) {
        if self.epoch(node, id) == epoch {
            self.call(node, id, f);
            return;
        }
        let now = self.clock(node);
        let Some(mut swarm) = self.nodes[node].leaving.remove(&(id, epoch)) else { return };
        f(&mut swarm, now);
        while let Some(action) = swarm.poll_action() {
            if let Action::Announce(announce) = action {
                let wait = self.millis(10, 120);
                self.after(wait, Happening::Announce(node, id, announce, epoch));
            }
        }
        if !swarm.trackers_quiet() {
            self.nodes[node].leaving.insert((id, epoch), swarm);
        }
    }

    /// What sleeps wakes once more, to tell its trackers that it leaves.
    pub fn part_from_trackers(&mut self, node: NodeId, id: TorrentId) {
        let Some(entry) = self.nodes[node].torrents.get(&id) else { return };
        if entry.live.is_some() || entry.trackers.is_none() {
            return;
        }
        self.make(node, id);
        self.call(node, id, |swarm, now| swarm.announce_stopped(now));
        self.save(node, id);
    }

    /// A node leaves a torrent, in order: the first tracker, if it is there, is to hear that.
    pub fn note_leaving(&mut self, node: NodeId, id: TorrentId) {
        let of_it = |((of, who, _), _): &(&(TorrentId, NodeId, u32), &Heard)| (*of, *who) == (id, node);
        let latest = self.tracker.sessions.iter().filter(of_it).max_by_key(|(_, heard)| heard.last_at);
        let speaks = latest.filter(|(_, heard)| heard.started && !heard.stopped && !heard.gone);
        if let Some((who, _)) = speaks.filter(|_| !self.tracker.down) {
            self.farewells.push(Farewell { who: *who, since: self.now });
        }
    }

    /// Whoever left a while ago has said so, unless the tracker was down or the machine was suspended meanwhile.
    pub fn check_leaving(&mut self) {
        let (due, rest) = std::mem::take(&mut self.farewells)
            .into_iter()
            .partition(|farewell: &Farewell| self.now.since(farewell.since) >= FAREWELL);
        self.farewells = rest;
        for Farewell { who, since } in due {
            let meanwhile = |at: Option<Time>| at.is_some_and(|at| at >= since);
            let one = &self.nodes[who.1];
            let excused = meanwhile(self.tracker.down_at) || meanwhile(one.jumped) || self.is_frozen(who.1);
            let heard = &self.tracker.sessions[&who];
            // Whoever never had an answer does not know that it was heard.
            let excused = excused || heard.unsure;
            assert!(excused || heard.gone || heard.stopped, "node {} left without a word: {heard:?}", who.1);
        }
    }

    /// Of a private torrent nobody is dialled but whom the tracker in use named (BEP 27).
    pub fn check_dial(&self, node: NodeId, id: TorrentId, addr: SocketAddr) {
        let entry = &self.nodes[node].torrents[&id];
        let allowed = !self.content(id).private || entry.named.contains(&addr);
        assert!(allowed, "node {node} dials {addr}, which {:?} didn't name", entry.named_by);
    }

    /// Everybody who has left the swarms of the first tracker, which was there all the while, has said so.
    pub fn check_farewells(&self, left: &[NodeId], since: Time) {
        let mut latest = BTreeMap::new();
        for ((id, node, _), heard) in &self.tracker.sessions {
            let known: &mut &Heard = latest.entry((id, node)).or_insert(heard);
            if heard.last_at >= known.last_at {
                *known = heard;
            }
        }
        latest.retain(|(_, node), heard| left.contains(node) && heard.last_at >= since);
        for ((id, node), heard) in latest {
            assert!(heard.stopped, "node {node} left {id:?} without a word: {heard:?}");
        }
    }
}
