//! What is told of pieces, both ways (BEP 3, 6), and interest.
use super::rig::*;
use crate::peer::{MAX_OUTBOX, PeerFault};
use wgo_proto::PieceIndex;
use wgo_proto::wire::{Message, Reserved};

fn have(piece: u32) -> Message<'static> {
    Message::Have(PieceIndex(piece))
}

#[test]
fn the_first_message_is_the_shortest_that_says_what_we_have() {
    let all: Vec<u32> = (0..9).collect();
    let cases: [(&[u32], bool, Vec<Said>); 6] = [
        (&[], true, vec![Said::HaveNone]),
        (&[], false, vec![]),
        (&[0, 8], false, vec![Said::Bitfield(vec![0x80, 0x80])]),
        (&[8], true, vec![Said::Bitfield(vec![0, 0x80])]),
        (&all, true, vec![Said::HaveAll]),
        (&all, false, vec![Said::Bitfield(vec![0xff, 0x80])]),
    ];
    for (ours, is_fast, expected) in cases {
        let mut rig = Rig::new(9, ours);
        let key = if is_fast { rig.fast(1) } else { rig.plain(1) };
        let mut heard = rig.heard(key);
        heard.retain(|said| !matches!(said, Said::AllowedFast(_)));
        assert_eq!(heard, expected, "{ours:?}, fast: {is_fast}");
    }
}

#[test]
fn the_largest_bitfield_fits_the_outbox() {
    assert!(wgo_proto::layout::MAX_PIECES as usize / 8 + 4096 < MAX_OUTBOX);
}

#[test]
fn a_later_bitfield_adds_to_what_is_known() {
    let half = [0xc0];
    for (second, count) in [
        (Message::HaveNone, 3),
        (Message::Bitfield(&half), 3),
        (Message::Bitfield(&[0x10]), 4),
        (Message::HaveAll, 4),
    ] {
        let mut rig = Rig::new(4, &[]);
        let key = rig.fast(1);
        rig.says(key, &Message::Bitfield(&half));
        rig.says(key, &have(2));
        rig.says(key, &second);
        let peer = rig.swarm.peers.peer(key).unwrap();
        assert_eq!((peer.has.count(4), peer.interesting), (count, count), "{second:?}");
    }
}

#[test]
fn wrong_bitfields_and_pieces_are_faults() {
    let faulty = |message: &Message<'_>| {
        let mut rig = Rig::new(4, &[]);
        let key = rig.fast(1);
        rig.try_say(key, message).expect_err("it is wrong")
    };
    assert!(matches!(faulty(&Message::Bitfield(&[0xf0, 0])), PeerFault::BadBitfield(_)));
    assert!(matches!(faulty(&Message::Bitfield(&[])), PeerFault::BadBitfield(_)));
    assert!(matches!(faulty(&Message::Bitfield(&[0xf8])), PeerFault::BadBitfield(_)), "a bit too many");
    let absent = PeerFault::NoSuchPiece { piece: PieceIndex(4), count: 4 };
    assert_eq!(faulty(&have(4)), absent);
    assert_eq!(faulty(&Message::Suggest(PieceIndex(4))), absent);
    assert_eq!(faulty(&Message::AllowedFast(PieceIndex(4))), absent);
}

#[test]
fn messages_of_the_fast_extension_need_the_fast_extension() {
    let b = block(0, 0);
    let messages = [
        Message::HaveAll,
        Message::HaveNone,
        Message::Reject(b),
        Message::AllowedFast(b.piece),
        Message::Suggest(b.piece),
    ];
    for message in messages {
        let mut rig = Rig::new(4, &[]);
        let key = rig.connect(1, Reserved::EXTENSIONS);
        assert_eq!(rig.try_say(key, &message), Err(PeerFault::NotFast(message.name())));
    }
}

#[test]
fn interest_follows_what_the_peer_has_of_use_and_is_told_on_change_only() {
    let mut rig = Rig::new(3, &[0]);
    let key = rig.plain(1);
    rig.says_bits(key, &[0]);
    assert!(!rig.heard(key).contains(&Said::Interested), "it has nothing new");
    rig.says(key, &have(1));
    assert_eq!(rig.heard(key), [Said::Interested]);
    rig.says(key, &have(2));
    rig.says(key, &have(2));
    assert_eq!(rig.heard(key), []);
    rig.says(key, &Message::Unchoke);
    rig.serve_all(key);
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn we_lose_interest_when_we_have_the_peers_pieces_from_another() {
    let mut rig = Rig::new(2, &[]);
    let (seed, other) = (rig.seed(1), rig.plain(2));
    rig.says_bits(other, &[0]);
    assert!(rig.heard(other).contains(&Said::Interested));
    rig.serve_all(seed);
    rig.wait(secs(1));
    assert_eq!(rig.heard(other).iter().filter(|said| **said == Said::NotInterested).count(), 1);
}

#[test]
fn haves_wait_for_each_other_and_wake_a_task_once() {
    let mut rig = Rig::new(4, &[]);
    let (seed, other) = (rig.fast(1), rig.fast(2));
    rig.says_bits(seed, &[0, 1, 2]);
    rig.says(seed, &Message::Unchoke);
    rig.says(other, &Message::HaveNone);
    rig.heard(other);
    rig.woken();
    rig.serve_all(seed);
    let woken = rig.woken();
    assert!(!woken.contains(&other), "not before the delay is over");
    rig.wait(std::time::Duration::from_millis(200));
    assert_eq!(rig.woken().iter().filter(|key| **key == other).count(), 1);
    let mut told = rig.heard(other);
    told.sort_by_key(|said| format!("{said:?}"));
    assert_eq!(told, [Said::Have(0), Said::Have(1), Said::Have(2)]);
    rig.wait(secs(1));
    assert_eq!(rig.heard(other), [], "each once");
}

#[test]
fn haves_go_along_with_whatever_goes_before() {
    let mut rig = Rig::new(2, &[]);
    let (seed, other) = (rig.seed(1), rig.fast(2));
    rig.heard(other);
    let asked = rig.requests(seed);
    for (piece, number) in asked.into_iter().filter(|(piece, _)| *piece == 0) {
        rig.sends(seed, piece, number);
    }
    for number in 0..BLOCKS {
        rig.sends(seed, 0, number);
    }
    rig.serve_all(seed);
    rig.stored(0);
    assert!(rig.heard(other).contains(&Said::Have(0)));
}

#[test]
fn who_comes_late_learns_of_a_piece_from_the_bitfield_alone() {
    let mut rig = Rig::new(2, &[]);
    let seed = rig.seed(1);
    rig.serve_all(seed);
    let late = rig.fast(2);
    let heard = rig.heard(late);
    assert!(heard.contains(&Said::HaveAll));
    assert!(!heard.iter().any(|said| matches!(said, Said::Have(_))));
}
