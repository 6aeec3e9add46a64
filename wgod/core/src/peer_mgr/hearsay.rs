//! Who named an address, and what comes of those that strangers named: peers (BEP 11), DHT nodes, and whoever is in
//! the same network.
use std::net::SocketAddr;

use super::address::normal;
use super::table::State;
use super::{PeerMgr, Source};

impl Source {
    /// Whether strangers name addresses there: neither the operator nor the torrent's tracker.
    pub fn is_hearsay(self) -> bool {
        matches!(self, Source::Lsd | Source::Dht | Source::Pex)
    }
}

impl PeerMgr {
    /// Whether the operator named this address, of a candidate or a connection.
    pub fn is_named(&self, addr: SocketAddr) -> bool {
        self.source(addr) == Some(Source::User)
    }

    /// Who named an address, of a candidate or a connection.
    pub fn source(&self, addr: SocketAddr) -> Option<Source> {
        let addr = normal(addr);
        let candidate = self.connections.get(&addr).map_or(Some(addr), |connection| connection.candidate);
        Some(self.table.get(candidate?)?.source)
    }

    /// Forgets whom only strangers named, for a torrent that turns out to be private (BEP 27). Those who are being
    /// dialled are refused when they are connected. Returns the connections to close; report them as closed as usual.
    pub fn forget_hearsay(&mut self) -> Vec<SocketAddr> {
        let hearsay = self.table.iter().filter(|(_, candidate)| candidate.source.is_hearsay());
        let hearsay: Vec<_> = hearsay.map(|(addr, candidate)| (addr, candidate.state)).collect();
        for (addr, state) in hearsay {
            self.table.remove(addr);
            if state == State::Dialing {
                self.forgotten.insert(addr);
            }
        }
        let mut close = Vec::new();
        for (addr, connection) in &mut self.connections {
            if connection.candidate.is_some_and(|candidate| self.table.get(candidate).is_none()) {
                connection.candidate = None;
                close.push(*addr);
            }
        }
        close
    }
}
