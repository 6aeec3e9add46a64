//! One bucket of a routing table, and the nodes in it.
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wgo_proto::NodeId;
use wgo_proto::krpc::Contact;

use super::{FRESH, K};
use crate::Time;
use crate::dht::address::subnet;

/// Nodes that wait for a place; when there are more, the one that was heard of longest ago is dropped.
const MAX_SPARES: usize = K;

/// Queries in a row without an answer after which a node is bad: it is tried once more (BEP 5).
const BAD: u8 = 2;

/// Until a node that didn't answer is tried once more.
const SECOND_TRY: Duration = Duration::from_secs(60);

/// A node that has answered us at least once.
#[derive(Clone, Debug)]
pub(in crate::dht) struct Node {
    pub(in crate::dht) contact: Contact,
    /// Its id fits its address (BEP 42).
    pub(in crate::dht) secure: bool,
    pub(super) network: Option<IpAddr>,
    /// When it first answered.
    pub(in crate::dht) since: Time,
    pub(super) answered_at: Time,
    pub(super) queried: Option<Time>,
    /// When we last looked whether it is there.
    pub(super) tried_at: Time,
    /// Queries without an answer since the last that it answered.
    pub(in crate::dht) failures: u8,
}

impl Node {
    pub(super) fn new(now: Time, contact: Contact, secure: bool) -> Node {
        let network = subnet(contact.addr);
        Node {
            contact,
            secure,
            network,
            since: now,
            answered_at: now,
            queried: None,
            tried_at: now,
            failures: 0,
        }
    }

    pub(super) fn answered(&mut self, now: Time) {
        (self.answered_at, self.tried_at, self.failures) = (now, now, 0);
    }

    pub(super) fn failed(&mut self, now: Time) {
        self.tried_at = now;
        self.failures = self.failures.saturating_add(1);
    }

    /// Heard of not long ago, and answering (BEP 5).
    pub(super) fn is_good(&self, now: Time) -> bool {
        let heard = self.queried.map_or(self.answered_at, |queried| queried.max(self.answered_at));
        self.failures == 0 && now < heard + FRESH
    }

    /// Whether it is time to see if it is still there.
    pub(super) fn is_doubtful(&self, now: Time) -> bool {
        let pause = if self.failures == 1 { SECOND_TRY } else { FRESH };
        self.tried_at + pause <= now && !self.is_good(now)
    }

    fn is_bad(&self) -> bool {
        self.failures >= BAD
    }

    /// How little it is worth: bad before insecure before the others.
    fn weakness(&self, than_secure: bool) -> Option<(bool, Time)> {
        (self.is_bad() || than_secure && !self.secure).then_some((!self.is_bad(), self.answered_at))
    }
}

/// Up to [`K`] nodes, and spares.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bits that its nodes have in common with our id, at least.
    depth: u32,
    pub(super) nodes: Vec<Node>,
    /// At most [`MAX_SPARES`]; none while there is room.
    pub(super) spares: Vec<Node>,
    /// When a lookup in its range is due.
    pub(super) refresh_at: Time,
}

impl Bucket {
    pub(super) fn new(now: Time, depth: u32) -> Bucket {
        Bucket { depth, nodes: Vec::new(), spares: Vec::new(), refresh_at: now + FRESH }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().chain(&self.spares)
    }

    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= K
    }

    /// The node or spare that is exactly this.
    pub(super) fn find_mut(&mut self, contact: Contact) -> Option<&mut Node> {
        self.nodes.iter_mut().chain(&mut self.spares).find(|node| node.contact == contact)
    }

    pub(super) fn find_id(&self, id: NodeId) -> Option<&Node> {
        self.all().find(|node| node.contact.id == id)
    }

    /// There was news in its range. A bucket with room left could still learn more from a lookup.
    pub(super) fn on_news(&mut self, now: Time) {
        if self.is_full() {
            self.refresh_at = now + FRESH;
        }
    }

    /// Whether one of the nodes would give way to anybody.
    pub(super) fn has_bad(&self) -> bool {
        self.nodes.iter().any(Node::is_bad)
    }

    /// Whether a newcomer that is not known yet to answer is worth a ping.
    pub(super) fn welcomes(&self, newcomer: &Node) -> bool {
        !self.is_full()
            || self.spares.len() < MAX_SPARES
            || self.weakest(newcomer.secure).is_some()
            || self.crowding(newcomer).is_some()
    }

    /// Adds a node that is not there: to the nodes (`true`), if need be in place of a weak one, else to the spares.
    /// Returns who had to go.
    pub(super) fn add(&mut self, node: Node) -> (bool, Option<SocketAddr>) {
        if !self.is_full() {
            let now = node.answered_at;
            self.nodes.push(node);
            self.on_news(now);
            return (true, None);
        }
        let now = node.answered_at;
        if let Some(at) = self.weakest(node.secure) {
            let gone = std::mem::replace(&mut self.nodes[at], node);
            self.on_news(now);
            return (true, Some(gone.contact.addr));
        }
        if let Some(at) = self.crowding(&node) {
            let spare = std::mem::replace(&mut self.nodes[at], node);
            self.on_news(now);
            return (true, self.put_aside(spare));
        }
        (false, self.put_aside(node))
    }

    fn put_aside(&mut self, node: Node) -> Option<SocketAddr> {
        let oldest = self.spares.iter().enumerate().min_by_key(|(_, spare)| spare.answered_at);
        let gone = match oldest {
            Some((at, _)) if self.spares.len() >= MAX_SPARES => Some(self.spares.remove(at).contact.addr),
            _ => None,
        };
        self.spares.push(node);
        gone
    }

    fn weakest(&self, secure: bool) -> Option<usize> {
        let weak = self.nodes.iter().enumerate();
        weak.filter_map(|(at, known)| Some((known.weakness(secure)?, at))).min().map(|(_, at)| at)
    }

    /// Which eighth of the bucket's range an id lies in.
    fn eighth(&self, id: NodeId) -> u32 {
        (1..=3).fold(0, |eighth, bit| eighth << 1 | u32::from(id.bit(self.depth + bit)))
    }

    /// Nodes in the same eighth.
    fn near(&self, id: NodeId) -> usize {
        self.nodes.iter().filter(|known| self.eighth(known.contact.id) == self.eighth(id)).count()
    }

    /// The node that has to make room for a newcomer so that the range is covered more evenly: the youngest in the
    /// fullest eighth. Even tables make lookups shorter; and whoever sets up nodes around one point gets an eighth
    /// of the bucket and not all of it.
    fn crowding(&self, newcomer: &Node) -> Option<usize> {
        let nodes = self.nodes.iter().enumerate().filter(|(_, known)| newcomer.secure || !known.secure);
        let (at, most) = nodes.max_by_key(|(_, known)| (self.near(known.contact.id), known.since))?;
        (self.near(newcomer.contact.id) + 1 < self.near(most.contact.id)).then_some(at)
    }

    /// After a failure: bad nodes give way to spares, spares that fail go. Returns who went.
    pub(super) fn settle(&mut self) -> Vec<SocketAddr> {
        let (kept, failed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.spares).into_iter().partition(|spare| spare.failures == 0);
        self.spares = kept;
        let mut gone: Vec<_> = failed.into_iter().map(|spare| spare.contact.addr).collect();
        while !self.spares.is_empty()
            && let Some(at) = self.nodes.iter().position(Node::is_bad)
        {
            gone.push(self.nodes.remove(at).contact.addr);
            self.promote();
        }
        gone
    }

    /// Spares take the places that are free: first those whose id is secure, then those where few are, then who
    /// was heard of last.
    pub(super) fn promote(&mut self) {
        while !self.is_full() {
            let worth =
                |spare: &Node| (spare.secure, Reverse(self.near(spare.contact.id)), spare.answered_at);
            let best = self.spares.iter().enumerate().max_by_key(|(_, spare)| worth(spare));
            let Some((at, _)) = best else { break };
            let spare = self.spares.remove(at);
            self.nodes.push(spare);
        }
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        self.nodes.retain(|node| node.contact.id != id);
        self.spares.retain(|node| node.contact.id != id);
    }

    /// A bucket of those that `closer` picks; they leave this one.
    pub(super) fn split_off(&mut self, closer: impl Fn(NodeId) -> bool) -> Bucket {
        let part = |nodes: &mut Vec<Node>| {
            let (out, kept) = std::mem::take(nodes).into_iter().partition(|node| closer(node.contact.id));
            *nodes = kept;
            out
        };
        let (nodes, spares) = (part(&mut self.nodes), part(&mut self.spares));
        Bucket { depth: self.depth + 1, nodes, spares, refresh_at: self.refresh_at }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.nodes.len() <= K && self.spares.len() <= MAX_SPARES);
        assert!(self.is_full() || self.spares.is_empty(), "a spare waits while there is room");
    }
}
