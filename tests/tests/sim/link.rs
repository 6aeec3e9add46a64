//! One connection: two ends, each with what it has yet to send and the message it is in the middle of.
use std::collections::VecDeque;
use std::time::Duration;

use wgo_core::limiter::FlowId;
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::Block;

use crate::watch::Watch;

/// A node, by its place in the world.
pub(crate) type NodeId = usize;

/// One end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndId {
    pub(crate) link: usize,
    /// 0 dialled, 1 accepted.
    pub(crate) side: usize,
}

impl EndId {
    pub(crate) fn other(self) -> EndId {
        EndId { side: 1 - self.side, ..self }
    }
}

/// One connection. Never reused.
pub(crate) struct Link {
    pub(crate) torrent: TorrentId,
    pub(crate) latency: Duration,
    pub(crate) ends: [End; 2],
    /// Broken: whatever is in flight is lost.
    pub(crate) cut: bool,
}

/// Bytes on their way out: a message, or a block with its header.
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: usize,
    /// Payload at the end of `bytes`.
    pub(crate) payload: usize,
}

/// What the stream holds next.
pub(crate) enum Incoming {
    Frame,
    Block { block: Block, buf: Vec<u8> },
    Skip(usize),
}

/// One end.
pub(crate) struct End {
    pub(crate) node: NodeId,
    /// Its key in the node's Swarm while that knows it.
    pub(crate) key: Option<PeerKey>,
    pub(crate) watch: Watch,
    // Sending.
    pub(crate) out: VecDeque<Outgoing>,
    pub(crate) pulled: VecDeque<Block>,
    /// A job that reads blocks for this end is under way.
    pub(crate) reading: bool,
    /// Bytes sent that have not arrived.
    pub(crate) in_flight: usize,
    /// When the last byte sent arrives.
    pub(crate) last_arrival: Time,
    pub(crate) flow: Option<FlowId>,
    pub(crate) credit: u32,
    pub(crate) queued: bool,
    // Receiving.
    pub(crate) incoming: Incoming,
    pub(crate) pending: Vec<u8>,
    /// Payload sent, and payload of whole blocks received.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// When the first block came.
    pub(crate) first_block_at: Option<Time>,
}

impl End {
    pub(crate) fn new(node: NodeId, watch: Watch) -> End {
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
