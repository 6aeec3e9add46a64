//! What goes to a peer: pulled by its task when the socket can take it.
use wgo_proto::wire::message::Message;
use wgo_proto::{BLOCK_LEN, Block};

use super::Swarm;
use crate::time::Time;
use crate::units::PeerKey;

/// An outbox that had to hold more is given back to the system.
const CONTROL_BATCH: usize = 64 * 1024;
/// Bytes of an encoded `request` message.
const REQUEST_LEN: usize = 17;

impl<B> Swarm<B> {
    /// Payload bytes that the peer has asked for and nobody has pulled.
    pub fn upload_backlog(&self, key: PeerKey) -> u64 {
        self.peers.peer(key).map_or(0, |p| p.uploads.bytes())
    }

    /// Payload bytes that the peer was asked for and hasn't sent.
    pub fn download_backlog(&self, key: PeerKey) -> u64 {
        self.peers.peer(key).map_or(0, |p| p.pipeline.len() as u64 * u64::from(BLOCK_LEN))
    }

    /// Moves what is to be sent to the caller: encoded control messages to `control`, and requests of
    /// the peer to `uploads` until they hold at least `budget` bytes (at least one block if the budget
    /// is not zero). Control messages go before the blocks.
    ///
    /// What is pulled is the caller's to send; a choke or cancel that comes later does not reach it. Of what `uploads`
    /// holds before, from an earlier call, lost pieces are refused.
    pub fn poll_transmit(
        &mut self,
        now: Time,
        key: PeerKey,
        budget: u64,
        control: &mut Vec<u8>,
        uploads: &mut Vec<Block>,
    ) {
        self.refuse_lost(key, uploads);
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.woken = false;
        control.append(&mut peer.outbox);
        if peer.outbox.capacity() > CONTROL_BATCH {
            peer.outbox = Vec::new();
        }
        if peer.have_cursor < self.haves.end() {
            let have = self.pieces.have();
            // One lost again meanwhile is not told.
            for piece in self.haves.since(peer.have_cursor).filter(|piece| have.get(piece.0)) {
                Message::Have(piece).encode(control);
            }
            peer.have_cursor = self.haves.end();
        }
        if peer.pipeline.unsent() > 0 {
            control.reserve(peer.pipeline.unsent() * REQUEST_LEN);
            peer.pipeline.pull(|block| Message::Request(block).encode(control));
        }
        let before = uploads.len();
        peer.uploads.pull(budget, uploads);
        if !control.is_empty() || uploads.len() > before {
            peer.sent_at = now;
        }
    }

    /// `bytes` of payload have left for the peer.
    pub fn on_uploaded(&mut self, now: Time, key: PeerKey, bytes: u64) {
        self.traffic.uploaded(now, bytes);
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.traffic.uploaded(now, bytes);
            peer.sent_since_unchoke += bytes;
        }
    }

    /// A pulled block could not be read: its request is refused (BEP 6), or left unanswered.
    pub fn on_upload_failed(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if peer.fast() {
            peer.send(&Message::Reject(block));
            self.wake(key);
        }
    }

    /// Takes out of `blocks`, which were pulled and have not been sent, those of pieces that were lost meanwhile: what
    /// was read of such a piece may be bad. Their requests are refused.
    pub fn refuse_lost(&mut self, key: PeerKey, blocks: &mut Vec<Block>) {
        let have = self.pieces.have();
        let lost: Vec<Block> = blocks.extract_if(.., |block| !have.get(block.piece.0)).collect();
        lost.into_iter().for_each(|block| self.on_upload_failed(key, block));
    }

    /// Asks the peer's task to come and pull. A task whose socket takes nothing has not come although it
    /// was asked; it is asked again to see that its connection is to end.
    pub(super) fn wake(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.peer_mut(key)
            && (!peer.woken || peer.closing.is_some())
        {
            peer.woken = true;
            self.wakes.push(key);
        }
    }
}
