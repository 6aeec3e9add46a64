//! Attacks before and in the handshake: connections that say nothing, half of it, or what costs to compute.
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use wgo_proto::units::WireHash;

use super::attack::{Attack, Bound, Field};
use super::flood::{Line, handshake};
use crate::wait::pause;
use crate::wire::dial;

/// Bytes of a Diffie-Hellman key of MSE, and the most that may pad it.
const KEY: usize = 96;
const PAD: usize = 512;
/// Between two rounds over all connections.
const TICK: Duration = Duration::from_millis(5);

/// What is done before there is a connection.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    vec![
        // 256 may shake hands at a time, each with a socket; all others wait in the system's backlog.
        attack("connections that say nothing", "connections", Bound::new(8, 300, 100), silent),
        attack("half of a handshake", "connections", Bound::new(8, 300, 100), half),
        attack("a handshake byte by byte", "bytes", Bound::new(8, 300, 40), dribble),
        // A hundred of one torrent may be connected, beside the honest ones: some hundred bytes each, and sockets.
        attack("connect and hold", "connections", Bound::new(12, 400, 800), hold),
        attack("connect and go, again and again", "connections", Bound::new(8, 300, 800), churn),
        attack("unknown info-hashes", "connections", Bound::new(8, 300, 500), unknown),
        attack("no handshake at all", "connections", Bound::new(8, 300, 500), garbage),
        // A thousand keys a second are computed for strangers, 50 µs each, and twice for each handshake.
        attack("MSE: a key and silence", "connections", Bound::new(8, 300, 600), key_only),
        attack("MSE: keys with the longest pads", "connections", Bound::new(8, 300, 800), padded),
        attack("MSE: a wrong end of the handshake", "connections", Bound::new(8, 300, 800), wrong_end),
    ]
}

/// Opens connections, up to so many at a time, and keeps them until the daemon closes them or the time is over. Each
/// sends what `first` gives. Gives how many there were.
pub(super) fn open_and_keep(field: &Field<'_>, at_once: usize, first: &dyn Fn() -> Vec<u8>) -> u64 {
    let (mut lines, mut opened, mut dump) = (Vec::new(), 0, Vec::new());
    while !field.over() {
        while lines.len() < at_once && !field.over() {
            let Ok(line) = Line::open(field, field.attacker(opened), first()) else { break };
            lines.push(line);
            opened += 1;
        }
        lines.retain_mut(|line: &mut Line| {
            dump.clear();
            line.pump().is_ok() && line.read(&mut dump).is_ok()
        });
        pause(TICK);
    }
    opened as u64
}

fn silent(field: &Field<'_>) -> u64 {
    open_and_keep(field, field.many(600, 2000), &Vec::new)
}

fn half(field: &Field<'_>) -> u64 {
    open_and_keep(field, field.many(600, 2000), &|| handshake(field.seeded.hash())[..40].to_vec())
}

fn dribble(field: &Field<'_>) -> u64 {
    let whole = handshake(field.seeded.hash());
    let count = field.many(200, 1000);
    let open = |n| dial(Some(field.attacker(n)), field.to, false).ok();
    let mut lines: Vec<(TcpStream, usize)> = (0..count).filter_map(|n| Some((open(n)?, 0))).collect();
    let mut sent = 0;
    while !field.over() {
        lines.retain_mut(|(stream, at)| {
            // All but the last: it would be a handshake.
            let byte = &whole[*at..=*at];
            *at = (*at + 1).min(whole.len() - 2);
            sent += 1;
            stream.write_all(byte).is_ok()
        });
        pause(Duration::from_millis(20));
    }
    sent
}

fn hold(field: &Field<'_>) -> u64 {
    open_and_keep(field, field.many(600, 2000), &|| handshake(field.seeded.hash()))
}

/// Connects, begins with `first`, and goes at once; gives how often.
fn visits(field: &Field<'_>, first: &dyn Fn(usize) -> Vec<u8>) -> u64 {
    // As many a second as a stranger could begin who has a good line; in the short form a tenth of that.
    let each = Duration::from_micros(field.many(5000, 500) as u64);
    let mut done = 0;
    let mut kept = std::collections::VecDeque::new();
    while !field.over() {
        if let Ok(mut line) = Line::open(field, field.attacker(done), first(done)) {
            done += 1;
            // It is over either way.
            let _ = line.pump();
            kept.push_back(line);
        }
        if kept.len() > 20 {
            kept.pop_front();
        }
        pause(each);
    }
    done as u64
}

fn churn(field: &Field<'_>) -> u64 {
    visits(field, &|_| handshake(field.seeded.hash()))
}

fn unknown(field: &Field<'_>) -> u64 {
    visits(field, &|n| {
        let mut hash = [0x5a; 20];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        handshake(WireHash(hash))
    })
}

fn garbage(field: &Field<'_>) -> u64 {
    visits(field, &|_| {
        b"\x13BitTorrent protocoI and so on, with more than the bytes of a handshake.".to_vec()
    })
}

/// A number that is a key as good as any, and begins with no byte of a plain handshake.
fn key(n: u64) -> Vec<u8> {
    let mut key = vec![0x77; KEY];
    key[8..16].copy_from_slice(&n.to_be_bytes());
    key
}

fn key_only(field: &Field<'_>) -> u64 {
    open_and_keep(field, field.many(300, 1000), &|| key(fastrand::u64(..)))
}

fn padded(field: &Field<'_>) -> u64 {
    open_and_keep(field, field.many(300, 1000), &|| {
        let mut bytes = key(fastrand::u64(..));
        bytes.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(PAD));
        bytes
    })
}

/// A key, then what should be `HASH('req1', S)` somewhere within 512 bytes, and is nowhere.
fn wrong_end(field: &Field<'_>) -> u64 {
    visits(field, &|n| {
        let mut bytes = key(n as u64);
        bytes.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(PAD + 20 + 20 + 8 + 4 + 2));
        bytes
    })
}
