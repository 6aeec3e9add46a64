//! Our addresses as others see them, by vote: of trackers (BEP 24), of the gateway that maps our port, of DHT nodes
//! (BEP 42) and of peers (BEP 10, `yourip`).
//!
//! Whoever is asked may lie or be wrong, so each voter has one vote in each family, the last one that it gave,
//! and only so many votes count. The shell keeps one [`External`] for the daemon.
use std::collections::VecDeque;
use std::net::IpAddr;

use crate::address::{is_host, is_local, subnet};

/// Votes that are kept of each family; when there are more, the oldest goes. Enough that one who has a few
/// addresses is outvoted, few enough that a new address of ours is believed after an hour of announces.
const MAX_VOTES: usize = 24;

/// Peers that must say the same before it counts without anybody else who does: the operator chose the trackers, and
/// peers choose us.
const FEWEST_PEERS: usize = 3;

/// Who may say what our address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voter {
    /// The tracker at this address.
    Tracker(IpAddr),
    /// A peer at this address. Those of one network are one voter: whoever has one address of it may have all.
    Peer(IpAddr),
    /// Nodes of the DHT, most of which agree (BEP 42).
    Dht,
    /// The gateway that maps our port, which knows its own address.
    Gateway,
}

impl Voter {
    /// The form in which voters are told apart.
    fn identity(self) -> Voter {
        match self {
            Voter::Tracker(_) | Voter::Dht | Voter::Gateway => self,
            Voter::Peer(ip) => {
                let ip = ip.to_canonical();
                Voter::Peer(subnet(ip).unwrap_or(ip))
            }
        }
    }
}

/// What was said of our addresses.
#[derive(Clone, Debug, Default)]
pub struct External {
    v4: Votes,
    v6: Votes,
    set: Option<IpAddr>,
}

/// The votes on one family's address.
#[derive(Clone, Debug, Default)]
struct Votes {
    /// Oldest first, one of each voter, at most [`MAX_VOTES`].
    cast: VecDeque<(Voter, IpAddr)>,
    /// Who has won. Another one needs more votes than this has, not as many: else two voters who disagree would have
    /// us announce anew, and rank all peers, with each word that they say.
    elected: Option<IpAddr>,
}

impl External {
    /// `voter` says that we are at `ip`. What can't be the address of somebody in the Internet doesn't count.
    pub fn vote(&mut self, voter: Voter, ip: IpAddr) {
        let (voter, ip) = (voter.identity(), ip.to_canonical());
        if is_host(ip) && !is_local(ip) {
            self.votes_mut(ip.is_ipv4()).add(voter, ip);
        }
    }

    /// The operator says that we are at `ip`, whatever others say; `None` leaves it to them.
    pub fn set(&mut self, ip: Option<IpAddr>) {
        self.set = ip.map(|ip| ip.to_canonical());
    }

    /// We are somewhere else in the network: what others saw of us there counts no more.
    pub fn forget(&mut self) {
        (self.v4, self.v6) = Default::default();
    }

    /// What the operator says.
    pub fn chosen(&self) -> Option<IpAddr> {
        self.set
    }

    /// Our addresses, IPv4 before IPv6, as far as anybody said so.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [(true, &self.v4), (false, &self.v6)]
            .into_iter()
            .filter_map(|(v4, votes)| self.set.filter(|ip| ip.is_ipv4() == v4).or(votes.elected))
    }

    fn votes_mut(&mut self, v4: bool) -> &mut Votes {
        if v4 { &mut self.v4 } else { &mut self.v6 }
    }
}

impl Votes {
    fn add(&mut self, voter: Voter, ip: IpAddr) {
        self.cast.retain(|(other, _)| *other != voter);
        if self.cast.len() >= MAX_VOTES {
            self.cast.pop_front();
        }
        self.cast.push_back((voter, ip));
        self.elected = self.winner();
    }

    /// The address with most votes; of equals the one that has won before, else the one that was named last.
    fn winner(&self) -> Option<IpAddr> {
        let by = |ip: IpAddr| self.cast.iter().filter(move |(_, other)| *other == ip).map(|(voter, _)| voter);
        let counts = |ip: &IpAddr| {
            by(*ip).count() >= FEWEST_PEERS || by(*ip).any(|voter| !matches!(voter, Voter::Peer(_)))
        };
        let named = self.cast.iter().map(|&(_, ip)| ip).filter(counts);
        named.max_by_key(|&ip| (by(ip).count(), Some(ip) == self.elected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn tracker(n: u8) -> Voter {
        Voter::Tracker(IpAddr::from([198, 51, 100, n]))
    }

    fn seen(external: &External) -> Vec<IpAddr> {
        external.addresses().collect()
    }

    #[test]
    fn the_most_win_and_nobody_votes_twice() {
        let mut external = External::default();
        assert!(seen(&external).is_empty());
        for n in 1..=3 {
            external.vote(tracker(n), ip("203.0.113.1"));
        }
        (0..50).for_each(|_| external.vote(tracker(9), ip("203.0.113.66")));
        assert_eq!(seen(&external), [ip("203.0.113.1")]);
        external.vote(tracker(9), ip("2001:db8::1"));
        assert_eq!(seen(&external), [ip("203.0.113.1"), ip("2001:db8::1")]);
        // Whoever changes his mind has one vote still.
        external.vote(tracker(1), ip("203.0.113.66"));
        assert_eq!(seen(&external)[0], ip("203.0.113.1"), "two against two: nothing changes");
        external.vote(tracker(2), ip("203.0.113.66"));
        assert_eq!(seen(&external)[0], ip("203.0.113.66"), "three against one");
    }

    #[test]
    fn two_who_disagree_change_nothing_whatever_they_repeat() {
        let mut external = External::default();
        external.vote(tracker(1), ip("203.0.113.1"));
        for _ in 0..3 {
            external.vote(tracker(2), ip("203.0.113.2"));
            assert_eq!(seen(&external), [ip("203.0.113.1")]);
            external.vote(tracker(1), ip("203.0.113.1"));
            assert_eq!(seen(&external), [ip("203.0.113.1")]);
        }
        // Nobody says so any more.
        external.vote(tracker(1), ip("203.0.113.3"));
        assert_eq!(seen(&external), [ip("203.0.113.3")]);
    }

    #[test]
    fn elsewhere_in_the_network_only_the_operators_word_is_left() {
        let mut external = External::default();
        (1..=9).for_each(|n| external.vote(tracker(n), ip("203.0.113.1")));
        external.vote(tracker(1), ip("2001:db8::1"));
        external.set(Some(ip("10.1.2.3")));
        external.forget();
        assert_eq!(seen(&external), [ip("10.1.2.3")]);
        external.set(None);
        external.vote(tracker(1), ip("203.0.113.2"));
        assert_eq!(seen(&external), [ip("203.0.113.2")]);
    }

    #[test]
    fn a_new_address_of_ours_is_believed_in_time_and_votes_are_bounded() {
        let mut external = External::default();
        for n in 0..200 {
            external.vote(tracker(n), ip("203.0.113.1"));
        }
        assert_eq!(external.v4.cast.len(), MAX_VOTES);
        for n in 0..=(MAX_VOTES / 2) as u8 {
            external.vote(tracker(200 + n), ip("203.0.113.2"));
        }
        assert_eq!(seen(&external), [ip("203.0.113.2")]);
    }

    #[test]
    fn peers_are_believed_when_several_networks_say_the_same() {
        let mut external = External::default();
        let peer = |text: &str| Voter::Peer(ip(text));
        let ours = ip("203.0.113.1");
        for voter in ["81.0.0.1", "81.0.0.2", "81.0.0.250", "82.0.0.1", "::ffff:82.0.0.9"] {
            external.vote(peer(voter), ours);
            assert!(seen(&external).is_empty(), "two networks");
        }
        external.vote(peer("83.0.0.1"), ours);
        assert_eq!(seen(&external), [ours]);
        // Of one private network each is somebody else.
        let mut external = External::default();
        (1..=3).for_each(|n| external.vote(Voter::Peer(IpAddr::from([10, 0, 0, n])), ours));
        assert_eq!(seen(&external), [ours]);
    }

    #[test]
    fn a_tracker_is_believed_before_a_few_peers() {
        let mut external = External::default();
        (1..=2).for_each(|n| external.vote(Voter::Peer(IpAddr::from([81, n, 0, 1])), ip("203.0.113.66")));
        external.vote(tracker(1), ip("203.0.113.1"));
        assert_eq!(seen(&external), [ip("203.0.113.1")]);
    }

    #[test]
    fn what_is_no_address_in_the_internet_does_not_count() {
        let mut external = External::default();
        for no in [
            "10.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "240.0.0.1",
        ] {
            external.vote(tracker(1), ip(no));
        }
        for no in ["::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:192.168.0.1", "198.18.0.1"] {
            external.vote(tracker(1), ip(no));
        }
        assert!(seen(&external).is_empty());
        external.vote(tracker(1), ip("::ffff:203.0.113.1"));
        assert_eq!(seen(&external), [ip("203.0.113.1")]);
    }

    #[test]
    fn the_operator_outvotes_everybody_in_one_family() {
        let mut external = External::default();
        external.vote(tracker(1), ip("203.0.113.1"));
        external.vote(tracker(1), ip("2001:db8:1::1"));
        external.set(Some(ip("10.1.2.3")));
        external.vote(tracker(2), ip("203.0.113.1"));
        assert_eq!(seen(&external), [ip("10.1.2.3"), ip("2001:db8:1::1")]);
        external.set(None);
        assert_eq!(seen(&external), [ip("203.0.113.1"), ip("2001:db8:1::1")]);
    }
}
