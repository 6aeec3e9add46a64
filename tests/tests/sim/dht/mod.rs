//! The DHT, simulated: thousands of real `Dht` nodes and some that lie, on a network that loses datagrams, with
//! nodes that come and go, all from one seed.
//!
//! What the scenarios measure they print: `cargo test -p wgo-tests --test sim dht:: -- --nocapture`, in the
//! numbers of nodes that `WGOD_SIM_NODES` says.
mod net;
mod scenarios;
mod sybil;
