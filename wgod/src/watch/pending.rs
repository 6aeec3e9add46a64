//! When to try which file of a watched folder. Pure: files as they were seen, and time, are arguments.
//!
//! Nobody says when a file is whole. One that is being written changes, so a file is tried when it has stayed
//! as it is for a moment, and again after each change. One that is refused is tried some more times: what a
//! file server shows may be older than what it says of it. Only then it is given up.
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use tokio::time::Instant;

use super::folder::Stamp;

/// A file must have stayed as it is for so long.
pub(super) const SETTLED: Duration = Duration::from_secs(1);
/// A file that is refused is tried again so often.
const AGAIN: Duration = Duration::from_secs(5);
/// A file that has stayed as it is for so long, and is still refused, is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// What has nothing to do with the file, as a full disk, is waited for at this pace.
const LATER: Duration = Duration::from_secs(60);

/// A file that was not dealt with yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    stamp: Stamp,
    /// Since when it is as it is.
    since: Instant,
    /// When it is tried next.
    due: Instant,
}

/// What a failed try means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is tried again by itself.
    Wait,
    /// Nothing more comes of it.
    GiveUp,
}

/// The files of a folder that are to be dealt with. As many as the folder has, which its reader bounds.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<OsString, Waiting>);

impl Pending {
    /// What the folder holds now. Files that are gone are forgotten.
    pub(super) fn see(&mut self, found: Vec<(OsString, Stamp)>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        self.0 = found
            .into_iter()
            .map(|(name, stamp)| {
                let known = before.remove(&name).filter(|waiting| waiting.stamp == stamp);
                (name, known.unwrap_or(Waiting { stamp, since: now, due: now + SETTLED }))
            })
            .collect();
    }

    /// Up to `count` files to try now.
    pub(super) fn due(&self, now: Instant, count: usize) -> Vec<(OsString, Stamp)> {
        let due = self.0.iter().filter(|(_, waiting)| waiting.due <= now);
        due.take(count).map(|(name, waiting)| (name.clone(), waiting.stamp)).collect()
    }

    /// When the next one is to be tried.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.due).min()
    }

    /// A file was dealt with, or is gone.
    pub(super) fn done(&mut self, name: &OsString) {
        self.0.remove(name);
    }

    /// A try failed by what the file holds.
    pub(super) fn refused(&mut self, name: &OsString, now: Instant) -> Verdict {
        let Some(waiting) = self.0.get_mut(name) else { return Verdict::Wait };
        if now >= waiting.since + PATIENCE {
            return Verdict::GiveUp;
        }
        waiting.due = (now + AGAIN).min(waiting.since + PATIENCE);
        Verdict::Wait
    }

    /// A try failed by something else.
    pub(super) fn hindered(&mut self, name: &OsString, now: Instant) {
        if let Some(waiting) = self.0.get_mut(name) {
            waiting.due = now + LATER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(len: u64) -> Stamp {
        Stamp { inode: 1, len, secs: 0, nanos: 0 }
    }

    fn names(pending: &Pending, now: Instant) -> Vec<String> {
        pending.due(now, 10).into_iter().map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_tried_when_it_has_stopped_changing() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        let at = |secs| start + Duration::from_millis(secs);
        pending.see(vec![("a".into(), stamp(1)), ("b".into(), stamp(5))], at(0));
        assert_eq!(names(&pending, at(999)), [""; 0]);
        pending.see(vec![("a".into(), stamp(2)), ("b".into(), stamp(5))], at(900));
        assert_eq!(names(&pending, at(1000)), ["b"]);
        assert_eq!(pending.next(), Some(at(1000)));
        assert_eq!(names(&pending, at(1900)), ["a", "b"]);
        assert_eq!(pending.due(at(1900), 1).len(), 1);
        pending.done(&"b".into());
        pending.see(vec![], at(2000));
        assert_eq!(pending.next(), None, "it is gone");
    }

    #[test]
    fn a_refused_file_is_tried_again_and_given_up_when_it_stays_as_it_is() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        pending.see(vec![("a".into(), stamp(1))], start);
        let mut tries = 0;
        let now = loop {
            let now = pending.next().unwrap();
            tries += 1;
            if pending.refused(&"a".into(), now) == Verdict::GiveUp {
                break now;
            }
        };
        assert_eq!((now - start, tries), (PATIENCE, 5));
        // Somebody writes to it: that counts anew.
        pending.see(vec![("a".into(), stamp(2))], now);
        assert_eq!(pending.next(), Some(now + SETTLED));
        assert_eq!(pending.refused(&"a".into(), now + SETTLED), Verdict::Wait);
        assert_eq!(pending.refused(&"gone".into(), now), Verdict::Wait);
    }

    #[test]
    fn what_is_not_the_files_fault_is_waited_for_without_end() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        pending.see(vec![("a".into(), stamp(1))], start);
        for _ in 0..100 {
            let now = pending.next().unwrap();
            pending.hindered(&"a".into(), now);
            assert_eq!(pending.next(), Some(now + LATER));
        }
    }
}
