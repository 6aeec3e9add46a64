//! Connections come and go: dials, handshakes, ends that hear of an end, breaks at random.
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_core::peer::{CloseReason, Direction, Encryption, PeerInfo};
use wgo_proto::PeerId;
use wgo_proto::wire::{Handshake, Reserved};

use crate::sim::link::{End, EndId, Link, NodeId};
use crate::sim::watch::Watch;
use crate::sim::world::{Event, World};

/// How long a dialler waits for nobody.
const DIAL_TIME: Duration = Duration::from_secs(3);

impl World {
    pub fn epoch(&self, node: NodeId, id: TorrentId) -> u32 {
        self.nodes[node].torrents.get(&id).map_or(0, |entry| entry.epoch)
    }

    /// A Swarm wants a connection.
    pub fn dial(&mut self, from: NodeId, torrent: TorrentId, to: SocketAddr) {
        let (wait, epoch) = (self.millis(5, 60), self.epoch(from, torrent));
        self.after(wait, Event::Dialled { from, torrent, to, epoch });
    }

    pub fn dialled(&mut self, from: NodeId, torrent: TorrentId, to: SocketAddr, epoch: u32) {
        let target = self.nodes.iter().position(|node| node.addr == to && node.up);
        let latency = self.millis(5, 60);
        let Some(node) = target.filter(|node| *node != from) else {
            return self.after(DIAL_TIME, Event::DialFailed { from, torrent, addr: to, epoch });
        };
        let dormant = self.nodes[node].session.row(torrent).is_some_and(|row| row.dormant);
        if dormant {
            let now = self.now;
            self.nodes[node].session.wake(now, torrent);
            self.touched.insert((node, None));
            return self.after(Duration::from_millis(5), Event::Dialled { from, torrent, to, epoch });
        }
        // The handshake, through its bytes, as both ends see it.
        let hash = self.content(torrent).hash();
        let caller = &self.nodes[from];
        let said = Handshake { reserved: caller.reserved(), hash, peer_id: caller.peer_id() };
        let heard = Handshake::decode(&said.encode()).expect("our handshake is one");
        assert_eq!(heard, said);
        let mut addr = caller.addr;
        addr.set_port(20_000 + self.rng.u16(..20_000));
        let common = self.common(from, node);
        let info = info(addr, Direction::Incoming, heard.peer_id, common);
        let connected = self.call(node, torrent, |swarm, now| swarm.connect(now, info));
        let Some(Ok(key)) = connected else {
            return self.after(latency, Event::DialFailed { from, torrent, addr: to, epoch });
        };
        let pieces = self.content(torrent).layout.piece_count();
        let far = [from, node].map(|node| self.nodes[node].habits.distance);
        let latency = far.into_iter().flatten().max().unwrap_or(latency);
        let end = |node| End::new(node, Watch::new(pieces, common.fast()));
        let id = EndId { link: self.links.len(), side: 1 };
        self.links.push(Link { torrent, latency, ends: [end(from), end(node)], cut: false });
        self.attach(id, key);
        self.after(latency, Event::Accepted { link: id.link, addr: to, epoch });
    }

    /// What both ends speak.
    fn common(&self, a: NodeId, b: NodeId) -> Reserved {
        let fast = self.nodes[a].habits.fast && self.nodes[b].habits.fast;
        if fast { Reserved::EXTENSIONS | Reserved::FAST } else { Reserved::EXTENSIONS }
    }

    fn attach(&mut self, end: EndId, key: wgo_core::PeerKey) {
        let torrent = self.links[end.link].torrent;
        let one = &mut self.links[end.link].ends[end.side];
        one.key = Some(key);
        let entry = self.nodes[one.node].torrents.get_mut(&torrent).expect("it is live");
        assert!(entry.ends.insert(key, end).is_none(), "a key is given once");
    }

    pub fn accepted(&mut self, link: usize, addr: SocketAddr, epoch: u32) {
        let (torrent, from, node) = {
            let one = &self.links[link];
            (one.torrent, one.ends[0].node, one.ends[1].node)
        };
        if self.epoch(from, torrent) != epoch || !self.nodes[from].up {
            return self.tell_end(EndId { link, side: 1 });
        }
        if self.links[link].cut {
            self.call(from, torrent, |swarm, now| swarm.on_dial_failed(now, addr));
            return;
        }
        let info = info(addr, Direction::Outgoing, self.nodes[node].peer_id(), self.common(from, node));
        match self.call(from, torrent, |swarm, now| swarm.connect(now, info)) {
            Some(Ok(key)) => self.attach(EndId { link, side: 0 }, key),
            Some(Err(_)) | None => self.tell_end(EndId { link, side: 1 }),
        }
    }

    pub fn dial_failed(&mut self, from: NodeId, torrent: TorrentId, addr: SocketAddr, epoch: u32) {
        if self.epoch(from, torrent) == epoch {
            self.call(from, torrent, |swarm, now| swarm.on_dial_failed(now, addr));
        }
    }

    /// An end will hear that the connection is over, after what is still on its way to it.
    fn tell_end(&mut self, end: EndId) {
        let link = &self.links[end.link];
        let at = link.ends[1 - end.side].last_arrival.max(self.now + link.latency);
        self.at(at, Event::End(end));
    }

    pub fn hear_end(&mut self, end: EndId) {
        self.end(end, CloseReason::Gone("the other end closed".into()));
    }

    /// Ends one end's part in a connection; the other hears of it.
    pub fn end(&mut self, end: EndId, reason: CloseReason) {
        let torrent = self.links[end.link].torrent;
        let one = &mut self.links[end.link].ends[end.side];
        let Some(key) = one.key.take() else { return };
        let (node, flow, credit) = (one.node, one.flow.take(), std::mem::take(&mut one.credit));
        one.out.clear();
        one.pulled.clear();
        if let Some(flow) = flow {
            let node = &mut self.nodes[node];
            node.limiter.give_back(flow, credit);
            node.limiter.close(flow);
            node.flows.remove(&flow);
        }
        let said = self.call(node, torrent, |swarm, _| swarm.closing(key)).flatten();
        if let Some(CloseReason::Fault(fault)) = said.as_ref().or(Some(&reason)) {
            self.note_fault(end, fault);
        }
        self.call(node, torrent, |swarm, now| swarm.disconnect(now, key, reason));
        if let Some(entry) = self.nodes[node].torrents.get_mut(&torrent) {
            entry.ends.remove(&key);
        }
        if !self.links[end.link].cut {
            self.tell_end(end.other());
        }
    }

    /// Breaks a connection: what is in flight is lost, each end hears of it when it does.
    pub fn cut(&mut self, link: usize) {
        self.links[link].cut = true;
        for side in 0..2 {
            let wait = self.millis(0, 300);
            self.after(wait, Event::End(EndId { link, side }));
        }
    }

    /// Breaks some connection and comes again.
    pub fn flap(&mut self) {
        let alive = |link: &Link| !link.cut && link.ends.iter().any(|end| end.key.is_some());
        let alive: Vec<usize> = (0..self.links.len()).filter(|at| alive(&self.links[*at])).collect();
        if !alive.is_empty() {
            let link = alive[self.rng.usize(..alive.len())];
            self.cut(link);
        }
        if let Some(every) = self.flap_every {
            let wait = every.mul_f64(0.5 + self.rng.f64());
            self.after(wait, Event::Flap);
        }
    }
}

fn info(addr: SocketAddr, direction: Direction, id: PeerId, reserved: Reserved) -> PeerInfo {
    PeerInfo { addr, direction, id, reserved, encryption: Encryption::None }
}
