//! Which tracker hears what, and when (BEP 3, 12, 27, 31), among trackers that answer, fail and fall silent.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use wgo_core::Time;
use wgo_core::tracker::{
    Announce, AnnounceId, Event, MAX_TRACKERS, Outcome, Policy, Retry, Stats, TrackerId, TrackerList,
};

use super::Reader;

/// Announces at one moment at most: one for each tracker and event.
const AT_ONCE: usize = 64;
/// What had no answer by then is over, and another one may follow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(900);

struct Model {
    list: TrackerList,
    now: Time,
    /// Announces under way; one at a time to each tracker.
    sent: BTreeMap<TrackerId, (AnnounceId, Time)>,
    /// Who was told that we are there, and not since that we left.
    heard: BTreeSet<TrackerId>,
    running: bool,
    online: bool,
}

/// Any events in any order: nobody is told `stopped` who never heard `started`, or two things at once, and nothing is
/// asked for ever.
pub(super) fn tracker_tiers(data: &[u8]) {
    let mut reader = Reader::new(data);
    let policy = [Policy::AllTiers, Policy::FirstTier, Policy::OneTracker];
    let policy = policy[usize::from(reader.byte()) % policy.len()];
    let tiers = tiers(&mut reader);
    let list = TrackerList::new(&tiers, policy, u64::from(reader.byte()));
    let (sent, heard, now) = (BTreeMap::new(), BTreeSet::new(), Time::from_start(Duration::from_secs(1000)));
    let mut model = Model { list, now, sent, heard, running: true, online: true };
    while !reader.is_empty() {
        model.step(&mut reader);
        model.list.check_invariants();
        model.ask();
        assert!(model.list.statuses().len() <= MAX_TRACKERS);
    }
    model.leave();
}

fn tiers(reader: &mut Reader<'_>) -> Vec<Vec<Arc<str>>> {
    let url = |n: u8| format!("http://t{}.example/announce", n % 6).into();
    (0..reader.byte() % 4).map(|_| (0..reader.byte() % 4).map(|_| url(reader.byte())).collect()).collect()
}

impl Model {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let op = reader.byte();
        let number = u64::from(reader.byte());
        let nth = self.sent.values().nth(number as usize % self.sent.len().max(1)).map(|sent| sent.0);
        match (op % 16, nth) {
            (0..=3, Some(id)) => {
                self.sent.remove(&id.tracker);
                let secs = |n: u8| (n > 0).then(|| Duration::from_secs(u64::from(n) * 30));
                let (interval, min_interval) = (secs(reader.byte()), secs(reader.byte()));
                let outcome = Outcome { interval, min_interval, peers: 3, ..Outcome::default() };
                self.list.on_success(self.now, id, &outcome);
            }
            (4 | 5, Some(id)) => {
                self.sent.remove(&id.tracker);
                let retry = match op >> 4 {
                    0..=8 => Retry::BackOff,
                    9..=12 => Retry::After(Duration::from_secs(number)),
                    _ => Retry::Never,
                };
                self.list.on_failure(self.now, id, "no", retry);
            }
            (6 | 7, _) => self.now += Duration::from_secs(number),
            (8, _) => self.now += Duration::from_secs(number * 60),
            (9, _) => self.list.completed(),
            (10, _) => self.list.set_hungry(op >= 128),
            (11, _) => {
                let was = std::mem::replace(&mut self.online, op >= 64);
                self.list.set_online(self.now, self.online);
                if was && !self.online {
                    self.sent.clear();
                }
            }
            (12, _) if self.running => {
                self.list.stop();
                self.running = false;
            }
            (12, _) => {
                self.list.start(self.now);
                self.running = true;
                // What is still under way to it may be what it hears.
                self.heard.retain(|tracker| self.sent.contains_key(tracker));
            }
            (13, _) => self.list.announce_now(self.now),
            (14, _) if op >= 128 => self.list.replace(&tiers(reader)),
            (14, _) => _ = self.list.add(format!("http://t{}.example/announce", number % 6), op.into()),
            (15, _) if op >= 128 => {
                let ids: Vec<TrackerId> = self.list.statuses().iter().map(|status| status.id).collect();
                if let Some(id) = ids.get(number as usize % ids.len().max(1)) {
                    assert!(self.list.remove(*id));
                }
            }
            (15, _) => {
                let policy = [Policy::AllTiers, Policy::FirstTier, Policy::OneTracker];
                self.list.set_policy(policy[number as usize % policy.len()]);
            }
            _ => {}
        }
    }

    /// Sends what is due.
    fn ask(&mut self) {
        let stats = Stats { left: 5, num_want: 50, ..Stats::default() };
        let mut count = 0;
        while let Some(announce) = self.list.next_announce(self.now, &stats) {
            count += 1;
            assert!(count <= AT_ONCE, "it announces for ever");
            self.told(&announce);
            self.list.check_invariants();
        }
        assert!(self.list.poll_timeout().is_none_or(|at| at > self.now), "it would be asked for ever");
    }

    fn told(&mut self, announce: &Announce) {
        let tracker = announce.id.tracker;
        let before = self.sent.insert(tracker, (announce.id, self.now));
        let is_over = before.is_none_or(|(_, at)| self.now >= at + ANSWER_TIMEOUT);
        assert!(is_over, "{tracker:?} is told two things at once");
        match announce.event {
            Some(Event::Stopped) => {
                assert!(
                    self.heard.remove(&tracker),
                    "{tracker:?} hears that we leave and never that we came"
                );
                assert_eq!(announce.stats.num_want, 0);
            }
            Some(Event::Started) => {
                assert!(self.running && self.online, "{tracker:?} hears that we come, and we don't");
                self.heard.insert(tracker);
            }
            Some(Event::Completed) => assert!(self.heard.contains(&tracker)),
            None => assert!(self.running && self.online && self.heard.contains(&tracker)),
        }
    }

    /// We leave, and every tracker answers: then all is said soon.
    fn leave(&mut self) {
        self.list.set_online(self.now, true);
        self.list.stop();
        (self.running, self.online) = (false, true);
        for _ in 0..4 {
            self.ask();
            self.list.check_invariants();
            for (_, (id, _)) in std::mem::take(&mut self.sent) {
                self.list.on_success(self.now, id, &Outcome::default());
            }
        }
        assert!(self.list.is_quiet(), "somebody was never told that we left");
        assert!(self.list.poll_timeout().is_none());
    }
}
