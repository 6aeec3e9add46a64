//! Tests of fetching metadata: who is asked for what, and who is found to lie.
use proptest::prelude::*;

use super::variant::MAX_CHANGES;
use super::*;

const PIECE: usize = 16 * 1024;

/// The metadata of these tests.
fn whole(size: u32) -> Vec<u8> {
    (0..size).map(|at| (at / 7) as u8).collect()
}

fn piece_of(bytes: &[u8], piece: u32) -> &[u8] {
    let start = piece as usize * PIECE;
    &bytes[start..(start + PIECE).min(bytes.len())]
}

fn secs(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

fn key(n: u32) -> PeerKey {
    PeerKey { slot: n, generation: 1 }
}

fn asks(fetch: &mut Fetch, now: Time) -> Vec<(PeerKey, u32)> {
    let mut out = Vec::new();
    fetch.requests(now, &mut out);
    fetch.check_invariants();
    out
}

/// The peer answers with its own idea of the metadata.
fn answers(fetch: &mut Fetch, (key, piece): (PeerKey, u32), bytes: &[u8]) -> Option<Candidate> {
    let size = bytes.len() as u32;
    let came = fetch.on_piece(key, piece, Some(size), piece_of(bytes, piece)).expect("it was asked for");
    fetch.check_invariants();
    came
}

#[test]
fn a_peer_is_asked_for_a_few_pieces_at_a_time_until_all_have_come() {
    let bytes = whole(10 * PIECE as u32 + 5);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), bytes.len() as u32);
    let mut asked = asks(&mut fetch, secs(0));
    assert_eq!(asked, (0..4).map(|piece| (key(1), piece)).collect::<Vec<_>>());
    let mut got = None;
    while got.is_none() {
        let next = asked.remove(0);
        got = answers(&mut fetch, next, &bytes);
        asked.extend(asks(&mut fetch, secs(0)));
    }
    let candidate = got.expect("it has just come");
    assert_eq!((candidate.pieces.concat(), candidate.size), (bytes.clone(), bytes.len() as u32));
    assert!(asks(&mut fetch, secs(5)).is_empty(), "nothing is asked while it is looked at");
    assert_eq!(fetch.held(), bytes.len(), "it counts until it is judged");
}

#[test]
fn several_peers_share_the_work_and_the_last_pieces_are_asked_twice() {
    let bytes = whole(6 * PIECE as u32);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), bytes.len() as u32);
    fetch.offer(key(2), bytes.len() as u32);
    let asked = asks(&mut fetch, secs(0));
    let of = |n: u32| asked.iter().filter(|(who, _)| *who == key(n)).map(|(_, p)| *p).collect::<Vec<_>>();
    assert_eq!((of(1), of(2)), (vec![0, 1, 2, 3], vec![4, 5, 0, 1]));
    // The first is silent: the second does it alone.
    let mut todo: Vec<_> = asked.into_iter().filter(|(who, _)| *who == key(2)).collect();
    let mut got = None;
    while let Some(next) = todo.pop() {
        got = answers(&mut fetch, next, &bytes);
        todo.extend(asks(&mut fetch, secs(1)));
    }
    assert!(got.is_some());
}

#[test]
fn what_does_not_come_is_asked_again_and_may_still_come() {
    let bytes = whole(PIECE as u32);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), bytes.len() as u32);
    assert_eq!(asks(&mut fetch, secs(0)), [(key(1), 0)]);
    fetch.tick(secs(9));
    assert!(asks(&mut fetch, secs(9)).is_empty());
    fetch.tick(secs(10));
    assert!(asks(&mut fetch, secs(29)).is_empty(), "it rests");
    assert_eq!(asks(&mut fetch, secs(30)), [(key(1), 0)]);
    fetch.tick(secs(40));
    assert!(asks(&mut fetch, secs(79)).is_empty(), "it rests longer");
    assert!(answers(&mut fetch, (key(1), 0), &bytes).is_some(), "a late answer counts");
}

#[test]
fn a_peer_that_rejects_rests_and_others_are_asked_at_once() {
    let bytes = whole(PIECE as u32);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), bytes.len() as u32);
    asks(&mut fetch, secs(0));
    fetch.on_reject(secs(0), key(1), 0).unwrap();
    assert_eq!(fetch.on_reject(secs(0), key(1), 0), Err(Unfit::Unasked));
    assert!(asks(&mut fetch, secs(0)).is_empty());
    fetch.offer(key(2), bytes.len() as u32);
    assert_eq!(asks(&mut fetch, secs(0)), [(key(2), 0)]);
    assert_eq!(asks(&mut fetch, secs(20)), [(key(1), 0)]);
}

#[test]
fn who_sent_all_of_it_wrong_is_a_liar() {
    let bytes = whole(3 * PIECE as u32);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), bytes.len() as u32);
    let asked = asks(&mut fetch, secs(0));
    let got: Vec<_> = asked.into_iter().filter_map(|ask| answers(&mut fetch, ask, &bytes)).collect();
    assert_eq!(got.len(), 1);
    assert_eq!(fetch.on_wrong(bytes.len() as u32), Some(key(1)));
    fetch.check_invariants();
}

/// Answers everything that is asked, with `lie` of those in `liars`; the verdict is told at once. Returns the
/// liars found, until the right bytes have come.
fn play(fetch: &mut Fetch, truth: &[u8], lie: &[u8], liars: &[PeerKey], peers: &[PeerKey]) -> Vec<PeerKey> {
    let mut found = Vec::new();
    peers.iter().for_each(|peer| fetch.offer(*peer, truth.len() as u32));
    for second in 0..1000 {
        fetch.tick(secs(second));
        for ask in asks(fetch, secs(second)) {
            let bytes = if liars.contains(&ask.0) { lie } else { truth };
            let Ok(Some(candidate)) = fetch.on_piece(ask.0, ask.1, None, piece_of(bytes, ask.1)) else {
                continue;
            };
            if candidate.pieces.concat() == truth {
                return found;
            }
            if let Some(liar) = fetch.on_wrong(candidate.size) {
                found.push(liar);
                fetch.leave(liar);
            }
            fetch.check_invariants();
        }
    }
    panic!("it never came right; found {found:?}");
}

#[test]
fn of_many_senders_those_who_lie_are_found_one_by_one() {
    let truth = whole(9 * PIECE as u32 + 1);
    let lie: Vec<u8> = truth.iter().map(|byte| byte ^ 1).collect();
    for liars in [&[key(1)][..], &[key(5)], &[key(1), key(2), key(3), key(4)], &[key(2), key(3)]] {
        let peers: Vec<PeerKey> = (1..6).map(key).collect();
        let found = play(&mut Fetch::default(), &truth, &lie, liars, &peers);
        assert!(found.iter().all(|peer| liars.contains(peer)), "{found:?} of {liars:?}");
    }
}

#[test]
fn sizes_that_differ_are_put_together_apart() {
    let truth = whole(2 * PIECE as u32);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), MAX_METADATA_LEN);
    fetch.offer(key(2), truth.len() as u32);
    assert_eq!(fetch.held(), 0, "a size costs nothing");
    let asked = asks(&mut fetch, secs(0));
    let mine: Vec<_> = asked.into_iter().filter(|(who, _)| *who == key(2)).collect();
    assert_eq!(mine, [(key(2), 0), (key(2), 1)]);
    let got: Vec<_> = mine.into_iter().filter_map(|ask| answers(&mut fetch, ask, &truth)).collect();
    assert_eq!(got.len(), 1);
}

#[test]
fn pieces_that_nobody_asked_for_or_of_another_length_are_no_use() {
    let bytes = whole(2 * PIECE as u32);
    let mut fetch = Fetch::default();
    assert_eq!(fetch.on_piece(key(1), 0, None, &bytes[..PIECE]), Err(Unfit::Unasked));
    fetch.offer(key(1), bytes.len() as u32);
    asks(&mut fetch, secs(0));
    assert_eq!(fetch.on_piece(key(1), 7, None, &bytes[..PIECE]), Err(Unfit::Unasked));
    let said = bytes.len() as u32;
    assert_eq!(fetch.on_piece(key(1), 0, None, &bytes[..9]), Err(Unfit::Size { said, came: 9 }));
    let came = PIECE;
    assert_eq!(fetch.on_piece(key(1), 1, Some(said + 1), &bytes[..came]), Err(Unfit::Size { said, came }));
    fetch.check_invariants();
    assert_eq!(fetch.held(), 0);
}

#[test]
fn who_names_another_size_again_and_again_is_asked_no_more() {
    let mut fetch = Fetch::default();
    for size in 1..100 {
        fetch.offer(key(1), size);
        let asked = asks(&mut fetch, secs(0)).len();
        assert_eq!(asked, usize::from(size <= 1 + u32::from(MAX_CHANGES)), "{size}");
        fetch.check_invariants();
    }
    fetch.leave(key(1));
    fetch.offer(key(1), 1);
    assert_eq!(asks(&mut fetch, secs(0)), [(key(1), 0)], "another connection");
}

#[test]
fn what_could_not_be_kept_is_fetched_again_later() {
    let bytes = whole(1);
    let mut fetch = Fetch::default();
    fetch.offer(key(1), 1);
    let asked = asks(&mut fetch, secs(0));
    assert!(answers(&mut fetch, asked[0], &bytes).is_some());
    fetch.again(secs(0), 1);
    fetch.check_invariants();
    assert!(asks(&mut fetch, secs(1)).is_empty());
    assert_eq!(asks(&mut fetch, secs(30)), [(key(1), 0)]);
}

#[test]
fn what_is_larger_than_there_is_room_for_is_not_asked_for_and_the_rest_goes_on() {
    let mut fetch = Fetch::default();
    fetch.set_limit(3 * PIECE);
    fetch.offer(key(1), MAX_METADATA_LEN);
    assert!(asks(&mut fetch, secs(0)).is_empty());
    let (one, other) = (whole(3 * PIECE as u32), whole(2 * PIECE as u32 + 1));
    fetch.offer(key(2), one.len() as u32);
    fetch.offer(key(3), other.len() as u32);
    let asked = asks(&mut fetch, secs(0));
    let (mut got, mut held) = (Vec::new(), 0);
    for ask in asked {
        let bytes = if ask.0 == key(2) { &one } else { &other };
        // The answers to what was dropped meanwhile are asked for no more.
        if let Ok(Some(candidate)) = fetch.on_piece(ask.0, ask.1, None, piece_of(bytes, ask.1)) {
            got.push(candidate.size);
        }
        fetch.check_invariants();
        held = held.max(fetch.held());
    }
    assert_eq!((got, held <= 3 * PIECE), (vec![one.len() as u32], true));
    assert_eq!((share_held(0), share_held(1000)), (MAX_HELD, MIN_HELD));
}

#[test]
fn more_sizes_than_can_be_kept_apart_wait_until_nobody_claims_one_of_the_others() {
    let mut fetch = Fetch::default();
    let count = MAX_VARIANTS as u32;
    (0..count).for_each(|n| fetch.offer(key(n), n + 1));
    assert_eq!(asks(&mut fetch, secs(0)).len(), MAX_VARIANTS);
    fetch.offer(key(count), count + 1);
    assert!(asks(&mut fetch, secs(0)).is_empty());
    fetch.leave(key(7));
    fetch.offer(key(count), count + 1);
    assert_eq!(asks(&mut fetch, secs(0)), [(key(count), 0)]);
}

proptest! {
    /// Whatever peers do in whatever order, nothing is forgotten and memory stays bounded.
    #[test]
    fn any_sequence_of_events_keeps_the_books(steps in prop::collection::vec((0u8..8, 0u32..6, 0u32..4, any::<bool>()), 1..200)) {
        let sizes = [1u32, 16384, 40_000, 100_000];
        let mut fetch = Fetch::default();
        let mut asked: Vec<(PeerKey, u32)> = Vec::new();
        let mut sized: BTreeMap<PeerKey, u32> = BTreeMap::new();
        let mut away: Vec<u32> = Vec::new();
        let mut now = 0;
        for (what, who, which, flag) in steps {
            let peer = key(who);
            match what {
                0 => {
                    fetch.offer(peer, sizes[which as usize]);
                    sized.insert(peer, sizes[which as usize]);
                }
                1 => fetch.leave(peer),
                2 => fetch.requests(secs(now), &mut asked),
                3 | 4 if !asked.is_empty() => {
                    let (peer, piece) = asked.remove((who as usize * 7 + which as usize) % asked.len());
                    let size = sized.get(&peer).copied().unwrap_or(1);
                    let len = metadata_piece_len(size, piece).unwrap_or(3) as usize;
                    if let Ok(Some(candidate)) = fetch.on_piece(peer, piece, flag.then_some(size), &vec![0; len]) {
                        prop_assert_eq!(candidate.pieces.concat().len(), candidate.size as usize);
                        away.push(candidate.size);
                    }
                }
                5 if !asked.is_empty() => {
                    let (peer, piece) = asked.remove(0);
                    let _ = fetch.on_reject(secs(now), peer, piece);
                }
                6 => {
                    now += u64::from(who) * 5;
                    fetch.tick(secs(now));
                }
                _ => if let Some(size) = away.pop() {
                    if flag { fetch.on_wrong(size); } else { fetch.again(secs(now), size) }
                },
            }
            fetch.check_invariants();
        }
    }
}
