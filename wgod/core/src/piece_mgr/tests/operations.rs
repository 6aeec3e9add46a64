//! Random sequences of everything that can happen to a [`PieceMgr`], next to a model that knows who was
//! asked for what and who lies.
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use smallvec::SmallVec;

use super::super::*;
use crate::{PeerKey, Time};
use std::time::Duration;
use wgo_proto::{BLOCK_LEN, Block};

/// The buffer: who sent it, and whether it is what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buf {
    from: Option<PeerKey>,
    good: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Join { has: u64, liar: bool },
    Leave { peer: usize },
    Have { peer: usize, piece: u32, lost: bool },
    Pick { peer: usize, count: usize, pace: Pace, only: Option<Vec<u32>>, may_open: usize },
    Receive { nth: usize },
    ReceiveLate { nth: usize },
    ReceiveAny { peer: usize, piece: u32, number: u32 },
    Release { nth: usize },
    Choke { peer: usize },
    Verdict { nth: usize, per_block: bool, give_back: bool },
    WriteFails { nth: usize },
    Spill,
    Spilled { nth: usize, ok: bool },
    Prioritise { piece: u32, priority: Priority },
    Reorder { order: Order },
    Lose { piece: u32 },
    Found { piece: u32 },
    Wait { secs: u64 },
    Restart,
}

fn any_op() -> impl Strategy<Value = Op> {
    let pace = prop::sample::select(vec![Pace::Fast, Pace::Medium, Pace::Slow]);
    let priority =
        prop::sample::select(vec![Priority::Skip, Priority::Low, Priority::Normal, Priority::High]);
    let order = prop::sample::select(vec![Order::RarestFirst, Order::Sequential]);
    let only = prop::option::weighted(0.1, prop::collection::vec(0..40u32, 0..5));
    let (nth, piece) = (0..1000usize, 0..40u32);
    prop_oneof![
        3 => (any::<u64>(), prop::bool::weighted(0.3)).prop_map(|(has, liar)| Op::Join { has, liar }),
        1 => nth.clone().prop_map(|peer| Op::Leave { peer }),
        3 => (nth.clone(), piece.clone(), prop::bool::weighted(0.2))
            .prop_map(|(peer, piece, lost)| Op::Have { peer, piece, lost }),
        12 => (nth.clone(), 0..7usize, pace, only, 0..9usize)
            .prop_map(|(peer, count, pace, only, may_open)| Op::Pick { peer, count, pace, only, may_open }),
        25 => nth.clone().prop_map(|nth| Op::Receive { nth }),
        2 => nth.clone().prop_map(|nth| Op::ReceiveLate { nth }),
        1 => (nth.clone(), piece.clone(), 0..6u32)
            .prop_map(|(peer, piece, number)| Op::ReceiveAny { peer, piece, number }),
        3 => nth.clone().prop_map(|nth| Op::Release { nth }),
        1 => nth.clone().prop_map(|peer| Op::Choke { peer }),
        6 => (nth.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(nth, per_block, give_back)| Op::Verdict { nth, per_block, give_back }),
        1 => nth.clone().prop_map(|nth| Op::WriteFails { nth }),
        2 => Just(Op::Spill),
        2 => (nth.clone(), prop::bool::weighted(0.8)).prop_map(|(nth, ok)| Op::Spilled { nth, ok }),
        2 => (piece.clone(), priority).prop_map(|(piece, priority)| Op::Prioritise { piece, priority }),
        1 => order.prop_map(|order| Op::Reorder { order }),
        1 => piece.clone().prop_map(|piece| Op::Lose { piece }),
        1 => piece.prop_map(|piece| Op::Found { piece }),
        2 => (1..15u64).prop_map(|secs| Op::Wait { secs }),
        1 => Just(Op::Restart),
    ]
}

struct Peer {
    has: PeerHave,
    /// Every block it sends is bad.
    liar: bool,
}

struct Model {
    mgr: PieceMgr<Buf>,
    layout: Layout,
    now: Time,
    peers: BTreeMap<PeerKey, Peer>,
    joined: u32,
    /// Whom we asked for which block, as the Swarm would know it.
    asked: BTreeSet<(PeerKey, Block)>,
    /// Requests that were called off.
    late: Vec<(PeerKey, Block)>,
    /// Pieces with the storage threads.
    verifying: Vec<Complete<Buf>>,
    spilling: Vec<Spill<Buf>>,
    /// Blocks of incomplete pieces on disk.
    disk: BTreeMap<(PieceIndex, u32), Buf>,
}

impl Model {
    fn new(pieces: u32, blocks: u32, seed: u64) -> Model {
        let piece_len = blocks * BLOCK_LEN;
        let total = u64::from(pieces) * u64::from(piece_len) - 100;
        let layout = Layout::v1(piece_len, &[total]).unwrap();
        let mgr = PieceMgr::new(layout.clone(), Bitfield::new(pieces), seed);
        Model {
            mgr,
            layout,
            now: Time::ZERO,
            peers: BTreeMap::new(),
            joined: 0,
            asked: BTreeSet::new(),
            late: Vec::new(),
            verifying: Vec::new(),
            spilling: Vec::new(),
            disk: BTreeMap::new(),
        }
    }

    fn run(&mut self, op: Op) {
        let nth_peer = |nth: usize| self.peers.keys().nth(nth % self.peers.len().max(1)).copied();
        let nth_asked = |nth: usize| self.asked.iter().nth(nth % self.asked.len().max(1)).copied();
        match op {
            Op::Join { has, liar } => self.join(has, liar),
            Op::Leave { peer } => nth_peer(peer).into_iter().for_each(|key| self.leave(key)),
            Op::Choke { peer } => nth_peer(peer).into_iter().for_each(|key| self.release_all(key)),
            Op::Have { peer, piece, lost } => {
                let Some(key) = nth_peer(peer) else { return };
                let has = &mut self.peers.get_mut(&key).unwrap().has;
                match lost {
                    false => self.mgr.peer_got(has, PieceIndex(piece)),
                    true => self.mgr.peer_lost(has, PieceIndex(piece)),
                };
            }
            Op::Pick { peer, count, pace, only, may_open } => {
                nth_peer(peer)
                    .into_iter()
                    .for_each(|key| self.pick(key, count, pace, only.clone(), may_open));
            }
            Op::Receive { nth } => {
                nth_asked(nth).into_iter().for_each(|(key, block)| self.receive(key, block));
            }
            Op::ReceiveLate { nth } if !self.late.is_empty() => {
                let (key, block) = self.late[nth % self.late.len()];
                self.receive(key, block);
            }
            Op::ReceiveAny { peer, piece, number } => {
                let block = self.layout.block(PieceIndex(piece), number);
                nth_peer(peer).into_iter().for_each(|key| self.receive(key, block));
            }
            Op::Release { nth } => {
                nth_asked(nth).into_iter().for_each(|(key, block)| self.release(key, block));
            }
            Op::Verdict { nth, per_block, give_back } if !self.verifying.is_empty() => {
                let complete = self.verifying.swap_remove(nth % self.verifying.len());
                self.verdict(complete, per_block, give_back);
            }
            Op::WriteFails { nth } if !self.verifying.is_empty() => {
                let complete = self.verifying.swap_remove(nth % self.verifying.len());
                self.mgr.write_failed(complete.piece);
                self.forget(complete.piece);
            }
            Op::Spill => self.spilling.extend(self.mgr.spill()),
            Op::Spilled { nth, ok } if !self.spilling.is_empty() => {
                let spill = self.spilling.swap_remove(nth % self.spilling.len());
                self.spilled(spill, ok);
            }
            Op::Prioritise { piece, priority } => self.mgr.set_priority(PieceIndex(piece), priority),
            Op::Reorder { order } => self.mgr.set_order(order),
            Op::Lose { piece } if self.mgr.state(PieceIndex(piece)) != PieceState::Verifying => {
                self.mgr.lose(PieceIndex(piece));
                self.disk.retain(|(of, _), _| of.0 != piece);
            }
            // A check of the files doesn't run beside their writing.
            Op::Found { piece } if !self.is_writing(PieceIndex(piece)) => {
                self.mgr.stored(PieceIndex(piece));
                self.forget(PieceIndex(piece));
            }
            Op::Wait { secs } => self.now += Duration::from_secs(secs),
            Op::Restart => self.restart(),
            _ => {}
        }
    }

    fn join(&mut self, has: u64, liar: bool) {
        if self.peers.len() == 12 {
            return;
        }
        // Slots are reused, generations tell their users apart.
        let key = PeerKey { slot: self.joined % 5, generation: self.joined };
        self.joined += 1;
        let pieces = self.layout.piece_count();
        let has = match has % 5 {
            0 => PeerHave::All,
            1 => PeerHave::None,
            kind => {
                let mut set = Bitfield::new(pieces);
                (0..pieces).filter(|piece| has >> (piece % 61) & 3 < kind).for_each(|piece| {
                    set.set(piece);
                });
                PeerHave::from_bitfield(set)
            }
        };
        self.mgr.add_peer(&has);
        self.peers.insert(key, Peer { has, liar });
    }

    fn leave(&mut self, key: PeerKey) {
        self.release_all(key);
        let peer = self.peers.remove(&key).unwrap();
        self.mgr.remove_peer(&peer.has);
        self.late.retain(|&(late, _)| late != key);
    }

    fn release_all(&mut self, key: PeerKey) {
        let blocks: Vec<_> = self.asked.iter().filter(|(asked, _)| *asked == key).copied().collect();
        blocks.into_iter().for_each(|(key, block)| self.release(key, block));
    }

    fn release(&mut self, key: PeerKey, block: Block) {
        self.mgr.release(key, block);
        self.asked.remove(&(key, block));
        self.late.push((key, block));
    }

    fn pick(&mut self, key: PeerKey, count: usize, pace: Pace, only: Option<Vec<u32>>, may_open: usize) {
        let only: Option<Vec<_>> = only.map(|only| only.into_iter().map(PieceIndex).collect());
        let allowed_fast = only.as_deref();
        let has = &self.peers[&key].has;
        let ask = Ask { peer: key, has, count, pace, allowed_fast, suggested: &[], may_open };
        let states: Vec<_> =
            (0..self.layout.piece_count()).map(|piece| self.mgr.state(PieceIndex(piece))).collect();
        let mut out = Vec::new();
        self.mgr.pick(self.now, &ask, &mut out);
        assert!(out.len() <= count);
        let opened = out.iter().filter(|block| states[block.piece.0 as usize] == PieceState::Missing);
        assert!(opened.count() <= may_open);
        for block in out {
            assert!(self.layout.is_whole_block(block), "{block:?}");
            assert!(has.get(block.piece), "the peer lacks {block:?}");
            assert!(self.mgr.wants(block.piece), "we have or skip {block:?}");
            assert!(allowed_fast.is_none_or(|allowed| allowed.contains(&block.piece)));
            assert_eq!(self.mgr.state(block.piece), PieceState::Partial);
            assert!(!self.disk.contains_key(&(block.piece, block.number())) || self.is_dropped(block));
            let others = self.asked.iter().filter(|(_, asked)| *asked == block).count();
            assert!(others == 0 || self.mgr.is_endgame(), "{block:?} is asked twice before the end");
            assert!(others < 2, "{block:?} is asked too often");
            assert!(self.asked.insert((key, block)), "{block:?} is asked twice of one peer");
        }
    }

    /// Whether a block on disk was given up: a strict retry took another peer.
    fn is_dropped(&self, block: Block) -> bool {
        let mask = self.mgr.partial_masks().find(|(piece, _)| *piece == block.piece);
        mask.is_none_or(|(_, mask)| !mask.get(block.number()))
    }

    fn receive(&mut self, key: PeerKey, block: Block) {
        let was_asked = self.asked.remove(&(key, block));
        let was_late = self.late.contains(&(key, block));
        let others: BTreeSet<_> =
            self.asked.iter().filter(|(_, asked)| *asked == block).map(|(key, _)| *key).collect();
        let buf = Buf { from: Some(key), good: !self.peers[&key].liar };
        match self.mgr.receive(self.now, key, block, buf) {
            Receive::Stored { cancel, complete } => {
                assert!(was_asked || was_late, "{block:?} was never asked of {key:?}");
                assert_eq!(cancel.iter().copied().collect::<BTreeSet<_>>(), others);
                self.asked.retain(|(_, asked)| *asked != block);
                self.late.extend(cancel.into_iter().map(|other| (other, block)));
                self.verifying.extend(complete);
            }
            Receive::Duplicate(back) | Receive::Unwanted(back) => {
                assert!(!was_asked, "{block:?} was asked of {key:?} and is refused");
                assert_eq!(back, buf);
            }
        }
    }

    fn verdict(&mut self, complete: Complete<Buf>, per_block: bool, give_back: bool) {
        let piece = complete.piece;
        let blocks: Vec<Buf> = complete
            .blocks
            .iter()
            .zip(0..)
            .map(|(buf, number)| buf.unwrap_or_else(|| self.disk[&(piece, number)]))
            .collect();
        let numbers: Vec<u32> = (0..).zip(&blocks).filter(|(_, buf)| !buf.good).map(|(n, _)| n).collect();
        if numbers.is_empty() {
            self.mgr.stored(piece);
            assert!(self.mgr.have().get(piece.0));
            return self.forget(piece);
        }
        let mut good: Vec<(u32, Buf)> = Vec::new();
        if give_back {
            good = (0..).zip(&complete.blocks).filter_map(|(n, buf)| buf.map(|buf| (n, buf))).collect();
        }
        let bad = match per_block {
            true => BadBlocks::Some { numbers: numbers.clone(), good },
            false => BadBlocks::All,
        };
        let blame = self.mgr.failed(piece, bad);
        let liars: BTreeSet<_> = numbers.iter().filter_map(|&n| blocks[n as usize].from).collect();
        match blame {
            Blame::Proven(culprits) => {
                assert!(
                    !culprits.is_empty() && culprits.iter().all(|key| liars.contains(key)),
                    "an innocent"
                );
                culprits
                    .into_iter()
                    .filter(|key| self.peers.contains_key(key))
                    .collect::<SmallVec<[_; 4]>>()
                    .into_iter()
                    .for_each(|key| self.leave(key));
            }
            Blame::Suspects(suspects) => {
                assert!(suspects.is_empty() || liars.iter().all(|liar| suspects.contains(liar)));
            }
        }
        self.disk.retain(|&(of, number), _| of != piece || (per_block && !numbers.contains(&number)));
    }

    fn spilled(&mut self, spill: Spill<Buf>, ok: bool) {
        if ok {
            self.disk.extend(spill.blocks.into_iter().map(|(number, buf)| ((spill.piece, number), buf)));
        }
        self.verifying.extend(self.mgr.spilled(spill.piece, ok));
    }

    fn is_writing(&self, piece: PieceIndex) -> bool {
        self.mgr.state(piece) == PieceState::Verifying || self.spilling.iter().any(|s| s.piece == piece)
    }

    /// A piece is no more open.
    fn forget(&mut self, piece: PieceIndex) {
        self.asked.retain(|(_, block)| block.piece != piece);
        self.disk.retain(|(of, _), _| *of != piece);
    }

    fn restart(&mut self) {
        let masks: Vec<_> = self.mgr.partial_masks().collect();
        let priorities: Vec<_> =
            (0..self.layout.piece_count()).map(|piece| self.mgr.priority(PieceIndex(piece))).collect();
        self.mgr = PieceMgr::new(self.layout.clone(), self.mgr.have().clone(), 3);
        self.asked.clear();
        self.late.clear();
        self.peers.clear();
        self.verifying.clear();
        self.spilling.clear();
        for (priority, piece) in priorities.into_iter().zip(0..) {
            self.mgr.set_priority(PieceIndex(piece), priority);
        }
        for (piece, mask) in masks {
            self.verifying.extend(self.mgr.restore_partial(piece, &mask));
            assert!(mask.iter_ones().all(|number| self.disk.contains_key(&(piece, number))));
        }
        for buf in self.disk.values_mut() {
            buf.from = None;
        }
    }

    fn check(&self) {
        self.mgr.check_invariants();
        self.mgr.check_availability(self.peers.values().map(|peer| &peer.has));
        let asked: BTreeSet<_> = self.asked.iter().map(|(_, block)| *block).collect();
        assert_eq!(self.mgr.requested_blocks(), asked.len());
        for peer in self.peers.values() {
            let pieces = (0..self.layout.piece_count()).map(PieceIndex);
            let interesting = pieces.filter(|&piece| peer.has.get(piece) && self.mgr.wants(piece)).count();
            assert_eq!(self.mgr.interesting_count(&peer.has) as usize, interesting);
        }
    }

    /// Plays on with an honest seed, everyone sending what they are asked for, until we are finished.
    fn finish(&mut self) {
        self.peers.keys().copied().collect::<Vec<_>>().into_iter().take(11).for_each(|key| {
            if self.peers.len() > 11 {
                self.leave(key);
            }
        });
        self.join(0, false);
        for round in 0.. {
            if self.mgr.is_finished() {
                return;
            }
            assert!(round < 400, "no end in sight: {:?} missing", self.mgr.missing_wanted());
            self.now += Duration::from_secs(4);
            let mut keys: Vec<_> = self.peers.keys().copied().collect();
            keys.rotate_left(round % self.peers.len());
            for key in keys {
                let pace = [Pace::Fast, Pace::Medium, Pace::Slow][key.generation as usize % 3];
                if self.peers.contains_key(&key) {
                    self.pick(key, 3, pace, None, 4);
                    self.check();
                }
                while let Some(&(of, block)) = self.asked.iter().find(|(of, _)| *of == key) {
                    self.receive(of, block);
                }
            }
            while let Some(spill) = self.spilling.pop() {
                self.spilled(spill, true);
            }
            while let Some(complete) = self.verifying.pop() {
                self.verdict(complete, false, false);
            }
            self.check();
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_an_invariant_or_keeps_a_swarm_with_a_seed_from_finishing(
        pieces in 1..40u32, blocks in 1..6u32, seed: u64, ops in prop::collection::vec(any_op(), 1..250),
    ) {
        let mut model = Model::new(pieces, blocks, seed);
        for op in ops {
            model.run(op);
            model.check();
        }
        model.finish();
    }
}
