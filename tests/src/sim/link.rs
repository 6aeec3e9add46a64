//! One connection: two ends, each with what it has yet to send and the message it is in the middle of.
use std::collections::VecDeque;
use std::time::Duration;

use wgo_core::limiter::FlowId;
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::Block;

use crate::sim::watch::Watch;

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
    /// Bytes sent that have not arrived.
    pub in_flight: usize,
    /// When the last byte sent arrives.
    pub last_arrival: Time,
    pub flow: Option<FlowId>,
    pub credit: u32,
    pub queued: bool,
    // Receiving.
    pub incoming: Incoming,
    pub pending: Vec<u8>,
    /// Payload sent, and payload of whole blocks received.
    pub sent: u64,
    pub received: u64,
    /// When the first block came.
    pub first_block_at: Option<Time>,
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
            in_flight: 0,
            last_arrival: Time::ZERO,
            flow: None,
            credit: 0,
            queued: false,
            incoming: Incoming::Frame,
            pending: Vec::new(),
            sent: 0,
            received: 0,
            first_block_at: None,
        }
    }
}
