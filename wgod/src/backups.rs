//! Automatic backups: the task that asks now and then whether one is due, and makes it.
//!
//! Nothing waits for it: a backup is made beside commits, on a thread of its own, and one that fails, as
//! on a full disk, is logged and tried again.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::store::{Age, Store, StoreError, is_due};

/// How often to ask.
const INTERVAL: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(3600);

/// Makes backups until the daemon stops.
pub(crate) async fn run(store: Store, stopping: CancellationToken) {
    let mut chore = Chore { started: Instant::now(), made: None, failing: None };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        store.drop_idle_transfers();
        tokio::select! {
            () = stopping.cancelled() => return,
            () = chore.tick(&store) => {}
        }
    }
}

struct Chore {
    started: Instant,
    /// When this run made one.
    made: Option<Instant>,
    /// When the last attempt failed.
    failing: Option<Instant>,
}

impl Chore {
    async fn tick(&mut self, store: &Store) {
        if !store.keeps_backups() || self.failing.is_some_and(|since| since.elapsed() < RETRY) {
            return;
        }
        let made = match store.newest_backup().await {
            Err(error) => Err(error),
            Ok(newest) if !is_due(self.age(newest)) || store.is_empty().await => return,
            Ok(_) => store.back_up().await,
        };
        match made {
            Ok(path) => {
                tracing::info!(backup = %path.display(), "session backed up");
                (self.made, self.failing) = (Some(Instant::now()), None);
            }
            // The daemon ends.
            Err(StoreError::Closed) => {}
            Err(error) => {
                if self.failing.is_none() {
                    tracing::warn!(%error, "the session can't be backed up; tried again every hour");
                }
                self.failing = Some(Instant::now());
            }
        }
    }

    fn age(&self, newest: Option<u64>) -> Age {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Age {
            exists: newest.is_some(),
            own: self.made.is_some(),
            running: self.made.unwrap_or(self.started).elapsed(),
            wall: newest.and_then(|made| now.checked_sub(Duration::from_secs(made))),
        }
    }
}
