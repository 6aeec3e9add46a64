//! What is tried, what is kept, and when it is done again.
use super::super::forward::LONGEST_TRUST;
use super::gateway::{Gateway, Speaks, announced_address};
use super::*;

use Speaks::{Not, Nothing, Refusing, Unreachable, Well};

fn both(port: u16, protocol: Protocol) -> Vec<(Transport, u16, Protocol)> {
    vec![(Transport::Tcp, port, protocol), (Transport::Udp, port, protocol)]
}

#[test]
fn the_first_protocol_that_works_maps_all_ports_and_the_others_are_left_alone() {
    for (pcp, nat_pmp, upnp, want) in [
        (Well, Well, Well, Protocol::Pcp),
        (Not, Well, Well, Protocol::NatPmp),
        (Nothing, Well, Well, Protocol::NatPmp),
        (Refusing, Well, Well, Protocol::NatPmp),
        (Unreachable, Unreachable, Well, Protocol::Upnp),
        (Nothing, Nothing, Well, Protocol::Upnp),
        (Refusing, Refusing, Well, Protocol::Upnp),
    ] {
        let mut rig = Rig::new(Gateway::new(pcp, nat_pmp, upnp));
        rig.pass(secs(4));
        assert_eq!(rig.mapped(), both(6868, want), "{pcp:?} {nat_pmp:?} {upnp:?}");
        assert_eq!(rig.gateway.mappings.len(), 2);
        assert!(rig.map.leases().all(|(_, lease)| lease.address == Some(OUTSIDE)));
        let standings: Vec<_> = rig.map.standings().collect();
        let after = standings.iter().filter(|(protocol, _)| *protocol > want);
        assert!(after.clone().all(|(_, standing)| **standing == Standing::Untried), "{standings:?}");
        assert_eq!(rig.standing(want), Standing::Working);
    }
}

#[test]
fn a_server_of_another_version_of_pcp_is_asked_by_nat_pmp_at_once() {
    let mut rig = Rig::new(Gateway::new(Nothing, Well, Not));
    assert_eq!(rig.mapped(), []);
    let unsupported_version = [&[2, 0x81, 0, 1][..], &[0; 20]].concat();
    rig.map.handle_packet(rig.now, &unsupported_version);
    rig.settle();
    assert_eq!(rig.mapped(), both(6868, Protocol::NatPmp));
}

#[test]
fn leases_are_renewed_at_half_their_time_and_keep_the_port_that_was_given() {
    for (pcp, nat_pmp, upnp) in [(Well, Not, Not), (Not, Well, Not)] {
        let mut gateway = Gateway::new(pcp, nat_pmp, upnp);
        (gateway.lifetime, gateway.taken) = (600, vec![6868]);
        let mut rig = Rig::new(gateway);
        assert_eq!(rig.mapped().iter().map(|mapped| mapped.1).collect::<Vec<_>>(), [6869, 6869]);
        // It is free again; but others know us by this one.
        rig.gateway.taken.clear();
        let asked = rig.gateway.asked.len();
        rig.pass(secs(299));
        assert_eq!(rig.gateway.asked.len(), asked);
        rig.pass(secs(2));
        assert!(rig.gateway.asked.len() > asked);
        assert!(rig.map.leases().all(|(_, lease)| lease.until == Some(lease.since + secs(600))));
        rig.pass(secs(100_000));
        assert_eq!(rig.mapped().iter().map(|mapped| mapped.1).collect::<Vec<_>>(), [6869, 6869]);
    }
}

#[test]
fn a_gateway_that_forgot_is_told_again() {
    // By its clock, in the next answer: at the renewal after 10 minutes, though the lease lasts for 2 hours.
    for (pcp, nat_pmp) in [(Well, Not), (Not, Well)] {
        let mut rig = Rig::new(Gateway::new(pcp, nat_pmp, Not));
        rig.pass(secs(60));
        rig.gateway.restart(rig.now);
        rig.pass(LONGEST_TRUST);
        assert_eq!(rig.gateway.mappings.len(), 2);
    }
    // UPnP has no such clock, but no mapping is trusted for longer.
    let mut rig = Rig::new(Gateway::new(Not, Not, Well));
    rig.gateway.restart(rig.now);
    rig.pass(LONGEST_TRUST + secs(1));
    assert_eq!(rig.gateway.mappings.len(), 2);
}

#[test]
fn a_gateway_that_says_so_to_all_hosts_is_told_again_within_seconds() {
    let pcp_announced = [&[2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0; 12]].concat();
    for (pcp, nat_pmp, announced) in [(Well, Not, pcp_announced), (Not, Well, announced_address(0).to_vec())]
    {
        let mut rig = Rig::new(Gateway::new(pcp, nat_pmp, Not));
        rig.pass(secs(60));
        let asked = rig.gateway.asked.len();
        rig.gateway.restart(rig.now);
        // It says so ten times (RFC 6886 section 3.2.1).
        for _ in 0..10 {
            rig.map.handle_announcement(rig.now, &announced);
            rig.settle();
            rig.pass(Duration::from_millis(700));
        }
        assert_eq!(rig.gateway.mappings.len(), 2);
        assert!(rig.gateway.asked.len() <= asked + 4, "once for all of them: {:?}", rig.gateway.asked);
    }
}

#[test]
fn another_address_outside_is_noticed_when_it_is_announced() {
    let mut rig = Rig::new(Gateway::new(Not, Well, Not));
    rig.pass(secs(60));
    let asked = rig.gateway.asked.len();
    let mut other = announced_address(0);
    // Its clock runs on, and its address is another.
    other[4..8].copy_from_slice(&1060_u32.to_be_bytes());
    rig.map.handle_announcement(rig.now, &other);
    rig.settle();
    assert_eq!(rig.gateway.asked.len(), asked, "that is the address we know");
    other[11] ^= 1;
    rig.map.handle_announcement(rig.now, &other);
    rig.settle();
    assert_eq!(rig.gateway.asked.len(), asked + 3, "the address, and both mappings");
}

#[test]
fn another_gateway_or_address_of_ours_begins_anew() {
    let mut rig = Rig::new(Gateway::new(Well, Not, Not));
    rig.map.set_link(rig.now, Some(LINK));
    assert!(!rig.mapped().is_empty(), "the same as before changes nothing");
    rig.gateway = Gateway::new(Not, Well, Not);
    let moved = Link { local: Ipv4Addr::new(192, 168, 2, 9), ..LINK };
    rig.map.set_link(rig.now, Some(moved));
    assert!(rig.mapped().is_empty());
    rig.settle();
    assert_eq!(rig.mapped(), both(6868, Protocol::NatPmp));
    rig.map.set_link(rig.now, None);
    assert!(rig.mapped().is_empty() && rig.map.phase() == Phase::Idle);
    assert_eq!(rig.map.next_timeout(), None);
    let asked = rig.gateway.asked.len();
    rig.pass(secs(100_000));
    assert_eq!(rig.gateway.asked.len(), asked);
}

#[test]
fn where_nothing_answers_it_is_asked_more_and_more_rarely_and_heals() {
    let mut rig = Rig::new(Gateway::new(Nothing, Nothing, Nothing));
    rig.pass(secs(4));
    assert!(matches!(rig.map.phase(), Phase::Resting { .. }), "{:?}", rig.map.phase());
    assert!(Protocol::ALL.into_iter().all(|protocol| rig.standing(protocol) == Standing::Silent));
    let first = rig.gateway.asked.len();
    assert_eq!(first, 7, "three times PCP and NAT-PMP, one search");
    rig.pass(secs(24 * 3600));
    let a_day = rig.gateway.asked.len() / first;
    assert!((25..40).contains(&a_day), "{a_day} times in a day");
    rig.gateway.nat_pmp = Well;
    rig.pass(secs(3610));
    assert_eq!(rig.mapped(), both(6868, Protocol::NatPmp));
}

#[test]
fn one_that_restarts_into_something_else_is_asked_again_and_keeps_what_it_gave_meanwhile() {
    let mut rig = Rig::new(Gateway::new(Well, Not, Well));
    rig.gateway.pcp = Unreachable;
    rig.gateway.nat_pmp = Unreachable;
    rig.pass(LONGEST_TRUST + secs(32));
    assert!(matches!(rig.map.phase(), Phase::Resting { .. }), "{:?}", rig.map.phase());
    assert_eq!(rig.mapped(), both(6868, Protocol::Pcp), "their time has not run out");
    rig.pass(secs(31));
    assert_eq!(rig.mapped(), both(6868, Protocol::Upnp));
}

#[test]
fn a_lease_that_is_not_renewed_ends() {
    let mut rig = Rig::new(Gateway::new(Well, Not, Not));
    rig.gateway.pcp = Nothing;
    rig.pass(secs(7200));
    assert!(rig.mapped().is_empty());
    // Refused from then on, it also ends.
    let mut rig = Rig::new(Gateway::new(Well, Not, Not));
    rig.gateway.pcp = Refusing;
    rig.pass(secs(7199));
    assert!(!rig.mapped().is_empty() && rig.map.refusals().count() == 2);
    rig.pass(secs(40));
    assert!(rig.mapped().is_empty());
}

#[test]
fn one_port_may_be_refused_and_the_other_stay_mapped() {
    let mut gateway = Gateway::new(Well, Not, Not);
    gateway.no_udp = true;
    let mut rig = Rig::new(gateway);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 6868, Protocol::Pcp)]);
    let refusals: Vec<_> = rig.map.refusals().map(|(want, why)| (want.transport, why.to_owned())).collect();
    assert_eq!(refusals, [(Transport::Udp, "it is out of resources".to_owned())]);
    rig.gateway.no_udp = false;
    rig.pass(REFUSED_PAUSE);
    assert_eq!(rig.mapped(), both(6868, Protocol::Pcp));
    assert_eq!(rig.map.refusals().count(), 0);
}

#[test]
fn by_upnp_another_port_is_asked_for_where_one_is_taken_and_leases_may_be_for_ever() {
    let mut gateway = Gateway::new(Not, Not, Well);
    (gateway.taken, gateway.only_permanent) = (vec![6868], true);
    let mut rig = Rig::new(gateway);
    let mapped = rig.mapped();
    assert!(
        mapped.len() == 2 && mapped.iter().all(|mapped| (10_000..60_000).contains(&mapped.1)),
        "{mapped:?}"
    );
    assert!(rig.map.leases().all(|(_, lease)| lease.until.is_none()));
    rig.pass(secs(100_000));
    assert_eq!(rig.mapped(), mapped);
}

#[test]
fn a_upnp_gateway_that_takes_no_port_at_all_is_given_up() {
    let mut gateway = Gateway::new(Not, Not, Well);
    gateway.taken = (0..=u16::MAX).collect();
    let rig = Rig::new(gateway);
    assert!(matches!(rig.map.phase(), Phase::Resting { .. }), "{:?}", rig.map.phase());
    assert_eq!(rig.standing(Protocol::Upnp), Standing::Refused("error 718 (no)".to_owned()));
    assert!(rig.gateway.asked.len() < 20);
}

#[test]
fn a_upnp_service_that_moved_is_looked_for_again() {
    let mut rig = Rig::new(Gateway::new(Not, Not, Well));
    let finds = |rig: &Rig| rig.gateway.asked.iter().filter(|asked| asked.1 == "find").count();
    assert_eq!(finds(&rig), 1);
    rig.gateway.upnp = Nothing;
    rig.pass(LONGEST_TRUST + secs(1));
    assert_eq!(finds(&rig), 2);
    rig.gateway.upnp = Well;
    rig.pass(secs(31));
    assert_eq!((finds(&rig), rig.gateway.mappings.len()), (3, 2));
}

#[test]
fn at_the_end_everything_is_taken_back() {
    for (pcp, nat_pmp, upnp) in [(Well, Not, Not), (Not, Well, Not), (Not, Not, Well)] {
        let mut rig = Rig::new(Gateway::new(pcp, nat_pmp, upnp));
        assert_eq!(rig.gateway.mappings.len(), 2);
        let actions = rig.map.close();
        assert_eq!(actions.len(), 2);
        for action in &actions {
            rig.gateway.carry_out(rig.now, action, &mut rig.map);
        }
        assert!(rig.gateway.mappings.is_empty(), "{:?}", rig.gateway.mappings);
        assert!(rig.map.close().is_empty() && rig.map.next_timeout().is_none());
    }
    assert!(Rig::new(Gateway::new(Not, Not, Not)).map.close().is_empty());
}
