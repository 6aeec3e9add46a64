//! What happens by the clock: a tick a second while anyone is connected, HAVEs after 200 ms, dials,
//! announces.
use std::time::Duration;

use wgo_proto::wire::message::Message;

use super::{Action, Swarm};
use crate::peer::CloseReason;
use crate::time::Time;
use crate::units::PeerKey;

/// HAVEs wait so long for something to go with (DESIGN).
pub(super) const HAVE_DELAY: Duration = Duration::from_millis(200);
/// Rates, time-outs and windows are looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// Silence after which a connection is closed. BEP 3 wants a message every two minutes.
const SILENCE_LIMIT: Duration = Duration::from_secs(180);
/// We send a keep-alive after this much silence of our own.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(100);
/// No block for so long, although asked: the peer is snubbed (BEP 3 choking).
const SNUB_AFTER: Duration = Duration::from_secs(60);
/// In the endgame, and for a peer that never sent a block, patience is shorter.
const IMPATIENCE: Duration = Duration::from_secs(10);
/// A connection of no use to either side is closed after this long, if places are short.
const USELESS_AFTER: Duration = Duration::from_secs(120);
/// The same for a torrent that wants nothing: only the peer's own interest counts, which it tells soon.
const UNINTERESTED_AFTER: Duration = Duration::from_secs(30);
/// A torrent without connections and without work for so long can go dormant.
pub const IDLE_AFTER: Duration = Duration::from_secs(30);
/// The same for one that nobody has come to yet: it is woken as quickly as it was made, and thousands that
/// are started together need not all be there at the same time.
const ALONE_AFTER: Duration = Duration::from_secs(1);
/// An address that can be tried again within so long after the last connection keeps it awake: those
/// who begin at the same time as we do may be late.
const EXPECTED_WITHIN: Duration = Duration::from_secs(600);

impl<B> Swarm<B> {
    /// When [`handle_timeout`](Self::handle_timeout) is due; never while there is nothing to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        let own = [self.tick_at, self.have_flush_at, self.refill_at];
        let others = [self.trackers.poll_timeout(), self.dial_at(), self.idle_at()];
        own.into_iter().chain(others).flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.have_flush_at.is_some_and(|at| at <= now) {
            self.have_flush_at = None;
            self.flush_haves();
        }
        if self.refill_at.is_some_and(|at| at <= now) {
            self.refill_at = None;
            self.fill_all(now);
        }
        if self.tick_at.is_some_and(|at| at <= now) {
            self.tick(now);
            self.tick_at = (self.peers.len() > 0).then(|| now + TICK);
        }
        self.announce_due(now);
        self.dial_due(now);
        if self.idle_at().is_some_and(|at| at <= now) {
            self.idle_told = true;
            self.act(Action::Idle);
        }
    }

    /// When this torrent may go dormant: complete, nobody connected, nothing under way.
    fn idle_at(&self) -> Option<Time> {
        let wait = if self.departed.is_empty() { ALONE_AFTER } else { IDLE_AFTER };
        (self.is_still() && !self.idle_told).then(|| self.lonely_since + wait)
    }

    /// Nobody is connected, nothing is missing, and nobody known is worth waiting for.
    pub(super) fn is_still(&self) -> bool {
        // In this order: it is asked after each call, and nearly always someone is connected.
        if self.peers.len() > 0 || self.lacks_sources() {
            return false;
        }
        let soon = self.dial_at().is_some_and(|at| at <= self.lonely_since + EXPECTED_WITHIN);
        // Also one who is being dialled: going dormant would break that off.
        let expected = soon || self.peer_mgr.counts().dialing > 0;
        !expected && self.trackers.is_quiet()
    }

    fn flush_haves(&mut self) {
        let end = self.haves.end();
        let behind: Vec<PeerKey> =
            self.peers.iter().filter(|(_, p)| p.have_cursor < end).map(|(key, _)| key).collect();
        let lowest = self.peers.iter().map(|(_, p)| p.have_cursor).min().unwrap_or(end);
        self.haves.trim(lowest);
        for key in behind {
            self.wake(key);
        }
    }

    fn tick(&mut self, now: Time) {
        self.update_hunger();
        self.tick_metadata(now);
        let endgame = self.pieces.is_endgame();
        let mut released = false;
        for key in self.peers.keys() {
            released |= self.tick_peer(now, key, endgame);
        }
        if released {
            self.fill_all(now);
        }
        self.trim_contacts();
        self.turn_over(now);
        self.look_at_spread();
        self.relieve_memory();
    }

    /// Looks after one peer; whether requests of it were given up.
    fn tick_peer(&mut self, now: Time, key: PeerKey, endgame: bool) -> bool {
        let limited = self.download_limited;
        let full = self.peers.len() >= self.config.max_peers as usize;
        let finished = self.pieces.is_finished();
        let Some(peer) = self.peers.peer_mut(key) else { return false };
        let rate = peer.traffic.down_rate(now);
        peer.pipeline.on_second(now, rate, limited);
        peer.trim();
        let silent = peer.silent_for(now);
        if silent >= SILENCE_LIMIT {
            peer.close(CloseReason::Silent(silent));
        }
        let patience = if finished { UNINTERESTED_AFTER } else { USELESS_AFTER };
        if full && !peer.peer_interested && !peer.am_interested && now.since(peer.connected_at) > patience {
            peer.close(CloseReason::Useless);
        }
        if peer.closing.is_some() {
            self.wake(key);
            return false;
        }
        self.tell_contacts(now, key);
        let Some(peer) = self.peers.peer_mut(key) else { return false };
        if now.since(peer.sent_at) >= KEEPALIVE_AFTER && peer.outbox.is_empty() {
            peer.send(&Message::KeepAlive);
            self.wake(key);
            return false;
        }
        let limit = if endgame || peer.traffic.counters().downloaded == 0 { IMPATIENCE } else { SNUB_AFTER };
        let stuck = !peer.pipeline.is_empty() && now.since(peer.pipeline.progress_at()) >= limit;
        if stuck {
            let newly = !peer.pipeline.snubbed;
            peer.pipeline.snubbed = true;
            peer.pipeline.excuse(now);
            // The second time, its last request goes too: another peer may be waiting for that block.
            if newly {
                self.release_but_first(key)
            } else {
                self.release_all(key)
            }
            return true;
        }
        self.fill(now, key);
        false
    }

    /// Time in which we did not read from the peer (a limit, a full disk queue) does not count against it.
    pub fn excuse(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.pipeline.excuse(now);
            peer.received_at = now;
        }
    }

    /// Under a download limit: more might have been read from the peer, but nothing has come.
    pub fn dry(&mut self, now: Time, key: PeerKey) {
        if self.peers.peer_mut(key).is_some_and(|peer| peer.pipeline.on_dry(now)) {
            self.fill(now, key);
        }
    }

    /// Something came from the peer that is no whole message yet.
    pub fn heard(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.received_at = now;
        }
    }

    /// Writes out the piece longest without progress when payload memory is short.
    fn relieve_memory(&mut self) {
        let stuck = self.pieces.held_blocks() >= self.memory_blocks
            || self.pieces.held_blocks() + self.pieces.requested_blocks() >= self.memory_blocks
                && self.all_starve();
        if !stuck {
            return;
        }
        self.starved = true;
        if let Some(spill) = self.pieces.spill() {
            self.act(Action::Spill(spill));
        }
    }

    /// Peers that could send have nothing to send.
    fn all_starve(&self) -> bool {
        let mut able = self.peers.iter().filter(|(_, p)| p.am_interested && !p.peer_choking).peekable();
        able.peek().is_some() && able.all(|(_, p)| p.pipeline.is_empty())
    }
}
