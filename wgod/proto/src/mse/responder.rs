//! The end that is dialled.
use super::sync::Sync;
use super::{
    Chance, Cipher, HASH_LEN, HEAD_LEN, Incoming, KEY_LEN, Method, Methods, MseError, PublicKey, Secret,
    Session, VC, bit, ciphers, hash, head, read_head, xor,
};
use crate::units::WireHash;

/// The end that is dialled. Learns from the handshake which torrent it is for.
pub struct Responder {
    accept: Methods,
    first: Method,
    chance: Chance,
    /// Bytes of the part under way; of a key, a hash, a head or a padding at most.
    came: Vec<u8>,
    phase: Phase,
}

enum Phase {
    /// Their key is under way.
    Key,
    /// The secret is being computed.
    Agreeing,
    /// Their padding is under way.
    Sync(Sync, [u8; HASH_LEN], Secret),
    /// What names the torrent is under way. With HASH('req3', S).
    Name([u8; HASH_LEN], Secret),
    /// The torrent is being looked for.
    Finding(Secret),
    /// What they provide is under way.
    Provide(Ciphers),
    /// The second padding and the length of their first payload are under way.
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
pub enum Responded {
    /// More are needed.
    More,
    /// Compute the secret with this key, and give it to [`Responder::agreed`].
    Agree(PublicKey),
    /// Find the torrent of which this is [`obfuscated`](super::obfuscated), and give it to [`Responder::found`].
    Find([u8; HASH_LEN]),
    /// The handshake is done but for `reply`, step 4, which must go before any payload. The first `payload` bytes
    /// of theirs are sent already; to wait for more than those before the reply has gone is to wait for ever.
    Done {
        /// The connection.
        session: Session,
        /// What to send first, encrypted already.
        reply: Vec<u8>,
        /// Bytes of payload that come without waiting.
        payload: u16,
    },
}

impl Responder {
    /// A connection that came in. Of the methods that both ends would use it is `first` if that is among them.
    pub fn new(accept: Methods, first: Method, chance: Chance) -> Responder {
        Responder { accept, first, chance, came: Vec::new(), phase: Phase::Key }
    }

    /// The private key.
    pub fn private(&self) -> [u8; super::PRIVATE_LEN] {
        self.chance.private
    }

    /// Bytes that are certain to come and may be given to [`receive`](Self::receive) at once; 0 while the secret
    /// is being computed or the torrent looked for, and when all is done.
    pub fn wants(&self) -> usize {
        let part = match &self.phase {
            Phase::Key => KEY_LEN,
            Phase::Sync(sync, ..) => return sync.wants() + HASH_LEN,
            Phase::Name(..) => HASH_LEN,
            Phase::Provide(_) => HEAD_LEN,
            Phase::Pad(_, len, _) => usize::from(*len) + 2,
            Phase::Agreeing | Phase::Finding(_) | Phase::Over => 0,
        };
        part.saturating_sub(self.came.len())
    }

    /// Takes what came, at most as much as it [`wants`](Self::wants).
    ///
    /// # Errors
    /// Nothing can come of the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Responded, MseError> {
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
                Ok(Responded::Agree(key))
            }
            Phase::Sync(mut sync, req3, secret) => match sync.receive(&came)? {
                None => self.wait(Phase::Sync(sync, req3, secret), Vec::new()),
                Some(behind) => self.name(behind, req3, secret),
            },
            Phase::Name(req3, secret) => self.name(came, req3, secret),
            Phase::Provide(ciphers) => self.provide(came, ciphers),
            Phase::Pad(method, len, ciphers) => self.pad(came, method, len, ciphers),
            phase @ (Phase::Agreeing | Phase::Finding(_) | Phase::Over) => self.wait(phase, came),
        }
    }

    fn wait(&mut self, phase: Phase, came: Vec<u8>) -> Result<Responded, MseError> {
        (self.phase, self.came) = (phase, came);
        Ok(Responded::More)
    }

    fn name(&mut self, came: Vec<u8>, req3: [u8; HASH_LEN], secret: Secret) -> Result<Responded, MseError> {
        let Ok(name) = <[u8; HASH_LEN]>::try_from(&came[..]) else {
            return self.wait(Phase::Name(req3, secret), came);
        };
        self.phase = Phase::Finding(secret);
        Ok(Responded::Find(xor(name, req3)))
    }

    fn provide(&mut self, mut came: Vec<u8>, mut ciphers: Ciphers) -> Result<Responded, MseError> {
        if came.len() < HEAD_LEN {
            return self.wait(Phase::Provide(ciphers), came);
        }
        ciphers.theirs.apply(&mut came);
        let (vc, rest) = came.split_at(VC.len());
        if vc != VC {
            return Err(MseError::BadHead);
        }
        let (provided, pad) = read_head(rest)?;
        let method =
            self.accept.select(self.first, Methods(provided)).ok_or(MseError::NothingInCommon(provided))?;
        self.pad(Vec::new(), method, pad, ciphers)
    }

    fn pad(
        &mut self,
        mut came: Vec<u8>,
        method: Method,
        len: u16,
        mut ciphers: Ciphers,
    ) -> Result<Responded, MseError> {
        if came.len() < usize::from(len) + 2 {
            return self.wait(Phase::Pad(method, len, ciphers), came);
        }
        ciphers.theirs.apply(&mut came);
        let payload = match came[..] {
            [.., high, low] => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let mut reply = head(bit(method), self.chance.inner_pad);
        ciphers.ours.apply(&mut reply);
        let (incoming, outgoing) = match method {
            Method::Plaintext if payload == 0 => (None, None),
            Method::Plaintext => (Some(Incoming::first(ciphers.theirs, payload.into())), None),
            Method::Rc4 => (Some(Incoming::all(ciphers.theirs)), Some(Box::new(ciphers.ours))),
        };
        let session = Session { method, incoming: incoming.map(Box::new), outgoing };
        Ok(Responded::Done { session, reply, payload })
    }

    /// Step 2, to be sent now that the secret is known. `public` is the key of [`private`](Self::private).
    pub fn agreed(&mut self, public: &PublicKey, secret: Secret) -> Vec<u8> {
        let mark = hash(b"req1", &[secret.bytes()]);
        let req3 = hash(b"req3", &[secret.bytes()]);
        self.phase = Phase::Sync(Sync::new(&mark, "hash of the secret"), req3, secret);
        [&public.bytes()[..], &self.chance.pad].concat()
    }

    /// The torrent that the connection is for. Nothing unless [`Responded::Find`] asked for it.
    pub fn found(&mut self, torrent: &WireHash) {
        if let Phase::Finding(secret) = std::mem::replace(&mut self.phase, Phase::Over) {
            let (theirs, ours) = ciphers(&secret, torrent);
            self.phase = Phase::Provide(Ciphers { ours, theirs });
        }
    }
}
