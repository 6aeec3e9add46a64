//! Cutting the byte stream of a connection into messages, without ever waiting for more bytes than
//! the torrent allows (BEP 3).
//!
//! Called by the shell's receive side with what it has read so far. The payload of a `piece` and the
//! body of a message we don't know need not be in the buffer: the first goes straight into a block
//! buffer, the second is thrown away as it comes.
use std::ops::RangeInclusive;

use super::error::WireError;
use super::message::{HashRange, Message, id};
use crate::bitfield::Bitfield;
use crate::layout::{MAX_PIECES, MAX_REQUEST_LEN};
use crate::units::{Block, PieceIndex};

/// Bytes of a `piece` message before its payload.
pub const BLOCK_HEADER_LEN: usize = 13;

/// Bytes of the longest extension message, unless configured: the largest `ut_pex` and `ut_metadata`
/// messages in use are far below.
pub const MAX_EXTENDED_LEN: u32 = 1024 * 1024;

/// Bytes of the longest `hashes` message and of the longest message that we skip for not knowing it.
pub const MAX_OTHER_LEN: u32 = 1024 * 1024;

/// Bytes of a `hash request`, its id included: the root and four numbers.
const HASH_RANGE_LEN: u32 = 49;

/// How long the messages of one torrent may be, and how many pieces they may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pieces of the torrent; `None` before its metadata is known, when any index passes.
    pub pieces: Option<u32>,
    /// Bytes of the longest extension message, its two id bytes included.
    pub max_extended: u32,
}

impl Limits {
    /// For a torrent of `pieces` pieces, `None` while the metadata is not known.
    pub fn new(pieces: Option<u32>) -> Self {
        Self { pieces, max_extended: MAX_EXTENDED_LEN }
    }

    /// Lengths that a message may have, id included; `None` for a message we don't know.
    fn lengths_of(&self, id: u8) -> Option<RangeInclusive<u32>> {
        Some(match id {
            id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => 1..=1,
            id::HAVE_ALL | id::HAVE_NONE => 1..=1,
            id::HAVE | id::SUGGEST | id::ALLOWED_FAST => 5..=5,
            id::BITFIELD => self.bitfield_lengths(),
            id::REQUEST | id::CANCEL | id::REJECT => 13..=13,
            id::PIECE => 10..=9 + MAX_REQUEST_LEN,
            id::PORT => 3..=3,
            id::EXTENDED => 2..=self.max_extended.max(2),
            id::HASH_REQUEST | id::HASH_REJECT => HASH_RANGE_LEN..=HASH_RANGE_LEN,
            id::HASHES => HASH_RANGE_LEN..=MAX_OTHER_LEN,
            _ => return None,
        })
    }

    fn bitfield_lengths(&self) -> RangeInclusive<u32> {
        let len = |pieces| 1 + Bitfield::wire_len(pieces) as u32;
        self.pieces.map_or(1..=len(MAX_PIECES), |pieces| len(pieces)..=len(pieces))
    }

    fn longest(&self) -> u32 {
        MAX_OTHER_LEN.max(self.max_extended).max(*self.bitfield_lengths().end())
    }

    /// The piece `index`, named by message `id`, if the torrent has it.
    pub(super) fn piece(&self, id: u8, index: u32) -> Result<PieceIndex, WireError> {
        match self.pieces {
            Some(pieces) if index >= pieces => Err(WireError::NoSuchPiece { id, index, pieces }),
            _ => Ok(PieceIndex(index)),
        }
    }
}

/// What the bytes at the front of the stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message, which took the first `consumed` bytes.
    Message {
        /// The message.
        message: Message<'a>,
        /// Its bytes, length prefix included.
        consumed: usize,
    },
    /// The header of a `piece`: after `header_len` bytes, `block.len` bytes of payload follow.
    Block {
        /// Where the payload belongs. Not yet known to lie inside the torrent; `len` is 1 to
        /// [`MAX_REQUEST_LEN`].
        block: Block,
        /// Bytes of the header.
        header_len: usize,
    },
    /// A message we don't know: after `header_len` bytes, `body_len` bytes follow that mean nothing.
    Skip {
        /// Its first byte.
        id: u8,
        /// Bytes of the header.
        header_len: usize,
        /// Bytes to throw away, at most [`MAX_OTHER_LEN`].
        body_len: u32,
    },
    /// The buffer ends too early: nothing can be said before it holds `need` bytes.
    Incomplete {
        /// Bytes, counted from the front of the buffer; more than it has now.
        need: usize,
    },
}

/// Reads the message at the front of `buf`, which begins where a message begins.
///
/// The result doesn't depend on how the stream was cut: an error comes as soon as the bytes that
/// prove it are there, and a length that the torrent cannot have is one before any of its body came.
pub fn next_frame<'a>(buf: &'a [u8], limits: &Limits) -> Result<Frame<'a>, WireError> {
    let Some((prefix, rest)) = buf.split_first_chunk::<4>() else {
        return Ok(Frame::Incomplete { need: 4 });
    };
    let len = u32::from_be_bytes(*prefix);
    if len == 0 {
        return Ok(Frame::Message { message: Message::KeepAlive, consumed: 4 });
    }
    if len > limits.longest() {
        return Err(WireError::TooLong { limit: limits.longest(), found: len });
    }
    let Some((&id, rest)) = rest.split_first() else {
        return Ok(Frame::Incomplete { need: 5 });
    };
    let Some(expected) = limits.lengths_of(id) else {
        return skip(id, len);
    };
    if !expected.contains(&len) {
        return Err(WireError::WrongLength { id, expected, found: len });
    }
    if id == id::PIECE {
        let Some(header) = rest.first_chunk::<8>() else {
            return Ok(Frame::Incomplete { need: BLOCK_HEADER_LEN });
        };
        let (piece, offset) = pair(header);
        let block = Block { piece: limits.piece(id, piece)?, offset, len: len - 9 };
        return Ok(Frame::Block { block, header_len: BLOCK_HEADER_LEN });
    }
    let consumed = 4 + len as usize;
    match rest.get(..len as usize - 1) {
        Some(body) => Ok(Frame::Message { message: decode(id, body, limits)?, consumed }),
        None => Ok(Frame::Incomplete { need: consumed }),
    }
}

fn skip<'a>(id: u8, len: u32) -> Result<Frame<'a>, WireError> {
    if len > MAX_OTHER_LEN {
        return Err(WireError::WrongLength { id, expected: 1..=MAX_OTHER_LEN, found: len });
    }
    Ok(Frame::Skip { id, header_len: 5, body_len: len - 1 })
}

/// The message of a body whose length fits its id.
fn decode<'a>(id: u8, body: &'a [u8], limits: &Limits) -> Result<Message<'a>, WireError> {
    let piece = || limits.piece(id, u32::from_be_bytes(fixed(body)));
    let block = || {
        let bytes: [u8; 12] = fixed(body);
        let (fours, _) = bytes.as_chunks::<4>();
        let [piece, offset, len] = [0, 1, 2].map(|i| u32::from_be_bytes(fours[i]));
        Ok(Block { piece: limits.piece(id, piece)?, offset, len })
    };
    Ok(match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(piece()?),
        id::BITFIELD => Message::Bitfield(body),
        id::REQUEST => Message::Request(block()?),
        id::CANCEL => Message::Cancel(block()?),
        id::PORT => Message::Port(u16::from_be_bytes(fixed(body))),
        id::SUGGEST => Message::Suggest(piece()?),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(block()?),
        id::ALLOWED_FAST => Message::AllowedFast(piece()?),
        id::HASH_REQUEST => Message::HashRequest(HashRange::decode(&fixed(body))),
        id::HASH_REJECT => Message::HashReject(HashRange::decode(&fixed(body))),
        id::HASHES => {
            let (range, hashes) = body.split_at_checked(48).unwrap_or((body, &[]));
            if !hashes.len().is_multiple_of(32) {
                return Err(WireError::RaggedHashes { found: hashes.len() as u32 });
            }
            Message::Hashes { range: HashRange::decode(&fixed(range)), hashes }
        }
        _ => {
            let (&id, body) = body.split_first().unwrap_or((&0, &[]));
            Message::Extended { id, body }
        }
    })
}

/// The first `N` bytes; `lengths_of` has made sure that they are there.
fn fixed<const N: usize>(body: &[u8]) -> [u8; N] {
    body.first_chunk().copied().unwrap_or([0; N])
}

fn pair(bytes: &[u8; 8]) -> (u32, u32) {
    let both = u64::from_be_bytes(*bytes);
    ((both >> 32) as u32, both as u32)
}

#[cfg(test)]
mod tests;
