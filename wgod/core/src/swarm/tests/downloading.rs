//! Requests: how many, to whom, and what a choke, a reject or another peer's block does to them.
use super::rig::*;
use crate::peer::PeerFault;
use crate::swarm::Action;
use wgo_proto::wire::Message;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex};

#[test]
fn nothing_is_asked_of_a_peer_that_chokes_us() {
    let mut rig = Rig::new(4, &[]);
    let key = rig.fast(1);
    rig.says(key, &Message::HaveAll);
    assert_eq!(rig.requests(key), []);
    rig.says(key, &Message::Unchoke);
    assert!(!rig.requests(key).is_empty());
}

#[test]
fn the_pipeline_grows_with_what_comes() {
    let mut rig = Rig::new(200, &[]);
    let key = rig.seed(1);
    let first = rig.requests(key);
    for (piece, number) in &first {
        rig.sends(key, *piece, *number);
    }
    let second = rig.requests(key).len();
    assert!(second > first.len(), "{} then {second}", first.len());
}

#[test]
fn under_a_limit_the_pipeline_grows_only_when_nothing_is_there_to_read() {
    let mut rig = Rig::new(200, &[]);
    rig.swarm.set_download_limited(true);
    let key = rig.seed(1);
    let mut asked = rig.requests(key);
    for _ in 0..10 {
        rig.wait(secs(1));
        asked.extend(rig.requests(key));
        for (piece, number) in std::mem::take(&mut asked) {
            if let Some(complete) = rig.sends(key, piece, number) {
                rig.stored(complete.piece.0);
            }
        }
    }
    rig.wait(secs(1));
    asked.extend(rig.requests(key));
    rig.swarm.dry(rig.now, key);
    let more = rig.requests(key).len();
    assert_eq!((asked.len(), more), (4, 4));
    rig.swarm.dry(rig.now, key);
    assert_eq!(rig.requests(key), [], "not twice for the same");
}

#[test]
fn reqq_bounds_the_pipeline() {
    let mut rig = Rig::new(200, &[]);
    let key = rig.connect(1, wgo_proto::wire::Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]));
    rig.extend(key, |handshake| handshake.reqq = Some(3));
    rig.says(key, &Message::HaveAll);
    rig.says(key, &Message::Unchoke);
    let mut asked = rig.requests(key);
    assert_eq!(asked.len(), 3);
    let mut outstanding = 3;
    for _ in 0..50 {
        let (piece, number) = asked.remove(0);
        if let Some(complete) = rig.sends(key, piece, number) {
            rig.stored(complete.piece.0);
        }
        let more = rig.requests(key);
        outstanding = outstanding - 1 + more.len();
        assert!(outstanding <= 3);
        asked.extend(more);
    }
}

#[test]
fn no_block_is_asked_of_two_peers_before_the_end() {
    let mut rig = Rig::new(100, &[]);
    let (a, b) = (rig.seed(1), rig.seed(2));
    let (of_a, of_b) = (rig.requests(a), rig.requests(b));
    assert!(of_a.iter().all(|block| !of_b.contains(block)));
}

#[test]
fn a_choke_hands_requests_to_others_and_what_was_on_its_way_still_counts() {
    let mut rig = Rig::new(2, &[]);
    let (a, b) = (rig.seed(1), rig.fast(2));
    rig.says(b, &Message::HaveAll);
    let of_a = rig.requests(a);
    rig.sends(a, of_a[0].0, of_a[0].1);
    rig.says(a, &Message::Choke);
    rig.says(b, &Message::Unchoke);
    rig.wait(secs(1));
    let of_b = rig.requests(b);
    assert!(of_b.contains(&of_a[1]), "{of_b:?}");
    rig.sends(a, of_a[1].0, of_a[1].1);
    assert!(rig.heard(b).contains(&Said::Cancel(of_a[1].0, of_a[1].1)));
    assert_eq!(rig.swarm.view(rig.now).counters.wasted, 0);
}

#[test]
fn chokes_again_and_again_cause_one_refill() {
    let mut rig = Rig::new(50, &[]);
    let (a, b) = (rig.seed(1), rig.seed(2));
    rig.requests(b);
    for _ in 0..100 {
        rig.says(a, &Message::Choke);
        rig.says(a, &Message::Unchoke);
    }
    assert_eq!(rig.requests(b), [], "nothing is handed on at once");
}

#[test]
fn a_choke_of_a_fast_peer_leaves_what_it_allows() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.fast(1);
    rig.says(key, &Message::HaveAll);
    rig.says(key, &Message::AllowedFast(PieceIndex(1)));
    let asked = rig.requests(key);
    assert!(!asked.is_empty() && asked.iter().all(|(piece, _)| *piece == 1), "{asked:?}");
    rig.says(key, &Message::Unchoke);
    rig.says(key, &Message::Choke);
    assert!(rig.requests(key).iter().all(|block| !asked.contains(block)), "not asked for twice");
    rig.serve_all(key);
    for (piece, number) in asked {
        if let Some(complete) = rig.sends(key, piece, number) {
            rig.stored(complete.piece.0);
        }
    }
    rig.serve_all(key);
    assert_eq!(rig.swarm.view(rig.now).counters.wasted, 0);
    assert!(rig.swarm.have().get(1) && !rig.swarm.have().get(0));
}

#[test]
fn a_rejected_block_is_asked_for_again_not_at_once() {
    let mut rig = Rig::new(1, &[]);
    let key = rig.seed(1);
    let asked = rig.requests(key);
    for (piece, number) in &asked {
        rig.says(key, &Message::Reject(block(*piece, *number)));
    }
    assert_eq!(rig.requests(key), []);
    rig.wait(secs(1));
    assert!(!rig.requests(key).is_empty());
}

#[test]
fn a_peer_that_takes_back_an_allowed_piece_is_asked_for_none_of_it() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.fast(1);
    rig.says(key, &Message::HaveAll);
    rig.says(key, &Message::AllowedFast(PieceIndex(0)));
    let asked = rig.requests(key);
    rig.says(key, &Message::Reject(block(asked[0].0, asked[0].1)));
    rig.wait(secs(3));
    assert_eq!(rig.requests(key), []);
}

#[test]
fn a_suggested_piece_is_opened_first() {
    let mut rig = Rig::new(100, &[]);
    let key = rig.fast(1);
    rig.says(key, &Message::HaveAll);
    rig.says(key, &Message::Suggest(PieceIndex(77)));
    rig.says(key, &Message::Unchoke);
    assert_eq!(rig.requests(key)[0].0, 77);
}

#[test]
fn at_the_end_blocks_are_asked_of_several_and_the_rest_cancelled() {
    let mut rig = Rig::new(1, &[]);
    let a = rig.seed(1);
    let of_a = rig.requests(a);
    assert_eq!(of_a.len(), 4, "all of the piece");
    let b = rig.seed(2);
    let of_b = rig.requests(b);
    assert!(!of_b.is_empty(), "endgame");
    let twice = of_b[0];
    rig.sends(a, twice.0, twice.1);
    assert!(rig.heard(b).contains(&Said::Cancel(twice.0, twice.1)));
    rig.sends(b, twice.0, twice.1);
    assert_eq!(rig.swarm.view(rig.now).counters.wasted, u64::from(BLOCK_LEN), "it came all the same");
}

#[test]
fn unasked_blocks_are_wasted_and_many_are_a_fault() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.fast(1);
    rig.says(key, &Message::HaveAll);
    assert!(rig.sends(key, 0, 0).is_none());
    assert_eq!(rig.swarm.view(rig.now).counters.wasted, u64::from(BLOCK_LEN));
    assert_eq!(rig.swarm.held_blocks(), 0);
    let fault = (0..1000).find_map(|_| rig.try_send(key, block(0, 0)).err());
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))));
}

#[test]
fn blocks_outside_of_the_torrent_are_a_fault() {
    let wrong = [
        Block { len: BLOCK_LEN - 1, ..block(0, 0) },
        Block { offset: 1, ..block(0, 0) },
        Block { offset: BLOCKS * BLOCK_LEN, ..block(0, 0) },
        Block { piece: PieceIndex(2), ..block(0, 0) },
        Block { len: 2 * BLOCK_LEN, ..block(0, 0) },
        Block { offset: u32::MAX - 3, ..block(0, 0) },
    ];
    for block in wrong {
        let mut rig = Rig::new(2, &[]);
        let key = rig.seed(1);
        assert_eq!(
            rig.try_send(key, block).expect_err("refused"),
            PeerFault::OutOfRange { message: "piece", block }
        );
    }
}

#[test]
fn a_torrent_is_fetched_and_finishes_once() {
    let mut rig = Rig::new(6, &[]);
    let key = rig.seed(1);
    rig.serve_all(key);
    let view = rig.swarm.view(rig.now);
    assert!(view.complete && view.finished);
    assert_eq!((view.left_bytes, view.done_bytes), (0, u64::from(6 * BLOCKS * BLOCK_LEN)));
    assert_eq!(rig.count(|a| matches!(a, Action::Finished)), 1);
    assert_eq!(rig.swarm.begin_checkpoint(), view.done_bytes);
    assert_eq!(rig.swarm.begin_checkpoint(), 0);
}

#[test]
fn a_piece_that_could_not_be_written_is_fetched_again() {
    let mut rig = Rig::new(1, &[]);
    let key = rig.seed(1);
    let asked = rig.requests(key);
    let complete = asked.iter().find_map(|(piece, number)| rig.sends(key, *piece, *number));
    let piece = complete.expect("the last block completes it").piece;
    rig.swarm.on_piece(rig.now, piece, crate::swarm::PieceOutcome::DiskFailed);
    rig.check();
    assert_eq!(rig.requests(key).len(), 4);
    assert_eq!(rig.closing(key), None, "it is not the peer's fault");
}

#[test]
fn paused_requests_end_and_come_back() {
    let mut rig = Rig::new(4, &[]);
    let key = rig.seed(1);
    rig.heard(key);
    rig.swarm.set_requests_paused(rig.now, true);
    rig.check();
    assert_eq!(rig.heard(key), [Said::NotInterested]);
    rig.wait(secs(5));
    assert_eq!(rig.heard(key), []);
    rig.swarm.set_requests_paused(rig.now, false);
    let heard = rig.heard(key);
    assert_eq!(heard[0], Said::Interested);
    assert!(heard.len() > 1, "and asks again");
}
