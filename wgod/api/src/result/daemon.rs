//! Results of `status` and `quit`: the daemon itself.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{IpFilter, PortMapping};
use crate::params::AltMode;
use crate::result::Dht;
use crate::torrent::{RateLimits, State, Torrent};

/// A file system that holds torrents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// A folder on it that torrents use.
    pub path: String,
    /// Free bytes; `null` when it does not answer or is not there.
    pub free_bytes: Option<u64>,
    /// Its size in bytes; `null` likewise.
    pub size_bytes: Option<u64>,
    /// Requests that wait for it.
    pub queue: u32,
    /// What is wrong with it, in words: it is full, nearly full, hangs, fails, or is gone; `null` when it is fine.
    pub error: Option<String>,
}

/// Can other peers reach our port?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// A peer came in from outside.
    Open,
    /// Nobody came in though many could have.
    Closed,
    /// No telling yet.
    #[default]
    Unknown,
}

/// How a proxy does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyState {
    /// Nothing has gone by it yet.
    #[default]
    Unknown,
    /// It does what is asked of it.
    Up,
    /// It can't be reached, or refuses us; it is tried again and again.
    Down,
}

/// The proxy that peers or trackers are reached by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Where it is, without user and password.
    pub url: String,
    /// Whether peers are reached by it.
    pub peers: bool,
    /// Whether trackers are asked by it.
    pub trackers: bool,
    /// Whether nothing else goes round it either.
    pub only: bool,
    /// How it does.
    pub state: ProxyState,
    /// What is wrong with it, in words; `null` unless it is down.
    pub error: Option<String>,
    /// Seconds until it is tried again; `null` unless it is down.
    pub retry_secs: Option<u64>,
}

/// What the daemon took from itself, so that who takes it over could do less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The version of the kernel's Landlock interface that keeps the daemon to its folders; `null` when
    /// none does.
    pub landlock: Option<u32>,
    /// Whether system calls that it doesn't need are refused to it.
    pub seccomp: bool,
    /// Whether it can't gain rights by running programs.
    pub no_new_privs: bool,
    /// The only folders that torrents may be put into; `null` is any.
    pub allowed_folders: Option<Vec<String>>,
}

/// Result of `alt`: the alternative limits as they stand now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AltResult {
    /// They are in force.
    pub on: bool,
    /// Who decides that.
    pub mode: AltMode,
    /// When they are switched next, or the schedule decides again; in seconds since 1970, `null` is never.
    pub until: Option<u64>,
    /// What they are, bytes/s; 0 is unlimited.
    pub limits: RateLimits,
    /// When they are on by themselves, in the daemon's local time.
    pub schedule: Vec<String>,
}

/// Whether the daemon runs programs when something happens to a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hooks {
    /// None is configured.
    #[default]
    Off,
    /// It does.
    On,
    /// Some are configured, and the process that ran them has ended: none is run any more.
    Ended,
}

/// Local service discovery (BEP 14): finding peers in the local network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalDiscovery {
    /// Whether it is on.
    pub on: bool,
    /// The network interfaces that it works on; none where nothing has neighbours.
    pub interfaces: Vec<String>,
}

/// What the daemon's network is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The one interface that it uses, if one is set.
    pub interface: Option<String>,
    /// What is missing of the interface or addresses that it is bound to, as in "interface wg0 is missing". As long as
    /// it is, connections to peers, trackers and name servers wait; nothing goes another way.
    pub missing: Option<String>,
}

/// The daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_secs: u64,
    /// Payload bytes/s coming in, of all torrents.
    pub down_rate: u64,
    /// Payload bytes/s going out, of all torrents.
    pub up_rate: u64,
    /// Payload bytes received, in all runs and also by torrents that were removed since.
    pub downloaded_bytes: u64,
    /// Payload bytes sent, likewise.
    pub uploaded_bytes: u64,
    /// Global limits in force, bytes/s; 0 is unlimited.
    pub limits: RateLimits,
    /// The alternative limits, and whether they are those in force.
    #[serde(default)]
    pub alternative: AltResult,
    /// Number of torrents by state; states without torrents may be absent.
    pub torrents: BTreeMap<State, u32>,
    /// Connected peers.
    pub peers: u32,
    /// File systems in use.
    pub disks: Vec<Disk>,
    /// Addresses it listens on, `IP:PORT`.
    pub listen: Vec<String>,
    /// What its network is bound to.
    #[serde(default)]
    pub network: Network,
    /// Our addresses as trackers, peers and nodes of the DHT see them, at most one of each family.
    #[serde(default)]
    pub external: Vec<String>,
    /// Our node of the distributed hash table.
    #[serde(default)]
    pub dht: Dht,
    /// The addresses that it has nothing to do with; `null` without such a filter.
    #[serde(default)]
    pub ip_filter: Option<IpFilter>,
    /// The proxy; `null` when there is none.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Can other peers reach it?
    pub port_state: PortState,
    /// Finding peers in the local network.
    #[serde(default)]
    pub local_discovery: LocalDiscovery,
    /// What a gateway that translates our address lets in.
    #[serde(default)]
    pub port_mapping: PortMapping,
    /// What it may not do.
    #[serde(default)]
    pub confinement: Confinement,
    /// Whether it runs programs on events.
    #[serde(default)]
    pub hooks: Hooks,
}

/// Result of `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusResult {
    /// The daemon.
    pub daemon: Daemon,
    /// The torrents, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrents: Option<Vec<Torrent>>,
}

/// Payload that was moved, also by torrents that were removed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes received.
    pub downloaded_bytes: u64,
    /// Bytes sent.
    pub uploaded_bytes: u64,
    /// Bytes sent over bytes received; `null` where nothing was received.
    pub ratio: Option<f64>,
}

impl Traffic {
    /// So many bytes in and out.
    pub fn new(downloaded_bytes: u64, uploaded_bytes: u64) -> Traffic {
        let ratio = (downloaded_bytes > 0).then(|| uploaded_bytes as f64 / downloaded_bytes as f64);
        Traffic { downloaded_bytes, uploaded_bytes, ratio }
    }
}

/// How many connections to peers came about since the daemon's start, or didn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Those that did, plain.
    pub none: u64,
    /// Those that did, of which the handshake is encrypted and what follows is plain.
    pub handshake: u64,
    /// Those that did, all of it encrypted.
    pub rc4: u64,
    /// Those that didn't.
    pub failed: FailedHandshakes,
}

/// Why connections to peers did not come about, in either direction. A peer that hangs up on one greeting and takes
/// the other counts here, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedHandshakes {
    /// The connection broke, or the peer took too long.
    pub closed: u64,
    /// What came was no handshake.
    pub malformed: u64,
    /// It was for a torrent that is not active here.
    pub unknown_torrent: u64,
    /// It was for another torrent than we asked for.
    pub wrong_torrent: u64,
    /// It could not be encrypted.
    pub encryption: u64,
    /// It was plain, where encryption is required.
    pub not_encrypted: u64,
    /// It made room for others, as every place was taken.
    pub crowded: u64,
}

/// Result of `stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsResult {
    /// Seconds since the daemon's start.
    pub uptime_secs: u64,
    /// Torrents that it has.
    pub torrents: u32,
    /// Since its start.
    pub session: Traffic,
    /// In all its runs.
    pub all_time: Traffic,
    /// Handshakes with peers since its start.
    pub handshakes: Handshakes,
}

/// Result of `quit`: the daemon has begun to shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuitResult {
    /// Process id of the daemon that stops.
    pub pid: u32,
    /// The socket does not go with it: the service manager listens there, and starts a daemon again for
    /// the next who connects.
    #[serde(default)]
    pub socket_stays: bool,
}
