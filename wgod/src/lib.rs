//! The shell of wgod: sockets, disks, clocks and signals around the engine of `wgo-core`.
#![deny(unsafe_code)]

mod backups;
mod chores;
pub mod cli;
pub mod clock;
pub mod config;
pub mod confine;
pub mod console;
pub mod control;
pub mod daemon;
pub mod dht;
pub mod dial;
pub mod encryption;
pub mod ending;
pub mod engine;
pub mod external;
pub mod files;
pub mod given;
pub mod hooks;
pub mod ip_filter;
pub mod listen;
pub mod logging;
pub mod lsd;
pub mod manual;
pub mod metadata;
pub mod metrics;
pub mod outlet;
pub mod peer;
pub mod portmap;
pub mod progress;
pub mod proxy;
pub mod random;
pub mod registry;
#[cfg(test)]
mod rig;
pub mod serving;
pub mod session;
pub mod shaper;
pub mod store;
pub mod systemd;
pub mod timers;
pub mod torrent;
pub mod tracker;
pub mod transport;
mod watch;
