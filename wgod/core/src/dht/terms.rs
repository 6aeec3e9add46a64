//! What callers of the DHT say to it and hear from it.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wgo_proto::compact::Family;
use wgo_proto::krpc::{BloomFilter, Item, Signed};
use wgo_proto::{NodeId, WireHash};

use super::rate::{Allowance, Rate};

/// Whether an Ed25519 signature is right, by the library of the shell: public key, message, signature.
pub type Verify = fn(&[u8; 32], &[u8], &[u8; 64]) -> bool;

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The families in which it takes part, each with a routing table and an id of its own (BEP 32).
    pub families: Vec<Family>,
    /// It asks, but answers nobody, and tells so (BEP 43).
    pub read_only: bool,
    /// Nodes of the internet whose id doesn't fit their address (BEP 42) are not even asked. When off, they are
    /// used where there are none that fit.
    pub enforce_secure_ids: bool,
    /// For mutable items (BEP 44); without, such items are neither stored nor believed.
    pub verify: Option<Verify>,
    /// Bounds on traffic.
    pub limits: Limits,
}

/// Bounds on traffic.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Datagrams of all together that are looked at: what protects the processor from a flood.
    pub intake: Allowance,
    /// Datagrams of one source, and bytes of answers to it.
    pub per_source: Allowance,
    /// Answers to all.
    pub answers: Allowance,
    /// Queries of ours. When used up they wait.
    pub queries: Allowance,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            families: vec![Family::V4, Family::V6],
            read_only: false,
            enforce_secure_ids: false,
            verify: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    /// Nodes of the public DHT that run for days get 20 to 100 queries a second, of 100 bytes, and send 300 to
    /// 800 in answer. A lookup takes 20 to 40 queries, so 15,000 torrents can be announced in 30 minutes.
    fn default() -> Limits {
        let allowance = |packets, bytes, secs| Allowance {
            packets: Rate { per_sec: packets, burst: packets * secs },
            bytes: Rate { per_sec: bytes, burst: bytes * secs },
        };
        Limits {
            intake: allowance(4_000, 2 << 20, 2),
            per_source: allowance(10, 4 << 10, 5),
            answers: allowance(400, 128 << 10, 2),
            queries: allowance(400, 48 << 10, 2),
        }
    }
}

/// One lookup. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub(super) u64);

/// How a torrent is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeersWanted {
    /// Announces us to the closest nodes afterwards.
    pub announce: Option<Announce>,
    /// Prefers peers that are no seeds (BEP 33).
    pub noseed: bool,
    /// Counts the swarm (BEP 33). Nodes of libtorrent then answer with filters in place of peers: whoever wants
    /// peers looks up without.
    pub scrape: bool,
}

/// What an announce says of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Where we accept peers; `None` is the port of the DHT's socket, as others see it.
    pub port: Option<u16>,
    /// We have everything (BEP 33).
    pub seed: bool,
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// One datagram.
    pub datagram: Vec<u8>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Peers that this lookup had not found before.
    Peers {
        /// Which lookup.
        lookup: LookupId,
        /// Of which torrent.
        info_hash: WireHash,
        /// Not filtered but for port 0 and addresses where nothing can be.
        peers: Vec<SocketAddr>,
    },
    /// An item that was looked up, verified; of a mutable one perhaps newer versions follow.
    Item {
        /// Which lookup.
        lookup: LookupId,
        /// The item.
        item: OwnedItem,
    },
    /// A lookup has ended.
    Done {
        /// Which.
        lookup: LookupId,
        /// What came of it.
        outcome: Outcome,
    },
    /// Most nodes agree that this is our address.
    ExternalAddress(IpAddr),
}

/// What came of a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Nodes asked.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// Different peers found.
    pub peers: u32,
    /// Nodes that took the announce or the item.
    pub stored: u32,
    /// Seeds and other peers, estimated, when a scrape was wanted and anybody knew (BEP 33).
    pub scrape: Option<(f64, f64)>,
    /// How long it took.
    pub took: Duration,
}

/// An item of BEP 44 that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedItem {
    /// One bencoded value.
    pub value: Box<[u8]>,
    /// `None` for an immutable item.
    pub signed: Option<OwnedSigned>,
}

/// See [`Signed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedSigned {
    /// Public key.
    pub key: [u8; 32],
    /// Sequence number.
    pub seq: i64,
    /// Signature.
    pub signature: [u8; 64],
    /// Salt, mostly empty.
    pub salt: Box<[u8]>,
}

impl OwnedItem {
    /// A copy.
    pub fn of(item: &Item<'_>) -> OwnedItem {
        let signed = item.signed.map(|signed| OwnedSigned {
            key: *signed.key,
            seq: signed.seq,
            signature: *signed.signature,
            salt: signed.salt.into(),
        });
        OwnedItem { value: item.value.into(), signed }
    }

    /// As the codec takes it.
    pub fn as_item(&self) -> Item<'_> {
        let signed = self.signed.as_ref().map(|signed| Signed {
            key: &signed.key,
            seq: signed.seq,
            signature: &signed.signature,
            salt: &signed.salt,
        });
        Item { value: &self.value, signed }
    }

    /// The sequence number of a mutable item.
    pub fn seq(&self) -> Option<i64> {
        self.signed.as_ref().map(|signed| signed.seq)
    }
}

/// The union of the filters that a scrape met.
#[derive(Clone, Debug, Default)]
pub(super) struct Scraped {
    pub(super) seeds: BloomFilter,
    pub(super) peers: BloomFilter,
    pub(super) any: bool,
}

/// How things stand, for people and for monitoring. What is counted is counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nodes in the IPv4 table.
    pub nodes_v4: usize,
    /// Nodes in the IPv6 table.
    pub nodes_v6: usize,
    /// Nodes that wait for a place in either.
    pub spares: usize,
    /// Lookups under way, our own upkeep included.
    pub lookups: usize,
    /// Queries that wait for an answer.
    pub pending: usize,
    /// Torrents for which we know peers.
    pub torrents: usize,
    /// Peers of them.
    pub peers: usize,
    /// Items stored (BEP 44).
    pub items: usize,
    /// What was counted.
    pub counted: Counted,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Datagrams received.
    pub packets_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Queries answered.
    pub answered: u64,
    /// Queries of ours that were answered.
    pub replies: u64,
    /// Queries of ours that were not.
    pub timeouts: u64,
    /// Datagrams that were no packets of the DHT.
    pub malformed: u64,
    /// Answers to nothing that we asked, or from elsewhere.
    pub unexpected: u64,
    /// Datagrams beyond the limits, and queries that got no answer for them.
    pub limited: u64,
    /// Announces and puts with a token that isn't ours.
    pub bad_tokens: u64,
}

/// What a node knows and should know again at its next start; what `Dht::snapshot` makes and `Dht::restore` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Our ids.
    pub ids: Vec<(Family, NodeId)>,
    /// Nodes worth asking at the next start, the best first.
    pub nodes: Vec<wgo_proto::krpc::Contact>,
}
