//! ChokeMgr: who is unchoked, decided over all torrents at once (BEP 3, choking; wgod DESIGN, "Limits
//! and choking").
//!
//! Pure functions of a snapshot. The session gathers a [`Candidate`] for each peer that is interested
//! or unchoked, calls [`rank`] every 10 s (at most once a second otherwise) and applies the chokes of
//! the [`Decision`] before its unchokes; a slot that falls free in between is handed out with the
//! decision's reserve or with [`fill`].
mod order;
mod slots;

pub use slots::{Automatic, SlotCount, Trials};

use std::time::Duration;

use crate::{ByteRate, PeerKey, TorrentId};
use order::Order;

/// A peer of a torrent. The peer key carries a generation, so a decision that comes late can't
/// unchoke whoever took over the place.
pub type ChokeKey = (TorrentId, PeerKey);

/// What the choker knows about one peer that is interested or unchoked.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Who.
    pub key: ChokeKey,
    /// Whether we want nothing of this torrent any more, so that the peer can't give us anything.
    pub seeding: bool,
    /// Whether the peer wants something from us. An uninterested peer never gets a slot.
    pub interested: bool,
    /// Waiting, or in which kind of slot since when.
    pub standing: Standing,
    /// Payload we receive from the peer.
    pub from_peer: ByteRate,
    /// Payload we send to the peer.
    pub to_peer: ByteRate,
    /// The peer unchoked us and has sent nothing for 60 s (time in which we did not read not
    /// counted). Ignored on torrents we seed, where nobody owes us anything.
    pub snubbed: bool,
    /// Connected lately and never unchoked yet.
    pub newcomer: bool,
    /// Share of the torrent that the peer has, in thousandths. Only [`SeedingRule::AntiLeech`] reads it.
    pub progress_permille: u16,
}

/// Whether a peer waits for a slot or uses one.
#[derive(Clone, Copy, Debug)]
pub enum Standing {
    /// Choked, and interested for so long, or since its last turn ended if that is less.
    Waiting(Duration),
    /// Unchoked for its rank.
    Regular(Turn),
    /// Unchoked to see what it gives.
    Optimistic(Turn),
}

/// How a peer has used its slot so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// Time since the unchoke.
    pub age: Duration,
    /// Payload bytes that we sent since the unchoke.
    pub taken: u64,
}

/// How peers of torrents that we seed are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedingRule {
    /// Each in turn, the longest waiting first. A turn ends by time or by bytes taken.
    #[default]
    RoundRobin,
    /// Who takes fastest. Others come in by optimistic slots.
    FastestUpload,
    /// Who has just begun or has nearly all: those in the middle are the likeliest to sit and take.
    AntiLeech,
}

/// The operator's choices and what automatic slots need to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Regular slots of all torrents together.
    pub slots: SlotCount,
    /// Optimistic slots on top of the regular ones; `None`: a fifth of those, at least one.
    pub optimistic: Option<u32>,
    /// How peers of torrents that we seed are ranked.
    pub seeding: SeedingRule,
}

/// Who is to be unchoked. Every candidate that is in neither slot list is to be choked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Peers in regular slots, at most `slots`.
    pub regular: Vec<ChokeKey>,
    /// Peers in optimistic slots, none of whom is in `regular`.
    pub optimistic: Vec<ChokeKey>,
    /// Who is next when a slot falls free before the next round, best first.
    pub reserve: Vec<ChokeKey>,
    /// Regular slots there were.
    pub slots: u32,
    /// Automatic slots want it back as [`Automatic::trials`].
    pub trials: Trials,
}

/// Of ten regular slots, so many go to torrents that we download while both kinds have takers.
const DOWNLOADING_TENTHS: u32 = 7;
/// An optimistic slot goes to the next peer after this (BEP 3: every third round).
const OPTIMISTIC_TURN: Duration = Duration::from_secs(30);
/// A newcomer's wait counts so many times, so that it is as much likelier to be next (BEP 3).
const NEWCOMER_WEIGHT: u32 = 3;

/// Decides anew who is unchoked, everywhere.
///
/// Deterministic: equal inputs give equal decisions; `seed` only breaks ties. O(n log n).
pub fn rank(candidates: &[Candidate], settings: &Settings, seed: u64) -> Decision {
    let order = Order { candidates, seeding: settings.seeding, seed };
    let mut downloading = order.sorted(|c| c.interested && !c.seeding && !c.snubbed);
    let seeding = order.sorted(|c| c.interested && c.seeding);
    let (slots, trials) = settings.slots.count(candidates);
    let owed = match settings.slots {
        SlotCount::Fixed(_) => 0,
        SlotCount::Automatic(_) => order.one_of_each_torrent_first(&mut downloading),
    };
    let (down, up) = slots::shares(slots, [downloading.len(), seeding.len()], owed);
    let mut placed = vec![false; candidates.len()];
    let regular: Vec<usize> = downloading[..down].iter().chain(&seeding[..up]).copied().collect();
    for &index in &regular {
        placed[index] = true;
    }
    let mut optimistic = order.optimistic(&placed);
    optimistic.truncate(settings.optimistic_count(slots));
    for &index in &optimistic {
        placed[index] = true;
    }
    let rest = interleave(&downloading[down..], &seeding[up..]).filter(|&index| !placed[index]);
    let keys = |indices: Vec<usize>| indices.into_iter().map(|index| candidates[index].key).collect();
    Decision {
        reserve: keys(rest.collect()),
        regular: keys(regular),
        optimistic: keys(optimistic),
        slots,
        trials,
    }
}

/// Chooses up to `free` waiting peers for regular slots that fell free between two rounds, and
/// chokes nobody. Cheaper than [`rank`]: O(n) for few slots.
pub fn fill(free: usize, candidates: &[Candidate], settings: &Settings, seed: u64) -> Vec<ChokeKey> {
    let order = Order { candidates, seeding: settings.seeding, seed };
    let waits = |c: &Candidate| c.interested && matches!(c.standing, Standing::Waiting(_));
    let holds = |c: &Candidate| c.interested && matches!(c.standing, Standing::Regular(_));
    let downloading = order.best(free, |c| waits(c) && !c.seeding && !c.snubbed);
    let seeding = order.best(free, |c| waits(c) && c.seeding);
    let held_by = |seeding| candidates.iter().filter(|c| holds(c) && c.seeding == seeding).count();
    let (held_down, held_up) = (held_by(false), held_by(true));
    let total = u32::try_from(held_down + held_up + free).unwrap_or(u32::MAX);
    let takers = [held_down + downloading.len(), held_up + seeding.len()];
    let (down, up) = slots::shares(total, takers, 0);
    let down = down.saturating_sub(held_down).min(free);
    let up = up.saturating_sub(held_up).min(free - down);
    downloading[..down].iter().chain(&seeding[..up]).map(|&index| candidates[index].key).collect()
}

impl Settings {
    fn optimistic_count(&self, slots: u32) -> usize {
        let count = match (self.optimistic, slots) {
            // An operator who sets no slots wants no uploads.
            (_, 0) => 0,
            (Some(count), _) => count,
            (None, slots) => (slots / 5).max(1),
        };
        count as usize
    }
}

/// Both rankings merged in the proportion of their shares of slots.
fn interleave<'a>(downloading: &'a [usize], seeding: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let (mut down, mut up) = (downloading.iter().peekable(), seeding.iter().peekable());
    let (mut downs, mut ups) = (0u64, 0u64);
    std::iter::from_fn(move || {
        let behind = downs * u64::from(10 - DOWNLOADING_TENTHS) <= ups * u64::from(DOWNLOADING_TENTHS);
        if down.peek().is_some() && (behind || up.peek().is_none()) {
            downs += 1;
            down.next().copied()
        } else {
            ups += 1;
            up.next().copied()
        }
    })
}

#[cfg(test)]
mod tests;
