//! Limiter: how many payload bytes a connection may move now, under a global limit, one per torrent and one
//! per class of torrents (a label), in each direction. Every limit holds: a torrent that is in several
//! classes counts in each of them.
//!
//! Deficit round-robin: credit goes to the torrent that has had least, and within it to the connection
//! that waits longest, a turn at a time. A torrent's deficit is what it lags behind the others; it
//! survives the moments in which the torrent has nothing queued because it is busy with its last grant,
//! and shrinks to a tenth of a second's worth when it really pauses. So a torrent with one fast
//! connection gets as much as one with a hundred, and a torrent that wants less leaves the rest.
//!
//! Credit is counted in billionths of a byte, so nothing is lost to rounding. All wake-ups fall on a
//! 10 ms grid shared by all torrents, however many are limited; idle flows cost nothing.
//!
//! Callers: a connection asks [`Limiter::request`] before it reads or writes payload, and uses its grant
//! at once. The shell calls [`Limiter::poll`] at [`Limiter::next_timeout`] and wakes who was granted.
//! Both may be skipped while [`Limiter::is_unlimited`].
mod bucket;
mod gate;
mod lane;
mod slab;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{ByteRate, Time, TorrentId};
use lane::Lane;

/// Which way payload flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To peers.
    Up,
    /// From peers.
    Down,
}

/// One connection in one direction. Never reused: the id of a closed flow names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    direction: Direction,
    slot: u32,
    serial: u64,
}

/// A class of torrents, which may have limits of its own that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

/// The answer to a request.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes may move now: at least 1, at most what was wanted. Ask again for the rest.
    Granted(u32),
    /// Nothing now; a later `poll` names this flow, once.
    Queued,
}

/// All limits of the daemon. A leaf lock's worth of state: no call does more than O(log n) work, except
/// `poll`, which does that for each grant.
#[derive(Debug, Default)]
pub struct Limiter {
    lanes: Lanes,
    /// The classes of torrents that are in any.
    classes: BTreeMap<TorrentId, Box<[ClassId]>>,
}

/// What there is once for each direction.
#[derive(Debug, Default)]
struct Lanes {
    up: Lane,
    down: Lane,
}

impl Lanes {
    fn of(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn of_mut(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

impl Limiter {
    /// No limits, no flows.
    pub fn new() -> Limiter {
        Limiter::default()
    }

    /// Limits all torrents together; `None` lifts the limit, a rate of zero stops the direction. Takes
    /// effect at once, also for queued requests: read `next_timeout` again.
    pub fn set_global(&mut self, now: Time, direction: Direction, limit: Option<ByteRate>) {
        self.lanes.of_mut(direction).set_global(now, limit);
    }

    /// Limits one torrent, whether or not it has flows already. Otherwise as [`Limiter::set_global`].
    pub fn set_torrent(&mut self, now: Time, id: TorrentId, direction: Direction, limit: Option<ByteRate>) {
        let classes = classes_of(&self.classes, id);
        self.lanes.of_mut(direction).set_torrent(now, id, limit, classes);
    }

    /// Limits all torrents of a class together, those that have flows already included. Otherwise as
    /// [`Limiter::set_global`].
    pub fn set_class(&mut self, now: Time, class: ClassId, direction: Direction, limit: Option<ByteRate>) {
        let classes = &self.classes;
        self.lanes.of_mut(direction).set_class(now, class, limit, |id| classes_of(classes, id));
    }

    /// Says which classes a torrent is in, whether or not they are limited; a new one is in none.
    pub fn set_classes(&mut self, now: Time, id: TorrentId, classes: &[ClassId]) {
        match classes {
            [] => drop(self.classes.remove(&id)),
            classes => drop(self.classes.insert(id, classes.into())),
        }
        self.lanes.up.set_classes(now, id, classes);
        self.lanes.down.set_classes(now, id, classes);
    }

    /// Forgets a torrent's limits and classes. What is left of the torrent goes with its last flow.
    pub fn remove_torrent(&mut self, now: Time, id: TorrentId) {
        if self.classes.contains_key(&id) {
            self.set_classes(now, id, &[]);
        }
        self.lanes.up.set_torrent(now, id, None, &[]);
        self.lanes.down.set_torrent(now, id, None, &[]);
    }

    /// The tighter of the limits that hold for a torrent, if any: an upper bound for all its peers
    /// together, not its fair share.
    pub fn limit(&self, id: TorrentId, direction: Direction) -> Option<ByteRate> {
        self.lanes.of(direction).limit(id, classes_of(&self.classes, id))
    }

    /// Whether requests of this torrent are always granted in full, so that they need not be made.
    pub fn is_unlimited(&self, id: TorrentId, direction: Direction) -> bool {
        self.limit(id, direction).is_none()
    }

    /// A connection of the torrent begins.
    pub fn open(&mut self, id: TorrentId, direction: Direction) -> FlowId {
        let classes = classes_of(&self.classes, id);
        let (slot, serial) = self.lanes.of_mut(direction).open(id, classes);
        FlowId { direction, slot, serial }
    }

    /// The connection ends; its queued request is forgotten.
    pub fn close(&mut self, flow: FlowId) {
        self.lanes.of_mut(flow.direction).close((flow.slot, flow.serial));
    }

    /// Asks to move up to `want` bytes of payload. A flow has one request at most: a second one while
    /// the first is queued only changes how much is wanted, and zero withdraws it.
    pub fn request(&mut self, now: Time, flow: FlowId, want: u32) -> Grant {
        self.lanes.of_mut(flow.direction).request(now, (flow.slot, flow.serial), want)
    }

    /// Returns what the flow did not use of its last grant.
    pub fn give_back(&mut self, flow: FlowId, unused: u32) {
        self.lanes.of_mut(flow.direction).give_back((flow.slot, flow.serial), unused);
    }

    /// Appends the queued flows that may go on, with how many bytes each. Their requests are done.
    pub fn poll(&mut self, now: Time, grants: &mut Vec<(FlowId, u32)>) {
        for direction in [Direction::Up, Direction::Down] {
            self.lanes.of_mut(direction).poll(now, |(slot, serial), bytes| {
                grants.push((FlowId { direction, slot, serial }, bytes));
            });
        }
    }

    /// When to call `poll`; `None` while nobody who could ever be served is queued. After a `poll` at
    /// `now` it is later than `now`.
    pub fn next_timeout(&self) -> Option<Time> {
        [self.lanes.up.next_timeout(), self.lanes.down.next_timeout()].into_iter().flatten().min()
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        self.lanes.up.check_invariants();
        self.lanes.down.check_invariants();
    }
}

fn classes_of(classes: &BTreeMap<TorrentId, Box<[ClassId]>>, id: TorrentId) -> &[ClassId] {
    classes.get(&id).map_or(&[], Box::as_ref)
}
