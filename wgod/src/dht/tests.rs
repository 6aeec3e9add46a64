//! Sockets that fail, names that come to something or not, and what a handle does while there is no node.
use std::time::Duration;

use wgo_core::Time;
use wgo_core::dht::Transmit;
use wgo_core::dht::rounds::Need;

use super::named::{Found, Names};
use super::sockets::Sockets;
use super::*;
use crate::outlet::Outlet;
use crate::tracker::{Settings as TrackerSettings, Trackers};

fn secs(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

/// On loopback, in IPv4 alone.
async fn sockets(port: u16) -> Sockets {
    let mut sockets = Sockets::new(Outlet::at(&["127.0.0.1"]), port, secs(0));
    assert!(sockets.tend(secs(0)).await);
    sockets
}

fn addr(sockets: &Sockets) -> SocketAddr {
    sockets.addrs().next().expect("there is one")
}

#[tokio::test]
async fn the_port_is_the_one_that_was_asked_for_or_another_where_that_is_taken() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("it is bound").port();
    let other = sockets(port).await;
    assert_ne!(addr(&other).port(), port);
    drop(taken);
    assert_eq!(addr(&sockets(port).await).port(), port);
}

#[tokio::test]
async fn a_socket_from_which_nothing_can_be_sent_is_made_anew_at_the_same_place() {
    let mut sockets = sockets(0).await;
    let place = addr(&sockets);
    // Nobody sends to everybody without saying so.
    let everybody = Transmit { to: "255.255.255.255:1".parse().expect("an address"), datagram: vec![1] };
    let mut sent = 0;
    while !sockets.families().is_empty() {
        sockets.send(secs(1), &everybody);
        sent += 1;
        assert!(sent < 100, "it gives up in the end");
    }
    assert!(sent > 1, "but not for a single destination");
    assert!(sockets.trouble().is_some_and(|trouble| trouble.contains(&place.to_string())));
    let due = sockets.due().expect("it is tried again");
    assert!(!sockets.tend(secs(1)).await && due > secs(1), "but not at once");
    assert!(sockets.tend(due).await);
    assert_eq!((addr(&sockets), sockets.trouble()), (place, None));
}

#[tokio::test]
async fn a_family_that_the_operator_leaves_out_has_no_socket() {
    let sockets = sockets(0).await;
    assert_eq!(sockets.families(), [Family::V4]);
    assert_eq!(sockets.due(), None, "there is nothing to look after");
}

fn named(list: &[&str]) -> Names {
    let trackers = Trackers::start(TrackerSettings::default()).expect("drivers");
    Names::new(trackers, list.iter().map(|name| name.parse().expect("a name")).collect(), secs(0))
}

#[tokio::test]
async fn the_list_comes_to_addresses_and_what_torrents_name_is_kept_apart() {
    let mut names = named(&["localhost:1", "192.0.2.1:2"]);
    names.look_up(secs(0));
    names.add("127.0.0.9:3".parse().expect("a name"));
    let (mut routers, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        match names.found().await {
            Found::Routers(all) => routers = all,
            Found::Nodes(found) => nodes.extend(found),
        }
    }
    assert!(routers.contains(&"192.0.2.1:2".parse().expect("an address")));
    assert!(routers.iter().any(|addr| addr.ip().is_loopback() && addr.port() == 1));
    assert_eq!(nodes, ["127.0.0.9:3".parse().expect("an address")]);
    assert_eq!(names.trouble(), None);
}

#[tokio::test]
async fn an_empty_list_is_named_as_the_reason_and_never_due() {
    let mut names = named(&[]);
    assert_eq!(names.due(), None);
    assert!(names.trouble().is_some_and(|why| why.contains("[dht] bootstrap")));
    names.set_list(secs(9), vec!["192.0.2.1:2".parse().expect("a name")]);
    assert_eq!(names.due(), Some(secs(9)));
}

#[test]
fn without_a_node_torrents_are_remembered_and_nodes_that_are_named_are_not() {
    let dht = Dht::new(Clock::start(), 7);
    dht.join(TorrentId(1), InfoHashes { v1: None, v2: None }, Need::Pieces);
    dht.on_node("192.0.2.1:7".parse().expect("an address"));
    assert_eq!((dht.torrents(), dht.is_on(), dht.status().state), (1, false, State::Off));
    let heard = dht.0.to_hear.lock().expect("a lock").take();
    assert!(heard.expect("nobody took it").try_recv().is_err());
    dht.leave(TorrentId(1));
    assert_eq!(dht.torrents(), 0);
}

#[test]
fn what_is_heard_is_bounded() {
    let dht = Dht::new(Clock::start(), 7);
    dht.set(Settings { on: true, ..Settings::default() });
    let named: Vec<HostPort> =
        (1..100).map(|port| HostPort::new("n.example", port).expect("a name")).collect();
    dht.on_named(&named);
    for port in 1..2000 {
        dht.on_node(SocketAddr::from(([192, 0, 2, 1], port)));
    }
    let mut heard = dht.0.to_hear.lock().expect("a lock").take().expect("nobody took it");
    let all: Vec<Heard> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    assert_eq!(all.len(), MAX_HEARD);
    assert_eq!(all.iter().filter(|heard| matches!(heard, Heard::Named(_))).count(), MAX_OF_TORRENT);
}
