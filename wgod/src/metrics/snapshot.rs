//! The figures at one time.
use std::sync::Arc;
use std::time::Duration;

use crate::dht;
use crate::engine::Engine;
use crate::files::{BlockBuf, DeviceStatus};
use crate::session::Glance;
use wgo_api::result::{MappingProtocol, PortMapping};

use super::{Handshakes, LagSnapshot, counters::Trouble};

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The release.
    pub version: &'static str,
    /// Time since the start.
    pub uptime: Duration,
    /// What the session's driver knows.
    pub glance: Glance,
    /// How long it took to say so.
    pub answer: Duration,
    /// Connections to peers, and the most there may be.
    pub connections: (usize, usize),
    /// What each device is busy with.
    pub devices: Vec<DeviceStatus>,
    /// Bytes hashed.
    pub hashed: u64,
    /// Received pieces that were stored.
    pub pieces_stored: u64,
    /// Received pieces that did not match their hash.
    pub hash_failures: u64,
    /// Times that a file could not be read or written.
    pub disk_errors: u64,
    /// Rankings of all peers.
    pub choke_rounds: u64,
    /// Announces that were answered.
    pub announces_answered: u64,
    /// Announces that failed, by the name of the trouble.
    pub announces_failed: [(&'static str, u64); Trouble::ALL.len()],
    /// Connections to peers that were made, in the order of [`Handshakes::ENCRYPTIONS`].
    pub handshakes: [u64; Handshakes::ENCRYPTIONS.len()],
    /// Handshakes that failed, in the order of [`Handshakes::KINDS`].
    pub handshakes_failed: [u64; Handshakes::KINDS.len()],
    /// Ranges of the operator's IP filter, and addresses that it has blocked.
    pub ip_filter: (u64, u64),
    /// Addresses that live torrents have banned, each for itself.
    pub bans: u64,
    /// Announcements of local service discovery that were sent, and those heard of torrents of ours.
    pub lsd: (u64, u64),
    /// Datagrams that it dropped: no announcements, and those of who is no neighbour.
    pub lsd_dropped: (u64, u64),
    /// How our node of the DHT stands.
    pub dht: dht::Status,
    /// Torrents that it looks up.
    pub dht_torrents: usize,
    /// Ports that a gateway maps to us, by the protocol that did it.
    pub mapped_ports: Vec<(&'static str, u64)>,
    /// How late the event loop was.
    pub lag: LagSnapshot,
    /// Bytes of pieces kept to be sent.
    pub cached: u64,
    /// Bytes of block buffers in use, and kept for use.
    pub buffers: (u64, u64),
    /// Payload files open.
    pub open_files: usize,
    /// Commits of the database.
    pub commits: u64,
}

impl Snapshot {
    /// What `engine` shows now, beside the session's own figures.
    pub(super) fn take(engine: &Arc<Engine>, uptime: Duration, glance: Glance, answer: Duration) -> Snapshot {
        let counters = &engine.counters;
        let bytes = |blocks: usize| blocks as u64 * BlockBuf::CAPACITY as u64;
        let mut devices = engine.storage.status();
        devices.sort_by_key(|device| device.device);
        let mut announces_failed = <[(&'static str, u64); Trouble::ALL.len()]>::default();
        for (place, failed) in announces_failed.iter_mut().zip(counters.announces.failed()) {
            *place = failed;
        }
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime,
            glance,
            answer,
            connections: (engine.connections.taken(), engine.connections.limit()),
            devices,
            hashed: engine.storage.hashed_bytes(),
            pieces_stored: counters.pieces_stored.total(),
            hash_failures: counters.hash_failures.total(),
            disk_errors: counters.disk_errors.total(),
            choke_rounds: counters.choke_rounds.total(),
            announces_answered: counters.announces.answered(),
            announces_failed,
            handshakes: counters.handshakes.totals(),
            handshakes_failed: counters.handshakes.failures(),
            ip_filter: engine.ip_filter.counted(),
            bans: bans(engine),
            lsd: (counters.lsd.sent.total(), counters.lsd.heard.total()),
            lsd_dropped: (counters.lsd.malformed.total(), counters.lsd.foreign.total()),
            dht: engine.dht.status(),
            dht_torrents: engine.dht.torrents(),
            mapped_ports: mapped_ports(&engine.mapping.shown()),
            lag: counters.lag.read(),
            cached: bytes(engine.storage.cached_blocks()),
            buffers: (bytes(engine.pool.leased_blocks()), bytes(engine.pool.idle_blocks())),
            open_files: engine.storage.open_files(),
            commits: engine.store.stats().commits,
        }
    }
}

fn bans(engine: &Engine) -> u64 {
    let live = engine.registry.all_live();
    let each = live.iter().filter_map(|torrent| engine.call(torrent, |swarm, now| swarm.ban_count(now)));
    each.sum::<usize>() as u64
}

/// Also of those that map nothing: a series that comes and goes can't be alarmed on.
fn mapped_ports(mapping: &PortMapping) -> Vec<(&'static str, u64)> {
    let of = |protocol| mapping.ports.iter().filter(|port| port.protocol == protocol).count() as u64;
    vec![
        ("pcp", of(MappingProtocol::Pcp)),
        ("nat-pmp", of(MappingProtocol::NatPmp)),
        ("upnp", of(MappingProtocol::Upnp)),
    ]
}
