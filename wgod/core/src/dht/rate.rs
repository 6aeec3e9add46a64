//! Limits on what comes in and what goes out, in packets and in bytes: for everybody together and for each
//! source.
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::address::Host;
use crate::Time;

/// So much in a second, and so much at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units in a second, in the long run.
    pub per_sec: u32,
    /// Units that may come together.
    pub burst: u32,
}

/// What a flow of packets may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Packets.
    pub packets: Rate,
    /// Bytes of them, without the headers of UDP and IP.
    pub bytes: Rate,
}

/// Slots that sources share by a seeded hash. Sources that fall together share one allowance, so 4096 strangers
/// that flood us cost others a little; and a table that forgot sources when it is full would let those in that
/// have many addresses. At most this many entries of 48 bytes.
const SLOTS: u64 = 4096;

/// Millionths of a unit: a low rate grows within a microsecond.
const SCALE: u64 = 1_000_000;

/// How far an allowance has been used up.
#[derive(Clone, Copy, Debug)]
struct Levels {
    packets: u64,
    bytes: u64,
    at: Time,
}

impl Levels {
    fn full(allowance: &Allowance, now: Time) -> Levels {
        Levels { packets: full(allowance.packets), bytes: full(allowance.bytes), at: now }
    }

    fn refill(&mut self, allowance: &Allowance, now: Time) {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let grown = |level: u64, rate: Rate| {
            level.saturating_add(micros.saturating_mul(u64::from(rate.per_sec))).min(full(rate))
        };
        self.packets = grown(self.packets, allowance.packets);
        self.bytes = grown(self.bytes, allowance.bytes);
        self.at = self.at.max(now);
    }

    fn holds(&self, bytes: usize) -> bool {
        self.packets >= SCALE && self.bytes >= scaled(bytes)
    }

    fn take(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_sub(SCALE);
        self.bytes = self.bytes.saturating_sub(scaled(bytes));
    }

    fn is_full(&self, allowance: &Allowance) -> bool {
        self.packets >= full(allowance.packets) && self.bytes >= full(allowance.bytes)
    }
}

fn full(rate: Rate) -> u64 {
    u64::from(rate.burst) * SCALE
}

fn scaled(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(SCALE)
}

/// One flow.
#[derive(Debug)]
pub(super) struct Meter {
    allowance: Allowance,
    levels: Levels,
}

impl Meter {
    pub(super) fn new(allowance: Allowance, now: Time) -> Meter {
        Meter { allowance, levels: Levels::full(&allowance, now) }
    }

    /// Whether a packet of so many bytes may pass; it isn't counted yet.
    pub(super) fn has(&mut self, now: Time, bytes: usize) -> bool {
        self.levels.refill(&self.allowance, now);
        self.levels.holds(bytes)
    }

    /// Counts a packet if it may pass.
    pub(super) fn admit(&mut self, now: Time, bytes: usize) -> bool {
        let admitted = self.has(now, bytes);
        if admitted {
            self.levels.take(bytes);
        }
        admitted
    }
}

/// A flow for each source.
#[derive(Debug)]
pub(super) struct Sources {
    allowance: Allowance,
    seed: u64,
    /// Those that have not recovered their full allowance, as of the last look; at most [`SLOTS`].
    used: BTreeMap<u64, Levels>,
}

impl Sources {
    pub(super) fn new(allowance: Allowance, seed: u64) -> Sources {
        Sources { allowance, seed, used: BTreeMap::new() }
    }

    /// Counts a packet of `host` if it may pass.
    pub(super) fn admit(&mut self, now: Time, host: Host) -> bool {
        let levels = self.levels(now, host);
        let admitted = levels.packets >= SCALE;
        levels.packets = levels.packets.saturating_sub(SCALE);
        admitted
    }

    /// Counts bytes for `host` if they may pass.
    pub(super) fn admit_bytes(&mut self, now: Time, host: Host, bytes: usize) -> bool {
        let levels = self.levels(now, host);
        let admitted = levels.bytes >= scaled(bytes);
        if admitted {
            levels.bytes -= scaled(bytes);
        }
        admitted
    }

    fn levels(&mut self, now: Time, host: Host) -> &mut Levels {
        let mut hasher = DefaultHasher::new();
        (self.seed, host).hash(&mut hasher);
        let slot = hasher.finish() % SLOTS;
        let levels = self.used.entry(slot).or_insert_with(|| Levels::full(&self.allowance, now));
        levels.refill(&self.allowance, now);
        levels
    }

    /// Forgets sources that have been quiet.
    pub(super) fn prune(&mut self, now: Time) {
        let allowance = self.allowance;
        self.used.retain(|_, levels| {
            levels.refill(&allowance, now);
            !levels.is_full(&allowance)
        });
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.used.len() as u64 <= SLOTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::address::host;
    use std::net::SocketAddr;
    use std::time::Duration;

    const SLOW: Allowance =
        Allowance { packets: Rate { per_sec: 2, burst: 4 }, bytes: Rate { per_sec: 1000, burst: 3000 } };

    fn ms(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_burst_passes_then_the_rate_in_packets_and_in_bytes() {
        let mut meter = Meter::new(SLOW, ms(0));
        assert_eq!((0..9).filter(|_| meter.admit(ms(0), 100)).count(), 4);
        assert_eq!((0..100).filter(|i| meter.admit(ms(i * 100), 100)).count(), 19);
        let mut meter = Meter::new(SLOW, ms(0));
        assert!(meter.admit(ms(0), 3000) && !meter.admit(ms(999), 1000) && meter.admit(ms(1000), 1000));
        assert!(!meter.admit(ms(1_000_000), 3001), "never more than the burst");
    }

    #[test]
    fn one_source_does_not_use_up_the_allowance_of_another() {
        let mut sources = Sources::new(SLOW, 7);
        let of = |n: u8| host(SocketAddr::from(([8, 8, 8, n], 1)));
        assert_eq!((0..100).filter(|_| sources.admit(ms(0), of(1))).count(), 4);
        assert!(sources.admit(ms(0), of(2)));
        assert!(sources.admit_bytes(ms(0), of(2), 2000) && !sources.admit_bytes(ms(0), of(2), 2000));
        assert!(sources.admit_bytes(ms(1000), of(2), 2000), "a second brings 1000 more");
    }

    #[test]
    fn a_hundred_thousand_sources_take_bounded_room_and_are_forgotten_when_quiet() {
        let mut sources = Sources::new(SLOW, 7);
        for n in 0..100_000u32 {
            sources.admit(ms(0), host(SocketAddr::from(((n + 0x0800_0000).to_be_bytes(), 1))));
        }
        sources.check_invariants();
        assert_eq!(sources.used.len() as u64, SLOTS);
        sources.prune(ms(10_000));
        assert!(sources.used.is_empty());
    }
}
