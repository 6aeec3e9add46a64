//! Whom we dial, whom we let in, and what ends a connection.
use std::net::SocketAddr;
use std::sync::Arc;

use super::rig::*;
use crate::dial_pacer::Lane;
use crate::ip_filter::Builder;
use crate::peer::{CloseReason, Direction, Encryption, PeerInfo};
use crate::peer_mgr::{Greeting, Source};
use crate::swarm::{Action, IDLE_AFTER};
use crate::tracker::{Outcome, Policy, Retry};
use wgo_proto::PeerId;
use wgo_proto::wire::{Message, Reserved};

fn dials(rig: &mut Rig) -> Vec<SocketAddr> {
    let dialled = |action| if let Action::Dial(addr, _) = action { Some(addr) } else { None };
    rig.actions().into_iter().filter_map(dialled).collect()
}

#[test]
fn candidates_are_dialled_a_few_at_a_time_by_seeds_too() {
    let mut rig = Rig::new(4, &[]);
    rig.swarm.add_candidates(rig.now, (1..=200).map(addr), Source::Tracker);
    rig.wait(secs(1));
    let dialled = dials(&mut rig).len();
    assert!((2..=20).contains(&dialled), "{dialled} half open");
    let mut seed = Rig::new(1, &[0]);
    seed.swarm.add_candidates(seed.now, (1..=9).map(addr), Source::Tracker);
    seed.wait(secs(60));
    assert_eq!(dials(&mut seed).len(), 9, "it may be behind a router that lets nobody in");
}

#[test]
fn a_seed_stays_awake_for_whom_it_dials_and_will_dial_again() {
    let mut rig = Rig::new(1, &[0]);
    rig.swarm.add_candidates(rig.now, [addr(1)], Source::Tracker);
    rig.wait(secs(1));
    assert_eq!(dials(&mut rig), [addr(1)]);
    rig.swarm.on_dial_failed(rig.now, addr(1));
    rig.wait(secs(60));
    let actions = rig.actions();
    assert!(actions.iter().any(|action| matches!(action, Action::Dial(..))), "it tries again");
    assert!(
        !actions.iter().any(|action| matches!(action, Action::Idle)),
        "going dormant would break that off"
    );
    assert!(!rig.swarm.may_sleep());
}

#[test]
fn whoever_came_encrypted_is_dialled_encrypted() {
    let mut rig = Rig::new(4, &[]);
    for (n, encryption) in [(1, Encryption::None), (2, Encryption::Handshake), (3, Encryption::Rc4)] {
        let info = PeerInfo { encryption, ..Rig::info(n, Reserved::EXTENSIONS) };
        let key = rig.swarm.connect(rig.now, info).unwrap();
        rig.extend(key, |said| said.port = Some(1000 + u16::from(n)));
        rig.wait(secs(20));
        rig.leaves(key);
    }
    rig.actions();
    rig.wait(secs(100));
    let dialled =
        |action| if let Action::Dial(addr, greeting) = action { Some((addr, greeting)) } else { None };
    let mut dialled: Vec<_> = rig.actions().into_iter().filter_map(dialled).collect();
    dialled.sort_unstable_by_key(|(addr, _)| *addr);
    let wanted = [(1, None), (2, Some(Greeting::Encrypted)), (3, Some(Greeting::Encrypted))];
    let at = |n: u8| SocketAddr::new(addr(n).ip(), 1000 + u16::from(n));
    assert_eq!(dialled, wanted.map(|(n, greeting)| (at(n), greeting)));
}

#[test]
fn a_failed_dial_makes_room_for_the_next() {
    let mut rig = Rig::new(4, &[]);
    rig.swarm.add_candidates(rig.now, (1..=30).map(addr), Source::Tracker);
    rig.wait(secs(1));
    let first = dials(&mut rig);
    for addr in &first {
        rig.swarm.on_dial_failed(rig.now, *addr);
    }
    rig.wait(secs(1));
    let second = dials(&mut rig);
    assert!(!second.is_empty() && second.iter().all(|addr| !first.contains(addr)));
}

#[test]
fn a_dial_that_got_no_turn_is_tried_again_however_often() {
    let mut rig = Rig::new(4, &[]);
    rig.swarm.add_candidates(rig.now, [addr(1)], Source::Tracker);
    for _ in 0..9 {
        rig.wait(secs(100));
        assert_eq!(dials(&mut rig), [addr(1)]);
        rig.swarm.on_dial_postponed(rig.now, addr(1));
    }
}

#[test]
fn a_dial_matters_by_who_named_the_address_and_how_few_sources_there_are() {
    let mut rig = Rig::new(4, &[]);
    rig.swarm.add_candidates(rig.now, [addr(1)], Source::User);
    rig.swarm.add_candidates(rig.now, [addr(2)], Source::Tracker);
    (11..15).for_each(|n| _ = rig.plain(n));
    assert_eq!((rig.swarm.dial_lane(addr(1)), rig.swarm.dial_lane(addr(2))), (Lane::Named, Lane::First));
    rig.plain(15);
    assert_eq!((rig.swarm.dial_lane(addr(1)), rig.swarm.dial_lane(addr(2))), (Lane::Named, Lane::Rest));
    let mut seed = Rig::new(1, &[0]);
    seed.swarm.add_candidates(seed.now, [addr(2)], Source::Tracker);
    assert_eq!(seed.swarm.dial_lane(addr(2)), Lane::Rest);
}

#[test]
fn whom_a_new_filter_has_goes_and_is_neither_dialled_nor_let_in() {
    let mut rig = Rig::new(4, &[]);
    let (gone, kept) = (rig.plain(1), rig.plain(2));
    rig.swarm.add_candidates(rig.now, [addr(3), addr(4)], Source::Tracker);
    rig.woken();
    let mut filter = Builder::default();
    [1, 3].into_iter().for_each(|n| filter.block(addr(n).ip(), addr(n).ip()));
    rig.swarm.set_ip_filter(Arc::new(filter.build()));
    rig.check();
    assert_eq!((rig.closing(gone), rig.closing(kept)), (Some(CloseReason::Filtered), None));
    assert_eq!(rig.woken(), [gone]);
    assert_eq!(rig.count(|action| matches!(action, Action::Filtered(1))), 1);
    rig.wait(secs(1));
    assert_eq!(dials(&mut rig), [addr(4)]);
    let refused = rig.swarm.connect(rig.now, Rig::info(3, Reserved::default()));
    assert_eq!(refused.expect_err("it is filtered"), CloseReason::Filtered);
}

#[test]
fn no_more_connections_than_the_limit_and_none_to_ourselves() {
    let mut rig = Rig::with(4, &[], &[], 2);
    rig.plain(1);
    rig.plain(2);
    let refused = |rig: &mut Rig, info| rig.swarm.connect(rig.now, info).expect_err("not wanted");
    assert_eq!(refused(&mut rig, Rig::info(3, Reserved::default())), CloseReason::Full);
    let mut rig = Rig::new(4, &[]);
    rig.plain(1);
    assert_eq!(refused(&mut rig, Rig::info(1, Reserved::default())), CloseReason::Duplicate);
    let mut ourselves = Rig::info(2, Reserved::default());
    ourselves.id = PeerId([1; 20]);
    assert_eq!(refused(&mut rig, ourselves), CloseReason::Ourselves);
}

#[test]
fn two_complete_sides_part() {
    let mut rig = Rig::new(2, &[0, 1]);
    let (seed, half) = (rig.fast(1), rig.fast(2));
    rig.says(seed, &Message::HaveAll);
    rig.says_bits(half, &[0]);
    assert_eq!(rig.closing(seed), Some(CloseReason::BothComplete));
    assert_eq!(rig.closing(half), None);
    rig.says(half, &Message::Have(wgo_proto::PieceIndex(1)));
    assert_eq!(rig.closing(half), Some(CloseReason::BothComplete));
}

#[test]
fn our_seeds_are_let_go_when_we_finish_and_the_others_stay() {
    let mut rig = Rig::new(2, &[]);
    let (seed, empty) = (rig.seed(1), rig.fast(2));
    rig.says(empty, &Message::HaveNone);
    rig.serve_all(seed);
    assert_eq!(rig.closing(seed), Some(CloseReason::BothComplete));
    assert_eq!(rig.closing(empty), None);
    assert!(rig.woken().contains(&seed));
}

#[test]
fn a_peer_of_no_use_goes_when_places_are_short_but_gets_time_to_speak() {
    let mut rig = Rig::with(2, &[0, 1], &[], 1);
    let peer = rig.fast(1);
    rig.says(peer, &Message::HaveNone);
    rig.wait(secs(20));
    assert_eq!(rig.closing(peer), None, "it may become interested yet");
    rig.wait(secs(20));
    assert_eq!(rig.closing(peer), Some(CloseReason::Useless));
}

#[test]
fn a_task_whose_socket_takes_nothing_still_hears_that_it_must_close() {
    let mut rig = Rig::new(2, &[0]);
    let peer = rig.fast(1);
    assert_eq!(rig.woken(), [peer], "asked to send the greeting, which it can't");
    rig.swarm.close_all(&CloseReason::Stopped);
    assert_eq!(rig.woken(), [peer]);
}

#[test]
fn a_closing_peer_is_not_listened_to() {
    let mut rig = Rig::new(2, &[]);
    let peer = rig.seed(1);
    rig.swarm.close_all(&CloseReason::Stopped);
    let asked = rig.requests(peer);
    assert!(!asked.is_empty());
    assert!(rig.sends(peer, asked[0].0, asked[0].1).is_none());
    assert_eq!(rig.swarm.held_blocks(), 0);
}

#[test]
fn a_torrent_without_work_says_so_once_until_someone_comes() {
    let mut rig = Rig::new(1, &[0]);
    let idle = |rig: &mut Rig| rig.count(|a| matches!(a, Action::Idle));
    rig.wait(IDLE_AFTER * 3);
    assert_eq!(idle(&mut rig), 1);
    assert!(rig.swarm.may_sleep());
    let peer = rig.fast(1);
    assert!(!rig.swarm.may_sleep());
    rig.wait(IDLE_AFTER * 2);
    assert_eq!(idle(&mut rig), 0, "not while someone is connected");
    rig.leaves(peer);
    rig.wait(IDLE_AFTER - secs(1));
    assert_eq!(idle(&mut rig), 0);
    rig.wait(secs(2));
    assert_eq!(idle(&mut rig), 1);
}

#[test]
fn leaving_gives_requests_and_copies_back() {
    let mut rig = Rig::new(2, &[]);
    let (first, second) = (rig.seed(1), rig.fast(2));
    let asked = rig.requests(first);
    assert!(!asked.is_empty());
    rig.says_bits(second, &[0]);
    rig.says(second, &Message::Unchoke);
    rig.leaves(first);
    assert_eq!(rig.swarm.availability(), [1, 0]);
    rig.wait(secs(1));
    assert!(rig.requests(second).iter().all(|(piece, _)| *piece == 0));
    rig.swarm.disconnect(rig.now, first, CloseReason::Stopped);
    assert_eq!(rig.swarm.availability(), [1, 0], "a key that is gone is no matter");
}

/// No peer may be a bridge between those of two private trackers (BEP 27).
#[test]
fn when_a_private_torrent_moves_to_another_tracker_all_peers_of_the_old_one_go() {
    let announces = |rig: &mut Rig| -> Vec<_> {
        let announced = |action| if let Action::Announce(announce) = action { Some(announce) } else { None };
        rig.actions().into_iter().filter_map(announced).collect()
    };
    let mut rig = Rig::with(4, &[], &["http://a/announce", "http://b/announce"], 50);
    rig.swarm.trackers.set_policy(Policy::OneTracker);
    rig.wait(secs(1));
    let first = announces(&mut rig);
    assert_eq!(first.len(), 1, "only one is asked");
    rig.swarm.on_announced(rig.now, first[0].id, &Outcome::default(), &[addr(1), addr(2)]);
    let friend = rig.fast(3);
    rig.wait(secs(1));
    assert_eq!(dials(&mut rig).len(), 2);
    assert_eq!(rig.closing(friend), None);
    rig.swarm.announce_now(rig.now);
    rig.wait(secs(40));
    let again = announces(&mut rig);
    rig.swarm.on_announce_failed(rig.now, again[0].id, "gone", Retry::BackOff);
    rig.wait(secs(1));
    let second = announces(&mut rig);
    assert_ne!(second[0].url, first[0].url);
    assert_eq!(rig.closing(friend), None, "nobody has answered yet");
    rig.swarm.on_announced(rig.now, second[0].id, &Outcome::default(), &[addr(4)]);
    assert_eq!(rig.closing(friend), Some(CloseReason::OtherTracker));
    let mut dialled = Rig::info(1, Reserved::default());
    dialled.direction = Direction::Outgoing;
    assert_eq!(rig.swarm.connect(rig.now, dialled), Err(CloseReason::OtherTracker));
    // The old one is told good-bye. Whoever it names now stays a stranger, as does whom it names too late.
    let farewell = announces(&mut rig);
    assert_eq!((farewell.len(), &farewell[0].url), (1, &first[0].url));
    rig.swarm.on_announced(rig.now, again[0].id, &Outcome::default(), &[addr(5)]);
    rig.swarm.on_announced(rig.now, farewell[0].id, &Outcome::default(), &[addr(6)]);
    rig.wait(secs(1));
    assert_eq!(dials(&mut rig), [addr(4)]);
}
