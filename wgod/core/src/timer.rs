//! Timer: the deadlines of one state machine, by kind.
//!
//! A Swarm, a peer or the session names its deadlines with an enum and keeps one `Deadlines` of it. The
//! shell asks only for [`Deadlines::next`] and calls `handle_timeout(now)` then.
use smallvec::SmallVec;

use crate::Time;

/// At most one deadline of each kind. A state machine has a handful of kinds, so a scan of a short
/// inline list beats any heap; the list never grows beyond the number of kinds.
#[derive(Clone, Debug)]
pub struct Deadlines<K>(SmallVec<[(Time, K); 8]>);

impl<K> Default for Deadlines<K> {
    fn default() -> Deadlines<K> {
        Deadlines(SmallVec::new())
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// No deadline.
    pub fn new() -> Deadlines<K> {
        Deadlines::default()
    }

    /// `kind` is due at `at`, whatever was set before.
    pub fn set(&mut self, kind: K, at: Time) {
        match self.0.iter_mut().find(|entry| entry.1 == kind) {
            Some(entry) => entry.0 = at,
            None => self.0.push((at, kind)),
        }
    }

    /// `kind` is due at `at` or when it already was, whichever comes first.
    pub fn set_earliest(&mut self, kind: K, at: Time) {
        if self.of(kind).is_none_or(|set| at < set) {
            self.set(kind, at);
        }
    }

    /// `kind` is not due any more.
    pub fn cancel(&mut self, kind: K) {
        self.0.retain(|entry| entry.1 != kind);
    }

    /// When `kind` is due.
    pub fn of(&self, kind: K) -> Option<Time> {
        self.0.iter().find(|entry| entry.1 == kind).map(|entry| entry.0)
    }

    /// When the first of all is due.
    pub fn next(&self) -> Option<Time> {
        self.0.iter().map(|entry| entry.0).min()
    }

    /// Takes out the kind that has been due longest, if any is due; among equals the lowest kind. Call
    /// until `None`.
    pub fn expired(&mut self, now: Time) -> Option<K> {
        let (position, &(at, kind)) = self.0.iter().enumerate().min_by_key(|(_, entry)| **entry)?;
        (at <= now).then(|| {
            self.0.swap_remove(position);
            kind
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Kind {
        Choke,
        KeepAlive,
        Announce,
    }

    #[test]
    fn deadlines_expire_in_order_of_time_then_kind_and_once() {
        let mut deadlines = Deadlines::new();
        deadlines.set(Kind::Announce, at(5));
        deadlines.set(Kind::KeepAlive, at(9));
        deadlines.set(Kind::KeepAlive, at(3));
        deadlines.set(Kind::Choke, at(5));
        assert_eq!(deadlines.next(), Some(at(3)));
        assert_eq!(deadlines.expired(at(2)), None);
        let due: Vec<_> = std::iter::from_fn(|| deadlines.expired(at(5))).collect();
        assert_eq!(due, [Kind::KeepAlive, Kind::Choke, Kind::Announce]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn set_earliest_never_postpones() {
        let mut deadlines = Deadlines::new();
        for (secs, expected) in [(7, 7), (9, 7), (2, 2)] {
            deadlines.set_earliest(Kind::Choke, at(secs));
            assert_eq!(deadlines.of(Kind::Choke), Some(at(expected)));
        }
        deadlines.cancel(Kind::Choke);
        assert_eq!(deadlines.of(Kind::Choke), None);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_map_from_kind_to_time(
            ops in prop::collection::vec((0u8..4, 0u8..6, 0u64..50), 0..100)
        ) {
            let (mut deadlines, mut model) = (Deadlines::new(), BTreeMap::new());
            for (op, kind, secs) in ops {
                match op {
                    0 | 1 => {
                        deadlines.set(kind, at(secs));
                        model.insert(kind, at(secs));
                    }
                    2 => {
                        deadlines.cancel(kind);
                        model.remove(&kind);
                    }
                    _ => {
                        let due = model.iter().map(|(k, t)| (*t, *k)).min().filter(|e| e.0 <= at(secs));
                        prop_assert_eq!(deadlines.expired(at(secs)), due.map(|e| e.1));
                        due.map(|e| model.remove(&e.1));
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
            }
        }
    }
}
