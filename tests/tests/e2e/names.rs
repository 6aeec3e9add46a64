//! Renaming torrents, and files and folders in them: nothing is lost, hashed again, or written over.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wgo_api::State;
use wgo_tests::leecher::Leecher;
use wgo_tests::payload::files_below;
use wgo_tests::peers::{Kind, wait_complete};
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, long, pause, until};
use wgo_tests::{Daemon, Maker, Net, Payload, ctl};

const PIECE: u32 = 65_536;

fn folders() -> Payload {
    let files =
        [("a.bin", 752_502), ("sub/b.bin", 2_000_000), ("sub/deep/c", 10), ("sub/empty", 0), ("z", 65_536)];
    Payload::multi("films – größe", PIECE, &files)
}

/// A seed of `payload` in the daemon's folder.
fn seed(daemon: &Daemon, payload: &Payload) -> (String, wgo_tests::maker::Torrent) {
    payload.write(&daemon.downloads());
    let torrent = Maker::new(payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    (id, torrent)
}

fn rename(daemon: &Daemon, id: &str, old: &str, new: &str) -> ctl::Ran {
    ctl::run(daemon, &["rename", id, old, new])
}

/// The payload with other paths for the files below `old`.
fn renamed(payload: &Payload, old: &str, new: &str) -> Payload {
    let mut payload = payload.clone();
    if payload.name == old {
        payload.name = new.to_owned();
    }
    for (path, _) in &mut payload.files {
        if let Ok(rest) = path.strip_prefix(old) {
            *path = if rest == Path::new("") { new.into() } else { Path::new(new).join(rest) };
        }
    }
    payload
}

/// The files are in `folder`, whole, as the daemon lists them; nothing else is there.
#[track_caller]
fn assert_only(daemon: &Daemon, id: &str, payload: &Payload, folder: &Path) {
    let listed = daemon.show(id).files.unwrap();
    let listed: Vec<&Path> =
        listed.iter().filter(|file| !file.pad).map(|file| Path::new(&file.path)).collect();
    assert_eq!(listed, payload.files.iter().map(|(path, _)| &**path).collect::<Vec<_>>());
    assert_files(payload, folder);
}

#[track_caller]
fn assert_files(payload: &Payload, folder: &Path) {
    for (path, bytes) in &payload.files {
        let found = fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == *bytes, "{} differs", path.display());
    }
    let mut found = files_below(folder);
    found.retain(|path| !payload.files.iter().any(|(known, _)| folder.join(known) == *path));
    assert_eq!(found, [] as [PathBuf; 0], "these don't belong here");
    let (mut folders, mut empty) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let below: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        if below.is_empty() {
            empty.push(folder);
        }
        folders.extend(below.into_iter().filter(|path| path.is_dir()));
    }
    assert_eq!(empty, [] as [PathBuf; 0], "empty folders are left");
}

fn hashed(daemon: &Daemon) -> usize {
    daemon.log().matches("hashing").count()
}

#[test]
fn a_renamed_seed_serves_restarts_moves_and_goes_under_its_new_name() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = folders();
    let (id, torrent) = seed(&daemon, &payload);
    let before = hashed(&daemon);
    let said = rename(&daemon, &id, "films – größe", "Filme").expect(0);
    assert_eq!(said.out, "Renamed films – größe to Filme (5 files)\n");
    let said = rename(&daemon, "Filme", "Filme/sub/deep", "Filme/tief/er").expect(0);
    assert_eq!(said.out, "Renamed Filme/sub/deep to Filme/tief/er (1 file)\n");
    let payload = renamed(&renamed(&payload, "films – größe", "Filme"), "Filme/sub/deep", "Filme/tief/er");
    daemon.wait_seeding(&id);
    assert_only(&daemon, &id, &payload, &daemon.downloads());
    let served = |net: &mut Net, daemon: &Daemon| {
        let to = daemon.listens(net.home());
        let leecher = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, PIECE);
        until("it uploads", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
    };
    served(&mut net, &daemon);
    daemon.kill9();
    daemon.run();
    daemon.wait_seeding(&id);
    assert_only(&daemon, &id, &payload, &daemon.downloads());
    served(&mut net, &daemon);
    assert_eq!(hashed(&daemon), before, "names say nothing of what is in files:\n{}", daemon.log());

    let near = daemon.home().join("near");
    ctl::run(&daemon, &["move", &id, "--to", near.to_str().unwrap()]).expect(0);
    until("it is moved", TRANSFER, || {
        let row = daemon.torrent(&id);
        (row.state == State::Seeding && Path::new(&row.folder) == near).then_some(())
    });
    assert_only(&daemon, &id, &payload, &near);
    assert_eq!(files_below(&daemon.downloads()), [] as [PathBuf; 0]);
    ctl::run(&daemon, &["verify", &id]).expect(0);
    daemon.wait_seeding(&id);
    assert_eq!(daemon.torrent(&id).done_bytes, payload.len() as u64);

    let backup = daemon.home().join("backup");
    ctl::run(&daemon, &["backup", backup.to_str().unwrap()]).expect(0);
    rename(&daemon, &id, "Filme/z", "Filme/y").expect(0);
    rename(&daemon, &id, "Filme/y", "Filme/z").expect(0);
    daemon.kill9();
    fs::remove_dir_all(daemon.home().join("state")).unwrap();
    daemon.run();
    ctl::run(&daemon, &["restore", "--yes", backup.to_str().unwrap()]).expect(0);
    daemon.process().wait(SOON);
    daemon.run();
    daemon.wait_seeding(&id);
    assert_only(&daemon, &id, &payload, &near);
    assert_eq!(daemon.torrent(&id).name, "Filme");
    ctl::run(&daemon, &["remove", "--data", "--yes", "Filme"]).expect(0);
    assert_eq!(fs::read_dir(&near).unwrap().count(), 0, "nothing of it is left");
}

#[test]
fn a_download_is_renamed_in_the_middle_and_ends_under_its_new_name() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::multi("halves", PIECE, &[("a", 3_000_000), ("b/c", 3_000_000)]);
    let torrent = Maker::new(&payload).make();
    let slow = Habits { pause: Duration::from_millis(10), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], slow);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    until("a part is there", TRANSFER, || (daemon.torrent(&id).done_bytes > 1_000_000).then_some(()));
    rename(&daemon, &id, "halves", "whole").expect(0);
    rename(&daemon, &id, "whole/b/c", "whole/c").expect(0);
    let payload = renamed(&renamed(&payload, "halves", "whole"), "whole/b/c", "whole/c");
    until("more is there", TRANSFER, || (daemon.torrent(&id).done_bytes > 2_000_000).then_some(()));
    daemon.kill9();
    daemon.run();
    daemon.wait_seeding(&id);
    assert_only(&daemon, &id, &payload, &daemon.downloads());
    let sent = seeder.sent_in_the_end().iter().sum::<u64>();
    // What was under way when it halted may come twice.
    assert!(sent < payload.len() as u64 + 1_500_000, "{sent} bytes were sent for {}", payload.len());
}

#[test]
fn what_cannot_be_renamed_is_refused_and_says_why() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = folders();
    let (id, _) = seed(&daemon, &payload);
    let other = Payload::single("other.bin", 100_000, PIECE);
    seed(&daemon, &other);
    fs::write(daemon.downloads().join("films – größe/mine"), "of somebody else").unwrap();
    let root = "films – größe";
    let within = |path: &str| format!("{root}/{path}");
    for (old, new, code, says) in [
        ("nothing", "x", 4, "has no file or folder “nothing”"),
        (&within("a"), &within("x"), 4, "has no file or folder"),
        (&within("z"), "/srv/z", 2, "it is absolute"),
        (&within("z"), &within("../z"), 2, "\"..\" cannot be part of a path"),
        (&within("z"), &within("z\n"), 2, "cannot be part of a path"),
        (&within("z"), "z", 2, "such as “films – größe/z”"),
        (&within("z"), &within("a.bin"), 1, "another of the torrent's files"),
        (&within("z"), &within("sub"), 1, "another of the torrent's files"),
        (&within("z"), &within("mine"), 1, "films – größe/mine is there already"),
        (&within("z"), &within("mine/z"), 1, "move what is there out of the way"),
        (root, "other.bin", 1, "move what is there out of the way"),
    ] {
        let said = rename(&daemon, &id, old, new).expect(code);
        assert!(said.err.contains(says), "{old} to {new}: {}", said.err);
        assert_eq!(said.out, "");
    }
    let single = daemon.list().into_iter().find(|row| row.name == "other.bin").unwrap().info_hash;
    let said = rename(&daemon, &single, "other.bin", &within("z")).expect(1);
    assert!(said.err.contains("belongs to “films – größe”"), "{}", said.err);
    rename(&daemon, "ffffffff", "a", "b").expect(4);
    rename(&daemon, &id, root, root).expect(0);
    fs::remove_file(daemon.downloads().join("films – größe/mine")).unwrap();
    daemon.wait_seeding(&id);
    fs::remove_file(daemon.downloads().join("other.bin")).unwrap();
    assert_only(&daemon, &id, &payload, &daemon.downloads());
}

#[test]
fn files_trade_names_and_twins_keep_theirs() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = folders();
    let (id, _) = seed(&daemon, &payload);
    let twin = Maker::new(&payload).private().make();
    daemon.wait_seeding(&daemon.add(&twin, &daemon.downloads(), &[]));
    rename(&daemon, &id, "films – größe", "t").expect(0);
    for (old, new) in [("t/a.bin", "t/x"), ("t/z", "t/a.bin"), ("t/x", "t/z")] {
        rename(&daemon, &id, old, new).expect(0);
    }
    let mut ours = renamed(&payload, "films – größe", "t");
    for (path, _) in &mut ours.files {
        *path = match path.to_str().unwrap() {
            "t/a.bin" => "t/z".into(),
            "t/z" => "t/a.bin".into(),
            other => other.into(),
        };
    }
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
    daemon.wait_seeding(&twin.id());
    ctl::run(&daemon, &["verify", "--all"]).expect(0);
    daemon.wait_seeding(&id);
    daemon.wait_seeding(&twin.id());
    for (id, payload) in [(&id, &ours), (&twin.id(), &payload)] {
        assert_eq!(daemon.torrent(id).done_bytes, payload.len() as u64);
    }
    daemon.remove(&twin.id(), true);
    assert_only(&daemon, &id, &ours, &daemon.downloads());
}

#[test]
fn a_real_peer_downloads_a_renamed_torrent() {
    let test = "a_real_peer_downloads_a_renamed_torrent";
    let Some(mut net) = Net::required(test) else { return };
    let Some(mut peer) = Kind::Transmission.start(test, net.ip()) else { return };
    let daemon = Daemon::start(&net);
    let payload = folders();
    let (id, _) = seed(&daemon, &payload);
    rename(&daemon, &id, "films – größe", "renamed").expect(0);
    rename(&daemon, &id, "renamed/sub/b.bin", "renamed/b").expect(0);
    daemon.wait_seeding(&id);
    let tracker = Tracker::start(net.ip(), &[daemon.listens(net.home())]);
    let torrent = Maker::new(&payload).tier([&tracker.url(Over::Http)]).make();
    let theirs = tempfile::tempdir().unwrap();
    peer.add(&torrent, theirs.path());
    wait_complete(peer.as_mut(), &torrent);
    let wanted = payload.without_empty();
    until("its files are right", TRANSFER, || wanted.difference(theirs.path()).is_none().then_some(()));
}

#[test]
fn killed_at_any_point_of_a_rename_nothing_is_lost() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let original = Payload::lots();
    let (id, _) = seed(&daemon, &original);
    let before = hashed(&daemon);
    let mut rng = fastrand::Rng::with_seed(13);
    let names = ["lots", "many/more", "other"];
    let begun = Instant::now();
    rename(&daemon, &id, names[0], names[1]).expect(0);
    let whole = begun.elapsed().mul_f64(1.2);
    let (mut here, mut cut_off, mut round) = (names[1], 0, 0);
    let times = if long() { 100 } else { 8 };
    // A quick disk renames so fast that most kills come too late.
    while round < times || (cut_off == 0 && round < 20 * times) {
        round += 1;
        let there = names[(names.iter().position(|name| *name == here).unwrap() + 1) % 3];
        let asked = std::thread::scope(|scope| {
            let socket = daemon.socket();
            let args = ["rename", &id, here, there].map(str::to_owned);
            let asking = scope.spawn(move || ctl::at(&socket, &args, &[]));
            pause(whole.mul_f64(rng.f64()));
            daemon.kill9();
            asking.join().unwrap()
        });
        daemon.run();
        if rng.bool() {
            daemon.kill9();
            daemon.run();
        }
        daemon.wait_seeding(&id);
        // Whatever it is called now, it is that altogether.
        let listed = daemon.show(&id).files.unwrap();
        let now = if listed[0].path.starts_with(&format!("{there}/")) { there } else { here };
        assert!(asked.code != 0 || now == there, "round {round}: what was acknowledged is undone");
        cut_off += u32::from(asked.code != 0 && now == there);
        assert_only(&daemon, &id, &renamed(&original, "lots", now), &daemon.downloads());
        here = now;
    }
    assert_eq!(hashed(&daemon), before, "nothing was hashed again");
    assert!(cut_off > 0, "it was never killed while it renamed");
    eprintln!("{cut_off} of {round} kills were during a rename");
}
