//! What the machine has of what we are bound to.
//!
//! A look is two steps: which interfaces and addresses there are (`getifaddrs`), and whether a socket can be bound
//! as all of ours will be. The second finds what the first can't: an IPv6 address that is still tested for being
//! unique, a kernel that doesn't let us.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use rustix::io::Errno;
use socket2::{Protocol, SockRef, Type};

use super::{Bounds, InterfaceName, socket};

/// An interface that sockets are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: Arc<str>,
    /// Another one is another interface, of whatever name: what was bound to the old one is dead.
    index: u32,
    /// By what others know us there: what came from another address is dead, too. Of IPv6 the network alone: hosts
    /// change the rest of their addresses by themselves, every day, and keep the old ones for their connections.
    seen_as: IpAddr,
}

/// A way out: from an address of ours, or from any of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) ip: IpAddr,
    /// The interface that it leads through, if sockets are to be bound to one; or what is missing.
    pub(super) way: Result<Option<Device>, Arc<str>>,
}

impl Path {
    /// What keeps it from being one.
    pub(super) fn missing(&self) -> Option<&str> {
        self.way.as_ref().err().map(|why| &**why)
    }
}

/// An interface as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    name: String,
    index: u32,
    up: bool,
    /// No packet goes out there: one that comes from its addresses leaves by others.
    inward: bool,
    ips: Vec<IpAddr>,
}

/// The ways that `bounds` leave, looked at now.
pub(super) fn paths(bounds: &Bounds) -> Vec<Path> {
    if bounds.is_free() {
        return judge(bounds, &[], None);
    }
    let (found, index) = match interfaces() {
        Ok(found) => (found, bounds.interface.as_ref().and_then(index_of)),
        Err(error) => {
            let why: Arc<str> = format!("the network interfaces can't be looked at: {error}").into();
            return wanted(bounds).into_iter().map(|ip| Path { ip, way: Err(why.clone()) }).collect();
        }
    };
    let mut paths = judge(bounds, &found, index);
    for path in &mut paths {
        if let Ok(device) = &path.way
            && let Err(error) = try_out(path.ip, device.as_ref())
        {
            path.way = Err(error.to_string().into());
        }
    }
    paths
}

/// Binds a socket to an interface.
pub(super) fn tie(socket: SockRef<'_>, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes())).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NODEV) => io::Error::new(io::ErrorKind::NetworkDown, missing(interface)),
        Some(Errno::PERM) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("wgod may not bind to interface {interface}: that takes Linux 5.7, or CAP_NET_RAW"),
        ),
        _ => io::Error::new(error.kind(), format!("can't be bound to interface {interface}: {error}")),
    })
}

/// Whether a socket can be bound so.
fn try_out(ip: IpAddr, device: Option<&Device>) -> io::Result<()> {
    let at = SocketAddr::new(ip, 0);
    let socket = socket(at, Type::DGRAM, Protocol::UDP)?;
    if let Some(device) = device {
        tie(SockRef::from(&socket), &device.name)?;
    }
    socket.bind(&at.into()).map_err(|error| {
        let why = match (Errno::from_io_error(&error), device) {
            (Some(Errno::ADDRNOTAVAIL), None) => format!("no interface has the address {ip}"),
            _ => format!("the address {ip} can't be used: {error}"),
        };
        io::Error::new(error.kind(), why)
    })
}

fn missing(interface: &str) -> String {
    format!("interface {interface} is missing")
}

/// Names that an interface has besides its first count as well.
fn index_of(name: &InterfaceName) -> Option<u32> {
    if_nametoindex(name.as_str()).ok()
}

/// The addresses that paths begin at.
fn wanted(bounds: &Bounds) -> Vec<IpAddr> {
    match bounds.ips.is_empty() {
        true => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        false => bounds.ips.clone(),
    }
}

/// What of `bounds` is there by what was `found`; `index` is that of the interface that they name.
fn judge(bounds: &Bounds, found: &[Found], index: Option<u32>) -> Vec<Path> {
    let way = |ip: IpAddr| match &bounds.interface {
        Some(name) => by_interface(name, found.iter().find(|found| Some(found.index) == index), ip),
        None if ip.is_unspecified() => Ok(None),
        None => by_address(found, ip),
    };
    wanted(bounds).into_iter().map(|ip| Path { ip, way: way(ip).map_err(Into::into) }).collect()
}

fn by_interface(name: &InterfaceName, found: Option<&Found>, ip: IpAddr) -> Result<Option<Device>, String> {
    let found = found.ok_or_else(|| missing(name.as_str()))?;
    if !found.up {
        return Err(format!("interface {name} is down"));
    }
    if !ip.is_unspecified() && !found.ips.contains(&ip) && !found.inward {
        return Err(format!("interface {name} does not have the address {ip}"));
    }
    // Without an address of its own there, Linux takes one of another interface.
    let seen_as = found.ips.iter().copied().find(|own| own.is_ipv4() == ip.is_ipv4() && !is_link_local(*own));
    let Some(seen_as) = seen_as else {
        if found.ips.iter().all(|own| is_link_local(*own)) {
            return Err(format!("interface {name} has no address"));
        }
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(format!("interface {name} has no {family} address"));
    };
    let seen_as = if ip.is_unspecified() { network(seen_as) } else { ip };
    Ok(Some(Device { name: name.as_str().into(), index: found.index, seen_as }))
}

fn by_address(found: &[Found], ip: IpAddr) -> Result<Option<Device>, String> {
    let owners = || found.iter().filter(|found| found.ips.contains(&ip));
    match owners().find(|found| found.up).or_else(|| owners().next()) {
        // It may still be ours: all of a network that `lo` has an address of is. Trying it out will tell.
        None => Ok(None),
        Some(owner) if owner.inward => Ok(None),
        Some(owner) if owner.up => {
            Ok(Some(Device { name: owner.name.as_str().into(), index: owner.index, seen_as: ip }))
        }
        Some(owner) => Err(format!("interface {}, which has the address {ip}, is down", owner.name)),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Of an IPv6 address what the network gave.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The machine's interfaces with their addresses.
fn interfaces() -> io::Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    for entry in getifaddrs()? {
        let name = entry.interface_name;
        let at = match all.iter().position(|found| found.name == name) {
            Some(at) => at,
            None => {
                let has = |flag| entry.flags.contains(flag);
                // As Linux makes those of kind "dummy", which addresses are put on that any interface may carry.
                let dummy = has(InterfaceFlags::IFF_BROADCAST) && has(InterfaceFlags::IFF_NOARP);
                let (up, inward) = (has(InterfaceFlags::IFF_UP), has(InterfaceFlags::IFF_LOOPBACK) || dummy);
                all.push(Found { name, index: 0, up, inward, ips: Vec::new() });
                all.len() - 1
            }
        };
        let (Some(address), Some(found)) = (entry.address, all.get_mut(at)) else { continue };
        if let Some(link) = address.as_link_addr() {
            found.index = link.ifindex() as u32;
        } else if let Some(v4) = address.as_sockaddr_in() {
            found.ips.push(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            found.ips.push(v6.ip().into());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn found(name: &str, index: u32, ips: &[&str]) -> Found {
        let ips = ips.iter().map(|text| ip(text)).collect();
        Found { name: name.to_owned(), index, up: true, inward: false, ips }
    }

    fn bounds(interface: &str, ips: &[&str]) -> Bounds {
        Bounds { interface: interface.parse().ok(), ips: ips.iter().map(|text| ip(text)).collect() }
    }

    /// Each way as text: the interface, its index and what we are seen as; or what is wrong.
    fn ways(bounds: &Bounds, found: &[Found]) -> Vec<String> {
        let named = bounds.interface.as_ref().map(InterfaceName::as_str);
        let index = found.iter().find(|found| Some(&*found.name) == named).map(|found| found.index);
        let text = |path: Path| match path.way {
            Ok(Some(device)) => format!("{} {} {}", device.name, device.index, device.seen_as),
            Ok(None) => "any".to_owned(),
            Err(why) => why.to_string(),
        };
        judge(bounds, found, index).into_iter().map(text).collect()
    }

    #[test]
    fn an_interface_counts_with_the_families_that_it_has_addresses_of() {
        let wg0 = bounds("wg0", &[]);
        assert_eq!(ways(&wg0, &[]), ["interface wg0 is missing", "interface wg0 is missing"]);
        let both = found("wg0", 7, &["fe80::1", "10.2.0.2", "2001:db8:0:1:a:b:c:d"]);
        let eth0 = found("eth0", 2, &["192.0.2.7"]);
        assert_eq!(ways(&wg0, &[eth0.clone(), both.clone()]), ["wg0 7 10.2.0.2", "wg0 7 2001:db8:0:1::"]);
        let down = Found { up: false, ..both };
        assert_eq!(ways(&wg0, &[eth0.clone(), down]), ["interface wg0 is down", "interface wg0 is down"]);
        let bare = found("wg0", 7, &["fe80::1", "169.254.3.4"]);
        assert_eq!(ways(&wg0, &[eth0.clone(), bare]), ["interface wg0 has no address"; 2]);
        let v4 = found("wg0", 7, &["fe80::1", "10.2.0.2"]);
        assert_eq!(ways(&wg0, &[eth0, v4]), ["wg0 7 10.2.0.2", "interface wg0 has no IPv6 address"]);
    }

    #[test]
    fn of_an_interface_only_the_named_addresses_are_used() {
        let all = [found("wg0", 7, &["10.2.0.2"]), found("eth0", 2, &["192.0.2.7"])];
        let named = bounds("wg0", &["10.2.0.2", "192.0.2.7", "::"]);
        let expected = [
            "wg0 7 10.2.0.2",
            "interface wg0 does not have the address 192.0.2.7",
            "interface wg0 has no IPv6 address",
        ];
        assert_eq!(ways(&named, &all), expected);
    }

    #[test]
    fn an_address_leads_through_the_interface_that_has_it() {
        let lo = Found { inward: true, ..found("lo", 1, &["127.0.0.1", "203.0.113.9"]) };
        let down = Found { up: false, ..found("tun0", 9, &["10.8.0.2"]) };
        let all = [lo, found("eth0", 2, &["192.0.2.7"]), down];
        let named = bounds("", &["192.0.2.7", "203.0.113.9", "10.8.0.2", "0.0.0.0", "198.51.100.1"]);
        let expected = [
            "eth0 2 192.0.2.7",
            "any",
            "interface tun0, which has the address 10.8.0.2, is down",
            "any",
            "any",
        ];
        assert_eq!(ways(&named, &all), expected);
    }

    #[test]
    fn the_machine_is_looked_at() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|found| found.name == "lo").expect("every Linux has it");
        assert!(lo.inward && lo.index > 0, "{lo:?}");
    }
}
