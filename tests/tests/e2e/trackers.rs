//! Trackers that misbehave, and tiers: a torrent finds its peers as long as one tracker names them.
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use wgo_proto::tracker::Event;
use wgo_tests::seeder::Seeder;
use wgo_tests::tracker::{Manner, Over, Tracker};
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, ctl};

/// An answer with this status and body.
fn answer(status: &str, headers: &str, body: &[u8]) -> Manner {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Manner::Raw([head.as_bytes(), body].concat())
}

#[test]
fn a_bad_tracker_is_passed_over_for_the_next_tier() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let ip = net.ip();
    let closed = TcpListener::bind(SocketAddr::new(ip, 0)).unwrap().local_addr().unwrap();
    let bad = [
        ("garbage", answer("200 OK", "", b"\x00\x01garbage")),
        ("500", answer("500 Internal Server Error", "", b"")),
        ("10 MB", answer("200 OK", "", &vec![b'l'; 10 << 20])),
        ("redirect to itself", answer("302 Found", "Location: /announce\r\n", b"")),
        ("bad gzip", answer("200 OK", "Content-Encoding: gzip\r\n", b"no gzip at all")),
        ("refused", answer("200 OK", "", b"d14:failure reason11:go away nowe")),
        ("no HTTP", Manner::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec())),
    ];
    let payloads: Vec<_> =
        bad.iter().map(|(name, _)| Payload::single(&format!("{name}.bin"), 100_000, 32_768)).collect();
    let bare: Vec<_> = payloads.iter().map(|payload| Maker::new(payload).make()).collect();
    let seeder = Seeder::start(net.ip(), &payloads.iter().zip(&bare).collect::<Vec<_>>());
    let good = Tracker::start(net.ip(), &[seeder.addr()]);
    let trackers: Vec<_> = bad.iter().map(|(_, manner)| Tracker::with(ip, &[], manner.clone())).collect();
    for (payload, tracker) in payloads.iter().zip(&trackers) {
        let torrent = Maker::new(payload)
            .tier([tracker.url(Over::Http)])
            .tier([format!("http://{closed}/announce")])
            .tier([good.url(Over::Http)])
            .make();
        daemon.add(&torrent, &daemon.downloads(), &[]);
    }
    for (payload, torrent) in payloads.iter().zip(&bare) {
        daemon.wait_seeding(&torrent.id());
        payload.assert_equals(&daemon.downloads());
        // Not at once: it may just be telling that tracker, too, that it is complete.
        until(&format!("{}: what is wrong is shown", payload.name), SOON, || {
            let trackers = daemon.show(&torrent.id()).trackers.unwrap();
            assert_eq!(trackers.len(), 3);
            trackers[0].message.is_some().then_some(())
        });
    }
}

#[test]
fn a_redirect_is_followed() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("redirected.bin", 100_000, 32_768);
    let bare = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &bare)]);
    let good = Tracker::start(net.ip(), &[seeder.addr()]);
    // A real one would carry the query along.
    let hash: String = bare.hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
    let to = format!(
        "{}?info_hash={hash}&peer_id=-WG0100-000000000000&port=1&left=1&event=started",
        good.url(Over::Http)
    );
    let redirecting = Tracker::with(net.ip(), &[], answer("302 Found", &format!("Location: {to}\r\n"), b""));
    let torrent = Maker::new(&payload).tier([redirecting.url(Over::Http)]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
}

#[test]
fn a_silent_tracker_delays_neither_other_torrents_nor_the_end() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let (stuck, fine) =
        (Payload::single("stuck.bin", 100_000, 32_768), Payload::single("fine.bin", 100_000, 32_768));
    let silent = Tracker::with(net.ip(), &[], Manner::Silent);
    let bare = Maker::new(&fine).make();
    let seeder = Seeder::start(net.ip(), &[(&fine, &bare)]);
    let good = Tracker::start(net.ip(), &[seeder.addr()]);
    daemon.add(&Maker::new(&stuck).tier([silent.url(Over::Http)]).make(), &daemon.downloads(), &[]);
    let torrent = Maker::new(&fine).tier([good.url(Over::Udp)]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    let begun = Instant::now();
    assert!(daemon.terminate().success());
    // DESIGN: quitting never waits more than 5 s on a tracker. Generous, for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?} to stop", begun.elapsed());
    assert_eq!(good.count(torrent.hash, Event::Stopped), 1);
}

#[test]
fn stop_and_start_are_announced() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("events.bin", 100_000, 32_768);
    payload.write(&daemon.downloads());
    let tracker = Tracker::start(net.ip(), &[]);
    let torrent = Maker::new(&payload).tier([tracker.url(Over::Http)]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let heard = |event, times| {
        until(&format!("{event:?} is heard {times} times"), SOON, || {
            (tracker.count(torrent.hash, event) == times).then_some(())
        });
    };
    heard(Event::Started, 1);
    daemon.call(async |client| wgo_api::ApiClient::stop(client, Daemon::select(&id)).await).unwrap();
    heard(Event::Stopped, 1);
    daemon.call(async |client| wgo_api::ApiClient::start(client, Daemon::starting(&id)).await).unwrap();
    heard(Event::Started, 2);
    assert_eq!(tracker.count(torrent.hash, Event::Completed), 0, "it was complete from the start");
}

/// The URLs that `wgoctl trackers` lists after these arguments.
fn trackers(daemon: &Daemon, args: &[&str]) -> Vec<String> {
    let (code, value) = ctl::json(daemon, &[&["trackers"][..], args].concat());
    assert_eq!(code, 0, "{value}");
    let trackers = value["trackers"].as_array().unwrap();
    trackers.iter().map(|tracker| tracker["url"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn trackers_are_added_replaced_and_removed_at_once_and_for_good() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("moved.bin", 100_000, 32_768);
    payload.write(&daemon.downloads());
    let [first, second, third] = [(); 3].map(|()| Tracker::start(net.ip(), &[]));
    let key = |tracker: &Tracker, key: &str| format!("{}?passkey={key}", tracker.url(Over::Http));
    let torrent = Maker::new(&payload).private().tier([key(&first, "SECRET1")]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let heard = |tracker: &Tracker, event, times| {
        until(&format!("{event:?} is heard {times} times"), SOON, || {
            (tracker.count(torrent.hash, event) == times).then_some(())
        });
    };
    heard(&first, Event::Started, 1);
    let listed = trackers(&daemon, &[&id, "--add", &second.url(Over::Udp)]);
    assert_eq!(listed, [key(&first, "SECRET1"), second.url(Over::Udp)]);
    heard(&second, Event::Started, 1);
    let (old, new) = (key(&first, "SECRET1"), key(&third, "SECRET2"));
    assert_eq!(trackers(&daemon, &[&id, "--replace", &old, &new]), [new.clone(), second.url(Over::Udp)]);
    heard(&first, Event::Stopped, 1);
    heard(&third, Event::Started, 1);
    assert_eq!(second.count(torrent.hash, Event::Stopped), 0);
    trackers(&daemon, &[&id, "--remove", &second.url(Over::Udp)]);
    heard(&second, Event::Stopped, 1);
    // Nothing changes, and the code says why.
    ctl::run(&daemon, &["trackers", &id, "--remove", "udp://nobody.invalid:1"]).expect(4);
    ctl::run(&daemon, &["trackers", &id, "--add", "wss://nobody.invalid/"]).expect(2);
    ctl::run(&daemon, &["trackers", "nobody", "--add", "udp://nobody.invalid:1"]).expect(4);
    daemon.kill9();
    daemon.run();
    assert_eq!(trackers(&daemon, &[&id]), [new]);
    heard(&third, Event::Started, 2);
    assert_eq!(first.count(torrent.hash, Event::Started), 1);
    assert_eq!(second.count(torrent.hash, Event::Started), 1);
    // Those that a stopped torrent is given hear of it when it starts.
    daemon.call(async |client| wgo_api::ApiClient::stop(client, Daemon::select(&id)).await).unwrap();
    heard(&third, Event::Stopped, 1);
    trackers(&daemon, &[&id, "--add", &first.url(Over::Udp), "--tier", "0"]);
    assert_eq!(first.count(torrent.hash, Event::Started), 1);
    trackers(&daemon, &[&id, "--remove", &key(&third, "SECRET2")]);
    daemon.call(async |client| wgo_api::ApiClient::start(client, Daemon::starting(&id)).await).unwrap();
    heard(&first, Event::Started, 2);
    let log = daemon.log();
    assert!(log.contains("its trackers are others now"), "{log}");
    assert!(!log.contains("SECRET"), "a passkey is in the log");
}
