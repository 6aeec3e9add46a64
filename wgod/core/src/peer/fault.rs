//! Why a connection ends, and what that says about the peer.
use std::time::Duration;

use wgo_proto::{Block, PieceIndex};

/// A peer broke the protocol. The connection ends; nothing else is touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// A piece number that the torrent does not have.
    #[error("piece {} does not exist, the torrent has {count}", piece.0)]
    NoSuchPiece {
        /// The number it named.
        piece: PieceIndex,
        /// Pieces of the torrent.
        count: u32,
    },
    /// A request, cancel, reject or block outside its piece, empty, or too large.
    #[error("{message} of piece {} offset {} length {} lies outside the torrent", block.piece.0, block.offset, block.len)]
    OutOfRange {
        /// The message's name.
        message: &'static str,
        /// The block it named.
        block: Block,
    },
    /// A bitfield of the wrong length or with bits set past the last piece.
    #[error("malformed bitfield: {0}")]
    BadBitfield(String),
    /// A message of the fast extension without having offered it (BEP 6).
    #[error("{0} without the fast extension")]
    NotFast(&'static str),
    /// An extension message that does not parse.
    #[error("malformed extension message: {0}")]
    BadExtension(String),
    /// Framing or encoding that the wire decoder refused.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// Too many messages that are each harmless.
    #[error("{0} useless messages")]
    Nuisance(u32),
    /// A piece of metadata that contradicts the size which it named before (BEP 9).
    #[error("sent {came} bytes as a piece of its {said} bytes of metadata")]
    MetadataSize {
        /// Bytes of the whole, as it named them.
        said: u32,
        /// Bytes of the piece that came.
        came: usize,
    },
    /// It alone sent metadata that isn't the torrent's (BEP 9).
    #[error("sent metadata with a wrong hash")]
    WrongMetadata,
    /// It alone sent a piece whose hash is wrong.
    #[error("sent piece {} with a wrong hash", .0.0)]
    Poisoned(PieceIndex),
}

/// Why a connection ended or is to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// It broke the protocol.
    #[error(transparent)]
    Fault(#[from] PeerFault),
    /// The other side closed, or the connection broke.
    #[error("connection ended: {0}")]
    Gone(String),
    /// Nothing came for this long.
    #[error("silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// It does not read what we send.
    #[error("does not read what we send")]
    NotReading,
    /// Neither side has anything the other wants.
    #[error("both sides are complete")]
    BothComplete,
    /// It neither wants nor has anything of use, and the place is needed.
    #[error("of no use to either side")]
    Useless,
    /// Another connection to the same peer is kept.
    #[error("another connection to this peer exists")]
    Duplicate,
    /// It is ourselves.
    #[error("connected to ourselves")]
    Ourselves,
    /// Its address is banned.
    #[error("banned: {0}")]
    Banned(String),
    /// The operator's IP filter has its address.
    #[error("the IP filter has its address")]
    Filtered,
    /// The limits on connections are reached.
    #[error("too many connections")]
    Full,
    /// The torrent is private, and the peer not of the tracker that is used (BEP 27).
    #[error("the torrent is private, and the tracker in use did not name this peer")]
    OtherTracker,
    /// The network that it came by is gone.
    #[error("the network is gone")]
    Offline,
    /// The torrent stopped, is removed, or failed.
    #[error("torrent stopped")]
    Stopped,
}
