//! The filters by which a torrent's peers are counted over many nodes without naming them (BEP 33).
use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::compact;

/// A set of addresses of which only the size can be told, roughly.
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter(pub [u8; BloomFilter::LEN]);

impl BloomFilter {
    /// Bytes.
    pub const LEN: usize = 256;

    const BITS: usize = Self::LEN * 8;

    /// Bits that an address sets.
    const HASHES: f64 = 2.0;

    /// Adds an address, never a port.
    pub fn insert(&mut self, ip: IpAddr) {
        for bit in bits_of(ip) {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether the address may have been added; `false` is certain.
    pub fn may_contain(&self, ip: IpAddr) -> bool {
        bits_of(ip).iter().all(|bit| self.0[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Adds what another filter has.
    pub fn union(&mut self, other: &[u8; BloomFilter::LEN]) {
        self.0.iter_mut().zip(other).for_each(|(ours, theirs)| *ours |= theirs);
    }

    /// How many addresses were added, estimated. Fit for up to 6000; a full filter says about 7800.
    pub fn estimate(&self) -> f64 {
        let bits = Self::BITS as f64;
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        // A full filter has no logarithm: as if one bit were left.
        let zeros = f64::from(zeros).clamp(1.0, bits - 1.0);
        if self.0 == [0; Self::LEN] {
            return 0.0;
        }
        (zeros / bits).ln() / (Self::HASHES * (1.0 - 1.0 / bits).ln())
    }
}

impl Default for BloomFilter {
    fn default() -> Self {
        BloomFilter([0; Self::LEN])
    }
}

impl std::fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BloomFilter(~{:.0})", self.estimate())
    }
}

fn bits_of(ip: IpAddr) -> [usize; 2] {
    let hash: [u8; 20] = Sha1::digest(compact::ip_bytes(ip)).into();
    let bit = |low: u8, high: u8| usize::from(u16::from_le_bytes([low, high])) % BloomFilter::BITS;
    [bit(hash[0], hash[1]), bit(hash[2], hash[3])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The filter of the BEP's example.
    const EXAMPLE: &str = "\
        F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE \
        FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B \
        7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F \
        D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3 \
        FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5 \
        BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57 \
        62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6 \
        FD8F72EF";

    #[test]
    fn the_example_of_the_bep_comes_out_byte_for_byte() {
        let mut filter = BloomFilter::default();
        (0..=255u8).for_each(|last| filter.insert(IpAddr::from([192, 0, 2, last])));
        for last in 0..=0x3e7u16 {
            filter.insert(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]));
        }
        let hex: String = filter.0.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(hex, EXAMPLE.replace(' ', ""));
        assert!((filter.estimate() - 1224.9308).abs() < 0.001, "{}", filter.estimate());
    }

    #[test]
    fn the_estimate_is_a_number_for_any_filter() {
        assert_eq!(BloomFilter::default().estimate(), 0.0);
        let full = BloomFilter([0xff; 256]).estimate();
        assert!((7000.0..9000.0).contains(&full), "{full}");
    }

    proptest! {
        #[test]
        fn a_union_contains_what_either_contains(ours: Vec<[u8; 4]>, theirs: Vec<[u8; 16]>) {
            let (mut a, mut b) = (BloomFilter::default(), BloomFilter::default());
            ours.iter().for_each(|ip| a.insert(IpAddr::from(*ip)));
            theirs.iter().for_each(|ip| b.insert(IpAddr::from(*ip)));
            a.union(&b.0);
            prop_assert!(ours.iter().all(|ip| a.may_contain(IpAddr::from(*ip))));
            prop_assert!(theirs.iter().all(|ip| a.may_contain(IpAddr::from(*ip))));
        }
    }
}
