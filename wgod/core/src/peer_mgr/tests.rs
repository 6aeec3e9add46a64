//! The peer manager's rules one by one.
mod greeting;
mod operations;

use std::collections::BTreeSet;

use super::*;

fn secs(n: u64) -> Time {
    Time::from_start(Duration::from_secs(n))
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A peer with an address of its own.
fn peer(n: u32) -> SocketAddr {
    SocketAddr::from(([20, (n >> 16) as u8, (n >> 8) as u8, n as u8], 6881))
}

fn id(n: u32) -> PeerId {
    let mut id = [b'-'; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

const OWN_ID: PeerId = PeerId(*b"-WG0100-ourselvesour");

fn manager(limits: Limits) -> PeerMgr {
    let mut manager = PeerMgr::new(limits, OWN_ID, 1);
    manager.set_own(&[at("9.8.7.6:6868"), at("[2001:db8::1]:6868")]);
    manager
}

fn dial_all(manager: &mut PeerMgr, now: Time) -> Vec<SocketAddr> {
    std::iter::from_fn(|| manager.next_dial(now)).collect()
}

#[test]
fn only_new_plausible_foreign_addresses_become_candidates() {
    let mut peers = manager(Limits::default());
    peers.ban(secs(0), "6.6.6.6".parse().unwrap(), Reason::BadPiece);
    for (addr, source, expected) in [
        ("1.2.3.4:5", Source::Tracker, Added::New),
        ("1.2.3.4:5", Source::Pex, Added::Known),
        ("[::ffff:1.2.3.4]:5", Source::Pex, Added::Known),
        ("1.2.3.4:0", Source::User, Added::Invalid),
        ("127.0.0.1:5", Source::Pex, Added::Invalid),
        ("127.0.0.1:5", Source::Tracker, Added::New),
        ("9.8.7.6:6868", Source::Dht, Added::Own),
        ("9.8.7.6:6869", Source::Dht, Added::New),
        ("6.6.6.6:1", Source::Tracker, Added::Banned),
    ] {
        assert_eq!(peers.add(secs(0), at(addr), source), expected, "{addr}");
        peers.check_invariants();
    }
}

#[test]
fn dials_go_by_operator_then_failures_then_canonical_priority() {
    let mut peers = manager(Limits { half_open: 100, ..Limits::default() });
    (0..20).for_each(|n| assert_eq!(peers.add(secs(0), peer(n), Source::Tracker), Added::New));
    peers.add(secs(0), peer(7), Source::User);
    let first = dial_all(&mut peers, secs(0));
    assert_eq!((first.len(), first[0]), (20, peer(7)));
    let priorities: Vec<_> = first[1..].iter().map(|&addr| peers.priority(addr)).collect();
    assert!(priorities.is_sorted_by(|a, b| a >= b) && priorities[0] > 0, "{priorities:?}");
    first[..5].iter().for_each(|&addr| peers.on_failed(secs(1), addr));
    for &addr in &first[5..] {
        let n = u32::from_be_bytes(addr.ip().to_string().parse::<std::net::Ipv4Addr>().unwrap().octets());
        peers.on_connected(secs(1), addr, Origin::Outgoing, id(n)).unwrap();
        peers.on_closed(secs(100), addr, Why::Ended);
    }
    let second = dial_all(&mut peers, secs(1000));
    assert_eq!(second[0], first[0], "the operator's comes first however often it failed");
    assert_eq!(second[1..16], first[5..]);
    assert_eq!(second[16..], first[1..5]);
}

#[test]
fn half_open_and_connection_limits_hold() {
    let mut peers = manager(Limits { half_open: 3, connections: 5, ..Limits::default() });
    (0..20).for_each(|n| _ = peers.add(secs(0), peer(n), Source::Tracker));
    let dialed = dial_all(&mut peers, secs(0));
    assert_eq!(dialed.len(), 3);
    for (n, &addr) in (0..).zip(&dialed) {
        peers.on_connected(secs(0), addr, Origin::Outgoing, id(n)).unwrap();
    }
    assert_eq!(peers.poll_timeout(), Some(Time::ZERO), "there is room for two more");
    assert_eq!(dial_all(&mut peers, secs(0)).len(), 2);
    assert_eq!(peers.poll_timeout(), None, "there is no room");
    for n in 100..102 {
        peers.on_connected(secs(0), peer(n), Origin::Incoming, id(n)).unwrap();
    }
    assert_eq!(peers.on_connected(secs(0), peer(102), Origin::Incoming, id(102)), Err(Refusal::Full));
    assert!(peers.contender(secs(0)).is_some_and(|contender| contender.priority > 0));
    let counts = peers.counts();
    assert_eq!((counts.connected, counts.incoming, counts.dialing), (5, 2, 2));
    peers.check_invariants();
}

#[test]
fn failures_back_off_and_the_fifth_drops_whom_the_operator_did_not_name() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(1), Source::Pex);
    peers.add(secs(0), peer(2), Source::User);
    let mut now = secs(0);
    let mut tries = [Vec::new(), Vec::new()];
    for _ in 0..12 {
        for addr in dial_all(&mut peers, now) {
            tries[usize::from(addr == peer(2))].push(now.since_start().as_secs());
            peers.on_failed(now, addr);
        }
        peers.check_invariants();
        assert!(peers.poll_timeout().is_some_and(|at| at > now));
        now = peers.poll_timeout().unwrap();
    }
    assert_eq!(tries[0].len(), 5);
    for (pair, expected) in tries[0].windows(2).zip([30, 60, 120, 240]) {
        let gap = pair[1] - pair[0];
        assert!((expected * 3 / 4 - 1..=expected * 5 / 4 + 1).contains(&gap), "{tries:?}");
    }
    assert!(tries[1].len() > 5);
    assert_eq!((peers.counts().candidates, peers.add(secs(0), peer(1), Source::Tracker)), (1, Added::New));
}

#[test]
fn a_full_table_lets_go_of_the_worst_untried_and_keeps_the_operators() {
    let mut peers = manager(Limits { candidates: 10, ..Limits::default() });
    peers.add(secs(0), peer(0), Source::User);
    let all: Vec<_> = (0..200).map(peer).collect();
    for &addr in &all {
        peers.add(secs(0), addr, Source::Pex);
        peers.check_invariants();
    }
    let mut best: Vec<_> = all[1..].iter().map(|&addr| peers.priority(addr)).collect();
    best.sort_unstable_by_key(|&priority| std::cmp::Reverse(priority));
    assert_eq!(peers.counts().candidates, 9, "one source has three quarters at most");
    let other = all.iter().copied().find(|&addr| peers.priority(addr) == best[100]).unwrap();
    assert_eq!(peers.add(secs(0), other, Source::Tracker), Added::New, "others have their places");
    let kept = dial_all(&mut peers, secs(0));
    assert_eq!((kept.len(), kept[0]), (10, peer(0)));
    let kept: Vec<_> = kept[1..].iter().map(|&addr| peers.priority(addr)).collect();
    assert_eq!(kept[..8], best[..8]);
    assert_eq!(kept[8], best[100]);
    for source in [Source::Pex, Source::Dht] {
        assert_eq!(peers.add(secs(0), peer(500), source), Added::Full, "everyone is in use");
    }
}

#[test]
fn a_flood_from_one_source_leaves_room_for_the_others() {
    let mut peers = manager(Limits::default());
    let flood =
        (0..100_000u32).map(|n| SocketAddr::from(([30 + (n >> 16) as u8, (n >> 8) as u8, n as u8, 1], 1)));
    flood.for_each(|addr| _ = peers.add(secs(0), addr, Source::Pex));
    peers.check_invariants();
    assert_eq!(peers.counts().candidates, 3000);
    assert!((0..1000).all(|n| peers.add(secs(0), peer(n), Source::Tracker) == Added::New));
    assert_eq!(peers.counts().candidates, 4000);
}

#[test]
fn a_tenth_of_the_places_is_kept_for_those_who_come() {
    let mut peers = manager(Limits { connections: 20, half_open: 100, ..Limits::default() });
    (0..40).for_each(|n| _ = peers.add(secs(0), peer(n), Source::Tracker));
    let dialed = dial_all(&mut peers, secs(0));
    assert_eq!(dialed.len(), 18);
    for (n, &addr) in (0..).zip(&dialed) {
        peers.on_connected(secs(0), addr, Origin::Outgoing, id(n)).unwrap();
    }
    assert_eq!((peers.next_dial(secs(0)), peers.contenders(secs(0), 100)), (None, 22));
    for n in 100..102 {
        peers.on_connected(secs(0), peer(n), Origin::Incoming, id(n)).unwrap();
    }
    assert_eq!(peers.on_connected(secs(0), peer(102), Origin::Incoming, id(102)), Err(Refusal::Full));
    peers.on_closed(secs(100), dialed[0], Why::Ended);
    assert!(peers.next_dial(secs(100)).is_some());
    peers.check_invariants();
}

#[test]
fn a_dial_that_got_no_turn_is_tried_later_and_not_held_against_the_address() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(1), Source::Tracker);
    for _ in 0..2 * MAX_FAILURES {
        let now = peers.poll_timeout().unwrap_or_default();
        assert_eq!(peers.next_dial(now), Some(peer(1)));
        peers.on_postponed(now, peer(1));
        assert!(peers.poll_timeout().is_some_and(|at| at > now + RECONNECT / 2));
    }
    assert_eq!(peers.contenders(secs(9000), 9), 1, "it never failed");
    assert_eq!((peers.source(peer(1)), peers.is_named(peer(1))), (Some(Source::Tracker), false));
    peers.check_invariants();
}

#[test]
fn what_the_filter_has_is_neither_dialled_nor_let_in() {
    let filter = |first: &str, last: &str| {
        let mut builder = crate::ip_filter::Builder::default();
        builder.block(first.parse().unwrap(), last.parse().unwrap());
        Arc::new(builder.build())
    };
    let mut peers = manager(Limits::default());
    (1..4).for_each(|n| assert_eq!(peers.add(secs(0), peer(n), Source::Tracker), Added::New));
    let under_way = peers.next_dial(secs(0)).unwrap();
    peers.set_filter(filter("20.0.0.0", "20.0.0.9"));
    assert_eq!(peers.counts().candidates, 1, "that which is being dialled");
    assert_eq!(peers.on_connected(secs(1), under_way, Origin::Outgoing, id(1)), Err(Refusal::Filtered));
    assert_eq!(peers.on_connected(secs(1), peer(9), Origin::Incoming, id(2)), Err(Refusal::Filtered));
    assert_eq!(peers.add(secs(1), peer(5), Source::User), Added::Filtered);
    assert_eq!(peers.add(secs(1), peer(10), Source::User), Added::New);
    peers.check_invariants();
    peers.set_filter(Arc::default());
    assert_eq!(peers.add(secs(1), peer(5), Source::User), Added::New);
}

#[test]
fn what_we_learnt_of_ourselves_outlives_what_we_are_told() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(2), Source::Tracker);
    dial_all(&mut peers, secs(0));
    assert_eq!(peers.on_connected(secs(0), peer(2), Origin::Outgoing, OWN_ID), Err(Refusal::Myself));
    peers.set_own(&[at("7.7.7.7:1")]);
    for (addr, added) in
        [(peer(2), Added::Own), (at("7.7.7.7:1"), Added::Own), (at("9.8.7.6:6868"), Added::New)]
    {
        assert_eq!(peers.add(secs(1), addr, Source::Dht), added, "{addr}");
    }
    peers.check_invariants();
}

#[test]
fn one_ip_has_one_connection_and_cannot_fill_the_table() {
    let mut peers = manager(Limits::default());
    let port = |port: u16| SocketAddr::from(([20, 0, 0, 1], port));
    let added: Vec<_> = (1..10).map(|n| peers.add(secs(0), port(n), Source::Pex)).collect();
    assert_eq!(added.iter().filter(|&&added| added == Added::New).count(), MAX_OF_IP);
    let dialed = dial_all(&mut peers, secs(0));
    assert_eq!(dialed.len(), 1);
    peers.on_connected(secs(0), dialed[0], Origin::Outgoing, id(1)).unwrap();
    assert_eq!(dial_all(&mut peers, secs(500)), []);
    assert_eq!(peers.on_connected(secs(0), port(99), Origin::Incoming, id(2)), Err(Refusal::SameIp));
    let local = |n: u16| SocketAddr::from(([127, 0, 0, 1], n));
    assert!((1..40).all(|n| peers.add(secs(0), local(n), Source::Tracker) == Added::New));
    assert_eq!(dial_all(&mut peers, secs(501)).len(), 20, "loopback is shared by many");
    peers.set_limits(Limits { one_per_ip: false, ..Limits::default() });
    peers.on_connected(secs(600), port(99), Origin::Incoming, id(2)).unwrap();
    peers.check_invariants();
}

#[test]
fn a_peer_is_connected_once_and_we_never_to_ourselves() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(1), Source::Tracker);
    peers.add(secs(0), peer(2), Source::Tracker);
    dial_all(&mut peers, secs(0));
    peers.on_connected(secs(0), peer(1), Origin::Outgoing, id(1)).unwrap();
    assert_eq!(peers.on_connected(secs(0), peer(9), Origin::Incoming, id(1)), Err(Refusal::SamePeer));
    assert_eq!(peers.on_connected(secs(0), peer(2), Origin::Outgoing, OWN_ID), Err(Refusal::Myself));
    assert_eq!(peers.add(secs(0), peer(2), Source::Tracker), Added::Own);
    peers.on_closed(secs(1), peer(1), Why::Stopping);
    peers.on_connected(secs(2), peer(9), Origin::Incoming, id(1)).unwrap();
    peers.check_invariants();
}

#[test]
fn an_incoming_peer_that_tells_its_port_can_be_dialled_later() {
    let mut peers = manager(Limits::default());
    let remote = SocketAddr::new(peer(1).ip(), 50_000);
    peers.on_connected(secs(0), remote, Origin::Incoming, id(1)).unwrap();
    peers.on_listen_port(secs(1), remote, 6881);
    peers.on_listen_port(secs(1), remote, 7000);
    assert_eq!(peers.add(secs(0), peer(1), Source::Tracker), Added::Known);
    assert_eq!(peers.next_dial(secs(0)), None);
    peers.on_closed(secs(100), remote, Why::Ended);
    assert_eq!(peers.poll_timeout(), Some(secs(160)));
    assert_eq!(peers.next_dial(secs(160)), Some(peer(1)));
    peers.check_invariants();
}

#[test]
fn a_connection_that_ends_at_once_counts_as_a_failure() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(1), Source::Tracker);
    for _ in 0..MAX_FAILURES {
        let now = peers.poll_timeout().unwrap_or_default();
        assert_eq!(peers.next_dial(now), Some(peer(1)));
        peers.on_connected(now, peer(1), Origin::Outgoing, id(1)).unwrap();
        peers.on_closed(now, peer(1), Why::Ended);
    }
    assert_eq!(peers.counts().candidates, 0);
}

#[test]
fn seeds_are_not_dialled_while_we_seed() {
    let mut peers = manager(Limits::default());
    (1..4).for_each(|n| _ = peers.add(secs(0), peer(n), Source::Tracker));
    peers.mark_seed(peer(1), true);
    peers.mark_seed(peer(2), true);
    peers.set_seeding(true);
    assert_eq!(dial_all(&mut peers, secs(0)), [peer(3)]);
    assert_eq!(peers.counts().resting, 2);
    peers.mark_seed(peer(2), false);
    assert_eq!(dial_all(&mut peers, secs(0)), [peer(2)]);
    peers.on_connected(secs(0), peer(2), Origin::Outgoing, id(2)).unwrap();
    peers.on_closed(secs(50), peer(2), Why::BothSeeds);
    assert_eq!(dial_all(&mut peers, secs(5000)), []);
    peers.set_seeding(false);
    assert_eq!(dial_all(&mut peers, secs(5000)).len(), 2);
    peers.check_invariants();
}

#[test]
fn a_ban_closes_forgets_and_refuses() {
    let mut peers = manager(Limits { one_per_ip: false, ..Limits::default() });
    let ip: IpAddr = "2001:db8:5::1".parse().unwrap();
    let near = at("[2001:db8:5::2]:10");
    (1..4)
        .for_each(|port| assert_eq!(peers.add(secs(0), SocketAddr::new(ip, port), Source::Pex), Added::New));
    let (first, second) = (peers.next_dial(secs(0)).unwrap(), peers.next_dial(secs(0)).unwrap());
    peers.on_connected(secs(0), first, Origin::Outgoing, id(1)).unwrap();
    peers.on_connected(secs(0), near, Origin::Incoming, id(2)).unwrap();
    assert_eq!(
        peers.ban(secs(1), ip, Reason::BadPiece),
        BTreeSet::from([first, near]).into_iter().collect::<Vec<_>>()
    );
    assert_eq!(peers.on_connected(secs(2), second, Origin::Outgoing, id(3)), Err(Refusal::Banned));
    peers.on_closed(secs(30), first, Why::Misbehaved);
    peers.on_closed(secs(30), near, Why::Misbehaved);
    assert_eq!(dial_all(&mut peers, secs(9000)), []);
    assert_eq!(peers.counts(), Counts { banned: 1, ..Counts::default() });
    assert_eq!(
        peers.bans(secs(0)).next().map(|(_, ban)| (ban.reason, ban.times)),
        Some((Reason::BadPiece, 1))
    );
    assert!(peers.unban(near.ip()) && !peers.unban(near.ip()));
    assert_eq!(peers.add(secs(0), near, Source::Dht), Added::New);
}

#[test]
fn priorities_follow_our_address_when_it_becomes_known() {
    let mut peers = PeerMgr::new(Limits::default(), OWN_ID, 1);
    (0..50).for_each(|n| _ = peers.add(secs(0), peer(n), Source::Tracker));
    assert_eq!(peers.priority(peer(1)), 0);
    peers.set_own(&[at("127.0.0.1:1"), at("9.8.7.6:6868"), peer(3)]);
    peers.check_invariants();
    assert_eq!(peers.counts().candidates, 49);
    let best = (0..50).filter(|&n| n != 3).map(|n| peers.priority(peer(n))).max();
    let first = peers.next_dial(secs(0)).map(|addr| peers.priority(addr));
    assert_eq!(first, best);
    assert_eq!(
        peers.add(secs(0), at("127.0.0.1:9"), Source::Pex),
        Added::New,
        "we are on loopback ourselves"
    );
}

#[test]
fn what_is_worth_saving_is_what_once_worked() {
    let mut peers = manager(Limits::default());
    (0..10).for_each(|n| _ = peers.add(secs(0), peer(n), Source::Tracker));
    let dialed = dial_all(&mut peers, secs(0));
    peers.on_connected(secs(0), dialed[8], Origin::Outgoing, id(8)).unwrap();
    peers.on_connected(secs(0), dialed[9], Origin::Outgoing, id(9)).unwrap();
    peers.on_closed(secs(60), dialed[9], Why::Ended);
    assert_eq!(peers.worth_saving(3), [dialed[8], dialed[9], dialed[0]]);
}

#[test]
fn what_is_forgotten_is_not_dialled_and_not_connected() {
    let mut peers = PeerMgr::new(Limits::default(), id(1), 1);
    for n in 1..=3 {
        assert_eq!(peers.add(secs(0), peer(n), Source::Tracker), Added::New);
    }
    let first = peers.next_dial(secs(0)).unwrap();
    assert_eq!(peers.on_connected(secs(0), first, Origin::Outgoing, id(10)), Ok(()));
    let (second, third) = (peers.next_dial(secs(0)).unwrap(), peers.next_dial(secs(0)).unwrap());
    peers.forget_all();
    peers.check_invariants();
    assert_eq!((peers.counts().candidates, peers.counts().connected), (0, 1));
    assert_eq!(peers.on_connected(secs(1), second, Origin::Outgoing, id(11)), Err(Refusal::Forgotten));
    peers.on_failed(secs(1), third);
    peers.on_closed(secs(1), first, Why::Ended);
    assert_eq!(peers.next_dial(secs(10_000)), None);
    // Named again, they are as any.
    assert_eq!(peers.add(secs(2), second, Source::Tracker), Added::New);
    assert_eq!(peers.next_dial(secs(2)), Some(second));
    assert_eq!(peers.on_connected(secs(3), second, Origin::Outgoing, id(11)), Ok(()));
    peers.check_invariants();
}

#[test]
fn who_is_named_again_while_a_forgotten_dial_goes_on_waits_for_its_end() {
    let mut peers = PeerMgr::new(Limits::default(), id(1), 1);
    peers.add(secs(0), peer(1), Source::Tracker);
    let addr = peers.next_dial(secs(0)).unwrap();
    peers.forget_all();
    assert_eq!(peers.add(secs(1), addr, Source::Tracker), Added::New);
    assert_eq!(peers.next_dial(secs(1)), None);
    assert_eq!(peers.on_connected(secs(2), addr, Origin::Outgoing, id(11)), Err(Refusal::Forgotten));
    peers.check_invariants();
    assert_eq!(peers.next_dial(secs(100)), Some(addr));
    assert_eq!(peers.on_connected(secs(101), addr, Origin::Outgoing, id(11)), Ok(()));
}

#[test]
fn neighbours_do_not_fill_the_table() {
    let mut peers = manager(Limits::default());
    let added = |peers: &mut PeerMgr, n, source| peers.add(secs(0), peer(n), source);
    assert!((0..MAX_LSD as u32).all(|n| added(&mut peers, n, Source::Lsd) == Added::New));
    assert_eq!(added(&mut peers, 1000, Source::Lsd), Added::Full);
    assert_eq!(added(&mut peers, 1, Source::Lsd), Added::Known);
    assert_eq!(added(&mut peers, 1000, Source::Tracker), Added::New);
    peers.check_invariants();
}
