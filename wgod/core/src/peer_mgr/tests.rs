//! The peer manager's rules one by one, and all together under random operations.
mod greeting;

use std::collections::BTreeSet;

use proptest::prelude::*;

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
    let kept = dial_all(&mut peers, secs(0));
    assert_eq!((kept.len(), kept[0]), (10, peer(0)));
    let kept: Vec<_> = kept[1..].iter().map(|&addr| peers.priority(addr)).collect();
    assert_eq!(kept, best[..9]);
    assert_eq!(peers.add(secs(0), peer(500), Source::Pex), Added::Full, "everyone is in use");
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
    assert_eq!(peers.bans().next().map(|(_, ban)| (ban.reason, ban.times)), Some((Reason::BadPiece, 1)));
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

#[derive(Clone, Debug)]
enum Op {
    Add(u32, Source),
    Dial,
    Fail(usize),
    Refuse(usize),
    Connect(usize, u32),
    Incoming(u32, u32),
    Listen(usize, u16),
    Close(usize, Why),
    Ban(u32),
    Unban(u32),
    Seed(u32, bool),
    Seeding(bool),
    Own(u32),
    Limits(Limits),
    Wait(u64),
}

/// Few addresses, so that they meet: some share an IP address.
fn some_peer(n: u32) -> SocketAddr {
    SocketAddr::from(([20, 0, 0, (n % 20) as u8], 1 + (n / 20) as u16))
}

fn op() -> impl Strategy<Value = Op> {
    let source = prop::sample::select(vec![Source::User, Source::Tracker, Source::Pex, Source::Dht]);
    let why =
        prop::sample::select(vec![Why::Ended, Why::BothSeeds, Why::Replaced, Why::Misbehaved, Why::Stopping]);
    let limits = (1usize..20, 0usize..5, 0usize..8, any::<bool>()).prop_map(
        |(candidates, half_open, connections, one_per_ip)| Limits {
            candidates,
            half_open,
            connections,
            one_per_ip,
        },
    );
    prop_oneof![
        10 => (0u32..100, source).prop_map(|(n, source)| Op::Add(n, source)),
        10 => Just(Op::Dial),
        4 => (0usize..9).prop_map(Op::Fail),
        4 => (0usize..9).prop_map(Op::Refuse),
        6 => (0usize..9, 0u32..12).prop_map(|(n, id)| Op::Connect(n, id)),
        4 => (0u32..100, 0u32..12).prop_map(|(n, id)| Op::Incoming(n, id)),
        3 => (0usize..9, 1u16..6).prop_map(|(n, port)| Op::Listen(n, port)),
        5 => (0usize..9, why).prop_map(|(n, why)| Op::Close(n, why)),
        1 => (0u32..100).prop_map(Op::Ban),
        2 => (0u32..100).prop_map(Op::Unban),
        3 => (0u32..100, any::<bool>()).prop_map(|(n, seed)| Op::Seed(n, seed)),
        1 => any::<bool>().prop_map(Op::Seeding),
        1 => (0u32..100).prop_map(Op::Own),
        1 => limits.prop_map(Op::Limits),
        6 => (0u64..600).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_sequence_of_events_breaks_the_rules(ops in prop::collection::vec(op(), 1..300)) {
        let mut limits = Limits { candidates: 15, half_open: 3, connections: 6, one_per_ip: true };
        let mut peers = manager(limits);
        let (mut dialing, mut open) = (Vec::<SocketAddr>::new(), Vec::<SocketAddr>::new());
        let mut now = secs(0);
        for op in ops {
            match op {
                Op::Add(n, source) => {
                    let before = peers.counts().candidates;
                    let added = peers.add(now, some_peer(n), source);
                    let after = peers.counts().candidates;
                    prop_assert!(after <= before.max(limits.candidates));
                    prop_assert!(added == Added::New || before == after);
                }
                Op::Dial => match peers.next_dial(now) {
                    None => prop_assert!(peers.poll_timeout().is_none_or(|at| at > now)),
                    Some(addr) => {
                    prop_assert!(!dialing.contains(&addr) && !peers.is_banned(addr.ip()));
                    dialing.push(addr);
                    prop_assert!(dialing.len() <= limits.half_open);
                    prop_assert!(dialing.len() + open.len() <= limits.connections);
                    let same = open.iter().chain(&dialing).filter(|other| other.ip() == addr.ip()).count();
                    prop_assert!(same == 1 || !limits.one_per_ip);
                }},
                Op::Refuse(n) if n < dialing.len() => {
                    peers.on_greeting_refused(now, dialing.swap_remove(n), Greeting::Plain);
                }
                Op::Fail(n) if n < dialing.len() => peers.on_failed(now, dialing.swap_remove(n)),
                Op::Connect(n, peer) if n < dialing.len() => {
                    let addr = dialing.swap_remove(n);
                    if peers.on_connected(now, addr, Origin::Outgoing, id(peer)).is_ok() {
                        open.push(addr);
                    }
                }
                Op::Incoming(n, peer) => {
                    let addr = some_peer(n);
                    if peers.on_connected(now, addr, Origin::Incoming, id(peer)).is_ok() {
                        prop_assert!(!peers.is_banned(addr.ip()));
                        open.push(addr);
                    }
                }
                Op::Listen(n, port) if n < open.len() => peers.on_listen_port(now, open[n], port),
                Op::Close(n, why) if n < open.len() => peers.on_closed(now, open.swap_remove(n), why),
                Op::Ban(n) => {
                    let close = peers.ban(now, some_peer(n).ip(), Reason::Protocol);
                    for addr in close {
                        let position = open.iter().position(|&other| other == addr).expect("an open connection");
                        peers.on_closed(now, open.swap_remove(position), Why::Misbehaved);
                    }
                }
                Op::Unban(n) => _ = peers.unban(some_peer(n).ip()),
                Op::Seed(n, seed) => peers.mark_seed(some_peer(n), seed),
                Op::Seeding(seeding) => peers.set_seeding(seeding),
                Op::Own(n) => peers.set_own(&[at("9.8.7.6:6868"), some_peer(n)]),
                Op::Limits(new) => {
                    limits = new;
                    peers.set_limits(new);
                }
                Op::Wait(n) => now += Duration::from_secs(n),
                Op::Fail(_) | Op::Refuse(_) | Op::Connect(..) | Op::Listen(..) | Op::Close(..) => {}
            }
            peers.check_invariants();
            let counts = peers.counts();
            prop_assert_eq!((counts.dialing, counts.connected), (dialing.len(), open.len()));
        }
        // Nothing is stuck: once all is over, everyone left is dialled in time.
        dialing.into_iter().for_each(|addr| peers.on_failed(now, addr));
        open.into_iter().for_each(|addr| peers.on_closed(now, addr, Why::Stopping));
        peers.set_seeding(false);
        peers.set_limits(Limits { half_open: 200, connections: 200, one_per_ip: false, candidates: 200 });
        let dialed = dial_all(&mut peers, now + Duration::from_secs(3600)).len();
        prop_assert_eq!(dialed, peers.counts().candidates);
    }
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
fn neighbours_do_not_fill_the_table() {
    let mut peers = manager(Limits::default());
    let added = |peers: &mut PeerMgr, n, source| peers.add(secs(0), peer(n), source);
    assert!((0..MAX_LSD as u32).all(|n| added(&mut peers, n, Source::Lsd) == Added::New));
    assert_eq!(added(&mut peers, 1000, Source::Lsd), Added::Full);
    assert_eq!(added(&mut peers, 1, Source::Lsd), Added::Known);
    assert_eq!(added(&mut peers, 1000, Source::Tracker), Added::New);
    peers.check_invariants();
}
