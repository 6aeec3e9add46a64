//! Seeding goals, the shell's side: which are in force for a torrent, how much it has been seeded, and what
//! is done when that is enough.
//!
//! Live seeds are looked at once a second, with whatever else is done for them; one that sleeps only when
//! time alone may have reached a goal.
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::units::Period;
use wgo_core::session::{AfterGoal, Goals, Phase, Ratio, Reached, Seeded};
use wgo_core::{Time, TorrentId};

use super::Driver;
use super::entry::Entry;
use super::rules::Decided;
use super::save::report;
use crate::store::{Change, Counters, GoalReached};

/// Totals of live seeds are saved this often: what a crash may cost of ratios and seeding times. The store's
/// sizes and times of files are not concerned.
pub(super) const COUNTERS_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Since when a torrent's time is not counted yet, and as what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    /// `None`: it does not run.
    since: Option<Time>,
    seeding: bool,
    /// Payload sent when that was last looked at.
    uploaded: u64,
}

impl Activity {
    /// Of a torrent that is not running, and has these totals.
    pub(super) fn new(counters: &Counters) -> Activity {
        Activity { uploaded: counters.uploaded, ..Activity::default() }
    }

    /// The totals with the whole seconds that have passed; `uploaded` is what was sent, where that is known.
    fn counted(&mut self, counters: &Counters, now: Time, uploaded: Option<u64>) -> Counters {
        let mut counters = counters.clone();
        if let Some(since) = self.since {
            let secs = now.since(since).as_secs();
            counters.active_secs += secs;
            if self.seeding {
                counters.seeding_secs += secs;
                counters.idle_secs += secs;
            }
            self.since = Some(since + Duration::from_secs(secs));
        }
        if let Some(uploaded) = uploaded.filter(|uploaded| *uploaded > self.uploaded) {
            counters.idle_secs = 0;
            self.uploaded = uploaded;
        }
        counters
    }
}

impl Entry {
    /// The totals, with the time up to now.
    pub(super) fn counters_now(&self, now: Time) -> Counters {
        let mut activity = self.activity;
        activity.counted(&self.counters, now, None)
    }
}

impl Driver {
    /// The goals in force for a torrent.
    pub(super) fn goals_of(&self, entry: &Entry) -> Goals {
        self.decided_goals(entry).goals.in_force()
    }

    /// The same, and who says what each is.
    pub(super) fn decided_goals(&self, entry: &Entry) -> Decided<'_> {
        let settings = &entry.settings;
        self.tunables.rules.decide(settings.goals, &settings.labels, &entry.tiers, self.tunables.goals)
    }

    /// Counts the time of a torrent whose phase may have changed.
    pub(super) fn count_time(&mut self, id: TorrentId) {
        let was_seeding = self.entries.get(&id).is_some_and(|entry| entry.activity.seeding);
        self.count_up_to_now(id, None);
        let seeds = self.entries.get(&id).is_some_and(|entry| entry.activity.seeding);
        if seeds != was_seeding {
            self.look_at_goal(id);
        }
    }

    fn count_up_to_now(&mut self, id: TorrentId, uploaded: Option<u64>) {
        let now = self.engine.clock.now();
        let row = self.session.row(id);
        let runs = row.is_some_and(|row| row.phase == Phase::Active);
        let seeding = row.is_some_and(|row| row.seeds());
        let Some(entry) = self.entries.untouched_mut(&id) else { return };
        entry.counters = entry.activity.counted(&entry.counters, now, uploaded);
        let since = entry.activity.since.filter(|_| entry.activity.seeding == seeding).unwrap_or(now);
        entry.activity.since = runs.then_some(since);
        entry.activity.seeding = seeding;
    }

    /// A live torrent has sent so much: once a second.
    pub(super) fn on_uploaded(&mut self, id: TorrentId, uploaded: u64) {
        self.count_up_to_now(id, Some(uploaded));
        if self.session.row(id).is_some_and(|row| row.seeds()) {
            self.look_at_goal(id);
        }
    }

    /// Sees whether a torrent was seeded enough, and when time alone would do if it sleeps.
    pub(super) fn look_at_goal(&mut self, id: TorrentId) {
        let now = self.engine.clock.now();
        let row = self.session.row(id).filter(|row| row.seeds());
        let dormant = row.is_some_and(|row| row.dormant);
        let Some(entry) = self.entries.get(&id).filter(|entry| row.is_some() && !entry.leaving) else {
            return self.session.look_at_goal(now, id, None);
        };
        let goals = self.goals_of(entry);
        let past = entry.settings.goal_reached.is_some_and(|done| done.goals == goals);
        let seeded = seeded(entry, now);
        match goals.reached(&seeded).filter(|_| !past) {
            Some(reached) => self.goal_reached(id, goals, reached),
            None => {
                let due = goals.due_in(&seeded).filter(|_| dormant && !past);
                self.session.look_at_goal(now, id, due.map(Duration::from_secs));
            }
        }
    }

    fn goal_reached(&mut self, id: TorrentId, goals: Goals, reached: Reached) {
        let now = self.engine.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let reason = reason(reached);
        let say =
            |what: &str| entry.span().in_scope(|| tracing::info!(goal = reason, "seeded enough: {what}"));
        match goals.action {
            AfterGoal::Keep => {}
            AfterGoal::Stop => {
                say("it stops");
                entry.settings.goal_reached = Some(GoalReached { reached, goals, started_again: false });
                self.session.stop(now, id);
            }
            AfterGoal::Remove => {
                say("it is removed, and its files stay");
                self.remove_by_goal(id, false);
            }
            AfterGoal::RemoveWithFiles => {
                say("it is removed with its files");
                self.remove_by_goal(id, true);
            }
        }
        self.touch();
    }

    /// Nobody waits for the answer, so the log has what goes wrong.
    fn remove_by_goal(&mut self, id: TorrentId, data: bool) {
        let (done, gone) = oneshot::channel();
        let name = self.entries.get(&id).map(|entry| entry.settings.name.clone());
        self.begin_removal(id, data, done);
        self.replies.spawn(async move {
            if let Ok(Err(why)) = gone.await {
                tracing::error!(torrent = name, why, "not removed in order after it was seeded enough");
            }
        });
    }

    /// Looks at every seed: the configuration has changed.
    pub(super) fn look_at_all_goals(&mut self) {
        // Who doesn't seed shows other goals, too.
        self.entries.touch_all();
        let seeds: Vec<TorrentId> = self.session.rows().filter(|row| row.seeds()).map(|row| row.id).collect();
        for id in seeds {
            self.count_up_to_now(id, None);
            self.look_at_goal(id);
        }
    }

    /// Saves the totals of live seeds from time to time, in one commit: they have no checkpoints.
    pub(super) fn save_counters(&mut self) {
        let now = self.engine.clock.now();
        let saved = *self.counters_saved.get_or_insert(now);
        if now.since(saved) < COUNTERS_INTERVAL {
            return;
        }
        self.counters_saved = Some(now);
        let live = self.session.live().filter_map(|id| self.entries.get(&id));
        let seeds = live.filter(|entry| entry.activity.seeding && !entry.leaving);
        let changes: Vec<Change> =
            seeds.map(|entry| Change::Counters(entry.id, counters_of(entry, now))).collect();
        let store = self.engine.store.clone();
        self.replies.spawn(async move { report(store.put(changes).await) });
    }

    /// The totals of seeds that sleep, whose time has gone on since the store heard of it.
    pub(super) fn totals_asleep(&self) -> Vec<Change> {
        let now = self.engine.clock.now();
        let seeds = self.entries.values().filter(|entry| entry.activity.seeding && !entry.leaving);
        let asleep = seeds.filter(|entry| entry.live.is_none());
        asleep.map(|entry| Change::Counters(entry.id, entry.counters_now(now))).collect()
    }
}

/// The totals of a torrent, of its Swarm where it has one.
fn counters_of(entry: &Entry, now: Time) -> Counters {
    let counters = entry.counters_now(now);
    let live = entry.live.as_ref().and_then(|live| live.call(|swarm, now| swarm.view(now).counters).ok());
    match live {
        Some(live) => {
            Counters { downloaded: live.downloaded, uploaded: live.uploaded, wasted: live.wasted, ..counters }
        }
        None => counters,
    }
}

fn seeded(entry: &Entry, now: Time) -> Seeded {
    let counters = entry.counters_now(now);
    Seeded {
        uploaded: entry.activity.uploaded.max(counters.uploaded),
        size: entry.info.layout.total_len(),
        seeding: counters.seeding_secs,
        idle: counters.idle_secs,
    }
}

/// A goal that was reached, in words.
pub(super) fn reason(reached: Reached) -> String {
    match reached {
        Reached::Ratio(Ratio(thousandths)) if thousandths % 10 == 0 => {
            format!("ratio {:.2} reached", f64::from(thousandths) / 1000.0)
        }
        Reached::Ratio(ratio) => format!("ratio {:.3} reached", ratio.as_f64()),
        Reached::Time(secs) => format!("seeded for {}", Period(secs)),
        Reached::Idle(secs) => format!("no upload for {}", Period(secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_was_reached() {
        for (reached, words) in [
            (Reached::Ratio(Ratio(2000)), "ratio 2.00 reached"),
            (Reached::Ratio(Ratio(1125)), "ratio 1.125 reached"),
            (Reached::Time(7200), "seeded for 2 h"),
            (Reached::Idle(90), "no upload for 90 s"),
        ] {
            assert_eq!(reason(reached), words);
        }
    }

    #[test]
    fn time_is_counted_in_whole_seconds_and_none_is_lost() {
        let at = |millis| Time::from_start(Duration::from_millis(millis));
        let mut counters = Counters { uploaded: 5, ..Counters::default() };
        let mut activity = Activity { since: Some(at(0)), seeding: true, ..Activity::new(&counters) };
        for step in 1..=10 {
            counters = activity.counted(&counters, at(step * 700), Some(5));
        }
        assert_eq!((counters.active_secs, counters.seeding_secs, counters.idle_secs), (7, 7, 7));
        counters = activity.counted(&counters, at(8000), Some(6));
        assert_eq!((counters.seeding_secs, counters.idle_secs), (8, 0), "something was sent");
        activity.since = None;
        assert_eq!(activity.counted(&counters, at(99_000), None), counters, "it does not run");
    }
}
