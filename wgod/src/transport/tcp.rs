//! TCP: listening, dialling and readiness.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use super::{Readiness, Transport, unmap};
use crate::outlet::Outlet;

/// A listening socket.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on `addr`.
    pub fn bind(outlet: &Outlet, addr: SocketAddr) -> io::Result<Listener> {
        outlet.tcp_listener(addr).map(Listener)
    }

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

/// Connects to `addr`.
pub async fn dial(outlet: &Outlet, addr: SocketAddr, limit: Duration) -> io::Result<Transport> {
    let socket = outlet.tcp(addr.ip())?;
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
