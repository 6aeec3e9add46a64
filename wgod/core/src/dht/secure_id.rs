//! Ids that are bound to their node's address (BEP 42): nobody chooses a place near a given info-hash.
use std::net::IpAddr;

use wgo_proto::NodeId;

use super::address::is_local;
use crate::crc32c::crc32c;

/// An id for a node whose address, as others see it, is `ip`.
pub(super) fn secure_id(ip: IpAddr, rng: &mut fastrand::Rng) -> NodeId {
    let mut id = random_id(rng);
    let [a, b, c, _] = prefix(ip, id.0[19]).to_be_bytes();
    id.0[0] = a;
    id.0[1] = b;
    id.0[2] = c & 0xf8 | id.0[2] & 0x07;
    id
}

/// Any point.
pub(super) fn random_id(rng: &mut fastrand::Rng) -> NodeId {
    NodeId(std::array::from_fn(|_| rng.u8(..)))
}

/// Whether a node at `ip` may have this id. Nodes of local networks may have any.
pub(super) fn is_secure(id: NodeId, ip: IpAddr) -> bool {
    let expected = prefix(ip, id.0[19]).to_be_bytes();
    is_local(ip) || id.0[..2] == expected[..2] && id.0[2] & 0xf8 == expected[2] & 0xf8
}

/// The number whose first 21 bits an id begins with, for the id's last byte.
fn prefix(ip: IpAddr, last: u8) -> u32 {
    let r = (last & 7) << 5;
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            crc32c(&[a & 0x03 | r, b & 0x0f, c & 0x3f, d])
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            crc32c(&[a & 0x01 | r, b & 0x03, c & 0x07, d & 0x0f, e & 0x1f, f & 0x3f, g & 0x7f, h])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_bep_are_secure_and_others_are_not() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let (ip, id): (IpAddr, NodeId) = (ip.parse().unwrap(), id.parse().unwrap());
            assert!(is_secure(id, ip), "{ip}");
            // The first 21 bits count, the next do not.
            assert!((0..21).all(|bit| !is_secure(id.flipped(bit), ip)), "{ip}");
            assert!((21..157).all(|bit| is_secure(id.flipped(bit), ip)), "{ip}");
            assert!(is_secure(id.flipped(3), "192.168.3.4".parse().unwrap()));
        }
    }

    proptest! {
        #[test]
        fn ids_that_we_make_are_secure(four: [u8; 4], six: [u8; 16], seed: u64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            for ip in [IpAddr::from(four), IpAddr::from(six)] {
                prop_assert!(is_secure(secure_id(ip, &mut rng), ip));
            }
        }
    }
}
