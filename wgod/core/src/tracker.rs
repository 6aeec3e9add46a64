//! Tracker: which tracker to announce to, when, and with which event (BEP 3, BEP 12, BEP 31).
//!
//! The Swarm keeps one [`TrackerList`], asks [`TrackerList::next_announce`] at
//! [`TrackerList::poll_timeout`] and hands what it returns to the shell's HTTP and UDP drivers, which answer with
//! [`TrackerList::on_success`] or [`TrackerList::on_failure`]. Peers from an answer go to the PeerMgr,
//! not through here.
//!
//! Within a tier one tracker is used at a time, in an order shuffled once; one that answers moves to
//! the front, the next is tried when it fails (BEP 12). Private torrents use one tracker of all (BEP 27);
//! when another one answers than before, the Swarm drops the peers of the old one.
mod entry;
mod one;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::Time;
use entry::{Sent, Tracker};
pub use entry::{State, TrackerStatus};
pub use one::Answered;

/// URLs of trackers in their tiers (BEP 12), which torrents share.
pub type Tiers = Arc<[Vec<Arc<str>>]>;

/// Trackers of one torrent; more are ignored. A metainfo or a magnet link may name any number, and each
/// costs memory and announces.
pub const MAX_TRACKERS: usize = 128;

/// An announce without an answer by then counts as failed, whatever became of its driver. Drivers give
/// up earlier by themselves; most of it is time to wait in line with thousands of others for one tracker.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(900);

/// Least time between two announces to one tracker at the operator's request.
const MANUAL_FLOOR: Duration = Duration::from_secs(30);

/// The same where the network has come back: one that comes and goes is no reason to ask ever again.
const ONLINE_FLOOR: Duration = Duration::from_secs(10);

/// One tracker of one list, whatever place it has. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(u32);

/// One announce. An answer that comes after its time-out matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceId {
    /// To whom.
    pub tracker: TrackerId,
    attempt: u32,
}

/// What an announce tells beside the numbers (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// We join the swarm.
    Started,
    /// The last piece came during this session.
    Completed,
    /// We leave.
    Stopped,
}

/// The Swarm's numbers at the time of sending (BEP 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Bytes still missing. Before the metadata is known: anything above zero.
    pub left: u64,
    /// How many peers we would like.
    pub num_want: u32,
}

/// An announce for a driver to send. One at a time is under way to each tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// To be named in the answer.
    pub id: AnnounceId,
    /// Where to, as the metainfo has it.
    pub url: Arc<str>,
    /// None for one of the regular announces.
    pub event: Option<Event>,
    /// As given to `next_announce`; `num_want` is zero when we leave.
    pub stats: Stats,
    /// Proves who we are if our address changes; the same for all trackers and all the session (BEP 7).
    pub key: u32,
    /// What this tracker asked us to send back (BEP 3, `trackerid`).
    pub tracker_id: Option<Arc<[u8]>>,
}

/// A tracker's answer, without the peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Time to wait until the next regular announce.
    pub interval: Option<Duration>,
    /// Time to wait at least.
    pub min_interval: Option<Duration>,
    /// To be sent back from now on.
    pub tracker_id: Option<Vec<u8>>,
    /// Complete peers (BEP 3, `complete`).
    pub seeders: Option<u32>,
    /// Incomplete peers (`incomplete`).
    pub leechers: Option<u32>,
    /// Completed downloads (`downloaded`).
    pub downloaded: Option<u32>,
    /// Peers in the answer.
    pub peers: usize,
    /// `warning message`, for the operator.
    pub warning: Option<String>,
}

/// When a tracker that failed may be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It did not say: exponential back-off.
    BackOff,
    /// It said so (BEP 31, `retry in`).
    After(Duration),
    /// Never (BEP 31), or the URL is of no use. Disabled until it is removed and added again.
    Never,
}

/// Which of the trackers are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The working tracker of each tier.
    ///
    /// BEP 12 means later tiers as backups. Yet magnet links and most public torrents put each tracker in
    /// a tier of its own, where the letter of the BEP would leave all but one unused and a swarm split
    /// between them; so this is the default, as in most clients.
    #[default]
    AllTiers,
    /// That of the first tier that has one (BEP 12).
    FirstTier,
    /// The one that answered last, until it fails: for private torrents (BEP 27).
    OneTracker,
}

/// The trackers of one torrent.
#[derive(Debug)]
pub struct TrackerList {
    policy: Policy,
    rng: fastrand::Rng,
    key: u32,
    /// In tiers, or on their way out; at most [`MAX_TRACKERS`] of the former. In the order of their ids. Not
    /// a map, whose nodes hold room for eleven: most torrents have one or two, and thousands of torrents
    /// keep their list while they sleep.
    trackers: Vec<Tracker>,
    /// No tier is empty.
    tiers: Vec<Vec<TrackerId>>,
    next_id: u32,
    running: bool,
    /// Whether there is a network: without one nobody is asked.
    online: bool,
    finished: bool,
    hungry: bool,
    /// The tracker that is used, by [`Policy::OneTracker`]: the last that answered. It may be none of the list
    /// any more.
    used: Option<TrackerId>,
    /// What `poll_timeout` returns; kept, since it is asked far more often than anything changes.
    due: Option<Time>,
}

impl TrackerList {
    /// Trackers in tiers as the metainfo gives them, each tier shuffled with `seed` (BEP 12). Doubled
    /// URLs count once. Due at once.
    pub fn new(tiers: &[Vec<Arc<str>>], policy: Policy, seed: u64) -> TrackerList {
        let mut rng = fastrand::Rng::with_seed(seed);
        let key = rng.u32(..);
        let mut list = TrackerList {
            policy,
            rng,
            key,
            trackers: Vec::new(),
            tiers: Vec::new(),
            next_id: 0,
            running: true,
            online: true,
            finished: false,
            hungry: false,
            used: None,
            due: None,
        };
        list.set_tiers(tiers);
        list.rearm();
        list
    }

    /// The next announce that is due, with `stats` as they are now. Call until `None`.
    pub fn next_announce(&mut self, now: Time, stats: &Stats) -> Option<Announce> {
        self.expire(now);
        let next = self.schedule().filter(|&(at, _)| at <= now).min();
        let announce = next.map(|(_, id)| {
            let at = self.place(id).expect("the schedule names trackers that exist");
            let tracker = &mut self.trackers[at];
            let farewell = !self.running || tracker.leaving || tracker.left;
            let event = tracker.event(farewell, self.finished);
            let attempt = tracker.send(
                now,
                Sent { deadline: now + ANSWER_TIMEOUT, event, left: stats.left, farewell, attempt: 0 },
            );
            let num_want = if farewell { 0 } else { stats.num_want };
            Announce {
                id: AnnounceId { tracker: id, attempt },
                url: tracker.url.clone(),
                event,
                stats: Stats { num_want, ..*stats },
                key: self.key,
                tracker_id: tracker.tracker_id.clone(),
            }
        });
        self.rearm();
        announce
    }

    /// The tracker answered.
    pub fn on_success(&mut self, now: Time, id: AnnounceId, outcome: &Outcome) -> Answered {
        let sent = self.get_mut(id.tracker).and_then(|tracker| tracker.succeed(now, id.attempt, outcome));
        let mut answered = Answered::AsBefore;
        // One that we take our leave of is used no more for saying good-bye.
        if sent.is_some_and(|sent| !sent.farewell) {
            for tier in &mut self.tiers {
                if let Some(position) = tier.iter().position(|&other| other == id.tracker) {
                    tier[..=position].rotate_right(1);
                }
            }
            answered = self.use_only(id.tracker);
        } else if self.policy == Policy::OneTracker && self.used != Some(id.tracker) {
            answered = Answered::Unused;
        }
        self.forget_if_gone(id.tracker);
        self.rearm();
        answered
    }

    /// The tracker could not be reached, refused us, or made no sense; `reason` is for the operator.
    pub fn on_failure(&mut self, now: Time, id: AnnounceId, reason: &str, retry: Retry) {
        let Ok(at) = self.place(id.tracker) else { return };
        self.trackers[at].fail(now, id.attempt, reason, retry, &mut self.rng);
        self.forget_if_gone(id.tracker);
        self.rearm();
    }

    /// The torrent became complete in this session. Each tracker that has heard us as incomplete is told
    /// once, at once.
    pub fn completed(&mut self) {
        self.finished = true;
        self.rearm();
    }

    /// Whether the Swarm has fewer peers than it could use. While it has, trackers are asked again as
    /// early as their minimum interval allows, then after twice that and so on up to the interval.
    pub fn set_hungry(&mut self, hungry: bool) {
        if self.hungry != hungry {
            self.hungry = hungry;
            self.trackers.iter_mut().for_each(Tracker::reset_early);
            self.rearm();
        }
    }

    /// The operator wants an announce now: past back-off and intervals, but never sooner than 30 s after
    /// the last to the same tracker.
    pub fn announce_now(&mut self, now: Time) {
        for tracker in &mut self.trackers {
            tracker.hurry(now, MANUAL_FLOOR);
        }
        self.rearm();
    }

    /// The network is gone, or back, perhaps with another address of ours. While it is gone nobody is asked, and what
    /// was under way comes to nothing without counting as a failure. When it is back everybody is asked again, past
    /// back-off and intervals, but never sooner than 10 s after the last time.
    pub fn set_online(&mut self, now: Time, online: bool) {
        if std::mem::replace(&mut self.online, online) == online {
            return;
        }
        for tracker in &mut self.trackers {
            match online {
                true => tracker.hurry(now, ONLINE_FLOOR),
                false => tracker.give_up(now),
            }
        }
        self.forget_gone();
        self.rearm();
    }

    /// We leave: `stopped` becomes due for each tracker that has heard `started`, once, whether or not
    /// it answers, after a `completed` that it has yet to hear.
    pub fn stop(&mut self) {
        self.running = false;
        self.rearm();
    }

    /// We are back after [`TrackerList::stop`]: `started` again, without the failures of before.
    pub fn start(&mut self, now: Time) {
        self.running = true;
        self.finished = false;
        self.used = None;
        self.trackers.iter_mut().for_each(|tracker| tracker.restart(now));
        self.forget_gone();
        self.rearm();
    }

    /// Whether all is said: nothing under way and, after [`TrackerList::stop`], nobody left to tell.
    pub fn is_quiet(&self) -> bool {
        let silent =
            |tracker: &Tracker| tracker.in_flight.is_none() && (self.running || !tracker.heard.started);
        self.trackers.iter().all(silent)
    }

    /// Changes the policy. By [`Policy::OneTracker`] the first that works is used, and the others hear that we leave.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        if policy == Policy::OneTracker {
            self.settle();
        }
        self.rearm();
    }

    /// Adds a tracker at the end of a tier, or in a new last tier. One that is there already stays where
    /// it is; `None` when there are [`MAX_TRACKERS`].
    pub fn add(&mut self, url: impl Into<Arc<str>>, tier: usize) -> Option<TrackerId> {
        let tier = tier.min(self.tiers.len());
        let id = self.insert(url.into(), tier);
        self.rearm();
        id
    }

    /// Removes a tracker, which is told so if it has heard of us. `false` if it isn't there.
    pub fn remove(&mut self, id: TrackerId) -> bool {
        let there = self.tiers.iter().any(|tier| tier.contains(&id));
        self.tiers.iter_mut().for_each(|tier| tier.retain(|&other| other != id));
        self.tiers.retain(|tier| !tier.is_empty());
        if let Some(tracker) = self.get_mut(id) {
            tracker.leaving = true;
        }
        self.forget_if_gone(id);
        self.rearm();
        there
    }

    /// Replaces all trackers; those that stay keep what they know of us and we of them.
    pub fn replace(&mut self, tiers: &[Vec<Arc<str>>]) {
        self.tiers.clear();
        self.trackers.iter_mut().for_each(|tracker| tracker.leaving = true);
        self.set_tiers(tiers);
        self.forget_gone();
        self.rearm();
    }

    /// When to call `next_announce` at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// Every tracker, tier by tier, in the order in which they would be tried.
    pub fn statuses(&self) -> Vec<TrackerStatus> {
        let due: BTreeMap<_, _> = self.schedule().map(|(at, id)| (id, at)).collect();
        let places = (0..).zip(&self.tiers).flat_map(|(tier, ids)| ids.iter().map(move |id| (tier, *id)));
        places.map(|(tier, id)| self.tracker(id).status(tier, due.get(&id).copied())).collect()
    }

    fn set_tiers(&mut self, tiers: &[Vec<Arc<str>>]) {
        // Exactly: lists are kept of all torrents.
        self.trackers.reserve_exact(tiers.iter().map(Vec::len).sum::<usize>().min(MAX_TRACKERS));
        self.tiers.reserve_exact(tiers.len().min(MAX_TRACKERS));
        for urls in tiers {
            let tier = self.tiers.len();
            for url in urls {
                self.insert(url.clone(), tier);
            }
            if let Some(ids) = self.tiers.get_mut(tier) {
                self.rng.shuffle(ids);
            }
        }
    }

    fn insert(&mut self, url: Arc<str>, tier: usize) -> Option<TrackerId> {
        let known = self.trackers.iter_mut().find(|tracker| tracker.url == url);
        let id = match known {
            Some(tracker) if !tracker.leaving => return Some(tracker.id),
            _ if self.tiers.iter().map(Vec::len).sum::<usize>() >= MAX_TRACKERS => return None,
            Some(tracker) => {
                tracker.leaving = false;
                tracker.id
            }
            None => {
                let id = TrackerId(self.next_id);
                self.next_id += 1;
                self.trackers.push(Tracker::new(id, url));
                id
            }
        };
        match self.tiers.get_mut(tier) {
            Some(ids) => ids.push(id),
            None => self.tiers.push(vec![id]),
        }
        Some(id)
    }

    /// Announces that are wanted, and from when on.
    fn schedule(&self) -> impl Iterator<Item = (Time, TrackerId)> {
        let farewell = |tracker: &Tracker| {
            let owed = (!self.running || tracker.leaving || tracker.left) && tracker.heard.started;
            (owed && tracker.in_flight.is_none()).then_some((Time::ZERO, tracker.id))
        };
        let mut served = false;
        let one = self.policy == Policy::OneTracker;
        let asks = self.running && self.online;
        let tiers = if asks && !one { &self.tiers[..] } else { &[] };
        let regular = tiers.iter().filter_map(move |tier| {
            if served && self.policy == Policy::FirstTier {
                return None;
            }
            let (next, works) = self.of_tier(tier);
            served = works;
            next
        });
        let only = (asks && one).then(|| self.next_of_one()).flatten();
        self.trackers.iter().filter_map(farewell).chain(only).chain(regular)
    }

    /// The next announce in a tier, and whether the tier needs no backup: its tracker works or is yet to
    /// be heard.
    fn of_tier(&self, tier: &[TrackerId]) -> (Option<(Time, TrackerId)>, bool) {
        let usable = || tier.iter().map(|id| self.tracker(*id)).filter(|tracker| !tracker.disabled);
        if let Some(busy) = usable().find(|tracker| tracker.in_flight.is_some()) {
            return (None, busy.fails == 0);
        }
        let due = |tracker: &Tracker| (tracker.due(self.finished, self.hungry), tracker.id);
        match usable().find(|tracker| tracker.fails == 0) {
            Some(good) => (Some(due(good)), true),
            None => (usable().map(due).min(), false),
        }
    }

    fn expire(&mut self, now: Time) {
        let late = |tracker: &Tracker| {
            tracker.in_flight.as_ref().filter(|sent| sent.deadline <= now).map(|s| s.attempt)
        };
        let lost: Vec<_> = self.trackers.iter().filter_map(|t| Some((t.id, late(t)?))).collect();
        for (tracker, attempt) in lost {
            self.on_failure(now, AnnounceId { tracker, attempt }, "no answer in time", Retry::BackOff);
        }
    }

    fn forget_gone(&mut self) {
        self.trackers.retain(|tracker| !tracker.is_gone());
    }

    fn forget_if_gone(&mut self, id: TrackerId) {
        self.trackers.retain(|tracker| tracker.id != id || !tracker.is_gone());
    }

    fn place(&self, id: TrackerId) -> Result<usize, usize> {
        self.trackers.binary_search_by_key(&id, |tracker| tracker.id)
    }

    fn get_mut(&mut self, id: TrackerId) -> Option<&mut Tracker> {
        let at = self.place(id).ok()?;
        self.trackers.get_mut(at)
    }

    /// One that is in a tier.
    fn tracker(&self, id: TrackerId) -> &Tracker {
        let at = self.place(id).expect("tiers name trackers that exist");
        &self.trackers[at]
    }

    fn rearm(&mut self) {
        let lost = self.trackers.iter().filter_map(|tracker| Some(tracker.in_flight.as_ref()?.deadline));
        self.due = self.schedule().map(|(at, _)| at).chain(lost).min();
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        let mut placed: Vec<_> = self.tiers.iter().flatten().copied().collect();
        assert!(placed.len() <= MAX_TRACKERS);
        assert!(self.tiers.iter().all(|tier| !tier.is_empty()));
        placed.sort();
        let staying: Vec<_> = self.trackers.iter().filter(|t| !t.leaving).map(|t| t.id).collect();
        assert_eq!(placed, staying, "a tracker is in exactly one tier or on its way out");
        assert!(!self.trackers.iter().any(Tracker::is_gone));
        assert!(self.trackers.is_sorted_by_key(|tracker| tracker.id));
        let lost = self.trackers.iter().filter_map(|tracker| Some(tracker.in_flight.as_ref()?.deadline));
        assert_eq!(self.due, self.schedule().map(|(at, _)| at).chain(lost).min());
    }
}
