//! The lists in responses: nodes, peers and info-hashes in their compact forms (BEP 5, 32, 51).
use std::net::SocketAddr;

use crate::bencode::{Encoder, List};
use crate::compact::{self, Family};
use crate::units::{NodeId, WireHash};

/// Nodes read of one list; those after are dropped. Everybody sends 8, some 16.
pub const MAX_NODES: usize = 20;

/// Peers read of one response; those after are dropped. More don't fit into a datagram of 1 KiB.
pub const MAX_VALUES: usize = 150;

/// Info-hashes read of one response; those after are dropped.
pub const MAX_SAMPLES: usize = 60;

/// A node and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// Who it says it is.
    pub id: NodeId,
    /// Where it is reached by UDP.
    pub addr: SocketAddr,
}

impl Contact {
    /// Bytes of the compact form.
    pub const fn compact_len(family: Family) -> usize {
        20 + family.entry_len()
    }

    /// Appends the compact form, 26 or 38 bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.id.0);
        compact::put(&self.addr, out);
    }
}

/// Nodes of one family in their compact form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes<'a> {
    bytes: &'a [u8],
    family: Family,
}

impl<'a> Nodes<'a> {
    /// What [`Contact::put`] wrote, or what came.
    pub fn new(bytes: &'a [u8], family: Family) -> Self {
        Nodes { bytes, family }
    }

    /// The compact form.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The nodes in order, at most [`MAX_NODES`]. Nothing is filtered; what is left of a truncated last one
    /// is ignored.
    pub fn iter(&self) -> impl Iterator<Item = Contact> + use<'a> {
        let family = self.family;
        let entries = self.bytes.chunks_exact(Contact::compact_len(family)).take(MAX_NODES);
        entries.filter_map(move |entry| {
            let (id, rest) = entry.split_first_chunk::<20>()?;
            Some(Contact { id: NodeId(*id), addr: compact::addrs(rest, family).next()? })
        })
    }
}

/// Peers of a torrent, `values`.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a>(Form<'a>);

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    /// As it came: a list of strings, which may mix both families (BEP 32).
    List(List<'a>),
    /// One after the other, as [`compact::put`] writes them.
    Packed(&'a [u8], Family),
}

impl<'a> Values<'a> {
    /// Peers that [`compact::put`] wrote.
    pub fn packed(bytes: &'a [u8], family: Family) -> Self {
        Values(Form::Packed(bytes, family))
    }

    pub(super) fn list(list: List<'a>) -> Self {
        Values(Form::List(list))
    }

    /// The peers in order, at most [`MAX_VALUES`]. Strings that are none and port 0 are passed over.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let (list, packed) = match self.0 {
            Form::List(list) => (Some(list), None),
            Form::Packed(bytes, family) => (None, Some((bytes, family))),
        };
        let listed = list.into_iter().flat_map(|list| list.iter()).filter_map(|value| {
            let bytes = value.as_bytes()?;
            let family = [Family::V4, Family::V6].into_iter().find(|f| f.entry_len() == bytes.len())?;
            compact::addrs(bytes, family).next()
        });
        let packed = packed.into_iter().flat_map(|(bytes, family)| compact::addrs(bytes, family));
        listed.chain(packed).filter(|addr| addr.port() != 0).take(MAX_VALUES)
    }

    pub(super) fn encode(&self, out: Encoder<'_>) {
        match self.0 {
            Form::List(list) => out.raw(list.value().raw()),
            Form::Packed(bytes, family) => out.list(|list| {
                bytes.chunks_exact(family.entry_len()).for_each(|entry| list.item().bytes(entry));
            }),
        }
    }
}

/// The same peers in the same order, whatever form they have.
impl PartialEq for Values<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// A node's answer to `sample_infohashes` (BEP 51).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples<'a> {
    /// 20 bytes for each info-hash.
    pub bytes: &'a [u8],
    /// Seconds after which it has others to offer.
    pub interval: u32,
    /// How many it has in all.
    pub total: u64,
}

impl<'a> Samples<'a> {
    /// The info-hashes in order, at most [`MAX_SAMPLES`].
    pub fn iter(&self) -> impl Iterator<Item = WireHash> + use<'a> {
        self.bytes.as_chunks::<20>().0.iter().take(MAX_SAMPLES).map(|hash| WireHash(*hash))
    }
}
