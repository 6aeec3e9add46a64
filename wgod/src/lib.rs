//! The shell of wgod: sockets, disks, clocks and signals around the engine of `wgo-core`.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod files;
pub mod logging;
pub mod store;
pub mod systemd;
pub mod tracker;
