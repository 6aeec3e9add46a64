//! What one peer has asked us for and we have not pulled for sending yet.
use std::collections::VecDeque;

use wgo_proto::{Block, PieceIndex};

/// Requests that we queue for one peer, announced as `reqq` (BEP 10); beyond it they are refused.
pub const MAX_QUEUED: usize = 2048;

/// The requests of one peer, in the order they came.
#[derive(Debug, Default)]
pub struct Uploads {
    queue: VecDeque<Block>,
    bytes: u64,
}

impl Uploads {
    /// Requests waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Payload bytes waiting.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The requests waiting.
    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.queue.iter()
    }

    /// Queues a request; `false` if the queue is full.
    pub fn push(&mut self, block: Block) -> bool {
        if self.queue.len() >= MAX_QUEUED {
            return false;
        }
        self.queue.push_back(block);
        self.bytes += u64::from(block.len);
        true
    }

    /// Takes one request back (`cancel`); `false` if it is not waiting.
    pub fn cancel(&mut self, block: Block) -> bool {
        let Some(at) = self.queue.iter().position(|b| *b == block) else { return false };
        self.queue.remove(at);
        self.bytes -= u64::from(block.len);
        true
    }

    /// Takes every request for a piece out, for one that is lost.
    pub fn take_piece(&mut self, piece: PieceIndex) -> Vec<Block> {
        let taken: Vec<Block> = self.queue.iter().copied().filter(|block| block.piece == piece).collect();
        self.queue.retain(|block| block.piece != piece);
        self.bytes -= taken.iter().map(|block| u64::from(block.len)).sum::<u64>();
        taken
    }

    /// Takes every request out, for a choke.
    pub fn clear(&mut self) -> impl Iterator<Item = Block> + '_ {
        self.bytes = 0;
        self.queue.drain(..)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Gives spare memory back while nothing waits.
    pub fn trim(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Moves requests to `out` until they hold at least `budget` bytes; at least one if the budget is
    /// not zero.
    pub fn pull(&mut self, budget: u64, out: &mut Vec<Block>) {
        let mut taken = 0;
        while taken < budget {
            let Some(block) = self.queue.pop_front() else { break };
            taken += u64::from(block.len);
            out.push(block);
        }
        self.bytes -= taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_proto::BLOCK_LEN;

    fn block(n: u32) -> Block {
        Block { piece: PieceIndex(n), offset: 0, len: BLOCK_LEN }
    }

    #[test]
    fn the_queue_is_bounded_and_counts_its_bytes() {
        let mut u = Uploads::default();
        assert!((0..MAX_QUEUED as u32).all(|n| u.push(block(n))));
        assert!(!u.push(block(0)));
        assert!(u.cancel(block(1)) && !u.cancel(block(1)));
        let mut out = Vec::new();
        u.pull(0, &mut out);
        assert!(out.is_empty());
        u.pull(u64::from(BLOCK_LEN) + 1, &mut out);
        assert_eq!(out, [block(0), block(2)]);
        assert_eq!(u.bytes(), (MAX_QUEUED as u64 - 3) * u64::from(BLOCK_LEN));
        assert_eq!(u.take_piece(PieceIndex(7)), [block(7)]);
        assert_eq!(u.bytes(), (MAX_QUEUED as u64 - 4) * u64::from(BLOCK_LEN));
        assert_eq!(u.clear().count(), MAX_QUEUED - 4);
        assert!(u.is_empty() && u.bytes() == 0);
    }
}
