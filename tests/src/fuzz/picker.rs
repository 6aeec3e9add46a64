//! Which pieces and blocks are asked for (`PieceMgr`), among peers that come, go, send, lie and fall silent; and what
//! it opens, beside the plainest way to find the rarest piece.
use std::collections::BTreeSet;
use std::time::Duration;

use wgo_core::piece_mgr::{
    Ask, BadBlocks, Complete, Order, Pace, PeerHave, PieceMgr, PieceState, Priority, Receive, Spill,
};
use wgo_core::{PeerKey, Time};
use wgo_proto::layout::Layout;
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PieceIndex};

use super::Reader;

const PEERS: usize = 6;
/// So many pieces had or open, and the rarest is opened (BEP 3: random first pieces).
const RANDOM_FIRST_PIECES: usize = 4;
const PRIORITIES: [Priority; 4] = [Priority::Normal, Priority::High, Priority::Low, Priority::Skip];

struct Model {
    mgr: PieceMgr<PeerKey>,
    layout: Layout,
    now: Time,
    peers: Vec<(PeerKey, PeerHave)>,
    joined: u32,
    asked: BTreeSet<(PeerKey, Block)>,
    /// With the storage threads.
    verifying: Vec<Complete<PeerKey>>,
    spilling: Vec<Spill<PeerKey>>,
}

/// Any events in any order: no block is asked of whoever lacks it, none twice of one, and what is opened is as rare
/// as can be.
pub(super) fn picker(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (pieces, blocks) = (1 + u32::from(reader.byte() % 24), 1 + u32::from(reader.byte() % 3));
    let total = u64::from(pieces * blocks * BLOCK_LEN) - 100;
    let layout = Layout::v1(blocks * BLOCK_LEN, &[total]).expect("it adds up");
    let mgr = PieceMgr::new(layout.clone(), Bitfield::new(pieces), u64::from(reader.byte()));
    let (peers, asked, now) = (Vec::new(), BTreeSet::new(), Time::ZERO);
    let mut model =
        Model { mgr, layout, now, peers, joined: 0, asked, verifying: Vec::new(), spilling: Vec::new() };
    while !reader.is_empty() {
        model.step(&mut reader);
        model.check();
    }
}

impl Model {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let op = reader.byte();
        let at = usize::from(reader.byte());
        let piece = PieceIndex(u32::from(reader.byte()) % (self.layout.piece_count() + 1));
        let peer = (!self.peers.is_empty()).then(|| at % self.peers.len());
        let asked = self.asked.iter().nth(at % self.asked.len().max(1)).copied();
        match (op % 16, peer, asked) {
            (0, ..) if self.peers.len() < PEERS => self.join(reader),
            (1, Some(peer), _) => self.leave(peer),
            (2, Some(peer), _) => _ = self.mgr.peer_got(&mut self.peers[peer].1, piece),
            (3, Some(peer), _) => _ = self.mgr.peer_lost(&mut self.peers[peer].1, piece),
            (4..=7, Some(peer), _) => self.pick(peer, op, reader),
            (8..=10, _, Some((key, block))) => self.receive(key, block),
            (11, _, Some((key, block))) => self.release(key, block),
            (12, ..) => self.disk(at, op >= 128),
            (13, ..) => self.now += Duration::from_secs(at as u64 % 16),
            (14, ..) => self.mgr.set_priority(piece, PRIORITIES[at % PRIORITIES.len()]),
            (15, ..) if at.is_multiple_of(4) => {
                self.mgr.set_order(if op >= 128 { Order::Sequential } else { Order::RarestFirst });
            }
            (15, ..) if at % 4 == 1 => self.spilling.extend(self.mgr.spill()),
            (15, ..) if self.mgr.state(piece) == PieceState::Have => self.mgr.lose(piece),
            _ => {}
        }
    }

    fn join(&mut self, reader: &mut Reader<'_>) {
        let pieces = self.layout.piece_count();
        let has = match reader.byte() % 4 {
            0 => PeerHave::All,
            1 => PeerHave::None,
            _ => {
                let bits = reader.array::<4>();
                let mut set = Bitfield::new(pieces);
                (0..pieces).filter(|at| bits[*at as usize / 8 % 4] & 1 << (at % 8) != 0).for_each(|at| {
                    set.set(at);
                });
                PeerHave::from_bitfield(set)
            }
        };
        let key = PeerKey { slot: self.joined % 7, generation: self.joined };
        self.joined += 1;
        self.mgr.add_peer(&has);
        self.peers.push((key, has));
    }

    fn leave(&mut self, at: usize) {
        let (key, has) = self.peers.swap_remove(at);
        let blocks: Vec<Block> =
            self.asked.iter().filter(|asked| asked.0 == key).map(|asked| asked.1).collect();
        blocks.into_iter().for_each(|block| self.release(key, block));
        self.mgr.remove_peer(&has);
    }

    fn release(&mut self, key: PeerKey, block: Block) {
        self.mgr.release(key, block);
        self.asked.remove(&(key, block));
    }

    fn pick(&mut self, at: usize, op: u8, reader: &mut Reader<'_>) {
        let pace = [Pace::Fast, Pace::Medium, Pace::Slow][usize::from(op >> 4) % 3];
        let (count, may_open) = (usize::from(reader.byte() % 8), usize::from(reader.byte() % 8));
        let (key, has) = self.peers[at].clone();
        let state = |model: &Model, piece| model.mgr.state(PieceIndex(piece));
        let before: Vec<_> = (0..self.layout.piece_count()).map(|piece| state(self, piece)).collect();
        let (had, open) = (self.mgr.have().count() as usize, self.mgr.open_pieces());
        let ask = Ask { peer: key, has: &has, count, pace, allowed_fast: None, suggested: &[], may_open };
        let mut out = Vec::new();
        self.mgr.pick(self.now, &ask, &mut out);
        assert!(out.len() <= count);
        let mut opened: Vec<PieceIndex> = Vec::new();
        for block in out {
            assert!(self.layout.is_whole_block(block) && has.get(block.piece) && self.mgr.wants(block.piece));
            let others = self.asked.iter().filter(|asked| asked.1 == block).count();
            assert!(others == 0 || self.mgr.is_endgame(), "{block:?} is asked twice before the end");
            assert!(self.asked.insert((key, block)), "{block:?} is asked twice of one peer");
            if before[block.piece.0 as usize] == PieceState::Missing && !opened.contains(&block.piece) {
                if pace != Pace::Slow && self.mgr.order() == Order::RarestFirst {
                    self.assert_rarest(block.piece, &has, &before, &opened, had + open);
                }
                opened.push(block.piece);
            }
        }
        assert!(opened.len() <= may_open);
    }

    /// Of all that the peer has and nobody works on, nothing of a higher priority was left, and of the same
    /// priority nothing that fewer have.
    fn assert_rarest(
        &self,
        piece: PieceIndex,
        has: &PeerHave,
        before: &[PieceState],
        opened: &[PieceIndex],
        begun: usize,
    ) {
        let free = (0..).map(PieceIndex).zip(before).filter(|(other, state)| {
            **state == PieceState::Missing
                && has.get(*other)
                && !opened.contains(other)
                && self.mgr.wants(*other)
        });
        let copies = |piece: PieceIndex| self.peers.iter().filter(|(_, has)| has.get(piece)).count();
        let mine = (self.mgr.priority(piece), copies(piece));
        for (other, _) in free {
            let (priority, copies) = (self.mgr.priority(other), copies(other));
            assert!(priority <= mine.0, "{other:?} is wanted more than {piece:?}");
            let rarer = priority == mine.0 && copies < mine.1;
            assert!(
                !rarer || begun + opened.len() < RANDOM_FIRST_PIECES,
                "{other:?} is rarer than {piece:?}"
            );
        }
    }

    fn receive(&mut self, key: PeerKey, block: Block) {
        self.asked.remove(&(key, block));
        let others: BTreeSet<PeerKey> =
            self.asked.iter().filter(|asked| asked.1 == block).map(|asked| asked.0).collect();
        match self.mgr.receive(self.now, key, block, key) {
            Receive::Stored { cancel, complete } => {
                assert_eq!(cancel.into_iter().collect::<BTreeSet<_>>(), others);
                self.asked.retain(|asked| asked.1 != block);
                self.verifying.extend(complete);
            }
            other => panic!("{block:?} was asked of {key:?}, and is {other:?}"),
        }
    }

    /// A storage thread ends with something.
    fn disk(&mut self, at: usize, well: bool) {
        if at >= 128 && !self.spilling.is_empty() {
            let spill = self.spilling.swap_remove(at % self.spilling.len());
            self.verifying.extend(self.mgr.spilled(spill.piece, well));
        } else if !self.verifying.is_empty() {
            let piece = self.verifying.swap_remove(at % self.verifying.len()).piece;
            match (well, at.is_multiple_of(2)) {
                (true, _) => self.mgr.stored(piece),
                (false, true) => self.mgr.write_failed(piece),
                (false, false) => _ = self.mgr.failed(piece, BadBlocks::All),
            }
            assert_eq!(self.mgr.have().get(piece.0), well);
        }
    }

    fn check(&self) {
        self.mgr.check_invariants();
        self.mgr.check_availability(self.peers.iter().map(|(_, has)| has));
        let blocks: BTreeSet<Block> = self.asked.iter().map(|asked| asked.1).collect();
        assert_eq!(self.mgr.requested_blocks(), blocks.len());
    }
}
