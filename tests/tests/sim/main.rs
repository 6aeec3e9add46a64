//! The scenarios of deterministic simulation: `wgo_tests::sim` is the world, each test here tells what happens in it.
//!
//! `dht` is a world of its own: thousands of nodes of the DHT that exchange datagrams.
//!
//! A failing scenario prints its seed; `WGOD_SIM_SEED=seed cargo test -p wgo-tests --test sim name` runs
//! that scenario with that seed alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
mod dht;
mod scenarios;
