//! A limit that torrents share: its bucket, and who of them gets the next bytes, the one that has had least.
//! These are the deficits of the round-robin.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bucket::{Bucket, next_wake};
use crate::{ByteRate, Time};

/// How long after its last grant a torrent with nothing queued still counts as busy with it, so that
/// torrents ahead of it leave it some credit.
const GRACE: Duration = Duration::from_millis(20);

/// One limit over several torrents. Each set is ordered by what counts in it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// `None`: no limit, and everybody passes.
    bucket: Option<Bucket>,
    /// By how much they were served.
    waiting: BTreeSet<(u64, u32)>,
    /// Likewise, with when that was. Some of them are busy no more.
    busy: BTreeMap<(u64, u32), Time>,
    /// How much the torrents that keep up have been served.
    clock: u64,
    /// When those who wait are to be served; meaningless while there are none.
    wake: Option<Time>,
}

/// A torrent at a gate.
#[derive(Debug)]
pub(super) struct Seat {
    /// Bytes that it has had here, as a place on the scale of [`Gate::clock`].
    served: u64,
    served_at: Time,
    /// Has not competed yet; how much later it begins than others, in parts of 2^32 ([`Bucket::stagger`]).
    fresh: Option<u32>,
    /// What it has already had for the request that waits at a later gate.
    paid: u32,
    at: At,
}

/// Where a torrent stands at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Elsewhere.
    Away,
    /// Had a grant lately, or passed, and doesn't wait here.
    Busy,
    /// Its turn comes by how much it was served.
    Waiting,
}

impl Seat {
    /// Of a torrent that begins, `fresh` of a block later than others.
    pub(super) fn new(fresh: u32) -> Seat {
        Seat { served: 0, served_at: Time::ZERO, fresh: Some(fresh), paid: 0, at: At::Away }
    }

    /// What it has had for a request that waits at a later gate.
    pub(super) fn paid(&self) -> Option<u32> {
        (self.paid > 0).then_some(self.paid)
    }
}

impl Gate {
    /// One that begins with this limit.
    pub(super) fn new(now: Time, rate: ByteRate) -> Gate {
        Gate { bucket: Some(Bucket::new(now, rate)), ..Gate::default() }
    }

    pub(super) fn set_limit(&mut self, now: Time, limit: Option<ByteRate>) {
        match (&mut self.bucket, limit) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate, !self.waiting.is_empty()),
            (bucket, limit) => *bucket = limit.map(|rate| Bucket::new(now, rate)),
        }
        self.wake = None;
        self.rearm(now);
    }

    pub(super) fn limit(&self) -> Option<ByteRate> {
        self.bucket.as_ref().map(Bucket::rate)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.bucket.is_some()
    }

    /// Whether somebody waits here.
    pub(super) fn is_crowded(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Who is next.
    pub(super) fn first(&self) -> Option<u32> {
        self.waiting.first().map(|entry| entry.1)
    }

    /// Whether one that waits here has had no more.
    pub(super) fn has_before(&self, seat: &Seat) -> bool {
        self.waiting.first().is_some_and(|first| first.0 <= seat.served)
    }

    /// Whether a torrent has had less than those that keep up.
    pub(super) fn lags(&self, seat: &Seat) -> bool {
        seat.served < self.clock
    }

    pub(super) fn refill(&mut self, now: Time) {
        if let Some(bucket) = &mut self.bucket {
            bucket.refill(now, !self.waiting.is_empty());
        }
    }

    /// What a torrent that wants that much may have.
    pub(super) fn offer(&mut self, now: Time, seat: &Seat, want: u32) -> u32 {
        self.drop_stale_busy(now, seat.served);
        let ahead = self.is_ahead(now, seat.served);
        self.bucket.as_ref().map_or(want, |bucket| bucket.offer(want, ahead))
    }

    /// Most that a flow gets in its turn while others wait.
    pub(super) fn turn(&self) -> Option<u32> {
        self.bucket.as_ref().map(Bucket::turn)
    }

    /// Most that a flow gets at once when nobody else waits.
    pub(super) fn max_grant(&self) -> Option<u32> {
        self.bucket.as_ref().map(Bucket::max_grant)
    }

    /// Accounts for what a torrent gets.
    pub(super) fn serve(&mut self, now: Time, t: u32, seat: &mut Seat, bytes: u32) {
        let Some(bucket) = &mut self.bucket else { return self.put(t, seat, At::Away) };
        bucket.take(bytes);
        self.clock = self.clock.max(seat.served);
        self.put(t, seat, At::Away);
        seat.served += u64::from(bytes);
        seat.served_at = now;
        self.put(t, seat, At::Busy);
    }

    /// The same where a later gate has yet to give it that much.
    pub(super) fn pay(&mut self, now: Time, t: u32, seat: &mut Seat, bytes: u32) {
        self.serve(now, t, seat, bytes);
        seat.paid = bytes;
    }

    /// Ends what was paid for: so much of it was used.
    pub(super) fn settle(&mut self, t: u32, seat: &mut Seat, used: u32) {
        let paid = std::mem::take(&mut seat.paid);
        self.give_back(t, seat, paid.saturating_sub(used));
    }

    pub(super) fn give_back(&mut self, t: u32, seat: &mut Seat, unused: u32) {
        if unused > 0
            && let Some(bucket) = &mut self.bucket
        {
            bucket.give_back(unused);
            self.shift(t, seat, seat.served.saturating_sub(u64::from(unused)));
        }
    }

    /// A torrent that comes back to the competition lags no more than the slack allows.
    pub(super) fn rejoin(&mut self, now: Time, t: u32, seat: &mut Seat) {
        let Some(bucket) = &self.bucket else { return };
        let slack = match in_grace(now, seat.served_at) {
            true => bucket.busy_slack(),
            false => bucket.idle_slack(self.active()),
        };
        let stagger = seat.fresh.take().map_or(0, |part| bucket.stagger(part, self.active()));
        let least = self.clock.saturating_sub(slack) + stagger;
        if seat.served < least {
            self.shift(t, seat, least);
        }
    }

    /// Moves a torrent between the sets.
    pub(super) fn put(&mut self, t: u32, seat: &mut Seat, at: At) {
        let key = (seat.served, t);
        match std::mem::replace(&mut seat.at, at) {
            At::Away => {}
            At::Busy => drop(self.busy.remove(&key)),
            At::Waiting => drop(self.waiting.remove(&key)),
        }
        match at {
            At::Away => {}
            At::Busy => drop(self.busy.insert(key, seat.served_at)),
            At::Waiting => drop(self.waiting.insert(key)),
        }
    }

    /// Gives a torrent another place on the scale.
    fn shift(&mut self, t: u32, seat: &mut Seat, served: u64) {
        let at = seat.at;
        self.put(t, seat, At::Away);
        seat.served = served;
        self.put(t, seat, at);
    }

    /// When to serve those who wait here.
    pub(super) fn timeout(&self) -> Option<Time> {
        self.wake.filter(|_| !self.waiting.is_empty())
    }

    /// All were served that could be. What came back to it meanwhile is for the next wake-up.
    pub(super) fn rest(&mut self, now: Time) {
        self.wake = None;
        self.rearm(now);
        self.wake = self.wake.map(|at| at.max(next_wake(now)));
    }

    /// Makes sure of a wake-up for who waits. It may come earlier than planned but never later: were it
    /// put off whenever a lagging torrent takes some credit, it might never come.
    pub(super) fn rearm(&mut self, now: Time) {
        let wake = self.waiting.first().and_then(|&(served, _)| match &self.bucket {
            None => Some(now),
            Some(bucket) => bucket.ready_at(self.is_ahead(now, served)),
        });
        self.wake = [self.wake, wake].into_iter().flatten().min();
    }

    /// Whether a torrent that has had so much has had a good deal more than one that is busy with its last
    /// grant.
    fn is_ahead(&self, now: Time, served: u64) -> bool {
        let level = self.without_lead(served);
        let mut lagging = self.busy.iter().take_while(|(key, _)| key.0 < level);
        lagging.any(|(_, at)| in_grace(now, *at))
    }

    /// What a torrent has had, less the lead that it may take: its share of one tick.
    fn without_lead(&self, served: u64) -> u64 {
        let lead = self.bucket.as_ref().map_or(0, |bucket| bucket.tick_share(self.active()));
        served.saturating_sub(lead)
    }

    /// Torrents that compete here, and the one that asks.
    fn active(&self) -> usize {
        self.waiting.len() + self.busy.len() + 1
    }

    /// Makes sure that `is_ahead` meets no long row of torrents that are not busy any more.
    fn drop_stale_busy(&mut self, now: Time, served: u64) {
        let level = self.without_lead(served);
        while let Some(entry) = self.busy.first_entry()
            && entry.key().0 < level
            && !in_grace(now, *entry.get())
        {
            entry.remove();
        }
    }

    /// Panics when the sets and the seats of all torrents contradict each other.
    pub(super) fn check_invariants<'a>(&self, seats: impl Iterator<Item = (u32, &'a Seat)>) {
        let (mut waiting, mut busy) = (0, 0);
        for (t, seat) in seats {
            let key = (seat.served, t);
            match seat.at {
                At::Away => {}
                At::Waiting => {
                    waiting += 1;
                    assert!(self.waiting.contains(&key) && seat.paid == 0, "who waits here has not passed");
                }
                // It may have been dropped.
                At::Busy => busy += usize::from(self.busy.contains_key(&key)),
            }
        }
        assert_eq!((waiting, busy), (self.waiting.len(), self.busy.len()));
    }
}

fn in_grace(now: Time, served_at: Time) -> bool {
    now.since(served_at) < GRACE
}
