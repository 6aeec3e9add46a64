//! One task for the deadlines of every Swarm.
//!
//! One deadline for each torrent, the earliest that was set. It may be stale (its torrent was called
//! meanwhile, or is gone); the call it leads to then does nothing.
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wgo_core::{Time, TorrentId};

use crate::clock::Clock;
use crate::registry::Registry;

/// The handle through which deadlines are set. Cheap to clone.
#[derive(Clone, Default)]
pub struct Timers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    deadlines: Mutex<Deadlines>,
    earlier: Notify,
}

/// Bounded by the torrents: at most one deadline each, in both.
#[derive(Default)]
struct Deadlines {
    in_order: BTreeSet<(Time, TorrentId)>,
    of: HashMap<TorrentId, Time>,
}

impl Deadlines {
    /// Whether it is the first of all now. A later one than is set is not: two callers may come in
    /// either order.
    fn set(&mut self, id: TorrentId, at: Time) -> bool {
        match self.of.get(&id) {
            Some(known) if *known <= at => return false,
            Some(known) => _ = self.in_order.remove(&(*known, id)),
            None => {}
        }
        self.of.insert(id, at);
        self.in_order.insert((at, id));
        self.in_order.first() == Some(&(at, id))
    }

    fn take_due(&mut self, now: Time, due: &mut Vec<TorrentId>) {
        while let Some(&(at, id)) = self.in_order.first()
            && at <= now
        {
            self.in_order.pop_first();
            self.of.remove(&id);
            due.push(id);
        }
    }
}

impl Timers {
    /// `id` wants its `handle_timeout` at `at`, or when it already did, whichever is earlier.
    pub fn set(&self, id: TorrentId, at: Time) {
        if self.deadlines().set(id, at) {
            self.0.earlier.notify_one();
        }
    }

    fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.0.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Time> {
        self.deadlines().in_order.first().map(|(at, _)| *at)
    }

    /// Runs deadlines until `stopping`.
    pub async fn run(self, clock: Clock, registry: Registry, stopping: CancellationToken) {
        let mut due = Vec::new();
        loop {
            let sleep = async {
                match self.next() {
                    Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.0.earlier.notified() => continue,
                () = sleep => {}
            }
            self.deadlines().take_due(clock.now(), &mut due);
            for id in due.drain(..) {
                let Some(torrent) = registry.live(id) else { continue };
                match torrent.on_timer() {
                    Ok(Some(at)) => self.set(id, at),
                    Ok(None) => {}
                    Err(broken) => registry.report_broken(&torrent, broken),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn each_torrent_has_one_deadline_and_the_earliest_counts() {
        let mut deadlines = Deadlines::default();
        let (a, b) = (TorrentId(1), TorrentId(2));
        assert!(deadlines.set(a, at(9)), "the first of all");
        assert!(!deadlines.set(b, at(9)));
        assert!(deadlines.set(b, at(4)));
        assert!(!deadlines.set(b, at(6)), "one that comes late does not put it off");
        for secs in (10..100).rev() {
            deadlines.set(a, at(secs));
        }
        assert_eq!((deadlines.in_order.len(), deadlines.of.len()), (2, 2), "nothing stale is left");
        let mut due = Vec::new();
        deadlines.take_due(at(3), &mut due);
        assert!(due.is_empty());
        deadlines.take_due(at(9), &mut due);
        assert_eq!(due, [b, a]);
        assert!(deadlines.of.is_empty() && deadlines.set(a, at(50)), "and it can be set anew");
    }
}
