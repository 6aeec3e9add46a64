//! Whether a piece's bytes are the ones that the torrent promises (BEP 3, BEP 52).
use sha1::Sha1;
use sha2::{Digest, Sha256};
use wgo_proto::metainfo::{Info, PieceCheck, SubtreeCheck};
use wgo_proto::{BLOCK_LEN, PieceIndex, merkle};

/// Zeros to hash in place of pad files.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Takes a piece's bytes in order.
pub(super) struct Verifier {
    sha1: Option<Sha1>,
    tree: Option<Tree>,
}

/// What a piece hashes to: SHA-1 of all of it, root of its subtree; whichever the torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    v1: Option<[u8; 20]>,
    v2: Option<merkle::Hash>,
}

/// The Merkle tree over a piece, one leaf for each block.
struct Tree {
    width: usize,
    /// Bytes of data still to come; what follows them is padding.
    left: usize,
    leaves: Vec<merkle::Hash>,
    block: Sha256,
    /// Bytes of the current block so far.
    filled: usize,
}

/// What the piece must hash to; `None` while nothing can verify it (its v2 layer isn't known).
pub(super) fn wanted(info: &Info, piece: PieceIndex) -> Option<Digests> {
    Some(match info.hashes.check(piece)? {
        PieceCheck::V1(v1) => Digests { v1: Some(v1), v2: None },
        PieceCheck::V2(v2) => Digests { v1: None, v2: Some(v2.root) },
        PieceCheck::Both(v1, v2) => Digests { v1: Some(v1), v2: Some(v2.root) },
    })
}

impl Verifier {
    pub(super) fn new(info: &Info, piece: PieceIndex) -> Verifier {
        let tree = info.hashes.v2(piece).map(Tree::new);
        Verifier { sha1: info.hashes.v1(piece).map(|_| Sha1::new()), tree }
    }

    /// The next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(tree) = &mut self.tree {
            tree.update(bytes);
        }
    }

    /// The next `len` bytes, which are zeros: padding, or a hole.
    pub(super) fn update_zeros(&mut self, mut len: usize) {
        while len > 0 {
            let n = len.min(ZEROS.len());
            self.update(&ZEROS[..n]);
            len -= n;
        }
    }

    /// What that hashes to: to be compared with [`wanted`].
    pub(super) fn finish(self) -> Digests {
        Digests { v1: self.sha1.map(|sha1| sha1.finalize().into()), v2: self.tree.map(Tree::root) }
    }
}

impl Tree {
    fn new(check: SubtreeCheck) -> Tree {
        let SubtreeCheck { width, len, .. } = check;
        let leaves = Vec::with_capacity(len.div_ceil(BLOCK_LEN) as usize);
        Tree { width: width as usize, left: len as usize, leaves, block: Sha256::new(), filled: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        let mut bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_LEN as usize - self.filled));
            self.block.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_LEN as usize {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.leaves.push(self.block.finalize_reset().into());
        self.filled = 0;
    }

    fn root(mut self) -> merkle::Hash {
        if self.filled > 0 {
            self.end_block();
        }
        merkle::leaves_root(&self.leaves, self.width)
    }
}
