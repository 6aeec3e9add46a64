//! One daemon in the simulation: a Session, a Swarm for each live torrent, one disk, one limiter.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wgo_core::choke_mgr::{SlotCount, Trials};
use wgo_core::limiter::{Direction, FlowId, Limiter};
use wgo_core::session::{Check, QueueLimits, Session};
use wgo_core::status::Counters;
use wgo_core::swarm::{Swarm, TrackerMemory};
use wgo_core::{ByteRate, PeerKey, Time, TorrentId};
use wgo_proto::wire::Reserved;
use wgo_proto::{Bitfield, Block, PeerId, PieceIndex};
use wgod::files::{Preallocate, Storage, StorageLimits, TorrentFiles};
use wgod::store::FileStamp;

use crate::sim::books::Window;
use crate::sim::clock::Clock;
use crate::sim::disk::SimDisk;
use crate::sim::jobs::Job;
use crate::sim::keeping::{Keeping, state_dir};
use crate::sim::lanes::LaneOp;
use crate::sim::line::Line;
use crate::sim::link::{EndId, NodeId};
use crate::sim::rogue::Class;

/// A block's payload.
pub type Payload = Vec<u8>;

/// How a node differs from an ordinary one.
#[derive(Clone)]
pub struct Habits {
    /// Speaks BEP 6.
    pub fast: bool,
    /// Bytes per second that its line takes.
    pub line: u64,
    /// Bytes per second that its line brings; `None`: more than anybody sends.
    pub line_down: Option<u64>,
    /// Upload limit.
    pub up_limit: Option<ByteRate>,
    /// Download limit.
    pub down_limit: Option<ByteRate>,
    /// Nobody can dial it.
    pub nat: bool,
    /// How far its clock is ahead when the world begins, and how much it gains in a million.
    pub clock: (Duration, i32),
    /// Exchanges addresses (BEP 11).
    pub pex: bool,
    /// Takes part in a way of its own: no engine runs here.
    pub rogue: Option<Class>,
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
    /// How it reserves space for files.
    pub preallocate: Preallocate,
    /// Has the daemon's own store, and begins with what that says after a crash.
    pub store: bool,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            fast: true,
            line: 2_000_000,
            line_down: None,
            up_limit: None,
            down_limit: None,
            nat: false,
            clock: (Duration::ZERO, 0),
            pex: true,
            rogue: None,
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
            preallocate: Preallocate::Sparse,
            store: false,
        }
    }
}

/// One torrent of one node, live or not.
pub struct Entry {
    pub files: Option<Arc<TorrentFiles>>,
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
    /// What the trackers know of it, while it sleeps.
    pub trackers: Option<TrackerMemory>,
    /// Pieces that a checkpoint has covered.
    pub durable: Bitfield,
    /// Length and time of its files at that checkpoint.
    pub stamps: Vec<Option<FileStamp>>,
    /// It was being written to when the last run ended, or is now.
    pub writing: bool,
    /// Pieces to be hashed because the last run ended uncleanly.
    pub suspects: Vec<PieceIndex>,
    /// The check that it is to have, or had last.
    pub checking: Check,
    pub completed_at: Option<u64>,
    /// When pieces were stored that no checkpoint has covered.
    pub stored_at: BTreeMap<PieceIndex, Time>,
    /// Pieces that checks have hashed since the node began.
    pub hashed: u32,
    // What the simulation counts itself.
    pub sent: u64,
    pub received: u64,
    /// Pieces found right on disk when they were announced.
    pub seen_good: Bitfield,
    pub completed: u32,
    pub first_block_at: Option<Time>,
    pub finished_at: Option<Time>,
    pub spills: u32,
    /// Bytes of pieces that were stored.
    pub stored: u64,
    /// Something was lost that had been received: a crash, a check, a fault of the disk. What was received
    /// and what is stored don't add up then.
    pub lossy: bool,
    /// Who sent which blocks badly.
    pub bad: BTreeMap<Block, BTreeSet<NodeId>>,
    /// Blocks that were bad in a piece that failed.
    pub spoilt: BTreeSet<Block>,
    /// Addresses that the tracker in use has named, and which tracker that is.
    pub named: BTreeSet<SocketAddr>,
    pub named_by: Option<Arc<str>>,
    /// Addresses that its Swarm dials now.
    pub dialing: BTreeSet<SocketAddr>,
    /// When the last two dials of an address failed, by the node's clock.
    pub failed_dials: BTreeMap<SocketAddr, [Option<Time>; 2]>,
    /// Its completion was told, and it has been complete since.
    pub told_complete: bool,
    /// Its Swarm knows that a download limit holds.
    pub paced: bool,
}

/// What one choke round leaves for the next.
#[derive(Default)]
pub struct Choke {
    pub slots: Option<u32>,
    pub optimistic: usize,
    pub trials: Trials,
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
    /// The daemon's storage on that disk.
    pub storage: Storage,
    pub keeping: Keeping,
    /// Of the digests of blocks; another in each run, which matters to nobody: only which are the same counts.
    pub digest_key: RandomState,
    pub jobs: BTreeMap<u64, Job>,
    /// Jobs that a device which hangs owes.
    pub owed: BTreeSet<u64>,
    pub next_job: u64,
    pub limiter: Limiter,
    pub limiter_timer: Option<Time>,
    pub flows: BTreeMap<FlowId, (EndId, Direction)>,
    pub clock: Clock,
    /// Its machine is suspended until then.
    pub frozen_until: Option<Time>,
    /// Since when its clock has stood still.
    pub stood_since: Option<Time>,
    /// When its clock jumped, or went on, last.
    pub jumped: Option<Time>,
    /// On which side of a partition it is.
    pub part: bool,
    /// Swarms that are over but for what they owe their trackers, by the epoch of their torrent.
    pub leaving: BTreeMap<(TorrentId, u32), Swarm<Payload>>,
    /// Until when its line is busy.
    pub line_free: Time,
    /// Where lines are shared by turns.
    pub line: Line,
    pub choke: Choke,
    /// Payload sent and received under a limit.
    pub sent: Window,
    pub received: Window,
    pub faults: u32,
    /// It has ended without warning some day.
    pub crashed: bool,
}

impl Node {
    pub fn new(number: usize, habits: Habits) -> Node {
        let mut limiter = Limiter::new();
        let clock = Clock::new(habits.clock.0, habits.clock.1);
        let now = clock.at(Time::ZERO);
        limiter.set_global(now, Direction::Up, habits.up_limit);
        limiter.set_global(now, Direction::Down, habits.down_limit);
        let disk: Arc<SimDisk> = Arc::default();
        (0..habits.disks).for_each(|device| disk.make_folder(format!("/{device}").as_ref()));
        disk.make_folder(&state_dir());
        let ip = Ipv4Addr::new(11, (number / 200) as u8, (number % 200) as u8 + 1, 7);
        Node {
            addr: SocketAddr::new(IpAddr::V4(ip), 6868),
            session: Session::new(habits.queue),
            sent: Window::new(habits.up_limit),
            received: Window::new(habits.down_limit),
            clock,
            frozen_until: None,
            stood_since: None,
            jumped: None,
            part: false,
            leaving: BTreeMap::new(),
            habits,
            up: true,
            session_timer: None,
            torrents: BTreeMap::new(),
            storage: new_storage(&disk),
            disk,
            keeping: Keeping::default(),
            digest_key: RandomState::new(),
            jobs: BTreeMap::new(),
            owed: BTreeSet::new(),
            next_job: 0,
            limiter,
            limiter_timer: None,
            flows: BTreeMap::new(),
            line_free: Time::ZERO,
            line: Line::default(),
            choke: Choke::default(),
            faults: 0,
            crashed: false,
        }
    }

    /// The daemon's storage, as a process begins with it.
    pub fn new_storage(&self) -> Storage {
        new_storage(&self.disk)
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

    /// Whether everything of a torrent is stored, and durably where that is to last.
    pub fn has_for_good(&self, id: TorrentId) -> bool {
        let lasts = self.habits.store;
        self.is_complete(id)
            && (!lasts || self.torrents.get(&id).is_some_and(|entry| entry.durable.is_full()))
    }

    /// Whether everything of a torrent is stored.
    pub fn is_complete(&self, id: TorrentId) -> bool {
        self.torrents.get(&id).is_some_and(|entry| match &entry.live {
            Some(swarm) => swarm.have().is_full(),
            None => entry.have.is_full(),
        })
    }
}

/// Blocks of a node's piece cache: little, so that the disk is read.
const CACHED_BLOCKS: usize = 32;
/// Files that a node has open at most: few, so that files are closed with unsynced writes.
const OPEN_FILES: usize = 4;

fn new_storage(disk: &Arc<SimDisk>) -> Storage {
    // No thread is ever started.
    let limits = StorageLimits { threads: 1, open_files: OPEN_FILES, cached_blocks: CACHED_BLOCKS };
    Storage::new(disk.clone(), limits)
}
