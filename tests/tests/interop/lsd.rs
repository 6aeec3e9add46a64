//! wgod and the peers that people run find one another in the local network alone (BEP 14), over a link between two
//! namespaces, without a tracker: metadata and payload, both ways. rTorrent has no local discovery.
use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::lan::Lan;
use wgo_tests::maker::Maker;
use wgo_tests::payload::Payload;
use wgo_tests::peers::{Encryption, Kind, Manner, wait_complete};
use wgo_tests::wait::{TRANSFER, until};

const LSD: Manner<'static> = Manner { lsd: true, ..Manner::with(Encryption::Off) };

fn payload() -> Payload {
    Payload::multi("local", 32_768, &[("a.bin", 200_000), ("sub/b.bin", 300_001)])
}

/// wgod gets everything from a peer that it has never heard of.
fn fetch(test: &str, kind: Kind, v4: bool) {
    let Some(lan) = Lan::required(test) else { return };
    let daemon = Daemon::with(Settings { ips: vec![lan.ours(v4)], ..Settings::default() });
    lan.cross();
    let Some(mut peer) = kind.start_as(test, lan.theirs(v4), LSD) else { return };
    let (payload, theirs) = (payload(), tempfile::tempdir().unwrap());
    let torrent = Maker::new(&payload).make();
    payload.write(theirs.path());
    peer.add(&torrent, theirs.path());
    wait_complete(peer.as_mut(), &torrent);
    let added = daemon.add_link(&torrent.magnet(&[], &[]), &daemon.downloads());
    assert_eq!(added.info_hash, Some(torrent.id()), "{:?}", added.error);
    daemon.wait_seeding(&torrent.id());
    payload.assert_equals(&daemon.downloads());
}

/// A peer gets everything from wgod, of which it has never heard.
fn give(test: &str, kind: Kind, v4: bool) {
    let Some(lan) = Lan::required(test) else { return };
    let daemon = Daemon::with(Settings { ips: vec![lan.ours(v4)], ..Settings::default() });
    let payload = payload();
    let torrent = Maker::new(&payload).make();
    payload.write(&daemon.downloads());
    daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&torrent.id());
    lan.cross();
    let Some(mut peer) = kind.start_as(test, lan.theirs(v4), LSD) else { return };
    let theirs = tempfile::tempdir().unwrap();
    assert!(peer.add_magnet(&torrent.magnet(&[], &[]), &torrent, theirs.path()));
    wait_complete(peer.as_mut(), &torrent);
    until("the peer's files are right", TRANSFER, || {
        payload.difference(theirs.path()).is_none().then_some(())
    });
}

macro_rules! peers {
    ($($name:ident: $kind:ident, $($family:ident)*;)*) => {
        $(mod $name {
            use super::*;

            $(mod $family {
                use super::*;

                #[test]
                fn it_is_found() {
                    let test = concat!("lsd::", stringify!($name), "::", stringify!($family), "::it_is_found");
                    fetch(test, Kind::$kind, stringify!($family) == "v4");
                }

                #[test]
                fn it_finds_us() {
                    let test = concat!("lsd::", stringify!($name), "::", stringify!($family), "::it_finds_us");
                    give(test, Kind::$kind, stringify!($family) == "v4");
                }
            })*
        })*
    };
}

// Transmission 3 announces by IPv4 alone.
peers! {
    libtorrent: Libtorrent, v4 v6;
    transmission: Transmission, v4;
    qbittorrent: Qbittorrent, v4 v6;
    rqbit: Rqbit, v4 v6;
}
