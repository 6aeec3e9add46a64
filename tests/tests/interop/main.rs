//! The real daemon and the real clients of others, in both directions.
//!
//! One program for all of them, as in `tests/e2e`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
mod aria2;
mod btmh;
mod create;
mod dht;
mod encrypted;
mod import;
mod liars;
mod libtorrent;
mod lsd;
mod magnet;
mod pex;
mod portmap;
mod proxy;
mod rqbit;
mod rtorrent;
mod transmission;
