//! What survives: a clean stop, and any number of `kill -9`.
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wgo_api::{ApiClient, State};
use wgo_tests::net::Net;
use wgo_tests::prometheus::Scrape;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, long, pause, until};
use wgo_tests::{Daemon, Maker, Payload, Settings, Torrent, http, procfs};

/// # Panics
/// When the daemon says that it has a piece which its files don't hold.
fn assert_reports_only_what_it_has(daemon: &Daemon, torrent: &Torrent, payload: &Payload) -> usize {
    let reported = daemon.pieces(&torrent.id());
    // Afterwards: what was on disk a moment ago still is.
    let there = payload.pieces_on_disk(&daemon.downloads());
    for (piece, (reported, there)) in reported.iter().zip(&there).enumerate() {
        assert!(!reported || *there, "piece {piece} is reported and not there");
    }
    reported.iter().filter(|have| **have).count()
}

#[test]
fn a_clean_restart_hashes_nothing_and_knows_everything() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payloads = [
        Payload::single("big.bin", 24 << 20, 1 << 20),
        Payload::shapes().remove(2),
        Payload::shapes().remove(1),
    ];
    let torrents: Vec<_> = payloads.iter().map(|payload| Maker::new(payload).make()).collect();
    let held: Vec<_> = payloads.iter().zip(&torrents).collect();
    let seeder = Seeder::start(net.ip(), &held[..1]);
    for payload in &payloads[1..] {
        payload.write(&daemon.downloads());
    }
    for torrent in &torrents {
        daemon.add(torrent, &daemon.downloads(), &[seeder.addr()]);
    }
    torrents.iter().for_each(|torrent| daemon.wait_seeding(&torrent.id()));
    let stopped = &torrents[2];
    daemon.call(async |client| client.stop(Daemon::select(&stopped.id())).await).unwrap();
    until("it is stopped", SOON, || (daemon.torrent(&stopped.id()).state == State::Stopped).then_some(()));
    // That it is complete counts when it is safely on the disk.
    until("completion is durable", TRANSFER, || {
        daemon.list().iter().all(|torrent| torrent.completed_at.is_some()).then_some(())
    });
    until("all is durable", SOON, || {
        daemon.list()[..2].iter().all(|t| t.completed_at.is_some()).then_some(())
    });
    let before = daemon.list();

    assert!(daemon.terminate().success(), "SIGTERM is a clean stop");
    daemon.run();
    for torrent in &torrents[..2] {
        daemon.wait_seeding(&torrent.id());
    }
    let read = procfs::read_bytes(daemon.pid());
    assert!(read < 16 << 20, "{read} bytes read after a restart: it hashed the files again");
    let after = daemon.list();
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        let of = |t: &wgo_api::Torrent| {
            let known = (t.name.clone(), t.folder.clone(), t.added_at, t.completed_at, t.state);
            (t.info_hash.clone(), known, t.done_bytes, t.downloaded_bytes)
        };
        assert_eq!(of(before), of(after));
    }
}

#[test]
fn a_download_killed_again_and_again_ends_with_the_right_bytes() {
    let times = if long() { 20 } else { 5 };
    let mut net = Net::new();
    let payload = Payload::multi(
        "killed",
        65_536,
        &[("a", 1_500_000), ("empty", 0), ("b/c", 3_000_001), ("b/d", 777_777), ("e", 2_000_000)],
    );
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    // Half of the payload or so in the time that all lives together have.
    let down = 6_000_000 / times;
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], down, ..Settings::default() });
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    let mut most = 0;
    for round in 0..times {
        // At another moment of the daemon's life each time.
        pause(Duration::from_millis(250 + 97 * (round % 7)));
        let have = assert_reports_only_what_it_has(&daemon, &torrent, &payload);
        eprintln!("round {round}: {have} pieces of {}", torrent.pieces);
        most = most.max(have);
        daemon.kill9();
        daemon.run();
        let state = until("it is past its check", SOON, || {
            let state = daemon.torrent(&id).state;
            (state != State::Checking).then_some(state)
        });
        assert!(matches!(state, State::Downloading | State::Seeding), "{state}");
        assert_reports_only_what_it_has(&daemon, &torrent, &payload);
        // Peers given by hand are not kept for ever.
        let again = daemon.try_add(&torrent, &daemon.downloads(), &[seeder.addr()]);
        assert_eq!(again.info_hash.as_deref(), Some(id.as_str()), "it is still there");
    }
    assert!(most > 0, "no round stored a piece: the test shows nothing");
    daemon.limit(None, None, Some(0));
    daemon.wait_state(&id, State::Seeding, TRANSFER);
    payload.assert_equals(&daemon.downloads());
    let fetched = seeder.sent();
    eprintln!("{fetched} bytes fetched for {}", payload.len());
    assert!(fetched < payload.len() as u64 * 3, "{fetched} bytes fetched: stored pieces were lost");
    assert!(daemon.terminate().success(), "it stops cleanly in the end");
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_once() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let torrents: Vec<_> = (0..5)
        .map(|n| Maker::new(&Payload::single(&format!("kept-{n}.bin"), 40_000, 16_384)).make())
        .collect();
    for torrent in &torrents {
        daemon.add(torrent, &daemon.downloads(), &[]);
    }
    daemon.remove(&torrents[4].id(), false);
    let stopped = daemon.call(async |client| client.stop(Daemon::select(&torrents[3].id())).await).unwrap();
    assert_eq!(stopped.torrents[0].error, None);
    daemon.kill9();
    daemon.run();
    let mut names: Vec<_> = daemon.list().into_iter().map(|torrent| torrent.name).collect();
    names.sort();
    assert_eq!(names, ["kept-0.bin", "kept-1.bin", "kept-2.bin", "kept-3.bin"]);
    daemon.wait_state(&torrents[3].id(), State::Stopped, SOON);
    daemon.wait_state(&torrents[2].id(), State::Downloading, SOON);
}

/// Checks are kept this often; see `wgod/src/session/ops/check.rs`.
const KEPT: Duration = Duration::from_secs(16);

/// Waits for the middle of a check; false if it ended before anybody saw it.
fn in_the_middle(daemon: &Daemon, id: &str) -> bool {
    let end = Instant::now() + SOON;
    while Instant::now() < end {
        let torrent = daemon.torrent(id);
        match torrent.state {
            State::Checking if torrent.progress > 0.1 => return torrent.progress < 0.6,
            State::Seeding => return false,
            _ => {}
        }
    }
    panic!("it neither checks nor seeds: {:?}", daemon.torrent(id));
}

#[test]
fn a_check_killed_in_the_middle_goes_on_where_it_was_last_kept() {
    let net = Net::new();
    let sections = "[metrics]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], sections, ..Settings::default() });
    let seed = |name: &str, len: usize| {
        let payload = Payload::single(name, len, 1 << 16);
        payload.write(&daemon.downloads());
        let torrent = Maker::new(&payload).make();
        let begun = Instant::now();
        daemon.wait_seeding(&daemon.add(&torrent, &daemon.downloads(), &[]));
        (payload, torrent, begun.elapsed())
    };
    // So long that its check takes some seconds, however fast this build hashes.
    let (_, _, quick) = seed("short.bin", 8 << 20);
    let len = (8 << 20) as f64 * (Duration::from_secs(4).as_secs_f64() / quick.as_secs_f64());
    let (payload, torrent, _) = seed("long.bin", (len as usize).clamp(8 << 20, 512 << 20));
    let id = torrent.id();
    let whole = payload.len() as u64;
    // Which moment is hit depends on the machine.
    let resumed = (0..8).any(|round| {
        daemon.call(async |client| client.verify(Daemon::check(&id)).await).unwrap();
        if !in_the_middle(&daemon, &id) {
            daemon.wait_seeding(&id);
            return false;
        }
        // It stands still until what it found is due to be kept, and is given the time for that alone.
        daemon.process().signal(Signal::STOP);
        pause(KEPT);
        daemon.process().signal(Signal::CONT);
        pause(Duration::from_millis(30 * (1 + round)));
        let checks = daemon.torrent(&id).state == State::Checking;
        daemon.kill9();
        daemon.run();
        daemon.wait_seeding(&id);
        let hashed = hashed(&daemon);
        eprintln!("round {round}: {hashed} of {whole} bytes hashed after the kill");
        assert_eq!(daemon.pieces(&id), vec![true; torrent.pieces as usize], "nothing is lost");
        checks && hashed > 0 && hashed < whole
    });
    assert!(resumed, "each time it began anew");
}

/// Bytes that this run of the daemon has hashed.
fn hashed(daemon: &Daemon) -> u64 {
    let log = daemon.log();
    let line = log.lines().rfind(|line| line.contains("metrics are served")).unwrap();
    let to: SocketAddr = line.rsplit_once("listen=\"").unwrap().1.trim_end_matches('"').parse().unwrap();
    let stream = TcpStream::connect(to).unwrap();
    let answer = http::ask(stream, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    Scrape::read(std::str::from_utf8(&answer.body).unwrap()).value("wgod_hashed_bytes_total") as u64
}
