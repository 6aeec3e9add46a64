//! Torrents that another client had, with real files. Files with wrong bytes tell what was not hashed.
use std::time::{Duration, SystemTime};

use wgo_api::error::Kind;
use wgo_api::params::{Choice, Known};
use wgo_api::result::{AddStatus, Added};
use wgo_api::torrent::{FilePriority, State, Trouble};
use wgo_proto::Bitfield;

use super::super::{AddRequest, Command, Verb};
use super::PIECE;
use crate::rig::*;

const COUNT: usize = 40;
const ALL: u64 = (COUNT * PIECE) as u64;
/// When the files were modified, and what the other client says of it.
const THEN: i64 = 1_600_000_000;

async fn add(rig: &Rig, file: &[u8], known: Known, choose: Choice) -> Added {
    let metainfo = wgo_proto::metainfo::Metainfo::parse(file).expect("ours");
    let request = AddRequest { choose, known: Some(Box::new(known)), ..request(rig, metainfo, file) };
    rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await.expect("it answers")
}

fn write(rig: &Rig, bytes: &[u8]) {
    let path = rig.folder.join("t");
    std::fs::write(&path, bytes).expect("written");
    let file = std::fs::File::options().write(true).open(path).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(THEN as u64)).expect("dated");
}

fn all(as_of: i64) -> Known {
    Known { have: Known::all(), as_of: Some(as_of), ..Known::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_client_had_counts_unhashed_if_no_file_was_touched_since() {
    let payload = noise(COUNT * PIECE);
    let (file, wrong) = (torrent_file("t", &payload, PIECE), noise(COUNT * PIECE + 1)[1..].to_vec());
    let exact = Known { modified: vec![Some(THEN)], ..all(0) };
    for (known, trusted) in [(all(THEN), true), (all(THEN - 1), false), (exact, true)] {
        let rig = Rig::new().await;
        write(&rig, &wrong);
        let known = Known {
            uploaded_bytes: 7,
            downloaded_bytes: 8,
            seeding_secs: 9,
            added_at: Some(10),
            completed_at: Some(11),
            up_limit: Some(12_000_000),
            trackers: Some(vec![vec!["http://127.0.0.1:1/a".to_owned(), "ftp://x/y".to_owned()], Vec::new()]),
            ..known
        };
        assert_eq!(add(&rig, &file, known, Choice::default()).await.status, AddStatus::Added);
        let state = if trusted { State::Seeding } else { State::Downloading };
        let row = rig.until("t", state).await;
        assert_eq!(row.done_bytes, if trusted { ALL } else { 0 });
        let rig = rig.restart().await;
        let row = rig.until("t", state).await;
        assert_eq!((row.uploaded_bytes, row.downloaded_bytes, row.added_at), (7, 8, 10));
        assert_eq!((row.completed_at, row.limits.up), (trusted.then_some(11), 12_000_000));
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_files_that_were_touched_since_the_claimed_pieces_are_hashed() {
    let payload = noise(COUNT * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let mut half = Bitfield::new(COUNT as u32);
    half.set_range(0..COUNT as u32 / 2);
    let mut bytes = payload.clone();
    bytes[..PIECE].fill(0);
    for (as_of, done) in [(THEN, ALL / 2), (THEN - 1, ALL / 2 - PIECE as u64)] {
        for len in [COUNT * PIECE, COUNT / 2 * PIECE] {
            let rig = Rig::new().await;
            write(&rig, &bytes[..len]);
            let known = Known { have: Known::some(&half.to_wire()), as_of: Some(as_of), ..Known::default() };
            add(&rig, &file, known, Choice::default()).await;
            let row = rig.until("t", State::Downloading).await;
            assert_eq!(row.done_bytes, done, "as of {as_of}, {len} bytes");
            rig.quit().await;
        }
    }
    // A file that lacks the end of what is claimed is not what the client left.
    let rig = Rig::new().await;
    write(&rig, &bytes[..COUNT / 2 * PIECE - 1]);
    let known = Known { have: Known::some(&half.to_wire()), as_of: Some(THEN), ..Known::default() };
    add(&rig, &file, known, Choice::default()).await;
    let row = rig.until("t", State::Downloading).await;
    assert_eq!(row.done_bytes, ALL / 2 - 2 * PIECE as u64);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_missing_are_waited_for_also_after_a_restart() {
    let payload = noise(COUNT * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    for restarts in [false, true] {
        let mut rig = Rig::new().await;
        let added = add(&rig, &file, all(THEN), Choice::default()).await;
        assert_eq!(added.status, AddStatus::Added);
        let row = rig.until("t", State::Error).await;
        assert_eq!(row.error_kind, Some(Trouble::Unavailable), "{row:?}");
        if restarts {
            rig = rig.restart().await;
            rig.until("t", State::Error).await;
        }
        assert!(!rig.folder.join("t").exists(), "nothing is made in its place");
        write(&rig, &payload);
        rig.act(Verb::Start).await;
        let row = rig.until("t", State::Seeding).await;
        assert_eq!(row.done_bytes, ALL);
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knowledge_that_does_not_fit_the_torrent_is_refused() {
    let file = torrent_file("t", &noise(COUNT * PIECE), PIECE);
    let rig = Rig::new().await;
    let bad = [
        (Known { have: Known::some(&[0xff; 4]), ..Known::default() }, "known.have"),
        (Known { have: Some("?".to_owned()), ..Known::default() }, "known.have"),
        (Known { modified: vec![None; 2], ..Known::default() }, "known.modified"),
        (Known { priorities: vec![FilePriority::Low; 2], ..Known::default() }, "known.priorities"),
        (Known { added_at: Some(u64::MAX), ..Known::default() }, "known.added_at"),
        (Known { trackers: Some(vec![vec!["u".repeat(9000)]]), ..Known::default() }, "known.trackers"),
        (Known { paths: vec![None; 2], ..Known::default() }, "known.paths"),
        (Known { paths: vec![Some("../t".to_owned())], ..Known::default() }, "known.paths"),
        (Known { paths: vec![Some("/t".to_owned())], ..Known::default() }, "known.paths"),
        (Known { name: Some("a/b".to_owned()), ..Known::default() }, "known.name"),
        (Known { name: Some("a\nb".to_owned()), ..Known::default() }, "known.name"),
    ];
    for (known, member) in bad {
        let added = add(&rig, &file, known, Choice::default()).await;
        assert_eq!(added.kind, Some(Kind::BadRequest), "{added:?}");
        assert!(added.error.as_ref().is_some_and(|error| error.contains(member)), "{added:?}");
    }
    let both = Known { priorities: vec![FilePriority::Skip], ..Known::default() };
    let skip = Choice { skip: vec!["*".to_owned()], ..Choice::default() };
    assert_eq!(add(&rig, &file, both, skip).await.kind, Some(Kind::BadRequest));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_names_than_the_maker_s_hold_from_the_start_and_after_a_restart() {
    let payload = noise(COUNT * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    for (name, path) in [(None, "folder/other"), (Some("called so"), "other")] {
        let rig = Rig::new().await;
        let at = rig.folder.join(path);
        std::fs::create_dir_all(at.parent().expect("it has one")).expect("made");
        std::fs::write(&at, &payload).expect("written");
        let name = name.map(str::to_owned);
        let known = Known { name: name.clone(), paths: vec![Some(path.to_owned())], ..all(i64::MAX) };
        let shown = name.unwrap_or_else(|| "t".to_owned());
        let added = add(&rig, &file, known, Choice::default()).await;
        assert_eq!((added.status, added.name.as_deref()), (AddStatus::Added, Some(&*shown)));
        rig.until(&shown, State::Seeding).await;
        let rig = rig.restart().await;
        let row = rig.until(&shown, State::Seeding).await;
        assert_eq!(row.done_bytes, ALL);
        assert!(!rig.folder.join("t").exists());
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_elsewhere_goes_on_there_and_ends_in_its_final_folder() {
    let payload = noise(COUNT * PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    write(&rig, &payload);
    let last = rig.folder.join("last");
    // Something of that name there is no reason to begin there.
    std::fs::create_dir(&last).expect("made");
    let mut half = Bitfield::new(COUNT as u32);
    half.set_range(0..COUNT as u32 / 2);
    let have = Known::some(&half.to_wire());
    let known = Known { have, final_folder: Some(last.clone()), as_of: Some(THEN), ..Known::default() };
    add(&rig, &file, known, Choice::default()).await;
    let row = rig.until("t", State::Downloading).await;
    assert_eq!((row.done_bytes, row.final_folder.as_deref()), (ALL / 2, last.to_str()));
    // All of it is there: a check finds that.
    rig.act(Verb::Verify).await;
    rig.until_row("t", |row| row.state == State::Seeding && row.final_folder.is_none()).await;
    assert_eq!(std::fs::read(last.join("t")).expect("it arrived"), payload);
    rig.quit().await;
}
