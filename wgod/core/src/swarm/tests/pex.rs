//! Peer exchange (BEP 11): who is told of whom, and what comes of what we are told.
use std::net::SocketAddr;

use super::rig::*;
use crate::peer::{CloseReason, Direction, PeerFault, PeerInfo};
use crate::peer_mgr::Source;
use crate::piece_mgr::Order;
use crate::swarm::{Action, Learnt};
use crate::units::PeerKey;
use wgo_proto::PeerId;
use wgo_proto::wire::extended::{Pex, PexFlags, PexPeer};
use wgo_proto::wire::{ExtHandshake, ExtMessage, Message, Reserved};

/// The fast extension and the extension protocol.
const BOTH: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

/// A peer that dialled us and takes part.
fn partner(rig: &mut Rig, n: u8) -> PeerKey {
    let key = rig.connect(n, BOTH);
    rig.extend(key, |_| ());
    rig.heard(key);
    key
}

/// A peer that dialled us and says where it listens.
fn listener(rig: &mut Rig, n: u8, port: u16) -> PeerKey {
    let key = rig.connect(n, BOTH);
    rig.extend(key, |handshake| handshake.port = Some(port));
    rig.heard(key);
    key
}

/// A peer that we dialled.
fn dialled(rig: &mut Rig, n: u8) -> PeerKey {
    let info = PeerInfo { direction: Direction::Outgoing, ..Rig::info(n, BOTH) };
    rig.swarm.connect(rig.now, info).unwrap()
}

fn at(n: u8, port: u16) -> SocketAddr {
    SocketAddr::new(addr(n).ip(), port)
}

fn told(rig: &mut Rig, key: PeerKey) -> Vec<Pex> {
    let pex = |said| if let Said::Pex(pex) = said { Some(pex) } else { None };
    rig.heard(key).into_iter().filter_map(pex).collect()
}

fn added(pex: &[Pex]) -> Vec<SocketAddr> {
    pex.iter().flat_map(|pex| &pex.added).map(|peer| peer.addr).collect()
}

fn tells(rig: &mut Rig, key: PeerKey, added: &[(&str, PexFlags)], dropped: &[&str]) -> Result<(), PeerFault> {
    let added = added.iter().map(|(addr, flags)| PexPeer { addr: addr.parse().unwrap(), flags: *flags });
    let dropped = dropped.iter().map(|addr| addr.parse().unwrap()).collect();
    rig.try_say_ext(key, &ExtMessage::Pex(Pex { added: added.collect(), dropped }))
}

fn said_handshake(rig: &mut Rig, key: PeerKey) -> ExtHandshake {
    let handshake = |said| if let Said::Handshake(handshake) = said { Some(*handshake) } else { None };
    rig.heard(key).into_iter().find_map(handshake).expect("it is sent")
}

fn offers(handshake: &ExtHandshake) -> Option<u8> {
    handshake.extensions.said(wgo_proto::wire::Extension::Pex)
}

const NO: PexFlags = PexFlags(0);

#[test]
fn peers_hear_of_those_who_can_be_reached_and_what_they_are() {
    let mut rig = Rig::new(2, &[]);
    let (listening, ours) = (listener(&mut rig, 2, 6881), dialled(&mut rig, 3));
    partner(&mut rig, 4);
    rig.says(listening, &Message::HaveAll);
    let key = partner(&mut rig, 1);
    rig.wait(secs(1));
    let peer = |addr, flags| PexPeer { addr, flags };
    let expected = vec![peer(at(2, 6881), PexFlags::SEED), peer(addr(3), PexFlags::REACHABLE)];
    assert_eq!(told(&mut rig, key), [Pex { added: expected, dropped: vec![] }]);
    // Nobody hears of itself, nor does who takes no part.
    rig.heard(ours);
    assert_eq!(told(&mut rig, listening).len(), 1);
    rig.wait(secs(100));
    assert_eq!(told(&mut rig, key), [], "nothing changed");
    assert_eq!(told(&mut rig, ours), [], "it never said that it takes part");
}

#[test]
fn changes_are_told_once_a_minute_and_only_those() {
    let mut rig = Rig::new(2, &[]);
    let key = partner(&mut rig, 1);
    let first = listener(&mut rig, 2, 6881);
    rig.wait(secs(1));
    assert_eq!(added(&told(&mut rig, key)), [at(2, 6881)]);
    rig.leaves(first);
    listener(&mut rig, 3, 6881);
    let brief = listener(&mut rig, 4, 6881);
    rig.leaves(brief);
    rig.wait(secs(55));
    assert_eq!(told(&mut rig, key), []);
    rig.wait(secs(6));
    let said = told(&mut rig, key);
    assert_eq!((added(&said), &said[0].dropped), (vec![at(3, 6881)], &vec![at(2, 6881)]));
}

#[test]
fn a_message_has_fifty_of_each_at_most_and_the_rest_follow() {
    let mut rig = Rig::with(2, &[], &[], 200);
    let all: Vec<_> = (20..140).map(|n| listener(&mut rig, n, 6881)).collect();
    let key = partner(&mut rig, 1);
    let mut sizes = Vec::new();
    for _ in 0..4 {
        rig.wait(secs(61));
        sizes.extend(told(&mut rig, key).iter().map(|pex| (pex.added.len(), pex.dropped.len())));
        // Those who have nothing to say for minutes would be let go.
        all.iter().chain([&key]).for_each(|key| rig.says(*key, &Message::KeepAlive));
    }
    assert_eq!(sizes, [(50, 0), (50, 0), (20, 0)]);
    all.into_iter().for_each(|key| rig.leaves(key));
    sizes.clear();
    for _ in 0..4 {
        rig.wait(secs(61));
        sizes.extend(told(&mut rig, key).iter().map(|pex| (pex.added.len(), pex.dropped.len())));
        rig.says(key, &Message::KeepAlive);
    }
    assert_eq!(sizes, [(0, 50), (0, 50), (0, 20)]);
}

#[test]
fn the_first_port_that_a_peer_names_counts() {
    let mut rig = Rig::new(2, &[]);
    let (key, turncoat) = (partner(&mut rig, 1), listener(&mut rig, 2, 6881));
    for port in 7000..8000 {
        rig.extend(turncoat, |handshake| handshake.port = Some(port));
    }
    let ours = dialled(&mut rig, 3);
    rig.extend(ours, |handshake| handshake.port = Some(22));
    rig.wait(secs(1));
    assert_eq!(added(&told(&mut rig, key)), [at(2, 6881), addr(3)]);
}

#[test]
fn what_we_are_told_of_is_dialled() {
    let mut rig = Rig::new(2, &[]);
    let key = partner(&mut rig, 1);
    tells(&mut rig, key, &[("91.0.0.1:6881", NO), ("[2001:470::1]:6881", NO)], &[]).unwrap();
    rig.wait(secs(1));
    let dials: Vec<_> = rig
        .actions()
        .into_iter()
        .filter_map(|action| if let Action::Dial(addr, _) = action { Some(addr.to_string()) } else { None })
        .collect();
    assert_eq!(dials.len(), 2, "{dials:?}");
    assert!(dials.contains(&"91.0.0.1:6881".to_owned()) && dials.contains(&"[2001:470::1]:6881".to_owned()));
}

#[test]
fn that_somebody_left_changes_nothing_for_us() {
    let mut rig = Rig::new(2, &[]);
    rig.swarm.set_requests_paused(rig.now, true);
    let key = partner(&mut rig, 1);
    tells(&mut rig, key, &[("91.0.0.1:6881", NO)], &[]).unwrap();
    tells(&mut rig, key, &[], &["91.0.0.1:6881", "91.0.0.2:6881"]).unwrap();
    assert_eq!(rig.swarm.peer_mgr.counts().candidates, 1);
}

#[test]
fn a_seed_leaves_those_alone_who_are_said_to_be_seeds() {
    let mut rig = Rig::new(2, &[0, 1]);
    let key = partner(&mut rig, 1);
    tells(&mut rig, key, &[("91.0.0.1:6881", PexFlags::SEED), ("91.0.0.2:6881", NO)], &[]).unwrap();
    // What strangers say of those whom we know counts nothing.
    tells(&mut rig, key, &[("91.0.0.2:6881", PexFlags::SEED)], &[]).unwrap();
    rig.wait(secs(1));
    let dials = rig
        .count(|action| matches!(action, Action::Dial(addr, _) if *addr == "91.0.0.2:6881".parse().unwrap()));
    assert_eq!((dials, rig.swarm.peer_mgr.counts().resting), (1, 1));
}

#[test]
fn addresses_that_lead_nowhere_or_home_are_not_taken() {
    let mut rig = Rig::new(2, &[]);
    rig.swarm.set_requests_paused(rig.now, true);
    rig.swarm.set_own(&["91.0.0.9:6868".parse().unwrap()]);
    let key = partner(&mut rig, 1);
    let bad = [
        "127.0.0.1:6881",
        "10.0.0.1:6881",
        "192.168.0.1:80",
        "169.254.1.1:6881",
        "100.64.0.1:6881",
        "224.0.0.1:6881",
        "255.255.255.255:6881",
        "0.1.2.3:6881",
        "[::1]:6881",
        "[fe80::1]:6881",
        "[fd00::1]:6881",
        "[ff02::1]:6881",
        "[::ffff:10.0.0.1]:6881",
        "91.0.0.9:6868",
    ];
    tells(&mut rig, key, &bad.map(|addr| (addr, NO)), &[]).unwrap();
    assert_eq!(rig.swarm.peer_mgr.counts().candidates, 0);
    tells(&mut rig, key, &[("91.0.0.8:6868", NO)], &[]).unwrap();
    assert_eq!(rig.swarm.peer_mgr.counts().candidates, 1);
}

#[test]
fn addresses_of_a_network_are_told_in_that_network_only() {
    let mut rig = Rig::new(2, &[]);
    let mut join = |n: u8, ip: [u8; 4]| {
        let info = PeerInfo {
            addr: (ip, 7000).into(),
            direction: Direction::Outgoing,
            id: PeerId([n; 20]),
            ..Rig::info(n, BOTH)
        };
        let key = rig.swarm.connect(rig.now, info).unwrap();
        rig.extend(key, |_| ());
        key
    };
    let (inside, outside) = (join(20, [10, 0, 0, 7]), join(21, [91, 0, 0, 7]));
    join(22, [10, 0, 0, 8]);
    join(23, [91, 0, 1, 7]);
    rig.wait(secs(1));
    let text = |addrs: Vec<SocketAddr>| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(added(&told(&mut rig, outside))), ["91.0.1.7:7000"]);
    assert_eq!(text(added(&told(&mut rig, inside))), ["91.0.0.7:7000", "10.0.0.8:7000", "91.0.1.7:7000"]);
}

#[test]
fn who_talks_too_much_is_not_listened_to_and_in_the_end_let_go() {
    let mut rig = Rig::new(2, &[]);
    rig.swarm.set_requests_paused(rig.now, true);
    let key = partner(&mut rig, 1);
    let mut fault = None;
    let mut messages = 0;
    while fault.is_none() && messages < 2000 {
        let flood: Vec<String> = (0..200).map(|n| format!("91.{}.{n}.1:6881", messages % 200)).collect();
        let flood: Vec<_> = flood.iter().map(|addr| (addr.as_str(), NO)).collect();
        fault = tells(&mut rig, key, &flood, &[]).err();
        messages += 1;
    }
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))), "{messages}");
    assert_eq!(rig.swarm.peer_mgr.counts().candidates, 400, "what two messages may bring");
}

#[test]
fn private_torrents_take_no_part() {
    let mut rig = Rig::new(2, &[]);
    rig.swarm.config.private = true;
    let key = rig.connect(1, BOTH);
    assert_eq!(offers(&said_handshake(&mut rig, key)), None);
    rig.extend(key, |_| ());
    listener(&mut rig, 2, 6881);
    rig.wait(secs(120));
    assert_eq!(told(&mut rig, key), []);
    tells(&mut rig, key, &[("91.0.0.1:6881", NO)], &[]).unwrap();
    assert_eq!(rig.swarm.peers.peer(key).unwrap().nuisances, 1);
    let known = rig.swarm.peer_mgr.counts();
    assert_eq!(known.candidates, 1, "who dialled us, and nobody else");
}

#[test]
fn before_the_metadata_we_listen_and_tell_nothing() {
    let mut rig = Rig::unknown(2, &[]);
    let key = rig.connect(1, BOTH);
    assert!(offers(&said_handshake(&mut rig, key)).is_some_and(|id| id != 0));
    rig.extend(key, |_| ());
    listener(&mut rig, 2, 6881);
    tells(&mut rig, key, &[("91.0.0.1:6881", NO)], &[]).unwrap();
    rig.wait(secs(100));
    assert_eq!(told(&mut rig, key), []);
    assert_eq!(rig.count(|action| matches!(action, Action::Dial(..))), 1);
    rig.swarm.learn(rig.now, Learnt::new(Rig::layout(2), None, Order::RarestFirst, 7, false, 50_000));
    rig.wait(secs(1));
    assert_eq!(added(&told(&mut rig, key)), [at(2, 6881)]);
}

#[test]
fn a_torrent_that_turns_out_to_be_private_leaves_whom_strangers_named() {
    let mut rig = Rig::unknown(2, &[]);
    rig.swarm.add_candidates(rig.now, [addr(7)], Source::Tracker);
    let key = partner(&mut rig, 1);
    let told_of = |n: u8| format!("81.{n}.0.1:7000");
    let (five, six, seven) = (told_of(5), told_of(6), told_of(7));
    tells(&mut rig, key, &[(&five, NO), (&six, NO), (&seven, NO)], &[]).unwrap();
    rig.wait(secs(1));
    assert_eq!(rig.count(|action| matches!(action, Action::Dial(..))), 3);
    let (stranger, known) = (dialled(&mut rig, 5), dialled(&mut rig, 7));
    rig.swarm.learn(rig.now, Learnt::new(Rig::layout(2), None, Order::RarestFirst, 7, true, 0));
    rig.check();
    assert_eq!(rig.closing(stranger), Some(CloseReason::OtherTracker));
    assert_eq!((rig.closing(known), rig.closing(key)), (None, None));
    assert_eq!(offers(&said_handshake(&mut rig, key)), Some(0), "it is taken back");
    let late = PeerInfo { direction: Direction::Outgoing, ..Rig::info(6, BOTH) };
    assert_eq!(rig.swarm.connect(rig.now, late), Err(CloseReason::OtherTracker));
    rig.check();
}

#[test]
fn the_operator_switches_it_off_and_on() {
    let mut rig = Rig::new(2, &[]);
    let key = partner(&mut rig, 1);
    rig.swarm.set_pex(false);
    assert_eq!(offers(&said_handshake(&mut rig, key)), Some(0));
    let other = rig.connect(4, BOTH);
    assert_eq!(offers(&said_handshake(&mut rig, other)), None);
    listener(&mut rig, 2, 6881);
    rig.wait(secs(61));
    assert_eq!(told(&mut rig, key), []);
    rig.swarm.set_pex(true);
    assert!(offers(&said_handshake(&mut rig, key)).is_some_and(|id| id != 0));
    rig.wait(secs(1));
    assert_eq!(added(&told(&mut rig, key)), [at(2, 6881)]);
}
