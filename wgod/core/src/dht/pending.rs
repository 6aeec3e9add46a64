//! Queries that wait for an answer, and how long they may.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::terms::LookupId;
use crate::Time;

/// Queries under way at most; no further one is sent meanwhile. At the highest rate of queries and the longest
/// time-out there are fewer.
pub(super) const MAX_PENDING: usize = 2048;

/// Until an answer is late, at least and at most: another node is asked in its place, but it still counts.
const LATE: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(2);

/// Until an answer is given up, at least and at most.
const LOST: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(8);

/// Why a query was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether the node is there.
    Ping,
    /// For a lookup.
    Ask(LookupId),
    /// Announces or puts what a lookup was made for.
    Store(LookupId),
}

/// A query under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) to: SocketAddr,
    pub(super) sent: Time,
    pub(super) purpose: Purpose,
    late: bool,
    /// What stands in `deadlines`.
    due: Time,
    lost_at: Time,
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Still waited for, but not relied upon.
    Late,
    /// Given up.
    Lost,
}

/// The queries under way.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_transaction: BTreeMap<u32, Waiting>,
    deadlines: BTreeSet<(Time, u32)>,
    /// How many go to each address.
    to: BTreeMap<SocketAddr, u32>,
}

impl Pending {
    pub(super) fn is_full(&self) -> bool {
        self.by_transaction.len() >= MAX_PENDING
    }

    pub(super) fn len(&self) -> usize {
        self.by_transaction.len()
    }

    /// Adds a query. Its transaction id is random, so whoever doesn't see our packets can't answer in
    /// another's name.
    pub(super) fn add(
        &mut self,
        now: Time,
        to: SocketAddr,
        purpose: Purpose,
        (rtt, rng): (&RoundTrips, &mut fastrand::Rng),
    ) -> [u8; 4] {
        let transaction = loop {
            let transaction = rng.u32(..);
            if !self.by_transaction.contains_key(&transaction) {
                break transaction;
            }
        };
        let (due, lost_at) = (now + rtt.late(), now + rtt.lost());
        let waiting = Waiting { to, sent: now, purpose, late: false, due, lost_at };
        self.by_transaction.insert(transaction, waiting);
        self.deadlines.insert((due, transaction));
        *self.to.entry(to).or_default() += 1;
        transaction.to_be_bytes()
    }

    /// The query that an answer from `from` belongs to.
    pub(super) fn take(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Waiting> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let waiting = self.by_transaction.get(&transaction).filter(|waiting| waiting.to == from).copied()?;
        self.deadlines.remove(&(waiting.due, transaction));
        self.remove(transaction);
        Some(waiting)
    }

    /// Whether something is asked of this address.
    pub(super) fn is_asked(&self, addr: SocketAddr) -> bool {
        self.to.contains_key(&addr)
    }

    fn remove(&mut self, transaction: u32) {
        let Some(waiting) = self.by_transaction.remove(&transaction) else { return };
        if let Some(count) = self.to.get_mut(&waiting.to) {
            *count -= 1;
            if *count == 0 {
                self.to.remove(&waiting.to);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next query whose answer is overdue: twice for one that never comes. Call until `None`.
    pub(super) fn overdue(&mut self, now: Time) -> Option<(Waiting, Overdue)> {
        let &(at, transaction) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.remove(&(at, transaction));
        let waiting = self.by_transaction.get_mut(&transaction)?;
        if waiting.late {
            let waiting = *waiting;
            self.remove(transaction);
            return Some((waiting, Overdue::Lost));
        }
        waiting.late = true;
        waiting.due = waiting.lost_at;
        self.deadlines.insert((waiting.due, transaction));
        Some((*waiting, Overdue::Late))
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.by_transaction.len() <= MAX_PENDING);
        let due: BTreeSet<_> = self.by_transaction.iter().map(|(id, waiting)| (waiting.due, *id)).collect();
        assert_eq!(due, self.deadlines);
        let mut to = BTreeMap::new();
        self.by_transaction.values().for_each(|waiting| *to.entry(waiting.to).or_default() += 1);
        assert_eq!(to, self.to);
    }
}

/// How long nodes take to answer, as a smoothed mean and its deviation (RFC 6298). One for each family:
/// lookups ask mostly nodes of which nothing is known.
#[derive(Debug)]
pub(super) struct RoundTrips {
    mean: Duration,
    deviation: Duration,
}

impl Default for RoundTrips {
    /// What is usual between continents, before anything is measured.
    fn default() -> RoundTrips {
        RoundTrips { mean: Duration::from_millis(300), deviation: Duration::from_millis(175) }
    }
}

impl RoundTrips {
    /// An answer took so long.
    pub(super) fn sample(&mut self, took: Duration) {
        let off = took.abs_diff(self.mean);
        self.deviation = (self.deviation * 3 + off) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    fn late(&self) -> Duration {
        (self.mean + self.deviation * 4).clamp(*LATE.start(), *LATE.end())
    }

    fn lost(&self) -> Duration {
        (self.late() * 4).clamp(*LOST.start(), *LOST.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn only_the_address_that_was_asked_can_answer_and_once() {
        let (mut pending, mut rng) = (Pending::default(), fastrand::Rng::with_seed(1));
        let (to, other): (SocketAddr, SocketAddr) =
            ("1.2.3.4:5".parse().unwrap(), "1.2.3.4:6".parse().unwrap());
        let id = pending.add(ms(0), to, Purpose::Ping, (&RoundTrips::default(), &mut rng));
        assert!(pending.take(&id, other).is_none() && pending.take(&id[..3], to).is_none());
        assert!(pending.is_asked(to) && !pending.is_asked(other));
        assert!(pending.take(&id, to).is_some_and(|waiting| waiting.sent == ms(0)));
        assert!(pending.take(&id, to).is_none());
        pending.check_invariants();
    }

    #[test]
    fn an_answer_is_late_first_and_lost_later() {
        let (mut pending, mut rng) = (Pending::default(), fastrand::Rng::with_seed(1));
        let to = "1.2.3.4:5".parse().unwrap();
        pending.add(ms(0), to, Purpose::Ping, (&RoundTrips::default(), &mut rng));
        let mut seen = Vec::new();
        while let Some(at) = pending.next_deadline() {
            seen.extend(pending.overdue(at).map(|(_, what)| (at.since_start().as_millis(), what)));
            pending.check_invariants();
        }
        assert_eq!(seen, [(1000, Overdue::Late), (4000, Overdue::Lost)]);
    }

    #[test]
    fn patience_follows_what_is_measured_within_bounds() {
        let mut trips = RoundTrips::default();
        (0..50).for_each(|_| trips.sample(Duration::from_millis(20)));
        assert_eq!((trips.late(), trips.lost()), (*LATE.start(), *LOST.start()));
        (0..50).for_each(|_| trips.sample(Duration::from_secs(60)));
        assert_eq!((trips.late(), trips.lost()), (*LATE.end(), *LOST.end()));
    }
}
