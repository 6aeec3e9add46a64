//! A scripted peer that has everything and gives it to whoever asks, well or badly.
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wgo_proto::bitfield::Bitfield;
use wgo_proto::units::{Block, PieceIndex, WireHash};
use wgo_proto::wire::Reserved;
use wgo_proto::wire::message::Message;

use crate::maker::Torrent;
use crate::payload::Payload;
use crate::wait::{SOON, pause, until};
use crate::wire::{Got, Wire, peer_id};

/// How often the threads look whether to end.
const TICK: Duration = Duration::from_millis(20);
/// Nothing more is sent when nothing is for so long; longer than any pause between blocks.
const QUIET: Duration = Duration::from_millis(500);

/// How it serves.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Wait this long before each block.
    pub pause: Duration,
    /// Give wrong bytes for these pieces.
    pub spoil: BTreeSet<u32>,
    /// Serve nothing at all, after saying that it has everything.
    pub mute: bool,
    /// Have only these pieces; `None` is all.
    pub only: Option<BTreeSet<u32>>,
}

/// A torrent that it has.
#[derive(Debug)]
struct Held {
    hash: WireHash,
    pieces: u32,
    piece_len: usize,
    stream: Vec<u8>,
    sent: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    held: Vec<Held>,
    habits: Habits,
    stop: AtomicBool,
    connections: AtomicU64,
    asked: Mutex<Vec<Block>>,
}

/// A running seeder; ends when dropped.
#[derive(Debug)]
pub struct Seeder {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    dialled: Vec<JoinHandle<()>>,
}

impl Seeder {
    /// Seeds torrents at `ip` without fault.
    pub fn start(ip: IpAddr, torrents: &[(&Payload, &Torrent)]) -> Seeder {
        Seeder::with(ip, torrents, Habits::default())
    }

    /// Seeds torrents at `ip` with `habits`.
    pub fn with(ip: IpAddr, torrents: &[(&Payload, &Torrent)], habits: Habits) -> Seeder {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let held = torrents.iter().map(|(payload, torrent)| Held {
            hash: torrent.hash,
            pieces: torrent.pieces,
            piece_len: payload.piece_len as usize,
            stream: payload.stream(),
            sent: AtomicU64::new(0),
        });
        let shared = Arc::new(Shared {
            held: held.collect(),
            habits,
            stop: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            asked: Mutex::default(),
        });
        let accepting = shared.clone();
        let thread = Some(std::thread::spawn(move || accept_all(&listener, &accepting)));
        Seeder { addr, shared, thread, dialled: Vec::new() }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connects to `to` itself, as often as it is called.
    pub fn dial(&mut self, to: SocketAddr, hash: WireHash) {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let wire = Wire::connect(self.addr.ip(), to, hash).unwrap();
        let shared = self.shared.clone();
        self.dialled.push(std::thread::spawn(move || drop(serve(wire, &shared))));
    }

    /// Payload bytes sent so far, of all torrents.
    pub fn sent(&self) -> u64 {
        self.sent_each().iter().sum()
    }

    /// Payload bytes sent so far, by torrent.
    pub fn sent_each(&self) -> Vec<u64> {
        self.shared.held.iter().map(|held| held.sent.load(Ordering::Relaxed)).collect()
    }

    /// The same once nothing is sent any more: a connection that has ended leaves requests behind.
    ///
    /// # Panics
    /// When it goes on and on.
    #[track_caller]
    pub fn sent_in_the_end(&self) -> Vec<u64> {
        until("nobody asks for more", SOON, || {
            let sent = self.sent_each();
            pause(QUIET);
            (self.sent_each() == sent).then_some(sent)
        })
    }

    /// Connections that it ever had.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Block> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.dialled.drain(..).chain(self.thread.take()) {
            // A panic there has been printed; a second one here would hide the first.
            let _ = thread.join();
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = shared.clone();
                // That the daemon hangs up is no fault of the seeder.
                threads.push(std::thread::spawn(move || drop(accept(stream, &shared))));
            }
            Err(_) => pause(TICK),
        }
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

fn accept(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    shared.connections.fetch_add(1, Ordering::Relaxed);
    serve(Wire::accept(stream, peer_id(), Reserved::default())?, shared)
}

fn serve(mut wire: Wire, shared: &Shared) -> io::Result<()> {
    let hash = wire.theirs.hash;
    let Some(held) = shared.held.iter().find(|held| held.hash == hash) else { return Ok(()) };
    let have = match &shared.habits.only {
        None => Bitfield::full(held.pieces),
        Some(only) => {
            let mut some = Bitfield::new(held.pieces);
            for piece in only {
                some.set(*piece);
            }
            some
        }
    };
    wire.send_bitfield(&have)?;
    while !shared.stop.load(Ordering::Relaxed) {
        match wire.next(TICK)? {
            Some(Got::Interested) if !shared.habits.mute => wire.send(&Message::Unchoke)?,
            Some(Got::Request(block)) if !shared.habits.mute => give(&mut wire, held, shared, block)?,
            _ => {}
        }
    }
    Ok(())
}

fn give(wire: &mut Wire, held: &Held, shared: &Shared, block: Block) -> io::Result<()> {
    shared.asked.lock().unwrap().push(block);
    let due = Instant::now() + shared.habits.pause;
    while Instant::now() < due && !shared.stop.load(Ordering::Relaxed) {
        pause(TICK.min(shared.habits.pause));
    }
    let PieceIndex(piece) = block.piece;
    let start = piece as usize * held.piece_len + block.offset as usize;
    let mut payload = held.stream[start..start + block.len as usize].to_vec();
    if shared.habits.spoil.contains(&piece) {
        payload[0] ^= 0xff;
    }
    wire.send_block(block, &payload)?;
    held.sent.fetch_add(u64::from(block.len), Ordering::Relaxed);
    Ok(())
}
