//! The queue, with real peers: who runs, who follows, what a restart keeps.
use wgo_api::params::{QueueParams, QueueTo, QueueWord, SetParams};
use wgo_api::torrent::Priority;
use wgo_core::session::QueueLimits;
use wgo_proto::wire::Message;

use super::goals::{of, set};
use super::*;

fn one_download() -> Tunables {
    Tunables { queue: QueueLimits { downloads: Some(1), ..QueueLimits::default() }, ..tunables() }
}

async fn queue(rig: &Rig, id: &str, to: QueueTo) {
    let params = QueueParams { ids: vec![id.to_owned()], to };
    let moved = rig.session.ask(|reply| Command::Queue(params, reply)).await;
    moved.expect("it answers").expect("it is done");
}

/// Three torrents of a piece each, of which one may download at a time: their files.
async fn three() -> (Rig, Vec<u8>, [Vec<u8>; 3]) {
    let payload = noise(PIECE);
    let rig = Rig::new().await;
    rig.session.apply(one_download()).await;
    let files = ["a", "b", "c"].map(|name| torrent_file(name, &payload, PIECE));
    for file in &files {
        rig.add(file).await;
    }
    rig.until("a", State::Downloading).await;
    (rig, payload, files)
}

async fn states(rig: &Rig) -> [State; 3] {
    [rig.row("a").await.state, rig.row("b").await.state, rig.row("c").await.state]
}

/// Gives all of the torrent to the daemon.
async fn give(rig: &Rig, file: &[u8], payload: &[u8]) {
    let peer = seed(rig, file).await;
    for _ in 0..4 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, payload, PIECE)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_go_one_after_the_other_in_an_order_that_outlasts_a_restart() {
    let (rig, payload, files) = three().await;
    rig.until("b", State::Queued).await;
    rig.until("c", State::Queued).await;
    queue(&rig, "c", QueueTo::Word(QueueWord::Top)).await;
    rig.until("c", State::Downloading).await;
    rig.until("a", State::Queued).await;
    set(&rig, SetParams { priority: Some(Priority::Low), ..of("a") }).await.expect("it can be set");
    let rig = rig.restart().await;
    // The rig's own settings limit nothing; what is asked for now holds at once.
    rig.session.apply(one_download()).await;
    rig.until("c", State::Downloading).await;
    let (a, b, c) = (rig.row("a").await, rig.row("b").await, rig.row("c").await);
    assert_eq!([a.queue_position, b.queue_position, c.queue_position], [Some(1), Some(2), Some(0)]);
    assert_eq!([a.priority, b.priority], [Priority::Low, Priority::Normal]);
    for (name, file, next) in [("c", &files[2], "b"), ("b", &files[1], "a"), ("a", &files[0], "a")] {
        rig.until(name, State::Downloading).await;
        let running = states(&rig).await.iter().filter(|state| **state == State::Downloading).count();
        assert_eq!(running, 1);
        give(&rig, file, &payload).await;
        rig.until(name, State::Seeding).await;
        rig.until_row(next, |row| matches!(row.state, State::Downloading | State::Seeding)).await;
    }
    assert_eq!(states(&rig).await, [State::Seeding; 3]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_started_at_once_runs_beside_the_queue_also_after_a_restart() {
    let (rig, _, _) = three().await;
    let params = wgo_api::params::SelectParams { ids: vec!["c".into()], all: false };
    let started = rig.session.ask(|reply| Command::Act(Verb::StartNow, params, reply)).await;
    started.expect("it answers").expect("it is done");
    let c = rig.until("c", State::Downloading).await;
    assert_eq!((c.forced, c.queue_position), (true, None));
    assert_eq!(states(&rig).await, [State::Downloading, State::Queued, State::Downloading]);
    let rig = rig.restart().await;
    rig.session.apply(one_download()).await;
    rig.until("c", State::Downloading).await;
    rig.until("b", State::Queued).await;
    assert_eq!(states(&rig).await, [State::Downloading, State::Queued, State::Downloading]);
    rig.act(Verb::Start).await;
    rig.until("c", State::Queued).await;
    assert_eq!(states(&rig).await, [State::Downloading, State::Queued, State::Queued]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_pieces_changes_while_it_downloads() {
    let payload = noise(64 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    rig.add(&file).await;
    until_listed(&rig, &hash_of(&file), true).await;
    rig.until("t", State::Downloading).await;
    set(&rig, SetParams { sequential: Some(true), ..of("t") }).await.expect("it can be set");
    let peer = rig.peer(hash_of(&file), 1).await;
    peer.says(&[Message::HaveAll, Message::Unchoke]).await;
    let mut pieces = Vec::new();
    for _ in 0..6 * 4 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        pieces.push(asked.piece.0);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    assert!(pieces.is_sorted(), "{pieces:?}");
    assert_eq!(pieces.first(), Some(&0));
    assert!(rig.row("t").await.sequential);
    rig.quit().await;
}
