//! What a peer says: every message but the payload of `piece` (BEP 3, 6, 10, 21, 54).
use wgo_proto::bitfield::Bitfield;
use wgo_proto::wire::message::Message;
use wgo_proto::{Block, PieceIndex};

use super::{Action, Swarm};
use crate::peer::{MAX_ALLOWED_FAST, MAX_SUGGESTED, Peer, PeerFault};
use crate::piece_mgr::PeerHave;
use crate::session::CHOKE_INTERVAL;
use crate::time::Time;
use crate::units::PeerKey;

/// Useless messages (requests while choked, blocks nobody asked for, …) after which a peer is dropped.
pub const MAX_NUISANCES: u32 = 500;

/// A HAVE ALL or HAVE NONE that is not the first word counts as so many of them: of a million pieces it costs half a
/// millisecond, and no client says it more than twice.
pub(super) const WHOLE_SET: u32 = 50;

impl<B> Swarm<B> {
    /// A message came from the peer. A fault ends the connection: the caller reports it with
    /// [`disconnect`](Self::disconnect). Messages of a peer that is gone or closing are ignored.
    pub fn on_message(&mut self, now: Time, key: PeerKey, message: &Message<'_>) -> Result<(), PeerFault> {
        let Some(peer) = self.peers.peer_mut(key).filter(|p| p.closing.is_none()) else { return Ok(()) };
        peer.received_at = now;
        let fast_only = matches!(
            message,
            Message::HaveAll
                | Message::HaveNone
                | Message::Reject(_)
                | Message::AllowedFast(_)
                | Message::Suggest(_)
        );
        if fast_only && !peer.fast() {
            return Err(PeerFault::NotFast(message.name()));
        }
        if self.on_early(now, key, message)? {
            return Ok(());
        }
        match *message {
            Message::KeepAlive => {}
            Message::Port(port) => self.on_dht_port(key, port),
            Message::Choke => self.on_choke(now, key),
            Message::Unchoke => self.on_unchoke(now, key),
            Message::Interested => self.on_interest(now, key, true),
            Message::NotInterested => self.on_interest(now, key, false),
            Message::Have(piece) => {
                self.check_piece(piece)?;
                if let Some(peer) = self.peers.peer_mut(key) {
                    peer.has_announced = true;
                }
                self.peer_gained(now, key, piece);
            }
            Message::Bitfield(bytes) => {
                let field = Bitfield::from_wire(bytes, self.layout.piece_count())
                    .map_err(|e| PeerFault::BadBitfield(e.to_string()))?;
                self.on_have_set(now, key, PeerHave::from_bitfield(field));
            }
            Message::HaveAll => self.on_whole_set(now, key, PeerHave::All)?,
            Message::HaveNone => self.on_whole_set(now, key, PeerHave::None)?,
            Message::Request(block) => self.on_request(now, key, block)?,
            Message::Cancel(block) => self.on_cancel(key, block),
            Message::Reject(block) => self.on_reject(key, block)?,
            Message::AllowedFast(piece) => {
                self.check_piece(piece)?;
                self.on_allowed_fast(now, key, piece);
            }
            Message::Suggest(piece) => {
                self.check_piece(piece)?;
                if let Some(peer) = self.peers.peer_mut(key) {
                    if peer.suggested.len() == MAX_SUGGESTED {
                        peer.suggested.remove(0);
                    }
                    peer.suggested.push(piece);
                }
            }
            Message::Extended { id, body } => self.on_extended(now, key, id, body)?,
            // v2 hash transfer comes with v2 torrents; a reject keeps the asker from waiting (BEP 52).
            Message::HashRequest(range) => self.reply(key, &Message::HashReject(range)),
            Message::Hashes { .. } | Message::HashReject(_) => self.nuisance(key)?,
        }
        Ok(())
    }

    pub(super) fn check_piece(&self, piece: PieceIndex) -> Result<(), PeerFault> {
        let count = self.layout.piece_count();
        if piece.0 < count { Ok(()) } else { Err(PeerFault::NoSuchPiece { piece, count }) }
    }

    /// Counts a useless message; too many are a fault.
    pub(super) fn nuisance(&mut self, key: PeerKey) -> Result<(), PeerFault> {
        self.nuisance_of(key, 1)
    }

    fn nuisance_of(&mut self, key: PeerKey, weight: u32) -> Result<(), PeerFault> {
        let Some(peer) = self.peers.peer_mut(key) else { return Ok(()) };
        peer.nuisances += weight;
        if peer.nuisances > MAX_NUISANCES { Err(PeerFault::Nuisance(peer.nuisances)) } else { Ok(()) }
    }

    fn reply(&mut self, key: PeerKey, message: &Message<'_>) {
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.send(message);
            self.wake(key);
        }
    }

    fn on_choke(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.peer_choking = true;
        // A fast peer rejects each request it will not serve (BEP 6), but one that forgets must not
        // hold blocks back from the others: whatever still comes is accepted all the same. What it
        // allows while it chokes us stays asked for; asked for again it would come twice.
        let allowed = peer.allowed_fast.clone();
        // Others may have been suggested the same since.
        peer.suggested.clear();
        if self.release_where(key, |block| !allowed.contains(&block.piece)) {
            self.refill_soon(now);
        }
        self.fill(now, key);
    }

    fn on_unchoke(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        // Or who says it again and again would never be late with what we asked for.
        if std::mem::take(&mut peer.peer_choking) {
            peer.pipeline.excuse(now);
        }
        self.fill(now, key);
    }

    fn on_interest(&mut self, now: Time, key: PeerKey, interested: bool) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if peer.peer_interested == interested {
            return;
        }
        peer.peer_interested = interested;
        peer.waiting_since = (interested && peer.am_choking).then_some(now);
        // One that changes its mind all the time waits for the next round.
        let told = peer.interest_told_at.is_some_and(|at| now.since(at) < CHOKE_INTERVAL);
        if !told && (interested || !peer.am_choking) {
            peer.interest_told_at = Some(now);
            self.act(Action::InterestChanged);
        }
    }

    /// The peer says what it has. BEP 3 allows that once and first; aria2 sends another bitfield
    /// whenever that is shorter than its HAVEs, so later ones add to the first.
    fn on_have_set(&mut self, now: Time, key: PeerKey, told: PeerHave) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let has = if peer.has_announced {
            self.pieces.remove_peer(&peer.has);
            std::mem::replace(&mut peer.has, PeerHave::None).union(told)
        } else {
            told
        };
        peer.has_announced = true;
        self.pieces.add_peer(&has);
        peer.interesting = self.pieces.interesting_count(&has);
        peer.has = has;
        self.update_interest(now, key);
        self.fill(now, key);
        self.close_if_both_complete(key);
    }

    /// The same in five bytes (BEP 6), for which we look at every piece: once, and a few times more.
    fn on_whole_set(&mut self, now: Time, key: PeerKey, told: PeerHave) -> Result<(), PeerFault> {
        if self.peers.peer(key).is_some_and(|peer| peer.has_announced) {
            self.nuisance_of(key, WHOLE_SET)?;
            if matches!(told, PeerHave::None) {
                return Ok(());
            }
        }
        self.on_have_set(now, key, told);
        Ok(())
    }

    fn on_request(&mut self, now: Time, key: PeerKey, block: Block) -> Result<(), PeerFault> {
        if self.layout.check(block).is_err() {
            return Err(PeerFault::OutOfRange { message: "request", block });
        }
        let have = self.pieces.have().get(block.piece.0);
        let Some(peer) = self.peers.peer_mut(key) else { return Ok(()) };
        let len = u64::from(block.len);
        let starts = peer.has.count(self.layout.piece_count()) < STARTS_WITH;
        let spreads = self.spread.is_under_way();
        let allowed =
            peer.allowed_by_us.contains(&block.piece) && peer.fast_budget >= len && starts && !spreads;
        let served = have && !self.uploads_paused && (!peer.am_choking || allowed);
        let welcome = peer.peer_interested || peer.fast();
        if served && welcome && peer.uploads.push(block) {
            if peer.am_choking {
                peer.fast_budget -= len;
            }
            self.asked_for(key, block.piece);
            self.wake(key);
            return Ok(());
        }
        if peer.fast() {
            peer.send(&Message::Reject(block));
            self.wake(key);
        }
        // Requests that crossed our choke on the way are no nuisance.
        let crossed = have && now.since(self.choke_changed_at(key)) < CROSSING_TIME;
        if crossed { Ok(()) } else { self.nuisance(key) }
    }

    fn choke_changed_at(&self, key: PeerKey) -> Time {
        self.peers.peer(key).map_or(Time::ZERO, |p| p.choke_changed_at)
    }

    fn on_cancel(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if peer.uploads.cancel(block) && peer.fast() {
            peer.send(&Message::Reject(block));
            self.wake(key);
        }
    }

    fn on_reject(&mut self, key: PeerKey, block: Block) -> Result<(), PeerFault> {
        let Some(peer) = self.peers.peer_mut(key) else { return Ok(()) };
        let asked = peer.pipeline.remove(block).is_some();
        if asked {
            self.pieces.release(key, block);
        } else if peer.given_up > 0 {
            peer.given_up -= 1;
        } else {
            // BEP 6: a reject of what was never asked for.
            return self.nuisance(key);
        }
        if peer.peer_choking && peer.allowed_fast.contains(&block.piece) {
            // It does not allow the piece after all.
            peer.allowed_fast.retain(|piece| *piece != block.piece);
            self.release_where(key, |other| other.piece == block.piece);
        }
        // No new request here: the next block or the next second asks again, so that a peer that
        // rejects everything costs a request a second, not a storm.
        Ok(())
    }

    fn on_allowed_fast(&mut self, now: Time, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if peer.allowed_fast.len() < MAX_ALLOWED_FAST && !peer.allowed_fast.contains(&piece) {
            peer.allowed_fast.push(piece);
            self.fill(now, key);
        }
    }

    /// Two complete sides, or two that both want nothing, have no reason to stay connected.
    pub(super) fn close_if_both_complete(&mut self, key: PeerKey) {
        let done = self.pieces.is_finished();
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if done && (peer.has.is_seed() || peer.upload_only && peer.has_announced) {
            peer.close(crate::peer::CloseReason::BothComplete);
            self.wake(key);
        }
    }
}

/// Who has so many pieces can trade, and asks as others do (BEP 6 leaves it to us who is a starting peer).
const STARTS_WITH: u32 = 4;

/// A request within this time of a choke may have been sent before the peer heard of it.
const CROSSING_TIME: std::time::Duration = std::time::Duration::from_secs(10);

/// Of each piece that a peer may ask for while choked it gets so many copies: it may drop one, but it
/// can't live on them past the choker.
const FAST_COPIES: u64 = 2;

/// Gives the peer the pieces that it may ask for while choked (BEP 6), each with its length.
pub(super) fn allow_fast(peer: &mut Peer, set: impl IntoIterator<Item = (PieceIndex, u32)>) {
    for (piece, len) in set {
        peer.fast_budget += FAST_COPIES * u64::from(len);
        peer.allowed_by_us.push(piece);
        peer.send(&Message::AllowedFast(piece));
    }
}
