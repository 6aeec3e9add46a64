//! Whether the proxy works. One that doesn't is tried by one at a time, after longer and longer pauses; all others
//! learn at once that it is down, and those that rather wait are woken when it isn't any more.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::Why;

/// The pause after the first failure; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
/// A proxy that comes back is found after so long at most, and one that is gone costs next to nothing.
const LONGEST: Duration = Duration::from_secs(60);

/// What is known of one proxy.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<State>,
    healed: Notify,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// Nobody has used it.
    #[default]
    Unknown,
    Up,
    Down(Down),
}

#[derive(Clone, Debug)]
struct Down {
    why: Why,
    /// When it may be tried.
    at: Instant,
    pause: Duration,
}

/// The state for people.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    Unknown,
    Up,
    Down { why: Why, again: Duration },
}

/// The right to use the proxy once.
#[derive(Debug)]
pub(super) struct Turn {
    /// Whether it is to show if the proxy works again.
    trial: bool,
}

/// What a use has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// It has failed, for the first time since it worked.
    Failed,
    /// It works again.
    Healed,
}

impl Health {
    /// The right to use it, or why not.
    pub(super) fn enter(&self, now: Instant) -> Result<Turn, Why> {
        match &mut *self.lock() {
            State::Unknown | State::Up => Ok(Turn { trial: false }),
            State::Down(down) if down.at <= now => {
                // Whoever tries may vanish: then the next one does, later.
                down.at = now + down.pause;
                Ok(Turn { trial: true })
            }
            State::Down(down) => Err(Why::Down {
                why: Box::new(down.why.clone()),
                again: down.at.saturating_duration_since(now),
            }),
        }
    }

    /// A use has ended.
    pub(super) fn ended(&self, turn: Turn, now: Instant, failure: Option<&Why>) -> News {
        let mut state = self.lock();
        match failure {
            // It wasn't even asked.
            Some(Why::NoUdp | Why::System { .. }) => return News::None,
            // That may be its fault or not.
            Some(Why::Late { .. } | Why::Unanswered { .. }) if matches!(*state, State::Unknown) => {
                return News::None;
            }
            _ => {}
        }
        let fault = failure.filter(|why| why.is_the_proxys());
        match (fault, &mut *state) {
            (None, State::Up) => News::None,
            (None, State::Unknown) => {
                *state = State::Up;
                News::None
            }
            (None, State::Down(_)) => {
                *state = State::Up;
                drop(state);
                self.healed.notify_waiters();
                News::Healed
            }
            (Some(why), State::Down(down)) => {
                // Of many that failed together, one counts.
                if turn.trial {
                    let pause = (down.pause * 2).min(LONGEST);
                    *down = Down { why: why.clone(), at: now + pause, pause };
                }
                News::None
            }
            (Some(why), State::Unknown | State::Up) => {
                *state = State::Down(Down { why: why.clone(), at: now + FIRST, pause: FIRST });
                News::Failed
            }
        }
    }

    /// Resolves when it may be used, or tried.
    pub(super) async fn usable(&self) {
        loop {
            let healed = self.healed.notified();
            let at = match &*self.lock() {
                State::Unknown | State::Up => return,
                State::Down(down) if down.at <= Instant::now() => return,
                State::Down(down) => down.at,
            };
            tokio::select! {
                () = healed => return,
                () = tokio::time::sleep_until(at) => {}
            }
        }
    }

    pub(super) fn shown(&self, now: Instant) -> Shown {
        match &*self.lock() {
            State::Unknown => Shown::Unknown,
            State::Up => Shown::Up,
            State::Down(down) => {
                Shown::Down { why: down.why.clone(), again: down.at.saturating_duration_since(now) }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Why {
        Why::Silent(Duration::from_secs(10))
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_at_a_time_after_longer_and_longer_pauses() {
        let health = Health::default();
        let first = health.enter(Instant::now()).unwrap();
        let second = health.enter(Instant::now()).unwrap();
        assert_eq!(health.ended(first, Instant::now(), Some(&silent())), News::Failed);
        assert_eq!(health.ended(second, Instant::now(), Some(&silent())), News::None, "it is known");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let failure = health.enter(Instant::now()).unwrap_err();
            let Why::Down { again, .. } = failure else { panic!("{failure}") };
            pauses.push(again.as_secs());
            tokio::time::advance(again).await;
            let trial = health.enter(Instant::now()).unwrap();
            assert!(health.enter(Instant::now()).is_err(), "one at a time");
            assert_eq!(health.ended(trial, Instant::now(), Some(&silent())), News::None);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_when_it_works_and_may_try_when_it_is_time() {
        let health = Health::default();
        let turn = health.enter(Instant::now()).unwrap();
        health.ended(turn, Instant::now(), Some(&silent()));
        let began = Instant::now();
        health.usable().await;
        assert_eq!(began.elapsed(), FIRST);
        let trial = health.enter(Instant::now()).unwrap();
        let mut waiting = Box::pin(health.usable());
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        // What is refused beyond the proxy shows that the proxy works.
        let refused = Why::Refused { what: String::new(), why: String::new() };
        assert_eq!(health.ended(trial, Instant::now(), Some(&refused)), News::Healed);
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_ok());
        assert!(matches!(health.shown(Instant::now()), Shown::Up));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_vanishes_is_made_by_another() {
        let health = Health::default();
        let turn = health.enter(Instant::now()).unwrap();
        health.ended(turn, Instant::now(), Some(&silent()));
        tokio::time::advance(FIRST).await;
        let _vanished = health.enter(Instant::now()).unwrap();
        assert!(health.enter(Instant::now()).is_err());
        tokio::time::advance(FIRST).await;
        assert!(health.enter(Instant::now()).is_ok());
    }
}
