//! What kind of IP addresses there are, for all who judge what strangers say of addresses.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether anybody can be at an address: 0/8 is nobody, 240/4, which ends with the broadcast address, is not in use,
/// and a group is no host.
pub fn is_host(ip: IpAddr) -> bool {
    let reserved = match ip {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    !ip.is_unspecified() && !ip.is_multicast() && !reserved
}

/// The network that one party is likely to own as a whole: an IPv4 /24, an IPv6 /48. `None` for local ones.
pub fn subnet(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        ip if is_local(ip) => None,
        IpAddr::V4(v4) => Some(Ipv4Addr::from_bits(v4.to_bits() & !0xff).into()),
        IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 48)).into()),
    }
}

/// Whether an address is none of the public internet: private ones, loopback and link-local (also what BEP 42
/// exempts), shared ones of carriers (RFC 6598), benchmarks (RFC 2544).
pub fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || a == 100 && b & 0xc0 == 64
                || a == 198 && b & 0xfe == 18
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local(),
    }
}

/// How far from us an address leads, nearest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Public,
    Local,
    Loopback,
}

fn nearness(ip: IpAddr) -> Nearness {
    match ip.to_canonical() {
        ip if ip.is_loopback() => Nearness::Loopback,
        ip if is_local(ip) => Nearness::Local,
        _ => Nearness::Public,
    }
}

/// Whether whoever is at `teller` may have us connect to `named`: somebody in the Internet must not point us at
/// what listens in our own network, nor somebody there at what listens on this machine.
pub fn may_name(teller: IpAddr, named: IpAddr) -> bool {
    nearness(named) <= nearness(teller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_names_what_is_nearer_to_us_than_they_are() {
        let (public, local, own) =
            (["9.9.9.9", "2001:db8::1"], ["10.0.0.1", "fd00::1"], ["127.0.0.1", "::1"]);
        for (tellers, namable, not) in [
            (public, vec![public], vec![local, own]),
            (local, vec![public, local], vec![own]),
            (own, vec![public, local, own], vec![]),
        ] {
            for teller in tellers {
                let may = |named: &str| may_name(teller.parse().unwrap(), named.parse().unwrap());
                assert!(namable.iter().flatten().all(|named| may(named)), "{teller}");
                assert!(!not.iter().flatten().any(|named| may(named)), "{teller}");
            }
        }
        assert!(!may_name("9.9.9.9".parse().unwrap(), "::ffff:127.0.0.1".parse().unwrap()));
    }
}
