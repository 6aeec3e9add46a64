//! Outlet: where our packets leave. Every socket that leads to strangers is made here, so that none can
//! forget what binds them all.
mod group;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

pub use group::Group;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;

/// The addresses that sockets are bound to; empty: whatever the system chooses. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outlet {
    ips: Arc<[IpAddr]>,
}

impl Outlet {
    /// Binds to `ips`, `[network] ip`.
    pub fn new(ips: &[IpAddr]) -> Outlet {
        Outlet { ips: ips.into() }
    }

    /// Whether the operator lets us use the family of `to` at all.
    pub fn reaches(&self, to: IpAddr) -> bool {
        self.ips.is_empty() || self.ips.iter().any(|ip| ip.is_ipv4() == to.is_ipv4())
    }

    /// The address to reach `to` from, if it is for us to say.
    pub fn source(&self, to: IpAddr) -> Option<IpAddr> {
        let mut same = self.ips.iter().filter(|ip| ip.is_ipv4() == to.is_ipv4());
        same.next().copied().filter(|ip| !ip.is_unspecified())
    }

    /// A TCP socket that may connect to `to`.
    ///
    /// # Errors
    /// Those of the system, such as an address that isn't ours.
    pub fn tcp(&self, to: IpAddr) -> io::Result<TcpSocket> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.source(to) {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        Ok(socket)
    }

    /// A TCP socket that listens on `addr`. One of IPv6 takes IPv6 only, so that both families can share a port.
    ///
    /// # Errors
    /// Those of the system.
    pub fn tcp_listener(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    /// A UDP socket at `addr`. One of IPv6 takes IPv6 only. See [`from_anywhere`](Self::from_anywhere).
    ///
    /// # Errors
    /// Those of the system.
    pub fn udp(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
        socket.bind(&addr.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Where a socket is bound that may reach all of the family of `like`, on `port`.
    pub fn from_anywhere(&self, like: IpAddr, port: u16) -> SocketAddr {
        let any = || match like {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(self.source(like).unwrap_or_else(any), port)
    }
}

fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_families_that_were_named_are_used_and_from_the_address_that_was() {
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let free = Outlet::default();
        assert!(free.reaches(v4) && free.reaches(v6));
        assert_eq!(free.source(v4), None);
        assert_eq!(free.from_anywhere(v6, 7), "[::]:7".parse().unwrap());
        let bound = Outlet::new(&["127.0.0.1".parse().unwrap()]);
        assert!(bound.reaches(v4) && !bound.reaches(v6));
        assert_eq!(bound.source(v4), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(bound.from_anywhere(v4, 7), "127.0.0.1:7".parse().unwrap());
        let open = Outlet::new(&[Ipv4Addr::UNSPECIFIED.into()]);
        assert!(open.reaches(v4) && !open.reaches(v6) && open.source(v4).is_none());
    }
}
