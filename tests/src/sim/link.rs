//! One connection: two ends, each with what it has yet to send and the message it is in the middle of.
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use wgo_core::limiter::FlowId;
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::Block;

use crate::sim::rogue::Rogue;
use crate::sim::watch::Watch;
use crate::sim::weather::Rough;

/// A node, by its place in the world.
pub type NodeId = usize;

/// One end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndId {
    pub link: usize,
    /// 0 dialled, 1 accepted.
    pub side: usize,
}

impl EndId {
    pub fn other(self) -> EndId {
        EndId { side: 1 - self.side, ..self }
    }
}

/// One connection. Never reused.
pub struct Link {
    pub torrent: TorrentId,
    pub latency: Duration,
    pub ends: [End; 2],
    /// Broken: whatever is in flight is lost.
    pub cut: bool,
    /// Ends that never hear of the other's end.
    pub deaf: [bool; 2],
}

/// What a connection has of a limit, in one direction.
#[derive(Default)]
pub struct Share {
    pub flow: Option<FlowId>,
    pub credit: u32,
    pub queued: bool,
}

/// Bytes on their way out: a message, or a block with its header.
pub struct Outgoing {
    pub bytes: Vec<u8>,
    pub at: usize,
    /// Payload at the end of `bytes`.
    pub payload: usize,
}

/// What the stream holds next.
pub enum Incoming {
    Frame,
    Block { block: Block, buf: Vec<u8> },
    Skip(usize),
}

/// One end.
pub struct End {
    pub node: NodeId,
    /// Its key in the node's Swarm while that knows it.
    pub key: Option<PeerKey>,
    pub watch: Watch,
    // Sending.
    pub out: VecDeque<Outgoing>,
    pub pulled: VecDeque<Block>,
    /// A job that reads blocks for this end is under way.
    pub reading: bool,
    /// Bytes that wait for their turn on the line.
    pub waiting: VecDeque<Vec<u8>>,
    /// Bytes sent that have not arrived.
    pub in_flight: usize,
    /// When the last byte sent arrives.
    pub last_arrival: Time,
    /// What is on its way to the other end, and when it arrives. Bounded by the socket of the node.
    pub pipe: VecDeque<(Time, Vec<u8>)>,
    /// The end of the stream is on its way behind that.
    pub fin: bool,
    /// What the network does to what is sent.
    pub rough: Rough,
    pub up: Share,
    // Receiving.
    pub down: Share,
    /// Arrived and not read: as much as the other end's socket takes.
    pub inbox: Vec<u8>,
    /// The other end closed behind that.
    pub eof: bool,
    pub incoming: Incoming,
    pub pending: Vec<u8>,
    /// Payload sent, and payload of whole blocks received.
    pub sent: u64,
    pub received: u64,
    /// Payload read, parts of blocks too.
    pub payload: u64,
    /// Blocks that were sent badly.
    pub spoilt: BTreeSet<Block>,
    /// When the first block came.
    pub first_block_at: Option<Time>,
    /// It will be pumped when its machine wakes.
    pub pump_waits: bool,
    /// Who speaks at this end, if that is no engine.
    pub rogue: Option<Box<Rogue>>,
}

impl End {
    pub fn new(node: NodeId, watch: Watch) -> End {
        End {
            node,
            key: None,
            watch,
            out: VecDeque::new(),
            pulled: VecDeque::new(),
            reading: false,
            waiting: VecDeque::new(),
            in_flight: 0,
            last_arrival: Time::ZERO,
            pipe: VecDeque::new(),
            fin: false,
            rough: Rough::default(),
            up: Share::default(),
            down: Share::default(),
            inbox: Vec::new(),
            eof: false,
            incoming: Incoming::Frame,
            pending: Vec::new(),
            sent: 0,
            received: 0,
            payload: 0,
            spoilt: BTreeSet::new(),
            first_block_at: None,
            pump_waits: false,
            rogue: None,
        }
    }
}
