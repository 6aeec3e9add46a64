//! One task for the deadlines of every Swarm: a heap keyed by torrent.
//!
//! An entry may be stale (its torrent was called earlier, or is gone); the call it leads to then does
//! nothing. Entries are few: one or two for each live torrent.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};

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
    heap: Mutex<BinaryHeap<Reverse<(Time, TorrentId)>>>,
    earlier: Notify,
}

impl Timers {
    /// `id` wants its `handle_timeout` at `at`.
    pub fn set(&self, id: TorrentId, at: Time) {
        let mut heap = self.0.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let first = heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        heap.push(Reverse((at, id)));
        drop(heap);
        if first {
            self.0.earlier.notify_one();
        }
    }

    fn next(&self) -> Option<Time> {
        let heap = self.0.heap.lock().unwrap_or_else(PoisonError::into_inner);
        heap.peek().map(|Reverse((at, _))| *at)
    }

    fn take_due(&self, now: Time, due: &mut Vec<TorrentId>) {
        let mut heap = self.0.heap.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Reverse((at, id))) = heap.peek().copied()
            && at <= now
        {
            heap.pop();
            due.push(id);
        }
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
            self.take_due(clock.now(), &mut due);
            due.sort_unstable();
            due.dedup();
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
