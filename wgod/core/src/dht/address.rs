//! Which addresses a node can have, and which of them are one and the same participant.
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::address::is_host;
pub(super) use crate::address::is_local;

/// What counts as one participant. On the internet that is an IPv4 address or an IPv6 /64, whatever the port:
/// whoever has one has all its ports and all addresses of such a network. Inside of a private network, where
/// tests and LANs have many nodes at one address, it is address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Host(IpAddr, u16);

/// The one form in which an address is compared: IPv4 mapped into IPv6 is IPv4; flow and scope don't count.
pub(super) fn normal(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether a node can be there at all.
pub(super) fn is_plausible(addr: SocketAddr) -> bool {
    addr.port() != 0 && is_host(addr.ip())
}

/// Whether `from` can know of a node at `addr`: from the internet nobody tells us what there is in our own
/// network, which such packets would otherwise have us probe.
pub(super) fn is_credible(addr: SocketAddr, from: SocketAddr) -> bool {
    is_plausible(addr) && (!is_local(addr.ip()) || is_local(from.ip()))
}

/// The participant at an address.
pub(super) fn host(addr: SocketAddr) -> Host {
    match addr.ip() {
        ip if is_local(ip) => Host(ip, addr.port()),
        ip @ IpAddr::V4(_) => Host(ip, 0),
        IpAddr::V6(v6) => Host(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 64)).into(), 0),
    }
}

/// As [`crate::address::subnet`].
pub(super) fn subnet(addr: SocketAddr) -> Option<IpAddr> {
    crate::address::subnet(addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_addresses_where_a_node_can_be_are_plausible_and_local_ones_are_believed_of_neighbours() {
        let (public, neighbour) = (at("8.8.8.8:1"), at("192.168.1.1:1"));
        for (addr, from_public, from_neighbour) in [
            ("1.2.3.4:6881", true, true),
            ("[2001:470::1]:6881", true, true),
            ("1.2.3.4:0", false, false),
            ("0.0.0.0:1", false, false),
            ("0.1.2.3:1", false, false),
            ("224.0.0.1:1", false, false),
            ("240.0.0.1:1", false, false),
            ("255.255.255.255:1", false, false),
            ("[::]:1", false, false),
            ("[ff02::1]:1", false, false),
            ("10.0.0.1:1", false, true),
            ("127.0.0.1:1", false, true),
            ("100.64.0.1:1", false, true),
            ("198.19.0.1:1", false, true),
            ("[fe80::1]:1", false, true),
            ("[fd00::1]:1", false, true),
            ("[::1]:1", false, true),
        ] {
            assert_eq!(is_credible(at(addr), public), from_public, "{addr}");
            assert_eq!(is_credible(at(addr), neighbour), from_neighbour, "{addr}");
        }
    }

    #[test]
    fn one_participant_has_one_host_and_one_owner_one_subnet() {
        for (a, b, same_host, same_subnet) in [
            ("1.2.3.4:1", "1.2.3.4:2", true, true),
            ("1.2.3.4:1", "1.2.3.5:1", false, true),
            ("1.2.3.4:1", "1.2.4.4:1", false, false),
            ("[2001:470:1:2::1]:1", "[2001:470:1:2:3::9]:7", true, true),
            ("[2001:470:1:2::1]:1", "[2001:470:1:3::1]:1", false, true),
            ("[2001:470:1:2::1]:1", "[2001:470:2:2::1]:1", false, false),
        ] {
            assert_eq!(host(at(a)) == host(at(b)), same_host, "{a} {b}");
            assert_eq!(subnet(at(a)) == subnet(at(b)), same_subnet, "{a} {b}");
        }
        assert_ne!(host(at("127.0.0.1:1")), host(at("127.0.0.1:2")), "a test's nodes");
        assert_eq!(subnet(at("10.0.0.1:1")), None);
        assert_eq!(normal(at("[::ffff:1.2.3.4]:5")), at("1.2.3.4:5"));
    }
}
