//! The choker's side of the Swarm: snapshots out, decisions in (BEP 3).
use wgo_proto::Block;
use wgo_proto::wire::message::Message;

use super::{Action, Swarm};
use crate::choke_mgr::{Candidate, Standing, Turn};
use crate::peer::Peer;
use crate::time::Time;
use crate::units::PeerKey;

/// A peer connected for less than this, and never unchoked, is a newcomer (BEP 3).
const NEWCOMER_FOR: std::time::Duration = std::time::Duration::from_secs(120);

impl<B> Swarm<B> {
    /// Appends a candidate for each peer that is interested or unchoked.
    pub fn choke_candidates(&self, now: Time, out: &mut Vec<Candidate>) {
        let seeding = self.pieces.is_finished();
        let pieces = u64::from(self.layout.piece_count()).max(1);
        for (key, peer) in self.peers.iter() {
            if !peer.peer_interested && peer.am_choking || peer.closing.is_some() {
                continue;
            }
            let turn = Turn { age: now.since(peer.choke_changed_at), taken: peer.sent_since_unchoke };
            let standing = match (peer.am_choking, peer.optimistic) {
                (true, _) => Standing::Waiting(now.since(peer.waiting_since.unwrap_or(now))),
                (false, false) => Standing::Regular(turn),
                (false, true) => Standing::Optimistic(turn),
            };
            let has = u64::from(peer.has.count(self.layout.piece_count()));
            out.push(Candidate {
                key: (self.id, key),
                seeding,
                interested: peer.peer_interested && !self.uploads_paused && !self.is_unknown(),
                standing,
                from_peer: peer.traffic.down_rate(now),
                to_peer: peer.traffic.up_rate(now),
                snubbed: peer.pipeline.snubbed,
                newcomer: !peer.ever_unchoked && now.since(peer.connected_at) < NEWCOMER_FOR,
                progress_permille: (has * 1000 / pieces) as u16,
            });
        }
    }

    /// Peers in regular and in optimistic slots. One that is about to go holds none, as it is no
    /// candidate either.
    pub fn unchoked(&self) -> (usize, usize) {
        let unchoked = || self.peers.iter().filter(|(_, p)| !p.am_choking && p.closing.is_none());
        (unchoked().filter(|(_, p)| !p.optimistic).count(), unchoked().filter(|(_, p)| p.optimistic).count())
    }

    /// Chokes the peer: what it asked for and was not pulled is dropped, with a reject for each request
    /// of a fast peer (BEP 6).
    pub fn choke(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key).filter(|p| !p.am_choking) else { return };
        peer.am_choking = true;
        peer.optimistic = false;
        peer.choke_changed_at = now;
        peer.waiting_since = peer.peer_interested.then_some(now);
        peer.send(&Message::Choke);
        // Allowed-fast pieces are served even while choked (BEP 6).
        let allowed = peer.allowed_by_us.clone();
        drop_uploads(peer, |block| !allowed.contains(&block.piece));
        self.take_back_suggestions(key);
        self.wake(key);
    }

    /// Unchokes the peer, or moves it from one kind of slot to the other.
    pub fn unchoke(&mut self, now: Time, key: PeerKey, optimistic: bool) {
        if self.peers.peer(key).is_some_and(|peer| peer.am_choking) {
            // Before the unchoke, at which it asks.
            self.suggest(key);
        }
        let Some(peer) = self.peers.peer_mut(key).filter(|p| p.closing.is_none()) else { return };
        if peer.am_choking {
            peer.am_choking = false;
            peer.ever_unchoked = true;
            peer.choke_changed_at = now;
            peer.sent_since_unchoke = 0;
            peer.waiting_since = None;
            peer.send(&Message::Unchoke);
            self.wake(key);
        }
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.optimistic = optimistic;
        }
    }

    /// Whether the peer is still there and unchoked.
    pub fn is_unchoked(&self, key: PeerKey) -> bool {
        self.peers.peer(key).is_some_and(|p| !p.am_choking)
    }

    /// Stops or resumes serving, for a torrent whose files can't be read at present.
    pub fn set_uploads_paused(&mut self, now: Time, paused: bool) {
        if std::mem::replace(&mut self.uploads_paused, paused) == paused {
            return;
        }
        if paused {
            for key in self.peers.keys() {
                self.choke(now, key);
                if let Some(peer) = self.peers.peer_mut(key) {
                    drop_uploads(peer, |_| true);
                }
                self.wake(key);
            }
        }
        self.act(Action::InterestChanged);
    }
}

/// Drops requests of the peer, with a reject each if it speaks the fast extension (BEP 6).
fn drop_uploads(peer: &mut Peer, off: impl Fn(&Block) -> bool) {
    let queued: Vec<_> = peer.uploads.clear().collect();
    for block in queued {
        if !off(&block) {
            peer.uploads.push(block);
        } else if peer.fast() {
            peer.send(&Message::Reject(block));
        }
    }
}
