//! The info dictionary from peers, in pieces of 16 KiB (BEP 9).
use super::Extension;
use super::handshake::MAX_METADATA_LEN;
use crate::bencode::{self, Encoder};
use crate::wire::WireError;

/// Bytes of each piece of metadata but the last.
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

/// A message of `ut_metadata`. `piece` counts the metadata's own pieces, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Send me this piece.
    Request {
        /// Which.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Which.
        piece: u32,
        /// Bytes of the whole metadata, when the sender says; `data` then has just the length that
        /// follows from it.
        total_size: Option<u32>,
        /// The piece, at most [`METADATA_PIECE_LEN`] bytes.
        data: &'a [u8],
    },
    /// The sender doesn't have that piece, or has sent enough.
    Reject {
        /// Which.
        piece: u32,
    },
    /// Of a type that we don't know: to be ignored.
    Unknown {
        /// Its `msg_type`.
        msg_type: i64,
    },
}

/// Pieces of metadata of `total_size` bytes.
pub fn metadata_pieces(total_size: u32) -> u32 {
    total_size.div_ceil(METADATA_PIECE_LEN)
}

/// Bytes of one piece of metadata of `total_size` bytes; `None` past the last.
pub fn metadata_piece_len(total_size: u32, piece: u32) -> Option<u32> {
    let start = piece.checked_mul(METADATA_PIECE_LEN)?;
    Some(total_size.checked_sub(start)?.min(METADATA_PIECE_LEN)).filter(|&len| len > 0)
}

impl<'a> MetadataMessage<'a> {
    /// Reads the body of the message. Fails on bad bencode, a missing key, a piece or size beyond
    /// [`MAX_METADATA_LEN`], and data of another length than its piece has.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let name = Extension::Metadata.name();
        let value =
            bencode::parse_prefix(body).map_err(|error| WireError::ExtensionBencode { name, error })?;
        let dict = value.as_dict().ok_or(WireError::ExtensionNotDict { name, found: value.kind() })?;
        let data = body.get(value.span().end..).unwrap_or(&[]);
        let required = |key| dict.int(key).ok_or(WireError::ExtensionKey { name, key });
        let msg_type = required("msg_type")?;
        if !(REQUEST..=REJECT).contains(&msg_type) {
            return Ok(Self::Unknown { msg_type });
        }
        let found = required("piece")?;
        let last = metadata_pieces(MAX_METADATA_LEN) - 1;
        let piece = u32::try_from(found).ok().filter(|&piece| piece <= last);
        let piece = piece.ok_or(WireError::MetadataPiece { last, found })?;
        match msg_type {
            REQUEST | REJECT if !data.is_empty() => {
                Err(WireError::ExtensionLength { name, expected: value.span().end, found: body.len() })
            }
            REQUEST => Ok(Self::Request { piece }),
            REJECT => Ok(Self::Reject { piece }),
            _ => {
                let total_size = dict.int("total_size").map(check_total).transpose()?;
                check_data(piece, total_size, data)?;
                Ok(Self::Data { piece, total_size, data })
            }
        }
    }

    /// Appends the body; the data of a piece follows the dictionary.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (msg_type, piece, total_size) = match *self {
            Self::Request { piece } => (REQUEST, Some(piece), None),
            Self::Data { piece, total_size, .. } => (DATA, Some(piece), total_size),
            Self::Reject { piece } => (REJECT, Some(piece), None),
            Self::Unknown { msg_type } => (msg_type, None, None),
        };
        Encoder::new(out).dict(|dict| {
            dict.entry("msg_type").int(msg_type);
            if let Some(piece) = piece {
                dict.entry("piece").int(i64::from(piece));
            }
            if let Some(total_size) = total_size {
                dict.entry("total_size").int(i64::from(total_size));
            }
        });
        if let Self::Data { data, .. } = self {
            out.extend_from_slice(data);
        }
    }
}

fn check_total(found: i64) -> Result<u32, WireError> {
    let total = u32::try_from(found).ok().filter(|total| (1..=MAX_METADATA_LEN).contains(total));
    total.ok_or(WireError::MetadataSize { limit: MAX_METADATA_LEN, found })
}

fn check_data(piece: u32, total_size: Option<u32>, data: &[u8]) -> Result<(), WireError> {
    let fits = match total_size {
        Some(total) => metadata_piece_len(total, piece).is_some_and(|len| len as usize == data.len()),
        None => (1..=METADATA_PIECE_LEN as usize).contains(&data.len()),
    };
    if fits { Ok(()) } else { Err(WireError::MetadataData { piece, total_size, found: data.len() }) }
}
