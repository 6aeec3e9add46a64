//! What is tried on every decoder, and on state machines, with bytes from anywhere: one body for two drivers. The
//! tests of `tests/tests/fuzz.rs` run each body on its corpus and on mutations of that, on any toolchain; libFuzzer
//! runs it for hours (`tests/fuzz/README.md`).
//!
//! A body takes bytes and panics when something holds that must not: an answer that is not written as it was read,
//! more output than the input pays for, a path that leaves its folder. Errors of a decoder are never a failure.
//!
//! A decoder that is new takes a function here and a line in the table.
use std::path::PathBuf;

mod against;
mod api;
mod bencode;
mod choker;
mod connection;
mod dht;
mod dials;
mod gateway;
mod import;
mod layers;
mod limits;
mod lists;
mod local;
mod memory_disk;
mod mse;
pub mod mutate;
mod picker;
mod places;
mod proxies;
mod reader;
mod session;
mod store;
mod swarm;
mod tiers;
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
    /// One input takes as long as so many of a decoder's: that many times fewer are tried.
    pub cost: u64,
}

macro_rules! targets {
    ($($name:ident = $body:path $(=> $cost:literal)?,)*) => {
        /// All of them.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), body: $body, cost: 1 $(* $cost)? },)*];

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
    layers = layers::layers => 5,
    magnet = places::magnet,
    host_port = places::host_port,
    path = places::path,
    config = places::config,
    handshake = wire::handshake,
    frames = wire::frames,
    extended = wire::extended,
    metadata = wire::metadata,
    pex = wire::pex,
    bitfield = wire::bitfield,
    mse_initiator = mse::initiator,
    mse_responder = mse::responder,
    mse_both = mse::both => 4,
    krpc = dht::krpc,
    dht_snapshot = dht::snapshot,
    dht_node = dht::node,
    udp_tracker = trackers::udp,
    http_tracker = trackers::http,
    scrape = trackers::scrape,
    compact = trackers::compact_peers,
    tracker_urls = trackers::urls,
    lsd = local::lsd,
    nat_pmp = local::nat_pmp,
    pcp = local::pcp,
    ssdp = local::ssdp,
    upnp = local::upnp,
    location = local::location,
    socks5 = proxies::socks5,
    socks5_datagram = proxies::socks5_datagram,
    http_connect = proxies::http_connect,
    ip_list = lists::ip_list => 10,
    rpc_params = api::params,
    store_rows = store::rows,
    backup = store::backup,
    import = import::import,
    hash = against::hash => 100,
    tree = layers::tree,
    rc4 = against::rc4,
    bits = against::bits => 3,
    recovery = store::recovery => 100,
    picker = picker::picker => 8,
    choker = choker::choker,
    limiter = limits::limiter,
    tracker_tiers = tiers::tracker_tiers,
    peer_mgr = dials::peer_mgr,
    portmap = gateway::portmap,
    lsd_machine = gateway::lsd_machine,
    session = session::session => 8,
    connection = connection::connection => 4,
    swarm = swarm::swarm => 4,
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
