//! Moving torrents to another folder: nothing is lost, nothing is left over, nothing of others is touched.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wgo_api::State;
use wgo_tests::leecher::Leecher;
use wgo_tests::payload::files_below;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{SOON, TRANSFER, long, pause, try_until, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

/// A folder on another file system than the daemon's own folder, or `None` where there is none to be had.
fn other_file_system(daemon: &Daemon, test: &str) -> Option<TempDir> {
    let memory = Path::new("/dev/shm");
    let found =
        fs::metadata(memory).is_ok_and(|meta| meta.dev() != fs::metadata(daemon.home()).unwrap().dev());
    if !found {
        wgo_tests::net::skip(test, "/dev/shm is not a file system of its own");
        return None;
    }
    Some(tempfile::Builder::new().prefix("wgod-move-").tempdir_in(memory).unwrap())
}

fn folders() -> Payload {
    let files =
        [("a.bin", 752_502), ("sub/b.bin", 2_000_000), ("sub/deep/c", 10), ("sub/empty", 0), ("z", 65_536)];
    Payload::multi("films – größe", 65_536, &files)
}

/// A seed of `payload` in the daemon's folder.
fn seed(daemon: &Daemon, payload: &Payload) -> (String, wgo_tests::maker::Torrent) {
    payload.write(&daemon.downloads());
    let torrent = Maker::new(payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    (id, torrent)
}

fn send(daemon: &Daemon, id: &str, to: &Path) -> ctl::Ran {
    ctl::run(daemon, &["move", id, "--to", to.to_str().unwrap()])
}

/// Waits until nothing is left to do of a move to `to`.
#[track_caller]
fn until_in(daemon: &Daemon, id: &str, to: &Path, state: State) {
    let arrived = try_until(TRANSFER, || {
        let torrent = daemon.torrent(id);
        (torrent.state == state && Path::new(&torrent.folder) == to).then_some(())
    });
    assert!(arrived.is_some(), "not moved to {}: {:?}", to.display(), daemon.torrent(id));
}

/// The payload is in one of two folders, whole, and nothing at all is in the other.
#[track_caller]
fn assert_only_in(payload: &Payload, place: &Path, other: &Path) {
    payload.assert_equals(place);
    let strange: Vec<PathBuf> =
        files_below(place).into_iter().filter(|path| path.to_string_lossy().contains(".wgod-")).collect();
    assert_eq!(strange, [] as [PathBuf; 0], "left in the new place");
    let left: Vec<_> = fs::read_dir(other).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [] as [PathBuf; 0], "left in the old place");
}

#[test]
fn a_seed_moves_to_another_disk_and_back_and_peers_find_it_there() {
    let test = "a_seed_moves_to_another_disk_and_back_and_peers_find_it_there";
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let Some(disk) = other_file_system(&daemon, test) else { return };
    let payload = folders();
    let (id, torrent) = seed(&daemon, &payload);
    let near = daemon.home().join("near/by");
    let downloads = daemon.downloads();
    // Beyond the file system, back, and within it.
    for (to, from) in [(disk.path(), &*downloads), (&downloads, disk.path()), (&near, &downloads)] {
        let said = send(&daemon, &id, to).expect(0);
        assert_eq!(said.out, "Moving films – größe\n");
        until_in(&daemon, &id, to, State::Seeding);
        assert_only_in(&payload, to, from);
        let leecher =
            Leecher::start(net.ip(), daemon.listens(net.home()), torrent.hash, torrent.pieces, 65_536);
        until("it uploads from there", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
    }
    let there = send(&daemon, &id, &near).expect(0);
    assert_eq!(there.out, "There already: films – größe\n");
    let hashed = |log: &str| log.matches("hashing what").count();
    let before = hashed(&daemon.log());
    daemon.terminate();
    daemon.run();
    until_in(&daemon, &id, &near, State::Seeding);
    assert_eq!(hashed(&daemon.log()), before, "what was moved is known");
}

#[test]
fn a_download_moves_in_the_middle_and_ends_in_the_new_place() {
    let test = "a_download_moves_in_the_middle_and_ends_in_the_new_place";
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let Some(disk) = other_file_system(&daemon, test) else { return };
    let payload = Payload::multi("halves", 65_536, &[("a", 3_000_000), ("b/c", 3_000_000)]);
    let torrent = Maker::new(&payload).make();
    let slow = Habits { pause: Duration::from_millis(10), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], slow);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    until("a part is there", TRANSFER, || (daemon.torrent(&id).done_bytes > 1_000_000).then_some(()));
    send(&daemon, &id, disk.path()).expect(0);
    until_in(&daemon, &id, disk.path(), State::Seeding);
    assert_only_in(&payload, disk.path(), &daemon.downloads());
    let sent = seeder.sent_in_the_end().iter().sum::<u64>();
    // What was under way when it halted may come twice.
    assert!(sent < payload.len() as u64 + 1_000_000, "{sent} bytes were sent for {}", payload.len());
}

#[test]
fn what_cannot_go_well_is_refused_and_says_why() {
    let test = "what_cannot_go_well_is_refused_and_says_why";
    let Some(net) = Net::required(test) else { return };
    let small = tempfile::Builder::new().prefix("wgod-small-").tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1m none {}", small.path().display());
    let daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        mounts: Some(mount),
        storage: "min_free_space = \"100 KB\"".to_owned(),
        ..Settings::default()
    });
    let payload = folders();
    let (id, _) = seed(&daemon, &payload);
    let full = send(&daemon, &id, small.path()).expect(1);
    assert!(full.err.contains("no room") && full.err.contains("min_free_space"), "{}", full.err);
    let in_the_way = daemon.home().join("taken");
    fs::create_dir_all(in_the_way.join("films – größe")).unwrap();
    fs::write(in_the_way.join("films – größe/z"), "of somebody else").unwrap();
    let foreign = send(&daemon, &id, &in_the_way).expect(1);
    for name in ["taken/films – größe/z", "downloads/films – größe/z"] {
        assert!(foreign.err.contains(name), "{}", foreign.err);
    }
    let twin = Maker::new(&payload).private().make();
    let theirs = daemon.home().join("theirs");
    payload.write(&theirs);
    daemon.wait_seeding(&daemon.add(&twin, &theirs, &[]));
    let occupied = send(&daemon, &id, &theirs).expect(1);
    assert!(occupied.err.contains("belongs to “films – größe”"), "{}", occupied.err);
    assert!(send(&daemon, &id, &daemon.home().join("wgod.toml")).expect(1).err.contains("wgod.toml"));
    assert_eq!(
        ctl::run(&daemon, &["move", &id, "--cancel"]).expect(1).err,
        format!("wgoctl: {id}: it is not being moved\n")
    );
    ctl::run(&daemon, &["move", &id]).expect(2);
    ctl::run(&daemon, &["move", "ffffffff", "--to", "/tmp"]).expect(4);
    until_in(&daemon, &id, &daemon.downloads(), State::Seeding);
    assert_eq!(daemon.torrent(&id).error, None);
    payload.assert_equals(&daemon.downloads());
    payload.assert_equals(&theirs);
    assert_eq!(files_below(&in_the_way).len(), 1);
}

#[test]
fn a_file_that_two_torrents_share_stays_for_the_other() {
    let test = "a_file_that_two_torrents_share_stays_for_the_other";
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let Some(disk) = other_file_system(&daemon, test) else { return };
    let payload = folders();
    let (id, _) = seed(&daemon, &payload);
    let twin = Maker::new(&payload).private().make();
    daemon.wait_seeding(&daemon.add(&twin, &daemon.downloads(), &[]));
    // One that was stopped since the daemon started is no less a user.
    daemon.call(async |client| wgo_api::ApiClient::stop(client, Daemon::select(&twin.id())).await).unwrap();
    daemon.terminate();
    daemon.run();
    for to in [daemon.home().join("near"), disk.path().to_owned()] {
        send(&daemon, &id, &to).expect(0);
        until_in(&daemon, &id, &to, State::Seeding);
        payload.assert_equals(&to);
        payload.assert_equals(&daemon.downloads());
    }
    assert_eq!(files_below(&daemon.home().join("near")), [] as [PathBuf; 0]);
    daemon
        .call(async |client| wgo_api::ApiClient::start(client, Daemon::starting(&twin.id())).await)
        .unwrap();
    daemon.wait_seeding(&twin.id());
}

#[test]
fn a_move_that_is_called_off_leaves_everything_where_it_was() {
    let test = "a_move_that_is_called_off_leaves_everything_where_it_was";
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let Some(disk) = other_file_system(&daemon, test) else { return };
    let payload = Payload::single("long.bin", 192 << 20, 1 << 20);
    let (id, _) = seed(&daemon, &payload);
    let (mut from, mut to) = (daemon.downloads(), disk.path().to_owned());
    // It may be over before it is called off: then the other way round.
    for _ in 0..10 {
        send(&daemon, &id, &to).expect(0);
        let called_off = ctl::run(&daemon, &["move", &id, "--cancel"]);
        if called_off.code == 0 {
            assert_eq!(called_off.out, "Not moved: long.bin\n");
            until_in(&daemon, &id, &from, State::Seeding);
            assert_only_in(&payload, &from, &to);
            assert_eq!(daemon.torrent(&id).error, None);
            return;
        }
        until_in(&daemon, &id, &to, State::Seeding);
        std::mem::swap(&mut from, &mut to);
    }
    panic!("every move was over before it could be called off");
}

/// Kills the daemon at a random point of each of so many moves, and perhaps again while it picks up.
fn kill_in_moves(
    daemon: &mut Daemon,
    payload: &Payload,
    id: &str,
    places: [PathBuf; 2],
    times: u32,
    seed: u64,
) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let [mut here, mut there] = places;
    let begun = Instant::now();
    send(daemon, id, &there).expect(0);
    until_in(daemon, id, &there, State::Seeding);
    std::mem::swap(&mut here, &mut there);
    let whole = begun.elapsed().mul_f64(1.2);
    let mut in_the_middle = 0;
    let mut round = 0;
    // A quick disk moves so fast that most kills come too late.
    while round < times || (in_the_middle == 0 && round < 20 * times) {
        round += 1;
        send(daemon, id, &there).expect(0);
        pause(whole.mul_f64(rng.f64() * rng.f64()));
        let state = daemon.torrent(id).state;
        in_the_middle += u32::from(state == State::Moving);
        loop {
            daemon.kill9();
            daemon.run();
            if rng.bool() {
                break;
            }
            pause(whole.mul_f64(rng.f64()));
        }
        // It was acknowledged, so it arrives.
        until_in(daemon, id, &there, State::Seeding);
        if let Some(difference) = payload.difference(&there) {
            panic!("round {round}, killed while {state}: {difference}");
        }
        assert_only_in(payload, &there, &here);
        std::mem::swap(&mut here, &mut there);
    }
    assert!(in_the_middle > 0, "it was never killed while it moved");
    eprintln!("{in_the_middle} of {round} kills were during a move");
}

fn kills() -> u32 {
    if long() { 100 } else { 8 }
}

#[test]
fn killed_at_any_point_of_a_move_to_another_disk_nothing_is_lost() {
    let test = "killed_at_any_point_of_a_move_to_another_disk_nothing_is_lost";
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let Some(disk) = other_file_system(&daemon, test) else { return };
    let files: Vec<(String, usize)> =
        (0..24).map(|n| (format!("d{}/f{n}", n % 5), 100_000 + n * 150_000)).collect();
    let files: Vec<(&str, usize)> = files.iter().map(|(path, len)| (&**path, *len)).collect();
    let payload = Payload::multi("many", 1 << 18, &files);
    let (id, _) = seed(&daemon, &payload);
    let places = [daemon.downloads(), disk.path().to_owned()];
    kill_in_moves(&mut daemon, &payload, &id, places, kills(), 11);
}

#[test]
fn killed_at_any_point_of_a_move_within_a_disk_nothing_is_lost() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::lots();
    let (id, _) = seed(&daemon, &payload);
    let near = daemon.home().join("near");
    fs::create_dir(&near).unwrap();
    let places = [daemon.downloads(), near];
    kill_in_moves(&mut daemon, &payload, &id, places, kills(), 12);
}
