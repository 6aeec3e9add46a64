//! The trackers' side of the Swarm (BEP 3, 12).
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Action, Swarm};
use crate::peer::CloseReason;
use crate::peer_mgr::Source;
use crate::status::Counters;
use crate::time::Time;
use crate::tracker::{AnnounceId, Answered, Outcome, Policy, Retry, Stats, TrackerList, TrackerStatus};

/// Peers asked for in an announce while we want more.
const NUM_WANT: u32 = 100;
/// With fewer connections and known addresses than this, trackers are asked again early.
const HUNGRY_BELOW: usize = 20;

/// Bytes that trackers are told are missing while the metadata is: one block, as other clients say.
const UNKNOWN_LEFT: u64 = wgo_proto::BLOCK_LEN as u64;

/// What the trackers know of a torrent, kept while it sleeps: they hear `started` and `stopped` once
/// for all its naps (BEP 3).
#[derive(Debug)]
pub struct TrackerMemory {
    trackers: TrackerList,
    began_with: Counters,
}

impl TrackerMemory {
    /// Every tracker, for the operator.
    pub fn statuses(&self) -> Vec<TrackerStatus> {
        self.trackers.statuses()
    }

    /// As [`Swarm::set_online`]: whoever is to be asked then is when the torrent wakes.
    pub fn set_online(&mut self, now: Time, online: bool) {
        self.trackers.set_online(now, online);
    }

    /// When a tracker is to be told next.
    pub fn next_announce(&self) -> Option<Time> {
        self.trackers.poll_timeout()
    }

    /// As [`Swarm::set_trackers`], heard of when the torrent wakes.
    pub fn set_trackers(&mut self, tiers: &[Vec<Arc<str>>]) {
        self.trackers.replace(tiers);
    }
}

impl<B> Swarm<B> {
    /// Hands out what the trackers know, for a Swarm that is about to be dropped while its torrent
    /// stays active.
    pub fn suspend_trackers(&mut self) -> TrackerMemory {
        let none = TrackerList::new(&[], Policy::default(), 0);
        TrackerMemory { trackers: std::mem::replace(&mut self.trackers, none), began_with: self.began_with }
    }

    /// Goes on with what an earlier Swarm of the torrent told them.
    pub fn resume_trackers(&mut self, memory: TrackerMemory) {
        self.trackers = memory.trackers;
        self.began_with = memory.began_with;
    }

    /// Tells the trackers' list whether more peers would help.
    pub(super) fn update_hunger(&mut self) {
        let hungry = self.lacks_sources() && self.peer_mgr.counts().candidates < HUNGRY_BELOW;
        self.trackers.set_hungry(hungry);
    }

    pub(super) fn announce_due(&mut self, now: Time) {
        if self.trackers.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        self.update_hunger();
        let totals = self.traffic.counters() - self.began_with;
        let stats = Stats {
            uploaded: totals.uploaded,
            downloaded: totals.downloaded,
            // Nobody knows how much; but not nothing, which seeds say.
            left: if self.is_unknown() { UNKNOWN_LEFT } else { self.layout.total_len() - self.have_bytes },
            num_want: if self.wants_peers() { NUM_WANT } else { 0 },
        };
        while let Some(announce) = self.trackers.next_announce(now, &stats) {
            self.act(Action::Announce(announce));
        }
    }

    /// A tracker answered.
    pub fn on_announced(&mut self, now: Time, id: AnnounceId, outcome: &Outcome, peers: &[SocketAddr]) {
        let answered = self.trackers.on_success(now, id, outcome);
        if answered == Answered::Moved {
            // Nobody may be a bridge between the peers of two private trackers (BEP 27).
            self.peer_mgr.forget_all();
            self.close_all(&CloseReason::OtherTracker);
        }
        // A torrent that has ended has no clock any more: what it still owes goes out here.
        self.announce_due(now);
        if answered != Answered::Unused {
            self.add_candidates(now, peers.iter().copied(), Source::Tracker);
        }
    }

    /// A tracker could not be reached or refused us; `reason` is for the operator.
    pub fn on_announce_failed(&mut self, now: Time, id: AnnounceId, reason: &str, retry: Retry) {
        self.trackers.on_failure(now, id, reason, retry);
        self.announce_due(now);
    }

    /// The torrent became complete, and durably so: the trackers hear `completed`.
    pub fn announce_completed(&mut self, now: Time) {
        self.trackers.completed();
        self.announce_due(now);
    }

    /// We leave: the trackers hear `stopped`.
    pub fn announce_stopped(&mut self, now: Time) {
        self.trackers.stop();
        self.announce_due(now);
    }

    /// Whether no announce is under way or owed.
    pub fn trackers_quiet(&self) -> bool {
        self.trackers.is_quiet()
    }

    /// The operator wants peers now, as far as the trackers' floors allow.
    pub fn announce_now(&mut self, now: Time) {
        self.trackers.announce_now(now);
        self.announce_due(now);
    }

    /// Others reach us on this port from now on: peers to come hear it, and trackers as soon as they may be asked.
    pub fn set_listen_port(&mut self, now: Time, port: u16) {
        if port != std::mem::replace(&mut self.config.listen_port, port) {
            self.announce_now(now);
        }
    }

    /// Other trackers from now on: new ones hear that we join, those that are none any more that we leave.
    pub fn set_trackers(&mut self, now: Time, tiers: &[Vec<Arc<str>>]) {
        self.trackers.replace(tiers);
        self.announce_due(now);
    }

    /// When a tracker is to be told next.
    pub fn next_announce(&self) -> Option<Time> {
        self.trackers.poll_timeout()
    }

    /// Every tracker, for the operator.
    pub fn tracker_statuses(&self) -> Vec<TrackerStatus> {
        self.trackers.statuses()
    }
}
