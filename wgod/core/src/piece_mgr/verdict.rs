//! What the storage threads found: a piece is written, or bad, or couldn't be written; and who is to
//! blame.
use smallvec::SmallVec;
use wgo_proto::PieceIndex;

use super::partial::{Partial, Phase, Retry};
use super::{PieceMgr, PieceState, Priority};
use crate::PeerKey;

/// Which blocks of a piece that failed its check are bad.
#[derive(Debug)]
pub enum BadBlocks<B> {
    /// Unknown: the check covers the piece as a whole (BEP 3).
    All,
    /// Exactly these (BEP 52: every block has a hash of its own).
    Some {
        /// Numbers of the bad blocks within the piece.
        numbers: Vec<u32>,
        /// Buffers of good blocks, by number. What isn't given back and isn't on disk is fetched again.
        good: Vec<(u32, B)>,
    },
}

/// Who is to blame for a bad piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Each of these sent bytes that are bad beyond doubt: ban.
    Proven(SmallVec<[PeerKey; 4]>),
    /// At least one of these did, or, if there are none, nobody connected. Nobody may be banned for it;
    /// the retry is pinned to one peer at a time, which makes the next verdict clear.
    Suspects(SmallVec<[PeerKey; 4]>),
}

impl<B> PieceMgr<B> {
    /// A piece is written: we have it. From `Verifying`, or from any other state when a check of the
    /// files found it; requests for it that are still out are off then.
    pub fn stored(&mut self, piece: PieceIndex) {
        if piece.0 >= self.layout.piece_count() {
            return;
        }
        self.open.remove(piece);
        self.remove_candidate(piece);
        self.have.set(piece.0);
        self.wanted.clear(piece.0);
        if self.wanted.is_empty() {
            self.candidates.trim();
        }
    }

    /// A piece that was `Verifying` is bad. Its blocks are missing again, except those known to be good.
    ///
    /// A peer that sent all of it, or a block known to be bad, is to blame beyond doubt. Otherwise the
    /// piece is fetched from one peer at a time. When that peer stops half-way another goes on, and if
    /// that fails too it goes on without what the first one had sent, so that some verdict is clear.
    pub fn failed(&mut self, piece: PieceIndex, bad: BadBlocks<B>) -> Blame {
        if self.state(piece) != PieceState::Verifying {
            return Blame::Suspects(SmallVec::new());
        }
        let blame = self.open.change(piece, |partial| match bad {
            BadBlocks::Some { numbers, good } if numbers.iter().any(|&n| n < partial.block_count()) => {
                let is_bad = |number| numbers.contains(&number);
                let culprits = partial.contributors(is_bad).into_iter().flatten().collect();
                partial.retry = None;
                partial.reopen(is_bad, good);
                Blame::Proven(culprits)
            }
            BadBlocks::All | BadBlocks::Some { .. } => partial.fail_whole(),
        });
        self.close_if_blank(piece);
        match blame {
            Some(Blame::Proven(culprits)) if culprits.is_empty() => Blame::Suspects(culprits),
            Some(blame) => blame,
            None => Blame::Suspects(SmallVec::new()),
        }
    }

    /// Who sent each block of a piece that is `Verifying`: nobody of one that was read back from the disk, which may
    /// have changed it.
    pub fn senders(&self, piece: PieceIndex) -> Vec<Option<PeerKey>> {
        let verifying = self.open.get(piece).filter(|partial| partial.phase == Phase::Verifying);
        verifying.map(Partial::senders).unwrap_or_default()
    }

    /// Fetches again what a peer that sent wrong blocks has a part in: the rest of it is as good as its word.
    /// O(open blocks).
    pub fn discard(&mut self, peer: PeerKey) {
        let pieces: Vec<PieceIndex> = self.open.iter().map(|partial| partial.piece).collect();
        for piece in pieces {
            self.open.change(piece, |partial| partial.discard(peer));
            self.close_if_blank(piece);
        }
    }

    /// A piece that was `Verifying` is good but couldn't be written: its blocks are lost, nobody is to
    /// blame.
    pub fn write_failed(&mut self, piece: PieceIndex) {
        if self.state(piece) == PieceState::Verifying {
            self.open.remove(piece);
            self.insert_candidate(piece);
        }
    }

    /// A sync failed: of no write since the last one anybody knows whether it reaches the platter, and no later sync
    /// tells. Blocks on disk of partial pieces are missing again; what is being written of others doesn't count.
    /// O(open blocks).
    pub fn doubt_writes(&mut self) {
        let pieces: Vec<PieceIndex> = self.open.iter().map(|partial| partial.piece).collect();
        for piece in pieces {
            self.open.change(piece, |partial| {
                partial.doubtful = partial.phase == Phase::Verifying || partial.spilling;
                if partial.phase == Phase::Filling {
                    partial.lose_on_disk();
                }
            });
            self.close_if_blank(piece);
        }
    }

    /// Whether what was just written of a piece doesn't count, after [`doubt_writes`](Self::doubt_writes): asked once
    /// for each write.
    pub fn take_doubt(&mut self, piece: PieceIndex) -> bool {
        self.open.change(piece, |partial| std::mem::take(&mut partial.doubtful)).unwrap_or(false)
    }

    /// What the disk held of a piece is gone or can't be trusted: one that we had is missing again, of a
    /// partial one the blocks on disk are. One that is being verified is left to its verdict.
    pub fn lose(&mut self, piece: PieceIndex) {
        match self.state(piece) {
            PieceState::Missing | PieceState::Verifying => {}
            PieceState::Partial => {
                self.open.change(piece, Partial::lose_on_disk);
                self.close_if_blank(piece);
            }
            PieceState::Have => {
                self.have.clear(piece.0);
                if self.priority(piece) != Priority::Skip {
                    self.wanted.set(piece.0);
                }
                self.insert_candidate(piece);
            }
        }
    }
}

impl<B> Partial<B> {
    /// Makes all blocks missing, and pins the piece unless one peer alone had sent it.
    fn fail_whole(&mut self) -> Blame {
        let contributors = self.contributors(|_| true);
        let known: SmallVec<[PeerKey; 4]> = contributors.iter().copied().flatten().collect();
        self.reopen(|_| true, Vec::new());
        self.owner = None;
        if contributors.len() == 1 || known.is_empty() {
            self.retry = None;
            return if known.is_empty() { Blame::Suspects(known) } else { Blame::Proven(known) };
        }
        self.retry = Some(Retry { pin: None, exclusive: self.retry.is_some() });
        Blame::Suspects(known)
    }
}
