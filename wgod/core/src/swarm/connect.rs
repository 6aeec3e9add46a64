//! Connections: whom to dial, whom to let in, and what is told to whoever just arrived.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wgo_proto::wire::{Message, allowed_fast};

use super::messages::allow_fast;
use super::{Action, Swarm};
use crate::dial_pacer::Lane;
use crate::ip_filter::IpFilter;
use crate::peer::{CloseReason, Direction, Peer, PeerInfo};
use crate::peer_mgr::{Added, Greeting, Limits, Origin, Refusal, Source, Why};
use crate::piece_mgr::PeerHave;
use crate::time::Time;
use crate::units::PeerKey;

/// Pieces that a peer may ask for while choked (BEP 6 suggests 10).
const ALLOWED_FAST: usize = 10;
/// Addresses of one answer or message that are looked at: several times what anybody is asked for, and little
/// enough to be done with at once.
const MAX_AT_ONCE: usize = 1000;
/// A download with fewer connections lacks sources more than others do.
const FEW: usize = 5;
/// A torrent starts at most one dial in this time, so that a long list of peers is no burst.
const DIAL_PACE: Duration = Duration::from_millis(10);

impl<B> Swarm<B> {
    /// A handshake succeeded. The peer is told what we have; its task pulls that with
    /// [`poll_transmit`](Self::poll_transmit).
    pub fn connect(&mut self, now: Time, info: PeerInfo) -> Result<PeerKey, CloseReason> {
        let origin = match info.direction {
            Direction::Incoming => Origin::Incoming,
            Direction::Outgoing => Origin::Outgoing,
        };
        self.peer_mgr.on_connected(now, info.addr, origin, info.id)?;
        if origin == Origin::Outgoing {
            self.peer_mgr.on_greeted(info.addr, info.encryption.greeting());
        }
        let mut peer = Peer::new(now, info);
        peer.have_cursor = self.haves.end();
        let have = self.pieces.have();
        if self.pieces.is_complete() && peer.fast() {
            peer.send(&Message::HaveAll);
        } else if have.is_empty() && peer.fast() {
            peer.send(&Message::HaveNone);
        } else if !have.is_empty() {
            peer.send(&Message::Bitfield(&have.to_wire()));
        }
        let dialled = (origin == Origin::Outgoing).then(|| peer.info.addr.port());
        let key = self.peers.insert(peer);
        self.introduce(key);
        self.allow_fast(key);
        if let Some(port) = dialled {
            self.reachable_at(key, port);
        }
        self.tick_at.get_or_insert(now + Duration::from_secs(1));
        self.idle_told = false;
        self.wake(key);
        Ok(key)
    }

    /// Tells the peer which pieces it may ask for while choked (BEP 6). They are the same for all who tell it, whether
    /// we have them or not: it asks for them when we do.
    pub(super) fn allow_fast(&mut self, key: PeerKey) {
        let (hash, layout) = (&self.hash, &self.layout);
        let Some(peer) = self.peers.peer_mut(key).filter(|peer| peer.fast()) else { return };
        if let IpAddr::V4(ip) = peer.info.addr.ip().to_canonical() {
            let set = allowed_fast(ip, hash, layout.piece_count(), ALLOWED_FAST);
            allow_fast(peer, set.into_iter().map(|piece| (piece, layout.piece_len(piece))));
        }
    }

    /// The connection is over. Must be called exactly once for each key that `connect` returned.
    pub fn disconnect(&mut self, now: Time, key: PeerKey, reason: CloseReason) {
        self.release_all(key);
        self.take_back_suggestions(key);
        let Some(peer) = self.peers.remove(key) else { return };
        self.pieces.remove_peer(&peer.has);
        if let Some(unknown) = &mut self.unknown {
            unknown.forget(key);
        }
        if self.departed.len() == super::MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back((key, peer.info.addr.ip()));
        self.reachable_no_more(&peer);
        if peer.has_announced {
            self.peer_mgr.mark_seed(peer.info.addr, peer.has.is_seed() || peer.upload_only);
        }
        let reason = peer.closing.clone().unwrap_or(reason);
        if matches!(reason, CloseReason::Fault(_)) {
            self.faults += 1;
        }
        self.peer_mgr.on_closed(now, peer.info.addr, (&reason).into());
        if !peer.am_choking {
            self.act(Action::InterestChanged);
        }
        if self.peers.len() == 0 {
            self.lonely_since = now;
            self.spread_anew();
        }
        self.fill_all(now);
        self.ask_for_metadata(now);
    }

    /// Why the peer's task should end its connection, if it should.
    pub fn closing(&self, key: PeerKey) -> Option<CloseReason> {
        match self.peers.peer(key) {
            Some(peer) => peer.closing.clone(),
            None => Some(CloseReason::Stopped),
        }
    }

    /// Ends every connection.
    pub fn close_all(&mut self, reason: &CloseReason) {
        for key in self.peers.keys() {
            if let Some(peer) = self.peers.peer_mut(key) {
                peer.close(reason.clone());
            }
            self.wake(key);
        }
    }

    /// Has nothing to do any more with those whom only strangers named: the torrent turned out to be private (BEP 27).
    pub(super) fn leave_strangers(&mut self) {
        let strangers = self.peer_mgr.forget_hearsay();
        for key in self.peers.keys() {
            if let Some(peer) = self.peers.peer_mut(key)
                && strangers.contains(&peer.info.addr)
            {
                peer.close(CloseReason::OtherTracker);
                self.wake(key);
            }
        }
    }

    /// Where we can be reached, as far as that is known: nobody there is dialled, and connections are preferred by it
    /// (BEP 40).
    pub fn set_own(&mut self, addrs: &[SocketAddr]) {
        self.peer_mgr.set_own(addrs);
    }

    /// The network is gone, with all connections, or back, perhaps with another address of ours. While it is gone
    /// nobody is dialled and no tracker asked, and nobody's account is charged with it.
    pub fn set_online(&mut self, now: Time, online: bool) {
        if std::mem::replace(&mut self.online, online) != online {
            match online {
                true => self.peer_mgr.hurry(),
                false => self.close_all(&CloseReason::Offline),
            }
        }
        // What the trackers know may come from an earlier Swarm of the torrent.
        self.trackers.set_online(now, online);
        self.announce_due(now);
    }

    /// Another limit on connections; those beyond it are kept.
    pub fn set_max_peers(&mut self, max_peers: u32) {
        self.config.max_peers = max_peers;
        self.peer_mgr.set_limits(limits(max_peers));
    }

    /// Learns of peers, if it takes any from there.
    pub fn add_candidates(&mut self, now: Time, addrs: impl IntoIterator<Item = SocketAddr>, source: Source) {
        let takes = self.takes_from(source);
        let mut filtered = 0;
        for addr in addrs.into_iter().take(MAX_AT_ONCE).filter(|_| takes) {
            filtered += u32::from(self.peer_mgr.add(now, addr, source) == Added::Filtered);
        }
        if filtered > 0 {
            self.act(Action::Filtered(filtered));
        }
    }

    /// Another filter of the operator's: whoever it has, and is connected, goes.
    pub fn set_ip_filter(&mut self, filter: Arc<IpFilter>) {
        let mut closed = Vec::new();
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| filter.blocks(peer.info.addr.ip())) {
            peer.close(CloseReason::Filtered);
            closed.push(key);
        }
        self.peer_mgr.set_filter(filter);
        if !closed.is_empty() {
            self.act(Action::Filtered(closed.len() as u32));
        }
        closed.into_iter().for_each(|key| self.wake(key));
    }

    /// A dial that `Action::Dial` asked for did not lead to a connection.
    pub fn on_dial_failed(&mut self, now: Time, addr: SocketAddr) {
        self.peer_mgr.on_failed(now, addr);
    }

    /// A dial that `Action::Dial` asked for did not get its turn; nothing is held against the address.
    pub fn on_dial_postponed(&mut self, now: Time, addr: SocketAddr) {
        self.peer_mgr.on_postponed(now, addr);
    }

    /// Dials that `Action::Dial` asked for and that have not come to an end.
    pub fn dialing(&self) -> usize {
        self.peer_mgr.dialing()
    }

    /// How much a dial that `Action::Dial` asked for matters.
    pub fn dial_lane(&self, addr: SocketAddr) -> Lane {
        match () {
            () if self.peer_mgr.is_named(addr) => Lane::Named,
            () if !self.pieces.is_finished() && self.peers.len() < FEW => Lane::First,
            () => Lane::Rest,
        }
    }

    /// The same, where the peer did not take this greeting, and there is another.
    pub fn on_greeting_refused(&mut self, now: Time, addr: SocketAddr, greeting: Greeting) {
        self.peer_mgr.on_greeting_refused(now, addr, greeting);
    }

    /// Whether more connections would help. A torrent that has all it wants looks for those who don't:
    /// behind a router that lets nobody in, it could serve nobody else.
    pub(super) fn wants_peers(&self) -> bool {
        let useful = self.pieces.is_finished() || !self.requests_paused;
        useful && self.peers.len() < self.config.max_peers as usize
    }

    /// Whether more connections would bring pieces that are missing.
    pub(super) fn lacks_sources(&self) -> bool {
        !self.pieces.is_finished() && self.wants_peers()
    }

    /// When the next candidate can be tried.
    pub(super) fn dial_at(&self) -> Option<Time> {
        let at = if self.online && self.wants_peers() { self.peer_mgr.poll_timeout() } else { None };
        at.map(|at| at.max(self.dial_not_before))
    }

    pub(super) fn dial_due(&mut self, now: Time) {
        while self.online && self.wants_peers() && self.dial_not_before <= now {
            let Some(addr) = self.peer_mgr.next_dial(now) else { return };
            self.dial_not_before = now + DIAL_PACE;
            self.act(Action::Dial(addr, self.peer_mgr.greeting(addr)));
        }
    }

    /// Marks the peer's pieces as known to be all, for a peer that says it is a seed in another way.
    pub(super) fn note_upload_only(&mut self, key: PeerKey, upload_only: bool) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.upload_only = upload_only;
        if upload_only || matches!(peer.has, PeerHave::All) {
            self.close_if_both_complete(key);
        }
    }
}

pub(super) fn limits(max_peers: u32) -> Limits {
    Limits { connections: max_peers as usize, ..Limits::default() }
}

impl From<Refusal> for CloseReason {
    fn from(refusal: Refusal) -> CloseReason {
        match refusal {
            Refusal::Banned => CloseReason::Banned(refusal.to_string()),
            Refusal::Filtered => CloseReason::Filtered,
            Refusal::Myself => CloseReason::Ourselves,
            Refusal::SamePeer | Refusal::SameIp => CloseReason::Duplicate,
            Refusal::Full => CloseReason::Full,
            Refusal::Forgotten => CloseReason::OtherTracker,
        }
    }
}

impl From<&CloseReason> for Why {
    fn from(reason: &CloseReason) -> Why {
        match reason {
            CloseReason::Fault(_) | CloseReason::NotReading | CloseReason::Banned(_) => Why::Misbehaved,
            CloseReason::BothComplete => Why::BothSeeds,
            CloseReason::Useless => Why::Replaced,
            CloseReason::Stopped | CloseReason::Offline => Why::Stopping,
            CloseReason::Gone(_)
            | CloseReason::Silent(_)
            | CloseReason::Duplicate
            | CloseReason::Ourselves
            | CloseReason::Filtered
            | CloseReason::OtherTracker
            | CloseReason::Full => Why::Ended,
        }
    }
}
