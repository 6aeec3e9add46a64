//! Peers that we have nothing to do with any more, by address.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::address::span;
use crate::Time;

/// Bans of one torrent; when there are more, the one that ends first is lifted. A ban costs some 100 bytes, and an
/// attacker with more networks than this has won anyway.
const MAX_BANS: usize = 2048;

/// How long the sender of wrong blocks stays away. Not for ever: addresses are handed on to others.
const FOR_POISON: Duration = Duration::from_secs(24 * 3600);
/// How long who broke the protocol does, the first time; twice as long each time, up to a day.
const FOR_FAULTS: Duration = Duration::from_secs(3600);
/// What the operator bans stays banned as long as the torrent runs.
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why an address is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reason {
    /// It sent wrong blocks of a piece.
    #[error("it sent bad pieces")]
    BadPiece,
    /// It alone sent metadata with another hash than the torrent's.
    #[error("it sent wrong metadata")]
    WrongMetadata,
    /// It breaks the protocol, not just once.
    #[error("it broke the protocol")]
    Protocol,
    /// The operator said so.
    #[error("the operator banned it")]
    Operator,
}

/// A banned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Why, the last time.
    pub reason: Reason,
    /// How often.
    pub times: u32,
    /// When, the last time.
    pub at: Time,
    /// When it ends.
    pub until: Time,
}

impl Reason {
    /// How long a ban for this lasts that is the address's `times`-th.
    fn lasts(self, times: u32) -> Duration {
        match self {
            Reason::BadPiece | Reason::WrongMetadata => FOR_POISON,
            Reason::Protocol => {
                FOR_FAULTS.saturating_mul(1 << times.saturating_sub(1).min(8)).min(FOR_POISON)
            }
            Reason::Operator => FOR_GOOD,
        }
    }
}

/// By IPv4 address, or by IPv6 /64: whoever has one address of that has all of them.
#[derive(Debug, Default)]
pub(super) struct Bans {
    by_ip: BTreeMap<IpAddr, Ban>,
    /// By their ends.
    ends: BTreeSet<(Time, IpAddr)>,
}

impl Bans {
    pub(super) fn ban(&mut self, now: Time, ip: IpAddr, reason: Reason) {
        let key = network(ip);
        let times = self.lift(key).map_or(0, |ban| ban.times) + 1;
        if self.by_ip.len() >= MAX_BANS
            && let Some(&(_, first)) = self.ends.first()
        {
            self.lift(first);
        }
        let until = now + reason.lasts(times);
        self.by_ip.insert(key, Ban { reason, times, at: now, until });
        self.ends.insert((until, key));
    }

    pub(super) fn lift(&mut self, ip: IpAddr) -> Option<Ban> {
        let key = network(ip);
        let ban = self.by_ip.remove(&key)?;
        self.ends.remove(&(ban.until, key));
        Some(ban)
    }

    /// Lifts bans that are over.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some((_, over)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.lift(over);
        }
    }

    pub(super) fn of(&self, ip: IpAddr) -> Option<Ban> {
        self.by_ip.get(&network(ip)).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, Ban)> {
        self.by_ip.iter().map(|(&ip, &ban)| (ip, ban))
    }

    pub(super) fn len(&self) -> usize {
        self.by_ip.len()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.by_ip.len() <= MAX_BANS);
        let ends: BTreeSet<_> = self.by_ip.iter().map(|(&ip, ban)| (ban.until, ip)).collect();
        assert_eq!(ends, self.ends);
        assert!(self.by_ip.keys().all(|&ip| ip == network(ip)));
    }
}

/// Every address that a ban of `ip` covers.
pub(super) fn covered(ip: IpAddr) -> std::ops::RangeInclusive<std::net::SocketAddr> {
    let first = network(ip);
    match first {
        IpAddr::V4(_) => span(first, first),
        IpAddr::V6(v6) => span(first, Ipv6Addr::from_bits(v6.to_bits() | u128::from(u64::MAX)).into()),
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn bans_end_and_who_does_it_again_stays_away_longer() {
        let (mut bans, hour) = (Bans::default(), Duration::from_secs(3600));
        let (a, b): (IpAddr, IpAddr) = ("1.1.1.1".parse().unwrap(), "2.2.2.2".parse().unwrap());
        bans.ban(Time::ZERO, a, Reason::Protocol);
        bans.ban(Time::ZERO, b, Reason::BadPiece);
        bans.expire(Time::from_start(hour - Duration::from_secs(1)));
        assert_eq!(bans.len(), 2);
        bans.ban(Time::from_start(hour / 2), a, Reason::Protocol);
        bans.expire(Time::from_start(hour * 2));
        assert_eq!(bans.of(a).map(|ban| ban.times), Some(2), "two hours this time");
        bans.expire(Time::from_start(hour * 24));
        assert_eq!(bans.len(), 0);
        bans.check_invariants();
    }

    #[test]
    fn bans_count_cover_their_network_and_the_one_that_ends_first_gives_way() {
        let mut bans = Bans::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        bans.ban(Time::ZERO, ip("2001:db8::1"), Reason::Protocol);
        bans.ban(Time::ZERO, ip("2001:db8::2"), Reason::BadPiece);
        let ban = bans.of(ip("2001:db8::ffff")).unwrap();
        assert_eq!((ban.times, ban.reason), (2, Reason::BadPiece));
        assert_eq!(bans.of(ip("2001:db8:0:1::1")), None);
        bans.ban(Time::ZERO, ip("::ffff:1.2.3.4"), Reason::Operator);
        assert!(bans.of(ip("1.2.3.4")).is_some());
        assert!(bans.lift(ip("1.2.3.4")).is_some());
        for n in 0..MAX_BANS as u32 {
            let at = Time::from_start(Duration::from_secs(1 + u64::from(n)));
            bans.ban(at, Ipv4Addr::from_bits(n).into(), Reason::BadPiece);
        }
        assert_eq!((bans.len(), bans.of(ip("2001:db8::1"))), (MAX_BANS, None));
        bans.check_invariants();
        assert!(covered(ip("2001:db8::9")).contains(&"[2001:db8::1]:80".parse().unwrap()));
        assert!(!covered(ip("2001:db8::9")).contains(&"[2001:db8:0:1::]:80".parse().unwrap()));
    }
}
