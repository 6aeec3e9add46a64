//! The IP filter: who is on the operator's lists is neither dialled nor let in, and goes when a reload puts it there.
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use wgo_api::State;
use wgo_tests::leecher::Leecher;
use wgo_tests::seeder::Seeder;
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, until};
use wgo_tests::wire::Wire;
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

const PIECE: u32 = 65_536;

fn with_list(net: &Net, list: &Path, storage: String) -> Settings {
    let network = format!("ip_filter = [\"{}\"]", list.display());
    Settings { ips: vec![net.home()], network, storage, ..Settings::default() }
}

fn put(list: &PathBuf, lines: &[String]) {
    std::fs::write(list, lines.join("\r\n")).unwrap();
}

/// What `status` says of the filter.
fn filter(daemon: &Daemon) -> Value {
    ctl::json(daemon, &["status"]).1["daemon"]["ip_filter"].clone()
}

fn leech(daemon: &Daemon, from: IpAddr, torrent: &wgo_tests::Torrent, to: IpAddr) -> Leecher {
    Leecher::start(from, daemon.listens(to), torrent.hash, torrent.pieces, PIECE)
}

#[test]
fn a_reload_closes_whom_it_blocks_and_lets_them_in_no_more() {
    let mut net = Net::new();
    // Not where the daemon has its own folders.
    let (lists, folder) = (tempfile::tempdir_in("/var/tmp").unwrap(), tempfile::tempdir().unwrap());
    let list = lists.path().join("list.p2p");
    put(&list, &["# none of ours".into(), "Caf\u{e9}:203.0.113.0-203.0.113.9".into(), "nonsense".into()]);
    // Confined, it must reach its lists all the same.
    let storage = format!("allowed_folders = [\"{}\"]", std::env::temp_dir().display());
    let daemon = Daemon::with(with_list(&net, &list, storage));
    let payload = Payload::single("bait.bin", 8 * PIECE as usize, PIECE);
    payload.write(folder.path());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, folder.path(), &[]);
    daemon.wait_seeding(&id);
    let shown = filter(&daemon);
    assert_eq!((&shown["files"], &shown["ranges"], &shown["bad_lines"]), (&json!(1), &json!(1), &json!(1)));
    assert!(daemon.log().contains("list.p2p:3: no address, network or range"), "the line is named");

    let (welcome, blocked) = (net.ip(), net.ip());
    let (stays, goes) =
        (leech(&daemon, welcome, &torrent, net.home()), leech(&daemon, blocked, &torrent, net.home()));
    until("both are served", SOON, || (stays.bytes() > 0 && goes.bytes() > 0).then_some(()));
    put(&list, &[format!("{blocked} - {blocked} , 100 , not any more"), "198.51.100.0/24".into()]);
    let reload = ctl::run(&daemon, &["reload"]);
    assert_eq!(reload.code, 0, "{reload:?}");
    assert!(reload.out.contains("IP filter: 2 ranges, of 1 list; blocked"), "{}", reload.out);
    until("the blocked one is gone", SOON, || goes.is_over().then_some(()));
    let before = stays.bytes();
    until("the other is served on", SOON, || (stays.bytes() > before).then_some(()));
    let again = Wire::connect(blocked, daemon.listens(net.home()), torrent.hash);
    assert!(again.is_err(), "it is refused before any handshake");
    assert!(filter(&daemon)["blocked"].as_u64().unwrap() >= 2);

    // A list that is gone is no reason to let anybody in.
    std::fs::remove_file(&list).unwrap();
    let reload = ctl::run(&daemon, &["reload"]);
    assert_ne!(reload.code, 0);
    for part in ["list.p2p can't be used", "put it there", "the old filter stays in force"] {
        assert!(reload.err.contains(part), "{part:?} in {reload:?}");
    }
    assert_eq!(filter(&daemon)["ranges"], json!(2));
    assert!(Wire::connect(blocked, daemon.listens(net.home()), torrent.hash).is_err());
    put(&list, &[]);
    assert_eq!(ctl::run(&daemon, &["reload"]).code, 0);
    assert!(Wire::connect(blocked, daemon.listens(net.home()), torrent.hash).is_ok(), "it is welcome again");
}

#[test]
fn nobody_on_a_list_is_dialled_whoever_names_them() {
    let mut net = Net::new();
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("list");
    let payload = Payload::single("wanted.bin", 4 * PIECE as usize, PIECE);
    let bare = Maker::new(&payload).make();
    let (good, bad) =
        (Seeder::start(net.ip(), &[(&payload, &bare)]), Seeder::start(net.ip(), &[(&payload, &bare)]));
    put(&list, &[bad.addr().ip().to_string()]);
    let daemon = Daemon::with(with_list(&net, &list, String::new()));
    let tracker = Tracker::start(net.ip(), &[bad.addr(), good.addr()]);
    let torrent = Maker::new(&payload).tier([tracker.url(Over::Http)]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[bad.addr()]);
    daemon.wait_seeding(&id);
    payload.assert_equals(&daemon.downloads());
    assert!(filter(&daemon)["blocked"].as_u64().unwrap() >= 2, "named by the operator and by the tracker");
    assert_eq!((bad.connections(), good.connections() > 0), (0, true));
}

/// What `--check-config` says of a daemon's configuration.
fn checked(daemon: &Daemon) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(wgo_tests::binaries::wgod());
    let output = command.arg("--check-config").arg("--config").arg(daemon.config()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_wrong_in_a_list_is_said_when_the_configuration_is_checked() {
    let net = Net::new();
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("blocklist");
    std::fs::write(&list, "10.0.0.0/8\nnonsense\n").unwrap();
    let (code, said) = checked(&Daemon::prepare(with_list(&net, &list, String::new())));
    assert!(
        code == Some(0) && said.contains("1 lines of the IP filter name no addresses"),
        "{code:?} {said}"
    );
}

#[test]
fn without_its_lists_the_daemon_does_not_start() {
    let net = Net::new();
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("blocklist.gz");
    for (content, why) in [
        (None, "No such file or directory"),
        (Some(&b"<html>\n<p>moved</p>\n"[..]), "none of its 2 lines names addresses"),
        (Some(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2][..]), "blocklist.gz can't be used"),
    ] {
        if let Some(content) = content {
            std::fs::write(&list, content).unwrap();
        }
        let mut daemon = Daemon::prepare(with_list(&net, &list, String::new()));
        let (code, said) = checked(&daemon);
        assert!(code == Some(2) && said.contains(why), "{code:?} {said}");
        daemon.launch();
        let status = until("it ends", SOON, || daemon.process().ended());
        assert!(!status.success());
        assert!(daemon.log().contains(why), "{why:?} in {}", daemon.log());
    }
}

#[test]
fn a_tracker_names_nobody_who_is_nearer_to_us_than_itself() {
    let Some(mut net) = Net::required("a_tracker_names_nobody_who_is_nearer_to_us_than_itself") else {
        return;
    };
    let payload = Payload::single("wanted.bin", 4 * PIECE as usize, PIECE);
    let bare = Maker::new(&payload).make();
    let daemon = Daemon::with(Settings { ips: vec![IpAddr::from([0, 0, 0, 0])], ..Settings::default() });
    let inside = Seeder::start(IpAddr::from([127, 0, 0, 1]), &[(&payload, &bare)]);
    let good = Seeder::start(net.ip(), &[(&payload, &bare)]);
    let odd =
        ["198.18.0.1:0", "0.0.0.0:7", "255.255.255.255:7", "224.0.0.1:7"].map(|addr| addr.parse().unwrap());
    let named: Vec<_> = odd.into_iter().chain([inside.addr(), good.addr()]).collect();
    let tracker = Tracker::start(net.ip(), &named);
    let torrent = Maker::new(&payload).tier([tracker.url(Over::Http)]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    assert_eq!((inside.connections(), good.connections() > 0), (0, true));
    assert!(daemon.log().contains("nearer to us than their tracker"), "and it says so");
    // The operator may name it.
    daemon.remove(&id, true);
    let id = daemon.add(&bare, &daemon.downloads(), &[inside.addr()]);
    daemon.wait_state(&id, State::Seeding, Duration::from_secs(60));
    assert!(inside.connections() > 0);
}
