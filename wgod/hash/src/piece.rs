//! What a piece's bytes hash to: SHA-1 (BEP 3) and the root of its Merkle tree (BEP 52).
//!
//! The daemon compares it with what a torrent promises, `wgoctl create` makes the promise.
use smallvec::SmallVec;
use wgo_proto::merkle::Subtree;
use wgo_proto::metainfo::{Info, PieceCheck};
use wgo_proto::{BLOCK_LEN, PieceIndex, merkle};

use crate::{MAX_LANES, Sha1, Sha256, Stream};

/// Zeros to hash in place of pad files.
pub static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Takes a piece's bytes in order.
pub struct PieceHasher {
    sha1: Option<Stream<Sha1>>,
    tree: Option<Tree>,
}

/// What a piece hashes to: SHA-1 of all of it, root of its subtree; whichever the torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-1.
    pub v1: Option<[u8; 20]>,
    /// The root.
    pub v2: Option<merkle::Hash>,
}

/// The Merkle tree over a piece, one leaf for each block.
struct Tree {
    width: usize,
    /// Bytes of data still to come; what follows them is padding.
    left: usize,
    leaves: Vec<merkle::Hash>,
    /// A block that has not come whole.
    block: Stream<Sha256>,
    /// Its bytes so far.
    filled: usize,
}

/// What the piece must hash to; `None` while nothing can verify it (its v2 layer isn't known).
pub fn wanted(info: &Info, piece: PieceIndex) -> Option<Digests> {
    Some(match info.hashes.check(piece)? {
        PieceCheck::V1(v1) => Digests { v1: Some(v1), v2: None },
        PieceCheck::V2(v2) => Digests { v1: None, v2: Some(v2.root) },
        PieceCheck::Both(v1, v2) => Digests { v1: Some(v1), v2: Some(v2.root) },
    })
}

/// Gives each piece its next bytes; hashed together, which is faster than one after the other.
pub fn update_all(pieces: &mut [&mut PieceHasher], inputs: &[&[u8]]) {
    let mut streams: SmallVec<[&mut Stream<Sha1>; MAX_LANES]> = SmallVec::new();
    let mut of_streams: SmallVec<[&[u8]; MAX_LANES]> = SmallVec::new();
    let mut trees: SmallVec<[(&mut Tree, &[u8]); MAX_LANES]> = SmallVec::new();
    for (piece, &input) in pieces.iter_mut().zip(inputs) {
        if let Some(stream) = &mut piece.sha1 {
            streams.push(stream);
            of_streams.push(input);
        }
        if let Some(tree) = &mut piece.tree {
            trees.push((tree, input));
        }
    }
    crate::update(&mut streams, &of_streams);
    grow(&mut trees);
}

impl PieceHasher {
    /// Takes SHA-1, a Merkle tree, or both.
    pub fn new(v1: bool, v2: Option<Subtree>) -> PieceHasher {
        PieceHasher { sha1: v1.then(Stream::new), tree: v2.map(Tree::new) }
    }

    /// Takes what the torrent has of the piece.
    pub fn of(info: &Info, piece: PieceIndex) -> PieceHasher {
        let tree = info.hashes.v2(piece).map(|check| Subtree { width: check.width, len: check.len });
        PieceHasher::new(info.hashes.v1(piece).is_some(), tree)
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        update_all(&mut [self], &[bytes]);
    }

    /// The next `len` bytes, which are zeros: padding, or a hole.
    pub fn update_zeros(&mut self, mut len: usize) {
        while len > 0 {
            let n = len.min(ZEROS.len());
            self.update(&ZEROS[..n]);
            len -= n;
        }
    }

    /// What that hashes to: to be compared with [`wanted`].
    pub fn finish(self) -> Digests {
        Digests { v1: self.sha1.map(Stream::finish), v2: self.tree.map(Tree::root) }
    }
}

/// Gives each tree its next bytes. All whole blocks among them are hashed together, whichever tree
/// they are leaves of.
fn grow(trees: &mut [(&mut Tree, &[u8])]) {
    let mut blocks: SmallVec<[&[u8]; MAX_LANES]> = SmallVec::new();
    let mut counts: SmallVec<[usize; MAX_LANES]> = SmallVec::new();
    for (tree, input) in trees.iter_mut() {
        let rest = tree.complete_block(input);
        let (whole, tail) = rest.split_at(rest.len() / BLOCK_LEN as usize * BLOCK_LEN as usize);
        counts.push(whole.len() / BLOCK_LEN as usize);
        blocks.extend(whole.chunks_exact(BLOCK_LEN as usize));
        *input = tail;
    }
    let mut owners = counts.iter().enumerate().flat_map(|(n, &count)| std::iter::repeat_n(n, count));
    crate::digests::<Sha256>(&blocks, |leaf| {
        if let Some((tree, _)) = owners.next().and_then(|owner| trees.get_mut(owner)) {
            tree.leaves.push(leaf);
        }
    });
    for (tree, tail) in trees {
        tree.begin_block(tail);
    }
}

impl Tree {
    fn new(Subtree { width, len }: Subtree) -> Tree {
        let leaves = Vec::with_capacity(len.div_ceil(BLOCK_LEN) as usize);
        Tree { width: width as usize, left: len as usize, leaves, block: Stream::new(), filled: 0 }
    }

    /// Completes a block that was begun, as far as the bytes go; returns those after it, padding cut off.
    fn complete_block<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        if self.filled == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK_LEN as usize - self.filled));
        self.begin_block(now);
        if self.filled == BLOCK_LEN as usize {
            self.end_block();
        }
        later
    }

    /// Adds bytes to a block that they don't complete.
    fn begin_block(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            crate::update(&mut [&mut self.block], &[bytes]);
            self.filled += bytes.len();
        }
    }

    fn end_block(&mut self) {
        self.leaves.push(std::mem::take(&mut self.block).finish());
        self.filled = 0;
    }

    fn root(mut self) -> merkle::Hash {
        if self.filled > 0 {
            self.end_block();
        }
        merkle::leaves_root(&self.leaves, self.width)
    }
}
