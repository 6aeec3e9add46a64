//! One direction of the limiter: the limits, the torrents that share them, their flows.
//!
//! A request passes its torrent's own limit, then the gate of each class that the torrent is in, then the
//! global one. At each gate it waits for its torrent's turn there, and takes along what it got: so torrents
//! that are in several classes are served in the order of each, however unlike the classes are, and nobody
//! has to wait for two gates to have credit at the same moment. What a later gate doesn't let through goes
//! back.
mod invariants;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::bucket::Bucket;
use super::gate::{At, Gate, Seat};
use super::slab::Slab;
use super::{ClassId, Grant};
use crate::{Time, TorrentId};

/// Slot and serial number of a flow.
pub(super) type FlowKey = (u32, u64);

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The latest time anyone told us.
    now: Time,
    global: Gate,
    /// Those that are limited in this direction: as many as an operator configures, so they may be gone through.
    classes: BTreeMap<ClassId, Gate>,
    torrents: Slab<Torrent>,
    by_id: BTreeMap<TorrentId, u32>,
    flows: Slab<Flow>,
    /// Torrents whose own limits hold them, by until when.
    held: BTreeSet<(Time, u32)>,
    /// Counts flows and requests, so that both have an order and no two are alike.
    serial: u64,
    /// The `fresh` of the last seat that was added.
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
    /// At the gates of the limited classes that it is in, in their order.
    classes: Vec<(ClassId, Seat)>,
    /// At the global gate, which is the last.
    global: Seat,
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
    /// At its gate of this number.
    Queued(usize),
    /// Its own limit holds it until then.
    Held(Time),
    /// Its own limit is zero.
    Stopped,
}

impl Lane {
    pub(super) fn open(&mut self, id: TorrentId, classes: &[ClassId]) -> FlowKey {
        let t = self.by_id.get(&id).copied().unwrap_or_else(|| self.add_torrent(id, classes));
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
        let torrent = &self.torrents[t];
        let unlimited = !self.global.is_limited() && torrent.bucket.is_none() && torrent.classes.is_empty();
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
        self.each_gate(t, |gate, seat| gate.give_back(t, seat, unused));
    }

    pub(super) fn poll(&mut self, now: Time, mut grant: impl FnMut(FlowKey, u32)) {
        self.now = self.now.max(now);
        while let Some(&(at, t)) = self.held.first()
            && at <= self.now
        {
            self.leave(t);
            self.enter(t, true);
        }
        // Who passes one may pass those that follow.
        let mut class = self.classes.first_key_value().map(|entry| *entry.0);
        while let Some(now) = class {
            self.serve_gate(Some(now), &mut grant);
            let after = (Bound::Excluded(now), Bound::Unbounded);
            class = self.classes.range(after).next().map(|entry| *entry.0);
        }
        self.serve_gate(None, &mut grant);
        let now = self.now;
        self.classes.values_mut().chain([&mut self.global]).for_each(|gate| gate.rest(now));
    }

    /// Lets through who waits at a gate, as far as its credit goes; `None` is the global one.
    fn serve_gate(&mut self, class: Option<ClassId>, grant: &mut impl FnMut(FlowKey, u32)) {
        let now = self.now;
        if let Some(gate) = self.gate_mut(class) {
            gate.refill(now);
        }
        while let Some(t) = self.gate_mut(class).and_then(|gate| gate.first()) {
            let (number, slot, want) = self.next_request(t);
            let own = self.own_offer(t, want);
            let Place::Queued(at) = self.torrents[t].place else { break };
            if own == 0 {
                self.hold(t);
                continue;
            }
            let most = self.turn(t);
            let want = self.carried(t, own);
            let (gate, seat) = self.gate_of(t, at);
            let bytes = gate.offer(now, seat, want).min(most);
            if bytes == 0 {
                break;
            }
            if class.is_some() {
                gate.pay(now, t, seat, bytes);
                self.advance(t, at + 1, true);
                continue;
            }
            self.flows[slot].request = None;
            self.torrents[t].queue.remove(&number);
            self.serve(t, slot, bytes);
            grant((slot, self.flows[slot].serial), bytes);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let held = self.held.first().map(|entry| entry.0);
        let gates = self.classes.values().chain([&self.global]).filter_map(Gate::timeout);
        gates.chain(held).min()
    }

    /// What a flow of `t` may take without queueing. Where others wait already, of its own torrent or of
    /// another that has had less, only a torrent that lags behind those that keep up is let through:
    /// it would lose its share if its flows had to wait for a wake-up after every grant.
    fn at_once(&mut self, t: u32, want: u32) -> u32 {
        let now = self.now;
        let queued = match self.torrents[t].place {
            Place::Held(_) | Place::Stopped => return 0,
            // What the one before it has taken along is not its own.
            Place::Queued(_) if self.torrents[t].classes.iter().any(|(_, seat)| seat.paid().is_some()) => {
                return 0;
            }
            Place::Queued(_) => true,
            Place::Idle => false,
        };
        let (mut competes, mut waits, mut crowded) = (false, false, false);
        self.each_gate(t, |gate, seat| {
            if gate.is_limited() {
                gate.refill(now);
                gate.rejoin(now, t, seat);
                waits |= (queued || gate.has_before(seat)) && !gate.lags(seat);
                crowded |= gate.is_crowded();
                competes = true;
            }
        });
        if waits || (queued && !competes) {
            return 0;
        }
        let most = if crowded { self.turn(t) } else { self.max_grant(t) };
        let mut bytes = self.own_offer(t, want);
        self.each_gate(t, |gate, seat| bytes = bytes.min(gate.offer(now, seat, want)));
        bytes.min(most)
    }

    fn own_offer(&mut self, t: u32, want: u32) -> u32 {
        let torrent = &mut self.torrents[t];
        let waiting = !torrent.queue.is_empty();
        torrent.bucket.as_mut().map_or(want, |bucket| {
            bucket.refill(self.now, waiting);
            bucket.offer(want, false)
        })
    }

    /// What of `want` the gates that it has passed let through.
    fn carried(&self, t: u32, want: u32) -> u32 {
        let paid = self.torrents[t].classes.iter().filter_map(|(_, seat)| seat.paid());
        paid.fold(want, u32::min)
    }

    fn turn(&self, t: u32) -> u32 {
        let own = self.torrents[t].bucket.as_ref().map(Bucket::turn);
        self.gates(t).filter_map(Gate::turn).chain(own).min().unwrap_or(u32::MAX)
    }

    fn max_grant(&self, t: u32) -> u32 {
        let own = self.torrents[t].bucket.as_ref().map(Bucket::max_grant);
        self.gates(t).filter_map(Gate::max_grant).chain(own).min().unwrap_or(u32::MAX)
    }

    /// Accounts for a grant to a flow that is not queued any more.
    fn serve(&mut self, t: u32, slot: u32, bytes: u32) {
        let now = self.now;
        self.flows[slot].granted = bytes;
        if let Some(bucket) = &mut self.torrents[t].bucket {
            bucket.take(bytes);
        }
        self.torrents[t].place = Place::Idle;
        self.each_gate(t, |gate, seat| match seat.paid() {
            Some(_) => gate.settle(t, seat, bytes),
            None => gate.serve(now, t, seat, bytes),
        });
        if !self.torrents[t].queue.is_empty() {
            self.enter(t, false);
        }
    }

    fn enqueue(&mut self, t: u32, slot: u32, want: u32) {
        self.serial += 1;
        self.flows[slot].request = Some(Request { number: self.serial, want });
        let first = self.torrents[t].queue.is_empty();
        self.torrents[t].queue.insert(self.serial, slot);
        if first {
            self.enter(t, true);
        }
    }

    /// A torrent has flows queued and waits nowhere; `back`: it comes back to the competition.
    fn enter(&mut self, t: u32, back: bool) {
        let (_, _, want) = self.next_request(t);
        match self.own_offer(t, want) {
            0 => self.hold(t),
            _ => self.advance(t, 0, back),
        }
    }

    /// Passes the gates from number `at` on, as far as that is possible; at the last it waits in any case.
    /// `back`: it comes back to the competition there.
    fn advance(&mut self, t: u32, at: usize, back: bool) {
        let (now, last) = (self.now, self.torrents[t].classes.len());
        for at in at..=last {
            let want = if at < last { self.pass(t) } else { 0 };
            let most = self.turn(t);
            let (gate, seat) = self.gate_of(t, at);
            gate.refill(now);
            if back {
                gate.rejoin(now, t, seat);
            }
            let free = at < last && !gate.has_before(seat);
            let bytes = if free { gate.offer(now, seat, want).min(most) } else { 0 };
            if bytes == 0 {
                gate.put(t, seat, At::Waiting);
                gate.rearm(now);
                self.torrents[t].place = Place::Queued(at);
                // It can't use what those ahead of it would leave it there.
                for later in at + 1..=last {
                    let (gate, seat) = self.gate_of(t, later);
                    gate.put(t, seat, At::Away);
                }
                return;
            }
            gate.pay(now, t, seat, bytes);
        }
    }

    /// What the next request of a torrent asks of the next gate.
    fn pass(&mut self, t: u32) -> u32 {
        let (_, _, want) = self.next_request(t);
        let own = self.own_offer(t, want);
        self.carried(t, own)
    }

    /// Number, flow and size of the request that a torrent with flows queued has to serve first.
    fn next_request(&self, t: u32) -> (u64, u32, u32) {
        let queue = &self.torrents[t].queue;
        let (&number, &slot) = queue.first_key_value().expect("a torrent that waits has requests");
        (number, slot, self.flows[slot].request.expect("a queued flow has a request").want)
    }

    fn withdraw(&mut self, slot: u32) {
        let flow = &mut self.flows[slot];
        let t = flow.torrent;
        if let Some(request) = flow.request.take() {
            self.torrents[t].queue.remove(&request.number);
            if self.torrents[t].queue.is_empty() {
                self.leave(t);
            }
        }
    }

    /// Waits for the torrent's own bucket, away from those that compete.
    fn hold(&mut self, t: u32) {
        self.leave(t);
        let ready = self.torrents[t].bucket.as_ref().and_then(|bucket| bucket.ready_at(false));
        self.torrents[t].place = ready.map_or(Place::Stopped, Place::Held);
        if let Some(at) = ready {
            self.held.insert((at, t));
        }
    }

    /// Waits nowhere any more; what it had taken along goes back.
    fn leave(&mut self, t: u32) {
        if let Place::Held(at) = std::mem::replace(&mut self.torrents[t].place, Place::Idle) {
            self.held.remove(&(at, t));
        }
        self.each_gate(t, |gate, seat| {
            gate.settle(t, seat, 0);
            gate.put(t, seat, At::Away);
        });
    }

    fn gate_mut(&mut self, class: Option<ClassId>) -> Option<&mut Gate> {
        match class {
            Some(class) => self.classes.get_mut(&class),
            None => Some(&mut self.global),
        }
    }

    /// A torrent's gate of this number, and its seat there.
    fn gate_of(&mut self, t: u32, at: usize) -> (&mut Gate, &mut Seat) {
        let torrent = &mut self.torrents[t];
        match torrent.classes.get_mut(at) {
            Some((class, seat)) => {
                (self.classes.get_mut(class).expect("a torrent has seats at gates that there are"), seat)
            }
            None => (&mut self.global, &mut torrent.global),
        }
    }

    fn each_gate(&mut self, t: u32, mut act: impl FnMut(&mut Gate, &mut Seat)) {
        let torrent = &mut self.torrents[t];
        for (class, seat) in &mut torrent.classes {
            if let Some(gate) = self.classes.get_mut(class) {
                act(gate, seat);
            }
        }
        act(&mut self.global, &mut torrent.global);
    }

    fn gates(&self, t: u32) -> impl Iterator<Item = &Gate> {
        let classes = self.torrents[t].classes.iter().filter_map(|(class, _)| self.classes.get(class));
        classes.chain([&self.global])
    }

    fn add_torrent(&mut self, id: TorrentId, classes: &[ClassId]) -> u32 {
        let torrent = Torrent {
            id,
            bucket: None,
            flows: 0,
            queue: BTreeMap::new(),
            classes: Vec::new(),
            global: self.new_seat(),
            place: Place::Idle,
        };
        let t = self.torrents.insert(torrent);
        self.by_id.insert(id, t);
        if !classes.is_empty() {
            self.seat(t, classes);
        }
        t
    }

    fn forget_if_unused(&mut self, t: u32) {
        let torrent = &self.torrents[t];
        if torrent.flows == 0 && torrent.bucket.is_none() {
            let id = torrent.id;
            self.leave(t);
            self.by_id.remove(&id);
            self.torrents.remove(t);
        }
    }

    fn torrent_of(&self, (slot, serial): FlowKey) -> Option<u32> {
        self.flows.get(slot).filter(|flow| flow.serial == serial).map(|flow| flow.torrent)
    }
}
