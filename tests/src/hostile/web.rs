//! A server over TCP that answers each connection as an attack wants.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::pause;

/// How often the threads look whether to end.
const TICK: Duration = Duration::from_millis(10);

/// What is done with a connection; it is over when this returns.
pub type Serve = dyn Fn(&mut Caller) -> io::Result<()> + Send + Sync;

/// A running server; ends when dropped.
pub struct Web {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    served: AtomicU64,
    serve: Box<Serve>,
}

/// A connection that came in.
pub struct Caller {
    stream: TcpStream,
    shared: Arc<Shared>,
}

impl Web {
    /// A server at `ip`, at any port.
    pub fn start(ip: IpAddr, serve: impl Fn(&mut Caller) -> io::Result<()> + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            served: AtomicU64::new(0),
            serve: Box::new(serve),
        });
        let inside = shared.clone();
        let thread = Some(std::thread::spawn(move || accept_all(&listener, &inside)));
        Web { addr, shared, thread }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a tracker there.
    pub fn announce(&self) -> String {
        format!("http://{}/announce", self.addr)
    }

    /// What was counted so far.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; a second one here would hide the first.
            let _ = thread.join();
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let mut caller = Caller { stream, shared: shared.clone() };
                // That the daemon goes away is what it ought to do.
                threads.push(std::thread::spawn(move || drop(caller.serve())));
            }
            Err(_) => pause(TICK),
        }
        threads.retain(|thread| !thread.is_finished());
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

impl Caller {
    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(TICK))?;
        self.stream.set_write_timeout(Some(TICK * 20))?;
        let shared = self.shared.clone();
        (shared.serve)(self)
    }

    /// Whether the server is to end.
    pub fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// So many more things were done.
    pub fn count(&self, more: u64) {
        self.shared.served.fetch_add(more, Ordering::Relaxed);
    }

    /// Reads once; nothing may have come.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(into) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(n),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Reads the head of a request, and counts it.
    pub fn request(&mut self) -> io::Result<()> {
        let (mut head, mut buf) = (Vec::new(), [0; 4096]);
        while !self.stopped() {
            let n = self.read(&mut buf)?;
            head.extend_from_slice(&buf[..n]);
            if head.windows(4).any(|four| four == b"\r\n\r\n") {
                self.count(1);
                return Ok(());
            }
        }
        Err(ErrorKind::Interrupted.into())
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes one at a time, without end.
    pub fn dribble(&mut self, bytes: impl Iterator<Item = u8>) -> io::Result<()> {
        for byte in bytes {
            if self.stopped() {
                break;
            }
            self.write(&[byte])?;
            pause(TICK * 2);
        }
        Ok(())
    }

    /// Sends the same without end.
    pub fn endless(&mut self, bytes: &[u8]) -> io::Result<()> {
        while !self.stopped() {
            self.write(bytes)?;
        }
        Ok(())
    }

    /// Keeps the connection, and says nothing.
    pub fn hang(&mut self) -> io::Result<()> {
        let mut buf = [0; 1024];
        while !self.stopped() {
            self.read(&mut buf)?;
        }
        Ok(())
    }

    /// Answers a request with a whole body.
    pub fn answer(&mut self, head: &str, body: &[u8]) -> io::Result<()> {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        self.write(head.as_bytes())?;
        self.write(body)
    }
}
