//! One tracker at a time, for private torrents (BEP 27).
//!
//! The tracker that answered last is used until it fails; then the others are tried, one after the other, in
//! their order. One that is used no longer hears that we leave.
use super::entry::Tracker;
use super::{Policy, TrackerId, TrackerList};
use crate::Time;

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing but what is shown and when the next announce is due.
    AsBefore,
    /// By [`Policy::OneTracker`] another tracker is used than before: its peers are to be left (BEP 27).
    Moved,
    /// By the same policy this tracker is not the one that is used, as it answers too late or hears that we leave:
    /// nobody whom it names is to be met.
    Unused,
}

impl TrackerList {
    /// The next announce that is wanted of the one tracker that is used, or of those that may take its place.
    pub(super) fn next_of_one(&self) -> Option<(Time, TrackerId)> {
        let usable = || self.tiers.iter().flatten().map(|id| self.tracker(*id)).filter(|t| !t.disabled);
        // What is said in leaving one keeps nobody from being asked.
        if usable().any(|tracker| tracker.in_flight.as_ref().is_some_and(|sent| !sent.farewell)) {
            return None;
        }
        // One that was removed and is back may still be hearing that we leave.
        let is_used = |tracker: &&Tracker| Some(tracker.id) == self.used && tracker.in_flight.is_none();
        let used = usable().find(|tracker| is_used(tracker) && tracker.fails == 0);
        // Those that never failed since we came are due from the beginning of time on; of equals the first.
        let next = used.or_else(|| {
            usable()
                .filter(|tracker| tracker.in_flight.is_none())
                .min_by_key(|tracker| tracker.due(self.finished, self.hungry))
        });
        next.map(|tracker| (tracker.due(self.finished, self.hungry), tracker.id))
    }

    /// A tracker answered: it is the one from now on.
    pub(super) fn use_only(&mut self, id: TrackerId) -> Answered {
        if self.policy != Policy::OneTracker || self.used == Some(id) {
            return Answered::AsBefore;
        }
        let before = self.used.replace(id);
        self.leave_others(id);
        before.map_or(Answered::AsBefore, |_| Answered::Moved)
    }

    /// Of several that were used until now one is kept.
    pub(super) fn settle(&mut self) {
        let works = |id: &&TrackerId| {
            let tracker = self.tracker(**id);
            tracker.fails == 0 && tracker.heard.started && !tracker.disabled
        };
        let kept = self.tiers.iter().flatten().find(works).copied();
        self.used = self.used.or(kept);
        if let Some(kept) = kept {
            self.leave_others(kept);
        }
    }

    fn leave_others(&mut self, id: TrackerId) {
        for other in self.trackers.iter_mut().filter(|tracker| tracker.id != id) {
            other.left = other.heard.started;
        }
    }
}
