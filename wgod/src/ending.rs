//! How the daemon ends: torrents, trackers, disks, the store, in this order, under one deadline for all.
//!
//! What a hung disk, a dead tracker or a slow sync keeps from ending in time is logged and left behind.
//! Nothing is lost by it: a torrent whose last checkpoint didn't come keeps its writing mark, and the next
//! start hashes what it stored since the one before.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::systemd;

// Counted from the moment at which the daemon is told to end. Together they keep it below 5 s.

/// Connections have ended and last checkpoints are made.
const TORRENTS_END: Duration = Duration::from_millis(3000);
/// Trackers have heard `stopped`, which they are told from the beginning on.
const TRACKERS_END: Duration = Duration::from_millis(3500);
/// Storage threads have finished.
const DISKS_END: Duration = Duration::from_millis(3900);
/// The database is closed.
const STORE_END: Duration = Duration::from_millis(4300);
/// All tasks have ended.
const TASKS_END: Duration = Duration::from_millis(4500);

/// What the service manager hears that it takes, with time to spare for a machine that is busy.
const ANNOUNCED: Duration = Duration::from_secs(10);

/// How long the end of the session may take, from its beginning on.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Torrents end within this time, or are left behind.
    pub torrents: Duration,
    /// Trackers hear of it within this time, or don't.
    pub trackers: Duration,
}

impl Default for Patience {
    /// That of a daemon.
    fn default() -> Self {
        Patience { torrents: TORRENTS_END, trackers: TRACKERS_END }
    }
}

/// What ends the daemon's parts, in this order.
#[derive(Clone, Default)]
pub struct Stop {
    /// Someone wants the daemon to end.
    pub quit: CancellationToken,
    /// …and not to wait for trackers.
    pub quit_now: CancellationToken,
    /// …to take up a backup.
    pub restored: CancellationToken,
    /// Ends the session's driver, which ends every torrent.
    pub session: CancellationToken,
    /// Ends timers, limits and listeners.
    pub rest: CancellationToken,
}

/// The state is not closed in order. The next start takes it for a crash.
#[derive(Debug, thiserror::Error)]
pub enum NotClosed {
    /// Its disk hangs, or had too much to write.
    #[error("the state directory did not answer in time; the next start checks what was not saved")]
    Late,
    /// Its disk refuses.
    #[error("the state could not be closed in order, the next start checks it: {0}")]
    Failed(#[from] crate::store::StoreError),
}

/// A daemon that ends.
pub struct Ending {
    engine: Arc<Engine>,
    stop: Stop,
    begun: Instant,
}

impl Ending {
    /// Tells everything to end that ends first.
    pub fn begin(engine: Arc<Engine>, stop: Stop) -> Ending {
        systemd::stopping("saving torrents, telling trackers", ANNOUNCED);
        tracing::info!("stopping");
        stop.quit.cancel();
        stop.session.cancel();
        Ending { engine, stop, begun: Instant::now() }
    }

    /// Ends the session, what it stands on, then the other tasks.
    pub async fn run(
        self,
        mut session: JoinSet<()>,
        mut parts: JoinSet<()>,
        mut server: JoinSet<()>,
    ) -> Result<()> {
        let Ending { engine, stop, begun } = self;
        if stop.quit_now.is_cancelled() {
            // Late or not, they are told nothing more.
            let _ = timeout_at(begun + TRACKERS_END, engine.trackers.stop()).await;
        }
        // The driver keeps to its `Patience` by itself, unless it is stuck.
        wait("the session", begun + DISKS_END, &mut session).await;
        stop.rest.cancel();
        if timeout_at(begun + DISKS_END, engine.dht.ended()).await.is_err() {
            tracing::warn!(
                "the nodes of the DHT that are known are not saved: does the state directory answer?"
            );
        }
        if timeout_at(begun + DISKS_END, engine.trackers.stop()).await.is_err() {
            tracing::warn!("an announce does not end; it is left behind");
        }
        let patience = (begun + DISKS_END).saturating_duration_since(Instant::now());
        for hung in engine.storage.stop(patience).await {
            tracing::warn!(device = hung.device, waiting = hung.waiting, "a disk did not answer in time");
        }
        let closed = match timeout_at(begun + STORE_END, engine.store.close()).await {
            Ok(closed) => closed.map_err(NotClosed::Failed),
            Err(_) => {
                engine.store.let_go();
                Err(NotClosed::Late)
            }
        };
        wait("a part of the daemon", begun + TASKS_END, &mut parts).await;
        wait("the control socket", begun + TASKS_END, &mut server).await;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(took_ms, "stopped");
        Ok(closed?)
    }
}

/// Waits for tasks that were told to end; what hasn't at `deadline` is dropped.
async fn wait(what: &str, deadline: Instant, tasks: &mut JoinSet<()>) {
    loop {
        match timeout_at(deadline, tasks.join_next()).await {
            Ok(None) => return,
            Ok(Some(Ok(()))) => {}
            Ok(Some(Err(error))) => tracing::error!(%error, "{what} ended by a defect"),
            Err(_) => {
                tracing::error!("{what} does not end in time; it is left behind");
                tasks.abort_all();
                return;
            }
        }
    }
}
