//! What the network does to streams. Bytes of a TCP connection are neither lost nor reordered for those who
//! read them: what happens below shows as delay of all that is behind, stalls while something is sent again,
//! less throughput for a while, or the end of the connection.
use std::time::Duration;

use wgo_core::{Time, TorrentId};

use crate::sim::link::{EndId, NodeId};
use crate::sim::world::{Event, World};

/// The weather over the whole world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Each packet takes up to so much longer.
    pub jitter: Duration,
    /// Of so many sendings one meets a spike of latency; 0: none.
    pub spike_one_in: u32,
    /// The longest of those.
    pub spike: Duration,
    /// Packets of a million that are lost, and sent again after a time-out; the throughput collapses and recovers.
    pub loss: u32,
    /// Dials of a hundred that are refused although somebody is there.
    pub refused: u32,
    /// Dials of a hundred that are never answered.
    pub dials_lost: u32,
}

/// Bytes of a packet.
const PACKET: usize = 1448;
/// Linux sends again after this at the least.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// After a loss the window is half of what it was, and grows again: for so long each byte takes longer.
const RECOVERY: Duration = Duration::from_secs(2);
/// Bytes per second while it recovers.
const RECOVERING: u64 = 100_000;

/// What a connection suffers, from one end to the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rough {
    /// Nothing arrives before then.
    pub stalled_until: Time,
    /// It recovers from a loss until then.
    pub slow_until: Time,
}

impl World {
    /// Time that the weather adds to what is sent now.
    pub fn weather_delay(&mut self, end: EndId, bytes: usize) -> Duration {
        let weather = self.weather;
        if weather == Weather::default() {
            return Duration::ZERO;
        }
        let mut delay = Duration::ZERO;
        if !weather.jitter.is_zero() {
            delay += weather.jitter.mul_f64(self.rng.f64());
        }
        if weather.spike_one_in > 0 && self.rng.u32(..weather.spike_one_in) == 0 {
            delay += weather.spike.mul_f64(self.rng.f64());
        }
        let packets = bytes.div_ceil(PACKET) as u32;
        let chance = u64::from(weather.loss) * u64::from(packets);
        let latency = self.links[end.link].latency;
        let mut again = RETRANSMIT.max(latency * 2);
        // What is sent again may be lost again, after twice the time.
        while chance > 0 && self.rng.u64(..1_000_000) < chance {
            delay += again;
            again *= 2;
            self.links[end.link].ends[end.side].rough.slow_until = self.now + RECOVERY;
            if delay > Duration::from_secs(60) {
                break;
            }
        }
        if self.links[end.link].ends[end.side].rough.slow_until > self.now {
            delay += Duration::from_nanos(bytes as u64 * 1_000_000_000 / RECOVERING);
        }
        delay
    }

    /// Whether nothing passes between two nodes.
    pub fn parted(&self, one: NodeId, other: NodeId) -> bool {
        self.nodes[one].part != self.nodes[other].part
    }

    /// Divides the nodes: those whose bit of `side` is set see the others no more.
    pub fn part(&mut self, side: u64) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            node.part = (side >> (number % 64)) & 1 == 1;
        }
        self.tell(None, || format!("partition {side:#x}"));
    }

    /// All see each other again. What was under way is sent again, when its time comes.
    pub fn heal(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.part = false);
        for link in self.live_links.clone() {
            for side in 0..2 {
                let wait = self.millis(1, 3000);
                self.after(wait, Event::Arrive(EndId { link, side }));
            }
        }
        self.tell(None, || "the partition is healed".to_owned());
    }

    /// Some living connection.
    pub fn any_link(&mut self) -> Option<usize> {
        let count = self.live_links.len();
        (count > 0).then(|| self.rng.usize(..count)).and_then(|at| self.live_links.iter().nth(at).copied())
    }

    /// For so long nothing passes one way over some connection.
    pub fn stall(&mut self, time: Duration) {
        let Some(link) = self.any_link() else { return };
        let side = self.rng.usize(..2);
        self.links[link].ends[side].rough.stalled_until = self.now + time;
        self.tell(None, || format!("connection {link} stalls one way for {time:?}"));
    }

    /// Some connection is reset: a part of what is under way still arrives, the rest is lost.
    pub fn reset(&mut self) {
        let Some(link) = self.any_link() else { return };
        for side in 0..2 {
            let pipe = &mut self.links[link].ends[side].pipe;
            let first = pipe.front().map_or(0, |(_, bytes)| bytes.len());
            let kept = if first > 0 { self.rng.usize(..=first) } else { 0 };
            let pipe = &mut self.links[link].ends[side].pipe;
            pipe.truncate(1);
            if let Some((_, bytes)) = pipe.front_mut() {
                bytes.truncate(kept);
            }
            self.deliver(EndId { link, side: 1 - side }, true);
        }
        self.tell(None, || format!("connection {link} is reset"));
        self.cut(link);
    }

    /// Some connection dies, and one end never hears of it.
    pub fn half_open(&mut self) {
        let Some(link) = self.any_link() else { return };
        let deaf = self.rng.usize(..2);
        self.links[link].deaf[deaf] = true;
        self.tell(None, || format!("connection {link} dies and end {deaf} doesn't hear of it"));
        self.cut(link);
    }

    /// A machine is suspended for so long. Its clock stands still; when it wakes it jumps, or goes on.
    pub fn suspend(&mut self, node: NodeId, time: Duration, jumps: bool) {
        if self.is_frozen(node) {
            return;
        }
        // No event falls on this moment by chance: what waited stays in order.
        let until = self.now + time + Duration::from_nanos(1);
        self.nodes[node].frozen_until = Some(until);
        if !jumps {
            self.nodes[node].stood_since = Some(self.now);
        }
        self.at(until, Event::Thaw(node));
        self.tell(Some(node), || format!("suspended for {time:?}, jumps {jumps}"));
    }

    /// A machine wakes.
    pub fn thaw(&mut self, node: NodeId) {
        let now = self.now;
        let one = &mut self.nodes[node];
        one.frozen_until = None;
        // It made no checkpoint meanwhile.
        one.keeping.troubled = Some(now);
        if let Some(since) = one.stood_since.take() {
            one.clock.stand_still(since, now);
        }
        self.rearm(node);
        self.doubt_answers(node);
        self.tell(Some(node), || "awake".to_owned());
    }

    /// A clock jumps forwards.
    pub fn jump(&mut self, node: NodeId, by: Duration) {
        if !self.is_frozen(node) {
            self.nodes[node].clock.jump(by);
            self.rearm(node);
            self.doubt_answers(node);
            self.tell(Some(node), || format!("the clock jumps by {by:?}"));
        }
    }

    pub fn is_frozen(&self, node: NodeId) -> bool {
        self.nodes[node].frozen_until.is_some_and(|until| self.now < until)
    }

    /// All timers of a node, by its clock as it is now.
    fn rearm(&mut self, node: NodeId) {
        self.waits.retain(|(of, _), _| *of != node);
        let one = &self.nodes[node];
        let mut timers = Vec::new();
        timers.extend(one.session_timer.map(|at| (at, Event::SessionTimer(node, at))));
        timers.extend(one.limiter_timer.map(|at| (at, Event::LimiterTimer(node, at))));
        let swarms = one.torrents.iter().filter_map(|(id, entry)| Some((*id, entry.timer?)));
        timers.extend(swarms.map(|(id, at): (TorrentId, Time)| (at, Event::SwarmTimer(node, id, at))));
        for (at, event) in timers {
            let when = self.nodes[node].clock.when(at);
            self.at(when, event);
        }
    }
}
