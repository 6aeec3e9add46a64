//! Regressions that the simulation found.
use std::net::SocketAddr;

use wgo_proto::wire::{Frame, Limits, Message, Reserved, next_frame};
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PeerId, PieceIndex, WireHash, layout::Layout};

use super::super::{PieceOutcome, Start, Swarm, SwarmConfig};
use crate::peer::{CloseReason, Direction, Encryption, PeerInfo};
use crate::piece_mgr::BadBlocks;
use crate::status::Counters;
use crate::tracker::Tiers;
use crate::{PeerKey, Time, TorrentId};

const NOW: Time = Time::ZERO;

/// A torrent of four pieces of four blocks, of which we have `have`.
fn swarm(have: &[u32]) -> Swarm<Vec<u8>> {
    let layout = Layout::v1(4 * BLOCK_LEN, &[16 * u64::from(BLOCK_LEN)]).unwrap();
    let mut bits = Bitfield::new(4);
    have.iter().for_each(|piece| assert!(bits.set(*piece)));
    let config = SwarmConfig {
        peer_id: PeerId([99; 20]),
        listen_port: 0,
        max_peers: 10,
        private: false,
        pex: true,
        metadata_len: 0,
    };
    let (counters, tiers) = (Counters::default(), Tiers::from([]));
    let (id, hash) = (TorrentId(1), WireHash([2; 20]));
    let mut swarm = Swarm::new(
        NOW,
        config,
        Start { id, hash, layout, have: bits, selection: None, counters, tiers, seed: 3 },
    );
    swarm.set_memory(NOW, 100);
    swarm
}

/// A connection from `10.0.0.n` that speaks BEP 6.
fn join(swarm: &mut Swarm<Vec<u8>>, n: u8) -> PeerKey {
    let addr = SocketAddr::from(([11, 0, 0, n], 4000));
    let info = PeerInfo {
        addr,
        direction: Direction::Incoming,
        id: PeerId([n; 20]),
        reserved: Reserved::FAST,
        encryption: Encryption::None,
    };
    swarm.connect(NOW, info).unwrap()
}

fn hear(swarm: &mut Swarm<Vec<u8>>, key: PeerKey, message: &Message<'_>) {
    swarm.on_message(NOW, key, message).unwrap();
    swarm.check_invariants();
}

/// The requests and rejects that are on their way out to a peer.
fn said(swarm: &mut Swarm<Vec<u8>>, key: PeerKey) -> (Vec<Block>, Vec<Block>) {
    let (mut control, mut uploads) = (Vec::new(), Vec::new());
    swarm.poll_transmit(NOW, key, 0, &mut control, &mut uploads);
    let (mut at, mut requests, mut rejects) = (0, Vec::new(), Vec::new());
    while at < control.len() {
        let Frame::Message { message, consumed } = next_frame(&control[at..], &Limits::new(Some(4))).unwrap()
        else {
            panic!("only messages are in the outbox");
        };
        at += consumed;
        match message {
            Message::Request(block) => requests.push(block),
            Message::Reject(block) => rejects.push(block),
            _ => {}
        }
    }
    (requests, rejects)
}

#[test]
fn a_choke_leaves_requests_for_allowed_pieces_alone() {
    let mut swarm = swarm(&[]);
    let key = join(&mut swarm, 1);
    hear(&mut swarm, key, &Message::HaveAll);
    hear(&mut swarm, key, &Message::AllowedFast(PieceIndex(2)));
    let (first, _) = said(&mut swarm, key);
    assert_eq!(first.len(), 4, "{first:?}");
    assert!(first.iter().all(|block| block.piece == PieceIndex(2)));
    hear(&mut swarm, key, &Message::Choke);
    assert_eq!(said(&mut swarm, key).0, [], "the peer serves them all the same (BEP 6)");
}

#[test]
fn a_reject_of_one_block_of_an_allowed_piece_gives_up_the_others() {
    let mut swarm = swarm(&[]);
    let key = join(&mut swarm, 1);
    hear(&mut swarm, key, &Message::HaveAll);
    hear(&mut swarm, key, &Message::AllowedFast(PieceIndex(2)));
    let (requests, _) = said(&mut swarm, key);
    swarm.on_block(NOW, key, requests[3], Vec::new()).unwrap();
    hear(&mut swarm, key, &Message::Reject(requests[0]));
    assert_eq!(said(&mut swarm, key).0, []);
    // Another peer may be asked for them now; what still comes from this one is taken.
    for block in &requests[1..3] {
        swarm.on_block(NOW, key, *block, Vec::new()).unwrap();
        swarm.check_invariants();
    }
    assert_eq!(swarm.held_blocks(), 3);
}

#[test]
fn a_peer_that_is_about_to_go_holds_no_slot() {
    let mut swarm = swarm(&[0]);
    let key = join(&mut swarm, 1);
    hear(&mut swarm, key, &Message::HaveNone);
    hear(&mut swarm, key, &Message::Interested);
    swarm.unchoke(NOW, key, false);
    assert_eq!(swarm.unchoked(), (1, 0));
    swarm.close_all(&CloseReason::Stopped);
    assert_eq!(swarm.unchoked(), (0, 0));
}

#[test]
fn requests_for_a_piece_that_is_lost_are_rejected_and_not_served() {
    let mut swarm = swarm(&[0, 1]);
    let key = join(&mut swarm, 1);
    hear(&mut swarm, key, &Message::HaveNone);
    hear(&mut swarm, key, &Message::Interested);
    swarm.unchoke(NOW, key, false);
    let block = |piece| swarm.layout().block(PieceIndex(piece), 0);
    let (lost, kept) = (block(0), block(1));
    hear(&mut swarm, key, &Message::Request(lost));
    hear(&mut swarm, key, &Message::Request(kept));
    swarm.lose(NOW, [PieceIndex(0)]);
    swarm.check_invariants();
    assert_eq!(said(&mut swarm, key).1, [lost]);
    let mut uploads = Vec::new();
    swarm.poll_transmit(NOW, key, 1 << 20, &mut Vec::new(), &mut uploads);
    assert_eq!(uploads, [kept]);
}

#[test]
fn a_poisoner_that_leaves_before_the_verdict_is_banned_all_the_same() {
    let mut swarm = swarm(&[]);
    let key = join(&mut swarm, 7);
    hear(&mut swarm, key, &Message::HaveAll);
    hear(&mut swarm, key, &Message::Unchoke);
    let (requests, _) = said(&mut swarm, key);
    let piece = requests[0].piece;
    let mut complete = None;
    for block in requests.iter().filter(|block| block.piece == piece) {
        complete = swarm.on_block(NOW, key, *block, Vec::new()).unwrap();
    }
    assert_eq!(complete.unwrap().piece, piece);
    swarm.disconnect(NOW, key, CloseReason::Gone("on purpose".into()));
    swarm.on_piece(NOW, piece, PieceOutcome::BadHash(BadBlocks::All));
    swarm.check_invariants();
    let addr = SocketAddr::from(([11, 0, 0, 7], 4001));
    let info = PeerInfo {
        addr,
        direction: Direction::Incoming,
        id: PeerId([8; 20]),
        reserved: Reserved::FAST,
        encryption: Encryption::None,
    };
    assert!(matches!(swarm.connect(NOW, info), Err(CloseReason::Banned(_))));
}
