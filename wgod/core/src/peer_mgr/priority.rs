//! Canonical peer priority: a number that both ends of a connection compute alike (BEP 40).
//!
//! When everyone prefers connections of high priority, the swarm becomes a random graph that no peer can
//! steer, and both ends agree on which connections are worth keeping.
use std::net::{IpAddr, SocketAddr};

use crate::crc32c::crc32c;

/// The priority of a connection between the two addresses, in either order. Addresses of different
/// families have none in common: zero.
pub fn canonical_priority(a: SocketAddr, b: SocketAddr) -> u32 {
    if a.ip() == b.ip() {
        let (low, high) = (a.port().min(b.port()), a.port().max(b.port()));
        return crc32c(&[low.to_be_bytes(), high.to_be_bytes()].concat());
    }
    match (a.ip(), b.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => of_masked(a.octets(), b.octets(), 2),
        (IpAddr::V6(a), IpAddr::V6(b)) => of_masked(a.octets(), b.octets(), 6),
        _ => 0,
    }
}

/// Bytes beyond the first `whole` count with every other bit only, so that one network has not as many
/// priorities to choose from as it has addresses. Where the common prefix reaches further, so do the
/// whole bytes, and one more.
fn of_masked<const N: usize>(mut a: [u8; N], mut b: [u8; N], whole: usize) -> u32 {
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = if common >= whole { common + 1 } else { whole };
    a.iter_mut()
        .chain(&mut b)
        .enumerate()
        .filter(|(i, _)| i % N >= whole)
        .for_each(|(_, byte)| *byte &= 0x55);
    crc32c(&[a.min(b), a.max(b)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn priorities_are_those_of_the_bep_and_the_same_from_both_ends() {
        for (ours, theirs, expected) in [
            // The two examples in BEP 40.
            ("123.213.32.10:0", "98.76.54.32:0", 0xec2d_7224u32),
            ("123.213.32.10:0", "123.213.32.234:0", 0x9956_8189),
            // Same /16; same address; and IPv6 by growing common prefix, as other clients compute them.
            ("123.213.32.10:51413", "123.213.33.234:6881", 0xf618_50a9),
            ("123.213.32.10:51413", "123.213.32.10:6881", 0x9f85_2e9f),
            (
                "[2a03:2880:f277:1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:185:face:b00c:0:25de]:2",
                0xe4d0_f2e2,
            ),
            (
                "[2a03:2880:f177:f1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:f285:face:b00c:0:25de]:2",
                0xcd99_3d35,
            ),
            (
                "[2a03:2880:f177:1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:185:face:b00c:0:25de]:2",
                0xf47e_9889,
            ),
            (
                "[2a03:2880:f177:1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:1cd:face:b00d:0:25de]:2",
                0x47fc_5342,
            ),
            (
                "[2a03:2880:f177:1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:1cd:face:b00c:0:16de]:2",
                0x74cf_65f6,
            ),
            ("[2a03:2880:f177::167]:6882", "[2a03:2880:f177::167]:6881", 0x67f8_fe57),
        ] {
            assert_eq!(canonical_priority(at(ours), at(theirs)), expected, "{ours} {theirs}");
            assert_eq!(canonical_priority(at(theirs), at(ours)), expected, "{theirs} {ours}");
        }
        assert_eq!(canonical_priority(at("1.2.3.4:1"), at("[::1]:1")), 0);
    }
}
