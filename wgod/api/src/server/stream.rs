//! A connection that knows when it last moved, and does not read while its writes are stuck.
//!
//! Without the latter a WebSocket client that sends requests and never takes the answers would make
//! jsonrpsee queue them without bound. That a write is stuck shows only when it is tried, so a WebSocket reads little at
//! a time.
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// What a connection is doing, for its idle time-out.
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds after `start` at which bytes last moved or a call last ended.
    moved: AtomicU64,
    calls: AtomicUsize,
    /// It is a WebSocket, which may be silent until there is something to tell.
    lasting: AtomicBool,
    /// Its place is another's.
    given_up: Notify,
}

/// A call under way; dropping it ends it.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            moved: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            lasting: AtomicBool::new(false),
            given_up: Notify::new(),
        })
    }

    fn touch(&self) {
        self.moved.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.calls.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// The connection becomes a WebSocket.
    pub(super) fn last(&self) {
        self.lasting.store(true, Ordering::Relaxed);
    }

    /// Since when nothing has moved; `None` while a call is under way, and for a WebSocket.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let waits = self.calls.load(Ordering::Relaxed) > 0 || self.lasting.load(Ordering::Relaxed);
        (!waits).then(|| self.start + Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }

    /// Ends the connection's [`idle_for`](Self::idle_for) at once.
    pub(super) fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Returns when no call has been under way and nothing has moved for `limit`, or it was given up.
    pub(super) async fn idle_for(self: Arc<Self>, limit: Duration) {
        loop {
            let moved = self.start + Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let busy = self.calls.load(Ordering::Relaxed) > 0;
            let until = if busy { Instant::now() + limit } else { moved + limit };
            if until <= Instant::now() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.given_up.notified() => return,
            }
        }
    }
}

/// Bytes that a WebSocket reads at a time. Between two reads others go first: jsonrpsee makes a task of each message, and
/// what these answer is to be written, or found to be stuck, before more are made.
const TURN: usize = 2048;

/// A Unix stream that reports to an [`Activity`].
pub(super) struct Watched {
    stream: UnixStream,
    activity: Arc<Activity>,
    stall: Duration,
    /// Runs while a write is stuck.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Who wanted to read meanwhile.
    reader: Option<Waker>,
    /// Others went first.
    yielded: bool,
}

impl Watched {
    pub(super) fn new(stream: UnixStream, activity: Arc<Activity>, stall: Duration) -> Self {
        Self { stream, activity, stall, stuck: None, reader: None, yielded: false }
    }

    /// Notes how a write went; a write that is stuck too long becomes an error.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.activity.touch();
            self.stuck = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return written;
        }
        let stall = self.stall;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        if stuck.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no answers")));
        }
        Poll::Pending
    }

    /// Reads a little, after others had their turn.
    fn read_a_turn(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = buf.remaining().min(TURN);
        let mut turn = ReadBuf::new(buf.initialize_unfilled_to(len));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut turn);
        let came = turn.filled().len();
        buf.advance(came);
        self.yielded = read.is_pending();
        read
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stuck.is_some() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let read = if self.activity.lasting.load(Ordering::Relaxed) {
            self.read_a_turn(cx, buf)
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        };
        if read.is_ready() {
            self.activity.touch();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_calls_and_traffic() {
        let activity = Activity::new();
        let call = activity.begin();
        let limit = Duration::from_secs(10);
        let idle =
            tokio::time::timeout(Duration::from_secs(100), Arc::clone(&activity).idle_for(limit)).await;
        assert!(idle.is_err(), "a call is under way");
        drop(call);
        let before = Instant::now();
        activity.idle_for(limit).await;
        assert!(
            before.elapsed() >= Duration::from_secs(9) && before.elapsed() <= limit,
            "{:?}",
            before.elapsed()
        );
    }

    #[tokio::test]
    async fn a_stuck_write_stops_the_reads_until_it_moves() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut server = Watched::new(server, Activity::new(), Duration::from_secs(3600));
        let big = vec![7_u8; 1 << 24];
        let mut fill = Box::pin(server.write_all(&big));
        assert!(futures_util::poll!(fill.as_mut()).is_pending());
        drop(fill);
        client.write_all(b"question").await.unwrap();
        let mut buf = [0; 8];
        let mut read = Box::pin(server.read_exact(&mut buf));
        assert!(futures_util::poll!(read.as_mut()).is_pending(), "reads while its write is stuck");
        drop(read);
        let mut taken = vec![0; 1 << 20];
        let taking = async {
            loop {
                assert_ne!(client.read(&mut taken).await.unwrap(), 0);
            }
        };
        tokio::select! {
            () = taking => unreachable!("the loop has no end"),
            done = async { server.write_all(b"x").await.unwrap(); server.read_exact(&mut buf).await } => { done.unwrap(); }
        }
        assert_eq!(&buf, b"question");
    }

    #[tokio::test]
    async fn a_websocket_lets_others_go_first_after_each_turn() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let activity = Activity::new();
        activity.last();
        let mut server = Watched::new(server, activity, Duration::from_secs(3600));
        let sent: Vec<u8> = (0..3 * TURN + 10).map(|n| n as u8).collect();
        client.write_all(&sent).await.unwrap();
        let (mut came, mut waits) = (Vec::new(), 0);
        let mut buf = [0; 3 * TURN];
        while came.len() < sent.len() {
            let mut read = Box::pin(server.read(&mut buf));
            match futures_util::poll!(read.as_mut()) {
                Poll::Pending => waits += 1,
                Poll::Ready(n) => {
                    let n = n.unwrap();
                    drop(read);
                    assert!(n <= TURN, "{n}");
                    came.extend_from_slice(&buf[..n]);
                }
            }
            tokio::task::yield_now().await;
        }
        assert!(came == sent && waits >= 4, "{waits}");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, server) = UnixStream::pair().unwrap();
        let mut server = Watched::new(server, Activity::new(), Duration::from_millis(20));
        let error = server.write_all(&vec![7_u8; 1 << 24]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
