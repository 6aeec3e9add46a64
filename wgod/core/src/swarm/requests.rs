//! Interest and requests: what we want of each peer, and keeping its pipeline full.
use std::time::Duration;

use wgo_proto::wire::message::Message;
use wgo_proto::{Block, PieceIndex};

use super::{Swarm, bytes_of};
use crate::piece_mgr::{Ask, Pace, Priority};
use crate::selection::Selection;
use crate::time::Time;
use crate::units::PeerKey;

/// Requests that a choke releases are handed to other peers within this time.
const REFILL_DELAY: Duration = Duration::from_millis(50);
/// A peer that would need longer than this for a whole piece shares pieces with others.
const WHOLE_PIECE_TIME: Duration = Duration::from_secs(30);

impl<B> Swarm<B> {
    /// The peer gained a piece (`have`, or part of a bitfield told late).
    pub(super) fn peer_gained(&mut self, now: Time, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if !self.pieces.peer_got(&mut peer.has, piece) {
            return;
        }
        if self.pieces.wants(piece) {
            peer.interesting += 1;
            self.update_interest(now, key);
            self.fill(now, key);
        }
        self.close_if_both_complete(key);
    }

    /// Tells the peer whether we are interested, if that changed.
    pub(super) fn update_interest(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let useful = match &self.unknown {
            Some(unknown) => unknown.has_any(key),
            None => peer.interesting > 0,
        };
        let interested = useful && !self.requests_paused;
        if interested == peer.am_interested {
            return;
        }
        peer.am_interested = interested;
        peer.send(if interested { &Message::Interested } else { &Message::NotInterested });
        peer.pipeline.excuse(now);
        self.wake(key);
    }

    /// What is wanted changes; `None`: everything alike. Requests for what is skipped now are taken back;
    /// what came of it is kept. What becomes of a torrent that is finished by it, or isn't any more, is as
    /// after its last piece, or as after [`lose`](Self::lose).
    pub fn select(&mut self, now: Time, selection: Option<&Selection>) {
        let was_finished = self.pieces.is_finished();
        self.pieces.select(selection);
        self.left_bytes = bytes_of(&self.layout, self.pieces.wanted());
        for key in self.peers.keys() {
            let Some(peer) = self.peers.peer(key) else { continue };
            let skipped = |block: &Block| self.pieces.priority(block.piece) == Priority::Skip;
            let off: Vec<Block> = peer.pipeline.iter().map(|request| request.block).filter(skipped).collect();
            for block in off {
                self.cancel(key, block);
                self.pieces.release(key, block);
            }
        }
        match (was_finished, self.pieces.is_finished()) {
            (false, true) => self.finish(),
            (true, false) => self.unfinish(),
            _ => {}
        }
        self.recount_interest(now);
    }

    /// Recounts what every peer has of use, after priorities or pieces changed at large.
    pub(super) fn recount_interest(&mut self, now: Time) {
        for key in self.peers.keys() {
            if let Some(peer) = self.peers.peer_mut(key) {
                peer.interesting = self.pieces.interesting_count(&peer.has);
            }
            self.update_interest(now, key);
            self.fill(now, key);
        }
    }

    /// Asks the peer for as many blocks as its window has room for.
    pub(super) fn fill(&mut self, now: Time, key: PeerKey) {
        if self.requests_paused || self.is_unknown() {
            return;
        }
        let may_open = self.memory_room();
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let usable = !peer.peer_choking || !peer.allowed_fast.is_empty();
        if !usable || !peer.am_interested || peer.closing.is_some() {
            return;
        }
        let count = peer.pipeline.room();
        if count == 0 {
            return;
        }
        let rate = peer.traffic.down_rate(now);
        let whole = rate.over(WHOLE_PIECE_TIME) >= u64::from(self.layout.nominal_piece_len());
        let pace = match (peer.pipeline.snubbed, whole) {
            (true, _) => Pace::Slow,
            (false, true) => Pace::Fast,
            (false, false) => Pace::Medium,
        };
        let mut picked = std::mem::take(&mut self.picked);
        let ask = Ask {
            peer: key,
            has: &peer.has,
            count,
            pace,
            allowed_fast: peer.peer_choking.then_some(&peer.allowed_fast[..]),
            suggested: &peer.suggested,
            may_open,
        };
        self.pieces.pick(now, &ask, &mut picked);
        self.starved |= picked.len() < count && may_open < count;
        for block in picked.drain(..) {
            peer.pipeline.push(now, block);
        }
        self.picked = picked;
        // A piece that is fetched again of another peer may have to be so without what came before.
        let dropped = self.pieces.take_dropped();
        self.traffic.wasted(dropped);
        if peer.pipeline.unsent() > 0 {
            self.wake(key);
        }
    }

    /// Blocks of payload memory that newly opened pieces may take.
    pub(super) fn memory_room(&self) -> usize {
        self.memory_blocks.saturating_sub(self.held_blocks() + self.pieces.requested_blocks())
    }

    /// Gives up every request to the peer, for others to make.
    pub(super) fn release_all(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        for request in peer.pipeline.drain() {
            peer.given_up += u32::from(request.sent);
            self.pieces.release(key, request.block);
        }
    }

    /// Gives up the requests to the peer for which `off` says so; whether there were any.
    pub(super) fn release_where(&mut self, key: PeerKey, off: impl Fn(Block) -> bool) -> bool {
        let Some(peer) = self.peers.peer_mut(key) else { return false };
        let gone = peer.pipeline.drain_where(off);
        for request in &gone {
            peer.given_up += u32::from(request.sent);
            self.pieces.release(key, request.block);
        }
        !gone.is_empty()
    }

    /// Gives up what a snubbing peer holds, but for its oldest request.
    pub(super) fn release_but_first(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        for request in peer.pipeline.drain_but_first() {
            peer.given_up += u32::from(request.sent);
            self.pieces.release(key, request.block);
        }
    }

    /// A block came from another peer: takes the request to this one back.
    pub(super) fn cancel(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let Some(request) = peer.pipeline.remove(block) else { return };
        if request.sent {
            peer.given_up += 1;
            peer.send(&Message::Cancel(block));
            self.wake(key);
        }
    }

    /// Has every pipeline filled a little later, at once for all that is released until then: a peer
    /// that chokes us again and again must not make us look at every other each time.
    pub(super) fn refill_soon(&mut self, now: Time) {
        self.refill_at.get_or_insert(now + REFILL_DELAY);
    }

    /// Fills every pipeline that has room, after requests were released at large.
    pub(super) fn fill_all(&mut self, now: Time) {
        for key in self.peers.keys() {
            self.fill(now, key);
        }
    }
}
