//! A transport as a stream of bytes, for those who need no slices of their own: a proxy's handshake, HTTP through it.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Transport;

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Transport::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Transport::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Transport::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Transport::Tcp(stream) = self.get_mut();
        Pin::new(stream).poll_shutdown(cx)
    }
}

/// hyper asks what is special about a connection: nothing.
impl Connection for Transport {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
