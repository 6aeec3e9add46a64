//! wgod and the peers that people run fetch torrents from one another by magnet links (BEP 9), found by a tracker or
//! named in the link.
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
                tell_to(scenario(test, Kind::$kind, Dials::Peer));
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
