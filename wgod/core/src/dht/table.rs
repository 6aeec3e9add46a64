//! The routing table of one family (BEP 5): nodes that have answered us, the more the closer to ourselves.
//!
//! Nobody gets in by being named or by asking: a node must have answered a query of ours, from the address that
//! was asked. Bucket `i` holds nodes that share exactly `i` leading bits with our id, the last one all that share
//! more; it is split when it is full. Nodes that find their bucket full wait as spares and replace those that
//! fail. What an attacker can have is bounded by addresses: one node for each host, few for each network, and
//! nodes whose id fits their address (BEP 42) take the places of those whose doesn't.
mod bucket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wgo_proto::NodeId;
use wgo_proto::compact::Family;
use wgo_proto::krpc::Contact;

use super::address::{Host, host, is_plausible, subnet};
use super::secure_id::{is_secure, random_id};
use crate::Time;
use bucket::Bucket;
pub(super) use bucket::Node;

/// Nodes of a bucket, and nodes named in an answer (BEP 5).
pub(super) const K: usize = 8;

/// Buckets at most. A DHT of 100 million nodes fills 24; ids that share more bits with ours stay in the last. So a
/// table has 48 × (8 + 8) entries of 120 bytes at most, whatever comes: 90 KiB.
pub(super) const MAX_BUCKETS: usize = 48;

/// Nodes of one network in one bucket, spares included: it can't be filled from one place.
const MAX_OF_SUBNET_IN_BUCKET: usize = 2;

/// Nodes of one network in the table.
const MAX_OF_SUBNET: usize = 8;

/// Of the nodes that we name one in so many may have an id that doesn't fit its address, where there are enough
/// others (BEP 42).
const INSECURE_SHARE: usize = 4;

/// A node is good when it has been heard of within this time, a bucket is fresh when it has (BEP 5).
const FRESH: Duration = Duration::from_secs(15 * 60);

/// What became of a node that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It was there before, or waits as it did.
    Known,
    /// It is in a bucket now.
    Added,
    /// It waits for a place.
    Spare,
    /// It may not be in the table.
    Refused,
}

/// The table of one family.
#[derive(Debug)]
pub(super) struct Table {
    own: NodeId,
    family: Family,
    /// Nodes whose id doesn't fit their address may not enter at all.
    enforce: bool,
    /// At least one, at most [`MAX_BUCKETS`].
    buckets: Vec<Bucket>,
    /// Whose place each host has; spares included. As many as there are nodes.
    hosts: BTreeMap<Host, NodeId>,
}

impl Table {
    pub(super) fn new(now: Time, own: NodeId, family: Family, enforce: bool) -> Table {
        Table { own, family, enforce, buckets: vec![Bucket::new(now, 0)], hosts: BTreeMap::new() }
    }

    /// Our id.
    pub(super) fn own(&self) -> NodeId {
        self.own
    }

    /// Nodes in buckets.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.nodes.len()).sum()
    }

    pub(super) fn spares(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.spares.len()).sum()
    }

    /// All nodes in buckets.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    /// A node has answered a query of ours.
    pub(super) fn on_answer(&mut self, now: Time, contact: Contact) -> Admission {
        let secure = is_secure(contact.id, contact.addr.ip());
        let possible = is_plausible(contact.addr)
            && Family::of(&contact.addr) == self.family
            && contact.id != self.own
            && (secure || !self.enforce);
        if !possible {
            return Admission::Refused;
        }
        let index = self.index_of(contact.id);
        if let Some(node) = self.buckets[index].find_mut(contact) {
            node.answered(now);
            self.buckets[index].promote();
            self.buckets[index].on_news(now);
            return Admission::Known;
        }
        if !self.make_way(now, contact) {
            return Admission::Refused;
        }
        self.insert(Node::new(now, contact, secure))
    }

    /// A node has asked us something. Returns whether it would be welcome if it answers: it is unknown, or was known
    /// under another id.
    pub(super) fn on_query(&mut self, now: Time, contact: Contact) -> bool {
        let index = self.index_of(contact.id);
        if let Some(node) = self.buckets[index].find_mut(contact) {
            node.queried = Some(now);
            return false;
        }
        let secure = is_secure(contact.id, contact.addr.ip());
        if let Some(&id) = self.hosts.get(&host(contact.addr)) {
            let known = self.buckets[self.index_of(id)].find_id(id);
            return id != contact.id && known.is_some_and(|known| known.contact.addr == contact.addr);
        }
        contact.id != self.own
            && (secure || !self.enforce)
            && !self.is_crowded(index, contact.addr)
            && (index + 1 == self.buckets.len() && index + 1 < MAX_BUCKETS
                || self.buckets[index].welcomes(&Node::new(now, contact, secure)))
    }

    /// A node didn't answer, or answered as somebody else.
    pub(super) fn on_failure(&mut self, now: Time, addr: SocketAddr) {
        let Some(id) = self.hosts.get(&host(addr)).copied() else { return };
        let contact = Contact { id, addr };
        let index = self.index_of(id);
        let bucket = &mut self.buckets[index];
        let Some(node) = bucket.find_mut(contact) else { return };
        node.failed(now);
        for gone in bucket.settle() {
            self.hosts.remove(&host(gone));
        }
    }

    /// Up to `count` nodes closest to `target` that haven't failed, the closest first. Of those whose id doesn't fit
    /// their address, which can lie around any target in any number, there are few if there are enough others.
    pub(super) fn closest(&self, target: NodeId, count: usize) -> Vec<Contact> {
        let mut secure = Vec::with_capacity(self.len());
        let mut others = Vec::new();
        for node in self.iter().filter(|node| node.failures == 0) {
            let of = if node.secure { &mut secure } else { &mut others };
            of.push((node.contact.id.distance(target), node.contact));
        }
        for of in [&mut secure, &mut others] {
            if of.len() > count {
                of.select_nth_unstable(count);
                of.truncate(count);
            }
            of.sort_unstable();
        }
        let least = count.saturating_sub(secure.len());
        others.truncate(least.max(count / INSECURE_SHARE));
        secure.extend(others);
        secure.sort_unstable();
        // The farthest secure ones make room for others that are closer.
        secure.into_iter().take(count).map(|(_, contact)| contact).collect()
    }

    /// The node that has been silent longest, if it is time to see whether it is still there.
    pub(super) fn questionable(&mut self, now: Time) -> Option<Contact> {
        let nodes = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.nodes);
        let node = nodes
            .filter(|node| node.is_doubtful(now))
            .min_by_key(|node| (node.failures > 1, node.answered_at))?;
        node.tried_at = now;
        Some(node.contact)
    }

    /// A random point in the range of the bucket that has waited longest for news, if one is due for it.
    pub(super) fn stale(&mut self, now: Time, rng: &mut fastrand::Rng) -> Option<NodeId> {
        let (index, bucket) =
            self.buckets.iter_mut().enumerate().min_by_key(|(_, bucket)| bucket.refresh_at)?;
        if bucket.refresh_at > now {
            return None;
        }
        bucket.refresh_at = now + FRESH;
        let last = index + 1 == self.buckets.len();
        Some(self.point_in(index as u32, last, rng))
    }

    /// Has all buckets but the last, which a lookup of our own id has just filled, refreshed soon.
    pub(super) fn refresh_all(&mut self, now: Time) {
        let others = self.buckets.len() - 1;
        self.buckets[..others].iter_mut().for_each(|bucket| bucket.refresh_at = now);
    }

    /// Another id: the nodes stay and find new places.
    pub(super) fn rebase(&mut self, now: Time, own: NodeId) {
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::new(now, 0)]);
        self.hosts.clear();
        self.own = own;
        for node in old.into_iter().flat_map(|bucket| bucket.nodes.into_iter().chain(bucket.spares)) {
            if node.contact.id != own {
                self.insert(node);
            }
        }
    }

    fn point_in(&self, index: u32, last: bool, rng: &mut fastrand::Rng) -> NodeId {
        let mut point = random_id(rng);
        for bit in 0..index {
            if point.common_prefix(self.own) <= bit {
                point = point.flipped(bit);
            }
        }
        if !last && point.common_prefix(self.own) > index {
            point = point.flipped(index);
        }
        point
    }

    /// The bucket for an id.
    fn index_of(&self, id: NodeId) -> usize {
        (id.common_prefix(self.own) as usize).min(self.buckets.len() - 1)
    }

    /// Removes whoever holds the id or the host of a newcomer that has proved to be there, unless that one is
    /// good: whoever is known keeps its place against strangers that claim it.
    fn make_way(&mut self, now: Time, contact: Contact) -> bool {
        if let Some(&id) = self.hosts.get(&host(contact.addr)) {
            let index = self.index_of(id);
            let Some(node) = self.buckets[index].find_id(id) else { return false };
            // The same socket speaks for itself: it was restarted under another id.
            if node.contact.addr != contact.addr && node.is_good(now) {
                return false;
            }
            self.remove(node.contact);
        }
        let index = self.index_of(contact.id);
        if let Some(node) = self.buckets[index].find_id(contact.id) {
            // Whoever's address the id fits is more likely to be whose it is.
            let is_rightful = !node.secure && is_secure(contact.id, contact.addr.ip());
            if node.is_good(now) && !is_rightful {
                return false;
            }
            self.remove(node.contact);
        }
        true
    }

    fn insert(&mut self, node: Node) -> Admission {
        let at = host(node.contact.addr);
        loop {
            let index = self.index_of(node.contact.id);
            if self.is_crowded(index, node.contact.addr) {
                return Admission::Refused;
            }
            let splits = index + 1 == self.buckets.len() && self.buckets.len() < MAX_BUCKETS;
            if splits && self.buckets[index].is_full() && !self.buckets[index].has_bad() {
                self.split(node.answered_at);
                continue;
            }
            let id = node.contact.id;
            let (added, gone) = self.buckets[index].add(node);
            if let Some(gone) = gone {
                self.hosts.remove(&host(gone));
            }
            self.hosts.insert(at, id);
            return if added { Admission::Added } else { Admission::Spare };
        }
    }

    fn split(&mut self, now: Time) {
        let index = self.buckets.len() - 1;
        let own = self.own;
        let closer = self.buckets[index].split_off(|id| id.common_prefix(own) as usize > index);
        self.buckets.push(closer);
        self.buckets[index].promote();
        self.buckets[index + 1].promote();
        if !self.buckets[index].is_full() {
            // It is filled at once, while nobody has had time to fill it with nodes of his own.
            self.buckets[index].refresh_at = now;
        }
    }

    fn remove(&mut self, contact: Contact) {
        let index = self.index_of(contact.id);
        self.buckets[index].remove(contact.id);
        self.buckets[index].promote();
        self.hosts.remove(&host(contact.addr));
    }

    /// Whether the network of `addr` has all that it may have.
    fn is_crowded(&self, index: usize, addr: SocketAddr) -> bool {
        let Some(network) = subnet(addr) else { return false };
        let of = |bucket: &Bucket| bucket.all().filter(|node| node.network == Some(network)).count();
        of(&self.buckets[index]) >= MAX_OF_SUBNET_IN_BUCKET
            || self.buckets.iter().map(of).sum::<usize>() >= MAX_OF_SUBNET
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub(super) fn check_invariants(&self) {
        assert!((1..=MAX_BUCKETS).contains(&self.buckets.len()));
        let mut networks: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (index, bucket) in self.buckets.iter().enumerate() {
            bucket.check_invariants();
            for node in bucket.all() {
                assert_eq!(self.index_of(node.contact.id), index);
                assert_eq!(self.hosts.get(&host(node.contact.addr)), Some(&node.contact.id));
                assert_eq!(node.network, subnet(node.contact.addr));
                assert!(node.contact.id != self.own && (node.secure || !self.enforce));
                if let Some(network) = node.network {
                    *networks.entry(network).or_default() += 1;
                }
            }
        }
        assert!(networks.values().all(|count| *count <= MAX_OF_SUBNET));
        assert_eq!(self.hosts.len(), self.len() + self.spares());
    }
}
