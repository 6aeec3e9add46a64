//! What a connection sends: pulled from a Swarm, limited, carried over the line. With `reading` the
//! simulation's counterpart of the shell's `peer/`.
use wgo_core::limiter::{Direction, Grant};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::wire::{BLOCK_HEADER_LEN, Frame, Limits, block_header, next_frame};
use wgo_proto::{BLOCK_LEN, Block};

use crate::sim::jobs::Task;
use crate::sim::link::{End, EndId, NodeId, Outgoing, Share};
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
        let node = self.links[end.link].ends[end.side].node;
        if let Some(until) = self.nodes[node].frozen_until.filter(|until| self.now < *until) {
            if !std::mem::replace(&mut self.links[end.link].ends[end.side].pump_waits, true) {
                self.at(until, Event::Pump(end));
            }
            return;
        }
        self.links[end.link].ends[end.side].pump_waits = false;
        if self.links[end.link].ends[end.side].rogue.is_some() {
            return self.rogue_sends(end);
        }
        while let Some(key) = self.links[end.link].ends[end.side].key {
            let (torrent, node) = (self.links[end.link].torrent, self.links[end.link].ends[end.side].node);
            if let Some(reason) = self.call(node, torrent, |swarm, _| swarm.closing(key)).flatten() {
                return self.end(end, reason);
            }
            if !self.drain(end) {
                return;
            }
            let any = self.pull(end, key, node, torrent);
            self.check_owed(end, key);
            if !any {
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
            let allowed = if paid > 0 { self.allowance(end, Direction::Up, paid as u32) as usize } else { 0 };
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
            one.up.credit = one.up.credit.saturating_sub(bytes as u32);
            let now = self.clock(node);
            self.nodes[node].sent.pass(node, now, bytes as u64, 0);
        }
        self.call(node, torrent, |swarm, now| swarm.on_uploaded(now, key, bytes as u64));
    }

    /// Bytes of payload that may pass now, as the shell's `Flow` counts them.
    pub fn allowance(&mut self, end: EndId, direction: Direction, want: u32) -> u32 {
        let torrent = self.links[end.link].torrent;
        let one = &mut self.links[end.link].ends[end.side];
        let (number, now) = (one.node, self.nodes[one.node].clock.at(self.now));
        let node = &mut self.nodes[one.node];
        if node.limiter.is_unlimited(torrent, direction) {
            return want;
        }
        let share = share_of(one, direction);
        if share.credit == 0 && !share.queued {
            let flow = *share.flow.get_or_insert_with(|| node.limiter.open(torrent, direction));
            node.flows.insert(flow, (end, direction));
            match node.limiter.request(now, flow, want) {
                Grant::Granted(bytes) => share.credit += bytes,
                Grant::Queued => share.queued = true,
            }
            self.arm_limiter(number);
        }
        share_of(&mut self.links[end.link].ends[end.side], direction).credit.min(want)
    }

    /// A connection's part in the limits ends.
    pub fn give_up_share(&mut self, node: NodeId, share: Share) {
        if let Some(flow) = share.flow {
            let node = &mut self.nodes[node];
            node.limiter.give_back(flow, share.credit);
            node.limiter.close(flow);
            node.flows.remove(&flow);
        }
    }

    /// Other limits of a node's from now on.
    pub fn limit(&mut self, node: NodeId, direction: Direction, rate: Option<wgo_core::ByteRate>) {
        let now = self.clock(node);
        let one = &mut self.nodes[node];
        one.limiter.set_global(now, direction, rate);
        match direction {
            Direction::Up => {
                one.habits.up_limit = rate;
                one.sent.set(now, rate)
            }
            Direction::Down => {
                one.habits.down_limit = rate;
                one.received.set(now, rate)
            }
        }
        self.arm_limiter(node);
        // Whoever waits for nothing any more goes on.
        let ends: Vec<EndId> =
            self.nodes[node].torrents.values().flat_map(|entry| entry.ends.values().copied()).collect();
        for end in ends {
            self.pump(end);
            self.read(end);
            self.pump(end.other());
        }
    }

    fn arm_limiter(&mut self, node: NodeId) {
        let one = &mut self.nodes[node];
        one.limiter.check_invariants();
        if let Some(at) = one.limiter.next_timeout().filter(|at| one.limiter_timer.is_none_or(|t| *at < t)) {
            one.limiter_timer = Some(at);
            let when = one.clock.when(at);
            self.at(when, Event::LimiterTimer(node, at));
        }
    }

    pub fn limiter_timer(&mut self, node: NodeId, at: Time) {
        let one = &mut self.nodes[node];
        if one.limiter_timer != Some(at) {
            return;
        }
        one.limiter_timer = None;
        let mut grants = Vec::new();
        one.limiter.poll(one.clock.at(self.now), &mut grants);
        for (flow, bytes) in grants {
            let Some((end, direction)) = self.nodes[node].flows.get(&flow).copied() else { continue };
            let share = share_of(&mut self.links[end.link].ends[end.side], direction);
            share.credit += bytes;
            share.queued = false;
            match direction {
                Direction::Up => self.pump(end),
                Direction::Down => {
                    self.read(end);
                    self.pump(end.other());
                }
            }
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
            self.tell(Some(node), || format!("connection {} sends {}", end.link, words(&message)));
            self.check_exchange(end, &message);
            let claimed = self.links[end.link].ends[end.side].watch.sends(&message);
            for piece in claimed {
                self.check_on_disk(node, torrent, piece);
            }
            at += consumed;
        }
    }

    /// Blocks that were read for an end go out; `None` for one that could not be read.
    pub fn send_blocks(&mut self, end: EndId, mut blocks: Vec<(Block, Option<Vec<u8>>)>) {
        let torrent = self.links[end.link].torrent;
        let node = self.links[end.link].ends[end.side].node;
        let Some(key) = self.links[end.link].ends[end.side].key else { return };
        self.links[end.link].ends[end.side].reading = false;
        self.links[end.link].ends[end.side].pulled.clear();
        let mut kept = blocks.iter().map(|(block, _)| *block).collect();
        self.call(node, torrent, |swarm, _| swarm.refuse_lost(key, &mut kept));
        blocks.retain(|(block, _)| kept.contains(block));
        for (block, payload) in blocks {
            let Some(mut payload) = payload else {
                self.call(node, torrent, |swarm, _| swarm.on_upload_failed(key, block));
                continue;
            };
            let poison = self.nodes[node].habits.poison;
            if poison > 0 && self.rng.u32(..poison) == 0 {
                let at = self.rng.usize(..payload.len());
                payload[at] ^= 0x55;
                self.links[end.link].ends[end.side].spoilt.insert(block);
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
    pub fn transmit(&mut self, end: EndId, bytes: Vec<u8>) {
        if self.scale.fair_lines {
            return self.queue_on_line(end, bytes);
        }
        let delay = self.weather_delay(end, bytes.len());
        let link = &mut self.links[end.link];
        let one = &mut link.ends[end.side];
        let node = &mut self.nodes[one.node];
        let free = node.line_free.max(self.now) + node.line_time(bytes.len());
        node.line_free = free;
        one.in_flight += bytes.len();
        // Bytes of one connection never overtake each other.
        one.last_arrival = (free + link.latency + delay).max(one.last_arrival);
        let at = one.last_arrival;
        one.pipe.push_back((at, bytes));
        self.at(at, Event::Arrive(end.other()));
    }
}

pub fn share_of(end: &mut End, direction: Direction) -> &mut Share {
    match direction {
        Direction::Up => &mut end.up,
        Direction::Down => &mut end.down,
    }
}

/// A message in a trace.
pub fn words(message: &wgo_proto::wire::Message<'_>) -> String {
    use wgo_proto::wire::Message;
    match message {
        Message::Bitfield(bytes) => format!("bitfield of {} bytes", bytes.len()),
        Message::Extended { id, body } => format!("extended {id}, {} bytes", body.len()),
        Message::Request(b) | Message::Cancel(b) | Message::Reject(b) => {
            format!("{} {}+{}", message.name(), b.piece.0, b.offset)
        }
        Message::Have(piece) => format!("have {}", piece.0),
        other => other.name().to_owned(),
    }
}
