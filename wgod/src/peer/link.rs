//! A connection that was made, with the ciphers on it; and the handshake that keys them, both ways.
use std::io;
use std::time::Duration;

use wgo_core::peer::Encryption;
use wgo_proto::WireHash;
use wgo_proto::mse::{
    Cipher, Incoming, Initiated, Initiator, KEY_LEN, KeyPair, Method, MseError, Responded, Responder, Session,
};

use crate::encryption::chance;
use crate::engine::Engine;
use crate::transport::Transport;

/// Time in which an encrypted handshake must be done: as much as a plain one has.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes that are read at once: at most a key is certain to come.
const READ: usize = KEY_LEN;

/// A connection, plain or encrypted.
pub struct Link {
    /// What carries it.
    pub(super) transport: Transport,
    /// What is encrypted of it.
    pub(super) encryption: Encryption,
    /// For what comes.
    pub(super) incoming: Option<Box<Incoming>>,
    /// For what goes.
    pub(super) outgoing: Option<Box<Cipher>>,
}

impl Link {
    /// A plain connection.
    pub(super) fn plain(transport: Transport) -> Link {
        Link { transport, encryption: Encryption::None, incoming: None, outgoing: None }
    }

    fn keyed(transport: Transport, session: Session) -> Link {
        let encryption = match session.method {
            Method::Plaintext => Encryption::Handshake,
            Method::Rc4 => Encryption::Rc4,
        };
        Link { transport, encryption, incoming: session.incoming, outgoing: session.outgoing }
    }

    /// Fills `buf`, or fails after `limit`.
    pub(super) async fn read_exact(&mut self, buf: &mut [u8], limit: Duration) -> io::Result<()> {
        self.transport.read_exact(buf, limit).await?;
        if let Some(incoming) = &mut self.incoming {
            incoming.apply(buf);
        }
        Ok(())
    }

    /// Sends `clear`, bytes that are encrypted already, and then all of `bytes`; or fails after `limit`.
    pub(super) async fn write_all(
        &mut self,
        mut clear: Vec<u8>,
        bytes: &[u8],
        limit: Duration,
    ) -> io::Result<()> {
        let at = clear.len();
        clear.extend_from_slice(bytes);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.apply(&mut clear[at..]);
        }
        self.transport.write_all(&clear, limit).await
    }
}

/// Why a connection could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum NotEncrypted {
    /// It broke, or the peer took too long; a peer that knows no encryption closes it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no encrypted handshake.
    #[error("{0}")]
    Malformed(#[from] MseError),
    /// It is for a torrent that is not active here.
    #[error("for a torrent that is not active here")]
    Unknown,
}

/// A connection that came in encrypted.
pub(super) struct Accepted {
    pub(super) link: Link,
    /// The torrent that it must be for.
    pub(super) hash: WireHash,
    /// The end of the handshake, to be sent before any payload.
    pub(super) reply: Vec<u8>,
    /// Bytes of payload that come before the reply has.
    pub(super) payload: usize,
}

/// Opens a connection for `hash` that we dialled. `payload` goes along; after that the connection is at the peer's
/// payload.
pub(super) async fn initiate(
    engine: &Engine,
    transport: Transport,
    hash: WireHash,
    payload: &[u8],
) -> Result<Link, NotEncrypted> {
    let handshake = async {
        let chance = chance()?;
        let private = chance.private;
        let keys = engine.encryption.compute(move || KeyPair::new(private)).await?;
        let mut machine = Initiator::new(hash, engine.encryption.methods(), payload, chance);
        transport.write_all(&machine.first(&keys), LIMIT).await?;
        let mut buf = [0; READ];
        loop {
            let n = transport.read_some(wanted(&mut buf, machine.wants())).await?;
            match machine.receive(&buf[..n])? {
                Initiated::More => {}
                Initiated::Agree(theirs) => {
                    let keys = keys.clone();
                    let secret = engine.encryption.compute(move || keys.secret(&theirs)).await?;
                    transport.write_all(&machine.agreed(&secret), LIMIT).await?;
                }
                Initiated::Done(session) => return Ok(session),
            }
        }
    };
    let session = in_time(handshake).await?;
    Ok(Link::keyed(transport, session))
}

/// Answers a connection of which `came` has been read.
pub(super) async fn respond(
    engine: &Engine,
    transport: Transport,
    came: &[u8],
) -> Result<Accepted, NotEncrypted> {
    let handshake = async {
        let mut machine = Responder::new(engine.encryption.methods(), engine.encryption.choice(), chance()?);
        let (mut hash, mut buf) = (WireHash([0; 20]), [0; READ]);
        let mut next = machine.receive(came)?;
        loop {
            next = match next {
                Responded::More => {
                    let n = transport.read_some(wanted(&mut buf, machine.wants())).await?;
                    machine.receive(&buf[..n])?
                }
                Responded::Agree(theirs) => {
                    let private = machine.private();
                    let work = move || {
                        let keys = KeyPair::new(private);
                        (keys.public, keys.secret(&theirs))
                    };
                    let (public, secret) = engine.encryption.compute_for_stranger(work).await?;
                    transport.write_all(&machine.agreed(&public, secret), LIMIT).await?;
                    Responded::More
                }
                Responded::Find(name) => {
                    hash = engine.registry.find_obfuscated(&name).ok_or(NotEncrypted::Unknown)?;
                    machine.found(&hash);
                    Responded::More
                }
                Responded::Done { session, reply, payload } => {
                    return Ok((session, hash, reply, usize::from(payload)));
                }
            }
        }
    };
    let (session, hash, reply, payload) = in_time(handshake).await?;
    Ok(Accepted { link: Link::keyed(transport, session), hash, reply, payload })
}

/// The part of `buf` to read into: as much as is wanted, and some in any case, as reading nothing means the end.
fn wanted(buf: &mut [u8; READ], wants: usize) -> &mut [u8] {
    debug_assert!(wants > 0);
    let len = wants.clamp(1, READ);
    &mut buf[..len]
}

async fn in_time<R>(handshake: impl Future<Output = Result<R, NotEncrypted>>) -> Result<R, NotEncrypted> {
    let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
    tokio::time::timeout(LIMIT, handshake).await.unwrap_or_else(|_| late())
}
