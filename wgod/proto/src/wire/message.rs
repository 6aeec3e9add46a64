//! The messages that follow the handshake, and their bytes (BEP 3, 5, 6, 10, 52).
//!
//! Encoding is here; [`next_frame`](super::next_frame) decodes. A `piece` message has no [`Message`]:
//! its payload is never copied next to other bytes, so it is a header here and a frame of its own there.
use crate::units::{Block, PieceIndex};

/// First byte of each message.
pub mod id {
    /// `choke` (BEP 3).
    pub const CHOKE: u8 = 0;
    /// `unchoke` (BEP 3).
    pub const UNCHOKE: u8 = 1;
    /// `interested` (BEP 3).
    pub const INTERESTED: u8 = 2;
    /// `not interested` (BEP 3).
    pub const NOT_INTERESTED: u8 = 3;
    /// `have` (BEP 3).
    pub const HAVE: u8 = 4;
    /// `bitfield` (BEP 3).
    pub const BITFIELD: u8 = 5;
    /// `request` (BEP 3).
    pub const REQUEST: u8 = 6;
    /// `piece` (BEP 3).
    pub const PIECE: u8 = 7;
    /// `cancel` (BEP 3).
    pub const CANCEL: u8 = 8;
    /// `port` (BEP 5).
    pub const PORT: u8 = 9;
    /// `suggest piece` (BEP 6).
    pub const SUGGEST: u8 = 13;
    /// `have all` (BEP 6).
    pub const HAVE_ALL: u8 = 14;
    /// `have none` (BEP 6).
    pub const HAVE_NONE: u8 = 15;
    /// `reject request` (BEP 6).
    pub const REJECT: u8 = 16;
    /// `allowed fast` (BEP 6).
    pub const ALLOWED_FAST: u8 = 17;
    /// `extended` (BEP 10).
    pub const EXTENDED: u8 = 20;
    /// `hash request` (BEP 52).
    pub const HASH_REQUEST: u8 = 21;
    /// `hashes` (BEP 52).
    pub const HASHES: u8 = 22;
    /// `hash reject` (BEP 52).
    pub const HASH_REJECT: u8 = 23;

    /// The name of a message in its BEP, or `unknown message`.
    pub fn name(id: u8) -> &'static str {
        match id {
            CHOKE => "choke",
            UNCHOKE => "unchoke",
            INTERESTED => "interested",
            NOT_INTERESTED => "not interested",
            HAVE => "have",
            BITFIELD => "bitfield",
            REQUEST => "request",
            PIECE => "piece",
            CANCEL => "cancel",
            PORT => "port",
            SUGGEST => "suggest piece",
            HAVE_ALL => "have all",
            HAVE_NONE => "have none",
            REJECT => "reject request",
            ALLOWED_FAST => "allowed fast",
            EXTENDED => "extended",
            HASH_REQUEST => "hash request",
            HASHES => "hashes",
            HASH_REJECT => "hash reject",
            _ => "unknown message",
        }
    }
}

/// One message, all but `piece`. What it borrows is the receive buffer's, or the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Four zero bytes: the connection is in use (BEP 3).
    KeepAlive,
    /// The sender will serve no requests until it unchokes (BEP 3).
    Choke,
    /// The sender serves requests (BEP 3).
    Unchoke,
    /// The sender would ask for blocks when unchoked (BEP 3).
    Interested,
    /// The sender wants nothing that the receiver has (BEP 3).
    NotInterested,
    /// The sender now has this piece (BEP 3).
    Have(PieceIndex),
    /// What the sender has: the bytes that `Bitfield::from_wire` reads (BEP 3).
    Bitfield(&'a [u8]),
    /// Send me this block (BEP 3). Not yet known to lie inside the torrent.
    Request(Block),
    /// I no longer want this block (BEP 3). Not yet known to lie inside the torrent.
    Cancel(Block),
    /// UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// You might like to download this piece (BEP 6).
    Suggest(PieceIndex),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// This request will not be served (BEP 6). Not yet known to lie inside the torrent.
    Reject(Block),
    /// I serve this piece even while choking you (BEP 6).
    AllowedFast(PieceIndex),
    /// A message of the extension protocol (BEP 10).
    Extended {
        /// 0 for the handshake, else the id that the *receiver* gave to the extension.
        id: u8,
        /// What follows the id.
        body: &'a [u8],
    },
    /// Send me these hashes of a file's tree (BEP 52).
    HashRequest(HashRange),
    /// Hashes of a file's tree (BEP 52).
    Hashes {
        /// The request that this answers.
        range: HashRange,
        /// The hashes of the base layer, then the uncles up to the root; 32 bytes each.
        hashes: &'a [u8],
    },
    /// That hash request will not be served (BEP 52).
    HashReject(HashRange),
}

/// Which hashes of a v2 file's Merkle tree are meant (BEP 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashRange {
    /// The file's `pieces root`.
    pub pieces_root: [u8; 32],
    /// Layers between the leaves (16 KiB blocks, 0) and the lowest layer asked for.
    pub base_layer: u32,
    /// First hash, counted in that layer.
    pub index: u32,
    /// Hashes of that layer.
    pub length: u32,
    /// Layers of uncle hashes above it.
    pub proof_layers: u32,
}

impl HashRange {
    /// Whether the numbers keep the rules of BEP 52: length a power of two from 2, index a multiple
    /// of it. A request that doesn't is answered with a reject.
    pub fn is_aligned(&self) -> bool {
        self.length >= 2 && self.length.is_power_of_two() && self.index.is_multiple_of(self.length)
    }

    fn encode(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..32].copy_from_slice(&self.pieces_root);
        let numbers = [self.base_layer, self.index, self.length, self.proof_layers];
        for (four, number) in bytes[32..].chunks_exact_mut(4).zip(numbers) {
            four.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; 48]) -> Self {
        let mut pieces_root = [0; 32];
        pieces_root.copy_from_slice(&bytes[..32]);
        let (fours, _) = bytes[32..].as_chunks::<4>();
        let number = |i: usize| u32::from_be_bytes(fours[i]);
        Self {
            pieces_root,
            base_layer: number(0),
            index: number(1),
            length: number(2),
            proof_layers: number(3),
        }
    }
}

impl Message<'_> {
    /// Appends the message as it goes on the wire, length prefix first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Message::KeepAlive => out.extend([0; 4]),
            Message::Choke => put(out, id::CHOKE, &[]),
            Message::Unchoke => put(out, id::UNCHOKE, &[]),
            Message::Interested => put(out, id::INTERESTED, &[]),
            Message::NotInterested => put(out, id::NOT_INTERESTED, &[]),
            Message::Have(piece) => put(out, id::HAVE, &[&piece.0.to_be_bytes()]),
            Message::Bitfield(bits) => put(out, id::BITFIELD, &[bits]),
            Message::Request(block) => put(out, id::REQUEST, &[&encode_block(block)]),
            Message::Cancel(block) => put(out, id::CANCEL, &[&encode_block(block)]),
            Message::Port(port) => put(out, id::PORT, &[&port.to_be_bytes()]),
            Message::Suggest(piece) => put(out, id::SUGGEST, &[&piece.0.to_be_bytes()]),
            Message::HaveAll => put(out, id::HAVE_ALL, &[]),
            Message::HaveNone => put(out, id::HAVE_NONE, &[]),
            Message::Reject(block) => put(out, id::REJECT, &[&encode_block(block)]),
            Message::AllowedFast(piece) => put(out, id::ALLOWED_FAST, &[&piece.0.to_be_bytes()]),
            Message::Extended { id, body } => put(out, id::EXTENDED, &[&[id], body]),
            Message::HashRequest(range) => put(out, id::HASH_REQUEST, &[&range.encode()]),
            Message::Hashes { range, hashes } => put(out, id::HASHES, &[&range.encode(), hashes]),
            Message::HashReject(range) => put(out, id::HASH_REJECT, &[&range.encode()]),
        }
    }

    /// The message's first byte; a keep-alive has none.
    pub fn id(&self) -> Option<u8> {
        Some(match self {
            Message::KeepAlive => return None,
            Message::Choke => id::CHOKE,
            Message::Unchoke => id::UNCHOKE,
            Message::Interested => id::INTERESTED,
            Message::NotInterested => id::NOT_INTERESTED,
            Message::Have(_) => id::HAVE,
            Message::Bitfield(_) => id::BITFIELD,
            Message::Request(_) => id::REQUEST,
            Message::Cancel(_) => id::CANCEL,
            Message::Port(_) => id::PORT,
            Message::Suggest(_) => id::SUGGEST,
            Message::HaveAll => id::HAVE_ALL,
            Message::HaveNone => id::HAVE_NONE,
            Message::Reject(_) => id::REJECT,
            Message::AllowedFast(_) => id::ALLOWED_FAST,
            Message::Extended { .. } => id::EXTENDED,
            Message::HashRequest(_) => id::HASH_REQUEST,
            Message::Hashes { .. } => id::HASHES,
            Message::HashReject(_) => id::HASH_REJECT,
        })
    }

    /// The message's name in its BEP.
    pub fn name(&self) -> &'static str {
        self.id().map_or("keep-alive", id::name)
    }
}

/// What precedes the payload of a `piece` message on the wire, length prefix first (BEP 3).
///
/// `block.len` is that of a block of the torrent, far below the 4 GiB that a length prefix holds.
pub fn block_header(block: Block) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..4].copy_from_slice(&block.len.saturating_add(9).to_be_bytes());
    bytes[4] = id::PIECE;
    bytes[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    bytes[9..].copy_from_slice(&block.offset.to_be_bytes());
    bytes
}

fn encode_block(block: Block) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&block.piece.0.to_be_bytes());
    bytes[4..8].copy_from_slice(&block.offset.to_be_bytes());
    bytes[8..].copy_from_slice(&block.len.to_be_bytes());
    bytes
}

fn put(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let len = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(4 + len);
    out.extend((len as u32).to_be_bytes());
    out.push(id);
    for part in parts {
        out.extend_from_slice(part);
    }
}
