//! A few dozen nodes that reach each other at once.
use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// The nodes by address, and a clock.
pub(super) struct Net {
    pub(super) nodes: BTreeMap<SocketAddr, Dht>,
    pub(super) events: Vec<(SocketAddr, Event)>,
    pub(super) now: Time,
    /// The first announce to each node gets lost.
    pub(super) first_announces_get_lost: bool,
    lost: BTreeSet<SocketAddr>,
    flying: VecDeque<(Time, SocketAddr, Transmit)>,
}

/// One way.
const DISTANCE: Duration = Duration::from_millis(20);

impl Net {
    /// Nodes that know the first of them only.
    pub(super) fn new(addrs: &[SocketAddr], config: &Config) -> Net {
        let mut net = Net {
            nodes: BTreeMap::new(),
            events: Vec::new(),
            now: secs(0),
            first_announces_get_lost: false,
            lost: BTreeSet::new(),
            flying: VecDeque::new(),
        };
        for addr in addrs {
            net.add(*addr, config, addrs.first().copied());
        }
        net
    }

    pub(super) fn add(&mut self, addr: SocketAddr, config: &Config, router: Option<SocketAddr>) {
        let config = Config { verify: Some(item_store::tests::verify), ..config.clone() };
        let mut dht = Dht::new(self.now, config, self.nodes.len() as u64 + 100);
        let routers: Vec<_> = router.into_iter().filter(|router| *router != addr).collect();
        dht.add_routers(self.now, &routers);
        self.nodes.insert(addr, dht);
    }

    /// Calls a node and sends what it says.
    pub(super) fn call<R>(&mut self, addr: SocketAddr, f: impl FnOnce(&mut Dht, Time) -> R) -> R {
        let dht = self.nodes.get_mut(&addr).unwrap();
        let result = f(dht, self.now);
        dht.check_invariants();
        while let Some(transmit) = dht.poll_transmit() {
            let is_announce = transmit.datagram.windows(13).any(|bytes| bytes == b"announce_peer");
            if self.first_announces_get_lost && is_announce && self.lost.insert(transmit.to) {
                continue;
            }
            self.flying.push_back((self.now + DISTANCE, addr, transmit));
        }
        while let Some(event) = dht.poll_event() {
            self.events.push((addr, event));
        }
        result
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timer = self.nodes.iter().map(|(addr, dht)| (dht.poll_timeout(), *addr)).min();
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let Some(next) = timer.map(|(at, _)| at).into_iter().chain(arrival).min() else { break };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let Some((_, from, transmit)) = self.flying.pop_front() else { break };
                if self.nodes.contains_key(&transmit.to) {
                    self.call(transmit.to, |dht, now| dht.handle_datagram(now, from, &transmit.datagram));
                }
            } else if let Some((_, addr)) = timer {
                self.call(addr, |dht, now| dht.handle_timeout(now));
            }
        }
        self.now = end;
    }

    pub(super) fn peers_found(&self, by: SocketAddr) -> Vec<SocketAddr> {
        let found = self.events.iter().filter(|(addr, _)| *addr == by).flat_map(|(_, event)| match event {
            Event::Peers { peers, .. } => peers.clone(),
            _ => Vec::new(),
        });
        found.collect()
    }

    pub(super) fn outcomes(&self, by: SocketAddr) -> Vec<Outcome> {
        let done = self.events.iter().filter(|(addr, _)| *addr == by).filter_map(|(_, event)| match event {
            Event::Done { outcome, .. } => Some(*outcome),
            _ => None,
        });
        done.collect()
    }
}

/// Addresses of the internet, of a LAN, and of one machine.
pub(super) fn places(count: u16) -> [Vec<SocketAddr>; 3] {
    let public = (0..count).map(|n| SocketAddr::from(([20 + (n % 7) as u8, n as u8, 1, 1], 6881)));
    let six = (0..count).map(|n| SocketAddr::from(([0x2001, 0x470, n, 0, 0, 0, 0, 1], 6881)));
    let machine = (0..count).map(|n| SocketAddr::from(([127, 0, 0, 1], 7000 + n)));
    [public.collect(), six.collect(), machine.collect()]
}
