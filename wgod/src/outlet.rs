//! Outlet: where our packets leave. Every socket that leads to strangers is made here, so that none can
//! forget what binds them all.
//!
//! What they are bound to (`[network] interface` and `ip`) may be away: then no socket is made, with an error that
//! says what is missing. [`Outlet::watch`] looks out for that, and whoever keeps a socket [follows](Outlet::follow)
//! what it finds: each new generation is the order to bind anew.
//!
//! A socket is bound to the interface itself (`SO_BINDTODEVICE`) before it gets an address or a counterpart: an
//! address alone says where packets come from, and the routes still where they leave. So it is for `ip` too, by the
//! interface that has the address. Linux lets everybody do it from 5.7 on.
mod group;
mod look;
mod name;
mod watch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::watch as channel;
use wgo_api::result::Network;

use look::{Device, Path};
pub use name::InterfaceName;

pub use group::Group;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;

/// What the operator binds us to; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The one interface that is used.
    pub interface: Option<InterfaceName>,
    /// The addresses that are listened on and connected from; none: whatever the system chooses.
    pub ips: Vec<IpAddr>,
}

impl Bounds {
    /// Whether they bind nothing that could go away.
    pub fn is_free(&self) -> bool {
        self.interface.is_none() && self.ips.iter().all(IpAddr::is_unspecified)
    }
}

/// How the outlet stands: which ways there are.
#[derive(Clone, Debug)]
pub struct Standing {
    generation: u64,
    paths: Arc<[Path]>,
}

impl Standing {
    /// Another one than before: what was bound before may lead nowhere, and is to be bound anew.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Why nothing can leave at all, if it can't.
    pub fn closed(&self) -> Option<&str> {
        let open = self.paths.iter().any(|path| path.way.is_ok());
        self.paths.iter().find_map(Path::missing).filter(|_| !open)
    }

    /// Whether all ways of `before` are still there as they were, so that connections may go on.
    pub fn keeps(&self, before: &Standing) -> bool {
        let same = |path: &Path| path.way.is_err() || self.paths.contains(path);
        before.paths.iter().all(same)
    }
}

/// The way out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outlet {
    inner: Arc<Inner>,
    /// Why no socket is made.
    shut: Option<&'static str>,
}

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    standing: channel::Sender<Standing>,
}

impl Default for Outlet {
    fn default() -> Outlet {
        Outlet::new(Bounds::default())
    }
}

impl Outlet {
    /// Bound to `bounds`, as far as these are there now.
    pub fn new(bounds: Bounds) -> Outlet {
        let standing = Standing { generation: 0, paths: look::paths(&bounds).into() };
        let inner = Arc::new(Inner { bounds, standing: channel::Sender::new(standing) });
        Outlet { inner, shut: None }
    }

    /// The same for those who may not use it, which makes no socket.
    pub fn shut(self, why: &'static str) -> Outlet {
        Outlet { shut: Some(why), ..self }
    }

    fn open(&self) -> io::Result<()> {
        self.shut.map_or(Ok(()), |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why)))
    }

    /// Bound to these addresses.
    #[cfg(test)]
    pub(crate) fn at(ips: &[&str]) -> Outlet {
        let ips = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
        Outlet::new(Bounds { ips, interface: None })
    }

    /// What it is bound to.
    pub fn bounds(&self) -> &Bounds {
        &self.inner.bounds
    }

    /// How it stands, now and whenever that changes.
    pub fn follow(&self) -> channel::Receiver<Standing> {
        self.inner.standing.subscribe()
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        self.inner.standing.borrow().clone()
    }

    /// What is missing of what it is bound to, if anything is.
    pub fn trouble(&self) -> Option<String> {
        let standing = self.inner.standing.borrow();
        // An interface needs addresses of one family only, and says nothing of the other.
        if self.inner.bounds.ips.is_empty() {
            return standing.closed().map(str::to_owned);
        }
        let mut missing: Vec<&str> = standing.paths.iter().filter_map(Path::missing).collect();
        missing.dedup();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    /// For people.
    pub fn shown(&self) -> Network {
        let interface = self.inner.bounds.interface.as_ref().map(ToString::to_string);
        Network { interface, missing: self.trouble() }
    }

    /// Whether the operator lets us use the family of `to` at all.
    pub fn reaches(&self, to: IpAddr) -> bool {
        self.inner.bounds.ips.is_empty()
            || self.inner.bounds.ips.iter().any(|ip| ip.is_ipv4() == to.is_ipv4())
    }

    /// The address to reach `to` from, if it is for us to say.
    pub fn source(&self, to: IpAddr) -> Option<IpAddr> {
        let ip = self.inner.standing.borrow().towards(to)?.ip;
        Some(ip).filter(|ip| !ip.is_unspecified())
    }

    /// The interface that sockets towards `to` are bound to, for libraries that make their own; none: no matter.
    ///
    /// # Errors
    /// It, or the address, is missing.
    pub fn interface(&self, to: IpAddr) -> io::Result<Option<Arc<str>>> {
        self.open()?;
        Ok(self.device(to)?.map(|device| device.name))
    }

    /// A TCP socket that may connect to `to`.
    ///
    /// # Errors
    /// Those of the system, and what is missing of what we are bound to.
    pub fn tcp(&self, to: IpAddr) -> io::Result<TcpSocket> {
        self.open()?;
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.tie(SockRef::from(&socket), to)?;
        if let Some(source) = self.source(to) {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        Ok(socket)
    }

    /// A TCP socket that listens on `addr`. One of IPv6 takes IPv6 only, so that both families can share a port.
    ///
    /// # Errors
    /// As of [`tcp`](Self::tcp).
    pub fn tcp_listener(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        self.open()?;
        let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
        self.tie(SockRef::from(&socket), addr.ip())?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    /// A UDP socket at `addr`. One of IPv6 takes IPv6 only. See [`from_anywhere`](Self::from_anywhere).
    ///
    /// # Errors
    /// As of [`tcp`](Self::tcp).
    pub fn udp(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        self.open()?;
        let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
        self.tie(SockRef::from(&socket), addr.ip())?;
        socket.bind(&addr.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// A UDP socket at `addr` that others on this machine may share, such as a port at which all of them hear what is
    /// said to a group.
    ///
    /// # Errors
    /// Those of the system.
    pub fn udp_shared(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        self.open()?;
        let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
        self.tie(SockRef::from(&socket), addr.ip())?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Where a socket is bound that may reach all of the family of `like`, on `port`.
    pub fn from_anywhere(&self, like: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(self.source(like).unwrap_or_else(|| any(like)), port)
    }

    /// The addresses to listen on: those that were named, or all of both families.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.inner.standing.borrow().paths.iter().map(|path| path.ip).collect()
    }

    /// Binds a socket that has no address yet to the interface that it is to use.
    fn tie(&self, socket: SockRef<'_>, ip: IpAddr) -> io::Result<()> {
        match self.device(ip)? {
            Some(device) => look::tie(socket, &device.name),
            None => Ok(()),
        }
    }

    /// The interface for a socket at the address `ip` of ours, or towards `ip`.
    fn device(&self, ip: IpAddr) -> io::Result<Option<Device>> {
        let standing = self.inner.standing.borrow();
        let path = standing.paths.iter().find(|path| path.ip == ip).or_else(|| standing.towards(ip));
        match path.map(|path| &path.way) {
            Some(Ok(device)) => Ok(device.clone()),
            Some(Err(why)) => Err(io::Error::new(io::ErrorKind::NetworkDown, &**why)),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "no address of that family in `ip`")),
        }
    }

    /// Takes up what was found; whether that is another standing.
    fn settle(&self, paths: Vec<Path>) -> bool {
        self.inner.standing.send_if_modified(|standing| {
            let changed = *standing.paths != *paths;
            if changed {
                *standing = Standing { generation: standing.generation + 1, paths: paths.into() };
            }
            changed
        })
    }
}

impl Standing {
    /// The way to the family of `to`: the first that is there, else the first.
    fn towards(&self, to: IpAddr) -> Option<&Path> {
        let same = || self.paths.iter().filter(|path| path.ip.is_ipv4() == to.is_ipv4());
        same().find(|path| path.way.is_ok()).or_else(|| same().next())
    }
}

/// Any address of the family of `like`.
fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
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

    #[tokio::test]
    async fn one_that_is_shut_makes_no_socket_and_says_why() {
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let open = Outlet::default();
        assert!(open.tcp(here.ip()).is_ok() && open.tcp_listener(here).is_ok() && open.udp(here).is_ok());
        let shut = open.shut("closed today");
        let errors = [shut.tcp(here.ip()).err(), shut.tcp_listener(here).err(), shut.udp(here).err()];
        for error in errors {
            assert_eq!(error.expect("no socket").to_string(), "closed today");
        }
    }

    #[test]
    fn only_the_families_that_were_named_are_used_and_from_the_address_that_was() {
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let free = Outlet::default();
        assert!(free.reaches(v4) && free.reaches(v6));
        assert_eq!(free.source(v4), None);
        assert_eq!(free.from_anywhere(v6, 7), "[::]:7".parse().unwrap());
        let bound = Outlet::at(&["127.0.0.1"]);
        assert!(bound.reaches(v4) && !bound.reaches(v6));
        assert_eq!(bound.source(v4), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(bound.from_anywhere(v4, 7), "127.0.0.1:7".parse().unwrap());
        assert_eq!(bound.tcp(v6).unwrap_err().to_string(), "no address of that family in `ip`");
        let open = Outlet::at(&["0.0.0.0"]);
        assert!(open.reaches(v4) && !open.reaches(v6) && open.source(v4).is_none());
    }

    #[tokio::test]
    async fn what_is_missing_makes_no_socket_and_is_named() {
        // 192.0.2.0/24 is for documentation: never ours.
        let (gone, here): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), Ipv4Addr::LOCALHOST.into());
        let outlet = Outlet::at(&["192.0.2.1"]);
        let why = "no interface has the address 192.0.2.1";
        for error in [
            outlet.tcp(here).map(drop),
            outlet.tcp_listener((gone, 0).into()).map(drop),
            outlet.udp((gone, 0).into()).map(drop),
            outlet.udp((Ipv4Addr::UNSPECIFIED, 0).into()).map(drop),
        ] {
            assert_eq!(error.unwrap_err().to_string(), why);
        }
        assert_eq!(outlet.standing().closed(), Some(why));
        assert_eq!(outlet.trouble().as_deref(), Some(why));
        // Of two the one that is there is used; the other one is still told.
        let outlet = Outlet::at(&["192.0.2.1", "127.0.0.1"]);
        assert_eq!(outlet.source(here), Some(here));
        assert!(outlet.tcp(here).is_ok() && outlet.standing().closed().is_none());
        assert_eq!(outlet.trouble().as_deref(), Some(why));

        let interface = Some("no-such-link".parse().unwrap());
        let outlet = Outlet::new(Bounds { interface, ips: Vec::new() });
        assert_eq!(outlet.tcp(here).unwrap_err().to_string(), "interface no-such-link is missing");
        assert_eq!(outlet.trouble().as_deref(), Some("interface no-such-link is missing"));
    }

    #[tokio::test]
    async fn a_socket_is_bound_to_the_interface() {
        let outlet = Outlet::new(Bounds { interface: Some("lo".parse().unwrap()), ips: Vec::new() });
        let lo = |socket: SockRef<'_>| assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        lo(SockRef::from(&outlet.tcp(Ipv4Addr::LOCALHOST.into()).unwrap()));
        lo(SockRef::from(&outlet.tcp_listener(any).unwrap()));
        lo(SockRef::from(&outlet.udp(any).unwrap()));
    }

    #[test]
    fn a_change_is_a_new_generation_and_tells_whether_what_was_there_remains() {
        let outlet = Outlet::at(&["127.0.0.1"]);
        let mut follower = outlet.follow();
        let before = outlet.standing();
        assert!(!outlet.settle(before.paths.to_vec()) && !follower.has_changed().unwrap());
        let mut paths = before.paths.to_vec();
        paths[0].way = Err("gone".into());
        assert!(outlet.settle(paths));
        let gone = follower.borrow_and_update().clone();
        assert_eq!((gone.generation(), gone.closed()), (before.generation() + 1, Some("gone")));
        assert!(!gone.keeps(&before) && before.keeps(&gone) && before.keeps(&before));
    }
}
