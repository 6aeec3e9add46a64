//! Index, hash and identity types that every floor shares (BEP 3, BEP 52).
use std::fmt;
use std::str::FromStr;

/// Bytes of a block, the unit of a request: 16 KiB, the last of a piece may be shorter (BEP 3).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Position of a piece in its torrent, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(pub u32);

/// Position of a file in its torrent's list of files, from 0, pad files counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIndex(pub u32);

/// A run of bytes inside one piece: what `request`, `piece` and `cancel` name (BEP 3).
///
/// As decoded from the wire it is only well-formed; `Layout::check` makes sure that it lies inside
/// the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece.
    pub piece: PieceIndex,
    /// First byte within the piece.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

impl Block {
    /// The block's number within its piece, for a block that starts on a 16 KiB boundary.
    pub fn number(self) -> u32 {
        self.offset / BLOCK_LEN
    }
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // A piece at a time: lists of thousands of torrents show their hashes.
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let mut text = String::with_capacity(2 * self.0.len());
                for byte in self.0 {
                    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    text.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
                f.write_str(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NotHex;

            /// Reads exactly the hexadecimal form that `Display` writes, in either case.
            fn from_str(s: &str) -> Result<Self, NotHex> {
                let mut out = [0; $len];
                from_hex(s, &mut out).map(|()| Self(out))
            }
        }
    };
}

bytes_id!(
    /// SHA-1 of the `info` dictionary (BEP 3).
    InfoHashV1, 20
);
bytes_id!(
    /// SHA-256 of the `info` dictionary (BEP 52).
    InfoHashV2, 32
);
bytes_id!(
    /// What a handshake and an announce carry: the v1 info-hash, or the first 20 bytes of the v2 one.
    WireHash, 20
);
bytes_id!(
    /// A node of the DHT, or any other point of the space in which nodes and info-hashes lie (BEP 5).
    NodeId, 20
);

/// The text is not hexadecimal of the right length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found} characters")]
pub struct NotHex {
    /// Digits that the type takes.
    pub expected: usize,
    /// Characters that came.
    pub found: usize,
}

fn from_hex(s: &str, out: &mut [u8]) -> Result<(), NotHex> {
    let wrong = || NotHex { expected: out.len() * 2, found: s.chars().count() };
    if s.len() != out.len() * 2 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
    for (byte, pair) in out.iter_mut().zip(s.as_bytes().chunks_exact(2)) {
        *byte = pair.iter().fold(0, |acc, &b| acc << 4 | digit(b));
    }
    Ok(())
}

/// The info-hashes of one torrent: v1, v2, or both for a hybrid. At least one is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InfoHashes {
    /// Present for v1 and hybrid torrents.
    pub v1: Option<InfoHashV1>,
    /// Present for v2 and hybrid torrents.
    pub v2: Option<InfoHashV2>,
}

impl InfoHashes {
    /// Every 20-byte hash that this torrent answers to on the wire, the preferred one first.
    pub fn wire(&self) -> impl Iterator<Item = WireHash> {
        let v2 = self.v2.map(|h| {
            let mut short = [0; 20];
            short.copy_from_slice(&h.0[..20]);
            WireHash(short)
        });
        self.v1.map(|h| WireHash(h.0)).into_iter().chain(v2)
    }

    /// The 20 bytes that name this torrent to people and never change: v1, else v2 truncated.
    pub fn canonical(&self) -> WireHash {
        self.wire().next().unwrap_or(WireHash([0; 20]))
    }
}

/// A peer's 20-byte identity of one session (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_other_text() {
        let hash = InfoHashV1(std::array::from_fn(|i| (i * 13) as u8));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for bad in ["", "00", &"0".repeat(39), &"g".repeat(40), &"é".repeat(20)] {
            assert!(bad.parse::<InfoHashV1>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hybrid_answers_to_two_wire_hashes_and_is_named_by_v1() {
        let both = InfoHashes { v1: Some(InfoHashV1([1; 20])), v2: Some(InfoHashV2([2; 32])) };
        assert_eq!(both.wire().collect::<Vec<_>>(), [WireHash([1; 20]), WireHash([2; 20])]);
        assert_eq!(both.canonical(), WireHash([1; 20]));
        assert_eq!(InfoHashes { v1: None, ..both }.canonical(), WireHash([2; 20]));
    }
}
