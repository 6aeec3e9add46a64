//! Local service discovery (BEP 14): which torrents are announced to the neighbours, and when.
//!
//! Every torrent is announced when it begins and every five minutes, and when a neighbour announces it, who
//! may have come after that. All of it goes through one pace: a datagram a second, which names as many torrents
//! as it takes for everyone's turn to come in time. So neither thousands of torrents nor neighbours who ask make
//! more than that. What is announced by datagram, where and to whom, is the shell's.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use wgo_proto::WireHash;
use wgo_proto::lsd::MAX_HASHES;

use crate::Time;

/// Between two announcements of a torrent (BEP 14).
const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Between two datagrams. BEP 14 asks for a minute, which would leave all but five torrents late; other
/// clients have settled for a second.
const PACE: Duration = Duration::from_secs(1);
/// Datagrams that there is time for in an [`INTERVAL`].
const TURNS: usize = 300;
/// A torrent that was announced so recently isn't announced again for a neighbour who could hear that: what comes
/// then is most likely an answer itself. Longer than an answer takes, or two would answer one another for ever.
const ANSWERED: Duration = Duration::from_secs(10);
/// A neighbour who was silent for so long is a new one.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// Neighbours that are remembered; when there are more, who was silent longest is forgotten, and answered at once
/// the next time.
const MAX_NEIGHBOURS: usize = 256;
/// How long an answer waits at most: the neighbours who all heard the same don't speak at once.
const SPREAD: Duration = Duration::from_millis(250);
/// How much longer it waits where the neighbour is dialled as well: that connection makes it needless, and two
/// that dial one another at the same moment may both hang up.
const DIALLED: Duration = Duration::from_secs(2);
/// A download is announced a second time so soon: datagrams to a group are lost easily, on Wi-Fi above all. Later
/// than [`ANSWERED`], so that whoever didn't answer the first does now.
const REPEAT: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// A download that nobody has heard of yet.
    First,
    /// All others.
    Regular,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    turn: Turn,
    due: Time,
    announced: Option<Time>,
    /// It is announced once more soon after the first time.
    repeats: bool,
}

/// When someone was heard.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    first: Time,
    last: Time,
}

/// The torrents that neighbours may know of.
#[derive(Debug)]
pub struct Announcer {
    torrents: BTreeMap<WireHash, Entry>,
    /// The same, by when they are due.
    due: BTreeSet<(Turn, Time, WireHash)>,
    /// Who is there, at most [`MAX_NEIGHBOURS`].
    neighbours: BTreeMap<SocketAddr, Neighbour>,
    /// No datagram before.
    next: Time,
    rng: fastrand::Rng,
}

impl Announcer {
    /// Knows of no torrent yet.
    pub fn new(seed: u64) -> Announcer {
        Announcer {
            torrents: BTreeMap::new(),
            due: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            next: Time::ZERO,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes part in a torrent from now on. One that needs peers goes before all others that are due. Nothing
    /// changes for one that is known.
    pub fn join(&mut self, now: Time, hash: WireHash, needs_peers: bool) {
        if !self.torrents.contains_key(&hash) {
            let turn = if needs_peers { Turn::First } else { Turn::Regular };
            self.set(hash, Entry { turn, due: now, announced: None, repeats: needs_peers });
        }
    }

    /// Takes part in it no longer.
    pub fn leave(&mut self, hash: WireHash) {
        if let Some(entry) = self.torrents.remove(&hash) {
            self.due.remove(&(entry.turn, entry.due, hash));
        }
    }

    /// The neighbour who listens at `from` takes part in a torrent. If that is one of ours, it is announced soon,
    /// unless the neighbour has just heard that; later where we also dial the neighbour. Whether it is one of ours.
    pub fn heard(&mut self, now: Time, hash: WireHash, from: SocketAddr, dialled: bool) -> bool {
        let Some(&entry) = self.torrents.get(&hash) else { return false };
        let since = self.there_since(now, from);
        let recent = entry.announced.is_some_and(|at| now.since(at) < ANSWERED && since < at);
        let spread = SPREAD.mul_f64(self.rng.f64());
        let answer = now + spread + if dialled { DIALLED } else { Duration::ZERO };
        if !recent && answer < entry.due {
            self.set(hash, Entry { due: answer, ..entry });
        }
        true
    }

    /// Since when a neighbour is there that is heard now.
    fn there_since(&mut self, now: Time, from: SocketAddr) -> Time {
        let known = self.neighbours.get(&from).filter(|known| now.since(known.last) < SILENCE);
        let first = known.map_or(now, |known| known.first);
        self.neighbours.insert(from, Neighbour { first, last: now });
        if self.neighbours.len() > MAX_NEIGHBOURS {
            let quietest = self.neighbours.iter().min_by_key(|(_, known)| known.last);
            if let Some((&addr, _)) = quietest {
                self.neighbours.remove(&addr);
            }
        }
        first
    }

    /// There are neighbours who heard nothing yet: all torrents are due, but for what was announced just now, of
    /// which they hear a little later, so that a link that comes and goes changes little.
    pub fn announce_all(&mut self, now: Time) {
        let all: Vec<_> = self.torrents.iter().map(|(&hash, &entry)| (hash, entry)).collect();
        for (hash, entry) in all {
            let free = entry.announced.map_or(now, |at| (at + REPEAT).max(now));
            self.set(hash, Entry { due: entry.due.min(free), ..entry });
        }
    }

    /// The torrents that the next datagram names, if it is time for one; they count as announced. At most
    /// [`MAX_HASHES`].
    pub fn take(&mut self, now: Time) -> Vec<WireHash> {
        if now < self.next {
            return Vec::new();
        }
        let room = self.torrents.len().div_ceil(TURNS).clamp(1, MAX_HASHES);
        let mut taken = Vec::new();
        while taken.len() < room
            && let Some(hash) = self.first_due().filter(|first| first.1 <= now).map(|first| first.2)
            && let Some(&entry) = self.torrents.get(&hash)
        {
            let pause = if entry.repeats { REPEAT } else { self.interval() };
            let entry = Entry { turn: Turn::Regular, due: now + pause, announced: Some(now), repeats: false };
            self.set(hash, entry);
            taken.push(hash);
        }
        if !taken.is_empty() {
            self.next = now + PACE;
        }
        taken
    }

    /// When there is something to [`take`](Self::take).
    pub fn poll_timeout(&self) -> Option<Time> {
        self.first_due().map(|first| first.1.max(self.next))
    }

    /// Whose turn it is, or comes first.
    fn first_due(&self) -> Option<(Turn, Time, WireHash)> {
        // Those that were never announced are due since they began.
        self.due.first().copied()
    }

    /// A tenth more or less, so that neighbours who began together drift apart.
    fn interval(&mut self) -> Duration {
        INTERVAL * self.rng.u32(900..=1100) / 1000
    }

    fn set(&mut self, hash: WireHash, entry: Entry) {
        if let Some(before) = self.torrents.insert(hash, entry) {
            self.due.remove(&(before.turn, before.due, hash));
        }
        self.due.insert((entry.turn, entry.due, hash));
    }

    /// Panics when the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        let due = self.torrents.iter().map(|(&hash, entry)| (entry.turn, entry.due, hash));
        assert_eq!(due.collect::<BTreeSet<_>>(), self.due);
        assert!(self.neighbours.len() <= MAX_NEIGHBOURS);
        let new = |entry: &&Entry| entry.turn == Turn::First;
        assert!(self.torrents.values().filter(new).all(|entry| entry.announced.is_none()));
    }
}

#[cfg(test)]
mod tests;
