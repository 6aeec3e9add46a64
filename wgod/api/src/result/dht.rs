//! What `status`, `show` and `trackers` tell of the distributed hash table (BEP 5).
use serde::{Deserialize, Serialize};

/// Whether our node is of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhtState {
    /// There is none: `discovery.dht` is off.
    #[default]
    Off,
    /// It has begun, and nobody has answered yet.
    Starting,
    /// Other nodes answer.
    Ready,
    /// Nobody answers; it tries on.
    Unreachable,
}

/// Our node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dht {
    /// Whether it is of use.
    pub state: DhtState,
    /// Nodes that it knows over IPv4.
    pub nodes_v4: u32,
    /// Nodes that it knows over IPv6.
    pub nodes_v6: u32,
    /// Addresses that it is at, `IP:PORT` (UDP), one of each family that is used.
    pub listen: Vec<String>,
    /// Torrents that are looked up and announced.
    pub torrents: u32,
    /// Lookups under way.
    pub lookups: u32,
    /// Why nobody answers, or a family isn't used, in words.
    pub error: Option<String>,
}

/// What the DHT does for a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhtUse {
    /// Nothing: we have no node.
    #[default]
    Off,
    /// Nothing: the torrent is private (BEP 27).
    Private,
    /// Nothing: the torrent does not run.
    Inactive,
    /// It is looked up and announced at its time.
    Waiting,
    /// A lookup is under way.
    Looking,
}

/// How a torrent's lookups stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DhtLookups {
    /// What the DHT does for it.
    pub status: DhtUse,
    /// Seconds to the next lookup; `null` when none is planned.
    pub next_secs: Option<u64>,
    /// Seconds since the last one ended; `null` when there was none.
    pub last_secs: Option<u64>,
    /// Peers that it found, ourselves left out.
    pub peers: Option<u32>,
    /// Nodes that answered it.
    pub nodes: Option<u32>,
    /// Nodes that took our announce.
    pub announced: Option<u32>,
}
