//! Whose turn it is: each torrent is looked up, and we are announced for it, every quarter of an hour (BEP 5).
//!
//! Torrents that can't go on without peers come first and at once; the others follow at a pace that thousands of
//! them don't exceed, and then stay as far apart. What is looked up how is the caller's: it begins the lookups of a
//! [`Turn`] and tells what comes of them.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wgo_proto::InfoHashes;

use super::MAX_LOOKUPS;
use super::terms::{LookupId, Outcome};
use crate::time::Time;
use crate::units::TorrentId;

/// From the end of one round to the next. Nodes forget announces after half an hour.
pub const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Who found nobody, and needs somebody, or has still no metadata, tries again after this, then after twice as long, up
/// to [`INTERVAL`].
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// An operator's wish counts once in this time.
const FLOOR: Duration = Duration::from_secs(60);

/// Lookups of those that are in no hurry, at a time: the others find room at any time.
const UNHURRIED: usize = MAX_LOOKUPS / 2;

/// From one of these lookups to the next. 9000 in a quarter of an hour, at some 250 queries a second; with more
/// torrents the round takes longer.
const PACE: Duration = Duration::from_millis(100);

/// How much a torrent needs peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// It has all that is wanted: others may need it.
    Nothing,
    /// It lacks pieces.
    Pieces,
    /// It lacks its metadata.
    Metadata,
}

impl Need {
    /// That of a torrent whose metadata is known or not, and which has all that is wanted or not.
    pub fn of(known: bool, finished: bool) -> Need {
        match (known, finished) {
            (false, _) => Need::Metadata,
            (true, false) => Need::Pieces,
            (true, true) => Need::Nothing,
        }
    }
}

/// A torrent to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which.
    pub id: TorrentId,
    /// Its hashes; each is looked up.
    pub hashes: InfoHashes,
    /// What for.
    pub need: Need,
}

/// What came of the last round of a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Nodes that answered.
    pub answered: u32,
    /// Peers that were found, ourselves left out.
    pub peers: u32,
    /// Nodes that took the announce.
    pub stored: u32,
}

/// How a torrent stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// When its next round is due; `None` while one is under way.
    pub due: Option<Time>,
    /// When the last one ended, and what came of it.
    pub last: Option<(Time, Found)>,
}

#[derive(Debug)]
struct Entry {
    hashes: InfoHashes,
    need: Need,
    /// Among those in a hurry.
    hurried: bool,
    /// When it is due; `None` while it is under way.
    due: Option<Time>,
    /// Another round is to follow the one under way at once.
    again: bool,
    /// Lookups under way.
    running: u32,
    /// What the round has found so far.
    found: Found,
    last: Option<(Time, Found)>,
    retry: Duration,
}

/// The rounds of all torrents.
#[derive(Debug)]
pub struct Rounds {
    /// Bounded by the torrents.
    torrents: BTreeMap<TorrentId, Entry>,
    /// Those that are due, or will be: in a hurry, and not.
    hurried: BTreeSet<(Time, TorrentId)>,
    unhurried: BTreeSet<(Time, TorrentId)>,
    /// Whose each lookup is; at most [`MAX_LOOKUPS`].
    lookups: BTreeMap<LookupId, TorrentId>,
    /// The next of the unhurried isn't begun before.
    pace: Time,
    rng: fastrand::Rng,
}

impl Rounds {
    /// No torrents yet.
    pub fn new(seed: u64) -> Rounds {
        Rounds {
            torrents: BTreeMap::new(),
            hurried: BTreeSet::new(),
            unhurried: BTreeSet::new(),
            lookups: BTreeMap::new(),
            pace: Time::ZERO,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The torrent is to be looked up from now on, for these reasons. The caller keeps private ones away (BEP 27).
    /// Nothing happens to one that is known so already.
    pub fn join(&mut self, now: Time, id: TorrentId, hashes: InfoHashes, need: Need) {
        let Some(entry) = self.torrents.get_mut(&id) else {
            let entry = Entry {
                hashes,
                need,
                hurried: need > Need::Nothing,
                due: None,
                again: false,
                running: 0,
                found: Found::default(),
                last: None,
                retry: FIRST_RETRY,
            };
            self.torrents.insert(id, entry);
            return self.plan(id, now);
        };
        let others = entry.hashes != hashes;
        let more = need > entry.need;
        (entry.hashes, entry.need) = (hashes, need);
        if others || more {
            self.hurry(now, id);
        }
    }

    /// What a torrent needs has changed, for the rounds to come. Nothing happens to one that isn't looked up.
    pub fn set_need(&mut self, id: TorrentId, need: Need) {
        if let Some(entry) = self.torrents.get_mut(&id) {
            entry.need = need;
        }
    }

    /// The torrent is none of ours any more. Gives its lookups, which are to be cancelled.
    pub fn leave(&mut self, id: TorrentId) -> Vec<LookupId> {
        self.unplan(id);
        self.torrents.remove(&id);
        let of_it = |(lookup, of): (&LookupId, &TorrentId)| (*of == id).then_some(*lookup);
        let lookups: Vec<LookupId> = self.lookups.iter().filter_map(of_it).collect();
        self.lookups.retain(|_, of| *of != id);
        lookups
    }

    /// The operator wants it looked up now.
    pub fn look_now(&mut self, now: Time, id: TorrentId) {
        let fresh = |entry: &Entry| entry.last.is_some_and(|(at, _)| now.since(at) < FLOOR);
        if self.torrents.get(&id).is_some_and(|entry| !fresh(entry)) {
            self.hurry(now, id);
        }
    }

    /// We are somewhere else in the network: where nodes say we are, nobody is. The next round of each torrent is due,
    /// in its order and at its pace.
    pub fn moved(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            let Some(entry) = self.torrents.get_mut(&id) else { continue };
            entry.retry = FIRST_RETRY;
            if entry.due.is_none() {
                // What the round under way tells goes nowhere.
                entry.again = true;
                continue;
            }
            self.unplan(id);
            self.plan(id, now);
        }
    }

    /// All lookups have ended without a word, as when the node ends.
    pub fn forget_lookups(&mut self, now: Time) {
        let mut ids: Vec<TorrentId> = std::mem::take(&mut self.lookups).into_values().collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(entry) = self.torrents.get_mut(&id) {
                (entry.running, entry.again, entry.found) = (0, false, Found::default());
            }
            self.plan(id, now);
        }
    }

    /// The next torrent to be looked up, while so many lookups are free. Each of its hashes takes `width` of
    /// them, one for each family. Of those without hurry there is none while the node isn't `ready`. What is begun
    /// is reported with [`began`](Self::began), then [`settle`](Self::settle) is called.
    pub fn next(&mut self, now: Time, free: usize, width: usize, ready: bool) -> Option<Turn> {
        let fits = |id: &TorrentId| self.torrents.get(id).is_some_and(|entry| cost(entry, width) <= free);
        let due = |set: &BTreeSet<(Time, TorrentId)>| {
            set.first().filter(|(at, id)| *at <= now && fits(id)).map(|(_, id)| *id)
        };
        let routine = || due(&self.unhurried).filter(|_| ready && self.pace <= now && self.has_room());
        let id = due(&self.hurried).or_else(routine)?;
        self.unplan(id);
        let entry = self.torrents.get_mut(&id)?;
        entry.found = Found::default();
        if !entry.hurried {
            self.pace = now + PACE * u32::try_from(cost(entry, width)).unwrap_or(u32::MAX);
        }
        Some(Turn { id, hashes: entry.hashes, need: entry.need })
    }

    /// When [`next`](Self::next) may give something, as things are: with more room or when the node is ready it may
    /// be sooner.
    pub fn poll_timeout(&self, free: usize, width: usize, ready: bool) -> Option<Time> {
        let fits = |id: &TorrentId| self.torrents.get(id).is_some_and(|entry| cost(entry, width) <= free);
        let first =
            |set: &BTreeSet<(Time, TorrentId)>| set.first().filter(|(_, id)| fits(id)).map(|(at, _)| *at);
        let routine = first(&self.unhurried).filter(|_| ready && self.has_room()).map(|at| at.max(self.pace));
        first(&self.hurried).into_iter().chain(routine).min()
    }

    /// A lookup of a torrent's turn is under way.
    pub fn began(&mut self, lookup: LookupId, id: TorrentId) {
        if let Some(entry) = self.torrents.get_mut(&id) {
            entry.running += 1;
            self.lookups.insert(lookup, id);
        }
    }

    /// All lookups of a turn have begun, which may be none.
    pub fn settle(&mut self, now: Time, id: TorrentId) {
        if self.torrents.get(&id).is_some_and(|entry| entry.running == 0 && entry.due.is_none()) {
            self.round_over(now, id);
        }
    }

    /// Whose a lookup is.
    pub fn torrent_of(&self, lookup: LookupId) -> Option<TorrentId> {
        self.lookups.get(&lookup).copied()
    }

    /// A lookup has found so many peers that aren't ourselves.
    pub fn found(&mut self, lookup: LookupId, peers: usize) {
        if let Some(entry) = self.lookups.get(&lookup).and_then(|id| self.torrents.get_mut(id)) {
            let peers = u32::try_from(peers).unwrap_or(u32::MAX);
            entry.found.peers = entry.found.peers.saturating_add(peers);
        }
    }

    /// A lookup has ended.
    pub fn done(&mut self, now: Time, lookup: LookupId, outcome: &Outcome) {
        let Some(id) = self.lookups.remove(&lookup) else { return };
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.running -= 1;
        entry.found.answered += outcome.answered;
        entry.found.stored += outcome.stored;
        if entry.running == 0 {
            self.round_over(now, id);
        }
    }

    /// How a torrent stands.
    pub fn view(&self, id: TorrentId) -> Option<View> {
        self.torrents.get(&id).map(|entry| View { due: entry.due, last: entry.last })
    }

    /// Torrents that are looked up.
    pub fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.torrents.is_empty()
    }

    fn has_room(&self) -> bool {
        let unhurried = |id: &&TorrentId| self.torrents.get(id).is_some_and(|entry| !entry.hurried);
        self.lookups.values().filter(unhurried).count() < UNHURRIED
    }

    fn round_over(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.last = Some((now, entry.found));
        let at_once = std::mem::take(&mut entry.again);
        // Nobody there at all, or nobody who has it: who needs nobody is in no hurry, but isn't announced either.
        let vain = match entry.need {
            Need::Nothing => entry.found.answered == 0,
            Need::Pieces => entry.found.peers == 0,
            // Whoever was found hasn't given it: many are gone, or nobody can reach them.
            Need::Metadata => true,
        };
        let wait = match (at_once, vain) {
            (true, _) => Duration::ZERO,
            (false, true) => {
                let wait = entry.retry;
                entry.retry = (entry.retry * 2).min(INTERVAL);
                wait
            }
            (false, false) => {
                entry.retry = FIRST_RETRY;
                INTERVAL
            }
        };
        entry.hurried = at_once && entry.hurried || entry.need == Need::Metadata;
        // Torrents that began together must not stay together.
        let due = now + wait * self.rng.u32(900..=1100) / 1000;
        self.plan(id, due);
    }

    /// It goes ahead of those that are in no hurry, after the round that is under way.
    fn hurry(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.retry = FIRST_RETRY;
        if entry.due.is_none() {
            entry.again = true;
            entry.hurried = true;
            return;
        }
        self.unplan(id);
        if let Some(entry) = self.torrents.get_mut(&id) {
            entry.hurried = true;
        }
        self.plan(id, now);
    }

    fn plan(&mut self, id: TorrentId, due: Time) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.due = Some(due);
        if entry.hurried { &mut self.hurried } else { &mut self.unhurried }.insert((due, id));
    }

    fn unplan(&mut self, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if let Some(due) = entry.due.take() {
            if entry.hurried { &mut self.hurried } else { &mut self.unhurried }.remove(&(due, id));
        }
    }

    /// Panics when the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        let planned = self.hurried.len() + self.unhurried.len();
        assert_eq!(planned, self.torrents.values().filter(|entry| entry.due.is_some()).count());
        for (id, entry) in &self.torrents {
            let running = self.lookups.values().filter(|of| *of == id).count();
            assert_eq!(running, entry.running as usize, "{id:?}");
            if let Some(due) = entry.due {
                assert_eq!(running, 0, "{id:?} waits and is under way");
                assert_eq!(self.hurried.contains(&(due, *id)), entry.hurried, "{id:?}");
                assert_eq!(self.unhurried.contains(&(due, *id)), !entry.hurried, "{id:?}");
            }
        }
    }
}

/// Lookups of one round.
fn cost(entry: &Entry, width: usize) -> usize {
    entry.hashes.wire().count() * width.max(1)
}

#[cfg(test)]
mod tests;
