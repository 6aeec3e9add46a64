//! The orders in which peers get regular and optimistic slots.
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::{Candidate, NEWCOMER_WEIGHT, OPTIMISTIC_TURN, SeedingRule, Standing, Turn};

/// A turn that ends only by time ends after this, so that the slowest taker keeps nobody waiting.
const TURN_MAX: Duration = Duration::from_secs(60);
/// No turn ends sooner: TCP needs the time to come up to speed (BEP 3 warns of fibrillation).
const TURN_MIN: Duration = Duration::from_secs(20);
/// Past [`TURN_MIN`] a turn ends with so many bytes taken.
const TURN_BYTES: u64 = 32 << 20;

/// Who has taken so much within a turn takes steadily, and is in the midst of his first pieces: if the slot went to the
/// next then, nobody could go on with them, and the seed of a new torrent would send all of it several times.
const SLOW_TAKES: Range<u64> = 128 << 10..4 << 20;
/// So his turn ends by time after this only,
const SLOW_TURN_MAX: Duration = Duration::from_secs(180);
/// and in an optimistic slot after this.
const SLOW_OPTIMISTIC_MAX: Duration = Duration::from_secs(90);

/// The candidates and what their order depends on. Results are positions in `candidates`.
pub(super) struct Order<'a> {
    pub(super) candidates: &'a [Candidate],
    pub(super) seeding: SeedingRule,
    pub(super) seed: u64,
}

/// Smaller is better: first by merit, among equals by turn, then by chance.
type Rank = (Reverse<u64>, TurnRank, u64);

/// Where a peer is in the round-robin; earlier variants keep or get a slot first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum TurnRank {
    /// Uses its slot and has time left; who took least is surest of it.
    InTurn { taken: u64 },
    /// Waits; longest first.
    Waiting(Reverse<Duration>),
    /// Is being served anyhow, and may stay beyond its optimistic slot if nobody waits.
    InOptimisticSlot,
    /// Had its turn, and keeps the slot only if nobody else wants it; who took least first.
    TurnOver { taken: u64 },
}

impl Order<'_> {
    /// All that `take` accepts, best first.
    pub(super) fn sorted(&self, take: impl Fn(&Candidate) -> bool) -> Vec<usize> {
        let mut accepted = self.accepted(take);
        accepted.sort_by_cached_key(|&index| self.rank_of(index));
        accepted
    }

    /// The best `count` of those that `take` accepts, best first.
    pub(super) fn best(&self, count: usize, take: impl Fn(&Candidate) -> bool) -> Vec<usize> {
        let mut accepted = self.accepted(take);
        if count < accepted.len() {
            accepted.select_nth_unstable_by_key(count, |&index| self.rank_of(index));
            accepted.truncate(count);
        }
        accepted.sort_by_cached_key(|&index| self.rank_of(index));
        accepted
    }

    /// Moves the first of every torrent to the front, in their order; returns how many these are.
    /// Without it one fast torrent's peers would take all slots, and the others could give nothing
    /// for what they want to get.
    pub(super) fn one_of_each_torrent_first(&self, ranked: &mut Vec<usize>) -> usize {
        let mut seen = BTreeSet::new();
        let is_first = |&index: &usize| seen.insert(self.candidates[index].key.0);
        let (mut first, rest): (Vec<_>, Vec<_>) = ranked.drain(..).partition(is_first);
        let torrents = first.len();
        first.extend(rest);
        *ranked = first;
        torrents
    }

    /// Candidates for optimistic slots, those in `placed` left out, in the order in which they get or
    /// keep one: whose time is not up, then by wait, then whoever would lose a slot to nobody.
    ///
    /// The wait of a newcomer counts threefold. As the caller calls nobody a newcomer for long, an old
    /// peer's wait outgrows every newcomer's, so everyone's turn comes.
    pub(super) fn optimistic(&self, placed: &[bool]) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.candidates.len())
            .filter(|&index| self.candidates[index].interested && !placed[index])
            .collect();
        left.sort_by_cached_key(|&index| {
            let candidate = &self.candidates[index];
            let (group, within) = match candidate.standing {
                Standing::Optimistic(turn) if !turn.was_optimistic_enough(candidate.seeding) => (0, turn.age),
                Standing::Waiting(wait) if candidate.newcomer => (1, wait.saturating_mul(NEWCOMER_WEIGHT)),
                Standing::Waiting(wait) => (1, wait),
                Standing::Optimistic(_) | Standing::Regular(_) => (2, Duration::ZERO),
            };
            (group, Reverse(within), self.chance(index))
        });
        left
    }

    fn accepted(&self, take: impl Fn(&Candidate) -> bool) -> Vec<usize> {
        (0..self.candidates.len()).filter(|&index| take(&self.candidates[index])).collect()
    }

    fn rank_of(&self, index: usize) -> Rank {
        let candidate = &self.candidates[index];
        let merit = match (candidate.seeding, self.seeding) {
            // Of peers that give nothing, each has its turn.
            (false, _) => candidate.from_peer.0,
            (true, SeedingRule::RoundRobin) => 0,
            (true, SeedingRule::FastestUpload) => candidate.to_peer.0,
            (true, SeedingRule::AntiLeech) => u64::from(candidate.progress_permille.abs_diff(500)),
        };
        (Reverse(merit), TurnRank::of(candidate), self.chance(index))
    }

    /// A number that depends on nothing but the seed and the peer: the order of equals.
    fn chance(&self, index: usize) -> u64 {
        let (torrent, peer) = self.candidates[index].key;
        let peer = u64::from(peer.slot) << 32 | u64::from(peer.generation);
        mix(mix(self.seed ^ torrent.0) ^ peer)
    }
}

impl TurnRank {
    fn of(candidate: &Candidate) -> TurnRank {
        match candidate.standing {
            Standing::Waiting(wait) => TurnRank::Waiting(Reverse(wait)),
            Standing::Optimistic(_) => TurnRank::InOptimisticSlot,
            Standing::Regular(turn) if turn.is_over() => TurnRank::TurnOver { taken: turn.taken },
            Standing::Regular(turn) => TurnRank::InTurn { taken: turn.taken },
        }
    }
}

impl Turn {
    fn is_over(&self) -> bool {
        let late = self.age >= TURN_MAX && !self.is_slow() || self.age >= SLOW_TURN_MAX;
        late || self.age >= TURN_MIN && self.taken >= TURN_BYTES
    }

    /// Whether an optimistic slot goes to the next. On a torrent that we seed nobody has to prove himself.
    fn was_optimistic_enough(&self, seeding: bool) -> bool {
        let most = if seeding && self.is_slow() { SLOW_OPTIMISTIC_MAX } else { OPTIMISTIC_TURN };
        self.age >= most
    }

    /// Whether someone takes steadily, but has not come far.
    fn is_slow(&self) -> bool {
        SLOW_TAKES.contains(&self.taken)
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014): spreads neighbouring numbers evenly.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
