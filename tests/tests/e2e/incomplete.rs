//! Torrents that are kept in `incomplete_folder` until they are complete; modes of what is made.
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wgo_api::{ApiClient, State};
use wgo_proto::tracker::Event;
use wgo_tests::disk::{seen, within};
use wgo_tests::leecher::Leecher;
use wgo_tests::payload::files_below;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, long, pause, throughout, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

/// How soon a torrent gets home when nothing is in its way any more: the daemon looks again every minute.
const RETRY: Duration = Duration::from_secs(150);

/// A daemon that keeps incomplete torrents in `incomplete` of its folder, with these lines beside that.
fn keeping(net: &Net, storage: &str, mounts: Option<String>) -> Daemon {
    let storage = format!("incomplete_folder = \"~/incomplete\"\n{storage}");
    Daemon::with(Settings { ips: vec![net.home()], storage, mounts, ..Settings::default() })
}

fn incomplete(daemon: &Daemon) -> PathBuf {
    daemon.home().join("incomplete")
}

/// Of whole pieces, as a [`Leecher`] asks for them.
fn films() -> Payload {
    let files = [("a.bin", 1_735_542), ("sub/b.bin", 2_000_000), ("sub/c", 10), ("empty", 0), ("z", 65_536)];
    Payload::multi("films", 65_536, &files)
}

/// Every file in a folder or below it; none if it isn't there.
fn all_in(folder: &Path) -> Vec<PathBuf> {
    if folder.exists() { files_below(folder) } else { Vec::new() }
}

/// The torrent is in its final folder, whole, and nothing of it is elsewhere.
#[track_caller]
fn until_home(daemon: &Daemon, id: &str, payload: &Payload, home: &Path) {
    until("it is in its final folder", RETRY, || {
        let torrent = daemon.torrent(id);
        let there = torrent.final_folder.is_none() && Path::new(&torrent.folder) == home;
        (there && torrent.state == State::Seeding).then_some(())
    });
    payload.assert_equals(&seen(daemon, home));
    assert_eq!(all_in(&seen(daemon, &incomplete(daemon))), [] as [PathBuf; 0], "left where it began");
    let strange = |path: &PathBuf| path.to_string_lossy().contains(".wgod-");
    assert_eq!(files_below(&seen(daemon, home)).into_iter().find(strange), None, "left in the new place");
    assert_eq!(daemon.torrent(id).error, None);
}

#[test]
fn a_download_is_done_when_it_is_in_its_final_folder_and_trackers_hear_of_it_at_once() {
    let mut net = Net::new();
    let daemon = keeping(&net, "", None);
    let payload = films();
    let tracker = Tracker::start(net.ip(), &[]);
    let torrent = Maker::new(&payload).tier([tracker.url(Over::Http)]).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    daemon.limit(None, None, Some(1_000_000));
    let file = torrent.save(daemon.home());
    let address = seeder.addr().to_string();
    let args = ["add", file.to_str().unwrap(), "--peer", &address, "--paused"];
    ctl::run(&daemon, &args).expect(0);
    let id = torrent.id();
    ctl::run(&daemon, &["start", &id]).expect(0);
    until("a part is there", TRANSFER, || (daemon.torrent(&id).done_bytes > 100_000).then_some(()));
    let shown = ctl::run(&daemon, &["show", &id]).expect(0).out;
    let line = |name: &str, folder: &Path| format!("{name:<13} {}\n", folder.display());
    assert!(shown.contains(&line("Folder", &incomplete(&daemon))), "{shown}");
    assert!(shown.contains(&line("Goes to", &daemon.downloads())), "{shown}");
    assert_eq!(all_in(&daemon.downloads()), [] as [PathBuf; 0]);
    daemon.limit(None, None, Some(0));
    let said = ctl::run(&daemon, &["wait", &id, "--timeout", "5 min"]).expect(0);
    // Nothing is waited for here: this is what a script may do next.
    payload.assert_equals(&daemon.downloads());
    assert_eq!(all_in(&incomplete(&daemon)), [] as [PathBuf; 0]);
    assert!(said.out.starts_with("films: "), "{}", said.out);
    until_home(&daemon, &id, &payload, &daemon.downloads());
    until("the tracker heard `completed` once", SOON, || {
        (tracker.count(torrent.hash, Event::Completed) == 1).then_some(())
    });
    let leecher = Leecher::start(net.ip(), daemon.listens(net.home()), torrent.hash, torrent.pieces, 65_536);
    until("it uploads from there", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
    assert!(!ctl::run(&daemon, &["show", &id]).expect(0).out.contains("Goes to"));
}

#[test]
fn data_that_is_in_the_final_folder_is_seeded_there() {
    let net = Net::new();
    let daemon = keeping(&net, "", None);
    let payload = films();
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    until_home(&daemon, &id, &payload, &daemon.downloads());
    assert_eq!(daemon.torrent(&id).downloaded_bytes, 0);
    assert!(!daemon.log().contains("to be moved"), "{}", daemon.log());
}

#[test]
fn what_is_in_the_way_keeps_it_seeding_until_it_is_gone() {
    let mut net = Net::new();
    let mut daemon = keeping(&net, "", None);
    let payload = films();
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    daemon.limit(None, None, Some(200_000));
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    until("it has begun", TRANSFER, || (daemon.torrent(&id).downloaded_bytes > 0).then_some(()));
    let foreign = daemon.downloads().join("films/z");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "of somebody else").unwrap();
    daemon.limit(None, None, Some(0));
    // Whoever waits learns that it can't be.
    let late = ctl::run(&daemon, &["wait", &id, "--timeout", "5 min"]).expect(1);
    assert!(late.err.contains("films/z is in the way") && late.err.contains("tried again"), "{}", late.err);
    let check = |daemon: &Daemon| {
        let row = daemon.torrent(&id);
        assert_eq!((row.state, Path::new(&row.folder)), (State::Seeding, &*incomplete(daemon)));
        assert_eq!(row.final_folder.as_deref(), daemon.downloads().to_str());
        payload.assert_equals(&incomplete(daemon));
        assert_eq!(fs::read(&foreign).unwrap(), b"of somebody else");
    };
    check(&daemon);
    // Removing the setting does not strand it.
    daemon.terminate();
    let config = fs::read_to_string(daemon.config()).unwrap();
    let without: Vec<&str> = config.lines().filter(|line| !line.starts_with("incomplete_folder")).collect();
    fs::write(daemon.config(), without.join("\n")).unwrap();
    daemon.run();
    until("it says so again", SOON, || daemon.torrent(&id).error);
    until("it seeds", SOON, || (daemon.torrent(&id).state == State::Seeding).then_some(()));
    check(&daemon);
    let leecher = Leecher::start(net.ip(), daemon.listens(net.home()), torrent.hash, torrent.pieces, 65_536);
    until("it uploads meanwhile", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
    fs::remove_file(&foreign).unwrap();
    until_home(&daemon, &id, &payload, &daemon.downloads());
}

#[test]
fn a_final_folder_whose_disk_is_not_mounted_is_waited_for_and_never_made() {
    let test = "a_final_folder_whose_disk_is_not_mounted_is_waited_for_and_never_made";
    let Some(mut net) = Net::required(test) else { return };
    let point = tempfile::Builder::new().prefix("wgod-final-").tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=64m none {}", point.path().display());
    let daemon = keeping(&net, "min_free_space = \"1 MB\"", Some(mount.clone()));
    let payload = films();
    let torrent = Maker::new(&payload).make();
    let slow = Habits { pause: Duration::from_millis(5), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], slow);
    let home = point.path().join("films");
    let id = daemon.add(&torrent, &home, &[seeder.addr()]);
    until("it has begun", TRANSFER, || (daemon.torrent(&id).downloaded_bytes > 0).then_some(()));
    within(&daemon, &format!("umount {}", point.path().display()));
    let said = until("it is complete and says what is missing", TRANSFER, || {
        let torrent = daemon.torrent(&id);
        (torrent.state == State::Seeding).then_some(torrent.error).flatten()
    });
    assert!(said.contains(&format!("{} is not mounted", point.path().display())), "{said}");
    let below = seen(&daemon, point.path());
    throughout("nothing is made below the mount point", Duration::from_secs(4), || {
        below.read_dir().unwrap().next().is_none()
    });
    within(&daemon, &mount);
    until_home(&daemon, &id, &payload, &home);
}

#[test]
fn a_final_folder_without_room_gets_the_files_when_there_is_some() {
    let test = "a_final_folder_without_room_gets_the_files_when_there_is_some";
    let Some(mut net) = Net::required(test) else { return };
    let point = tempfile::Builder::new().prefix("wgod-small-").tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=5m none {}", point.path().display());
    let daemon = keeping(&net, "min_free_space = \"100 KB\"", Some(mount));
    let payload = films();
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    fs::write(seen(&daemon, point.path()).join("ballast"), vec![1; 3 << 20]).unwrap();
    let id = daemon.add(&torrent, point.path(), &[seeder.addr()]);
    let said = until("it is complete and says what it lacks", TRANSFER, || {
        let torrent = daemon.torrent(&id);
        (torrent.state == State::Seeding).then_some(torrent.error).flatten()
    });
    assert!(said.contains("has no room") && said.contains("min_free_space"), "{said}");
    fs::remove_file(seen(&daemon, point.path()).join("ballast")).unwrap();
    ctl::run(&daemon, &["start", &id]).expect(0);
    until_home(&daemon, &id, &payload, point.path());
}

#[test]
fn killed_around_its_completion_a_torrent_gets_home_whole() {
    let mut net = Net::new();
    let mut daemon = keeping(&net, "", None);
    let memory = Path::new("/dev/shm");
    let other = fs::metadata(memory).is_ok_and(|m| m.dev() != fs::metadata(daemon.home()).unwrap().dev());
    let far = other.then(|| tempfile::Builder::new().prefix("wgod-home-").tempdir_in(memory).unwrap());
    let near = daemon.home().join("near");
    fs::create_dir(&near).unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let rounds = if long() { 60 } else { 8 };
    let mut moving = 0;
    for round in 0..rounds {
        // To another file system and within one.
        let home = far.as_ref().filter(|_| round % 2 == 0).map_or(near.as_path(), |far| far.path());
        let files: Vec<(String, usize)> = (0..40).map(|n| (format!("d{}/f{n}", n % 3), 100_000)).collect();
        let files: Vec<(&str, usize)> = files.iter().map(|(path, len)| (&**path, *len)).collect();
        let payload = Payload::multi(&format!("round {round}"), 1 << 16, &files);
        let torrent = Maker::new(&payload).make();
        let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
        let id = daemon.add(&torrent, home, &[seeder.addr()]);
        until("nearly all is there", TRANSFER, || {
            let row = daemon.torrent(&id);
            (row.done_bytes * 10 > row.size_bytes.unwrap_or(0) * 9).then_some(())
        });
        pause(Duration::from_millis(rng.u64(0..400)));
        moving += u32::from(daemon.torrent(&id).state == State::Moving);
        loop {
            daemon.kill9();
            daemon.run();
            if rng.bool() {
                break;
            }
            pause(Duration::from_millis(rng.u64(0..300)));
        }
        until_home(&daemon, &id, &payload, home);
        daemon.remove(&id, true);
        assert_eq!(all_in(home), [] as [PathBuf; 0], "round {round}");
    }
    eprintln!("{moving} of {rounds} kills were seen to be during the move");
}

#[test]
fn an_unfinished_torrent_is_checked_and_removed_where_it_is() {
    let mut net = Net::new();
    let daemon = keeping(&net, "", None);
    let payload = films();
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    daemon.limit(None, None, Some(400_000));
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    until("a part is there", TRANSFER, || (daemon.torrent(&id).done_bytes > 300_000).then_some(()));
    daemon.call(async |client| client.verify(Daemon::check(&id)).await).unwrap();
    daemon.wait_state(&id, State::Downloading, TRANSFER);
    assert!(daemon.torrent(&id).done_bytes > 300_000);
    let goes = daemon.home().join("elsewhere");
    let said = ctl::run(&daemon, &["move", &id, "--to", goes.to_str().unwrap()]).expect(0).out;
    assert!(said.starts_with("films: goes to ") && said.contains("when it is complete"), "{said}");
    assert_eq!(daemon.torrent(&id).final_folder.as_deref(), goes.to_str());
    assert!(!goes.exists(), "nothing is made before it is needed");
    daemon.remove(&id, true);
    for folder in [incomplete(&daemon), goes, daemon.downloads()] {
        assert_eq!(all_in(&folder), [] as [PathBuf; 0], "{}", folder.display());
    }
}

#[test]
fn what_torrents_make_has_the_configured_modes_and_what_was_there_keeps_its_own() {
    let mut net = Net::new();
    let daemon = keeping(&net, "file_mode = \"0640\"\nfolder_mode = \"2770\"", None);
    let memory = Path::new("/dev/shm");
    let other = fs::metadata(memory).is_ok_and(|m| m.dev() != fs::metadata(daemon.home()).unwrap().dev());
    let far = other.then(|| tempfile::Builder::new().prefix("wgod-modes-").tempdir_in(memory).unwrap());
    let payload = films();
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let check = |home: &Path| {
        for folder in ["films", "films/sub"] {
            assert_eq!(mode(&home.join(folder)), 0o2770, "{folder}");
        }
        for file in ["films/a.bin", "films/sub/b.bin", "films/sub/c", "films/empty", "films/z"] {
            assert_eq!(mode(&home.join(file)), 0o640, "{file}");
        }
    };
    // Its own folder was there before; the one below it is made for the torrent.
    let before = mode(&daemon.home().join("state"));
    let home = daemon.home().join("new/er");
    let id = daemon.add(&torrent, &home, &[seeder.addr()]);
    until_home(&daemon, &id, &payload, &home);
    check(&home);
    assert_eq!((mode(&home), mode(home.parent().unwrap())), (0o2770, 0o2770));
    assert_eq!(mode(&daemon.home().join("state")), before, "the daemon's own files are not meant");
    // Copies get them too; a folder that exists keeps its mode.
    let Some(far) = far else { return };
    fs::set_permissions(far.path(), fs::Permissions::from_mode(0o711)).unwrap();
    ctl::run(&daemon, &["move", &id, "--to", far.path().to_str().unwrap()]).expect(0);
    until_home(&daemon, &id, &payload, far.path());
    check(far.path());
    assert_eq!(mode(far.path()), 0o711);
    // And what is made after a reload gets the new ones.
    let config = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), config.replace("0640", "0666").replace("2770", "0755")).unwrap();
    ctl::run(&daemon, &["reload"]).expect(0);
    ctl::run(&daemon, &["move", &id, "--to", home.to_str().unwrap()]).expect(0);
    until_home(&daemon, &id, &payload, &home);
    // The folder above it has setgid since it was made.
    assert_eq!((mode(&home.join("films/a.bin")), mode(&home.join("films/sub"))), (0o666, 0o2755));
}

#[test]
fn settings_that_make_no_sense_say_what_is_allowed() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let config = fs::read_to_string(daemon.config()).unwrap();
    let downloads = daemon.downloads();
    for (line, says) in [
        (format!("incomplete_folder = \"{}\"", downloads.display()), "is storage.folder"),
        ("incomplete_folder = \"relative\"".to_owned(), "an absolute path"),
        ("file_mode = \"4755\"".to_owned(), "no set-user-ID"),
        ("file_mode = 640".to_owned(), "write it in quotes"),
        ("folder_mode = \"0666\"".to_owned(), "wgod itself could not use them"),
        ("folder_mode = \"rwx\"".to_owned(), "an octal mode in quotes"),
    ] {
        fs::write(daemon.config(), config.replace("[storage]\n", &format!("[storage]\n{line}\n"))).unwrap();
        let refused = ctl::run(&daemon, &["reload"]).expect(1);
        assert!(refused.err.contains(says) && refused.err.contains("wgod.toml:"), "{line}: {}", refused.err);
    }
}
