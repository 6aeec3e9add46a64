//! What must hold of the whole: choke slots, disks, counters.
use std::collections::BTreeSet;
use std::path::PathBuf;

use std::time::Duration;

use wgo_core::choke_mgr::{
    Automatic, Candidate, ChokeKey, Decision, SeedingRule, Settings, SlotCount, Standing, fill, rank,
};
use wgo_core::swarm::SwarmView;
use wgo_core::{ByteRate, PeerKey, TorrentId};
use wgo_proto::PieceIndex;

use crate::sim::link::{EndId, NodeId};
use crate::sim::world::World;

/// Nobody keeps an optimistic slot for longer than this while others wait: who takes slowly has it for 90 s, and the
/// next round is 10 s away at most.
const LONGEST_TURN: Duration = Duration::from_secs(100);

impl World {
    fn choke_settings(&self, node: NodeId, rate: ByteRate) -> Settings {
        let one = &self.nodes[node];
        let slots = match one.habits.slots {
            SlotCount::Fixed(count) => SlotCount::Fixed(count),
            SlotCount::Automatic(_) => SlotCount::Automatic(Automatic {
                up_limit: one.habits.up_limit,
                rate,
                now: self.clock(node),
                trials: one.choke.trials,
            }),
        };
        Settings { slots, optimistic: None, seeding: SeedingRule::RoundRobin }
    }

    fn candidates(&self, node: NodeId) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for swarm in self.nodes[node].torrents.values().filter_map(|entry| entry.live.as_ref()) {
            swarm.choke_candidates(self.clock(node), &mut candidates);
        }
        candidates
    }

    pub fn choke_round(&mut self, node: NodeId) {
        let candidates = self.candidates(node);
        let live = || self.nodes[node].torrents.values().filter_map(|entry| entry.live.as_ref());
        let rate = ByteRate(live().map(|swarm| swarm.view(self.clock(node)).up.0).sum());
        let settings = self.choke_settings(node, rate);
        let choke = &mut self.nodes[node].choke;
        choke.rounds += 1;
        let decision = rank(&candidates, &settings, choke.rounds ^ self.seed);
        (choke.slots, choke.trials) = (Some(decision.slots), decision.trials);
        choke.optimistic = (decision.slots as usize / 5).max(usize::from(decision.slots > 0));
        self.check_waits(node, &candidates);
        self.check_turns(node, &candidates, &decision);
        let kept: BTreeSet<ChokeKey> = decision.regular.iter().chain(&decision.optimistic).copied().collect();
        for candidate in candidates.iter().filter(|c| !kept.contains(&c.key)) {
            let (id, key) = candidate.key;
            self.call(node, id, |swarm, now| swarm.choke(now, key));
        }
        for (keys, optimistic) in [(&decision.regular, false), (&decision.optimistic, true)] {
            for (id, key) in keys.iter().copied() {
                self.call(node, id, |swarm, now| swarm.unchoke(now, key, optimistic));
            }
        }
    }

    pub fn choke_fill(&mut self, node: NodeId) {
        let Some(slots) = self.nodes[node].choke.slots else { return self.choke_round(node) };
        let free = (slots as usize).saturating_sub(self.unchoked(node).0);
        if free == 0 {
            return;
        }
        let settings = self.choke_settings(node, ByteRate(0));
        let seed = self.nodes[node].choke.rounds ^ self.seed;
        for (id, key) in fill(free, &self.candidates(node), &settings, seed) {
            self.call(node, id, |swarm, now| swarm.unchoke(now, key, false));
        }
    }

    /// Peers of all torrents in regular and in optimistic slots.
    fn unchoked(&self, node: NodeId) -> (usize, usize) {
        let live = self.nodes[node].torrents.values().filter_map(|entry| entry.live.as_ref());
        live.map(|swarm| swarm.unchoked()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// An optimistic slot goes on while somebody waits for one.
    fn check_turns(&self, node: NodeId, candidates: &[Candidate], decision: &Decision) {
        let waits = |c: &&Candidate| c.interested && matches!(c.standing, Standing::Waiting(_));
        let left =
            |c: &&Candidate| !decision.regular.contains(&c.key) && !decision.optimistic.contains(&c.key);
        let Some(waiting) = candidates.iter().filter(waits).find(left) else { return };
        for one in candidates.iter().filter(|c| decision.optimistic.contains(&c.key)) {
            if let Standing::Optimistic(turn) = one.standing {
                let (who, key) = (one.key, waiting.key);
                assert!(
                    turn.age <= LONGEST_TURN,
                    "node {node} keeps {who:?} in its slot, and lets {key:?} wait"
                );
            }
        }
    }

    /// What a fast peer asked for and was not answered is still to be sent to it (BEP 6).
    pub fn check_owed(&self, end: EndId, key: PeerKey) {
        let one = &self.links[end.link].ends[end.side];
        let entry = self.nodes[one.node].torrents.get(&self.links[end.link].torrent);
        let live = entry.and_then(|entry| entry.live.as_ref()).filter(|swarm| swarm.closing(key).is_none());
        let (Some(swarm), Some(asked)) = (live, one.watch.unanswered_bytes()) else { return };
        let pulled: u64 = one.pulled.iter().map(|block| u64::from(block.len)).sum();
        let owed = swarm.upload_backlog(key) + pulled;
        assert_eq!(
            asked, owed,
            "node {} forgets requests of {key:?}, or sends what nobody asked for",
            one.node
        );
    }

    /// What holds of a node after every step.
    pub fn check_node(&self, node: NodeId) {
        let one = &self.nodes[node];
        let (regular, optimistic) = self.unchoked(node);
        let slots = one.choke.slots.unwrap_or(0) as usize;
        assert!(regular <= slots, "{regular} regular slots of {slots} are taken");
        assert!(optimistic <= one.choke.optimistic, "{optimistic} optimistic slots are taken");
        for (id, entry) in &one.torrents {
            let Some(swarm) = &entry.live else { continue };
            self.check_memory(node, *id, swarm);
            assert_eq!(swarm.dialing(), entry.dialing.len(), "node {node} counts its dials for {id:?} wrong");
            let counters = swarm.view(self.clock(node)).counters;
            assert_eq!((counters.uploaded, counters.downloaded), (entry.sent, entry.received), "{id:?}");
            assert!(counters.wasted <= counters.downloaded);
            let Some(row) = one.session.row(*id) else {
                assert!(!entry.lane.is_empty(), "what is live has a row");
                continue;
            };
            assert!(row.live || !entry.lane.is_empty(), "a Swarm without the session's knowledge");
        }
    }

    pub fn is_on_disk(&self, node: NodeId, id: TorrentId, piece: PieceIndex) -> bool {
        self.lies_in(node, id, &self.nodes[node].torrents[&id].paths, piece)
    }

    /// Whether a piece is in these files of a node.
    pub fn lies_in(&self, node: NodeId, id: TorrentId, paths: &[PathBuf], piece: PieceIndex) -> bool {
        let content = self.content(id);
        let layout = &content.layout;
        let (want, mut at) = (content.piece(piece), 0);
        layout.spans(piece, 0, layout.piece_len(piece)).all(|span| {
            let want = &want[at..at + span.len as usize];
            at += want.len();
            self.nodes[node].disk.holds(&paths[span.file.0 as usize], span.offset, want)
        })
    }

    /// What a node says it has is on its disk, and right.
    pub fn check_on_disk(&mut self, node: NodeId, id: TorrentId, piece: PieceIndex) {
        let seen = |world: &World| world.nodes[node].torrents[&id].seen_good.get(piece.0);
        let one = &self.nodes[node];
        // What a checkpoint has covered no sync of others can lose.
        let doubtful = one.disk.has_lost_unheard() && !one.torrents[&id].durable.get(piece.0);
        let excused = doubtful || one.keeping.rotten.contains(&(id, piece));
        if !seen(self) && !excused {
            assert!(self.is_on_disk(node, id, piece), "node {node} announced {piece:?}, which it lacks");
            if let Some(entry) = self.nodes[node].torrents.get_mut(&id) {
                entry.seen_good.set(piece.0);
            }
        }
    }

    /// A live torrent at a glance.
    pub fn view(&self, node: NodeId, id: TorrentId) -> SwarmView {
        let entry = &self.nodes[node].torrents[&id];
        entry.live.as_ref().expect("the torrent is live").view(self.clock(node))
    }

    /// Everything is on the node's disk.
    pub fn check_complete(&self, node: NodeId, id: TorrentId) {
        assert!(self.nodes[node].is_complete(id), "node {node} has not finished\n{}", self.report());
        for piece in self.content(id).pieces() {
            assert!(self.is_on_disk(node, id, piece), "{piece:?} on the disk of node {node}");
        }
    }

    /// Nowhere more arrived than was sent, and what was sent and didn't arrive was lost or is under way.
    pub fn check_books(&self) {
        for (number, link) in self.links.iter().enumerate() {
            for side in (0..2).filter(|side| self.nodes[link.ends[*side].node].habits.rogue.is_none()) {
                let (sent, received) = (link.ends[side].sent, link.ends[1 - side].received);
                assert!(received <= sent, "connection {number}: {received} of {sent} bytes arrived");
            }
        }
    }

    /// No request of a living connection is left without an answer, once all is quiet.
    pub fn check_answered(&self) {
        for link in self.links.iter().filter(|link| link.ends.iter().all(|end| end.key.is_some())) {
            for end in &link.ends {
                assert_eq!(end.watch.unanswered(), 0, "requests without an answer at node {}", end.node);
                assert!(end.watch.asking.is_empty(), "requests left open by node {}", end.node);
            }
        }
    }
}
