//! wgod and the peers that people run fetch torrents from one another by magnet links (BEP 9), found by a tracker or
//! named in the link. Every other way is in the files of its own; all of them, by who is found how:
//!
//! | wgod has the link, and the only seed is | a tracker | the DHT alone | LSD | PEX of a third peer | `x.pe` |
//! |---|---|---|---|---|---|
//! | libtorrent 2.1 | [m] `libtorrent::it_seeds_and_a_tracker_names_it` | [d] `libtorrent::it_seeds_and_is_found` | [l] `libtorrent::v4`, `v6::it_is_found` | [p] `links::libtorrent::it_seeds_and_we_hear_of_it` | [m] `libtorrent::it_seeds_and_the_link_names_it` |
//! | Transmission 3.0 | [m] `transmission::…` | [d] `transmission::…` | [l] `transmission::v4::…` (1) | [p] `links::transmission::…` | [m] `transmission::…` |
//! | rTorrent 0.9.8 | [m] `rtorrent::…` | [d] `rtorrent::…` | n/a (2) | [p] `links::rtorrent::…` | [m] `rtorrent::…` |
//! | qBittorrent 4.5 | [m] `qbittorrent::…` | [d] `qbittorrent::…` | [l] `qbittorrent::v4`, `v6::…` | [p] `links::qbittorrent::…` | [m] `qbittorrent::…` |
//! | rqbit 9.1 | [m] `rqbit::…` | [d] `rqbit::it_seeds_and_is_found` (3) | [l] `rqbit::v4`, `v6::…` | [p] `links::rqbit::…` | [m] `rqbit::…` |
//!
//! | wgod is the only seed, and the link has | a tracker | the DHT alone | LSD | PEX of a third peer | `x.pe` |
//! |---|---|---|---|---|---|
//! | libtorrent 2.1 | [m] `libtorrent::it_fetches_metadata_and_data_of_ours` | [d] `libtorrent::it_finds_us` | [l] `libtorrent::v4`, `v6::it_finds_us` | [p] `links::libtorrent::it_hears_of_us` | [m] `naming::libtorrent` |
//! | Transmission 3.0 | [m] `transmission::…` | [d] `transmission::…` | [l] `transmission::v4::…` (1) | [p] `links::transmission::…` | n/a (4) |
//! | rTorrent 0.9.8 | [m] `rtorrent::…` | [d] `rtorrent::it_finds_us` (5) | n/a (2) | [p] `links::rtorrent::…` | n/a (4) |
//! | qBittorrent 4.5 | [m] `qbittorrent::…` | [d] `qbittorrent::…` | [l] `qbittorrent::v4`, `v6::…` | [p] `links::qbittorrent::…` | [m] `naming::qbittorrent` |
//! | rqbit 9.1 | [m] `rqbit::…` | [d] `rqbit::…` | [l] `rqbit::v4`, `v6::…` | [p] `links::rqbit::…` | [m] `naming::rqbit` (6) |
//!
//! `[m]` is this file, `[d]` `dht.rs`, `[l]` `lsd.rs`, `[p]` `pex.rs`.
//!
//! 1. Transmission 3 announces to the IPv4 group only.
//! 2. rTorrent has no local service discovery: libtorrent-rakshasa has no code that joins the group.
//! 3. rqbit announces to a node only if the first 16 bits of its id are those of the info-hash. In a DHT of 22 nodes
//!    none is so close, so the test takes a payload whose info-hash begins like the id of a node.
//! 4. Their parsers of links read `xt`, `tr`, and Transmission's `dn` and `ws`; `x.pe` is passed over.
//! 5. Before libtorrent-rakshasa 0.16.0 `AddressList::parse_address_bencode` reads each address of a list from the
//!    beginning of the list, where the bytes `6:` are: 198.18.0.11:6881 is dialled as 54.58.198.18:11. The test has
//!    a relay there. So all but rTorrent's dialling is shown; with a rTorrent that reads right, that too.
//! 6. rqbit passes `x.pe` over, too, and takes peers beside the link instead (`initial_peers`).
use wgo_tests::exchange::{Dials, Family, Found, Scenario, fetch_from, tell_to};
use wgo_tests::peers::Kind;
use wgo_tests::tracker::Over;

fn scenario(test: &'static str, kind: Kind, dials: Dials) -> Scenario {
    Scenario { test, kind, dials, family: Family::V4, over: Over::Http }
}

macro_rules! peers {
    ($($name:ident: $kind:ident;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn it_seeds_and_a_tracker_names_it() {
                let test = concat!(stringify!($name), "::it_seeds_and_a_tracker_names_it");
                fetch_from(scenario(test, Kind::$kind, Dials::Wgod), Found::Tracker);
            }

            #[test]
            fn it_seeds_and_the_link_names_it() {
                let test = concat!(stringify!($name), "::it_seeds_and_the_link_names_it");
                fetch_from(scenario(test, Kind::$kind, Dials::Wgod), Found::Link);
            }

            #[test]
            fn it_fetches_metadata_and_data_of_ours() {
                let test = concat!(stringify!($name), "::it_fetches_metadata_and_data_of_ours");
                tell_to(scenario(test, Kind::$kind, Dials::Peer), Found::Tracker);
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

/// wgod is named in the link of those that read `x.pe`, or are told of peers beside it.
mod naming {
    use super::*;

    #[test]
    fn libtorrent() {
        tell_to(scenario("naming::libtorrent", Kind::Libtorrent, Dials::Peer), Found::Link);
    }

    #[test]
    fn qbittorrent() {
        tell_to(scenario("naming::qbittorrent", Kind::Qbittorrent, Dials::Peer), Found::Link);
    }

    #[test]
    fn rqbit() {
        tell_to(scenario("naming::rqbit", Kind::Rqbit, Dials::Peer), Found::Link);
    }
}
