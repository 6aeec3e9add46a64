//! Turns: how many requests run at once, to one tracker and in all; the others wait in order.
//!
//! A tracker that hasn't answered since somebody began to want it gets one request at a time, so that however
//! many are dead, each holds one turn of all. The others that wait for it then share its fate: with thousands
//! of torrents at a dead tracker, each of them would else find out by itself, one time-out after the other.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::TrackerError;

/// Failures in a row, of a tracker that had answered, after which those that wait for it fail, too.
const DEAD_AFTER: u32 = 3;

/// One for each protocol. The turn of a tracker is taken before the turn of all, so that a tracker that
/// never answers holds one of the latter at most, and one that answers slowly `per_tracker`.
pub(super) struct Gate {
    per_tracker: usize,
    patience: Duration,
    all: Arc<Semaphore>,
    /// One entry for each tracker that somebody uses or waits for: as many as there are callers.
    trackers: Mutex<HashMap<String, Arc<Tracker>>>,
}

/// A tracker that somebody wants something of.
struct Tracker {
    turns: Arc<Semaphore>,
    health: Mutex<Health>,
}

/// How its requests went.
#[derive(Default)]
struct Health {
    answers: bool,
    failures: u32,
    /// How often it was found dead, and how the last time.
    deaths: (u64, Option<TrackerError>),
}

/// The right to one request, until dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_tracker: OwnedSemaphorePermit,
    // Last, as fields drop in order: it looks whether somebody else is there.
    place: Place,
}

/// A use of a tracker's entry, be it waiting or under way.
struct Place {
    gate: Arc<Gate>,
    name: String,
    tracker: Option<Arc<Tracker>>,
}

impl Gate {
    pub(super) fn new(per_tracker: usize, all: usize, patience: Duration) -> Arc<Gate> {
        let all = Arc::new(Semaphore::new(all));
        Arc::new(Gate { per_tracker, patience, all, trackers: Mutex::default() })
    }

    /// Waits for a turn, first come, first served. Dropping the future gives up the place in the queue.
    ///
    /// # Errors
    /// [`TrackerError::Busy`] after the gate's patience; how the tracker failed, if it was found dead
    /// meanwhile.
    pub(super) async fn turn(self: &Arc<Self>, tracker: String) -> Result<Turn, TrackerError> {
        let busy = TrackerError::Busy { after: self.patience };
        tokio::time::timeout(self.patience, self.wait(tracker)).await.map_err(|_| busy)?
    }

    async fn wait(self: &Arc<Self>, name: String) -> Result<Turn, TrackerError> {
        let (place, tracker) = self.place(name);
        let before = tracker.health().deaths.0;
        // Nobody closes a semaphore of ours.
        let of_tracker = tracker.turns.clone().acquire_owned().await.map_err(|_| TrackerError::Stopping)?;
        let of_all = self.all.clone().acquire_owned().await.map_err(|_| TrackerError::Stopping)?;
        if let (deaths, Some(failure)) = &tracker.health().deaths
            && *deaths > before
        {
            return Err(failure.clone());
        }
        Ok(Turn { _of_all: of_all, _of_tracker: of_tracker, place })
    }

    fn place(self: &Arc<Self>, name: String) -> (Place, Arc<Tracker>) {
        let mut trackers = self.trackers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Tracker { turns: Arc::new(Semaphore::new(1)), health: Mutex::default() });
        let tracker = trackers.entry(name.clone()).or_insert_with(new).clone();
        (Place { gate: self.clone(), name, tracker: Some(tracker.clone()) }, tracker)
    }

    #[cfg(test)]
    pub(super) fn trackers_in_use(&self) -> usize {
        self.trackers.lock().unwrap().len()
    }
}

impl Turn {
    /// How the request went. Refusals count as answers: they are about one torrent.
    pub(super) fn went<T>(&self, result: &Result<T, TrackerError>) {
        let Some(tracker) = &self.place.tracker else { return };
        let mut health = tracker.health();
        match result {
            Err(failure) if failure.is_unreachable() => {
                health.failures += 1;
                if !health.answers || health.failures >= DEAD_AFTER {
                    health.deaths = (health.deaths.0 + 1, Some(failure.clone()));
                }
            }
            _ => {
                health.failures = 0;
                if !std::mem::replace(&mut health.answers, true) {
                    tracker.turns.add_permits(self.place.gate.per_tracker.saturating_sub(1));
                }
            }
        }
    }
}

impl Tracker {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut trackers = self.gate.trackers.lock().unwrap_or_else(PoisonError::into_inner);
        self.tracker = None;
        if trackers.get(&self.name).is_some_and(|tracker| Arc::strong_count(tracker) == 1) {
            trackers.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(50);

    fn timed_out() -> Result<(), TrackerError> {
        Err(TrackerError::TimedOut { after: PATIENCE, doing: "connecting" })
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_counted_per_tracker_and_in_all() {
        let gate = Gate::new(2, 3, PATIENCE);
        let full =
            || async { matches!(gate.turn("a".into()).await, Err(TrackerError::Busy { after: PATIENCE })) };
        let first = gate.turn("a".into()).await.unwrap();
        assert!(full().await, "one at a time, until it has answered");
        first.went(&Ok(()));
        let a = [first, gate.turn("a".into()).await.unwrap()];
        let began = Instant::now();
        assert!(full().await);
        assert_eq!(began.elapsed(), PATIENCE);
        a[1].went(&Ok(()));
        assert!(full().await, "an answer makes no more turns than there are");
        let b = gate.turn("b".into()).await.unwrap();
        assert!(gate.turn("c".into()).await.is_err(), "three in all");
        drop(a);
        let c = gate.turn("c".into()).await.unwrap();
        assert_eq!(gate.trackers_in_use(), 2);
        drop((b, c));
        assert_eq!(gate.trackers_in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_goes_to_who_waits_longest_and_still_waits() {
        let gate = Gate::new(1, 9, PATIENCE);
        let first = gate.turn("a".into()).await.unwrap();
        let mut second = Box::pin(gate.turn("a".into()));
        let mut third = Box::pin(gate.turn("a".into()));
        let mut fourth = Box::pin(gate.turn("a".into()));
        for waiting in [&mut second, &mut third, &mut fourth] {
            assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
        }
        drop(second);
        drop(first);
        let turn = third.await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, &mut fourth).await.is_err());
        drop(turn);
        drop(fourth.await.unwrap());
        assert_eq!(gate.trackers_in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_while_a_tracker_was_found_dead_need_not_find_out_again() {
        let gate = Gate::new(4, 9, PATIENCE);
        let first = gate.turn("a".into()).await.unwrap();
        let mut waiting = Box::pin(gate.turn("a".into()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        first.went(&timed_out());
        let mut later = Box::pin(gate.turn("a".into()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut later).await.is_err());
        drop(first);
        assert!(matches!(waiting.await, Err(TrackerError::TimedOut { .. })));
        // Whoever came afterwards looks for himself.
        let turn = later.await.unwrap();
        turn.went(&Ok(()));
        // One that answers may be slow at times.
        let mut waiting = Box::pin(gate.turn("b".into()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_ok());
        for deaths in [0, 0, 1, 2] {
            turn.went(&timed_out());
            assert_eq!(turn.place.tracker.as_ref().unwrap().health().deaths.0, 1 + deaths);
        }
        turn.went(&Err::<(), _>(TrackerError::NoScrape));
        turn.went(&timed_out());
        assert_eq!(turn.place.tracker.as_ref().unwrap().health().deaths.0, 3);
    }
}
