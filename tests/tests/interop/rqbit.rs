//! wgod and rqbit exchange torrents of all shapes, both ways.
use wgo_tests::exchange::{Dials, Family, Scenario, leech_from, seed_to};
use wgo_tests::peers::Kind;
use wgo_tests::tracker::Over;

fn scenario(test: &'static str, dials: Dials, family: Family, over: Over) -> Scenario {
    Scenario { test, kind: Kind::Rqbit, dials, family, over }
}

#[test]
fn leeches_from_rqbit_that_it_dials() {
    leech_from(scenario("leeches_from_rqbit_that_it_dials", Dials::Wgod, Family::V4, Over::Http));
}

#[test]
fn leeches_from_rqbit_that_dials_it() {
    leech_from(scenario("leeches_from_rqbit_that_dials_it", Dials::Peer, Family::V4, Over::Udp));
}

#[test]
fn seeds_to_rqbit_that_it_dials() {
    seed_to(scenario("seeds_to_rqbit_that_it_dials", Dials::Wgod, Family::V4, Over::Udp));
}

#[test]
fn seeds_to_rqbit_that_dials_it() {
    seed_to(scenario("seeds_to_rqbit_that_dials_it", Dials::Peer, Family::V4, Over::Http));
}

#[test]
fn leeches_from_rqbit_over_ipv6() {
    leech_from(scenario("leeches_from_rqbit_over_ipv6", Dials::Wgod, Family::V6, Over::Udp));
}

#[test]
fn seeds_to_rqbit_over_ipv6() {
    seed_to(scenario("seeds_to_rqbit_over_ipv6", Dials::Peer, Family::V6, Over::Http));
}
