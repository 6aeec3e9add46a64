//! Whom we are connected to, as far as others can reach them, in the order in which they came and went: peer exchange
//! tells each peer from it what it has not been told (BEP 11).
//!
//! Nobody's view is kept. A peer has a cursor: it knows whoever came before that, but for those who left before that.
//! Whoever comes and leaves while it isn't told anything is never mentioned to it.
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::peer::exchange::Cursor;
use crate::units::PeerKey;

/// Departures that are kept for those who haven't been told; when there are more, the oldest are forgotten, and some
/// peers go on believing that we are connected to them, which costs a dial.
pub(super) const MAX_LEFT: usize = 512;

/// Somebody who left.
#[derive(Clone, Copy, Debug)]
struct Departure {
    at: u64,
    addr: SocketAddr,
    came: u64,
}

/// What somebody is told at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Who is connected now.
    pub(super) came: Vec<(SocketAddr, PeerKey)>,
    /// Who is connected no more.
    pub(super) left: Vec<SocketAddr>,
}

/// The contacts of one torrent. Bounded by its connections and [`MAX_LEFT`].
#[derive(Debug, Default)]
pub(in crate::swarm) struct Contacts {
    /// Number of the next change.
    end: u64,
    /// Those who are here, by the number of their arrival.
    here: BTreeMap<u64, (SocketAddr, PeerKey)>,
    addrs: BTreeMap<SocketAddr, u64>,
    /// The oldest first.
    departures: VecDeque<Departure>,
}

impl Contacts {
    /// A peer can be reached at `addr`. Gives the number of its arrival; `None` when another has the same address.
    pub(super) fn come(&mut self, addr: SocketAddr, key: PeerKey) -> Option<u64> {
        if self.addrs.contains_key(&addr) {
            return None;
        }
        let at = self.next();
        self.here.insert(at, (addr, key));
        self.addrs.insert(addr, at);
        Some(at)
    }

    /// The peer that came so is gone.
    pub(super) fn leave(&mut self, came: u64) {
        let Some((addr, _)) = self.here.remove(&came) else { return };
        self.addrs.remove(&addr);
        if self.departures.len() == MAX_LEFT {
            self.departures.pop_front();
        }
        let at = self.next();
        self.departures.push_back(Departure { at, addr, came });
    }

    fn next(&mut self) -> u64 {
        self.end += 1;
        self.end - 1
    }

    /// Whether there may be news behind a cursor.
    pub(super) fn has_news(&self, cursor: Cursor) -> bool {
        cursor.left < self.end || cursor.came < self.end
    }

    /// Takes the first news behind a cursor, `most` of each kind, of the addresses that are `wanted`. Arrivals wait
    /// until all departures are told: those are told of whom was told of before.
    pub(super) fn take(
        &self,
        cursor: &mut Cursor,
        most: usize,
        wanted: impl Fn(SocketAddr, Option<PeerKey>) -> bool,
    ) -> News {
        let mut news = News::default();
        let first = self.departures.partition_point(|departure| departure.at < cursor.left);
        for departure in self.departures.range(first..) {
            if departure.came < cursor.came && wanted(departure.addr, None) {
                if news.left.len() == most {
                    cursor.left = departure.at;
                    return news;
                }
                news.left.push(departure.addr);
            }
        }
        cursor.left = self.end;
        for (&at, &(addr, key)) in self.here.range(cursor.came..) {
            if wanted(addr, Some(key)) {
                if news.came.len() == most {
                    cursor.came = at;
                    return news;
                }
                news.came.push((addr, key));
            }
        }
        cursor.came = self.end;
        news
    }

    /// Forgets the departures that everybody has been told of.
    pub(super) fn trim(&mut self, lowest: u64) {
        while self.departures.front().is_some_and(|departure| departure.at < lowest) {
            self.departures.pop_front();
        }
    }
}

impl Contacts {
    /// Panics when the state contradicts itself. `peers` are the arrivals of all connections.
    pub(super) fn check_invariants(&self, peers: impl Iterator<Item = (u64, PeerKey)>) {
        let mut peers: Vec<_> = peers.collect();
        peers.sort_unstable();
        assert_eq!(peers, self.here.iter().map(|(&at, &(_, key))| (at, key)).collect::<Vec<_>>(), "contacts");
        assert_eq!(self.here.len(), self.addrs.len());
        assert!(self.here.iter().all(|(at, (addr, _))| self.addrs.get(addr) == Some(at)));
        assert!(self.departures.len() <= MAX_LEFT);
        let departures = || self.departures.iter();
        assert!(departures().zip(departures().skip(1)).all(|(one, next)| one.at < next.at));
        assert!(departures().all(|departure| departure.came < departure.at && departure.at < self.end));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([81, 0, 0, n], 7000))
    }

    fn key(n: u8) -> PeerKey {
        PeerKey { slot: n.into(), generation: 0 }
    }

    fn all(contacts: &Contacts, cursor: &mut Cursor) -> News {
        contacts.take(cursor, 100, |_, _| true)
    }

    #[test]
    fn each_cursor_sees_what_changed_since() {
        let mut contacts = Contacts::default();
        let one = contacts.come(addr(1), key(1)).unwrap();
        assert_eq!(contacts.come(addr(1), key(9)), None, "the address is taken");
        let mut early = Cursor::default();
        assert_eq!(all(&contacts, &mut early).came, [(addr(1), key(1))]);
        assert!(!contacts.has_news(early));
        let two = contacts.come(addr(2), key(2)).unwrap();
        contacts.leave(one);
        contacts.leave(two);
        contacts.leave(two);
        let three = contacts.come(addr(3), key(3)).unwrap();
        assert!(contacts.has_news(early));
        let came = vec![(addr(3), key(3))];
        assert_eq!(all(&contacts, &mut early), News { came: came.clone(), left: vec![addr(1)] });
        assert_eq!(all(&contacts, &mut early), News::default());
        assert_eq!(all(&contacts, &mut Cursor::default()), News { came, left: vec![] });
        contacts.trim(contacts.end);
        assert!(contacts.departures.is_empty());
        contacts.check_invariants([(three, key(3))].into_iter());
    }

    #[test]
    fn no_more_is_told_at_once_than_may_be_and_the_rest_later() {
        let mut contacts = Contacts::default();
        let came: Vec<_> = (0..7).map(|n| contacts.come(addr(n), key(n)).unwrap()).collect();
        let mut cursor = Cursor::default();
        let take = |contacts: &Contacts, cursor: &mut Cursor| {
            let news = contacts.take(cursor, 3, |_, _| true);
            (news.came.len(), news.left.len())
        };
        assert_eq!(take(&contacts, &mut cursor), (3, 0));
        assert_eq!(take(&contacts, &mut cursor), (3, 0));
        came.iter().for_each(|came| contacts.leave(*came));
        contacts.come(addr(8), key(8)).unwrap();
        assert_eq!(take(&contacts, &mut cursor), (0, 3), "six of those who left were told of");
        assert_eq!(take(&contacts, &mut cursor), (1, 3));
        assert!(!contacts.has_news(cursor));
    }

    #[test]
    fn departures_that_nobody_asks_about_are_forgotten() {
        let mut contacts = Contacts::default();
        for _ in 0..10_000 {
            let came = contacts.come(addr(1), key(1)).unwrap();
            contacts.leave(came);
        }
        assert_eq!(contacts.departures.len(), MAX_LEFT);
        contacts.check_invariants(std::iter::empty());
    }

    proptest! {
        /// Readers that ask at any time, and are told any number of things at a time, know who is here when they have
        /// heard all; and nobody is told twice of the same, nor of the end of what it was never told of.
        #[test]
        fn readers_know_who_is_here(steps in prop::collection::vec((0u8..4, 0u8..12, 1usize..6), 1..300)) {
            let mut contacts = Contacts::default();
            let mut here: BTreeMap<u8, u64> = BTreeMap::new();
            let mut readers: [(Cursor, BTreeSet<SocketAddr>); 3] = Default::default();
            for (what, who, most) in steps {
                match (what, here.get(&who)) {
                    (0 | 1, None) => _ = here.insert(who, contacts.come(addr(who), key(who)).unwrap()),
                    (0 | 1, Some(&came)) => {
                        contacts.leave(came);
                        here.remove(&who);
                    }
                    (2, _) => {
                        let (cursor, known) = &mut readers[usize::from(who) % 3];
                        let news = contacts.take(cursor, most, |_, _| true);
                        prop_assert!(news.came.len() <= most && news.left.len() <= most);
                        news.left.iter().for_each(|addr| assert!(known.remove(addr), "never told of it"));
                        news.came.iter().for_each(|(addr, _)| assert!(known.insert(*addr), "told twice"));
                        if !contacts.has_news(*cursor) {
                            prop_assert_eq!(&*known, &here.keys().map(|who| addr(*who)).collect());
                        }
                    }
                    _ => contacts.trim(readers.iter().map(|reader| reader.0.left).min().unwrap()),
                }
                contacts.check_invariants(here.iter().map(|(who, came)| (*came, key(*who))));
            }
        }
    }
}
