//! Files have names of ones that aren't complete until they are, whatever else is done to their torrent meanwhile.
use std::fs;
use std::path::Path;

use wgo_api::error::ApiError;
use wgo_api::params::{FilesParams, MoveParams, RenameParams};
use wgo_api::result::Acted;
use wgo_api::torrent::{State, Torrent as Row};
use wgo_proto::BLOCK_LEN;
use wgo_proto::wire::message::id;

use super::super::{Command, Tunables, Verb};
use super::{PIECE, begin, give, names, remove, seed};
use crate::rig::*;

async fn name_incomplete(rig: &Rig, suffix: &str) {
    let part_suffix = Some(suffix.parse().expect("a suffix"));
    rig.session.apply(Tunables { part_suffix, ..tunables() }).await;
}

/// A torrent "t" that has begun, a peer that has all of it, its payload, and its file.
async fn begun(pieces: usize) -> (Rig, Peer, Vec<u8>, Vec<u8>) {
    let rig = Rig::new().await;
    name_incomplete(&rig, ".part").await;
    let (payload, file, peer) = begin(&rig, pieces).await;
    (rig, peer, payload, file)
}

/// What the only file is called on disk, as far as is said.
async fn on_disk(rig: &Rig, name: &str) -> Option<String> {
    let params = FilesParams { id: name.to_owned(), ..FilesParams::default() };
    let files = rig.session.ask(|reply| Command::Files(params, reply)).await;
    files.expect("it answers").expect("it is there").files.pop().expect("one file").path_on_disk
}

async fn rename(rig: &Rig, path: &str, to: &str) -> Result<(), ApiError> {
    let params = RenameParams { id: path.into(), path: path.into(), to: to.into() };
    let renamed = rig.session.ask(|reply| Command::Rename(params, reply)).await;
    renamed.expect("it answers").map(drop)
}

async fn move_to(rig: &Rig, folder: &Path) -> Acted {
    let params = MoveParams { all: true, folder: Some(folder.to_owned()), ..MoveParams::default() };
    let acted = rig.session.ask(|reply| Command::Move(params, reply)).await;
    acted.expect("it answers").expect("it is done").torrents.pop().expect("one torrent")
}

/// All of it is there, by its own name, and nothing else is in the folder; no byte was fetched twice.
async fn until_whole(rig: &Rig, name: &str, payload: &[u8], folder: &Path) -> Row {
    let row = rig.until_row(name, |row| row.completed_at.is_some() && row.state == State::Seeding).await;
    assert_eq!((row.error.clone(), row.wasted_bytes), (None, 0));
    assert_eq!((names(folder), on_disk(rig, name).await), (vec![name.to_owned()], None));
    assert!(fs::read(folder.join(name)).expect("it is there") == payload);
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_gets_its_own_name_in_the_end_whatever_the_setting_is_by_then() {
    for other in [None, Some(".!qB")] {
        let (rig, peer, payload, file) = begun(3).await;
        assert_eq!(on_disk(&rig, "t").await, None, "nothing is on disk");
        give(&peer, &payload, 5).await;
        let given = 5 * u64::from(BLOCK_LEN);
        rig.until_row("t", |row| row.done_bytes == PIECE as u64 && row.downloaded_bytes == given).await;
        assert_eq!(on_disk(&rig, "t").await.as_deref(), Some("t.part"));
        rig.act(Verb::Stop).await;
        rig.until("t", State::Stopped).await;
        assert_eq!(on_disk(&rig, "t").await.as_deref(), Some("t.part"));
        let rig = rig.restart().await;
        if let Some(other) = other {
            name_incomplete(&rig, other).await;
        }
        rig.act(Verb::Start).await;
        let peer = seed(&rig, &file).await;
        assert_eq!(names(&rig.folder), ["t.part"]);
        rig.act(Verb::Verify).await;
        rig.until_row("t", |row| row.state == State::Downloading && row.done_bytes == PIECE as u64).await;
        drop(peer);
        let peer = seed(&rig, &file).await;
        give(&peer, &payload, 7).await;
        let row = until_whole(&rig, "t", &payload, &rig.folder).await;
        // The block that was there when it was stopped may have been given up by the check.
        assert!(row.downloaded_bytes <= payload.len() as u64 + u64::from(BLOCK_LEN));
        let rig = rig.restart().await;
        assert_eq!(rig.until("t", State::Seeding).await.completed_at, row.completed_at);
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_its_name_is_somebody_elses_and_it_is_complete_when_that_is_gone() {
    for restarts in [false, true] {
        let (mut rig, peer, payload, file) = begun(1).await;
        give(&peer, &payload, 1).await;
        rig.until_row("t", |row| row.downloaded_bytes > 0).await;
        let theirs = rig.folder.join("t");
        fs::write(&theirs, "of somebody else").expect("written");
        give(&peer, &payload, 3).await;
        for _ in 0..=usize::from(restarts) {
            let row = rig.until_row("t", |row| row.error.is_some()).await;
            let said = row.error.unwrap_or_default();
            for part in ["files/t.part is complete", "in the way of its own name, ", "move that away"] {
                assert!(said.contains(part), "{said}");
            }
            assert_eq!((row.completed_at, row.done_bytes), (None, payload.len() as u64));
            assert_eq!(fs::read(&theirs).expect("it stays"), b"of somebody else");
            assert!(fs::read(rig.folder.join("t.part")).expect("it stays") == payload);
            if restarts {
                rig = rig.restart().await;
            } else {
                seed(&rig, &file).await.expect(id::HAVE_ALL).await;
            }
        }
        fs::rename(&theirs, theirs.with_file_name("theirs")).expect("renamed");
        rig.until_row("t", |row| row.completed_at.is_some() && row.error.is_none()).await;
        assert_eq!(names(&rig.folder), ["t", "theirs"]);
        assert!(fs::read(&theirs).expect("it is ours now") == payload);
        let row = rig.until("t", State::Seeding).await;
        assert!(row.downloaded_bytes <= payload.len() as u64);
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_another_client_is_used_under_either_name() {
    let payload = noise(3 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    for (suffix, name, len) in [
        (".!qB", "t.!qB", 3 * PIECE),
        (".part", "t.part", 3 * PIECE),
        (".part", "t", 3 * PIECE),
        (".part", "t.part", PIECE),
        (".part", "t", PIECE),
    ] {
        name_incomplete(&rig, suffix).await;
        fs::write(rig.folder.join(name), &payload[..len]).expect("written");
        rig.add(&file).await;
        if len == payload.len() {
            until_whole(&rig, "t", &payload, &rig.folder).await;
            assert_eq!(rig.row("t").await.downloaded_bytes, 0);
        } else {
            rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
            let peer = seed(&rig, &file).await;
            give(&peer, &payload, 1).await;
            assert_eq!(names(&rig.folder), [name], "it goes on as it is");
            give(&peer, &payload, 7).await;
            until_whole(&rig, "t", &payload, &rig.folder).await;
        }
        remove(&rig, true).await;
        assert_eq!(names(&rig.folder), [] as [String; 0]);
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_complete_is_renamed_and_moved_as_what_it_is() {
    let (rig, peer, payload, file) = begun(2).await;
    give(&peer, &payload, 5).await;
    rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
    let said = rename(&rig, "t.part", "u").await.expect_err("it is no torrent's name").message;
    assert!(said.contains("t.part"), "{said}");
    rename(&rig, "t", "u").await.expect("it is free");
    rig.until("u", State::Downloading).await;
    assert_eq!(
        (names(&rig.folder), on_disk(&rig, "u").await),
        (vec!["u.part".into()], Some("u.part".into()))
    );
    let folder = rig.folder.with_file_name("elsewhere");
    fs::create_dir(&folder).expect("a folder");
    // What has its own name there would be in its way.
    fs::write(folder.join("u"), "of somebody else").expect("written");
    let said = move_to(&rig, &folder).await.error.expect("it is refused");
    assert!(said.contains("elsewhere/u"), "{said}");
    fs::remove_file(folder.join("u")).expect("removed");
    assert_eq!(move_to(&rig, &folder).await.error, None);
    let there = folder.display().to_string();
    rig.until_row("u", |row| row.state == State::Downloading && row.folder == there).await;
    assert_eq!((names(&rig.folder), names(&folder)), (vec![], vec!["u.part".to_owned()]));
    drop(peer);
    let peer = seed(&rig, &file).await;
    give(&peer, &payload, 3).await;
    until_whole(&rig, "u", &payload, &folder).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_leaves_what_is_not_the_torrents() {
    let (rig, peer, payload, _) = begun(2).await;
    give(&peer, &payload, 5).await;
    rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
    fs::write(rig.folder.join("t"), "of somebody else").expect("written");
    remove(&rig, true).await;
    assert_eq!(names(&rig.folder), ["t"]);
    assert_eq!(fs::read(rig.folder.join("t")).expect("it stays"), b"of somebody else");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_another_torrent_has_is_left_to_it() {
    let (rig, _peer, _, _) = begun(2).await;
    // Another one has this name for good, which the first has until it is complete.
    let other = torrent_file("t.part", &noise(PIECE + 1), PIECE);
    let said = rig.add(&other).await.error.expect("it is refused");
    assert!(said.contains("“t”") || said.contains("t.part"), "{said}");
    remove(&rig, true).await;
    assert_eq!(rig.add(&other).await.error, None);
    rig.until("t.part", State::Downloading).await;
    let payload = noise(2 * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    assert_eq!(rig.add(&file).await.error, None);
    let peer = seed(&rig, &file).await;
    give(&peer, &payload, 5).await;
    rig.until_row("t", |row| row.done_bytes == PIECE as u64).await;
    assert!(names(&rig.folder).contains(&"t".to_owned()));
    assert_eq!(on_disk(&rig, "t").await, None);
    give(&peer, &payload, 3).await;
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    rig.quit().await;
}
