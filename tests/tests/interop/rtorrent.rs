//! wgod and rtorrent, which knows no IPv6 in Debian's 0.9.8, exchange torrents of all shapes, both ways.
use wgo_tests::exchange::{Dials, Family, Scenario, leech_from, seed_to};
use wgo_tests::peers::Kind;
use wgo_tests::tracker::Over;

fn scenario(test: &'static str, dials: Dials, family: Family, over: Over) -> Scenario {
    Scenario { test, kind: Kind::Rtorrent, dials, family, over }
}

#[test]
fn leeches_from_rtorrent_that_it_dials() {
    leech_from(scenario("leeches_from_rtorrent_that_it_dials", Dials::Wgod, Family::V4, Over::Http));
}

#[test]
fn leeches_from_rtorrent_that_dials_it() {
    leech_from(scenario("leeches_from_rtorrent_that_dials_it", Dials::Peer, Family::V4, Over::Udp));
}

#[test]
fn seeds_to_rtorrent_that_it_dials() {
    seed_to(scenario("seeds_to_rtorrent_that_it_dials", Dials::Wgod, Family::V4, Over::Udp));
}

#[test]
fn seeds_to_rtorrent_that_dials_it() {
    seed_to(scenario("seeds_to_rtorrent_that_dials_it", Dials::Peer, Family::V4, Over::Http));
}
