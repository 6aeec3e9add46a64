//! Nodes of one attacker. They want to be asked about one torrent in place of the nodes whose task that is: they
//! lie around its info-hash, make themselves known, name only each other, take every announce and keep none, and
//! give peers that don't exist.
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use wgo_core::Time;
use wgo_core::dht::Transmit;
use wgo_proto::NodeId;
use wgo_proto::compact::Family;
use wgo_proto::krpc::{Body, Contact, Method, Nodes, Packet, Query, Response, Values};

/// What all nodes of the attacker know.
pub(crate) struct Gang {
    /// The closest to the target first.
    pub(crate) members: Vec<Contact>,
    /// Honest nodes that one of them has met, to which they make themselves known.
    pub(crate) victims: Vec<SocketAddr>,
}

/// One of them.
pub(crate) struct Sybil {
    own: Contact,
    target: NodeId,
    gang: Rc<Gang>,
    out: VecDeque<Transmit>,
    next_at: Time,
}

/// A sybil asks an honest node something this often, so that it is pinged and gets into tables.
const PUSH: Duration = Duration::from_secs(2);

impl Sybil {
    pub(crate) fn new(own: Contact, target: NodeId, gang: Rc<Gang>) -> Sybil {
        Sybil { own, target, gang, out: VecDeque::new(), next_at: Time::ZERO }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Time {
        self.next_at
    }

    pub(crate) fn handle_timeout(&mut self, now: Time, routers: &[SocketAddr], rng: &mut fastrand::Rng) {
        self.next_at = now + PUSH;
        let victims = if rng.u32(..10) == 0 { routers } else { &self.gang.victims };
        if let Some(to) = rng.choice(victims) {
            let method = Method::FindNode { target: self.target, want: None };
            let body = Body::Query(Query { id: self.own.id, read_only: false, method });
            self.send(*to, &Packet { transaction: b"sy", version: None, ip: None, body });
        }
    }

    pub(crate) fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Ok(packet) = Packet::decode(datagram) else { return };
        let Body::Query(query) = &packet.body else { return };
        let mut nodes = Vec::new();
        self.gang.members.iter().take(20).for_each(|contact| contact.put(&mut nodes));
        let lie = [6, 6, 6, 6, 0x1a, 0xe1];
        let mut response = Response::new(self.own.id);
        match query.method {
            Method::FindNode { .. } => response.nodes = Some(Nodes::new(&nodes, Family::V4)),
            Method::GetPeers { .. } => {
                response.nodes = Some(Nodes::new(&nodes, Family::V4));
                response.token = Some(b"come in");
                response.values = Some(Values::packed(&lie, Family::V4));
            }
            _ => {}
        }
        // Its vote on the other's address is a lie too.
        let ip = Some(SocketAddr::new(IpAddr::from([66, 6, 6, 6]), 6666));
        let body = Body::Response(response);
        self.send(from, &Packet { transaction: packet.transaction, version: None, ip, body });
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet<'_>) {
        let mut datagram = Vec::new();
        packet.encode(&mut datagram);
        self.out.push_back(Transmit { to, datagram });
    }
}
