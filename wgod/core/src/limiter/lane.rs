//! One direction of the limiter: the global bucket, the torrents that share it fairly, their flows.
//!
//! A class of torrents (a label, the local network) would be a level between: a bucket of its own and
//! a [`Shares`] of torrents each, with a `Shares` of classes above.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Grant;
use super::bucket::Bucket;
use super::slab::Slab;
use crate::{ByteRate, Time, TorrentId};

/// How long after its last grant a torrent with nothing queued still counts as busy with it, so that
/// torrents ahead of it leave it some credit.
const GRACE: Duration = Duration::from_millis(20);

/// Slot and serial number of a flow.
pub(super) type FlowKey = (u32, u64);

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The latest time anyone told us.
    now: Time,
    global: Option<Bucket>,
    torrents: Slab<Torrent>,
    by_id: BTreeMap<TorrentId, u32>,
    flows: Slab<Flow>,
    shares: Shares,
    /// When those in `Shares::waiting` are to be served; meaningless while there are none.
    wake: Option<Time>,
    /// Counts flows and requests, so that both have an order and no two are alike.
    serial: u64,
    /// The `fresh` of the last torrent that was added.
    added: u32,
}

#[derive(Debug)]
struct Torrent {
    id: TorrentId,
    bucket: Option<Bucket>,
    /// Open flows.
    flows: usize,
    /// Waiting flows by the number of their request: first come, first served.
    queue: BTreeMap<u64, u32>,
    /// Bytes that it has had under the global limit, as a place on the shared scale of `Shares::clock`.
    served: u64,
    served_at: Time,
    /// Has not competed yet; how much later it begins than others, in parts of 2^32 ([`Bucket::stagger`]).
    fresh: Option<u32>,
    place: Place,
}

#[derive(Debug)]
struct Flow {
    serial: u64,
    torrent: u32,
    request: Option<Request>,
    /// The last grant, which bounds what may be given back.
    granted: u32,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    number: u64,
    want: u32,
}

/// Where a torrent stands. With flows queued it is in one of the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Idle,
    /// Had a grant lately and has nothing queued.
    Busy,
    /// Its turn comes by how much it was served.
    Waiting,
    /// Its own limit holds it until then.
    Held(Time),
    /// Its own limit is zero.
    Stopped,
}

/// Who gets the next bytes: the deficits of the round-robin. Each set is ordered by what counts in it.
#[derive(Debug, Default)]
struct Shares {
    waiting: BTreeSet<(u64, u32)>,
    busy: BTreeSet<(u64, u32)>,
    held: BTreeSet<(Time, u32)>,
    /// How much the torrents that keep up have been served.
    clock: u64,
}

impl Lane {
    pub(super) fn set_global(&mut self, now: Time, limit: Option<ByteRate>) {
        self.now = self.now.max(now);
        match (&mut self.global, limit) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate, !self.shares.waiting.is_empty()),
            (global, limit) => *global = limit.map(|rate| Bucket::new(now, rate)),
        }
        self.wake = None;
        self.rearm();
    }

    pub(super) fn set_torrent(&mut self, now: Time, id: TorrentId, limit: Option<ByteRate>) {
        self.now = self.now.max(now);
        let Some(t) = self.by_id.get(&id).copied().or_else(|| limit.map(|_| self.add_torrent(id))) else {
            return;
        };
        let torrent = &mut self.torrents[t];
        match (&mut torrent.bucket, limit) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate, !torrent.queue.is_empty()),
            (bucket, limit) => *bucket = limit.map(|rate| Bucket::new(now, rate)),
        }
        if matches!(torrent.place, Place::Held(_) | Place::Stopped) {
            self.rejoin(t);
            self.put(t, Place::Waiting);
            self.rearm();
        }
        self.forget_if_unused(t);
    }

    pub(super) fn limit(&self, id: TorrentId) -> Option<ByteRate> {
        let own = self.by_id.get(&id).and_then(|&t| self.torrents[t].bucket.as_ref());
        [own, self.global.as_ref()].into_iter().flatten().map(Bucket::rate).min()
    }

    pub(super) fn open(&mut self, id: TorrentId) -> FlowKey {
        let t = self.by_id.get(&id).copied().unwrap_or_else(|| self.add_torrent(id));
        self.torrents[t].flows += 1;
        self.serial += 1;
        let flow = Flow { serial: self.serial, torrent: t, request: None, granted: 0 };
        (self.flows.insert(flow), self.serial)
    }

    pub(super) fn close(&mut self, key: FlowKey) {
        if let Some(t) = self.torrent_of(key) {
            self.withdraw(key.0);
            self.flows.remove(key.0);
            self.torrents[t].flows -= 1;
            self.forget_if_unused(t);
        }
    }

    pub(super) fn request(&mut self, now: Time, key: FlowKey, want: u32) -> Grant {
        self.now = self.now.max(now);
        let Some(t) = self.torrent_of(key) else { return Grant::Queued };
        let unlimited = self.global.is_none() && self.torrents[t].bucket.is_none();
        if unlimited || want == 0 {
            self.withdraw(key.0);
            self.flows[key.0].granted = want;
            return Grant::Granted(want);
        }
        if let Some(request) = &mut self.flows[key.0].request {
            request.want = want;
            return Grant::Queued;
        }
        match self.at_once(t, want) {
            0 => {
                self.enqueue(t, key.0, want);
                Grant::Queued
            }
            bytes => {
                self.serve(t, key.0, bytes);
                Grant::Granted(bytes)
            }
        }
    }

    pub(super) fn give_back(&mut self, key: FlowKey, unused: u32) {
        let Some(t) = self.torrent_of(key) else { return };
        let flow = &mut self.flows[key.0];
        let unused = unused.min(flow.granted);
        flow.granted -= unused;
        if let Some(bucket) = &mut self.torrents[t].bucket {
            bucket.give_back(unused);
        }
        if let Some(bucket) = &mut self.global {
            bucket.give_back(unused);
            let place = self.torrents[t].place;
            self.put(t, Place::Idle);
            self.torrents[t].served = self.torrents[t].served.saturating_sub(u64::from(unused));
            self.put(t, place);
        }
    }

    pub(super) fn poll(&mut self, now: Time, mut grant: impl FnMut(FlowKey, u32)) {
        self.now = self.now.max(now);
        while let Some(&(at, t)) = self.shares.held.first()
            && at <= self.now
        {
            self.rejoin(t);
            self.put(t, Place::Waiting);
        }
        let waiting = !self.shares.waiting.is_empty();
        if let Some(bucket) = &mut self.global {
            bucket.refill(self.now, waiting);
        }
        while let Some(&(_, t)) = self.shares.waiting.first() {
            let torrent = &self.torrents[t];
            let (&number, &slot) = torrent.queue.first_key_value().expect("a waiting torrent has requests");
            let want = self.flows[slot].request.expect("a queued flow has a request").want;
            let own = self.own_offer(t, want);
            if own == 0 {
                self.hold(t);
                continue;
            }
            let shared = self.shared_offer(t, want);
            if shared == 0 {
                break;
            }
            let bytes = own.min(shared).min(self.turn(t));
            self.flows[slot].request = None;
            self.torrents[t].queue.remove(&number);
            self.serve(t, slot, bytes);
            grant((slot, self.flows[slot].serial), bytes);
        }
        self.wake = None;
        self.rearm();
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let held = self.shares.held.first().map(|entry| entry.0);
        let wake = self.wake.filter(|_| !self.shares.waiting.is_empty());
        [held, wake].into_iter().flatten().min()
    }

    /// Makes sure of a wake-up for who waits. It may come earlier than planned but never later: were it
    /// put off whenever a lagging torrent takes some credit, it might never come.
    fn rearm(&mut self) {
        let wake = self.shares.waiting.first().and_then(|&(_, t)| match &self.global {
            None => Some(self.now),
            Some(bucket) => bucket.ready_at(self.is_ahead(t)),
        });
        self.wake = [self.wake, wake].into_iter().flatten().min();
    }

    /// What a flow of `t` may take without queueing. Where others wait already, of its own torrent or of
    /// another that has had less, only a torrent that lags behind those that keep up is let through:
    /// it would lose its share if its flows had to wait for a wake-up after every grant.
    fn at_once(&mut self, t: u32, want: u32) -> u32 {
        let waiting = !self.shares.waiting.is_empty();
        if let Some(bucket) = &mut self.global {
            bucket.refill(self.now, waiting);
            self.rejoin(t);
        }
        let Torrent { served, place, .. } = self.torrents[t];
        let overtakes = match place {
            Place::Held(_) | Place::Stopped => return 0,
            Place::Waiting => true,
            Place::Idle | Place::Busy => {
                self.global.is_some() && self.shares.waiting.first().is_some_and(|first| first.0 <= served)
            }
        };
        let lags = self.global.is_some() && served < self.shares.clock;
        if overtakes && !lags {
            return 0;
        }
        let turn = if waiting { self.turn(t) } else { self.max_grant(t) };
        self.own_offer(t, want).min(self.shared_offer(t, want)).min(turn)
    }

    fn own_offer(&mut self, t: u32, want: u32) -> u32 {
        let torrent = &mut self.torrents[t];
        let waiting = !torrent.queue.is_empty();
        torrent.bucket.as_mut().map_or(want, |bucket| {
            bucket.refill(self.now, waiting);
            bucket.offer(want, false)
        })
    }

    fn shared_offer(&mut self, t: u32, want: u32) -> u32 {
        self.drop_stale_busy(t);
        let ahead = self.is_ahead(t);
        self.global.as_ref().map_or(want, |bucket| bucket.offer(want, ahead))
    }

    fn turn(&self, t: u32) -> u32 {
        let buckets = [self.global.as_ref(), self.torrents[t].bucket.as_ref()];
        buckets.into_iter().flatten().map(Bucket::turn).min().unwrap_or(u32::MAX)
    }

    fn max_grant(&self, t: u32) -> u32 {
        let buckets = [self.global.as_ref(), self.torrents[t].bucket.as_ref()];
        buckets.into_iter().flatten().map(Bucket::max_grant).min().unwrap_or(u32::MAX)
    }

    /// Accounts for a grant to a flow that is not queued any more.
    fn serve(&mut self, t: u32, slot: u32, bytes: u32) {
        self.flows[slot].granted = bytes;
        self.put(t, Place::Idle);
        let torrent = &mut self.torrents[t];
        if let Some(bucket) = &mut torrent.bucket {
            bucket.take(bytes);
        }
        let queued = !torrent.queue.is_empty();
        if let Some(bucket) = &mut self.global {
            bucket.take(bytes);
            self.shares.clock = self.shares.clock.max(torrent.served);
            torrent.served += u64::from(bytes);
            torrent.served_at = self.now;
        }
        match queued {
            true => self.put(t, Place::Waiting),
            false if self.global.is_some() => self.put(t, Place::Busy),
            false => {}
        }
    }

    fn enqueue(&mut self, t: u32, slot: u32, want: u32) {
        self.serial += 1;
        self.flows[slot].request = Some(Request { number: self.serial, want });
        let first = self.torrents[t].queue.is_empty();
        self.torrents[t].queue.insert(self.serial, slot);
        if first && self.own_offer(t, want) == 0 {
            self.hold(t);
        } else if first {
            self.put(t, Place::Waiting);
            self.rearm();
        }
    }

    fn withdraw(&mut self, slot: u32) {
        let flow = &mut self.flows[slot];
        let t = flow.torrent;
        if let Some(request) = flow.request.take() {
            self.torrents[t].queue.remove(&request.number);
            if self.torrents[t].queue.is_empty() {
                self.put(t, Place::Idle);
            }
        }
    }

    /// Waits for the torrent's own bucket, away from those that compete for the global one.
    fn hold(&mut self, t: u32) {
        let ready = self.torrents[t].bucket.as_ref().and_then(|bucket| bucket.ready_at(false));
        self.put(t, ready.map_or(Place::Stopped, Place::Held));
    }

    /// A torrent that comes back to the competition lags no more than the slack allows.
    fn rejoin(&mut self, t: u32) {
        let Some(bucket) = &self.global else { return };
        let slack = match self.in_grace(t) {
            true => bucket.busy_slack(),
            false => bucket.idle_slack(self.active()),
        };
        let fresh = self.torrents[t].fresh.take();
        let stagger = fresh.map_or(0, |part| bucket.stagger(part, self.active()));
        let least = self.shares.clock.saturating_sub(slack) + stagger;
        if self.torrents[t].served < least {
            let place = self.torrents[t].place;
            self.put(t, Place::Idle);
            self.torrents[t].served = least;
            self.put(t, place);
        }
    }

    /// Whether this torrent has had a good deal more than one that is busy with its last grant.
    fn is_ahead(&self, t: u32) -> bool {
        let level = self.level_with(t);
        let lagging = self.shares.busy.iter().take_while(|entry| entry.0 < level);
        lagging.into_iter().any(|&(_, busy)| self.in_grace(busy))
    }

    /// What a torrent has had, less the lead that it may take: its share of one tick.
    fn level_with(&self, t: u32) -> u64 {
        let lead = self.global.as_ref().map_or(0, |bucket| bucket.tick_share(self.active()));
        self.torrents[t].served.saturating_sub(lead)
    }

    /// Torrents that compete for the global limit, and the one that asks.
    fn active(&self) -> usize {
        self.shares.waiting.len() + self.shares.busy.len() + 1
    }

    fn in_grace(&self, t: u32) -> bool {
        self.now.since(self.torrents[t].served_at) < GRACE
    }

    /// Makes sure that `is_ahead` meets no long row of torrents that are not busy any more.
    fn drop_stale_busy(&mut self, t: u32) {
        let level = self.level_with(t);
        while let Some(&(least, busy)) = self.shares.busy.first()
            && least < level
            && !self.in_grace(busy)
        {
            self.put(busy, Place::Idle);
        }
    }

    /// Moves a torrent between the sets.
    fn put(&mut self, t: u32, place: Place) {
        let torrent = &mut self.torrents[t];
        let key = (torrent.served, t);
        match std::mem::replace(&mut torrent.place, place) {
            Place::Idle | Place::Stopped => true,
            Place::Busy => self.shares.busy.remove(&key),
            Place::Waiting => self.shares.waiting.remove(&key),
            Place::Held(at) => self.shares.held.remove(&(at, t)),
        };
        match place {
            Place::Idle | Place::Stopped => true,
            Place::Busy => self.shares.busy.insert(key),
            Place::Waiting => self.shares.waiting.insert(key),
            Place::Held(at) => self.shares.held.insert((at, t)),
        };
    }

    fn add_torrent(&mut self, id: TorrentId) -> u32 {
        // Multiples of the golden ratio are spread evenly, however many there are.
        self.added = self.added.wrapping_add(0x9e37_79b9);
        let t = self.torrents.insert(Torrent {
            id,
            bucket: None,
            flows: 0,
            queue: BTreeMap::new(),
            served: 0,
            served_at: Time::ZERO,
            fresh: Some(self.added),
            place: Place::Idle,
        });
        self.by_id.insert(id, t);
        t
    }

    fn forget_if_unused(&mut self, t: u32) {
        let torrent = &self.torrents[t];
        if torrent.flows == 0 && torrent.bucket.is_none() {
            let id = torrent.id;
            self.put(t, Place::Idle);
            self.by_id.remove(&id);
            self.torrents.remove(t);
        }
    }

    fn torrent_of(&self, (slot, serial): FlowKey) -> Option<u32> {
        self.flows.get(slot).filter(|flow| flow.serial == serial).map(|flow| flow.torrent)
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.by_id.len(), self.torrents.iter().count());
        let (mut waiting, mut busy, mut held, mut queued) = (0, 0, 0, 0);
        for (t, torrent) in self.torrents.iter() {
            assert_eq!(self.by_id.get(&torrent.id), Some(&t));
            assert!(torrent.flows > 0 || torrent.bucket.is_some(), "an unused torrent is forgotten");
            let idle = matches!(torrent.place, Place::Idle | Place::Busy);
            assert_eq!(idle, torrent.queue.is_empty(), "{:?}", torrent.place);
            queued += torrent.queue.len();
            let key = (torrent.served, t);
            match torrent.place {
                Place::Idle | Place::Stopped => continue,
                Place::Waiting => (waiting += 1, assert!(self.shares.waiting.contains(&key))),
                Place::Busy => (busy += 1, assert!(self.shares.busy.contains(&key))),
                Place::Held(at) => (held += 1, assert!(self.shares.held.contains(&(at, t)))),
            };
        }
        let sets = (self.shares.waiting.len(), self.shares.busy.len(), self.shares.held.len());
        assert_eq!((waiting, busy, held), sets);
        for (slot, flow) in self.flows.iter() {
            if let Some(request) = flow.request {
                assert!(request.want > 0);
                assert_eq!(self.torrents[flow.torrent].queue.get(&request.number), Some(&slot));
                queued -= 1;
            }
        }
        assert_eq!(queued, 0, "each queued number is a request");
    }
}
