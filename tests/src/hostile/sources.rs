//! Peers that say they have what the daemon wants, and give wrong bytes, none, or one at a time.
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use wgo_proto::units::{BLOCK_LEN, Block, WireHash};
use wgo_proto::wire::Reserved;
use wgo_proto::wire::message::{Message, block_header};

use super::attack::{Attack, Bound, Field};
use super::connecting::open_and_keep;
use super::flood::{Flood, handshake};
use crate::wait::pause;
use crate::wire::{Got, Wire, dial, peer_id};

/// A message is waited for so long before it is looked whether to end.
const TICK: Duration = Duration::from_millis(50);
/// Between two bytes of one who gives them one at a time.
const DRIBBLE: Duration = Duration::from_millis(20);
/// Who was thrown out comes again after this, from another address.
const AGAIN: Duration = Duration::from_millis(20);

/// What is done by those who are asked.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // Blocks of pieces that many have a part in are kept until the last has come.
    let parts = Bound::new(48, 110, 600);
    vec![
        attack("poisoners of many addresses", "blocks", parts, poison),
        attack("a byte now and then", "bytes", parts, dribble),
        attack("seeds that never unchoke", "connections", Bound::new(16, 300, 2000), never),
        attack("seeds that answer nothing", "requests", parts, mute),
        attack("seeds that refuse every request", "requests", parts, refuse),
        attack("half a block and a reset", "blocks", Bound::new(48, 300, 3000), reset),
        attack("blocks nobody asked for", "blocks", Bound::new(48, 300, 60), unasked),
        attack("blocks of 1 MiB", "blocks", Bound::new(16, 300, 1500), oversized),
    ]
}

/// How a peer behaves on a connection; it is told how to count what it did.
pub type Talk<'a> = dyn Fn(&mut Wire, &dyn Fn(u64)) -> io::Result<()> + Sync + 'a;

/// What such a peer does with a request.
type Answer<'a> = dyn Fn(&mut Wire, Block, &dyn Fn(u64)) -> io::Result<()> + Sync + 'a;

/// Connects `peers` peers at a time that `talk`, each again from another address when it is thrown out. Gives what
/// they counted.
pub fn crowd(field: &Field<'_>, peers: usize, hash: WireHash, talk: &Talk<'_>) -> u64 {
    let (next, counted) = (AtomicUsize::new(0), AtomicU64::new(0));
    let count = |more| {
        counted.fetch_add(more, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..peers {
            scope.spawn(|| {
                while !field.over() {
                    let from = field.attacker(next.fetch_add(1, Ordering::Relaxed));
                    let met = dial(Some(from), field.to, false).and_then(|stream| {
                        Wire::open(stream, hash, peer_id(), Reserved::FAST | Reserved::EXTENSIONS)
                    });
                    // That it is thrown out is what it asks for.
                    let _ = met.and_then(|mut wire| talk(&mut wire, &count));
                    pause(AGAIN);
                }
            });
        }
    });
    counted.into_inner()
}

/// Offers everything of what the daemon downloads, and meets each request with `answer`.
fn seeds(field: &Field<'_>, peers: usize, answer: &Answer<'_>) -> u64 {
    crowd(field, peers, field.fetched.hash(), &|wire, count| {
        wire.send_raw(&field.fetched.full_bitfield())?;
        wire.send(&Message::Unchoke)?;
        while !field.over() {
            if let Some(Got::Request(block)) = wire.next(TICK)? {
                answer(wire, block, count)?;
            }
        }
        Ok(())
    })
}

fn poison(field: &Field<'_>) -> u64 {
    let wrong = vec![0xff; BLOCK_LEN as usize];
    // At a pace: what the daemon writes and hashes is work that any peer may give it.
    let between = Duration::from_millis(field.many(40, 4) as u64);
    seeds(field, field.many(8, 30), &|wire, block, count| {
        pause(between);
        wire.send_block(block, &wrong[..block.len as usize])?;
        count(1);
        Ok(())
    })
}

fn dribble(field: &Field<'_>) -> u64 {
    seeds(field, field.many(8, 60), &|wire, block, count| {
        wire.send_raw(&block_header(block))?;
        for _ in 0..block.len {
            if field.over() {
                break;
            }
            wire.send_raw(&[0])?;
            count(1);
            pause(DRIBBLE);
        }
        Ok(())
    })
}

fn never(field: &Field<'_>) -> u64 {
    let first = || [handshake(field.fetched.hash()), field.fetched.full_bitfield()].concat();
    open_and_keep(field, field.many(60, 100), &first)
}

fn mute(field: &Field<'_>) -> u64 {
    seeds(field, field.many(20, 60), &|_, _, count| {
        count(1);
        Ok(())
    })
}

fn refuse(field: &Field<'_>) -> u64 {
    seeds(field, field.many(20, 60), &|wire, block, count| {
        count(1);
        wire.send(&Message::Reject(block))
    })
}

fn reset(field: &Field<'_>) -> u64 {
    seeds(field, field.many(10, 40), &|wire, block, count| {
        wire.send_raw(&block_header(block))?;
        wire.send_raw(&vec![0; block.len as usize / 2])?;
        count(1);
        let stream: &TcpStream = wire.stream();
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        Err(io::ErrorKind::ConnectionReset.into())
    })
}

fn blocks(field: &Field<'_>, len: u32, of_load: u64) -> u64 {
    let load = |n: u64| -> Vec<u8> {
        let one = |m: u64| {
            let piece = ((n * of_load + m) % u64::from(field.fetched.pieces())) as u32;
            let head = [piece.to_be_bytes(), 0_u32.to_be_bytes()].concat();
            super::flood::frame(7, &[head, vec![0xee; len as usize]].concat())
        };
        (0..of_load).flat_map(one).collect()
    };
    let lines = field.many(4, 20);
    let opening = field.fetched.full_bitfield();
    Flood { lines, hash: field.fetched.hash(), opening, load: &load, of_load, reads: true }.run(field)
}

fn unasked(field: &Field<'_>) -> u64 {
    blocks(field, BLOCK_LEN, 4)
}

fn oversized(field: &Field<'_>) -> u64 {
    blocks(field, 1 << 20, 1)
}
