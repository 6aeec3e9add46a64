//! What must hold between nodes: whoever waits for a slot gets one, whoever sends bad blocks is found out and
//! nobody else is accused, private torrents keep to themselves, and memory has its bounds.
use std::time::Duration;

use wgo_core::choke_mgr::{Candidate, Standing};
use wgo_core::peer::{CloseReason, PeerFault};
use wgo_core::swarm::{PieceOutcome, Swarm};
use wgo_core::{Time, TorrentId};
use wgo_proto::wire::{ExtMessage, Extension, Limits, Message};
use wgo_proto::{Block, PieceIndex};

use crate::sim::link::{EndId, NodeId};
use crate::sim::node::Payload;
use crate::sim::world::World;

/// How long somebody has waited for a slot.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    since: Time,
    /// The most that wanted a slot meanwhile.
    wanted: usize,
    /// The fewest optimistic slots meanwhile.
    slots: usize,
}

/// A newcomer's wait counts threefold, and nobody is a newcomer for longer than 120 s: whoever has waited for longer
/// than this is before all newcomers.
const NEWCOMERS: Duration = Duration::from_secs(360);
/// An optimistic slot goes on after 30 s, at the next round, which is 10 s away at most.
const OPTIMISTIC_TURN: Duration = Duration::from_secs(40);
/// Connections that end and interests that change make a round or two count for nothing.
const SLACK_TURNS: usize = 3;
/// Blocks that a node may hold beyond its memory for each connection: what was asked for when memory ended still
/// comes, a piece's worth and a window.
const SPARE_BLOCKS: usize = 64;

impl World {
    /// Everybody who wants a slot gets one within a bound that the rotation of optimistic slots gives.
    pub fn check_waits(&mut self, node: NodeId, candidates: &[Candidate]) {
        let slots = self.nodes[node].choke.optimistic;
        let wanted = candidates.iter().filter(|candidate| candidate.interested).count();
        let (now, mut still) = (self.now, std::collections::BTreeSet::new());
        for candidate in candidates.iter().filter(|candidate| candidate.interested && slots > 0) {
            let Standing::Waiting(waited) = candidate.standing else { continue };
            still.insert(candidate.key);
            let wait = self.waits.entry((node, candidate.key)).or_insert(Wait { since: now, wanted, slots });
            // Its wait begins anew with its interest.
            let began = Time::from_start(now.since_start().saturating_sub(waited));
            wait.since = wait.since.max(began);
            wait.wanted = wait.wanted.max(wanted);
            wait.slots = wait.slots.min(slots);
            let turns = wait.wanted.div_ceil(wait.slots) + SLACK_TURNS;
            let bound = NEWCOMERS + OPTIMISTIC_TURN * turns as u32;
            let waited = now.since(wait.since);
            assert!(waited <= bound, "node {node} lets {:?} wait for {waited:?}: {wait:?}", candidate.key);
        }
        self.waits.retain(|(of, key), _| *of != node || still.contains(key));
    }

    /// A connection ended, as a node says, for this reason: only those may be accused who gave cause.
    pub fn note_reason(&mut self, end: EndId, reason: &CloseReason) {
        let other = self.links[end.link].ends[1 - end.side].node;
        let fault = match reason {
            CloseReason::Fault(fault) => fault.to_string(),
            CloseReason::Banned(why) => why.clone(),
            _ => return,
        };
        let node = &self.nodes[other];
        let poisons = (node.habits.poison > 0 || node.disk.has_lost_unheard())
            && matches!(reason, CloseReason::Fault(PeerFault::Poisoned(_)) | CloseReason::Banned(_));
        let bad = poisons || node.habits.rogue.is_some();
        assert!(bad, "honest node {other} is accused: {fault}");
        self.nodes[other].faults += 1;
    }

    /// A block came. Whoever sent it badly is remembered.
    pub fn note_bad_block(&mut self, end: EndId, block: Block, payload: &[u8]) {
        let link = &self.links[end.link];
        let (node, other, torrent) = (link.ends[end.side].node, link.ends[1 - end.side].node, link.torrent);
        let content = self.content(torrent);
        if block.piece.0 >= content.layout.piece_count() || content.layout.check(block).is_err() {
            return;
        }
        let right = &content.piece(block.piece)[block.offset as usize..][..block.len as usize];
        if right != payload
            && let Some(entry) = self.nodes[node].torrents.get_mut(&torrent)
        {
            entry.bad.entry(block).or_default().insert(other);
        }
    }

    /// A piece was hashed, before the Swarm acts on that.
    pub fn note_verdict(
        &mut self,
        node: NodeId,
        id: TorrentId,
        piece: PieceIndex,
        right: bool,
        blocks: &[Option<Payload>],
    ) {
        let content = self.content(id);
        let bytes = content.piece(piece).to_vec();
        let layout = content.layout.clone();
        let spoilt = (0..).zip(blocks).filter_map(|(number, payload)| {
            let block = layout.block(piece, number);
            let range = block.offset as usize..(block.offset + block.len) as usize;
            payload.as_ref().is_some_and(|payload| payload[..] != bytes[range]).then_some(block)
        });
        let spoilt: Vec<Block> = spoilt.collect();
        assert!(!right || spoilt.is_empty(), "a piece with bad blocks hashes right");
        if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
            entry.spoilt.extend(spoilt);
        }
    }

    /// What a Swarm is about to hear of a piece; if it is right at last, whoever alone had spoilt a block of it must
    /// be banned.
    pub fn note_outcome(
        &mut self,
        node: NodeId,
        id: TorrentId,
        piece: PieceIndex,
        outcome: &PieceOutcome<Payload>,
        counts: bool,
    ) {
        let len = u64::from(self.content(id).layout.piece_len(piece));
        let now = self.clock(node);
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        if !counts {
            entry.lossy = true;
            return;
        }
        match outcome {
            PieceOutcome::Stored => entry.stored += len,
            PieceOutcome::BadHash(_) | PieceOutcome::DiskFailed => return,
        }
        let spoilt: Vec<Block> = entry.spoilt.iter().copied().filter(|b| b.piece == piece).collect();
        let mut guilty = Vec::new();
        for block in spoilt {
            entry.spoilt.remove(&block);
            let senders = entry.bad.remove(&block).unwrap_or_default();
            guilty.extend(senders.first().filter(|_| senders.len() == 1).map(|who| (block, *who)));
        }
        let Some(swarm) = self.nodes[node].torrents[&id].live.as_ref().filter(|_| !guilty.is_empty()) else {
            return;
        };
        let bans = swarm.bans(now);
        for (block, who) in guilty {
            let ip = self.nodes[who].addr.ip();
            let banned = bans.iter().any(|(banned, _)| *banned == ip);
            assert!(banned, "node {node} trusts node {who}, who spoilt {block:?}");
        }
    }

    /// No honest node is banned anywhere, once all is over.
    pub fn check_bans(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            for (id, entry) in &node.torrents {
                let Some(swarm) = &entry.live else { continue };
                for (ip, ban) in swarm.bans(self.clock(number)) {
                    let who = self.nodes.iter().position(|other| other.addr.ip() == ip);
                    let bad = who.is_some_and(|who| {
                        let node = &self.nodes[who];
                        node.habits.poison > 0 || node.habits.rogue.is_some() || node.disk.has_lost_unheard()
                    });
                    assert!(bad, "node {number} bans honest node {who:?} in {id:?}: {ban:?}");
                }
            }
        }
    }

    /// Nothing private leaves a private torrent: no exchange of addresses is offered, and none takes place (BEP 27).
    /// Of others it takes place once a minute (BEP 11).
    pub fn check_exchange(&mut self, end: EndId, message: &Message<'_>) {
        let Message::Extended { id: number, body } = message else { return };
        let link = &self.links[end.link];
        let (node, content) = (link.ends[end.side].node, self.content(link.torrent));
        let limits = Limits::new(Some(content.layout.piece_count()));
        match ExtMessage::decode(*number, body, &limits) {
            Ok(ExtMessage::Handshake(said)) if content.private => {
                let offered = said.extensions.get(Extension::Pex).is_some_and(|id| id != 0);
                assert!(!offered, "node {node} offers to exchange addresses of a private torrent");
            }
            Ok(ExtMessage::Pex(pex)) => {
                assert!(!content.private, "node {node} tells of the peers of a private torrent: {pex:?}");
                let now = self.clock(node);
                self.links[end.link].ends[end.side].watch.exchanges(now);
            }
            _ => {}
        }
    }

    /// The memory of one torrent: blocks held, and requests that wait for each peer.
    pub fn check_memory(&self, node: NodeId, id: TorrentId, swarm: &Swarm<Payload>) {
        let layout = &self.content(id).layout;
        let blocks = layout.nominal_piece_len().div_ceil(wgo_proto::BLOCK_LEN) as usize;
        let entry = &self.nodes[node].torrents[&id];
        let most = self.nodes[node].habits.memory.max(wgo_core::swarm::MIN_MEMORY_BLOCKS)
            + (blocks + SPARE_BLOCKS) * (entry.ends.len() + 2);
        let held = swarm.held_blocks();
        assert!(held <= most, "node {node} holds {held} blocks of {id:?}, more than {most}");
    }

    /// Each block counts once: what came is what is stored and what was of no use.
    pub fn check_useful(&self, node: NodeId, id: TorrentId) {
        let entry = &self.nodes[node].torrents[&id];
        let Some(swarm) = entry.live.as_ref().filter(|_| !entry.lossy) else { return };
        let counters = swarm.view(self.clock(node)).counters;
        let useful = counters.downloaded - counters.wasted;
        assert_eq!(useful, entry.stored, "node {node} counts {counters:?} for what it has stored of {id:?}");
    }
}
