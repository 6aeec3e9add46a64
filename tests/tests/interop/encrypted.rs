//! wgod and the peers that people run exchange torrents of all shapes over encrypted connections, both ways; and
//! whose settings exclude each other don't meet.
use wgo_tests::exchange::{
    Dials, Encrypted, Family, PLAIN, Scenario, leech_encrypted, refuse, seed_encrypted,
};
use wgo_tests::peers::{Encryption, Kind};
use wgo_tests::tracker::Over;

/// Encryption that both sides require.
const REQUIRED: Encrypted = Encrypted { wgod: "require", peer: Encryption::Required };

fn scenario(test: &'static str, kind: Kind, dials: Dials) -> Scenario {
    Scenario { test, kind, dials, family: Family::V4, over: Over::Http }
}

/// Our default, with a peer that requires encryption.
const ALLOWED: Encrypted = Encrypted { wgod: "", peer: Encryption::Required };

/// Both directions of both with one peer.
macro_rules! exchanged {
    ($peer:ident, $kind:expr, $encrypted:expr) => {
        mod $peer {
            use super::*;

            #[test]
            fn leeches_when_it_dials() {
                let test = concat!(stringify!($peer), "::leeches_when_it_dials");
                leech_encrypted(scenario(test, $kind, Dials::Wgod), $encrypted);
            }

            #[test]
            fn leeches_when_it_is_dialled() {
                let test = concat!(stringify!($peer), "::leeches_when_it_is_dialled");
                leech_encrypted(scenario(test, $kind, Dials::Peer), $encrypted);
            }

            #[test]
            fn seeds_when_it_dials() {
                let test = concat!(stringify!($peer), "::seeds_when_it_dials");
                seed_encrypted(scenario(test, $kind, Dials::Wgod), $encrypted);
            }

            #[test]
            fn seeds_when_it_is_dialled() {
                let test = concat!(stringify!($peer), "::seeds_when_it_is_dialled");
                seed_encrypted(scenario(test, $kind, Dials::Peer), $encrypted);
            }
        }
    };
}

exchanged!(libtorrent, Kind::Libtorrent, REQUIRED);
exchanged!(transmission, Kind::Transmission, REQUIRED);
exchanged!(aria2, Kind::Aria2, REQUIRED);
exchanged!(rtorrent, Kind::Rtorrent, REQUIRED);
exchanged!(qbittorrent, Kind::Qbittorrent, REQUIRED);
exchanged!(libtorrent_by_default, Kind::Libtorrent, ALLOWED);
exchanged!(transmission_by_default, Kind::Transmission, ALLOWED);
exchanged!(aria2_by_default, Kind::Aria2, ALLOWED);
exchanged!(rtorrent_by_default, Kind::Rtorrent, ALLOWED);
exchanged!(qbittorrent_by_default, Kind::Qbittorrent, ALLOWED);
// The default and a peer without encryption is what the tests of each peer are about; qBittorrent has no others.
exchanged!(qbittorrent_without, Kind::Qbittorrent, PLAIN);

#[test]
fn what_prefers_encryption_goes_without_where_the_peer_knows_none() {
    let test = "what_prefers_encryption_goes_without_where_the_peer_knows_none";
    let encrypted = Encrypted { wgod: "prefer", peer: Encryption::Off };
    for kind in [Kind::Libtorrent, Kind::Rtorrent] {
        leech_encrypted(scenario(test, kind, Dials::Wgod), encrypted);
    }
    leech_encrypted(scenario(test, Kind::Libtorrent, Dials::Peer), encrypted);
}

#[test]
fn what_prefers_encryption_reaches_peers_that_require_it() {
    let test = "what_prefers_encryption_reaches_peers_that_require_it";
    let encrypted = Encrypted { wgod: "prefer", peer: Encryption::Required };
    for dials in [Dials::Wgod, Dials::Peer] {
        leech_encrypted(scenario(test, Kind::Libtorrent, dials), encrypted);
    }
}

#[test]
fn off_and_required_do_not_meet() {
    let test = "off_and_required_do_not_meet";
    let off = Encrypted { wgod: "off", peer: Encryption::Required };
    // So what they are told by the tests above is what they do.
    for kind in [Kind::Libtorrent, Kind::Transmission, Kind::Aria2, Kind::Rtorrent, Kind::Qbittorrent] {
        refuse(scenario(test, kind, Dials::Wgod), off);
    }
    refuse(scenario(test, Kind::Libtorrent, Dials::Peer), off);
    for dials in [Dials::Wgod, Dials::Peer] {
        let required = Encrypted { wgod: "require", peer: Encryption::Off };
        refuse(scenario(test, Kind::Libtorrent, dials), required);
    }
}
