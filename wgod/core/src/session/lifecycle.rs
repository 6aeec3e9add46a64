//! The transitions of one torrent: commands of the operator, events of the shell, and the clock.
use std::time::Duration;

use wgo_proto::InfoHashes;

use super::{
    CHECKPOINT_BYTES, CHECKPOINT_INTERVAL, Check, Device, Effect, Fault, FaultKind, HOUSEKEEPING,
    LOOK_INTERVAL, Phase, Place, Row, SEED_START_BURST, SEED_START_INTERVAL, Session, line,
};
use crate::time::Time;
use crate::units::TorrentId;

/// A fault is probed after this long, doubling up to [`PROBE_MAX`].
const PROBE_MIN: Duration = Duration::from_secs(5);
/// Longest wait between two probes: how long a torrent stays down after its cause is gone.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// A torrent that is new to the session.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// Its number.
    pub id: TorrentId,
    /// Its info-hashes.
    pub hashes: InfoHashes,
    /// The operator wants it to run.
    pub started: bool,
    /// Its metadata is known; else it needs no check yet.
    pub known: bool,
    /// The check that it needs before it may be active.
    pub needs: Check,
    /// The operator asked for that check, which runs even if the torrent is stopped.
    pub check_asked: bool,
    /// Everything wanted is stored, as far as is known before the check.
    pub finished: bool,
    /// The device that its files are on.
    pub device: Device,
    /// A move that an earlier run began.
    pub moving: Option<Underway>,
    /// Where it stands in the queue.
    pub place: Place,
}

/// A move that an earlier run of the daemon did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underway {
    /// The device of the other place: the new one before the switch, the old one afterwards.
    pub other: Device,
    /// The new place is the torrent's already.
    pub switched: bool,
}

impl Session {
    /// A torrent exists: new, or loaded from the store.
    pub fn add(&mut self, now: Time, newcomer: Newcomer) {
        let Newcomer { id, hashes, started, known, needs, check_asked, finished, device, moving, place } =
            newcomer;
        let check_asked = check_asked && needs == Check::Full;
        let queue_key = place.key.map_or_else(|| line::key_of(id), line::within);
        self.queue.line.insert(queue_key, id);
        let row = Row {
            id,
            hashes,
            started,
            known,
            phase: Phase::Stopped,
            needs,
            check_asked,
            device,
            move_to: moving.map(|moving| moving.other),
            switched: moving.is_some_and(|moving| moving.switched),
            move_waits: false,
            finished,
            live: false,
            dormant: false,
            completing: false,
            finished_late: false,
            checkpointing: false,
            fault: None,
            past_fault: None,
            probes: 0,
            queue_key,
            priority: place.priority,
            forced: place.forced,
            slow: false,
            turn: 0,
            pace: None,
            deadline: None,
        };
        self.rows.insert(id, row);
        self.proceed(now, id);
    }

    /// Forgets a torrent. The shell has already ended what it did for it, or does so on seeing the
    /// effects that come out.
    pub fn remove(&mut self, now: Time, id: TorrentId) {
        self.leave(now, id);
        self.set_deadline(id, None);
        self.look_at_goal(now, id, None);
        if let Some(row) = self.rows.get(&id) {
            self.queue.line.remove(row.queue_key, id);
        }
        self.rows.remove(&id);
        self.fill_queue(now);
    }

    /// The operator wants the torrent to run, when the queue has a place for it; what stood in its way is
    /// tried again.
    pub fn start(&mut self, now: Time, id: TorrentId) {
        self.run(now, id, false);
    }

    /// The same, whatever the queue says.
    pub fn start_now(&mut self, now: Time, id: TorrentId) {
        self.run(now, id, true);
    }

    fn run(&mut self, now: Time, id: TorrentId, forced: bool) {
        self.change(id, |row| row.forced = forced);
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.started = true;
        row.past_fault = None;
        let broken = row.fault.take().is_some();
        row.probes = 0;
        self.effects.push_back(Effect::Save(id));
        if broken && row.phase == Phase::Active {
            self.effects.push_back(Effect::Probe(id));
        }
        self.proceed(now, id);
        // It may have run without counting.
        self.enforce_queue(now);
    }

    /// The operator wants the torrent still. A running check is paused, and goes on with the next start.
    pub fn stop(&mut self, now: Time, id: TorrentId) {
        self.change(id, |row| row.forced = false);
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.started = false;
        row.fault = None;
        row.past_fault = None;
        row.check_asked = false;
        let moves = row.phase == Phase::Moving;
        self.effects.push_back(Effect::Save(id));
        // A move goes on, or is tried again.
        if !moves {
            self.leave(now, id);
            self.set_deadline(id, None);
            self.proceed(now, id);
        }
        self.fill_queue(now);
    }

    /// Everything wanted is stored: the checkpoint that makes it durable comes first.
    pub fn on_finished(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_none_or(|r| r.finished || !r.live) {
            return;
        }
        self.change(id, |row| {
            row.finished = true;
            row.completing = true;
            row.finished_late = row.checkpointing;
        });
        self.checkpoint(id);
        self.fill_queue(now);
    }

    /// A checkpoint ended. One that failed is made again at the next interval.
    pub fn on_checkpointed(&mut self, now: Time, id: TorrentId, ok: bool) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.checkpointing = false;
        if std::mem::take(&mut row.finished_late) && ok {
            return self.checkpoint(id);
        }
        if ok && row.completing {
            let pace = self.queue.pace(now);
            self.change(id, |row| {
                row.completing = false;
                row.pace = pace;
            });
            self.effects.push_back(Effect::Completed(id));
            self.enforce_queue(now);
        }
        if self.rows.get(&id).is_some_and(|row| row.live && row.fault.is_none()) {
            self.set_deadline(id, self.next_care(now, id));
        }
        self.enforce_queue(now);
    }

    /// Pieces are gone that the torrent had: it has to finish again, if it had finished.
    pub fn on_lost(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_none_or(|row| !row.finished) {
            return;
        }
        self.settle(now, id, false);
        let Some(row) = self.rows.get(&id) else { return };
        if row.live && row.fault.is_none() && !row.checkpointing && row.deadline.is_none() {
            self.set_deadline(id, Some(now + CHECKPOINT_INTERVAL));
        }
    }

    /// A torrent has no Swarm any more; whether it has all it wants is known for sure now.
    pub fn on_halted(&mut self, now: Time, id: TorrentId, finished: bool) {
        if self.rows.get(&id).is_some_and(|row| row.finished != finished) {
            self.settle(now, id, finished);
        }
    }

    pub(super) fn settle(&mut self, now: Time, id: TorrentId, finished: bool) {
        self.change(id, |row| {
            row.finished = finished;
            row.completing = false;
            row.finished_late = false;
        });
        self.enforce_queue(now);
    }

    /// So many bytes wait for a checkpoint.
    pub fn on_unsynced(&mut self, id: TorrentId, bytes: u64) {
        if bytes >= CHECKPOINT_BYTES {
            self.checkpoint(id);
        }
    }

    /// Something stands in the torrent's way. It is tried again by itself until it is gone, unless the
    /// torrent is broken: that one is taken down until the operator starts it again.
    pub fn on_fault(&mut self, now: Time, id: TorrentId, fault: Fault) {
        let Some(row) = self.rows.get(&id) else { return };
        // The leftovers of a torrent that was stopped stand in nobody's way, nor do those of one that is
        // being moved.
        let working = self.is_working(id);
        let broken = fault.kind == FaultKind::Broken;
        if (!row.started && !working) || (row.phase == Phase::Moving && !broken) {
            return;
        }
        let freed = self.end_work(id);
        if working {
            self.change(id, |row| row.phase = Phase::Stopped);
        }
        match fault.kind {
            FaultKind::Broken => self.take_down(now, id, fault),
            _ => self.impede(now, id, fault),
        }
        self.next_works(now, &freed);
    }

    /// What the Swarm knew can't be trusted: it goes, and everything is hashed before the next one.
    fn take_down(&mut self, now: Time, id: TorrentId, fault: Fault) {
        self.leave(now, id);
        self.set_deadline(id, None);
        self.set_fault(id, Some(fault));
        if let Some(row) = self.rows.get_mut(&id) {
            row.needs = if row.known { Check::Full } else { Check::None };
            row.check_asked = false;
        }
        self.fill_queue(now);
    }

    /// Pauses what the fault keeps from going on, and sets the time of the next probe. One cause makes
    /// many faults; those that come before the probe neither put it off nor lengthen the wait.
    pub(super) fn impede(&mut self, now: Time, id: TorrentId, fault: Fault) {
        let Some(row) = self.rows.get(&id) else { return };
        let kind = fault.kind;
        let probe_is_set = row.fault.is_some() && row.deadline.is_some();
        if probe_is_set && row.fault.as_ref().is_some_and(|known| known.kind >= kind) {
            return;
        }
        self.set_fault(id, Some(fault));
        let Some(row) = self.rows.get_mut(&id) else { return };
        if row.live {
            let uploads = kind == FaultKind::Unreachable;
            self.effects.push_back(Effect::Pause { id, requests: true, uploads });
        }
        if !probe_is_set {
            let wait = PROBE_MIN.saturating_mul(1 << row.probes.min(8)).min(PROBE_MAX);
            row.probes = row.probes.saturating_add(1);
            let again = row.is_wanted();
            self.set_deadline(id, again.then(|| now + wait));
        }
    }

    /// What stood in the torrent's way is gone.
    pub fn on_healed(&mut self, now: Time, id: TorrentId) {
        self.set_fault(id, None);
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.probes = 0;
        if row.live {
            // Perhaps the fault kept the Swarm from being made at all.
            self.effects.push_back(Effect::GoLive(id));
            self.effects.push_back(Effect::Pause { id, requests: false, uploads: false });
            let (completing, checkpointing) = (row.completing, row.checkpointing);
            let care = if checkpointing { None } else { self.next_care(now, id) };
            self.set_deadline(id, care);
            if completing && !checkpointing {
                // The fault may be why its completion isn't durable; somebody may wait for that.
                self.checkpoint(id);
            }
        } else if row.dormant {
            // When it wanted to announce next was forgotten for the probe.
            self.go_live(now, id);
        } else {
            self.proceed(now, id);
        }
    }

    /// A live torrent has no work.
    pub fn on_idle(&mut self, id: TorrentId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if row.live && row.finished && !row.completing && !row.checkpointing && row.fault.is_none() {
            self.change(id, |row| {
                row.live = false;
                row.dormant = true;
            });
            self.set_deadline(id, None);
            self.effects.push_back(Effect::GoDormant(id));
        }
    }

    /// A torrent that went dormant next wants to announce at `at`.
    pub fn sleep_until(&mut self, id: TorrentId, at: Option<Time>) {
        // With a fault it is the time of the next probe, and what heals wakes it.
        if self.rows.get(&id).is_some_and(|row| row.dormant && row.fault.is_none()) {
            self.set_deadline(id, at);
        }
    }

    /// Someone needs a dormant torrent: a peer that connects, a command.
    pub fn wake(&mut self, now: Time, id: TorrentId) {
        if self.rows.get(&id).is_some_and(|row| row.dormant) {
            self.go_live(now, id);
        }
    }

    /// A row's deadline passed.
    pub(super) fn row_due(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get(&id) else { return };
        if row.fault.is_some() {
            match row.phase {
                Phase::Active => self.effects.push_back(Effect::Probe(id)),
                _ => {
                    self.set_fault(id, None);
                    self.proceed(now, id);
                }
            }
        } else if row.dormant {
            self.go_live(now, id);
        } else if row.live && row.finished && !row.completing {
            self.effects.push_back(Effect::Look(id));
            self.set_deadline(id, self.next_care(now, id));
        } else if row.live {
            self.checkpoint(id);
        }
    }

    /// When a live torrent is looked after next: what it stores becomes durable, or what it seeds is
    /// compared.
    pub(super) fn next_care(&self, now: Time, id: TorrentId) -> Option<Time> {
        let row = self.rows.get(&id).filter(|row| row.known)?;
        let stores = !row.finished || row.completing;
        Some(now + if stores { CHECKPOINT_INTERVAL } else { LOOK_INTERVAL })
    }

    pub(super) fn checkpoint(&mut self, id: TorrentId) {
        let Some(row) = self.rows.get_mut(&id).filter(|r| !r.checkpointing && r.live && r.known) else {
            return;
        };
        row.checkpointing = true;
        // With a fault it is the time of the next probe.
        if row.fault.is_none() {
            self.set_deadline(id, None);
        }
        self.effects.push_back(Effect::Checkpoint(id));
    }

    /// Takes a still torrent one step towards what is wanted of it.
    pub(super) fn proceed(&mut self, now: Time, id: TorrentId) {
        self.step(now, id);
        self.fill_queue(now);
    }

    /// The same, and leaves it to the caller to give a place to one that waits for it now.
    pub(super) fn step(&mut self, now: Time, id: TorrentId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if !row.is_wanted() || row.fault.is_some() || !matches!(row.phase, Phase::Stopped | Phase::Queued) {
            return;
        }
        if row.known && row.needs != Check::None && !row.switched {
            return self.enqueue_check(now, id);
        }
        if row.move_to.is_some() {
            let (switched, started) = (row.switched, row.started);
            self.enqueue_move(now, id);
            let begun = self.rows.get(&id).is_none_or(|row| row.phase == Phase::Moving);
            // Until its turn comes it runs, unless its files are not in order.
            if begun || switched || !started {
                return;
            }
        }
        match self.rows.get(&id).is_some_and(|row| row.forced) {
            true => self.begin(now, id),
            false => self.change(id, |row| row.phase = Phase::Queued),
        }
    }

    /// A torrent got its place: it goes live, or, one of many seeds, sleeps until it is its turn.
    pub(super) fn begin(&mut self, now: Time, id: TorrentId) {
        let pace = self.queue.pace(now);
        self.change(id, |row| {
            row.turn = 0;
            row.pace = pace;
        });
        if self.rows.get(&id).is_none_or(|row| !row.finished) {
            return self.go_live(now, id);
        }
        let burst = SEED_START_INTERVAL * SEED_START_BURST;
        let due = self.next_turn(now);
        if due <= now + burst {
            return self.go_live(now, id);
        }
        self.change(id, |row| {
            row.phase = Phase::Active;
            row.dormant = true;
        });
        self.effects.push_back(Effect::Listen(id));
        self.set_deadline(id, Some(due));
    }

    /// When the next of many seeds goes live.
    pub(super) fn next_turn(&mut self, now: Time) -> Time {
        let due = self.seed_start_at.map_or(now, |at| at.max(now));
        self.seed_start_at = Some(due + SEED_START_INTERVAL);
        due
    }

    fn go_live(&mut self, now: Time, id: TorrentId) {
        self.change(id, |row| {
            row.phase = Phase::Active;
            row.dormant = false;
            row.live = true;
        });
        let Some(row) = self.rows.get(&id) else { return };
        // One that is woken with a fault waits for its probe.
        if row.fault.is_none() {
            self.set_deadline(id, self.next_care(now, id));
        }
        self.housekeep_at.get_or_insert(now + HOUSEKEEPING);
        self.choke_at.get_or_insert(now + super::CHOKE_INTERVAL);
        self.effects.push_back(Effect::GoLive(id));
    }

    /// Takes a torrent out of whatever it is doing, to `Stopped`.
    pub(super) fn leave(&mut self, now: Time, id: TorrentId) {
        let waited = self.dequeue(id);
        let Some(row) = self.rows.get(&id) else { return };
        let phase = row.phase;
        self.change(id, |row| {
            row.phase = Phase::Stopped;
            row.rest();
        });
        let freed = self.end_work(id);
        if phase == Phase::Checking {
            self.effects.push_back(Effect::CancelCheck(id));
        }
        self.next_works(now, &waited);
        self.next_works(now, &freed);
        // One without a Swarm still answers to its info-hash.
        if phase == Phase::Active {
            self.effects.push_back(Effect::Halt(id));
        }
    }
}
