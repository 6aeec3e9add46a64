//! Who is blamed for a bad piece, and how it is fetched again.
use super::*;
use smallvec::smallvec;

/// A torrent of one piece of four blocks that peers 0 and 1 have sent two blocks each of; it failed.
fn failed_by_two() -> PieceMgr<Buf> {
    let mut mgr = torrent(1, 4);
    mgr.add_peer(&PeerHave::All);
    fill(&mut mgr, Time::ZERO, &[(0, 2), (1, 2)]);
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Suspects(smallvec![peer(0), peer(1)]));
    mgr.check_invariants();
    mgr
}

/// Each peer in turn asks for and sends so many blocks.
fn fill(mgr: &mut PieceMgr<Buf>, now: Time, parts: &[(u32, usize)]) {
    for &(slot, count) in parts {
        let blocks = pick_at(mgr, now, ask(slot, &PeerHave::All, count));
        assert_eq!(blocks.len(), count);
        receive_all(mgr, slot, &blocks);
    }
}

#[test]
fn who_sent_a_whole_bad_piece_is_to_blame() {
    let mut mgr = torrent(1, 4);
    fill(&mut mgr, Time::ZERO, &[(3, 4)]);
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Proven(smallvec![peer(3)]));
    mgr.check_invariants();
    assert_eq!(mgr.state(index(0)), PieceState::Missing);
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Suspects(smallvec![]), "no verdict is due");
}

#[test]
fn a_piece_of_several_hands_is_fetched_again_from_one() {
    let mut mgr = failed_by_two();
    let mine = pick(&mut mgr, ask(1, &PeerHave::All, 3));
    assert_eq!(mine.len(), 3);
    assert_eq!(pick(&mut mgr, ask(0, &PeerHave::All, 9)), [], "nor in endgame");
    receive_all(&mut mgr, 1, &mine);
    assert_eq!(pick_at(&mut mgr, at(9), ask(0, &PeerHave::All, 9)), [], "its peer may yet go on");
    let rest = pick(&mut mgr, ask(1, &PeerHave::All, 9));
    receive_all(&mut mgr, 1, &rest);
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Proven(smallvec![peer(1)]));
}

#[test]
fn a_retry_goes_on_with_another_peer_when_its_own_stops() {
    let mut mgr = failed_by_two();
    let mine = pick(&mut mgr, ask(0, &PeerHave::All, 3));
    receive_all(&mut mgr, 0, &mine[..1]);
    mine[1..].iter().for_each(|&block| mgr.release(peer(0), block));
    fill(&mut mgr, Time::ZERO, &[(1, 1)]);
    assert_eq!(receive(&mut mgr, 0, mine[2]), Receive::Unwanted(0), "what comes late now would mix hands");
    fill(&mut mgr, at(20), &[(2, 2)]);
    // Three hands again: nobody is proven guilty, and the next retry is strict.
    assert!(matches!(mgr.failed(index(0), BadBlocks::All), Blame::Suspects(three) if three.len() == 3));
    fill(&mut mgr, Time::ZERO, &[(0, 2)]);
    let all = pick_at(&mut mgr, at(20), ask(2, &PeerHave::All, 9));
    assert_eq!(all.len(), 4, "what the one before had sent is dropped");
    receive_all(&mut mgr, 2, &all);
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Proven(smallvec![peer(2)]));
}

#[test]
fn bad_blocks_that_are_known_name_their_senders_and_the_good_ones_are_kept() {
    let mut mgr = torrent(1, 4);
    fill(&mut mgr, Time::ZERO, &[(0, 1)]);
    mgr.spill();
    mgr.spilled(index(0), true);
    fill(&mut mgr, Time::ZERO, &[(1, 1), (2, 2)]);
    let bad = BadBlocks::Some { numbers: vec![1, 9], good: vec![(2, 2), (1, 1), (77, 0)] };
    assert_eq!(mgr.failed(index(0), bad), Blame::Proven(smallvec![peer(1)]));
    mgr.check_invariants();
    assert_eq!(mgr.held_blocks(), 1);
    // 0 is on disk, 2 was given back; 1 is bad and 3 was not given back.
    let blocks = pick(&mut mgr, ask(5, &PeerHave::All, 9));
    assert_eq!(blocks.iter().map(|block| block.number()).collect::<Vec<_>>(), [1, 3]);
    let complete = receive_all(&mut mgr, 5, &blocks);
    assert_eq!(complete[0].blocks, [None, Some(5), Some(2), Some(5)]);
}

#[test]
fn blocks_restored_from_disk_put_nobody_in_the_dock() {
    let mut mgr = torrent(1, 4);
    mgr.restore_partial(index(0), &bits(4, [0, 1]));
    fill(&mut mgr, Time::ZERO, &[(0, 2)]);
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Suspects(smallvec![peer(0)]));
    fill(&mut mgr, Time::ZERO, &[(0, 4)]);
    mgr.stored(index(0));
    mgr.check_invariants();

    let mut mgr = torrent(1, 4);
    mgr.restore_partial(index(0), &Bitfield::full(4));
    assert_eq!(mgr.failed(index(0), BadBlocks::All), Blame::Suspects(smallvec![]));
    mgr.check_invariants();
    assert_eq!(mgr.state(index(0)), PieceState::Missing);
    mgr.restore_partial(index(0), &Bitfield::full(4));
    let bad = BadBlocks::Some { numbers: vec![3], good: vec![] };
    assert_eq!(mgr.failed(index(0), bad), Blame::Suspects(smallvec![]));
    assert_eq!(mgr.partial_masks().next().unwrap().1, bits(4, [0, 1, 2]));
}
