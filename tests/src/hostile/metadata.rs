//! Attacks on torrents of which only the hash is known: metadata that is huge, wrong, refused or never asked for
//! (BEP 9).
use std::time::Duration;

use wgo_proto::units::WireHash;
use wgo_proto::wire::Extension;

use super::attack::{Attack, Bound, Field};
use super::flood::{Flood, extended};
use super::sources::{Talk, crowd};
use crate::wire::Got;

/// The number by which we have the daemon call `ut_metadata`.
const OURS: u8 = 3;
/// Bytes of a piece of metadata.
const PIECE: usize = 16 * 1024;
/// Pieces of what is offered that is wrong: one MiB.
const OFFERED: usize = 64;
/// An answer is waited for so long before it is looked whether to end.
const TICK: Duration = Duration::from_millis(50);

/// What is done to a magnet link.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    vec![
        attack("metadata of 2 GiB is claimed", "messages", Bound::new(16, 300, 60), huge),
        attack("metadata of each size there is", "messages", Bound::new(16, 300, 60), all_sizes),
        // What may be held of a torrent that is not known yet is bounded, whoever sends it.
        attack("metadata with wrong bytes", "KiB", Bound::new(48, 300, 60), wrong),
        attack("metadata is refused, again and again", "messages", Bound::new(16, 300, 400), refused),
        attack("metadata nobody asked for", "KiB", Bound::new(24, 300, 40), unasked),
        attack(
            "bitfields of a million pieces before the metadata",
            "KiB",
            Bound::new(48, 300, 20),
            early_bits,
        ),
    ]
}

/// Adds a magnet link of a hash that nobody has, does something to it, and removes it.
fn to_a_link(field: &Field<'_>, work: impl FnOnce(WireHash) -> u64) -> u64 {
    let mut hash = [0xab; 20];
    hash[..4].copy_from_slice(&field.run.to_be_bytes());
    let hash = WireHash(hash);
    let added = field.daemon.add_link(&format!("magnet:?xt=urn:btih:{hash}"), &field.daemon.downloads());
    assert_eq!(added.info_hash, Some(hash.to_string()), "{:?}", added.error);
    let done = work(hash);
    field.daemon.remove(&hash.to_string(), true);
    done
}

fn hello(size: u64) -> Vec<u8> {
    extended(0, format!("d1:md11:ut_metadatai{OURS}ee13:metadata_sizei{size}ee").as_bytes())
}

fn flood(field: &Field<'_>, hash: WireHash, load: &dyn Fn(u64) -> Vec<u8>, of_load: u64) -> u64 {
    let lines = field.many(10, 50);
    let opening = hello(5 * PIECE as u64);
    Flood { lines, hash, opening, load, of_load, reads: true }.run(field)
}

fn huge(field: &Field<'_>) -> u64 {
    let load = hello(1 << 31).repeat(50);
    to_a_link(field, |hash| flood(field, hash, &|_| load.clone(), 50))
}

fn all_sizes(field: &Field<'_>) -> u64 {
    let load = |n: u64| -> Vec<u8> { (0..50).flat_map(|m| hello(1 + n * 50 + m)).collect() };
    to_a_link(field, |hash| flood(field, hash, &load, 50))
}

fn unasked(field: &Field<'_>) -> u64 {
    let id = Extension::Metadata.local_id();
    let load = |n: u64| -> Vec<u8> {
        let piece = n % 5;
        let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{}ee", 5 * PIECE);
        extended(id, &[head.as_bytes(), &vec![0x5a; PIECE]].concat())
    };
    to_a_link(field, |hash| flood(field, hash, &load, PIECE as u64 / 1024))
}

/// Each bitfield is kept until it is known how many pieces there are, within a bound.
fn early_bits(field: &Field<'_>) -> u64 {
    let load = super::flood::frame(5, &vec![0xff; 125_000]);
    to_a_link(field, |hash| flood(field, hash, &|_| load.clone(), 122))
}

/// The piece that a request names.
fn piece_of(request: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(request);
    text.split_once("5:piecei")?.1.split_once('e')?.0.parse().ok()
}

/// Offers metadata and answers each request with what `answer` makes of it.
fn answering(field: &Field<'_>, answer: &(dyn Fn(usize) -> Vec<u8> + Sync)) -> u64 {
    let id = Extension::Metadata.local_id();
    to_a_link(field, |hash| {
        let talk: &Talk<'_> = &|wire, done| {
            wire.send_raw(&hello((OFFERED * PIECE) as u64))?;
            while !field.over() {
                let Some(Got::Extended(OURS, body)) = wire.next(TICK)? else { continue };
                let Some(piece) = piece_of(&body) else { continue };
                let body = answer(piece);
                wire.send_raw(&extended(id, &body))?;
                done(body.len().div_ceil(1024) as u64);
            }
            Ok(())
        };
        crowd(field, field.many(8, 40), hash, talk)
    })
}

fn wrong(field: &Field<'_>) -> u64 {
    answering(field, &|piece| {
        let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{}ee", OFFERED * PIECE);
        [head.as_bytes(), &vec![piece as u8; PIECE]].concat()
    })
}

fn refused(field: &Field<'_>) -> u64 {
    answering(field, &|piece| format!("d8:msg_typei2e5:piecei{piece}ee").into_bytes())
}
