//! How near an address is: a server on the internet may not send wgoctl to one of this machine or its network,
//! whose services trust whoever can ask them.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How near an address is, the nearest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Everybody's.
    Internet,
    /// Reached only from a network that this machine is in.
    LocalNetwork,
    /// This machine itself.
    ThisMachine,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reach::Internet => "the internet",
            Reach::LocalNetwork => "the local network",
            Reach::ThisMachine => "this machine",
        })
    }
}

impl Reach {
    /// Where the address is, by its form (RFC 6890).
    pub(super) fn of(ip: IpAddr) -> Reach {
        match ip {
            IpAddr::V4(ip) => Reach::of_v4(ip),
            IpAddr::V6(ip) => Reach::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Reach {
        let [a, b, c, _] = ip.octets();
        match (a, b) {
            // To connect to 0.0.0.0 is to connect to oneself.
            (0 | 127, _) => Reach::ThisMachine,
            // Shared by a provider's customers (RFC 6598), for protocols (RFC 6890), for benchmarks (RFC 2544).
            (100, 64..=127) | (198, 18 | 19) => Reach::LocalNetwork,
            (192, 0) if c == 0 => Reach::LocalNetwork,
            (224.., _) => Reach::LocalNetwork,
            _ if ip.is_private() || ip.is_link_local() => Reach::LocalNetwork,
            _ => Reach::Internet,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Reach {
        if ip.is_loopback() || ip.is_unspecified() {
            return Reach::ThisMachine;
        }
        let v4 = |high: u16, low: u16| Reach::of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
        match ip.segments() {
            // IPv4 within: mapped, compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
            [0x2002, high, low, ..] => v4(high, low),
            // Unique local, link-local, site-local, multicast; NAT64 of a network's own (RFC 8215).
            [0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00.., ..] | [0x64, 0xff9b, 1, ..] => Reach::LocalNetwork,
            _ => Reach::Internet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_networks_and_machines_are_known_in_every_disguise() {
        for (reach, addresses) in [
            (Reach::ThisMachine, &["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"][..]),
            (Reach::ThisMachine, &["::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"]),
            (
                Reach::LocalNetwork,
                &["10.0.0.1", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"],
            ),
            (Reach::LocalNetwork, &["224.0.0.1", "255.255.255.255", "fe80::1", "fd00::1", "ff02::1"]),
            (Reach::LocalNetwork, &["::ffff:10.0.0.1", "64:ff9b::a00:1", "198.18.0.1", "192.0.0.8"]),
            (Reach::Internet, &["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.2.1", "2606:4700::1111"]),
            (Reach::Internet, &["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]),
        ] {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
        assert!(Reach::Internet < Reach::LocalNetwork && Reach::LocalNetwork < Reach::ThisMachine);
    }
}
