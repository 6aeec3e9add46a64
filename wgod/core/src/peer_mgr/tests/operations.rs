//! All rules together under random operations.
use proptest::prelude::*;

use super::*;

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
