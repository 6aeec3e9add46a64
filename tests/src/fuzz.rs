//! What is tried on every decoder, and on state machines, with bytes from anywhere: one body for two drivers. The
//! tests of `tests/tests/fuzz.rs` run each body on its corpus and on mutations of that, on any toolchain; libFuzzer
//! runs it for hours (`tests/fuzz/README.md`).
//!
//! A body takes bytes and panics when something holds that must not: an answer that is not written as it was read,
//! more output than the input pays for, a path that leaves its folder. Errors of a decoder are never a failure.
//!
//! A decoder that is new takes a function here and a line in the table.
use std::path::PathBuf;

mod api;
mod bencode;
mod dht;
mod mse;
pub mod mutate;
mod places;
mod reader;
mod store;
mod swarm;
mod trackers;
mod wire;

pub use reader::Reader;

/// What is called with bytes.
pub type Body = fn(&[u8]);

/// One thing that is tried.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What is tried.
    pub body: Body,
}

macro_rules! targets {
    ($($(#[$doc:meta])* $name:ident = $body:path,)*) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), body: $body },)*];

        /// Calls a macro with the names of all targets.
        #[macro_export]
        macro_rules! each_fuzz_target {
            ($call:ident) => { $call! { $($name)* } };
        }
    };
}

targets! {
    bencode = bencode::bencode,
    metainfo = bencode::metainfo,
    magnet = places::magnet,
    host_port = places::host_port,
    path = places::path,
    config = places::config,
    handshake = wire::handshake,
    frames = wire::frames,
    extended = wire::extended,
    bitfield = wire::bitfield,
    mse_initiator = mse::initiator,
    mse_responder = mse::responder,
    mse_both = mse::both,
    krpc = dht::krpc,
    dht_snapshot = dht::snapshot,
    dht_node = dht::node,
    udp_tracker = trackers::udp,
    http_tracker = trackers::http,
    compact = trackers::compact_peers,
    tracker_urls = trackers::urls,
    rpc_params = api::params,
    store_rows = store::rows,
    swarm = swarm::swarm,
}

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

impl Target {
    /// The folder with the inputs that are kept for it.
    pub fn corpus_folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(self.name)
    }

    /// The inputs that are kept for it, in the order of their names.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = self.corpus_folder();
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }
}
