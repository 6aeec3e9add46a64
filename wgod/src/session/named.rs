//! Peers that magnet links name by the names of hosts (BEP 9, `x.pe`).
use std::net::SocketAddr;

use tracing::Instrument;
use wgo_core::TorrentId;
use wgo_proto::host_port::HostPort;

use super::{Driver, Event};
use crate::proxy::Direct;

/// Addresses of a host that count: a name must not displace all that the operator has named.
const MAX_ADDRS: usize = 4;

impl Driver {
    /// Looks the hosts up, once, as trackers' hosts are: by the way that is configured, or not at all where that
    /// would lead past a proxy. What is found is kept with the torrent like any peer that its operator named.
    pub(super) fn look_up(&self, id: TorrentId, hosts: Vec<HostPort>) {
        let Some(entry) = self.entries.get(&id).filter(|_| !hosts.is_empty()) else { return };
        let span = entry.span();
        if self.engine.proxies.forbids(Direct::Names) {
            let count = hosts.len();
            return span.in_scope(|| {
                tracing::warn!(
                    count,
                    "peers of the link not looked up: `proxy_only` is set, and they are named by host"
                );
            });
        }
        for host in hosts {
            let engine = self.engine.clone();
            let work = async move {
                match engine.trackers.resolve(&host.host).await {
                    Ok(ips) => {
                        let addrs =
                            ips.iter().take(MAX_ADDRS).map(|ip| SocketAddr::new(*ip, host.port)).collect();
                        engine.tell(Event::PeerFound(id, addrs));
                    }
                    Err(error) => tracing::warn!(peer = %host, %error, "a peer of the link has no address"),
                }
            };
            self.engine.announces.spawn(work.instrument(span.clone()));
        }
    }
}
