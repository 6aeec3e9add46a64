//! PeerMgr: whom one torrent may connect to, whom it should dial next, whom it refuses.
//!
//! The Swarm feeds it addresses from all sources, dials what [`PeerMgr::next_dial`] returns, and reports
//! what became of each dial and connection. Dialling goes by canonical priority (BEP 40) among those
//! that failed least; a failed candidate backs off exponentially. Which connection is dropped to make
//! room for a better one is the Swarm's decision: [`PeerMgr::contender`] shows what it would gain.
mod address;
mod bans;
mod exclusion;
mod greeting;
mod hearsay;
mod own;
mod priority;
mod table;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wgo_proto::PeerId;

use crate::Time;
use crate::ip_filter::IpFilter;
use address::{is_plausible, normal, ports_of};
use bans::Bans;
pub use bans::{Ban, Reason};
use own::MAX_OWN;
pub use priority::canonical_priority;
use table::{Candidate, State, Table};
pub use terms::{Added, Contender, Counts, Greeting, Limits, Origin, Refusal, Source, Why};

/// Back-off after the first failure, doubled for each more.
const FIRST_RETRY: Duration = Duration::from_secs(30);
const LONGEST_RETRY: Duration = Duration::from_secs(30 * 60);

/// A candidate that failed so often is dropped, unless the operator named it. It may be heard of again.
const MAX_FAILURES: u32 = 5;

/// After a connection that was worth having, before it is dialled again.
const RECONNECT: Duration = Duration::from_secs(60);

/// A connection that ends sooner counts as a failure: the peer is full, or wants none of us.
const BRIEF: Duration = Duration::from_secs(10);

/// Before a peer is dialled again that we let go ourselves, for want of use or in favour of a better one.
const LET_GO: Duration = Duration::from_secs(10 * 60);

/// One of so many places is kept for those who come to us: who can't be dialled has no other way in.
const INCOMING_SHARE: usize = 10;

/// Candidates of one address while only one of them can be connected: it must not fill the table.
const MAX_OF_IP: usize = 4;

/// Candidates that neighbours announced themselves as: a local network has few, and whoever is in it can make up
/// many.
const MAX_LSD: usize = 64;

/// One in so many candidates is kept from the source that names most: whoever floods us by one way must not keep
/// out what is heard by others.
const OTHERS_SHARE: usize = 4;

#[derive(Debug)]
struct Connection {
    origin: Origin,
    peer_id: PeerId,
    since: Time,
    /// Where it can be dialled, as far as we know.
    candidate: Option<SocketAddr>,
}

/// The peers of one torrent.
#[derive(Debug)]
pub struct PeerMgr {
    limits: Limits,
    peer_id: PeerId,
    rng: fastrand::Rng,
    table: Table,
    /// By remote address; at most `Limits::connections`.
    connections: BTreeMap<SocketAddr, Connection>,
    /// The connections again, by peer id.
    by_peer_id: BTreeMap<[u8; 20], SocketAddr>,
    /// Those of them that we made.
    outgoing: usize,
    bans: Bans,
    /// The operator's.
    filter: Arc<IpFilter>,
    /// Dials under way to addresses that were forgotten; as many as may be half open.
    forgotten: BTreeSet<SocketAddr>,
    /// Where we can be reached, at most [`MAX_OWN`]: as we were told, then where we met ourselves.
    own: Vec<SocketAddr>,
    /// How many of them we were told.
    told: usize,
    /// Ours that count for BEP 40.
    own_v4: Option<SocketAddr>,
    own_v6: Option<SocketAddr>,
    seeding: bool,
}

impl PeerMgr {
    /// No peers yet. `peer_id` is our own in this torrent.
    pub fn new(limits: Limits, peer_id: PeerId, seed: u64) -> PeerMgr {
        PeerMgr {
            limits,
            peer_id,
            rng: fastrand::Rng::with_seed(seed),
            table: Table::default(),
            connections: BTreeMap::new(),
            by_peer_id: BTreeMap::new(),
            outgoing: 0,
            bans: Bans::default(),
            filter: Arc::default(),
            forgotten: BTreeSet::new(),
            own: Vec::new(),
            told: 0,
            own_v4: None,
            own_v6: None,
            seeding: false,
        }
    }

    /// Changes the limits. Nobody is dropped for it: the Swarm closes connections beyond them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// An address was heard of.
    pub fn add(&mut self, now: Time, addr: SocketAddr, source: Source) -> Added {
        let addr = normal(addr);
        self.bans.expire(now);
        if !is_plausible(addr, source, self.own.iter().any(|own| own.ip().is_loopback())) {
            return Added::Invalid;
        }
        if self.own.contains(&addr) {
            return Added::Own;
        }
        if self.is_banned(addr.ip()) {
            return Added::Banned;
        }
        // Whoever named it: the filter is the operator's too, and longer than anybody remembers.
        if self.filter.blocks(addr.ip()) {
            return Added::Filtered;
        }
        if let Some(known) = self.table.get(addr) {
            if source == Source::User {
                self.table.update(addr, |known| {
                    (known.source, known.failures) = (source, 0);
                    if let State::Waiting(_) = known.state {
                        known.state = State::Ready;
                    }
                });
            } else if known.source.is_hearsay() && !source.is_hearsay() {
                self.table.update(addr, |known| known.source = source);
            }
            return Added::Known;
        }
        let candidate = Candidate::new(source, self.priority(addr), self.rng.u32(..));
        let crowded = source != Source::User
            && self.is_single(addr.ip())
            && self.table.of_ip(addr.ip()).count() >= MAX_OF_IP;
        if source == Source::Lsd && self.table.of_source(source) >= MAX_LSD {
            return Added::Full;
        }
        let (most, full) = (self.limits.candidates, self.table.len() >= self.limits.candidates);
        let has_share = source != Source::User && self.table.of_source(source) >= most - most / OTHERS_SHARE;
        self.table.wake(now);
        let room = match () {
            () if crowded => false,
            () if has_share => self.table.make_room_of(source, candidate.rank()),
            () => !full || self.table.make_room(candidate.rank()),
        };
        if !room {
            return Added::Full;
        }
        self.table.insert(addr, candidate);
        Added::New
    }

    /// Takes the next address to dial. It counts as a dial under way until `on_connected` or `on_failed`
    /// names it, which every dial must come to. Ask after every event, until `None`.
    pub fn next_dial(&mut self, now: Time) -> Option<SocketAddr> {
        if !self.has_room() {
            return None;
        }
        let addr = self.best(now)?;
        self.table.update(addr, |candidate| candidate.state = State::Dialing);
        Some(addr)
    }

    /// Who would be dialled if there were room: for the Swarm to judge whether to make some.
    pub fn contender(&mut self, now: Time) -> Option<Contender> {
        let addr = self.best(now)?;
        Some(Contender { addr, priority: self.priority(addr) })
    }

    /// A connection completed its handshake. An error means: close it, and do not report it as closed.
    pub fn on_connected(
        &mut self,
        now: Time,
        addr: SocketAddr,
        origin: Origin,
        peer_id: PeerId,
    ) -> Result<(), Refusal> {
        let addr = normal(addr);
        self.bans.expire(now);
        let forgotten = origin == Origin::Outgoing && self.forgotten.remove(&addr);
        let refusal = forgotten.then_some(Refusal::Forgotten).or_else(|| self.refusal(addr, peer_id));
        if let Some(refusal) = refusal {
            self.refuse(now, addr, origin, refusal);
            return Err(refusal);
        }
        // A candidate that is connected some other way, or that we are dialling while it came to us, is
        // not this connection's.
        let is_its = |known: &Candidate| {
            known.is_idle() || known.state == State::Dialing && origin == Origin::Outgoing
        };
        let candidate = self.table.get(addr).is_some_and(is_its).then_some(addr);
        if candidate.is_some() {
            self.table.update(addr, |candidate| {
                candidate.state = State::Connected;
                candidate.tried_both = false;
            });
        }
        self.outgoing += usize::from(origin == Origin::Outgoing);
        self.connections.insert(addr, Connection { origin, peer_id, since: now, candidate });
        self.by_peer_id.insert(peer_id.0, addr);
        Ok(())
    }

    /// The peer at the other end of a connection listens at `port` (BEP 10, `p`), so that it can be
    /// dialled later. Nothing new for a connection that we made.
    pub fn on_listen_port(&mut self, now: Time, addr: SocketAddr, port: u16) {
        let addr = normal(addr);
        let mut listening = addr;
        listening.set_port(port);
        match self.connections.get(&addr) {
            Some(connection) if connection.candidate.is_none() => {}
            _ => return,
        }
        if !matches!(self.add(now, listening, Source::Incoming), Added::New | Added::Known) {
            return;
        }
        if self.table.get(listening).is_some_and(Candidate::is_idle)
            && let Some(connection) = self.connections.get_mut(&addr)
        {
            connection.candidate = Some(listening);
            self.table.update(listening, |candidate| candidate.state = State::Connected);
        }
    }

    /// The dial came to nothing: no connection, or no handshake.
    pub fn on_failed(&mut self, now: Time, addr: SocketAddr) {
        let addr = normal(addr);
        if self.forgotten.remove(&addr) {
            return;
        }
        if self.table.get(addr).is_some_and(|known| known.state == State::Dialing) {
            self.failed(now, addr);
        }
    }

    /// The dial did not begin: others had all turns. It is tried again later, and nothing is held against it.
    pub fn on_postponed(&mut self, now: Time, addr: SocketAddr) {
        let addr = normal(addr);
        if self.forgotten.remove(&addr) {
            return;
        }
        let at = now + jittered(RECONNECT, &mut self.rng);
        if self.table.get(addr).is_some_and(|known| known.state == State::Dialing) {
            self.table.update(addr, |candidate| candidate.state = State::Waiting(at));
        }
    }

    /// How many fresh addresses wait for a connection, counted up to `max`.
    pub fn contenders(&mut self, now: Time, max: usize) -> usize {
        self.table.wake(now);
        self.table.fresh().filter(|known| !known.seed || !self.seeding).take(max).count()
    }

    /// A connection that `on_connected` had accepted is over.
    pub fn on_closed(&mut self, now: Time, addr: SocketAddr, why: Why) {
        let Some(connection) = self.connections.remove(&normal(addr)) else { return };
        self.by_peer_id.remove(&connection.peer_id.0);
        self.outgoing -= usize::from(connection.origin == Origin::Outgoing);
        let Some(addr) = connection.candidate else { return };
        let brief = now.since(connection.since) < BRIEF;
        if why == Why::Misbehaved || why == Why::Ended && brief {
            return self.failed(now, addr);
        }
        let wait = match why {
            Why::Ended | Why::Misbehaved => RECONNECT,
            Why::BothSeeds | Why::Replaced => LET_GO,
            Why::Stopping => Duration::ZERO,
        };
        self.table.update(addr, |candidate| {
            candidate.failures = 0;
            candidate.proven = true;
            candidate.seed |= why == Why::BothSeeds;
            candidate.state = State::Waiting(now + wait);
        });
    }

    /// The peer at `addr`, a candidate or a connection, is known to have everything, or not to.
    pub fn mark_seed(&mut self, addr: SocketAddr, seed: bool) {
        let addr = normal(addr);
        let candidate = self.connections.get(&addr).map_or(Some(addr), |connection| connection.candidate);
        let Some(addr) = candidate else { return };
        self.table.update(addr, |candidate| {
            candidate.seed = seed;
            if !seed && candidate.state == State::Resting {
                candidate.state = State::Ready;
            }
        });
    }

    /// Whether we want nothing any more. While it is so, seeds are not dialled.
    pub fn set_seeding(&mut self, seeding: bool) {
        if std::mem::replace(&mut self.seeding, seeding) && !seeding {
            let resting = self.table.iter().filter(|(_, candidate)| candidate.state == State::Resting);
            for addr in resting.map(|(addr, _)| addr).collect::<Vec<_>>() {
                self.table.update(addr, |candidate| candidate.state = State::Ready);
            }
        }
    }

    /// Whoever waits for the next try is tried at once: what kept us from reaching them was most likely our own
    /// network, which is back.
    pub fn hurry(&mut self) {
        self.table.hurry();
    }

    /// Forgets every address, whoever named it. What is being dialled is refused when it is connected; the
    /// connections that there are, the caller closes.
    pub fn forget_all(&mut self) {
        let dialing = self.table.iter().filter(|(_, candidate)| candidate.state == State::Dialing);
        self.forgotten.extend(dialing.map(|(addr, _)| addr));
        self.table = Table::default();
        self.connections.values_mut().for_each(|connection| connection.candidate = None);
    }

    /// When to ask `next_dial`: at once (at the beginning of time) while someone is ready and there is
    /// room, else when the next back-off ends.
    pub fn poll_timeout(&self) -> Option<Time> {
        let wake = if self.table.ready() > 0 { Some(Time::ZERO) } else { self.table.next_wake() };
        wake.filter(|_| self.has_room())
    }

    /// How many of each.
    pub fn counts(&self) -> Counts {
        let incoming = |connection: &&Connection| connection.origin == Origin::Incoming;
        Counts {
            candidates: self.table.len(),
            ready: self.table.ready(),
            waiting: self.table.waiting(),
            resting: self.table.resting(),
            dialing: self.table.dialing(),
            connected: self.connections.len(),
            incoming: self.connections.values().filter(incoming).count(),
            banned: self.bans.len(),
        }
    }

    /// Up to `max` addresses for the next session, those that we were connected to first.
    pub fn worth_saving(&self, max: usize) -> Vec<SocketAddr> {
        let mut known: Vec<_> = self
            .table
            .iter()
            .map(|(addr, known)| (!known.proven && known.state != State::Connected, known.rank(), addr))
            .collect();
        known.sort_unstable();
        known.into_iter().map(|entry| entry.2).take(max).collect()
    }

    /// The best candidate, those set aside that can't be dialled now.
    fn best(&mut self, now: Time) -> Option<SocketAddr> {
        self.table.wake(now);
        self.bans.expire(now);
        while let Some(addr) = self.table.best() {
            let candidate = self.table.get(addr).expect("the best candidate is in the table");
            if self.is_banned(addr.ip()) || self.filter.blocks(addr.ip()) {
                self.table.remove(addr);
            } else if candidate.seed && self.seeding {
                self.table.update(addr, |candidate| candidate.state = State::Resting);
            } else if self.is_busy(addr) {
                self.table.update(addr, |candidate| candidate.state = State::Waiting(now + RECONNECT));
            } else {
                return Some(addr);
            }
        }
        None
    }

    /// Dials under way.
    pub fn dialing(&self) -> usize {
        self.table.dialing() + self.forgotten.len()
    }

    fn has_room(&self) -> bool {
        let dialing = self.dialing();
        let places = self.limits.connections;
        dialing < self.limits.half_open
            && self.connections.len() + dialing < places
            && self.outgoing + dialing < places - places / INCOMING_SHARE
    }

    /// Whether there may be only one connection to this address.
    fn is_single(&self, ip: IpAddr) -> bool {
        self.limits.one_per_ip && !ip.is_loopback()
    }

    /// Whether it must wait: where there may be only one connection for the one that there is, else for a dial to it
    /// that is still under way, as it was named again after it was forgotten.
    fn is_busy(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip();
        let is_dialed = || self.table.of_ip(ip).any(|(_, candidate)| candidate.state == State::Dialing);
        let is_taken = || self.connections.range(ports_of(ip)).next().is_some() || is_dialed();
        self.forgotten.contains(&addr) || self.is_single(ip) && is_taken()
    }

    fn refusal(&self, addr: SocketAddr, peer_id: PeerId) -> Option<Refusal> {
        let same_ip =
            self.is_single(addr.ip()) && self.connections.range(ports_of(addr.ip())).next().is_some();
        match () {
            () if self.is_banned(addr.ip()) => Some(Refusal::Banned),
            () if self.filter.blocks(addr.ip()) => Some(Refusal::Filtered),
            () if peer_id == self.peer_id => Some(Refusal::Myself),
            () if self.by_peer_id.contains_key(&peer_id.0) => Some(Refusal::SamePeer),
            () if same_ip || self.connections.contains_key(&addr) => Some(Refusal::SameIp),
            () if self.connections.len() >= self.limits.connections => Some(Refusal::Full),
            () => None,
        }
    }

    /// What a refused connection means for the candidate that was dialled.
    fn refuse(&mut self, now: Time, addr: SocketAddr, origin: Origin, refusal: Refusal) {
        if origin == Origin::Incoming
            || !self.table.get(addr).is_some_and(|known| known.state == State::Dialing)
        {
            return;
        }
        match refusal {
            Refusal::Banned | Refusal::Filtered => _ = self.table.remove(addr),
            Refusal::Myself => {
                self.table.remove(addr);
                self.met_ourselves(addr);
            }
            // Both ends may have dialled each other and refused each other's dial: the next tries must
            // not coincide again.
            Refusal::SamePeer | Refusal::SameIp | Refusal::Full | Refusal::Forgotten => {
                let at = now + jittered(RECONNECT, &mut self.rng);
                self.table.update(addr, |candidate| candidate.state = State::Waiting(at));
            }
        }
    }

    fn failed(&mut self, now: Time, addr: SocketAddr) {
        let Some(known) = self.table.get(addr) else { return };
        let failures = known.failures + 1;
        if known.source != Source::User && failures >= MAX_FAILURES {
            self.table.remove(addr);
            return;
        }
        let doubled = FIRST_RETRY.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_RETRY);
        let at = now + jittered(doubled, &mut self.rng);
        self.table.update(addr, |candidate| {
            candidate.failures = failures;
            candidate.state = State::Waiting(at);
        });
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.bans.check_invariants();
        assert!(self.own.len() <= MAX_OWN);
        assert_eq!(self.connections.len(), self.by_peer_id.len());
        assert_eq!(self.connections.len() - self.counts().incoming, self.outgoing);
        let mut linked: Vec<_> =
            self.connections.values().filter_map(|connection| connection.candidate).collect();
        linked.sort_unstable();
        let connected = self.table.iter().filter(|(_, candidate)| candidate.state == State::Connected);
        assert_eq!(linked, connected.map(|(addr, _)| addr).collect::<Vec<_>>());
        for (id, addr) in &self.by_peer_id {
            assert_eq!(self.connections.get(addr).map(|connection| connection.peer_id.0), Some(*id));
        }
        for (addr, candidate) in self.table.iter() {
            assert_eq!(addr, normal(addr));
            assert_eq!(candidate.priority, self.priority(addr));
            assert!(candidate.failures < MAX_FAILURES || candidate.source == Source::User);
        }
    }
}

/// A quarter more or less.
fn jittered(time: Duration, rng: &mut fastrand::Rng) -> Duration {
    time * rng.u32(750..=1250) / 1000
}
