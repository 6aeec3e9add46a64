//! Sockets of a multicast group on one network interface.
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket as Sender};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Bounds, Outlet};

/// How far packets to a group go: no router passes them on.
const HOPS: u32 = 1;

/// Both ends of a group on an interface. What we send is heard on this machine too, by ourselves as by others.
#[derive(Debug)]
pub struct Group {
    /// Hears what is sent to the group on that interface, and nothing else; others may listen on the same port.
    pub receiver: UdpSocket,
    /// Sends from an address and a port of its own, and never waits.
    pub sender: Sender,
}

impl Outlet {
    /// The address that packets to a group of one family may come from on the interface `name`, which has `addresses`;
    /// `::` leaves it to the system, which knows which ones are in use already. `None`: it isn't to be used.
    pub fn source_on(
        &self,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
        v4: bool,
    ) -> Option<IpAddr> {
        let Bounds { ips, interface } = self.bounds();
        if interface.as_ref().is_some_and(|only| only.to_string() != name) {
            return None;
        }
        let mut its = addresses.into_iter().filter(|ip| ip.is_ipv4() == v4);
        if ips.is_empty() || ips.iter().any(|ip| ip.is_unspecified() && ip.is_ipv4() == v4) {
            return its.next().map(|ip| if v4 { ip } else { Ipv6Addr::UNSPECIFIED.into() });
        }
        its.find(|ip| ips.contains(ip))
    }

    /// Joins `group` on the interface `name`, whose number is `index`, to send from `source`.
    ///
    /// # Errors
    /// Those of the system: another program has the port for itself, the interface is gone.
    pub fn group(&self, group: SocketAddr, name: &str, index: u32, source: IpAddr) -> io::Result<Group> {
        self.open()?;
        let receiver = on_interface(group, name)?;
        receiver.set_reuse_address(true)?;
        receiver.set_reuse_port(true)?;
        // Bound to the group: what is sent to an address of ours is another matter.
        receiver.bind(&group.into())?;
        let sender = on_interface(group, name)?;
        sender.bind(&SocketAddr::new(source, 0).into())?;
        match group.ip() {
            IpAddr::V4(ip) => {
                receiver.set_multicast_all_v4(false)?;
                receiver.join_multicast_v4_n(&ip, &InterfaceIndexOrAddress::Index(index))?;
                sender.set_multicast_ttl_v4(HOPS)?;
            }
            IpAddr::V6(ip) => {
                receiver.set_multicast_all_v6(false)?;
                receiver.join_multicast_v6(&ip, index)?;
                sender.set_multicast_if_v6(index)?;
                sender.set_multicast_hops_v6(HOPS)?;
            }
        }
        Ok(Group { receiver: UdpSocket::from_std(receiver.into())?, sender: sender.into() })
    }
}

/// A socket of the family of `like` that uses one interface alone, which is anybody's right from Linux 5.7 on.
fn on_interface(like: SocketAddr, name: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(like), Type::DGRAM, Some(Protocol::UDP))?;
    if like.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(name.as_bytes()))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_spoken_to_from_addresses_that_the_operator_lets_us_use() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let its = [ip("192.0.2.7"), ip("192.0.2.8"), ip("fe80::7"), ip("2001:db8::7")];
        for (ips, v4, v6) in [
            (&[][..], Some("192.0.2.7"), Some("::")),
            (&["0.0.0.0"], Some("192.0.2.7"), None),
            (&["::"], None, Some("::")),
            (&["192.0.2.8"], Some("192.0.2.8"), None),
            (&["2001:db8::7", "198.51.100.1"], None, Some("2001:db8::7")),
        ] {
            let outlet = Outlet::at(ips);
            assert_eq!(outlet.source_on("eth0", its, true), v4.map(ip), "{ips:?}");
            assert_eq!(outlet.source_on("eth0", its, false), v6.map(ip), "{ips:?}");
        }
        assert_eq!(Outlet::default().source_on("eth0", [ip("fe80::7")], true), None);
        let bound = Outlet::new(Bounds { interface: Some("wg0".parse().unwrap()), ips: Vec::new() });
        assert_eq!(bound.source_on("eth0", its, true), None);
        assert_eq!(bound.source_on("wg0", its, true), Some(ip("192.0.2.7")));
    }
}
