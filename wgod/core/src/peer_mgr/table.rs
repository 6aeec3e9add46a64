//! The table of candidates: every address that we might connect to, in the order in which we would.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::address::ports_of;
use super::{Greeting, Source};
use crate::Time;

/// Candidates that are looked at for the last of one source.
const PROBES: usize = 64;

/// An address that was heard of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) source: Source,
    /// BEP 40.
    pub(super) priority: u32,
    /// Random, drawn once.
    lot: u32,
    /// Dials and connections in a row that came to nothing.
    pub(super) failures: u32,
    /// We were connected to it once.
    pub(super) proven: bool,
    /// How it is greeted next; `None` while nothing is known of what it takes.
    pub(super) greeting: Option<Greeting>,
    /// It took that greeting the last time.
    pub(super) took_it: bool,
    /// The other greeting was tried just before, and not taken.
    pub(super) tried_both: bool,
    /// It has everything, so that it is of no use to us while we do.
    pub(super) seed: bool,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// May be dialled.
    Ready,
    /// May be dialled then.
    Waiting(Time),
    /// A seed, while we are one.
    Resting,
    Dialing,
    Connected,
}

/// The order of dialling: whom the operator named, then who failed less, then by canonical priority,
/// then by lot: an order of addresses would send everyone to the same ones.
pub(super) type Rank = (bool, u32, Reverse<u32>, u32);

impl Candidate {
    pub(super) fn new(source: Source, priority: u32, lot: u32) -> Candidate {
        Candidate {
            source,
            priority,
            lot,
            failures: 0,
            proven: false,
            greeting: None,
            took_it: false,
            tried_both: false,
            seed: false,
            state: State::Ready,
        }
    }

    /// Neither connected nor about to be.
    pub(super) fn is_idle(&self) -> bool {
        !matches!(self.state, State::Dialing | State::Connected)
    }

    pub(super) fn rank(&self) -> Rank {
        (self.source != Source::User, self.failures, Reverse(self.priority), self.lot)
    }
}

/// At most as many candidates as its owner allows; see `make_room`.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<SocketAddr, Candidate>,
    ready: BTreeSet<(Rank, SocketAddr)>,
    waiting: BTreeSet<(Time, SocketAddr)>,
    resting: BTreeSet<SocketAddr>,
    by_source: [usize; Source::COUNT],
    dialing: usize,
    connected: usize,
}

impl Table {
    pub(super) fn get(&self, addr: SocketAddr) -> Option<&Candidate> {
        self.entries.get(&addr)
    }

    pub(super) fn insert(&mut self, addr: SocketAddr, candidate: Candidate) {
        self.remove(addr);
        self.index(addr, &candidate);
        self.entries.insert(addr, candidate);
    }

    pub(super) fn remove(&mut self, addr: SocketAddr) -> Option<Candidate> {
        let candidate = self.entries.remove(&addr)?;
        self.by_source[candidate.source as usize] -= 1;
        match candidate.state {
            State::Ready => _ = self.ready.remove(&(candidate.rank(), addr)),
            State::Waiting(at) => _ = self.waiting.remove(&(at, addr)),
            State::Resting => _ = self.resting.remove(&addr),
            State::Dialing => self.dialing -= 1,
            State::Connected => self.connected -= 1,
        }
        Some(candidate)
    }

    /// Changes a candidate and its place; nothing if it isn't there.
    pub(super) fn update(&mut self, addr: SocketAddr, change: impl FnOnce(&mut Candidate)) {
        if let Some(mut candidate) = self.remove(addr) {
            change(&mut candidate);
            self.index(addr, &candidate);
            self.entries.insert(addr, candidate);
        }
    }

    fn index(&mut self, addr: SocketAddr, candidate: &Candidate) {
        self.by_source[candidate.source as usize] += 1;
        match candidate.state {
            State::Ready => _ = self.ready.insert((candidate.rank(), addr)),
            State::Waiting(at) => _ = self.waiting.insert((at, addr)),
            State::Resting => _ = self.resting.insert(addr),
            State::Dialing => self.dialing += 1,
            State::Connected => self.connected += 1,
        }
    }

    /// Those whose waiting is over become ready.
    pub(super) fn wake(&mut self, now: Time) {
        while let Some(&(at, addr)) = self.waiting.first()
            && at <= now
        {
            self.update(addr, |candidate| candidate.state = State::Ready);
        }
    }

    /// All waiting is over.
    pub(super) fn hurry(&mut self) {
        while let Some(&(_, addr)) = self.waiting.first() {
            self.update(addr, |candidate| candidate.state = State::Ready);
        }
    }

    /// Who may be dialled and never failed since it was last connected.
    pub(super) fn fresh(&self) -> impl Iterator<Item = &Candidate> {
        let ready = self.ready.iter().filter_map(|(_, addr)| self.entries.get(addr));
        ready.filter(|candidate| candidate.failures == 0)
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.waiting.first().map(|entry| entry.0)
    }

    /// Who would be dialled next.
    pub(super) fn best(&self) -> Option<SocketAddr> {
        self.ready.first().map(|entry| entry.1)
    }

    /// Lets go of whoever is worth less than a newcomer of this rank: a seed that we have no use for,
    /// else the last in the order of dialling, else who waits longest. Never the operator's, nor one in
    /// use. `false`: the newcomer is the least.
    pub(super) fn make_room(&mut self, rank: Rank) -> bool {
        let spare = |addr: &SocketAddr| self.entries[addr].source != Source::User;
        let last = self.ready.last().filter(|(worst, _)| worst.0);
        let victim = match (self.resting.iter().copied().find(spare), last) {
            (Some(seed), _) => Some(seed),
            (None, Some(&(worst, addr))) => (rank < worst).then_some(addr),
            (None, None) => self.waiting.iter().rev().map(|entry| entry.1).find(spare),
        };
        victim.is_some_and(|addr| self.remove(addr).is_some())
    }

    /// The same among those of one source, which has its share.
    pub(super) fn make_room_of(&mut self, source: Source, rank: Rank) -> bool {
        let is_its = |addr: &SocketAddr| self.entries.get(addr).is_some_and(|known| known.source == source);
        // It has most of the table, so one of the last is its, or else all that wait for a dial are better.
        let last = self.ready.iter().rev().take(PROBES).find(|(_, addr)| is_its(addr)).copied();
        let victim = last.filter(|(worst, _)| rank < *worst);
        victim.is_some_and(|(_, addr)| self.remove(addr).is_some())
    }

    /// How many a source has named.
    pub(super) fn of_source(&self, source: Source) -> usize {
        self.by_source[source as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &Candidate)> {
        self.entries.iter().map(|(&addr, candidate)| (addr, candidate))
    }

    pub(super) fn of_ip(&self, ip: IpAddr) -> impl Iterator<Item = (SocketAddr, &Candidate)> {
        self.within(ports_of(ip))
    }

    pub(super) fn within(
        &self,
        range: RangeInclusive<SocketAddr>,
    ) -> impl Iterator<Item = (SocketAddr, &Candidate)> {
        self.entries.range(range).map(|(&addr, candidate)| (addr, candidate))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn resting(&self) -> usize {
        self.resting.len()
    }

    pub(super) fn dialing(&self) -> usize {
        self.dialing
    }

    pub(super) fn check_invariants(&self) {
        let mut fresh = Table::default();
        self.iter().for_each(|(addr, candidate)| fresh.insert(addr, *candidate));
        assert_eq!(fresh.ready, self.ready);
        assert_eq!(fresh.waiting, self.waiting);
        assert_eq!(fresh.resting, self.resting);
        assert_eq!(fresh.by_source, self.by_source);
        assert_eq!((fresh.dialing, fresh.connected), (self.dialing, self.connected));
    }
}
