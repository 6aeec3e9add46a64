//! Torrents whose metadata has to come, with a real driver and a real store.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wgo_api::error::Kind;
use wgo_api::params::{Choice, FilesParams, MoveParams};
use wgo_api::result::{AddStatus, Added};
use wgo_api::torrent::{FilePriority, State};
use wgo_proto::metainfo::Metainfo;
use wgo_proto::{InfoHashV1, InfoHashV2, InfoHashes};

use super::super::{AddRequest, Command, Verb};
use super::stop::Held;
use super::{PIECE, give, names, seed};
use crate::rig::*;
use crate::store::Change;

/// Adds what a magnet link says.
async fn add_link(rig: &Rig, hashes: InfoHashes, name: &str, choose: Choice) -> Added {
    let request = AddRequest { choose, ..request(rig, Metainfo::unknown(hashes, name.to_owned()), &[]) };
    rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await.expect("it answers")
}

fn hashes(file: &[u8]) -> InfoHashes {
    Metainfo::parse(file).expect("a torrent of ours").hashes
}

fn error_of(added: &Added) -> (Option<Kind>, &str) {
    (added.kind, added.error.as_deref().unwrap_or_default())
}

/// What becomes of a link whose metadata was committed just before the daemon ended.
async fn cut_short(skip: &str) -> Rig {
    let rig = Rig::new().await;
    let file = super::selecting::torrent().0;
    let choose = Choice { skip: vec![skip.to_owned()], ..Choice::default() };
    let added = add_link(&rig, hashes(&file), "link", choose).await;
    assert_eq!(added.status, AddStatus::Added, "{:?}", added.error);
    rig.until("link", State::Metadata).await;
    let named = rig.session.ask(|reply| Command::Name("link".to_owned(), reply)).await.unwrap().unwrap();
    rig.engine.store.put(vec![Change::Metainfo(named.id, file)]).await.unwrap();
    rig.restart().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_between_the_metadata_and_the_choice_is_settled_at_the_next_start() {
    let rig = cut_short("b").await;
    rig.until("t", State::Downloading).await;
    let params = FilesParams { id: "t".to_owned(), choose: Choice::default(), first_last: None };
    let files = rig.session.ask(|reply| Command::Files(params, reply)).await.unwrap().unwrap();
    let chosen: Vec<_> = files.files.iter().filter_map(|file| file.priority).collect();
    assert_eq!(chosen, [FilePriority::Normal, FilePriority::Skip, FilePriority::Normal]);
    rig.quit().await;

    let rig = cut_short("*").await;
    let row = rig.until_row("t", |row| row.error.is_some()).await;
    assert!(row.error.as_ref().is_some_and(|why| why.contains("none of its files is wanted")), "{row:?}");
    assert!(!rig.folder.join("t").exists(), "nothing is made");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_is_found_by_either_hash_and_a_link_with_a_wrong_one_takes_nothing() {
    let rig = Rig::new().await;
    let file = torrent_file("a", &noise(100_000), 32_768);
    let (v1, v2) = (hashes(&file).v1, Some(InfoHashV2([7; 32])));
    assert_eq!(
        add_link(&rig, InfoHashes { v1, v2 }, "link", Choice::default()).await.status,
        AddStatus::Added
    );
    for hashes in [InfoHashes { v1, v2: None }, InfoHashes { v1: None, v2 }] {
        assert_eq!(add_link(&rig, hashes, "again", Choice::default()).await.status, AddStatus::Present);
    }
    let refused = rig.add(&file).await;
    let (kind, why) = error_of(&refused);
    assert!(kind == Some(Kind::Conflict) && why.contains("only one of its two info-hashes"), "{refused:?}");
    rig.until("link", State::Metadata).await;
    let only_v2 = InfoHashes { v1: None, v2: Some(InfoHashV2([8; 32])) };
    assert_eq!(add_link(&rig, only_v2, "v2", Choice::default()).await.status, AddStatus::Added);
    rig.until("v2", State::Metadata).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_unfinished_torrent_are_not_written_to() {
    let rig = Rig::new().await;
    let (one, other) =
        (torrent_file("a", &noise(100_000), 32_768), torrent_file("a", &noise(90_000), 32_768));
    assert_eq!(rig.add(&one).await.status, AddStatus::Added);
    assert_eq!(add_link(&rig, hashes(&other), "link", Choice::default()).await.status, AddStatus::Added);
    let refused = rig.add(&other).await;
    let (kind, why) = error_of(&refused);
    assert!(kind == Some(Kind::Conflict) && why.contains("would write to the same files"), "{refused:?}");
    // A stopped one takes its metadata, too.
    let third = torrent_file("c", &noise(50_000), 32_768);
    let link = InfoHashes { v1: hashes(&third).v1.map(|hash| InfoHashV1(hash.0)), v2: None };
    add_link(&rig, link, "stopped", Choice::default()).await;
    rig.act(Verb::Stop).await;
    assert_eq!(rig.add(&third).await.status, AddStatus::Present);
    let row = rig.until("c", State::Stopped).await;
    assert_eq!((row.size_bytes, row.error), (Some(50_000), None));
    let rig = rig.restart().await;
    rig.act(Verb::Start).await;
    rig.until("c", State::Downloading).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_asked_for_while_the_metadata_is_saved_waits_and_leaves_nothing_behind() {
    let disk = Arc::new(Held::default());
    let rig = Rig::on(disk.clone()).await;
    let (old, new) = (rig.folder.join("old"), rig.folder.join("new"));
    let payload = noise(2 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let link = Metainfo::unknown(hashes(&file), "link".to_owned());
    let add = AddRequest { folder: old.clone(), ..request(&rig, link, &[]) };
    rig.session.ask(|reply| Command::Add(Box::new(add), reply)).await.expect("it answers");
    rig.until("link", State::Metadata).await;
    // Its folder is being made, which is to be durable.
    disk.set(true);
    let metainfo = Metainfo::parse(&file).expect("a torrent of ours");
    let known = AddRequest { folder: old.clone(), ..request(&rig, metainfo, &file) };
    let added = rig.session.begin(|reply| Command::Add(Box::new(known), reply)).await.expect("it runs");
    let begun = Instant::now();
    while disk.waited.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < SOON, "its folder is not made");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let params = MoveParams { all: true, folder: Some(new.clone()), ..MoveParams::default() };
    let moved = rig.session.begin(|reply| Command::Move(params, reply)).await.expect("it runs");
    rig.row("link").await;
    disk.set(false);
    assert_eq!(added.await.expect("it answers").status, AddStatus::Present);
    assert_eq!(moved.await.expect("it answers").expect("it is done").torrents[0].error, None);
    rig.until_row("t", |row| row.folder == new.to_string_lossy() && row.state == State::Downloading).await;
    let peer = seed(&rig, &file).await;
    give(&peer, &payload, 8).await;
    rig.until("t", State::Seeding).await;
    assert_eq!((names(&old), names(&new)), (vec![], vec!["t".to_owned()]));
    assert!(std::fs::read(new.join("t")).expect("it is there") == payload);
    rig.quit().await;
}
