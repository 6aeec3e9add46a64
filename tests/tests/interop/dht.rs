//! wgod and the peers that people run find each other by the DHT alone (BEP 5), in a private one of libtorrent's
//! nodes: no tracker, no address in a link.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use wgo_api::State;
use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::dht::PrivateDht;
use wgo_tests::maker::{Maker, Torrent};
use wgo_tests::net::Net;
use wgo_tests::payload::Payload;
use wgo_tests::peers::{Client, Encryption, Kind, Manner, wait_complete};
use wgo_tests::relay::Relay;
use wgo_tests::wait::until;

/// Nodes of the DHT, without wgod and the peer.
const NODES: u8 = 20;

/// A peer's own nodes take a while to find others, and announce in rounds of their own.
const MEETING: Duration = Duration::from_secs(400);

/// A DHT, wgod in it, and a peer.
struct Stage {
    dht: PrivateDht,
    daemon: Daemon,
    peer: Box<dyn Client>,
    payload: Payload,
    ours: TempDir,
    theirs: TempDir,
}

impl Stage {
    fn set(test: &str, kind: Kind) -> Option<Stage> {
        let mut net = Net::required(test)?;
        let dht = PrivateDht::start(test, NODES)?;
        let ways = Manner { dht: &dht.nodes()[1..6], ..Manner::with(Encryption::Off) };
        let mut peer = kind.start_as(test, net.ip(), ways)?;
        until("the peer is in the DHT", MEETING, || peer.is_in_dht().then_some(()));
        let daemon =
            Daemon::with(Settings { ips: vec![net.home()], dht: Some(dht.config()), ..Settings::default() });
        let payload = match kind {
            Kind::Rqbit => near_a_node(&dht),
            _ => Payload::shapes().swap_remove(0),
        };
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Some(Stage { dht, daemon, peer, payload, ours, theirs })
    }

    /// The torrent, which names nodes for a peer that can't be told any in another way.
    fn torrent(&self) -> Torrent {
        Maker::new(&self.payload).nodes(&self.dht.nodes()[1..6]).make()
    }
}

/// A payload whose info-hash begins with the 16 bits that a node's id begins with: rqbit announces to no node that is
/// farther away.
fn near_a_node(dht: &PrivateDht) -> Payload {
    let ids = dht.ids();
    let mut payload = Payload::single("near", 40_000, 16 << 10);
    for n in 0.. {
        payload.name = format!("near {n}.bin");
        payload.files[0].0 = payload.name.clone().into();
        let hash = Maker::new(&payload).make().hash;
        if ids.iter().any(|id| id.0[..2] == hash.0[..2]) {
            break;
        }
    }
    payload
}

/// The peer seeds; wgod has nothing but the link.
fn fetch_from(test: &str, kind: Kind) {
    let Some(mut stage) = Stage::set(test, kind) else { return };
    stage.payload.write(stage.theirs.path());
    let torrent = stage.torrent();
    stage.peer.add(&torrent, stage.theirs.path());
    wait_complete(stage.peer.as_mut(), &torrent);
    let added = stage.daemon.add_link(&torrent.magnet(&[], &[]), stage.ours.path());
    assert_eq!(added.info_hash, Some(torrent.id()), "{:?}", added.error);
    stage.daemon.wait_state(&torrent.id(), State::Seeding, MEETING);
    stage.payload.assert_equals(stage.ours.path());
    let sources: Vec<String> = stage
        .daemon
        .show(&torrent.id())
        .peers
        .unwrap_or_default()
        .into_iter()
        .map(|peer| peer.source)
        .collect();
    assert!(sources.iter().all(|source| ["dht", "incoming"].contains(&source.as_str())), "{sources:?}");
}

/// wgod seeds; the peer has nothing but the link.
fn tell_to(test: &str, kind: Kind) {
    let Some(mut stage) = Stage::set(test, kind) else { return };
    stage.payload.write(stage.ours.path());
    let torrent = stage.torrent();
    let _relay = (kind == Kind::Rtorrent).then(|| misread(stage.daemon.listens(stage.peer.addr().ip())));
    stage.daemon.add(&Maker::new(&stage.payload).make(), stage.ours.path(), &[]);
    stage.daemon.wait_seeding(&torrent.id());
    let nodes = stage.dht.nodes()[1..6].iter();
    let link = nodes.fold(torrent.magnet(&[], &[]), |link, node: &SocketAddr| format!("{link}&dht={node}"));
    assert!(stage.peer.add_magnet(&link, &torrent, stage.theirs.path()), "it takes {link}");
    until("the peer has found and fetched it", MEETING, || stage.peer.is_complete(&torrent).then_some(()));
    until("its files are right", MEETING, || {
        stage.payload.difference(stage.theirs.path()).is_none().then_some(())
    });
}

/// A relay where a rTorrent of before 0.16 looks for the peer at `addr`: it reads an address that nodes named from the
/// beginning of their list, where the length of the first one is, `6:`. One that reads right needs no relay.
fn misread(addr: SocketAddr) -> Relay {
    let IpAddr::V4(ip) = addr.ip() else { panic!("{addr} is no IPv4 address") };
    let [a, b, c, d] = ip.octets();
    let at = Ipv4Addr::new(b'6', b':', a, b);
    let added = Command::new("ip").args(["addr", "add", &format!("{at}/32"), "dev", "lo"]).status().unwrap();
    assert!(added.success(), "{at} is an address here");
    Relay::start(SocketAddr::from((at, u16::from_be_bytes([c, d]))), addr)
}

macro_rules! peers {
    ($($name:ident: $kind:ident;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn it_seeds_and_is_found() {
                fetch_from(concat!(stringify!($name), "::it_seeds_and_is_found"), Kind::$kind);
            }

            #[test]
            fn it_finds_us() {
                tell_to(concat!(stringify!($name), "::it_finds_us"), Kind::$kind);
            }
        })*
    };
}

peers! {
    libtorrent: Libtorrent;
    transmission: Transmission;
    rtorrent: Rtorrent;
    qbittorrent: Qbittorrent;
    rqbit: Rqbit;
}
