//! Message stream encryption: each end alone with nonsense, and both of them over a line that changes bytes.
use std::sync::OnceLock;

use wgo_proto::WireHash;
use wgo_proto::mse::{
    Chance, Initiated, Initiator, KEY_LEN, KeyPair, MAX_PAD, Method, Methods, RANDOM_LEN, Responded,
    Responder, Secret, Session, obfuscated,
};

use super::Reader;

/// What either end asks for and sends at once, at most: keys, paddings, hashes, a handshake.
const BOUND: usize = KEY_LEN + 2 * MAX_PAD + 256;
const TORRENT: WireHash = WireHash([7; 20]);

/// What an end made of bytes.
enum Step {
    More,
    Send(Vec<u8>),
    Done(Vec<u8>, Session),
}

trait End {
    fn wants(&self) -> usize;
    /// `None`: the handshake failed.
    fn take(&mut self, bytes: &[u8]) -> Option<Step>;
}

struct Dialling(Initiator, KeyPair);

impl End for Dialling {
    fn wants(&self) -> usize {
        self.0.wants()
    }

    fn take(&mut self, bytes: &[u8]) -> Option<Step> {
        Some(match self.0.receive(bytes).ok()? {
            Initiated::More => Step::More,
            Initiated::Agree(theirs) => Step::Send(self.0.agreed(&self.1.secret(&theirs))),
            Initiated::Done(session) => Step::Done(Vec::new(), session),
        })
    }
}

struct Dialled(Responder, KeyPair);

impl End for Dialled {
    fn wants(&self) -> usize {
        self.0.wants()
    }

    fn take(&mut self, bytes: &[u8]) -> Option<Step> {
        Some(match self.0.receive(bytes).ok()? {
            Responded::More => Step::More,
            Responded::Agree(theirs) => {
                let secret: Secret = self.1.secret(&theirs);
                Step::Send(self.0.agreed(&self.1.public, secret))
            }
            Responded::Find(name) => {
                if name != obfuscated(&TORRENT) {
                    return None;
                }
                self.0.found(&TORRENT);
                Step::More
            }
            Responded::Done { session, reply, payload } => {
                assert!(session.incoming.is_some() || session.method == Method::Plaintext && payload == 0);
                Step::Done(reply, session)
            }
        })
    }
}

/// Keys are computed once: what is tried is the handshake, not arithmetic.
fn keys(n: usize) -> KeyPair {
    static KEYS: OnceLock<[KeyPair; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [chance(1), chance(2)].map(|chance| KeyPair::new(chance.private)))[n].clone()
}

fn chance(first: u8) -> Chance {
    let mut random = [first; RANDOM_LEN];
    random[20..].fill(0x11 * first);
    Chance::new(&random)
}

fn dialling(provide: Methods, payload: &[u8]) -> Dialling {
    Dialling(Initiator::new(TORRENT, provide, payload, chance(1)), keys(0))
}

fn dialled(accept: Methods, first: Method) -> Dialled {
    Dialled(Responder::new(accept, first, chance(2)), keys(1))
}

/// Gives `end` all of `stream` that it wants, in parts; returns what it sends and whether it goes on.
fn feed(end: &mut dyn End, stream: &mut Vec<u8>, cut: usize) -> (Vec<u8>, Option<Session>, bool) {
    let mut sent = Vec::new();
    while !stream.is_empty() && end.wants() > 0 {
        assert!(end.wants() <= BOUND, "it wants {}", end.wants());
        let len = end.wants().min(cut).min(stream.len());
        let part: Vec<u8> = stream.drain(..len).collect();
        match end.take(&part) {
            None => return (sent, None, false),
            Some(Step::More) => {}
            Some(Step::Send(bytes)) => sent.extend(bytes),
            Some(Step::Done(bytes, session)) => {
                sent.extend(bytes);
                return (sent, Some(session), true);
            }
        }
        assert!(sent.len() <= BOUND);
    }
    (sent, None, true)
}

/// The end that dials hears nonsense.
pub(super) fn initiator(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (provide, cut) = (Methods(reader.byte().into()), usize::from(reader.byte()) + 1);
    feed(&mut dialling(provide, b"payload"), &mut reader.rest().to_vec(), cut);
}

/// The end that is dialled hears nonsense.
pub(super) fn responder(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (accept, cut) = (Methods(reader.byte().into()), usize::from(reader.byte()) + 1);
    feed(&mut dialled(accept, Method::Rc4), &mut reader.rest().to_vec(), cut);
}

/// Both ends talk, and the line between them flips what the input says: without that they agree on what both would
/// use.
pub(super) fn both(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (provide, accept) = (Methods(u32::from(reader.byte() % 4)), Methods(u32::from(reader.byte() % 4)));
    let first = if reader.byte().is_multiple_of(2) { Method::Rc4 } else { Method::Plaintext };
    let (cut, payload) = (usize::from(reader.byte()) + 1, usize::from(reader.byte()));
    let (mut a, mut b) = (dialling(provide, &vec![b'x'; payload]), dialled(accept, first));
    let (mut to_b, mut to_a) = (a.0.first(&a.1), Vec::new());
    let (mut ends, mut flipped) = ([None, None], false);
    for _ in 0..4 {
        if !reader.is_empty() && !to_b.is_empty() {
            let at = usize::from(reader.short()) % to_b.len();
            let by = reader.byte();
            to_b[at] ^= by;
            flipped |= by != 0;
        }
        let (sent, done, goes_on) = feed(&mut b, &mut to_b, cut);
        to_a.extend(sent);
        ends[1] = ends[1].take().or(done);
        if !goes_on {
            break;
        }
        let (sent, done, goes_on) = feed(&mut a, &mut to_a, cut);
        to_b.extend(sent);
        ends[0] = ends[0].take().or(done);
        if !goes_on {
            break;
        }
    }
    if !flipped {
        let common = |method: &Method| provide.has(*method) && accept.has(*method);
        let chosen = [first, Method::Rc4, Method::Plaintext].into_iter().find(common);
        assert_eq!([&ends[0], &ends[1]].map(|end| end.as_ref().map(|session| session.method)), [chosen; 2]);
        if let [Some(a), Some(b)] = ends {
            assert_eq!(to_b.len(), payload, "the handshake ends where the payload begins");
            talk(a, b, to_b);
        }
    }
}

/// What one end sends the other reads; `begun` came along with the handshake.
fn talk(mut a: Session, mut b: Session, mut begun: Vec<u8>) {
    let over = |from: &mut Session, to: &mut Session, text: &[u8]| {
        let mut bytes = text.to_vec();
        from.outgoing.iter_mut().for_each(|cipher| cipher.apply(&mut bytes));
        to.incoming.iter_mut().for_each(|cipher| cipher.apply(&mut bytes));
        assert_eq!(bytes, text);
    };
    b.incoming.iter_mut().for_each(|cipher| cipher.apply(&mut begun));
    assert!(begun.iter().all(|byte| *byte == b'x'), "what came along doesn't decrypt");
    for text in [&b"the first"[..], b"", b"the second, which is longer than that"] {
        over(&mut a, &mut b, text);
        over(&mut b, &mut a, text);
    }
}
