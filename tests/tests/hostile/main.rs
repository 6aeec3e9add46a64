//! Attacks on the real daemon, in their short form: each is judged by what it costs and by what two honest transfers
//! had meanwhile. `hostile-table` runs the long form.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use std::sync::{Mutex, PoisonError};

use wgo_tests::hostile::stage::Kind;
use wgo_tests::hostile::{self, Attack, Stage};

/// Tests run side by side, and what one measures others disturb: so few of them do.
static TURNS: [Mutex<()>; 3] = [const { Mutex::new(()) }; 3];

/// Runs all attacks of a kind, or every `of`-th from `part` on: attacks last, and tests run side by side.
fn judge(test: &str, turn: usize, kind: Kind, attacks: &[Attack], (part, of): (usize, usize)) {
    let _turn = TURNS[turn].lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut stage) = Stage::start(test, kind, false) else { return };
    let mine: Vec<Attack> = attacks.iter().copied().skip(part).step_by(of).collect();
    stage.judge(&mine);
}

#[test]
fn who_does_not_shake_hands_takes_nothing_from_others() {
    judge("who_does_not_shake_hands", 0, Kind::Plain, &hostile::connecting::attacks(), (0, 1));
}

#[test]
fn small_messages_cost_little_however_many_they_are() {
    judge("small_messages", 1, Kind::Plain, &hostile::messages::attacks(), (0, 2));
}

#[test]
fn wrong_messages_cost_little_however_many_they_are() {
    judge("wrong_messages", 2, Kind::Plain, &hostile::messages::attacks(), (1, 2));
}

#[test]
fn requests_without_end_starve_nobody() {
    judge("requests_without_end", 0, Kind::Plain, &hostile::requests::attacks(), (0, 1));
}

#[test]
fn what_peers_say_of_themselves_and_others_is_bounded() {
    judge("what_peers_say", 1, Kind::Plain, &hostile::extensions::attacks(), (0, 1));
}

#[test]
fn metadata_of_liars_is_bounded() {
    judge("metadata_of_liars", 2, Kind::Plain, &hostile::metadata::attacks(), (0, 1));
}

#[test]
fn bad_sources_do_not_hold_up_a_good_one() {
    judge("bad_sources", 1, Kind::Plain, &hostile::sources::attacks(), (0, 1));
}

#[test]
fn floods_of_datagrams_leave_nothing_behind() {
    judge("floods_of_datagrams", 0, Kind::Dht, &hostile::nodes::attacks(), (0, 1));
}

#[test]
fn neighbours_and_gateways_that_flood_leave_nothing_behind() {
    judge("neighbours_and_gateways", 2, Kind::Lan, &hostile::neighbours::attacks(), (0, 1));
}

#[test]
fn bad_trackers_hold_up_nobody() {
    judge("bad_trackers", 2, Kind::Plain, &hostile::trackers::attacks(), (0, 1));
}

#[test]
fn huge_torrents_and_many_links_are_held_or_refused() {
    judge("huge_torrents", 2, Kind::Plain, &hostile::control::attacks(), (0, 1));
}

#[test]
fn callers_who_do_wrong_take_nothing_from_peers() {
    judge("callers_who_do_wrong", 0, Kind::Plain, &hostile::callers::attacks(), (0, 1));
}

#[test]
fn a_bad_proxy_is_given_up() {
    judge("a_bad_proxy", 1, Kind::Proxy, &hostile::proxies::attacks(), (0, 1));
}
