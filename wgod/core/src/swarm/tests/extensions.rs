//! The extension protocol (BEP 10), upload_only (BEP 21), lt_donthave (BEP 54).
use super::rig::*;
use crate::peer::{CloseReason, PeerFault};
use crate::piece_mgr::Order;
use crate::swarm::{Action, Learnt};
use crate::tracker::Outcome;
use wgo_proto::PieceIndex;
use wgo_proto::wire::{ExtMessage, Message, Reserved};

/// The fast extension and the extension protocol.
const BOTH: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

fn handshake(heard: &[Said]) -> Option<&wgo_proto::wire::ExtHandshake> {
    heard.iter().find_map(|said| if let Said::Handshake(h) = said { Some(&**h) } else { None })
}

#[test]
fn our_handshake_says_who_we_are_and_goes_to_those_who_understand() {
    let mut rig = Rig::new(2, &[0, 1]);
    let (with, without) = (rig.connect(1, BOTH), rig.fast(2));
    let heard = rig.heard(with);
    let told = handshake(&heard).expect("it is sent");
    assert_eq!((told.port, told.upload_only), (Some(6868), Some(true)));
    assert_eq!(told.yourip, Some(addr(1).ip()));
    assert!(told.client.as_deref().is_some_and(|client| client.starts_with("wgod ")));
    assert_eq!(handshake(&rig.heard(without)), None);
}

#[test]
fn another_port_of_ours_is_told_to_those_who_come_and_to_trackers() {
    let mut rig = Rig::with(2, &[0, 1], &["http://t.example/announce"], 50);
    let announced = |rig: &mut Rig| {
        let announce =
            |action| if let Action::Announce(announce) = action { Some(announce.id) } else { None };
        rig.actions().into_iter().filter_map(announce).next()
    };
    rig.wait(secs(0));
    let id = announced(&mut rig).expect("started");
    rig.swarm.on_announced(rig.now, id, &Outcome::default(), &[]);
    rig.wait(secs(60));
    rig.swarm.set_listen_port(rig.now, 6868);
    assert_eq!(announced(&mut rig), None, "it is that already");
    rig.swarm.set_listen_port(rig.now, 7000);
    assert!(announced(&mut rig).is_some());
    let key = rig.connect(1, BOTH);
    assert_eq!(handshake(&rig.heard(key)).and_then(|told| told.port), Some(7000));
}

#[test]
fn the_clients_name_comes_from_its_handshake() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.connect(1, BOTH);
    rig.extend(key, |handshake| handshake.client = Some("Example 1.0".into()));
    assert_eq!(rig.swarm.peer_views(rig.now)[0].client, "Example 1.0");
}

#[test]
fn a_complete_side_parts_with_one_that_only_uploads() {
    let mut rig = Rig::new(2, &[0, 1]);
    let key = rig.connect(1, BOTH);
    rig.extend(key, |handshake| handshake.upload_only = Some(true));
    assert_eq!(rig.closing(key), None, "what it has is not known yet");
    rig.says_bits(key, &[0]);
    assert_eq!(rig.closing(key), Some(CloseReason::BothComplete));
}

#[test]
fn peers_hear_when_we_want_nothing_more() {
    let mut rig = Rig::new(1, &[]);
    let (seed, other) = (rig.seed(1), rig.connect(2, BOTH));
    rig.extend(other, |_| ());
    rig.heard(other);
    rig.serve_all(seed);
    assert!(rig.heard(other).contains(&Said::UploadOnly(true)));
    rig.swarm.lose(rig.now, [PieceIndex(0)]);
    rig.check();
    let heard = rig.heard(other);
    assert!(heard.contains(&Said::DontHave(0)) && heard.contains(&Said::UploadOnly(false)), "{heard:?}");
}

#[test]
fn a_piece_lost_before_it_was_told_is_not_told() {
    let mut rig = Rig::new(2, &[]);
    let (seed, other) = (rig.seed(1), rig.connect(2, BOTH));
    rig.extend(other, |_| ());
    rig.heard(other);
    rig.serve_all(seed);
    rig.swarm.lose(rig.now, [PieceIndex(0)]);
    assert!(!rig.heard(other).contains(&Said::Have(0)));
}

#[test]
fn lost_pieces_are_fetched_again() {
    let mut rig = Rig::new(3, &[0, 1, 2]);
    let key = rig.connect(1, BOTH);
    rig.says_bits(key, &[1]);
    rig.says(key, &Message::Unchoke);
    rig.swarm.lose(rig.now, [PieceIndex(1), PieceIndex(2)]);
    rig.check();
    assert!(!rig.swarm.view(rig.now).finished);
    rig.serve_all(key);
    assert!(rig.swarm.have().get(1) && !rig.swarm.have().get(2));
}

#[test]
fn a_peer_that_has_a_piece_no_more_is_not_asked_for_it() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.connect(1, BOTH);
    rig.says(key, &Message::HaveAll);
    rig.says(key, &Message::Unchoke);
    let first = rig.requests(key);
    rig.says_ext(key, &ExtMessage::DontHave(PieceIndex(0)));
    for (piece, number) in first.into_iter().filter(|(piece, _)| *piece == 1) {
        if let Some(complete) = rig.sends(key, piece, number) {
            rig.stored(complete.piece.0);
        }
    }
    rig.says_ext(key, &ExtMessage::DontHave(PieceIndex(0)));
    assert_eq!(rig.swarm.availability(), [0, 1]);
    rig.serve_all(key);
    assert!(!rig.swarm.have().get(0));
    rig.says_ext(key, &ExtMessage::DontHave(PieceIndex(1)));
    rig.says(key, &Message::Have(PieceIndex(0)));
    rig.serve_all(key);
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn malformed_and_unoffered_extension_messages() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.connect(1, BOTH);
    let broken = rig.try_say(key, &Message::Extended { id: 0, body: b"d" });
    assert!(matches!(broken, Err(PeerFault::BadExtension(_))));
    rig.says(key, &Message::Extended { id: 200, body: b"whatever" });
    let fault = (0..1000).find_map(|_| rig.try_say(key, &Message::Extended { id: 200, body: b"" }).err());
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))));
}

#[test]
fn a_peer_has_one_vote_on_where_we_are_in_its_own_family() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.connect(1, BOTH);
    let ours: std::net::IpAddr = "203.0.113.5".parse().unwrap();
    rig.extend(key, |handshake| handshake.yourip = Some("2001:470::5".parse().unwrap()));
    assert_eq!(rig.count(|action| matches!(action, Action::SeenAt { .. })), 0, "it came by IPv4");
    for _ in 0..100 {
        rig.extend(key, |handshake| handshake.yourip = Some(ours));
    }
    let voted = |action: &Action<u32>| matches!(*action, Action::SeenAt { by, at } if by == addr(1).ip() && at == ours);
    assert_eq!(rig.count(voted), 1);
}

#[test]
fn a_later_handshake_changes_what_it_mentions_and_nothing_else() {
    let mut rig = Rig::new(2, &[0, 1]);
    let key = rig.connect(1, BOTH);
    rig.extend(key, |handshake| {
        (handshake.client, handshake.reqq) = (Some("Example 1.0".into()), Some(3));
        handshake.upload_only = Some(true);
    });
    rig.extend(key, |handshake| handshake.upload_only = Some(false));
    rig.says_bits(key, &[0]);
    assert_eq!(rig.closing(key), None, "it downloads after all");
    let peer = rig.swarm.peers.peer(key).unwrap();
    assert_eq!((peer.client.as_str(), peer.pipeline.window()), ("Example 1.0", 3));
}

#[test]
fn every_fast_peer_hears_which_pieces_it_gets_while_choked_also_those_to_come() {
    let mut rig = Rig::new(100, &[]);
    let key = rig.fast(1);
    let allowed = |heard: Vec<Said>| -> Vec<u32> {
        heard
            .into_iter()
            .filter_map(|said| if let Said::AllowedFast(n) = said { Some(n) } else { None })
            .collect()
    };
    let first = allowed(rig.heard(key));
    assert_eq!(first.len(), 10);
    let piece = first[0];
    rig.says(key, &Message::Interested);
    rig.says(key, &Message::Request(block(piece, 0)));
    assert_eq!(rig.heard(key), [Said::Reject(piece, 0)], "not there yet");
    let seed = rig.seed(2);
    rig.serve_all(seed);
    rig.says(key, &Message::Request(block(piece, 0)));
    assert_eq!(rig.pulled(key, 1).1, [block(piece, 0)]);
    // The same once the metadata has come.
    let mut rig = Rig::unknown(100, &[]);
    let key = rig.fast(1);
    assert_eq!(allowed(rig.heard(key)), []);
    let learnt = Learnt::new(Rig::layout(100), None, Order::RarestFirst, 7, false, 0);
    rig.swarm.learn(rig.now, learnt);
    assert_eq!(allowed(rig.heard(key)), first);
}
