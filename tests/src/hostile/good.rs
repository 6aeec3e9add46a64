//! The honest transfers beside an attack: a peer that takes from the daemon and one that gives to it, each at a rate
//! far below what either could do, so that less tells of the daemon and not of the machine.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wgo_proto::bitfield::Bitfield;
use wgo_proto::units::{BLOCK_LEN, Block, PieceIndex};
use wgo_proto::wire::message::Message;

use super::held::Held;
use crate::wait::pause;
use crate::wire::{Got, Wire};

/// Bytes a second: a hundredth or so of what a daemon does that has a processor for itself.
pub const RATE: u64 = 1 << 20;
/// What was missed while the daemon was slow is made up for by so much, and no more.
const BURST: Duration = Duration::from_millis(100);
/// How often the threads look whether to end, and whether it is time for the next block.
const TICK: Duration = Duration::from_millis(5);
/// Requests that the one who takes keeps outstanding: a second's worth, so that a busy machine is no slow daemon.
const PIPELINE: u32 = 64;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    bytes: AtomicU64,
    connections: AtomicU64,
    chokes: AtomicU64,
}

/// One of the two; ends when dropped. It comes again when it is thrown out, which costs it a moment.
#[derive(Debug)]
pub struct Good {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Good {
    /// A peer at `from` that takes `held` of the daemon at `to`, again and again.
    pub fn taking(from: IpAddr, to: SocketAddr, held: Held) -> Good {
        Good::begin(move |shared| {
            let mut wire = Wire::connect(from, to, held.hash())?;
            shared.connections.fetch_add(1, Ordering::Relaxed);
            take(&mut wire, shared, &held)
        })
    }

    /// A peer at `from` that gives `held` to the daemon at `to`.
    pub fn giving(from: IpAddr, to: SocketAddr, held: Held) -> Good {
        Good::begin(move |shared| {
            let mut wire = Wire::connect(from, to, held.hash())?;
            shared.connections.fetch_add(1, Ordering::Relaxed);
            give(&mut wire, shared, &held)
        })
    }

    fn begin(talk: impl Fn(&Shared) -> io::Result<()> + Send + 'static) -> Good {
        let shared = Arc::new(Shared::default());
        let inside = shared.clone();
        let thread = std::thread::spawn(move || {
            while !inside.stop.load(Ordering::Relaxed) {
                // It was thrown out, or not let in: what that costs is what is measured.
                let _ = talk(&inside);
                pause(TICK);
            }
        });
        Good { shared, thread: Some(thread) }
    }

    /// Payload bytes so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How often it was choked.
    pub fn chokes(&self) -> u64 {
        self.shared.chokes.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; a second one here would hide the first.
            let _ = thread.join();
        }
    }
}

/// Says when the next block is due.
struct Pace {
    due: Instant,
}

impl Pace {
    fn new() -> Pace {
        Pace { due: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.due <= Instant::now()
    }

    fn took(&mut self, bytes: u32) {
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(self.due);
        self.due = self.due.max(earliest) + Duration::from_secs_f64(f64::from(bytes) / RATE as f64);
    }
}

fn take(wire: &mut Wire, shared: &Shared, held: &Held) -> io::Result<()> {
    let per_piece = held.piece_len / BLOCK_LEN;
    let (mut next, mut outstanding, mut unchoked, mut pace) = (0_u32, 0_u32, false, Pace::new());
    wire.send_bitfield(&Bitfield::new(held.pieces()))?;
    wire.send(&Message::Interested)?;
    while !shared.stop.load(Ordering::Relaxed) {
        match wire.next(TICK)? {
            Some(Got::Unchoke) => unchoked = true,
            Some(Got::Choke) => {
                shared.chokes.fetch_add(1, Ordering::Relaxed);
                (unchoked, outstanding) = (false, 0);
            }
            Some(Got::Piece(block, _)) => {
                shared.bytes.fetch_add(u64::from(block.len), Ordering::Relaxed);
                outstanding = outstanding.saturating_sub(1);
            }
            _ => {}
        }
        while unchoked && outstanding < PIPELINE && pace.is_due() {
            let piece = PieceIndex(next / per_piece);
            let offset = next % per_piece * BLOCK_LEN;
            wire.send(&Message::Request(Block { piece, offset, len: BLOCK_LEN }))?;
            pace.took(BLOCK_LEN);
            next = (next + 1) % (held.pieces() * per_piece);
            outstanding += 1;
        }
    }
    Ok(())
}

fn give(wire: &mut Wire, shared: &Shared, held: &Held) -> io::Result<()> {
    let zeros = vec![0; BLOCK_LEN as usize];
    let (mut asked, mut pace) = (std::collections::VecDeque::new(), Pace::new());
    wire.send_raw(&held.full_bitfield())?;
    while !shared.stop.load(Ordering::Relaxed) {
        match wire.next(TICK)? {
            Some(Got::Interested) => wire.send(&Message::Unchoke)?,
            Some(Got::Request(block)) => asked.push_back(block),
            Some(Got::Cancel(block)) => asked.retain(|other| *other != block),
            _ => {}
        }
        while pace.is_due()
            && let Some(block) = asked.pop_front()
        {
            wire.send_block(block, &zeros[..block.len as usize])?;
            pace.took(block.len);
            shared.bytes.fetch_add(u64::from(block.len), Ordering::Relaxed);
        }
    }
    Ok(())
}
