//! Pieces whose hash is wrong: who is banned, who is only suspected.
use super::rig::*;
use crate::peer::{CloseReason, PeerFault, PeerInfo};
use crate::piece_mgr::BadBlocks;
use crate::swarm::PieceOutcome;
use crate::units::PeerKey;
use wgo_proto::PieceIndex;
use wgo_proto::wire::{Message, Reserved};

fn fails(rig: &mut Rig, piece: u32) {
    rig.swarm.on_piece(rig.now, PieceIndex(piece), PieceOutcome::BadHash(BadBlocks::All));
    rig.check();
}

/// The peer answers what it was asked for and is asked for meanwhile, until a piece is whole.
fn serves_a_piece(rig: &mut Rig, key: PeerKey) -> u32 {
    for _ in 0..20 {
        for (piece, number) in rig.requests(key) {
            if let Some(complete) = rig.sends(key, piece, number) {
                return complete.piece.0;
            }
        }
        rig.wait(secs(1));
    }
    panic!("no piece came of it");
}

#[test]
fn who_alone_sent_a_bad_piece_is_banned_for_good() {
    let mut rig = Rig::new(3, &[]);
    let key = rig.seed(1);
    let piece = serves_a_piece(&mut rig, key);
    rig.woken();
    fails(&mut rig, piece);
    assert_eq!(rig.closing(key), Some(CloseReason::Fault(PeerFault::Poisoned(PieceIndex(piece)))));
    assert!(rig.woken().contains(&key));
    rig.leaves(key);
    let again = rig.swarm.connect(rig.now, Rig::info(1, Reserved::default()));
    assert!(matches!(again, Err(CloseReason::Banned(_))));
    let view = rig.swarm.view(rig.now);
    assert_eq!((view.hash_failures, view.faults), (1, 1));
    assert_eq!(view.counters.wasted, u64::from(BLOCKS * wgo_proto::BLOCK_LEN));
}

/// Each byte that came is of use or came in vain: what a banned peer had sent of other pieces is fetched again.
#[test]
fn what_a_banned_peer_sent_of_other_pieces_came_in_vain() {
    let mut rig = Rig::new(3, &[]);
    let key = rig.seed(1);
    let piece = serves_a_piece(&mut rig, key);
    let mut more = Vec::new();
    for _ in 0..5 {
        more.extend(rig.requests(key).into_iter().filter(|(of, _)| *of != piece));
        rig.wait(secs(1));
    }
    let (other, number) = more[0];
    assert!(rig.sends(key, other, number).is_none(), "a part of another piece");
    fails(&mut rig, piece);
    let counters = rig.swarm.view(rig.now).counters;
    assert_eq!(counters.downloaded, u64::from((BLOCKS + 1) * wgo_proto::BLOCK_LEN));
    assert_eq!(counters.wasted, counters.downloaded);
}

#[test]
fn of_several_contributors_none_is_banned_before_the_culprit_is_clear() {
    let mut rig = Rig::new(1, &[]);
    let (a, b) = (rig.seed(1), rig.fast(2));
    let of_a = rig.requests(a);
    rig.sends(a, of_a[0].0, of_a[0].1);
    rig.says(a, &Message::Choke);
    rig.says(b, &Message::HaveAll);
    rig.says(b, &Message::Unchoke);
    rig.wait(secs(1));
    let piece = serves_a_piece(&mut rig, b);
    fails(&mut rig, piece);
    assert_eq!((rig.closing(a), rig.closing(b)), (None, None), "one of them");
    rig.wait(secs(1));
    let piece = serves_a_piece(&mut rig, b);
    fails(&mut rig, piece);
    assert!(matches!(rig.closing(b), Some(CloseReason::Fault(PeerFault::Poisoned(_)))), "alone this time");
    assert_eq!(rig.closing(a), None);
}

#[test]
fn named_bad_blocks_convict_who_sent_them() {
    let mut rig = Rig::new(1, &[]);
    let (a, b) = (rig.seed(1), rig.fast(2));
    let of_a = rig.requests(a);
    rig.sends(a, of_a[0].0, of_a[0].1);
    rig.says(a, &Message::Choke);
    rig.says(b, &Message::HaveAll);
    rig.says(b, &Message::Unchoke);
    rig.wait(secs(1));
    serves_a_piece(&mut rig, b);
    let bad = BadBlocks::Some { numbers: vec![of_a[0].1], good: Vec::new() };
    rig.swarm.on_piece(rig.now, PieceIndex(0), PieceOutcome::BadHash(bad));
    rig.check();
    assert!(rig.closing(a).is_some());
    assert_eq!(rig.closing(b), None);
}

/// One ban is of a whole /64: whoever else is connected from there goes with the one who earned it.
#[test]
fn all_connections_that_a_ban_covers_end() {
    let mut rig = Rig::new(3, &[]);
    let mut from = |addr: &str, n: u8| {
        let info = PeerInfo { addr: addr.parse().unwrap(), ..Rig::info(n, fast()) };
        rig.swarm.connect(rig.now, info).unwrap()
    };
    let key = from("[2001:470:1:2::3]:7000", 1);
    let (beside, elsewhere) = (from("[2001:470:1:2::4]:7000", 2), from("[2001:470:1:3::3]:7000", 3));
    rig.says(key, &Message::HaveAll);
    rig.says(key, &Message::Unchoke);
    let piece = serves_a_piece(&mut rig, key);
    rig.woken();
    fails(&mut rig, piece);
    let why = CloseReason::Banned(PeerFault::Poisoned(PieceIndex(piece)).to_string());
    assert_eq!((rig.closing(beside), rig.closing(elsewhere)), (Some(why), None));
    assert!(rig.woken().contains(&beside));
}
