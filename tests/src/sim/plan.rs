//! A whole run as data: who takes part, in what, and what happens when. It can be printed, and a run whose
//! randomness comes from elsewhere can do without any part of it.
use std::fmt;
use std::time::Duration;

use wgo_core::ByteRate;
use wgo_core::limiter::Direction;
use wgo_core::session::Check;

use crate::sim::content::Shape;
use crate::sim::disk::{Condition, Failing};
use crate::sim::node::Habits;
use crate::sim::weather::Weather;

/// A run.
#[derive(Clone)]
pub struct Plan {
    /// Of the run's own randomness.
    pub seed: u64,
    pub torrents: Vec<PlannedTorrent>,
    pub nodes: Vec<PlannedNode>,
    pub weather: Weather,
    /// In the order of their times.
    pub happenings: Vec<Planned>,
}

#[derive(Clone)]
pub struct PlannedTorrent {
    pub shape: Shape,
    pub private: bool,
    pub two_trackers: bool,
}

#[derive(Clone)]
pub struct PlannedNode {
    pub habits: Habits,
    /// Torrents that it begins with, by their places.
    pub begins: Vec<(usize, Begin)>,
    /// It keeps the full copy of what it has: it neither removes anything nor leaves for good.
    pub origin: bool,
    /// It has to finish what it wants.
    pub honest: bool,
    /// A shrinker has taken it out.
    pub absent: bool,
}

/// What a node has of a torrent when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Everything,
    Nothing,
    /// One piece in so many.
    Some(u32),
}

/// When what happens; the number stays when others are taken out.
#[derive(Clone, Debug)]
pub struct Planned {
    pub number: usize,
    pub at: Duration,
    pub what: Happening,
}

/// Something that happens to a node, its torrent (by their places), or the world.
#[derive(Clone, Debug)]
pub enum Happening {
    Join(usize, usize),
    Remove(usize, usize, bool),
    Start(usize, usize),
    Stop(usize, usize),
    Verify(usize, usize),
    Leave(usize),
    Return(usize),
    Crash(usize),
    Restart(usize, Check),
    Trackers {
        first_down: bool,
        other_down: bool,
    },
    AnswersLost(u32),
    Weather(Weather),
    Part(u64),
    Heal,
    Resets(u32),
    HalfOpen(u32),
    Stall(u32, Duration),
    Limit(usize, Direction, Option<ByteRate>),
    Queue(usize, Option<u32>, Option<u32>),
    Jump(usize, Duration),
    Suspend(usize, Duration, bool),
    Disk(usize, Condition),
    /// The next so many operations of a kind fail on a device of a node that has a store.
    Fail(usize, u64, Failing, u32),
    /// The power of a node that has a store goes: now, or after so many changes of its disks.
    PowerCut(usize, Option<u64>),
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}", self.seed, self.weather)?;
        for (number, torrent) in self.torrents.iter().enumerate() {
            let Shape { piece_len, files } = &torrent.shape;
            let (private, two) = (torrent.private, torrent.two_trackers);
            writeln!(
                f,
                "torrent {number}: pieces of {piece_len}, files {files:?}, private {private}, two trackers {two}"
            )?;
        }
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.absent) {
            let h = &node.habits;
            let kind = match (h.rogue, node.origin, node.honest) {
                (Some(class), ..) => format!("{class:?}"),
                (None, true, _) => "origin".to_owned(),
                (None, false, true) => "honest".to_owned(),
                (None, false, false) => format!("poison {} stalls {}", h.poison, h.stalls),
            };
            writeln!(
                f,
                "node {number}: {kind}, begins {:?}, fast {}, line {}, up {:?}, down {:?}, nat {}, memory {}, slots {:?}, \
                 max peers {}, socket {}, pex {}, clock {:?}, store {}, disk {} ms, {:?}",
                node.begins,
                h.fast,
                h.line,
                h.up_limit.map(|limit| limit.0),
                h.down_limit.map(|limit| limit.0),
                h.nat,
                h.memory,
                h.slots,
                h.max_peers,
                h.socket,
                h.pex,
                h.clock,
                h.store,
                h.disk_millis,
                h.preallocate
            )?;
        }
        for planned in &self.happenings {
            writeln!(f, "{:4} at {:9.3} s: {:?}", planned.number, planned.at.as_secs_f64(), planned.what)?;
        }
        Ok(())
    }
}
