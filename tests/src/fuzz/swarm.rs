//! A whole torrent among hostile peers: messages of any content in any order, comings, goings and time.
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::peer::{CloseReason, Direction, Encryption, PeerInfo};
use wgo_core::peer_mgr::Source;
use wgo_core::status::Counters;
use wgo_core::swarm::{Action, PieceOutcome, Start, Swarm, SwarmConfig};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::layout::Layout;
use wgo_proto::wire::{Frame, Limits, Reserved, next_frame};
use wgo_proto::{BLOCK_LEN, Bitfield, PeerId, WireHash};

use super::Reader;

const PIECES: u32 = 9;
const PEERS: usize = 8;

struct World {
    swarm: Swarm<u32>,
    now: Time,
    peers: Vec<PeerKey>,
    joined: u8,
}

impl World {
    fn new(known: bool) -> World {
        let layout = Layout::v1(2 * BLOCK_LEN, &[u64::from(2 * PIECES * BLOCK_LEN) - 5]).expect("it adds up");
        let now = Time::from_start(Duration::from_secs(100));
        let mut have = Bitfield::new(if known { PIECES } else { 0 });
        if known {
            have.set(3);
        }
        let start = Start {
            id: TorrentId(1),
            hash: WireHash([7; 20]),
            layout: if known { layout } else { Layout::unknown() },
            have,
            selection: None,
            counters: Counters::default(),
            tiers: [vec!["http://tracker.invalid/announce".into()]].into(),
            seed: 3,
        };
        let config = SwarmConfig {
            peer_id: PeerId([1; 20]),
            listen_port: 6868,
            max_peers: PEERS as u32,
            private: false,
            metadata_len: if known { 100_000 } else { 0 },
            pex: true,
        };
        let mut swarm = Swarm::new(now, config, start);
        swarm.set_memory(now, 8);
        World { swarm, now, peers: Vec::new(), joined: 0 }
    }

    fn join(&mut self, how: u8) {
        self.joined = self.joined.wrapping_add(1);
        let addr = SocketAddr::from(([11, 0, 0, self.joined], 7000));
        let direction = if how.is_multiple_of(2) { Direction::Incoming } else { Direction::Outgoing };
        let reserved = Reserved([0, 0, 0, 0, 0, how & 0x10, 0, how & 0x04]);
        let id = PeerId([self.joined; 20]);
        let info = PeerInfo { addr, direction, id, reserved, encryption: Encryption::None };
        if let Ok(key) = self.swarm.connect(self.now, info) {
            self.peers.push(key);
        }
    }

    fn leave(&mut self, at: usize, reason: CloseReason) {
        let key = self.peers.swap_remove(at);
        self.swarm.disconnect(self.now, key, reason);
    }

    /// A peer sends bytes, as its connection would hand them on.
    fn hears(&mut self, at: usize, mut bytes: &[u8]) {
        let key = self.peers[at];
        let limits = Limits::new((!self.swarm.is_unknown()).then_some(PIECES));
        let fault = loop {
            let (taken, result) = match next_frame(bytes, &limits) {
                Ok(Frame::Message { message, consumed }) => {
                    (consumed, self.swarm.on_message(self.now, key, &message))
                }
                Ok(Frame::Block { block, header_len }) => {
                    let complete = self.swarm.on_block(self.now, key, block, 0);
                    let stored = complete.map(|complete| {
                        if let Some(complete) = complete {
                            self.swarm.on_piece(self.now, complete.piece, PieceOutcome::Stored);
                        }
                    });
                    (header_len, stored)
                }
                Ok(Frame::Skip { header_len, body_len, .. }) => (header_len + body_len as usize, Ok(())),
                Ok(Frame::Incomplete { .. }) | Err(_) => return,
            };
            match result {
                Err(fault) => break fault,
                Ok(()) => bytes = bytes.get(taken..).unwrap_or_default(),
            }
        };
        self.leave(at, fault.into());
    }

    /// What the shell does after each call.
    fn settle(&mut self) {
        let mut woken = Vec::new();
        self.swarm.take_wakes(&mut woken);
        let mut dialled = Vec::new();
        while let Some(action) = self.swarm.poll_action() {
            if let Action::Dial(addr, _) = action {
                dialled.push(addr);
            }
        }
        dialled.into_iter().for_each(|addr| self.swarm.on_dial_failed(self.now, addr));
        if self.swarm.poll_timeout().is_some_and(|due| due <= self.now) {
            self.swarm.handle_timeout(self.now);
        }
        let closing = |at: &usize| self.swarm.closing(self.peers[*at]);
        for at in (0..self.peers.len()).rev() {
            if let Some(reason) = closing(&at) {
                return self.leave(at, reason);
            }
        }
    }
}

/// Nothing contradicts itself, whatever comes.
pub(super) fn swarm(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut world = World::new(!reader.byte().is_multiple_of(4));
    let (mut control, mut blocks) = (Vec::new(), Vec::new());
    world.join(0x14);
    while !reader.is_empty() {
        let op = reader.byte();
        let at = usize::from(op >> 4) % world.peers.len().max(1);
        let somebody = at < world.peers.len();
        match op % 16 {
            0 => world.join(reader.byte()),
            1 if somebody => world.leave(at, CloseReason::Gone("left".into())),
            2 => world.now += Duration::from_millis(u64::from(reader.short()) * 4),
            3 if somebody => {
                world.swarm.poll_transmit(world.now, world.peers[at], 1 << 16, &mut control, &mut blocks);
                control.clear();
                blocks.clear();
            }
            4 if somebody => world.swarm.unchoke(world.now, world.peers[at], op > 0x80),
            5 if somebody => world.swarm.choke(world.now, world.peers[at]),
            6 => {
                let addr = SocketAddr::from((reader.array::<4>(), reader.short()));
                world.swarm.add_candidates(world.now, [addr], Source::Tracker);
            }
            7 => world.swarm.set_memory(world.now, usize::from(reader.byte() % 12)),
            _ if somebody => {
                // The length is made right, so that what follows is looked at.
                let body = reader.sized();
                let message = [&(body.len() as u32).to_be_bytes()[..], body].concat();
                world.hears(at, &message);
            }
            _ => {}
        }
        world.settle();
        world.swarm.check_invariants();
    }
}
