//! The token bucket of one limit: how much credit there is, and when it is worth waking for.
use std::time::Duration;

use wgo_proto::BLOCK_LEN;

use crate::{ByteRate, Time};

/// Credit is kept in billionths of a byte: rate in bytes/s times nanoseconds, with no remainder.
const UNITS: u128 = 1_000_000_000;

/// Every wake-up is a multiple of this since the beginning, so that all limits share their wake-ups and
/// there are at most a hundred a second.
const GRID: Duration = Duration::from_millis(10);

/// How often credit is handed out under a standing queue: the shortest of these that yields
/// [`TICK_BYTES`], so that low limits do not move a few bytes at a time. Each divides a second, so
/// whole seconds carry exactly the limit.
const TICKS_MS: [u64; 5] = [10, 20, 50, 100, 200];
const TICK_BYTES: u64 = 500;

/// Credit that may pile up beyond [`SPARE_BYTES`] while flows wait, to make up for late wake-ups:
/// time of rate. With the spare bytes it is the largest burst there can be.
const BURST: Duration = Duration::from_millis(100);
const SPARE_BYTES: u64 = 1024;

/// Credit that is left of a full bucket after a pause in which nobody waited: time of rate. It keeps
/// the average over the next ten seconds within 0.1 %.
const REST: Duration = Duration::from_millis(10);

/// Credit kept from torrents that are ahead while others that lag are between two requests.
const RESERVE: Duration = Duration::from_millis(10);

/// What torrents that come back from a pause may be owed, shared among them: time of rate.
const IDLE_SLACK: Duration = Duration::from_millis(40);

/// What a busy torrent may be owed: time of rate.
const BUSY_SLACK: Duration = Duration::from_millis(30);

/// What a torrent's beginning is put off at most, to be out of step with others: time of its share.
const STAGGER: Duration = Duration::from_millis(200);

/// Smallest turn of a flow.
const MIN_TURN: u64 = 1024;

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: u64,
    /// Derived from the rate.
    tick: Duration,
    /// Credit at `at`.
    level: u128,
    at: Time,
}

impl Bucket {
    /// Empty at `now`: a new limit begins without a burst.
    pub(super) fn new(now: Time, rate: ByteRate) -> Bucket {
        Bucket { rate: rate.0, tick: tick(rate.0), level: 0, at: now }
    }

    pub(super) fn rate(&self) -> ByteRate {
        ByteRate(self.rate)
    }

    /// Keeps the credit earned so far, up to what the new rate allows.
    pub(super) fn set_rate(&mut self, now: Time, rate: ByteRate, waiting: bool) {
        self.refill(now, waiting);
        self.rate = rate.0;
        self.tick = tick(rate.0);
        self.level = self.level.min(self.capacity());
    }

    /// Adds what was earned until `now`. `waiting` tells whether flows have been waiting for it.
    pub(super) fn refill(&mut self, now: Time, waiting: bool) {
        self.level = self.level.saturating_add(self.credit(now.since(self.at)));
        self.at = self.at.max(now);
        if self.level > self.capacity() {
            self.level = if waiting { self.capacity() } else { self.credit(REST) };
        }
    }

    /// Bytes that one flow which wants `want` may take now: zero, when there are too few to bother.
    pub(super) fn offer(&self, want: u32, ahead: bool) -> u32 {
        let reserve = if ahead { self.credit(RESERVE) } else { 0 };
        let bytes = whole_bytes(self.level.saturating_sub(reserve));
        let least = want.min(clamp_u32(whole_bytes(self.tick_credit()) / 4)).max(1);
        if bytes < u64::from(least) { 0 } else { want.min(clamp_u32(bytes)) }
    }

    /// Most that a flow gets in its turn while others wait.
    pub(super) fn turn(&self) -> u32 {
        clamp_u32((whole_bytes(self.tick_credit()) / 4).max(MIN_TURN))
    }

    /// Most that a flow gets at once when nobody else waits.
    pub(super) fn max_grant(&self) -> u32 {
        clamp_u32(ByteRate(self.rate).over(BURST).max(MIN_TURN))
    }

    /// How far a torrent may lag behind that comes back from a pause as one of `active`: little, so that
    /// many which come back together don't keep the others waiting.
    pub(super) fn idle_slack(&self, active: usize) -> u64 {
        ByteRate(self.rate).over(IDLE_SLACK) / active.max(1) as u64
    }

    /// How far a torrent may lag behind that asks again and again: more than what another can get
    /// ahead in one tick.
    pub(super) fn busy_slack(&self) -> u64 {
        ByteRate(self.rate).over(BUSY_SLACK)
    }

    /// By how much a torrent that begins as one of `active` is put off: `part` (of 2^32) of a block. Torrents
    /// that share a limit keep step, and were their blocks to end together, so would the requests that
    /// peers get for the next ones.
    pub(super) fn stagger(&self, part: u32, active: usize) -> u64 {
        let most = ByteRate(self.rate).over(STAGGER) / active.max(1) as u64;
        (most.min(u64::from(BLOCK_LEN)) * u64::from(part)) >> 32
    }

    /// One torrent's part of what is handed out at a time, when `active` ones share it.
    pub(super) fn tick_share(&self, active: usize) -> u64 {
        whole_bytes(self.tick_credit()) / active.max(1) as u64
    }

    pub(super) fn take(&mut self, bytes: u32) {
        self.level = self.level.saturating_sub(u128::from(bytes) * UNITS);
    }

    pub(super) fn give_back(&mut self, bytes: u32) {
        self.level = (self.level + u128::from(bytes) * UNITS).min(self.capacity());
    }

    /// The wake-up at which a tick's worth has come together; `None` at a rate of zero.
    pub(super) fn ready_at(&self, ahead: bool) -> Option<Time> {
        let reserve = if ahead { self.credit(RESERVE) } else { 0 };
        let missing = (self.tick_credit() + reserve).saturating_sub(self.level);
        if missing > 0 && self.rate == 0 {
            return None;
        }
        let nanos = missing.div_ceil(u128::from(self.rate.max(1)));
        Some(on_grid(self.at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))))
    }

    fn credit(&self, time: Duration) -> u128 {
        u128::from(self.rate).saturating_mul(time.as_nanos())
    }

    fn tick_credit(&self) -> u128 {
        self.credit(self.tick).max(UNITS)
    }

    fn capacity(&self) -> u128 {
        self.credit(BURST) + u128::from(SPARE_BYTES) * UNITS
    }
}

fn tick(rate: u64) -> Duration {
    let longest = TICKS_MS[TICKS_MS.len() - 1];
    let enough = |ms: &u64| u128::from(rate) * u128::from(*ms) >= u128::from(TICK_BYTES) * 1000;
    Duration::from_millis(TICKS_MS.into_iter().find(enough).unwrap_or(longest))
}

/// The first moment after `now` at which anybody is woken.
pub(super) fn next_wake(now: Time) -> Time {
    on_grid(now + Duration::from_nanos(1))
}

/// The first multiple of the grid that is not before `at`.
fn on_grid(at: Time) -> Time {
    let (nanos, grid) = (at.since_start().as_nanos(), GRID.as_nanos());
    let late = u64::try_from(nanos.div_ceil(grid) * grid - nanos).unwrap_or(0);
    at + Duration::from_nanos(late)
}

fn whole_bytes(credit: u128) -> u64 {
    u64::try_from(credit / UNITS).unwrap_or(u64::MAX)
}

fn clamp_u32(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
