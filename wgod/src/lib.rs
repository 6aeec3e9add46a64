//! The shell of wgod: sockets, disks, clocks and signals around the engine of `wgo-core`.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod logging;
pub mod systemd;
