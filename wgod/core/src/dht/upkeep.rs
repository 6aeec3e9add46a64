//! What a node does unasked: gets to know others, sees whether they are still there, forgets what is old.
use std::net::SocketAddr;
use std::time::Duration;

use wgo_proto::NodeId;
use wgo_proto::compact::Family;
use wgo_proto::krpc::{Contact, Response};

use super::address::is_credible;
use super::pending::Purpose;
use super::search::Goal;
use super::snapshot::MAX_SAVED;
use super::table::K;
use super::terms::{LookupId, Snapshot};
use super::{Dht, Method, QUERY_LEN};
use crate::Time;

/// The pace of the upkeep. In 15 minutes, after which a silent node is questionable, each of 180 can be asked.
const TICK: Duration = Duration::from_secs(5);

/// Stores are looked through for what has expired this often.
const EXPIRE: Duration = Duration::from_secs(60);

/// A bootstrap that found nobody, or few, is repeated after this, then after twice as long, up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(10 * 60);

/// An id made for our address is kept for so long, whatever others say our address is: who persuaded enough nodes
/// could else move us about.
pub(super) const ID_LIFE: Duration = Duration::from_secs(10 * 60);

/// How a node gets into one of the DHTs.
#[derive(Debug)]
pub(super) struct Bootstrap {
    /// From the configuration; at most 16.
    routers: Vec<SocketAddr>,
    /// From the last run, and what the other family's nodes named; at most [`MAX_SAVED`].
    saved: Vec<Contact>,
    /// The lookup of our own for this family.
    lookup: Option<LookupId>,
    /// Our own place has been looked up since our id was made.
    joined: bool,
    next_at: Time,
    wait: Duration,
}

impl Bootstrap {
    pub(super) fn new(now: Time) -> Bootstrap {
        Bootstrap {
            routers: Vec::new(),
            saved: Vec::new(),
            lookup: None,
            joined: false,
            next_at: now,
            wait: FIRST_RETRY,
        }
    }

    pub(super) fn set_routers(&mut self, now: Time, routers: Vec<SocketAddr>) {
        if self.routers != routers {
            self.routers = routers;
            (self.next_at, self.wait) = (now, FIRST_RETRY);
        }
    }

    /// Our id has changed: our neighbours are others.
    pub(super) fn again(&mut self, now: Time) {
        (self.joined, self.next_at, self.wait) = (false, now, FIRST_RETRY);
    }

    /// Whom to ask when the table doesn't know enough: those of the last run that are closest to the target, and
    /// the routers.
    pub(super) fn strangers(&self, target: NodeId) -> Vec<(SocketAddr, Option<NodeId>)> {
        let mut saved = self.saved.clone();
        saved.sort_by_key(|contact| contact.id.distance(target));
        let saved = saved.into_iter().take(K).map(|contact| (contact.addr, Some(contact.id)));
        saved.chain(self.routers.iter().map(|addr| (*addr, None))).collect()
    }

    fn has_any(&self) -> bool {
        !self.routers.is_empty() || !self.saved.is_empty()
    }
}

impl Dht {
    pub(super) fn tick(&mut self, now: Time) {
        // Nodes that started together must not stay in step.
        self.tick_at = now + TICK * self.rng.u32(900..=1100) / 1000;
        self.tokens.rotate(now, &mut self.rng);
        if self.expire_at <= now {
            self.expire_at = now + EXPIRE;
            self.peers.expire(now);
            self.items.expire(now);
            self.sources.prune(now);
        }
        for at in 0..self.overlays.len() {
            self.look_after(now, at);
        }
    }

    fn look_after(&mut self, now: Time, at: usize) {
        let overlay = &mut self.overlays[at];
        let family = overlay.family;
        let own = overlay.table.own();
        if let Some(contact) = overlay.table.questionable(now)
            && !self.pending.is_full()
            && self.queries.admit(now, QUERY_LEN)
        {
            self.query(now, contact.addr, Purpose::Ping, Method::Ping);
        }
        let overlay = &mut self.overlays[at];
        if overlay.bootstrap.lookup.is_some() {
            return;
        }
        let knows_any = overlay.table.len() > 0 || overlay.bootstrap.has_any();
        // With few nodes the next may know more: many start together after a power cut, and know nobody at first.
        let lonely = !overlay.bootstrap.joined || overlay.table.len() < K;
        let target = match lonely {
            true if knows_any && overlay.bootstrap.next_at <= now => {
                overlay.bootstrap.next_at = now + overlay.bootstrap.wait;
                overlay.bootstrap.wait = (overlay.bootstrap.wait * 2).min(LONGEST_RETRY);
                own
            }
            _ => match overlay.table.stale(now, &mut self.rng) {
                Some(target) => target,
                None => return,
            },
        };
        if let Some(id) = self.begin(now, family, target, Goal::Nodes) {
            self.overlays[at].bootstrap.lookup = Some(id);
            self.drive(now, id);
        }
    }

    /// A lookup of our own has ended.
    pub(super) fn on_upkeep_done(&mut self, now: Time, family: Family, id: LookupId) {
        let Some(overlay) = self.overlay_mut(family) else { return };
        let bootstrap = &mut overlay.bootstrap;
        if bootstrap.lookup != Some(id) {
            return;
        }
        bootstrap.lookup = None;
        if overlay.table.len() > 0 && !bootstrap.joined {
            bootstrap.joined = true;
            overlay.table.refresh_all(now);
        }
    }

    /// Nodes of the family that wasn't asked, which answers name on request (BEP 32): for its bootstrap.
    pub(super) fn on_other_family(&mut self, family: Family, from: SocketAddr, response: &Response<'_>) {
        let Some(other) = self.overlays.iter_mut().find(|overlay| overlay.family != family) else { return };
        if other.table.len() >= K {
            return;
        }
        let named = response.nodes_of(other.family).into_iter().flat_map(|nodes| nodes.iter());
        for contact in named.filter(|contact| is_credible(contact.addr, from)) {
            let saved = &mut other.bootstrap.saved;
            if saved.len() < MAX_SAVED && !saved.contains(&contact) {
                saved.push(contact);
            }
        }
    }

    /// What should be known at the next start: our ids, and nodes, those first that have been there longest.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for overlay in &self.overlays {
            snapshot.ids.push((overlay.family, overlay.table.own()));
            let mut nodes: Vec<_> = overlay.table.iter().filter(|node| node.failures == 0).collect();
            nodes.sort_by_key(|node| (!node.secure, node.since, node.contact));
            let known = nodes.into_iter().map(|node| node.contact);
            // A run that never got anywhere must not forget what the one before knew.
            let before = overlay.bootstrap.saved.iter().copied().filter(|_| overlay.table.len() < K);
            snapshot.nodes.extend(known.chain(before).take(MAX_SAVED));
        }
        snapshot
    }

    /// What the last run knew. To be called first. The nodes are asked before they count.
    pub fn restore(&mut self, now: Time, snapshot: &Snapshot) {
        for overlay in &mut self.overlays {
            if let Some((_, id)) = snapshot.ids.iter().find(|(family, _)| *family == overlay.family) {
                overlay.table.rebase(now, *id);
            }
            let of = |contact: &&Contact| Family::of(&contact.addr) == overlay.family;
            let possible = |contact: &&Contact| super::is_plausible(contact.addr);
            let saved = snapshot.nodes.iter().filter(of).filter(possible).take(MAX_SAVED);
            overlay.bootstrap.saved = saved.copied().collect();
            overlay.bootstrap.again(now);
        }
        self.tick_at = self.tick_at.min(now);
    }
}
