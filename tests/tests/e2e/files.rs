//! Choosing files of a torrent, as an operator does: before it downloads, while it does, and afterwards.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wgo_api::State;
use wgo_tests::payload::files_below;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{TRANSFER, long, pause, until};
use wgo_tests::{Daemon, Maker, Net, Payload, ctl};

const PIECE: u32 = 65_536;

/// Files that share pieces with their neighbours.
fn season() -> Payload {
    let files = [
        ("E01.mkv", 700_001),
        ("E01.srt", 3_000),
        ("Extras/cover.jpg", 90_000),
        ("Extras/note.txt", 12),
        ("E02.mkv", 900_003),
        ("E02.srt", 4_001),
    ];
    Payload::multi("Season 1", PIECE, &files)
}

/// The files of the torrent that exist, without its part file.
fn present(daemon: &Daemon, payload: &Payload) -> Vec<PathBuf> {
    let folder = daemon.downloads();
    let all = payload.files.iter().map(|(path, _)| path.clone());
    all.filter(|path| folder.join(path).exists()).collect()
}

fn part_files(folder: &Path) -> Vec<PathBuf> {
    files_below(folder).into_iter().filter(|path| path.to_string_lossy().ends_with(".parts")).collect()
}

fn content_is_right(daemon: &Daemon, payload: &Payload, names: &[&str]) {
    for (path, bytes) in &payload.files {
        if names.iter().any(|name| path.ends_with(name)) {
            assert!(&fs::read(daemon.downloads().join(path)).unwrap() == bytes, "{}", path.display());
        }
    }
}

fn wait_done(daemon: &Daemon, id: &str) {
    ctl::run(daemon, &["wait", id, "--for", "done", "--timeout", "120 s"]).expect(0);
}

#[test]
fn only_the_chosen_files_are_fetched_and_others_whenever_they_are_wanted() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = season();
    let maker = Maker::new(&payload);
    let torrent = maker.make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let file = maker.make().save(daemon.home());
    let (file, peer) = (file.to_str().unwrap(), seeder.addr().to_string());
    let id = torrent.id();
    ctl::run(&daemon, &["add", file, "--only", "*.mkv", "--skip", "E02*", "--peer", &peer, "--wait", "done"])
        .expect(0);
    assert_eq!(present(&daemon, &payload), [Path::new("Season 1/E01.mkv")]);
    content_is_right(&daemon, &payload, &["E01.mkv"]);
    let torrent = daemon.torrent(&id);
    assert_eq!(
        (torrent.state, torrent.size_bytes, torrent.done_bytes),
        (State::Seeding, Some(700_001), 700_001)
    );
    assert!(seeder.sent() <= u64::from(PIECE) * 11, "{} bytes for a file of 11 pieces", seeder.sent());

    let listed = ctl::run(&daemon, &["files", &id]).expect(0).out;
    assert!(listed.contains("Season 1/Extras/cover.jpg") && listed.contains("skip"), "{listed}");
    // A file whose first bytes came with the other's last piece.
    let said = ctl::run(&daemon, &["files", &id, "--normal", "E01.srt", "--high", "Extras"]).expect(0).out;
    assert_eq!(said, "Season 1: 4 of 6 files wanted, 793 KB\n");
    wait_done(&daemon, &id);
    content_is_right(&daemon, &payload, &["E01.mkv", "E01.srt", "cover.jpg", "note.txt"]);
    ctl::run(&daemon, &["files", &id, "--normal", "*"]).expect(0);
    wait_done(&daemon, &id);
    payload.assert_equals(&daemon.downloads());
    let left = part_files(&daemon.downloads());
    until("the part file goes", TRANSFER, || part_files(&daemon.downloads()).is_empty().then_some(()));
    assert!(left.len() <= 1);
    let sent = seeder.sent();
    assert!(sent <= payload.len() as u64 + u64::from(PIECE), "{sent} of {} bytes", payload.len());
}

#[test]
fn what_is_kept_of_unwanted_files_moves_and_goes_with_the_torrent() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = season();
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    // Nothing that is there is deleted because it isn't wanted any more.
    ctl::run(&daemon, &["files", &id, "--only", "E02.srt"]).expect(0);
    daemon.wait_seeding(&id);
    payload.assert_equals(&daemon.downloads());
    daemon.remove(&id, true);

    let file = Maker::new(&payload).make().save(daemon.home());
    let (file, peer) = (file.to_str().unwrap().to_owned(), seeder.addr().to_string());
    ctl::run(&daemon, &["add", &file, "--only", "E01.srt", "--peer", &peer, "--wait", "done"]).expect(0);
    assert_eq!(part_files(&daemon.downloads()).len(), 1);
    let new = daemon.home().join("new");
    ctl::run(&daemon, &["move", &id, "--to", new.to_str().unwrap()]).expect(0);
    until("it is moved", TRANSFER, || {
        let torrent = daemon.torrent(&id);
        (torrent.state == State::Seeding && Path::new(&torrent.folder) == new).then_some(())
    });
    assert_eq!((part_files(&new).len(), part_files(&daemon.downloads()).len()), (1, 0));
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
    assert_eq!(daemon.torrent(&id).downloaded_bytes, u64::from(PIECE), "nothing is fetched again");
    daemon.remove(&id, true);
    assert_eq!(files_below(&new), [] as [PathBuf; 0]);
}

#[test]
fn a_daemon_killed_while_files_are_chosen_loses_nothing() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = season();
    let torrent = Maker::new(&payload).make();
    let slow = Habits { pause: Duration::from_millis(2), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], slow);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    let choices = [["--only", "*.srt"], ["--normal", "Extras"], ["--skip", "*.srt"], ["--normal", "*"]];
    for round in 0..if long() { 60 } else { 8 } {
        let socket = daemon.socket();
        let (choice, id_of) = (choices[round % choices.len()], id.clone());
        let asking = std::thread::spawn(move || {
            // The daemon may be gone before it answers.
            drop(ctl::at(&socket, &["files", &id_of, choice[0], choice[1]], &[]));
        });
        pause(Duration::from_millis(3 * (round as u64 * 7 % 23)));
        daemon.kill9();
        asking.join().unwrap();
        daemon.run();
        let folder = daemon.downloads();
        for (path, bytes) in &payload.files {
            let Ok(found) = fs::read(folder.join(path)) else { continue };
            assert!(found.len() <= bytes.len(), "{} is too long", path.display());
        }
        // Whom it knew it may have forgotten with the crash.
        daemon.try_add(&torrent, &folder, &[seeder.addr()]);
    }
    ctl::run(&daemon, &["files", &id, "--normal", "*"]).expect(0);
    daemon.try_add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    wait_done(&daemon, &id);
    payload.assert_equals(&daemon.downloads());
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
}

#[test]
fn a_choice_that_means_nothing_is_refused_and_changes_nothing() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = season();
    let maker = Maker::new(&payload);
    let file = maker.make().save(daemon.home());
    let refused = ctl::run(&daemon, &["add", file.to_str().unwrap(), "--only", "*.avi"]).expect(4);
    assert!(refused.err.contains("no file of \"Season 1\" matches \"*.avi\""), "{}", refused.err);
    assert_eq!(daemon.list().len(), 0);
    let id = daemon.add(&maker.make(), &daemon.downloads(), &[]);
    for (args, code, said) in [
        (["--skip", "E09*"], 4, "no file of \"Season 1\" matches \"E09*\""),
        (["--skip", "[a"], 2, "is no pattern for files"),
        (["--first-last", "maybe"], 2, "either on or off"),
    ] {
        let refused = ctl::run(&daemon, &["files", &id, args[0], args[1]]).expect(code);
        assert!(refused.err.contains(said), "{}", refused.err);
    }
    let shown = ctl::json(&daemon, &["files", &id]).1;
    let files = shown["files"].as_array().unwrap();
    assert!(files.iter().all(|file| file["priority"] == "normal"), "{shown}");
}
