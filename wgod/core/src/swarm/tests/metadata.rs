//! A Swarm that begins without metadata (BEP 9), and one that gives its own away.
use super::rig::*;
use crate::metadata::Candidate;
use crate::peer::{CloseReason, PeerFault};
use crate::peer_mgr::Source;
use crate::piece_mgr::Order;
use crate::swarm::{Action, Learnt};
use crate::units::PeerKey;
use wgo_proto::PieceIndex;
use wgo_proto::layout::MAX_PIECES;
use wgo_proto::wire::extended::handshake::MAX_METADATA_LEN;
use wgo_proto::wire::{ExtMessage, Extension, Message, MetadataMessage, Reserved};

/// The fast extension and the extension protocol.
const BOTH: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);
const PIECE: usize = 16 * 1024;

fn whole(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8).collect()
}

/// A peer that says it has metadata of so many bytes.
fn holder(rig: &mut Rig, n: u8, size: u32) -> PeerKey {
    let key = rig.connect(n, BOTH);
    rig.extend(key, |handshake| handshake.metadata_size = Some(size));
    key
}

fn asked(heard: &[Said]) -> Vec<u32> {
    heard.iter().filter_map(|said| if let Said::AsksMetadata(p) = said { Some(*p) } else { None }).collect()
}

/// The peer answers all that it is asked, with `bytes`; what comes whole of it.
fn answers(rig: &mut Rig, key: PeerKey, bytes: &[u8]) -> Option<Candidate> {
    loop {
        let asked = asked(&rig.heard(key));
        if asked.is_empty() {
            let mut candidates = rig.actions().into_iter().filter_map(|action| match action {
                Action::Metadata(candidate) => Some(candidate),
                _ => None,
            });
            return candidates.next();
        }
        for piece in asked {
            let start = piece as usize * PIECE;
            let data = &bytes[start..(start + PIECE).min(bytes.len())];
            let total_size = Some(bytes.len() as u32);
            rig.says_ext(key, &ExtMessage::Metadata(MetadataMessage::Data { piece, total_size, data }));
        }
    }
}

fn learn(rig: &mut Rig, pieces: u32) {
    let learnt = Learnt::new(Rig::layout(pieces), None, Order::RarestFirst, 7, false, 99);
    rig.swarm.learn(rig.now, learnt);
    rig.check();
}

#[test]
fn metadata_comes_from_several_peers_and_payload_from_the_same_connections() {
    let mut rig = Rig::unknown(3, &[]);
    let bytes = whole(6 * PIECE + 5);
    let (a, b) = (holder(&mut rig, 1, bytes.len() as u32), holder(&mut rig, 2, bytes.len() as u32));
    rig.says(a, &Message::HaveAll);
    let bits = bits(3, &[1]).to_wire();
    rig.says(b, &Message::Bitfield(&bits));
    let (first, second) = (rig.heard(a), rig.heard(b));
    assert!(first.contains(&Said::Interested) && second.contains(&Said::Interested), "before it is known");
    assert_eq!((asked(&first), asked(&second)), (vec![0, 1, 2, 3], vec![4, 5, 6, 0]));
    assert!(rig.swarm.view(rig.now).unknown && !rig.swarm.view(rig.now).finished);
    rig.says(a, &Message::Unchoke);
    assert!(rig.requests(a).is_empty(), "no piece is known yet");
    // Whoever was asked answers; the last pieces are asked of both.
    let piece = |p: usize| &bytes[p * PIECE..((p + 1) * PIECE).min(bytes.len())];
    let data = |p: u32| MetadataMessage::Data { piece: p, total_size: None, data: piece(p as usize) };
    for p in 4..7 {
        rig.says_ext(b, &ExtMessage::Metadata(data(p)));
    }
    for p in 0..4 {
        rig.says_ext(a, &ExtMessage::Metadata(data(p)));
    }
    let found = rig.actions().into_iter().find_map(|action| match action {
        Action::Metadata(candidate) => Some(candidate.pieces.concat()),
        _ => None,
    });
    assert_eq!(found, Some(bytes));
    learn(&mut rig, 3);
    assert_eq!(rig.swarm.availability(), [1, 2, 1]);
    let heard = rig.heard(a);
    let handshake = heard.iter().find_map(|said| if let Said::Handshake(h) = said { Some(h) } else { None });
    assert_eq!(handshake.expect("others may fetch it now").metadata_size, Some(99));
    assert!(heard.iter().any(|said| matches!(said, Said::Request(..))), "{heard:?}");
    for said in heard {
        if let Said::Request(piece, number) = said
            && let Some(complete) = rig.sends(a, piece, number)
        {
            rig.stored(complete.piece.0);
        }
    }
    rig.serve_all(a);
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn what_peers_said_too_early_counts_when_the_pieces_are_known() {
    let mut rig = Rig::unknown(10, &[]);
    let (have, field, late) = (rig.connect(1, BOTH), rig.connect(2, BOTH), rig.connect(3, BOTH));
    rig.says(have, &Message::Have(PieceIndex(9)));
    rig.says(have, &Message::Have(PieceIndex(0)));
    rig.says_ext(have, &ExtMessage::DontHave(PieceIndex(9)));
    rig.says_bits(field, &[1, 2]);
    rig.says(field, &Message::Have(PieceIndex(3)));
    for piece in [4, 10, 4] {
        rig.says(field, &Message::AllowedFast(PieceIndex(piece)));
        rig.says(field, &Message::Suggest(PieceIndex(piece)));
    }
    rig.says(field, &Message::AllowedFast(PieceIndex(3)));
    // Of pieces that there are not, and a set of another torrent.
    let (beyond, wrong) = (rig.connect(4, BOTH), rig.connect(5, BOTH));
    rig.says(beyond, &Message::Have(PieceIndex(10)));
    rig.says(wrong, &Message::Bitfield(&[0; 7]));
    learn(&mut rig, 10);
    assert_eq!(rig.swarm.availability(), [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
    assert!(rig.requests(field).iter().all(|(piece, _)| *piece == 3), "it chokes us and allows this one");
    assert_eq!(rig.closing(late), None);
    for key in [beyond, wrong] {
        assert!(matches!(rig.closing(key), Some(CloseReason::Fault(PeerFault::BadBitfield(_)))));
    }
    let fault = rig.try_say(have, &Message::Have(PieceIndex(10)));
    assert!(matches!(fault, Err(PeerFault::NoSuchPiece { .. })), "from now on it is checked");
}

#[test]
fn sets_of_many_peers_before_the_metadata_take_bounded_memory() {
    let mut rig = Rig::unknown(10, &[]);
    let mut closed = 0;
    for n in 1..50 {
        let key = rig.connect(n, BOTH);
        rig.says(key, &Message::Have(PieceIndex(MAX_PIECES - 1)));
        closed += usize::from(rig.closing(key) == Some(CloseReason::Full));
    }
    assert_eq!(closed, 49 - 32, "as many are kept as there is room for");
    let key = rig.connect(77, BOTH);
    let fault = rig.try_say(key, &Message::Have(PieceIndex(MAX_PIECES)));
    assert!(matches!(fault, Err(PeerFault::NoSuchPiece { .. })), "{fault:?}");
    let leaving: Vec<PeerKey> = (1..50).filter_map(|n| rig.key_of(n)).collect();
    leaving.into_iter().for_each(|key| rig.leaves(key));
    let key = rig.connect(78, BOTH);
    rig.says(key, &Message::Have(PieceIndex(MAX_PIECES - 1)));
    assert_eq!(rig.closing(key), None, "who leaves makes room");
}

#[test]
fn who_alone_sent_wrong_metadata_is_banned_and_others_are_asked() {
    let mut rig = Rig::unknown(2, &[]);
    let (truth, lie) = (whole(2 * PIECE), vec![1; 2 * PIECE]);
    let liar = holder(&mut rig, 1, lie.len() as u32);
    let candidate = answers(&mut rig, liar, &lie).expect("it came whole");
    rig.swarm.metadata_wrong(rig.now, candidate.size);
    rig.check();
    assert_eq!(rig.closing(liar), Some(CloseReason::Fault(PeerFault::WrongMetadata)));
    rig.leaves(liar);
    let again = rig.swarm.connect(rig.now, Rig::info(1, BOTH));
    assert!(matches!(again, Err(CloseReason::Banned(_))), "{again:?}");
    let honest = holder(&mut rig, 2, truth.len() as u32);
    let candidate = answers(&mut rig, honest, &truth).expect("it came whole");
    assert_eq!(candidate.pieces.concat(), truth);
}

#[test]
fn sizes_beyond_reason_end_the_connection_and_cost_nothing() {
    let mut rig = Rig::unknown(2, &[]);
    let key = rig.connect(1, BOTH);
    let body = b"d1:md11:ut_metadatai1ee13:metadata_sizei2147483648ee";
    let fault = rig.try_say(key, &Message::Extended { id: 0, body });
    assert!(matches!(fault, Err(PeerFault::BadExtension(_))), "{fault:?}");
    let none = rig.connect(2, BOTH);
    rig.says(none, &Message::Extended { id: 0, body: b"d1:md11:ut_metadatai1ee13:metadata_sizei0ee" });
    assert!(asked(&rig.heard(none)).is_empty(), "it has none");
    let most = holder(&mut rig, 3, MAX_METADATA_LEN);
    assert_eq!(asked(&rig.heard(most)), [0, 1, 2, 3]);
    assert_eq!(rig.swarm.metadata_progress(), (1, 0));
    // It changes its mind: what it was asked for is of no use any more.
    rig.extend(most, |handshake| handshake.metadata_size = Some(5));
    assert_eq!(asked(&rig.heard(most)), [0]);
    let data = MetadataMessage::Data { piece: 0, total_size: Some(6), data: &[0; 6] };
    let fault = rig.try_say_ext(most, &ExtMessage::Metadata(data));
    assert_eq!(fault, Err(PeerFault::MetadataSize { said: 5, came: 6 }));
}

#[test]
fn metadata_that_nobody_asked_for_is_a_nuisance() {
    let mut rig = Rig::unknown(2, &[]);
    let key = holder(&mut rig, 1, 5);
    let data = MetadataMessage::Data { piece: 3, total_size: None, data: &[0; 6] };
    let mut said = (0..1000).map(|_| rig.try_say_ext(key, &ExtMessage::Metadata(data)));
    assert!(said.any(|result| matches!(result, Err(PeerFault::Nuisance(_)))));
}

#[test]
fn nothing_is_fetched_while_requests_are_paused() {
    let mut rig = Rig::unknown(2, &[]);
    rig.swarm.set_requests_paused(rig.now, true);
    let key = holder(&mut rig, 1, 5);
    rig.says(key, &Message::HaveAll);
    rig.wait(secs(5));
    let heard = rig.heard(key);
    assert!(asked(&heard).is_empty() && !heard.contains(&Said::Interested), "{heard:?}");
    rig.swarm.set_requests_paused(rig.now, false);
    rig.wait(secs(2));
    let heard = rig.heard(key);
    assert!(!asked(&heard).is_empty() && heard.contains(&Said::Interested), "{heard:?}");
}

#[test]
fn trackers_hear_of_a_leecher_and_it_looks_for_peers() {
    let mut rig = Rig::unknown(2, &["http://t.example/a"]);
    rig.wait(secs(1));
    let left = rig.actions().into_iter().find_map(|action| match action {
        Action::Announce(announce) => Some(announce.stats.left),
        _ => None,
    });
    assert_eq!(left, Some(16 * 1024));
    rig.swarm.add_candidates(rig.now, [addr(9)], Source::User);
    rig.wait(secs(1));
    assert_eq!(rig.count(|action| matches!(action, Action::Dial(..))), 1);
    rig.wait(secs(1000));
    assert_eq!(rig.count(|action| matches!(action, Action::Idle)), 0, "it never sleeps");
}

#[test]
fn our_metadata_goes_to_those_who_ask_within_bounds() {
    let bytes = whole(20 * PIECE + 3);
    let mut rig = Rig::telling(2, bytes.len() as u32);
    let key = rig.connect(1, BOTH);
    rig.extend(key, |_| ());
    rig.heard(key);
    let ask = |piece| ExtMessage::Metadata(MetadataMessage::Request { piece });
    for piece in [0, 20, 21] {
        rig.says_ext(key, &ask(piece));
    }
    assert_eq!(rig.heard(key), [Said::RefusesMetadata(21)], "there is no such piece");
    assert_eq!(rig.count(|a| matches!(a, Action::ReadMetadata(_, 0 | 20))), 2);
    rig.swarm.send_metadata(key, 20, Some(&bytes));
    rig.swarm.send_metadata(key, 0, None);
    rig.check();
    assert_eq!(rig.heard(key), [Said::Metadata(20, bytes[20 * PIECE..].to_vec()), Said::RefusesMetadata(0)]);
    // A flood.
    let mut sent = 0;
    for piece in (0..20).cycle().take(300) {
        rig.says_ext(key, &ask(piece));
        let read = rig.count(|a| matches!(a, Action::ReadMetadata(..)));
        for _ in 0..read {
            rig.swarm.send_metadata(key, piece, Some(&bytes));
        }
        sent += read;
        rig.heard(key);
    }
    assert!((60..=64).contains(&sent), "{sent}");
    rig.wait(secs(1));
    for _ in 0..20 {
        rig.says_ext(key, &ask(0));
    }
    assert_eq!(rig.count(|a| matches!(a, Action::ReadMetadata(..))), 8, "more are not read at once");
    let fault = (0..1000).find_map(|_| rig.try_say_ext(key, &ask(0)).err());
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))));
}

#[test]
fn metadata_that_peers_may_not_have_is_not_offered() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.connect(1, BOTH);
    rig.extend(key, |_| ());
    let heard = rig.heard(key);
    let told = heard.iter().find_map(|said| if let Said::Handshake(h) = said { Some(h) } else { None });
    let told = told.expect("it is sent");
    assert_eq!((told.metadata_size, told.extensions.get(Extension::Metadata)), (None, None));
    rig.says_ext(key, &ExtMessage::Metadata(MetadataMessage::Request { piece: 0 }));
    assert_eq!(rig.heard(key), [Said::RefusesMetadata(0)]);
}
