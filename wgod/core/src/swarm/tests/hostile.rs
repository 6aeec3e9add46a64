//! Peers that mean ill: nothing that they say makes us grow, spin or fall.
use super::rig::*;
use crate::peer::{CloseReason, MAX_OUTBOX, PeerFault};
use wgo_proto::PieceIndex;
use wgo_proto::wire::{HashRange, Message};

#[test]
fn a_peer_that_does_not_read_is_closed_when_its_outbox_is_full() {
    let mut rig = Rig::new(2, &[0, 1]);
    let key = rig.fast(1);
    let ask = Message::HashRequest(HashRange {
        pieces_root: [0; 32],
        base_layer: 0,
        index: 0,
        length: 2,
        proof_layers: 0,
    });
    for _ in 0..MAX_OUTBOX / 53 + 2 {
        rig.says(key, &ask);
    }
    assert_eq!(rig.closing(key), Some(CloseReason::NotReading));
    rig.says(key, &ask);
    let (mut control, mut blocks) = (Vec::new(), Vec::new());
    rig.swarm.poll_transmit(rig.now, key, 0, &mut control, &mut blocks);
    assert!(control.len() <= MAX_OUTBOX + 64, "{}", control.len());
}

#[test]
fn rejects_of_nothing_are_a_nuisance() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.seed(1);
    let fault = (0..1000).find_map(|_| rig.try_say(key, &Message::Reject(block(1, 3))).err());
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))));
}

#[test]
fn who_has_all_or_none_again_and_again_is_a_nuisance() {
    for said in [Message::HaveNone, Message::HaveAll] {
        let mut rig = Rig::new(100, &[]);
        let key = rig.fast(1);
        rig.says(key, &Message::Bitfield(&[0x80; 13]));
        let fault = (0..20).find_map(|_| rig.try_say(key, &said).err());
        assert!(matches!(fault, Some(PeerFault::Nuisance(_))), "{said:?}");
        let mut rig = Rig::new(100, &[]);
        let key = rig.fast(1);
        rig.says(key, &Message::Bitfield(&[0x80; 13]));
        // aria2 says so when it is complete.
        rig.says(key, &Message::HaveAll);
    }
}

#[test]
fn suggestions_and_allowed_pieces_are_bounded() {
    let mut rig = Rig::new(500, &[]);
    let key = rig.fast(1);
    rig.says(key, &Message::HaveAll);
    for piece in 0..500 {
        rig.says(key, &Message::Suggest(PieceIndex(piece)));
        rig.says(key, &Message::AllowedFast(PieceIndex(piece)));
    }
    let pieces: std::collections::BTreeSet<u32> = {
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let asked = rig.requests(key);
            if asked.is_empty() {
                break seen;
            }
            for (piece, number) in asked {
                seen.insert(piece);
                if let Some(complete) = rig.sends(key, piece, number) {
                    rig.stored(complete.piece.0);
                }
            }
        }
    };
    assert_eq!(pieces.len(), crate::peer::MAX_ALLOWED_FAST);
}

#[test]
fn listen_ports_said_again_and_again_do_not_fill_the_table() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.connect(1, wgo_proto::wire::Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]));
    for port in 1..=2000 {
        rig.extend(key, |handshake| handshake.port = Some(port));
    }
    rig.leaves(key);
    rig.wait(secs(120));
    let dialled = rig.count(|action| matches!(action, crate::swarm::Action::Dial(..)));
    assert!(dialled <= 8, "{dialled} ports of one address dialled");
}

#[test]
fn a_peer_that_hardly_reads_holds_a_bounded_queue_and_nobody_else_up() {
    let all: Vec<u32> = (0..200).collect();
    let mut rig = Rig::new(200, &all);
    let (slow, other) = (rig.fast(1), rig.fast(2));
    for key in [slow, other] {
        rig.says(key, &Message::HaveNone);
        rig.says(key, &Message::Interested);
        rig.swarm.unchoke(rig.now, key, false);
    }
    let asked = |n: u32| block(n / 4 % 200, n % 4);
    (0..500).for_each(|n| rig.says(slow, &Message::Request(asked(n))));
    rig.pulled(slow, 1);
    for second in 0..120 {
        // A byte of the block that was pulled has left; its task pulls nothing more.
        rig.swarm.on_uploaded(rig.now, slow, 1);
        rig.says(other, &Message::Request(asked(second)));
        assert_eq!(rig.pulled(other, u64::MAX).1, [asked(second)], "the other is served at once");
        rig.wait(secs(1));
        let peer = rig.swarm.peers.peer(slow).expect("it is connected");
        assert_eq!((peer.uploads.len(), peer.outbox.len() < 64), (499, true), "second {second}");
    }
    // It asks for ever more: what is beyond the queue that we announced is refused, and then it goes.
    let fault = (500..10_000).find_map(|n| rig.try_say(slow, &Message::Request(asked(n))).err());
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))), "{fault:?}");
    let peer = rig.swarm.peers.peer(slow).expect("its task has not ended it");
    assert_eq!(peer.uploads.len(), crate::peer::uploads::MAX_QUEUED);
    assert!(peer.outbox.len() < 17 * 600, "{} bytes of rejects", peer.outbox.len());
}

#[test]
fn a_connection_at_rest_holds_nothing_spare() {
    let mut rig = Rig::new(200, &(0..100).collect::<Vec<_>>());
    let key = rig.seed(1);
    rig.says(key, &Message::Interested);
    rig.swarm.unchoke(rig.now, key, false);
    (0..50).for_each(|n| rig.says(key, &Message::Request(block(n, 0))));
    rig.serve_all(key);
    rig.pulled(key, u64::MAX);
    rig.wait(secs(2));
    rig.heard(key);
    rig.wait(secs(1));
    let peer = rig.swarm.peers.peer(key).expect("it is connected");
    assert_eq!((peer.outbox.capacity(), peer.uploads.capacity(), peer.pipeline.capacity()), (0, 0, 0));
}
