//! What a connection receives: carried by the network, read as the limit allows, cut anywhere, parsed and given to
//! the Swarm.
use wgo_core::PeerKey;
use wgo_core::limiter::Direction;
use wgo_core::peer::{CloseReason, PeerFault};
use wgo_proto::wire::{Frame, Limits, Message, next_frame};

use crate::sim::jobs::Task;
use crate::sim::link::{EndId, Incoming};
use crate::sim::stream::words;
use crate::sim::world::{Event, World};

/// What each connection may have left of a grant, since its messages are free: one turn.
const LEFT_OF_GRANT: u64 = 1024;

impl World {
    /// What has arrived at an end by now comes into its socket; with `force` all that is under way.
    pub fn deliver(&mut self, end: EndId, force: bool) {
        let (receiver, sender) =
            (&self.links[end.link].ends[end.side], &self.links[end.link].ends[1 - end.side]);
        let apart = self.parted(receiver.node, sender.node);
        let stalled = sender.rough.stalled_until;
        if !force && stalled > self.now {
            return self.at(stalled, Event::Arrive(end));
        }
        let (now, cut) = (self.now, self.links[end.link].cut);
        if cut && self.links[end.link].deaf[1 - end.side] {
            // Nobody acknowledges what goes to an end that is gone.
            return;
        }
        while let Some((at, _)) = self.links[end.link].ends[1 - end.side].pipe.front()
            && (force || *at <= now && !apart)
        {
            let Some((_, bytes)) = self.links[end.link].ends[1 - end.side].pipe.pop_front() else { break };
            if self.links[end.link].cut || self.is_over(end) {
                self.links[end.link].ends[1 - end.side].in_flight -= bytes.len();
                continue;
            }
            self.note(&[bytes.len() as u64, bytes.first().copied().map_or(0, u64::from), end.link as u64]);
            self.links[end.link].ends[end.side].inbox.extend_from_slice(&bytes);
            self.read(end);
        }
        let sender = &self.links[end.link].ends[1 - end.side];
        if sender.fin && sender.pipe.is_empty() && !apart {
            self.hear_end(end);
        }
        self.pump(end.other());
    }

    /// Nobody is at this end.
    fn is_over(&self, end: EndId) -> bool {
        let one = &self.links[end.link].ends[end.side];
        one.key.is_none() && one.rogue.is_none()
    }

    /// Reads what has come, as far as the limit allows, cut at random places.
    pub fn read(&mut self, end: EndId) {
        let (torrent, node) = (self.links[end.link].torrent, self.links[end.link].ends[end.side].node);
        if self.links[end.link].ends[end.side].rogue.is_some() {
            return self.rogue_reads(end);
        }
        let limited = !self.nodes[node].limiter.is_unlimited(torrent, Direction::Down);
        while let Some(key) = self.links[end.link].ends[end.side].key {
            let waiting = self.links[end.link].ends[end.side].inbox.len();
            if waiting == 0 {
                if limited && self.links[end.link].ends[end.side].down.credit > 0 {
                    self.call(node, torrent, |swarm, now| swarm.dry(now, key));
                }
                break;
            }
            let allowed = self.allowance(end, Direction::Down, waiting as u32) as usize;
            if allowed == 0 {
                // Time in which nothing is read is not the peer's silence.
                self.call(node, torrent, |swarm, now| swarm.excuse(now, key));
                break;
            }
            let most = allowed.min(waiting);
            let n = if self.scale.fair_lines || self.rng.bool() { most } else { self.rng.usize(1..=most) };
            let bytes: Vec<u8> = self.links[end.link].ends[end.side].inbox.drain(..n).collect();
            self.links[end.link].ends[1 - end.side].in_flight -= n;
            if let Some(reason) = self.call(node, torrent, |swarm, _| swarm.closing(key)).flatten() {
                self.end(end, reason);
                break;
            }
            let before = self.payload_of(end);
            let fed = self.feed(end, key, &bytes);
            self.charge(end, limited, self.payload_of(end) - before);
            if let Err(fault) = fed {
                self.end(end, CloseReason::Fault(fault));
                break;
            }
        }
        let one = &mut self.links[end.link].ends[end.side];
        if one.eof && one.inbox.is_empty() {
            self.end(end, CloseReason::Gone("the other end closed".into()));
        }
    }

    fn payload_of(&self, end: EndId) -> u64 {
        self.links[end.link].ends[end.side].payload
    }

    /// Payload counts against the limit, messages don't.
    fn charge(&mut self, end: EndId, limited: bool, payload: u64) {
        let one = &mut self.links[end.link].ends[end.side];
        let node = one.node;
        if !limited {
            return;
        }
        one.down.credit = one.down.credit.saturating_sub(payload as u32);
        let slack = LEFT_OF_GRANT * self.nodes[node].flows.len() as u64;
        let now = self.clock(node);
        self.nodes[node].received.pass(node, now, payload, slack);
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
                    one.payload += n as u64;
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
                            if let Message::Cancel(block) = message {
                                one.watch.hears_cancel(block, one.pulled.contains(&block));
                            }
                            self.tell(Some(node), || {
                                format!("connection {} hears {}", end.link, words(&message))
                            });
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
        let one = &mut self.links[end.link].ends[end.side];
        one.pending = bytes[at.min(bytes.len())..].to_vec();
        if !matches!(one.incoming, Incoming::Frame) {
            self.call(node, torrent, |s, now| s.heard(now, key));
        }
        Ok(())
    }

    fn block_came(&mut self, end: EndId, key: PeerKey) -> Result<(), PeerFault> {
        let (torrent, now) = (self.links[end.link].torrent, self.now);
        let one = &mut self.links[end.link].ends[end.side];
        let incoming = std::mem::replace(&mut one.incoming, Incoming::Frame);
        let Incoming::Block { block, buf } = incoming else { return Ok(()) };
        let node = one.node;
        one.watch.hears_block(block);
        // What is no block of the torrent, or comes of one that is to go, counts for nobody.
        let whole = self.content(torrent).layout.is_whole_block(block);
        let heard = self.nodes[node]
            .torrents
            .get_mut(&torrent)
            .filter(|entry| whole && entry.live.as_ref().is_some_and(|swarm| swarm.closing(key).is_none()));
        if let Some(entry) = heard {
            entry.received += u64::from(block.len);
            entry.first_block_at.get_or_insert(now);
            let one = &mut self.links[end.link].ends[end.side];
            one.received += u64::from(block.len);
            one.first_block_at.get_or_insert(now);
        }
        self.note(&[u64::from(block.piece.0), u64::from(block.offset), node as u64]);
        self.note_bad_block(end, block, &buf);
        self.tell(Some(node), || {
            format!("connection {} hears piece {}+{}", end.link, block.piece.0, block.offset)
        });
        let complete = self.call(node, torrent, |swarm, now| swarm.on_block(now, key, block, buf));
        if let Some(Some(complete)) = complete.transpose()? {
            self.start(node, torrent, Task::Store { piece: complete.piece, blocks: complete.blocks });
        }
        Ok(())
    }
}
