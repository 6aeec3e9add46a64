//! Picking, receiving, spilling and restoring, one behaviour a test; endgame, retries, random sequences
//! of operations and scale have files of their own.
use wgo_proto::{BLOCK_LEN, Block};

use super::*;
use crate::{PeerKey, Time};
use std::time::Duration;

mod endgame;
mod extents;
mod operations;
mod retry;
mod scale;

/// The buffer of a test: who sent the block.
type Buf = u32;

fn peer(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

fn at(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

fn index(piece: u32) -> PieceIndex {
    PieceIndex(piece)
}

fn bits(len: u32, ones: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut set = Bitfield::new(len);
    ones.into_iter().for_each(|piece| {
        set.set(piece);
    });
    set
}

fn some(len: u32, ones: impl IntoIterator<Item = u32>) -> PeerHave {
    PeerHave::Some(bits(len, ones))
}

/// A torrent of `pieces` pieces with `blocks` blocks each, of which we have nothing.
fn torrent(pieces: u32, blocks: u32) -> PieceMgr<Buf> {
    let piece_len = blocks * BLOCK_LEN;
    let layout = Layout::v1(piece_len, &[u64::from(pieces) * u64::from(piece_len)]).unwrap();
    PieceMgr::new(layout, Bitfield::new(pieces), 7)
}

/// The same, past the stage where the first pieces are random: nothing else is as hard to foresee.
fn warm_torrent(pieces: u32, blocks: u32) -> PieceMgr<Buf> {
    let mut mgr = torrent(pieces + 4, blocks);
    (pieces..pieces + 4).for_each(|piece| mgr.stored(index(piece)));
    mgr
}

fn ask(slot: u32, has: &PeerHave, count: usize) -> Ask<'_> {
    Ask {
        peer: peer(slot),
        has,
        count,
        pace: Pace::Medium,
        allowed_fast: None,
        suggested: &[],
        may_open: usize::MAX,
    }
}

fn pick(mgr: &mut PieceMgr<Buf>, ask: Ask<'_>) -> Vec<Block> {
    pick_at(mgr, Time::ZERO, ask)
}

fn pick_at(mgr: &mut PieceMgr<Buf>, now: Time, ask: Ask<'_>) -> Vec<Block> {
    let mut out = Vec::new();
    mgr.pick(now, &ask, &mut out);
    mgr.check_invariants();
    out
}

fn pieces(blocks: &[Block]) -> Vec<u32> {
    blocks.iter().map(|block| block.piece.0).collect()
}

fn receive(mgr: &mut PieceMgr<Buf>, slot: u32, block: Block) -> Receive<Buf> {
    let result = mgr.receive(Time::ZERO, peer(slot), block, slot);
    mgr.check_invariants();
    result
}

fn receive_all(mgr: &mut PieceMgr<Buf>, slot: u32, blocks: &[Block]) -> Vec<Complete<Buf>> {
    let results = blocks.iter().map(|&block| receive(mgr, slot, block));
    let complete = results.filter_map(|result| match result {
        Receive::Stored { complete, .. } => complete,
        refused => panic!("{refused:?}"),
    });
    complete.collect()
}

#[test]
fn the_rarest_piece_is_opened_first_and_by_slow_peers_the_commonest() {
    let mut mgr = warm_torrent(8, 1);
    for piece in 0..8 {
        for _ in 0..=(piece + 3) % 8 {
            mgr.add_peer(&some(12, [piece]));
        }
    }
    let has = PeerHave::All;
    mgr.add_peer(&has);
    assert_eq!(pieces(&pick(&mut mgr, ask(0, &has, 3))), [5, 6, 7]);
    assert_eq!(pieces(&pick(&mut mgr, Ask { pace: Pace::Slow, ..ask(1, &has, 2) })), [4, 3]);
    assert_eq!(pieces(&pick(&mut mgr, ask(2, &some(12, [1, 2]), 9))), [1, 2]);
}

#[test]
fn buckets_follow_every_have_without_a_rebuild() {
    let mut mgr = warm_torrent(4, 1);
    let (mut a, mut b) = (PeerHave::None, some(8, [0, 1, 2, 3]));
    mgr.add_peer(&b);
    pick(&mut mgr, ask(9, &PeerHave::None, 1));
    for piece in [0, 2, 3, 3, 99] {
        mgr.peer_got(&mut a, index(piece));
        mgr.check_invariants();
    }
    assert!(mgr.peer_lost(&mut b, index(3)) && !mgr.peer_lost(&mut b, index(3)));
    mgr.check_availability([&a, &b].into_iter());
    assert_eq!(mgr.availability(index(3)), 1);
    assert_eq!(pieces(&pick(&mut mgr, ask(0, &b, 1))), [1]);
    assert_eq!(pieces(&pick(&mut mgr, ask(1, &a, 1))), [3]);
    mgr.remove_peer(&a);
    mgr.remove_peer(&b);
    mgr.check_availability([].into_iter());
}

#[test]
fn a_seed_that_loses_a_piece_is_counted_by_piece_from_then_on() {
    let mut mgr = torrent(70, 1);
    let mut seed = PeerHave::All;
    mgr.add_peer(&seed);
    assert!(!mgr.peer_got(&mut seed, index(1)) && !mgr.peer_lost(&mut seed, index(70)));
    assert!(mgr.peer_lost(&mut seed, index(69)));
    assert_eq!((mgr.availability(index(69)), mgr.availability(index(68))), (0, 1));
    assert!(mgr.peer_got(&mut seed, index(69)) && seed.is_seed());
    mgr.check_availability([&seed].into_iter());
}

#[test]
fn the_first_pieces_are_any() {
    let first = |seed| {
        let layout = Layout::v1(BLOCK_LEN, &[u64::from(BLOCK_LEN) * 200]).unwrap();
        let mut mgr = PieceMgr::<Buf>::new(layout, Bitfield::new(200), seed);
        (0..200).for_each(|piece| mgr.add_peer(&some(200, 0..=piece)));
        pieces(&pick(&mut mgr, ask(0, &PeerHave::All, 6)))
    };
    let firsts: std::collections::BTreeSet<u32> = (0..10).map(|seed| first(seed)[0]).collect();
    assert!(firsts.len() > 5, "{firsts:?}");
    assert!(
        (0..10).all(|seed| first(seed)[4] == 199 || first(seed)[..4].contains(&199)),
        "the fifth is rarest"
    );
}

#[test]
fn priorities_come_before_rarity_and_skipped_pieces_are_never_asked_for() {
    let mut mgr = warm_torrent(6, 1);
    let has = some(10, 0..6);
    mgr.add_peer(&has);
    mgr.add_peer(&some(10, [4]));
    for (piece, priority) in
        [(0, Priority::Skip), (1, Priority::Low), (4, Priority::High), (9, Priority::Skip)]
    {
        mgr.set_priority(index(piece), priority);
        mgr.check_invariants();
    }
    assert_eq!(mgr.missing_wanted(), 5);
    assert_eq!(mgr.state(index(9)), PieceState::Have, "a skipped piece that we have stays");
    let picked = pieces(&pick(&mut mgr, ask(0, &has, 9)));
    assert_eq!((picked[0], picked[4], picked.len()), (4, 1, 5));
    assert!(!picked.contains(&0));
    (1..6).for_each(|piece| mgr.stored(index(piece)));
    assert!(mgr.is_finished() && !mgr.is_complete());
    assert_eq!(mgr.interesting_count(&has), 0);
    mgr.set_priority(index(0), Priority::Normal);
    assert!(!mgr.is_finished() && mgr.interesting_count(&PeerHave::All) == 1);
    assert_eq!(pieces(&pick(&mut mgr, ask(0, &has, 9))), [0]);
}

#[test]
fn sequential_order_goes_by_index_whatever_is_rare() {
    let mut mgr = torrent(100, 1);
    mgr.set_order(Order::Sequential);
    mgr.add_peer(&some(100, 0..50));
    mgr.set_priority(index(70), Priority::High);
    let suggested = [index(90)];
    let picked = pick(&mut mgr, Ask { suggested: &suggested, ..ask(0, &PeerHave::All, 4) });
    assert_eq!(pieces(&picked), [70, 0, 1, 2]);
    assert_eq!(pieces(&pick(&mut mgr, ask(1, &some(100, [5, 80]), 4))), [5, 80]);
}

#[test]
fn open_pieces_are_finished_before_others_are_opened() {
    let mut mgr = warm_torrent(5, 4);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    let first = pick(&mut mgr, ask(0, &has, 3));
    let second = pick(&mut mgr, ask(1, &has, 3));
    assert_eq!(second[0].piece, first[0].piece);
    assert_eq!((second[0].offset, second[1].offset), (3 * BLOCK_LEN, 0));
    let shared = second[1].piece;
    // Of two open pieces the one nearest to completion.
    let third = pick(&mut mgr, ask(2, &some(9, (0..5).filter(|&p| p != shared.0)), 1));
    assert_ne!(third[0].piece, shared);
    assert_eq!(pick(&mut mgr, ask(3, &has, 2))[0].piece, shared);
}

#[test]
fn an_open_piece_behind_many_that_a_peer_lacks_is_found() {
    let mut mgr = warm_torrent(100, 2);
    let only = |piece| some(104, [piece]);
    for piece in 0..100 {
        mgr.add_peer(&only(piece));
        assert_eq!(pieces(&pick(&mut mgr, ask(piece, &only(piece), 1))), [piece]);
    }
    for piece in (0..100).rev() {
        let rest = Block { piece: index(piece), offset: BLOCK_LEN, len: BLOCK_LEN };
        assert_eq!(pick(&mut mgr, ask(200, &only(piece), 1)), [rest]);
    }
}

#[test]
fn a_fast_peer_opens_its_own_piece_and_others_join_it_only_when_nothing_else_is_left() {
    let mut mgr = warm_torrent(3, 4);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    let fast = |slot, count| Ask { pace: Pace::Fast, ..ask(slot, &has, count) };
    let mine = pick(&mut mgr, fast(0, 2))[0].piece;
    let theirs = pick(&mut mgr, fast(1, 2))[0].piece;
    let slow = pick(&mut mgr, ask(2, &has, 2))[0].piece;
    assert!(mine != theirs && slow != mine && slow != theirs);
    assert_eq!(pick(&mut mgr, fast(0, 1))[0].piece, mine, "its own before what is shared");
    assert_eq!(pick(&mut mgr, ask(3, &has, 1))[0].piece, slow, "what is shared before what is another's");
    let rest = pick(&mut mgr, ask(4, &has, 4));
    assert_eq!(pieces(&rest), [slow.0, mine.0, theirs.0, theirs.0]);
}

#[test]
fn a_piece_whose_fast_peer_fell_silent_is_shared() {
    let mut mgr = warm_torrent(3, 4);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    let mine = pick(&mut mgr, Ask { pace: Pace::Fast, ..ask(0, &has, 2) });
    assert_ne!(pick_at(&mut mgr, at(9), ask(1, &has, 1))[0].piece, mine[0].piece);
    assert_eq!(pick_at(&mut mgr, at(10), ask(2, &some(7, [mine[0].piece.0]), 1))[0].piece, mine[0].piece);
}

#[test]
fn memory_bounds_what_is_opened_and_not_what_is_open() {
    let mut mgr = warm_torrent(3, 4);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    assert_eq!(pick(&mut mgr, Ask { may_open: 0, ..ask(0, &has, 9) }), []);
    assert_eq!(pick(&mut mgr, Ask { may_open: 2, ..ask(0, &has, 9) }).len(), 2);
    assert_eq!(pick(&mut mgr, Ask { may_open: 0, ..ask(1, &has, 9) }).len(), 2);
    assert_eq!(pick(&mut mgr, Ask { may_open: 5, ..ask(2, &has, 9) }).len(), 5);
}

#[test]
fn while_choked_only_allowed_pieces_are_asked_for_and_suggestions_come_first_otherwise() {
    let mut mgr = warm_torrent(9, 1);
    let has = some(13, 0..8);
    mgr.add_peer(&has);
    let allowed = [index(8), index(3), index(12), index(99)];
    let choked = Ask { allowed_fast: Some(&allowed), ..ask(0, &has, 9) };
    assert_eq!(pieces(&pick(&mut mgr, choked)), [3]);
    assert_eq!(pick(&mut mgr, Ask { allowed_fast: Some(&[]), ..choked }), []);
    let suggested = [index(8), index(6), index(3)];
    assert_eq!(pieces(&pick(&mut mgr, Ask { suggested: &suggested, ..ask(1, &has, 1) })), [6]);
}

#[test]
fn a_suggestion_counts_unless_a_rarer_piece_is_known() {
    let mut mgr = warm_torrent(9, 1);
    let has = some(13, 0..9);
    mgr.add_peer(&has);
    mgr.add_peer(&some(13, [6]));
    let suggested = [index(6)];
    let picked = pieces(&pick(&mut mgr, Ask { suggested: &suggested, ..ask(1, &has, 1) }));
    assert_ne!(picked, [6], "two have it");
    let suggested = [index(6), index(if picked == [3] { 4 } else { 3 })];
    let picked = pieces(&pick(&mut mgr, Ask { suggested: &suggested, ..ask(1, &has, 1) }));
    assert_eq!(picked, [suggested[1].0]);
}

/// A seed's line is what everybody waits for: it isn't asked for what leechers have.
#[test]
fn what_only_a_seed_has_is_asked_of_it_before_open_pieces_that_others_have_too() {
    let mut mgr = warm_torrent(8, 4);
    let leecher = some(12, 0..4);
    mgr.add_peer(&PeerHave::All);
    mgr.add_peer(&leecher);
    mgr.add_peer(&leecher);
    let open = pick_at(&mut mgr, at(2), ask(0, &leecher, 2))[0].piece;
    let of_seed = pick_at(&mut mgr, at(2), ask(1, &PeerHave::All, 2));
    assert!(of_seed.iter().all(|block| (4..8).contains(&block.piece.0)), "{of_seed:?}");
    // It goes on with that.
    let more = pick_at(&mut mgr, at(2), ask(1, &PeerHave::All, 2));
    assert_eq!(more[0].piece, of_seed[0].piece);
    assert_eq!(
        pick_at(&mut mgr, at(2), ask(2, &leecher, 1))[0].piece,
        open,
        "a leecher goes on with what is open"
    );
    // But for what is wanted more.
    mgr.set_priority(open, Priority::High);
    assert_eq!(pick_at(&mut mgr, at(2), ask(3, &PeerHave::All, 1))[0].piece, open);
}

#[test]
fn blocks_make_a_piece_that_is_verified_and_written() {
    let mut mgr = torrent(1, 3);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    let blocks = pick(&mut mgr, ask(0, &has, 9));
    assert_eq!((blocks.len(), mgr.requested_blocks(), mgr.held_blocks()), (3, 3, 0));
    assert_eq!(receive_all(&mut mgr, 0, &blocks[..2]), []);
    assert_eq!((mgr.requested_blocks(), mgr.held_blocks()), (1, 2));
    let complete = receive_all(&mut mgr, 0, &blocks[2..]);
    assert_eq!(complete, [Complete { piece: index(0), blocks: vec![Some(0); 3], doubted: false }]);
    assert_eq!((mgr.state(index(0)), mgr.held_blocks()), (PieceState::Verifying, 0));
    assert_eq!(receive(&mut mgr, 0, blocks[0]), Receive::Duplicate(0));
    assert!(!mgr.is_finished() && pick(&mut mgr, ask(1, &has, 9)).is_empty());
    mgr.stored(index(0));
    mgr.check_invariants();
    assert!(mgr.is_complete() && mgr.state(index(0)) == PieceState::Have);
    assert_eq!(receive(&mut mgr, 0, blocks[0]), Receive::Duplicate(0));
}

#[test]
fn what_nobody_asked_for_is_unwanted() {
    let mut mgr = torrent(3, 2);
    mgr.set_order(Order::Sequential);
    let has = PeerHave::All;
    let mine = pick(&mut mgr, ask(0, &has, 3));
    assert_eq!(receive(&mut mgr, 1, mine[0]), Receive::Unwanted(1), "asked of another");
    let unasked = Block { offset: BLOCK_LEN, ..mine[2] };
    assert_eq!(receive(&mut mgr, 0, unasked), Receive::Unwanted(0), "not asked for yet");
    for block in [
        Block { piece: index(2), offset: 0, len: BLOCK_LEN },
        Block { piece: index(99), offset: 0, len: BLOCK_LEN },
        Block { len: 1, ..mine[0] },
        Block { offset: 1, ..mine[0] },
        Block { offset: u32::MAX, len: u32::MAX, ..mine[0] },
    ] {
        assert_eq!(receive(&mut mgr, 0, block), Receive::Unwanted(0), "{block:?}");
        mgr.release(peer(0), block);
        mgr.check_invariants();
    }
    assert_eq!(mgr.requested_blocks(), 3);
    receive_all(&mut mgr, 0, &mine[..1]);
    assert_eq!(receive(&mut mgr, 0, mine[0]), Receive::Duplicate(0));
}

#[test]
fn a_released_block_is_asked_of_others_and_still_taken_if_it_comes() {
    let mut mgr = torrent(1, 4);
    let has = PeerHave::All;
    let blocks = pick(&mut mgr, ask(0, &has, 4));
    receive_all(&mut mgr, 0, &blocks[..1]);
    blocks[1..].iter().for_each(|&block| mgr.release(peer(0), block));
    mgr.release(peer(0), blocks[1]);
    mgr.check_invariants();
    assert_eq!(pick(&mut mgr, ask(1, &has, 2)), blocks[1..3]);
    // Asked of another meanwhile, whose request is off now.
    let Receive::Stored { cancel, .. } = receive(&mut mgr, 0, blocks[1]) else { panic!() };
    assert_eq!(cancel[..], [peer(1)]);
    assert_eq!(receive(&mut mgr, 1, blocks[1]), Receive::Duplicate(1));
    // Asked of nobody.
    assert!(matches!(receive(&mut mgr, 0, blocks[3]), Receive::Stored { .. }));
    let last = receive_all(&mut mgr, 1, &blocks[2..3]);
    assert_eq!(last[0].blocks, [Some(0), Some(0), Some(1), Some(0)]);
}

#[test]
fn a_piece_without_any_block_is_not_open_and_its_late_blocks_are_unwanted() {
    let mut mgr = torrent(1, 2);
    let blocks = pick(&mut mgr, ask(0, &PeerHave::All, 2));
    blocks.iter().for_each(|&block| mgr.release(peer(0), block));
    mgr.check_invariants();
    assert_eq!((mgr.state(index(0)), mgr.open_pieces()), (PieceState::Missing, 0));
    assert_eq!(receive(&mut mgr, 0, blocks[0]), Receive::Unwanted(0));
}

#[test]
fn a_stale_key_of_a_departed_peer_matches_nobody() {
    let mut mgr = torrent(1, 2);
    let blocks = pick(&mut mgr, ask(0, &PeerHave::All, 2));
    let successor = PeerKey { slot: 0, generation: 1 };
    mgr.release(successor, blocks[0]);
    assert_eq!(mgr.receive(Time::ZERO, successor, blocks[0], 5), Receive::Unwanted(5));
    assert_eq!(mgr.requested_blocks(), 2);
}

#[test]
fn blocks_of_a_piece_skipped_meanwhile_are_taken_but_no_more_asked_for() {
    let mut mgr = torrent(1, 3);
    let has = PeerHave::All;
    let blocks = pick(&mut mgr, ask(0, &has, 2));
    mgr.set_priority(index(0), Priority::Skip);
    assert!(mgr.is_finished() && !mgr.is_endgame());
    assert_eq!(pick(&mut mgr, ask(1, &has, 9)), []);
    receive_all(&mut mgr, 0, &blocks);
    mgr.set_priority(index(0), Priority::Low);
    assert_eq!(pick(&mut mgr, ask(1, &has, 9)).len(), 1);
}

#[test]
fn the_piece_longest_without_progress_is_spilled_and_goes_on_meanwhile() {
    let mut mgr = warm_torrent(2, 3);
    mgr.set_order(Order::Sequential);
    let has = PeerHave::All;
    let blocks = pick(&mut mgr, ask(0, &has, 6));
    mgr.receive(at(1), peer(0), blocks[3], 0);
    mgr.receive(at(2), peer(0), blocks[0], 0);
    let spill = mgr.spill().unwrap();
    assert_eq!(spill, Spill { piece: index(1), blocks: vec![(0, 0)] });
    assert_eq!(mgr.spill().unwrap().piece, index(0));
    assert_eq!((mgr.spill(), mgr.held_blocks()), (None, 0));
    mgr.check_invariants();
    receive_all(&mut mgr, 0, &blocks[4..]);
    assert_eq!(mgr.state(index(1)), PieceState::Partial, "not complete before the spill is written");
    let complete = mgr.spilled(index(1), true).unwrap();
    assert_eq!(complete.blocks, [None, Some(0), Some(0)]);
    assert_eq!((mgr.spilled(index(1), true), mgr.spilled(index(9), false)), (None, None));
    mgr.spilled(index(0), false);
    mgr.check_invariants();
    assert_eq!(pick(&mut mgr, ask(1, &has, 1)), blocks[..1], "a lost block is fetched again");
}

#[test]
fn partial_pieces_outlive_the_process() {
    let mut mgr = warm_torrent(3, 4);
    mgr.set_order(Order::Sequential);
    let has = PeerHave::All;
    let blocks = pick(&mut mgr, ask(0, &has, 9));
    receive_all(&mut mgr, 0, &blocks[1..3]);
    mgr.spill();
    assert_eq!(mgr.partial_masks().count(), 0, "not written yet");
    mgr.spilled(index(0), true);
    let masks: Vec<_> = mgr.partial_masks().collect();
    assert_eq!(masks, [(index(0), bits(4, [1, 2]))]);

    let mut next = PieceMgr::<Buf>::new(mgr.layout.clone(), mgr.have().clone(), 0);
    assert_eq!(next.restore_partial(index(1), &Bitfield::full(4)).unwrap().blocks, [None; 4]);
    assert!(next.restore_partial(index(2), &Bitfield::full(5)).is_none());
    assert!(next.restore_partial(index(4), &Bitfield::full(4)).is_none());
    assert!(next.restore_partial(index(0), &masks[0].1).is_none());
    next.check_invariants();
    assert_eq!(next.state(index(1)), PieceState::Verifying);
    assert_eq!(pick(&mut next, ask(0, &has, 2)), [blocks[0], blocks[3]]);
    next.lose(index(0));
    next.check_invariants();
    assert_eq!(pick(&mut next, ask(0, &has, 2)), blocks[1..3]);
    next.lose(index(4));
    assert_eq!((next.state(index(4)), next.wants(index(4))), (PieceState::Missing, true));
    next.check_invariants();
}

#[test]
fn a_piece_that_could_not_be_written_is_missing_again_and_nobody_is_blamed() {
    let mut mgr = torrent(1, 2);
    let blocks = pick(&mut mgr, ask(0, &PeerHave::All, 2));
    mgr.write_failed(index(0));
    assert_eq!(mgr.state(index(0)), PieceState::Partial, "only what is verified is written");
    receive_all(&mut mgr, 0, &blocks);
    mgr.write_failed(index(0));
    mgr.check_invariants();
    assert_eq!(mgr.state(index(0)), PieceState::Missing);
    assert_eq!(pick(&mut mgr, ask(0, &PeerHave::All, 2)), blocks);
}
