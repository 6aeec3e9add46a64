//! One iterative lookup (BEP 5): asks ever closer nodes until the closest have answered.
//!
//! It is made to reach the honest nodes around its target although others want to be found in their place:
//!
//! * Nodes whose id fits their address (BEP 42) decide when the lookup has ended. Of others a few are asked, more
//!   only where there are too few secure ones.
//! * The lookup goes along [`PATHS`] paths: a candidate belongs to the path that named it first, requests are
//!   spread evenly over the paths, and each path asks its own closest ones too. So one liar, who names nodes that
//!   don't exist or are his own, leads one path astray and not the others (as in S/Kademlia).
//! * A host counts once, a network few times, and one answer adds few candidates.
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use smallvec::SmallVec;
use wgo_proto::NodeId;
use wgo_proto::krpc::{Contact, Distance};

use super::address::{host, subnet};
use super::secure_id::is_secure;
use super::table::K;

/// Requests under way that are not overdue (Kademlia's alpha), and paths.
pub(super) const PATHS: usize = 4;

/// Of each path so many of the closest are asked, even when other paths know closer ones.
const OF_PATH: usize = 3;

/// Nodes asked at most. A lookup in the public DHT takes 20 to 40.
const MAX_REQUESTS: u32 = 128;

/// Candidates at most; then the farthest is forgotten. 150 bytes each.
const MAX_CANDIDATES: usize = 96;

/// Candidates of one network.
const MAX_OF_SUBNET: usize = 3;

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
    /// Unknown for the addresses that a bootstrap begins with.
    id: Option<NodeId>,
    /// The largest while the id is unknown.
    distance: Distance,
    secure: bool,
    path: usize,
    state: State,
    token: Option<Token>,
}

impl Candidate {
    /// Whether it counts among the closest: it has answered or is expected to.
    fn is_live(&self) -> bool {
        matches!(self.state, State::New | State::Asked | State::Answered)
    }
}

/// Someone who can be given an announce or an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storer {
    pub(super) addr: SocketAddr,
    pub(super) token: Token,
}

/// The nodes of one lookup.
#[derive(Debug)]
pub(super) struct Lookup {
    target: NodeId,
    enforce: bool,
    /// The closest first; at most [`MAX_CANDIDATES`].
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
        let Some(path) = self.position(from).map(|at| self.candidates[at].path) else { return };
        let mut contacts: Vec<_> = contacts.collect();
        contacts.sort_unstable_by_key(|contact| contact.id.distance(self.target));
        let mut added = 0;
        for contact in contacts {
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
        let waits = self.candidates.iter().any(|candidate| candidate.state == State::Asked);
        !waits && (self.requests >= MAX_REQUESTS || self.useful().is_empty())
    }

    /// The closest nodes that gave a token: secure ones, then others up to [`K`].
    pub(super) fn storers(&self) -> Vec<Storer> {
        let of = |secure| self.candidates.iter().filter(move |candidate| candidate.secure == secure);
        let storer = |candidate: &Candidate| {
            let token = candidate.token.clone()?;
            Some(Storer { addr: candidate.addr, token })
        };
        of(true).chain(of(false)).filter_map(storer).take(K).collect()
    }

    /// Positions of those not asked yet who are worth it.
    fn useful(&self) -> SmallVec<[usize; 24]> {
        let live = |secure| {
            self.candidates.iter().filter(move |known| known.secure == secure && known.is_live()).count()
        };
        let insecure_allowed = !self.enforce && (self.insecure_requests < MAX_INSECURE || live(true) < K);
        let mut ranks = [0; 2];
        let mut of_path = [[0; 2]; PATHS];
        let mut useful = SmallVec::new();
        for (at, candidate) in self.candidates.iter().enumerate().filter(|(_, known)| known.is_live()) {
            let class = usize::from(candidate.secure);
            let (rank, in_path) = (ranks[class], of_path[candidate.path][class]);
            ranks[class] += 1;
            of_path[candidate.path][class] += 1;
            let close = rank < K || candidate.secure && in_path < OF_PATH;
            // The addresses of a bootstrap are nobody's rivals.
            let eligible = candidate.id.is_none() || close && (candidate.secure || insecure_allowed);
            if candidate.state == State::New && eligible {
                useful.push(at);
            }
        }
        useful
    }

    fn add(&mut self, addr: SocketAddr, id: Option<NodeId>, path: usize) -> bool {
        let secure = id.is_some_and(|id| is_secure(id, addr.ip()));
        let network = subnet(addr);
        let known = |known: &Candidate| host(known.addr) == host(addr) || id.is_some() && known.id == id;
        let neighbours = self.candidates.iter().filter(|known| subnet(known.addr) == network).count();
        if self.candidates.iter().any(known)
            || network.is_some() && neighbours >= MAX_OF_SUBNET
            || id.is_some() && self.enforce && !secure
        {
            return false;
        }
        let distance = id.map_or(Distance([0xff; 20]), |id| id.distance(self.target));
        let candidate = Candidate { addr, id, distance, secure, path, state: State::New, token: None };
        if self.candidates.len() >= MAX_CANDIDATES {
            // Those that are waited for must be found again.
            let farthest =
                self.candidates.iter().rposition(|known| !matches!(known.state, State::Asked | State::Late));
            match farthest {
                Some(at) if self.candidates[at].distance > distance => drop(self.candidates.remove(at)),
                _ => return false,
            }
        }
        self.place(candidate);
        true
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
        assert!(self.candidates.len() <= MAX_CANDIDATES && self.requests <= MAX_REQUESTS);
        assert!(self.candidates.is_sorted_by_key(|candidate| candidate.distance));
        assert!(self.candidates.iter().all(|known| known.path < PATHS));
        let asked = self.candidates.iter().filter(|known| known.state == State::Asked).count();
        assert!(asked <= PATHS, "{asked} requests under way");
    }
}
