//! Power cuts, and what must hold of what they leave: nothing that was acknowledged is lost, nothing is believed
//! that the disk doesn't hold.
use std::time::Duration;

use wgo_core::TorrentId;
use wgo_proto::{Bitfield, PieceIndex};
use wgod::session::from_stored;
use wgod::store::{Have, TorrentRecord};

use crate::sim::disk::Ending;
use crate::sim::keeping::{Told, is_told};
use crate::sim::link::NodeId;
use crate::sim::world::World;

/// A stored piece waits at most so long for a checkpoint that covers it: one that is stored just after one began waits
/// for the next, which begins 30 s after that has ended; each takes up to 3 s.
const MAX_LAG: Duration = Duration::from_secs(40);
/// After trouble with a disk checkpoints may be late for so long: the longest wait for a probe, and a checkpoint.
const TROUBLE: Duration = Duration::from_secs(200);

impl World {
    /// The power of a node goes: it forgets everything, and its disks what no sync had covered.
    pub fn power_cut(&mut self, node: NodeId) {
        let ending = self.ending();
        self.power_cut_to(node, ending);
    }

    /// The same, with this left of what no sync had covered.
    pub fn power_cut_to(&mut self, node: NodeId, ending: Ending) {
        self.check_lag(node);
        self.crash(node);
        let disk = self.nodes[node].disk.clone();
        disk.cut(&mut self.rng, ending);
        self.nodes[node].keeping.cuts += 1;
    }

    /// How much of what was not synced is there all the same.
    fn ending(&mut self) -> Ending {
        let rng = &mut self.rng;
        match rng.u32(..6) {
            0 => Ending { kept: 0, torn: 0 },
            1 => Ending { kept: 95, torn: 3 },
            2 => Ending { kept: 10, torn: 80 },
            _ => Ending { kept: rng.u32(10..80), torn: rng.u32(..20) },
        }
    }

    /// A node's daemon ends in order; whether it could, with all that it has kept.
    pub fn shut_down(&mut self, node: NodeId) -> bool {
        let ids: Vec<TorrentId> = self.nodes[node].torrents.keys().copied().collect();
        let mut whole = true;
        for id in ids {
            self.halt(node, id);
            let entry = &self.nodes[node].torrents[&id];
            whole &= !entry.writing && entry.suspects.is_empty() && entry.durable == entry.have;
            self.close_files(node, id);
        }
        whole &= self.close_store(node);
        let dark = self.nodes[node].disk.is_dark();
        if dark {
            self.power_cut(node);
        } else {
            self.crash(node);
        }
        self.settle();
        whole && !dark
    }

    /// Torrents that were being removed with their files are removed once more.
    pub fn remove_again(&mut self, node: NodeId) {
        let told = &self.nodes[node].keeping.told;
        let leaving: Vec<TorrentId> =
            told.iter().filter(|(_, told)| told.leaving).map(|(id, _)| *id).collect();
        for id in leaving {
            if self.nodes[node].torrents.contains_key(&id) {
                self.remove(node, id, true);
            }
        }
    }

    /// Something is done to a node's disks after which checkpoints may be late.
    pub fn trouble(&mut self, node: NodeId) {
        self.nodes[node].keeping.troubled = Some(self.now);
    }

    /// What was stored and is in no checkpoint came lately.
    fn check_lag(&self, node: NodeId) {
        let one = &self.nodes[node];
        if one.keeping.troubled.is_some_and(|at| self.now.since(at) < TROUBLE) {
            return;
        }
        for (id, entry) in &one.torrents {
            let (Some(swarm), Some(row)) = (&entry.live, one.session.row(*id)) else { continue };
            if row.trouble().is_some() {
                continue;
            }
            for (piece, at) in entry.stored_at.iter().filter(|(piece, _)| swarm.have().get(piece.0)) {
                let lag = self.now.since(*at);
                assert!(lag <= MAX_LAG, "{id:?}: {piece:?} was stored {lag:?} ago and is in no checkpoint");
            }
        }
    }

    /// What the store says after a restart is what it was told, and what the disk holds.
    pub fn check_records(&mut self, node: NodeId, records: &[TorrentRecord]) {
        for (id, told) in &self.nodes[node].keeping.told {
            let found = records.iter().any(|record| record.id == *id);
            assert!(found || !told.must_be, "node {node}: {id:?} was added, and is not there");
        }
        for record in records {
            let id = record.id;
            let told = self.nodes[node].keeping.told.get(&id).cloned().unwrap_or_default();
            assert!(told.may_be, "node {node}: {id:?} was removed, and is back");
            let have = &record.progress.have;
            assert!(is_told(have, &told), "node {node}: {id:?} has {have:?}, of {:?}", told.have);
            assert!(told.wanted.contains(&record.settings.wanted), "node {node}: {id:?} forgot a wish");
            if told.completed {
                assert!(
                    *have == Have::All && record.progress.completed_at.is_some(),
                    "node {node}: {id:?} said that it is complete, and is not"
                );
            }
            if !told.leaving {
                let pieces = from_stored(have, self.content(id).layout.piece_count());
                self.check_found(node, id, &pieces);
            }
            if let Some(told) = self.nodes[node].keeping.told.get_mut(&id) {
                told.have.retain(|one| is_told(have, &Told::of(one.clone())));
                told.wanted = vec![record.settings.wanted];
                told.must_be = true;
            }
        }
        let gone = |id: &TorrentId| records.iter().all(|record| record.id != *id);
        self.nodes[node].keeping.told.retain(|id, _| !gone(id));
    }

    /// Pieces that are had are on disk, and right, but for those that rotted there.
    pub fn check_found(&self, node: NodeId, id: TorrentId, have: &Bitfield) {
        let paths = self.content(id).paths(self.nodes[node].device(id));
        for piece in have.iter_ones().map(PieceIndex) {
            let rotten = self.nodes[node].keeping.rotten.contains(&(id, piece));
            assert!(
                rotten || self.lies_in(node, id, &paths, piece),
                "node {node} believes that it has {piece:?} of {id:?}, which the disk doesn't hold\n{}",
                self.report()
            );
        }
    }

    /// A bit of a piece flips on a node's disk, without a word.
    pub fn rot(&mut self, node: NodeId, id: TorrentId, piece: PieceIndex) {
        let content = self.content(id);
        let span = content.layout.spans(piece, 0, content.layout.piece_len(piece)).next();
        let Some(span) = span else { return };
        let path = content.paths(self.nodes[node].device(id)).swap_remove(span.file.0 as usize);
        let at = span.offset + self.rng.u64(..u64::from(span.len));
        self.nodes[node].disk.rot(&path, at, 1 << self.rng.u32(..8));
        self.nodes[node].keeping.rotten.insert((id, piece));
    }
}
