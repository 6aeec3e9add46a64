//! The extension handshake (BEP 10), with the keys of BEP 9 and 21.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Extension, ExtensionIds};
use crate::bencode::{self, Dict, DictEncoder, Encoder};
use crate::compact;
use crate::text;
use crate::wire::WireError;

/// Characters kept of a client's name.
pub const MAX_CLIENT_NAME: usize = 128;

/// The most outstanding requests that we believe a peer to take; far more than any pipeline needs.
pub const MAX_REQQ: u32 = 65_536;

/// Bytes of the largest info dictionary that we would fetch from peers.
pub const MAX_METADATA_LEN: u32 = 64 * 1024 * 1024;

/// What a peer tells of itself. Everything is optional; a further handshake may bring only changes.
///
/// Keys that we don't know are ignored, and so are values that can't be: advice is not worth a
/// connection. Only what we would act upon to our harm is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtHandshake {
    /// The sender's ids (`m`).
    pub extensions: ExtensionIds,
    /// Its name and version (`v`): printable, at most [`MAX_CLIENT_NAME`] characters.
    pub client: Option<String>,
    /// The port it listens on (`p`); never 0.
    pub port: Option<u16>,
    /// Requests that it takes before it drops some (`reqq`): 1 to [`MAX_REQQ`].
    pub reqq: Option<u32>,
    /// The receiver's address, as the sender sees it.
    pub yourip: Option<IpAddr>,
    /// An IPv4 address of the sender.
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of the sender.
    pub ipv6: Option<Ipv6Addr>,
    /// Bytes of the info dictionary, which the sender has (BEP 9): 1 to [`MAX_METADATA_LEN`].
    pub metadata_size: Option<u32>,
    /// Whether the sender wants nothing more, though it may be incomplete (BEP 21).
    pub upload_only: Option<bool>,
    /// Seconds since the sender became complete; libtorrent's key, absent while incomplete.
    pub complete_ago: Option<u32>,
}

impl ExtHandshake {
    /// Reads the body of an extension message with id 0.
    ///
    /// Fails when it isn't one bencoded dictionary, when an extension that we know has an id beyond
    /// 255, or when the metadata would be larger than [`MAX_METADATA_LEN`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let dict = dict(body, "extension handshake")?;
        let byte_string = |key: &str| dict.bytes(key);
        let number = |key: &str| dict.int(key);
        let ip = |key: &str| dict.bytes(key).and_then(compact::ip);
        Ok(Self {
            extensions: decode_ids(dict)?,
            client: byte_string("v").map(|v| text::printable(v, MAX_CLIENT_NAME)).filter(|v| !v.is_empty()),
            port: number("p").and_then(|p| u16::try_from(p).ok()).filter(|&p| p != 0),
            reqq: number("reqq").map(|reqq| reqq.clamp(1, i64::from(MAX_REQQ)) as u32),
            yourip: ip("yourip"),
            ipv4: ip("ipv4").and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }),
            ipv6: ip("ipv6").and_then(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }),
            metadata_size: decode_metadata_size(dict)?,
            upload_only: number("upload_only").map(|on| on != 0),
            complete_ago: number("complete_ago").and_then(|secs| u32::try_from(secs).ok()),
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let put_int = |dict: &mut DictEncoder<'_>, key: &str, value: Option<i64>| {
            if let Some(value) = value {
                dict.entry(key).int(value);
            }
        };
        let put_ip = |dict: &mut DictEncoder<'_>, key: &str, ip: Option<IpAddr>| {
            if let Some(ip) = ip {
                dict.entry(key).bytes(compact::ip_bytes(ip));
            }
        };
        Encoder::new(out).dict(|dict| {
            put_int(dict, "complete_ago", self.complete_ago.map(i64::from));
            put_ip(dict, "ipv4", self.ipv4.map(IpAddr::V4));
            put_ip(dict, "ipv6", self.ipv6.map(IpAddr::V6));
            dict.entry("m").dict(|m| encode_ids(&self.extensions, m));
            put_int(dict, "metadata_size", self.metadata_size.map(i64::from));
            put_int(dict, "p", self.port.map(i64::from));
            put_int(dict, "reqq", self.reqq.map(i64::from));
            put_int(dict, "upload_only", self.upload_only.map(i64::from));
            if let Some(client) = &self.client {
                dict.entry("v").bytes(client);
            }
            put_ip(dict, "yourip", self.yourip);
        });
    }
}

fn decode_ids(handshake: Dict<'_>) -> Result<ExtensionIds, WireError> {
    let mut ids = ExtensionIds::default();
    let Some(m) = handshake.get("m").and_then(|m| m.as_dict()) else { return Ok(ids) };
    for extension in Extension::ALL {
        if let Some(found) = m.int(extension.name()) {
            let wrong = WireError::ExtensionId { name: extension.name(), found };
            ids.set(extension, u8::try_from(found).map_err(|_| wrong)?);
        }
    }
    Ok(ids)
}

fn encode_ids(ids: &ExtensionIds, m: &mut DictEncoder<'_>) {
    let mut said: Vec<_> =
        Extension::ALL.into_iter().filter_map(|e| Some((e.name(), ids.said(e)?))).collect();
    said.sort_unstable();
    for (name, id) in said {
        m.entry(name).int(i64::from(id));
    }
}

/// Peers that have no metadata themselves leave the key out or say 0.
fn decode_metadata_size(handshake: Dict<'_>) -> Result<Option<u32>, WireError> {
    let Some(found) = handshake.int("metadata_size") else { return Ok(None) };
    match u32::try_from(found) {
        Ok(size) if size <= MAX_METADATA_LEN => Ok(Some(size).filter(|&size| size != 0)),
        _ => Err(WireError::MetadataSize { limit: MAX_METADATA_LEN, found }),
    }
}

/// The body of an extension message that must be one dictionary.
pub(super) fn dict<'a>(body: &'a [u8], name: &'static str) -> Result<Dict<'a>, WireError> {
    let value = bencode::parse(body).map_err(|error| WireError::ExtensionBencode { name, error })?;
    value.as_dict().ok_or(WireError::ExtensionNotDict { name, found: value.kind() })
}
