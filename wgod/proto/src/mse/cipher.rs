//! RC4 as the handshake keys it, and what becomes of it when the payload is plain.
use super::HASH_LEN;
use super::rc4::Rc4;

/// Keystream that is thrown away: the first bytes of RC4 tell of its key.
const DROPPED: usize = 1024;

/// One direction of a connection. Encrypting and decrypting are the same.
pub struct Cipher(Rc4);

impl Cipher {
    /// Keyed, and past what is thrown away.
    pub fn new(key: &[u8; HASH_LEN]) -> Cipher {
        let mut rc4 = Rc4::new(key);
        rc4.apply(&mut [0; DROPPED]);
        Cipher(rc4)
    }

    /// Encrypts or decrypts the next bytes of the stream where they lie.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply(bytes);
    }
}

/// What comes on a connection: encrypted to its end, or only as far as the first bytes reach that its initiator
/// had to send before it knew that the payload would be plain.
pub struct Incoming {
    cipher: Cipher,
    /// Encrypted bytes to come; `None` is all of them.
    left: Option<usize>,
}

impl Incoming {
    pub(super) fn all(cipher: Cipher) -> Incoming {
        Incoming { cipher, left: None }
    }

    pub(super) fn first(cipher: Cipher, bytes: usize) -> Incoming {
        Incoming { cipher, left: Some(bytes) }
    }

    /// Decrypts the next bytes of the stream where they lie, as far as they are encrypted.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let encrypted = self.left.map_or(bytes.len(), |left| left.min(bytes.len()));
        self.cipher.apply(&mut bytes[..encrypted]);
        if let Some(left) = &mut self.left {
            *left -= encrypted;
        }
    }

    /// Whether nothing encrypted comes any more.
    pub fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}
