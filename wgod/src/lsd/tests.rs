//! What is made of what neighbours say, and which links are joined.
use wgo_api::torrent::State;
use wgo_core::TorrentId;
use wgo_proto::PeerId;
use wgo_proto::metainfo::Metainfo;
use wgo_proto::wire::{HANDSHAKE_LEN, Handshake, Reserved};

use super::*;
use crate::outlet::{Bounds, Outlet};
use crate::rig::*;
use crate::transport::Listener;
use wgo_core::dht::rounds::Need;

fn link(name: &str, addresses: &[&str]) -> Link {
    let address = |text: &&str| (text.parse().unwrap(), text.parse().unwrap());
    Link { name: name.to_owned(), index: 7, addresses: addresses.iter().map(address).collect() }
}

#[test]
fn each_link_is_joined_once_by_each_family_that_it_has_and_may_use() {
    let links = [link("eth0", &["192.0.2.1", "192.0.2.2", "fe80::1", "fe80::2"]), link("eth1", &["fe80::3"])];
    let joined = |outlet: &Outlet| -> Vec<String> {
        let wanted = wanted(&links, |name, ips, v4| outlet.source_on(name, ips, v4));
        wanted.keys().map(|key| format!("{} {}", key.name, key.source)).collect()
    };
    assert_eq!(joined(&Outlet::default()), ["eth0 192.0.2.1", "eth0 ::", "eth1 ::"]);
    assert_eq!(joined(&Outlet::at(&["192.0.2.2"])), ["eth0 192.0.2.2"]);
    assert!(joined(&Outlet::at(&["198.51.100.1"])).is_empty());
    let interface = Some("eth1".parse().unwrap());
    assert_eq!(joined(&Outlet::new(Bounds { interface, ips: Vec::new() })), ["eth1 ::"]);
}

/// An announcement that names `hash`, by whom `cookie` tells, of who listens at `port`.
fn datagram(port: u16, hash: WireHash, cookie: &str) -> Vec<u8> {
    let port = NonZeroU16::new(port).unwrap();
    Announcement { port, hashes: vec![WireHash([9; 20]), hash], cookie }.encode(GROUP_V4)
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_dialled_and_nobody_else_and_their_torrents_are_announced() {
    let rig = Rig::new().await;
    let file = torrent_file("t", &noise(100_000), 32_768);
    let hash = Metainfo::parse(&file).unwrap().hashes.canonical();
    assert_eq!(rig.add(&file).await.error, None);
    rig.until("t", State::Downloading).await;
    let lsd = &rig.engine.lsd;
    // It is told as a download as soon as it is to be one, and joins when its files are ready.
    let begun = std::time::Instant::now();
    while lsd.announcer().poll_timeout().is_none() {
        assert!(begun.elapsed() < SOON, "it doesn't join");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(lsd.announcer().take(rig.engine.clock.now()), [hash], "at once");

    let listener = Listener::bind(&Outlet::default(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let hearing = Hearing { engine: rig.engine.clone(), cookie: "ours".to_owned() };
    let near = link("eth0", &["192.0.2.1"]);
    let says = |from: &str, datagram: &[u8]| hearing.heed(&near, from.parse().unwrap(), datagram);
    let counters = &rig.engine.counters.lsd;
    let counts = || (counters.heard.total(), counters.malformed.total(), counters.foreign.total());
    says("8.8.8.8:6771", &datagram(port, hash, ""));
    assert_eq!(counts(), (0, 0, 1));
    says("127.0.0.1:6771", b"M-SEARCH * HTTP/1.1\r\n\r\n");
    says("127.0.0.1:6771", &datagram(port, WireHash([8; 20]), "other"));
    says("127.0.0.1:6771", &datagram(port, hash, "ours"));
    assert_eq!(counts(), (0, 1, 1));
    says("127.0.0.1:6771", &datagram(port, hash, "other"));
    assert_eq!(counts(), (1, 1, 1));

    let (transport, _) = listener.accept().await.unwrap();
    let mut theirs = [0; HANDSHAKE_LEN];
    transport.read_exact(&mut theirs, SOON).await.unwrap();
    assert_eq!(Handshake::decode(&theirs).unwrap().hash, hash);
    let ours = Handshake { reserved: Reserved::FAST, hash, peer_id: PeerId([5; 20]) };
    transport.write_all(&ours.encode(), SOON).await.unwrap();
    let row = rig.until_row("t", |row| row.peers == 1).await;
    assert_eq!(row.peers, 1);
    rig.quit().await;
}

#[tokio::test]
async fn of_a_private_torrent_neighbours_hear_nothing_even_if_that_is_known_late() {
    let rig = Rig::new().await;
    let hashes = InfoHashes { v1: Some(wgo_proto::InfoHashV1([1; 20])), v2: None };
    let due = || rig.engine.lsd.announcer().poll_timeout();
    rig.engine.join(TorrentId(77), &hashes, true, Need::Nothing);
    assert_eq!(due(), None);
    rig.engine.join(TorrentId(77), &hashes, false, Need::Nothing);
    assert!(due().is_some(), "a magnet link doesn't say");
    rig.engine.join(TorrentId(77), &hashes, true, Need::Nothing);
    assert_eq!(due(), None);
    let hearing = Hearing { engine: rig.engine.clone(), cookie: String::from("ours") };
    hearing.heed(
        &link("eth0", &["192.0.2.1"]),
        "192.0.2.9:6771".parse().unwrap(),
        &datagram(1, hashes.canonical(), ""),
    );
    assert_eq!((due(), rig.engine.counters.lsd.heard.total()), (None, 0));
    rig.engine.join(TorrentId(77), &hashes, false, Need::Nothing);
    rig.engine.leave(TorrentId(77), &hashes);
    assert_eq!(due(), None);
    rig.quit().await;
}

#[tokio::test]
async fn it_is_off_until_it_is_switched_on_and_off_again() {
    let rig = Rig::new().await;
    assert_eq!(rig.engine.lsd.shown(), LocalDiscovery::default());
    let stopping = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(run(rig.engine.clone(), stopping.clone()));
    for on in [true, false, true] {
        rig.engine.lsd.switch(on);
        assert_eq!(rig.engine.lsd.shown().on, on);
        tokio::task::yield_now().await;
    }
    stopping.cancel();
    running.join_next().await.unwrap().unwrap();
    assert!(rig.engine.lsd.shown().interfaces.is_empty(), "it left whatever it had joined");
    rig.quit().await;
}
