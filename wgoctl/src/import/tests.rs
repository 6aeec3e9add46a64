//! Sessions made here, whole, damaged and hostile. What the real clients write is read in `tests/interop/import.rs`.
mod made;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

use wgo_api::goals::AfterGoal;
use wgo_api::params::Known;
use wgo_api::torrent::FilePriority::{High, Low, Normal, Skip};
use wgo_proto::Bitfield;

use self::made::{COUNT, Session, torrent};
use super::found::{Found, Goals, Item};
use super::plan::{Check, Plan};
use super::{Args, Client, planned};

fn read(client: Client, folder: &Path) -> Vec<Item> {
    client.read(folder).expect("a session").collect()
}

fn only(client: Client, folder: &Path) -> Found {
    let mut items = read(client, folder);
    assert_eq!(items.len(), 1);
    *items.remove(0).expect("it can be taken over")
}

fn left(client: Client, folder: &Path) -> String {
    let mut items = read(client, folder);
    assert_eq!(items.len(), 1);
    items.remove(0).expect_err("it can't be taken over").why
}

/// The first pieces, up to this one.
fn up_to(end: u32) -> Bitfield {
    let mut have = Bitfield::new(COUNT);
    have.set_range(0..end);
    have
}

#[test]
fn transmission_s_state_is_taken_over() {
    let session = Session::new();
    session.transmission("", "");
    let found = only(Client::Transmission, session.path());
    assert_eq!((found.folder.as_path(), found.paused), (session.files().as_path(), true));
    assert_eq!(found.labels, ["tv", "new"]);
    assert_eq!(found.have, Some(up_to(COUNT / 2)));
    let known = &found.known;
    assert_eq!(
        (known.uploaded_bytes, known.downloaded_bytes, known.seeding_secs, known.active_secs),
        (7, 8, 9, 19)
    );
    assert_eq!((known.added_at, known.completed_at), (Some(11), None));
    assert_eq!((known.up_limit, known.down_limit), (Some(5000), None));
    assert_eq!(known.priorities, [Skip, Low, High]);
    assert_eq!(known.modified, [Some(1000), None, Some(1002)]);
    assert!(known.as_of.is_some());
    assert_eq!(found.goals, Goals { ratio: Some(1.5), idle_secs: Some(0), ..Goals::default() });
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn transmission_s_newer_keys_and_other_forms_of_progress_are_read() {
    let session = Session::new();
    session.transmission("_", "");
    let found = only(Client::Transmission, session.path());
    assert_eq!((found.known.added_at, found.known.seeding_secs), (Some(11), 9));
    for (blocks, have) in [
        (&b"all"[..], Some(Bitfield::full(COUNT))),
        (b"none", Some(Bitfield::new(COUNT))),
        (&[0xff; 3], None),
        (b"", None),
    ] {
        session.transmission_blocks(blocks);
        assert_eq!(only(Client::Transmission, session.path()).have, have, "{blocks:?}");
    }
}

#[test]
fn libtorrent_s_resume_data_is_taken_over_from_qbittorrent_and_deluge() {
    let session = Session::new();
    session.qbittorrent(&session.files(), &[]);
    let found = only(Client::Qbittorrent, session.path());
    assert_eq!(found.labels, ["films", "a", "b"]);
    assert_eq!(found.have, Some(up_to(COUNT / 2)));
    assert!(found.sequential && found.first_last && !found.paused);
    assert_eq!(found.known.priorities, [Skip, Normal, High]);
    assert_eq!(found.known.trackers, Some(vec![vec!["http://a/".to_owned()], vec!["http://b/".to_owned()]]));
    let known = &found.known;
    assert_eq!((known.up_limit, known.down_limit, known.active_secs), (None, Some(1000), 10));
    let action = Some(AfterGoal::RemoveWithFiles);
    assert_eq!(found.goals, Goals { ratio: Some(1.5), time_secs: Some(0), idle_secs: None, action });
    assert_eq!(known.final_folder.as_deref(), Some(Path::new("/films")));

    let session = Session::new();
    session.deluge();
    let found = only(Client::Deluge, session.path());
    assert_eq!((found.labels, found.have), (vec!["tv".to_owned()], Some(up_to(COUNT / 2))));
    assert_eq!(found.known.priorities, [Skip, Low, High]);
    let action = Some(AfterGoal::Remove);
    assert_eq!(found.goals, Goals { ratio: Some(1.5), action, ..Goals::default() });
    assert_eq!((found.queued, found.known.name.as_deref()), (Some(1), Some("shown")));
    assert_eq!(found.known.final_folder.as_deref(), Some(Path::new("/films")));
    fs::write(session.path().join("state/torrents.state"), "no pickle").expect("written");
    let found = only(Client::Deluge, session.path());
    assert_eq!((found.goals, found.notes.len()), (Goals::default(), 1), "{:?}", found.notes);
    assert_eq!(
        read(Client::Deluge, &session.path().join("state")).len(),
        1,
        "the folder itself does as well"
    );
}

#[test]
fn a_session_in_sqlite_is_the_same() {
    let session = Session::new();
    let database = session.qbittorrent_sqlite("CREATE TABLE");
    let before = fs::read(&database).expect("it is there");
    let found = only(Client::Qbittorrent, session.path());
    assert_eq!(found.labels, ["films", "a", "b"]);
    assert_eq!((found.have, found.known.down_limit), (Some(up_to(COUNT / 2)), Some(1000)));
    assert!(found.sequential && found.first_last && found.paused);
    let goals = Goals { ratio: Some(0.0), time_secs: Some(0), idle_secs: Some(5400), ..Goals::default() };
    assert_eq!((found.known.name.as_deref(), found.goals), (Some("shown"), goals));
    assert_eq!(fs::read(&database).expect("it is there"), before);
    let beside = database.parent().expect("a folder").read_dir().expect("readable").count();
    assert_eq!(beside, 1, "nothing is made beside it");

    let mut log = database.clone();
    log.as_mut_os_string().push("-wal");
    fs::write(&log, "x").expect("written");
    let error = Client::Qbittorrent.read(session.path()).err().expect("it isn't whole").to_string();
    assert!(error.contains("start it and stop it"), "{error}");
}

#[test]
fn a_database_that_is_none_or_damaged_or_a_query_without_end_is_refused() {
    let session = Session::new();
    let database = session.qbittorrent_sqlite("CREATE TABLE");
    let whole = fs::read(&database).expect("it is there");
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 0xff;
        fs::write(&database, &changed).expect("written");
        drop(Client::Qbittorrent.read(session.path()).map(Iterator::count));
        fs::write(&database, &whole[..at]).expect("written");
        drop(Client::Qbittorrent.read(session.path()).map(Iterator::count));
    }
    let session = Session::new();
    session.qbittorrent_sqlite("CREATE VIEW");
    let error = Client::Qbittorrent.read(session.path()).err().expect("views are refused").to_string();
    assert!(error.contains("no session that can be read"), "{error}");
}

#[test]
fn what_is_not_complete_goes_on_where_it_is_and_ends_where_the_client_would_put_it() {
    let session = Session::new();
    session.write(&[]);
    let found = || Found {
        folder: PathBuf::from("/final"),
        incomplete: Some(session.files()),
        ..found(&session, Some(up_to(COUNT / 2)), i64::MAX)
    };
    let plan = Plan::of(found()).expect("its files are there");
    let known = plan.params.known.expect("it is from another client");
    assert_eq!(plan.params.folder, Some(session.files()));
    assert_eq!(known.final_folder.as_deref(), Some(Path::new("/final")));
    // It has arrived.
    let plan = Plan::of(Found { folder: session.files(), ..found() }).expect("its files are there");
    assert_eq!(plan.params.known.expect("it is from another client").final_folder, None);
}

#[test]
fn rtorrent_s_and_aria2_s_state_is_taken_over() {
    let session = Session::new();
    session.rtorrent(&session.files().join("t"), 0);
    let found = only(Client::Rtorrent, session.path());
    assert_eq!(
        (found.folder.as_path(), found.labels),
        (session.files().as_path(), vec!["tv & more".to_owned()])
    );
    assert_eq!((found.have, found.paused), (Some(up_to(COUNT / 2)), false));
    assert_eq!(found.known.priorities, [Skip, Normal, High]);
    assert_eq!(found.known.added_at, Some(11));
    assert!(found.notes.iter().any(|note| note.contains("ratio group")), "{:?}", found.notes);
    let tiers = [["http://there/"], ["http://added/"]].map(|tier| tier.map(str::to_owned).to_vec());
    assert_eq!(found.known.trackers.as_deref(), Some(&tiers[..]));
    session.rtorrent(&session.files().join("t"), 1);
    assert_eq!(only(Client::Rtorrent, session.path()).have, None, "it was being hashed");

    let session = Session::new();
    fs::write(session.files().join("t.torrent"), torrent()).expect("written");
    assert_eq!(only(Client::Aria2, &session.files()).have, Some(Bitfield::new(COUNT)), "nothing is there");
    session.write(&[]);
    assert_eq!(only(Client::Aria2, &session.files()).have, Some(Bitfield::full(COUNT)));
    session.aria2(COUNT as u64 * 16384);
    let found = only(Client::Aria2, &session.files());
    assert_eq!((found.have, found.known.uploaded_bytes), (Some(up_to(COUNT / 2)), 7));
    session.aria2(1);
    assert!(left(Client::Aria2, &session.files()).contains("of other content"));
}

/// Each byte of each file of the session is changed, and each file is cut everywhere.
fn bear(client: Client, root: &Path, files: &[PathBuf]) {
    for file in files {
        let whole = fs::read(file).expect("it is there");
        for at in 0..whole.len() {
            for byte in [whole[at] ^ 0x80, b'9', b'e'].into_iter().skip(at % 3).take(1) {
                let mut changed = whole.clone();
                changed[at] = byte;
                fs::write(file, &changed).expect("written");
                // The label plugin's file is optional, whatever is in it.
                let items = client.read(root).map(Iterator::collect::<Vec<Item>>);
                for found in items.into_iter().flatten().flatten() {
                    let count = found.metainfo.info.layout.piece_count();
                    assert!(found.have.as_ref().is_none_or(|have| have.len() == count));
                    drop(Plan::of(*found));
                }
            }
            fs::write(file, &whole[..at]).expect("written");
            drop(client.read(root).map(Iterator::count));
        }
        fs::write(file, &whole).expect("written");
    }
}

#[test]
fn damaged_sessions_are_refused_or_read_and_nothing_worse() {
    let session = Session::new();
    bear(Client::Transmission, session.path(), &session.transmission("", ""));
    let session = Session::new();
    bear(Client::Qbittorrent, session.path(), &session.qbittorrent(&session.files(), &[]));
    let session = Session::new();
    bear(Client::Deluge, session.path(), &session.deluge());
    let session = Session::new();
    bear(Client::Rtorrent, session.path(), &session.rtorrent(&session.files().join("t"), 0));
    let session = Session::new();
    fs::write(session.files().join("t.torrent"), torrent()).expect("written");
    let control = session.aria2(COUNT as u64 * 16384);
    bear(Client::Aria2, &session.files(), &[control]);
}

#[test]
fn a_session_that_is_none_is_said_to_be_none() {
    let empty = tempfile::tempdir().expect("a folder");
    for (client, said) in [
        (Client::Qbittorrent, "no session of qBittorrent"),
        (Client::Deluge, "no session of Deluge"),
        (Client::Transmission, "no session of Transmission"),
    ] {
        let error = client.read(empty.path()).err().expect("there is none").to_string();
        assert!(error.contains(said), "{error}");
    }
}

fn args() -> Args {
    Args {
        client: Client::Aria2,
        dir: PathBuf::new(),
        dry_run: true,
        map: Vec::new(),
        label: Vec::new(),
        paused: false,
        force: false,
    }
}

/// A torrent whose client knew `have` of it in the files of the session, at this time.
fn found(session: &Session, have: Option<Bitfield>, as_of: i64) -> Found {
    let mut found = *Found::of_bytes(torrent()).expect("ours");
    found.folder = session.files();
    found.have = have;
    found.known = Known { as_of: Some(as_of), ..Known::default() };
    found
}

#[test]
fn what_is_checked_depends_on_what_was_touched_and_what_is_missing_is_left() {
    let session = Session::new();
    let (all, half) = (Some(Bitfield::full(COUNT)), Some(up_to(COUNT / 2)));
    let later = i64::MAX;
    let missing = Plan::of(found(&session, all.clone(), later)).expect_err("nothing is there").why;
    assert!(
        missing.contains("t/a and 2 more of its files are missing") && missing.contains("--map"),
        "{missing}"
    );
    let lost = Known { downloaded_bytes: 1, ..Known::default() };
    let lost = Found { known: lost, ..found(&session, None, later) };
    assert!(Plan::of(lost).expect_err("it had something").why.contains("none of its files"));
    let check = |found| Plan::of(found).expect("it can be taken over").check;
    assert_eq!(check(found(&session, Some(up_to(0)), later)), Check::Full, "nothing was there");
    session.write(&[]);
    assert_eq!(check(found(&session, all.clone(), later)), Check::None);
    assert_eq!(check(found(&session, all.clone(), 0)), Check::Sample);
    assert_eq!(check(found(&session, half.clone(), later)), Check::None);
    assert_eq!(check(found(&session, half, 0)), Check::Touched);
    assert_eq!(check(found(&session, None, later)), Check::Sample);
    // The client saw them elsewhere.
    let elsewhere = Found { folder: PathBuf::from("/downloads/x"), ..found(&session, all, later) };
    let base = session.files().parent().map(Path::to_owned).expect("it has a parent");
    let map = vec![
        ("/downloads".into(), "/nowhere".into()),
        ("/downloads/x".into(), base.join(session.files().file_name().expect("a name"))),
    ];
    let args = Args { map, paused: true, label: vec!["old".to_owned()], ..args() };
    let plan = planned(elsewhere, &args).expect("found there");
    assert_eq!((plan.params.folder, plan.params.paused), (Some(session.files()), true));
    assert_eq!(plan.params.labels, ["old"]);
}

#[test]
fn suffixes_of_what_is_not_complete_go_and_come_back() {
    let session = Session::new();
    session.write(&["b"]);
    let at = |name: &str| session.files().join("t").join(name);
    fs::rename(at("b"), at("b.part")).expect("renamed");
    let with_suffix = || Found { suffix: Some(".part"), ..found(&session, Some(up_to(COUNT / 2)), i64::MAX) };
    let plan = Plan::of(with_suffix()).expect("it is there");
    assert_eq!(plan.renames, [(at("b.part"), at("b"))]);
    plan.rename().expect("renamed");
    assert!(at("b").exists() && !at("b.part").exists());
    plan.undo_rename();
    assert!(!at("b").exists() && at("b.part").exists());
    fs::write(at("b"), "somebody else's").expect("written");
    assert!(plan.rename().is_err());
    assert_eq!(fs::read(at("b")).expect("it is there"), b"somebody else's");
    assert!(Plan::of(with_suffix()).expect("it is there").renames.is_empty());
}
