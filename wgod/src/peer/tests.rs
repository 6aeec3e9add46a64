//! A connection from outside: framing, requests, blocks, and what ends it.
mod encrypted;

use std::time::Duration;

use wgo_api::torrent::State;
use wgo_core::ByteRate;
use wgo_core::limiter::Direction;
use wgo_proto::wire::message::id;
use wgo_proto::wire::{Message, block_header};
use wgo_proto::{BLOCK_LEN, Block, PieceIndex, WireHash};

use crate::outlet::Outlet;
use crate::rig::*;

const PIECE: usize = 4 * BLOCK_LEN as usize;

/// Bytes of what a function of five parameters returns.
fn result_len<A, B, C, D, E, Result>(_: fn(A, B, C, D, E) -> Result) -> usize {
    size_of::<Result>()
}

#[test]
fn a_connection_costs_little_memory() {
    // Of which the task of each connection consists; beside it the Swarm's part is as much again.
    assert!(result_len(super::run) <= 1150, "{}", result_len(super::run));
}

/// A daemon that seeds `payload`.
async fn seeding(payload: &[u8]) -> (Rig, WireHash) {
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("t"), payload).expect("the payload is written");
    let hash = hash_of(&rig, payload, State::Seeding).await;
    (rig, hash)
}

/// Adds the torrent and waits until it is in this state.
async fn hash_of(rig: &Rig, payload: &[u8], state: State) -> WireHash {
    let file = torrent_file("t", payload, PIECE);
    let added = rig.add(&file).await;
    assert_eq!(added.error.map(|e| e.to_string()), None);
    rig.until("t", state).await;
    let metainfo = wgo_proto::metainfo::Metainfo::parse(&file).expect("ours");
    let hash = metainfo.hashes.canonical();
    while rig.engine.registry.find(&hash).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    hash
}

/// A daemon that wants `payload`.
async fn wanting(payload: &[u8]) -> (Rig, WireHash) {
    let rig = Rig::new().await;
    let hash = hash_of(&rig, payload, State::Downloading).await;
    (rig, hash)
}

/// Unchokes the daemon and serves it until it has everything.
async fn serve(peer: &Peer, payload: &[u8]) {
    peer.says(&[Message::HaveAll, Message::Unchoke]).await;
    let mut served = 0;
    while served < payload.len() {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        served += asked.len as usize;
        peer.send(&piece_message(asked, payload, PIECE)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_is_fetched_from_a_peer_and_kept_through_a_restart() {
    let payload = noise(3 * PIECE + 777);
    let (rig, hash) = wanting(&payload).await;
    let peer = rig.peer(hash, 1).await;
    serve(&peer, &payload).await;
    let row = rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!((row.state, row.done_bytes), (State::Seeding, payload.len() as u64));
    assert_eq!((row.downloaded_bytes, row.wasted_bytes), (payload.len() as u64, 0));
    assert!(peer.is_closed().await, "both are complete");
    assert_eq!(std::fs::read(rig.folder.join("t")).expect("it is there"), payload);
    let rig = rig.restart().await;
    let again = rig.until("t", State::Seeding).await;
    assert_eq!((again.completed_at, again.downloaded_bytes), (row.completed_at, row.downloaded_bytes));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_may_be_cut_anywhere() {
    let payload = noise(2 * PIECE);
    let (rig, hash) = wanting(&payload).await;
    let peer = rig.peer(hash, 1).await;
    let mut stream = Vec::new();
    Message::HaveAll.encode(&mut stream);
    Message::Unchoke.encode(&mut stream);
    // An unknown message, and a long one that means nothing here.
    stream.extend([0, 0, 0, 4, 99, 1, 2, 3]);
    Message::Extended { id: 77, body: &vec![7; 40_000] }.encode(&mut stream);
    for part in stream.chunks(1_999) {
        peer.send(part).await;
    }
    let mut rng = fastrand::Rng::with_seed(5);
    let mut served = 0;
    while served < payload.len() {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        served += asked.len as usize;
        let message = piece_message(asked, &payload, PIECE);
        let mut rest = &message[..];
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rng.usize(1..6000).min(rest.len()));
            peer.send(part).await;
            tokio::task::yield_now().await;
            rest = more;
        }
    }
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_in_a_row_land_right_whatever_comes_between_them() {
    let payload = noise(60 * PIECE + 777);
    let (rig, hash) = wanting(&payload).await;
    let peer = rig.peer(hash, 1).await;
    serve_in_rows(&rig, &peer, &payload).await;
    rig.quit().await;
}

/// Serves `payload`, of 60 pieces and a bit, in rows of blocks with other messages between them.
async fn serve_in_rows(rig: &Rig, peer: &Peer, payload: &[u8]) {
    peer.says(&[Message::HaveAll, Message::Unchoke]).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut between = Vec::new();
    Message::Have(PieceIndex(3)).encode(&mut between);
    Message::Extended { id: 77, body: &vec![7; 20_000] }.encode(&mut between);
    between.extend([0, 0, 0, 0]);
    between.extend([0, 0, 0, 4, 99, 1, 2, 3]);
    let (mut left, mut answered) = (60 * 4 + 1, 0);
    while left > 0 {
        let mut stream = Vec::new();
        // The daemon asks for more than before once a quarter of what it may ask for is free.
        let burst = (3 + answered / 2).min(8).min(left);
        for _ in 0..burst {
            let asked = block_of(&peer.expect(id::REQUEST).await, None);
            stream.extend(piece_message(asked, payload, PIECE));
            if rng.u8(..8) == 0 {
                stream.extend(&between);
            }
        }
        // Mostly at once, so that one read takes several.
        let cut = if rng.bool() { stream.len() } else { rng.usize(..stream.len()) };
        peer.send(&stream[..cut]).await;
        peer.send(&stream[cut..]).await;
        left -= burst;
        answered += burst;
    }
    let row = rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!((row.downloaded_bytes, row.wasted_bytes), (payload.len() as u64, 0));
    assert_eq!(std::fs::read(rig.folder.join("t")).expect("it is there"), payload);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_heard_although_many_blocks_are_waited_for() {
    let payload = noise(100 * PIECE);
    let (rig, hash) = wanting(&payload).await;
    let peer = rig.peer(hash, 1).await;
    peer.says(&[Message::HaveAll, Message::Unchoke]).await;
    // Until much is asked for; then a packet at a time, as over a distance.
    for n in 0..64 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        for packet in piece_message(asked, &payload, PIECE).chunks(4096) {
            peer.send(packet).await;
            if n >= 60 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    peer.says(&[Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_serves_what_is_asked_for_whole_and_in_part() {
    let payload = noise(3 * PIECE);
    let (rig, hash) = seeding(&payload).await;
    let peer = rig.peer(hash, 1).await;
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    let odd = Block { piece: PieceIndex(1), offset: 5, len: 3 };
    let asked = [block(0, 0), block(0, 1), block(2, 3), odd];
    peer.says(&asked.map(Message::Request)).await;
    for expected in asked {
        let body = peer.expect(id::PIECE).await;
        let came = block_of(&body, Some(body.len() - 8));
        assert_eq!(came, expected);
        assert_eq!(&piece_message(came, &payload, PIECE)[13..], &body[8..]);
    }
    rig.until_row("t", |row| row.uploaded_bytes == 3 * u64::from(BLOCK_LEN) + 3).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_late_gets_everything_and_is_counted_exactly() {
    let payload = noise(40 * PIECE);
    let (rig, hash) = seeding(&payload).await;
    let peer = rig.peer(hash, 1).await;
    read_late(&rig, &peer, &payload).await;
    rig.quit().await;
}

/// Asks for all of `payload`, of 40 pieces, and reads it after a while.
async fn read_late(rig: &Rig, peer: &Peer, payload: &[u8]) {
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    let asked: Vec<Block> = (0..40).flat_map(|p| (0..4).map(move |n| block(p, n))).collect();
    peer.says(&asked.iter().copied().map(Message::Request).collect::<Vec<_>>()).await;
    // Its window fills, and the daemon's writes stop half-way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for expected in &asked {
        let body = peer.expect(id::PIECE).await;
        assert_eq!(block_of(&body, Some(body.len() - 8)), *expected);
        assert_eq!(&piece_message(*expected, payload, PIECE)[13..], &body[8..]);
    }
    rig.until_row("t", |row| row.uploaded_bytes == payload.len() as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_protocol_ends_the_connection_and_nothing_else() {
    let payload = noise(2 * PIECE);
    let (rig, hash) = wanting(&payload).await;
    let too_long = Block { len: BLOCK_LEN + 1, ..block(0, 0) };
    let outside = Block { piece: PieceIndex(2), ..block(0, 0) };
    let mut have = Vec::new();
    Message::Have(PieceIndex(2)).encode(&mut have);
    let faults: [Vec<u8>; 5] = [
        block_header(too_long).to_vec(),
        [&block_header(outside)[..], &vec![0; BLOCK_LEN as usize]].concat(),
        have,
        vec![0xff, 0xff, 0xff, 0xff, 20],
        vec![0, 0, 0, 9, id::UNCHOKE, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for (n, fault) in (1..).zip(faults) {
        let peer = rig.peer(hash, n).await;
        peer.send(&fault).await;
        assert!(peer.is_closed().await, "fault {n}");
    }
    let peer = rig.peer(hash, 99).await;
    serve(&peer, &payload).await;
    rig.until("t", State::Seeding).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_for_a_torrent_that_is_not_here_is_not_answered() {
    let rig = Rig::new().await;
    let transport = crate::transport::dial(&Outlet::default(), rig.addr, SOON).await.expect("it listens");
    let hash = WireHash([9; 20]);
    let hello = wgo_proto::wire::Handshake {
        reserved: wgo_proto::wire::Reserved::FAST,
        hash,
        peer_id: wgo_proto::PeerId([3; 20]),
    };
    transport.write_all(&hello.encode(), SOON).await.expect("it reads");
    assert!(Peer::new(transport, None).is_closed().await);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_strangers_keep_nobody_out() {
    let payload = noise(PIECE);
    let (rig, hash) = seeding(&payload).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(crate::transport::dial(&Outlet::default(), rig.addr, SOON).await.expect("it listens"));
    }
    let peer = rig.peer(hash, 1).await;
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    drop(silent);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_uploads_holds_at_the_other_end() {
    let payload = noise(20 * PIECE);
    let (rig, hash) = seeding(&payload).await;
    let rate = 300_000;
    rig.engine.shaper.set(None, Direction::Up, Some(ByteRate(rate)));
    let idle = rig.peer(hash, 2).await;
    idle.says(&[Message::HaveNone, Message::Interested]).await;
    let peer = rig.peer(hash, 1).await;
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    let asked: Vec<Block> = (0..20).flat_map(|p| (0..4).map(move |n| block(p, n))).collect();
    peer.says(&asked.iter().copied().map(Message::Request).collect::<Vec<_>>()).await;
    let begun = std::time::Instant::now();
    let mut came = 0u64;
    for _ in &asked {
        came += peer.expect(id::PIECE).await.len() as u64 - 8;
    }
    // A tenth of a second's worth may be there at the start; a busy machine only makes it longer.
    let least = came as f64 / rate as f64 - 0.2;
    assert!(begun.elapsed().as_secs_f64() >= least, "{:?} < {least} s", begun.elapsed());
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_reading_pauses_and_goes_on_where_it_was() {
    let payload = noise(40 * PIECE);
    let (rig, hash) = wanting(&payload).await;
    let peer = rig.peer(hash, 1).await;
    peer.says(&[Message::HaveAll, Message::Unchoke]).await;
    let (mut served, mut asked) = (0, Vec::new());
    let mut starved = false;
    while served < payload.len() {
        asked.push(block_of(&peer.expect(id::REQUEST).await, None));
        // Two at a time, so that blocks are read together.
        let outstanding: usize = asked.iter().map(|block| block.len as usize).sum();
        if asked.len() < 2 && served + outstanding < payload.len() {
            continue;
        }
        let hungry = served > payload.len() / 3 && !starved;
        rig.engine.pool.starve(hungry);
        let before = rig.engine.pool.refused();
        let row: Vec<u8> = asked.iter().flat_map(|block| piece_message(*block, &payload, PIECE)).collect();
        peer.send(&row).await;
        served += outstanding;
        asked.clear();
        if hungry {
            starved = true;
            // It asks again and again, and takes nothing.
            while rig.engine.pool.refused() < before + 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let leased = rig.engine.pool.leased_blocks();
            while rig.engine.pool.refused() < before + 8 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(rig.engine.pool.leased_blocks() <= leased);
            rig.engine.pool.starve(false);
        }
    }
    assert!(starved);
    let row = rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!((row.downloaded_bytes, row.wasted_bytes), (payload.len() as u64, 0));
    assert_eq!(std::fs::read(rig.folder.join("t")).expect("it is there"), payload);
    rig.quit().await;
}
