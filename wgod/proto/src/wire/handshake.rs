//! The 68 bytes that open a connection (BEP 3), and the reserved bits in them (BEP 5, 6, 10, 52).
use std::fmt;
use std::ops::BitOr;

use super::error::HandshakeError;
use crate::units::{PeerId, WireHash};

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// How every handshake begins: the length of the protocol's name, then the name.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// What each side sends first (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Extensions that the sender knows.
    pub reserved: Reserved,
    /// The torrent.
    pub hash: WireHash,
    /// The sender.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads a whole handshake. Fails when it doesn't begin with the protocol's name.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, HandshakeError> {
        let (mut found, mut reserved) = ([0; 20], [0; 8]);
        let (mut hash, mut peer_id) = ([0; 20], [0; 20]);
        found.copy_from_slice(&bytes[..20]);
        if found != *PROTOCOL {
            return Err(HandshakeError { found });
        }
        reserved.copy_from_slice(&bytes[20..28]);
        hash.copy_from_slice(&bytes[28..48]);
        peer_id.copy_from_slice(&bytes[48..]);
        Ok(Self { reserved: Reserved(reserved), hash: WireHash(hash), peer_id: PeerId(peer_id) })
    }

    /// Whether a connection whose first bytes are `start` can still become a plain handshake: what
    /// tells it from an encrypted one, whose first bytes are random.
    pub fn may_begin_with(start: &[u8]) -> bool {
        start.iter().zip(PROTOCOL).all(|(came, wanted)| came == wanted)
    }
}

/// The eight reserved bytes of a handshake. Bits that we don't know are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// The sender runs a DHT node (BEP 5).
    pub const DHT: Self = Self([0, 0, 0, 0, 0, 0, 0, 0x01]);
    /// The fast extension (BEP 6).
    pub const FAST: Self = Self([0, 0, 0, 0, 0, 0, 0, 0x04]);
    /// The extension protocol (BEP 10).
    pub const EXTENSIONS: Self = Self([0, 0, 0, 0, 0, 0x10, 0, 0]);
    /// The sender of a hybrid's v1 hash would also take its v2 hash in the answer (BEP 52).
    pub const V2: Self = Self([0, 0, 0, 0, 0, 0, 0, 0x10]);

    /// Whether the sender runs a DHT node (BEP 5).
    pub fn dht(self) -> bool {
        self.contains(Self::DHT)
    }

    /// Whether the sender knows the fast extension (BEP 6).
    pub fn fast(self) -> bool {
        self.contains(Self::FAST)
    }

    /// Whether the sender knows the extension protocol (BEP 10).
    pub fn extensions(self) -> bool {
        self.contains(Self::EXTENSIONS)
    }

    /// Whether the sender would take the v2 hash of a hybrid (BEP 52).
    pub fn v2(self) -> bool {
        self.contains(Self::V2)
    }

    fn contains(self, bits: Self) -> bool {
        self.0.iter().zip(bits.0).all(|(mine, wanted)| mine & wanted == wanted)
    }
}

impl BitOr for Reserved {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x})", u64::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_bep() {
        let handshake = Handshake {
            reserved: Reserved::EXTENSIONS | Reserved::FAST | Reserved::DHT | Reserved::V2,
            hash: WireHash([b'h'; 20]),
            peer_id: PeerId([b'p'; 20]),
        };
        let expected = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x15hhhhhhhhhhhhhhhhhhhhpppppppppppppppppppp";
        assert_eq!(&handshake.encode(), expected);
    }

    #[test]
    fn each_bit_reads_alone() {
        let read = |r: Reserved| [r.dht(), r.fast(), r.extensions(), r.v2()];
        assert_eq!(read(Reserved::default()), [false; 4]);
        assert_eq!(read(Reserved([0xff; 8])), [true; 4]);
        for (i, bit) in
            [Reserved::DHT, Reserved::FAST, Reserved::EXTENSIONS, Reserved::V2].into_iter().enumerate()
        {
            assert_eq!(read(bit), std::array::from_fn(|j| i == j));
        }
    }

    #[test]
    fn another_protocol_is_refused_with_what_came() {
        let mut bytes = [b' '; HANDSHAKE_LEN];
        bytes[..14].copy_from_slice(b"GET / HTTP/1.1");
        let error = Handshake::decode(&bytes).unwrap_err();
        assert_eq!(error.found, *b"GET / HTTP/1.1      ");
        assert!(error.to_string().contains("GET / HTTP"), "{error}");
        assert!(!Handshake::may_begin_with(&bytes[..1]));
        assert!(!Handshake::may_begin_with(b"\x13Bit torrent"));
        for len in 0..=20 {
            assert!(Handshake::may_begin_with(&PROTOCOL[..len]));
        }
        assert!(Handshake::may_begin_with(b"\x13BitTorrent protocol, then anything"));
    }

    proptest! {
        #[test]
        fn every_handshake_round_trips(reserved: [u8; 8], hash: [u8; 20], id: [u8; 20]) {
            let handshake =
                Handshake { reserved: Reserved(reserved), hash: WireHash(hash), peer_id: PeerId(id) };
            prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        }
    }
}
