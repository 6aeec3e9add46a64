//! Session: the life of every torrent, decided without I/O.
//!
//! It knows of each torrent what a row holds: what the operator wants of it, what phase it is in, what
//! stands in its way. Commands and events come in, [`Effect`]s come out; the shell carries those out
//! and reports back. Rows of torrents without work cost nothing: deadlines sit in one ordered set.
mod budget;
mod checks;
mod devices;
mod disks;
mod goals;
mod lifecycle;
mod line;
mod metadata;
mod moves;
mod names;
mod network;
mod queue;
mod row;
mod selecting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::time::Time;
use crate::units::TorrentId;

pub use budget::{Room, share_memory};
pub use goals::{AfterGoal, ChosenGoals, Goals, Ratio, Reached, Seeded};
pub use lifecycle::{Newcomer, Underway};
use queue::Queue;
pub use queue::{MAX_SLOW, Place, QueueLimits, SLOW_AFTER, Shift, TURN};
use row::Rows;
pub use row::{Device, Fault, FaultKind, Phase, Row, State};

/// Between two full choke rounds (BEP 3).
pub const CHOKE_INTERVAL: Duration = Duration::from_secs(10);
/// A full re-rank happens at most this often, however interests change (DESIGN).
pub const CHOKE_FLOOR: Duration = Duration::from_secs(1);
/// Between two checkpoints of a torrent that is written to.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks at the files of a torrent that seeds: about as long a change goes unseen.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Bytes stored after which a checkpoint does not wait for its time.
pub const CHECKPOINT_BYTES: u64 = 1 << 30;
/// Seeds that are started together, as all are when the daemon starts, are made live one after the other:
/// so many at once, then one in this time. Until then they sleep, and answer whoever comes. It spares the
/// trackers, and memory for thousands of Swarms of which nearly all are put to sleep at once.
const SEED_START_BURST: u32 = 64;
const SEED_START_INTERVAL: Duration = Duration::from_millis(2);
/// The session looks after live torrents this often: memory leases, checkpoint sizes.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A Swarm that was just made gets its lease at once, but for many that are made together it is not all
/// done anew each time.
const HOUSEKEEPING_FLOOR: Duration = Duration::from_millis(100);

/// What must be hashed before a torrent may exchange data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the stored state is trusted, or there are no files.
    None,
    /// Everything that exists on disk.
    Full,
    /// Sizes, and a sample of pieces; if those are right, the rest is believed until it is served.
    Quick,
    /// What the log of stored pieces holds beyond the last checkpoint (after a crash), and files whose
    /// size or time changed.
    Suspects,
}

/// Something for the shell to do. Each is idempotent or carries the torrent's number; events about
/// a torrent that is gone are ignored on the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Hash, going on where an earlier check was paused; report with `on_checked` or `on_fault`.
    Check(TorrentId, Check),
    /// Pause hashing: keep what was found so far. Nothing is reported.
    CancelCheck(TorrentId),
    /// What earlier checks found counts no longer: the next one begins at the beginning, also if the
    /// daemon ends before.
    ForgetCheck(TorrentId),
    /// Answer to the info-hash without a Swarm: one is made when somebody comes, or when its time comes.
    Listen(TorrentId),
    /// Bring the files to where they are wanted, or do what is left of that; report with `on_switched`,
    /// then `on_moved`; or with `on_unmoved` or `on_move_fault`.
    Move(TorrentId),
    /// Undo what was done of a move that has not switched. If it is under way, report with `on_unmoved`.
    CancelMove(TorrentId),
    /// Other files of the torrent are wanted; it has no Swarm. Report with `on_selected` or `on_fault`.
    Select(TorrentId),
    /// Give files of the torrent other names; it has no Swarm. Nothing is reported but by `on_fault`.
    Rename(TorrentId),
    /// Make a Swarm, announce, take connections. Nothing to do if there is one.
    GoLive(TorrentId),
    /// Drop the Swarm of a torrent without work; report its next announce with `sleep_until`.
    GoDormant(TorrentId),
    /// End every connection, tell the trackers `stopped`, checkpoint, drop the Swarm; report with
    /// `on_halted`. It answers to its info-hash no longer.
    Halt(TorrentId),
    /// The torrent may not be written to (`requests`) or read from (`uploads`) at present.
    Pause {
        /// The torrent.
        id: TorrentId,
        /// Ask for nothing.
        requests: bool,
        /// Serve nothing.
        uploads: bool,
    },
    /// See whether what stood in the torrent's way is gone; report with `on_fault` or `on_healed`.
    Probe(TorrentId),
    /// Make what is stored durable; report with `on_checkpointed`.
    Checkpoint(TorrentId),
    /// See whether somebody else changed files that peers read; report with `on_changed`.
    Look(TorrentId),
    /// Keep the row's wishes and fault.
    Save(TorrentId),
    /// Rank all peers anew.
    ChokeRound,
    /// Hand out free slots.
    ChokeFill,
    /// Share payload memory out anew and look at the bytes that wait for a checkpoint.
    Housekeep,
    /// The torrent finished and its last piece is durable: hooks, `completed_at`, `completed`.
    Completed(TorrentId),
    /// See whether the torrent was seeded enough, as [`Session::look_at_goal`] asked for.
    Goal(TorrentId),
}

impl Effect {
    /// The torrent that it is about.
    pub fn torrent(&self) -> Option<TorrentId> {
        match self {
            Effect::Check(id, _)
            | Effect::CancelCheck(id)
            | Effect::ForgetCheck(id)
            | Effect::Listen(id)
            | Effect::Select(id)
            | Effect::Rename(id)
            | Effect::Move(id)
            | Effect::CancelMove(id)
            | Effect::GoLive(id)
            | Effect::GoDormant(id)
            | Effect::Halt(id)
            | Effect::Pause { id, .. }
            | Effect::Probe(id)
            | Effect::Checkpoint(id)
            | Effect::Look(id)
            | Effect::Save(id)
            | Effect::Completed(id)
            | Effect::Goal(id) => Some(*id),
            Effect::ChokeRound | Effect::ChokeFill | Effect::Housekeep => None,
        }
    }
}

/// Every torrent of the daemon. See the module's text.
#[derive(Debug, Default)]
pub struct Session {
    rows: Rows,
    queue: Queue,
    /// Checks and moves waiting for each device, first come first served.
    waiting: BTreeMap<Device, VecDeque<TorrentId>>,
    /// The check or move under way on each device.
    working: BTreeMap<Device, TorrentId>,
    /// When a row wants something: a probe, an announce from sleep, a checkpoint.
    deadlines: BTreeSet<(Time, TorrentId)>,
    /// When it is looked whether a torrent was seeded enough: those that have a goal which time reaches.
    goals_due: BTreeSet<(Time, TorrentId)>,
    goal_at: BTreeMap<TorrentId, Time>,
    live: BTreeSet<TorrentId>,
    /// When the next seed may be started, if they came at a steady rate.
    seed_start_at: Option<Time>,
    choke_at: Option<Time>,
    choked_at: Option<Time>,
    housekeep_at: Option<Time>,
    housekept_at: Option<Time>,
    /// Drained by every caller after its call.
    effects: VecDeque<Effect>,
}

impl Session {
    /// No torrents yet.
    pub fn new(queue: QueueLimits) -> Session {
        Session { queue: Queue::new(queue), ..Session::default() }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The row of a torrent.
    pub fn row(&self, id: TorrentId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// Every row.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Torrents whose row may have changed since the last call; those that were removed are not among
    /// them.
    pub fn take_touched(&mut self) -> BTreeSet<TorrentId> {
        let mut touched = self.rows.take_touched();
        touched.append(&mut self.queue.line.take_shifted());
        touched
    }

    /// Torrents that are being hashed or moved, one of each device.
    pub fn working(&self) -> impl Iterator<Item = TorrentId> + '_ {
        self.working.values().copied()
    }

    /// Torrents that have a Swarm.
    pub fn live(&self) -> impl Iterator<Item = TorrentId> + '_ {
        self.live.iter().copied()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let first = |set: &BTreeSet<(Time, TorrentId)>| set.first().map(|(at, _)| *at);
        let (row, goal) = (first(&self.deadlines), first(&self.goals_due));
        [row, goal, self.choke_at, self.housekeep_at, self.queue.look_at].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.choke_at.is_some_and(|at| at <= now) {
            self.choke_round(now);
        }
        if self.housekeep_at.is_some_and(|at| at <= now) {
            self.housekept_at = Some(now);
            self.housekeep_at = (!self.live.is_empty()).then(|| now + HOUSEKEEPING);
            self.effects.push_back(Effect::Housekeep);
        }
        if self.queue.look_at.is_some_and(|at| at <= now) {
            self.look_over(now);
        }
        self.goals_due(now);
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(row) = self.rows.get_mut(&id) {
                row.deadline = None;
            }
            self.row_due(now, id);
        }
    }

    /// A Swarm that [`Effect::GoLive`] asked for was made: it has no memory to speak of before the next
    /// [`Effect::Housekeep`], which is due soon. What stood in its way before the daemon started is over.
    pub fn on_live(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_some_and(|row| row.fault.is_none()) {
            self.set_fault(id, None);
        }
        let soon = self.housekept_at.map_or(now, |at| (at + HOUSEKEEPING_FLOOR).max(now));
        self.housekeep_at = Some(self.housekeep_at.map_or(soon, |at| at.min(soon)));
    }

    /// Interests or slots changed: free slots are handed out at once, and a full ranking follows no
    /// sooner than [`CHOKE_FLOOR`] after the last.
    pub fn on_interest_changed(&mut self, now: Time) {
        match self.choked_at.map(|at| at + CHOKE_FLOOR) {
            Some(allowed) if now < allowed => {
                self.choke_at = Some(self.choke_at.map_or(allowed, |at| at.min(allowed)));
                if self.effects.back() != Some(&Effect::ChokeFill) {
                    self.effects.push_back(Effect::ChokeFill);
                }
            }
            _ => self.choke_round(now),
        }
    }

    fn choke_round(&mut self, now: Time) {
        self.choked_at = Some(now);
        self.choke_at = (!self.live.is_empty()).then(|| now + CHOKE_INTERVAL);
        if self.effects.back() != Some(&Effect::ChokeRound) {
            self.effects.push_back(Effect::ChokeRound);
        }
    }

    /// The one way to change a row's phase, whether it is finished and how it ranks: keeps the sets of those
    /// that run and wait in step.
    fn change(&mut self, id: TorrentId, change: impl FnOnce(&mut Row)) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        self.queue.take(row);
        change(row);
        self.queue.give(row);
        if row.live {
            self.live.insert(id)
        } else {
            self.live.remove(&id)
        };
    }

    fn set_deadline(&mut self, id: TorrentId, at: Option<Time>) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if let Some(old) = std::mem::replace(&mut row.deadline, at) {
            self.deadlines.remove(&(old, id));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, id));
        }
    }

    /// Asserts what must always hold; for tests and simulations.
    pub fn check_invariants(&self) {
        let by_row: BTreeSet<_> =
            self.rows.values().filter_map(|row| row.deadline.map(|at| (at, row.id))).collect();
        assert_eq!(by_row, self.deadlines, "deadlines mirror the rows");
        let live: BTreeSet<_> = self.rows.values().filter(|row| row.live).map(|row| row.id).collect();
        assert_eq!(live, self.live, "the live set mirrors the rows");
        for row in self.rows.values() {
            assert_eq!(row.live, row.phase == Phase::Active && !row.dormant, "{row:?}");
            assert!(!row.live || row.started, "{row:?} runs although stopped");
            assert!(
                row.known || row.needs == Check::None && !row.finished && row.move_to.is_none(),
                "{row:?}"
            );
            assert!(!row.check_asked || row.needs == Check::Full, "{row:?}");
        }
        self.check_devices();
        self.check_queue();
        let goals: BTreeSet<_> = self.goal_at.iter().map(|(id, at)| (*at, *id)).collect();
        assert_eq!(goals, self.goals_due, "goals are looked at when it was asked for");
        assert!(self.goal_at.keys().all(|id| self.rows.contains_key(id)), "{:?}", self.goal_at);
    }
}
