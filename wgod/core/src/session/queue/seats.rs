//! What each torrent is for the queue, and the sets of those that are the same, in the order in which they
//! rank.
use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::super::line::Line;
use super::super::{Phase, Row};
use super::pace::Pace;
use super::{QueueLimits, as_count};
use crate::piece_mgr::Priority;
use crate::time::Time;
use crate::units::TorrentId;

/// Which limit a torrent falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::session) enum Kind {
    Download,
    Seed,
}

impl Kind {
    pub(in crate::session) const ALL: [Kind; 2] = [Kind::Download, Kind::Seed];
}

/// What a torrent is for the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Seat {
    Waiting(Kind),
    Counted(Kind),
    /// It runs and does not count.
    Slow(Kind),
    /// It has finished, which is not durable yet: it counts in neither kind.
    Completing,
}

const SEATS: usize = 7;

impl Seat {
    fn index(self) -> usize {
        match self {
            Seat::Waiting(kind) => kind as usize,
            Seat::Counted(kind) => 2 + kind as usize,
            Seat::Slow(kind) => 4 + kind as usize,
            Seat::Completing => 6,
        }
    }
}

/// Smaller is first: priority, turn, key of the line.
pub(in crate::session) type Rank = (Reverse<Priority>, u64, i64);

/// What the session knows of the queue. Torrents are added to its sets and taken out by
/// [`Session::change`](super::super::Session::change) alone.
#[derive(Debug, Default)]
pub(in crate::session) struct Queue {
    pub(super) limits: QueueLimits,
    pub(in crate::session) line: Line,
    pub(super) seats: [BTreeSet<(Rank, TorrentId)>; SEATS],
    /// Turns that have ended.
    pub(super) turns: u64,
    pub(in crate::session) look_at: Option<Time>,
}

impl Row {
    pub(super) fn kind(&self) -> Kind {
        if self.finished { Kind::Seed } else { Kind::Download }
    }

    pub(in crate::session) fn seat(&self) -> Option<Seat> {
        match self.phase {
            _ if self.forced => None,
            Phase::Queued => Some(Seat::Waiting(self.kind())),
            Phase::Active if self.completing => Some(Seat::Completing),
            Phase::Active if self.slow => Some(Seat::Slow(self.kind())),
            Phase::Active => Some(Seat::Counted(self.kind())),
            _ => None,
        }
    }

    pub(in crate::session) fn rank(&self) -> Rank {
        (Reverse(self.priority), self.turn, self.queue_key)
    }
}

impl Queue {
    pub(in crate::session) fn new(limits: QueueLimits) -> Queue {
        Queue { limits, ..Queue::default() }
    }

    pub(in crate::session) fn take(&mut self, row: &Row) {
        if let Some(seat) = row.seat() {
            self.seats[seat.index()].remove(&(row.rank(), row.id));
        }
    }

    pub(in crate::session) fn give(&mut self, row: &Row) {
        if let Some(seat) = row.seat() {
            self.seats[seat.index()].insert((row.rank(), row.id));
        }
    }

    pub(super) fn seat(&self, seat: Seat) -> &BTreeSet<(Rank, TorrentId)> {
        &self.seats[seat.index()]
    }

    pub(super) fn len(&self, seat: Seat) -> usize {
        self.seat(seat).len()
    }

    pub(super) fn last(&self, seat: Seat) -> Option<TorrentId> {
        self.seat(seat).last().map(|(_, id)| *id)
    }

    /// Torrents that run, in whatever way.
    pub(super) fn running(&self) -> usize {
        let counted = Kind::ALL.map(|kind| self.len(Seat::Counted(kind)) + self.len(Seat::Slow(kind)));
        counted.iter().sum::<usize>() + self.len(Seat::Completing)
    }

    pub(super) fn is_full(&self) -> bool {
        self.running() >= as_count(self.limits.active)
    }

    pub(super) fn has_place(&self, kind: Kind) -> bool {
        self.len(Seat::Counted(kind)) < self.limits.of(kind) && !self.is_full()
    }

    /// The pace that a torrent has when it gets its place; nobody asks for it where nothing is limited.
    pub(in crate::session) fn pace(&self, now: Time) -> Option<Box<Pace>> {
        self.limits.limits_anything().then(|| Pace::new(now))
    }
}
