//! The way out: our address towards the network outside, and the gateway that it leads through.
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wgo_core::address::{is_host, is_local};
use wgo_core::portmap::Link;

use crate::outlet::Outlet;

/// The kernel's table of routes, the most general ones first. Under `self`, since units hide the rest of /proc.
const TABLE: &str = "/proc/self/net/route";
/// Bytes of it that are read: those of a router with a million routes change nothing.
const MAX_TABLE: u64 = 64 * 1024;
/// Somebody outside (RFC 5737). Nothing is sent there.
const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// Flags of a route (`linux/route.h`).
const UP: u32 = 1;
const GATEWAY: u32 = 2;
const REJECT: u32 = 0x200;

/// How we get out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It was not looked yet.
    Unknown,
    /// `[network] ip` has no address that could be mapped.
    NoIpv4,
    /// There is none.
    NoRoute,
    /// From an address that others reach as it is.
    Public(Ipv4Addr),
    /// From this address, but through no gateway of its network: a tunnel, or the loopback.
    NoGateway(Ipv4Addr),
    /// Through a gateway.
    Through(Link),
}

impl Way {
    /// The gateway, if there is one to ask.
    pub(super) fn link(&self) -> Option<Link> {
        match *self {
            Way::Through(link) => Some(link),
            _ => None,
        }
    }
}

/// Looks for it.
pub(super) fn find(outlet: &Outlet) -> Way {
    if !outlet.reaches(OUTSIDE.ip()) {
        return Way::NoIpv4;
    }
    let local = match source(outlet) {
        Ok(local) if !local.is_unspecified() => local,
        _ => return Way::NoRoute,
    };
    if is_host(local.into()) && !is_local(local.into()) {
        return Way::Public(local);
    }
    let table = read_table().unwrap_or_default();
    match gateway(&table, local) {
        Some(gateway) => Way::Through(Link { gateway, local }),
        None => Way::NoGateway(local),
    }
}

/// The address that connections to the network outside have, as the kernel or the operator chooses it.
fn source(outlet: &Outlet) -> io::Result<Ipv4Addr> {
    let socket = outlet.udp(outlet.from_anywhere(OUTSIDE.ip(), 0))?;
    rustix::net::connect(&socket, &OUTSIDE)?;
    match socket.local_addr()? {
        SocketAddr::V4(addr) => Ok(*addr.ip()),
        SocketAddr::V6(addr) => Err(io::Error::other(format!("{addr} is no IPv4 address"))),
    }
}

fn read_table() -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(TABLE)?.take(MAX_TABLE).read_to_string(&mut text)?;
    Ok(text)
}

struct Route<'a> {
    interface: &'a str,
    network: Ipv4Addr,
    gateway: Ipv4Addr,
    flags: u32,
    metric: u32,
    mask: Ipv4Addr,
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses as the kernel has them in memory.
fn parse(line: &str) -> Option<Route<'_>> {
    let mut words = line.split_ascii_whitespace();
    let interface = words.next()?;
    let address = |word: &str| Some(Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes()));
    let (network, gateway) = (address(words.next()?)?, address(words.next()?)?);
    let flags = u32::from_str_radix(words.next()?, 16).ok()?;
    let metric = words.nth(2)?.parse().ok()?;
    let mask = address(words.next()?)?;
    Some(Route { interface, network, gateway, flags, metric, mask })
}

/// The gateway of the best default route over an interface in whose network `local` is. So a tunnel's address is
/// never mapped by the gateway of the network below it.
fn gateway(table: &str, local: Ipv4Addr) -> Option<Ipv4Addr> {
    let routes: Vec<Route<'_>> = table.lines().filter_map(parse).collect();
    let usable = |route: &&Route<'_>| route.flags & (UP | REJECT) == UP;
    let is_near = |interface: &str| {
        let mut direct = routes.iter().filter(usable).filter(|route| route.flags & GATEWAY == 0);
        direct.any(|route| {
            let is_whole = route.mask.is_unspecified();
            route.interface == interface && !is_whole && local & route.mask == route.network
        })
    };
    let ways = routes.iter().filter(usable).filter(|route| {
        route.flags & GATEWAY != 0 && route.network.is_unspecified() && route.mask.is_unspecified()
    });
    ways.filter(|route| is_near(route.interface)).min_by_key(|route| route.metric).map(|route| route.gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn line(interface: &str, network: &str, gateway: &str, flags: u32, metric: u32, mask: &str) -> String {
        let hex = |ip: &str| format!("{:08X}", u32::from_ne_bytes(ip.parse::<Ipv4Addr>().unwrap().octets()));
        let (network, gateway, mask) = (hex(network), hex(gateway), hex(mask));
        format!("{interface}\t{network}\t{gateway}\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_gateway_is_that_of_the_network_our_address_is_in() {
        let any = "0.0.0.0";
        let table = [
            HEAD.to_owned(),
            line("tun0", any, any, 1, 5, any),
            line("eth1", any, "10.0.0.1", 3, 200, any),
            line("eth0", any, "192.168.1.254", 3, 300, any),
            line("eth0", any, "192.168.1.1", 3, 100, any),
            line("eth0", "172.16.0.0", "192.168.1.9", 3, 0, "255.240.0.0"),
            line("eth0", "192.168.1.0", any, 1, 0, "255.255.255.0"),
            line("eth1", "10.0.0.0", any, 1, 0, "255.0.0.0"),
            line("tun0", "10.8.0.0", any, 1, 0, "255.255.255.0"),
            "what is this\n".to_owned(),
        ]
        .concat();
        assert_eq!(gateway(&table, ip("192.168.1.5")), Some(ip("192.168.1.1")), "the smaller metric");
        assert_eq!(gateway(&table, ip("10.0.0.5")), Some(ip("10.0.0.1")));
        for elsewhere in ["172.16.0.5", "127.0.0.1", "192.168.2.5"] {
            assert_eq!(gateway(&table, ip(elsewhere)), None, "{elsewhere}");
        }
        assert_eq!(gateway(&line("eth0", any, "10.0.0.1", 0x203, 0, any), ip("10.0.0.5")), None);
        assert_eq!(gateway("", ip("10.0.0.5")), None);
    }

    #[test]
    fn the_table_of_this_machine_is_read() {
        let table = read_table().unwrap();
        assert!(table.starts_with("Iface"), "{table}");
        assert!(table.lines().skip(1).all(|line| parse(line).is_some()), "{table}");
    }

    // Sockets of the Outlet belong to a runtime.
    #[tokio::test]
    async fn an_address_that_leads_nowhere_has_no_gateway() {
        let loopback = Outlet::at(&["127.0.0.1"]);
        assert!(matches!(find(&loopback), Way::NoGateway(Ipv4Addr::LOCALHOST) | Way::NoRoute));
        assert_eq!(find(&Outlet::at(&["::1"])), Way::NoIpv4);
    }
}
