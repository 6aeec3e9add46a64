//! Results of each method: objects with raw bytes, bytes/s and seconds; `null` is unknown.
mod acts;
mod backup;
mod config;
mod daemon;
mod dht;
mod port_mapping;
mod scrape;
mod seen;
mod torrents;

pub use acts::*;
pub use backup::*;
pub use config::*;
pub use daemon::*;
pub use dht::*;
pub use port_mapping::*;
pub use scrape::*;
pub use seen::*;
pub use torrents::*;
