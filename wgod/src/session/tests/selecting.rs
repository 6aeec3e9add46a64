//! Files that aren't wanted, with a real driver, real files and peers.
use std::path::PathBuf;

use sha1::{Digest, Sha1};
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{Choice, FilesParams, Known};
use wgo_api::result::FilesResult;
use wgo_api::torrent::{FilePriority, State};
use wgo_proto::BLOCK_LEN;
use wgo_proto::bencode::Encoder;
use wgo_proto::wire::Message;
use wgo_proto::wire::message::id;

use super::super::{AddRequest, Command, Verb};
use super::{PIECE, seed};
use crate::rig::*;

/// One and a half pieces, half of one that is shared by both neighbours, one and a half.
pub(super) const LENS: [(&str, usize); 3] = [("a", PIECE * 3 / 2), ("b", PIECE / 4), ("c", PIECE * 7 / 4)];

pub(super) fn torrent() -> (Vec<u8>, Vec<u8>) {
    let payload = noise(LENS.iter().map(|(_, len)| len).sum());
    let pieces: Vec<u8> = payload.chunks(PIECE).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let mut info = Vec::new();
    Encoder::new(&mut info).dict(|info| {
        info.entry("files").list(|list| {
            for (name, len) in LENS {
                list.item().dict(|file| {
                    file.entry("length").int(len as i64);
                    file.entry("path").list(|path| path.item().bytes(name));
                });
            }
        });
        info.entry("name").bytes("t");
        info.entry("piece length").int(PIECE as i64);
        info.entry("pieces").bytes(&pieces);
    });
    ([b"d4:info", &info[..], b"e"].concat(), payload)
}

fn choice(only: &[&str], skip: &[&str], normal: &[&str]) -> Choice {
    let list = |of: &[&str]| of.iter().map(|one| (*one).to_owned()).collect();
    Choice { only: list(only), skip: list(skip), normal: list(normal), ..Choice::default() }
}

async fn add(rig: &Rig, file: &[u8], choose: Choice) -> wgo_api::result::Added {
    let metainfo = wgo_proto::metainfo::Metainfo::parse(file).expect("ours");
    let request = AddRequest { choose, ..request(rig, metainfo, file) };
    rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await.expect("it answers")
}

async fn choose(rig: &Rig, choose: Choice) -> Result<FilesResult, ApiError> {
    let params = FilesParams { id: "t".to_owned(), choose, first_last: None };
    rig.session.ask(|reply| Command::Files(params, reply)).await.expect("it answers")
}

fn priorities(result: &FilesResult) -> Vec<FilePriority> {
    result.files.iter().filter_map(|file| file.priority).collect()
}

/// The peer serves all that it is asked for until `done` says so.
async fn serve(rig: &Rig, file: &[u8], payload: &[u8], done: impl Fn(&wgo_api::torrent::Torrent) -> bool) {
    let peer = seed(rig, file).await;
    let serving = async {
        while let Some((kind, body)) = peer.next().await {
            if kind == Some(id::REQUEST) {
                peer.send(&piece_message(block_of(&body, None), payload, PIECE)).await;
            }
        }
    };
    tokio::select! {
        () = serving => {}
        _ = rig.until_row("t", &done) => {}
    }
    rig.until_row("t", done).await;
}

fn part_file(rig: &Rig) -> Option<PathBuf> {
    let names = std::fs::read_dir(rig.folder.join("t")).ok()?.flatten();
    names.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ext| ext == "parts"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_is_done_with_what_is_wanted_and_may_want_more_later() {
    let (file, payload) = torrent();
    let rig = Rig::new().await;
    assert_eq!(add(&rig, &file, choice(&["b"], &[], &[])).await.error.map(|e| e.to_string()), None);
    let row = rig.until("t", State::Downloading).await;
    assert_eq!(row.size_bytes, Some(LENS[1].1 as u64));
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    let row = rig.until("t", State::Seeding).await;
    assert_eq!((row.done_bytes, row.progress), (LENS[1].1 as u64, 1.0));
    let at = |path: &str| rig.folder.join("t").join(path);
    assert!(std::fs::read(at("b")).expect("it is wanted") == payload[PIECE * 3 / 2..][..PIECE / 4]);
    assert!(!at("a").exists() && !at("c").exists() && part_file(&rig).is_some());

    // What is known outlasts the daemon, and nothing is hashed or fetched again.
    let rig = rig.restart().await;
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.downloaded_bytes, PIECE as u64);
    let result = choose(&rig, choice(&[], &[], &["c"])).await.expect("there is such a file");
    assert_eq!(priorities(&result), [FilePriority::Skip, FilePriority::Normal, FilePriority::Normal]);
    rig.until("t", State::Downloading).await;
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    let c = PIECE * 7 / 4;
    assert!(std::fs::read(rig.folder.join("t/c")).expect("it is wanted") == payload[c..]);
    assert!(!rig.folder.join("t/a").exists() && part_file(&rig).is_some(), "a's share is kept");

    choose(&rig, choice(&["*"], &[], &[])).await.expect("there are files");
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    assert!(std::fs::read(rig.folder.join("t/a")).expect("it is wanted") == payload[..PIECE * 3 / 2]);
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.downloaded_bytes, payload.len() as u64, "each byte once");
    assert_eq!(part_file(&rig), None);
    let rig = rig.restart().await;
    rig.until("t", State::Seeding).await;
    rig.act(Verb::Verify).await;
    let row = rig.until_row("t", |row| row.state == State::Seeding && row.done_bytes > 0).await;
    assert_eq!(row.done_bytes, payload.len() as u64);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wanting_less_finishes_and_what_is_there_stays() {
    let (file, payload) = torrent();
    let rig = Rig::new().await;
    rig.add(&file).await;
    let peer = seed(&rig, &file).await;
    // One piece comes, then no more.
    let first = block_of(&peer.expect(id::REQUEST).await, None);
    peer.send(&piece_message(first, &payload, PIECE)).await;
    rig.until_row("t", |row| row.downloaded_bytes > 0).await;
    choose(&rig, choice(&[], &["*"], &[])).await.expect("there are files");
    let row = rig.until("t", State::Seeding).await;
    assert_eq!((row.size_bytes, row.done_bytes, row.progress), (Some(0), 0, 1.0));
    choose(&rig, choice(&["*"], &[], &[])).await.expect("there are files");
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    let whole: Vec<u8> =
        ["a", "b", "c"].iter().flat_map(|n| std::fs::read(rig.folder.join("t").join(n)).unwrap()).collect();
    assert!(whole == payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unwanted_file_that_was_deleted_is_no_fault_and_its_neighbours_are_made_whole() {
    let (file, payload) = torrent();
    let rig = Rig::new().await;
    rig.add(&file).await;
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    std::fs::remove_file(rig.folder.join("t/c")).expect("it was there");
    choose(&rig, choice(&[], &["c"], &[])).await.expect("there is such a file");
    // The piece that it shared is in doubt, found missing, and fetched.
    let again = (payload.len() + PIECE) as u64;
    serve(&rig, &file, &payload, |row| row.downloaded_bytes == again && row.completed_at.is_some()).await;
    assert!(!rig.folder.join("t/c").exists() && part_file(&rig).is_some());
    let rig = rig.restart().await;
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.done_bytes, row.size_bytes.unwrap_or_default());
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_another_client_s_unwanted_files_what_is_not_there_is_fetched_again() {
    let (file, payload) = torrent();
    let rig = Rig::new().await;
    std::fs::create_dir(rig.folder.join("t")).expect("made");
    std::fs::write(rig.folder.join("t/a"), &payload[..PIECE * 3 / 2]).expect("written");
    // The other client kept the rest of the second piece in a file of its own.
    let priorities = vec![FilePriority::Normal, FilePriority::Skip, FilePriority::Skip];
    let (have, as_of) = (Known::some(&[0b1100_0000]), Some(i64::MAX));
    let known = Some(Box::new(Known { have, as_of, priorities, ..Known::default() }));
    let metainfo = wgo_proto::metainfo::Metainfo::parse(&file).expect("ours");
    let request = AddRequest { known, ..request(&rig, metainfo, &file) };
    let added = rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await.expect("it answers");
    assert_eq!(added.error, None);
    let row = rig.until("t", State::Downloading).await;
    // What is missing counts whole, with the bytes in it that nobody wants.
    assert_eq!(row.done_bytes, (LENS[0].1 - PIECE) as u64);
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.downloaded_bytes, PIECE as u64);
    assert!(std::fs::read(rig.folder.join("t/a")).expect("it is there") == payload[..PIECE * 3 / 2]);
    assert!(!rig.folder.join("t/b").exists() && part_file(&rig).is_some());
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_of_nothing_that_exists_changes_nothing() {
    let (file, _) = torrent();
    let rig = Rig::new().await;
    let added = add(&rig, &file, choice(&["*.mkv"], &[], &[])).await;
    assert_eq!(added.kind, Some(Kind::NoMatch), "{added:?}");
    rig.add(&file).await;
    let refused = choose(&rig, choice(&["a"], &["nothing"], &[])).await.expect_err("no file matches");
    assert_eq!(refused.kind(), Kind::NoMatch);
    let shown = choose(&rig, Choice::default()).await.expect("it is there");
    assert_eq!(priorities(&shown), [FilePriority::Normal; 3]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hidden_is_left_of_a_torrent_that_is_removed_without_its_files() {
    for sleeps in [false, true] {
        let (file, payload) = torrent();
        let rig = Rig::new().await;
        assert_eq!(add(&rig, &file, choice(&["b"], &[], &[])).await.error.map(|e| e.to_string()), None);
        serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
        assert!(part_file(&rig).is_some());
        let rig = if sleeps {
            rig.act(Verb::Stop).await;
            rig.restart().await
        } else {
            rig
        };
        super::remove(&rig, false).await;
        assert_eq!(super::names(&rig.folder.join("t")), ["b"]);
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_that_can_not_be_made_leaves_a_torrent_that_works() {
    let (file, payload) = torrent();
    let rig = Rig::new().await;
    assert_eq!(add(&rig, &file, choice(&["b"], &[], &[])).await.error.map(|e| e.to_string()), None);
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    let in_the_way = rig.folder.join("t/a");
    std::fs::create_dir(&in_the_way).expect("nothing is there");
    let error = choose(&rig, choice(&[], &[], &["a"])).await.expect_err("a's share has no place");
    assert!(error.message.starts_with("the wanted files stay as they were: "), "{error}");
    std::fs::remove_dir(&in_the_way).expect("nothing is in it");

    rig.until("t", State::Seeding).await;
    super::until_listed(&rig, &super::hash_of(&file), true).await;
    let peer = rig.peer(super::hash_of(&file), 1).await;
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    // b begins in the middle of its piece.
    let wanted = block(1, (PIECE / 2) as u32 / BLOCK_LEN);
    peer.says(&[Message::Request(wanted)]).await;
    let body = peer.expect(id::PIECE).await;
    assert!(body[8..] == payload[PIECE * 3 / 2..][..BLOCK_LEN as usize]);
    choose(&rig, choice(&[], &[], &["a"])).await.expect("nothing is in the way");
    serve(&rig, &file, &payload, |row| row.completed_at.is_some()).await;
    assert!(std::fs::read(&in_the_way).expect("it is wanted") == payload[..PIECE * 3 / 2]);
    rig.quit().await;
}
