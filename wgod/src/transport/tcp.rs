//! TCP: listening, dialling and readiness.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{Readiness, Transport, unmap};

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: u32 = 1024;

/// A listening socket.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// The next connection.
    pub async fn accept(&self) -> io::Result<(Transport, SocketAddr)> {
        let (stream, addr) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Transport::Tcp(stream), unmap(addr)))
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Listens on `addr`. A v6 socket takes v6 only, so that both families can share a port.
pub fn bind_listener(addr: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG as i32)?;
    TcpListener::from_std(socket.into()).map(Listener)
}

/// Connects to `addr`, from `from` if it is given.
pub async fn dial(addr: SocketAddr, from: Option<IpAddr>, limit: Duration) -> io::Result<Transport> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.set_nodelay(true)?;
    let connect = tokio::time::timeout(limit, socket.connect(addr));
    connect.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(Transport::Tcp)
}

pub(super) async fn ready(stream: &TcpStream, want: Readiness) -> io::Result<Readiness> {
    let interest = match (want.read, want.write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    let ready = stream.ready(interest).await?;
    Ok(Readiness { read: ready.is_readable() || ready.is_read_closed(), write: ready.is_writable() })
}
