//! Which addresses may be dialled at all.
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::Source;
use crate::address::is_host;

/// The one form in which an address is compared: an IPv4 address mapped into IPv6 is the IPv4 address,
/// and the flow label is no part of it.
pub(super) fn normal(addr: SocketAddr) -> SocketAddr {
    match (addr, addr.ip().to_canonical()) {
        (_, ip @ IpAddr::V4(_)) => SocketAddr::new(ip, addr.port()),
        (SocketAddr::V6(v6), _) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        (v4, _) => v4,
    }
}

/// Whether a peer can be there. Loopback addresses are none of a stranger's business: a PEX message or
/// a DHT node could point us at services of our own machine, so from these sources they count only
/// where we listen on loopback ourselves.
pub(super) fn is_plausible(addr: SocketAddr, source: Source, loopback: bool) -> bool {
    let hearsay = matches!(source, Source::Pex | Source::Dht);
    addr.port() != 0 && is_host(addr.ip()) && (!addr.ip().is_loopback() || !hearsay || loopback)
}

/// All addresses of one IP address, as a range of the order of `SocketAddr`.
pub(super) fn ports_of(ip: IpAddr) -> std::ops::RangeInclusive<SocketAddr> {
    span(ip, ip)
}

/// All addresses from `first` to `last`, of one family.
pub(super) fn span(first: IpAddr, last: IpAddr) -> std::ops::RangeInclusive<SocketAddr> {
    let last = match last {
        IpAddr::V4(_) => SocketAddr::new(last, u16::MAX),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, u16::MAX, u32::MAX, u32::MAX).into(),
    };
    SocketAddr::new(first, 0)..=last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_where_a_peer_can_be_are_plausible() {
        for (addr, tracker, pex) in [
            ("1.2.3.4:6881", true, true),
            ("10.0.0.7:1", true, true),
            ("[2001:db8::1]:6881", true, true),
            ("1.2.3.4:0", false, false),
            ("0.0.0.0:6881", false, false),
            ("0.1.2.3:6881", false, false),
            ("255.255.255.255:6881", false, false),
            ("240.0.0.1:6881", false, false),
            ("224.0.0.9:6881", false, false),
            ("[::]:6881", false, false),
            ("[ff02::1]:6881", false, false),
            ("127.0.0.1:6881", true, false),
            ("[::1]:6881", true, false),
        ] {
            let addr = addr.parse().unwrap();
            assert_eq!(is_plausible(addr, Source::Tracker, false), tracker, "{addr}");
            assert_eq!(is_plausible(addr, Source::Pex, false), pex, "{addr}");
            assert_eq!(is_plausible(addr, Source::Pex, true), tracker, "{addr}");
        }
    }

    #[test]
    fn one_peer_has_one_normal_address() {
        let v4: SocketAddr = "1.2.3.4:5".parse().unwrap();
        assert_eq!(normal("[::ffff:1.2.3.4]:5".parse().unwrap()), v4);
        assert_eq!(normal(v4), v4);
        let flow = SocketAddrV6::new("fe80::1".parse().unwrap(), 5, 77, 3);
        assert_eq!(normal(flow.into()), SocketAddrV6::new(*flow.ip(), 5, 0, 3).into());
    }

    #[test]
    fn ports_of_an_address_hold_all_its_ports_and_no_other_address() {
        let range = ports_of("fe80::1".parse().unwrap());
        assert!(range.contains(&SocketAddrV6::new("fe80::1".parse().unwrap(), 65535, 0, 9).into()));
        assert!(!range.contains(&"[fe80::2]:1".parse().unwrap()));
        assert!(!ports_of("1.2.3.4".parse().unwrap()).contains(&"1.2.3.5:0".parse().unwrap()));
    }
}
