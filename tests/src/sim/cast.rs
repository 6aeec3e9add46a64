//! Who takes part: seeders, leechers, and how long it takes until they have everything.
use std::time::Duration;

use wgo_core::session::{Check, Session, State};
use wgo_core::{Time, TorrentId};
use wgo_proto::Bitfield;

use crate::sim::link::NodeId;
use crate::sim::node::Habits;
use crate::sim::world::World;

impl World {
    /// A node that has everything of a torrent.
    pub fn seeder(&mut self, id: TorrentId, habits: Habits) -> NodeId {
        let node = self.node(habits);
        let full = Bitfield::full(self.content(id).layout.piece_count());
        self.add(node, id, full, Check::None);
        node
    }

    /// A node that has nothing of it.
    pub fn leecher(&mut self, id: TorrentId, habits: Habits) -> NodeId {
        let node = self.node(habits);
        self.join(node, id);
        node
    }

    /// A node wants a torrent of which it has nothing.
    pub fn join(&mut self, node: NodeId, id: TorrentId) {
        let none = Bitfield::new(self.content(id).layout.piece_count());
        self.add(node, id, none, Check::None);
    }

    /// Runs until these nodes have everything, then lets the last messages arrive.
    pub fn finish_all(&mut self, nodes: &[NodeId], id: TorrentId, limit: Duration) {
        let nodes = nodes.to_vec();
        self.run("all finish", limit, |world| nodes.iter().all(|node| world.nodes[*node].is_complete(id)));
        self.run_for(Duration::from_secs(5));
        nodes.iter().for_each(|node| self.check_complete(*node, id));
    }

    /// The operator, or the shell, tells a node's Session something.
    pub fn command(&mut self, node: NodeId, f: impl FnOnce(&mut Session, Time)) {
        let now = self.clock(node);
        f(&mut self.nodes[node].session, now);
        self.touched.insert((node, None));
        self.settle();
    }

    /// What a node's Session says a torrent does; `None` if it doesn't have it.
    pub fn state(&self, node: NodeId, id: TorrentId) -> Option<State> {
        self.nodes[node].session.row(id).map(|row| row.state())
    }
}
