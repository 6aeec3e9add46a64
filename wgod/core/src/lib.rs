//! The BitTorrent engine as sans-IO state machines.
//!
//! Floor 1 of wgod: time and randomness are arguments, effects are returned as values, nothing here
//! opens a socket or a file, reads a clock, or takes a lock. The shell drives it.
#![forbid(unsafe_code)]

pub mod address;
pub mod choke_mgr;
mod crc32c;
pub mod dht;
pub mod dial_pacer;
pub mod external;
pub mod ip_filter;
pub mod limiter;
pub mod lsd;
pub mod metadata;
pub mod peer;
pub mod peer_mgr;
pub mod piece_mgr;
pub mod portmap;
pub mod selection;
pub mod session;
pub mod smart_ban;
pub mod status;
pub mod swarm;
pub mod time;
pub mod timer;
pub mod tracker;
pub mod units;

pub use selection::Selection;
pub use time::Time;
pub use units::{ByteRate, PeerKey, TorrentId};
