//! Trackers that misbehave, and tiers: a torrent finds its peers as long as one tracker names them.
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use wgo_proto::tracker::Event;
use wgo_tests::seeder::Seeder;
use wgo_tests::tracker::{Manner, Over, SCRAPED, SEEN_AT, Tracker};
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
    // Bound, so that no other tracker gets the port, and not listening.
    let refuses = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    refuses.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    let closed = refuses.local_addr().unwrap().as_socket().unwrap();
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
    let torrent = Maker::new(&payload).tier([key(&first, "SECRET1")]).make();
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

#[test]
fn stopped_torrents_are_scraped_several_at_once_and_join_nothing() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let tracker = Tracker::start(net.ip(), &[]);
    let dead = TcpListener::bind(SocketAddr::new(net.ip(), 0)).unwrap().local_addr().unwrap();
    let mut ids = Vec::new();
    for n in 0..3 {
        let payload = Payload::single(&format!("scraped{n}.bin"), 100_000, 32_768);
        let torrent = Maker::new(&payload)
            .tier([tracker.url(Over::Http)])
            .tier([tracker.url(Over::Udp)])
            .tier([format!("http://{dead}/announce?passkey=SECRET1")])
            .make();
        let file = torrent.save(daemon.home());
        let folder = daemon.downloads();
        let args = ["add", file.to_str().unwrap(), "--paused", "--folder", folder.to_str().unwrap()];
        ctl::run(&daemon, &args).expect(0);
        ids.push(torrent.id());
    }
    let (code, scraped) = ctl::json(&daemon, &["scrape", "--all"]);
    assert_eq!(code, 0, "{scraped}");
    let (seeds, leeches, completed) = SCRAPED;
    for torrent in scraped["torrents"].as_array().unwrap() {
        for (tracker, answers) in torrent["trackers"].as_array().unwrap().iter().zip([true, true, false]) {
            assert_eq!(tracker["error"].is_null(), answers, "{tracker}");
            let said = json!([tracker["seeds"], tracker["leeches"], tracker["completed"]]);
            let none = json!([null, null, null]);
            assert_eq!(said, if answers { json!([seeds, leeches, completed]) } else { none });
        }
    }
    let mut asked: Vec<_> =
        tracker.scraped().into_iter().map(|(over, hashes)| (over, hashes.len())).collect();
    asked.sort_by_key(|(over, _)| *over == Over::Udp);
    assert_eq!(asked, [(Over::Http, 3), (Over::Udp, 3)], "one request for all");
    assert!(tracker.heard().is_empty(), "a scrape announces nothing");
    // It is shown from then on.
    let shown = daemon.show(&ids[0]).trackers.unwrap();
    assert_eq!(
        (shown[0].seeds, shown[0].leeches, shown[0].completed),
        (Some(seeds), Some(leeches), Some(completed))
    );
    assert_eq!(shown[2].seeds, None);
    // The dead one's passkey is in no log, and nobody answers for a torrent that isn't there.
    ctl::run(&daemon, &["scrape", "nobody"]).expect(4);
    assert!(!daemon.log().contains("SECRET"), "a passkey is in the log");
}

#[test]
fn a_private_torrent_is_announced_to_one_tracker_and_status_says_where_it_sees_us() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("private.bin", 100_000, 32_768);
    payload.write(&daemon.downloads());
    let [first, second] = [(); 2].map(|()| Tracker::start(net.ip(), &[]));
    let torrent =
        Maker::new(&payload).private().tier([first.url(Over::Http)]).tier([second.url(Over::Http)]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let heard = |tracker: &Tracker, event, times| {
        until(&format!("{event:?} is heard {times} times"), SOON, || {
            (tracker.count(torrent.hash, event) == times).then_some(())
        });
    };
    heard(&first, Event::Started, 1);
    let external = until("the tracker's word on our address is known", SOON, || {
        let (_, status) = ctl::json(&daemon, &["status"]);
        status["daemon"]["external"].get(0).cloned()
    });
    assert_eq!(external, SEEN_AT.to_string());
    daemon.call(async |client| wgo_api::ApiClient::stop(client, Daemon::select(&id)).await).unwrap();
    heard(&first, Event::Stopped, 1);
    assert!(second.heard().is_empty(), "BEP 27: one tracker at a time");
    // When that one is gone, the other one is used.
    drop(first);
    daemon.kill9();
    daemon.run();
    daemon.call(async |client| wgo_api::ApiClient::start(client, Daemon::starting(&id)).await).unwrap();
    heard(&second, Event::Started, 1);
}

#[test]
fn a_torrent_can_not_have_the_daemon_ask_services_of_its_machine() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    // Of all addresses here, only this is one that is never anybody else's.
    let service = Tracker::start(Ipv4Addr::LOCALHOST.into(), &[]);
    let at = service.url(Over::Http).replace("/announce", "");
    for (name, url, why) in [
        ("path", format!("{at}/admin/announce"), "is this machine"),
        ("baked", format!("{at}/announce?event=stopped"), "may not say itself what is announced"),
    ] {
        let payload = Payload::single(&format!("{name}.bin"), 100_000, 32_768);
        let torrent = Maker::new(&payload).tier([url]).make();
        let id = daemon.add(&torrent, &daemon.downloads(), &[]);
        until(&format!("{name}: the refusal is shown"), SOON, || {
            let trackers = daemon.show(&id).trackers.unwrap();
            trackers[0].message.as_deref().is_some_and(|said| said.contains(why)).then_some(())
        });
    }
    assert!(service.heard().is_empty());
    let (id, baked) = (daemon.list().remove(0).info_hash, format!("{at}/announce?info_hash=x"));
    ctl::run(&daemon, &["trackers", &id, "--add", &baked]).expect(2);
}
