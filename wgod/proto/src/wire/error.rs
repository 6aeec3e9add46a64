//! What a peer can do wrong on the wire. Every error here is the peer's fault and ends its connection.
use std::ops::RangeInclusive;

use super::message::id;
use crate::bencode::{BencodeError, Kind};

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
    /// The body of an extension message isn't bencode.
    #[error("{name}: {error}")]
    ExtensionBencode {
        /// Which extension.
        name: &'static str,
        /// What is wrong with it.
        error: BencodeError,
    },
    /// The body of an extension message is bencode, but no dictionary.
    #[error("{name}: expected a dictionary, found {found:?}")]
    ExtensionNotDict {
        /// Which extension.
        name: &'static str,
        /// What came.
        found: Kind,
    },
    /// A key is missing that an extension message must have, or its value is no integer.
    #[error("{name}: no integer `{key}`")]
    ExtensionKey {
        /// Which extension.
        name: &'static str,
        /// The key.
        key: &'static str,
    },
    /// The body of an extension message has another length than it must.
    #[error("{name} of {found} bytes, expected {expected}")]
    ExtensionLength {
        /// Which extension.
        name: &'static str,
        /// Bytes that it takes.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// The extension handshake gives an extension an id that no message can have (BEP 10).
    #[error("id {found} for {name}, expected 0..=255")]
    ExtensionId {
        /// Which extension.
        name: &'static str,
        /// The id.
        found: i64,
    },
    /// Metadata of a size that no torrent has (BEP 9).
    #[error("metadata of {found} bytes, the limit is {limit}")]
    MetadataSize {
        /// Bytes of the largest that we take.
        limit: u32,
        /// Bytes that the peer says.
        found: i64,
    },
    /// A piece of metadata that no torrent has (BEP 9).
    #[error("piece {found} of the metadata, expected 0..={last}")]
    MetadataPiece {
        /// The last that the largest metadata has.
        last: u32,
        /// The piece that the peer names.
        found: i64,
    },
    /// A piece of metadata with another length than it must have (BEP 9).
    #[error("piece {piece} of the metadata ({total_size:?} bytes) came with {found} bytes")]
    MetadataData {
        /// Which piece.
        piece: u32,
        /// Bytes of the whole, as the sender says.
        total_size: Option<u32>,
        /// Bytes that came.
        found: usize,
    },
}
