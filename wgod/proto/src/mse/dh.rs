//! Diffie-Hellman with the prime and the generator of the specification.
//!
//! An exponentiation takes some 100 µs: callers keep it off the threads that serve connections.
use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U192, U768, const_monty_params};

use super::MseError;

/// Bytes of a public key and of the secret.
pub const KEY_LEN: usize = 96;
/// Bytes of a private key: 160 bits, as the specification advises.
pub const PRIVATE_LEN: usize = 20;

const_monty_params!(
    Prime,
    U768,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
     020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
     4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    "The prime of the specification."
);

type Number = ConstMontyForm<Prime, { U768::LIMBS }>;

const GENERATOR: U768 = U768::from_u8(2);

fn power(base: &U768, private: &[u8; PRIVATE_LEN]) -> [u8; KEY_LEN] {
    let mut exponent = [0; U192::BYTES];
    exponent[U192::BYTES - PRIVATE_LEN..].copy_from_slice(private);
    let exponent = U192::from_be_slice(&exponent);
    let power = Number::new(base).pow_bounded_exp(&exponent, 8 * PRIVATE_LEN as u32);
    let mut bytes = [0; KEY_LEN];
    bytes.copy_from_slice(power.retrieve().to_be_bytes().as_ref());
    bytes
}

/// What one end sends: 2^private modulo the prime, the highest byte first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// The key of another end. Those that leave a secret which everybody knows are refused.
    pub(super) fn parse(bytes: [u8; KEY_LEN]) -> Result<PublicKey, MseError> {
        let number = U768::from_be_slice(&bytes);
        let most = Prime::PARAMS.modulus().get().wrapping_sub(&U768::ONE);
        if number <= U768::ONE || number >= most {
            return Err(MseError::BadKey);
        }
        Ok(PublicKey(bytes))
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey")
    }
}

/// A private key and the public one of it.
#[derive(Clone)]
pub struct KeyPair {
    private: [u8; PRIVATE_LEN],
    /// What the other end gets.
    pub public: PublicKey,
}

impl KeyPair {
    /// Computes the public key of random bytes. Takes as long as an exponentiation.
    pub fn new(private: [u8; PRIVATE_LEN]) -> KeyPair {
        KeyPair { private, public: PublicKey(power(&GENERATOR, &private)) }
    }

    /// What both ends know and nobody else. Takes as long as an exponentiation.
    pub fn secret(&self, theirs: &PublicKey) -> Secret {
        Secret(power(&U768::from_be_slice(&theirs.0), &self.private))
    }
}

/// What both ends know and nobody else: S.
pub struct Secret([u8; KEY_LEN]);

impl Secret {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
