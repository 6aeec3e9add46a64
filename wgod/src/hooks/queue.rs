//! What has happened and waits for its program. Pure: who may run now is decided here, nothing is done.
use std::collections::{BTreeMap, VecDeque};

use wgo_core::TorrentId;

use super::{Event, Happening};

/// Programs that run at the same time.
pub(super) const AT_ONCE: usize = 4;
/// Happenings that wait. Each takes a few KiB at most. Beyond it, new ones are refused.
const WAITING: usize = 1000;

/// Happenings in their order. Those of one torrent run one after the other, those of several side by side.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Happening>,
    /// By the number of the run.
    running: BTreeMap<u64, Happening>,
    last: u64,
}

impl Queue {
    /// Takes something in, or gives it back when too much waits.
    pub(super) fn push(&mut self, happening: Happening) -> Option<Happening> {
        if self.waiting.len() >= WAITING {
            return Some(happening);
        }
        self.waiting.push_back(happening);
        None
    }

    /// The next that may run, and the number of its run.
    pub(super) fn begin(&mut self) -> Option<(u64, Happening)> {
        if self.running.len() >= AT_ONCE {
            return None;
        }
        let busy = |id: TorrentId| self.running.values().any(|running| running.torrent == id);
        // Few are busy, so the first or one soon behind it is free.
        let at = self.waiting.iter().position(|waiting| !busy(waiting.torrent))?;
        let happening = self.waiting.remove(at)?;
        self.last += 1;
        self.running.insert(self.last, happening.clone());
        Some((self.last, happening))
    }

    /// A run ended: what it was about. `None`: there is no such run.
    pub(super) fn end(&mut self, run: u64) -> Option<Happening> {
        self.running.remove(&run)
    }

    /// What a run is about.
    pub(super) fn running(&self, run: u64) -> Option<&Happening> {
        self.running.get(&run)
    }

    /// Runs under way.
    pub(super) fn under_way(&self) -> usize {
        self.running.len()
    }

    /// Forgets all that waits and runs. Returns how many will never be run; completions are, at the next start.
    pub(super) fn clear(&mut self) -> usize {
        let all = self.waiting.iter().chain(self.running.values());
        let lost = all.filter(|happening| happening.event != Event::Completed).count();
        self.waiting.clear();
        self.running.clear();
        lost
    }
}

#[cfg(test)]
mod tests {
    use wgo_proto::WireHash;

    use super::*;

    fn happening(torrent: u64, event: Event) -> Happening {
        let (torrent, hash) = (TorrentId(torrent), WireHash([0; 20]));
        Happening { event, torrent, hash, name: String::new(), fields: Vec::new() }
    }

    #[test]
    fn what_happens_to_a_torrent_runs_in_its_order_and_other_torrents_pass() {
        let mut queue = Queue::default();
        for (torrent, event) in [(1, Event::Added), (1, Event::Completed), (2, Event::Added)] {
            assert_eq!(queue.push(happening(torrent, event)), None);
        }
        let (first, added) = queue.begin().unwrap();
        assert_eq!(added, happening(1, Event::Added));
        let (second, other) = queue.begin().unwrap();
        assert_eq!(other, happening(2, Event::Added));
        assert_eq!(queue.begin(), None, "the first torrent is busy");
        assert_eq!(queue.end(second), Some(other));
        assert_eq!(queue.begin(), None);
        assert_eq!(queue.end(first), Some(added));
        assert_eq!(queue.end(first), None, "it ends once");
        assert_eq!(queue.begin().map(|(_, next)| next.event), Some(Event::Completed));
    }

    #[test]
    fn few_run_at_once_and_a_bounded_number_waits() {
        let mut queue = Queue::default();
        for torrent in 0..WAITING as u64 {
            assert_eq!(queue.push(happening(torrent, Event::Added)), None);
        }
        assert!(queue.push(happening(9999, Event::Removed)).is_some());
        let runs: Vec<u64> = std::iter::from_fn(|| queue.begin()).map(|(run, _)| run).collect();
        assert_eq!((runs.len(), queue.under_way()), (AT_ONCE, AT_ONCE));
        queue.end(runs[1]);
        assert!(queue.begin().is_some_and(|(run, _)| !runs.contains(&run)), "each run has its number");
        assert_eq!(queue.push(happening(9999, Event::Completed)), None, "there is room again");
        assert_eq!(queue.clear(), WAITING - 1, "all but the completion and the one that ended");
        assert_eq!((queue.begin(), queue.under_way()), (None, 0));
    }
}
