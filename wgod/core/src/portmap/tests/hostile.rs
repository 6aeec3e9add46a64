//! A gateway, or somebody with its address, that says anything at all.
use proptest::prelude::*;
use wgo_proto::portmap::upnp::Fault;

use super::*;

/// What it does next.
#[derive(Clone, Debug)]
enum Op {
    /// Says so to us.
    Packet(Vec<u8>),
    /// Says so to all hosts.
    Announce(Vec<u8>),
    /// Answers the request under way, whatever it was, in a plausible form with these figures.
    Answer {
        code: u8,
        epoch: u32,
        external: u16,
        lifetime: u32,
    },
    /// What came of UPnP.
    Upnp(Told),
    Unreachable,
    Link(Option<Link>),
    Pass(u64),
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        Just(Told::Found),
        Just(Told::Done(None)),
        Just(Told::Done(Some(OUTSIDE))),
        prop_oneof![Just(718), Just(725), any::<u16>()]
            .prop_map(|code| Told::Refused(Fault { code, text: String::new() })),
        Just(Told::Silent),
        Just(Told::Failed("no".to_owned())),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let packet = || proptest::collection::vec(any::<u8>(), 0..70);
    let link = prop_oneof![Just(None), Just(Some(LINK)), Just(Some(Link { local: OUTSIDE, ..LINK }))];
    let answer = (0..13_u8, any::<u32>(), any::<u16>(), prop_oneof![Just(0), Just(7200), any::<u32>()]);
    prop_oneof![
        1 => packet().prop_map(Op::Packet),
        1 => packet().prop_map(Op::Announce),
        1 => any::<u8>().prop_map(|epoch| Op::Announce(super::gateway::announced_address(epoch).to_vec())),
        8 => answer.prop_map(|(code, epoch, external, lifetime)| Op::Answer {
            code: if code > 5 { 0 } else { code },
            epoch,
            external,
            lifetime
        }),
        4 => told().prop_map(Op::Upnp),
        1 => Just(Op::Unreachable),
        1 => link.prop_map(Op::Link),
        2 => (0..100_000_u64).prop_map(Op::Pass),
    ]
}

/// The answer to a datagram, with other figures.
fn answer(request: &[u8], code: u8, epoch: u32, external: u16, lifetime: u32) -> Vec<u8> {
    let mut packet = vec![request[0], 0x80 | request[1]];
    if request[0] == 2 {
        packet.extend([0, code]);
        packet.extend(lifetime.to_be_bytes());
        packet.extend(epoch.to_be_bytes());
        packet.extend([0; 12]);
        packet.extend(&request[24..42]);
        packet.extend(external.to_be_bytes());
        packet.extend(OUTSIDE.to_ipv6_mapped().octets());
        return packet;
    }
    packet.extend([0, code]);
    packet.extend(epoch.to_be_bytes());
    match request[1] {
        0 => packet.extend(OUTSIDE.octets()),
        _ => {
            packet.extend(&request[4..6]);
            packet.extend(external.to_be_bytes());
            packet.extend(lifetime.to_be_bytes());
        }
    }
    packet
}

proptest! {
    #[test]
    fn nothing_it_says_makes_us_ask_without_end(ops in proptest::collection::vec(op(), 0..60)) {
        let mut map = PortMap::new(3, &WANTS);
        let mut now = Time::ZERO;
        let mut under_way: Option<Action> = None;
        for op in ops {
            match op {
                Op::Packet(packet) => map.handle_packet(now, &packet),
                Op::Announce(packet) => map.handle_announcement(now, &packet),
                Op::Answer { code, epoch, external, lifetime } => {
                    if let Some(Action::Send(request)) = &under_way {
                        map.handle_packet(now, &answer(request, code, epoch, external, lifetime));
                    }
                }
                Op::Upnp(told) => {
                    if let Some(Action::Find(id) | Action::Call(id, _)) = under_way {
                        map.handle_upnp(now, id, told);
                    }
                }
                Op::Unreachable => map.handle_unreachable(now),
                Op::Link(link) => map.set_link(now, link),
                Op::Pass(millis) => now += Duration::from_millis(millis),
            }
            map.handle_timeout(now);
            let mut actions = 0;
            while let Some(action) = map.poll_action() {
                under_way = Some(action);
                actions += 1;
            }
            prop_assert!(actions <= 1, "{actions} requests at once");
            prop_assert!(map.next_timeout().is_none_or(|at| at > now), "time stands still: {map:?}");
            prop_assert!(map.leases().all(|(_, lease)| lease.external != 0));
            let is_idle = map.link().is_none();
            prop_assert_eq!(is_idle, map.phase() == Phase::Idle);
        }
    }
}

/// It answers at once, each time with a clock that begins anew.
#[test]
fn a_clock_that_always_begins_anew_costs_a_request_every_few_seconds() {
    for version in [0, 2] {
        let mut map = PortMap::new(3, &WANTS);
        let mut now = Time::from_start(secs(100));
        map.set_link(now, Some(LINK));
        let (end, mut asked, mut epoch) = (now + secs(3600), 0, u32::MAX);
        while now < end {
            while let Some(action) = map.poll_action() {
                asked += 1;
                epoch = epoch.wrapping_sub(100_000);
                match &action {
                    Action::Send(request) if request[0] == version => {
                        map.handle_packet(now, &answer(request, 0, epoch, 1234, 7200));
                    }
                    Action::Send(_) => map.handle_unreachable(now),
                    Action::Find(id) | Action::Call(id, _) => map.handle_upnp(now, *id, Told::Silent),
                }
            }
            now = map.next_timeout().unwrap();
            map.handle_timeout(now);
        }
        assert!((100..3600).contains(&asked), "{asked} requests in an hour");
    }
}

#[test]
fn only_the_answer_to_the_request_under_way_counts() {
    let mut map = PortMap::new(3, &WANTS);
    let now = Time::from_start(secs(1));
    map.set_link(now, Some(LINK));
    let Some(Action::Send(request)) = map.poll_action() else { panic!("no request") };
    let good = answer(&request, 0, 5, 81, 7200);
    let change = |at: usize| {
        let mut packet = good.clone();
        packet[at] ^= 1;
        packet
    };
    // The version, the operation, the nonce, the transport, our port.
    for at in [0, 1, 24, 35, 36, 40] {
        map.handle_packet(now, &change(at));
        assert_eq!(map.leases().count(), 0, "byte {at}");
    }
    // Nor is a refusal believed without the nonce.
    let mut refused = answer(&request, 2, 5, 0, 0);
    refused[24] ^= 1;
    map.handle_packet(now, &refused);
    assert_eq!(map.phase(), Phase::Active(Protocol::Pcp));
    map.handle_packet(now, &good);
    assert_eq!(map.leases().count(), 1);
    // The same again answers nothing.
    map.handle_packet(now, &good);
    assert_eq!(map.leases().count(), 1);
}

#[test]
fn leases_of_no_use_are_refusals_and_endless_ones_end() {
    for (lifetime, external, want) in
        [(0, 81, None), (9, 81, None), (7200, 0, None), (u32::MAX, 81, Some(secs(86_400)))]
    {
        let mut map = PortMap::new(3, &WANTS);
        let now = Time::from_start(secs(1));
        map.set_link(now, Some(LINK));
        let Some(Action::Send(request)) = map.poll_action() else { panic!("no request") };
        map.handle_packet(now, &answer(&request, 0, 5, external, lifetime));
        let lease = map.leases().next().map(|(_, lease)| lease.until.unwrap() - lease.since);
        assert_eq!(lease, want, "{lifetime} s of {external}");
    }
}
