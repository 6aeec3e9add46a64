//! What others say our address is (BEP 42, `ip`): believed when most of those who spoke last agree.
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::address::{is_local, is_plausible, subnet};

/// Votes that count; older ones are forgotten. Enough that a few liars among the nodes that we happen to ask
/// are outvoted, few enough that a new address is known within a lookup or two.
const RECENT: usize = 24;

/// Votes for the same address before the first is believed; more than half of all must be for it, too.
const QUORUM: usize = 5;

/// Votes for another address before that is believed. When it really changed all say so; liars who happen to be
/// most of those that we asked last would have us change our id, which fits no address then.
const CHANGE: usize = 18;

/// The last votes of one family.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// By network of the voter, the latest last; at most [`RECENT`], one for each network.
    recent: VecDeque<(IpAddr, IpAddr)>,
    /// What was believed last.
    elected: Option<IpAddr>,
}

impl Votes {
    /// The node at `from`, which has answered a question of ours, says that we are at `seen`. Returns the
    /// address that the majority sees. Local voters see a local address and don't count.
    pub(super) fn cast(&mut self, from: SocketAddr, seen: SocketAddr) -> Option<IpAddr> {
        let ip = seen.ip();
        let nowhere = !is_plausible(SocketAddr::new(ip, 1)) || is_local(ip) || ip.is_ipv4() != from.is_ipv4();
        let voter = subnet(from).filter(|_| !nowhere)?;
        self.recent.retain(|vote| vote.0 != voter);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((voter, ip));
        let count = self.recent.iter().filter(|vote| vote.1 == ip).count();
        let is_elected = match self.elected {
            Some(elected) if elected != ip => count >= CHANGE,
            _ => count >= QUORUM && count * 2 > self.recent.len(),
        };
        if is_elected {
            self.elected = Some(ip);
        }
        is_elected.then_some(ip)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.recent.len() <= RECENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(n: u8) -> SocketAddr {
        SocketAddr::from(([20, n, 1, 1], 6881))
    }

    fn seen(n: u8) -> SocketAddr {
        SocketAddr::from(([5, 5, 5, n], 1))
    }

    #[test]
    fn an_address_is_believed_when_most_see_it_and_changes_with_them() {
        let mut votes = Votes::default();
        assert!((0..4).all(|n| votes.cast(voter(n), seen(1)).is_none()));
        assert_eq!(votes.cast(voter(4), seen(1)), Some(seen(1).ip()));
        assert_eq!(votes.cast(voter(5), seen(2)), None, "a single liar");
        let liars = (10..50).filter(|n| votes.cast(voter(*n), seen(2 - n % 3 / 2)) == Some(seen(2).ip()));
        assert_eq!(liars.count(), 0, "two thirds are not enough to change it");
        let changed = (50..90).position(|n| votes.cast(voter(n), seen(3)).is_some());
        assert_eq!(changed, Some(CHANGE - 1));
    }

    #[test]
    fn one_network_has_one_vote_and_local_addresses_have_none() {
        let mut votes = Votes::default();
        for port in 1..100 {
            assert_eq!(votes.cast(SocketAddr::from(([20, 1, 1, port as u8], port)), seen(1)), None);
        }
        for n in 0..50 {
            assert_eq!(votes.cast(SocketAddr::from(([10, 0, 0, n], 1)), seen(1)), None);
            assert_eq!(votes.cast(voter(n), "192.168.1.7:1".parse().unwrap()), None);
            assert_eq!(votes.cast(voter(n), "[2001:470::1]:1".parse().unwrap()), None);
        }
        votes.check_invariants();
    }
}
