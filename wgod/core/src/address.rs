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
