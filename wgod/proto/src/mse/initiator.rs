//! The end that dials.
use super::sync::Sync;
use super::{
    Chance, Cipher, HEAD_LEN, Incoming, KEY_LEN, KeyPair, Method, Methods, MseError, PublicKey, Secret,
    Session, VC, bit, ciphers, hash, head, obfuscated, read_head, xor,
};
use crate::units::WireHash;

/// Bytes of the head of step 4 behind VC.
const SELECT_LEN: usize = HEAD_LEN - VC.len();

/// The end that dials. Bound to one torrent.
pub struct Initiator {
    torrent: WireHash,
    provide: Methods,
    chance: Chance,
    payload: Vec<u8>,
    /// Bytes of the part under way; of a key, a head or a padding at most.
    came: Vec<u8>,
    phase: Phase,
}

enum Phase {
    /// Their key is under way.
    Key,
    /// The secret is being computed.
    Agreeing,
    /// Their padding is under way.
    Sync(Sync, Ciphers),
    /// The method and the length of the second padding are under way.
    Select(Ciphers),
    /// The second padding is under way.
    Pad(Method, u16, Ciphers),
    /// Nothing is expected any more.
    Over,
}

struct Ciphers {
    ours: Cipher,
    theirs: Cipher,
}

/// What bytes led to.
#[derive(Debug)]
pub enum Initiated {
    /// More are needed.
    More,
    /// Compute the secret with this key, and give it to [`Initiator::agreed`].
    Agree(PublicKey),
    /// The handshake is done. What comes next is payload.
    Done(Session),
}

impl Initiator {
    /// A connection for `torrent`, whose first bytes are to be `payload`: they go along with the handshake, so
    /// that it adds one round trip and not two. At most 65,535 bytes.
    pub fn new(torrent: WireHash, provide: Methods, payload: &[u8], chance: Chance) -> Initiator {
        debug_assert!(u16::try_from(payload.len()).is_ok());
        let payload = payload[..payload.len().min(u16::MAX.into())].to_vec();
        Initiator { torrent, provide, chance, payload, came: Vec::new(), phase: Phase::Key }
    }

    /// Step 1, to be sent first. `keys` are those of the chance's private key.
    pub fn first(&self, keys: &KeyPair) -> Vec<u8> {
        [&keys.public.bytes()[..], &self.chance.pad].concat()
    }

    /// Bytes that are certain to come and may be given to [`receive`](Self::receive) at once; 0 while the secret
    /// is being computed and when all is done.
    pub fn wants(&self) -> usize {
        let part = match &self.phase {
            Phase::Key => KEY_LEN,
            Phase::Sync(sync, _) => return sync.wants() + SELECT_LEN,
            Phase::Select(_) => SELECT_LEN,
            Phase::Pad(_, len, _) => usize::from(*len),
            Phase::Agreeing | Phase::Over => 0,
        };
        part.saturating_sub(self.came.len())
    }

    /// Takes what came, at most as much as it [`wants`](Self::wants).
    ///
    /// # Errors
    /// Nothing can come of the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Initiated, MseError> {
        debug_assert!(bytes.len() <= self.wants());
        let mut came = std::mem::take(&mut self.came);
        came.extend_from_slice(bytes);
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Key => {
                let Ok(key) = <[u8; KEY_LEN]>::try_from(&came[..]) else {
                    return self.wait(Phase::Key, came);
                };
                let key = PublicKey::parse(key)?;
                self.phase = Phase::Agreeing;
                Ok(Initiated::Agree(key))
            }
            Phase::Sync(mut sync, mut ciphers) => match sync.receive(&came)? {
                None => self.wait(Phase::Sync(sync, ciphers), Vec::new()),
                Some(behind) => {
                    ciphers.theirs.apply(&mut VC.clone());
                    self.select(behind, ciphers)
                }
            },
            Phase::Select(ciphers) => self.select(came, ciphers),
            Phase::Pad(method, len, ciphers) => self.pad(came, method, len, ciphers),
            phase @ (Phase::Agreeing | Phase::Over) => self.wait(phase, came),
        }
    }

    fn wait(&mut self, phase: Phase, came: Vec<u8>) -> Result<Initiated, MseError> {
        (self.phase, self.came) = (phase, came);
        Ok(Initiated::More)
    }

    fn select(&mut self, mut came: Vec<u8>, mut ciphers: Ciphers) -> Result<Initiated, MseError> {
        if came.len() < SELECT_LEN {
            return self.wait(Phase::Select(ciphers), came);
        }
        ciphers.theirs.apply(&mut came);
        let (selected, pad) = read_head(&came)?;
        let one_of_ours = |m: &Method| selected == bit(*m) && self.provide.has(*m);
        let method = [Method::Plaintext, Method::Rc4].into_iter().find(one_of_ours);
        self.pad(Vec::new(), method.ok_or(MseError::NotProvided(selected))?, pad, ciphers)
    }

    fn pad(
        &mut self,
        mut came: Vec<u8>,
        method: Method,
        len: u16,
        mut ciphers: Ciphers,
    ) -> Result<Initiated, MseError> {
        if came.len() < usize::from(len) {
            return self.wait(Phase::Pad(method, len, ciphers), came);
        }
        ciphers.theirs.apply(&mut came);
        Ok(Initiated::Done(match method {
            Method::Plaintext => Session { method, incoming: None, outgoing: None },
            Method::Rc4 => Session {
                method,
                incoming: Some(Box::new(Incoming::all(ciphers.theirs))),
                outgoing: Some(Box::new(ciphers.ours)),
            },
        }))
    }

    /// Step 3, to be sent now that the secret is known.
    pub fn agreed(&mut self, secret: &Secret) -> Vec<u8> {
        let (mut ours, theirs) = ciphers(secret, &self.torrent);
        let mut bytes = hash(b"req1", &[secret.bytes()]).to_vec();
        bytes.extend(xor(obfuscated(&self.torrent), hash(b"req3", &[secret.bytes()])));
        let mut encrypted = head(self.provide.0, self.chance.inner_pad);
        encrypted.extend((self.payload.len() as u16).to_be_bytes());
        encrypted.append(&mut self.payload);
        ours.apply(&mut encrypted);
        bytes.append(&mut encrypted);
        // What VC will look like: the next bytes of a cipher like theirs.
        let (_, mut like_theirs) = ciphers(secret, &self.torrent);
        let mut mark = VC;
        like_theirs.apply(&mut mark);
        self.phase = Phase::Sync(Sync::new(&mark, "answer"), Ciphers { ours, theirs });
        bytes
    }
}
