//! Peer exchange: whom the sender is connected to (BEP 11).
use std::net::SocketAddr;

use super::Extension;
use super::handshake::dict;
use crate::bencode::{Dict, Encoder};
use crate::compact::{self, Family};
use crate::wire::WireError;

/// Contacts kept of each list of a message; those after are dropped. BEP 11 allows 50 in all but the
/// first message, which may list every connection.
pub const MAX_CONTACTS: usize = 200;

/// A message of `ut_pex`: what changed since the sender's last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pex {
    /// Peers that the sender has connected to, IPv4 first.
    pub added: Vec<PexPeer>,
    /// Peers that it has lost, IPv4 first.
    pub dropped: Vec<SocketAddr>,
}

/// One contact in `added`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PexPeer {
    /// Where it listens; the port is not 0.
    pub addr: SocketAddr,
    /// What the sender knows of it; no bits where it says nothing.
    pub flags: PexFlags,
}

/// What is known of a contact. Bits that we don't know are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// Prefers encrypted connections.
    pub const ENCRYPTION: Self = Self(0x01);
    /// A seed or partial seed.
    pub const SEED: Self = Self(0x02);
    /// Speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// Supports `ut_holepunch`.
    pub const HOLEPUNCH: Self = Self(0x08);
    /// The sender connected to it, so it can be reached.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether every bit of `flags` is set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for PexFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Pex {
    /// Reads the body of the message; fails when it isn't one bencoded dictionary.
    ///
    /// Missing lists are empty, truncated last contacts and those without port or address left out.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let dict = dict(body, Extension::Pex.name())?;
        let mut pex = Self::default();
        for (family, added, flags, dropped) in
            [(Family::V4, "added", "added.f", "dropped"), (Family::V6, "added6", "added6.f", "dropped6")]
        {
            let flags = dict.bytes(flags).unwrap_or(&[]).iter().copied().chain(std::iter::repeat(0));
            let peers = list(dict, added, family).zip(flags).filter(|(addr, _)| usable(addr));
            let room = MAX_CONTACTS.saturating_sub(pex.added.len());
            pex.added.extend(peers.take(room).map(|(addr, bits)| PexPeer { addr, flags: PexFlags(bits) }));
            let room = MAX_CONTACTS.saturating_sub(pex.dropped.len());
            pex.dropped.extend(list(dict, dropped, family).filter(usable).take(room));
        }
        Ok(pex)
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let added = |family| self.added.iter().filter(move |peer| Family::of(&peer.addr) == family);
        let addrs = |family| compact_list(added(family).map(|peer| &peer.addr));
        let flags = |family| added(family).map(|peer| peer.flags.0).collect::<Vec<u8>>();
        let dropped =
            |family| compact_list(self.dropped.iter().filter(move |addr| Family::of(addr) == family));
        Encoder::new(out).dict(|dict| {
            for (key, bytes) in [
                ("added", addrs(Family::V4)),
                ("added.f", flags(Family::V4)),
                ("added6", addrs(Family::V6)),
                ("added6.f", flags(Family::V6)),
                ("dropped", dropped(Family::V4)),
                ("dropped6", dropped(Family::V6)),
            ] {
                dict.entry(key).bytes(bytes);
            }
        });
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

fn list<'a>(dict: Dict<'a>, key: &str, family: Family) -> impl Iterator<Item = SocketAddr> + use<'a> {
    compact::addrs(dict.bytes(key).unwrap_or(&[]), family)
}

fn compact_list<'a>(addrs: impl Iterator<Item = &'a SocketAddr>) -> Vec<u8> {
    let mut bytes = Vec::new();
    addrs.for_each(|addr| compact::put(addr, &mut bytes));
    bytes
}

fn usable(addr: &SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified()
}
