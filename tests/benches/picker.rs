//! The picker at size: 100,000 pieces, 1,000 peers with all kinds of bitfields.
//!
//! What is measured is `PieceMgr`, as a Swarm calls it under its lock.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use wgo_core::piece_mgr::{Ask, Pace, PeerHave, PieceMgr, Receive};
use wgo_core::{PeerKey, Time};
use wgo_proto::layout::Layout;
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PieceIndex};

const PIECES: u32 = 100_000;
const PEERS: u32 = 1_000;
/// Blocks of a piece.
const BLOCKS: u32 = 16;
/// Requests of one pick: what falls free of an ordinary window.
const BATCH: usize = 16;

fn layout() -> Layout {
    Layout::v1(BLOCKS * BLOCK_LEN, &[u64::from(PIECES * BLOCKS) * u64::from(BLOCK_LEN)]).unwrap()
}

fn key(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

/// A bitfield of which `permille` of the bits are ones.
fn bits(rng: &mut fastrand::Rng, permille: u32) -> Bitfield {
    let mut bits = Bitfield::new(PIECES);
    (0..PIECES).filter(|_| rng.u32(..1000) < permille).for_each(|piece| _ = bits.set(piece));
    bits
}

/// One in ten is a seed, one in ten has nothing, the others have anything between.
fn peers(seeds: bool) -> Vec<PeerHave> {
    let mut rng = fastrand::Rng::with_seed(1);
    let one = |n: u32| match n % 10 {
        0 if seeds => PeerHave::All,
        1 => PeerHave::None,
        _ => {
            let permille = rng.u32(1..1000);
            PeerHave::from_bitfield(bits(&mut rng, permille))
        }
    };
    (0..PEERS).map(one).collect()
}

/// A torrent with a third of its pieces, these peers, and a piece open for every fast one.
fn torrent(peers: &[PeerHave]) -> PieceMgr<u32> {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut mgr = PieceMgr::new(layout(), bits(&mut rng, 333), 3);
    peers.iter().for_each(|has| mgr.add_peer(has));
    for (slot, has) in (0..).zip(peers) {
        let pace = if slot % 2 == 0 { Pace::Fast } else { Pace::Medium };
        mgr.pick(Time::ZERO, &ask(slot, has, pace, 4), &mut Vec::new());
    }
    mgr
}

fn ask(slot: u32, has: &PeerHave, pace: Pace, count: usize) -> Ask<'_> {
    let (peer, may_open) = (key(slot), usize::MAX);
    Ask { peer, has, count, pace, allowed_fast: None, suggested: &[], may_open }
}

/// Requests and nothing else: each is called off again.
fn requests(c: &mut Criterion) {
    let peers = peers(true);
    let mut group = c.benchmark_group("picker");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, pace) in [("fast", Pace::Fast), ("medium", Pace::Medium), ("slow", Pace::Slow)] {
        let mut mgr = torrent(&peers);
        let mut out = Vec::new();
        let mut slot = 0;
        group.bench_function(format!("request and release, {name} peers"), |b| {
            b.iter(|| {
                slot = (slot + 1) % PEERS;
                mgr.pick(Time::ZERO, &ask(slot, &peers[slot as usize], pace, BATCH), &mut out);
                out.drain(..).for_each(|block| mgr.release(key(slot), block));
            });
        });
    }
    group.finish();
}

/// The life of a block: requested, received, its piece written and, so that there is always another,
/// lost again.
fn blocks(c: &mut Criterion) {
    let peers = peers(true);
    let mut mgr = torrent(&peers);
    let mut group = c.benchmark_group("picker");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (mut slot, mut out): (u32, Vec<Block>) = (0, Vec::new());
    group.bench_function("request and receive", |b| {
        b.iter(|| {
            slot = (slot + 1) % PEERS;
            let pace = if slot.is_multiple_of(2) { Pace::Fast } else { Pace::Medium };
            mgr.pick(Time::ZERO, &ask(slot, &peers[slot as usize], pace, BATCH), &mut out);
            for block in out.drain(..) {
                match mgr.receive(Time::ZERO, key(slot), block, 0) {
                    Receive::Stored { complete: Some(complete), .. } => mgr.write_failed(complete.piece),
                    Receive::Stored { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    });
    group.finish();
}

/// A peer of which nothing can be had, asked again and again; without any seed, and with two pieces in
/// three that nobody has.
fn nothing_to_pick(c: &mut Criterion) {
    let mut rng = fastrand::Rng::with_seed(4);
    let third = bits(&mut rng, 333);
    let mut mgr = PieceMgr::<u32>::new(layout(), third.clone(), 5);
    let has = PeerHave::from_bitfield(third);
    (0..PEERS).for_each(|_| mgr.add_peer(&has));
    let mut out = Vec::new();
    c.bench_function("picker/nothing to request", |b| {
        b.iter(|| mgr.pick(Time::ZERO, &ask(1, &has, Pace::Medium, BATCH), &mut out));
    });
    assert!(out.is_empty(), "there was something");
}

/// What peers say of what they have.
fn availability(c: &mut Criterion) {
    let mut peers = peers(true);
    let mut mgr = torrent(&peers);
    let mut rng = fastrand::Rng::with_seed(6);
    c.bench_function("picker/have", |b| {
        b.iter(|| {
            let has = &mut peers[rng.usize(..PEERS as usize)];
            let piece = PieceIndex(rng.u32(..PIECES));
            black_box(mgr.peer_got(has, piece));
        });
    });
    let half = PeerHave::from_bitfield(bits(&mut rng, 500));
    let few = PeerHave::from_bitfield(bits(&mut rng, 1));
    for (name, has) in [("half", &half), ("few pieces", &few), ("have-all", &PeerHave::All)] {
        c.bench_function(&format!("picker/bitfield and disconnect, {name}"), |b| {
            b.iter(|| {
                mgr.add_peer(has);
                black_box(mgr.interesting_count(has));
                mgr.remove_peer(has);
            });
        });
    }
    let mut out = Vec::new();
    c.bench_function("picker/bitfield, first request, disconnect", |b| {
        b.iter(|| {
            mgr.add_peer(&half);
            mgr.pick(Time::ZERO, &ask(PEERS, &half, Pace::Fast, 4), &mut out);
            out.drain(..).for_each(|block| mgr.release(key(PEERS), block));
            mgr.remove_peer(&half);
        });
    });
}

/// The first request of a torrent sorts all its pieces.
fn first_request(c: &mut Criterion) {
    for seeds in [true, false] {
        let peers = peers(seeds);
        let mut have = Bitfield::new(PIECES);
        (0..8).for_each(|piece| _ = have.set(piece));
        let fresh = || {
            let mut mgr = PieceMgr::<u32>::new(layout(), have.clone(), 3);
            peers.iter().take(if seeds { PEERS as usize } else { 10 }).for_each(|has| mgr.add_peer(has));
            mgr
        };
        let name = if seeds { "1,000 peers" } else { "10 peers" };
        c.bench_function(&format!("picker/first request, {name}"), |b| {
            let pick = |mut mgr: PieceMgr<u32>| {
                mgr.pick(Time::ZERO, &ask(5, &peers[5], Pace::Fast, BATCH), &mut Vec::new());
                mgr
            };
            b.iter_batched(fresh, pick, BatchSize::PerIteration);
        });
    }
}

fn main() {
    let mut c = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    requests(&mut c);
    blocks(&mut c);
    nothing_to_pick(&mut c);
    availability(&mut c);
    first_request(&mut c);
    c.final_summary();
}
