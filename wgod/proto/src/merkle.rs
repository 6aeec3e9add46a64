//! SHA-256 Merkle trees over 16 KiB blocks (BEP 52).
//!
//! A tree has a power of two of leaves; leaves beyond the end of the file are 32 zero bytes. A *piece
//! layer* is the row of the tree in which one hash covers one piece.
use sha2::{Digest, Sha256};

/// A node of the tree.
pub type Hash = [u8; 32];

/// The part of a file's tree that is over one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// Leaves, a power of two; those beyond the data are zero.
    pub width: u32,
    /// Bytes of data, from the start of the piece; a hybrid's pad files are not part of it.
    pub len: u32,
}

/// The leaf of one block: its SHA-256, however short the block is.
pub fn leaf(block: &[u8]) -> Hash {
    Sha256::digest(block).into()
}

/// The node above two nodes.
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The root over `2^height` leaves that are all beyond the end of the file.
pub fn padding(height: u32) -> Hash {
    (0..height).fold([0; 32], |node, _| parent(&node, &node))
}

/// The root of a tree whose lowest row is `row`, filled up with `pad` to `width` nodes. `width` counts as
/// the next power of two, and as no less than the row is long.
pub fn root(row: &[Hash], width: usize, pad: Hash) -> Hash {
    let mut width = width.max(row.len()).next_power_of_two();
    let mut pad = pad;
    let mut row = row.to_vec();
    while width > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => parent(left, right),
                [left, ..] => parent(left, &pad),
                [] => pad,
            })
            .collect();
        pad = parent(&pad, &pad);
        width /= 2;
    }
    row.first().copied().unwrap_or(pad)
}

/// The root over block hashes in a tree of `width` leaves: what a piece, or a file of at most one piece,
/// must hash to.
pub fn leaves_root(leaves: &[Hash], width: usize) -> Hash {
    root(leaves, width, [0; 32])
}

/// The file's root, from its complete piece layer; each hash covers `2^piece_height` blocks.
pub fn layer_root(layer: &[Hash], piece_height: u32) -> Hash {
    root(layer, layer.len(), padding(piece_height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by recursion over a complete row.
    fn by_definition(row: &[Hash]) -> Hash {
        match row {
            [node] => *node,
            _ => {
                let (left, right) = row.split_at(row.len() / 2);
                parent(&by_definition(left), &by_definition(right))
            }
        }
    }

    proptest! {
        #[test]
        fn a_short_row_has_the_root_of_the_filled_one(len in 0usize..40, extra in 0u32..3) {
            let row: Vec<Hash> = (0..len).map(|index| leaf(&[index as u8])).collect();
            let width = len.next_power_of_two() << extra;
            let mut full = row.clone();
            full.resize(width, padding(2));
            prop_assert_eq!(root(&row, width, padding(2)), by_definition(&full));
        }

        #[test]
        fn a_layer_has_the_root_of_its_leaves(blocks in 1usize..70, piece_height in 0u32..4) {
            let leaves: Vec<Hash> = (0..blocks).map(|index| leaf(&[index as u8])).collect();
            let per_piece = 1 << piece_height;
            prop_assume!(blocks > per_piece);
            let layer: Vec<Hash> = leaves.chunks(per_piece).map(|piece| leaves_root(piece, per_piece)).collect();
            prop_assert_eq!(layer_root(&layer, piece_height), leaves_root(&leaves, blocks));
        }
    }

    #[test]
    fn padding_is_a_tree_of_zeros() {
        assert_eq!(padding(0), [0; 32]);
        assert_eq!(padding(3), by_definition(&[[0; 32]; 8]));
    }
}
