//! Digests of a piece's blocks, taken where the piece is hashed: core finds with them who sent wrong ones.
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use wgo_core::smart_ban::{Digest, Digests};

use super::buf::BlockBuf;
use super::job::contain;

type Tell = Box<dyn FnOnce(bool, &Digests) + Send>;

/// Whoever wants the digests of a piece: of one that is wrong, or always.
pub struct Witness {
    key: RandomState,
    always: bool,
    /// What was read back, by block number: right if the piece is.
    spilled: Vec<(usize, Digest)>,
    tell: Tell,
}

impl Witness {
    /// `tell` hears whether the piece is right, and its digests, before the job is done; only when it is wrong unless
    /// `always`. `key` is the secret of this run.
    pub fn new(
        key: RandomState,
        always: bool,
        tell: impl FnOnce(bool, &Digests) + Send + 'static,
    ) -> Witness {
        Witness { key, always, spilled: Vec::new(), tell: Box::new(tell) }
    }

    /// A block was read back to be hashed with the others.
    pub(super) fn see_spilled(&mut self, number: u32, block: &[u8]) {
        if self.always {
            self.spilled.push((number as usize, Digest(self.key.hash_one(block))));
        }
    }

    /// The piece was hashed. Of a wrong one, blocks that were spilled have no digests: a disk may have changed them.
    pub(super) fn hear(self, right: bool, blocks: &[Option<BlockBuf>]) {
        if right && !self.always {
            return;
        }
        let digest = |block: &BlockBuf| Digest(self.key.hash_one(&block[..]));
        let mut digests: Vec<_> = blocks.iter().map(|block| block.as_ref().map(digest)).collect();
        for (number, digest) in self.spilled.into_iter().filter(|_| right) {
            if let Some(place) = digests.get_mut(number) {
                *place = Some(digest);
            }
        }
        contain(|| (self.tell)(right, &digests));
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}
