//! Floods of requests: more than can be served, never read, taken back, for what isn't there.
use super::attack::{Attack, Bound, Field};
use super::flood::{Flood, extended, frame, of_block};
use wgo_proto::units::BLOCK_LEN;

/// Ids of messages.
const REQUEST: u8 = 6;
const CANCEL: u8 = 8;
/// Connections of a flood.
const LINES: (usize, usize) = (5, 50);
/// Messages of a load.
const LOAD: u64 = 200;

/// What is done by those who ask.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // Each connection may hold a batch of 256 KiB that the socket doesn't take, and a queue of 2048 requests.
    let unread = Bound::new(32, 110, 20);
    vec![
        attack("requests of every piece, never read", "messages", unread, unread_requests),
        attack("one request ten thousand times, never read", "messages", unread, duplicates),
        attack("requests taken back at once", "messages", Bound::new(32, 110, 20), cancels),
        attack("cancels of what was never asked for", "messages", Bound::new(32, 110, 4), idle_cancels),
        attack("requests while choked and not interested", "messages", Bound::new(16, 300, 8), uninvited),
        attack("requests of no such piece", "messages", Bound::new(16, 300, 600), out_of_range),
        attack("requests of one byte", "messages", Bound::new(32, 110, 60), tiny),
        attack("hash requests (BEP 52)", "messages", Bound::new(16, 110, 5), hashes),
        attack("requests for metadata", "messages", Bound::new(32, 300, 20), metadata),
    ]
}

fn flood(
    field: &Field<'_>,
    opening: Vec<u8>,
    reads: bool,
    load: &dyn Fn(u64) -> Vec<u8>,
    of_load: u64,
) -> u64 {
    let lines = field.many(LINES.0, LINES.1);
    Flood { lines, hash: field.seeded.hash(), opening, load, of_load, reads }.run(field)
}

fn interested() -> Vec<u8> {
    frame(2, &[])
}

fn unread_requests(field: &Field<'_>) -> u64 {
    let pieces = u64::from(field.seeded.pieces());
    let load = |n: u64| -> Vec<u8> {
        (0..LOAD).flat_map(|m| of_block(REQUEST, ((n * LOAD + m) % pieces) as u32, 0, BLOCK_LEN)).collect()
    };
    flood(field, interested(), false, &load, LOAD)
}

fn duplicates(field: &Field<'_>) -> u64 {
    let load = of_block(REQUEST, 1, 0, BLOCK_LEN).repeat(LOAD as usize);
    flood(field, interested(), false, &|_| load.clone(), LOAD)
}

/// A full queue of requests; then each cancel has it searched to its end, and each request fills it again.
fn cancels(field: &Field<'_>) -> u64 {
    let fill = of_block(REQUEST, 1, 0, BLOCK_LEN).repeat(field.many(200, 2047));
    let pair = [of_block(REQUEST, 2, 0, BLOCK_LEN), of_block(CANCEL, 2, 0, BLOCK_LEN)].concat();
    let load = pair.repeat(LOAD as usize);
    flood(field, [interested(), fill].concat(), false, &|_| load.clone(), LOAD * 2)
}

fn idle_cancels(field: &Field<'_>) -> u64 {
    let load = of_block(CANCEL, 3, 0, BLOCK_LEN).repeat(LOAD as usize);
    flood(field, Vec::new(), true, &|_| load.clone(), LOAD)
}

fn uninvited(field: &Field<'_>) -> u64 {
    let load = of_block(REQUEST, 1, 0, BLOCK_LEN).repeat(LOAD as usize);
    flood(field, frame(3, &[]), true, &|_| load.clone(), LOAD)
}

fn out_of_range(field: &Field<'_>) -> u64 {
    let message = of_block(REQUEST, u32::MAX, 0, BLOCK_LEN);
    flood(field, interested(), true, &|_| message.clone(), 1)
}

fn tiny(field: &Field<'_>) -> u64 {
    let load = |n: u64| -> Vec<u8> {
        (0..LOAD).flat_map(|m| of_block(REQUEST, (n % 64) as u32, (m * 7 % 16_000) as u32, 1)).collect()
    };
    flood(field, interested(), true, &load, LOAD)
}

fn hashes(field: &Field<'_>) -> u64 {
    let numbers: Vec<u8> = [0_u32, 0, 512, 8].iter().flat_map(|number| number.to_be_bytes()).collect();
    let load = frame(21, &[vec![7; 32], numbers].concat()).repeat(LOAD as usize);
    flood(field, Vec::new(), true, &|_| load.clone(), LOAD)
}

fn metadata(field: &Field<'_>) -> u64 {
    let id = wgo_proto::wire::Extension::Metadata.local_id();
    let load = extended(id, b"d8:msg_typei0e5:piecei0ee").repeat(LOAD as usize);
    let hello = extended(0, b"d1:md11:ut_metadatai3eee");
    flood(field, hello, false, &|_| load.clone(), LOAD)
}
