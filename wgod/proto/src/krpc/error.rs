//! What can be wrong with a packet, and how nodes tell each other (BEP 5, 44).
use super::{int, string};
use crate::bencode::{BencodeError, Encoder, Kind, Value};
use crate::text;

/// Why a datagram is not a packet of the DHT. Always the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KrpcError {
    /// More bytes than any node sends.
    #[error("a datagram of {found} bytes, none has more than {limit}")]
    TooLong {
        /// Bytes at most.
        limit: usize,
        /// Bytes that came.
        found: usize,
    },
    /// Not bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// A key that the packet can't do without isn't there.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another type than it must have.
    #[error("`{key}` is {found:?}")]
    WrongKind {
        /// The key, or `packet` for the whole.
        key: &'static str,
        /// What came.
        found: Kind,
    },
    /// A string of a wrong length.
    #[error("`{key}` has {found} bytes, expected {expected}")]
    Length {
        /// The key.
        key: &'static str,
        /// Bytes that it has, of a token at most.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// No transaction id, or one that is no use to anybody.
    #[error("a transaction id of {found} bytes")]
    Transaction {
        /// Bytes that came.
        found: usize,
    },
    /// `y` is neither `q`, `r` nor `e`.
    #[error("neither query, response nor error")]
    UnknownKind,
    /// A port beyond 1 to 65535, and none implied.
    #[error("port {found} is announced")]
    Port {
        /// What came.
        found: i64,
    },
}

/// The kind of a refusal. Any number may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i64);

impl ErrorCode {
    /// None of the others.
    pub const GENERIC: Self = Self(201);
    /// The node can't, although the query is right.
    pub const SERVER: Self = Self(202);
    /// Malformed packet, invalid arguments, bad token.
    pub const PROTOCOL: Self = Self(203);
    /// No such method.
    pub const UNKNOWN_METHOD: Self = Self(204);
    /// The value to store is too long (BEP 44).
    pub const TOO_BIG: Self = Self(205);
    /// The signature isn't that of the key (BEP 44).
    pub const BAD_SIGNATURE: Self = Self(206);
    /// The salt is too long (BEP 44).
    pub const SALT_TOO_BIG: Self = Self(207);
    /// Another has written in the meantime (BEP 44).
    pub const CAS_MISMATCH: Self = Self(301);
    /// What is stored is newer (BEP 44).
    pub const OLD_SEQUENCE: Self = Self(302);
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// Of what kind.
    pub code: ErrorCode,
    /// Why, in the node's words: any bytes; [`ErrorReply::text`] for people.
    pub message: &'a [u8],
}

/// Characters of a refusal's text that people get to see.
const MAX_TEXT: usize = 200;

impl<'a> ErrorReply<'a> {
    /// The message, made printable and short.
    pub fn text(&self) -> String {
        text::printable(self.message, MAX_TEXT)
    }

    /// The message may be missing, the number may not.
    pub(super) fn decode(value: Option<Value<'a>>) -> Result<Self, KrpcError> {
        let value = value.ok_or(KrpcError::Missing { key: "e" })?;
        let list = value.as_list().ok_or(KrpcError::WrongKind { key: "e", found: value.kind() })?;
        let mut items = list.iter();
        let code = ErrorCode(int("e", items.next())?);
        let message = items.next().map_or(Ok(&b""[..]), |message| string("e", Some(message)))?;
        Ok(ErrorReply { code, message })
    }

    pub(super) fn encode(&self, out: Encoder<'_>) {
        out.list(|list| {
            list.item().int(self.code.0);
            list.item().bytes(self.message);
        });
    }
}
