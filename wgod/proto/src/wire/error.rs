//! What a peer can do wrong on the wire. Every error here is the peer's fault and ends its connection.
use std::ops::RangeInclusive;

use super::message::id;

/// The first bytes of a connection are not the handshake of BEP 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a BitTorrent handshake, it begins with \"{}\"", found.escape_ascii())]
pub struct HandshakeError {
    /// The first 20 bytes, where the protocol's name should be.
    pub found: [u8; 20],
}

/// A message that breaks the protocol: what was allowed and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length prefix exceeds every message of this torrent.
    #[error("a message of {found} bytes, none has more than {limit}")]
    TooLong {
        /// Bytes of the longest message there can be.
        limit: u32,
        /// The length prefix.
        found: u32,
    },
    /// The length prefix doesn't fit the kind of message.
    #[error("{} of {found} bytes, expected {}..={}", id::name(*.id), expected.start(), expected.end())]
    WrongLength {
        /// Which message (its first byte).
        id: u8,
        /// Bytes it may have, the id included, as the length prefix counts.
        expected: RangeInclusive<u32>,
        /// The length prefix.
        found: u32,
    },
    /// A piece that the torrent doesn't have.
    #[error("{} names piece {index}, the torrent has {pieces}", id::name(*.id))]
    NoSuchPiece {
        /// Which message (its first byte).
        id: u8,
        /// The piece it names.
        index: u32,
        /// Pieces of the torrent.
        pieces: u32,
    },
    /// The tail of a `hashes` message isn't a whole number of hashes (BEP 52).
    #[error("hashes message with {found} bytes of hashes, not a multiple of 32")]
    RaggedHashes {
        /// Bytes after the range.
        found: u32,
    },
}
