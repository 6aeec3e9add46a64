//! Which pieces a peer may have while choked (BEP 6, "Allowed Fast Set Generation").
use std::net::Ipv4Addr;

use sha1::{Digest, Sha1};

use crate::units::{PieceIndex, WireHash};

/// Pieces in a peer's set, as BEP 6 suggests: enough to begin trading, too few to live on.
pub const ALLOWED_FAST_COUNT: usize = 10;

/// The set of `count` pieces that every peer works out for the peer at `ip`: first three octets and
/// info-hash, hashed again and again, give the indices. A larger `count` appends to the same list.
///
/// Has all `pieces` when these are no more than `count`. BEP 6 defines it for IPv4 only.
pub fn allowed_fast(ip: Ipv4Addr, hash: &WireHash, pieces: u32, count: usize) -> Vec<PieceIndex> {
    if pieces as usize <= count {
        return (0..pieces).map(PieceIndex).collect();
    }
    let [a, b, c, _] = ip.octets();
    let mut x = Sha1::new().chain_update([a, b, c, 0]).chain_update(hash.0).finalize();
    let mut set = Vec::with_capacity(count);
    loop {
        for four in x.as_chunks::<4>().0 {
            if set.len() == count {
                return set;
            }
            let piece = PieceIndex(u32::from_be_bytes(*four) % pieces);
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        x = Sha1::digest(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of BEP 6.
    #[test]
    fn the_vectors_of_the_bep_come_out() {
        let all = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508].map(PieceIndex);
        for count in [0, 1, 7, 9] {
            let set = allowed_fast(Ipv4Addr::new(80, 4, 4, 200), &WireHash([0xaa; 20]), 1313, count);
            assert_eq!(set, all[..count]);
        }
    }

    #[test]
    fn neighbours_share_a_set_and_others_do_not() {
        let set = |ip: [u8; 4]| allowed_fast(ip.into(), &WireHash([7; 20]), 5000, 10);
        assert_eq!(set([10, 1, 2, 3]), set([10, 1, 2, 250]));
        assert_ne!(set([10, 1, 2, 3]), set([10, 1, 3, 3]));
    }

    #[test]
    fn small_torrents_give_each_piece_once() {
        for pieces in 0..40 {
            let mut set = allowed_fast(Ipv4Addr::LOCALHOST, &WireHash([1; 20]), pieces, 10);
            set.sort_unstable();
            set.dedup();
            assert_eq!(set.len(), 10.min(pieces as usize));
            assert!(set.iter().all(|piece| piece.0 < pieces));
        }
    }
}
