//! Session: the life of every torrent, decided without I/O.
//!
//! It knows of each torrent what a row holds: what the operator wants of it, what phase it is in, what
//! stands in its way. Commands and events come in, [`Effect`]s come out; the shell carries those out
//! and reports back. Rows of torrents without work cost nothing: deadlines sit in one ordered set.
mod budget;
mod checks;
mod devices;
mod disks;
mod lifecycle;
mod moves;
mod names;
mod row;
mod selecting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::time::Time;
use crate::units::TorrentId;

pub use budget::{Room, share_memory};
pub use lifecycle::{Newcomer, Underway};
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

/// Limits of the queue; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLimits {
    /// Torrents that may download at once.
    pub downloads: Option<u32>,
    /// Torrents that may seed at once.
    pub seeds: Option<u32>,
}

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
}

/// Every torrent of the daemon. See the module's text.
#[derive(Debug, Default)]
pub struct Session {
    rows: Rows,
    queue: QueueLimits,
    next_position: u64,
    /// Rows in `Phase::Queued`, in queue order.
    queued: BTreeSet<(u64, TorrentId)>,
    /// Rows in `Phase::Active`, in queue order: those that download, those that are finished.
    active: [BTreeSet<(u64, TorrentId)>; 2],
    /// Checks and moves waiting for each device, first come first served.
    waiting: BTreeMap<Device, VecDeque<TorrentId>>,
    /// The check or move under way on each device.
    working: BTreeMap<Device, TorrentId>,
    /// When a row wants something: a probe, an announce from sleep, a checkpoint.
    deadlines: BTreeSet<(Time, TorrentId)>,
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
        Session { queue, ..Session::default() }
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
        self.rows.take_touched()
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
        let row = self.deadlines.first().map(|(at, _)| *at);
        [row, self.choke_at, self.housekeep_at].into_iter().flatten().min()
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

    /// The one way to change a row's phase or whether it is finished: keeps the ordered sets in step.
    fn change(&mut self, id: TorrentId, change: impl FnOnce(&mut Row)) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let place = (row.queue_position, id);
        match row.phase {
            Phase::Queued => self.queued.remove(&place),
            Phase::Active => self.active[usize::from(row.finished)].remove(&place),
            _ => false,
        };
        change(row);
        match row.phase {
            Phase::Queued => self.queued.insert(place),
            Phase::Active => self.active[usize::from(row.finished)].insert(place),
            _ => false,
        };
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
            assert!(!row.check_asked || row.needs == Check::Full, "{row:?}");
        }
        self.check_devices();
        for finished in [false, true] {
            let active: BTreeSet<_> = self
                .rows
                .values()
                .filter(|r| r.phase == Phase::Active && r.finished == finished)
                .map(|r| (r.queue_position, r.id))
                .collect();
            assert_eq!(active, self.active[usize::from(finished)], "the active sets mirror the rows");
        }
        let settled = |row: &&Row| row.phase == Phase::Active && row.finished && !row.completing;
        let seeds = self.rows.values().filter(settled).count();
        assert!(self.queue.seeds.is_none_or(|max| seeds <= max as usize), "{seeds} seeds");
        let downloads = self.active[0].len();
        assert!(self.queue.downloads.is_none_or(|max| downloads <= max as usize), "{downloads} downloads");
        let seeds = self.rows.values().filter(|r| r.phase == Phase::Active && r.finished && !r.completing);
        let seeds = seeds.count();
        assert!(self.queue.seeds.is_none_or(|max| seeds <= max as usize), "{seeds} seeds");
    }
}
