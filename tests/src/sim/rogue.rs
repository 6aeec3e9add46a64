//! Those who take part in a way of their own: small state machines that speak the wire, and do on it what no engine
//! of ours would. What they do is honest in its bytes only where its class says so.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::peer::CloseReason;
use wgo_proto::wire::extended::{Pex, PexFlags, PexPeer};
use wgo_proto::wire::{
    ExtMessage, Extension, ExtensionIds, Frame, Limits, Message, block_header, next_frame,
};
use wgo_proto::{Bitfield, Block, PieceIndex};

use crate::sim::content::Content;
use crate::sim::link::{EndId, NodeId};
use crate::sim::world::{Event, World};

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Claims pieces that it lacks, and rejects what it is asked for, or sends something else, or nothing.
    Liar,
    /// Sends bad blocks among good ones.
    Poisoner,
    /// Unchokes, and never answers.
    Staller,
    /// Serves, leaves after moments, and comes again.
    Flapper,
    /// Serves, a byte at a time.
    Dribbler,
    /// Asks for anything, again and again, choked or not.
    Flooder,
    /// Serves, and chokes and unchokes in turn.
    ChokeFlapper,
    /// Promises pieces while it chokes (BEP 6), and doesn't keep it.
    Promiser,
    /// Takes what it can get and gives nothing.
    FreeRider,
    /// Asks, and never reads.
    Deaf,
    /// Sends what no message is.
    Garbler,
    /// Tells of peers that there are none of, whether it was asked or not (BEP 11).
    Gossip,
}

impl Class {
    pub const ALL: [Class; 12] = [
        Class::Liar,
        Class::Poisoner,
        Class::Staller,
        Class::Flapper,
        Class::Dribbler,
        Class::Flooder,
        Class::ChokeFlapper,
        Class::Promiser,
        Class::FreeRider,
        Class::Deaf,
        Class::Garbler,
        Class::Gossip,
    ];

    /// It says that it has everything.
    fn claims(self) -> bool {
        !matches!(self, Class::Liar | Class::Flooder | Class::FreeRider | Class::Deaf)
    }
}

/// One end of one connection.
pub struct Rogue {
    class: Class,
    fast: bool,
    /// What it has heard of a message.
    pending: Vec<u8>,
    /// Payload that it has yet to pass over.
    skip: usize,
    /// What it was asked for, at most [`MAX_ASKED`].
    asked: VecDeque<Block>,
    /// What it says next, at most [`MAX_OUT`].
    out: Vec<u8>,
    choking: bool,
    peer_choking: bool,
    ticks: u32,
    /// Ticks after which a flapper leaves.
    patience: u32,
    /// Where a free rider goes on.
    next: u32,
}

const MAX_ASKED: usize = 300;
const MAX_OUT: usize = 1 << 20;
/// Requests that a flooder makes at once.
const FLOOD: u32 = 200;
/// Blocks that a free rider asks for at once.
const WINDOW: u32 = 8;
/// Peers that a gossip tells of at once.
const RUMOURS: u32 = 3;

impl Rogue {
    fn new(class: Class, fast: bool, content: &Content, rng: &mut fastrand::Rng) -> Rogue {
        let pieces = content.layout.piece_count();
        let mut rogue = Rogue {
            class,
            fast,
            pending: Vec::new(),
            skip: 0,
            asked: VecDeque::new(),
            out: Vec::new(),
            choking: true,
            peer_choking: true,
            ticks: 0,
            patience: rng.u32(1..20),
            next: rng.u32(..pieces),
        };
        let mut field = if class.claims() { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        if class == Class::Liar {
            (0..pieces).filter(|_| rng.bool()).for_each(|piece| _ = field.set(piece));
        }
        match (fast, field.is_full(), field.is_empty()) {
            (true, true, _) => rogue.say(&Message::HaveAll),
            (true, _, true) => rogue.say(&Message::HaveNone),
            (false, _, true) => {}
            _ => rogue.say(&Message::Bitfield(&field.to_wire())),
        }
        match class {
            Class::Flooder | Class::FreeRider | Class::Deaf => rogue.say(&Message::Interested),
            Class::Promiser if fast => {
                (0..pieces.min(40)).for_each(|piece| rogue.say(&Message::AllowedFast(PieceIndex(piece))));
            }
            Class::Promiser => {}
            _ => {
                rogue.choking = false;
                rogue.say(&Message::Unchoke);
            }
        }
        rogue
    }

    fn say(&mut self, message: &Message<'_>) {
        if self.out.len() < MAX_OUT {
            message.encode(&mut self.out);
        }
    }

    fn send(&mut self, block: Block, payload: &[u8]) {
        if self.out.len() < MAX_OUT {
            self.out.extend(block_header(block));
            self.out.extend_from_slice(payload);
        }
    }

    /// Bytes come.
    fn hear(&mut self, bytes: &[u8], content: &Content) {
        let limits = Limits::new(Some(content.layout.piece_count()));
        let mut bytes = {
            let mut all = std::mem::take(&mut self.pending);
            all.extend_from_slice(bytes);
            VecDeque::from(all)
        };
        loop {
            let passed = self.skip.min(bytes.len());
            bytes.drain(..passed);
            self.skip -= passed;
            let rest = bytes.make_contiguous();
            let consumed = match next_frame(rest, &limits) {
                _ if self.skip > 0 => break,
                Ok(Frame::Message { message, consumed }) => {
                    match message {
                        Message::Choke => self.peer_choking = true,
                        Message::Unchoke => self.peer_choking = false,
                        Message::Request(block) if self.asked.len() < MAX_ASKED => {
                            self.asked.push_back(block);
                        }
                        _ => {}
                    }
                    consumed
                }
                Ok(Frame::Block { block, header_len }) => {
                    self.skip = block.len as usize;
                    header_len
                }
                Ok(Frame::Skip { header_len, body_len, .. }) => {
                    self.skip = body_len as usize;
                    header_len
                }
                Ok(Frame::Incomplete { .. }) => break,
                Err(error) => panic!("an engine says what is no message: {error}"),
            };
            bytes.drain(..consumed);
        }
        self.pending = bytes.into();
    }

    /// It does what it does. `false`: it leaves.
    fn tick(&mut self, content: &Content, rng: &mut fastrand::Rng) -> bool {
        self.ticks += 1;
        match self.class {
            Class::Liar => self.lie(content, rng),
            Class::Poisoner => self.serve(content, rng, true),
            Class::Dribbler => self.serve(content, rng, false),
            Class::Staller => self.asked.clear(),
            Class::Flapper => {
                self.serve(content, rng, false);
                return self.ticks < self.patience;
            }
            Class::ChokeFlapper => {
                self.serve(content, rng, false);
                self.choking = !self.choking;
                self.say(if self.choking { &Message::Choke } else { &Message::Unchoke });
            }
            Class::Promiser => {
                let refused: Vec<Block> = self.asked.drain(..).filter(|_| rng.bool()).collect();
                refused
                    .iter()
                    .filter(|_| self.fast)
                    .for_each(|block| Message::Reject(*block).encode(&mut self.out));
            }
            Class::FreeRider if !self.peer_choking => (0..WINDOW).for_each(|_| self.ask_next(content)),
            Class::FreeRider => {}
            Class::Flooder => (0..FLOOD).for_each(|_| self.flood(content, rng)),
            Class::Deaf => (0..WINDOW).for_each(|_| self.ask_next(content)),
            Class::Garbler if self.ticks > 3 => {
                let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(40).collect();
                self.out.extend(garbage);
            }
            Class::Garbler => {}
            Class::Gossip => self.gossip(rng),
        }
        true
    }

    fn serve(&mut self, content: &Content, rng: &mut fastrand::Rng, badly: bool) {
        while let Some(block) = self.asked.pop_front() {
            if content.layout.check(block).is_err() || self.choking && !self.fast {
                continue;
            }
            if self.choking {
                self.say(&Message::Reject(block));
                continue;
            }
            let mut payload = content.piece(block.piece)
                [block.offset as usize..(block.offset + block.len) as usize]
                .to_vec();
            if badly && rng.bool() {
                let at = rng.usize(..payload.len());
                payload[at] ^= 1 << rng.u32(..8);
            }
            self.send(block, &payload);
        }
    }

    fn lie(&mut self, content: &Content, rng: &mut fastrand::Rng) {
        self.say(&Message::Have(PieceIndex(rng.u32(..content.layout.piece_count()))));
        while let Some(block) = self.asked.pop_front() {
            match rng.u32(..3) {
                0 if self.fast => self.say(&Message::Reject(block)),
                1 => {
                    let other = any_block(content, rng);
                    self.send(other, &vec![7; other.len as usize]);
                }
                _ => {}
            }
        }
    }

    fn flood(&mut self, content: &Content, rng: &mut fastrand::Rng) {
        let block = any_block(content, rng);
        match rng.u32(..20) {
            0 => self.say(&Message::Cancel(block)),
            1 => self.say(&Message::NotInterested),
            2 => self.say(&Message::Interested),
            _ => self.say(&Message::Request(block)),
        }
    }

    fn gossip(&mut self, rng: &mut fastrand::Rng) {
        let added = (0..RUMOURS).map(|_| PexPeer { addr: rumour(rng), flags: PexFlags::default() }).collect();
        let pex = ExtMessage::Pex(Pex { added, dropped: Vec::new() });
        if self.out.len() < MAX_OUT {
            pex.encode(&ExtensionIds::local([Extension::Pex]), &mut self.out);
        }
    }

    fn ask_next(&mut self, content: &Content) {
        self.next = (self.next + 1) % content.layout.piece_count();
        self.say(&Message::Request(content.layout.block(PieceIndex(self.next), 0)));
    }
}

/// An address that nobody has, nor any tracker names.
fn rumour(rng: &mut fastrand::Rng) -> SocketAddr {
    SocketAddr::from(([11, 200, rng.u8(..), rng.u8(1..)], 6868))
}

fn any_block(content: &Content, rng: &mut fastrand::Rng) -> Block {
    let piece = PieceIndex(rng.u32(..content.layout.piece_count()));
    content.layout.block(piece, rng.u32(..content.layout.blocks_in(piece)))
}

impl World {
    /// Somebody of a class joins a swarm: trackers name it, and it dials.
    pub fn rogue(&mut self, id: wgo_core::TorrentId, habits: crate::sim::node::Habits) -> NodeId {
        assert!(habits.rogue.is_some());
        let node = self.node(habits);
        self.tracker.peers.entry(id).or_default().insert(node);
        self.after(Duration::from_millis(500), Event::RogueDials(node));
        node
    }

    /// A rogue's end of a connection.
    pub fn attach_rogue(&mut self, end: EndId) {
        let link = &self.links[end.link];
        let content = &self.contents[link.torrent.0 as usize];
        let node = link.ends[end.side].node;
        let other = link.ends[1 - end.side].node;
        let fast = self.nodes[node].habits.fast && self.nodes[other].habits.fast;
        let Some(class) = self.nodes[node].habits.rogue else { return };
        let rogue = Rogue::new(class, fast, content, &mut self.rng);
        self.links[end.link].ends[end.side].rogue = Some(Box::new(rogue));
        self.live_links.insert(end.link);
        self.rogue_sends(end);
        let wait = self.pace(class);
        self.after(wait, Event::RogueTick(end));
    }

    fn pace(&mut self, class: Class) -> Duration {
        match class {
            Class::Dribbler => self.millis(100, 400),
            _ => self.millis(200, 1500),
        }
    }

    /// It reads all that has come, unless it never does.
    pub fn rogue_reads(&mut self, end: EndId) {
        let content = &self.contents[self.links[end.link].torrent.0 as usize];
        let one = &mut self.links[end.link].ends[end.side];
        let Some(rogue) = one.rogue.as_mut().filter(|rogue| rogue.class != Class::Deaf) else { return };
        let bytes = std::mem::take(&mut one.inbox);
        rogue.hear(&bytes, content);
        self.links[end.link].ends[1 - end.side].in_flight -= bytes.len();
    }

    /// It sends what its socket takes, or a byte.
    pub fn rogue_sends(&mut self, end: EndId) {
        let one = &mut self.links[end.link].ends[end.side];
        let room = self.nodes[one.node].habits.socket.saturating_sub(one.in_flight);
        let Some(rogue) = one.rogue.as_mut() else { return };
        let most = if rogue.class == Class::Dribbler && rogue.ticks > 0 { 1 } else { room };
        let n = rogue.out.len().min(most).min(room);
        if n > 0 {
            let bytes: Vec<u8> = rogue.out.drain(..n).collect();
            self.transmit(end, bytes);
        }
    }

    pub fn rogue_ticks(&mut self, end: EndId) {
        let content = &self.contents[self.links[end.link].torrent.0 as usize];
        let Some(rogue) = self.links[end.link].ends[end.side].rogue.as_mut() else { return };
        let class = rogue.class;
        if !rogue.tick(content, &mut self.rng) {
            return self.end(end, CloseReason::Gone("it flaps".into()));
        }
        self.rogue_sends(end);
        let wait = self.pace(class);
        self.after(wait, Event::RogueTick(end));
    }

    /// It dials somebody whom the tracker names.
    pub fn rogue_dials(&mut self, node: NodeId) {
        let of = |(id, peers): (&wgo_core::TorrentId, &std::collections::BTreeSet<NodeId>)| {
            peers
                .contains(&node)
                .then(|| (*id, peers.iter().copied().filter(|other| *other != node).collect()))
        };
        let known: Vec<(_, Vec<NodeId>)> = self.tracker.peers.iter().filter_map(of).collect();
        for (id, others) in known.into_iter().filter(|(_, others)| !others.is_empty()) {
            let other = others[self.rng.usize(..others.len())];
            if self.nodes[node].up && self.nodes[other].habits.rogue.is_none() {
                self.dial(node, id, self.nodes[other].addr);
            }
        }
        let wait = self.millis(2_000, 40_000);
        self.after(wait, Event::RogueDials(node));
    }
}
