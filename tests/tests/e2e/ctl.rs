//! Every verb of `wgoctl` against a real daemon: what it does, its exit codes and its JSON.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use wgo_api::State;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Torrent, ctl, http};

struct Set {
    net: Net,
    daemon: Daemon,
    files: TempDir,
}

fn set() -> Set {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    Set { net, daemon, files: tempfile::tempdir().unwrap() }
}

impl Set {
    /// A torrent whose data is complete in the daemon's folder.
    fn complete(&self, name: &str) -> (Payload, Torrent) {
        let payload = Payload::single(name, 200_000, 32_768);
        payload.write(&self.daemon.downloads());
        let torrent = Maker::new(&payload).make();
        torrent.save(self.files.path());
        (payload, torrent)
    }

    fn path(&self, torrent: &Torrent) -> String {
        self.files.path().join(format!("{}.torrent", torrent.name)).to_str().unwrap().to_owned()
    }

    fn state(&self, torrent: &Torrent) -> String {
        let (code, value) = ctl::json(&self.daemon, &["show", &torrent.id()]);
        assert_eq!(code, 0, "{value}");
        value["torrent"]["state"].as_str().unwrap().to_owned()
    }
}

fn first(value: &Value) -> &Value {
    &value["torrents"][0]
}

#[test]
fn a_torrent_is_saved_as_it_was_added() {
    let set = set();
    let (_, torrent) = set.complete("a.bin");
    ctl::run(&set.daemon, &["add", &set.path(&torrent)]).expect(0);
    let saved = set.files.path().join("saved.torrent");
    ctl::run(&set.daemon, &["show", &torrent.id(), "--save", saved.to_str().unwrap()]).expect(0);
    assert_eq!(std::fs::read(&saved).unwrap(), torrent.bytes);
    ctl::run(&set.daemon, &["show", "no such torrent", "--save", "/nonexistent"]).expect(4);
}

#[test]
fn add_takes_files_folders_and_standard_input() {
    let set = set();
    let torrents: Vec<_> = ["a.bin", "b.bin", "c.bin"].map(|name| set.complete(name).1).into();
    let (code, added) = ctl::json(&set.daemon, &["add", &set.path(&torrents[0])]);
    assert_eq!((code, first(&added)["status"].as_str()), (0, Some("added")), "{added}");
    assert_eq!(first(&added)["info_hash"], torrents[0].id());

    ctl::run_with(&set.daemon, &["add", "-"], &torrents[1].bytes).expect(0);
    let (code, added) = ctl::json(&set.daemon, &["add", set.files.path().to_str().unwrap()]);
    let statuses: Vec<_> = added["torrents"].as_array().unwrap().iter().map(|t| &t["status"]).collect();
    assert_eq!(code, 0, "{added}");
    assert_eq!(statuses.iter().filter(|s| **s == "added").count(), 1, "{added}");
    assert_eq!(statuses.iter().filter(|s| **s == "present").count(), 2, "{added}");

    ctl::run(&set.daemon, &["add", "--fail-if-exists", &set.path(&torrents[0])]).expect(6);
    assert_eq!(set.daemon.list().len(), 3);
}

#[test]
fn bad_sources_fail_by_themselves() {
    let set = set();
    let (_, torrent) = set.complete("good.bin");
    let bad = set.files.path().join("bad.torrent");
    std::fs::write(&bad, b"d4:infod").unwrap();
    let bad = bad.to_str().unwrap();
    let ran = ctl::run(&set.daemon, &["add", bad]).expect(1);
    assert!(ran.err.contains("bad.torrent") || ran.out.contains("bad.torrent"), "it names the file: {ran:?}");
    ctl::run(&set.daemon, &["add", bad, &set.path(&torrent)]).expect(5);
    assert_eq!(set.daemon.list().len(), 1, "the good one is in");
    ctl::run(&set.daemon, &["add", "/no/such.torrent"]).expect(2);
    ctl::run(&set.daemon, &["add", "magnet:?xt=urn:btih:zzzz"]).expect(1);
    ctl::run(&set.daemon, &["add"]).expect(2);
}

#[test]
fn stop_start_verify_and_remove_act_on_what_they_name() {
    let set = set();
    let (payload, torrent) = set.complete("one.bin");
    let (_, other) = set.complete("two.bin");
    for torrent in [&torrent, &other] {
        ctl::run(&set.daemon, &["add", "--wait", "done", &set.path(torrent)]).expect(0);
    }
    let id = torrent.id();
    ctl::run(&set.daemon, &["stop", &id[..8]]).expect(0);
    until("it is stopped", SOON, || (set.state(&torrent) == "stopped").then_some(()));
    assert_eq!(set.state(&other), "seeding");
    ctl::run(&set.daemon, &["stop", "one.bin"]).expect(0);
    ctl::run(&set.daemon, &["start", "one.bin"]).expect(0);
    set.daemon.wait_seeding(&id);
    ctl::run(&set.daemon, &["verify", &id]).expect(0);
    set.daemon.wait_seeding(&id);

    ctl::run(&set.daemon, &["stop", "nobody"]).expect(4);
    let (code, partly) = ctl::json(&set.daemon, &["stop", "nobody", &id]);
    assert_eq!(code, 5, "{partly}");
    ctl::run(&set.daemon, &["remove", "nobody"]).expect(4);
    ctl::run(&set.daemon, &["remove", &id]).expect(0);
    payload.assert_equals(&set.daemon.downloads());
    ctl::run(&set.daemon, &["show", &id]).expect(4);
    assert_eq!(set.daemon.list().len(), 1);
    ctl::run(&set.daemon, &["remove", "--data", "two.bin"]).expect(0);
    until("its file is gone", SOON, || (!set.daemon.downloads().join("two.bin").exists()).then_some(()));
    payload.assert_equals(&set.daemon.downloads());
}

#[test]
fn verify_finds_damage_and_says_so() {
    let set = set();
    let (payload, torrent) = set.complete("damaged.bin");
    ctl::run(&set.daemon, &["add", "--wait", "done", &set.path(&torrent)]).expect(0);
    let path = set.daemon.downloads().join("damaged.bin");
    let mut bytes = payload.files[0].1.clone();
    bytes[100_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    ctl::run(&set.daemon, &["verify", "damaged.bin"]).expect(0);
    let id = torrent.id();
    until("one piece is missing", SOON, || {
        let details = set.daemon.show(&id).torrent;
        (details.torrent.state == State::Downloading && details.pieces_done == details.pieces.map(|n| n - 1))
            .then_some(())
    });
}

#[test]
fn list_status_and_show_agree() {
    let set = set();
    let (payload, torrent) = set.complete("shown.bin");
    ctl::run(&set.daemon, &["add", "--label", "x", "--wait", "done", &set.path(&torrent)]).expect(0);
    let id = torrent.id();
    let (code, list) = ctl::json(&set.daemon, &["list"]);
    assert_eq!(code, 0);
    let row = first(&list);
    assert_eq!((row["info_hash"].as_str(), row["state"].as_str()), (Some(id.as_str()), Some("seeding")));
    assert_eq!(row["size_bytes"], payload.len());
    assert_eq!(row["done_bytes"], payload.len());
    assert_eq!(row["labels"][0], "x");
    assert_eq!(ctl::run(&set.daemon, &["list", "--ids"]).expect(0).out.trim(), id);

    let (code, status) = ctl::json(&set.daemon, &["status"]);
    assert_eq!(code, 0);
    assert_eq!(status["daemon"]["pid"], set.daemon.pid());
    assert_eq!(status["daemon"]["torrents"]["seeding"], 1, "{status}");

    let (code, show) = ctl::json(&set.daemon, &["show", "--files", "--pieces", "--trackers", "--peers", &id]);
    assert_eq!(code, 0);
    assert_eq!(show["files"][0]["path"], "shown.bin");
    assert_eq!(show["pieces"]["count"], torrent.pieces);
    let ran = ctl::run(&set.daemon, &["status"]).expect(0);
    assert!(ran.out.contains("shown.bin") && !ran.out.contains('\u{1b}'), "{ran:?}");
}

#[test]
fn show_of_a_file_needs_no_daemon() {
    let payload = Payload::shapes().remove(2);
    let folder = tempfile::tempdir().unwrap();
    let torrent = Maker::new(&payload).tier(["http://a.invalid/announce"]).private().make();
    let path = torrent.save(folder.path());
    let args = ["--json".as_ref(), "show".as_ref(), path.as_os_str()];
    let ran = ctl::at(Path::new("/no/socket"), &args, &[]).expect(0);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["torrent"]["info_hash"], torrent.id());
    assert_eq!(shown["torrent"]["private"], true);
    assert_eq!(shown["files"].as_array().unwrap().len(), payload.files.len());
}

#[test]
fn limit_sets_and_reports() {
    let set = set();
    let (_, torrent) = set.complete("limited.bin");
    ctl::run(&set.daemon, &["add", &set.path(&torrent)]).expect(0);
    let (code, set_now) = ctl::json(&set.daemon, &["limit", "--up", "2 MB/s", "--down", "100"]);
    assert_eq!(code, 0, "{set_now}");
    assert_eq!((&set_now["limits"]["up"], &set_now["limits"]["down"]), (&2_000_000.into(), &100_000.into()));
    assert_eq!(set.daemon.status().limits.up, 2_000_000);
    let (code, own) = ctl::json(&set.daemon, &["limit", "--up", "1 MiB/s", &torrent.id()]);
    assert_eq!(code, 0, "{own}");
    assert_eq!(set.daemon.torrent(&torrent.id()).limits.up, 1 << 20);
    ctl::run(&set.daemon, &["limit", "--up", "2 Mb/s"]).expect(2);
    ctl::run(&set.daemon, &["limit", "--up", "1", "nobody"]).expect(4);
}

#[test]
fn wait_ends_with_the_download_or_with_its_time() {
    let mut set = set();
    let payload = Payload::single("awaited.bin", 400_000, 32_768);
    let torrent = Maker::new(&payload).make();
    let path = torrent.save(set.files.path());
    ctl::run(&set.daemon, &["add", path.to_str().unwrap()]).expect(0);
    ctl::run(&set.daemon, &["wait", "awaited.bin", "--timeout", "1 s"]).expect(7);
    ctl::run(&set.daemon, &["wait", "nobody"]).expect(4);
    let mut seeder = Seeder::start(set.net.ip(), &[(&payload, &torrent)]);
    seeder.dial(set.daemon.listens(set.net.home()), torrent.hash);
    ctl::run(&set.daemon, &["wait", "awaited.bin", "--timeout", "2 min"]).expect(0);
    payload.assert_equals(&set.daemon.downloads());
}

#[test]
fn a_url_is_fetched_by_wgoctl_and_never_by_the_daemon() {
    let mut set = set();
    let (_, torrent) = set.complete("fetched.bin");
    let listener = TcpListener::bind((set.net.ip(), 0)).unwrap();
    let url = format!("http://{}/fetched.torrent", listener.local_addr().unwrap());
    let bytes = torrent.bytes.clone();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).unwrap();
        let len = bytes.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").unwrap();
        stream.write_all(&bytes).unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    // The daemon refuses before anybody listens to it.
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"add","params":{{"sources":[{{"uri":"{url}"}}]}}}}"#);
    let answer = http::post_unix(&set.daemon.socket(), body.as_bytes()).unwrap();
    let refused = String::from_utf8(answer.body).unwrap();
    assert!(refused.contains("unsupported") && refused.contains("`wgoctl add URL`"), "{refused}");

    let (code, added) = ctl::json(&set.daemon, &["add", "--wait", "done", &url]);
    assert_eq!((code, &added["torrents"][0]["info_hash"]), (0, &torrent.id().into()), "{added}");
    let asked = server.join().unwrap();
    assert!(asked.to_lowercase().contains("user-agent: wgoctl/"), "the daemon did not ask: {asked}");
}

#[test]
fn no_daemon_is_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let ran = ctl::at(&folder.path().join("none"), &["status"], &[]).expect(3);
    assert!(ran.err.contains("none"), "it names the socket: {ran:?}");
    ctl::at(&folder.path().join("none"), &["no-such-verb"], &[]).expect(2);
}

#[test]
fn reload_applies_all_or_nothing() {
    let set = set();
    let config = std::fs::read_to_string(set.daemon.config()).unwrap();
    let with = |from: &str, to: &str| std::fs::write(set.daemon.config(), config.replace(from, to)).unwrap();
    with("up = \"0 B/s\"", "up = \"3 MB/s\"");
    let (code, reloaded) = ctl::json(&set.daemon, &["reload"]);
    assert_eq!(code, 0, "{reloaded}");
    assert_eq!(set.daemon.status().limits.up, 3_000_000);
    with("up = \"0 B/s\"\ndown = \"0 B/s\"", "up = \"4 MB/s\"\ndown = \"4 parsec\"");
    let ran = ctl::run(&set.daemon, &["reload"]).expect(1);
    assert!(ran.err.contains("limits.down") || ran.err.contains("down"), "it names the key: {ran:?}");
    assert_eq!(set.daemon.status().limits.up, 3_000_000, "nothing of it was applied");
}

#[test]
fn stats_count_this_run_and_all_of_them_also_of_torrents_that_are_gone() {
    let mut set = set();
    let payload = Payload::single("counted.bin", 200_000, 32_768);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(set.net.ip(), &[(&payload, &torrent)]);
    let id = set.daemon.add(&torrent, &set.daemon.downloads(), &[seeder.addr()]);
    set.daemon.wait_seeding(&id);
    let stats = |daemon: &Daemon| {
        let (code, stats) = ctl::json(daemon, &["stats"]);
        assert_eq!(code, 0, "{stats}");
        let bytes = |of: &str| stats[of]["downloaded_bytes"].as_u64().unwrap();
        (bytes("session"), bytes("all_time"))
    };
    let (session, all) = stats(&set.daemon);
    assert!(session >= payload.len() as u64 && session == all, "{session} and {all}");
    assert!(set.daemon.terminate().success());
    set.daemon.run();
    assert_eq!(stats(&set.daemon), (0, all));
    set.daemon.remove(&id, false);
    assert_eq!(stats(&set.daemon), (0, all));
    let ran = ctl::run(&set.daemon, &["stats"]).expect(0);
    assert!(ran.out.starts_with("0 torrents, up "), "{}", ran.out);
}
