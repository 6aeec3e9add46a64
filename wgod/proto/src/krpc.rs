//! KRPC, the packets of the DHT, in both directions: queries, responses and errors (BEP 5), with the
//! extensions for IPv6 (32), scrapes (33), external addresses (42), read-only nodes (43), stored items (44)
//! and samples of info-hashes (51).
//!
//! A decoded [`Packet`] borrows from the datagram and copies none of it; the core's `dht` decides what it
//! means. Keys that nobody knows are passed over. What a packet can't do without must have its exact form,
//! else the whole packet is refused; what it may leave out counts as left out when it has another form.
use std::net::SocketAddr;

use crate::bencode::{self, Dict, Encoder, Value};
use crate::compact;

pub mod bloom;
pub mod contact;
pub mod error;
pub mod item;
pub mod node_id;
pub mod query;
pub mod response;
#[cfg(test)]
mod tests;

pub use bloom::BloomFilter;
pub use contact::{Contact, Nodes, Samples, Values};
pub use error::{ErrorCode, ErrorReply, KrpcError};
pub use item::{Item, Signed};
pub use node_id::Distance;
pub use query::{Method, Query, Want};
pub use response::Response;

/// Bytes of a datagram that is read; longer ones are refused. BEP 32 has everybody send at most
/// [`MAX_SENT`], some send as much as fits into an Ethernet frame.
pub const MAX_RECEIVED: usize = 2048;

/// Bytes of a datagram that we send at most (BEP 32).
pub const MAX_SENT: usize = 1024;

/// Bytes of a transaction id that is read. Everybody uses 2 to 8; we send back what came, so a long one
/// would be an amplifier.
pub const MAX_TRANSACTION: usize = 32;

/// Bytes of a write token that is read: it is kept until the announce. Everybody uses 4 to 20.
pub const MAX_TOKEN: usize = 64;

/// One datagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet<'a> {
    /// Chosen by whoever queries, comes back with the answer; 1 to [`MAX_TRANSACTION`] bytes.
    pub transaction: &'a [u8],
    /// The sender's software, usually two letters and a version of two bytes.
    pub version: Option<&'a [u8]>,
    /// The receiver's address as the sender sees it (BEP 42); port 0 when only the address was given.
    pub ip: Option<SocketAddr>,
    /// What is asked or answered.
    pub body: Body<'a>,
}

/// The three kinds of packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// Asks something.
    Query(Query<'a>),
    /// Answers.
    Response(Response<'a>),
    /// Refuses.
    Error(ErrorReply<'a>),
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, KrpcError> {
        if datagram.len() > MAX_RECEIVED {
            return Err(KrpcError::TooLong { limit: MAX_RECEIVED, found: datagram.len() });
        }
        let value = bencode::parse(datagram)?;
        let dict = value.as_dict().ok_or(KrpcError::WrongKind { key: "packet", found: value.kind() })?;
        let [a, e, ip, q, r, ro, t, v, y] = dict.pick(["a", "e", "ip", "q", "r", "ro", "t", "v", "y"])?;
        let transaction = string("t", t)?;
        if transaction.is_empty() || transaction.len() > MAX_TRANSACTION {
            return Err(KrpcError::Transaction { found: transaction.len() });
        }
        let body = match string("y", y)? {
            b"q" => {
                let read_only = ro.and_then(|ro| ro.as_int()) == Some(1);
                Body::Query(Query::decode(string("q", q)?, inner("a", a)?, read_only)?)
            }
            b"r" => Body::Response(Response::decode(inner("r", r)?)?),
            b"e" => Body::Error(ErrorReply::decode(e)?),
            _ => return Err(KrpcError::UnknownKind),
        };
        let ip = ip.and_then(|ip| ip.as_bytes()).and_then(address);
        Ok(Packet { transaction, version: v.and_then(|v| v.as_bytes()), ip, body })
    }

    /// Appends the datagram.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Encoder::new(out).dict(|dict| {
            match &self.body {
                Body::Query(query) => dict.entry("a").dict(|args| query.encode(args)),
                Body::Error(error) => error.encode(dict.entry("e")),
                Body::Response(_) => {}
            }
            if let Some(addr) = &self.ip {
                let mut bytes = Vec::with_capacity(18);
                compact::put(addr, &mut bytes);
                dict.entry("ip").bytes(bytes);
            }
            let kind = match &self.body {
                Body::Query(query) => {
                    dict.entry("q").bytes(query.method.name());
                    if query.read_only {
                        dict.entry("ro").int(1);
                    }
                    "q"
                }
                Body::Response(response) => {
                    dict.entry("r").dict(|values| response.encode(values));
                    "r"
                }
                Body::Error(_) => "e",
            };
            dict.entry("t").bytes(self.transaction);
            if let Some(version) = self.version {
                dict.entry("v").bytes(version);
            }
            dict.entry("y").bytes(kind);
        });
    }
}

/// An address with or without a port; 4 and 16 bytes come from software older than the final BEP 42.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = match bytes.len() {
        6 | 18 => bytes.split_last_chunk::<2>()?,
        _ => (bytes, &[0; 2]),
    };
    Some(SocketAddr::new(compact::ip(ip)?, u16::from_be_bytes(*port)))
}

/// A string that must be there.
fn string<'a>(key: &'static str, value: Option<Value<'a>>) -> Result<&'a [u8], KrpcError> {
    let value = value.ok_or(KrpcError::Missing { key })?;
    value.as_bytes().ok_or(KrpcError::WrongKind { key, found: value.kind() })
}

/// A string of exactly `N` bytes that must be there.
fn exact<'a, const N: usize>(key: &'static str, value: Option<Value<'a>>) -> Result<&'a [u8; N], KrpcError> {
    let bytes = string(key, value)?;
    bytes.try_into().map_err(|_| KrpcError::Length { key, expected: N, found: bytes.len() })
}

/// A string of exactly `N` bytes, `None` for anything else.
fn exactly<'a, const N: usize>(value: Option<Value<'a>>) -> Option<&'a [u8; N]> {
    value?.as_bytes()?.try_into().ok()
}

/// An integer that must be there.
fn int(key: &'static str, value: Option<Value<'_>>) -> Result<i64, KrpcError> {
    let value = value.ok_or(KrpcError::Missing { key })?;
    value.as_int().ok_or(KrpcError::WrongKind { key, found: value.kind() })
}

/// A dictionary that must be there.
fn inner<'a>(key: &'static str, value: Option<Value<'a>>) -> Result<Dict<'a>, KrpcError> {
    let value = value.ok_or(KrpcError::Missing { key })?;
    value.as_dict().ok_or(KrpcError::WrongKind { key, found: value.kind() })
}

/// A write token that must be there.
fn token<'a>(value: Option<Value<'a>>) -> Result<&'a [u8], KrpcError> {
    let token = string("token", value)?;
    match token.len() {
        0..=MAX_TOKEN => Ok(token),
        found => Err(KrpcError::Length { key: "token", expected: MAX_TOKEN, found }),
    }
}
