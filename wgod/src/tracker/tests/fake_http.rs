//! A tracker over HTTP that answers what it is told to, and counts.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use wgo_proto::tracker::AnnounceReply;
use wgo_proto::tracker::http::encode_announce;

use super::PASSKEY;

/// What the tracker does with one request.
#[derive(Clone)]
pub(super) enum Act {
    /// Sends this, and keeps the connection.
    Send(Vec<u8>),
    /// Sends this and closes.
    SendAndClose(Vec<u8>),
    /// Sends this, byte by byte, one in that time.
    Drip(Vec<u8>, Duration),
    /// Sends this once [`FakeHttp::release`] allows, and keeps the connection.
    Hold(Vec<u8>),
    /// Sends the first, then the second again and again until the other side has had enough.
    Flood(Vec<u8>, Vec<u8>),
    /// Nothing, ever.
    Never,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    /// The head of each request.
    pub(super) heads: Mutex<Vec<String>>,
    pub(super) connections: AtomicUsize,
    pub(super) running: AtomicUsize,
    pub(super) most_running: AtomicUsize,
}

/// Ends, with its connections, when dropped.
pub(super) struct FakeHttp {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Seen>,
    pub(super) release: Arc<Semaphore>,
    arrived: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

type Plan = Arc<dyn Fn(&str) -> Act + Send + Sync>;

impl FakeHttp {
    /// Listens on a free port of `on`; `plan` says what to do with the path of a request.
    pub(super) async fn start(
        on: SocketAddr,
        plan: impl Fn(&str) -> Act + Send + Sync + 'static,
    ) -> FakeHttp {
        FakeHttp::start_with(on, plan, |stream| async move { Some(stream) }).await
    }

    /// The same, over what `wrap` makes of each connection.
    pub(super) async fn start_with<S, F>(
        on: SocketAddr,
        plan: impl Fn(&str) -> Act + Send + Sync + 'static,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + Clone + 'static,
    ) -> FakeHttp
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind(on).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let release = Arc::new(Semaphore::new(0));
        let (arrivals, arrived) = watch::channel(0);
        let server = Server { seen: seen.clone(), release: release.clone(), arrivals, plan: Arc::new(plan) };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let server = Arc::new(server);
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                server.seen.connections.fetch_add(1, Ordering::SeqCst);
                let (server, wrap) = (server.clone(), wrap.clone());
                connections.spawn(async move {
                    if let Some(stream) = wrap(stream).await {
                        server.serve(stream).await;
                    }
                });
            }
        });
        FakeHttp { address, seen, release, arrived, _tasks: tasks }
    }

    /// An announce URL with the passkey in its path and query.
    pub(super) fn url(&self) -> String {
        format!("http://{}/announce/{PASSKEY}?also={PASSKEY}", self.address)
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.heads.lock().unwrap().len()
    }

    /// Waits until so many requests have come in all.
    pub(super) async fn arrivals(&mut self, count: usize) {
        self.arrived.wait_for(|arrived| *arrived >= count).await.unwrap();
    }
}

struct Server {
    seen: Arc<Seen>,
    release: Arc<Semaphore>,
    arrivals: watch::Sender<usize>,
    plan: Plan,
}

impl Server {
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut read = Vec::new();
        loop {
            while !read.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => read.push(byte),
                    Err(_) => return,
                }
            }
            let head = String::from_utf8(std::mem::take(&mut read)).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            self.seen.heads.lock().unwrap().push(head);
            let running = self.seen.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.seen.most_running.fetch_max(running, Ordering::SeqCst);
            self.arrivals.send_modify(|arrived| *arrived += 1);
            let goes_on = self.act((self.plan)(&path), &mut stream).await;
            if !goes_on {
                return;
            }
        }
    }

    /// `false` when the connection is over.
    async fn act(&self, act: Act, stream: &mut (impl AsyncWrite + AsyncRead + Unpin)) -> bool {
        let answered = || self.seen.running.fetch_sub(1, Ordering::SeqCst);
        match act {
            Act::Send(bytes) => {
                answered();
                stream.write_all(&bytes).await.is_ok()
            }
            Act::Hold(bytes) => {
                self.release.acquire().await.unwrap().forget();
                answered();
                stream.write_all(&bytes).await.is_ok()
            }
            Act::SendAndClose(bytes) => {
                answered();
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                false
            }
            Act::Drip(bytes, pause) => {
                for byte in bytes {
                    tokio::time::sleep(pause).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                }
                false
            }
            Act::Flood(head, bytes) => {
                let _ = stream.write_all(&head).await;
                while stream.write_all(&bytes).await.is_ok() {}
                false
            }
            Act::Never => {
                // Until the other side goes.
                let _ = stream.read_u8().await;
                false
            }
        }
    }
}

/// An answer with this status line and these header lines.
pub(super) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n");
    headers.iter().for_each(|line| out.push_str(&format!("{line}\r\n")));
    out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [out.as_bytes(), body].concat()
}

pub(super) fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &[], body)
}

pub(super) fn body(reply: &AnnounceReply) -> Vec<u8> {
    let mut out = Vec::new();
    encode_announce(reply, &mut out);
    out
}

pub(super) fn redirect(to: &str) -> Act {
    Act::Send(answer("302 Found", &[&format!("Location: {to}")], b""))
}

/// A gzip file without compression (RFC 1952, stored blocks of RFC 1951).
pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = data.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        let len = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32fast::hash(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}
