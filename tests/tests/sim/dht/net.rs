//! The network: who is where, what is under way, whose timer is due.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::Time;
use wgo_core::dht::{Config, Dht, Event, LookupId, Outcome, PeersWanted};
use wgo_proto::WireHash;
use wgo_proto::compact::Family;
use wgo_tests::sim::agenda::Agenda;

use super::sybil::Sybil;

/// How bad the network is.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    /// Datagrams of a thousand that are lost.
    pub(crate) loss: u32,
    /// One honest node leaves, without a word, and another comes in so much time.
    pub(crate) churn_every: Option<Duration>,
    /// Nodes of a hundred that can't be reached from outside, and say so.
    pub(crate) read_only: u32,
}

/// What a host runs.
enum Member {
    Honest(Box<Dht>),
    Sybil(Box<Sybil>),
}

enum What {
    Arrive { from: SocketAddr, datagram: Vec<u8> },
    Timer,
    Churn,
    Join,
}

/// The place of events that are nobody's.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Hosts that everybody's configuration names.
const ROUTERS: usize = 4;

/// In this time all nodes of the beginning join.
const JOINING: Duration = Duration::from_secs(60);

/// Everything.
pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) rng: fastrand::Rng,
    weather: Weather,
    members: BTreeMap<SocketAddr, Member>,
    /// The earliest timer that is set for each.
    timers: BTreeMap<SocketAddr, Time>,
    routers: Vec<SocketAddr>,
    /// Where, and what.
    agenda: Agenda<(SocketAddr, What)>,
    /// What lookups found, and what came of those that have ended.
    pub(crate) found: BTreeMap<(SocketAddr, LookupId), Vec<SocketAddr>>,
    pub(crate) done: BTreeMap<(SocketAddr, LookupId), Outcome>,
    /// Every event so far, hashed.
    pub(crate) trace: u64,
    pub(crate) datagrams: u64,
    pub(crate) lost: u64,
    /// Steps until the invariants of the node whose turn it is are looked at again.
    check_in: u32,
}

impl Net {
    /// So many honest nodes, which join one after the other.
    pub(crate) fn new(seed: u64, honest: usize, weather: Weather) -> Net {
        let mut net = Net {
            now: Time::ZERO,
            rng: fastrand::Rng::with_seed(seed),
            weather,
            members: BTreeMap::new(),
            timers: BTreeMap::new(),
            routers: Vec::new(),
            agenda: Agenda::new(),
            found: BTreeMap::new(),
            done: BTreeMap::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            datagrams: 0,
            lost: 0,
            check_in: 0,
        };
        for number in 0..honest {
            if number < ROUTERS {
                let addr = net.free_addr();
                net.routers.push(addr);
            }
            let at = JOINING.mul_f64(number as f64 / honest as f64);
            net.schedule(Time::from_start(at), NOWHERE, What::Join);
        }
        if let Some(every) = weather.churn_every {
            net.schedule(Time::from_start(JOINING + every), NOWHERE, What::Churn);
        }
        net
    }

    /// An address of the internet that nobody has.
    pub(crate) fn free_addr(&mut self) -> SocketAddr {
        loop {
            let [a, b, c, d] = self.rng.u32(..).to_be_bytes();
            let addr = SocketAddr::from(([20 + a % 80, b, c, d], self.rng.u16(1024..)));
            if !self.members.contains_key(&addr) && !self.routers.contains(&addr) {
                return addr;
            }
        }
    }

    /// Honest nodes that can be reached, in the order of their addresses.
    pub(crate) fn honest(&self) -> Vec<SocketAddr> {
        let honest = self.members.iter().filter(|(_, member)| matches!(member, Member::Honest(_)));
        honest.map(|(addr, _)| *addr).collect()
    }

    /// One of them.
    pub(crate) fn anybody(&mut self) -> SocketAddr {
        let all = self.honest();
        all[self.rng.usize(..all.len())]
    }

    pub(crate) fn add_sybil(&mut self, addr: SocketAddr, sybil: Sybil) {
        self.members.insert(addr, Member::Sybil(Box::new(sybil)));
        self.schedule(self.now, addr, What::Timer);
    }

    /// An honest node, if it is still there.
    pub(crate) fn dht(&self, addr: SocketAddr) -> Option<&Dht> {
        match self.members.get(&addr) {
            Some(Member::Honest(dht)) => Some(dht),
            _ => None,
        }
    }

    /// Has a node look for peers.
    pub(crate) fn get_peers(&mut self, by: SocketAddr, hash: WireHash, wanted: PeersWanted) -> LookupId {
        let now = self.now;
        let Some(Member::Honest(dht)) = self.members.get_mut(&by) else { panic!("{by} has left") };
        let lookup = dht.get_peers(now, hash, Family::V4, wanted).expect("a lookup is free");
        self.after(by);
        lookup
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, number, (place, what))) = self.agenda.pop_until(end) {
            self.now = at;
            self.note(&[at.since_start().as_nanos() as u64, number]);
            self.happen(place, what);
        }
        self.now = end;
    }

    fn happen(&mut self, place: SocketAddr, what: What) {
        let now = self.now;
        match what {
            What::Join => self.join(),
            What::Churn => {
                let honest = self.honest();
                let leaves = honest[self.rng.usize(..honest.len())];
                // Those that the configuration names stay, as they do in the world.
                if !self.routers.contains(&leaves) {
                    self.members.remove(&leaves);
                    self.timers.remove(&leaves);
                    self.join();
                }
                let every = self.weather.churn_every.unwrap_or_default();
                self.schedule(now + every, NOWHERE, What::Churn);
            }
            What::Arrive { from, datagram } => {
                match self.members.get_mut(&place) {
                    Some(Member::Honest(dht)) => dht.handle_datagram(now, from, &datagram),
                    Some(Member::Sybil(sybil)) => sybil.handle_datagram(from, &datagram),
                    None => return,
                }
                self.after(place);
            }
            What::Timer => {
                if self.timers.get(&place).is_some_and(|at| *at == now) {
                    self.timers.remove(&place);
                }
                match self.members.get_mut(&place) {
                    Some(Member::Honest(dht)) if dht.poll_timeout() <= now => dht.handle_timeout(now),
                    Some(Member::Sybil(sybil)) => sybil.handle_timeout(now, &self.routers, &mut self.rng),
                    _ => {}
                }
                self.after(place);
            }
        }
    }

    fn join(&mut self) {
        let addr = match self.routers.iter().find(|addr| !self.members.contains_key(addr)) {
            Some(router) => *router,
            None => self.free_addr(),
        };
        let is_router = self.routers.contains(&addr);
        let read_only = !is_router && self.rng.u32(..100) < self.weather.read_only;
        let config = Config { families: vec![Family::V4], read_only, ..Config::default() };
        let mut dht = Dht::new(self.now, config, self.rng.u64(..));
        let others: Vec<_> = self.routers.iter().copied().filter(|router| *router != addr).collect();
        dht.add_routers(self.now, &others);
        self.members.insert(addr, Member::Honest(Box::new(dht)));
        self.after(addr);
    }

    /// Sends what a host wants to send, keeps what it says, sets its timer.
    fn after(&mut self, addr: SocketAddr) {
        let mut sent = Vec::new();
        let mut events = Vec::new();
        let due = match self.members.get_mut(&addr) {
            Some(Member::Honest(dht)) => {
                sent.extend(std::iter::from_fn(|| dht.poll_transmit()));
                events.extend(std::iter::from_fn(|| dht.poll_event()));
                // Looking at all of a node takes longer than a step of it.
                self.check_in = self.check_in.checked_sub(1).unwrap_or(500);
                if self.check_in == 0 {
                    dht.check_invariants();
                }
                dht.poll_timeout()
            }
            Some(Member::Sybil(sybil)) => {
                sent.extend(std::iter::from_fn(|| sybil.poll_transmit()));
                sybil.poll_timeout()
            }
            None => return,
        };
        for transmit in sent {
            self.datagrams += 1;
            if self.rng.u32(..1000) < self.weather.loss {
                self.lost += 1;
                continue;
            }
            let way = Duration::from_micros(self.rng.u64(10_000..150_000));
            let what = What::Arrive { from: addr, datagram: transmit.datagram };
            self.schedule(self.now + way, transmit.to, what);
        }
        for event in events {
            match event {
                Event::Peers { lookup, peers, .. } => {
                    self.found.entry((addr, lookup)).or_default().extend(peers)
                }
                Event::Done { lookup, outcome } => _ = self.done.insert((addr, lookup), outcome),
                Event::Item { .. } | Event::ExternalAddress(_) => {}
            }
        }
        if self.timers.get(&addr).is_none_or(|at| due < *at) {
            self.timers.insert(addr, due);
            self.schedule(due.max(self.now), addr, What::Timer);
        }
    }

    fn schedule(&mut self, at: Time, place: SocketAddr, what: What) {
        self.agenda.push(at, (place, what));
    }

    /// Mixes a fact into the trace (FNV-1a over its words).
    fn note(&mut self, words: &[u64]) {
        for word in words {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }
}
