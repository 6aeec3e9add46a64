//! What every queue of a live torrent may hold at most, asserted with its other invariants.
use super::messages::WHOLE_SET;
use super::{MAX_DEPARTED, MAX_NUISANCES, Swarm};
use crate::peer::pipeline::MAX_WINDOW;
use crate::peer::uploads::MAX_QUEUED;
use crate::peer::{MAX_ALLOWED_FAST, MAX_OUTBOX, MAX_SUGGESTED};

/// What may join a full outbox before its peer is closed: one message, or one kind of them for each piece.
const LAST_MESSAGE: usize = MAX_OUTBOX;

impl<B> Swarm<B> {
    pub(super) fn check_bounds(&self) {
        let pieces = self.layout.piece_count() as usize;
        assert!(self.departed.len() <= MAX_DEPARTED, "departed");
        // A piece that was lost and is had again is told of twice.
        assert!(self.haves.len() <= 2 * pieces, "{} gains are kept of {pieces} pieces", self.haves.len());
        for (key, peer) in self.peers.iter() {
            assert!(peer.outbox.len() <= MAX_OUTBOX + LAST_MESSAGE, "{key:?} outbox {}", peer.outbox.len());
            assert!(peer.uploads.len() <= MAX_QUEUED, "{key:?} is owed too much");
            assert!(peer.pipeline.len() <= MAX_WINDOW as usize, "{key:?} is asked for too much");
            assert!(peer.allowed_fast.len() <= MAX_ALLOWED_FAST, "{key:?} allows too much");
            assert!(peer.suggested.len() <= MAX_SUGGESTED, "{key:?} suggests too much");
            assert!(peer.nuisances <= MAX_NUISANCES + WHOLE_SET, "{key:?} is a nuisance");
        }
    }
}
