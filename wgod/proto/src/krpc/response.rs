//! What nodes answer (BEP 5, 32, 33, 44, 51). A response doesn't say to what: whoever asked knows.
use super::{BloomFilter, Item, KrpcError, Nodes, Samples, Signed, Values, exact, exactly, token};
use crate::bencode::{Dict, DictEncoder};
use crate::compact::Family;
use crate::units::NodeId;

/// The longest time for which a node may keep its samples, in seconds (BEP 51).
pub const MAX_SAMPLE_INTERVAL: u32 = 21_600;

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<'a> {
    /// Who answers.
    pub id: NodeId,
    /// IPv4 nodes close to the target.
    pub nodes: Option<Nodes<'a>>,
    /// IPv6 nodes close to the target (BEP 32).
    pub nodes6: Option<Nodes<'a>>,
    /// For a later announce or put; a longer one than [`MAX_TOKEN`](super::MAX_TOKEN) counts as none.
    pub token: Option<&'a [u8]>,
    /// Peers of the torrent.
    pub values: Option<Values<'a>>,
    /// Filters of the torrent's seeds and of its other peers (BEP 33).
    pub scrape: Option<Scrape<'a>>,
    /// Info-hashes that the node has peers for (BEP 51).
    pub samples: Option<Samples<'a>>,
    /// What is stored (BEP 44). The salt of a mutable item is empty: whoever asks knows it.
    pub item: Option<Item<'a>>,
    /// The sequence number of what is stored, also where the item itself is left out (BEP 44).
    pub seq: Option<i64>,
}

/// The two filters of a scrape, as they came (BEP 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrape<'a> {
    /// Of the peers that have everything.
    pub seeds: &'a [u8; BloomFilter::LEN],
    /// Of the others.
    pub peers: &'a [u8; BloomFilter::LEN],
}

impl<'a> Response<'a> {
    /// The answer to a ping or an announce; to be filled in for others.
    pub fn new(id: NodeId) -> Self {
        Response {
            id,
            nodes: None,
            nodes6: None,
            token: None,
            values: None,
            scrape: None,
            samples: None,
            item: None,
            seq: None,
        }
    }

    /// The nodes of a family.
    pub fn nodes_of(&self, family: Family) -> Option<Nodes<'a>> {
        match family {
            Family::V4 => self.nodes,
            Family::V6 => self.nodes6,
        }
    }

    pub(super) fn decode(dict: Dict<'a>) -> Result<Self, KrpcError> {
        let [id, nodes, nodes6, write, values] = dict.pick(["id", "nodes", "nodes6", "token", "values"])?;
        let [seeds, peers, interval, num, samples] =
            dict.pick(["BFsd", "BFpe", "interval", "num", "samples"])?;
        let [k, seq, sig, v] = dict.pick(["k", "seq", "sig", "v"])?;
        let seq = seq.and_then(|seq| seq.as_int());
        let signed = match (exactly(k), seq, exactly(sig)) {
            (Some(key), Some(seq), Some(signature)) => Some(Signed { key, seq, signature, salt: b"" }),
            _ => None,
        };
        let scrape = exactly(seeds).zip(exactly(peers)).map(|(seeds, peers)| Scrape { seeds, peers });
        let samples = samples.and_then(|samples| samples.as_bytes()).map(|bytes| Samples {
            bytes,
            interval: interval
                .and_then(|secs| secs.as_int())
                .map_or(0, |secs| secs.clamp(0, i64::from(MAX_SAMPLE_INTERVAL)) as u32),
            total: num
                .and_then(|num| num.as_int())
                .and_then(|num| u64::try_from(num).ok())
                .unwrap_or(bytes.len() as u64 / 20),
        });
        Ok(Response {
            id: NodeId(*exact("id", id)?),
            nodes: nodes.and_then(|nodes| nodes.as_bytes()).map(|bytes| Nodes::new(bytes, Family::V4)),
            nodes6: nodes6.and_then(|nodes| nodes.as_bytes()).map(|bytes| Nodes::new(bytes, Family::V6)),
            token: token(write).ok(),
            values: values.and_then(|values| values.as_list()).map(Values::list),
            scrape,
            samples,
            item: v.map(|value| Item { value: value.raw(), signed }),
            seq,
        })
    }

    pub(super) fn encode(&self, dict: &mut DictEncoder<'_>) {
        if let Some(scrape) = &self.scrape {
            dict.entry("BFpe").bytes(scrape.peers);
            dict.entry("BFsd").bytes(scrape.seeds);
        }
        dict.entry("id").bytes(self.id.0);
        if let Some(samples) = &self.samples {
            dict.entry("interval").int(i64::from(samples.interval));
        }
        let signed = self.item.as_ref().and_then(|item| item.signed.as_ref());
        if let Some(signed) = signed {
            dict.entry("k").bytes(signed.key);
        }
        for (key, nodes) in [("nodes", &self.nodes), ("nodes6", &self.nodes6)] {
            if let Some(nodes) = nodes {
                dict.entry(key).bytes(nodes.bytes());
            }
        }
        if let Some(samples) = &self.samples {
            dict.entry("num").int(i64::try_from(samples.total).unwrap_or(i64::MAX));
            dict.entry("samples").bytes(samples.bytes);
        }
        if let Some(seq) = signed.map(|signed| signed.seq).or(self.seq) {
            dict.entry("seq").int(seq);
        }
        if let Some(signed) = signed {
            dict.entry("sig").bytes(signed.signature);
        }
        if let Some(token) = self.token {
            dict.entry("token").bytes(token);
        }
        if let Some(item) = &self.item {
            dict.entry("v").raw(item.value);
        }
        if let Some(values) = &self.values {
            values.encode(dict.entry("values"));
        }
    }
}
