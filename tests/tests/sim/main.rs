//! The first deterministic simulation: many daemons' engines, real wire bytes, simulated links, disks,
//! trackers and time, all from one seed.
//!
//! Each node is a real `Session` with real `Swarm`s, a `Limiter` and the choker; what the shell does
//! between them is done here, single-threaded and by the simulated clock. After every event the parts
//! that were called check their invariants, and the wire, the disks and the books are checked from outside.
//!
//! `dht` is a world of its own: thousands of nodes of the DHT that exchange datagrams.
//!
//! A failing scenario prints its seed; `WGOD_SIM_SEED=seed cargo test -p wgo-tests --test sim name` runs
//! that scenario with that seed alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
mod agenda;
mod checks;
mod content;
mod daemon;
mod dht;
mod dialling;
mod disk;
mod jobs;
mod lanes;
mod link;
mod node;
mod scenarios;
mod stream;
mod watch;
mod world;
