//! Torrents that are kept in one folder until they are complete, and go to another then.
use std::fs;
use std::path::{Path, PathBuf};

use wgo_api::params::MoveParams;
use wgo_api::result::Acted;
use wgo_api::torrent::{State, Torrent as Row};
use wgo_api::{Kind, torrent};
use wgo_proto::wire::message::id;

use super::super::{Command, Tunables, Verb};
use super::{PIECE, begin, give, names, remove, seed};
use crate::rig::*;
use crate::store::FinalFolder;

/// Where torrents begin.
fn beginning(rig: &Rig) -> PathBuf {
    rig.folder.with_file_name("begin")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn keep_incomplete(rig: &Rig) {
    rig.session.apply(Tunables { incomplete_folder: Some(beginning(rig)), ..tunables() }).await;
}

/// A torrent "t" that has begun, a peer that has all of it, its payload, and its file.
async fn begun(pieces: usize) -> (Rig, Peer, Vec<u8>, Vec<u8>) {
    let rig = Rig::new().await;
    keep_incomplete(&rig).await;
    let (payload, file, peer) = begin(&rig, pieces).await;
    (rig, peer, payload, file)
}

/// It is in its final folder, whole, and nowhere else.
async fn until_arrived(rig: &Rig, payload: &[u8]) -> Row {
    let there = |row: &Row| row.final_folder.is_none() && row.state == State::Seeding;
    let row = rig.until_row("t", there).await;
    assert_eq!((row.folder.clone(), row.error.clone()), (text(&rig.folder), None));
    assert!(fs::read(rig.folder.join("t")).expect("it is there") == payload);
    assert_eq!((names(&rig.folder), names(&beginning(rig))), (vec!["t".to_owned()], vec![]));
    row
}

async fn move_to(rig: &Rig, folder: Option<&Path>) -> Acted {
    let folder = folder.map(Path::to_owned);
    let params = MoveParams { all: true, cancel: folder.is_none(), folder, ..MoveParams::default() };
    let acted = rig.session.ask(|reply| Command::Move(params, reply)).await;
    acted.expect("it answers").expect("it is done").torrents.pop().expect("one torrent")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_begins_in_one_folder_and_ends_in_the_other() {
    let (rig, peer, payload, _) = begun(2).await;
    give(&peer, &payload, 5).await;
    let row = rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
    let (folder, home) = (text(&beginning(&rig)), text(&rig.folder));
    assert_eq!((row.folder, row.final_folder), (folder, Some(home)));
    assert!(beginning(&rig).join("t").exists() && names(&rig.folder).is_empty());
    give(&peer, &payload, 3).await;
    let row = until_arrived(&rig, &payload).await;
    assert!(row.completed_at.is_some());
    let rig = rig.restart().await;
    let again = until_arrived(&rig, &payload).await;
    assert_eq!(again.completed_at, row.completed_at);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_final_folder_has_is_used_there_and_what_the_other_has_goes_on() {
    let payload = noise(4 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    keep_incomplete(&rig).await;
    // All of it, a part of it; something that can't be it.
    fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&file).await;
    let row = until_arrived(&rig, &payload).await;
    assert_eq!(row.downloaded_bytes, 0);
    remove(&rig, false).await;
    fs::write(rig.folder.join("t"), &payload[..PIECE]).expect("written");
    rig.add(&file).await;
    let row = rig.until("t", State::Downloading).await;
    assert_eq!((row.folder, row.done_bytes), (text(&rig.folder), PIECE as u64));
    remove(&rig, true).await;
    fs::write(rig.folder.join("t"), noise(5 * PIECE)).expect("written");
    rig.add(&file).await;
    assert_eq!(rig.until("t", State::Downloading).await.folder, text(&beginning(&rig)));
    remove(&rig, true).await;
    assert_eq!((names(&rig.folder), names(&beginning(&rig))), (vec!["t".to_owned()], vec![]));
    fs::remove_file(rig.folder.join("t")).expect("it is there");
    // What an earlier try left in the other folder: a part, then all.
    fs::write(beginning(&rig).join("t"), &payload[..2 * PIECE]).expect("written");
    rig.add(&file).await;
    let row = rig.until("t", State::Downloading).await;
    assert_eq!((row.folder, row.done_bytes), (text(&beginning(&rig)), 2 * PIECE as u64));
    remove(&rig, false).await;
    fs::write(beginning(&rig).join("t"), &payload).expect("written");
    rig.add(&file).await;
    until_arrived(&rig, &payload).await;
    remove(&rig, true).await;
    assert_eq!((names(&rig.folder), names(&beginning(&rig))), (vec![], vec![]));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_that_cannot_arrive_seeds_and_says_why_and_a_start_tries_again() {
    let (rig, peer, payload, file) = begun(1).await;
    fs::write(rig.folder.join("t"), "of somebody else").expect("written");
    give(&peer, &payload, 4).await;
    let row = rig.until_row("t", |row| row.error.is_some()).await;
    let said = row.error.unwrap_or_default();
    for part in ["not moved to ", "files/t is in the way", "begin, and it is tried again by itself"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!((row.state, row.folder), (State::Seeding, text(&beginning(&rig))));
    assert_eq!(row.final_folder, Some(text(&rig.folder)));
    seed(&rig, &file).await.expect(id::HAVE_ALL).await;
    // The daemon that starts next knows no such folder any more; what began there goes home all the same.
    let rig = rig.restart().await;
    let row = rig.until_row("t", |row| row.error.is_some()).await;
    assert_eq!((row.state, row.folder), (State::Seeding, text(&beginning(&rig))));
    assert_eq!(fs::read(rig.folder.join("t")).expect("it stays"), b"of somebody else");
    fs::remove_file(rig.folder.join("t")).expect("removed");
    rig.act(Verb::Start).await;
    until_arrived(&rig, &payload).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_an_unfinished_torrent_changes_where_it_ends() {
    let (mut rig, peer, payload, _) = begun(1).await;
    give(&peer, &payload, 1).await;
    let third = rig.folder.with_file_name("third");
    let acted = move_to(&rig, Some(&third)).await;
    let note = acted.note.expect("it says that nothing moves now");
    assert!(acted.error.is_none() && note.contains("goes to ") && note.contains("third when"), "{note}");
    let row = rig.row("t").await;
    assert_eq!((row.state, row.final_folder), (State::Downloading, Some(text(&third))));
    assert_eq!(move_to(&rig, None).await.kind, Some(Kind::Conflict), "nothing is being moved");
    // It is durable when it is acknowledged.
    let mut stored = None;
    let store = rig.engine.store.clone();
    store.load(|record| stored = record.expect("readable").settings.final_folder).await.expect("loads");
    assert_eq!(stored.map(|FinalFolder { path, .. }| path), Some(third.clone()));
    give(&peer, &payload, 3).await;
    rig.folder = third;
    until_arrived(&rig, &payload).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_can_be_told_to_stay_where_it_began() {
    for unfinished in [true, false] {
        let (rig, peer, payload, _) = begun(1).await;
        if unfinished {
            let acted = move_to(&rig, Some(&beginning(&rig))).await;
            assert_eq!((acted.error, acted.note), (None, None));
            assert_eq!(rig.row("t").await.final_folder, None);
        } else {
            fs::write(rig.folder.join("t"), "in the way").expect("written");
        }
        give(&peer, &payload, 4).await;
        if !unfinished {
            rig.until_row("t", |row| row.error.is_some()).await;
            assert_eq!(move_to(&rig, None).await.error, None);
        }
        let row = rig.until("t", State::Seeding).await;
        let wanted = (text(&beginning(&rig)), None, None);
        assert_eq!((row.folder, row.final_folder, row.error), wanted);
        let rig = rig.restart().await;
        let row = rig.until("t", State::Seeding).await;
        assert_eq!((row.folder, row.final_folder), (text(&beginning(&rig)), None));
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_brought_to_the_final_folder_is_found_there() {
    let (rig, peer, payload, _) = begun(2).await;
    give(&peer, &payload, 5).await;
    rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    let (from, to) = (beginning(&rig).join("t"), rig.folder.join("t"));
    let whole = payload.clone();
    let rig = rig
        .restart_after(move || {
            fs::write(to, &whole).expect("written");
            fs::remove_file(from).expect("removed");
        })
        .await;
    rig.act(Verb::Start).await;
    until_arrived(&rig, &payload).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_gone_from_both_folders_are_waited_for() {
    let (rig, peer, payload, _) = begun(2).await;
    give(&peer, &payload, 5).await;
    rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    let (from, other) = (beginning(&rig).join("t"), rig.folder.join("t"));
    let rig = rig
        .restart_after(move || {
            fs::remove_file(from).expect("removed");
            fs::write(other, "a part of something").expect("written");
        })
        .await;
    rig.act(Verb::Start).await;
    let row = rig.until("t", State::Error).await;
    assert_eq!(row.error_kind, Some(torrent::Trouble::Unavailable));
    assert!(row.error.is_some_and(|error| error.contains("begin/t is missing")));
    assert_eq!((row.folder, row.final_folder), (text(&beginning(&rig)), Some(text(&rig.folder))));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_torrents_of_one_name_do_not_meet_in_the_folder_where_they_begin() {
    let (rig, _peer, _, _) = begun(1).await;
    let mut other = rig;
    other.folder = other.folder.with_file_name("other");
    let theirs = torrent_file("t", &noise(3 * PIECE), PIECE);
    let added = other.add(&theirs).await;
    assert_eq!(added.error, None);
    let hash = added.info_hash.expect("it was added");
    let row = other.row(&hash).await;
    assert_eq!((row.folder, row.final_folder), (text(&other.folder), None), "it begins where it ends");
    other.quit().await;
}
