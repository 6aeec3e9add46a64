//! A day of somebody who runs a seedbox by `wgoctl` alone: its words, its exit codes and its JSON.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wgo_tests::http::serve_once;
use wgo_tests::leecher::Leecher;
use wgo_tests::maker::Torrent;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

const PIECE: u32 = 32_768;

struct Day {
    daemon: Daemon,
    /// Of the torrents that the day is about: each with its payload.
    torrents: Vec<(Payload, Torrent, PathBuf)>,
    seeder: Seeder,
}

impl Day {
    fn begin(net: &mut Net, home: &Path) -> Day {
        let hook = home.join("done.sh");
        let told = home.join("told");
        fs::write(&hook, format!("#!/bin/sh\necho \"$WGOD_NAME\" >> {}\n", told.display())).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let (tv, rest) = (home.join("watch/tv"), home.join("watch/rest"));
        [&tv, &rest].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        let sections = format!(
            "[watch]\nfolders = [{{ path = {tv:?}, label = \"tv\", paused = true }}, {{ path = {rest:?}, label = \"rest\" }}]\n\
             [hooks]\non_completed = [{hook:?}]\n[queue]\ndownloads = 5\n"
        );
        let daemon = Daemon::with(Settings { ips: vec![net.home()], sections, ..Settings::default() });
        let files = [("big.bin", 300_000), ("note.txt", 700), ("extra/cover.jpg", 60_000)];
        let names = ["file", "stdin", "one", "two", "url", "watched-tv", "watched-rest"];
        let torrents: Vec<_> = names
            .map(|name| {
                let payload = Payload::multi(name, PIECE, &files);
                let torrent = Maker::new(&payload).make();
                let path = torrent.save(home);
                (payload, torrent, path)
            })
            .into();
        let all: Vec<_> = torrents.iter().map(|(payload, torrent, _)| (payload, torrent)).collect();
        let seeder = Seeder::start(net.ip(), &all);
        Day { daemon, torrents, seeder }
    }

    fn of(&self, name: &str) -> &(Payload, Torrent, PathBuf) {
        self.torrents.iter().find(|(payload, _, _)| payload.name == name).unwrap()
    }

    #[track_caller]
    fn does(&self, args: &[&str]) -> String {
        ctl::run(&self.daemon, args).expect(0).out
    }

    #[track_caller]
    fn torrent(&self, name: &str) -> serde_json::Value {
        let (code, document) = ctl::json(&self.daemon, &["show", name]);
        assert_eq!(code, 0, "{document}");
        document["torrent"].clone()
    }
}

#[test]
fn a_day_with_nothing_but_wgoctl() {
    let mut net = Net::new();
    let home = tempfile::tempdir().unwrap();
    let day = Day::begin(&mut net, home.path());
    let peer = day.seeder.addr().to_string();
    adds_of_all_kinds(&day, &net, &peer, home.path());
    choices(&day, &peer);
    places_and_names(&day, home.path());
    goals(&day, &mut net);
    watched(&day, home.path());
    // The end of the day.
    let gone = ctl::json(&day.daemon, &["remove", "file", "--data"]).1;
    assert_eq!(gone["torrents"][0]["status"], "ok", "{gone}");
    assert!(!day.daemon.downloads().join("file").exists());
    let left = ctl::json(&day.daemon, &["list"]).1["torrents"].as_array().unwrap().len();
    assert_eq!(left, 6);
    assert_eq!(ctl::run(&day.daemon, &["show", "file"]).code, 4);
    day.does(&["quit"]);
    assert_eq!(ctl::run(&day.daemon, &["status"]).code, 3);
}

/// By file, from standard input, a folder of them, by URL; waited for.
fn adds_of_all_kinds(day: &Day, net: &Net, peer: &str, home: &Path) {
    let path = |name: &str| day.of(name).2.to_str().unwrap().to_owned();
    day.does(&["add", &path("file"), "--peer", peer, "--wait", "done", "--label", "first"]);
    day.of("file").0.assert_equals(&day.daemon.downloads());
    let from_stdin = ctl::run_with(&day.daemon, &["add", "-", "--paused"], &day.of("stdin").1.bytes);
    assert_eq!(from_stdin.code, 0, "{}", from_stdin.err);
    assert_eq!(day.torrent("stdin")["state"], "stopped");
    let folder = home.join("several");
    fs::create_dir(&folder).unwrap();
    for name in ["one", "two"] {
        fs::copy(path(name), folder.join(format!("{name}.torrent"))).unwrap();
    }
    day.does(&["add", folder.to_str().unwrap(), "--peer", peer]);
    for name in ["one", "two"] {
        day.does(&["wait", name, "--for", "done", "--timeout", "2 min"]);
    }
    let server = serve_once(net.home(), day.of("url").1.bytes.clone());
    day.does(&["add", &format!("http://{server}/url.torrent"), "--paused"]);
    let again = ctl::run(&day.daemon, &["add", &path("url"), "--fail-if-exists"]);
    assert_eq!(again.code, 6, "{}", again.err);
    let ids = day.does(&["list", "--ids", "--filter", "label=first"]);
    assert_eq!(ids.trim(), day.of("file").1.id());
    let told = home.join("told");
    until("the hook has run for three", TRANSFER, || {
        let names = fs::read_to_string(&told).unwrap_or_default();
        ["file", "one", "two"].iter().all(|name| names.lines().any(|line| line == *name)).then_some(())
    });
}

/// Files, labels, limits, the queue.
fn choices(day: &Day, peer: &str) {
    let chosen = day.does(&["files", "url", "--only", "*.txt"]);
    assert_eq!(chosen, "url: 1 of 3 files wanted, 700 B\n");
    day.does(&["label", "url", "--add", "small"]);
    day.does(&["limit", "url", "--down", "5 MB/s"]);
    day.does(&["set", "url", "--priority", "high", "--sequential", "on"]);
    day.does(&["queue", "stdin", "--top"]);
    day.does(&["start", "url"]);
    // It knows of nobody: whoever is named now is tried.
    day.does(&["add", day.of("url").2.to_str().unwrap(), "--peer", peer]);
    day.does(&["wait", "url", "--timeout", "2 min"]);
    let url = day.torrent("url");
    assert_eq!((&url["labels"][0], &url["priority"]), (&"small".into(), &"high".into()), "{url}");
    assert_eq!(url["limits"]["down"], 5_000_000);
    assert_eq!(url["size_bytes"], 700);
    assert!(day.daemon.downloads().join("url/note.txt").exists());
    assert!(!day.daemon.downloads().join("url/big.bin").exists());
    assert_eq!(day.torrent("stdin")["queue_position"], 0);
}

/// Moved, renamed, verified.
fn places_and_names(day: &Day, home: &Path) {
    let shelf = home.join("shelf");
    day.does(&["move", "one", "--to", shelf.to_str().unwrap()]);
    until("it is moved", TRANSFER, || {
        let one = day.torrent("one");
        (one["folder"] == shelf.to_str().unwrap() && one["state"] == "seeding").then_some(())
    });
    day.of("one").0.assert_equals(&shelf);
    day.does(&["rename", "one", "one/extra/cover.jpg", "one/cover.jpg"]);
    assert!(shelf.join("one/cover.jpg").exists());
    day.does(&["rename", "one", "one", "The One"]);
    day.does(&["verify", "The One"]);
    day.does(&["wait", "The One", "--timeout", "2 min"]);
    until("it is whole", TRANSFER, || (day.torrent("The One")["progress"] == 1.0).then_some(()));
    assert!(shelf.join("The One/big.bin").exists() && !shelf.join("one").exists());
}

/// A ratio is reached, and the torrent is stopped for it.
fn goals(day: &Day, net: &mut Net) {
    let two = &day.of("two").1;
    day.does(&["set", "two", "--ratio", "0.5"]);
    let listens = day.daemon.listens(net.home());
    // The last piece is short, and this one asks for whole ones.
    let leecher = Leecher::start(net.ip(), listens, two.hash, two.pieces - 1, PIECE);
    until("the goal stops it", TRANSFER, || (day.torrent("two")["state"] == "stopped").then_some(()));
    assert!(leecher.bytes() > 0);
    let two = day.torrent("two");
    assert!(two["done_reason"].as_str().unwrap().contains("ratio"), "{two}");
}

/// Two folders with rules.
fn watched(day: &Day, home: &Path) {
    for (name, folder) in [("watched-tv", "watch/tv"), ("watched-rest", "watch/rest")] {
        fs::copy(&day.of(name).2, home.join(folder).join("new.torrent")).unwrap();
    }
    let listed = |name: &str| {
        let (_, list) = ctl::json(&day.daemon, &["list", "--filter", name]);
        list["torrents"].as_array().unwrap().first().cloned()
    };
    let tv = until("the first is added", TRANSFER, || listed("watched-tv"));
    assert_eq!((&tv["state"], &tv["labels"][0]), (&"stopped".into(), &"tv".into()), "{tv}");
    let rest = until("the second is added", TRANSFER, || listed("watched-rest"));
    assert_eq!(rest["labels"][0], "rest");
    assert_ne!(rest["state"], "stopped", "{rest}");
    until("they are marked", TRANSFER, || {
        ["tv", "rest"]
            .iter()
            .all(|f| home.join(format!("watch/{f}/new.torrent.added")).exists())
            .then_some(())
    });
}
