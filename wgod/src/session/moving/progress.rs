//! How far a move is, up to the switch.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wgo_core::Time;
use wgo_core::status::RateMeter;

use crate::clock::Clock;
use crate::files::MoveWatch;

/// A move under way, up to the switch: told by storage threads, shown to readers.
#[derive(Debug)]
pub(in crate::session) struct MoveProgress {
    cancel: Arc<AtomicBool>,
    /// A leaf lock, held for a few numbers.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    done: u64,
    total: u64,
    speed: RateMeter,
}

impl MoveProgress {
    pub(in crate::session) fn new() -> Arc<MoveProgress> {
        Arc::new(MoveProgress { cancel: Arc::default(), state: Mutex::default() })
    }

    /// Ends it early.
    pub(in crate::session) fn stop(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    pub(in crate::session) fn cancel(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// How storage tells how far it is. What is copied is hashed afterwards, which counts as much.
    pub(in crate::session) fn watch(self: &Arc<MoveProgress>, clock: Clock) -> MoveWatch {
        let (total, copied) = (self.clone(), self.clone());
        MoveWatch {
            cancel: self.cancel.clone(),
            total: Box::new(move |bytes| {
                let mut state = total.lock();
                state.total = state.total.saturating_add(bytes.saturating_mul(2));
            }),
            copied: Box::new(move |bytes| copied.add(clock.now(), bytes)),
        }
    }

    /// So many bytes are left to be hashed, which is all that is left.
    pub(in crate::session) fn expect(&self, bytes: u64) {
        let mut state = self.lock();
        state.total = state.done.saturating_add(bytes);
    }

    pub(in crate::session) fn add(&self, now: Time, bytes: u64) {
        let mut state = self.lock();
        state.done = state.done.saturating_add(bytes);
        state.speed.add(now, bytes);
    }

    /// 0…1.
    pub(in crate::session) fn share(&self) -> f64 {
        let state = self.lock();
        (state.done as f64 / state.total.max(1) as f64).min(1.0)
    }

    /// Time that it will still take at the speed of the last seconds.
    pub(in crate::session) fn time_left(&self, now: Time) -> Option<Duration> {
        let state = self.lock();
        let (left, rate) = (state.total.saturating_sub(state.done), state.speed.rate(now).0);
        (rate > 0 && left > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
    }

    /// Numbers stay whole whatever panics, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
