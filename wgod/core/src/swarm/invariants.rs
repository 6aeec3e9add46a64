//! What is always true of a [`Swarm`]; asserted after every step of simulations and tests.
use std::collections::BTreeSet;

use wgo_proto::Block;

use super::{Swarm, bytes_of};
use crate::units::PeerKey;

impl<B> Swarm<B> {
    /// Asserts what must always hold; for tests and simulations.
    pub fn check_invariants(&self) {
        self.pieces.check_invariants();
        self.check_metadata();
        self.check_contacts();
        self.check_bounds();
        self.pieces.check_availability(self.peers.iter().map(|(_, peer)| &peer.has));
        self.peer_mgr.check_invariants();
        self.smart_ban.check_invariants();
        self.trackers.check_invariants();
        assert_eq!(self.peer_mgr.counts().connected, self.peers.len(), "connections in both tables");
        assert_eq!(self.have_bytes, bytes_of(&self.layout, self.pieces.have()), "bytes stored");
        assert_eq!(self.left_bytes, bytes_of(&self.layout, self.pieces.wanted()), "bytes left");
        let mut asked = BTreeSet::new();
        for (key, peer) in self.peers.iter() {
            for request in peer.pipeline.iter() {
                assert!(peer.has.get(request.block.piece), "{key:?} asked for a piece it lacks");
                assert!(asked.insert((key, request.block)), "{key:?} asked twice for {:?}", request.block);
                assert!(
                    !peer.peer_choking || peer.allowed_fast.contains(&request.block.piece),
                    "{key:?} asked while choked"
                );
            }
            assert!(
                self.unknown.is_none() || peer.pipeline.is_empty(),
                "{key:?} asked before the pieces are known"
            );
            assert_eq!(peer.interesting, self.pieces.interesting_count(&peer.has), "{key:?} interest count");
            let useful = peer.interesting > 0 && !self.requests_paused;
            assert!(
                self.unknown.is_some() || peer.am_interested == useful,
                "{key:?} was told wrong of our interest"
            );
            if peer.am_choking {
                let allowed = |b: &Block| peer.allowed_by_us.contains(&b.piece);
                assert!(peer.uploads.iter().all(allowed), "{key:?} is served while choked");
            }
        }
        if self.pieces.is_finished() {
            assert!(self.peers.iter().all(|(_, p)| p.pipeline.is_empty() || !p.am_interested));
        }
        self.check_requests(&asked);
    }

    /// What the pieces count as asked for is what peers are `asked` for: a block that only one of the two knows of is
    /// never asked for again, or comes twice.
    fn check_requests(&self, asked: &BTreeSet<(PeerKey, Block)>) {
        let counted: BTreeSet<(PeerKey, Block)> = self.pieces.requests().collect();
        let lost = counted.difference(asked).next();
        assert!(lost.is_none(), "{lost:?} is counted as asked for, and is not");
        let stray = asked.difference(&counted).next();
        assert!(stray.is_none(), "{stray:?} is asked for, and not counted");
    }
}
