//! The figures for a monitoring system, as a scraper finds them.
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use wgo_tests::http::{Answer, ask};
use wgo_tests::prometheus::Scrape;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn settings(net: &Net, listen: &str) -> Settings {
    let sections = format!("[metrics]\nlisten = \"{listen}\"\n");
    Settings { ips: vec![net.home()], sections, ..Settings::default() }
}

/// Where the daemon says that it serves them.
fn served(daemon: &Daemon) -> SocketAddr {
    let log = daemon.log();
    let line =
        log.lines().rfind(|line| line.contains("metrics are served")).unwrap_or_else(|| panic!("{log}"));
    line.rsplit_once("listen=\"").and_then(|(_, rest)| rest.trim_end_matches('"').parse().ok()).unwrap()
}

fn over_tcp(to: SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect_timeout(&to, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    ask(stream, request.as_bytes()).unwrap()
}

fn scrape(to: SocketAddr) -> Scrape {
    let answer = over_tcp(to, GET);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Scrape::read(std::str::from_utf8(&answer.body).unwrap())
}

#[test]
fn a_transfer_is_seen_from_outside() {
    let mut net = Net::new();
    let daemon = Daemon::with(settings(&net, "127.0.0.1:0"));
    let to = served(&daemon);
    let before = scrape(to);
    assert_eq!(before.value(&format!("wgod_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert_eq!(before.value("wgod_downloaded_bytes_total"), 0.0);

    let payload = Payload::single("seen.bin", 2_000_000, 65_536);
    // Nobody listens on port 1.
    let torrent = Maker::new(&payload).tier(["http://127.0.0.1:1/announce"]).make();
    let slow = Habits { pause: Duration::from_millis(20), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], slow);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    let during = until("the transfer shows", TRANSFER, || {
        let seen = scrape(to);
        (seen.value("wgod_downloaded_bytes_total") > 0.0).then_some(seen)
    });
    during.assert_grown_from(&before);
    assert_eq!(during.value("wgod_peer_connections"), 1.0);
    assert_eq!(during.value("wgod_torrents{state=\"downloading\"}"), 1.0);

    daemon.wait_seeding(&id);
    let after = until("the last piece shows", SOON, || {
        let seen = scrape(to);
        (seen.value("wgod_torrents{state=\"seeding\"}") == 1.0).then_some(seen)
    });
    after.assert_grown_from(&during);
    assert_eq!(after.value("wgod_torrents{state=\"downloading\"}"), 0.0);
    assert_eq!(after.value("wgod_downloaded_bytes_total"), payload.len() as f64);
    assert_eq!(after.value("wgod_pieces_stored_total"), f64::from(torrent.pieces));
    assert_eq!(after.value("wgod_hash_failures_total"), 0.0);
    assert!(after.value("wgod_hashed_bytes_total") >= payload.len() as f64);
    assert!(after.value("wgod_store_commits_total") > before.value("wgod_store_commits_total"));
    assert!(after.value("wgod_choke_rounds_total") >= 1.0);
    assert!(after.series.keys().any(|series| series.starts_with("wgod_disk_queue_jobs{device=\"")));
    until("the announce shows", SOON, || {
        (scrape(to).value("wgod_tracker_announce_errors_total{kind=\"unreachable\"}") >= 1.0).then_some(())
    });
    let names = |scrape: &Scrape| scrape.types.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&after), names(&before), "families don't come and go");
}

#[test]
fn wrong_pieces_are_counted() {
    let mut net = Net::new();
    let daemon = Daemon::with(settings(&net, "127.0.0.1:0"));
    let payload = Payload::single("spoilt.bin", 500_000, 65_536);
    let torrent = Maker::new(&payload).make();
    let spoils = Habits { spoil: [3].into(), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], spoils);
    daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    let to = served(&daemon);
    until("the wrong piece shows", TRANSFER, || {
        (scrape(to).value("wgod_hash_failures_total") >= 1.0).then_some(())
    });
}

#[test]
fn nothing_listens_unless_it_is_asked_for() {
    let Some(net) = Net::required("nothing_listens_unless_it_is_asked_for") else { return };
    let daemon = Daemon::start(&net);
    let listening = |table: &str| {
        let text = std::fs::read_to_string(table).unwrap();
        text.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A")).count()
    };
    let all = listening("/proc/thread-self/net/tcp") + listening("/proc/thread-self/net/tcp6");
    assert_eq!(all, daemon.status().listen.len(), "only peers are listened for");
    assert!(!daemon.log().contains("metrics"), "{}", daemon.log());
}

#[test]
fn only_one_path_is_there_and_it_is_only_read() {
    let net = Net::new();
    let daemon = Daemon::with(settings(&net, "127.0.0.1:0"));
    let to = served(&daemon);
    let cases = [
        ("GET /metrics?x=1", 200),
        ("GET /", 404),
        ("GET /metrics/", 404),
        ("GET /../metrics", 404),
        ("POST /", 404),
        ("POST /metrics", 405),
        ("DELETE /metrics", 405),
        ("OPTIONS *", 404),
    ];
    for (line, status) in cases {
        let answer = over_tcp(to, &format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD"), "{line}");
        assert_eq!(answer.header("connection"), Some("close"), "{line}");
    }
    let head = over_tcp(to, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let len: usize = head.header("content-length").unwrap().parse().unwrap();
    assert!(len > 1000, "{len}");
    let not_here = String::from_utf8(over_tcp(to, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").body).unwrap();
    assert_eq!(not_here, "nothing here; the figures are at /metrics\n");
}

#[test]
fn a_hostile_client_keeps_nobody_out() {
    let net = Net::new();
    let daemon = Daemon::with(settings(&net, "127.0.0.1:0"));
    let to = served(&daemon);
    let silent: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect_timeout(&to, SOON).unwrap()).collect();
    for (n, mut stream) in silent.iter().enumerate() {
        let part = if n % 2 == 0 { "" } else { "GET /metrics HTTP/1.1\r\nX: " };
        stream.write_all(part.as_bytes()).unwrap();
    }
    // They lose their places by time alone: each is still open at this end.
    until("a scraper gets its turn", SOON * 2, || {
        let stream = TcpStream::connect_timeout(&to, SOON).ok()?;
        stream.set_read_timeout(Some(SOON)).unwrap();
        let answer = ask(stream, GET.as_bytes()).ok()?;
        (answer.status == 200).then_some(())
    });
    let endless = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let refused = TcpStream::connect_timeout(&to, SOON).and_then(|stream| {
        stream.set_read_timeout(Some(SOON))?;
        ask(stream, endless.as_bytes())
    });
    assert!(refused.as_ref().map_or(true, |answer| answer.status == 431), "{refused:?}");
    assert_eq!(daemon.status().pid, daemon.pid());
    drop(silent);
}

#[test]
fn a_unix_socket_is_the_groups_and_goes_with_the_daemon() {
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.sock");
    let mut daemon = Daemon::with(settings(&net, path.to_str().unwrap()));
    let get = || {
        let stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(SOON))?;
        ask(stream, GET.as_bytes())
    };
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "{mode:o}");
    assert_eq!(get().unwrap().status, 200);
    daemon.kill9();
    assert!(path.exists(), "nobody was left to remove it");
    daemon.run();
    Scrape::read(std::str::from_utf8(&get().unwrap().body).unwrap());
    assert!(daemon.terminate().success());
    assert!(!path.exists());
}

#[test]
fn what_is_in_the_way_is_named() {
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("taken");
    std::fs::write(&path, "mine").unwrap();
    let mut daemon = Daemon::prepare(settings(&net, path.to_str().unwrap()));
    daemon.launch();
    let status = daemon.process().wait(SOON);
    let log = daemon.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let wanted = format!(
        "wgod: cannot serve metrics on a Unix socket: {}: exists and is not a socket; remove it, or choose \
         another path; or choose another `listen` in [metrics]",
        path.display()
    );
    assert!(log.contains(&wanted), "{log}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_confined_daemon_serves_on_a_socket_of_its_own_folder_too() {
    let net = Net::new();
    let dir = tempfile::tempdir().unwrap();
    // The folder is made before the daemon confines itself.
    let path = dir.path().join("new/metrics.sock");
    let allowed = tempfile::tempdir().unwrap();
    let allowed = allowed.path().to_str().unwrap();
    let storage = format!("allowed_folders = [\"{allowed}\"]");
    let args = vec!["--folder".to_owned(), allowed.to_owned()];
    let mut daemon = Daemon::with(Settings { storage, args, ..settings(&net, path.to_str().unwrap()) });
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(ask(stream, GET.as_bytes()).unwrap().status, 200);
    assert!(daemon.terminate().success());
    assert!(!path.exists());
}
