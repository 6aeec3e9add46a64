//! Peer exchange (BEP 11): peers tell each other whom they are connected to.
//!
//! We tell of those who can be reached, because we dialled them or because they said where they listen; each peer once
//! a minute at most, only what changed, and only addresses that mean something where it is. What we are told of makes
//! candidates like any other source; that somebody is said to have left changes nothing here.
//!
//! Private torrents take no part (BEP 27). As long as the metadata has to come nobody knows whether one is: we
//! listen then, and tell nothing.
mod contacts;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wgo_proto::wire::extended::{Pex, PexFlags, PexPeer};
use wgo_proto::wire::{ExtMessage, Extension};

use super::Swarm;
use crate::address::{is_host, is_local};
use crate::peer::{CloseReason, Direction, Encryption, Peer, PeerFault};
use crate::peer_mgr::{Added, Source};
use crate::time::Time;
use crate::units::PeerKey;
pub(super) use contacts::Contacts;

/// Between two messages to one peer (BEP 11).
const PACE: Duration = Duration::from_secs(60);
/// Most addresses of each kind in a message (BEP 11).
const MOST: usize = 50;

impl<B> Swarm<B> {
    /// Whether we listen to what peers say of others, and tell others of them.
    pub(super) fn exchanges(&self) -> bool {
        self.config.pex && !self.config.private
    }

    /// Whether peers exchange addresses, unless the torrent is private. All hear of a change (BEP 10).
    pub fn set_pex(&mut self, pex: bool) {
        let before = self.exchanges();
        self.config.pex = pex;
        if self.exchanges() != before {
            self.introduce_again();
        }
    }

    /// The peer can be reached at this port of its address; the first that is known counts.
    pub(super) fn reachable_at(&mut self, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.peer_mut(key).filter(|peer| peer.exchange.contact.is_none()) else {
            return;
        };
        let addr = SocketAddr::new(peer.info.addr.ip().to_canonical(), port);
        peer.exchange.contact = self.contacts.come(addr, key);
    }

    /// The peer has left.
    pub(super) fn reachable_no_more(&mut self, peer: &Peer) {
        if let Some(came) = peer.exchange.contact {
            self.contacts.leave(came);
        }
    }

    /// Tells the peer what changed, if it takes part and its time has come.
    pub(super) fn tell_contacts(&mut self, now: Time, key: PeerKey) {
        if !self.exchanges() || self.is_unknown() {
            return;
        }
        let Some(peer) = self.peers.peer(key) else { return };
        let due = peer.exchange.tell_at <= now && peer.extensions.get(Extension::Pex).is_some();
        let mut cursor = peer.exchange.cursor;
        if !due || !self.contacts.has_news(cursor) {
            return;
        }
        let to = peer.info.addr.ip();
        let suits = |addr: SocketAddr, of: Option<PeerKey>| of != Some(key) && means_something(addr.ip(), to);
        let news = self.contacts.take(&mut cursor, MOST, suits);
        let flags = |key| self.peers.peer(key).map_or(PexFlags::default(), flags_of);
        let added = news.came.into_iter().map(|(addr, key)| PexPeer { addr, flags: flags(key) }).collect();
        let pex = Pex { added, dropped: news.left };
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.exchange.cursor = cursor;
        if pex.is_empty() {
            return;
        }
        peer.exchange.tell_at = now + PACE;
        ExtMessage::Pex(pex).encode(&peer.extensions, &mut peer.outbox);
        if peer.outbox.len() > crate::peer::MAX_OUTBOX {
            peer.close(CloseReason::NotReading);
        }
        self.wake(key);
    }

    /// Forgets what all who take part have been told.
    pub(super) fn trim_contacts(&mut self) {
        let takes_part = |peer: &&Peer| peer.extensions.get(Extension::Pex).is_some();
        let peers = self.peers.iter().map(|(_, peer)| peer).filter(takes_part);
        self.contacts.trim(peers.map(|peer| peer.exchange.cursor.left).min().unwrap_or(u64::MAX));
    }

    /// The peer tells whom it is connected to.
    pub(super) fn on_pex(&mut self, now: Time, key: PeerKey, pex: &Pex) -> Result<(), PeerFault> {
        let takes_part = self.exchanges();
        let Some(peer) = self.peers.peer_mut(key) else { return Ok(()) };
        if !takes_part || !peer.exchange.may_speak(now) {
            return self.nuisance(key);
        }
        let from = peer.info.addr.ip();
        for told in pex.added.iter().filter(|told| means_something(told.addr.ip(), from)) {
            if !peer.exchange.may_name(now) {
                break;
            }
            if self.peer_mgr.add(now, told.addr, Source::Pex) == Added::New {
                peer.exchange.has_named(now);
                if told.flags.contains(PexFlags::SEED) {
                    self.peer_mgr.mark_seed(told.addr, true);
                }
                if told.flags.contains(PexFlags::ENCRYPTION) {
                    self.peer_mgr.wants_encryption(told.addr);
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_contacts(&self) {
        let arrivals = self.peers.iter().filter_map(|(key, peer)| Some((peer.exchange.contact?, key)));
        self.contacts.check_invariants(arrivals);
    }
}

fn flags_of(peer: &Peer) -> PexFlags {
    let set = |on: bool, flag: PexFlags| if on { flag } else { PexFlags::default() };
    set(peer.info.encryption != Encryption::None, PexFlags::ENCRYPTION)
        | set(peer.has.is_seed() || peer.upload_only, PexFlags::SEED)
        | set(peer.info.direction == Direction::Outgoing, PexFlags::REACHABLE)
}

/// Whether the address `of` somebody leads to the same place for us and for a peer that is at `at` as we see it: those
/// of private networks and of one machine mean something else, or nothing, to whoever isn't in them, and a link-local
/// one does on each link.
fn means_something(of: IpAddr, at: IpAddr) -> bool {
    let (of, at) = (of.to_canonical(), at.to_canonical());
    let of_link = match of {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let near = is_local(at) && (at.is_loopback() || !of.is_loopback());
    is_host(of) && !of_link && (!is_local(of) || near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_for_those_to_whom_they_mean_the_same() {
        for (of, public, neighbour, machine) in [
            ("81.0.0.1", true, true, true),
            ("2001:470::1", true, true, true),
            ("10.0.0.7", false, true, true),
            ("::ffff:10.0.0.7", false, true, true),
            ("fd00::1", false, true, true),
            ("127.0.0.1", false, false, true),
            ("::1", false, false, true),
            ("169.254.0.1", false, false, false),
            ("fe80::1", false, false, false),
            ("224.0.0.1", false, false, false),
            ("0.0.0.0", false, false, false),
        ] {
            let of = of.parse().unwrap();
            let at = |text: &str| means_something(of, text.parse().unwrap());
            assert_eq!(
                (at("91.0.0.1"), at("192.168.1.9"), at("127.0.0.1")),
                (public, neighbour, machine),
                "{of}"
            );
        }
    }
}
