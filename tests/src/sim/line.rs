//! Lines that are shared fairly: each connection of a node sends a bit in its turn, as packets of TCP connections
//! that are equally far do. A connection with little to say waits for one turn of the others, not for all that they
//! have in their sockets. What comes in waits for the receiver's line, in the order in which it came.
use std::collections::VecDeque;
use std::time::Duration;

use wgo_core::Time;

use crate::sim::link::{EndId, NodeId};
use crate::sim::world::{Event, World};

/// Bytes of a turn: some packets, so that there are not too many events.
const TURN: usize = 4096;

/// A node's line.
#[derive(Default)]
pub struct Line {
    /// Ends that have something to send, in the order of their turns; each once.
    turns: VecDeque<EndId>,
    /// Something is being sent.
    busy: bool,
    /// Until when what comes in keeps it busy.
    down_free: Time,
}

impl World {
    /// Bytes of an end are sent when its turns come.
    pub fn queue_on_line(&mut self, end: EndId, bytes: Vec<u8>) {
        let one = &mut self.links[end.link].ends[end.side];
        let (node, idle) = (one.node, one.waiting.is_empty());
        one.in_flight += bytes.len();
        one.waiting.push_back(bytes);
        let line = &mut self.nodes[node].line;
        if idle {
            line.turns.push_back(end);
        }
        if !line.busy {
            self.line_free(node);
        }
    }

    /// The next turn.
    pub fn line_free(&mut self, node: NodeId) {
        let line = &mut self.nodes[node].line;
        let Some(end) = line.turns.pop_front() else {
            line.busy = false;
            return;
        };
        line.busy = true;
        let link = &mut self.links[end.link];
        let one = &mut link.ends[end.side];
        let mut bytes = one.waiting.pop_front().unwrap_or_default();
        if bytes.len() > TURN {
            let rest = bytes.split_off(TURN);
            one.waiting.push_front(rest);
        }
        let sent = self.now + self.nodes[node].line_time(bytes.len());
        one.last_arrival = (sent + link.latency).max(one.last_arrival);
        let (at, more) = (one.last_arrival, !one.waiting.is_empty());
        if more {
            self.nodes[node].line.turns.push_back(end);
        }
        self.at(sent, Event::LineFree(node));
        self.at(at, Event::Reach(end.other(), bytes));
    }

    /// Bytes come to the receiver's line.
    pub fn reach_line(&mut self, end: EndId, bytes: Vec<u8>) {
        let (now, node) = (self.now, self.links[end.link].ends[end.side].node);
        let one = &mut self.nodes[node];
        let takes = match one.habits.line_down {
            Some(rate) => Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / rate),
            None => Duration::ZERO,
        };
        let at = one.line.down_free.max(now) + takes;
        if !takes.is_zero() {
            one.line.down_free = at;
        }
        self.links[end.link].ends[1 - end.side].pipe.push_back((at, bytes));
        self.at(at, Event::Arrive(end));
    }
}
