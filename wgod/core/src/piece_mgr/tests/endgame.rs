//! When blocks are asked of several peers, and what happens to the others then.
use super::*;

#[test]
fn blocks_are_asked_twice_only_when_all_that_can_be_had_is_asked_for() {
    let mut mgr = warm_torrent(3, 2);
    mgr.set_order(Order::Sequential);
    let (has, partial) = (some(7, [0, 1]), some(7, [0]));
    mgr.add_peer(&has);
    mgr.add_peer(&partial);
    let mine = pick(&mut mgr, ask(0, &has, 3));
    assert_eq!((mgr.is_endgame(), pick(&mut mgr, ask(1, &partial, 9))), (false, vec![]));
    let last = pick(&mut mgr, ask(0, &has, 9));
    assert!(mgr.is_endgame(), "nobody has piece 2, so it need not be asked for");
    let twice = pick(&mut mgr, ask(1, &partial, 9));
    assert_eq!(twice, mine[..2]);
    assert_eq!(pick(&mut mgr, ask(1, &partial, 9)), [], "a peer is asked once for a block");
    assert_eq!(mgr.requested_blocks(), 4, "each block is counted once");

    let Receive::Stored { cancel, complete: None } = receive(&mut mgr, 1, twice[0]) else { panic!() };
    assert_eq!(cancel[..], [peer(0)]);
    assert_eq!(receive(&mut mgr, 0, twice[0]), Receive::Duplicate(0));
    mgr.release(peer(0), twice[1]);
    mgr.release(peer(0), twice[1]);
    mgr.check_invariants();
    assert_eq!(mgr.requested_blocks(), 3, "peer 1 is still asked for the other");
    assert_eq!(receive_all(&mut mgr, 1, &twice[1..]).len(), 1);
    receive_all(&mut mgr, 0, &[mine[2], last[0]]);
    assert!(!mgr.is_endgame(), "nothing is asked for any more");
    mgr.add_peer(&PeerHave::All);
    assert_eq!(pieces(&pick(&mut mgr, ask(0, &PeerHave::All, 9))), [2, 2]);
}

#[test]
fn a_block_is_asked_of_two_peers_at_most_and_two_blocks_in_one_pick() {
    let mut mgr = torrent(1, 40);
    mgr.add_peer(&PeerHave::All);
    let asked: Vec<usize> = (0..6).map(|slot| pick(&mut mgr, ask(slot, &PeerHave::All, 40)).len()).collect();
    assert_eq!(asked, [40, 2, 2, 2, 2, 2]);
    for slot in 0..6 {
        while !pick(&mut mgr, ask(slot, &PeerHave::All, 40)).is_empty() {}
    }
    assert_eq!(pick(&mut mgr, ask(7, &PeerHave::All, 40)), []);
}

#[test]
fn choked_peers_are_asked_twice_only_for_what_they_allow() {
    let mut mgr = torrent(2, 1);
    mgr.add_peer(&PeerHave::All);
    pick(&mut mgr, ask(0, &PeerHave::All, 2));
    let choked = Ask { allowed_fast: Some(&[PieceIndex(1)]), ..ask(1, &PeerHave::All, 2) };
    assert_eq!(pieces(&pick(&mut mgr, choked)), [1]);
}
