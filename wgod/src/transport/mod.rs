//! Byte streams to peers. Nothing outside this folder knows what carries them.
//!
//! A [`Transport`] reads into and writes from the caller's slices without waiting, and tells when it
//! is ready; it owns no buffer. TCP is the only carrier now; uTP becomes a second variant.
mod low_water;
mod stream;
mod tcp;

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

pub use tcp::{Listener, dial};
use tokio::net::TcpStream;

/// What a socket of the Outlet becomes by connecting, for libraries that go on with it themselves.
pub(crate) type Connected = TcpStream;

/// One connection to a peer.
#[derive(Debug)]
pub enum Transport {
    /// BEP 3.
    Tcp(TcpStream),
}

/// What a [`Transport`] can do, or is wanted to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes or the end have come.
    pub read: bool,
    /// Bytes can go.
    pub write: bool,
}

impl Transport {
    /// Waits until one of what is wanted is possible. With nothing wanted, waits for ever.
    pub async fn ready(&self, want: Readiness) -> io::Result<Readiness> {
        match self {
            Transport::Tcp(stream) => tcp::ready(stream, want).await,
        }
    }

    /// Reads what has come, in order, into `bufs`. 0 is the end of the stream;
    /// [`io::ErrorKind::WouldBlock`] when nothing has come.
    pub fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.try_read_vectored(bufs),
        }
    }

    /// As [`try_read`](Self::try_read), also when [`ready`](Self::ready) hasn't told of what has come.
    pub fn read_now(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => Ok(rustix::io::readv(stream, bufs)?),
        }
    }

    /// From now on [`ready`](Self::ready) tells of what has come once it is `bytes`, at least 1; and of
    /// the end, and of a full window, as before. Where that can't be had, it tells of each byte.
    pub fn wake_at(&self, bytes: u32) {
        match self {
            Transport::Tcp(stream) => low_water::set(stream, bytes),
        }
    }

    /// Sends as much of `bytes` as there is room for.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.try_write(bytes),
        }
    }

    /// Waits until something has come, and reads as much of that as fits `buf`, which must not be empty. The end
    /// of the stream is an error.
    pub async fn read_some(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.ready(Readiness { read: true, write: false }).await?;
            match self.try_read(&mut [IoSliceMut::new(buf)]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer hung up")),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Fills `buf`, or fails after `limit`.
    pub async fn read_exact(&self, mut buf: &mut [u8], limit: Duration) -> io::Result<()> {
        let read = async {
            while !buf.is_empty() {
                let n = self.read_some(buf).await?;
                buf = &mut std::mem::take(&mut buf)[n..];
            }
            Ok(())
        };
        tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends all of `bytes`, or fails after `limit`.
    pub async fn write_all(&self, mut bytes: &[u8], limit: Duration) -> io::Result<()> {
        let write = async {
            while !bytes.is_empty() {
                self.ready(Readiness { read: false, write: true }).await?;
                match self.try_write(bytes) {
                    Ok(n) => bytes = &bytes[n..],
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        };
        tokio::time::timeout(limit, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The other end; a v4 address mapped into v6 is given as v4.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Transport::Tcp(stream) => stream.peer_addr().map(unmap),
        }
    }
}

/// The same address with a v4-mapped v6 address turned into the v4 one.
pub fn unmap(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
