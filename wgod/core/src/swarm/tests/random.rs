//! Whatever peers, disks and the clock do, in any order, nothing contradicts itself.
use std::time::Duration;

use proptest::prelude::*;

use super::rig::*;
use crate::piece_mgr::Priority::{High, Low, Normal, Skip};
use crate::piece_mgr::{BadBlocks, Complete, Order, Spill};
use crate::swarm::{Action, Learnt, PieceOutcome};
use crate::units::PeerKey;
use wgo_proto::wire::extended::ut_metadata::metadata_piece_len;
use wgo_proto::wire::extended::{Pex, PexFlags, PexPeer};
use wgo_proto::wire::{ExtMessage, Message, MetadataMessage, Reserved};
use wgo_proto::{Block, PieceIndex};

const PIECES: u32 = 5;

struct World {
    rig: Rig,
    peers: Vec<PeerKey>,
    next: u8,
    stores: Vec<Complete<u32>>,
    spills: Vec<Spill<u32>>,
}

impl World {
    fn new() -> World {
        let mut rig = Rig::with(PIECES, &[3], &["http://t.example/a"], 4);
        rig.swarm.set_memory(rig.now, 6);
        World { rig, peers: Vec::new(), next: 1, stores: Vec::new(), spills: Vec::new() }
    }

    /// One whose metadata has to come.
    fn unknown() -> World {
        let mut rig = Rig::unknown(PIECES, &["http://t.example/a"]);
        rig.swarm.set_memory(rig.now, 6);
        World { rig, peers: Vec::new(), next: 1, stores: Vec::new(), spills: Vec::new() }
    }

    fn connect(&mut self, reserved: Reserved) {
        let info = Rig::info(self.next, reserved);
        self.next = self.next % 90 + 1;
        if let Ok(key) = self.rig.swarm.connect(self.rig.now, info) {
            self.peers.push(key);
        }
    }

    fn leave(&mut self, at: usize) {
        let key = self.peers.swap_remove(at);
        self.rig.leaves(key);
    }

    fn message(&mut self, at: usize, kind: u8, piece: u32, number: u32) {
        let key = self.peers[at];
        let (p, b): (PieceIndex, Block) = (PieceIndex(piece), block(piece, number));
        let bits = [(piece as u8) << 3 & 0xf8];
        let result = match kind {
            0 => self.rig.try_say(key, &Message::Choke),
            1 | 2 => self.rig.try_say(key, &Message::Unchoke),
            3 => self.rig.try_say(key, &Message::Interested),
            4 => self.rig.try_say(key, &Message::NotInterested),
            5 => self.rig.try_say(key, &Message::Have(p)),
            6 => self.rig.try_say(key, &Message::HaveAll),
            7 => self.rig.try_say(key, &Message::Bitfield(&bits)),
            8 => self.rig.try_say(key, &Message::Request(b)),
            9 => self.rig.try_say(key, &Message::Cancel(b)),
            10 => self.rig.try_say(key, &Message::Reject(b)),
            11 => self.rig.try_say(key, &Message::AllowedFast(p)),
            12 => self.rig.try_say(key, &Message::Suggest(p)),
            13 if number == 0 => {
                self.rig.extend(key, |handshake| handshake.port = Some(7000 + piece as u16));
                Ok(())
            }
            13 if number == 1 => {
                let named = PexPeer { addr: addr(100 + piece as u8), flags: PexFlags(piece as u8) };
                self.rig.try_say_ext(key, &ExtMessage::Pex(Pex { added: vec![named], dropped: vec![] }))
            }
            13 => self.rig.try_say(key, &Message::HashReject(range())),
            14 if piece < PIECES => {
                self.rig.says_ext(key, &ExtMessage::DontHave(p));
                Ok(())
            }
            _ => self.rig.try_send(key, b).map(|complete| self.stores.extend(complete)),
        };
        if let Err(fault) = result {
            self.peers.swap_remove(at);
            self.rig.swarm.disconnect(self.rig.now, key, fault.into());
        }
    }

    /// The peer answers what it was asked for, as far as `share` goes.
    fn serve(&mut self, at: usize, share: usize) {
        let key = self.peers[at];
        for (piece, number) in self.rig.requests(key).into_iter().take(share) {
            let sent = self.rig.try_send(key, block(piece, number));
            self.stores.extend(sent.expect("it was asked for"));
        }
    }

    fn disk(&mut self, kind: u8) {
        if let Some(complete) = self.stores.pop() {
            let outcome = match kind % 4 {
                0 => PieceOutcome::BadHash(BadBlocks::All),
                1 => PieceOutcome::DiskFailed,
                _ => PieceOutcome::Stored,
            };
            self.rig.swarm.on_piece(self.rig.now, complete.piece, outcome);
        }
        if let Some(spill) = self.spills.pop() {
            self.rig.swarm.on_spilled(self.rig.now, spill.piece, kind.is_multiple_of(3));
        }
    }

    fn operator(&mut self, kind: u8, piece: u32) {
        let now = self.rig.now;
        match kind {
            0 => self.rig.swarm.set_requests_paused(now, piece.is_multiple_of(2)),
            1 => self.rig.swarm.set_uploads_paused(now, piece.is_multiple_of(2)),
            2 => self.rig.swarm.lose(now, [PieceIndex(piece % PIECES)]),
            3 => self.rig.swarm.set_memory(now, piece as usize),
            6 => {
                let files =
                    [0, 1, 2, 3, 4].map(|file| [Skip, Low, Normal, High][((piece + file) % 4) as usize]);
                super::selecting::select(&mut self.rig, PIECES, &files);
            }
            7 => super::selecting::select(&mut self.rig, PIECES, &[]),
            _ => self.rig.swarm.announce_now(now),
        }
        if let Some(key) = self.peers.first() {
            match kind {
                4 => self.rig.swarm.unchoke(now, *key, piece.is_multiple_of(2)),
                5 => self.rig.swarm.choke(now, *key),
                _ => {}
            }
        }
    }

    fn step(&mut self, (what, who, kind, piece, number): (u8, usize, u8, u32, u32)) {
        let at = (!self.peers.is_empty()).then(|| who % self.peers.len().max(1));
        match (what, at) {
            (0, _) => self.connect(Reserved([0, 0, 0, 0, 0, 0x10, 0, if kind < 12 { 0x04 } else { 0 }])),
            (1, Some(at)) if kind < 4 => self.leave(at),
            (1..=4, Some(at)) => self.message(at, kind, piece, number),
            (5..=7, Some(at)) => self.serve(at, kind as usize),
            (8, _) => self.disk(kind),
            (9, _) => self.operator(kind % 9, piece),
            (10, _) => self.rig.wait(Duration::from_millis(u64::from(kind) * 700)),
            (11, Some(at)) => _ = self.rig.pulled(self.peers[at], u64::from(number) * 16_384),
            _ => {}
        }
        self.rig.check();
        for action in self.rig.actions() {
            match action {
                Action::Store(complete) => self.stores.push(complete),
                Action::Spill(spill) => self.spills.push(spill),
                Action::Dial(addr, _) => self.rig.swarm.on_dial_failed(self.rig.now, addr),
                _ => {}
            }
        }
        self.rig.woken();
        let closing: Vec<usize> =
            (0..self.peers.len()).rev().filter(|at| self.rig.closing(self.peers[*at]).is_some()).collect();
        closing.into_iter().for_each(|at| self.leave(at));
    }

    /// A peer says something of metadata, or what came of it is judged wrong.
    fn metadata(&mut self, who: usize, kind: u8, piece: u32) {
        let sizes = [1, 16_384, 40_000, 100_000];
        let size = sizes[who % sizes.len()];
        for action in self.rig.actions() {
            match action {
                Action::Metadata(found) if kind.is_multiple_of(2) => {
                    self.rig.swarm.metadata_wrong(self.rig.now, found.size);
                }
                Action::Metadata(found) => self.rig.swarm.metadata_again(self.rig.now, found.size),
                _ => {}
            }
        }
        self.rig.check();
        let Some(key) = (!self.peers.is_empty()).then(|| self.peers[who % self.peers.len()]) else { return };
        let len = metadata_piece_len(size, piece).unwrap_or(7) as usize;
        let data = vec![kind; len];
        let message = match kind {
            0..4 => return self.rig.extend(key, |handshake| handshake.metadata_size = Some(size)),
            4..8 => MetadataMessage::Data { piece, total_size: None, data: &data },
            8 => MetadataMessage::Reject { piece },
            _ => MetadataMessage::Request { piece },
        };
        if let Err(fault) = self.rig.try_say_ext(key, &ExtMessage::Metadata(message)) {
            self.peers.retain(|other| *other != key);
            self.rig.swarm.disconnect(self.rig.now, key, fault.into());
        }
    }

    /// Everyone becomes reasonable: then the torrent gets done.
    fn finish(&mut self) {
        while !self.stores.is_empty() || !self.spills.is_empty() {
            self.disk(3);
        }
        while !self.peers.is_empty() {
            self.leave(0);
        }
        self.rig.swarm.set_requests_paused(self.rig.now, false);
        self.rig.swarm.set_memory(self.rig.now, 100);
        super::selecting::select(&mut self.rig, PIECES, &[]);
        let seed = self.rig.seed(99);
        self.peers.push(seed);
        for _ in 0..200 {
            if self.rig.swarm.view(self.rig.now).complete {
                return;
            }
            if self.peers.is_empty() {
                break;
            }
            self.serve(0, 99);
            while !self.stores.is_empty() || !self.spills.is_empty() {
                self.disk(3);
            }
            self.step((10, 0, 2, 0, 0));
        }
        panic!("{:?}", self.rig.swarm.view(self.rig.now));
    }
}

fn range() -> wgo_proto::wire::HashRange {
    wgo_proto::wire::HashRange { pieces_root: [0; 32], base_layer: 0, index: 0, length: 2, proof_layers: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_keeps_the_invariants_and_a_seed_completes_it(
        steps in prop::collection::vec((0u8..12, 0usize..4, 0u8..16, 0u32..6, 0u32..4), 1..150)
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    }

    #[test]
    fn so_it_is_when_the_metadata_comes_in_the_middle(
        before in prop::collection::vec((0u8..12, 0usize..4, 0u8..16, 0u32..6, 0u32..4), 1..80),
        talk in prop::collection::vec((0usize..4, 0u8..10, 0u32..8), 80),
        after in prop::collection::vec((0u8..12, 0usize..4, 0u8..16, 0u32..6, 0u32..4), 1..80),
    ) {
        let mut world = World::unknown();
        for ((what, who, kind, piece, number), (of, said, part)) in before.into_iter().zip(talk) {
            // Nothing is lost or chosen of what nobody knows.
            let kind = if what == 9 && [2, 6, 7].contains(&(kind % 9)) { 0 } else { kind };
            // A request is refused whatever it is for, and the rig reads no refusal of what there is not.
            let piece = if kind == 8 { piece % PIECES } else { piece };
            world.metadata(of, said, part);
            world.step((what, who, kind, piece, number));
        }
        let learnt = Learnt::new(Rig::layout(PIECES), None, Order::RarestFirst, 7, false, 50_000);
        world.rig.swarm.learn(world.rig.now, learnt);
        world.rig.check();
        after.into_iter().for_each(|step| world.step(step));
        world.finish();
    }
}
