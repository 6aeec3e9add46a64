//! The shell of wgod: sockets, disks, clocks and signals around the engine of `wgo-core`.
pub mod files;
pub mod store;
