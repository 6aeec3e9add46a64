//! Connections come and go: dials, handshakes, ends that hear of an end, breaks at random.
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::peer::{CloseReason, Direction, Encryption, PeerInfo};
use wgo_core::{PeerKey, TorrentId};
use wgo_proto::PeerId;
use wgo_proto::wire::{Handshake, Reserved};

use crate::sim::link::{End, EndId, Link, NodeId};
use crate::sim::watch::Watch;
use crate::sim::world::{Event, World};

/// How long a dialler waits for nobody.
const DIAL_TIME: Duration = Duration::from_secs(3);
/// Half a minute, a quarter less, is the least between a dial that failed and the next to the same address.
const RETRY: Duration = Duration::from_millis(22_500);

impl World {
    pub fn epoch(&self, node: NodeId, id: TorrentId) -> u32 {
        self.nodes[node].torrents.get(&id).map_or(0, |entry| entry.epoch)
    }

    /// A Swarm wants a connection.
    pub fn dial(&mut self, from: NodeId, torrent: TorrentId, to: SocketAddr) {
        let (wait, epoch) = (self.millis(5, 60), self.epoch(from, torrent));
        if let Some(entry) = self.nodes[from].torrents.get_mut(&torrent) {
            assert!(entry.dialing.insert(to), "node {from} dials {to} while it dials it");
        }
        self.tell(Some(from), || format!("dials {to} for torrent {}", torrent.0));
        self.after(wait, Event::Dialled { from, torrent, to, epoch });
    }

    /// Who answers at an address, or when a dialler hears that nobody does.
    fn answers(&mut self, from: NodeId, to: SocketAddr) -> Result<NodeId, Duration> {
        let latency = self.millis(5, 60);
        let weather = self.weather;
        let there = self.by_addr.get(&to).copied().filter(|node| self.nodes[*node].up && *node != from);
        let Some(node) = there else { return Err(DIAL_TIME) };
        let lost = weather.dials_lost > 0 && self.rng.u32(..100) < weather.dials_lost;
        if self.nodes[node].habits.nat || self.parted(from, node) || lost {
            return Err(DIAL_TIME);
        }
        let refused = weather.refused > 0 && self.rng.u32(..100) < weather.refused;
        if refused { Err(latency) } else { Ok(node) }
    }

    pub fn dialled(&mut self, from: NodeId, torrent: TorrentId, to: SocketAddr, epoch: u32) {
        if self.parted_from_itself(from) {
            return;
        }
        let node = match self.answers(from, to) {
            Ok(node) => node,
            Err(wait) => return self.after(wait, Event::DialFailed { from, torrent, addr: to, epoch }),
        };
        let latency = self.millis(5, 60);
        if self.nodes[node].session.row(torrent).is_some_and(|row| row.dormant) {
            let now = self.clock(node);
            self.nodes[node].session.wake(now, torrent);
            self.touched.insert((node, None));
            return self.after(Duration::from_millis(5), Event::Dialled { from, torrent, to, epoch });
        }
        // The handshake, through its bytes, as both ends see it.
        let hash = self.content(torrent).hash();
        let said = Handshake { reserved: self.nodes[from].reserved(), hash, peer_id: self.peer_id_of(from) };
        let heard = Handshake::decode(&said.encode()).expect("our handshake is one");
        assert_eq!(heard, said);
        let mut addr = self.nodes[from].addr;
        addr.set_port(20_000 + self.rng.u16(..20_000));
        let common = self.common(from, node);
        let info = info(addr, Direction::Incoming, heard.peer_id, common);
        let key = match self.nodes[node].habits.rogue {
            Some(_) => None,
            None => match self.call(node, torrent, |swarm, now| swarm.connect(now, info)) {
                Some(Ok(key)) => Some(key),
                refused => {
                    self.tell(Some(node), || format!("refuses {addr}: {refused:?}"));
                    return self.after(latency, Event::DialFailed { from, torrent, addr: to, epoch });
                }
            },
        };
        let pieces = self.content(torrent).layout.piece_count();
        let far = [from, node].map(|node| self.nodes[node].habits.distance);
        let latency = far.into_iter().flatten().max().unwrap_or(latency);
        let end = |node| End::new(node, Watch::new(pieces, common.fast(), self.clock(node)));
        let id = EndId { link: self.links.len(), side: 1 };
        let ends = [end(from), end(node)];
        self.links.push(Link { torrent, latency, ends, cut: false, deaf: [false; 2] });
        self.live_links.insert(id.link);
        self.tell(Some(node), || format!("connection {} from node {from}, torrent {}", id.link, torrent.0));
        match key {
            Some(key) => self.attach(id, key),
            None => self.attach_rogue(id),
        }
        self.after(latency, Event::Accepted { link: id.link, addr: to, epoch });
    }

    /// A node that went away meanwhile dials nobody.
    fn parted_from_itself(&self, from: NodeId) -> bool {
        !self.nodes[from].up
    }

    /// The id that a node's handshakes have: those of a rogue are never the same.
    fn peer_id_of(&mut self, node: NodeId) -> PeerId {
        let mut id = self.nodes[node].peer_id();
        if self.nodes[node].habits.rogue.is_some() {
            self.rng.fill(&mut id.0[12..]);
        }
        id
    }

    /// What both ends speak.
    fn common(&self, a: NodeId, b: NodeId) -> Reserved {
        let fast = self.nodes[a].habits.fast && self.nodes[b].habits.fast;
        if fast { Reserved::EXTENSIONS | Reserved::FAST } else { Reserved::EXTENSIONS }
    }

    fn attach(&mut self, end: EndId, key: PeerKey) {
        let torrent = self.links[end.link].torrent;
        let one = &mut self.links[end.link].ends[end.side];
        one.key = Some(key);
        let (node, other) = (one.node, self.links[end.link].ends[1 - end.side].node);
        let addr = self.nodes[other].addr;
        let entry = self.nodes[node].torrents.get_mut(&torrent).expect("it is live");
        // Whoever comes may be called back.
        entry.named.insert(addr);
        assert!(entry.ends.insert(key, end).is_none(), "a key is given once");
    }

    pub fn accepted(&mut self, link: usize, addr: SocketAddr, epoch: u32) {
        let (torrent, from, node) = {
            let one = &self.links[link];
            (one.torrent, one.ends[0].node, one.ends[1].node)
        };
        let end = EndId { link, side: 0 };
        if !self.nodes[from].up {
            return self.tell_end(end.other());
        }
        if self.nodes[from].habits.rogue.is_some() {
            if !self.links[link].cut {
                self.attach_rogue(end);
            }
            return;
        }
        if self.epoch(from, torrent) != epoch {
            return self.tell_end(end.other());
        }
        if self.links[link].cut {
            return self.dial_failed(from, torrent, addr, epoch);
        }
        if let Some(entry) = self.nodes[from].torrents.get_mut(&torrent) {
            entry.dialing.remove(&addr);
        }
        let id = self.peer_id_of(node);
        let info = info(addr, Direction::Outgoing, id, self.common(from, node));
        match self.call(from, torrent, |swarm, now| swarm.connect(now, info)) {
            Some(Ok(key)) => {
                self.attach(end, key);
                self.live_links.insert(link);
                // What the other end said meanwhile has waited.
                self.at(self.now, Event::Arrive(end));
            }
            refused @ (Some(Err(_)) | None) => {
                self.tell(Some(from), || format!("connection {link} is refused: {refused:?}"));
                self.tell_end(end.other());
            }
        }
    }

    pub fn dial_failed(&mut self, from: NodeId, torrent: TorrentId, addr: SocketAddr, epoch: u32) {
        if self.epoch(from, torrent) == epoch {
            self.tell(Some(from), || format!("could not reach {addr}"));
            self.note_failed_dial(from, torrent, addr);
            self.call(from, torrent, |swarm, now| swarm.on_dial_failed(now, addr));
        }
    }

    /// Whoever can't be reached is left alone for a while. One that failed too often is forgotten, so another may name
    /// it at once: two tries may be near each other, three never are.
    fn note_failed_dial(&mut self, from: NodeId, torrent: TorrentId, addr: SocketAddr) {
        let now = self.clock(from);
        let Some(entry) = self.nodes[from].torrents.get_mut(&torrent) else { return };
        entry.dialing.remove(&addr);
        let [first, second] = entry.failed_dials.insert(addr, [None, None]).unwrap_or_default();
        entry.failed_dials.insert(addr, [second, Some(now)]);
        let pause = first.map_or(RETRY, |first| now.since(first));
        assert!(pause >= RETRY, "node {from} dialled {addr} three times in vain within {pause:?}");
    }

    /// An end will hear that the connection is over, after what is still on its way to it.
    pub fn tell_end(&mut self, end: EndId) {
        let link = &self.links[end.link];
        let at = link.ends[1 - end.side].last_arrival.max(self.now + link.latency);
        self.at(at, Event::End(end));
    }

    pub fn hear_end(&mut self, end: EndId) {
        let link = &mut self.links[end.link];
        if link.cut {
            if link.deaf[end.side] {
                return;
            }
        } else {
            let (one, other) = (link.ends[end.side].node, link.ends[1 - end.side].node);
            let apart = self.nodes[one].part != self.nodes[other].part;
            let link = &mut self.links[end.link];
            if apart || !link.ends[1 - end.side].pipe.is_empty() {
                link.ends[1 - end.side].fin = true;
                return;
            }
            if !link.ends[end.side].inbox.is_empty() {
                link.ends[end.side].eof = true;
                return;
            }
        }
        self.end(end, CloseReason::Gone("the other end closed".into()));
    }

    /// Ends one end's part in a connection; the other hears of it.
    pub fn end(&mut self, end: EndId, reason: CloseReason) {
        let torrent = self.links[end.link].torrent;
        let one = &mut self.links[end.link].ends[end.side];
        let rogue = one.rogue.take().is_some();
        let key = one.key.take();
        if key.is_none() && !rogue {
            return;
        }
        let (node, up, down) = (one.node, std::mem::take(&mut one.up), std::mem::take(&mut one.down));
        (one.inbox, one.pending) = (Vec::new(), Vec::new());
        one.out.clear();
        one.pulled.clear();
        self.give_up_share(node, up);
        self.give_up_share(node, down);
        if self.is_ended(end.other()) {
            self.live_links.remove(&end.link);
        }
        self.tell(Some(node), || format!("connection {} ends: {reason}", end.link));
        if let Some(key) = key {
            let said = self.call(node, torrent, |swarm, _| swarm.closing(key)).flatten();
            let why = said.as_ref().unwrap_or(&reason).clone();
            self.note_reason(end, &why);
            self.call(node, torrent, |swarm, now| swarm.disconnect(now, key, reason));
            if let Some(entry) = self.nodes[node].torrents.get_mut(&torrent) {
                entry.ends.remove(&key);
            }
        }
        if !self.links[end.link].cut {
            self.tell_end(end.other());
        }
    }

    fn is_ended(&self, end: EndId) -> bool {
        let one = &self.links[end.link].ends[end.side];
        one.key.is_none() && one.rogue.is_none()
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
        if let Some(link) = self.any_link().filter(|link| !self.links[*link].cut) {
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
