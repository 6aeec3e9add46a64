//! Turns: how many requests run at once, to one tracker and in all; the others wait in order.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::TrackerError;

/// One for each protocol. The turn of a tracker is taken before the turn of all, so that a tracker that
/// never answers holds `per_tracker` of the latter at most.
pub(super) struct Gate {
    per_tracker: usize,
    patience: Duration,
    all: Arc<Semaphore>,
    /// One entry for each tracker that somebody uses or waits for: as many as there are callers.
    trackers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to one request, until dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_tracker: OwnedSemaphorePermit,
    // Last, as fields drop in order: it looks whether somebody else is there.
    _place: Place,
}

/// A use of a tracker's entry, be it waiting or under way.
struct Place {
    gate: Arc<Gate>,
    tracker: String,
    turns: Option<Arc<Semaphore>>,
}

impl Gate {
    pub(super) fn new(per_tracker: usize, all: usize, patience: Duration) -> Arc<Gate> {
        let all = Arc::new(Semaphore::new(all));
        Arc::new(Gate { per_tracker, patience, all, trackers: Mutex::default() })
    }

    /// Waits for a turn, first come, first served. Dropping the future gives up the place in the queue.
    pub(super) async fn turn(self: &Arc<Self>, tracker: String) -> Result<Turn, TrackerError> {
        let busy = TrackerError::Busy { after: self.patience };
        tokio::time::timeout(self.patience, self.wait(tracker)).await.map_err(|_| busy)?
    }

    async fn wait(self: &Arc<Self>, tracker: String) -> Result<Turn, TrackerError> {
        let (place, turns) = self.place(tracker);
        // Nobody closes a semaphore of ours.
        let of_tracker = turns.acquire_owned().await.map_err(|_| TrackerError::Stopping)?;
        let of_all = self.all.clone().acquire_owned().await.map_err(|_| TrackerError::Stopping)?;
        Ok(Turn { _of_all: of_all, _of_tracker: of_tracker, _place: place })
    }

    fn place(self: &Arc<Self>, tracker: String) -> (Place, Arc<Semaphore>) {
        let mut trackers = self.trackers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(self.per_tracker));
        let turns = trackers.entry(tracker.clone()).or_insert_with(new).clone();
        (Place { gate: self.clone(), tracker, turns: Some(turns.clone()) }, turns)
    }

    #[cfg(test)]
    pub(super) fn trackers_in_use(&self) -> usize {
        self.trackers.lock().unwrap().len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut trackers = self.gate.trackers.lock().unwrap_or_else(PoisonError::into_inner);
        self.turns = None;
        if trackers.get(&self.tracker).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            trackers.remove(&self.tracker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(50);

    #[tokio::test(start_paused = true)]
    async fn turns_are_counted_per_tracker_and_in_all() {
        let gate = Gate::new(2, 3, PATIENCE);
        let full =
            || async { matches!(gate.turn("a".into()).await, Err(TrackerError::Busy { after: PATIENCE })) };
        let a = [gate.turn("a".into()).await.unwrap(), gate.turn("a".into()).await.unwrap()];
        let began = Instant::now();
        assert!(full().await);
        assert_eq!(began.elapsed(), PATIENCE);
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
}
