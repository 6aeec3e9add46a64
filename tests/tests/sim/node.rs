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

use crate::disk::SimDisk;
use crate::jobs::Job;
use crate::lanes::LaneOp;
use crate::link::EndId;

/// A block's payload.
pub(crate) type Payload = Vec<u8>;

/// How a node differs from an ordinary one.
#[derive(Clone)]
pub(crate) struct Habits {
    /// Speaks BEP 6.
    pub(crate) fast: bool,
    /// Bytes per second that its line takes.
    pub(crate) line: u64,
    /// Upload limit.
    pub(crate) up_limit: Option<ByteRate>,
    /// One in so many blocks that it sends is bad; 0: none.
    pub(crate) poison: u32,
    /// Takes requests and answers none.
    pub(crate) stalls: bool,
    /// Payload memory of all torrents, in blocks.
    pub(crate) memory: usize,
    pub(crate) slots: SlotCount,
    pub(crate) max_peers: u32,
    pub(crate) queue: QueueLimits,
    /// Time to whoever dials it or is dialled by it; else it differs from link to link.
    pub(crate) distance: Option<Duration>,
    /// Bytes that its sockets take before the other end has them.
    pub(crate) socket: usize,
    /// Payload that it pulls and reads at once.
    pub(crate) batch: u64,
    /// Disks over which its torrents are spread, by number.
    pub(crate) disks: u64,
    /// The longest that its disk takes for a read or a write, in milliseconds.
    pub(crate) disk_millis: u64,
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
pub(crate) struct Entry {
    pub(crate) files: Vec<Handle>,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) live: Option<Swarm<Payload>>,
    /// Connections of the live Swarm.
    pub(crate) ends: BTreeMap<PeerKey, EndId>,
    pub(crate) timer: Option<Time>,
    /// What waits for its disk, which hangs, in order.
    pub(crate) lane: VecDeque<LaneOp>,
    /// Times that its disk had been pulled out when its files were opened.
    pub(crate) pulls: u32,
    /// Counts Swarms, checks and other things that a late answer might confuse.
    pub(crate) epoch: u32,
    // Kept while it is not live.
    pub(crate) have: Bitfield,
    pub(crate) partials: Vec<(PieceIndex, Bitfield)>,
    pub(crate) counters: Counters,
    /// Pieces that a sync has covered.
    pub(crate) durable: Bitfield,
    // What the simulation counts itself.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Pieces found right on disk when they were announced.
    pub(crate) seen_good: Bitfield,
    pub(crate) completed: u32,
    pub(crate) first_block_at: Option<Time>,
    pub(crate) finished_at: Option<Time>,
    pub(crate) spills: u32,
}

/// What one choke round leaves for the next.
#[derive(Default)]
pub(crate) struct Choke {
    pub(crate) slots: Option<u32>,
    pub(crate) optimistic: usize,
    pub(crate) rate: ByteRate,
    pub(crate) rounds: u64,
}

/// One daemon.
pub(crate) struct Node {
    pub(crate) addr: SocketAddr,
    pub(crate) habits: Habits,
    /// Whether it takes part; a node that has left answers nothing.
    pub(crate) up: bool,
    pub(crate) session: Session,
    pub(crate) session_timer: Option<Time>,
    pub(crate) torrents: BTreeMap<TorrentId, Entry>,
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) next_job: u64,
    /// Operations that happened and nobody has looked at.
    pub(crate) done: Arc<Mutex<VecDeque<(u64, usize, Completion)>>>,
    pub(crate) limiter: Limiter,
    pub(crate) limiter_timer: Option<Time>,
    pub(crate) flows: BTreeMap<FlowId, EndId>,
    /// Until when its line is busy.
    pub(crate) line_free: Time,
    pub(crate) choke: Choke,
    /// Payload sent under a limit.
    pub(crate) limited: Vec<(Time, u64)>,
    pub(crate) faults: u32,
}

impl Node {
    pub(crate) fn new(number: usize, habits: Habits) -> Node {
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

    pub(crate) fn peer_id(&self) -> PeerId {
        let mut id = *b"-WG0100-............";
        if let IpAddr::V4(ip) = self.addr.ip() {
            id[8..12].copy_from_slice(&ip.octets());
        }
        PeerId(id)
    }

    pub(crate) fn reserved(&self) -> Reserved {
        if self.habits.fast { Reserved::EXTENSIONS | Reserved::FAST } else { Reserved::EXTENSIONS }
    }

    /// Time in which its line takes `bytes`.
    pub(crate) fn line_time(&self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.habits.line)
    }

    /// The disk of a torrent.
    pub(crate) fn device(&self, id: TorrentId) -> u64 {
        id.0 % self.habits.disks
    }

    /// Whether everything of a torrent is stored.
    pub(crate) fn is_complete(&self, id: TorrentId) -> bool {
        self.torrents.get(&id).is_some_and(|entry| match &entry.live {
            Some(swarm) => swarm.have().is_full(),
            None => entry.have.is_full(),
        })
    }
}
