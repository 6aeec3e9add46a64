//! Which blocks to ask a peer for.
//!
//! Open pieces are finished before others are opened, as only finished ones can be shared and free
//! their memory. What is opened is the rarest piece of the highest priority that the peer has, except:
//! the first few pieces are any, as rare ones are slow and we need something to give; slow peers open
//! the commonest, so as not to hold up what is rare; a fast peer keeps the piece it opened to itself, as
//! a piece from one peer is done sooner and its verdict is clear. When nothing is left to ask for, blocks
//! already asked for are asked of more peers (endgame).
//!
//! Before all that, a peer is asked for what nobody but it and seeds has, open or not: in a new swarm everybody waits for
//! such pieces, and a seed's line is not for what leechers have too.
//!
//! Among equally rare pieces, those beside what was opened before are opened first (`extents`): they are
//! written together.
use std::time::Duration;

use smallvec::SmallVec;
use wgo_proto::{Block, PieceIndex};

use super::candidates::CLASSES;
use super::partial::{Partial, Phase};
use super::{PeerHave, PieceMgr, Priority};
use crate::{PeerKey, Time};

/// How pieces of equal priority are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What the fewest peers have first.
    #[default]
    RarestFirst,
    /// By index.
    Sequential,
}

/// How fast a peer serves, as the picker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Could fetch a piece alone within seconds: it opens pieces of its own.
    Fast,
    /// Shares pieces with others.
    Medium,
    /// Slow or snubbing: shares, and opens what is common.
    Slow,
}

/// A peer that could be asked for blocks.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The peer.
    pub peer: PeerKey,
    /// What it has.
    pub has: &'a PeerHave,
    /// Blocks wanted at most: what its pipeline has room for.
    pub count: usize,
    /// How fast it is.
    pub pace: Pace,
    /// `Some`: it chokes us, and only these pieces may be asked for (BEP 6). The caller bounds it.
    pub allowed_fast: Option<&'a [PieceIndex]>,
    /// Pieces that it would like to be asked for (BEP 6). The caller bounds it.
    pub suggested: &'a [PieceIndex],
    /// Blocks at most that may be asked for in pieces not open yet. Open pieces aren't bound by it:
    /// finishing them is what frees memory. `count` bounds both.
    pub may_open: usize,
}

/// Until we have so many pieces, any piece is opened (BEP 3: "random first piece").
const RANDOM_FIRST_PIECES: usize = 4;
/// A piece without progress for so long isn't left to whom it was kept for.
const IDLE: Duration = Duration::from_secs(10);
/// How often pieces are looked through for that.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// Requested blocks that one endgame pick looks at; with more under way, it isn't the end yet.
const ENDGAME_SCAN: usize = 256;
/// Blocks that one pick asks twice at most.
const ENDGAME_COUNT: usize = 2;

/// Which open pieces a peer may join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// Its own, and those kept for nobody.
    Shared,
    /// Those that fast peers have to themselves.
    Kept,
}

/// Pieces that so many leechers have at most, of this priority or a higher one.
#[derive(Clone, Copy)]
struct Scarce {
    copies: u16,
    priority: Priority,
}

/// What remains of one pick.
struct Want<'a> {
    now: Time,
    ask: &'a Ask<'a>,
    left: usize,
    /// What remains of [`Ask::may_open`].
    may_open: usize,
    out: &'a mut Vec<Block>,
}

impl<B> PieceMgr<B> {
    /// Chooses up to `ask.count` blocks to ask a peer for, appends them to `out`, and counts them as
    /// requested. None of them is asked of this peer already, and outside endgame of no other either.
    ///
    /// Every block must come back through [`receive`](Self::receive) or [`release`](Self::release).
    pub fn pick(&mut self, now: Time, ask: &Ask<'_>, out: &mut Vec<Block>) {
        self.share_idle(now);
        let mut want = Want { now, ask, left: ask.count, may_open: ask.may_open, out };
        if self.any_scarce && ask.allowed_fast.is_none() {
            let scarce = Some(self.scarce_for(ask.has));
            self.pick_open(&mut want, Join::Shared, scarce);
            self.pick_new(&mut want, scarce);
            if want.may_open < ask.may_open.min(1) {
                // The last one opened may have blocks left, for which there is no room.
                return;
            }
        }
        self.pick_open(&mut want, Join::Shared, None);
        self.pick_new(&mut want, None);
        self.pick_open(&mut want, Join::Kept, None);
        self.pick_requested(&mut want);
    }

    /// Pieces that are kept for peers which fell silent are kept no more.
    fn share_idle(&mut self, now: Time) {
        if now.since(self.idle_shared_at) >= IDLE_LOOK {
            self.idle_shared_at = now;
            self.open.share_kept(|partial| partial.is_idle(now));
            self.look_for_scarce();
        }
    }

    /// Whether every wanted block that a connected peer has is asked for, so that blocks may be asked of
    /// several peers.
    pub fn is_endgame(&self) -> bool {
        let obtainable = |piece: u32| self.availability.is_obtainable(piece);
        self.open.requested() > 0
            && !self.is_finished()
            && self.candidates.is_exhausted(&self.availability)
            && !self.open.unfilled().any(|partial| {
                // What is left of a pinned piece can't be had from anyone else anyhow.
                partial.retry.is_none() && obtainable(partial.piece.0)
            })
    }

    /// Whether there are leechers, and pieces that one of them has at most.
    fn look_for_scarce(&mut self) {
        let Self { candidates, availability, open, .. } = self;
        self.any_scarce = false;
        if availability.peers == 0 || self.order != Order::RarestFirst {
            return;
        }
        candidates.refresh(availability);
        let scarce = |piece: u32| availability.beside_seeds(piece) <= 1;
        let rarest = candidates.rarest().any(scarce);
        self.any_scarce = rarest || open.unfilled().any(|partial| scarce(partial.piece.0));
    }

    fn pick_open(&mut self, want: &mut Want<'_>, join: Join, scarce: Option<Scarce>) {
        while want.left > 0 {
            let Some(piece) = self.best_open(want, join, scarce) else { return };
            if self.request_in(want, piece, usize::MAX) == 0 {
                return;
            }
        }
    }

    fn pick_new(&mut self, want: &mut Want<'_>, scarce: Option<Scarce>) {
        while want.left > 0 && want.may_open > 0 {
            let Some(piece) = self.best_new(want.ask) else { return };
            if !self.is_scarce(piece, scarce) {
                return;
            }
            self.remove_candidate(piece);
            let mut partial = Partial::new(piece, self.layout.blocks_in(piece));
            partial.progress = want.now;
            partial.owner = (want.ask.pace == Pace::Fast).then_some(want.ask.peer);
            let priority = self.priority(piece);
            self.open.insert(partial, priority);
            if want.ask.pace != Pace::Slow {
                self.extents.begin(piece.0, |word, mask| self.candidates.has_any(word, mask));
            }
            want.may_open -= self.request_in(want, piece, want.may_open);
        }
    }

    /// Asks for missing blocks of an open piece, at most `limit`; returns how many.
    fn request_in(&mut self, want: &mut Want<'_>, piece: PieceIndex, limit: usize) -> usize {
        let Want { ask, left, out, .. } = want;
        let asked = self.open.change(piece, |partial| {
            partial.pin_to(ask.peer);
            partial.request(ask.peer, limit.min(*left), |number| out.push(self.layout.block(piece, number)))
        });
        *left -= asked.unwrap_or(0);
        asked.unwrap_or(0)
    }

    /// The open piece that the peer should help with: of the highest priority, its own before others',
    /// and what is nearest to completion, or comes first if in order.
    ///
    /// When the peer lacks all of the first pieces in order, any that it has. O(log of the open pieces).
    fn best_open(&self, want: &Want<'_>, join: Join, scarce: Option<Scarce>) -> Option<PieceIndex> {
        let Want { ask, now, .. } = *want;
        let usable = |partial: &Partial<B>| {
            self.may_ask(ask, partial.piece)
                && partial.accepts(ask.peer, now)
                && self.is_scarce(partial.piece, scarce)
                && (partial.owner.is_some_and(|owner| owner != ask.peer)) == (join == Join::Kept)
        };
        if let Some(allowed) = ask.allowed_fast {
            let pieces = allowed.iter().filter(|piece| self.open.get(**piece).is_some_and(usable));
            return pieces.filter_map(|piece| self.open.turn_of(*piece)).min().map(|turn| turn.2);
        }
        let other = self.open.first(join == Join::Kept, ask.has, usable);
        let own = if join == Join::Shared { self.open.first_of(ask.peer, usable) } else { None };
        match (own, other) {
            (Some(own), Some(other)) if other.0 < own.0 => Some(other.2),
            (own, other) => own.or(other).map(|turn| turn.2),
        }
    }

    /// The candidate that the peer should open.
    fn best_new(&mut self, ask: &Ask<'_>) -> Option<PieceIndex> {
        CLASSES.into_iter().find_map(|priority| self.best_new_of(ask, priority))
    }

    fn best_new_of(&mut self, ask: &Ask<'_>, priority: Priority) -> Option<PieceIndex> {
        let is_open_to =
            |&piece: &PieceIndex| ask.has.get(piece) && self.candidates.contains(piece.0, priority);
        if let Some(allowed) = ask.allowed_fast {
            return allowed.iter().copied().find(is_open_to);
        }
        if self.order == Order::Sequential {
            return self.candidates.first(priority, ask.has).map(PieceIndex);
        }
        let first = (self.have.count() as usize) + self.open.len() < RANDOM_FIRST_PIECES;
        if first {
            let suggested = ask.suggested.iter().copied().find(is_open_to);
            let any = || self.candidates.any(priority, ask.has, &mut self.rng).map(PieceIndex);
            return suggested.or_else(any);
        }
        let suggested: SmallVec<[PieceIndex; 16]> =
            ask.suggested.iter().copied().filter(is_open_to).collect();
        self.candidates.refresh(&self.availability);
        let rarest = ask.pace != Pace::Slow;
        let Self { candidates, extents, availability, rng, .. } = self;
        let piece = candidates.by_availability(priority, ask.has, rarest, availability, rng)?;
        // Who suggests sees other peers than we do: what we know to be rarer comes first.
        let copies = availability.beside_seeds(piece);
        let is_as_rare = |suggested: &&PieceIndex| availability.beside_seeds(suggested.0) <= copies;
        if let Some(suggested) = suggested.iter().find(is_as_rare) {
            return Some(*suggested);
        }
        // A slow peer would hold up what its piece is to be written with.
        let beside = if rarest {
            candidates.beside_begun(piece, priority, ask.has, extents, availability)
        } else {
            None
        };
        Some(PieceIndex(beside.unwrap_or(piece)))
    }

    /// Endgame: asks for a few blocks that others were asked for, the least asked first.
    fn pick_requested(&mut self, want: &mut Want<'_>) {
        if want.left == 0 || !self.is_endgame() {
            return;
        }
        let peer = want.ask.peer;
        let pieces = self.open.iter_from(self.rng.usize(..)).filter(|partial| {
            let in_flight = partial.phase == Phase::Filling && partial.tally.requested > 0;
            in_flight && partial.retry.is_none() && self.may_ask(want.ask, partial.piece)
        });
        let blocks = pieces.flat_map(|partial| {
            partial.in_flight(peer).map(|(asked, number)| (asked, partial.piece, number))
        });
        let mut seen: SmallVec<[_; ENDGAME_SCAN]> = blocks.take(ENDGAME_SCAN).collect();
        // Stable: among equals the random order of the pieces stays.
        seen.sort_by_key(|&(asked, ..)| asked);
        for (_, piece, number) in seen.into_iter().take(want.left.min(ENDGAME_COUNT)) {
            self.open.change(piece, |partial| partial.request_also(peer, number));
            want.out.push(self.layout.block(piece, number));
            want.left -= 1;
        }
    }

    /// What is scarce where a peer has these pieces. A seed's are if no leecher has them, a leecher's if no other does;
    /// but nothing of a lower priority than anything else that can be asked for.
    fn scarce_for(&self, has: &PeerHave) -> Scarce {
        let copies = u16::from(!matches!(has, PeerHave::All));
        let priority = self.open.top_priority().max(self.candidates.top_priority());
        Scarce { copies, priority }
    }

    /// Whether a piece is as scarce as that.
    fn is_scarce(&self, piece: PieceIndex, scarce: Option<Scarce>) -> bool {
        scarce.is_none_or(|Scarce { copies, priority }| {
            self.availability.beside_seeds(piece.0) <= copies && self.priority(piece) >= priority
        })
    }

    fn may_ask(&self, ask: &Ask<'_>, piece: PieceIndex) -> bool {
        self.wants(piece)
            && ask.has.get(piece)
            && ask.allowed_fast.is_none_or(|allowed| allowed.contains(&piece))
    }
}

impl<B> Partial<B> {
    /// Whether missing blocks may be asked of `peer`: always, unless a retry is pinned to another that
    /// still sends.
    fn accepts(&self, peer: PeerKey, now: Time) -> bool {
        let Some(pin) = self.retry.and_then(|retry| retry.pin) else { return true };
        pin == peer || (self.tally.requested == 0 && self.is_idle(now))
    }

    fn is_idle(&self, now: Time) -> bool {
        now.since(self.progress) >= IDLE
    }
}
