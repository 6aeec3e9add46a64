//! Metadata (BEP 9): a Swarm that knows only an info-hash asks its peers for the info dictionary, and becomes one
//! like any other when it has come, with the same connections; a Swarm that knows it tells those who ask.
//!
//! What peers say of pieces before that can't be checked yet. It is kept as it came, within bounds, and counts
//! from then on.
use std::collections::BTreeMap;
use std::time::Duration;

use wgo_proto::layout::{Layout, MAX_PIECES};
use wgo_proto::wire::extended::ut_metadata::{METADATA_PIECE_LEN, metadata_piece_len, metadata_pieces};
use wgo_proto::wire::message::Message;
use wgo_proto::wire::{ExtMessage, Extension, MetadataMessage};
use wgo_proto::{Bitfield, PieceIndex};

use super::{Action, Swarm, bytes_of};
use crate::metadata::{Fetch, Unfit};
use crate::peer::{CloseReason, MAX_ALLOWED_FAST, MAX_SUGGESTED, PeerFault};
use crate::peer_mgr::Reason;
use crate::piece_mgr::{Order, PeerHave, PieceMgr};
use crate::selection::Selection;
use crate::time::Time;
use crate::tracker::Policy;
use crate::units::PeerKey;

/// Bytes of what all peers said that they have, before the pieces are known; of the largest torrent there is, that
/// is what 32 peers say. Whoever would need more is let go, and may come back when they are known.
const MAX_EARLY: usize = 32 * (MAX_PIECES as usize / 8);
/// Pieces of our metadata that may be on their way to one peer, and to all of them. Who asks for more is refused,
/// as BEP 9 has it; it asks again later.
const MAX_OWED: u32 = 8;
const MAX_OWED_TO_ALL: u32 = 32;
/// Pieces of metadata that are sent at once, and then one in this time: what most torrents have several times over,
/// and of the rest 256 KiB/s. It costs upload that no limit knows of.
const BURST: u32 = 64;
const PACE: Duration = Duration::from_micros(62_500);

/// What a torrent is found to be.
pub struct Learnt<B> {
    layout: Layout,
    pieces: PieceMgr<B>,
    left_bytes: u64,
    private: bool,
    metadata_len: u32,
}

impl<B> Learnt<B> {
    /// A torrent of which nothing is stored. Costs time by its pieces, so it is made outside of the Swarm's lock.
    /// `metadata_len` as in [`SwarmConfig`](super::SwarmConfig).
    pub fn new(
        layout: Layout,
        selection: Option<&Selection>,
        order: Order,
        seed: u64,
        private: bool,
        metadata_len: u32,
    ) -> Learnt<B> {
        let mut pieces = PieceMgr::new(layout.clone(), Bitfield::new(layout.piece_count()), seed);
        if selection.is_some() {
            pieces.select(selection);
        }
        pieces.set_order(order);
        let left_bytes = bytes_of(&layout, pieces.wanted());
        Learnt { layout, pieces, left_bytes, private, metadata_len }
    }
}

/// The state of a Swarm without metadata.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    pub(super) fetch: Fetch,
    /// What peers said that they have. Bounded by the connections, and by [`MAX_EARLY`].
    early: BTreeMap<PeerKey, Early>,
    early_bytes: usize,
}

/// What one peer said that it has.
#[derive(Debug, Default)]
struct Early {
    all: bool,
    /// Highest bit first, as on the wire; as long as what was named needs.
    bits: Vec<u8>,
    /// A whole set of this length in bytes was among it.
    field: Option<usize>,
}

impl Early {
    fn has_any(&self) -> bool {
        self.all || self.bits.iter().any(|byte| *byte != 0)
    }

    /// The same in terms of the pieces that there are.
    fn into_have(mut self, pieces: u32) -> Result<PeerHave, PeerFault> {
        if self.all {
            return Ok(PeerHave::All);
        }
        let len = Bitfield::wire_len(pieces);
        if let Some(found) = self.field.filter(|found| *found != len) {
            let fault = format!("{found} bytes, and the torrent's pieces take {len}");
            return Err(PeerFault::BadBitfield(fault));
        }
        if self.bits.len() < len {
            self.bits.resize(len, 0);
        }
        let bits = Bitfield::from_wire(&self.bits, pieces);
        bits.map(PeerHave::from_bitfield).map_err(|e| PeerFault::BadBitfield(e.to_string()))
    }
}

impl Unknown {
    /// Whether the peer has pieces.
    pub(super) fn has_any(&self, key: PeerKey) -> bool {
        self.early.get(&key).is_some_and(Early::has_any)
    }

    pub(super) fn forget(&mut self, key: PeerKey) {
        self.fetch.leave(key);
        if let Some(early) = self.early.remove(&key) {
            self.early_bytes -= early.bits.len();
        }
    }

    /// A peer's set with room for `len` bytes, if there is that.
    fn provide(&mut self, key: PeerKey, len: usize) -> Option<&mut Early> {
        let early = self.early.entry(key).or_default();
        let more = len.saturating_sub(early.bits.len());
        if self.early_bytes + more > MAX_EARLY {
            return None;
        }
        if more > 0 {
            self.early_bytes += more;
            early.bits.resize(len, 0);
        }
        Some(early)
    }

    fn check_invariants(&self) {
        self.fetch.check_invariants();
        let bytes: usize = self.early.values().map(|early| early.bits.len()).sum();
        assert_eq!(bytes, self.early_bytes, "bytes of early sets");
        assert!(bytes <= MAX_EARLY);
    }
}

/// How much of our own metadata may be sent.
#[derive(Debug)]
pub(super) struct Giving {
    /// Pieces on their way.
    owed: u32,
    /// When the allowance would be full, if nothing more were sent.
    full_at: Time,
}

impl Giving {
    pub(super) fn new() -> Giving {
        Giving { owed: 0, full_at: Time::ZERO }
    }

    /// Takes one piece out of the allowance, if it has one.
    fn take(&mut self, now: Time) -> bool {
        let full_at = self.full_at.max(now) + PACE;
        let allowed = self.owed < MAX_OWED_TO_ALL && full_at <= now + PACE * BURST;
        if allowed {
            self.full_at = full_at;
            self.owed += 1;
        }
        allowed
    }
}

impl<B> Swarm<B> {
    /// Whether the metadata has still to come.
    pub fn is_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    /// Bytes of metadata that may be held before it is whole, as the session shares them out.
    pub fn set_metadata_limit(&mut self, bytes: usize) {
        if let Some(unknown) = &mut self.unknown {
            unknown.fetch.set_limit(bytes);
        }
    }

    /// Peers that say they have the metadata, and bytes of it that have come.
    pub fn metadata_progress(&self) -> (usize, usize) {
        self.unknown.as_ref().map_or((0, 0), |unknown| (unknown.fetch.sources(), unknown.fetch.held()))
    }

    /// Takes what can't be checked before the pieces are known; `false`: the message is as good as ever.
    pub(super) fn on_early(
        &mut self,
        now: Time,
        key: PeerKey,
        message: &Message<'_>,
    ) -> Result<bool, PeerFault> {
        let (Some(unknown), Some(peer)) = (&mut self.unknown, self.peers.peer_mut(key)) else {
            return Ok(false);
        };
        let kept = match *message {
            Message::HaveAll => {
                unknown.early.entry(key).or_default().all = true;
                true
            }
            Message::HaveNone => true,
            Message::Have(piece) => {
                if piece.0 >= MAX_PIECES {
                    return Err(PeerFault::NoSuchPiece { piece, count: MAX_PIECES });
                }
                let (byte, bit) = (piece.0 as usize / 8, 0x80 >> (piece.0 % 8));
                unknown.provide(key, byte + 1).map(|early| early.bits[byte] |= bit).is_some()
            }
            Message::Bitfield(bytes) => {
                let early = unknown.provide(key, bytes.len());
                early
                    .map(|early| {
                        early.field = Some(bytes.len());
                        early.bits.iter_mut().zip(bytes).for_each(|(mine, byte)| *mine |= byte);
                    })
                    .is_some()
            }
            Message::AllowedFast(piece) => {
                if peer.allowed_fast.len() < MAX_ALLOWED_FAST && !peer.allowed_fast.contains(&piece) {
                    peer.allowed_fast.push(piece);
                }
                return Ok(true);
            }
            Message::Suggest(piece) => {
                if peer.suggested.len() < MAX_SUGGESTED {
                    peer.suggested.push(piece);
                }
                return Ok(true);
            }
            Message::Request(block) => {
                if peer.fast() {
                    peer.send(&Message::Reject(block));
                    self.wake(key);
                }
                return self.nuisance(key).map(|()| true);
            }
            _ => return Ok(false),
        };
        match kept {
            true => {
                peer.has_announced = true;
                self.update_interest(now, key);
            }
            false => {
                peer.close(CloseReason::Full);
                self.wake(key);
            }
        }
        Ok(true)
    }

    /// The peer has a piece no more, which is not known yet.
    pub(super) fn on_early_loss(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(early) = self.unknown.as_mut().and_then(|unknown| unknown.early.get_mut(&key)) else {
            return;
        };
        // One that had all has all but this one, of a number that is not known: it tells the rest.
        early.all = false;
        if let Some(byte) = early.bits.get_mut(piece.0 as usize / 8) {
            *byte &= !(0x80 >> (piece.0 % 8));
        }
    }

    /// The peer's extension handshake says whether it has the metadata.
    pub(super) fn on_metadata_size(&mut self, now: Time, key: PeerKey, size: Option<u32>) {
        let Some(peer) = self.peers.peer(key) else { return };
        let speaks = peer.extensions.get(Extension::Metadata).is_some();
        if let (Some(unknown), Some(size), true) = (&mut self.unknown, size, speaks) {
            unknown.fetch.offer(key, size);
            self.ask_for_metadata_of(now, key);
        }
    }

    pub(super) fn on_metadata(
        &mut self,
        now: Time,
        key: PeerKey,
        message: MetadataMessage<'_>,
    ) -> Result<(), PeerFault> {
        match message {
            MetadataMessage::Request { piece } => self.on_metadata_request(now, key, piece)?,
            MetadataMessage::Data { piece, total_size, data } => {
                let Some(unknown) = &mut self.unknown else { return self.nuisance(key) };
                match unknown.fetch.on_piece(key, piece, total_size, data) {
                    Ok(Some(candidate)) => self.act(Action::Metadata(candidate)),
                    Ok(None) => self.ask_for_metadata_of(now, key),
                    Err(Unfit::Unasked) => self.nuisance(key)?,
                    Err(Unfit::Size { said, came }) => {
                        unknown.fetch.leave(key);
                        return Err(PeerFault::MetadataSize { said, came });
                    }
                }
            }
            MetadataMessage::Reject { piece } => {
                let Some(unknown) = &mut self.unknown else { return self.nuisance(key) };
                match unknown.fetch.on_reject(now, key, piece) {
                    Ok(()) => self.ask_for_metadata(now),
                    Err(_) => self.nuisance(key)?,
                }
            }
            MetadataMessage::Unknown { .. } => {}
        }
        Ok(())
    }

    /// Asks whoever may be asked.
    pub(super) fn ask_for_metadata(&mut self, now: Time) {
        self.ask(now, |fetch, out| fetch.requests(now, out));
    }

    fn ask_for_metadata_of(&mut self, now: Time, key: PeerKey) {
        self.ask(now, |fetch, out| fetch.requests_of(now, key, out));
    }

    fn ask(&mut self, now: Time, which: impl FnOnce(&mut Fetch, &mut Vec<(PeerKey, u32)>)) {
        let Some(unknown) = self.unknown.as_mut().filter(|_| !self.requests_paused) else { return };
        let mut asks = Vec::new();
        which(&mut unknown.fetch, &mut asks);
        for (key, piece) in asks {
            let Some(peer) = self.peers.peer_mut(key) else { continue };
            let message = ExtMessage::Metadata(MetadataMessage::Request { piece });
            if message.encode(&peer.extensions, &mut peer.outbox) {
                self.wake(key);
            } else if let Some(unknown) = &mut self.unknown {
                // It has switched the extension off since.
                unknown.fetch.leave(key);
            }
        }
        self.tick_at.get_or_insert(now + Duration::from_secs(1));
    }

    /// Once a second.
    pub(super) fn tick_metadata(&mut self, now: Time) {
        if let Some(unknown) = &mut self.unknown {
            unknown.fetch.tick(now);
            self.ask_for_metadata(now);
        }
    }

    /// The metadata of `Action::Metadata` has another hash than the torrent: whoever is proven to have sent it so
    /// is let go for good.
    pub fn metadata_wrong(&mut self, now: Time, size: u32) {
        let Some(unknown) = &mut self.unknown else { return };
        if let Some(liar) = unknown.fetch.on_wrong(size) {
            unknown.fetch.leave(liar);
            self.ban(now, liar, PeerFault::WrongMetadata, Reason::WrongMetadata);
        }
        self.ask_for_metadata(now);
    }

    /// The metadata of `Action::Metadata` was right and could not be kept: it is fetched again, later.
    pub fn metadata_again(&mut self, now: Time, size: u32) {
        if let Some(unknown) = &mut self.unknown {
            unknown.fetch.again(now, size);
        }
    }

    /// The metadata is known: pieces are asked for from now on, of those that are connected. Does nothing if it was
    /// known.
    pub fn learn(&mut self, now: Time, learnt: Learnt<B>) {
        let Some(unknown) = self.unknown.take() else { return };
        let Learnt { layout, pieces, left_bytes, private, metadata_len } = learnt;
        self.layout = layout;
        self.pieces = pieces;
        self.left_bytes = left_bytes;
        self.config.private = private;
        if private {
            self.trackers.set_policy(Policy::OneTracker);
        }
        self.config.metadata_len = metadata_len;
        self.peer_mgr.set_seeding(self.pieces.is_finished());
        let count = self.layout.piece_count();
        let mut early = unknown.early;
        for key in self.peers.keys() {
            let has = early.remove(&key).map_or(Ok(PeerHave::None), |early| early.into_have(count));
            let Some(peer) = self.peers.peer_mut(key) else { continue };
            peer.allowed_fast.retain(|piece| piece.0 < count);
            peer.suggested.retain(|piece| piece.0 < count);
            match has {
                Ok(has) => {
                    self.pieces.add_peer(&has);
                    peer.interesting = self.pieces.interesting_count(&has);
                    peer.has = has;
                }
                Err(fault) => peer.close(CloseReason::Fault(fault)),
            }
        }
        if private {
            self.leave_strangers();
        }
        for key in self.peers.keys() {
            // Peers may fetch the metadata from us from now on.
            self.introduce(key);
            self.allow_fast(key);
            self.update_interest(now, key);
            self.fill(now, key);
            self.wake(key);
        }
        if self.pieces.is_finished() {
            self.finish();
        }
    }

    fn on_metadata_request(&mut self, now: Time, key: PeerKey, piece: u32) -> Result<(), PeerFault> {
        let Some(peer) = self.peers.peer_mut(key) else { return Ok(()) };
        let exists = piece < metadata_pieces(self.config.metadata_len);
        if exists && peer.metadata_owed < MAX_OWED && self.giving.take(now) {
            peer.metadata_owed += 1;
            self.act(Action::ReadMetadata(key, piece));
            return Ok(());
        }
        let reject = ExtMessage::Metadata(MetadataMessage::Reject { piece });
        if reject.encode(&peer.extensions, &mut peer.outbox) {
            self.wake(key);
        }
        self.nuisance(key)
    }

    /// Sends a piece of the metadata that `Action::ReadMetadata` asked for, or refuses it when it can't be read.
    /// `metadata` is the whole.
    pub fn send_metadata(&mut self, key: PeerKey, piece: u32, metadata: Option<&[u8]>) {
        self.giving.owed = self.giving.owed.saturating_sub(1);
        let total = self.config.metadata_len;
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.metadata_owed = peer.metadata_owed.saturating_sub(1);
        let start = piece as usize * METADATA_PIECE_LEN as usize;
        let bytes = metadata.filter(|whole| whole.len() == total as usize).and_then(|whole| {
            let len = metadata_piece_len(total, piece)? as usize;
            whole.get(start..start + len)
        });
        let message = match bytes {
            Some(data) => MetadataMessage::Data { piece, total_size: Some(total), data },
            None => MetadataMessage::Reject { piece },
        };
        if ExtMessage::Metadata(message).encode(&peer.extensions, &mut peer.outbox) {
            if peer.outbox.len() > crate::peer::MAX_OUTBOX {
                peer.close(CloseReason::NotReading);
            }
            self.wake(key);
        }
    }

    pub(super) fn check_metadata(&self) {
        assert_eq!(self.unknown.is_some(), !self.layout.is_known());
        if let Some(unknown) = &self.unknown {
            unknown.check_invariants();
        }
        let owed: u32 = self.peers.iter().map(|(_, peer)| peer.metadata_owed).sum();
        assert!(owed <= self.giving.owed && self.giving.owed <= MAX_OWED_TO_ALL, "metadata on its way");
    }
}
