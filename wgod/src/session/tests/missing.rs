//! Folders and files that are gone, as when a disk isn't mounted: nothing is made in their place, nothing is
//! forgotten, and all goes on when they are back.
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use wgo_api::torrent::{State, Torrent as Row};
use wgo_proto::wire::message::id;

use super::super::Verb;
use super::{PIECE, downloading};
use crate::rig::*;
use crate::store::{Change, CheckKind, Have, OwedCheck};

/// A stopped torrent of which so many blocks of one piece are there.
async fn begun(blocks: usize) -> Rig {
    let (rig, payload, _, peer) = downloading(4).await;
    for _ in 0..blocks {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    if blocks == PIECE / wgo_proto::BLOCK_LEN as usize {
        peer.expect(id::HAVE).await;
    }
    rig.until_row("t", |row| row.downloaded_bytes > 0).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    rig.restart().await
}

fn away(rig: &Rig) -> PathBuf {
    rig.folder.with_extension("away")
}

async fn until_missing(rig: &Rig) -> Row {
    let said = |row: &Row| row.error.as_ref().is_some_and(|error| error.contains("missing"));
    rig.until_row("t", |row| row.state == State::Error && said(row)).await
}

/// The torrent stays where it is while its folder is missing, and goes on afterwards.
async fn waits_for_its_folder(rig: &Rig, done: u64) {
    until_missing(rig).await;
    // Over a probe or two.
    tokio::time::sleep(Duration::from_secs(3)).await;
    until_missing(rig).await;
    assert!(!rig.folder.exists(), "made in place of the one that is missing");
    fs::rename(away(rig), &rig.folder).expect("it was moved");
    assert_eq!(rig.until("t", State::Downloading).await.done_bytes, done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_does_not_begin_anew_where_its_folder_was() {
    for (blocks, done) in [(4, PIECE as u64), (1, 0)] {
        let rig = begun(blocks).await;
        fs::rename(&rig.folder, away(&rig)).expect("moved");
        rig.act(Verb::Start).await;
        waits_for_its_folder(&rig, done).await;
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_after_a_restart() {
    for (blocks, done) in [(4, PIECE as u64), (1, 0)] {
        let rig = begun(blocks).await;
        rig.act(Verb::Start).await;
        rig.until("t", State::Downloading).await;
        let folder = rig.folder.clone();
        let rig =
            rig.restart_after(|| fs::rename(&folder, folder.with_extension("away")).expect("moved")).await;
        waits_for_its_folder(&rig, done).await;
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_forgets_nothing_while_the_folder_is_missing() {
    let rig = begun(4).await;
    fs::rename(&rig.folder, away(&rig)).expect("moved");
    rig.act(Verb::Start).await;
    assert_eq!(until_missing(&rig).await.done_bytes, PIECE as u64);
    rig.act(Verb::Verify).await;
    waits_for_its_folder(&rig, PIECE as u64).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_part_of_a_piece_is_missed() {
    let rig = begun(1).await;
    let (here, gone) = (rig.folder.join("t"), away(&rig));
    let folder = rig.folder.clone();
    let rig = rig.restart_after(|| fs::rename(&here, &gone).expect("moved")).await;
    rig.act(Verb::Start).await;
    until_missing(&rig).await;
    assert!(folder.exists() && !here.exists());
    // Who means it says so.
    rig.act(Verb::Verify).await;
    rig.until("t", State::Downloading).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_there_when_a_check_began_is_missed_when_it_goes_on() {
    let rig = begun(4).await;
    let mut known = None;
    let load = rig.engine.store.load(|record| known = record.ok());
    load.await.expect("the store answers");
    let record = known.expect("there is one torrent");
    // As a restored backup leaves it.
    let check = OwedCheck {
        kind: CheckKind::Full,
        checked: Have::All,
        good: record.progress.have,
        files: record.progress.files,
    };
    rig.engine.store.put(vec![Change::Check(record.id, Box::new(check))]).await.expect("durable");
    let (here, gone) = (rig.folder.join("t"), away(&rig));
    let rig = rig.restart_after(|| fs::rename(&here, &gone).expect("moved")).await;
    rig.act(Verb::Start).await;
    until_missing(&rig).await;
    assert!(!here.exists(), "fetched again");
    fs::rename(&gone, &here).expect("moved");
    assert_eq!(rig.until("t", State::Downloading).await.done_bytes, PIECE as u64);
    rig.quit().await;
}
