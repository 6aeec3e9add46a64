//! Blocks that arrive, pieces that get whole, and what the disk says of them.
use std::net::IpAddr;

use smallvec::SmallVec;
use wgo_proto::wire::{ExtMessage, Message};
use wgo_proto::{Bitfield, Block, PieceIndex};

use super::{Action, Swarm};
use crate::peer::{CloseReason, PeerFault};
use crate::peer_mgr::Reason;
use crate::piece_mgr::{BadBlocks, Blame, Complete, Receive};
use crate::smart_ban::{Digests, Sender};
use crate::time::Time;
use crate::units::PeerKey;

/// What became of a piece that was handed out as complete.
#[derive(Debug)]
pub enum PieceOutcome<B> {
    /// It hashed right and the write returned.
    Stored,
    /// It hashed wrong; nothing was written. v2 pieces can name the bad blocks.
    BadHash(BadBlocks<B>),
    /// It hashed right, or was not hashed, and could not be read back or written.
    DiskFailed,
}

impl<B> Swarm<B> {
    /// The payload of a `piece` message came. Returns the piece when this block completes it: the
    /// caller hashes and writes it and reports with [`on_piece`](Self::on_piece).
    pub fn on_block(
        &mut self,
        now: Time,
        key: PeerKey,
        block: Block,
        buf: B,
    ) -> Result<Option<Complete<B>>, PeerFault> {
        if !self.layout.is_whole_block(block) {
            return Err(PeerFault::OutOfRange { message: "piece", block });
        }
        let Some(peer) = self.peers.peer_mut(key).filter(|p| p.closing.is_none()) else { return Ok(None) };
        peer.received_at = now;
        peer.traffic.downloaded(now, u64::from(block.len));
        self.traffic.downloaded(now, u64::from(block.len));
        let asked = peer.pipeline.remove(block).is_some();
        if asked {
            peer.pipeline.on_block(now);
        } else if peer.given_up > 0 {
            peer.given_up -= 1;
        } else {
            self.traffic.wasted(u64::from(block.len));
            return self.nuisance(key).map(|()| None);
        }
        let complete = match self.pieces.receive(now, key, block, buf) {
            Receive::Stored { cancel, complete } => {
                for other in cancel {
                    self.cancel(other, block);
                    self.fill(now, other);
                }
                complete
            }
            Receive::Duplicate(_) | Receive::Unwanted(_) => {
                self.traffic.wasted(u64::from(block.len));
                None
            }
        };
        self.fill(now, key);
        Ok(complete.map(|complete| self.doubted(complete)))
    }

    /// Marks a whole piece whose blocks are to be compared with what came before.
    pub(super) fn doubted(&self, complete: Complete<B>) -> Complete<B> {
        Complete { doubted: self.smart_ban.doubts(complete.piece), ..complete }
    }

    /// The digests of a piece that was hashed, before [`on_piece`](Self::on_piece) is told of it: always when it
    /// is wrong, and when it is right if it was [`doubted`](Complete::doubted). Who had sent other blocks than the
    /// right ones is banned.
    pub fn on_digests(&mut self, now: Time, piece: PieceIndex, right: bool, digests: &Digests) {
        if right {
            for guilty in self.smart_ban.right(piece, digests) {
                self.ban_sender(now, guilty, PeerFault::Poisoned(piece), Reason::BadPiece);
            }
            return;
        }
        let sender = |key| Some(Sender { key, ip: self.ip_of(key)? });
        let senders: Vec<_> = self.pieces.senders(piece).into_iter().map(|key| sender(key?)).collect();
        self.smart_ban.wrong(piece, digests, &senders);
    }

    /// A piece that [`on_block`](Self::on_block) handed out has been dealt with.
    pub fn on_piece(&mut self, now: Time, piece: PieceIndex, outcome: PieceOutcome<B>) {
        // Of a piece that was read back in part the disk may have lost what a peer had sent right.
        let outcome = if self.pieces.take_doubt(piece) { PieceOutcome::DiskFailed } else { outcome };
        match outcome {
            PieceOutcome::Stored => self.on_piece_stored(now, piece),
            PieceOutcome::BadHash(bad) => self.on_bad_piece(now, piece, bad),
            PieceOutcome::DiskFailed => {
                self.pieces.write_failed(piece);
                self.traffic.wasted(u64::from(self.layout.piece_len(piece)));
                self.fill_all(now);
            }
        }
    }

    fn on_piece_stored(&mut self, now: Time, piece: PieceIndex) {
        let wanted = self.pieces.wants(piece);
        self.smart_ban.forget(piece);
        self.pieces.stored(piece);
        self.note_have(piece, wanted, true);
        self.unsynced_bytes += u64::from(self.layout.piece_len(piece));
        self.haves.push(piece);
        if self.have_flush_at.is_none() {
            self.have_flush_at = Some(now + super::timers::HAVE_DELAY);
        }
        let done = self.pieces.is_finished();
        let mut useless: SmallVec<[PeerKey; 8]> = SmallVec::new();
        if wanted {
            for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.has.get(piece)) {
                peer.interesting = peer.interesting.saturating_sub(1);
                if peer.interesting == 0 {
                    useless.push(key);
                }
            }
        }
        useless.into_iter().for_each(|key| self.update_interest(now, key));
        if done {
            self.finish();
        }
        self.fill_starved(now);
    }

    /// Every wanted piece is stored.
    pub(super) fn finish(&mut self) {
        for key in self.peers.keys() {
            self.wake(key);
            self.close_if_both_complete(key);
        }
        self.peer_mgr.set_seeding(true);
        self.tell_upload_only();
        self.act(Action::Finished);
    }

    /// Pieces are wanted again.
    pub(super) fn unfinish(&mut self) {
        self.peer_mgr.set_seeding(false);
        self.tell_upload_only();
    }

    /// Peers that got fewer requests than they could take because memory was short get more.
    fn fill_starved(&mut self, now: Time) {
        if !self.starved || self.memory_room() == 0 {
            return;
        }
        self.starved = false;
        self.fill_all(now);
    }

    fn on_bad_piece(&mut self, now: Time, piece: PieceIndex, bad: BadBlocks<B>) {
        self.hash_failures += 1;
        // Of suspects the digests tell, once the piece is right.
        if let Blame::Proven(keys) = self.pieces.failed(piece, bad) {
            let fault = PeerFault::Poisoned(piece);
            keys.into_iter().for_each(|key| self.ban(now, key, fault.clone(), Reason::BadPiece));
        }
        self.count_dropped();
        self.fill_all(now);
    }

    /// What was received and then given up came in vain.
    pub(super) fn count_dropped(&mut self) {
        let bytes = self.pieces.take_dropped();
        self.traffic.wasted(bytes);
    }

    /// Where a peer is, or was when it left.
    fn ip_of(&self, key: PeerKey) -> Option<IpAddr> {
        let departed = || self.departed.iter().find(|(of, _)| *of == key).map(|(_, ip)| *ip);
        self.peers.peer(key).map(|peer| peer.info.addr.ip()).or_else(departed)
    }

    /// Ends the connection and keeps the address away.
    pub(super) fn ban(&mut self, now: Time, key: PeerKey, fault: PeerFault, reason: Reason) {
        if let Some(ip) = self.ip_of(key) {
            self.ban_sender(now, Sender { key, ip }, fault, reason);
        }
    }

    /// The same for a peer that may have left long ago.
    fn ban_sender(&mut self, now: Time, sender: Sender, fault: PeerFault, reason: Reason) {
        let Sender { key, ip } = sender;
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.close(CloseReason::Fault(fault.clone()));
        }
        self.wake(key);
        if reason == Reason::BadPiece {
            self.pieces.discard(key);
            self.count_dropped();
        }
        let covered = self.peer_mgr.ban(now, ip, reason);
        let others: Vec<PeerKey> =
            self.peers.iter().filter(|(_, p)| covered.contains(&p.info.addr)).map(|(key, _)| key).collect();
        for other in others {
            if let Some(peer) = self.peers.peer_mut(other) {
                peer.close(CloseReason::Banned(fault.to_string()));
            }
            self.wake(other);
        }
    }

    /// A sync failed: of all that was written since the checkpoint of `durable`, or is being written now, nobody
    /// knows whether it reaches the disk, and no later sync tells. It is fetched again. Returns the pieces that are
    /// not had any more.
    pub fn lose_unsynced(&mut self, now: Time, durable: &Bitfield) -> Vec<PieceIndex> {
        let lost: Vec<PieceIndex> = self.pieces.have().iter_and_not(durable).map(PieceIndex).collect();
        self.pieces.doubt_writes();
        self.lose(now, lost.iter().copied());
        lost
    }

    /// The operator lifts the ban of an address, or all bans; returns how many there were.
    pub fn unban(&mut self, now: Time, ip: Option<IpAddr>) -> usize {
        let all = || self.peer_mgr.bans(now).map(|(ip, _)| ip).collect();
        let ips: Vec<IpAddr> = ip.map_or_else(all, |ip| vec![ip]);
        ips.into_iter().filter(|ip| self.peer_mgr.unban(*ip)).count()
    }

    /// Pieces that we had are gone from the disk, or no longer hash right.
    pub fn lose(&mut self, now: Time, pieces: impl IntoIterator<Item = PieceIndex>) {
        let was_finished = self.pieces.is_finished();
        for piece in pieces {
            let had = self.pieces.have().get(piece.0);
            self.pieces.lose(piece);
            if !had {
                continue;
            }
            self.note_have(piece, self.pieces.wants(piece), false);
            for key in self.peers.keys() {
                let Some(peer) = self.peers.peer_mut(key) else { continue };
                ExtMessage::DontHave(piece).encode(&peer.extensions, &mut peer.outbox);
                // What it asked for of the piece would be sent bad.
                for block in peer.uploads.take_piece(piece) {
                    if peer.fast() {
                        peer.send(&Message::Reject(block));
                    }
                }
                if !peer.outbox.is_empty() {
                    self.wake(key);
                }
            }
        }
        self.count_dropped();
        if was_finished && !self.pieces.is_finished() {
            self.unfinish();
        }
        self.recount_interest(now);
    }
}
