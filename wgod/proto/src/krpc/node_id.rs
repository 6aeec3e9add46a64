//! Points of the DHT's space and how far apart they are (BEP 5): Kademlia's metric, exclusive or.
use crate::units::{NodeId, WireHash};

/// How far two points are apart. The order is that of the number, most significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance(pub [u8; 20]);

impl NodeId {
    /// Bits of an id.
    pub const BITS: u32 = 160;

    /// The distance to another point, the same from both ends; zero to itself only.
    pub fn distance(self, other: impl Into<NodeId>) -> Distance {
        let other = other.into();
        Distance(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// Leading bits that both have in common: 160 for the same point.
    pub fn common_prefix(self, other: impl Into<NodeId>) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// Bit `index`, counted from the most significant one; not set when there is no such bit.
    pub fn bit(self, index: u32) -> bool {
        self.0.get((index / 8) as usize).is_some_and(|byte| byte & 0x80 >> (index % 8) != 0)
    }

    /// The same point with bit `index`, counted from the most significant one, turned over; as it is when
    /// there is no such bit.
    pub fn flipped(mut self, index: u32) -> NodeId {
        if let Some(byte) = self.0.get_mut((index / 8) as usize) {
            *byte ^= 0x80 >> (index % 8);
        }
        self
    }
}

impl Distance {
    /// Leading bits that are zero.
    pub fn leading_zeros(self) -> u32 {
        match self.0.iter().position(|byte| *byte != 0) {
            Some(at) => at as u32 * 8 + self.0[at].leading_zeros(),
            None => NodeId::BITS,
        }
    }
}

impl From<WireHash> for NodeId {
    fn from(hash: WireHash) -> NodeId {
        NodeId(hash.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_distance_is_a_metric(a: [u8; 20], b: [u8; 20], c: [u8; 20]) {
            let (a, b, c) = (NodeId(a), NodeId(b), NodeId(c));
            prop_assert_eq!(a.distance(b), b.distance(a));
            prop_assert_eq!(a.distance(a), Distance([0; 20]));
            // Exclusive or: the distances of a triangle cancel.
            let sum: Vec<u8> = (0..20).map(|i| a.distance(b).0[i] ^ b.distance(c).0[i]).collect();
            prop_assert_eq!(&sum[..], &a.distance(c).0[..]);
        }

        #[test]
        fn points_that_differ_first_in_a_bit_have_the_bits_before_it_in_common(a: [u8; 20], bit in 0u32..160) {
            let a = NodeId(a);
            prop_assert_eq!(a.common_prefix(a.flipped(bit)), bit);
            prop_assert_eq!(a.flipped(bit).flipped(bit), a);
            prop_assert!(a.bit(bit) != a.flipped(bit).bit(bit) && !a.bit(160));
            prop_assert_eq!(a.common_prefix(a.flipped(160)), 160);
        }
    }
}
