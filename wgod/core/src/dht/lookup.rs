//! One iterative lookup (BEP 5): asks ever closer nodes until the closest have answered.
//!
//! It is made to reach the honest nodes around its target although others want to be found in their place:
//!
//! * Nodes whose id fits their address (BEP 42) decide when the lookup has ended. Of others a few are asked, more
//!   only where there are too few secure ones.
//! * The lookup goes along [`PATHS`] paths: a candidate belongs to the path that named it first, requests are
//!   spread evenly over the paths, and nobody can crowd out the candidates of other paths. So a liar, who names nodes
//!   that don't exist or are his own, leads one path astray and not the others (as in S/Kademlia).
//! * It is not only the closest who are asked, but a few at each distance on the way.
//! * A host counts once, a network few times, and one answer adds few candidates.
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;
use wgo_proto::NodeId;
use wgo_proto::krpc::{Contact, Distance};

use super::address::{Host, host, subnet};
use super::secure_id::is_secure;
use super::table::K;

/// Requests under way that are not overdue (Kademlia's alpha), and paths.
pub(super) const PATHS: usize = 4;

/// So many are asked at each level, which is the number of bits that an id has in common with the target, although
/// closer ones are known: of the levels from the closest node's that has answered, up to [`LEVELS`] above. A gang around the target
/// names itself only; who is a little farther away has others in his table, too.
const OF_LEVEL: usize = 3;
const LEVELS: u32 = 6;

/// Nodes asked at most. A lookup in the public DHT takes 20 to 40.
const MAX_REQUESTS: u32 = 128;

/// Candidates of one path; when there are more, those that failed are forgotten first, then those whose id doesn't
/// fit, then the farthest: so nobody can crowd out what other paths have found. 200 bytes each, 20 KiB in all.
const MAX_OF_PATH: usize = 24;

/// Candidates of one network.
const MAX_OF_SUBNET: usize = 2;

/// Candidates that one answer can add.
const MAX_OF_ANSWER: usize = 8;

/// Nodes with a wrong id that are asked although there are enough with a right one.
const MAX_INSECURE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    New,
    /// Asked not long ago.
    Asked,
    /// Overdue: another is asked in its place, but it may still answer.
    Late,
    Answered,
    Failed,
}

/// A write token (BEP 5); its length is bounded by the codec.
pub(super) type Token = SmallVec<[u8; 24]>;

#[derive(Debug)]
struct Candidate {
    addr: SocketAddr,
    host: Host,
    network: Option<IpAddr>,
    /// Unknown for the addresses that a bootstrap begins with.
    id: Option<NodeId>,
    /// The largest while the id is unknown.
    distance: Distance,
    secure: bool,
    /// Given by its address only.
    is_router: bool,
    path: usize,
    state: State,
    token: Option<Token>,
}

impl Candidate {
    /// Whether it counts among the closest: it has answered or is expected to.
    fn is_live(&self) -> bool {
        matches!(self.state, State::New | State::Asked | State::Answered)
    }

    /// Bits that it has in common with the target.
    fn level(&self) -> u32 {
        self.distance.leading_zeros()
    }
}

/// Someone who can be given an announce or an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storer {
    pub(super) addr: SocketAddr,
    pub(super) token: Token,
    /// It was told before and didn't answer.
    pub(super) again: bool,
}

/// The nodes of one lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    target: NodeId,
    enforce: bool,
    /// The closest first; at most [`MAX_OF_PATH`] of each path.
    candidates: Vec<Candidate>,
    requests: u32,
    answers: u32,
    insecure_requests: usize,
    seeds: usize,
}

impl Lookup {
    /// `enforce`: nodes whose id doesn't fit their address are not asked at all.
    pub(super) fn new(target: NodeId, enforce: bool) -> Lookup {
        Lookup {
            target,
            enforce,
            candidates: Vec::new(),
            requests: 0,
            answers: 0,
            insecure_requests: 0,
            seeds: 0,
        }
    }

    pub(super) fn target(&self) -> NodeId {
        self.target
    }

    /// Nodes asked so far.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// Nodes that have answered.
    pub(super) fn answers(&self) -> u32 {
        self.answers
    }

    /// A node to begin with, on a path of its own.
    pub(super) fn seed(&mut self, addr: SocketAddr, id: Option<NodeId>) {
        let path = self.seeds % PATHS;
        self.seeds += usize::from(self.add(addr, id, path));
    }

    /// The next node to ask, who counts as asked then; `None` while enough are being asked.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let mut under_way = [0usize; PATHS];
        for candidate in self.candidates.iter().filter(|candidate| candidate.state == State::Asked) {
            under_way[candidate.path] += 1;
        }
        if under_way.iter().sum::<usize>() >= PATHS || self.requests >= MAX_REQUESTS {
            return None;
        }
        let useful = self.useful();
        let best = useful.into_iter().min_by_key(|&at| {
            let candidate = &self.candidates[at];
            (under_way[candidate.path], !candidate.secure, candidate.distance)
        })?;
        let candidate = &mut self.candidates[best];
        candidate.state = State::Asked;
        self.requests += 1;
        self.insecure_requests += usize::from(!candidate.secure);
        Some(candidate.addr)
    }

    /// A node has answered, as whoever it is. Whom it names is added by the caller through [`Lookup::named`].
    pub(super) fn on_answer(&mut self, addr: SocketAddr, id: NodeId, token: Option<&[u8]>) {
        let Some(at) = self.position(addr) else { return };
        let mut candidate = self.candidates.remove(at);
        if matches!(candidate.state, State::Asked | State::Late) {
            candidate.state = State::Answered;
            candidate.token = token.map(Token::from_slice);
            self.answers += 1;
        }
        candidate.id = Some(id);
        candidate.distance = id.distance(self.target);
        candidate.secure = is_secure(id, addr.ip());
        self.place(candidate);
    }

    /// What the node at `from` named, the closest few of it. Plausibility is the caller's to judge.
    pub(super) fn named(&mut self, from: SocketAddr, contacts: impl Iterator<Item = Contact>) {
        let Some(at) = self.position(from) else { return };
        let (path, is_router) = (self.candidates[at].path, self.candidates[at].is_router);
        let mut contacts: Vec<_> = contacts.collect();
        contacts.sort_unstable_by_key(|contact| contact.id.distance(self.target));
        let mut added = 0;
        for contact in contacts {
            // Whoever begins with a router alone shall have all paths, too.
            let path = if is_router { (path + added) % PATHS } else { path };
            added += usize::from(self.add(contact.addr, Some(contact.id), path));
            if added == MAX_OF_ANSWER {
                break;
            }
        }
    }

    /// An answer is overdue.
    pub(super) fn on_late(&mut self, addr: SocketAddr) {
        self.set(addr, State::Late);
    }

    /// No answer will come, or none that counts.
    pub(super) fn on_failure(&mut self, addr: SocketAddr) {
        self.set(addr, State::Failed);
    }

    /// Whether nobody is left who should be asked or waited for.
    pub(super) fn is_settled(&self) -> bool {
        // Where few answer, as while our own network is slow, those that are late are waited for, too.
        let few = self.answers < K as u32;
        let is_awaited = |known: &Candidate| known.state == State::Asked || few && known.state == State::Late;
        let waits = self.candidates.iter().any(is_awaited);
        !waits && (self.requests >= MAX_REQUESTS || self.useful().is_empty())
    }

    /// Up to [`K`] of the closest nodes that gave a token: secure ones of different networks, then other secure
    /// ones, then others.
    pub(super) fn storers(&self) -> Vec<Storer> {
        let mut able: Vec<_> = self.candidates.iter().filter(|known| known.token.is_some()).collect();
        let mut networks = BTreeSet::new();
        // The sort is stable: among equals the closest come first.
        able.sort_by_cached_key(|known| {
            let is_first = known.network.is_none_or(|network| networks.insert(network));
            (!known.secure, !is_first)
        });
        let storer =
            |known: &Candidate| Some(Storer { addr: known.addr, token: known.token.clone()?, again: false });
        able.into_iter().filter_map(storer).take(K).collect()
    }

    /// Positions of those not asked yet who are worth it.
    fn useful(&self) -> SmallVec<[usize; 24]> {
        let live = |secure| {
            self.candidates.iter().filter(move |known| known.secure == secure && known.is_live()).count()
        };
        let insecure_allowed = !self.enforce && (self.insecure_requests < MAX_INSECURE || live(true) < K);
        // Only of those who have answered: anybody can name nodes that are nearer than all others.
        let has_answered = |known: &&Candidate| known.secure && known.state == State::Answered;
        let nearest = self.candidates.iter().find(has_answered).map_or(0, Candidate::level);
        let mut ranks = [0; 2];
        let mut levels: SmallVec<[u32; 24]> = SmallVec::new();
        let mut useful = SmallVec::new();
        let mut networks: SmallVec<[IpAddr; 24]> = SmallVec::new();
        for (at, candidate) in self.candidates.iter().enumerate().filter(|(_, known)| known.is_live()) {
            // A network counts once: who has many addresses in it takes no more places than others.
            match candidate.network {
                Some(network) if networks.contains(&network) => continue,
                network => networks.extend(network),
            }
            let class = usize::from(candidate.secure);
            let (rank, level) = (ranks[class], candidate.level());
            ranks[class] += 1;
            let at_level = levels.iter().filter(|known| **known == level).count();
            if candidate.secure {
                levels.push(level);
            }
            let is_on_the_way = level + LEVELS >= nearest && at_level < OF_LEVEL;
            let close = rank < K || candidate.secure && is_on_the_way;
            // The addresses of a bootstrap are nobody's rivals.
            let eligible = candidate.is_router || close && (candidate.secure || insecure_allowed);
            if candidate.state == State::New && eligible {
                useful.push(at);
            }
        }
        useful
    }

    fn add(&mut self, addr: SocketAddr, id: Option<NodeId>, path: usize) -> bool {
        let secure = id.is_some_and(|id| is_secure(id, addr.ip()));
        if id.is_some() && self.enforce && !secure {
            return false;
        }
        let (host, network) = (host(addr), subnet(addr));
        // Not by id: whoever named an honest node's id with another address would hide that node.
        if self.candidates.iter().any(|known| known.host == host) {
            return false;
        }
        let distance = id.map_or(Distance([0xff; 20]), |id| id.distance(self.target));
        let state = State::New;
        let (is_router, token) = (id.is_none(), None);
        let candidate =
            Candidate { addr, host, network, id, distance, secure, is_router, path, state, token };
        let has_room = (network.is_none()
            || self.make_room(&candidate, MAX_OF_SUBNET, |known| known.network == network))
            && self.make_room(&candidate, MAX_OF_PATH, |known| known.path == path);
        if has_room {
            self.place(candidate);
        }
        has_room
    }

    /// Makes room among some candidates, of which there may be `max`, if one of them is worth less than a newcomer.
    fn make_room(&mut self, newcomer: &Candidate, max: usize, of: impl Fn(&Candidate) -> bool) -> bool {
        let worth = |known: &Candidate| (known.state == State::Failed, !known.secure, known.distance);
        let rivals = self.candidates.iter().enumerate().filter(|(_, known)| of(known));
        if rivals.clone().count() < max {
            return true;
        }
        // Those that are waited for must be found again, and those that have answered are worth more than a name.
        let spare = rivals.filter(|(_, known)| matches!(known.state, State::New | State::Failed));
        match spare.max_by_key(|(_, known)| worth(known)) {
            Some((at, least)) if worth(newcomer) < worth(least) => {
                self.candidates.remove(at);
                true
            }
            _ => false,
        }
    }

    fn place(&mut self, candidate: Candidate) {
        let at = self.candidates.partition_point(|known| known.distance <= candidate.distance);
        self.candidates.insert(at, candidate);
    }

    fn set(&mut self, addr: SocketAddr, state: State) {
        if let Some(at) = self.position(addr)
            && matches!(self.candidates[at].state, State::Asked | State::Late)
        {
            self.candidates[at].state = state;
        }
    }

    fn position(&self, addr: SocketAddr) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.addr == addr)
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub(super) fn check_invariants(&self) {
        assert!(self.requests <= MAX_REQUESTS);
        assert!(self.candidates.is_sorted_by_key(|candidate| candidate.distance));
        for path in 0..PATHS {
            assert!(self.candidates.iter().filter(|known| known.path == path).count() <= MAX_OF_PATH);
        }
        let asked = self.candidates.iter().filter(|known| known.state == State::Asked).count();
        assert!(asked <= PATHS, "{asked} requests under way");
    }
}
