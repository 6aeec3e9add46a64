//! Peers that we have nothing to do with any more, by address.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::address::span;
use crate::Time;

/// Bans of one torrent; when there are more, the oldest is lifted. A ban costs some 100 bytes, and an
/// attacker with more networks than this has won anyway.
const MAX_BANS: usize = 2048;

/// Why an address is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reason {
    /// It alone sent the blocks of a piece that failed its hash.
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
}

/// By IPv4 address, or by IPv6 /64: whoever has one address of that has all of them.
#[derive(Debug, Default)]
pub(super) struct Bans {
    by_ip: BTreeMap<IpAddr, Ban>,
    oldest: BTreeSet<(Time, IpAddr)>,
}

impl Bans {
    pub(super) fn ban(&mut self, now: Time, ip: IpAddr, reason: Reason) {
        let key = network(ip);
        let times = self.lift(key).map_or(0, |ban| ban.times) + 1;
        if self.by_ip.len() >= MAX_BANS
            && let Some(&(_, oldest)) = self.oldest.first()
        {
            self.lift(oldest);
        }
        self.by_ip.insert(key, Ban { reason, times, at: now });
        self.oldest.insert((now, key));
    }

    pub(super) fn lift(&mut self, ip: IpAddr) -> Option<Ban> {
        let key = network(ip);
        let ban = self.by_ip.remove(&key)?;
        self.oldest.remove(&(ban.at, key));
        Some(ban)
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
        let by_age: BTreeSet<_> = self.by_ip.iter().map(|(&ip, ban)| (ban.at, ip)).collect();
        assert_eq!(by_age, self.oldest);
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
    use std::time::Duration;

    #[test]
    fn bans_count_cover_their_network_and_the_oldest_gives_way() {
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
