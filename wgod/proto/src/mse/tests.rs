//! Both ends of the handshake: against figures of another program, against each other, and against nonsense.
use proptest::prelude::*;

use super::*;

const TORRENT: WireHash = WireHash([0x5a; 20]);

// One handshake, computed by a program that shares no code with this one: private keys 1…20 and 101…120, five
// bytes of payload, PadC of three bytes, PadD of two.
const YA: &str = "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556b0918db2b4c658e02a87f7e5fb14b18a\
    553e084cbf3dad2d30f16596ccb982d406258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693";
const YB: &str = "d32ae8cedd0de9ca4fe67e35626bb8c7cdb0966727d899f6a62fdb2b68817f9ddc4b684e3eb34030b8dba4e028b7cff3\
    264020340cb4eab61923cdc4e4216ba873368d83f0a38e497f1f6b4e3d2012eb91a3ee6056f966f9eae732089b6fa46e";
const STEP_3: &str = "78fffb0f23055a793ff7609f359e04e383ec350540a7727dd5ba4be921afe675ef80ef57b3ed22a8e4b6babe842a7dba\
    991296c6b303579ea63b50e4435ae147";
const STEP_4: &str = "99d119e9ba801b286e7ab5fa491aa003";

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn chance(first: u8, pad: &[u8], inner_pad: u16) -> Chance {
    Chance { private: std::array::from_fn(|n| first + n as u8), pad: pad.to_vec(), inner_pad }
}

fn initiator(provide: Methods, payload: &[u8], chance: Chance) -> (Initiator, KeyPair) {
    let keys = KeyPair::new(chance.private);
    (Initiator::new(TORRENT, provide, payload, chance), keys)
}

/// What one end makes of a connection.
trait End {
    fn wants(&self) -> usize;
    /// Takes bytes; gives those to send, and the connection when it is there.
    fn take(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Option<Session>), MseError>;
}

struct Dialling {
    end: Initiator,
    keys: KeyPair,
}

impl End for Dialling {
    fn wants(&self) -> usize {
        self.end.wants()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Option<Session>), MseError> {
        Ok(match self.end.receive(bytes)? {
            Initiated::More => (Vec::new(), None),
            Initiated::Agree(theirs) => (self.end.agreed(&self.keys.secret(&theirs)), None),
            Initiated::Done(session) => (Vec::new(), Some(session)),
        })
    }
}

struct Dialled {
    end: Responder,
    torrents: Vec<WireHash>,
    /// What is said of the payload at the end.
    payload: Option<u16>,
}

impl Dialled {
    fn new(accept: Methods, chance: Chance) -> Dialled {
        Dialled::liking(Method::Rc4, accept, chance)
    }

    fn liking(first: Method, accept: Methods, chance: Chance) -> Dialled {
        Dialled {
            end: Responder::new(accept, first, chance),
            torrents: vec![WireHash([1; 20]), TORRENT],
            payload: None,
        }
    }
}

impl End for Dialled {
    fn wants(&self) -> usize {
        self.end.wants()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Option<Session>), MseError> {
        Ok(match self.end.receive(bytes)? {
            Responded::More => (Vec::new(), None),
            Responded::Agree(theirs) => {
                let keys = KeyPair::new(self.end.private());
                (self.end.agreed(&keys.public, keys.secret(&theirs)), None)
            }
            Responded::Find(name) => {
                let torrent = self.torrents.iter().find(|torrent| obfuscated(torrent) == name);
                self.end.found(torrent.expect("one of them"));
                (Vec::new(), None)
            }
            Responded::Done { session, reply, payload } => {
                self.payload = Some(payload);
                (reply, Some(session))
            }
        })
    }
}

/// Gives an end the bytes of `stream`, never more than it wants, in parts of at most `cut` bytes; stops when the
/// stream is used up or the end is done. Returns what it sends, and the connection.
fn feed(
    end: &mut dyn End,
    stream: &mut Vec<u8>,
    cut: &mut dyn FnMut() -> usize,
) -> Result<(Vec<u8>, Option<Session>), MseError> {
    let mut sent = Vec::new();
    while !stream.is_empty() && end.wants() > 0 {
        let len = end.wants().min(cut()).min(stream.len());
        let part: Vec<u8> = stream.drain(..len).collect();
        let (out, session) = end.take(&part)?;
        sent.extend(out);
        if session.is_some() {
            return Ok((sent, session));
        }
    }
    Ok((sent, None))
}

#[test]
fn a_handshake_has_the_bytes_that_another_program_computes() {
    let (end, keys) = initiator(Methods::ALL, b"hello", chance(1, b"aaaaaaa", 3));
    let mut dialling = Dialling { end, keys };
    let mut dialled = Dialled::new(Methods::ALL, chance(101, b"bbbbb", 2));
    let mut to_dialled = dialling.end.first(&dialling.keys);
    assert_eq!(to_dialled, [&bytes_of(YA)[..], b"aaaaaaa"].concat());
    let whole = &mut || usize::MAX;
    let (mut to_dialling, _) = feed(&mut dialled, &mut to_dialled, whole).unwrap();
    assert_eq!(to_dialling, [&bytes_of(YB)[..], b"bbbbb"].concat());
    let (step_3, _) = feed(&mut dialling, &mut to_dialling, whole).unwrap();
    assert_eq!(step_3, bytes_of(STEP_3));
    to_dialled.extend(step_3);
    let (step_4, session) = feed(&mut dialled, &mut to_dialled, whole).unwrap();
    let mut session = session.unwrap();
    assert_eq!((&step_4, session.method, dialled.payload), (&bytes_of(STEP_4), Method::Rc4, Some(5)));
    session.incoming.as_mut().unwrap().apply(&mut to_dialled);
    assert_eq!(to_dialled, b"hello", "the payload is left where it was");
    to_dialling.extend(step_4);
    let (nothing, ours) = feed(&mut dialling, &mut to_dialling, whole).unwrap();
    let mut ours = ours.unwrap();
    assert_eq!((nothing, to_dialling, ours.method), (vec![], vec![], Method::Rc4));
    for (cipher, expected) in [(&mut ours.outgoing, "d1a6f6c0"), (&mut session.outgoing, "e650b592")] {
        let mut bytes = *b"more";
        cipher.as_mut().unwrap().apply(&mut bytes);
        assert_eq!(bytes.to_vec(), bytes_of(expected));
    }
}

#[test]
fn the_torrent_is_named_by_a_hash_of_its_hash() {
    assert_eq!(obfuscated(&TORRENT).to_vec(), bytes_of("7be06752bce4bb31f0840f8e487d7dc59c426740"));
}

/// The bytes of a handshake up to where the initiator's step 3 is complete, and the responder that gets them.
fn opened(provide: Methods, accept: Methods, pads: [usize; 2]) -> (Dialling, Dialled, Vec<u8>) {
    let (end, keys) = initiator(provide, b"", chance(1, &vec![b'a'; pads[0]], 0));
    let mut dialling = Dialling { end, keys };
    let mut dialled = Dialled::new(accept, chance(101, &vec![b'b'; pads[1]], 0));
    let mut stream = dialling.end.first(&dialling.keys);
    let mut key: Vec<u8> = stream.drain(..KEY_LEN).collect();
    let (mut answer, _) = feed(&mut dialled, &mut key, &mut || usize::MAX).unwrap();
    let (step_3, _) = feed(&mut dialling, &mut answer, &mut || usize::MAX).unwrap();
    stream.extend(step_3);
    (dialling, dialled, stream)
}

fn fails(end: &mut dyn End, stream: &[u8]) -> MseError {
    feed(end, &mut stream.to_vec(), &mut || usize::MAX).expect_err("it can't go on")
}

#[test]
fn what_is_used_is_what_both_would_use_and_what_the_dialled_end_likes_if_possible() {
    let (plain, all) = (Methods(0x01), Methods::ALL);
    for (provide, accept, expected) in [
        (all, all, Some(Method::Plaintext)),
        (plain, all, Some(Method::Plaintext)),
        (Methods::RC4, all, Some(Method::Rc4)),
        (all, Methods::RC4, Some(Method::Rc4)),
        (plain, Methods::RC4, None),
    ] {
        assert_eq!(accept.select(Method::Plaintext, provide), expected);
    }
    let cases = [
        (Methods::ALL, Methods::ALL, Some(Method::Rc4)),
        (Methods::ALL, Methods::RC4, Some(Method::Rc4)),
        (Methods::RC4, Methods::ALL, Some(Method::Rc4)),
        (Methods(0x01), Methods::ALL, Some(Method::Plaintext)),
        (Methods(0xffff_ffff), Methods::ALL, Some(Method::Rc4)),
        (Methods(0x01), Methods::RC4, None),
        (Methods(0), Methods::ALL, None),
        (Methods(0x04), Methods::ALL, None),
    ];
    for (provide, accept, expected) in cases {
        assert_eq!(accept.select(Method::Rc4, provide), expected);
        let (mut dialling, mut dialled, mut stream) = opened(provide, accept, [0, 0]);
        match expected {
            None => {
                let error = fails(&mut dialled, &stream);
                assert_eq!(error, MseError::NothingInCommon(provide.0));
            }
            Some(method) => {
                let (mut reply, session) = feed(&mut dialled, &mut stream, &mut || usize::MAX).unwrap();
                assert_eq!(session.unwrap().method, method);
                let (_, session) = feed(&mut dialling, &mut reply, &mut || usize::MAX).unwrap();
                assert_eq!(session.unwrap().method, method);
            }
        }
    }
}

#[test]
fn a_method_that_was_not_provided_is_refused() {
    for selected in [0, 1, 3, 4, 0x0200_0000] {
        let (mut dialling, _, _) = opened(Methods::RC4, Methods::ALL, [0, 0]);
        let keys = KeyPair::new(chance(101, &[], 0).private);
        let (_, mut theirs) = ciphers(&keys.secret(&dialling.keys.public), &TORRENT);
        let mut reply = head(selected, 0);
        theirs.apply(&mut reply);
        assert_eq!(fails(&mut dialling, &reply), MseError::NotProvided(selected));
    }
}

#[test]
fn a_padding_may_be_as_long_as_the_specification_says_and_no_longer() {
    for pads in [[0, 0], [MAX_PAD, MAX_PAD]] {
        let (mut dialling, mut dialled, mut stream) = opened(Methods::ALL, Methods::ALL, pads);
        let (mut reply, session) = feed(&mut dialled, &mut stream, &mut || usize::MAX).unwrap();
        assert!(session.is_some());
        let (_, session) = feed(&mut dialling, &mut reply, &mut || usize::MAX).unwrap();
        assert!(session.is_some());
    }
    let (_, mut dialled, stream) = opened(Methods::ALL, Methods::ALL, [MAX_PAD + 1, 0]);
    assert_eq!(fails(&mut dialled, &stream), MseError::NoSync { mark: "hash of the secret" });
    let (mut dialling, mut dialled, mut stream) = opened(Methods::ALL, Methods::ALL, [0, 0]);
    let (reply, _) = feed(&mut dialled, &mut stream, &mut || usize::MAX).unwrap();
    let late = [&[0; MAX_PAD + 1][..], &reply].concat();
    assert_eq!(fails(&mut dialling, &late), MseError::NoSync { mark: "answer" });
}

#[test]
fn an_inner_padding_has_a_bound_too() {
    let (dialling, mut dialled, stream) = opened(Methods::ALL, Methods::ALL, [0, 0]);
    let keys = KeyPair::new(chance(101, &[], 0).private);
    let (mut theirs, _) = ciphers(&keys.secret(&dialling.keys.public), &TORRENT);
    let mut provided = head(3, 0);
    provided[12..].copy_from_slice(&513_u16.to_be_bytes());
    theirs.apply(&mut provided);
    let stream = [&stream[..2 * HASH_LEN], &provided].concat();
    assert_eq!(fails(&mut dialled, &stream), MseError::LongPad(513));
}

#[test]
fn keys_that_leave_no_secret_are_refused() {
    let mut less_one = bytes_of(
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef95\
        19b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    );
    less_one[KEY_LEN - 1] -= 1;
    let mut one = vec![0; KEY_LEN];
    one[KEY_LEN - 1] = 1;
    for key in [vec![0; KEY_LEN], one, less_one, vec![0xff; KEY_LEN]] {
        let (end, keys) = initiator(Methods::ALL, b"", chance(1, b"", 0));
        assert_eq!(fails(&mut Dialling { end, keys }, &key), MseError::BadKey);
        assert_eq!(fails(&mut Dialled::new(Methods::ALL, chance(1, b"", 0)), &key), MseError::BadKey);
    }
}

#[test]
fn whoever_has_another_torrent_does_not_get_through() {
    let (_, mut dialled, stream) = opened(Methods::ALL, Methods::ALL, [0, 0]);
    dialled.torrents = vec![TORRENT];
    let (sent, _) = feed(&mut dialled, &mut stream[..HASH_LEN].to_vec(), &mut || usize::MAX).unwrap();
    assert!(sent.is_empty());
    let Ok(Responded::Find(name)) = dialled.end.receive(&stream[HASH_LEN..2 * HASH_LEN]) else { panic!() };
    assert_eq!(name, obfuscated(&TORRENT));
    dialled.end.found(&WireHash([1; 20]));
    assert_eq!(fails(&mut dialled, &stream[2 * HASH_LEN..]), MseError::BadHead);
}

#[test]
fn first_bytes_may_be_encrypted_although_the_rest_is_plain() {
    let (end, keys) = initiator(Methods(0x01), b"hello", chance(1, b"", 0));
    let mut dialling = Dialling { end, keys };
    let mut dialled = Dialled::new(Methods::ALL, chance(101, b"", 0));
    let mut stream = dialling.end.first(&dialling.keys);
    let (mut answer, _) = feed(&mut dialled, &mut stream, &mut || usize::MAX).unwrap();
    let (mut stream, _) = feed(&mut dialling, &mut answer, &mut || usize::MAX).unwrap();
    let (_, session) = feed(&mut dialled, &mut stream, &mut || usize::MAX).unwrap();
    let mut incoming = session.unwrap().incoming.unwrap();
    stream.extend(b", and more");
    let (first, rest) = stream.split_at_mut(3);
    incoming.apply(first);
    assert!(!incoming.is_over());
    incoming.apply(rest);
    assert!(incoming.is_over());
    assert_eq!(stream, b"hello, and more");
}

#[test]
fn chance_fills_paddings_of_all_lengths() {
    let mut random = [7; RANDOM_LEN];
    for (bytes, len) in [([0, 0], 0), ([0xff, 0xff], 511), ([0x02, 0x00], 0), ([0x01, 0x2c], 300)] {
        random[PRIVATE_LEN..PRIVATE_LEN + 2].copy_from_slice(&bytes);
        random[PRIVATE_LEN + 2..PRIVATE_LEN + 4].copy_from_slice(&bytes);
        let chance = Chance::new(&random);
        assert_eq!((chance.pad.len(), usize::from(chance.inner_pad)), (len, len));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both ends, whatever the paddings and however the streams are cut; and what is said afterwards.
    #[test]
    fn both_ends_understand_each_other(
        pads in [0..MAX_PAD, 0..MAX_PAD],
        inner in [0..MAX_PAD as u16, 0..MAX_PAD as u16],
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        provide in 1_u32..4,
        accept in 1_u32..4,
        cuts in proptest::collection::vec(1_usize..200, 1..40),
        keys in any::<[u8; 2]>(),
        said in proptest::collection::vec(any::<u8>(), 1..2000),
    ) {
        prop_assume!(provide & accept != 0);
        let mut cuts = cuts.into_iter().cycle();
        let mut cut = || cuts.next().unwrap_or(1);
        let pad = |len: usize, seed: u8| (0..len).map(|n| (n as u8).wrapping_mul(31) ^ seed).collect::<Vec<_>>();
        let chance = |key: u8, n: usize| Chance {
            private: std::array::from_fn(|at| key.wrapping_add(at as u8 * 3)), pad: pad(pads[n], key), inner_pad: inner[n],
        };
        let (end, pair) = initiator(Methods(provide), &payload, chance(keys[0], 0));
        let mut dialling = Dialling { end, keys: pair };
        let mut dialled = Dialled::new(Methods(accept), chance(keys[1], 1));
        let (mut to_dialled, mut to_dialling) = (dialling.end.first(&dialling.keys), Vec::new());
        let (mut at_dialling, mut at_dialled) = (None, None);
        for _ in 0..3 {
            if at_dialled.is_none() {
                let (sent, session) = feed(&mut dialled, &mut to_dialled, &mut cut).unwrap();
                to_dialling.extend(sent);
                at_dialled = session;
            }
            let (sent, session) = feed(&mut dialling, &mut to_dialling, &mut cut).unwrap();
            to_dialled.extend(sent);
            at_dialling = at_dialling.or(session);
        }
        let (mut at_dialling, mut at_dialled) = (at_dialling.unwrap(), at_dialled.unwrap());
        prop_assert_eq!(at_dialling.method, at_dialled.method);
        prop_assert_eq!(to_dialling.len(), 0);
        prop_assert_eq!(to_dialled.len(), payload.len(), "nothing of the payload was read");
        prop_assert_eq!(dialled.payload.map(usize::from), Some(payload.len()));
        let mut there = said.clone();
        if let Some(cipher) = &mut at_dialling.outgoing {
            cipher.apply(&mut there);
            prop_assert!(said.len() < 16 || there != said);
        }
        to_dialled.extend(there);
        let mut rest = &mut to_dialled[..];
        while !rest.is_empty() {
            let (part, more) = rest.split_at_mut(cut().min(rest.len()));
            if let Some(incoming) = &mut at_dialled.incoming {
                incoming.apply(part);
            }
            rest = more;
        }
        prop_assert_eq!(&to_dialled[..payload.len()], &payload[..]);
        prop_assert_eq!(&to_dialled[payload.len()..], &said[..]);
        let mut back = said.clone();
        at_dialled.outgoing.iter_mut().for_each(|cipher| cipher.apply(&mut back));
        at_dialling.incoming.iter_mut().for_each(|incoming| incoming.apply(&mut back));
        prop_assert_eq!(back, said);
    }

    /// Any bytes: either end gives up within the bytes that a handshake can have, or waits for more of them.
    #[test]
    fn nonsense_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cuts in proptest::collection::vec(1_usize..97, 1..9)) {
        let most = KEY_LEN + MAX_PAD + HASH_LEN + HASH_LEN;
        let mut cuts = cuts.into_iter().cycle();
        let (end, keys) = initiator(Methods::ALL, b"", chance(1, b"", 0));
        let ends: [Box<dyn End>; 2] =
            [Box::new(Dialling { end, keys }), Box::new(Dialled::new(Methods::ALL, chance(1, b"", 0)))];
        for mut end in ends {
            let mut stream = bytes.clone();
            let fed = feed(end.as_mut(), &mut stream, &mut || cuts.next().unwrap_or(1));
            let taken = bytes.len() - stream.len();
            prop_assert!(taken <= most, "{taken} taken");
            prop_assert!(fed.is_err() || taken == bytes.len());
        }
    }
}
