//! What we have asked one peer for, and how much we keep asked for at once.
//!
//! The window starts small, grows by one with each block that arrives (slow start) and, once the
//! rate stops rising, follows the bandwidth-delay product: [`QUEUE_TIME`] times the measured rate. While
//! a download limit holds, `Pacing` sizes it instead.
use std::collections::VecDeque;
use std::time::Duration;

use wgo_proto::{BLOCK_LEN, Block};

use super::pacing::Pacing;
use crate::time::Time;
use crate::units::ByteRate;

/// Requests kept outstanding cover this much of the peer's rate: room for a slow disk or a long path.
pub const QUEUE_TIME: Duration = Duration::from_secs(3);
/// Fewest requests outstanding: one on the way while another is being answered.
pub const MIN_WINDOW: u32 = 2;
/// Most requests outstanding to one peer, 32 MiB.
pub const MAX_WINDOW: u32 = 2048;
/// Requests that a peer queues when it does not say (`reqq` of BEP 10).
pub const DEFAULT_REQQ: u32 = 250;
/// Window of a new connection.
const INITIAL_WINDOW: u32 = 4;
/// Requests are picked and sent when one part of the window in so many is free.
const BATCH: usize = 4;
/// The same under a download limit: what is asked for at once comes at once.
const PACED_BATCH: usize = 8;
/// Slow start ends when a second raised the rate by less than one part in this many.
const SLOW_START_GAIN: u64 = 8;

/// One request that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// What we asked for.
    pub block: Block,
    /// Whether the request has left (been pulled for sending).
    pub sent: bool,
}

/// The requests to one peer.
#[derive(Debug)]
pub struct Pipeline {
    /// In the order asked; answers mostly come in the same order.
    requests: VecDeque<Outstanding>,
    /// How many at the end of `requests` have not been pulled.
    unsent: usize,
    window: u32,
    reqq: u32,
    slow_start: bool,
    last_rate: ByteRate,
    /// A download limit holds.
    limited: bool,
    pacing: Pacing,
    /// When a block last arrived, or the first request after idleness was made.
    progress_at: Time,
    /// No block came for too long: one request at a time until one does.
    pub snubbed: bool,
}

impl Pipeline {
    /// A pipeline with nothing outstanding.
    pub fn new(now: Time) -> Pipeline {
        Pipeline {
            requests: VecDeque::new(),
            unsent: 0,
            window: INITIAL_WINDOW,
            reqq: DEFAULT_REQQ,
            slow_start: true,
            last_rate: ByteRate(0),
            limited: false,
            pacing: Pacing::new(now),
            progress_at: now,
            snubbed: false,
        }
    }

    /// Requests outstanding, sent or not.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether nothing is outstanding.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Requests that were not pulled yet.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// The present size of the window, in requests.
    pub fn window(&self) -> u32 {
        let window = if self.limited { self.pacing.window() } else { self.window };
        if self.snubbed { 1 } else { window.min(self.reqq).max(1) }
    }

    /// Sets how many requests the peer queues (`reqq`, BEP 10); at least 1.
    pub fn set_reqq(&mut self, reqq: u32) {
        self.reqq = reqq.clamp(1, MAX_WINDOW);
    }

    /// How many requests to add now: none while most of the window is full, so that requests are picked
    /// and sent by the batch.
    pub fn room(&self) -> usize {
        let window = self.window() as usize;
        let free = window.saturating_sub(self.requests.len());
        let batch = window / if self.limited { PACED_BATCH } else { BATCH };
        if free >= batch.max(1) { free } else { 0 }
    }

    /// When the last block came, or asking began.
    pub fn progress_at(&self) -> Time {
        self.progress_at
    }

    /// Restarts the clock of [`progress_at`](Self::progress_at), for time in which we did not read.
    pub fn excuse(&mut self, now: Time) {
        self.progress_at = now;
    }

    /// Adds a request, to be sent.
    pub fn push(&mut self, now: Time, block: Block) {
        if self.requests.is_empty() {
            self.progress_at = now;
        }
        self.requests.push_back(Outstanding { block, sent: false });
        self.unsent += 1;
    }

    /// Marks every request as sent and calls `send` with those that were not.
    pub fn pull(&mut self, mut send: impl FnMut(Block)) {
        let first = self.requests.len() - self.unsent;
        for request in self.requests.iter_mut().skip(first) {
            request.sent = true;
            send(request.block);
        }
        self.unsent = 0;
    }

    /// Takes a request out; `None` if it was not outstanding.
    pub fn remove(&mut self, block: Block) -> Option<Outstanding> {
        let at = self.requests.iter().position(|r| r.block == block)?;
        let found = self.requests.remove(at)?;
        self.unsent -= usize::from(!found.sent);
        Some(found)
    }

    /// A requested block arrived: grows the window in slow start.
    pub fn on_block(&mut self, now: Time) {
        self.progress_at = now;
        self.snubbed = false;
        self.pacing.on_block();
        if self.slow_start && !self.limited {
            self.window = (self.window + 1).min(MAX_WINDOW);
        }
    }

    /// Under a download limit: more might have been read, but nothing has come. Whether the window grew.
    pub fn on_dry(&mut self, now: Time) -> bool {
        let asked = self.requests.len() - self.unsent >= self.window() as usize / 2;
        self.limited && asked && self.pacing.on_dry(now)
    }

    /// Takes out everything.
    pub fn drain(&mut self) -> impl Iterator<Item = Outstanding> + '_ {
        self.unsent = 0;
        self.requests.drain(..)
    }

    /// Takes out everything for which `off` says so.
    pub fn drain_where(&mut self, off: impl Fn(Block) -> bool) -> Vec<Outstanding> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.requests.drain(..).partition(|request| off(request.block));
        self.requests.extend(kept);
        self.unsent = self.requests.iter().filter(|request| !request.sent).count();
        gone
    }

    /// Takes out everything but the oldest request.
    pub fn drain_but_first(&mut self) -> impl Iterator<Item = Outstanding> + '_ {
        let keep = self.requests.len().min(1);
        self.unsent = self.requests.iter().take(keep).filter(|r| !r.sent).count();
        self.requests.drain(keep..)
    }

    /// Every outstanding request.
    pub fn iter(&self) -> impl Iterator<Item = &Outstanding> {
        self.requests.iter()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.requests.capacity()
    }

    /// Gives spare memory back while nothing is outstanding.
    pub fn trim(&mut self) {
        if self.requests.is_empty() {
            self.requests = VecDeque::new();
        }
    }

    /// Once a second: leaves slow start when the rate no longer rises, then sizes the window by the
    /// measured rate. `limited`: a download limit holds.
    pub fn on_second(&mut self, now: Time, rate: ByteRate, limited: bool) {
        if limited {
            self.pacing.on_second(now, rate);
            // What the limit held down may rise when it is lifted.
            self.slow_start = true;
            self.window = self.pacing.window().max(INITIAL_WINDOW);
        } else if self.slow_start {
            let grown = rate.0.saturating_sub(self.last_rate.0);
            let full = self.requests.len() + 1 >= self.window() as usize / 2;
            if self.last_rate.0 > 0 && full && grown < self.last_rate.0 / SLOW_START_GAIN {
                self.slow_start = false;
            }
        }
        self.limited = limited;
        self.last_rate = rate;
        if !self.slow_start {
            let blocks = (rate.over(QUEUE_TIME) / u64::from(BLOCK_LEN)).min(u64::from(MAX_WINDOW)) as u32;
            self.window = blocks.clamp(MIN_WINDOW, MAX_WINDOW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_proto::PieceIndex;

    fn block(n: u32) -> Block {
        Block { piece: PieceIndex(0), offset: n * BLOCK_LEN, len: BLOCK_LEN }
    }

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn slow_start_grows_by_a_block_and_ends_when_the_rate_stands() {
        let mut p = Pipeline::new(at(0));
        p.set_reqq(5000);
        for n in 0..100 {
            p.push(at(0), block(n));
        }
        for n in 0..60 {
            assert!(p.remove(block(n)).is_some());
            p.on_block(at(0));
        }
        assert_eq!(p.window(), INITIAL_WINDOW + 60);
        p.on_second(at(1), ByteRate(1_000_000), false);
        p.on_second(at(1), ByteRate(1_000_000), false);
        assert_eq!(p.window(), 3_000_000 / BLOCK_LEN, "3 s of the rate");
        p.on_second(at(1), ByteRate(u64::MAX), false);
        assert_eq!(p.window(), MAX_WINDOW);
        p.on_second(at(1), ByteRate(1), false);
        assert_eq!(p.window(), MIN_WINDOW);
    }

    #[test]
    fn the_window_honours_reqq_and_a_snub() {
        let mut p = Pipeline::new(at(0));
        p.set_reqq(3);
        assert_eq!((p.window(), p.room()), (3, 3));
        p.snubbed = true;
        assert_eq!((p.window(), p.room()), (1, 1));
        p.push(at(1), block(0));
        assert_eq!(p.room(), 0);
        p.on_block(at(2));
        assert!(!p.snubbed);
    }

    #[test]
    fn pulling_sends_each_request_once_in_order() {
        let mut p = Pipeline::new(at(0));
        p.push(at(0), block(1));
        p.push(at(0), block(2));
        let mut sent = Vec::new();
        p.pull(|b| sent.push(b));
        p.push(at(0), block(3));
        p.push(at(0), block(4));
        assert!(p.remove(block(4)).is_some_and(|r| !r.sent));
        p.pull(|b| sent.push(b));
        assert_eq!(sent, [block(1), block(2), block(3)]);
        assert_eq!(p.drain_but_first().count(), 2);
        assert_eq!((p.len(), p.unsent()), (1, 0));
    }
}
