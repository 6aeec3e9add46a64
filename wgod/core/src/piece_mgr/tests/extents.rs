//! Which of equally rare pieces come first: those that are written together.
use super::*;

/// Blocks of a piece of 256 KiB, and such pieces of an extent.
const BLOCKS: u32 = 16;
const EXTENT: u32 = 16;

/// The pieces that a peer opens, one pick each.
fn open(mgr: &mut PieceMgr<Buf>, slot: u32, has: &PeerHave, pace: Pace, count: usize) -> Vec<u32> {
    let mut one = || {
        let picked = pick(mgr, Ask { pace, ..ask(slot, has, BLOCKS as usize) });
        pieces(&picked)[0]
    };
    (0..count).map(|_| one()).collect()
}

fn extents(pieces: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = pieces.iter().map(|piece| piece / EXTENT).collect();
    all.dedup();
    all
}

#[test]
fn equally_rare_pieces_fill_one_extent_after_the_other() {
    let mut mgr = warm_torrent(8 * EXTENT, BLOCKS);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    let mut opened = Vec::new();
    for nth in 0..8 * EXTENT {
        let pace = if nth % 3 == 0 { Pace::Fast } else { Pace::Medium };
        opened.extend(open(&mut mgr, nth % 5, &has, pace, 1));
    }
    let order = extents(&opened);
    assert_eq!(order.len(), 8, "{order:?}");
    let starts: std::collections::BTreeSet<u32> = (0..20).map(|seed| first_opened(seed) / EXTENT).collect();
    assert!(starts.len() > 4, "clients begin in different places: {starts:?}");
}

/// The piece that a client opens first, after the random ones.
fn first_opened(seed: u64) -> u32 {
    let blocks = warm_torrent(8 * EXTENT, BLOCKS);
    let mut mgr = PieceMgr::<Buf>::new(blocks.layout.clone(), blocks.have().clone(), seed);
    mgr.add_peer(&PeerHave::All);
    open(&mut mgr, 0, &PeerHave::All, Pace::Fast, 1)[0]
}

#[test]
fn what_is_rarer_or_of_a_higher_priority_comes_before_what_is_beside() {
    let mut mgr = warm_torrent(4 * EXTENT, BLOCKS);
    let has = PeerHave::All;
    let (mut loser, mut newcomer) = (some(4 * EXTENT + 4, 0..4 * EXTENT), PeerHave::None);
    (0..5).for_each(|_| mgr.add_peer(&loser));
    let first = open(&mut mgr, 0, &has, Pace::Fast, 1)[0];
    let (high, rare) = ((first + EXTENT) % (4 * EXTENT), (first + 2 * EXTENT) % (4 * EXTENT));
    mgr.set_priority(index(high), Priority::High);
    mgr.peer_lost(&mut loser, index(rare));
    mgr.peer_got(&mut newcomer, index(first ^ 1));
    let next = open(&mut mgr, 1, &has, Pace::Fast, 2 + EXTENT as usize);
    assert_eq!(next[..2], [high, rare]);
    assert!(!next.contains(&(first ^ 1)), "a commoner one waits");
    let begun = [first, high, rare].map(|piece| piece / EXTENT);
    assert!(next[2..].iter().all(|piece| begun.contains(&(piece / EXTENT))), "{next:?}");
    assert!(next[2..16].iter().all(|piece| piece / EXTENT == begun[0]), "the oldest first: {next:?}");
}

#[test]
fn peers_with_different_pieces_fill_extents_of_their_own() {
    let mut mgr = warm_torrent(4 * EXTENT, BLOCKS);
    let (a, b) = (some(4 * EXTENT + 4, 0..2 * EXTENT), some(4 * EXTENT + 4, 2 * EXTENT..4 * EXTENT));
    (0..4).for_each(|_| [&a, &b].into_iter().for_each(|has| mgr.add_peer(has)));
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for _ in 0..2 * EXTENT {
        of_a.extend(open(&mut mgr, 0, &a, Pace::Medium, 1));
        of_b.extend(open(&mut mgr, 1, &b, Pace::Medium, 1));
    }
    assert_eq!((extents(&of_a).len(), extents(&of_b).len()), (2, 2), "{of_a:?} {of_b:?}");
}

#[test]
fn slow_peers_neither_begin_nor_join_an_extent() {
    let mut mgr = warm_torrent(64 * EXTENT, BLOCKS);
    let has = PeerHave::All;
    mgr.add_peer(&has);
    open(&mut mgr, 0, &has, Pace::Slow, 1);
    let begun = open(&mut mgr, 1, &has, Pace::Fast, 3);
    assert_eq!(extents(&begun).len(), 1);
    let slow = open(&mut mgr, 2, &has, Pace::Slow, 20);
    assert!(extents(&slow).len() > 2, "{slow:?}");
    assert_eq!(extents(&open(&mut mgr, 1, &has, Pace::Fast, 5)), extents(&begun));
}

#[test]
fn what_few_have_is_spread_over_the_torrent() {
    // Leechers that fetch it from the one who has it are to have something for each other.
    for (seeds, leechers, is_spread) in [(1, 0, false), (1, 2, true), (3, 1, true), (4, 1, false)] {
        let mut mgr = warm_torrent(64 * EXTENT, BLOCKS);
        let has = PeerHave::All;
        (0..seeds).for_each(|_| mgr.add_peer(&has));
        (0..leechers).for_each(|_| mgr.add_peer(&some(64 * EXTENT + 4, [64 * EXTENT])));
        let opened = open(&mut mgr, 0, &has, Pace::Fast, 10);
        assert_eq!(extents(&opened).len() > 2, is_spread, "{seeds} {leechers}: {opened:?}");
    }
}
