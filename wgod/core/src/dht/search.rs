//! Lookups with a purpose: peers of a torrent, an item, or nodes for our table; and what is stored at their end.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_proto::bencode;
use wgo_proto::compact::Family;
use wgo_proto::krpc::{Item, Method, Response, Want};
use wgo_proto::{NodeId, WireHash};

use super::address::{is_credible, is_plausible};
use super::item_store;
use super::lookup::{Lookup, Storer};
use super::pending::Purpose;
use super::table::K;
use super::terms::{Event, LookupId, Outcome, OwnedItem, PeersWanted, Scraped};
use super::{Dht, QUERY_LEN};
use crate::Time;

/// Peers that one lookup finds at most; a swarm has no use for more at a time.
const MAX_FOUND: usize = 1000;

/// Until lookups that wait for the rate of queries try again.
const RESUME: Duration = Duration::from_millis(50);

/// Nodes of the table that a lookup begins with: more than are asked at first, since those closest to a target that
/// is attacked may all be the attacker's.
const SEEDS: usize = 3 * K;

/// Nodes from outside of the table that a lookup begins with when the table has too few.
const MAX_STRANGERS: usize = 16;

/// What a lookup is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// Nodes for the table.
    Nodes,
    Peers {
        info_hash: WireHash,
        wanted: PeersWanted,
        /// At most [`MAX_FOUND`].
        found: BTreeSet<SocketAddr>,
        scraped: Option<Box<Scraped>>,
    },
    Item {
        salt: Box<[u8]>,
        /// The newest so far.
        best: Option<Box<OwnedItem>>,
        put: Option<Box<OwnedItem>>,
    },
}

impl Goal {
    pub(super) fn peers(info_hash: WireHash, wanted: PeersWanted) -> Goal {
        let scraped = wanted.scrape.then(Box::default);
        Goal::Peers { info_hash, wanted, found: BTreeSet::new(), scraped }
    }

    pub(super) fn item(salt: &[u8], put: Option<OwnedItem>) -> Goal {
        Goal::Item { salt: salt.into(), best: None, put: put.map(Box::new) }
    }

    fn stores(&self) -> bool {
        match self {
            Goal::Nodes => false,
            Goal::Peers { wanted, .. } => wanted.announce.is_some(),
            Goal::Item { put, .. } => put.is_some(),
        }
    }

    /// The question of this lookup.
    fn method(&self, target: NodeId, want: Option<Want>) -> Method<'static> {
        match self {
            Goal::Nodes => Method::FindNode { target, want },
            Goal::Peers { info_hash, wanted, .. } => {
                let PeersWanted { noseed, scrape, .. } = *wanted;
                Method::GetPeers { info_hash: *info_hash, want: None, noseed, scrape }
            }
            Goal::Item { best, .. } => {
                Method::Get { target, seq: best.as_ref().and_then(|best| best.seq()), want: None }
            }
        }
    }
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Search {
    family: Family,
    lookup: Lookup,
    goal: Goal,
    began: Time,
    /// Who is still to be told, once the closest are known.
    storing: Option<Vec<Storer>>,
    /// Those who are being told.
    telling: Vec<Storer>,
    stored: u32,
}

impl Search {
    /// Whether it is for our own table.
    pub(super) fn is_upkeep(&self) -> bool {
        matches!(self.goal, Goal::Nodes)
    }

    fn outcome(&self, now: Time) -> Outcome {
        let (peers, scrape) = match &self.goal {
            Goal::Peers { found, scraped, .. } => {
                let counted = scraped.as_ref().filter(|scraped| scraped.any);
                let estimates = counted.map(|scraped| (scraped.seeds.estimate(), scraped.peers.estimate()));
                (found.len() as u32, estimates)
            }
            _ => (0, None),
        };
        Outcome {
            asked: self.lookup.requests(),
            answered: self.lookup.answers(),
            peers,
            stored: self.stored,
            scrape,
            took: now.since(self.began),
        }
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub(super) fn check_invariants(&self) {
        self.lookup.check_invariants();
        assert!(self.storing.as_ref().map_or(0, Vec::len) + self.telling.len() <= K);
        if let Goal::Peers { found, .. } = &self.goal {
            assert!(found.len() <= MAX_FOUND);
        }
    }
}

impl Dht {
    /// Begins a lookup with the closest nodes that we know. The caller drives it.
    pub(super) fn begin(
        &mut self,
        now: Time,
        family: Family,
        target: NodeId,
        goal: Goal,
    ) -> Option<LookupId> {
        if !matches!(goal, Goal::Nodes) && self.free_lookups() == 0 {
            return None;
        }
        let enforce = self.config.enforce_secure_ids;
        let overlay = self.overlay(family)?;
        let mut lookup = Lookup::new(target, enforce);
        for contact in overlay.table.closest(target, SEEDS) {
            lookup.seed(contact.addr, Some(contact.id));
        }
        if overlay.table.len() < K {
            for (addr, id) in overlay.bootstrap.strangers(target).into_iter().take(MAX_STRANGERS) {
                lookup.seed(addr, id);
            }
        }
        let id = LookupId(self.next_lookup);
        self.next_lookup += 1;
        let search =
            Search { family, lookup, goal, began: now, storing: None, telling: Vec::new(), stored: 0 };
        self.searches.insert(id, search);
        Some(id)
    }

    /// Sends what a lookup has to send, and ends it when there is nothing left to do or wait for.
    pub(super) fn drive(&mut self, now: Time, id: LookupId) {
        loop {
            let Some(search) = self.searches.get_mut(&id) else { return };
            if search.storing.is_none() && search.lookup.is_settled() {
                let stores = search.goal.stores();
                search.storing = Some(if stores { search.lookup.storers() } else { Vec::new() });
            }
            if search.telling.is_empty() && search.storing.as_ref().is_some_and(Vec::is_empty) {
                return self.conclude(now, id);
            }
            let has_storers = search.storing.as_ref().is_some_and(|storers| !storers.is_empty());
            if self.pending.is_full() || !self.queries.has(now, QUERY_LEN) {
                self.resume_at.get_or_insert(now + RESUME);
                return;
            }
            let went_on = if has_storers { self.store_next(now, id) } else { self.ask_next(now, id) };
            if !went_on {
                return;
            }
            self.queries.admit(now, QUERY_LEN);
        }
    }

    fn ask_next(&mut self, now: Time, id: LookupId) -> bool {
        // Where both families are young each helps the other (BEP 32).
        let both = self.overlays.len() > 1 && self.overlays.iter().any(|overlay| overlay.table.len() < K);
        let want = both.then_some(Want { v4: true, v6: true });
        let Some(search) = self.searches.get_mut(&id).filter(|search| search.storing.is_none()) else {
            return false;
        };
        let Some(addr) = search.lookup.next() else { return false };
        let method = search.goal.method(search.lookup.target(), want);
        self.query(now, addr, Purpose::Ask(id), method);
        true
    }

    fn store_next(&mut self, now: Time, id: LookupId) -> bool {
        let Some(search) = self.searches.get_mut(&id) else { return false };
        let Some(storer) = search.storing.as_mut().and_then(Vec::pop) else { return false };
        let item = match &search.goal {
            Goal::Item { put, .. } => put.clone(),
            _ => None,
        };
        let method = match (&search.goal, &item) {
            (Goal::Peers { info_hash, wanted: PeersWanted { announce: Some(announce), .. }, .. }, _) => {
                let (info_hash, port, seed) = (*info_hash, announce.port, announce.seed);
                Method::AnnouncePeer { info_hash, port, seed, token: &storer.token }
            }
            (_, Some(item)) => Method::Put { token: &storer.token, item: item.as_item(), cas: None },
            // Nothing to store: nobody is told.
            _ => return true,
        };
        search.telling.push(storer.clone());
        self.query(now, storer.addr, Purpose::Store(id), method);
        true
    }

    /// A node has answered a question of a lookup; `None` when it did so in a way that doesn't count, or not at
    /// all.
    pub(super) fn on_answer(
        &mut self,
        now: Time,
        id: LookupId,
        from: SocketAddr,
        response: Option<&Response<'_>>,
    ) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        let Some(response) = response else {
            search.lookup.on_failure(from);
            return self.drive(now, id);
        };
        let family = search.family;
        search.lookup.on_answer(from, response.id, response.token);
        if let Some(overlay) = self.overlays.iter().find(|overlay| overlay.family == family) {
            let own = overlay.table.own();
            let named = response.nodes_of(family).into_iter().flat_map(|nodes| nodes.iter());
            let credible = named.filter(|contact| contact.id != own && is_credible(contact.addr, from));
            search.lookup.named(from, credible);
        }
        self.on_other_family(family, from, response);
        if let Some(values) = &response.values {
            let credible = values.iter().filter(|addr| is_credible(*addr, from));
            self.found_peers(id, credible);
        }
        self.found_scrape(id, response);
        if let Some(item) = response.item {
            self.found_item(id, item);
        }
        self.drive(now, id);
    }

    pub(super) fn on_late(&mut self, now: Time, id: LookupId, addr: SocketAddr) {
        if let Some(search) = self.searches.get_mut(&id) {
            search.lookup.on_late(addr);
            self.drive(now, id);
        }
    }

    /// A node has answered an announce or a put.
    pub(super) fn on_stored(&mut self, now: Time, id: LookupId, addr: SocketAddr, accepted: bool) {
        if let Some(search) = self.searches.get_mut(&id) {
            search.telling.retain(|storer| storer.addr != addr);
            search.stored += u32::from(accepted);
            self.drive(now, id);
        }
    }

    /// A node hasn't. It answered not long ago, so the datagram was probably lost: it is told once more.
    pub(super) fn on_not_stored(&mut self, now: Time, id: LookupId, addr: SocketAddr) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        if let Some(at) = search.telling.iter().position(|storer| storer.addr == addr) {
            let storer = search.telling.remove(at);
            if !storer.again {
                search.storing.get_or_insert_default().push(Storer { again: true, ..storer });
            }
        }
        self.drive(now, id);
    }

    /// Peers of a lookup's torrent. Those that are new go to the caller.
    pub(super) fn found_peers(&mut self, id: LookupId, peers: impl Iterator<Item = SocketAddr>) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        let Goal::Peers { info_hash, found, .. } = &mut search.goal else { return };
        let info_hash = *info_hash;
        let is_new =
            |addr: &SocketAddr| is_plausible(*addr) && found.len() < MAX_FOUND && found.insert(*addr);
        let peers: Vec<_> = peers.filter(is_new).collect();
        if !peers.is_empty() {
            self.happened(Event::Peers { lookup: id, info_hash, peers });
        }
    }

    fn found_scrape(&mut self, id: LookupId, response: &Response<'_>) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        let Goal::Peers { scraped: Some(scraped), .. } = &mut search.goal else { return };
        if let Some(scrape) = &response.scrape {
            scraped.any = true;
            scraped.seeds.union(scrape.seeds);
            scraped.peers.union(scrape.peers);
        }
    }

    /// An item that somebody says is what was looked for. It is believed when its hash or signature says so too.
    fn found_item(&mut self, id: LookupId, item: Item<'_>) {
        let verify = self.config.verify;
        let Some(search) = self.searches.get_mut(&id) else { return };
        let target = search.lookup.target();
        let Goal::Item { salt, best, .. } = &mut search.goal else { return };
        let item = item.salted(salt);
        let seq = item.signed.map(|signed| signed.seq);
        let is_newer = best.as_ref().is_none_or(|best| seq > best.seq());
        let is_genuine = item.target() == target
            && bencode::parse(item.value).is_ok()
            && item_store::check(&item, verify).is_ok();
        if is_newer && is_genuine {
            let item = OwnedItem::of(&item);
            *best = Some(Box::new(item.clone()));
            self.happened(Event::Item { lookup: id, item });
        }
    }

    fn conclude(&mut self, now: Time, id: LookupId) {
        let Some(search) = self.searches.remove(&id) else { return };
        let outcome = search.outcome(now);
        if search.is_upkeep() {
            return self.on_upkeep_done(now, search.family, id);
        }
        self.happened(Event::Done { lookup: id, outcome });
    }
}
