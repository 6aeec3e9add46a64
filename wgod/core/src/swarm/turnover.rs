//! Turnover: when places for connections are short and others wait for one, the worst connections go, a few at a
//! time.
//!
//! A swarm where everybody keeps the first peers that came is closed to newcomers, and falls into parts. So every
//! five minutes, while nine of ten places are taken and fresh addresses wait, four of a hundred connections make
//! room, none that is of use:
//!
//! - never one through which anything moved in the last seconds, or that is about to: a peer that serves us, or
//!   that was just given a slot;
//! - never one that is younger than two minutes, nor one that the operator named;
//! - first those where neither wants anything of the other, then those that only want, then those that have
//!   what we want and don't give it; of equals the one that moved least in its time.
//!
//! Seeds have been told apart before: two that have everything part at once. The session does the same for the
//! places of all torrents together.
use std::time::Duration;

use super::Swarm;
use crate::peer::{CloseReason, Peer};
use crate::time::Time;
use crate::units::{PeerKey, TorrentId};

/// As often as libtorrent does it.
pub const EVERY: Duration = Duration::from_secs(300);
/// Places are short from here on: dials keep a tenth of them free for those who come.
pub const FULL_PERCENT: usize = 90;
/// Connections that make room each time, but one at least.
const SHARE_PERCENT: usize = 4;
/// What a connection is good for shows in two minutes: in ten rounds of choking everybody had a turn.
const SETTLED: Duration = Duration::from_secs(120);
/// Time in which a peer that was unchoked asks for something.
const SLOT_BEGINS: Duration = Duration::from_secs(60);

/// What a connection is worth that is of no use now; the worst is least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth {
    kind: Kind,
    /// Payload both ways over the time that it was connected, bytes a second.
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Neither wants anything of the other.
    Idle,
    /// It wants what we have, and waits; we want nothing.
    Wants,
    /// It has what we want, and keeps it.
    Keeps,
}

/// A connection that could make room; ordered by worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spare {
    /// What it is worth.
    pub worth: Worth,
    /// Whose it is.
    pub torrent: TorrentId,
    /// Which it is.
    pub key: PeerKey,
}

/// How many connections make room when `taken` of `places` are in use and `waiting` want one.
pub fn share(taken: usize, places: usize, waiting: usize) -> usize {
    let full = taken * 100 >= places * FULL_PERCENT;
    if full && taken > 0 { (taken * SHARE_PERCENT / 100).max(1).min(waiting) } else { 0 }
}

impl<B> Swarm<B> {
    /// Appends the connections that could make room.
    pub fn spares(&self, now: Time, out: &mut Vec<Spare>) {
        // Before the metadata is known nobody can be of use yet.
        if self.is_unknown() {
            return;
        }
        out.extend(self.peers.iter().filter_map(|(key, peer)| {
            let worth = worth(now, peer).filter(|_| !self.peer_mgr.is_named(peer.info.addr))?;
            Some(Spare { worth, torrent: self.id, key })
        }));
    }

    /// Ends a connection that makes room for a better one.
    pub fn let_go(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.close(CloseReason::Useless);
            self.wake(key);
        }
    }

    /// Lets the worst go if it is time.
    pub(super) fn turn_over(&mut self, now: Time) {
        if now < self.turnover_at {
            return;
        }
        self.turnover_at = now + EVERY;
        let (taken, places) = (self.peers.len(), self.config.max_peers as usize);
        // Counting who waits costs more than this.
        if share(taken, places, 1) == 0 {
            return;
        }
        let waiting = self.peer_mgr.contenders(now, taken);
        let mut spares = Vec::new();
        self.spares(now, &mut spares);
        spares.sort_unstable();
        for spare in spares.into_iter().take(share(taken, places, waiting)) {
            self.let_go(spare.key);
        }
    }
}

/// What a connection is worth; none for one that is of use, or may be.
fn worth(now: Time, peer: &Peer) -> Option<Worth> {
    let age = now.since(peer.connected_at);
    let moves = peer.traffic.down_rate(now).0 + peer.traffic.up_rate(now).0 > 0;
    let serves = peer.am_interested && !peer.peer_choking && !peer.pipeline.snubbed;
    let begins = !peer.am_choking && peer.peer_interested && now.since(peer.choke_changed_at) < SLOT_BEGINS;
    if age < SETTLED || moves || serves || begins || peer.closing.is_some() {
        return None;
    }
    let kind = match (peer.am_interested, peer.peer_interested) {
        (true, _) => Kind::Keeps,
        (false, true) => Kind::Wants,
        (false, false) => Kind::Idle,
    };
    let counters = peer.traffic.counters();
    Some(Worth { kind, moved: (counters.downloaded + counters.uploaded) / age.as_secs().max(1) })
}
