//! Floods of messages that are small, needless or wrong.
use super::attack::{Attack, Bound, Field};
use super::flood::{Flood, extended, frame};
use super::held::Held;

/// Connections of a flood.
const LINES: (usize, usize) = (5, 50);
/// Messages of a load.
const LOAD: u64 = 200;

/// What is done with messages that have little or no body.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // Fifty connections, and a bit for each piece of each of them.
    let small = Bound::new(16, 110, 2);
    vec![
        attack("keep-alives", "messages", small, keep_alives),
        attack("HAVE of one piece", "messages", small, haves),
        attack("HAVE of every piece", "messages", Bound::new(16, 110, 3), all_haves),
        attack("interested and not", "messages", Bound::new(16, 110, 3), interest),
        attack("choke and unchoke", "messages", Bound::new(16, 110, 15), chokes),
        attack("HAVE NONE again and again", "messages", Bound::new(16, 200, 3), have_none),
        attack("HAVE ALL and DONT HAVE in turn", "messages", Bound::new(16, 200, 3), have_and_not),
        attack("bitfields again and again", "bytes", Bound::new(16, 200, 1), bitfields),
        attack("bitfields of a wrong size", "messages", Bound::new(16, 300, 600), wrong_bitfields),
        attack("lengths of 2 GiB", "messages", Bound::new(16, 300, 600), huge_lengths),
        attack("messages nobody knows", "bytes", Bound::new(16, 110, 1), unknown),
        attack("extended messages nobody offered", "messages", Bound::new(16, 300, 5), unknown_extended),
        attack("nested extension handshakes", "bytes", Bound::new(16, 300, 2), nested),
        attack("ALLOWED FAST and SUGGEST of every piece", "messages", Bound::new(16, 110, 5), allowed_fast),
        attack("rejects of what nobody asked for", "messages", Bound::new(16, 300, 5), rejects),
        attack("PORT, again and again", "messages", small, ports),
    ]
}

fn flood(
    field: &Field<'_>,
    held: &Held,
    opening: Vec<u8>,
    load: &dyn Fn(u64) -> Vec<u8>,
    of_load: u64,
) -> u64 {
    let lines = field.many(LINES.0, LINES.1);
    Flood { lines, hash: held.hash(), opening, load, of_load, reads: true }.run(field)
}

fn repeated(field: &Field<'_>, held: &Held, opening: Vec<u8>, message: &[u8]) -> u64 {
    let load = message.repeat(LOAD as usize);
    flood(field, held, opening, &|_| load.clone(), LOAD)
}

fn keep_alives(field: &Field<'_>) -> u64 {
    repeated(field, field.seeded, Vec::new(), &[0; 4])
}

fn haves(field: &Field<'_>) -> u64 {
    repeated(field, field.fetched, Vec::new(), &frame(4, &[0, 0, 0, 7]))
}

fn all_haves(field: &Field<'_>) -> u64 {
    let pieces = u64::from(field.fetched.pieces());
    let load = |n: u64| -> Vec<u8> {
        (0..LOAD).flat_map(|m| frame(4, &(((n * LOAD + m) % pieces) as u32).to_be_bytes())).collect()
    };
    flood(field, field.fetched, Vec::new(), &load, LOAD)
}

fn interest(field: &Field<'_>) -> u64 {
    let both = [frame(2, &[]), frame(3, &[])].concat();
    repeated(field, field.seeded, Vec::new(), &both) * 2
}

/// Each unchoke has the daemon ask for blocks, each choke has it give them to others.
fn chokes(field: &Field<'_>) -> u64 {
    let both = [frame(1, &[]), frame(0, &[])].concat();
    repeated(field, field.fetched, field.fetched.full_bitfield(), &both) * 2
}

/// All but the last piece, and then five bytes that a naive engine looks at every piece for.
fn have_none(field: &Field<'_>) -> u64 {
    let mut bits = field.fetched.full_bitfield();
    bits.pop();
    bits.push(0);
    repeated(field, field.fetched, bits, &frame(15, &[]))
}

fn have_and_not(field: &Field<'_>) -> u64 {
    // `lt_donthave` has the id that the daemon offers; any id of ours will do, as theirs is asked for in theirs.
    let dont = extended(dont_have_id(), &[0, 0, 0, 3]);
    repeated(field, field.fetched, Vec::new(), &[frame(14, &[]), dont].concat()) * 2
}

/// The number by which the daemon wants `lt_donthave` to be called.
fn dont_have_id() -> u8 {
    wgo_proto::wire::Extension::DontHave.local_id()
}

fn bitfields(field: &Field<'_>) -> u64 {
    let message = field.fetched.full_bitfield();
    let of_load = message.len() as u64;
    flood(field, field.fetched, Vec::new(), &|_| message.clone(), of_load)
}

fn wrong_bitfields(field: &Field<'_>) -> u64 {
    let message = frame(5, &vec![0xff; field.fetched.pieces() as usize / 8 + 1]);
    flood(field, field.fetched, Vec::new(), &|_| message.clone(), 1)
}

fn huge_lengths(field: &Field<'_>) -> u64 {
    let message = [0x7f, 0xff, 0xff, 0xff, 7, 0, 0, 0, 1];
    flood(field, field.fetched, Vec::new(), &|_| message.to_vec(), 1)
}

/// Ids that no BEP names, with bodies that are to be skipped.
fn unknown(field: &Field<'_>) -> u64 {
    let message = frame(200, &[0xaa; 1000]);
    let of_load = message.len() as u64;
    flood(field, field.fetched, Vec::new(), &|_| message.clone(), of_load)
}

fn unknown_extended(field: &Field<'_>) -> u64 {
    repeated(field, field.seeded, Vec::new(), &extended(99, b"d1:ai1ee"))
}

fn nested(field: &Field<'_>) -> u64 {
    let body = [vec![b'l'; 20_000], vec![b'e'; 20_000]].concat();
    let message = extended(0, &body);
    let of_load = message.len() as u64;
    flood(field, field.seeded, Vec::new(), &|_| message.clone(), of_load)
}

fn allowed_fast(field: &Field<'_>) -> u64 {
    let pieces = u64::from(field.fetched.pieces());
    let load = |n: u64| -> Vec<u8> {
        let piece = |m: u64| (((n * LOAD + m) % pieces) as u32).to_be_bytes();
        (0..LOAD).flat_map(|m| [frame(17, &piece(m)), frame(13, &piece(m))].concat()).collect()
    };
    flood(field, field.fetched, field.fetched.full_bitfield(), &load, LOAD * 2)
}

fn rejects(field: &Field<'_>) -> u64 {
    let message = super::flood::of_block(16, 1, 0, 16_384);
    repeated(field, field.fetched, Vec::new(), &message)
}

fn ports(field: &Field<'_>) -> u64 {
    repeated(field, field.seeded, Vec::new(), &frame(9, &[0x1a, 0xe1]))
}
