//! A node of the DHT: finds peers of torrents, announces us to others, and does its part for the rest
//! (BEP 5, 32, 33, 42, 43, 44, 51).
//!
//! [`Dht`] is a state machine without sockets. It is driven like this:
//!
//! * One UDP socket for each family; IPv6 bound to one global address (BEP 32). Every datagram goes to
//!   [`Dht::handle_datagram`], [`Dht::handle_timeout`] is called at [`Dht::poll_timeout`]. After each call,
//!   commands included, [`Dht::poll_transmit`] and [`Dht::poll_event`] are asked until `None`; what a socket
//!   doesn't take is dropped, as on the way. Buffers of [`MAX_RECEIVED`](wgo_proto::krpc::MAX_RECEIVED) bytes do.
//! * At the start: [`Dht::restore`] with what [`Dht::snapshot`] gave the last time (saved every few minutes and
//!   at the end; `snapshot` has its form on disk), then [`Dht::add_routers`] with the addresses of the configured
//!   bootstrap list, resolved by the shell, and again when they change. Nodes of peers (`port` messages), of
//!   magnet links and of metainfo go to [`Dht::add_node`].
//! * Torrents that aren't private are looked up and announced with one [`Dht::get_peers`] a family every 15
//!   minutes, in an order that the driver keeps: no more than [`Dht::free_lookups`] at a time, and soon again when
//!   nobody has answered ([`Outcome::answered`]). Peers come as events while the lookup goes on and are hearsay
//!   (`Source::Dht`).
//! * [`Dht::set_external_address`] tells what the rest of the engine has found out; the DHT tells what it has with
//!   [`Event::ExternalAddress`].
//!
//! Nothing that comes in is trusted: answers count only from the address that was asked and with our random
//! transaction id, nodes enter the table only by answering, and everything that strangers can grow has a bound
//! beside its declaration. With both families full, a `Dht` has about 7 MiB: 3 of peers, 1.2 of items, 1 of
//! lookups, the rest of tables, queries and allowances.
mod address;
mod answer;
mod hear;
mod item_store;
mod lookup;
mod peer_store;
mod pending;
mod rate;
pub mod rounds;
mod search;
mod secure_id;
pub mod snapshot;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod token;
mod upkeep;
mod votes;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use wgo_proto::compact::Family;
use wgo_proto::krpc::{Body, Method, Packet, Query};
use wgo_proto::{NodeId, WireHash};

use crate::Time;
use address::{host, is_local, is_plausible, normal};
use item_store::ItemStore;
use peer_store::PeerStore;
use pending::{Pending, Purpose, RoundTrips};
pub use rate::{Allowance, Rate};
use rate::{Meter, Sources};
use search::{Goal, Search};
use secure_id::{is_secure, random_id, secure_id};
use table::Table;
pub use terms::{
    Announce, Config, Counted, Event, Limits, LookupId, Outcome, OwnedItem, OwnedSigned, PeersWanted,
    Snapshot, Stats, Transmit, Verify,
};
use token::Tokens;
use upkeep::Bootstrap;
use votes::Votes;

/// Lookups of callers at a time, of about 20 KiB each. With 20 to 40 queries each this is as much as the default
/// rate of queries carries.
pub const MAX_LOOKUPS: usize = 64;

/// Datagrams that wait to be taken. One call makes far fewer; what doesn't fit is dropped as if lost.
const MAX_OUT: usize = 1024;

/// Events that wait to be taken; the same.
const MAX_EVENTS: usize = 1024;

/// Bootstrap addresses of one family; more are ignored.
const MAX_ROUTERS: usize = 16;

/// What packets call us: `WG` and a version.
const VERSION: &[u8] = b"WG\x00\x01";

/// Bytes that a query of ours is counted for before it is made; a put is longer, and rare.
const QUERY_LEN: usize = 120;

/// Pings to nodes that were named to us or asked us something and might be of use to the table: they cost others
/// more than us, so they are few.
const VERIFYING: Allowance =
    Allowance { packets: Rate { per_sec: 4, burst: 40 }, bytes: Rate { per_sec: 1 << 10, burst: 16 << 10 } };

/// One of the two DHTs, which have nothing in common but what we do in both (BEP 32).
#[derive(Debug)]
struct Overlay {
    family: Family,
    table: Table,
    trips: RoundTrips,
    votes: Votes,
    /// Our address, if we know it.
    external: Option<IpAddr>,
    /// When our id was made for an address; `None` for one that is random or saved.
    id_made: Option<Time>,
    bootstrap: Bootstrap,
}

/// An id that a node at this address may have (BEP 42). For tests that play other nodes.
pub fn secure_id_of(ip: IpAddr, rng: &mut fastrand::Rng) -> NodeId {
    secure_id(ip, rng)
}

/// The node.
#[derive(Debug)]
pub struct Dht {
    config: Config,
    rng: fastrand::Rng,
    /// One for each family that is used.
    overlays: Vec<Overlay>,
    pending: Pending,
    /// At most [`MAX_LOOKUPS`] of callers and one of our own for each family.
    searches: BTreeMap<LookupId, Search>,
    next_lookup: u64,
    tokens: Tokens,
    peers: PeerStore,
    items: ItemStore,
    intake: Meter,
    sources: Sources,
    answers: Meter,
    queries: Meter,
    verifying: Meter,
    /// At most [`MAX_OUT`].
    out: VecDeque<Transmit>,
    /// At most [`MAX_EVENTS`].
    events: VecDeque<Event>,
    tick_at: Time,
    expire_at: Time,
    /// When lookups that wait for the rate of queries go on.
    resume_at: Option<Time>,
    counted: Counted,
}

impl Dht {
    /// A node that knows nobody. Its ids are random until it knows its address.
    pub fn new(now: Time, config: Config, seed: u64) -> Dht {
        let mut rng = fastrand::Rng::with_seed(seed);
        let used = [Family::V4, Family::V6].into_iter().filter(|family| config.families.contains(family));
        let overlays = used
            .map(|family| Overlay {
                family,
                table: Table::new(now, random_id(&mut rng), family, config.enforce_secure_ids),
                trips: RoundTrips::default(),
                votes: Votes::default(),
                external: None,
                id_made: None,
                bootstrap: Bootstrap::new(now),
            })
            .collect();
        let limits = config.limits;
        Dht {
            overlays,
            pending: Pending::default(),
            searches: BTreeMap::new(),
            next_lookup: 0,
            tokens: Tokens::new(now, &mut rng),
            peers: PeerStore::default(),
            items: ItemStore::default(),
            intake: Meter::new(limits.intake, now),
            sources: Sources::new(limits.per_source, rng.u64(..)),
            answers: Meter::new(limits.answers, now),
            queries: Meter::new(limits.queries, now),
            verifying: Meter::new(VERIFYING, now),
            out: VecDeque::new(),
            events: VecDeque::new(),
            tick_at: now,
            expire_at: now,
            resume_at: None,
            counted: Counted::default(),
            config,
            rng,
        }
    }

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        let from = normal(from);
        self.counted.packets_in += 1;
        self.counted.bytes_in += datagram.len() as u64;
        // A source that sends too much uses up its own allowance only; whom we have asked something is heard even
        // while strangers use up the one of all.
        let is_moderate = self.sources.admit(now, host(from));
        if !is_moderate || !self.pending.is_asked(from) && !self.intake.admit(now, datagram.len()) {
            self.counted.limited += 1;
            return;
        }
        if !is_plausible(from) || self.overlay(Family::of(&from)).is_none() {
            self.counted.malformed += 1;
            return;
        }
        let Ok(packet) = Packet::decode(datagram) else {
            self.counted.malformed += 1;
            return;
        };
        match &packet.body {
            Body::Query(query) => self.on_query(now, from, packet.transaction, query),
            Body::Response(response) => self.on_response(now, from, &packet, response),
            Body::Error(_) => self.on_refusal(now, from, &packet),
        }
    }

    /// When [`Dht::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Time {
        let soonest = [self.pending.next_deadline(), self.resume_at];
        soonest.into_iter().flatten().fold(self.tick_at, Time::min)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) {
        self.on_overdue(now);
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
            let waiting: Vec<_> = self.searches.keys().copied().collect();
            waiting.into_iter().for_each(|id| self.drive(now, id));
        }
        if self.tick_at <= now {
            self.tick(now);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.out.pop_front()?;
        self.counted.packets_out += 1;
        self.counted.bytes_out += transmit.datagram.len() as u64;
        Some(transmit)
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Lookups that can be begun now.
    pub fn free_lookups(&self) -> usize {
        let of_callers = self.searches.values().filter(|search| !search.is_upkeep()).count();
        MAX_LOOKUPS.saturating_sub(of_callers)
    }

    /// Looks for peers of a torrent, and announces us afterwards if that is wanted. Ends with [`Event::Done`].
    /// `None` when no lookup is free or the family isn't used. The caller keeps private torrents away (BEP 27).
    pub fn get_peers(
        &mut self,
        now: Time,
        info_hash: WireHash,
        family: Family,
        wanted: PeersWanted,
    ) -> Option<LookupId> {
        let id = self.begin(now, family, info_hash.into(), Goal::peers(info_hash, wanted))?;
        let known = self.peers.choose(info_hash, family, wanted.noseed, usize::MAX, &mut self.rng);
        self.found_peers(id, known.into_iter());
        self.drive(now, id);
        Some(id)
    }

    /// Looks for an item (BEP 44): an immutable one, or a mutable one whose salt is `salt`. As `get_peers`.
    pub fn get_item(&mut self, now: Time, target: NodeId, salt: &[u8], family: Family) -> Option<LookupId> {
        let id = self.begin(now, family, target, Goal::item(salt, None))?;
        self.drive(now, id);
        Some(id)
    }

    /// Stores an item at the closest nodes (BEP 44); to be repeated every hour. As `get_peers`, and `None` for an
    /// item that is no single bencoded value, too long, or not signed by its owner.
    pub fn put_item(&mut self, now: Time, item: OwnedItem, family: Family) -> Option<LookupId> {
        wgo_proto::bencode::parse(&item.value).ok()?;
        item_store::check(&item.as_item(), self.config.verify).ok()?;
        let target = item.as_item().target();
        let salt = item.signed.as_ref().map(|signed| signed.salt.clone()).unwrap_or_default();
        let id = self.begin(now, family, target, Goal::item(&salt, Some(item)))?;
        self.drive(now, id);
        Some(id)
    }

    /// Ends a lookup without an event. Nothing happens when it has ended.
    pub fn cancel(&mut self, lookup: LookupId) {
        self.searches.remove(&lookup);
    }

    /// Nodes to begin with while the table is empty, from the configuration; they replace those given before.
    pub fn add_routers(&mut self, now: Time, addrs: &[SocketAddr]) {
        for overlay in &mut self.overlays {
            let of = |addr: &SocketAddr| is_plausible(*addr) && Family::of(addr) == overlay.family;
            let routers = addrs.iter().map(|addr| normal(*addr)).filter(of).take(MAX_ROUTERS).collect();
            overlay.bootstrap.set_routers(now, routers);
        }
        self.tick_at = self.tick_at.min(now);
    }

    /// A node may be there, says a peer, a magnet link or a torrent: it is asked, if it could be of use.
    pub fn add_node(&mut self, now: Time, addr: SocketAddr) {
        let addr = normal(addr);
        let known = |overlay: &Overlay| overlay.table.iter().any(|node| node.contact.addr == addr);
        if is_plausible(addr) && self.overlay(Family::of(&addr)).is_some_and(|overlay| !known(overlay)) {
            self.verify(now, addr);
        }
    }

    /// Our address, as the caller has found out elsewhere. A later vote of nodes that differs counts, too: whoever
    /// spoke last is right.
    pub fn set_external_address(&mut self, now: Time, ip: IpAddr) {
        if is_plausible(SocketAddr::new(ip, 1)) && !is_local(ip) {
            let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
            self.is_at(now, family, ip);
        }
    }

    /// We are somewhere else in the network: what nodes saw of our addresses counts no more. Our ids stay until others
    /// agree on what they see now.
    pub fn forget_votes(&mut self) {
        self.overlays.iter_mut().for_each(|overlay| overlay.votes = Votes::default());
    }

    /// Our id in one of the DHTs.
    pub fn id(&self, family: Family) -> Option<NodeId> {
        self.overlay(family).map(|overlay| overlay.table.own())
    }

    /// How things stand.
    pub fn stats(&self) -> Stats {
        let nodes = |family| self.overlay(family).map_or(0, |overlay| overlay.table.len());
        Stats {
            nodes_v4: nodes(Family::V4),
            nodes_v6: nodes(Family::V6),
            spares: self.overlays.iter().map(|overlay| overlay.table.spares()).sum(),
            lookups: self.searches.len(),
            pending: self.pending.len(),
            torrents: self.peers.torrents(),
            peers: self.peers.peers(),
            items: self.items.len(),
            counted: self.counted,
        }
    }

    fn overlay(&self, family: Family) -> Option<&Overlay> {
        self.overlays.iter().find(|overlay| overlay.family == family)
    }

    fn overlay_mut(&mut self, family: Family) -> Option<&mut Overlay> {
        self.overlays.iter_mut().find(|overlay| overlay.family == family)
    }

    /// Sends a query; the caller has made sure that it may. Nothing is sent in a family that isn't used.
    fn query(&mut self, now: Time, to: SocketAddr, purpose: Purpose, method: Method<'_>) {
        let Some(at) = self.overlays.iter().position(|overlay| overlay.family == Family::of(&to)) else {
            return;
        };
        let overlay = &self.overlays[at];
        let transaction = self.pending.add(now, to, purpose, (&overlay.trips, &mut self.rng));
        let query = Query { id: overlay.table.own(), read_only: self.config.read_only, method };
        let body = Body::Query(query);
        self.send(to, &Packet { transaction: &transaction, version: Some(VERSION), ip: None, body });
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet<'_>) {
        if self.out.len() < MAX_OUT {
            let mut datagram = Vec::with_capacity(256);
            packet.encode(&mut datagram);
            self.out.push_back(Transmit { to, datagram });
        }
    }

    /// Pings a node that might be of use to the table, if not too many others were lately.
    fn verify(&mut self, now: Time, addr: SocketAddr) {
        if !self.pending.is_full() && !self.pending.is_asked(addr) && self.verifying.admit(now, QUERY_LEN) {
            self.query(now, addr, Purpose::Ping, Method::Ping);
        }
    }

    fn happened(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    /// Most see us at `ip`. Our id is made anew when it doesn't fit.
    fn is_at(&mut self, now: Time, family: Family, ip: IpAddr) {
        let Some(at) = self.overlays.iter().position(|overlay| overlay.family == family) else { return };
        let overlay = &mut self.overlays[at];
        let is_news = overlay.external.replace(ip) != Some(ip);
        let rests = overlay.id_made.is_some_and(|made| now < made + upkeep::ID_LIFE);
        if !is_secure(overlay.table.own(), ip) && !rests {
            let id = secure_id(ip, &mut self.rng);
            overlay.id_made = Some(now);
            overlay.table.rebase(now, id);
            overlay.bootstrap.again(now);
            self.tick_at = self.tick_at.min(now);
        }
        if is_news {
            self.happened(Event::ExternalAddress(ip));
        }
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        self.overlays.iter().for_each(|overlay| {
            overlay.table.check_invariants();
            overlay.votes.check_invariants();
        });
        self.pending.check_invariants();
        self.peers.check_invariants();
        self.items.check_invariants();
        self.sources.check_invariants();
        self.searches.values().for_each(Search::check_invariants);
        assert!(self.searches.len() <= MAX_LOOKUPS + self.overlays.len());
        assert!(self.out.len() <= MAX_OUT && self.events.len() <= MAX_EVENTS);
    }
}
