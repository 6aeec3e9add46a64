//! What the session knows of one torrent, at most 200 bytes; and the table of them.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;

use wgo_proto::InfoHashes;

use super::Check;
use super::queue::Pace;
use crate::piece_mgr::Priority;
use crate::time::Time;
use crate::units::TorrentId;

/// Where a torrent is in its life, for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The operator wants it still.
    Stopped,
    /// It waits for a check.
    CheckQueued,
    /// It is being hashed.
    Checking,
    /// Its files are being moved.
    Moving,
    /// It waits for a place in the queue.
    Queued,
    /// It may exchange data.
    Active,
}

/// What people see: the `state` of the control API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Waits for a place or a check.
    Queued,
    /// Files are being hashed.
    Checking,
    /// The info dictionary is being fetched (BEP 9).
    Metadata,
    /// Pieces are wanted.
    Downloading,
    /// Everything wanted is stored.
    Seeding,
    /// The operator stopped it.
    Stopped,
    /// Files are being moved.
    Moving,
    /// Something stands in its way; it heals when that is gone.
    Error,
}

impl State {
    /// The word of the control API.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Checking => "checking",
            State::Metadata => "metadata",
            State::Downloading => "downloading",
            State::Seeding => "seeding",
            State::Stopped => "stopped",
            State::Moving => "moving",
            State::Error => "error",
        }
    }
}

/// What kind of thing stands in a torrent's way, which decides what goes on meanwhile. In order: each
/// stops more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// No space is left: reading goes on.
    DiskFull,
    /// Files can't be written, but may be read: permissions, a read-only mount.
    NotWritable,
    /// Files can't be reached at all: a missing folder, a failing device.
    Unreachable,
    /// The torrent itself can't go on (its metainfo is damaged, the engine failed): it stays down.
    Broken,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 4] =
        [FaultKind::DiskFull, FaultKind::NotWritable, FaultKind::Unreachable, FaultKind::Broken];

    /// The word for programs, of the control API and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::DiskFull => "disk_full",
            FaultKind::NotWritable => "not_writable",
            FaultKind::Unreachable => "unavailable",
            FaultKind::Broken => "broken",
        }
    }
}

/// What stands in a torrent's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// What failed, where, why, and what to do: for the operator.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A device that holds files, by the number that the system gives it.
pub type Device = u64;

/// One torrent.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number.
    pub id: TorrentId,
    /// Its info-hashes.
    pub hashes: InfoHashes,
    /// The operator wants it to run.
    pub started: bool,
    /// Where it is.
    pub phase: Phase,
    /// Its metadata is known; else that is fetched first (BEP 9).
    pub known: bool,
    /// The check that it needs before it may be active.
    pub needs: Check,
    /// The operator asked for that check, which runs even if the torrent is stopped.
    pub check_asked: bool,
    /// The device that its files are on, as far as is known.
    pub device: Device,
    /// Its files are to be moved: the device of the other place. That is the new one until the switch, then
    /// the old one.
    pub move_to: Option<Device>,
    /// The new place of a move is the torrent's already, and what is left to do there comes first.
    pub switched: bool,
    /// It waits for its turn to be moved, whatever its phase.
    pub(super) move_waits: bool,
    /// Everything wanted is stored.
    pub finished: bool,
    /// A Swarm exists, or is being made.
    pub live: bool,
    /// It is active without a Swarm.
    pub dormant: bool,
    /// It finished, and the checkpoint that makes it so is under way.
    pub completing: bool,
    /// It finished while a checkpoint was under way, which may not cover the last piece: another follows.
    pub finished_late: bool,
    /// A checkpoint is under way.
    pub checkpointing: bool,
    /// What stands in its way.
    pub fault: Option<Box<Fault>>,
    /// What stood in its way when the daemon ended, until it is known whether it still does.
    pub past_fault: Option<Box<Fault>>,
    /// Failures in a row of what the fault is about; sets how long until the next probe.
    pub probes: u32,
    /// Its place in the line: smaller is before larger.
    pub(super) queue_key: i64,
    /// How it ranks in the queue.
    pub priority: Priority,
    /// It runs outside of the queue.
    pub forced: bool,
    /// It runs, and does not count since it moves hardly anything.
    pub slow: bool,
    /// While it waits: which number its last turn had when that ended; 0 without one.
    pub(super) turn: u64,
    /// How fast it is, while it runs and the queue is limited.
    pub(super) pace: Option<Box<Pace>>,
    /// When it wants something next.
    pub(super) deadline: Option<Time>,
}

impl Row {
    /// Whether there is something to do, if only for the sake of a check or a move.
    pub(super) fn is_wanted(&self) -> bool {
        self.started || self.check_asked || self.move_to.is_some()
    }

    /// Nothing is done for it any more that needs a Swarm.
    pub(super) fn rest(&mut self) {
        self.live = false;
        self.dormant = false;
        self.completing = false;
        self.finished_late = false;
        self.checkpointing = false;
        self.slow = false;
        self.pace = None;
    }

    /// It has all it wants, durably, and may exchange data.
    pub fn seeds(&self) -> bool {
        self.phase == Phase::Active && self.finished && !self.completing
    }

    /// What people read of what stands in its way, or last did.
    pub fn trouble(&self) -> Option<&Fault> {
        self.fault.as_deref().or(self.past_fault.as_deref())
    }

    /// What people see.
    pub fn state(&self) -> State {
        match self.phase {
            _ if self.fault.is_some() && self.is_wanted() => State::Error,
            Phase::Moving => State::Moving,
            // It waits to be moved.
            Phase::Stopped if self.move_to.is_some() => State::Queued,
            Phase::Stopped => State::Stopped,
            Phase::Checking => State::Checking,
            Phase::CheckQueued | Phase::Queued => State::Queued,
            Phase::Active if !self.known => State::Metadata,
            Phase::Active if self.finished => State::Seeding,
            Phase::Active => State::Downloading,
        }
    }
}

/// The rows by number. Whichever may have been changed since it was last asked is remembered, so that
/// nobody who shows torrents has to look at all of them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    by_id: BTreeMap<TorrentId, Row>,
    /// Bounded by the torrents that there were since the last question.
    touched: BTreeSet<TorrentId>,
}

impl Rows {
    pub(super) fn get_mut(&mut self, id: &TorrentId) -> Option<&mut Row> {
        let row = self.by_id.get_mut(id)?;
        self.touched.insert(*id);
        Some(row)
    }

    /// The same for a change that nobody can see.
    pub(super) fn untouched_mut(&mut self, id: &TorrentId) -> Option<&mut Row> {
        self.by_id.get_mut(id)
    }

    pub(super) fn insert(&mut self, id: TorrentId, row: Row) {
        self.touched.insert(id);
        self.by_id.insert(id, row);
    }

    pub(super) fn remove(&mut self, id: &TorrentId) {
        self.touched.remove(id);
        self.by_id.remove(id);
    }

    pub(super) fn take_touched(&mut self) -> BTreeSet<TorrentId> {
        std::mem::take(&mut self.touched)
    }
}

impl Deref for Rows {
    type Target = BTreeMap<TorrentId, Row>;

    fn deref(&self) -> &BTreeMap<TorrentId, Row> {
        &self.by_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stays_small_for_a_hundred_thousand_torrents() {
        assert!(size_of::<Row>() <= 200, "{}", size_of::<Row>());
    }
}
