//! Swarm: everything about one live torrent, and the only way in to its parts.
//!
//! A sans-IO state machine. Peer tasks, storage threads, the timer task and the session call it under
//! one lock (the shell's), each call short: no call hashes, touches a disk or waits. What it wants
//! done comes out as [`Action`]s and as peers to wake; the caller drains both after its call.
//!
//! `B` is the buffer that holds a block's payload; the engine never looks inside.
mod announce;
mod blocks;
mod bounds;
mod choking;
mod connect;
mod dht;
mod extension;
mod have_log;
mod invariants;
mod messages;
mod metadata;
mod peers;
mod pex;
mod requests;
mod spread;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;
pub mod turnover;
mod view;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wgo_proto::bitfield::Bitfield;
use wgo_proto::layout::Layout;
use wgo_proto::{Block, PeerId, PieceIndex, WireHash};

use crate::metadata::Candidate;
use crate::peer_mgr::{Greeting, PeerMgr};
use crate::piece_mgr::{Complete, PieceMgr, Spill};
use crate::selection::Selection;
use crate::smart_ban::SmartBan;
use crate::status::{Counters, Traffic};
use crate::time::Time;
use crate::tracker::{Announce, Policy, Tiers, TrackerList};
use crate::units::{PeerKey, TorrentId};
use have_log::HaveLog;
use peers::PeerTable;
use pex::Contacts;

pub use announce::TrackerMemory;
pub use blocks::PieceOutcome;
pub use messages::MAX_NUISANCES;
pub use metadata::Learnt;
pub use timers::IDLE_AFTER;
pub use view::{PeerView, SwarmView};

/// Payload memory that every active torrent has, whatever the session's budget (DESIGN: 4 blocks).
pub const MIN_MEMORY_BLOCKS: usize = 4;

/// Peers that left whose addresses are kept; when there are more, the oldest are forgotten.
const MAX_DEPARTED: usize = 64;

/// What does not change while a torrent is live.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// Our id in handshakes, one per run of the daemon.
    pub peer_id: PeerId,
    /// The port we listen on, told in extension handshakes and announces; 0 if we don't.
    pub listen_port: u16,
    /// Connections of this torrent.
    pub max_peers: u32,
    /// Private torrents use one tracker at a time, and take peers from it only (BEP 27).
    pub private: bool,
    /// Peers tell each other of peers (BEP 11), unless the torrent is private.
    pub pex: bool,
    /// Bytes of the info dictionary if peers may have it of us (BEP 9); 0 if not, or before it is known.
    pub metadata_len: u32,
}

/// Where a torrent stands when it becomes live.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its number.
    pub id: TorrentId,
    /// What its connections are found by.
    pub hash: WireHash,
    /// Its pieces and blocks; [`Layout::unknown`] as long as the metadata has to come.
    pub layout: Layout,
    /// The pieces that are stored.
    pub have: Bitfield,
    /// What is wanted, unless it is all alike.
    pub selection: Option<Arc<Selection>>,
    /// Totals of earlier sessions.
    pub counters: Counters,
    /// Its trackers, by tier (BEP 12).
    pub tiers: Tiers,
    /// Seed of its random decisions.
    pub seed: u64,
}

/// Something for the shell to do.
#[derive(Debug)]
pub enum Action<B> {
    /// Connect to this peer and greet it so, if it is known how; report with `connect`, `on_dial_failed` or
    /// `on_greeting_refused`.
    Dial(SocketAddr, Option<Greeting>),
    /// Tell a tracker; report with `on_announced` or `on_announce_failed`.
    Announce(Announce),
    /// Hash and write this piece; report with `on_piece`.
    Store(Complete<B>),
    /// Write these blocks of a piece out early and report with `on_spilled`.
    Spill(Spill<B>),
    /// Metadata has come whole: see whether it has the torrent's hash, and report with `learn`, `metadata_wrong`
    /// or `metadata_again`.
    Metadata(Candidate),
    /// The peer asks for this piece of the metadata: answer with `send_metadata`.
    ReadMetadata(PeerKey, u32),
    /// A peer says that it sees us at an address (BEP 10, `yourip`); once for each connection at most.
    SeenAt {
        /// Where the peer is.
        by: IpAddr,
        /// Where it sees us.
        at: IpAddr,
    },
    /// The peer says that it has a node of the DHT here (BEP 5).
    DhtNode(SocketAddr),
    /// So many addresses were passed over, or connections are closed, since the operator's IP filter has them.
    Filtered(u32),
    /// Every wanted piece is stored.
    Finished,
    /// A peer became interested or a slot fell free: the choker may act before its next round.
    InterestChanged,
    /// Nobody is connected and nothing is to be done: the torrent can go dormant.
    Idle,
}

/// One live torrent. See the module's text.
pub struct Swarm<B> {
    id: TorrentId,
    hash: WireHash,
    layout: Layout,
    config: SwarmConfig,
    pieces: PieceMgr<B>,
    /// What stands in for the pieces while the metadata has to come.
    unknown: Option<Box<metadata::Unknown>>,
    giving: metadata::Giving,
    peers: PeerTable,
    peer_mgr: PeerMgr,
    trackers: TrackerList,
    /// Who left last and from where, at most [`MAX_DEPARTED`]: what it sent may yet prove bad.
    departed: VecDeque<(PeerKey, IpAddr)>,
    smart_ban: SmartBan,
    haves: HaveLog,
    spread: spread::Spread,
    contacts: Contacts,
    traffic: Traffic,
    /// Totals when this session of the torrent began: trackers hear what came since (BEP 3).
    began_with: Counters,
    /// Pieces whose hash was wrong.
    hash_failures: u64,
    /// Peers that broke the protocol.
    faults: u64,
    /// Bytes of the pieces that are stored.
    have_bytes: u64,
    /// Bytes of the pieces that are wanted and not stored.
    left_bytes: u64,
    /// Bytes stored since the last checkpoint began.
    unsynced_bytes: u64,

    /// Blocks of payload memory that this torrent may hold.
    memory_blocks: usize,
    /// Some peer went without requests because of that.
    starved: bool,
    /// Nothing is to be requested: the disk does not take it.
    requests_paused: bool,
    /// Nothing is to be served: the files can't be read.
    uploads_paused: bool,
    /// A download limit holds: pipelines stay short.
    download_limited: bool,
    /// There is a network to reach anybody by.
    online: bool,

    tick_at: Option<Time>,
    have_flush_at: Option<Time>,
    refill_at: Option<Time>,
    dial_not_before: Time,
    turnover_at: Time,
    /// Since when nobody has been connected.
    lonely_since: Time,
    idle_told: bool,

    /// Drained by every caller after its call, so it holds what one call produced.
    actions: VecDeque<Action<B>>,
    /// Likewise.
    wakes: Vec<PeerKey>,
    /// Scratch space of `fill`.
    picked: Vec<Block>,
}

impl<B> Swarm<B> {
    /// A live torrent without connections.
    pub fn new(now: Time, config: SwarmConfig, start: Start) -> Swarm<B> {
        let mut pieces = PieceMgr::new(start.layout.clone(), start.have, start.seed);
        if let Some(selection) = &start.selection {
            pieces.select(Some(selection));
        }
        let mut peer_mgr = PeerMgr::new(connect::limits(config.max_peers), config.peer_id, start.seed);
        peer_mgr.set_seeding(pieces.is_finished());
        let policy = if config.private { Policy::OneTracker } else { Policy::AllTiers };
        Swarm {
            id: start.id,
            hash: start.hash,
            trackers: TrackerList::new(&start.tiers, policy, start.seed),
            have_bytes: bytes_of(&start.layout, pieces.have()),
            left_bytes: bytes_of(&start.layout, pieces.wanted()),
            unknown: (!start.layout.is_known()).then(Box::default),
            giving: metadata::Giving::new(),
            layout: start.layout,
            config,
            pieces,
            peers: PeerTable::default(),
            peer_mgr,
            departed: VecDeque::new(),
            smart_ban: SmartBan::default(),
            haves: HaveLog::default(),
            spread: spread::Spread::default(),
            contacts: Contacts::default(),
            traffic: Traffic::new(start.counters),
            began_with: start.counters,
            hash_failures: 0,
            faults: 0,
            unsynced_bytes: 0,
            memory_blocks: MIN_MEMORY_BLOCKS,
            starved: false,
            requests_paused: false,
            uploads_paused: false,
            download_limited: false,
            online: true,
            tick_at: None,
            have_flush_at: None,
            refill_at: None,
            dial_not_before: now,
            turnover_at: now + turnover::EVERY,
            lonely_since: now,
            idle_told: false,
            actions: VecDeque::new(),
            wakes: Vec::new(),
            picked: Vec::new(),
        }
    }

    /// The torrent's number.
    pub fn id(&self) -> TorrentId {
        self.id
    }

    /// Its pieces and blocks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether a caller has to drain [`poll_action`](Self::poll_action) and [`take_wakes`](Self::take_wakes).
    pub fn has_effects(&self) -> bool {
        !self.actions.is_empty() || !self.wakes.is_empty()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action<B>> {
        self.actions.pop_front()
    }

    /// Peers whose tasks should pull with `poll_transmit` and look at `closing`.
    pub fn take_wakes(&mut self, out: &mut Vec<PeerKey>) {
        out.append(&mut self.wakes);
    }

    /// Blocks of payload memory that this torrent may hold, as the session shares them out.
    pub fn set_memory(&mut self, now: Time, blocks: usize) {
        let more = blocks > self.memory_blocks;
        self.memory_blocks = blocks.max(MIN_MEMORY_BLOCKS);
        if more && self.starved {
            self.starved = false;
            self.fill_all(now);
        }
    }

    /// Blocks of payload memory in use, those that wait for the disk included.
    pub fn held_blocks(&self) -> usize {
        self.pieces.held_blocks() + self.pieces.away_blocks()
    }

    /// Whether a download limit holds.
    pub fn set_download_limited(&mut self, limited: bool) {
        self.download_limited = limited;
    }

    /// Stops or resumes requesting, for a torrent whose disk takes no more.
    pub fn set_requests_paused(&mut self, now: Time, paused: bool) {
        if paused == self.requests_paused {
            return;
        }
        self.requests_paused = paused;
        for key in self.peers.keys() {
            if paused {
                self.release_all(key);
            }
            self.update_interest(now, key);
            self.fill(now, key);
        }
    }

    /// The pieces that are stored.
    pub fn have(&self) -> &Bitfield {
        self.pieces.have()
    }

    /// The pieces' state, for choices of the operator.
    pub fn set_order(&mut self, order: crate::piece_mgr::Order) {
        self.pieces.set_order(order);
    }

    /// What a spill asked for has been done, or could not be.
    pub fn on_spilled(&mut self, now: Time, piece: PieceIndex, ok: bool) {
        if let Some(complete) = self.pieces.spilled(piece, ok) {
            self.act(Action::Store(self.doubted(complete)));
        }
        self.count_dropped();
        self.fill_starved_after_spill(now);
    }

    fn fill_starved_after_spill(&mut self, now: Time) {
        if self.held_blocks() < self.memory_blocks {
            self.starved = false;
            self.fill_all(now);
        }
    }

    /// Takes up partly stored pieces where an earlier session left them.
    pub fn restore_partials(&mut self, partials: &[(PieceIndex, Bitfield)]) {
        for (piece, mask) in partials {
            if let Some(complete) = self.pieces.restore_partial(*piece, mask) {
                self.act(Action::Store(complete));
            }
        }
    }

    /// The blocks on disk of pieces that are not complete there.
    pub fn partials(&self) -> Vec<(PieceIndex, Bitfield)> {
        self.pieces.partial_masks().collect()
    }

    /// Gives up every buffer of unfinished pieces, to be written before the torrent ends.
    pub fn spill_all(&mut self) -> Vec<Spill<B>> {
        std::iter::from_fn(|| self.pieces.spill()).collect()
    }

    /// Whether nobody is connected and nothing is to be done, still, after `Action::Idle`. If not, the
    /// action comes again when it is so.
    pub fn may_sleep(&mut self) -> bool {
        let idle = self.is_still();
        self.idle_told &= idle;
        idle
    }

    /// Bytes stored since the last checkpoint began; a new one begins now.
    pub fn begin_checkpoint(&mut self) -> u64 {
        std::mem::take(&mut self.unsynced_bytes)
    }

    /// Keeps the byte counts in step with the pieces.
    fn note_have(&mut self, piece: PieceIndex, wanted: bool, stored: bool) {
        let len = u64::from(self.layout.piece_len(piece));
        if stored {
            self.have_bytes += len;
            self.left_bytes -= if wanted { len } else { 0 };
        } else {
            self.have_bytes -= len;
            self.left_bytes += if wanted { len } else { 0 };
        }
    }

    fn act(&mut self, action: Action<B>) {
        let again = matches!(action, Action::InterestChanged)
            && self.actions.iter().any(|a| matches!(a, Action::InterestChanged));
        if !again {
            self.actions.push_back(action);
        }
    }
}

fn bytes_of(layout: &Layout, pieces: &Bitfield) -> u64 {
    pieces.iter_ones().map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum()
}
