//! Network interfaces behind which there are neighbours.
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;
use wgo_core::address::is_local;

/// Interfaces that are used at most, those with IPv4 first. A machine with more has them for its containers.
const MAX_LINKS: usize = 32;

/// An interface that is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// Its number: another one if it was made anew.
    pub(super) index: u32,
    /// Its addresses, each with its network mask.
    pub(super) addresses: Vec<(IpAddr, IpAddr)>,
}

impl Link {
    /// Whether someone at `ip` may be a neighbour: in a network that the link has, or at an address that no
    /// stranger has.
    pub(super) fn may_have(&self, ip: IpAddr) -> bool {
        is_local(ip) || self.addresses.iter().any(|(own, mask)| is_within(ip, *own, *mask))
    }
}

fn is_within(ip: IpAddr, network: IpAddr, mask: IpAddr) -> bool {
    match (ip, network, mask) {
        (IpAddr::V4(ip), IpAddr::V4(network), IpAddr::V4(mask)) => ip & mask == network & mask,
        (IpAddr::V6(ip), IpAddr::V6(network), IpAddr::V6(mask)) => ip & mask == network & mask,
        _ => false,
    }
}

/// The interfaces that reach several others at once: neither loopback nor tunnels, whose other end is no
/// neighbour. Asks the kernel, which answers at once.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING | InterfaceFlags::IFF_MULTICAST;
    let unwanted = InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_POINTOPOINT;
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    for found in getifaddrs()? {
        let (Some(ip), Some(mask)) = (ip_of(found.address.as_ref()), ip_of(found.netmask.as_ref())) else {
            continue;
        };
        if found.flags.contains(wanted) && !found.flags.intersects(unwanted) {
            let link = links.entry(found.interface_name).or_default();
            link.addresses.push((ip, mask));
        }
    }
    let mut links: Vec<Link> = links
        .into_iter()
        // One that has gone meanwhile has no number.
        .filter_map(|(name, link)| Some(Link { index: if_nametoindex(&*name).ok()?, name, ..link }))
        .collect();
    links.sort_by_key(|link| (!link.addresses.iter().any(|(ip, _)| ip.is_ipv4()), link.index));
    links.truncate(MAX_LINKS);
    Ok(links)
}

fn ip_of(address: Option<&SockaddrStorage>) -> Option<IpAddr> {
    let address = address?;
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_private_addresses_or_those_of_the_link() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let link = Link {
            addresses: vec![
                (ip("203.0.113.5"), ip("255.255.255.128")),
                (ip("2001:db8:1::5"), ip("ffff:ffff:ffff:ffff::")),
            ],
            ..Link::default()
        };
        for (addr, expected) in [
            ("203.0.113.100", true),
            ("203.0.113.200", false),
            ("192.168.9.9", true),
            ("169.254.3.4", true),
            ("8.8.8.8", false),
            ("2001:db8:1::77", true),
            ("2001:db8:2::77", false),
            ("fe80::1", true),
            ("fd00::1", true),
        ] {
            assert_eq!(link.may_have(ip(addr)), expected, "{addr}");
        }
    }

    #[test]
    fn loopback_is_no_link() {
        assert!(links().expect("the kernel knows").iter().all(|link| link.name != "lo"));
    }
}
