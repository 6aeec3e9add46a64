//! The driver with real files and peers: races between commands, operations and reports.
mod arrival;
mod checks;
mod claims;
mod defects;
mod goals;
mod many;
mod metadata;
mod missing;
mod mounts;
mod moves;
mod naming;
mod queue;
mod renames;
mod rules;
mod saving;
mod selecting;
mod stop;

use std::path::Path;
use std::time::Duration;

use wgo_api::params::RemoveParams;
use wgo_api::torrent::State;
use wgo_proto::wire::Message;
use wgo_proto::wire::message::id;
use wgo_proto::{BLOCK_LEN, PieceIndex, WireHash};

use super::{Command, Tunables, Verb};
use crate::rig::*;
use crate::store::Wanted;

const PIECE: usize = 4 * BLOCK_LEN as usize;

fn hash_of(file: &[u8]) -> WireHash {
    wgo_proto::metainfo::Metainfo::parse(file).expect("ours").hashes.canonical()
}

/// Waits until the torrent answers to its info-hash, or no longer does.
async fn until_listed(rig: &Rig, hash: &WireHash, listed: bool) {
    let begun = std::time::Instant::now();
    while rig.engine.registry.find(hash).is_some() != listed {
        assert!(begun.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A peer that has all of the torrent, once that is live, and unchokes.
async fn seed(rig: &Rig, file: &[u8]) -> Peer {
    until_listed(rig, &hash_of(file), true).await;
    let peer = rig.peer(hash_of(file), 1).await;
    peer.says(&[Message::HaveAll, Message::Unchoke]).await;
    peer
}

/// Has a daemon begin with the torrent "t" of so many pieces: its payload, its file, and a peer that has all of it.
async fn begin(rig: &Rig, pieces: usize) -> (Vec<u8>, Vec<u8>, Peer) {
    let payload = noise(pieces * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    assert_eq!(rig.add(&file).await.error, None);
    let peer = seed(rig, &file).await;
    (payload, file, peer)
}

/// The same of a new daemon.
async fn downloading(pieces: usize) -> (Rig, Vec<u8>, Vec<u8>, Peer) {
    let rig = Rig::new().await;
    let (payload, file, peer) = begin(&rig, pieces).await;
    (rig, payload, file, peer)
}

/// The peer sends the next blocks that it is asked for.
async fn give(peer: &Peer, payload: &[u8], blocks: usize) {
    for _ in 0..blocks {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, payload, PIECE)).await;
    }
}

/// What is in a folder, in order; nothing if there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map_or_else(|_| Vec::new(), Iterator::collect);
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("read").file_name().into_string();
    let mut names: Vec<String> = entries.into_iter().map(|entry| name(entry).expect("text")).collect();
    names.sort_unstable();
    names
}

async fn remove(rig: &Rig, data: bool) {
    let params = RemoveParams { all: true, data, ..RemoveParams::default() };
    let acted = rig.session.ask(|reply| Command::Remove(params, reply)).await;
    let acted = acted.expect("it answers").expect("it is done");
    assert!(acted.torrents.iter().all(|torrent| torrent.error.is_none()), "{acted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_unfinished_pieces_survive_a_stop() {
    let (rig, payload, file, peer) = downloading(2).await;
    let first = block_of(&peer.expect(id::REQUEST).await, None);
    peer.send(&piece_message(first, &payload, PIECE)).await;
    rig.until_row("t", |row| row.downloaded_bytes > 0).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    until_listed(&rig, &hash_of(&file), false).await;
    let rig = rig.restart().await;
    rig.act(Verb::Start).await;
    let peer = seed(&rig, &file).await;
    for _ in 0..7 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        assert_ne!(asked, first, "it is on disk");
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    let row = rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!(row.downloaded_bytes, payload.len() as u64);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_quick_succession_end_in_the_last_ones_state() {
    let payload = noise(30 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&file).await;
    for _ in 0..20 {
        for verb in [Verb::Stop, Verb::Start, Verb::Verify, Verb::Announce, Verb::Verify] {
            rig.act(verb).await;
        }
    }
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.done_bytes, payload.len() as u64);
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    rig.act(Verb::Verify).await;
    rig.until_row("t", |row| row.state == State::Stopped && row.done_bytes == payload.len() as u64).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_waits_for_nobody_and_leaves_the_traffic_in_the_totals() {
    let (rig, payload, file, peer) = downloading(1).await;
    for _ in 0..2 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    rig.until_row("t", |row| row.downloaded_bytes == 2 * u64::from(BLOCK_LEN)).await;
    remove(&rig, true).await;
    assert!(peer.is_closed().await);
    assert!(!rig.folder.join("t").exists());
    let glance = rig.session.ask(|reply| Command::Glance(None, reply)).await;
    let glance = glance.expect("it answers").expect("it is done");
    assert_eq!(glance.totals.0, 2 * u64::from(BLOCK_LEN));
    until_listed(&rig, &hash_of(&file), false).await;
    assert_eq!(rig.add(&file).await.error.map(|e| e.to_string()), None, "it can come again");
    remove(&rig, false).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_removed_while_it_is_hashed_is_gone() {
    let payload = noise(100 * PIECE);
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&torrent_file("t", &payload, PIECE)).await;
    remove(&rig, false).await;
    let glance = rig.session.ask(|reply| Command::Glance(Some(Vec::new()), reply)).await;
    assert_eq!(glance.and_then(Result::ok).and_then(|g| g.torrents).map(|t| t.len()), Some(0));
    let rig = rig.restart().await;
    assert!(rig.folder.join("t").exists(), "its file stays");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_that_panics_ends_its_torrent_and_a_start_brings_it_back() {
    let (good, bad) = (noise(PIECE), noise(2 * PIECE));
    let (good_file, bad_file) = (torrent_file("good", &good, PIECE), torrent_file("bad", &bad, PIECE));
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("bad"), &bad).expect("written");
    rig.add(&good_file).await;
    rig.add(&bad_file).await;
    rig.until("bad", State::Seeding).await;
    until_listed(&rig, &hash_of(&bad_file), true).await;
    until_listed(&rig, &hash_of(&good_file), true).await;
    // It may sleep already.
    let torrent = rig.engine.torrent_for(&hash_of(&bad_file)).await.expect("it wakes");
    assert!(torrent.call(|_, _| -> () { panic!("a defect, on purpose") }).is_err());
    let row = rig.until("bad", State::Error).await;
    assert!(row.error.is_some_and(|error| error.contains("engine")));
    assert!(torrent.call(|_, _| ()).is_err(), "it is never called again");
    until_listed(&rig, &hash_of(&bad_file), false).await;
    rig.act(Verb::Start).await;
    rig.until("bad", State::Seeding).await;
    until_listed(&rig, &hash_of(&bad_file), true).await;
    let peer = rig.peer(hash_of(&bad_file), 1).await;
    peer.expect(id::HAVE_ALL).await;
    // The timers and the driver have survived it.
    let other = rig.peer(hash_of(&good_file), 2).await;
    other.says(&[Message::HaveAll, Message::Unchoke]).await;
    for _ in 0..4 {
        let asked = block_of(&other.expect(id::REQUEST).await, None);
        other.send(&piece_message(asked, &good, PIECE)).await;
    }
    rig.until("good", State::Seeding).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_piece_ends_its_sender_and_is_fetched_again() {
    let (rig, payload, _, liar) = downloading(1).await;
    for _ in 0..4 {
        let asked = block_of(&liar.expect(id::REQUEST).await, None);
        let mut message = piece_message(asked, &payload, PIECE);
        message[100] ^= 1;
        liar.send(&message).await;
    }
    assert!(liar.is_closed().await);
    let row = rig.until_row("t", |row| row.wasted_bytes == PIECE as u64).await;
    assert_eq!((row.state, row.done_bytes), (State::Downloading, 0));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_at_the_start_heals_into_a_live_torrent() {
    let payload = noise(PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    rig.session.apply(Tunables { min_free_space: u64::MAX, ..tunables() }).await;
    rig.add(&file).await;
    let row = rig.until("t", State::Error).await;
    assert!(row.error.is_some_and(|error| error.contains("min_free_space")));
    rig.session.apply(tunables()).await;
    rig.until("t", State::Downloading).await;
    until_listed(&rig, &hash_of(&file), true).await;
    let peer = rig.peer(hash_of(&file), 1).await;
    peer.says(&[Message::Have(PieceIndex(0)), Message::Unchoke]).await;
    peer.expect(id::REQUEST).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_in_the_store_whatever_the_lane_is_busy_with() {
    use wgo_core::ByteRate;
    use wgo_core::limiter::Direction;

    let payload = noise(200 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&file).await;
    let mut stored = None;
    rig.engine.store.load(|record| stored = record.ok().map(|record| record.id)).await.expect("readable");
    let id = stored.expect("added");
    for round in 1..=20u64 {
        rig.act(Verb::Verify).await;
        let verb = if round % 2 == 0 { Verb::Start } else { Verb::Stop };
        rig.act(verb).await;
        let limits = [Some((Direction::Up, round * 1000)), None];
        let ask = |reply| Command::LimitTorrent("t".into(), limits, reply);
        let answer = rig.session.ask(ask).await.expect("it answers").expect("it is done");
        assert_eq!((answer.limits.up, answer.limits.down), (round * 1000, 0));
        let settings = rig.engine.store.torrent(id).await.expect("readable").expect("there").settings;
        assert_eq!(settings.up_limit, Some(ByteRate(round * 1000)));
        let wanted = if round % 2 == 0 { Wanted::Started } else { Wanted::Stopped };
        assert_eq!(settings.wanted, wanted, "round {round}");
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_as_a_torrent_goes_to_sleep_is_served() {
    let rig = Rig::new().await;
    let payload = noise(PIECE);
    let file = torrent_file("t", &payload, PIECE);
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    assert_eq!(rig.add(&file).await.error, None);
    rig.until("t", State::Seeding).await;
    until_listed(&rig, &hash_of(&file), true).await;
    let mut last = rig.peer(hash_of(&file), 1).await;
    for round in 0..300_u64 {
        // It is idle as soon as the last has gone.
        drop(last);
        tokio::time::sleep(Duration::from_micros(round % 50 * 40)).await;
        last = rig.peer(hash_of(&file), 1).await;
        last.expect(id::HAVE_ALL).await;
    }
    rig.quit().await;
}
