//! The open pieces of a torrent, with the sums over them and the list of those that have something
//! left to ask for.
use std::collections::BTreeMap;

use wgo_proto::PieceIndex;

use super::partial::{Partial, Phase, Tally};

/// Every [`Partial`] of a torrent.
///
/// A stranger can't grow it: pieces are opened by our own picks alone, as the budgets of memory and
/// requests allow, and by what the store restores.
pub(super) struct OpenPieces<B> {
    /// Pieces keep their slot while open.
    slots: Vec<Option<Open<B>>>,
    vacant: Vec<u32>,
    slot_of: BTreeMap<PieceIndex, u32>,
    /// Slots of filling pieces with a missing block, in no order: all that most picks look at.
    unfilled: Vec<u32>,
    held: usize,
    away: usize,
    requested: usize,
}

struct Open<B> {
    partial: Partial<B>,
    /// Position in `unfilled`, if it is there.
    unfilled_at: Option<u32>,
}

impl<B> OpenPieces<B> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            slot_of: BTreeMap::new(),
            unfilled: Vec::new(),
            held: 0,
            away: 0,
            requested: 0,
        }
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

    /// Those with something left to ask for.
    pub(super) fn unfilled(&self) -> impl Iterator<Item = &Partial<B>> {
        self.unfilled.iter().filter_map(|&slot| self.slots[slot as usize].as_ref()).map(|open| &open.partial)
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
    pub(super) fn insert(&mut self, partial: Partial<B>) {
        let piece = partial.piece;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.count(Tally::default(), partial.tally);
        self.slots[slot as usize] = Some(Open { partial, unfilled_at: None });
        self.slot_of.insert(piece, slot);
        self.list(slot);
    }

    /// Removes a piece, whatever state it is in.
    pub(super) fn remove(&mut self, piece: PieceIndex) -> Option<Partial<B>> {
        let slot = self.slot_of.remove(&piece)?;
        let open = self.slots[slot as usize].take()?;
        self.vacant.push(slot);
        self.count(open.partial.tally, Tally::default());
        if let Some(at) = open.unfilled_at {
            self.unlist(at);
        }
        Some(open.partial)
    }

    /// Changes a piece, and the sums and the list with it. `None` when it isn't open.
    pub(super) fn change<R>(
        &mut self,
        piece: PieceIndex,
        change: impl FnOnce(&mut Partial<B>) -> R,
    ) -> Option<R> {
        let slot = *self.slot_of.get(&piece)?;
        let open = self.slots[slot as usize].as_mut()?;
        let before = open.partial.tally;
        let result = change(&mut open.partial);
        let after = open.partial.tally;
        self.count(before, after);
        self.list(slot);
        Some(result)
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
            assert_eq!(open.unfilled_at.is_some(), is_unfilled(&open.partial), "{piece:?} in the list");
            assert!(open.unfilled_at.is_none_or(|at| self.unfilled[at as usize] == slot));
            open.partial.check_invariants();
        }
        assert_eq!(self.unfilled.len(), self.iter().filter(|partial| is_unfilled(partial)).count());
    }

    fn count(&mut self, before: Tally, after: Tally) {
        self.held = self.held - before.held as usize + after.held as usize;
        self.away = self.away - before.away as usize + after.away as usize;
        self.requested = self.requested - before.requested as usize + after.requested as usize;
    }

    /// Puts a slot on the list of unfilled ones, or takes it off, as its piece is now.
    fn list(&mut self, slot: u32) {
        let Some(open) = &mut self.slots[slot as usize] else { return };
        match (is_unfilled(&open.partial), open.unfilled_at) {
            (true, None) => {
                open.unfilled_at = Some(self.unfilled.len() as u32);
                self.unfilled.push(slot);
            }
            (false, Some(at)) => {
                open.unfilled_at = None;
                self.unlist(at);
            }
            _ => {}
        }
    }

    fn unlist(&mut self, at: u32) {
        self.unfilled.swap_remove(at as usize);
        if let Some(&moved) = self.unfilled.get(at as usize)
            && let Some(open) = &mut self.slots[moved as usize]
        {
            open.unfilled_at = Some(at);
        }
    }
}

fn is_unfilled<B>(partial: &Partial<B>) -> bool {
    partial.phase == Phase::Filling && partial.tally.missing > 0
}
