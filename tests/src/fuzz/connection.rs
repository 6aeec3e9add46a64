//! One connection, whose peer says what a peer may say, or nearly (BEP 3, 6, 10): what we say on it is right for what
//! was said before.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::peer::{Direction, Encryption, PeerInfo};
use wgo_core::status::Counters;
use wgo_core::swarm::{Action, PieceOutcome, Start, Swarm, SwarmConfig};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::layout::Layout;
use wgo_proto::wire::{Frame, Limits, Message, Reserved, next_frame};
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PeerId, PieceIndex, WireHash};

use super::Reader;

const PIECES: u32 = 12;
const BLOCKS: u32 = 2;
/// Requests under way at most: what we announce as the most that we queue (`reqq`).
const MAX_REQUESTS: usize = 2048;

struct Line {
    swarm: Swarm<()>,
    now: Time,
    key: PeerKey,
    fast: bool,
    /// What the peer has, by what it said.
    theirs: Bitfield,
    chokes_us: bool,
    allowed_us: BTreeSet<PieceIndex>,
    /// What we asked for and it hasn't sent, as far as it is certain.
    asked: BTreeSet<Block>,
    choked: bool,
    allowed: BTreeSet<PieceIndex>,
    interested: bool,
    /// What it asked for, as often as it did.
    wanted: Vec<Block>,
}

/// Nothing is asked for that the peer lacks or refuses, nor served that it may not have, and each state is told once.
pub(super) fn connection(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut line = Line::new(reader.byte(), reader.short());
    let alive = line.hear();
    while alive && !reader.is_empty() {
        if !line.step(&mut reader) || !line.hear() {
            return;
        }
        line.swarm.check_invariants();
    }
}

impl Line {
    fn new(how: u8, ours: u16) -> Line {
        let len = u64::from(PIECES * BLOCKS * BLOCK_LEN) - 7;
        let layout = Layout::v1(BLOCKS * BLOCK_LEN, &[len]).expect("it adds up");
        let mut have = Bitfield::new(PIECES);
        (0..PIECES).filter(|piece| ours & 1 << piece != 0).for_each(|piece| _ = have.set(piece));
        let start = Start {
            id: TorrentId(1),
            hash: WireHash([7; 20]),
            layout,
            have,
            selection: None,
            counters: Counters::default(),
            tiers: [].into(),
            seed: 5,
        };
        let config = SwarmConfig {
            peer_id: PeerId([1; 20]),
            listen_port: 6868,
            max_peers: 4,
            private: how >= 128,
            metadata_len: 0,
            pex: true,
        };
        let now = Time::from_start(Duration::from_secs(100));
        let mut swarm = Swarm::new(now, config, start);
        swarm.set_memory(now, 16);
        let fast = how.is_multiple_of(2);
        let reserved = Reserved([0, 0, 0, 0, 0, how & 0x10, 0, if fast { 4 } else { 0 }]);
        let addr = SocketAddr::from(([11, 0, 0, 1], 7000));
        let info = PeerInfo {
            addr,
            direction: Direction::Incoming,
            id: PeerId([2; 20]),
            reserved,
            encryption: Encryption::None,
        };
        let key = swarm.connect(now, info).expect("it is the first");
        Line {
            swarm,
            now,
            key,
            fast,
            theirs: Bitfield::new(PIECES),
            chokes_us: true,
            allowed_us: BTreeSet::new(),
            asked: BTreeSet::new(),
            choked: true,
            allowed: BTreeSet::new(),
            interested: false,
            wanted: Vec::new(),
        }
    }

    /// Something happens; `false` if the connection is over.
    fn step(&mut self, reader: &mut Reader<'_>) -> bool {
        let (op, number) = (reader.byte(), reader.byte());
        let piece = PieceIndex(u32::from(number) % (PIECES + 1));
        let block = Block { piece, offset: u32::from(op >> 7) * BLOCK_LEN, len: BLOCK_LEN };
        match op % 20 {
            0 => return self.says(Message::Choke),
            1 | 2 => return self.says(Message::Unchoke),
            3 => return self.says(Message::Interested),
            4 => return self.says(Message::NotInterested),
            5 | 6 => return self.says(Message::Have(piece)),
            7 => return self.says(Message::Bitfield(&[number, reader.byte() & 0xf0])),
            8 => return self.says(if op >= 128 { Message::HaveAll } else { Message::HaveNone }),
            9 => return self.says(Message::AllowedFast(piece)),
            10 => return self.says(Message::Suggest(piece)),
            11 | 12 => return self.says(Message::Request(block)),
            13 => return self.says(Message::Cancel(block)),
            14 => {
                let one = self.asked.iter().nth(usize::from(number) % self.asked.len().max(1)).copied();
                return self.says(Message::Reject(one.unwrap_or(block)));
            }
            15..=17 => {
                let one = self.asked.iter().nth(usize::from(number) % self.asked.len().max(1)).copied();
                return self.sends(one.unwrap_or(block), op);
            }
            18 if op >= 128 => self.swarm.choke(self.now, self.key),
            18 => self.swarm.unchoke(self.now, self.key, number >= 128),
            _ => {
                self.now += Duration::from_millis(u64::from(number) * 200);
                // Requests that are late may be made anew.
                self.asked.clear();
            }
        }
        true
    }

    fn says(&mut self, message: Message<'_>) -> bool {
        match message {
            Message::Choke => {
                self.chokes_us = true;
                self.asked.clear();
            }
            Message::Unchoke => self.chokes_us = false,
            Message::Have(piece) => _ = self.theirs.set(piece.0),
            Message::Bitfield(bytes) => {
                if let Ok(more) = Bitfield::from_wire(bytes, PIECES) {
                    self.theirs.union_with(&more);
                }
            }
            Message::HaveAll => self.theirs.set_all(),
            Message::AllowedFast(piece) => _ = self.allowed_us.insert(piece),
            Message::Request(block) => self.wanted.push(block),
            // One that it doesn't allow after all: of the whole piece nothing is waited for.
            Message::Reject(block) if self.chokes_us => self.asked.retain(|asked| asked.piece != block.piece),
            Message::Reject(block) => _ = self.asked.remove(&block),
            _ => {}
        }
        self.swarm.on_message(self.now, self.key, &message).is_ok()
    }

    fn sends(&mut self, block: Block, op: u8) -> bool {
        self.asked.remove(&block);
        match self.swarm.on_block(self.now, self.key, block, ()) {
            Ok(Some(complete)) => {
                let outcome = if op >= 32 { PieceOutcome::Stored } else { PieceOutcome::DiskFailed };
                self.swarm.on_piece(self.now, complete.piece, outcome);
                true
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Reads what we say; `false` if we end the connection.
    fn hear(&mut self) -> bool {
        if self.swarm.poll_timeout().is_some_and(|due| due <= self.now) {
            self.swarm.handle_timeout(self.now);
        }
        while let Some(action) = self.swarm.poll_action() {
            if let Action::Store(complete) = action {
                self.swarm.on_piece(self.now, complete.piece, PieceOutcome::Stored);
            }
        }
        self.swarm.take_wakes(&mut Vec::new());
        let (mut control, mut blocks) = (Vec::new(), Vec::new());
        self.swarm.poll_transmit(self.now, self.key, 1 << 20, &mut control, &mut blocks);
        let mut rest = &control[..];
        while !rest.is_empty() {
            let Ok(Frame::Message { message, consumed }) = next_frame(rest, &Limits::new(Some(PIECES)))
            else {
                panic!("we say what can't be read: {rest:?}")
            };
            self.said(&message);
            rest = &rest[consumed..];
        }
        blocks.into_iter().for_each(|block| self.served(block));
        assert!(self.asked.len() <= MAX_REQUESTS);
        self.swarm.closing(self.key).is_none()
    }

    fn said(&mut self, message: &Message<'_>) {
        match *message {
            Message::Choke => assert!(!std::mem::replace(&mut self.choked, true), "choked twice"),
            Message::Unchoke => assert!(std::mem::take(&mut self.choked), "unchoked twice"),
            Message::Interested => assert!(!std::mem::replace(&mut self.interested, true)),
            Message::NotInterested => assert!(std::mem::take(&mut self.interested)),
            Message::Have(piece) => assert!(self.swarm.have().get(piece.0), "we say that we have {piece:?}"),
            Message::Request(block) => {
                assert!(self.interested && self.theirs.get(block.piece.0), "it lacks {block:?}");
                assert!(!self.swarm.have().get(block.piece.0), "we have {block:?}");
                let may = !self.chokes_us || self.allowed_us.contains(&block.piece);
                assert!(may, "{block:?} is asked for while we are choked");
                assert!(self.asked.insert(block), "{block:?} is asked for twice");
            }
            Message::Cancel(block) => _ = self.asked.remove(&block),
            Message::AllowedFast(piece) => {
                assert!(self.fast);
                self.allowed.insert(piece);
            }
            Message::Reject(block) => {
                assert!(self.fast, "a word that it doesn't know");
                self.take_wanted(block);
            }
            Message::HaveAll | Message::HaveNone => assert!(self.fast, "a word that it doesn't know"),
            _ => {}
        }
    }

    fn served(&mut self, block: Block) {
        self.take_wanted(block);
        assert!(self.swarm.have().get(block.piece.0), "{block:?} is served, and we lack it");
        assert!(
            !self.choked || self.allowed.contains(&block.piece),
            "{block:?} is served while it is choked"
        );
    }

    /// Each request is answered once at most.
    fn take_wanted(&mut self, block: Block) {
        let at = self.wanted.iter().position(|wanted| *wanted == block);
        self.wanted.swap_remove(at.unwrap_or_else(|| panic!("{block:?} is answered, and nobody asked")));
    }
}
