//! What passes over a connection: pulled from a Swarm, limited, carried over the line, cut anywhere,
//! parsed and given to the other Swarm. The simulation's counterpart of the shell's `peer/`.
use std::time::Duration;

use wgo_core::limiter::{Direction, Grant};
use wgo_core::peer::{CloseReason, PeerFault};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::wire::{BLOCK_HEADER_LEN, Frame, Limits, block_header, next_frame};
use wgo_proto::{BLOCK_LEN, Block};

use crate::sim::jobs::Task;
use crate::sim::link::{EndId, Incoming, NodeId, Outgoing};
use crate::sim::world::{Event, World};

impl World {
    /// A Swarm has something for a connection.
    pub fn wake(&mut self, node: NodeId, id: TorrentId, key: PeerKey) {
        let end = self.nodes[node].torrents.get(&id).and_then(|entry| entry.ends.get(&key)).copied();
        if let Some(end) = end {
            self.pump(end);
        }
    }

    /// Sends as much as line, limit and disk allow.
    pub fn pump(&mut self, end: EndId) {
        while let Some(key) = self.links[end.link].ends[end.side].key {
            let (torrent, node) = (self.links[end.link].torrent, self.links[end.link].ends[end.side].node);
            if let Some(reason) = self.call(node, torrent, |swarm, _| swarm.closing(key)).flatten() {
                return self.end(end, reason);
            }
            if !self.drain(end) || !self.pull(end, key, node, torrent) {
                return;
            }
        }
    }

    /// Moves what was pulled onto the line; whether all of it went.
    fn drain(&mut self, end: EndId) -> bool {
        loop {
            let one = &self.links[end.link].ends[end.side];
            let Some(front) = one.out.front() else { return true };
            let left = front.bytes.len() - front.at;
            let room = self.nodes[one.node].habits.socket.saturating_sub(one.in_flight);
            let free = (front.bytes.len() - front.payload).saturating_sub(front.at);
            let paid = (left - free).min(room.saturating_sub(free));
            let allowed = if paid > 0 { self.allowance(end, paid as u32) as usize } else { 0 };
            let n = (free + allowed).min(room);
            if n == 0 {
                return false;
            }
            let one = &mut self.links[end.link].ends[end.side];
            let Some(front) = one.out.front_mut() else { return true };
            let bytes = front.bytes[front.at..front.at + n].to_vec();
            front.at += n;
            if front.at == front.bytes.len() {
                one.out.pop_front();
            }
            self.sent_payload(end, n.saturating_sub(free));
            self.transmit(end, bytes);
        }
    }

    fn sent_payload(&mut self, end: EndId, bytes: usize) {
        let torrent = self.links[end.link].torrent;
        let one = &mut self.links[end.link].ends[end.side];
        let (Some(key), node) = (one.key, one.node) else { return };
        if bytes == 0 {
            return;
        }
        one.sent += bytes as u64;
        if let Some(entry) = self.nodes[node].torrents.get_mut(&torrent) {
            entry.sent += bytes as u64;
        }
        if self.nodes[node].limiter.limit(torrent, Direction::Up).is_some() {
            one.credit -= bytes as u32;
            let now = self.now;
            self.nodes[node].limited.push((now, bytes as u64));
        }
        self.call(node, torrent, |swarm, now| swarm.on_uploaded(now, key, bytes as u64));
    }

    /// Bytes of payload that may go now, as the shell's `Flow` counts them.
    fn allowance(&mut self, end: EndId, want: u32) -> u32 {
        let (torrent, now) = (self.links[end.link].torrent, self.now);
        let one = &mut self.links[end.link].ends[end.side];
        let node = &mut self.nodes[one.node];
        if node.limiter.is_unlimited(torrent, Direction::Up) {
            return want;
        }
        if one.credit == 0 && !one.queued {
            let flow = *one.flow.get_or_insert_with(|| node.limiter.open(torrent, Direction::Up));
            node.flows.insert(flow, end);
            match node.limiter.request(now, flow, want) {
                Grant::Granted(bytes) => one.credit += bytes,
                Grant::Queued => one.queued = true,
            }
            let number = one.node;
            self.arm_limiter(number);
        }
        self.links[end.link].ends[end.side].credit.min(want)
    }

    fn arm_limiter(&mut self, node: NodeId) {
        let one = &mut self.nodes[node];
        one.limiter.check_invariants();
        if let Some(at) = one.limiter.next_timeout().filter(|at| one.limiter_timer.is_none_or(|t| *at < t)) {
            one.limiter_timer = Some(at);
            self.at(at, Event::LimiterTimer(node, at));
        }
    }

    pub fn limiter_timer(&mut self, node: NodeId, at: Time) {
        let one = &mut self.nodes[node];
        if one.limiter_timer != Some(at) {
            return;
        }
        one.limiter_timer = None;
        let mut grants = Vec::new();
        one.limiter.poll(self.now, &mut grants);
        for (flow, bytes) in grants {
            let Some(end) = self.nodes[node].flows.get(&flow).copied() else { continue };
            let one = &mut self.links[end.link].ends[end.side];
            one.credit += bytes;
            one.queued = false;
            self.pump(end);
        }
        self.arm_limiter(node);
    }

    /// Pulls from the Swarm; whether there is something to send now.
    fn pull(&mut self, end: EndId, key: PeerKey, node: NodeId, torrent: TorrentId) -> bool {
        let one = &self.links[end.link].ends[end.side];
        let limited = !self.nodes[node].limiter.is_unlimited(torrent, Direction::Up);
        let habits = &self.nodes[node].habits;
        let batch = if limited { u64::from(BLOCK_LEN) } else { habits.batch };
        let busy = one.reading || habits.stalls;
        let (mut control, mut blocks) = (Vec::new(), Vec::new());
        self.call(node, torrent, |swarm, now| {
            let budget = if busy { 0 } else { swarm.upload_backlog(key).min(batch) };
            swarm.poll_transmit(now, key, budget, &mut control, &mut blocks);
        });
        if !control.is_empty() {
            self.watch_control(end, node, torrent, &control);
            let outgoing = Outgoing { bytes: control, at: 0, payload: 0 };
            self.links[end.link].ends[end.side].out.push_back(outgoing);
        }
        if !blocks.is_empty() {
            let one = &mut self.links[end.link].ends[end.side];
            one.reading = true;
            one.pulled.extend(&blocks);
            self.start(node, torrent, Task::Upload { end, blocks });
        }
        !self.links[end.link].ends[end.side].out.is_empty()
    }

    /// Everything that a Swarm says must be well-formed, and right.
    fn watch_control(&mut self, end: EndId, node: NodeId, torrent: TorrentId, control: &[u8]) {
        let limits = Limits::new(Some(self.content(torrent).layout.piece_count()));
        let mut at = 0;
        while at < control.len() {
            let frame = next_frame(&control[at..], &limits).expect("what we send is well-formed");
            let Frame::Message { message, consumed } = frame else { panic!("control bytes hold {frame:?}") };
            let claimed = self.links[end.link].ends[end.side].watch.sends(&message);
            for piece in claimed {
                self.check_on_disk(node, torrent, piece);
            }
            at += consumed;
        }
    }

    /// Blocks that were read for an end go out; `None` for one that could not be read.
    pub fn send_blocks(&mut self, end: EndId, blocks: Vec<(Block, Option<Vec<u8>>)>) {
        let torrent = self.links[end.link].torrent;
        let node = self.links[end.link].ends[end.side].node;
        let Some(key) = self.links[end.link].ends[end.side].key else { return };
        self.links[end.link].ends[end.side].reading = false;
        self.links[end.link].ends[end.side].pulled.clear();
        for (block, payload) in blocks {
            let Some(mut payload) = payload else {
                self.call(node, torrent, |swarm, _| swarm.on_upload_failed(key, block));
                continue;
            };
            let poison = self.nodes[node].habits.poison;
            if poison > 0 && self.rng.u32(..poison) == 0 {
                let at = self.rng.usize(..payload.len());
                payload[at] ^= 0x55;
            }
            let one = &mut self.links[end.link].ends[end.side];
            one.watch.sends_block(block);
            let mut bytes = block_header(block).to_vec();
            assert_eq!(bytes.len(), BLOCK_HEADER_LEN);
            bytes.extend_from_slice(&payload);
            one.out.push_back(Outgoing { bytes, at: 0, payload: payload.len() });
        }
        self.pump(end);
    }

    /// Puts bytes on the line of the sender's node.
    fn transmit(&mut self, end: EndId, bytes: Vec<u8>) {
        let link = &mut self.links[end.link];
        let one = &mut link.ends[end.side];
        let node = &mut self.nodes[one.node];
        let free = node.line_free.max(self.now) + node.line_time(bytes.len());
        node.line_free = free;
        one.in_flight += bytes.len();
        // Bytes of one connection never overtake each other.
        one.last_arrival = (free + link.latency).max(one.last_arrival);
        let at = one.last_arrival;
        self.at(at, Event::Arrive(end.other(), bytes));
    }

    /// Bytes arrive, cut at random places.
    pub fn arrive(&mut self, end: EndId, bytes: Vec<u8>) {
        self.links[end.link].ends[1 - end.side].in_flight -= bytes.len();
        if self.links[end.link].cut {
            return;
        }
        self.note(&[bytes.len() as u64, bytes.first().copied().map_or(0, u64::from), end.link as u64]);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let n = if self.rng.bool() { rest.len() } else { self.rng.usize(1..=rest.len()) };
            let (now, later) = rest.split_at(n);
            rest = later;
            let Some(key) = self.links[end.link].ends[end.side].key else { break };
            let (torrent, node) = (self.links[end.link].torrent, self.links[end.link].ends[end.side].node);
            if let Some(reason) = self.call(node, torrent, |swarm, _| swarm.closing(key)).flatten() {
                self.end(end, reason);
                break;
            }
            if let Err(fault) = self.feed(end, key, now) {
                self.end(end, CloseReason::Fault(fault));
                break;
            }
        }
        self.pump(end.other());
    }

    /// Parses what has come so far.
    fn feed(&mut self, end: EndId, key: PeerKey, more: &[u8]) -> Result<(), PeerFault> {
        let torrent = self.links[end.link].torrent;
        let limits = Limits::new(Some(self.content(torrent).layout.piece_count()));
        let one = &mut self.links[end.link].ends[end.side];
        let node = one.node;
        let mut bytes = std::mem::take(&mut one.pending);
        bytes.extend_from_slice(more);
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let one = &mut self.links[end.link].ends[end.side];
            match &mut one.incoming {
                Incoming::Block { block, buf } => {
                    let n = rest.len().min(block.len as usize - buf.len());
                    buf.extend_from_slice(&rest[..n]);
                    at += n;
                    if buf.len() == block.len as usize {
                        self.block_came(end, key)?;
                    }
                }
                Incoming::Skip(left) => {
                    let n = rest.len().min(*left);
                    *left -= n;
                    at += n;
                    if *left == 0 {
                        one.incoming = Incoming::Frame;
                    }
                }
                Incoming::Frame => {
                    match next_frame(rest, &limits).map_err(|e| PeerFault::Malformed(e.to_string()))? {
                        Frame::Message { message, consumed } => {
                            one.watch.hears(&message);
                            self.note(&[message.id().map_or(99, u64::from), node as u64]);
                            self.call(node, torrent, |s, now| s.on_message(now, key, &message))
                                .unwrap_or(Ok(()))?;
                            at += consumed;
                        }
                        Frame::Block { block, header_len } => {
                            one.incoming = Incoming::Block { block, buf: Vec::new() };
                            at += header_len;
                        }
                        Frame::Skip { header_len, body_len, .. } => {
                            one.incoming = Incoming::Skip(body_len as usize);
                            at += header_len;
                        }
                        Frame::Incomplete { need } => {
                            assert!(need > rest.len(), "more bytes are needed than there are");
                            break;
                        }
                    }
                }
            }
        }
        self.links[end.link].ends[end.side].pending = bytes[at.min(bytes.len())..].to_vec();
        Ok(())
    }

    fn block_came(&mut self, end: EndId, key: PeerKey) -> Result<(), PeerFault> {
        let (torrent, now) = (self.links[end.link].torrent, self.now);
        let one = &mut self.links[end.link].ends[end.side];
        let incoming = std::mem::replace(&mut one.incoming, Incoming::Frame);
        let Incoming::Block { block, buf } = incoming else { return Ok(()) };
        let node = one.node;
        one.watch.hears_block(block);
        one.received += u64::from(block.len);
        one.first_block_at.get_or_insert(now);
        if let Some(entry) = self.nodes[node].torrents.get_mut(&torrent) {
            entry.received += u64::from(block.len);
            entry.first_block_at.get_or_insert(now);
        }
        self.note(&[u64::from(block.piece.0), u64::from(block.offset), node as u64]);
        let complete = self.call(node, torrent, |swarm, now| swarm.on_block(now, key, block, buf));
        if let Some(Some(complete)) = complete.transpose()? {
            self.start(node, torrent, Task::Store { piece: complete.piece, blocks: complete.blocks });
        }
        Ok(())
    }
}

/// Bytes that may leave beyond a limit within any window: a tenth of a second, and a turn each.
pub fn burst_of(rate: u64) -> u64 {
    wgo_core::ByteRate(rate).over(Duration::from_millis(200)) + 2 * 1024
}
