//! Rounds by a clock that the test winds.
use proptest::prelude::*;
use wgo_proto::{InfoHashV1, InfoHashV2};

use super::*;

fn secs(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

fn v1(n: u64) -> InfoHashes {
    let mut hash = [0; 20];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    InfoHashes { v1: Some(InfoHashV1(hash)), v2: None }
}

fn hybrid(n: u64) -> InfoHashes {
    InfoHashes { v2: Some(InfoHashV2([n as u8; 32])), ..v1(n) }
}

/// A driver that begins what it is told to, over one family.
struct Driver {
    rounds: Rounds,
    next_lookup: u64,
}

impl Driver {
    fn new() -> Driver {
        Driver { rounds: Rounds::new(7), next_lookup: 0 }
    }

    fn free(&self) -> usize {
        MAX_LOOKUPS - self.rounds.lookups.len()
    }

    /// Begins all that may begin now; gives the lookups by torrent.
    fn begin(&mut self, now: Time, ready: bool) -> Vec<(TorrentId, LookupId)> {
        let mut begun = Vec::new();
        while let Some(turn) = self.rounds.next(now, self.free(), 1, ready) {
            for _ in turn.hashes.wire() {
                let lookup = LookupId(self.next_lookup);
                self.next_lookup += 1;
                self.rounds.began(lookup, turn.id);
                begun.push((turn.id, lookup));
            }
            self.rounds.settle(now, turn.id);
            self.rounds.check_invariants();
        }
        begun
    }

    /// Ends lookups in which nodes answered, with so many peers each.
    fn end(&mut self, now: Time, lookups: &[(TorrentId, LookupId)], peers: usize) {
        for (_, lookup) in lookups {
            self.rounds.found(*lookup, peers);
            self.rounds.done(now, *lookup, &Outcome { answered: 9, stored: 8, ..Outcome::default() });
            self.rounds.check_invariants();
        }
    }
}

#[test]
fn who_lacks_peers_goes_first_and_at_once_and_the_others_at_a_pace() {
    let mut driver = Driver::new();
    for n in 0..1000 {
        driver.rounds.join(secs(0), TorrentId(n), v1(n), Need::Nothing);
    }
    for n in 1000..1010 {
        driver.rounds.join(secs(0), TorrentId(n), hybrid(n), Need::Metadata);
    }
    assert!(
        driver.begin(secs(0), false).iter().all(|(id, _)| id.0 >= 1000),
        "nobody else before it is ready"
    );
    assert_eq!(driver.rounds.lookups.len(), 20, "both hashes of each");
    // Every lookup takes a second.
    let mut under_way = Vec::new();
    let mut began = vec![0; 1010];
    for tenth in 0..1200 {
        let now = Time::from_start(Duration::from_millis(100 * tenth));
        let begun = driver.begin(now, true);
        assert!(begun.iter().filter(|(id, _)| id.0 < 1000).count() <= 1);
        begun.iter().for_each(|(id, _)| began[id.0 as usize] += 1);
        under_way.push(begun);
        if under_way.len() > 10 {
            let ended = under_way.remove(0);
            driver.end(now, &ended, 3);
        }
    }
    assert!(
        began[..1000].iter().all(|rounds| *rounds == 1),
        "all had their turn in 100 s, and none a second one"
    );
}

#[test]
fn lookups_without_hurry_leave_room_for_those_in_a_hurry() {
    let mut driver = Driver::new();
    for n in 0..200 {
        driver.rounds.join(secs(0), TorrentId(n), v1(n), Need::Nothing);
    }
    // Nobody's lookup ends.
    for second in 0..200 {
        driver.begin(secs(second), true);
    }
    assert_eq!(driver.rounds.lookups.len(), UNHURRIED);
    assert_eq!(driver.rounds.poll_timeout(driver.free(), 1, true), None, "nothing to wake up for");
    driver.rounds.join(secs(200), TorrentId(900), v1(900), Need::Metadata);
    assert_eq!(driver.begin(secs(200), true).len(), 1);
}

#[test]
fn a_round_that_found_who_was_needed_is_followed_by_one_in_a_quarter_of_an_hour() {
    for (need, peers, earliest, latest) in [
        (Need::Nothing, 0, 13 * 60, 17 * 60),
        (Need::Pieces, 1, 13 * 60, 17 * 60),
        (Need::Pieces, 0, 9, 11),
        (Need::Metadata, 0, 9, 11),
        (Need::Metadata, 1, 9, 11),
    ] {
        let mut driver = Driver::new();
        driver.rounds.join(secs(0), TorrentId(1), v1(1), need);
        let begun = driver.begin(secs(0), true);
        driver.end(secs(5), &begun, peers);
        let due = driver.rounds.view(TorrentId(1)).unwrap().due.unwrap();
        assert!(
            (5 + earliest..=5 + latest).contains(&due.since_start().as_secs()),
            "{need:?} {peers} {due:?}"
        );
        assert_eq!(driver.rounds.poll_timeout(64, 1, true), Some(due));
    }
}

#[test]
fn who_finds_nobody_asks_less_and_less_often() {
    let mut driver = Driver::new();
    driver.rounds.join(secs(0), TorrentId(1), v1(1), Need::Metadata);
    let (mut now, mut waits) = (secs(0), Vec::new());
    for _ in 0..12 {
        let begun = driver.begin(now, false);
        assert_eq!(begun.len(), 1);
        driver.end(now, &begun, 0);
        let due = driver.rounds.view(TorrentId(1)).unwrap().due.unwrap();
        waits.push(due.since(now).as_secs());
        now = due;
    }
    assert!(waits[0] <= 11 && waits.iter().all(|wait| *wait <= 17 * 60), "{waits:?}");
    assert!(*waits.last().unwrap() >= 13 * 60, "{waits:?}");
}

#[test]
fn what_changes_meanwhile_leads_to_another_round_at_once() {
    let mut driver = Driver::new();
    driver.rounds.join(secs(0), TorrentId(1), v1(1), Need::Metadata);
    let begun = driver.begin(secs(0), true);
    // The metadata names the other hash.
    driver.rounds.join(secs(1), TorrentId(1), hybrid(1), Need::Pieces);
    driver.end(secs(2), &begun, 5);
    assert_eq!(driver.begin(secs(2), false).len(), 2);
    // To be complete is no reason for another one.
    driver.rounds.join(secs(3), TorrentId(1), hybrid(1), Need::Nothing);
    assert!(driver.begin(secs(3), true).is_empty());
}

#[test]
fn what_is_needed_follows_from_the_state_and_counts_from_the_next_round_on() {
    for (known, finished, need) in [
        (false, false, Need::Metadata),
        (false, true, Need::Metadata),
        (true, false, Need::Pieces),
        (true, true, Need::Nothing),
    ] {
        assert_eq!(Need::of(known, finished), need);
    }
    for (need, asks_soon) in [(Need::Pieces, true), (Need::Nothing, false)] {
        let mut driver = Driver::new();
        driver.rounds.join(secs(0), TorrentId(1), v1(1), Need::Pieces);
        let begun = driver.begin(secs(0), true);
        assert_eq!(driver.rounds.torrent_of(begun[0].1), Some(TorrentId(1)));
        driver.rounds.set_need(TorrentId(1), need);
        driver.rounds.set_need(TorrentId(2), Need::Metadata);
        driver.end(secs(1), &begun, 0);
        assert_eq!(driver.rounds.torrent_of(begun[0].1), None);
        assert_eq!(!driver.begin(secs(60), true).is_empty(), asks_soon, "{need:?}");
        assert_eq!(driver.rounds.len(), 1, "nobody joins by that");
    }
}

#[test]
fn an_operator_is_obeyed_once_a_minute() {
    let mut driver = Driver::new();
    driver.rounds.join(secs(0), TorrentId(1), v1(1), Need::Nothing);
    let begun = driver.begin(secs(0), true);
    driver.end(secs(5), &begun, 0);
    driver.rounds.look_now(secs(10), TorrentId(1));
    assert!(driver.begin(secs(10), true).is_empty());
    driver.rounds.look_now(secs(70), TorrentId(1));
    assert_eq!(driver.begin(secs(70), false).len(), 1);
    driver.rounds.look_now(secs(70), TorrentId(9));
}

#[test]
fn who_leaves_takes_its_lookups_along_and_a_node_that_ends_takes_all() {
    let mut driver = Driver::new();
    for n in 0..2 {
        driver.rounds.join(secs(0), TorrentId(n), hybrid(n), Need::Pieces);
    }
    let begun = driver.begin(secs(0), true);
    let gone = driver.rounds.leave(TorrentId(0));
    assert_eq!(gone, begun[..2].iter().map(|(_, lookup)| *lookup).collect::<Vec<_>>());
    driver.rounds.done(secs(1), gone[0], &Outcome::default());
    driver.rounds.forget_lookups(secs(2));
    driver.rounds.check_invariants();
    assert_eq!(driver.begin(secs(2), true).len(), 2, "the other one begins anew");
}

proptest! {
    #[test]
    fn whatever_happens_the_books_are_right(ops in prop::collection::vec((0u8..8, 0u64..6), 1..200)) {
        let mut driver = Driver::new();
        let mut under_way = Vec::new();
        for (at, (op, n)) in ops.into_iter().enumerate() {
            let (now, id) = (secs(at as u64 * 7), TorrentId(n));
            match op {
                0 => driver.rounds.join(now, id, v1(n), Need::Nothing),
                1 => driver.rounds.join(now, id, hybrid(n), Need::Pieces),
                2 => driver.rounds.join(now, id, v1(n), Need::Metadata),
                3 => drop(driver.rounds.leave(id)),
                4 => driver.rounds.look_now(now, id),
                5 => driver.rounds.forget_lookups(now),
                6 => under_way.extend(driver.begin(now, n % 2 == 0)),
                _ => {
                    let ended: Vec<_> = under_way.drain(..under_way.len().min(2)).collect();
                    driver.end(now, &ended, n as usize);
                }
            }
            driver.rounds.check_invariants();
        }
    }
}

#[test]
fn after_a_move_everybody_is_due_in_order_and_at_the_pace() {
    let mut driver = Driver::new();
    for n in 0..50 {
        driver.rounds.join(secs(0), TorrentId(n), v1(n), Need::Nothing);
    }
    driver.rounds.join(secs(0), TorrentId(99), v1(99), Need::Pieces);
    // All have had a round, but for one that is under way.
    let mut under_way = Vec::new();
    for second in 0..60 {
        let begun = driver.begin(secs(second), true);
        driver.end(secs(second), &begun, 3);
        under_way = begun;
    }
    assert!(under_way.is_empty() && driver.begin(secs(60), true).is_empty(), "nobody is due");
    driver.rounds.look_now(secs(400), TorrentId(7));
    let mine = driver.begin(secs(400), true);
    driver.rounds.moved(secs(400));
    driver.rounds.check_invariants();
    driver.end(secs(400), &mine, 3);
    let mut again = std::collections::BTreeSet::new();
    for second in 400..460 {
        let begun = driver.begin(secs(second), true);
        driver.end(secs(second), &begun, 3);
        again.extend(begun.iter().map(|(id, _)| id.0));
    }
    assert_eq!(again.len(), 51, "{again:?}");
    assert!(again.contains(&7), "what was under way told the old address");
}
