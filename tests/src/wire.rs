//! One scripted connection: it says what the test wants, right or wrong, and shows what comes back.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use wgo_proto::bitfield::Bitfield;
use wgo_proto::units::{Block, PeerId, PieceIndex, WireHash};
use wgo_proto::wire::message::{Message, block_header};
use wgo_proto::wire::{Frame, HANDSHAKE_LEN, Handshake, Limits, Reserved, next_frame};

use crate::wait::try_until;

/// Connecting and shaking hands take this long at most.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// A torrent that is being started lets us in within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came from the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages of BEP 3, 6 and 10 under their names")]
pub enum Got {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(PieceIndex),
    Bitfield(Vec<u8>),
    HaveAll,
    HaveNone,
    Request(Block),
    Cancel(Block),
    Reject(Block),
    Piece(Block, Vec<u8>),
    Extended(u8, Vec<u8>),
    Port(u16),
    Other(u8),
}

/// A connection after the handshake.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buf: Vec<u8>,
    /// What the other end said first.
    pub theirs: Handshake,
}

/// A peer id that nobody else has: one torrent takes no two connections of the same peer.
pub fn peer_id() -> PeerId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut id = *b"-TT0001-000000000000";
    id[8..].copy_from_slice(format!("{number:012}").as_bytes());
    PeerId(id)
}

/// Connects from `from` (any port) to `to`. `small` keeps the receive buffer short.
pub fn dial(from: Option<IpAddr>, to: SocketAddr, small: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if small {
        socket.set_recv_buffer_size(32 * 1024)?;
    }
    if let Some(ip) = from {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    socket.connect_timeout(&to.into(), HANDSHAKE)?;
    Ok(socket.into())
}

impl Wire {
    /// Shakes hands on a new connection as the end that dialled.
    pub fn open(stream: TcpStream, hash: WireHash, id: PeerId, reserved: Reserved) -> io::Result<Wire> {
        (&stream).write_all(&Handshake { reserved, hash, peer_id: id }.encode())?;
        let theirs = read_handshake(&stream)?;
        Ok(Wire { stream, buf: Vec::new(), theirs })
    }

    /// Dials `to` from `from` and shakes hands, without any extension. Tries again for a while: a
    /// torrent that is just being started takes no connections yet.
    pub fn connect(from: IpAddr, to: SocketAddr, hash: WireHash) -> io::Result<Wire> {
        Wire::meet(from, to, hash, false)
    }

    /// The same with a short receive buffer.
    pub fn connect_small(from: IpAddr, to: SocketAddr, hash: WireHash) -> io::Result<Wire> {
        Wire::meet(from, to, hash, true)
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The connection itself, for reading from it at one's own pace.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The same with a short receive buffer, if `small`.
    pub(crate) fn meet(from: IpAddr, to: SocketAddr, hash: WireHash, small: bool) -> io::Result<Wire> {
        let attempt = || {
            let stream = dial(Some(from), to, small)?;
            Wire::open(stream, hash, peer_id(), Reserved::default())
        };
        try_until(PATIENCE, || attempt().ok()).map_or_else(attempt, Ok)
    }

    /// Shakes hands as the end that was dialled.
    pub fn accept(stream: TcpStream, id: PeerId, reserved: Reserved) -> io::Result<Wire> {
        let theirs = read_handshake(&stream)?;
        (&stream).write_all(&Handshake { reserved, hash: theirs.hash, peer_id: id }.encode())?;
        Ok(Wire { stream, buf: Vec::new(), theirs })
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Message<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a block.
    pub fn send_block(&mut self, block: Block, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&[&block_header(block), payload].concat())
    }

    /// Says which pieces we have.
    pub fn send_bitfield(&mut self, have: &Bitfield) -> io::Result<()> {
        self.send(&Message::Bitfield(&have.to_wire()))
    }

    /// The next message, `None` when none is complete within `limit`. An error means that the
    /// connection is over.
    pub fn next(&mut self, limit: Duration) -> io::Result<Option<Got>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(got) = self.cut()? {
                return Ok(Some(got));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buf = [0; 65536];
            match self.stream.read(&mut buf) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.buf.extend_from_slice(&buf[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a message that `wanted` accepts and drops those before it.
    ///
    /// # Panics
    /// When it doesn't come within `limit`.
    #[track_caller]
    pub fn until(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Got) -> bool) -> Got {
        let end = Instant::now() + limit;
        loop {
            match self.next(end.saturating_duration_since(Instant::now())) {
                Ok(Some(got)) if wanted(&got) => return got,
                Ok(Some(_)) => {}
                Ok(None) => panic!("waited {limit:?} for: {what}"),
                Err(error) => panic!("the connection ended ({error}) while waiting for: {what}"),
            }
        }
    }

    /// Whether the other end hangs up within `limit`.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            match self.next(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// Takes a whole message out of the buffer.
    fn cut(&mut self) -> io::Result<Option<Got>> {
        let invalid = |error| io::Error::new(ErrorKind::InvalidData, format!("wgod sent nonsense: {error}"));
        let (got, used) = match next_frame(&self.buf, &Limits::new(None)).map_err(invalid)? {
            Frame::Incomplete { .. } => return Ok(None),
            Frame::Message { message, consumed } => (own(&message), consumed),
            Frame::Block { block, header_len } => {
                let end = header_len + block.len as usize;
                match self.buf.get(header_len..end) {
                    Some(payload) => (Got::Piece(block, payload.to_vec()), end),
                    None => return Ok(None),
                }
            }
            Frame::Skip { id, header_len, body_len } => {
                let end = header_len + body_len as usize;
                if self.buf.len() < end {
                    return Ok(None);
                }
                (Got::Other(id), end)
            }
        };
        self.buf.drain(..used);
        Ok(Some(got))
    }
}

fn own(message: &Message<'_>) -> Got {
    match *message {
        Message::KeepAlive => Got::KeepAlive,
        Message::Choke => Got::Choke,
        Message::Unchoke => Got::Unchoke,
        Message::Interested => Got::Interested,
        Message::NotInterested => Got::NotInterested,
        Message::Have(piece) => Got::Have(piece),
        Message::Bitfield(bits) => Got::Bitfield(bits.to_vec()),
        Message::HaveAll => Got::HaveAll,
        Message::HaveNone => Got::HaveNone,
        Message::Request(block) => Got::Request(block),
        Message::Cancel(block) => Got::Cancel(block),
        Message::Reject(block) => Got::Reject(block),
        Message::Extended { id, body } => Got::Extended(id, body.to_vec()),
        Message::Port(port) => Got::Port(port),
        _ => Got::Other(message.id().unwrap_or(0)),
    }
}

fn read_handshake(mut stream: &TcpStream) -> io::Result<Handshake> {
    stream.set_read_timeout(Some(HANDSHAKE))?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; HANDSHAKE_LEN];
    stream.read_exact(&mut bytes)?;
    Handshake::decode(&bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}
