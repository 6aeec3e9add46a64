//! How many connected peers have each piece. Seeds are one counter, the others are counted per piece.
use wgo_proto::Bitfield;

/// A piece that so many have is at no risk, and another copy of it is no longer what a swarm lacks.
const PLENTY: u32 = 4;

/// Copies of each piece among the connected peers.
///
/// Two bytes a piece. A count saturates at 65,535 peers that aren't seeds, far past every connection
/// limit; past it counts are only inexact, and only used as a sort key.
pub(super) struct Availability {
    /// Peers that were seeds from the start, each of which has every piece.
    pub(super) seeds: u32,
    /// The other peers that have any piece.
    pub(super) peers: u32,
    /// For each piece, the other peers that have it.
    counts: Vec<u16>,
}

impl Availability {
    pub(super) fn new(pieces: u32) -> Self {
        Self { seeds: 0, peers: 0, counts: vec![0; pieces as usize] }
    }

    /// Peers that have the piece, seeds left out: what pieces are compared by.
    pub(super) fn beside_seeds(&self, piece: u32) -> u16 {
        self.counts.get(piece as usize).copied().unwrap_or(0)
    }

    /// Whether any connected peer has the piece.
    pub(super) fn is_obtainable(&self, piece: u32) -> bool {
        self.seeds > 0 || self.beside_seeds(piece) > 0
    }

    /// Whether it matters little for the swarm if several fetch the piece at the same time: many have it,
    /// or none is here but seeds and those who have nothing.
    pub(super) fn is_plentiful(&self, piece: u32) -> bool {
        self.peers == 0 || self.seeds + u32::from(self.beside_seeds(piece)) >= PLENTY
    }

    /// Counts one more copy; returns the counts before and after.
    pub(super) fn add_one(&mut self, piece: u32) -> (u16, u16) {
        self.change(piece, |count| count.saturating_add(1))
    }

    /// Counts one copy less; returns the counts before and after.
    pub(super) fn remove_one(&mut self, piece: u32) -> (u16, u16) {
        self.change(piece, |count| count.saturating_sub(1))
    }

    /// Counts the copies of a peer.
    pub(super) fn add(&mut self, bits: &Bitfield) {
        self.each_word(bits, u16::saturating_add);
    }

    /// Counts the copies of a peer no more.
    pub(super) fn remove(&mut self, bits: &Bitfield) {
        self.each_word(bits, u16::saturating_sub);
    }

    /// Calls `f` with each piece of word `at` of `set`, and its [`beside_seeds`](Self::beside_seeds).
    pub(super) fn each_of(&self, set: &Bitfield, at: usize, mut f: impl FnMut(u32, u16)) {
        let mut word = set.words().get(at).copied().unwrap_or(0);
        let Some(counts) = self.counts.get(at * 64..) else { return };
        if word == u64::MAX {
            (at as u32 * 64..)
                .zip(&counts[..64.min(counts.len())])
                .for_each(|(piece, count)| f(piece, *count));
            return;
        }
        while word != 0 {
            let bit = word.leading_zeros();
            word &= !(1 << (63 - bit));
            f(at as u32 * 64 + bit, counts.get(bit as usize).copied().unwrap_or(0));
        }
    }

    fn change(&mut self, piece: u32, new: impl Fn(u16) -> u16) -> (u16, u16) {
        let Some(count) = self.counts.get_mut(piece as usize) else { return (0, 0) };
        let before = *count;
        *count = new(before);
        (before, *count)
    }

    /// Without a branch for each piece, so that the compiler can use vector instructions.
    fn each_word(&mut self, bits: &Bitfield, op: impl Fn(u16, u16) -> u16) {
        for (counts, &word) in self.counts.chunks_mut(64).zip(bits.words()) {
            if word != 0 {
                for (at, count) in counts.iter_mut().enumerate() {
                    *count = op(*count, (word >> (63 - at) & 1) as u16);
                }
            }
        }
    }
}
