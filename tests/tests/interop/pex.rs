//! wgod and the peers that people run tell each other of peers (BEP 11): three in a row, of which those at the ends
//! know the middle one only. That one downloads so slowly that whoever gets all must have it from the other end.
use std::time::Duration;

use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::maker::Maker;
use wgo_tests::net::Net;
use wgo_tests::payload::Payload;
use wgo_tests::peers::{Client, Encryption, Kind, Manner};
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::until;

/// The middle one needs ten minutes for [`LEN`] bytes.
const SLOW_KIB: u32 = 8;
const LEN: usize = 5 << 20;

/// wgod, at its end, takes some seconds, in which it is seen with whom it is connected.
const UNHURRIED: u64 = 512 << 10;

/// Clients tell each other once a minute, or somewhat less often, and dial at leisure.
const PATIENCE: Duration = Duration::from_secs(300);

const EXCHANGES: Manner<'static> = Manner { pex: true, ..Manner::with(Encryption::Off) };

/// What wgod is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    File,
    Magnet,
}

fn payload() -> Payload {
    Payload::single("exchanged.bin", LEN, 64 << 10)
}

/// A seed of a kind that tells nobody of anybody.
fn seed(
    test: &str,
    kind: Kind,
    net: &mut Net,
    payload: &Payload,
    folder: &std::path::Path,
) -> Option<Box<dyn Client>> {
    payload.write(folder);
    let mut seed = kind.start(test, net.ip())?;
    // rTorrent starts none that has neither tracker nor DHT. Nobody is there.
    let torrent = Maker::new(payload).tier([format!("http://{}:9/announce", net.ip())]).make();
    seed.add(&torrent, folder);
    wgo_tests::peers::wait_complete(seed.as_mut(), &torrent);
    Some(seed)
}

/// wgod hears of the only seed from a peer, each of a kind.
fn hears_from(test: &'static str, kind: Kind, of: Kind, given: Given) {
    let Some(mut net) = Net::required(test) else { return };
    let (payload, [a, b, c]) = (payload(), [0; 3].map(|_| tempfile::tempdir().unwrap()));
    let Some(seed) = seed(test, of, &mut net, &payload, a.path()) else { return };
    let Some(mut middle) = kind.start_as(test, net.ip(), Manner { down_kib: SLOW_KIB, ..EXCHANGES }) else {
        return;
    };
    let tracker = Tracker::start(net.ip(), &[seed.addr()]);
    middle.add(&Maker::new(&payload).tier([tracker.url(Over::Http)]).make(), b.path());
    let daemon = Daemon::with(Settings { ips: vec![net.home()], down: UNHURRIED, ..Settings::default() });
    let torrent = Maker::new(&payload).make();
    match given {
        Given::File => _ = daemon.add(&torrent, c.path(), &[middle.addr()]),
        Given::Magnet => {
            let added = daemon.add_link(&torrent.magnet(&[], &[middle.addr()]), c.path());
            assert_eq!(added.info_hash, Some(torrent.id()), "{:?}", added.error);
        }
    }
    until("wgod is connected to the seed that its peer told of", PATIENCE, || {
        let peers = daemon.show(&torrent.id()).peers.unwrap();
        let found = peers.iter().find(|peer| peer.address == seed.addr().to_string())?;
        assert_eq!(found.source, "pex");
        Some(())
    });
    daemon.wait_seeding(&torrent.id());
    assert!(!middle.is_complete(&torrent), "it may have come from the middle");
    payload.assert_equals(c.path());
}

/// A peer of this kind hears of the seed from wgod.
fn tells(test: &'static str, kind: Kind) {
    let Some(mut net) = Net::required(test) else { return };
    let (payload, [a, b, c]) = (payload(), [0; 3].map(|_| tempfile::tempdir().unwrap()));
    let Some(seed) = seed(test, Kind::Libtorrent, &mut net, &payload, a.path()) else { return };
    let Some(mut peer) = kind.start_as(test, net.ip(), EXCHANGES) else { return };
    let slow = u64::from(SLOW_KIB) << 10;
    let daemon = Daemon::with(Settings { ips: vec![net.home()], down: slow, ..Settings::default() });
    let torrent = Maker::new(&payload).make();
    daemon.add(&torrent, b.path(), &[seed.addr()]);
    let tracker = Tracker::start(net.ip(), &[daemon.listens(net.home())]);
    peer.add(&Maker::new(&payload).tier([tracker.url(Over::Http)]).make(), c.path());
    until("the peer has all", PATIENCE, || peer.is_complete(&torrent).then_some(()));
    assert!(daemon.torrent(&torrent.id()).done_bytes < LEN as u64, "it may have come from wgod");
}

/// wgod is the only seed. A peer of this kind has a link that leads to a slow third one, and hears of wgod there.
fn hears_of_us(test: &'static str, kind: Kind) {
    let Some(mut net) = Net::required(test) else { return };
    let (payload, [a, b, c]) = (payload(), [0; 3].map(|_| tempfile::tempdir().unwrap()));
    payload.write(a.path());
    let torrent = Maker::new(&payload).make();
    let daemon = Daemon::start(&net);
    daemon.add(&torrent, a.path(), &[]);
    daemon.wait_seeding(&torrent.id());
    let slow = Manner { down_kib: SLOW_KIB, ..EXCHANGES };
    let Some(mut middle) = Kind::Libtorrent.start_as(test, net.ip(), slow) else { return };
    let at_wgod = Tracker::start(net.ip(), &[daemon.listens(net.home())]);
    middle.add(&Maker::new(&payload).tier([at_wgod.url(Over::Http)]).make(), b.path());
    let Some(mut peer) = kind.start_as(test, net.ip(), EXCHANGES) else { return };
    let at_middle = Tracker::start(net.ip(), &[middle.addr()]);
    let link = torrent.magnet(&[&at_middle.url(Over::Http)], &[]);
    assert!(peer.add_magnet(&link, &torrent, c.path()), "it takes {link}");
    until("the peer has all", PATIENCE, || peer.is_complete(&torrent).then_some(()));
    assert!(!middle.is_complete(&torrent), "it may have come from the middle");
    until("its files are right", PATIENCE, || payload.difference(c.path()).is_none().then_some(()));
}

macro_rules! peers {
    ($($name:ident: $kind:ident;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn it_tells_us_of_a_seed() {
                let test = concat!("pex::", stringify!($name), "::it_tells_us_of_a_seed");
                hears_from(test, Kind::$kind, Kind::Libtorrent, Given::File);
            }

            #[test]
            fn it_hears_of_a_seed_from_us() {
                tells(concat!("pex::", stringify!($name), "::it_hears_of_a_seed_from_us"), Kind::$kind);
            }
        })*
    };
}

macro_rules! linked {
    ($($name:ident: $kind:ident;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn it_seeds_and_we_hear_of_it() {
                let test = concat!("pex::links::", stringify!($name), "::it_seeds_and_we_hear_of_it");
                hears_from(test, Kind::Libtorrent, Kind::$kind, Given::Magnet);
            }

            #[test]
            fn it_hears_of_us() {
                hears_of_us(concat!("pex::links::", stringify!($name), "::it_hears_of_us"), Kind::$kind);
            }
        })*
    };
}

peers! {
    libtorrent: Libtorrent;
    transmission: Transmission;
    rtorrent: Rtorrent;
    qbittorrent: Qbittorrent;
}

/// Who fetches has nothing but a magnet link; the third peer is libtorrent.
mod links {
    use super::*;

    linked! {
        libtorrent: Libtorrent;
        transmission: Transmission;
        rtorrent: Rtorrent;
        qbittorrent: Qbittorrent;
        rqbit: Rqbit;
    }
}
