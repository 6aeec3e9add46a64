//! What we and a tracker say to each other, over HTTP (BEP 3, 7, 21, 23, 24, 31, 48) and over UDP
//! (BEP 15, 41): the types that both share.
//!
//! The shell's two drivers carry the bytes; core decides whom to ask and when.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::units::{PeerId, WireHash};

pub mod error;
pub mod http;
pub mod udp;

pub use error::{Retry, TrackerError};

/// Peers kept of one answer; those after are dropped. A usual answer has 50 to 200.
pub const MAX_PEERS: usize = 1000;

/// The longest that a tracker can put us off: what it says beyond is cut to this.
pub const MAX_INTERVAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Characters kept of a text that a tracker sends for people to read.
pub const MAX_TEXT: usize = 500;

/// What an announce tells a tracker about one torrent, whatever the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub hash: WireHash,
    /// Us.
    pub peer_id: PeerId,
    /// Port that we listen on.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Bytes that we don't have yet.
    pub left: u64,
    /// Why this announce; `None` for one at the regular interval.
    pub event: Option<Event>,
    /// Tells this client apart when its address changes; the same for all addresses (BEP 7).
    pub key: u32,
    /// Peers wanted; `None` leaves it to the tracker.
    pub num_want: Option<u32>,
}

/// What happened since the last announce (BEP 3, BEP 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The first announce of this torrent.
    Started,
    /// The torrent has just become complete.
    Completed,
    /// The last announce of this torrent.
    Stopped,
    /// Incomplete, but downloading no more: a partial seed, in each of its announces (BEP 21). UDP
    /// has no number for it.
    Paused,
}

/// What a tracker answers to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// When to announce again, at most [`MAX_INTERVAL`]; `None` when absent or not positive.
    pub interval: Option<Duration>,
    /// When to announce again at the earliest, at most [`MAX_INTERVAL`].
    pub min_interval: Option<Duration>,
    /// Size of the swarm.
    pub counts: SwarmCounts,
    /// At most [`MAX_PEERS`], no port 0. In order; not without duplicates.
    pub peers: Vec<SocketAddr>,
    /// To be sent back with the next announce (BEP 3).
    pub tracker_id: Option<Vec<u8>>,
    /// Something that the operator should read, at most [`MAX_TEXT`] characters.
    pub warning: Option<String>,
    /// Our address, as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// How many take part in a swarm, as far as a tracker tells (BEP 15, 21, 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwarmCounts {
    /// Peers that have it all (`complete`).
    pub seeders: Option<u32>,
    /// Peers that don't (`incomplete`).
    pub leechers: Option<u32>,
    /// Downloads that ever completed (`downloaded`).
    pub completed: Option<u32>,
    /// Those of `leechers` that are not partial seeds (BEP 21).
    pub downloaders: Option<u32>,
}

/// A time to wait, as a tracker gives it: none when not positive, [`MAX_INTERVAL`] at most.
fn interval(seconds: i64) -> Option<Duration> {
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0)?;
    Some(Duration::from_secs(seconds).min(MAX_INTERVAL))
}

/// Keeps the peers one can connect to, up to [`MAX_PEERS`] in all.
fn keep_peers(peers: &mut Vec<SocketAddr>, more: impl Iterator<Item = SocketAddr>) {
    let room = MAX_PEERS.saturating_sub(peers.len());
    peers.extend(more.filter(|addr| addr.port() != 0 && !addr.ip().is_unspecified()).take(room));
}
