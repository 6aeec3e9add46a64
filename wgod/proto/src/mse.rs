//! Message stream encryption (MSE, also PE): the obfuscated handshake before a connection, and the cipher on it.
//!
//! No BEP describes it; the specification is the page "Message Stream Encryption" of the Vuze wiki. It hides what
//! a connection is from whoever looks on, and keeps nothing secret from who knows the info-hash and takes part.
//!
//! ```text
//! 1  A → B  Ya, PadA                                                        96 bytes, 0…512
//! 2  B → A  Yb, PadB
//! 3  A → B  HASH('req1', S), HASH('req2', SKEY) ^ HASH('req3', S),          20, 20
//!           ENCRYPT(VC, crypto_provide, len(PadC), PadC, len(IA)), ENCRYPT(IA)
//! 4  B → A  ENCRYPT(VC, crypto_select, len(PadD), PadD), then the payload
//! ```
//!
//! A dials and is the [`Initiator`], B the [`Responder`]. S is the secret that both get from Ya and Yb, SKEY the
//! info-hash, VC eight zeros, IA the first bytes of A's payload. Both machines take bytes and give bytes; nothing
//! is ever asked for beyond what the handshake is certain to hold ([`Initiator::wants`], [`Responder::wants`]),
//! so that the payload stays where it is. What costs time, the two exponentiations, is the caller's to do.
mod cipher;
mod dh;
mod initiator;
mod rc4;
mod responder;
mod sync;
#[cfg(test)]
mod tests;

use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::units::WireHash;

pub use cipher::{Cipher, Incoming};
pub use dh::{KEY_LEN, KeyPair, PRIVATE_LEN, PublicKey, Secret};
pub use initiator::{Initiated, Initiator};
pub use responder::{Responded, Responder};

/// Most bytes of each padding.
pub const MAX_PAD: usize = 512;
/// Random bytes that one end of a handshake takes.
pub const RANDOM_LEN: usize = PRIVATE_LEN + 4 + MAX_PAD;

/// Bytes of a hash in the handshake.
const HASH_LEN: usize = 20;
/// The verification constant: what shows that both have the same keys.
const VC: [u8; 8] = [0; 8];
/// Bytes of VC, a set of methods, and the length of a padding.
const HEAD_LEN: usize = VC.len() + 4 + 2;

/// What an outside observer sees of a connection after its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The payload as it is.
    Plaintext,
    /// The payload encrypted.
    Rc4,
}

/// The methods that one end would use: `crypto_provide`. Bits that we don't know are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(pub u32);

impl Methods {
    /// Both.
    pub const ALL: Methods = Methods(0x01 | 0x02);
    /// Encrypted payload only.
    pub const RC4: Methods = Methods(0x02);

    /// Whether this is among them.
    pub fn has(self, method: Method) -> bool {
        self.0 & bit(method) != 0
    }

    /// What to use of what the other end provides: `first` if that is possible.
    fn select(self, first: Method, provided: Methods) -> Option<Method> {
        [first, Method::Rc4, Method::Plaintext].into_iter().find(|m| self.has(*m) && provided.has(*m))
    }
}

fn bit(method: Method) -> u32 {
    match method {
        Method::Plaintext => 0x01,
        Method::Rc4 => 0x02,
    }
}

/// The chance that one end brings: its key, and paddings that hide how long the handshake is.
#[derive(Clone)]
pub struct Chance {
    /// The private key.
    pub private: [u8; PRIVATE_LEN],
    /// PadA or PadB.
    pad: Vec<u8>,
    /// The length of PadC or PadD, which are zeros below the cipher.
    inner_pad: u16,
}

impl Chance {
    /// Takes all of it from random bytes.
    pub fn new(random: &[u8; RANDOM_LEN]) -> Chance {
        let (private, rest) = random.split_first_chunk().expect("the array is longer than a key");
        let ([a, b, c, d], pad) = rest.split_first_chunk().expect("it holds two lengths as well");
        // One less than may be: some take the bound for exclusive.
        let len = |high: u8, low: u8| u16::from_be_bytes([high, low]) % MAX_PAD as u16;
        let mut pad = pad.to_vec();
        pad.truncate(len(*a, *b).into());
        Chance { private: *private, pad, inner_pad: len(*c, *d) }
    }
}

/// A connection whose handshake is done.
pub struct Session {
    /// What was agreed on.
    pub method: Method,
    /// For what comes; `None` when that is plain.
    pub incoming: Option<Box<Incoming>>,
    /// For what goes; `None` when that is plain.
    pub outgoing: Option<Box<Cipher>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.method)
    }
}

/// Why there is no encrypted connection. The other end's doing, each of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MseError {
    /// Its public key is no number that anybody draws.
    #[error("a public key that gives no secret")]
    BadKey,
    /// What must follow the padding did not.
    #[error("no {mark} within {MAX_PAD} bytes of padding")]
    NoSync {
        /// What was looked for.
        mark: &'static str,
    },
    /// The verification constant was another: it has another info-hash or secret.
    #[error("a header that doesn't decrypt")]
    BadHead,
    /// A padding is longer than may be.
    #[error("a padding of {0} bytes, more than {MAX_PAD}")]
    LongPad(u16),
    /// It provides no method that we would use.
    #[error("only methods that are not used here: {0:#x}")]
    NothingInCommon(u32),
    /// It selected what we didn't provide, or no single method.
    #[error("a method that was not provided: {0:#x}")]
    NotProvided(u32),
}

fn hash(label: &[u8; 4], parts: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut hasher = Sha1::new_with_prefix(label);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// What names a torrent in the handshake: HASH('req2', SKEY). Whoever answers keeps it for each of its torrents,
/// since the info-hash itself can't be had from what comes.
pub fn obfuscated(hash_of_torrent: &WireHash) -> [u8; HASH_LEN] {
    hash(b"req2", &[&hash_of_torrent.0])
}

fn xor(a: [u8; HASH_LEN], b: [u8; HASH_LEN]) -> [u8; HASH_LEN] {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// The ciphers of both directions: the initiator's, the responder's.
fn ciphers(secret: &Secret, torrent: &WireHash) -> (Cipher, Cipher) {
    let cipher = |label| Cipher::new(&hash(label, &[secret.bytes(), &torrent.0]));
    (cipher(b"keyA"), cipher(b"keyB"))
}

/// VC, a set of methods, and a padding with its length, not encrypted yet.
fn head(methods: u32, pad: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + usize::from(pad) + 2);
    bytes.extend(VC);
    bytes.extend(methods.to_be_bytes());
    bytes.extend(pad.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(pad), 0);
    bytes
}

/// The methods and the length of the padding in the six bytes behind VC.
fn read_head(bytes: &[u8]) -> Result<(u32, u16), MseError> {
    let &[a, b, c, d, e, f] = bytes else { return Err(MseError::BadHead) };
    let pad = u16::from_be_bytes([e, f]);
    if usize::from(pad) > MAX_PAD {
        return Err(MseError::LongPad(pad));
    }
    Ok((u32::from_be_bytes([a, b, c, d]), pad))
}
