//! DialPacer: when which torrent may dial, over all torrents.
//!
//! Thousands of torrents that start together know a hundred thousand addresses at once. A router that is asked for
//! as many connections in a second forgets those that it has, so dials wait here: so many may be under way, so
//! many begin in a second. Torrents take turns, so that one with many addresses keeps nobody waiting, in three
//! lanes: addresses that the operator named come first, which are few; then of four turns three are for torrents
//! that lack sources and one is for the others. Whoever waits too long gives up the turn, and is asked again
//! later: an address of then may not be the best any more.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::{Time, TorrentId};

/// The dials of so much time may begin at once after a pause.
const BURST: Duration = Duration::from_millis(500);
/// Nobody waits for a turn longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Turns of torrents that lack sources, to one of those that don't.
const FIRST_TURNS: u32 = 3;

/// How much may go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Dials under way.
    pub half_open: usize,
    /// Dials begun in a second; at least one.
    pub per_second: u32,
}

/// How much a dial matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The operator named the address.
    Named,
    /// The torrent wants pieces and has hardly anybody to get them from.
    First,
    /// All else.
    Rest,
}

/// What becomes of a dial that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// It may begin; it counts as under way until [`DialPacer::done`].
    Dial(T),
    /// It waited for too long.
    Late(T),
}

/// The dials that wait. They are as many as Swarms want at a time, which each bounds for itself.
#[derive(Debug)]
pub struct DialPacer<T> {
    limits: Limits,
    lanes: [Queue<T>; 3],
    /// All that came, by age; those that had their turn are still here until they would be late.
    arrivals: VecDeque<Arrival>,
    next_number: u64,
    half_open: usize,
    /// When the next may begin, but for [`BURST`].
    due: Time,
    /// Turns in a row that torrents of the second lane had.
    first_turns: u32,
}

#[derive(Debug)]
struct Arrival {
    late_at: Time,
    lane: Lane,
    torrent: TorrentId,
    number: u64,
}

/// The dials of one lane.
#[derive(Debug)]
struct Queue<T> {
    of: BTreeMap<TorrentId, VecDeque<(u64, T)>>,
    /// Each torrent that has some, once, in the order of turns.
    turns: VecDeque<TorrentId>,
}

impl<T> Queue<T> {
    fn take(&mut self) -> Option<T> {
        let torrent = self.turns.pop_front()?;
        let waiting = self.of.get_mut(&torrent)?;
        let (_, dial) = waiting.pop_front()?;
        if waiting.is_empty() {
            self.of.remove(&torrent);
        } else {
            self.turns.push_back(torrent);
        }
        Some(dial)
    }

    /// Takes a torrent's oldest if it has this number: an older one had its turn.
    fn take_number(&mut self, torrent: TorrentId, number: u64) -> Option<T> {
        let waiting = self.of.get_mut(&torrent)?;
        let (_, dial) = waiting.pop_front_if(|oldest| oldest.0 == number)?;
        if waiting.is_empty() {
            self.of.remove(&torrent);
            self.turns.retain(|other| *other != torrent);
        }
        Some(dial)
    }
}

impl<T> DialPacer<T> {
    /// Nobody waits, nothing is under way.
    pub fn new(limits: Limits) -> DialPacer<T> {
        DialPacer {
            limits,
            lanes: std::array::from_fn(|_| Queue { of: BTreeMap::new(), turns: VecDeque::new() }),
            arrivals: VecDeque::new(),
            next_number: 0,
            half_open: 0,
            due: Time::ZERO,
            first_turns: 0,
        }
    }

    /// Other limits; dials under way go on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A torrent wants to dial.
    pub fn push(&mut self, now: Time, lane: Lane, torrent: TorrentId, dial: T) {
        let number = self.next_number;
        self.next_number += 1;
        self.arrivals.push_back(Arrival { late_at: now + PATIENCE, lane, torrent, number });
        let queue = &mut self.lanes[lane as usize];
        let waiting = queue.of.entry(torrent).or_default();
        if waiting.is_empty() {
            queue.turns.push_back(torrent);
        }
        waiting.push_back((number, dial));
    }

    /// Whose turn it is, or is no more. `room`: whether there is any for a connection. Ask after every event,
    /// until `None`.
    pub fn poll(&mut self, now: Time, room: bool) -> Option<Turn<T>> {
        while let Some(oldest) = self.arrivals.pop_front_if(|oldest| oldest.late_at <= now) {
            let queue = &mut self.lanes[oldest.lane as usize];
            if let Some(dial) = queue.take_number(oldest.torrent, oldest.number) {
                return Some(Turn::Late(dial));
            }
        }
        if !self.may_begin(room) || self.begins_at() > now {
            return None;
        }
        let dial = self.take()?;
        self.half_open += 1;
        self.due = self.due.max(now) + self.interval();
        Some(Turn::Dial(dial))
    }

    /// A dial is under way no more.
    pub fn done(&mut self) {
        self.half_open = self.half_open.saturating_sub(1);
    }

    /// When to ask [`poll`](Self::poll) again, if nothing else happens before.
    pub fn poll_timeout(&self, room: bool) -> Option<Time> {
        let waits = self.lanes.iter().any(|queue| !queue.turns.is_empty());
        let begins = (waits && self.may_begin(room)).then(|| self.begins_at());
        let late = self.arrivals.front().filter(|_| waits).map(|oldest| oldest.late_at);
        begins.into_iter().chain(late).min()
    }

    /// Dials that wait for their turn, and those under way.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.lanes.iter().flat_map(|queue| queue.of.values()).map(VecDeque::len).sum();
        (waiting, self.half_open)
    }

    /// Whether anybody waits. O(1).
    pub fn is_waited_for(&self) -> bool {
        self.lanes.iter().any(|queue| !queue.turns.is_empty())
    }

    fn may_begin(&self, room: bool) -> bool {
        room && self.half_open < self.limits.half_open
    }

    fn begins_at(&self) -> Time {
        Time::from_start(self.due.since_start().saturating_sub(BURST))
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.limits.per_second.max(1)
    }

    fn take(&mut self) -> Option<T> {
        let [named, first, rest] = &mut self.lanes;
        if let Some(dial) = named.take() {
            return Some(dial);
        }
        if self.first_turns >= FIRST_TURNS
            && let Some(dial) = rest.take()
        {
            self.first_turns = 0;
            return Some(dial);
        }
        if let Some(dial) = first.take() {
            self.first_turns += 1;
            return Some(dial);
        }
        rest.take()
    }

    /// Panics when the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        let waiting: usize = self.counts().0;
        assert!(self.arrivals.len() >= waiting);
        for queue in &self.lanes {
            assert!(queue.of.values().all(|waiting| !waiting.is_empty()));
            let mut turns: Vec<_> = queue.turns.iter().copied().collect();
            turns.sort_unstable();
            assert_eq!(turns, queue.of.keys().copied().collect::<Vec<_>>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    fn pacer(half_open: usize, per_second: u32) -> DialPacer<u32> {
        DialPacer::new(Limits { half_open, per_second })
    }

    fn all(pacer: &mut DialPacer<u32>, now: Time) -> Vec<u32> {
        let turns = std::iter::from_fn(|| pacer.poll(now, true));
        turns.map(|turn| if let Turn::Dial(dial) = turn { dial } else { panic!("{turn:?}") }).collect()
    }

    #[test]
    fn five_thousand_torrents_open_so_many_sockets_a_second_and_each_has_its_turn() {
        let mut pacer = pacer(200, 50);
        for n in 0..50_000 {
            pacer.push(at(0), Lane::First, TorrentId(u64::from(n % 5000)), n);
        }
        let (mut dialled, mut now) = (Vec::new(), 0);
        while dialled.len() < 2500 {
            let begun = all(&mut pacer, at(now));
            begun.iter().for_each(|_| pacer.done());
            dialled.extend(begun);
            now = pacer.poll_timeout(true).unwrap().since_start().as_millis() as u64 + 1;
        }
        pacer.check_invariants();
        assert!((48_000..52_000).contains(&now), "{now} ms for 2500 dials");
        let torrents: std::collections::BTreeSet<_> = dialled.iter().map(|n| n % 5000).collect();
        assert_eq!(torrents.len(), dialled.len(), "nobody twice before all had a turn");
    }

    #[test]
    fn no_more_are_under_way_than_may_be_nor_without_room() {
        let mut pacer = pacer(3, 1000);
        (0..10).for_each(|n| pacer.push(at(0), Lane::Rest, TorrentId(1), n));
        assert_eq!(pacer.poll(at(0), false), None);
        assert_eq!(pacer.poll_timeout(false), Some(at(60_000)), "only patience ends");
        assert_eq!(all(&mut pacer, at(0)), [0, 1, 2]);
        pacer.done();
        assert_eq!((all(&mut pacer, at(1)), pacer.counts()), (vec![3], (6, 3)));
        pacer.set_limits(Limits { half_open: 5, per_second: 1000 });
        assert_eq!(all(&mut pacer, at(2)), [4, 5]);
    }

    #[test]
    fn the_operators_come_first_and_seeds_get_every_fourth_turn() {
        let mut pacer = pacer(100, 1000);
        (0..8).for_each(|n| pacer.push(at(0), Lane::Rest, TorrentId(1), n));
        (10..19).for_each(|n| pacer.push(at(0), Lane::First, TorrentId(2), n));
        pacer.push(at(0), Lane::Named, TorrentId(3), 20);
        let want = [20, 10, 11, 12, 0, 13, 14, 15, 1, 16, 17, 18, 2, 3, 4, 5, 6, 7];
        assert_eq!(all(&mut pacer, at(0)), want);
    }

    #[test]
    fn who_waits_too_long_is_told_so_once() {
        let mut pacer = pacer(1, 10);
        (0..3).for_each(|n| pacer.push(at(n.into()), Lane::Rest, TorrentId(1), n));
        assert_eq!(pacer.poll(at(5), true), Some(Turn::Dial(0)));
        assert_eq!(pacer.poll(at(60_001), true), Some(Turn::Late(1)));
        assert_eq!(pacer.poll(at(60_001), true), None);
        pacer.done();
        assert_eq!(pacer.poll(at(60_001), true), Some(Turn::Dial(2)));
        assert_eq!((pacer.poll(at(99_999), true), pacer.poll_timeout(true)), (None, None));
        pacer.check_invariants();
    }

    proptest! {
        #[test]
        fn every_dial_has_one_end(steps in prop::collection::vec((0u8..4, 0u64..5, 0u64..20_000), 1..200)) {
            let mut pacer = pacer(4, 5);
            let (mut now, mut pushed, mut ended, mut open) = (0, 0, 0, 0);
            for (what, torrent, gap) in steps {
                match what {
                    0 | 1 => {
                        let lane = [Lane::Named, Lane::First, Lane::Rest][(torrent % 3) as usize];
                        pacer.push(at(now), lane, TorrentId(torrent), pushed);
                        pushed += 1;
                    }
                    2 if open > 0 => {
                        pacer.done();
                        open -= 1;
                    }
                    _ => now += gap,
                }
                while let Some(turn) = pacer.poll(at(now), torrent != 4) {
                    ended += 1;
                    open += u32::from(matches!(turn, Turn::Dial(_)));
                }
                pacer.check_invariants();
                prop_assert!(open <= 4);
                prop_assert_eq!(pacer.counts(), ((pushed - ended) as usize, open as usize));
            }
            now += 60_000;
            while pacer.poll(at(now), false).is_some() {
                ended += 1;
            }
            prop_assert_eq!(pushed, ended);
        }
    }
}
