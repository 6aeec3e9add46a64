//! How far ahead we ask while a download limit holds.
//!
//! What was asked for and may not be read yet waits in socket buffers, moves in waves of their size,
//! and is held back from other peers. So the requests cover as little of the peer's rate as keeps data
//! waiting whenever the limit lets some in. That is found out by asking: the socket was empty while we
//! were allowed to read, so what we ask for is too little for this path.
use std::time::Duration;

use wgo_proto::BLOCK_LEN;

use super::pipeline::{MAX_WINDOW, MIN_WINDOW};
use crate::time::Time;
use crate::units::ByteRate;

/// Most of the peer's rate that requests cover under a download limit.
const DEEPEST: Duration = Duration::from_secs(2);
/// Fewest requests, unless that much of the rate is less: some on their way, some waiting to be read.
const FEWEST: u32 = 4;
/// How often the window is tried a little smaller, to follow a path that became shorter.
const EASES_EVERY: Duration = Duration::from_secs(10);
/// By one part in so many.
const EASES_BY: u32 = 8;

/// The window of one connection while a download limit holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacing {
    /// In requests.
    window: u32,
    /// Blocks that came since the window changed.
    blocks: u32,
    changed_at: Time,
}

impl Pacing {
    pub(super) fn new(now: Time) -> Pacing {
        Pacing { window: FEWEST, blocks: 0, changed_at: now }
    }

    pub(super) fn window(&self) -> u32 {
        self.window
    }

    pub(super) fn on_block(&mut self) {
        self.blocks = self.blocks.saturating_add(1);
    }

    /// Nothing was there to read though the whole window was asked for: doubles it, but not before what
    /// was done last can have had its effect. Whether it did.
    pub(super) fn on_dry(&mut self, now: Time) -> bool {
        let grows = self.blocks >= self.window / 2;
        if grows {
            *self = Pacing { window: (self.window * 2).min(MAX_WINDOW), blocks: 0, changed_at: now };
        }
        grows
    }

    /// Once a second: `rate` is what came lately.
    pub(super) fn on_second(&mut self, now: Time, rate: ByteRate) {
        let deepest = rate.over(DEEPEST) / u64::from(BLOCK_LEN);
        let most = u32::try_from(deepest).unwrap_or(MAX_WINDOW).clamp(MIN_WINDOW, MAX_WINDOW);
        let fewest = FEWEST.min(most);
        if now.since(self.changed_at) >= EASES_EVERY {
            *self = Pacing { window: self.window - self.window / EASES_BY, blocks: 0, changed_at: now };
        }
        self.window = self.window.clamp(fewest, most);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::pipeline::Pipeline;
    use super::*;
    use crate::status::RateMeter;
    use wgo_proto::{Block, PieceIndex};

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    fn blocks_come(pacing: &mut Pacing, count: u32) {
        (0..count).for_each(|_| pacing.on_block());
    }

    #[test]
    fn the_window_doubles_while_the_socket_runs_empty() {
        let mut pacing = Pacing::new(at(0));
        pacing.on_dry(at(0));
        assert_eq!(pacing.window(), FEWEST, "not before the answers came");
        for doubled in 1..=3 {
            let window = pacing.window();
            blocks_come(&mut pacing, window);
            pacing.on_dry(at(0));
            pacing.on_dry(at(0));
            assert_eq!(pacing.window(), FEWEST << doubled);
        }
        pacing.on_second(at(1), ByteRate(100 * 16_384));
        assert_eq!(pacing.window(), FEWEST << 3);
        pacing.on_second(at(1), ByteRate(10 * 16_384));
        assert_eq!(pacing.window(), 20, "two seconds");
        pacing.on_second(at(1), ByteRate(0));
        assert_eq!(pacing.window(), MIN_WINDOW);
    }

    #[test]
    fn a_window_that_is_not_needed_shrinks_within_minutes() {
        let mut pacing = Pacing::new(at(0));
        for _ in 0..6 {
            blocks_come(&mut pacing, 1000);
            pacing.on_dry(at(0));
        }
        let rate = ByteRate(100_000_000);
        pacing.on_second(at(9), rate);
        assert_eq!(pacing.window(), 256);
        pacing.on_second(at(10), rate);
        assert_eq!(pacing.window(), 224);
        for secs in 11..400 {
            pacing.on_second(at(secs), rate);
        }
        assert!(pacing.window() < 8, "{}", pacing.window());
    }

    /// A peer `rtt_ms` away under a limit: the blocks read in the last 20 of 60 s as a part of what the
    /// limit allowed, and the most requests outstanding meanwhile.
    fn under_a_limit(limit: u64, rtt_ms: u64) -> (f64, usize) {
        const STEP_MS: u64 = 10;
        let mut pipeline = Pipeline::new(at(0));
        pipeline.set_reqq(MAX_WINDOW);
        pipeline.on_second(at(0), ByteRate(0), true);
        let mut meter = RateMeter::default();
        let mut arriving: VecDeque<(u64, Block)> = VecDeque::new();
        let (mut credit, mut next, mut read, mut most) = (0, 0, 0, 0);
        for ms in (0..60_000).step_by(STEP_MS as usize) {
            let now = Time::from_start(Duration::from_millis(ms));
            credit = (credit + limit * STEP_MS / 1000).min(limit / 10 + u64::from(BLOCK_LEN));
            while let Some(&(_, block)) = arriving.front().filter(|(due, _)| *due <= ms)
                && credit >= u64::from(BLOCK_LEN)
            {
                credit -= u64::from(BLOCK_LEN);
                arriving.pop_front();
                assert!(pipeline.remove(block).is_some());
                pipeline.on_block(now);
                meter.add(now, u64::from(BLOCK_LEN));
                read += u64::from(ms >= 40_000);
            }
            if credit >= u64::from(BLOCK_LEN) {
                pipeline.on_dry(now);
            }
            if ms % 1000 == 0 {
                pipeline.on_second(now, meter.rate(now), true);
            }
            for _ in 0..pipeline.room() {
                pipeline.push(now, Block { piece: PieceIndex(next), offset: 0, len: BLOCK_LEN });
                next += 1;
            }
            pipeline.pull(|block| arriving.push_back((ms + rtt_ms, block)));
            most = if ms >= 40_000 { most.max(pipeline.len()) } else { 0 };
        }
        ((read * u64::from(BLOCK_LEN)) as f64 / (limit * 20) as f64, most)
    }

    #[test]
    fn a_limit_is_used_up_at_any_distance_with_few_requests() {
        for (limit, rtt_ms, most_requests) in [
            (2_000_000, 1, 16),
            (133_000, 1, 4),
            (133_000, 300, 16),
            (5_000_000, 100, 128),
            (1_000_000, 1000, 256),
            (100_000_000, 20, 1024),
        ] {
            let (used, most) = under_a_limit(limit, rtt_ms);
            assert!(used > 0.98, "{limit} B/s at {rtt_ms} ms: {used} used");
            assert!(most <= most_requests, "{limit} B/s at {rtt_ms} ms: {most} requests");
        }
    }
}
