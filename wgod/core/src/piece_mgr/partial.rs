//! One open piece: what state each of its blocks is in, and who sent it.
use smallvec::SmallVec;
use wgo_proto::{Bitfield, PieceIndex};

use super::{Complete, Receive};
use crate::{PeerKey, Time};

/// In endgame a block is asked of so many peers at most, which bounds what arrives for nothing: with four of them half
/// as much again does, and nobody is done sooner (simulated).
pub(super) const MAX_REQUESTERS: usize = 2;
/// Requests called off whose blocks are still welcome, 4 MiB of them: what is under way when a fast peer
/// chokes us. Past it the oldest is forgotten, and its block will be refused if it comes after all.
const MAX_LATE: usize = 256;

/// A piece of which something was asked for, received or restored, up to the verdict on it.
pub(super) struct Partial<B> {
    pub(super) piece: PieceIndex,
    blocks: Box<[BlockState<B>]>,
    pub(super) phase: Phase,
    /// The fast peer that has the piece to itself while others find something else.
    pub(super) owner: Option<PeerKey>,
    /// Set once the piece failed with several contributors.
    pub(super) retry: Option<Retry>,
    /// When a block came last.
    pub(super) progress: Time,
    /// A spill of this piece is being written.
    pub(super) spilling: bool,
    /// What is being written of it now doesn't count: a sync failed meanwhile.
    pub(super) doubtful: bool,
    pub(super) tally: Tally,
    /// No block below this is missing.
    first_missing: u32,
    /// Requests called off, whose blocks may still be under way.
    late: SmallVec<[(u32, PeerKey); 1]>,
    /// Blocks that had been received and are missing again, until somebody counts them.
    pub(super) dropped: SmallVec<[u32; 4]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Blocks are asked for and received.
    Filling,
    /// All blocks are with the storage threads.
    Verifying,
}

/// How many blocks are in the states that matter to the picker and the memory budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) missing: u32,
    pub(super) requested: u32,
    pub(super) held: u32,
    pub(super) away: u32,
}

/// Makes one peer responsible for a whole piece, so that a second failure names the culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    /// The only peer that may be asked; `None` until the next one picks.
    pub(super) pin: Option<PeerKey>,
    /// Whether the pin's blocks are dropped when it passes to another. Not at first, so that a piece
    /// longer than any unchoke still gets done; but after a retry of several hands failed too, or a
    /// peer that sends one bad block and falls silent could spoil the piece for ever.
    pub(super) exclusive: bool,
}

enum BlockState<B> {
    Missing,
    /// Asked of these, several only in endgame. Never empty.
    Requested(SmallVec<[PeerKey; 2]>),
    Held {
        buf: B,
        from: PeerKey,
    },
    /// The storage threads have the buffer, to spill or to verify it.
    Away {
        from: PeerKey,
    },
    /// Written before the piece was complete; restored ones come from nobody we know.
    OnDisk {
        from: Option<PeerKey>,
    },
}

impl<B> Partial<B> {
    pub(super) fn new(piece: PieceIndex, blocks: u32) -> Self {
        Self {
            piece,
            blocks: (0..blocks).map(|_| BlockState::Missing).collect(),
            phase: Phase::Filling,
            owner: None,
            retry: None,
            progress: Time::ZERO,
            spilling: false,
            doubtful: false,
            tally: Tally { missing: blocks, ..Tally::default() },
            first_missing: 0,
            late: SmallVec::new(),
            dropped: SmallVec::new(),
        }
    }

    pub(super) fn block_count(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Whether nothing of it was asked for or received, so that it needn't be open.
    pub(super) fn is_blank(&self) -> bool {
        self.tally.missing == self.block_count() && self.retry.is_none()
    }

    /// Whether every block is there and none is on its way to disk.
    pub(super) fn is_filled(&self) -> bool {
        self.phase == Phase::Filling && self.tally.missing + self.tally.requested == 0 && !self.spilling
    }

    /// Asks up to `count` missing blocks of `peer`, in order; `ask` is told each block's number.
    pub(super) fn request(&mut self, peer: PeerKey, count: usize, mut ask: impl FnMut(u32)) -> usize {
        let mut asked = 0;
        while asked < count && self.tally.missing > 0 {
            let number = self.first_missing;
            let state = &mut self.blocks[number as usize];
            if matches!(state, BlockState::Missing) {
                *state = BlockState::Requested(SmallVec::from_elem(peer, 1));
                self.tally.missing -= 1;
                self.tally.requested += 1;
                asked += 1;
                ask(number);
            }
            self.first_missing += 1;
        }
        asked
    }

    /// Passes the pin of a retry to `peer`.
    pub(super) fn pin_to(&mut self, peer: PeerKey) {
        let Some(retry) = self.retry.as_mut().filter(|retry| retry.pin != Some(peer)) else { return };
        retry.pin = Some(peer);
        if retry.exclusive {
            self.miss_where(|_, state| state.source() != Some(Some(peer)));
        }
    }

    /// The requested blocks that `peer` isn't asked for yet and could be, each with how many are asked.
    pub(super) fn in_flight(&self, peer: PeerKey) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.blocks.iter().zip(0..).filter_map(move |(state, number)| match state {
            BlockState::Requested(of) if of.len() < MAX_REQUESTERS && !of.contains(&peer) => {
                Some((of.len(), number))
            }
            _ => None,
        })
    }

    /// Asks one more peer for a block that is requested already.
    pub(super) fn request_also(&mut self, peer: PeerKey, number: u32) {
        if let BlockState::Requested(of) = &mut self.blocks[number as usize] {
            of.push(peer);
        }
    }

    /// Calls a request off. Returns whether there was one.
    pub(super) fn release(&mut self, peer: PeerKey, number: u32) -> bool {
        let state = &mut self.blocks[number as usize];
        let BlockState::Requested(of) = state else { return false };
        let Some(at) = of.iter().position(|&other| other == peer) else { return false };
        of.swap_remove(at);
        if of.is_empty() {
            *state = BlockState::Missing;
            self.tally.requested -= 1;
            self.tally.missing += 1;
            self.first_missing = self.first_missing.min(number);
        }
        if self.late.len() == MAX_LATE {
            self.late.remove(0);
        }
        self.late.push((number, peer));
        if self.owner == Some(peer) {
            self.owner = None;
        }
        if let Some(retry) = self.retry.as_mut().filter(|r| r.pin == Some(peer) && self.tally.requested == 0)
        {
            retry.pin = None;
        }
        true
    }

    /// Takes a block that arrived.
    pub(super) fn receive(&mut self, now: Time, peer: PeerKey, number: u32, buf: B) -> Receive<B> {
        let may_be_late = self.retry.is_none_or(|retry| retry.pin.is_none_or(|pin| pin == peer));
        let is_late = || may_be_late && self.late.contains(&(number, peer));
        let state = &mut self.blocks[number as usize];
        let mut cancel = SmallVec::new();
        match state {
            BlockState::Requested(of) if of.contains(&peer) || is_late() => {
                cancel.extend(of.iter().copied().filter(|&other| other != peer));
                self.tally.requested -= 1;
            }
            BlockState::Missing if is_late() => self.tally.missing -= 1,
            BlockState::Requested(_) | BlockState::Missing => return Receive::Unwanted(buf),
            // So is every block of a piece that is being verified.
            BlockState::Held { .. } | BlockState::Away { .. } | BlockState::OnDisk { .. } => {
                return Receive::Duplicate(buf);
            }
        }
        *state = BlockState::Held { buf, from: peer };
        self.tally.held += 1;
        self.late.retain(|&mut (other, _)| other != number);
        self.progress = now;
        Receive::Stored { cancel, complete: self.take_if_filled() }
    }

    /// Hands the blocks over to be verified if none is missing.
    pub(super) fn take_if_filled(&mut self) -> Option<Complete<B>> {
        if !self.is_filled() {
            return None;
        }
        self.phase = Phase::Verifying;
        let mut blocks: Vec<Option<B>> = self.blocks.iter().map(|_| None).collect();
        for (number, buf) in self.take_held() {
            blocks[number as usize] = Some(buf);
        }
        Some(Complete { piece: self.piece, blocks, doubted: false })
    }

    /// Takes every buffer; the storage threads have them from now on.
    pub(super) fn take_held(&mut self) -> Vec<(u32, B)> {
        let mut taken = Vec::with_capacity(self.tally.held as usize);
        for (state, number) in self.blocks.iter_mut().zip(0..) {
            if let BlockState::Held { from, .. } = *state
                && let BlockState::Held { buf, .. } = std::mem::replace(state, BlockState::Away { from })
            {
                taken.push((number, buf));
            }
        }
        self.tally.away += self.tally.held;
        self.tally.held = 0;
        taken
    }

    /// The spill ended: its blocks are on disk, or lost.
    pub(super) fn spilled(&mut self, ok: bool) {
        self.spilling = false;
        if !ok {
            return self.miss_where(|_, state| matches!(state, BlockState::Away { .. }));
        }
        for state in &mut self.blocks {
            if let BlockState::Away { from } = *state {
                *state = BlockState::OnDisk { from: Some(from) };
            }
        }
        self.tally.away = 0;
    }

    /// Puts blocks that earlier runs left on disk in place.
    pub(super) fn restore(&mut self, mask: &Bitfield) {
        for number in mask.iter_ones() {
            if let Some(state @ BlockState::Missing) = self.blocks.get_mut(number as usize) {
                *state = BlockState::OnDisk { from: None };
                self.tally.missing -= 1;
            }
        }
    }

    /// The blocks that are on disk and not in memory.
    pub(super) fn on_disk(&self) -> Bitfield {
        let mut mask = Bitfield::new(self.block_count());
        for (state, number) in self.blocks.iter().zip(0..) {
            if matches!(state, BlockState::OnDisk { .. }) {
                mask.set(number);
            }
        }
        mask
    }

    /// Forgets the blocks on disk.
    pub(super) fn lose_on_disk(&mut self) {
        self.miss_where(|_, state| matches!(state, BlockState::OnDisk { .. }));
    }

    /// Who sent each block that the storage threads got as it came: none of one that was read back from the disk,
    /// which may have changed it.
    pub(super) fn senders(&self) -> Vec<Option<PeerKey>> {
        let sender = |state: &BlockState<B>| match *state {
            BlockState::Away { from } => Some(from),
            _ => None,
        };
        self.blocks.iter().map(sender).collect()
    }

    /// Makes missing what `peer` sent and what is not being written or verified.
    pub(super) fn discard(&mut self, peer: PeerKey) {
        if self.phase == Phase::Filling {
            self.miss_where(|_, state| match *state {
                BlockState::Held { from, .. } => from == peer,
                BlockState::OnDisk { from } => from == Some(peer),
                _ => false,
            });
        }
    }

    /// Who sent the blocks for which `take` says so, each once; `None` stands for blocks restored from
    /// disk.
    pub(super) fn contributors(&self, take: impl Fn(u32) -> bool) -> SmallVec<[Option<PeerKey>; 4]> {
        let mut found = SmallVec::new();
        for (state, number) in self.blocks.iter().zip(0..) {
            if let Some(from) = state.source().filter(|_| take(number))
                && !found.contains(&from)
            {
                found.push(from);
            }
        }
        found
    }

    /// After the verdict: `good` buffers are back, blocks on disk that aren't `bad` stay, and all else
    /// is missing again.
    pub(super) fn reopen(&mut self, bad: impl Fn(u32) -> bool, good: Vec<(u32, B)>) {
        self.phase = Phase::Filling;
        self.late.clear();
        for (number, buf) in good {
            if let Some(state) = self.blocks.get_mut(number as usize)
                && let BlockState::Away { from } = *state
                && !bad(number)
            {
                *state = BlockState::Held { buf, from };
                self.tally.held += 1;
                self.tally.away -= 1;
            }
        }
        self.miss_where(|number, state| bad(number) || matches!(state, BlockState::Away { .. }));
    }

    /// Makes each received block missing for which `lost` says so.
    fn miss_where(&mut self, lost: impl Fn(u32, &BlockState<B>) -> bool) {
        for (state, number) in self.blocks.iter_mut().zip(0..) {
            if state.source().is_some() && lost(number, state) {
                self.tally.held -= u32::from(matches!(state, BlockState::Held { .. }));
                self.tally.away -= u32::from(matches!(state, BlockState::Away { .. }));
                *state = BlockState::Missing;
                self.dropped.push(number);
                self.tally.missing += 1;
                self.first_missing = self.first_missing.min(number);
            }
        }
    }

    /// Who is asked for which block, by number.
    pub(super) fn requests(&self) -> impl Iterator<Item = (PeerKey, u32)> + '_ {
        let asked = |(state, number): (&'_ BlockState<B>, u32)| match state {
            BlockState::Requested(of) => of.iter().map(|peer| (*peer, number)).collect(),
            _ => SmallVec::<[_; 2]>::new(),
        };
        self.blocks.iter().zip(0..).flat_map(asked)
    }

    /// Panics where the parts of this piece's state contradict each other.
    pub(super) fn check_invariants(&self) {
        let count = |of: fn(&BlockState<B>) -> bool| self.blocks.iter().filter(|s| of(s)).count() as u32;
        let tally = Tally {
            missing: count(|s| matches!(s, BlockState::Missing)),
            requested: count(|s| matches!(s, BlockState::Requested(_))),
            held: count(|s| matches!(s, BlockState::Held { .. })),
            away: count(|s| matches!(s, BlockState::Away { .. })),
        };
        assert_eq!(tally, self.tally, "tally of {:?}", self.piece);
        let below = &self.blocks[..self.first_missing as usize];
        assert!(!below.iter().any(|s| matches!(s, BlockState::Missing)), "first missing block");
        match self.phase {
            Phase::Verifying => {
                assert_eq!(
                    tally,
                    Tally { away: tally.away, ..Tally::default() },
                    "a verified piece is whole and away"
                );
            }
            Phase::Filling => assert!(self.spilling || tally.away == 0, "only a spill takes buffers away"),
        }
        assert!(!self.is_filled() && !self.is_blank(), "{:?} should not be open", self.piece);
        assert!(self.late.len() <= MAX_LATE);
        for of in
            self.blocks.iter().filter_map(|s| if let BlockState::Requested(of) = s { Some(of) } else { None })
        {
            assert!((1..=MAX_REQUESTERS).contains(&of.len()), "requesters of a block");
            assert!((1..of.len()).all(|at| !of[..at].contains(&of[at])), "a peer is asked once");
            if let Some(retry) = self.retry {
                assert_eq!(&of[..], retry.pin.as_slice(), "a retried piece is one peer's");
            }
        }
    }
}

impl<B> BlockState<B> {
    /// Who sent it, when it is received at all.
    fn source(&self) -> Option<Option<PeerKey>> {
        match *self {
            BlockState::Missing | BlockState::Requested(_) => None,
            BlockState::Held { from, .. } | BlockState::Away { from } => Some(Some(from)),
            BlockState::OnDisk { from } => Some(from),
        }
    }
}
