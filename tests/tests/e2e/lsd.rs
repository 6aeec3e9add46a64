//! Local service discovery (BEP 14) over a real link: what neighbours hear, what is made of what they say, and that
//! nothing is open where it is off.
use std::fs;
use std::num::NonZeroU16;

use wgo_proto::lsd::Announcement;
use wgo_proto::units::WireHash;
use wgo_tests::ctl;
use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::lan::{Ear, INTERFACE, Lan};
use wgo_tests::maker::{Maker, Torrent};
use wgo_tests::payload::Payload;
use wgo_tests::prometheus::Scrape;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, until};

/// The port of the groups as procfs shows it.
const PORT: &str = ":1A73 ";

fn torrent(name: &str) -> (Payload, Torrent) {
    let payload = Payload::single(name, 300_000, 32_768);
    let torrent = Maker::new(&payload).make();
    (payload, torrent)
}

fn private(name: &str) -> Torrent {
    Maker::new(&Payload::single(name, 300_000, 32_768)).private().make()
}

/// Everything heard until `hash` is announced.
#[track_caller]
fn hear(ear: &Ear, hash: WireHash) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    until(&format!("{hash} is announced"), SOON, || {
        let (_, datagram) = ear.next()?;
        let named = Announcement::parse(&datagram).is_ok_and(|said| said.hashes.contains(&hash));
        heard.push(datagram);
        named.then_some(())
    });
    heard
}

/// How many sockets the daemon's network has at the port of the groups.
fn sockets(daemon: &Daemon) -> usize {
    let table = |name| fs::read_to_string(format!("/proc/{}/net/{name}", daemon.pid())).unwrap();
    table("udp").matches(PORT).count() + table("udp6").matches(PORT).count()
}

fn wait_interfaces(daemon: &Daemon, expected: &[&str]) {
    until(&format!("local discovery is on {expected:?}"), SOON, || {
        (daemon.status().local_discovery.interfaces == expected).then_some(())
    });
}

/// Changes the one word of the configuration, and has it read.
fn switch(daemon: &mut Daemon, from: &str, to: &str) {
    let config = fs::read_to_string(daemon.config()).unwrap();
    assert!(config.contains(from));
    fs::write(daemon.config(), config.replace(from, to)).unwrap();
    daemon.hangup();
}

#[test]
fn neighbours_hear_of_what_is_public_by_both_families_and_of_nothing_private() {
    let Some(lan) =
        Lan::required("neighbours_hear_of_what_is_public_by_both_families_and_of_nothing_private")
    else {
        return;
    };
    let daemon = Daemon::with(Settings::default());
    wait_interfaces(&daemon, &[INTERFACE]);
    let status = ctl::run(&daemon, &["status"]).expect(0);
    assert!(status.out.contains(&format!("LSD       on {INTERFACE}\n")), "{}", status.out);
    lan.cross();
    let ears = [Ear::open(true), Ear::open(false)];
    let (secrets, folder) = ([private("p1"), private("p2")], daemon.downloads());
    let (first, second) = (torrent("first").1, torrent("second").1);
    // In this order: what is told of a later one comes later.
    daemon.add(&secrets[0], &folder, &[]);
    daemon.add(&first, &folder, &[]);
    let port = daemon.listens(lan.ours(true)).port();
    let mut heard: Vec<Vec<u8>> = ears.iter().flat_map(|ear| hear(ear, first.hash)).collect();
    // A neighbour who asks for what is private gets no answer either.
    daemon.add(&secrets[1], &folder, &[]);
    for (ear, secret) in ears.iter().zip(&secrets) {
        let port = NonZeroU16::MIN;
        ear.announce(&Announcement { port, hashes: vec![secret.hash], cookie: "" });
    }
    daemon.add_link(&second.magnet(&[], &[]), &folder);
    heard.extend(ears.iter().flat_map(|ear| hear(ear, second.hash)));
    let said = heard.iter().map(|datagram| Announcement::parse(datagram).expect("ours and the ear's only"));
    let said: Vec<_> = said.filter(|said| !said.cookie.is_empty()).collect();
    assert!(said.iter().all(|each| each.port.get() == port && each.cookie == said[0].cookie), "{said:?}");
    for secret in &secrets {
        assert!(!said.iter().any(|said| said.hashes.contains(&secret.hash)), "{said:?}");
    }
}

#[test]
fn what_neighbours_announce_is_fetched_from_them_whatever_else_is_said() {
    let Some(lan) = Lan::required("what_neighbours_announce_is_fetched_from_them_whatever_else_is_said")
    else {
        return;
    };
    let metrics = "[metrics]\nlisten = \"127.0.0.1:9999\"\n";
    let daemon = Daemon::with(Settings { sections: metrics.to_owned(), ..Settings::default() });
    wait_interfaces(&daemon, &[INTERFACE]);
    for v4 in [true, false] {
        let (payload, torrent) = torrent(if v4 { "by IPv4" } else { "by IPv6" });
        lan.cross();
        let seeder = Seeder::start(lan.theirs(v4), &[(&payload, &torrent)]);
        let ear = Ear::open(v4);
        daemon.add(&torrent, &daemon.downloads(), &[]);
        // Before that it is none of ours.
        hear(&ear, torrent.hash);
        ear.say(b"");
        ear.say(&[0xff; 1500]);
        ear.say(format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {}\r\n\r\n", torrent.hash).as_bytes());
        let port = NonZeroU16::new(seeder.addr().port()).unwrap();
        let hashes = vec![WireHash([3; 20]), torrent.hash];
        ear.announce(&Announcement { port, hashes, cookie: "theirs" });
        daemon.wait_seeding(&torrent.id());
        payload.assert_equals(&daemon.downloads());
        lan.back();
    }
    let stream = std::net::TcpStream::connect("127.0.0.1:9999").unwrap();
    let answer = wgo_tests::http::ask(stream, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let scrape = Scrape::read(std::str::from_utf8(&answer.body).unwrap());
    assert_eq!(scrape.value("wgod_lsd_dropped_total{kind=\"malformed\"}"), 6.0);
    assert_eq!(scrape.value("wgod_lsd_dropped_total{kind=\"foreign\"}"), 0.0);
    assert_eq!(scrape.value("wgod_lsd_heard_total"), 2.0);
    assert!(scrape.value("wgod_lsd_sent_total") >= 4.0);
}

#[test]
fn off_opens_and_says_nothing_until_it_is_switched_on() {
    let Some(lan) = Lan::required("off_opens_and_says_nothing_until_it_is_switched_on") else { return };
    let discovery = "lsd = false".to_owned();
    let mut daemon = Daemon::with(Settings { discovery, ..Settings::default() });
    let torrent = torrent("t").1;
    daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&torrent.id(), wgo_api::State::Downloading, SOON);
    let local = daemon.status().local_discovery;
    assert_eq!((local.on, local.interfaces.len(), sockets(&daemon)), (false, 0, 0));
    assert!(!ctl::run(&daemon, &["status"]).expect(0).out.contains("LSD"));
    lan.cross();
    let ear = Ear::open(true);
    switch(&mut daemon, "lsd = false", "lsd = true");
    wait_interfaces(&daemon, &[INTERFACE]);
    assert_eq!(sockets(&daemon), 2, "one of each family");
    assert_eq!(hear(&ear, torrent.hash).len(), 1, "nothing before that");
    switch(&mut daemon, "lsd = true", "lsd = false");
    until("everything is closed", SOON, || (sockets(&daemon) == 0).then_some(()));
    let local = daemon.status().local_discovery;
    assert_eq!((local.on, local.interfaces.len()), (false, 0));
    assert!(daemon.terminate().success());
}

#[test]
fn it_keeps_to_the_addresses_that_it_is_bound_to() {
    let Some(lan) = Lan::required("it_keeps_to_the_addresses_that_it_is_bound_to") else { return };
    let daemon = Daemon::with(Settings { ips: vec![lan.ours(true)], ..Settings::default() });
    wait_interfaces(&daemon, &[INTERFACE]);
    assert_eq!(sockets(&daemon), 1, "IPv4 alone");
    lan.cross();
    let ear = Ear::open(true);
    let torrent = torrent("t").1;
    daemon.add(&torrent, &daemon.downloads(), &[]);
    let (from, _) = until("it is announced", SOON, || ear.next());
    assert_eq!(from.ip(), lan.ours(true));
    lan.back();
    let elsewhere =
        Daemon::with(Settings { ips: vec!["198.18.0.1".parse().unwrap()], ..Settings::default() });
    let status = ctl::run(&elsewhere, &["status"]).expect(0);
    assert!(status.out.contains("LSD       on, but no network interface has neighbours\n"), "{}", status.out);
}

#[test]
fn a_link_that_goes_and_comes_back_is_taken_up_again() {
    let Some(lan) = Lan::required("a_link_that_goes_and_comes_back_is_taken_up_again") else { return };
    let daemon = Daemon::with(Settings::default());
    let torrent = torrent("t").1;
    daemon.add(&torrent, &daemon.downloads(), &[]);
    wait_interfaces(&daemon, &[INTERFACE]);
    lan.cut();
    wait_interfaces(&daemon, &[]);
    assert!(lan.lay());
    lan.cross();
    let ear = Ear::open(false);
    wait_interfaces(&daemon, &[INTERFACE]);
    hear(&ear, torrent.hash);
    let log = daemon.log();
    for said in ["looking for peers in the local network", "left the local network"] {
        assert!(log.contains(said), "{log}");
    }
}
