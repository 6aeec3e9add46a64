//! What readers get to see of a live torrent (Status).
use std::net::{IpAddr, SocketAddr};

use wgo_proto::{Bitfield, PieceIndex};

use super::Swarm;
use crate::peer::{Direction, Encryption};
use crate::peer_mgr::{Ban, Source};
use crate::status::Counters;
use crate::time::Time;
use crate::units::ByteRate;

/// One torrent at a glance; a few words copied under the lock.
#[derive(Clone, Copy, Debug)]
pub struct SwarmView {
    /// Bytes of the pieces that are stored.
    pub done_bytes: u64,
    /// Bytes still wanted.
    pub left_bytes: u64,
    /// All wanted pieces are stored.
    pub finished: bool,
    /// All pieces are stored.
    pub complete: bool,
    /// The metadata has still to come.
    pub unknown: bool,
    /// Totals.
    pub counters: Counters,
    /// Pieces whose hash was wrong, in this session.
    pub hash_failures: u64,
    /// Peers that broke the protocol, in this session.
    pub faults: u64,
    /// Payload received per second.
    pub down: ByteRate,
    /// Payload sent per second.
    pub up: ByteRate,
    /// Connections.
    pub peers: usize,
    /// Connections to peers that have everything.
    pub seeds: usize,
    /// Peers in regular slots, and in optimistic ones.
    pub unchoked: (usize, usize),
    /// Bytes stored since the last checkpoint began.
    pub unsynced_bytes: u64,
}

/// One connection, for `show --peers`.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its address.
    pub addr: SocketAddr,
    /// Name and version of its client.
    pub client: String,
    /// Who opened the connection.
    pub direction: Direction,
    /// What of it is encrypted on the wire.
    pub encryption: Encryption,
    /// Where we have the address from that we dialled; [`Source::Incoming`] for one that dialled us. `None` when it
    /// was forgotten.
    pub source: Option<Source>,
    /// Share of the torrent that it has, 0…1.
    pub progress: f64,
    /// Payload received from it per second.
    pub down: ByteRate,
    /// Payload sent to it per second.
    pub up: ByteRate,
    /// Payload received from it.
    pub downloaded: u64,
    /// Payload sent to it.
    pub uploaded: u64,
    /// We refuse its requests.
    pub am_choking: bool,
    /// It has pieces we want.
    pub am_interested: bool,
    /// It refuses our requests.
    pub peer_choking: bool,
    /// It wants pieces of ours.
    pub peer_interested: bool,
    /// Its slot is an optimistic one.
    pub optimistic: bool,
    /// It has sent nothing for a minute although asked.
    pub snubbed: bool,
    /// When it was connected.
    pub connected_at: Time,
    /// Our requests outstanding.
    pub requests: usize,
}

impl<B> Swarm<B> {
    /// The torrent at a glance.
    pub fn view(&self, now: Time) -> SwarmView {
        SwarmView {
            done_bytes: self.have_bytes,
            left_bytes: self.left_bytes,
            finished: self.pieces.is_finished(),
            complete: self.pieces.is_complete(),
            unknown: self.is_unknown(),
            counters: self.traffic.counters(),
            hash_failures: self.hash_failures,
            faults: self.faults,
            down: self.traffic.down_rate(now),
            up: self.traffic.up_rate(now),
            peers: self.peers.len(),
            seeds: self.peers.iter().filter(|(_, p)| p.has.is_seed()).count(),
            unchoked: self.unchoked(),
            unsynced_bytes: self.unsynced_bytes,
        }
    }

    /// Every connection.
    pub fn peer_views(&self, now: Time) -> Vec<PeerView> {
        let count = self.layout.piece_count();
        self.peers
            .iter()
            .map(|(_, p)| PeerView {
                addr: p.info.addr,
                client: p.client.clone(),
                direction: p.info.direction,
                encryption: p.info.encryption,
                source: match p.info.direction {
                    Direction::Incoming => Some(Source::Incoming),
                    Direction::Outgoing => self.peer_mgr.source(p.info.addr),
                },
                progress: f64::from(p.has.count(count)) / f64::from(count.max(1)),
                down: p.traffic.down_rate(now),
                up: p.traffic.up_rate(now),
                downloaded: p.traffic.counters().downloaded,
                uploaded: p.traffic.counters().uploaded,
                am_choking: p.am_choking,
                am_interested: p.am_interested,
                peer_choking: p.peer_choking,
                peer_interested: p.peer_interested,
                optimistic: p.optimistic,
                snubbed: p.pipeline.snubbed,
                connected_at: p.connected_at,
                requests: p.pipeline.len(),
            })
            .collect()
    }

    /// The addresses that this torrent has nothing to do with any more, and why.
    pub fn bans(&self, now: Time) -> Vec<(IpAddr, Ban)> {
        self.peer_mgr.bans(now).collect()
    }

    /// How many those are.
    pub fn ban_count(&self, now: Time) -> usize {
        self.peer_mgr.bans(now).count()
    }

    /// Copies per piece, seeds included; 0…number of peers.
    pub fn availability(&self) -> Vec<u32> {
        let pieces = 0..self.layout.piece_count();
        pieces.map(|piece| self.pieces.availability(PieceIndex(piece))).collect()
    }

    /// The stored pieces, for a checkpoint.
    pub fn have_copy(&self) -> Bitfield {
        self.pieces.have().clone()
    }
}
