//! Compact peer info: an address and a port in 6 bytes for IPv4, 18 for IPv6, big-endian (BEP 5, 7,
//! 11, 15, 23).
//!
//! Called by the tracker and peer-exchange codecs.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which of the two forms a list of peers has. A list holds one only, so it isn't told per entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 6 bytes an entry.
    V4,
    /// 18 bytes an entry.
    V6,
}

impl Family {
    /// The form that `addr` has.
    pub fn of(addr: &SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of one entry.
    pub const fn entry_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

/// Appends one entry, 6 or 18 bytes by the address's family.
pub fn put(addr: &SocketAddr, out: &mut Vec<u8>) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(addr.port().to_be_bytes());
}

/// The whole entries of a list, in order; what is left of a truncated last one is ignored.
///
/// Nothing is filtered: a port may be 0, an address unspecified.
pub fn addrs(bytes: &[u8], family: Family) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(family.entry_len()).filter_map(|entry| {
        let (address, port) = entry.split_last_chunk::<2>()?;
        Some(SocketAddr::new(ip(address)?, u16::from_be_bytes(*port)))
    })
}

/// An address alone, 4 or 16 bytes; `None` for any other length (BEP 10, 24).
pub fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|four| Ipv4Addr::from(*four).into()),
        16 => bytes.first_chunk::<16>().map(|sixteen| Ipv6Addr::from(*sixteen).into()),
        _ => None,
    }
}

/// What [`ip`] reads.
pub fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_address_then_port_in_network_order() {
        let four: SocketAddr = "1.2.3.4:6881".parse().unwrap();
        let six: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
        let mut bytes = Vec::new();
        put(&four, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 0x1a, 0xe1]);
        bytes.clear();
        put(&six, &mut bytes);
        assert_eq!(bytes, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1]);
    }

    #[test]
    fn a_truncated_last_entry_is_ignored() {
        for extra in 0..6 {
            let bytes = [&[1, 2, 3, 4, 0, 80][..], &[9; 5][..extra.min(5)]].concat();
            assert_eq!(addrs(&bytes, Family::V4).count(), 1);
        }
        assert_eq!(addrs(&[1; 17], Family::V6).count(), 0);
    }

    proptest! {
        #[test]
        fn lists_and_addresses_round_trip(four: Vec<([u8; 4], u16)>, six: Vec<([u8; 16], u16)>) {
            let four: Vec<SocketAddr> = four.into_iter().map(SocketAddr::from).collect();
            let six: Vec<SocketAddr> = six.into_iter().map(SocketAddr::from).collect();
            for (list, family) in [(four, Family::V4), (six, Family::V6)] {
                let mut bytes = Vec::new();
                list.iter().for_each(|addr| put(addr, &mut bytes));
                prop_assert_eq!(bytes.len(), list.len() * family.entry_len());
                prop_assert!(list.iter().all(|addr| ip(&ip_bytes(addr.ip())) == Some(addr.ip())));
                prop_assert!(list.iter().all(|addr| Family::of(addr) == family));
                prop_assert_eq!(addrs(&bytes, family).collect::<Vec<_>>(), list);
            }
        }
    }
}
