//! Magnet links with the hash of v2 torrents (`btmh`, BEP 52): hybrids are found by it, verified, and transferred; and
//! links that name peers by the names of their hosts (BEP 9).
use std::net::SocketAddr;
use std::path::Path;

use wgo_api::State;
use wgo_proto::metainfo::Metainfo;
use wgo_proto::tracker::Event;
use wgo_proto::units::{InfoHashes, WireHash};
use wgo_tests::ctl;
use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::dns::NameServer;
use wgo_tests::maker::{Maker, Torrent};
use wgo_tests::net::Net;
use wgo_tests::payload::Payload;
use wgo_tests::peers::{Client, Kind, wait_complete};
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, until};

fn payload() -> Payload {
    Payload::multi("of both kinds", 64 << 10, &[("a.bin", 700_000), ("b/c.bin", 300_001), ("small", 5)])
}

/// The payload's torrent as `wgoctl create` makes it with this option, and its hashes.
fn created(payload: &Payload, folder: &Path, option: &str) -> (Torrent, InfoHashes) {
    payload.write(folder);
    let (content, file) = (folder.join(&payload.name), folder.join("made.torrent"));
    let words = ["create", option, "-o", file.to_str().unwrap(), content.to_str().unwrap()];
    ctl::at(Path::new("/nowhere"), &words, &[]).expect(0);
    let bytes = std::fs::read(&file).unwrap();
    let made = Metainfo::parse(&bytes).unwrap();
    let pieces = made.info.layout.piece_count();
    let torrent = Torrent { bytes, hash: made.hashes.canonical(), name: payload.name.clone(), pieces };
    (torrent, made.hashes)
}

/// What its v2 hash is cut to on the wire.
fn cut(hashes: &InfoHashes) -> WireHash {
    InfoHashes { v1: None, ..*hashes }.canonical()
}

fn seeding(test: &str, net: &mut Net, torrent: &Torrent, folder: &Path) -> Option<Box<dyn Client>> {
    let mut seed = Kind::Libtorrent.start(test, net.ip())?;
    seed.add(torrent, folder);
    wait_complete(seed.as_mut(), torrent);
    Some(seed)
}

/// Adds the link, which `id` is then the id of.
fn add(daemon: &Daemon, link: &str, id: &WireHash) {
    let added = daemon.add_link(link, &daemon.downloads());
    assert_eq!(added.info_hash, Some(id.to_string()), "{:?}", added.error);
}

#[test]
fn a_hybrid_is_found_by_its_v2_hash_alone_and_goes_on_under_both() {
    let test = "a_hybrid_is_found_by_its_v2_hash_alone_and_goes_on_under_both";
    let Some(mut net) = Net::required(test) else { return };
    let (payload, theirs) = (payload(), tempfile::tempdir().unwrap());
    let (torrent, hashes) = created(&payload, theirs.path(), "--hybrid");
    let Some(seed) = seeding(test, &mut net, &torrent, theirs.path()) else { return };
    let tracker = Tracker::start(net.ip(), &[seed.addr()]);
    let daemon = Daemon::start(&net);
    let (by_v2, v2) = (cut(&hashes), hashes.v2.unwrap());
    let before = daemon.list();
    add(&daemon, &format!("magnet:?xt=urn:btmh:1220{v2}&tr={}", tracker.url(Over::Http)), &by_v2);
    // Whoever has noted the id that it was added with finds it by that.
    daemon.wait_seeding(&by_v2.to_string());
    payload.assert_equals(&daemon.downloads());
    let shown = daemon.torrent(&torrent.id());
    assert_eq!((shown.info_hash, shown.info_hash_v2), (torrent.id(), Some(v2.to_string())));
    assert_eq!(daemon.list().len(), before.len() + 1);
    for (hash, event) in [(by_v2, Event::Started), (by_v2, Event::Stopped), (torrent.hash, Event::Started)] {
        until("the tracker has heard of each hash", SOON, || (tracker.count(hash, event) == 1).then_some(()));
    }
}

#[test]
fn a_link_with_both_hashes_takes_only_what_has_both() {
    let test = "a_link_with_both_hashes_takes_only_what_has_both";
    let Some(mut net) = Net::required(test) else { return };
    let (payload, theirs) = (payload(), tempfile::tempdir().unwrap());
    let (torrent, hashes) = created(&payload, theirs.path(), "--hybrid");
    let Some(seed) = seeding(test, &mut net, &torrent, theirs.path()) else { return };
    let daemon = Daemon::start(&net);
    let (v1, v2, addr) = (hashes.v1.unwrap(), hashes.v2.unwrap(), seed.addr());
    let wrong = "0".repeat(64);
    add(&daemon, &format!("magnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{wrong}&x.pe={addr}"), &torrent.hash);
    daemon.wait_state(&torrent.id(), State::Error, SOON);
    let why = daemon.torrent(&torrent.id()).error.unwrap();
    assert!(why.contains("info-hashes are those of different torrents"), "{why}");
    daemon.remove(&torrent.id(), false);
    add(&daemon, &format!("magnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}&x.pe={addr}"), &torrent.hash);
    daemon.wait_seeding(&torrent.id());
    payload.assert_equals(&daemon.downloads());
}

#[test]
fn a_v2_only_torrent_is_found_and_said_to_be_one() {
    let test = "a_v2_only_torrent_is_found_and_said_to_be_one";
    let Some(mut net) = Net::required(test) else { return };
    let theirs = tempfile::tempdir().unwrap();
    let (torrent, hashes) = created(&payload(), theirs.path(), "--v2");
    let Some(seed) = seeding(test, &mut net, &torrent, theirs.path()) else { return };
    let daemon = Daemon::start(&net);
    let link = format!("magnet:?xt=urn:btmh:1220{}&x.pe={}", hashes.v2.unwrap(), seed.addr());
    add(&daemon, &link, &cut(&hashes));
    daemon.wait_state(&torrent.id(), State::Error, SOON);
    let why = daemon.torrent(&torrent.id()).error.unwrap();
    assert!(why.contains("it is a v2-only torrent"), "{why}");
}

/// A link that names a seed by `host`, instead of its address.
fn named(torrent: &Torrent, host: &str, seed: SocketAddr) -> String {
    format!("{}&x.pe={host}:{}", torrent.magnet(&[], &[]), seed.port())
}

#[test]
fn a_peer_that_a_link_names_by_its_host_is_looked_up() {
    let test = "a_peer_that_a_link_names_by_its_host_is_looked_up";
    let Some(mut net) = Net::required(test) else { return };
    let (payload, theirs) = (payload(), tempfile::tempdir().unwrap());
    payload.write(theirs.path());
    let torrent = Maker::new(&payload).make();
    let Some(seed) = seeding(test, &mut net, &torrent, theirs.path()) else { return };
    let at = net.ip();
    let names = NameServer::start(at, &[seed.addr().ip()]);
    let network = format!("dns = [\"{at}\"]");
    let daemon = Daemon::with(Settings { ips: vec![net.home()], network, ..Settings::default() });
    add(&daemon, &named(&torrent, "seed.test", seed.addr()), &torrent.hash);
    daemon.wait_seeding(&torrent.id());
    payload.assert_equals(&daemon.downloads());
    assert!(names.asked().iter().any(|name| name.starts_with("seed.test")), "{:?}", names.asked());
}

#[test]
fn a_peer_that_a_link_names_by_an_ipv6_address_is_dialled() {
    let test = "a_peer_that_a_link_names_by_an_ipv6_address_is_dialled";
    let Some(mut net) = Net::required(test) else { return };
    let (payload, theirs) = (payload(), tempfile::tempdir().unwrap());
    payload.write(theirs.path());
    let torrent = Maker::new(&payload).make();
    let Some(mut seed) = Kind::Libtorrent.start(test, net.ip6()) else { return };
    seed.add(&torrent, theirs.path());
    wait_complete(seed.as_mut(), &torrent);
    let ips = vec![net.home(), net.home6()];
    let daemon = Daemon::with(Settings { ips, ..Settings::default() });
    let host = format!("[{}]", seed.addr().ip());
    add(&daemon, &named(&torrent, &host, seed.addr()), &torrent.hash);
    daemon.wait_seeding(&torrent.id());
}

#[test]
fn no_name_in_a_link_is_looked_up_past_a_proxy() {
    let Some(mut net) = Net::required("no_name_in_a_link_is_looked_up_past_a_proxy") else { return };
    let (at, proxy) = (net.ip(), net.ip());
    let names = NameServer::start(at, &[at]);
    let network = format!("dns = [\"{at}\"]\nproxy = \"socks5://{proxy}:9\"\nproxy_only = true");
    let daemon = Daemon::with(Settings { ips: vec![net.home()], network, ..Settings::default() });
    let torrent = Maker::new(&payload()).make();
    add(&daemon, &named(&torrent, "seed.test", SocketAddr::new(at, 6881)), &torrent.hash);
    until("wgod says that it asks nobody", SOON, || daemon.log().contains("not looked up").then_some(()));
    assert_eq!(names.asked(), Vec::<String>::new());
}
