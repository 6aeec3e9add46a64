//! Whom a torrent dials, takes and refuses (`PeerMgr`), under any events.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wgo_core::Time;
use wgo_core::ip_filter::Builder;
use wgo_core::peer_mgr::{Added, Greeting, Limits, Origin, PeerMgr, Reason, Source, Why};
use wgo_proto::PeerId;

use super::Reader;

const SOURCES: [Source; 7] =
    [Source::User, Source::Lsd, Source::Incoming, Source::Tracker, Source::Dht, Source::Pex, Source::Saved];
const WHYS: [Why; 5] = [Why::Ended, Why::BothSeeds, Why::Replaced, Why::Misbehaved, Why::Stopping];
/// Nobody waits longer for the next try: half an hour and a quarter of it.
const LONGEST_WAIT: Duration = Duration::from_secs(40 * 60);

struct Model {
    peers: PeerMgr,
    limits: Limits,
    now: Time,
    dialling: Vec<SocketAddr>,
    open: Vec<SocketAddr>,
    /// The operator's filter has this last byte of addresses.
    filtered: Option<u8>,
}

/// Within its limits, nobody banned, filtered, impossible or twice; and in the end everyone is dialled.
pub(super) fn peer_mgr(data: &[u8]) {
    let mut reader = Reader::new(data);
    let limits = Limits { candidates: 15, half_open: 3, connections: 6, one_per_ip: true };
    let peers = PeerMgr::new(limits, PeerId([1; 20]), u64::from(reader.byte()));
    let (dialling, open) = (Vec::new(), Vec::new());
    let mut model = Model { peers, limits, now: Time::ZERO, dialling, open, filtered: None };
    while !reader.is_empty() {
        model.step(&mut reader);
        model.peers.check_invariants();
        let counts = model.peers.counts();
        assert_eq!((counts.dialing, counts.connected), (model.dialling.len(), model.open.len()));
    }
    model.finish();
}

/// One of few addresses, so that they meet; some are none that can be dialled.
fn addr(reader: &mut Reader<'_>) -> SocketAddr {
    let n = reader.byte();
    let port = u16::from(reader.byte() % 5);
    match n {
        0..200 => SocketAddr::from(([20, 0, 0, n % 20], port)),
        200..220 => SocketAddr::from(([0x2600, 0, 0, 0, 0, 0, 0, u16::from(n)], port)),
        220..230 => SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x1400, u16::from(n % 20)], port)),
        230..240 => SocketAddr::from(([127, 0, 0, 1], port)),
        240..250 => SocketAddr::from(([224, 0, 0, n], port)),
        250.. => SocketAddr::from(([0, 0, 0, n % 2], port)),
    }
}

fn same_ip(a: &SocketAddr, b: &SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical()
}

impl Model {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let op = reader.byte();
        let dialled = (!self.dialling.is_empty()).then(|| usize::from(op >> 4) % self.dialling.len());
        let opened = (!self.open.is_empty()).then(|| usize::from(op >> 4) % self.open.len());
        match (op % 16, dialled, opened) {
            (0..=2, ..) => self.add(reader),
            (3 | 4, ..) => self.dial(),
            (5, Some(at), _) => self.peers.on_failed(self.now, self.dialling.swap_remove(at)),
            (6, Some(at), _) => self.peers.on_postponed(self.now, self.dialling.swap_remove(at)),
            (7, Some(at), _) => {
                let greeting = if op >= 128 { Greeting::Plain } else { Greeting::Encrypted };
                self.peers.on_greeting_refused(self.now, self.dialling.swap_remove(at), greeting);
            }
            (8, Some(at), _) => {
                let (addr, id) = (self.dialling.swap_remove(at), PeerId([reader.byte() % 12; 20]));
                self.connected(addr, Origin::Outgoing, id);
            }
            (9, ..) => {
                let (addr, id) = (addr(reader), PeerId([reader.byte() % 12; 20]));
                if addr.port() != 0 && !self.open.contains(&addr) {
                    self.connected(addr, Origin::Incoming, id);
                }
            }
            (10, _, Some(at)) => {
                self.peers.on_listen_port(self.now, self.open[at], u16::from(reader.byte()));
            }
            (11, _, Some(at)) => {
                let why = WHYS[usize::from(reader.byte()) % WHYS.len()];
                self.peers.on_closed(self.now, self.open.swap_remove(at), why);
            }
            (12, ..) => self.exclude(reader),
            (13, ..) => {
                let (addr, seed) = (addr(reader), op >= 128);
                self.peers.mark_seed(addr, seed);
                self.peers.set_seeding(reader.byte() >= 128);
            }
            (14, ..) => {
                self.limits = Limits {
                    candidates: usize::from(reader.byte() % 20) + 1,
                    half_open: usize::from(reader.byte() % 5),
                    connections: usize::from(reader.byte() % 8),
                    one_per_ip: op >= 128,
                };
                self.peers.set_limits(self.limits);
            }
            _ => self.now += Duration::from_secs(u64::from(reader.byte()) * 4),
        }
    }

    fn add(&mut self, reader: &mut Reader<'_>) {
        let (addr, source) = (addr(reader), SOURCES[usize::from(reader.byte()) % SOURCES.len()]);
        let before = self.peers.counts().candidates;
        let added = self.peers.add(self.now, addr, source);
        let after = self.peers.counts().candidates;
        assert!(after <= before.max(self.limits.candidates));
        assert!(added == Added::New || before == after, "{added:?}: {before} and {after}");
        let impossible = addr.port() == 0 || addr.ip().is_multicast() || addr.ip().is_unspecified();
        assert!(!impossible || added == Added::Invalid, "{addr} is {added:?}");
    }

    fn dial(&mut self) {
        let Some(addr) = self.peers.next_dial(self.now) else {
            return assert!(
                self.peers.poll_timeout().is_none_or(|at| at > self.now),
                "it would be asked for ever"
            );
        };
        assert!(!self.dialling.contains(&addr) && !self.is_excluded(addr), "{addr}");
        assert!(addr.port() != 0 && !addr.ip().is_multicast());
        self.dialling.push(addr);
        assert!(self.dialling.len() <= self.limits.half_open);
        assert!(self.dialling.len() + self.open.len() <= self.limits.connections);
        let alike = self.open.iter().chain(&self.dialling).filter(|other| same_ip(other, &addr)).count();
        assert!(alike == 1 || !self.limits.one_per_ip || addr.ip().is_loopback());
    }

    fn is_excluded(&self, addr: SocketAddr) -> bool {
        let last = if let std::net::IpAddr::V4(v4) = addr.ip().to_canonical() { v4.octets()[3] } else { 0 };
        self.peers.is_banned(addr.ip())
            || self.filtered.is_some_and(|byte| addr.ip().is_ipv4() && byte == last)
    }

    fn connected(&mut self, addr: SocketAddr, origin: Origin, id: PeerId) {
        let before = self.open.len();
        if self.peers.on_connected(self.now, addr, origin, id).is_ok() {
            assert!(!self.is_excluded(addr) && id != PeerId([1; 20]) && before < self.limits.connections);
            self.open.push(addr);
        }
    }

    /// Bans, lifts a ban, or has another filter.
    fn exclude(&mut self, reader: &mut Reader<'_>) {
        let (how, addr) = (reader.byte(), addr(reader));
        match how % 4 {
            0 => {
                for addr in self.peers.ban(self.now, addr.ip(), Reason::Protocol) {
                    let at = self
                        .open
                        .iter()
                        .position(|other| same_ip(other, &addr) && other.port() == addr.port());
                    let at = at.expect("a connection that there is");
                    self.peers.on_closed(self.now, self.open.swap_remove(at), Why::Misbehaved);
                }
            }
            1 => _ = self.peers.unban(addr.ip()),
            2 => self.peers.set_own(&[SocketAddr::from(([9, 8, 7, 6], 6868)), addr]),
            _ => {
                let byte = how / 4 % 20;
                self.filtered = (how >= 64).then_some(byte);
                let mut filter = Builder::default();
                if let Some(byte) = self.filtered {
                    for net in 0..=255 {
                        let ip = std::net::IpAddr::from([net, 0, 0, byte]);
                        filter.block(ip, ip);
                    }
                }
                self.peers.set_filter(Arc::new(filter.build()));
            }
        }
    }

    /// All is over, and there is room: whoever is left is dialled in time.
    fn finish(mut self) {
        std::mem::take(&mut self.dialling).into_iter().for_each(|addr| self.peers.on_failed(self.now, addr));
        std::mem::take(&mut self.open)
            .into_iter()
            .for_each(|addr| self.peers.on_closed(self.now, addr, Why::Stopping));
        self.peers.set_seeding(false);
        self.limits = Limits { half_open: 200, connections: 400, one_per_ip: false, candidates: 200 };
        self.peers.set_limits(self.limits);
        self.now += LONGEST_WAIT;
        while let Some(addr) = self.peers.next_dial(self.now) {
            assert!(!self.dialling.contains(&addr));
            self.dialling.push(addr);
        }
        assert_eq!(self.dialling.len(), self.peers.counts().candidates, "some are never dialled");
    }
}
