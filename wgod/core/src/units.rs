//! Identities and quantities of the engine.
use std::fmt;
use std::time::Duration;

/// The internal number of a torrent, never reused; info-hashes are indexes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentId(pub u64);

/// One connection of one torrent. Slots are reused, generations are not: a stale key matches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    /// Position in the Swarm's table of connections.
    pub slot: u32,
    /// How many connections had held the slot before.
    pub generation: u32,
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(pub u64);

impl ByteRate {
    /// Bytes that this rate moves in `time`, rounded down, saturating.
    pub fn over(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0) * time.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The rate at which `bytes` pass in `time`; zero for no time at all.
    pub fn of(bytes: u64, time: Duration) -> ByteRate {
        match u64::try_from(u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1)) {
            _ if time.is_zero() => ByteRate(0),
            Ok(rate) => ByteRate(rate),
            Err(_) => ByteRate(u64::MAX),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B/s", self.0)
    }
}
