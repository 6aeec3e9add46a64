//! A scripted peer that takes: asks for blocks as long as it is unchoked, and counts what comes.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wgo_proto::bitfield::Bitfield;
use wgo_proto::units::{BLOCK_LEN, Block, PieceIndex, WireHash};
use wgo_proto::wire::message::Message;

use crate::wire::{Got, Wire};

/// How often the thread looks whether to end.
const TICK: Duration = Duration::from_millis(20);

/// Requests that it keeps outstanding.
const PIPELINE: u32 = 16;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    unchoked: AtomicBool,
    turns: AtomicU64,
    bytes: AtomicU64,
}

/// A running leecher; ends when dropped. It never says that it has a piece, so it stays interested.
#[derive(Debug)]
pub struct Leecher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Leecher {
    /// Connects from `from` to the daemon at `to`. It asks for whole blocks of the first `pieces`
    /// pieces (of `piece_len` bytes, all whole), in turn and again from the start.
    pub fn start(from: IpAddr, to: SocketAddr, hash: WireHash, pieces: u32, piece_len: u32) -> Leecher {
        let shared = Arc::new(Shared::default());
        let mut wire = Wire::meet(from, to, hash, true).unwrap();
        let inside = shared.clone();
        let thread = std::thread::spawn(move || {
            wire.send_bitfield(&Bitfield::new(pieces))?;
            wire.send(&Message::Interested)?;
            take(&mut wire, &inside, pieces, piece_len)
        });
        Leecher { shared, thread: Some(thread) }
    }

    /// Whether the daemon lets it ask now.
    pub fn is_unchoked(&self) -> bool {
        self.shared.unchoked.load(Ordering::Relaxed)
    }

    /// How often it was unchoked.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// Payload bytes that came.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Leecher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // How the connection ended is what the test asks for before, if at all.
            let _ = thread.join();
        }
    }
}

fn take(wire: &mut Wire, shared: &Shared, pieces: u32, piece_len: u32) -> io::Result<()> {
    let blocks = pieces * (piece_len / BLOCK_LEN);
    let (mut next, mut outstanding) = (0_u32, 0_u32);
    while !shared.stop.load(Ordering::Relaxed) {
        match wire.next(TICK)? {
            Some(Got::Unchoke) => {
                shared.turns.fetch_add(1, Ordering::Relaxed);
                shared.unchoked.store(true, Ordering::Relaxed);
            }
            Some(Got::Choke) => {
                shared.unchoked.store(false, Ordering::Relaxed);
                // Without BEP 6 a choke means that everything outstanding is dropped.
                outstanding = 0;
            }
            Some(Got::Piece(block, _)) => {
                shared.bytes.fetch_add(u64::from(block.len), Ordering::Relaxed);
                outstanding = outstanding.saturating_sub(1);
            }
            _ => {}
        }
        while shared.unchoked.load(Ordering::Relaxed) && outstanding < PIPELINE {
            let at = u64::from(next) * u64::from(BLOCK_LEN);
            let piece = PieceIndex((at / u64::from(piece_len)) as u32);
            let offset = (at % u64::from(piece_len)) as u32;
            wire.send(&Message::Request(Block { piece, offset, len: BLOCK_LEN }))?;
            next = (next + 1) % blocks;
            outstanding += 1;
        }
    }
    Ok(())
}
