//! Items that nodes store for anybody (BEP 44): where they lie, and what their signature is made of.
use sha1::{Digest, Sha1};

use crate::bencode::Encoder;
use crate::units::NodeId;

/// Bytes of an item's bencoded value at most.
pub const MAX_VALUE: usize = 1000;

/// Bytes of a mutable item's salt at most.
pub const MAX_SALT: usize = 64;

/// A value, and for a mutable item who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Exactly one bencoded value, as it came: what is hashed and signed.
    pub value: &'a [u8],
    /// `None` for an immutable item.
    pub signed: Option<Signed<'a>>,
}

/// What makes an item one that its owner can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Ed25519 public key of the owner.
    pub key: &'a [u8; 32],
    /// Grows with each version.
    pub seq: i64,
    /// Ed25519 signature over [`Item::signed_bytes`]. Nobody has verified it yet.
    pub signature: &'a [u8; 64],
    /// Tells items of one owner apart; mostly empty.
    pub salt: &'a [u8],
}

impl<'a> Item<'a> {
    /// Where the item lies: the hash of its value, or of key and salt.
    pub fn target(&self) -> NodeId {
        match &self.signed {
            None => immutable_target(self.value),
            Some(signed) => mutable_target(signed.key, signed.salt),
        }
    }

    /// What a mutable item's signature is made over; `None` for an immutable one.
    pub fn signed_bytes(&self) -> Option<Vec<u8>> {
        let Signed { seq, salt, .. } = self.signed?;
        let mut out = Vec::with_capacity(self.value.len() + salt.len() + 48);
        if !salt.is_empty() {
            Encoder::new(&mut out).bytes("salt");
            Encoder::new(&mut out).bytes(salt);
        }
        Encoder::new(&mut out).bytes("seq");
        Encoder::new(&mut out).int(seq);
        Encoder::new(&mut out).bytes("v");
        out.extend_from_slice(self.value);
        Some(out)
    }

    /// The same with the salt that was asked for: responses don't repeat it.
    pub fn salted(mut self, salt: &'a [u8]) -> Self {
        if let Some(signed) = &mut self.signed {
            signed.salt = salt;
        }
        self
    }
}

/// Where an immutable item lies: the SHA-1 of its bencoded value.
pub fn immutable_target(value: &[u8]) -> NodeId {
    NodeId(Sha1::digest(value).into())
}

/// Where a mutable item lies: the SHA-1 of key and salt.
pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> NodeId {
    NodeId(Sha1::new_with_prefix(key).chain_update(salt).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of the BEP's examples.
    const KEY: [u8; 32] = [
        0x77, 0xff, 0x84, 0x90, 0x5a, 0x91, 0x93, 0x63, 0x67, 0xc0, 0x13, 0x60, 0x80, 0x31, 0x04, 0xf9, 0x24,
        0x32, 0xfc, 0xd9, 0x04, 0xa4, 0x35, 0x11, 0x87, 0x6d, 0xf5, 0xcd, 0xf3, 0xe7, 0xe5, 0x48,
    ];

    fn item(salt: &[u8]) -> Item<'_> {
        let signed = Signed { key: &KEY, seq: 1, signature: &[0; 64], salt };
        Item { value: b"12:Hello World!", signed: Some(signed) }
    }

    #[test]
    fn the_examples_of_the_bep_lie_where_it_says() {
        for (item, target) in [
            (item(b""), "4a533d47ec9c7d95b1ad75f576cffc641853b750"),
            (item(b"foobar"), "411eba73b6f087ca51a3795d9c8c938d365e32c1"),
            (Item { signed: None, ..item(b"") }, "e5f96f6f38320f0f33959cb4d3d656452117aadb"),
        ] {
            assert_eq!(item.target().to_string(), target);
        }
    }

    #[test]
    fn the_examples_of_the_bep_are_signed_over_what_it_says() {
        assert_eq!(item(b"").signed_bytes().unwrap(), b"3:seqi1e1:v12:Hello World!");
        let salted = item(b"").salted(b"foobar");
        assert_eq!(salted.signed_bytes().unwrap(), b"4:salt6:foobar3:seqi1e1:v12:Hello World!");
        assert_eq!(Item { signed: None, ..salted }.signed_bytes(), None);
    }
}
