//! The open pieces of a torrent, with the sums over them and the order in which those that have
//! something left to ask for are joined.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use wgo_proto::{Bitfield, PieceIndex};

use super::partial::{Partial, Phase, Tally};
use super::{Order, PeerHave, Priority};
use crate::PeerKey;

/// Pieces of an order that are looked at for a peer that lacks them before a word-wise search is the
/// cheaper way.
const PROBES: usize = 64;

/// Every [`Partial`] of a torrent.
///
/// A stranger can't grow it: pieces are opened by our own picks alone, as the budgets of memory and
/// requests allow, and by what the store restores.
pub(super) struct OpenPieces<B> {
    /// Pieces keep their slot while open.
    slots: Vec<Option<Open<B>>>,
    vacant: Vec<u32>,
    slot_of: BTreeMap<PieceIndex, u32>,
    /// Those with something left to ask for that are kept for nobody.
    shared: Queue,
    /// Likewise those that a fast peer has to itself.
    kept: Queue,
    /// Those of `kept` by whose they are.
    owned: BTreeSet<(PeerKey, Turn)>,
    order: Order,
    held: usize,
    away: usize,
    requested: usize,
    /// Received blocks that were given up, until [`PieceMgr::take_dropped`](super::PieceMgr::take_dropped).
    dropped: Vec<(PieceIndex, u32)>,
}

struct Open<B> {
    partial: Partial<B>,
    priority: Priority,
    /// Where it is listed, while something is left to ask for.
    listed: Option<(Option<PeerKey>, Turn)>,
}

/// When a piece's turn to be joined comes, smallest first: by priority, then what is nearest to
/// completion, or nothing where pieces come in order.
pub(super) type Turn = (Reverse<Priority>, u32, PieceIndex);

/// Pieces by their turn, and as a set.
struct Queue {
    turns: BTreeSet<Turn>,
    set: Bitfield,
}

impl<B> OpenPieces<B> {
    /// None, of a torrent of `pieces`.
    pub(super) fn new(pieces: u32) -> Self {
        let queue = || Queue { turns: BTreeSet::new(), set: Bitfield::new(pieces) };
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            slot_of: BTreeMap::new(),
            shared: queue(),
            kept: queue(),
            owned: BTreeSet::new(),
            order: Order::default(),
            held: 0,
            away: 0,
            requested: 0,
            dropped: Vec::new(),
        }
    }

    /// Received blocks that were given up since the last call.
    pub(super) fn take_dropped(&mut self) -> Vec<(PieceIndex, u32)> {
        std::mem::take(&mut self.dropped)
    }

    /// Buffers in memory.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Buffers that the storage threads have.
    pub(super) fn away(&self) -> usize {
        self.away
    }

    /// Blocks asked for, each once however many peers were asked.
    pub(super) fn requested(&self) -> usize {
        self.requested
    }

    pub(super) fn len(&self) -> usize {
        self.slot_of.len()
    }

    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.slot_of.contains_key(&piece)
    }

    pub(super) fn get(&self, piece: PieceIndex) -> Option<&Partial<B>> {
        let slot = *self.slot_of.get(&piece)?;
        self.slots[slot as usize].as_ref().map(|open| &open.partial)
    }

    /// Those with something left to ask for, kept ones last. Skipped ones aren't among them.
    pub(super) fn unfilled(&self) -> impl Iterator<Item = &Partial<B>> {
        let turns = self.shared.turns.iter().chain(&self.kept.turns);
        turns.filter_map(|&(_, _, piece)| self.get(piece))
    }

    /// The first of `owner`'s own pieces, in order, that `take` accepts.
    pub(super) fn first_of(&self, owner: PeerKey, take: impl Fn(&Partial<B>) -> bool) -> Option<Turn> {
        let least = (owner, (Reverse(Priority::High), 0, PieceIndex(0)));
        let own = self.owned.range(least..).take_while(|&&(of, _)| of == owner);
        own.map(|&(_, turn)| turn).find(|turn| self.get(turn.2).is_some_and(&take))
    }

    /// The first piece, of those kept for someone or of the others, that `take` accepts and the peer has;
    /// any, when the first in order are none.
    pub(super) fn first(
        &self,
        kept: bool,
        has: &PeerHave,
        take: impl Fn(&Partial<B>) -> bool,
    ) -> Option<Turn> {
        let queue = if kept { &self.kept } else { &self.shared };
        let takes = |&piece: &PieceIndex| has.get(piece) && self.get(piece).is_some_and(&take);
        let in_order = queue.turns.iter().take(PROBES).find(|turn| takes(&turn.2)).copied();
        if in_order.is_some() || queue.turns.len() <= PROBES {
            return in_order;
        }
        let piece = has.iter_in(&queue.set).map(PieceIndex).find(takes)?;
        self.turn_of(piece)
    }

    /// The highest priority of those that are kept for nobody.
    pub(super) fn top_priority(&self) -> Priority {
        self.shared.turns.first().map_or(Priority::Skip, |(Reverse(priority), ..)| *priority)
    }

    /// The turn of a piece that has something left to ask for.
    pub(super) fn turn_of(&self, piece: PieceIndex) -> Option<Turn> {
        let slot = *self.slot_of.get(&piece)?;
        self.slots[slot as usize].as_ref()?.listed.map(|(_, turn)| turn)
    }

    /// All, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Partial<B>> {
        self.iter_from(0)
    }

    /// All, in no order, from any of them on.
    pub(super) fn iter_from(&self, any: usize) -> impl Iterator<Item = &Partial<B>> {
        let start = any.checked_rem(self.slots.len()).unwrap_or(0);
        let (before, after) = self.slots.split_at(start);
        after.iter().chain(before).flatten().map(|open| &open.partial)
    }

    /// Adds a piece that isn't open.
    pub(super) fn insert(&mut self, partial: Partial<B>, priority: Priority) {
        let piece = partial.piece;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.count(Tally::default(), partial.tally);
        self.slots[slot as usize] = Some(Open { partial, priority, listed: None });
        self.slot_of.insert(piece, slot);
        self.list(slot);
    }

    /// Removes a piece, whatever state it is in.
    pub(super) fn remove(&mut self, piece: PieceIndex) -> Option<Partial<B>> {
        let slot = self.slot_of.remove(&piece)?;
        let open = self.slots[slot as usize].take()?;
        self.vacant.push(slot);
        self.count(open.partial.tally, Tally::default());
        self.relist(open.listed, None);
        Some(open.partial)
    }

    /// Changes a piece, and the sums and the order with it. `None` when it isn't open.
    pub(super) fn change<R>(
        &mut self,
        piece: PieceIndex,
        change: impl FnOnce(&mut Partial<B>) -> R,
    ) -> Option<R> {
        let slot = self.slot(piece)?;
        Some(self.change_at(slot, change))
    }

    /// Where an open piece is, for [`change_at`](Self::change_at).
    pub(super) fn slot(&self, piece: PieceIndex) -> Option<u32> {
        self.slot_of.get(&piece).copied()
    }

    /// Changes the piece in a slot that [`slot`](Self::slot) has just named.
    pub(super) fn change_at<R>(&mut self, slot: u32, change: impl FnOnce(&mut Partial<B>) -> R) -> R {
        let open = self.slots[slot as usize].as_mut().expect("the index names slots in use");
        let before = open.partial.tally;
        let result = change(&mut open.partial);
        let after = open.partial.tally;
        if !open.partial.dropped.is_empty() {
            let piece = open.partial.piece;
            self.dropped.extend(open.partial.dropped.drain(..).map(|number| (piece, number)));
        }
        self.count(before, after);
        self.list(slot);
        result
    }

    /// A piece is wanted more or less than before.
    pub(super) fn set_priority(&mut self, piece: PieceIndex, priority: Priority) {
        let Some(&slot) = self.slot_of.get(&piece) else { return };
        if let Some(open) = &mut self.slots[slot as usize] {
            open.priority = priority;
            self.list(slot);
        }
    }

    /// Changes how pieces of equal priority are ordered. O(open pieces).
    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
        (0..self.slots.len() as u32).for_each(|slot| self.list(slot));
    }

    /// Shares the pieces of fast peers for which `take` says so. O(those).
    pub(super) fn share_kept(&mut self, take: impl Fn(&Partial<B>) -> bool) {
        let pieces: Vec<PieceIndex> = self.kept.turns.iter().map(|turn| turn.2).collect();
        for piece in pieces {
            if self.get(piece).is_some_and(&take) {
                self.change(piece, |partial| partial.owner = None);
            }
        }
    }

    /// Panics where the sums or the lists are wrong.
    pub(super) fn check_invariants(&self) {
        let sum =
            |of: fn(&Tally) -> u32| self.iter().map(|partial| of(&partial.tally) as usize).sum::<usize>();
        assert_eq!(self.held, sum(|tally| tally.held), "buffers held");
        assert_eq!(self.away, sum(|tally| tally.away), "buffers away");
        assert_eq!(self.requested, sum(|tally| tally.requested), "blocks requested");
        assert_eq!(self.slots.len(), self.slot_of.len() + self.vacant.len(), "slots");
        for (&piece, &slot) in &self.slot_of {
            let open = self.slots[slot as usize].as_ref().expect("the index names slots in use");
            assert_eq!(open.partial.piece, piece);
            assert_eq!(open.listed, self.place_of(open), "{piece:?} in the lists");
            if let Some((owner, turn)) = open.listed {
                let queue = if owner.is_some() { &self.kept } else { &self.shared };
                assert!(queue.turns.contains(&turn) && queue.set.get(piece.0), "{piece:?} is listed");
                assert!(owner.is_none_or(|owner| self.owned.contains(&(owner, turn))), "{piece:?} is owned");
            }
            open.partial.check_invariants();
        }
        let listed = self.slots.iter().flatten().filter(|open| open.listed.is_some()).count();
        assert_eq!(self.shared.turns.len() + self.kept.turns.len(), listed);
        assert_eq!(self.owned.len(), self.kept.turns.len());
        for queue in [&self.shared, &self.kept] {
            assert_eq!(queue.set.count() as usize, queue.turns.len());
        }
    }

    fn count(&mut self, before: Tally, after: Tally) {
        self.held = self.held - before.held as usize + after.held as usize;
        self.away = self.away - before.away as usize + after.away as usize;
        self.requested = self.requested - before.requested as usize + after.requested as usize;
    }

    /// Where a piece belongs as it is now.
    fn place_of(&self, open: &Open<B>) -> Option<(Option<PeerKey>, Turn)> {
        let Partial { piece, phase, tally, owner, .. } = &open.partial;
        let unfilled = *phase == Phase::Filling && tally.missing > 0 && open.priority != Priority::Skip;
        let distance = match self.order {
            Order::RarestFirst => tally.missing,
            Order::Sequential => 0,
        };
        unfilled.then_some((*owner, (Reverse(open.priority), distance, *piece)))
    }

    /// Puts a piece where it belongs.
    fn list(&mut self, slot: u32) {
        let Some(open) = &self.slots[slot as usize] else { return };
        let (before, now) = (open.listed, self.place_of(open));
        if before == now {
            return;
        }
        if let Some(open) = &mut self.slots[slot as usize] {
            open.listed = now;
        }
        self.relist(before, now);
    }

    fn relist(&mut self, from: Option<(Option<PeerKey>, Turn)>, to: Option<(Option<PeerKey>, Turn)>) {
        if let Some((owner, turn)) = from {
            let queue = if owner.is_some() { &mut self.kept } else { &mut self.shared };
            queue.turns.remove(&turn);
            queue.set.clear(turn.2.0);
            owner.map(|owner| self.owned.remove(&(owner, turn)));
        }
        if let Some((owner, turn)) = to {
            let queue = if owner.is_some() { &mut self.kept } else { &mut self.shared };
            queue.turns.insert(turn);
            queue.set.set(turn.2.0);
            owner.map(|owner| self.owned.insert((owner, turn)));
        }
    }
}
