//! A real router's miniupnpd lets peers in to wgod: by each protocol, at another port, again when it has forgotten,
//! and no longer when wgod has ended.
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use wgo_api::result::{MappedPort, MappingProtocol, MappingState, ProtocolState};
use wgo_proto::tracker::Event;
use wgo_tests::gateway::{FRONT, Gateway, INSIDE, NEIGHBOUR, OUTSIDE, ROUTER, Speaks};
use wgo_tests::peers::{Kind, wait_complete};
use wgo_tests::tracker::Over;
use wgo_tests::wait::{SOON, TRANSFER, throughout, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Tracker};

/// The port that wgod listens on.
const PORT: u16 = 40_001;
/// What a look around and a few requests take, on a busy machine.
const NOTICED: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings { args: vec!["--port".to_owned(), PORT.to_string()], ..Settings::default() }
}

/// Waits until the port is mapped.
#[track_caller]
fn wait_mapped(daemon: &Daemon) -> MappedPort {
    until("the port is mapped", NOTICED, || {
        let mapping = daemon.status().port_mapping;
        (mapping.state == MappingState::Mapped).then(|| mapping.ports[0].clone())
    })
}

#[track_caller]
fn wait_state(daemon: &Daemon, state: MappingState) {
    until(&format!("port mapping is {state:?}"), NOTICED, || {
        (daemon.status().port_mapping.state == state).then_some(())
    });
}

/// Whether somebody outside gets in.
fn gets_in(gateway: &Gateway, external: u16) -> bool {
    let addr = gateway.front(external);
    gateway.outside(move || TcpStream::connect_timeout(&addr, Duration::from_secs(2)).is_ok())
}

/// A leecher outside gets everything from wgod inside, through a port that isn't wgod's own.
fn lets_in(test: &str, speaks: Speaks, protocol: MappingProtocol) {
    let Some(net) = Net::required(test) else { return };
    let Some(mut gateway) = Gateway::before(&net, test) else { return };
    gateway.start();
    gateway.take(PORT);
    gateway.speak(speaks);
    let tracker = gateway.outside(|| Tracker::start(IpAddr::V4(OUTSIDE), &[]));
    let mut daemon = Daemon::with(settings());
    let port = wait_mapped(&daemon);
    assert_eq!((port.protocol, port.port, port.reachable), (protocol, PORT, true), "{port:?}");
    assert_eq!(port.external_ip, Some(FRONT.to_string()));
    let external = port.external_port;
    assert_ne!(external, PORT, "that one is the neighbour's");
    assert!(gateway.maps(external, (INSIDE, PORT)), "{}", gateway.rules());
    assert_eq!(daemon.status().external, [FRONT.to_string()], "the gateway's word is a vote");

    let payload = Payload::multi("shared", 32_768, &[("a.bin", 700_000), ("b.txt", 5)]);
    let torrent = Maker::new(&payload).tier([tracker.url(Over::Http)]).make();
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    payload.write(ours.path());
    let id = daemon.add(&torrent, ours.path(), &[]);
    daemon.wait_seeding(&id);
    until("the tracker hears of it", SOON, || {
        (tracker.count(torrent.hash, Event::Started) > 0).then_some(())
    });
    let told: Vec<u16> = tracker.heard().iter().map(|heard| heard.announce.port).collect();
    assert!(told.iter().all(|port| *port == external), "{told:?} instead of {external}");
    tracker.name(&[gateway.front(external)]);
    let is_there = gateway.outside(|| {
        let Some(mut leecher) = Kind::Libtorrent.start(test, IpAddr::V4(OUTSIDE)) else { return false };
        leecher.add(&torrent, theirs.path());
        wait_complete(leecher.as_mut(), &torrent);
        true
    });
    if is_there {
        payload.assert_equals(theirs.path());
    }

    assert!(daemon.terminate().success());
    assert!(!gateway.maps(external, (INSIDE, PORT)), "{}", gateway.rules());
    assert!(gateway.maps(PORT, (NEIGHBOUR, PORT)), "what others mapped is theirs: {}", gateway.rules());
    assert!(daemon.log().contains("took back what the gateway mapped"), "{}", daemon.log());
}

#[test]
fn by_pcp() {
    lets_in("portmap::by_pcp", Speaks::Everything, MappingProtocol::Pcp);
}

#[test]
fn by_nat_pmp() {
    lets_in("portmap::by_nat_pmp", Speaks::NoPcp, MappingProtocol::NatPmp);
}

#[test]
fn by_upnp() {
    lets_in("portmap::by_upnp", Speaks::Upnp, MappingProtocol::Upnp);
}

#[test]
fn a_router_that_lost_its_state_is_told_again_and_leases_are_renewed() {
    let test = "portmap::a_router_that_lost_its_state_is_told_again_and_leases_are_renewed";
    let Some(net) = Net::required(test) else { return };
    let Some(mut gateway) = Gateway::before(&net, test) else { return };
    gateway.max_lifetime = 20;
    gateway.start();
    let daemon = Daemon::with(settings());
    let first = wait_mapped(&daemon).expires_at.unwrap();
    // By the router's word it ends after 20 s; two renewals later it is there still.
    until("the lease is renewed twice", NOTICED, || {
        (wait_mapped(&daemon).expires_at.unwrap() > first + 20).then_some(())
    });
    assert!(gets_in(&gateway, PORT));
    gateway.forget();
    assert!(!gateway.maps(PORT, (INSIDE, PORT)));
    gateway.start();
    until("it is mapped again", NOTICED, || gateway.maps(PORT, (INSIDE, PORT)).then_some(()));
    assert!(gets_in(&gateway, PORT));
}

/// Leases last for two hours here: what tells wgod is the router, which says so to all hosts.
#[test]
fn a_router_that_begins_anew_is_heard() {
    let test = "portmap::a_router_that_begins_anew_is_heard";
    for speaks in [Speaks::Everything, Speaks::NoPcp] {
        let Some(net) = Net::required(test) else { return };
        let Some(mut gateway) = Gateway::before(&net, test) else { return };
        gateway.start();
        gateway.speak(speaks);
        let daemon = Daemon::with(settings());
        wait_mapped(&daemon);
        // Its clock is told from the one that begins anew by how long it has run.
        throughout("it stays mapped", Duration::from_secs(8), || gateway.maps(PORT, (INSIDE, PORT)));
        gateway.forget();
        gateway.start();
        gateway.announce();
        until("it is mapped again", NOTICED, || gateway.maps(PORT, (INSIDE, PORT)).then_some(()));
    }
}

#[test]
fn another_address_of_ours_is_mapped_instead() {
    let test = "portmap::another_address_of_ours_is_mapped_instead";
    let Some(net) = Net::required(test) else { return };
    let Some(mut gateway) = Gateway::before(&net, test) else { return };
    gateway.start();
    let daemon = Daemon::with(settings());
    wait_mapped(&daemon);
    let moved = Ipv4Addr::new(192, 168, 77, 9);
    let script = format!(
        "ip addr flush dev lan0 && ip addr add {moved}/24 dev lan0 && ip route replace default via {ROUTER}"
    );
    assert!(Command::new("sh").args(["-ec", &script]).status().unwrap().success());
    let mapped = until("the new address is mapped", NOTICED, || {
        let mapping = daemon.status().port_mapping;
        (mapping.local == Some(moved.to_string())).then(|| mapping.ports.first().cloned()).flatten()
    });
    assert!(gateway.maps(mapped.external_port, (moved, PORT)), "{}", gateway.rules());
    assert!(gets_in(&gateway, mapped.external_port));
}

#[test]
fn a_router_that_does_not_answer_costs_nothing_and_is_told() {
    let test = "portmap::a_router_that_does_not_answer_costs_nothing_and_is_told";
    let Some(net) = Net::required(test) else { return };
    let Some(mut gateway) = Gateway::before(&net, test) else { return };
    gateway.start();
    gateway.speak(Speaks::Nothing);
    let mut daemon = Daemon::with(settings());
    wait_state(&daemon, MappingState::Failed);
    let mapping = daemon.status().port_mapping;
    assert!(mapping.protocols.iter().all(|tried| tried.state == ProtocolState::Silent), "{mapping:?}");
    let reason = format!("the gateway {ROUTER} maps no ports: PCP is not answered; NAT-PMP is not answered");
    assert!(mapping.reason.unwrap().starts_with(&reason));
    let log = daemon.log();
    assert_eq!(log.matches("peers may not get in").count(), 1, "{log}");
    // When it is turned on there, it heals.
    gateway.speak(Speaks::Everything);
    wait_mapped(&daemon);
    assert!(daemon.terminate().success());
}

#[test]
fn a_public_address_needs_no_router_and_asks_none() {
    let test = "portmap::a_public_address_needs_no_router_and_asks_none";
    let Some(net) = Net::required(test) else { return };
    let Some(mut gateway) = Gateway::before(&net, test) else { return };
    gateway.start();
    let public = "11.7.0.5/24";
    assert!(Command::new("ip").args(["addr", "add", public, "dev", "lan0"]).status().unwrap().success());
    let public: IpAddr = "11.7.0.5".parse().unwrap();
    for (settings, state) in [
        (Settings { ips: vec![public], ..settings() }, MappingState::Public),
        (Settings { network: "port_mapping = false".to_owned(), ..settings() }, MappingState::Off),
        (Settings { ips: vec![net.home()], ..settings() }, MappingState::NoGateway),
    ] {
        let mut daemon = Daemon::with(settings);
        wait_state(&daemon, state);
        throughout("nothing is asked", Duration::from_secs(5), || gateway.asked() == 0);
        assert!(daemon.terminate().success());
        assert!(!daemon.log().contains("gateway maps"), "{}", daemon.log());
    }
    // It would have been counted.
    let _daemon = Daemon::with(settings());
    until("the router is asked", TRANSFER, || (gateway.asked() > 0).then_some(()));
}
