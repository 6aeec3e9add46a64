//! Files that aren't complete have names that say so (`[storage] part_suffix`), on disk and in what is shown.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wgo_api::State;
use wgo_tests::payload::files_below;
use wgo_tests::peers::{Kind, wait_complete};
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, long, pause, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

const PIECE: u32 = 65_536;

fn naming(net: &Net, suffix: &str, down: u64) -> Daemon {
    let storage = format!("part_suffix = \"{suffix}\"");
    Daemon::with(Settings { ips: vec![net.home()], storage, down, ..Settings::default() })
}

/// With files that begin and end within pieces, one whose second name another has, and one whose name has so many
/// letters: of more than 250 it is too long for a second one.
fn films(letters: usize) -> Payload {
    let long = format!("sub/{}", "n".repeat(letters));
    let files = [("a.bin", 1_735_542), ("b", 700_000), ("b.part", 300_000), ("empty", 0), (&*long, 150_000)];
    let more = [("sub/c.bin", 1_200_001), ("sub/tiny", 10), ("z.bin", 900_000)];
    Payload::multi("films", PIECE, &[&files[..], &more].concat())
}

/// Whether the file of this path has its own name from the beginning.
fn has_one_name(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name == "b" || name.len() > 250
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// What has its own name is whole, no file is there twice, and each is where the daemon says. Returns how many are
/// whole.
#[track_caller]
fn assert_names(daemon: &Daemon, payload: &Payload, suffix: &str) -> usize {
    let mut whole = 0;
    for (path, bytes) in payload.files.iter().filter(|(path, bytes)| !has_one_name(path) && !bytes.is_empty())
    {
        let (own, second) = (daemon.downloads().join(path), suffixed(&daemon.downloads().join(path), suffix));
        let found = fs::read(&own);
        assert!(found.is_err() || !second.exists(), "{} is there twice", path.display());
        if let Ok(found) = found {
            assert!(found == *bytes, "{} has its own name and is not whole", path.display());
            whole += 1;
        }
    }
    whole
}

/// The files as the daemon shows them; it may rename some in between.
fn until_shown_as_it_is(daemon: &Daemon, id: &str) {
    until("each file is where it is said to be", SOON, || {
        let shown = ctl::json(daemon, &["files", id]).1;
        let files = shown["files"].as_array().unwrap();
        let right = files.iter().all(|file| {
            let own = daemon.downloads().join(file["path"].as_str().unwrap());
            match file["path_on_disk"].as_str() {
                Some(path) => daemon.downloads().join(path).exists() && !own.exists(),
                None => !suffixed(&own, ".part").exists() || has_one_name(&own),
            }
        });
        right.then_some(())
    });
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_a_file_with_its_own_name_is_whole() {
    let test = "killed_at_any_moment_nothing_is_lost_and_a_file_with_its_own_name_is_whole";
    let mut net = Net::new();
    let Some(mut peer) = Kind::Libtorrent.start(test, net.ip()) else { return };
    // libtorrent shortens names of more than 240.
    let payload = films(20);
    let torrent = Maker::new(&payload).make();
    let theirs = tempfile::tempdir().unwrap();
    payload.write(theirs.path());
    peer.add(&torrent, theirs.path());
    wait_complete(&mut *peer, &torrent);
    let rounds: u64 = if long() { 60 } else { 8 };
    let mut daemon = naming(&net, ".part", 6_000_000 / rounds);
    let id = daemon.add(&torrent, &daemon.downloads(), &[peer.addr()]);
    let (mut most, mut last) = (0, 0);
    for round in 0..rounds {
        pause(Duration::from_millis(600 + 97 * (round % 7)));
        // Checkpoints are far apart; this one ends in between.
        if round % 3 == 1 {
            ctl::run(&daemon, &["stop", &id]).expect(0);
            until_shown_as_it_is(&daemon, &id);
            last = daemon.torrent(&id).done_bytes;
            ctl::run(&daemon, &["start", &id]).expect(0);
        }
        daemon.kill9();
        most = most.max(assert_names(&daemon, &payload, ".part"));
        daemon.run();
        until("it is past its check", SOON, || {
            matches!(daemon.torrent(&id).state, State::Downloading | State::Seeding).then_some(())
        });
        let done = daemon.torrent(&id).done_bytes;
        eprintln!("round {round}: {done} bytes of {}, {most} files whole", payload.len());
        assert!(done >= last, "{last} bytes were durable, {done} are left");
        assert_names(&daemon, &payload, ".part");
        daemon.try_add(&torrent, &daemon.downloads(), &[peer.addr()]);
    }
    assert!(last > 0, "nothing was ever durable: the test shows nothing");
    daemon.limit(None, None, Some(0));
    ctl::run(&daemon, &["wait", &id, "--timeout", "5 min"]).expect(0);
    // Nothing is waited for here: this is what a script may do next.
    payload.assert_equals(&daemon.downloads());
    until_shown_as_it_is(&daemon, &id);
    assert!(daemon.terminate().success());
    payload.assert_equals(&daemon.downloads());
}

#[test]
fn the_setting_may_change_at_any_time_and_nothing_is_fetched_again() {
    let mut net = Net::new();
    let payload = films(252);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let mut daemon = naming(&net, ".part", 800_000);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    until("a part is there", TRANSFER, || (daemon.torrent(&id).done_bytes > 500_000).then_some(()));
    let set = |daemon: &Daemon, to: &str| {
        let config = fs::read_to_string(daemon.config()).unwrap();
        let lines = config.lines().filter(|line| !line.starts_with("part_suffix"));
        let lines = lines.map(|line| match line {
            "[storage]" => format!("[storage]\n{to}"),
            line => line.to_owned(),
        });
        fs::write(daemon.config(), lines.collect::<Vec<_>>().join("\n")).unwrap();
    };
    for (to, restarts) in [("", false), ("part_suffix = \".!qB\"", false), ("", true)] {
        set(&daemon, to);
        if restarts {
            daemon.terminate();
            daemon.run();
            daemon.try_add(&torrent, &daemon.downloads(), &[seeder.addr()]);
        } else {
            ctl::run(&daemon, &["reload"]).expect(0);
        }
        ctl::run(&daemon, &["verify", &id]).expect(0);
        until("it goes on", SOON, || (daemon.torrent(&id).state == State::Downloading).then_some(()));
        assert!(daemon.torrent(&id).done_bytes > 500_000, "{to}");
        let strange = |path: &PathBuf| path.to_string_lossy().ends_with(".!qB");
        assert_eq!(files_below(&daemon.downloads()).into_iter().find(strange), None);
    }
    set(&daemon, "part_suffix = \"part\"");
    let said = ctl::run(&daemon, &["reload"]);
    assert!(said.code != 0 && said.err.contains("storage.part_suffix"), "{} {}", said.out, said.err);
    assert!(said.err.contains("a dot and up to 15 more bytes"), "{}", said.err);
    daemon.limit(None, None, Some(0));
    daemon.try_add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    until("its files have their names", SOON, || daemon.torrent(&id).completed_at);
    payload.assert_equals(&daemon.downloads());
    let fetched = daemon.torrent(&id).downloaded_bytes;
    // Blocks on their way when a check or the end cut connections off.
    assert!(fetched < payload.len() as u64 * 5 / 4, "{fetched} bytes fetched for {}", payload.len());
}

#[test]
fn data_that_another_client_left_is_taken_up_and_what_is_removed_is_all_that_is_ours() {
    let mut net = Net::new();
    let daemon = naming(&net, ".!qB", 0);
    let payload = films(252);
    let torrent = Maker::new(&payload).make();
    payload.write(&daemon.downloads());
    for path in ["films/a.bin", "films/sub/tiny"] {
        let path = daemon.downloads().join(path);
        fs::rename(&path, suffixed(&path, ".!qB")).unwrap();
    }
    let cut = daemon.downloads().join("films/z.bin");
    let bytes = fs::read(&cut).unwrap();
    fs::write(suffixed(&cut, ".!qB"), &bytes[..400_000]).unwrap();
    fs::remove_file(&cut).unwrap();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&id, State::Downloading, SOON);
    let shown = ctl::run(&daemon, &["files", &id]).expect(0).out;
    assert!(shown.contains(" films/a.bin\n") && shown.contains(" films/z.bin.!qB\n"), "{shown}");
    assert!(ctl::run(&daemon, &["show", &id, "--files"]).expect(0).out.contains(" films/z.bin.!qB\n"));
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    daemon.try_add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    until("its files have their names", SOON, || daemon.torrent(&id).completed_at);
    payload.assert_equals(&daemon.downloads());
    assert!(seeder.sent() < 600_000, "{} bytes for half a file", seeder.sent());
    ctl::run(&daemon, &["remove", &id, "--yes"]).expect(0);
    // As it was when half of it was there.
    fs::write(suffixed(&cut, ".!qB"), &bytes[..400_000]).unwrap();
    fs::write(&cut, "of somebody else").unwrap();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&id, State::Downloading, SOON);
    assert!(ctl::run(&daemon, &["files", &id]).expect(0).out.contains(" films/z.bin.!qB\n"));
    daemon.remove(&id, true);
    assert_eq!(files_below(&daemon.downloads()), std::slice::from_ref(&cut));
    assert_eq!(fs::read(cut).unwrap(), b"of somebody else");
}
