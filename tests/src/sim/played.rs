//! Disks that are only played: they take their time and keep nothing, since what a node has stored is, byte for byte,
//! what the torrent says. Payload is compared with that in place of being hashed.
use wgo_core::TorrentId;
use wgo_core::piece_mgr::BadBlocks;
use wgo_core::swarm::PieceOutcome;

use crate::sim::jobs::Task;
use crate::sim::link::NodeId;
use crate::sim::world::{Event, World};

/// A task of a played disk.
pub struct Played {
    node: NodeId,
    torrent: TorrentId,
    /// Of the Swarm that wants it.
    epoch: u32,
    task: Task,
}

impl World {
    /// Begins a task.
    pub fn play_disk(&mut self, node: NodeId, torrent: TorrentId, task: Task) {
        let epoch = self.epoch(node, torrent);
        let wait = self.millis(0, self.nodes[node].habits.disk_millis);
        self.after(wait, Event::Played(Box::new(Played { node, torrent, epoch, task })));
    }

    /// A task is done.
    pub fn played(&mut self, played: Played) {
        let Played { node, torrent, epoch, task } = played;
        if self.epoch(node, torrent) != epoch {
            return;
        }
        match task {
            Task::Store { piece, blocks } => {
                let want = self.content(torrent).piece(piece).chunks(wgo_proto::BLOCK_LEN as usize);
                let right =
                    blocks.iter().zip(want).all(|(block, want)| block.as_ref().is_none_or(|b| b == want));
                let outcome = if right {
                    let entry = self.nodes[node].torrents.get_mut(&torrent);
                    entry.map(|entry| entry.seen_good.set(piece.0));
                    PieceOutcome::Stored
                } else {
                    PieceOutcome::BadHash(BadBlocks::All)
                };
                self.note_outcome(node, torrent, piece, &outcome, true);
                self.call(node, torrent, |swarm, now| swarm.on_piece(now, piece, outcome));
            }
            Task::Spill { piece, .. } => {
                self.call(node, torrent, |swarm, now| swarm.on_spilled(now, piece, true));
            }
            Task::Upload { end, blocks } => {
                let content = self.content(torrent);
                let payload = |block: &wgo_proto::Block| {
                    let from = block.offset as usize;
                    content.piece(block.piece)[from..from + block.len as usize].to_vec()
                };
                let answer = blocks.iter().map(|block| (*block, Some(payload(block)))).collect();
                self.send_blocks(end, answer);
            }
            Task::Sync { have, partials } => {
                let kept = self.commit(node, torrent, &have, &partials, !have.is_full(), &[]);
                self.checkpointed(node, torrent, kept.is_ok());
            }
        }
    }
}
