//! Many connections on which messages are sent as fast as they are taken, or at a pace.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use wgo_proto::units::WireHash;
use wgo_proto::wire::{Handshake, Reserved};

use super::attack::Field;
use crate::wait::pause;
use crate::wire::peer_id;

/// A connection is made in this time or not at all.
const CONNECT: Duration = Duration::from_millis(300);
/// Between two rounds when no connection takes anything.
const TICK: Duration = Duration::from_millis(2);
/// Messages a second, over all connections, in the short form: the attacker shares the machine with all other tests,
/// and the daemon asserts its invariants at each.
const PACE: f64 = 2_000.0;
/// What the system may keep of a connection on its way; what it holds isn't done yet, and must not be counted.
const ON_ITS_WAY: usize = 64 * 1024;

/// A message with a body.
pub fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend_from_slice(body);
    bytes
}

/// A request, a cancel or a reject.
pub fn of_block(id: u8, piece: u32, offset: u32, len: u32) -> Vec<u8> {
    frame(id, &[piece.to_be_bytes(), offset.to_be_bytes(), len.to_be_bytes()].concat())
}

/// An extended message (BEP 10).
pub fn extended(id: u8, body: &[u8]) -> Vec<u8> {
    frame(20, &[&[id], body].concat())
}

/// Our half of a plain handshake, with the fast extension and the extension protocol.
pub fn handshake(hash: WireHash) -> Vec<u8> {
    Handshake { reserved: Reserved::FAST | Reserved::EXTENSIONS, hash, peer_id: peer_id() }.encode().to_vec()
}

/// A connection that waits for nothing.
pub struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    at: usize,
}

impl Line {
    /// Connects from `from` to the daemon, with `first` to be sent.
    pub fn open(field: &Field<'_>, from: IpAddr, first: Vec<u8>) -> io::Result<Line> {
        let socket = Socket::new(Domain::for_address(field.to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_send_buffer_size(ON_ITS_WAY)?;
        socket.bind(&std::net::SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&field.to.into(), CONNECT)?;
        let stream: TcpStream = socket.into();
        stream.set_nonblocking(true)?;
        Ok(Line { stream, out: first, at: 0 })
    }

    /// Whether all that was to be sent has left.
    pub fn is_idle(&self) -> bool {
        self.at == self.out.len()
    }

    /// More to be sent.
    pub fn put(&mut self, bytes: Vec<u8>) {
        if self.is_idle() {
            (self.out, self.at) = (bytes, 0);
        } else {
            self.out.extend_from_slice(&bytes);
        }
    }

    /// Sends what is taken; whether it was anything.
    pub fn pump(&mut self) -> io::Result<bool> {
        let before = self.at;
        while self.at < self.out.len() {
            match self.stream.write(&self.out[self.at..]) {
                Ok(n) => self.at += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.at > before)
    }

    /// Reads what has come; an error when the connection is over.
    pub fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut buf = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => into.extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A flood of messages on `lines` connections.
pub struct Flood<'a> {
    /// Connections, each of an address of its own; one that is closed is opened again.
    pub lines: usize,
    /// The torrent.
    pub hash: WireHash,
    /// What follows the handshake.
    pub opening: Vec<u8>,
    /// The n-th load of messages.
    pub load: &'a dyn Fn(u64) -> Vec<u8>,
    /// Messages in a load.
    pub of_load: u64,
    /// Whether what comes is read, and thrown away.
    pub reads: bool,
}

impl Flood<'_> {
    /// Sends until the time is over. Gives how many messages were taken.
    pub fn run(&self, field: &Field<'_>) -> u64 {
        let mut lines: Vec<Option<Line>> = (0..self.lines).map(|_| None).collect();
        let (mut loads, mut opened, mut dump) = (0, 0, Vec::new());
        let began = Instant::now();
        while !field.over() {
            let mut moved = false;
            for (number, place) in lines.iter_mut().enumerate() {
                if place.is_none() {
                    let first = [handshake(self.hash), self.opening.clone()].concat();
                    // Another address each time: one that was banned is no attacker any more.
                    *place = Line::open(field, field.attacker(number + opened), first).ok();
                    opened += usize::from(place.is_some());
                }
                let Some(line) = place else { continue };
                let due = began.elapsed().as_secs_f64() * PACE;
                if line.is_idle() && (field.long || (loads * self.of_load) as f64 <= due) {
                    line.put((self.load)(loads));
                    loads += 1;
                }
                let sent = line.pump();
                dump.clear();
                let read = if self.reads { line.read(&mut dump) } else { Ok(()) };
                match (sent, read) {
                    (Ok(more), Ok(())) => moved |= more,
                    _ => *place = None,
                }
                if field.over() {
                    break;
                }
            }
            if !moved {
                pause(TICK);
            }
        }
        loads * self.of_load
    }
}
