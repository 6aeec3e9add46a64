//! The queue: who may run, who waits, who comes next.
//!
//! Waiting torrents are ranked by priority, then by their turn (those that had one come behind those that
//! had none, and those whose turn ended last come last), then by their place in the [line](super::line).
//! Downloads run in that order: one that ranks before another takes its place. Seeds take turns: one gives
//! its place to another of the same priority after [`TURN`], to one of a higher priority at once. Where both
//! are limited together, downloads go before seeds of the same priority.
//!
//! Torrents that move hardly anything don't count, so that they keep nobody waiting, but go on. Their number
//! is bounded ([`MAX_SLOW`], and [`QueueLimits::active`], which counts them); beyond it they take turns too.
//! One that gets faster counts again as soon as there is a place for it. That stops nobody, so a torrent that
//! comes and goes does not make others do the same.
//!
//! A torrent that was started outside of the queue neither waits nor counts.
mod pace;
mod places;
mod seats;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use super::{Effect, Phase, Session};
use crate::piece_mgr::Priority;
use crate::time::Time;
use crate::units::{ByteRate, TorrentId};

pub(super) use pace::Pace;
pub use pace::{SLOW_AFTER, TURN};
pub use places::{Place, Shift};
pub(super) use seats::Queue;
use seats::{Kind, Rank, Seat};

/// Downloads, and seeds, that go on without being counted, at most: what even a small machine keeps live
/// without noticing.
pub const MAX_SLOW: usize = 100;
/// While somebody waits, it is looked this often for those who are slow or whose turn is over.
const LOOK: Duration = Duration::from_secs(10);

/// Limits of the queue; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLimits {
    /// Torrents that may download at once.
    pub downloads: Option<u32>,
    /// Torrents that may seed at once.
    pub seeds: Option<u32>,
    /// Torrents that may do either, slow ones included.
    pub active: Option<u32>,
    /// Those that move less are slow, and not counted in `downloads` and `seeds`. Zero: every one counts.
    pub slow: ByteRate,
}

impl QueueLimits {
    fn limits_anything(&self) -> bool {
        self.downloads.is_some() || self.seeds.is_some() || self.active.is_some()
    }

    fn of(&self, kind: Kind) -> usize {
        as_count(if kind == Kind::Seed { self.seeds } else { self.downloads })
    }
}

fn as_count(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |limit| limit as usize)
}

impl Session {
    /// New limits of the queue, in force at once.
    pub fn set_queue(&mut self, now: Time, limits: QueueLimits) {
        if limits == self.queue.limits {
            return;
        }
        self.queue.limits = limits;
        let running = Kind::ALL.into_iter().flat_map(|kind| [Seat::Counted(kind), Seat::Slow(kind)]);
        let running: Vec<TorrentId> =
            running.flat_map(|seat| self.queue.seat(seat)).map(|(_, id)| *id).collect();
        for id in running {
            let pace = self.queue.pace(now);
            self.change(id, |row| {
                row.slow &= limits.slow.0 > 0;
                row.pace = row.pace.take().filter(|_| pace.is_some()).or(pace);
            });
        }
        self.enforce_queue(now);
    }

    /// A torrent that is live has moved so many bytes of payload since it was added.
    pub fn on_traffic(&mut self, now: Time, id: TorrentId, downloaded: u64, uploaded: u64) {
        let slow = self.queue.limits.slow;
        if let Some(row) = self.rows.untouched_mut(&id) {
            let bytes = if row.finished { uploaded } else { downloaded };
            if let Some(pace) = &mut row.pace {
                pace.update(now, bytes, slow);
            }
        }
    }

    /// Changes how a torrent ranks, which may change who runs.
    pub fn set_priority(&mut self, now: Time, id: TorrentId, priority: Priority) {
        if self.rows.get(&id).is_none_or(|row| row.priority == priority) {
            return;
        }
        self.change(id, |row| row.priority = priority);
        self.effects.push_back(Effect::Save(id));
        self.fill_queue(now);
    }

    /// Sends the last of those beyond the limits back to wait, and fills free places. A torrent that just
    /// finished keeps its place until that is durable.
    pub(super) fn enforce_queue(&mut self, now: Time) {
        while let Some(id) = self.surplus() {
            self.send_back(now, id);
        }
        self.fill_queue(now);
    }

    /// The next that has to go, if there are more than may run.
    fn surplus(&self) -> Option<TorrentId> {
        let queue = &self.queue;
        let mut kinds = Kind::ALL.into_iter();
        let over = |seat: Seat, most: usize| queue.last(seat).filter(|_| queue.len(seat) > most);
        kinds
            .find_map(|kind| {
                over(Seat::Counted(kind), queue.limits.of(kind)).or(over(Seat::Slow(kind), MAX_SLOW))
            })
            .or_else(|| {
                let beyond = queue.running() > as_count(queue.limits.active);
                self.last_running().filter(|_| beyond)
            })
    }

    /// Of all that run, the one that ranks last.
    fn last_running(&self) -> Option<TorrentId> {
        let seats = Kind::ALL.into_iter().flat_map(|kind| [Seat::Counted(kind), Seat::Slow(kind)]);
        seats.filter_map(|seat| self.queue.last(seat)).max_by_key(|id| self.standing(*id))
    }

    /// What ranks a torrent among all.
    fn standing(&self, id: TorrentId) -> Option<(Reverse<Priority>, Kind, Rank, TorrentId)> {
        self.rows.get(&id).map(|row| (Reverse(row.priority), row.kind(), row.rank(), id))
    }

    /// Who has to make room for a torrent that waits; `None`: nobody, it has to wait.
    fn gives_way(&self, kind: Kind, next: TorrentId) -> Option<TorrentId> {
        let counted = Seat::Counted(kind);
        let other = match self.queue.len(counted) >= self.queue.limits.of(kind) {
            true => self.queue.last(counted)?,
            false => self.last_running()?,
        };
        let (mine, its) = (self.standing(next)?, self.standing(other)?);
        let first = match (mine.1, its.1) {
            (Kind::Seed, Kind::Seed) => mine.0 < its.0,
            _ => mine < its,
        };
        first.then_some(other)
    }

    /// The first of those that wait. What is left of a fault keeps it waiting until that is tried again.
    fn next_waiting(&self, kind: Kind) -> Option<TorrentId> {
        let mut waiting = self.queue.seat(Seat::Waiting(kind)).iter().map(|(_, id)| *id);
        waiting.find(|id| self.rows.get(id).is_some_and(|row| row.fault.is_none()))
    }

    /// Counts those that run without being counted and are fast enough again, as far as there are places.
    fn count_in(&mut self, now: Time, kind: Kind) {
        let room = self.queue.limits.of(kind).saturating_sub(self.queue.len(Seat::Counted(kind)));
        let slow = self.queue.seat(Seat::Slow(kind)).iter().map(|(_, id)| *id);
        let is_fast = |id: &TorrentId| self.rows.get(id).is_some_and(|row| !row.is_slow(now));
        let fast: Vec<TorrentId> =
            if room == 0 { Vec::new() } else { slow.filter(is_fast).take(room).collect() };
        for id in fast {
            self.change(id, |row| row.slow = false);
        }
    }

    /// Gives places to those who wait, also places of those who rank behind them.
    pub(super) fn fill_queue(&mut self, now: Time) {
        for kind in Kind::ALL {
            while let Some(next) = self.next_waiting(kind) {
                self.count_in(now, kind);
                if self.queue.has_place(kind) {
                    self.begin(now, next);
                } else if let Some(other) = self.gives_way(kind, next) {
                    self.send_back(now, other);
                } else {
                    break;
                }
            }
        }
        let waits = Kind::ALL.iter().any(|kind| self.queue.len(Seat::Waiting(*kind)) > 0);
        let next = self.queue.look_at.unwrap_or(now + LOOK);
        self.queue.look_at = waits.then_some(next);
    }

    /// A torrent that runs has to wait again.
    fn send_back(&mut self, now: Time, id: TorrentId) {
        self.leave(now, id);
        self.step(now, id);
    }

    /// Somebody waits: ends turns, and counts those no longer that are slow. Looks at those that run, of
    /// which there are few, since somebody waits.
    pub(super) fn look_over(&mut self, now: Time) {
        self.queue.look_at = None;
        for kind in Kind::ALL {
            if let Some(next) = self.next_waiting(kind) {
                self.count_in(now, kind);
                self.end_turns(now, kind, next);
                self.count_out(now, kind);
            }
        }
        self.fill_queue(now);
    }

    /// Ends the turns of as many as wait, if those would come next.
    fn end_turns(&mut self, now: Time, kind: Kind, next: TorrentId) {
        let Some(least) = self.rows.get(&next).map(|row| row.priority) else { return };
        let waiting = self.queue.len(Seat::Waiting(kind));
        let over = |seat: Seat, most: usize| {
            let rows = self.queue.seat(seat).iter().filter_map(|(_, id)| self.rows.get(id));
            let mut over: Vec<(Option<Time>, TorrentId)> = rows
                .filter(|row| row.priority <= least && row.had_its_turn(now))
                .map(|row| (row.pace.as_ref().map(|pace| pace.since), row.id))
                .collect();
            over.sort_unstable();
            over.truncate(most);
            over
        };
        let counted = if kind == Kind::Seed { waiting } else { 0 };
        let slow = self.held_up(now, kind).min(waiting);
        for (_, id) in [over(Seat::Counted(kind), counted), over(Seat::Slow(kind), slow)].concat() {
            self.queue.turns += 1;
            let turn = self.queue.turns;
            self.change(id, |row| row.turn = turn);
            self.send_back(now, id);
        }
    }

    /// How many more would get a place if fewer ran without being counted.
    fn held_up(&self, now: Time, kind: Kind) -> usize {
        let (queue, counted) = (&self.queue, Seat::Counted(kind));
        let free = queue.limits.of(kind).saturating_sub(queue.len(counted));
        if free > 0 {
            return free;
        }
        if queue.len(Seat::Slow(kind)) < MAX_SLOW {
            return 0;
        }
        queue
            .seat(counted)
            .iter()
            .filter_map(|(_, id)| self.rows.get(id))
            .filter(|row| row.is_slow(now))
            .count()
    }

    /// Counts those no longer that moved hardly anything for a while.
    fn count_out(&mut self, now: Time, kind: Kind) {
        if self.queue.limits.slow.0 == 0 {
            return;
        }
        let room = MAX_SLOW.saturating_sub(self.queue.len(Seat::Slow(kind)));
        let counted = self.queue.seat(Seat::Counted(kind)).iter().map(|(_, id)| *id);
        let is_slow = |id: &TorrentId| self.rows.get(id).is_some_and(|row| row.is_slow(now));
        let slow: Vec<TorrentId> = counted.filter(is_slow).take(room).collect();
        for id in slow {
            self.change(id, |row| row.slow = true);
        }
    }

    /// Asserts what must always hold of the queue.
    pub(super) fn check_queue(&self) {
        let queue = &self.queue;
        queue.line.check_invariants();
        assert_eq!(queue.line.len(), self.rows.len(), "everyone stands in line, once");
        let seated: usize = queue.seats.iter().map(BTreeSet::len).sum();
        let rows = self.rows.values().filter_map(|row| Some((row.seat()?, row)));
        let mut expected = 0;
        for (seat, row) in rows {
            assert!(queue.seat(seat).contains(&(row.rank(), row.id)), "{row:?} has no seat");
            expected += 1;
        }
        assert_eq!(seated, expected, "the queue's sets mirror the rows");
        for row in self.rows.values() {
            assert!(queue.line.position(row.queue_key, row.id).is_some(), "{row:?} stands in line");
            assert!(!(row.forced && row.phase == Phase::Queued), "{row:?} waits");
            assert!(row.phase != Phase::Active || row.turn == 0, "{row:?} runs, and its turn is over");
            assert!(!row.slow || row.phase == Phase::Active, "{row:?}");
        }
        assert_eq!(self.surplus(), None, "more run than may");
        for kind in Kind::ALL {
            let Some(next) = self.next_waiting(kind) else { continue };
            assert!(!queue.has_place(kind), "{next:?} waits although there is a place");
            assert_eq!(self.gives_way(kind, next), None, "{next:?} waits for one who ranks behind it");
            assert!(queue.look_at.is_some(), "nobody looks after those that wait");
        }
    }
}
