//! What a seed suggests as long as it is the only one who has some pieces.
use std::collections::BTreeSet;

use wgo_proto::PieceIndex;
use wgo_proto::wire::Message;

use super::rig::{Rig, Said, block, secs};
use crate::units::PeerKey;

/// A seed of so many pieces, which is all that anybody has.
fn seed(pieces: u32) -> Rig {
    Rig::new(pieces, &(0..pieces).collect::<Vec<_>>())
}

/// A peer that has nothing, interested and unchoked; what was suggested to it, before the unchoke.
fn takes(rig: &mut Rig, n: u8) -> (PeerKey, Vec<u32>) {
    let key = rig.fast(n);
    rig.says(key, &Message::HaveNone);
    rig.says(key, &Message::Interested);
    let now = rig.now;
    rig.swarm.unchoke(now, key, false);
    let heard = rig.heard(key);
    let unchoked = heard.iter().position(|said| *said == Said::Unchoke).expect("it is unchoked");
    assert!(heard[unchoked..].iter().all(|said| !matches!(said, Said::Suggest(_))));
    (key, suggested(&heard))
}

fn suggested(heard: &[Said]) -> Vec<u32> {
    let piece = |said: &Said| if let Said::Suggest(piece) = said { Some(*piece) } else { None };
    heard.iter().filter_map(piece).collect()
}

#[test]
fn each_peer_is_suggested_other_pieces_until_all_are_promised() {
    let mut rig = seed(8);
    let mut all = Vec::new();
    let takers: Vec<_> = (1..=3).map(|n| takes(&mut rig, n)).collect();
    takers.iter().for_each(|(_, pieces)| all.extend(pieces));
    assert_eq!(all.len(), 6, "two each");
    let (key, pieces) = takers[0].clone();
    for piece in pieces {
        rig.says(key, &Message::Request(block(piece, 0)));
        rig.says(key, &Message::Request(block(piece, 1)));
    }
    all.extend(suggested(&rig.heard(key)));
    assert_eq!(all.len(), 8, "another for each that it asked for");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 8, "none of them twice: {all:?}");
    let (_, none) = takes(&mut rig, 4);
    assert_eq!(none, [], "all are promised");
}

#[test]
fn what_a_choked_peer_did_not_ask_for_is_suggested_to_others() {
    let mut rig = seed(4);
    let (first, one) = takes(&mut rig, 1);
    let (_, two) = takes(&mut rig, 2);
    rig.says(first, &Message::Request(block(one[0], 0)));
    let now = rig.now;
    rig.swarm.choke(now, first);
    let (third, again) = takes(&mut rig, 3);
    assert_eq!(again, [one[1]], "{one:?} {two:?}");
    rig.leaves(third);
    assert_eq!(takes(&mut rig, 4).1, [one[1]]);
}

#[test]
fn nothing_is_suggested_that_somebody_has_nor_to_who_does_not_know_suggestions() {
    let mut rig = seed(4);
    let plain = rig.plain(1);
    rig.says(plain, &Message::Interested);
    let now = rig.now;
    rig.swarm.unchoke(now, plain, false);
    assert_eq!(suggested(&rig.heard(plain)), []);
    rig.says_bits(plain, &[0, 2]);
    let (key, pieces) = takes(&mut rig, 2);
    assert_eq!(pieces.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&1, &3]));
    // All are at somebody's.
    rig.says(key, &Message::Have(PieceIndex(1)));
    rig.says(key, &Message::Have(PieceIndex(3)));
    rig.wait(secs(2));
    rig.leaves(key);
    assert_eq!(takes(&mut rig, 3).1, [], "done is done");
}

#[test]
fn a_seed_serves_nobody_while_choked_before_each_piece_has_left_it() {
    let mut rig = seed(12);
    let (key, _) = takes(&mut rig, 1);
    let choked = rig.fast(2);
    rig.says(choked, &Message::HaveNone);
    rig.says(choked, &Message::Interested);
    let heard = rig.heard(choked);
    let allowed = heard.iter().find_map(|said| if let Said::AllowedFast(p) = said { Some(*p) } else { None });
    let piece = allowed.expect("some are allowed");
    rig.says(choked, &Message::Request(block(piece, 0)));
    assert_eq!(rig.heard(choked), [Said::Reject(piece, 0)]);
    (0..12).for_each(|piece| rig.says(key, &Message::Have(PieceIndex(piece))));
    rig.wait(secs(2));
    rig.says(choked, &Message::Request(block(piece, 0)));
    let (said, blocks) = rig.pulled(choked, 1 << 20);
    assert!(!said.contains(&Said::Reject(piece, 0)));
    assert_eq!(blocks, [block(piece, 0)]);
    // Who has some pieces is a starting peer no more.
    (0..12)
        .filter(|other| *other != piece)
        .take(4)
        .for_each(|p| rig.says(choked, &Message::Have(PieceIndex(p))));
    rig.says(choked, &Message::Request(block(piece, 1)));
    assert!(rig.heard(choked).contains(&Said::Reject(piece, 1)));
}
