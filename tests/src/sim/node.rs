//! One daemon in the simulation: a Session, a Swarm for each live torrent, one disk, one limiter.
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wgo_core::choke_mgr::SlotCount;
use wgo_core::limiter::{Direction, FlowId, Limiter};
use wgo_core::session::{QueueLimits, Session};
use wgo_core::status::Counters;
use wgo_core::swarm::Swarm;
use wgo_core::{ByteRate, PeerKey, Time, TorrentId};
use wgo_proto::wire::Reserved;
use wgo_proto::{Bitfield, PeerId, PieceIndex};
use wgod::files::Handle;
use wgod::files::disk::Completion;

use crate::sim::disk::SimDisk;
use crate::sim::jobs::Job;
use crate::sim::lanes::LaneOp;
use crate::sim::link::EndId;

/// A block's payload.
pub type Payload = Vec<u8>;

/// How a node differs from an ordinary one.
#[derive(Clone)]
pub struct Habits {
    /// Speaks BEP 6.
    pub fast: bool,
    /// Bytes per second that its line takes.
    pub line: u64,
    /// Upload limit.
    pub up_limit: Option<ByteRate>,
    /// One in so many blocks that it sends is bad; 0: none.
    pub poison: u32,
    /// Takes requests and answers none.
    pub stalls: bool,
    /// Payload memory of all torrents, in blocks.
    pub memory: usize,
    pub slots: SlotCount,
    pub max_peers: u32,
    pub queue: QueueLimits,
    /// Time to whoever dials it or is dialled by it; else it differs from link to link.
    pub distance: Option<Duration>,
    /// Bytes that its sockets take before the other end has them.
    pub socket: usize,
    /// Payload that it pulls and reads at once.
    pub batch: u64,
    /// Disks over which its torrents are spread, by number.
    pub disks: u64,
    /// The longest that its disk takes for a read or a write, in milliseconds.
    pub disk_millis: u64,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            fast: true,
            line: 2_000_000,
            up_limit: None,
            poison: 0,
            stalls: false,
            memory: 512,
            slots: SlotCount::Fixed(4),
            max_peers: 50,
            queue: QueueLimits::default(),
            distance: None,
            socket: 128 * 1024,
            batch: 64 * 1024,
            disks: 1,
            disk_millis: 12,
        }
    }
}

/// One torrent of one node, live or not.
pub struct Entry {
    pub files: Vec<Handle>,
    pub paths: Vec<PathBuf>,
    pub live: Option<Swarm<Payload>>,
    /// Connections of the live Swarm.
    pub ends: BTreeMap<PeerKey, EndId>,
    pub timer: Option<Time>,
    /// What waits for its disk, which hangs, in order.
    pub lane: VecDeque<LaneOp>,
    /// Times that its disk had been pulled out when its files were opened.
    pub pulls: u32,
    /// Counts Swarms, checks and other things that a late answer might confuse.
    pub epoch: u32,
    // Kept while it is not live.
    pub have: Bitfield,
    pub partials: Vec<(PieceIndex, Bitfield)>,
    pub counters: Counters,
    /// Pieces that a sync has covered.
    pub durable: Bitfield,
    // What the simulation counts itself.
    pub sent: u64,
    pub received: u64,
    /// Pieces found right on disk when they were announced.
    pub seen_good: Bitfield,
    pub completed: u32,
    pub first_block_at: Option<Time>,
    pub finished_at: Option<Time>,
    pub spills: u32,
}

/// What one choke round leaves for the next.
#[derive(Default)]
pub struct Choke {
    pub slots: Option<u32>,
    pub optimistic: usize,
    pub rate: ByteRate,
    pub rounds: u64,
}

/// One daemon.
pub struct Node {
    pub addr: SocketAddr,
    pub habits: Habits,
    /// Whether it takes part; a node that has left answers nothing.
    pub up: bool,
    pub session: Session,
    pub session_timer: Option<Time>,
    pub torrents: BTreeMap<TorrentId, Entry>,
    pub disk: Arc<SimDisk>,
    pub jobs: BTreeMap<u64, Job>,
    pub next_job: u64,
    /// Operations that happened and nobody has looked at.
    pub done: Arc<Mutex<VecDeque<(u64, usize, Completion)>>>,
    pub limiter: Limiter,
    pub limiter_timer: Option<Time>,
    pub flows: BTreeMap<FlowId, EndId>,
    /// Until when its line is busy.
    pub line_free: Time,
    pub choke: Choke,
    /// Payload sent under a limit.
    pub limited: Vec<(Time, u64)>,
    pub faults: u32,
}

impl Node {
    pub fn new(number: usize, habits: Habits) -> Node {
        let mut limiter = Limiter::new();
        limiter.set_global(Time::ZERO, Direction::Up, habits.up_limit);
        let ip = Ipv4Addr::new(11, (number / 200) as u8, (number % 200) as u8 + 1, 7);
        Node {
            addr: SocketAddr::new(IpAddr::V4(ip), 6868),
            session: Session::new(habits.queue),
            habits,
            up: true,
            session_timer: None,
            torrents: BTreeMap::new(),
            disk: Arc::default(),
            jobs: BTreeMap::new(),
            next_job: 0,
            done: Arc::default(),
            limiter,
            limiter_timer: None,
            flows: BTreeMap::new(),
            line_free: Time::ZERO,
            choke: Choke::default(),
            limited: Vec::new(),
            faults: 0,
        }
    }

    pub fn peer_id(&self) -> PeerId {
        let mut id = *b"-WG0100-............";
        if let IpAddr::V4(ip) = self.addr.ip() {
            id[8..12].copy_from_slice(&ip.octets());
        }
        PeerId(id)
    }

    pub fn reserved(&self) -> Reserved {
        if self.habits.fast { Reserved::EXTENSIONS | Reserved::FAST } else { Reserved::EXTENSIONS }
    }

    /// Time in which its line takes `bytes`.
    pub fn line_time(&self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.habits.line)
    }

    /// The disk of a torrent.
    pub fn device(&self, id: TorrentId) -> u64 {
        id.0 % self.habits.disks
    }

    /// Whether everything of a torrent is stored.
    pub fn is_complete(&self, id: TorrentId) -> bool {
        self.torrents.get(&id).is_some_and(|entry| match &entry.live {
            Some(swarm) => swarm.have().is_full(),
            None => entry.have.is_full(),
        })
    }
}
