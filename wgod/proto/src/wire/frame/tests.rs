//! Messages through the framer: there and back, cut anywhere, hostile.
use super::*;
use crate::wire::message::block_header;
use proptest::prelude::*;

/// A frame that owns what it holds, to collect across buffers.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Message(Vec<u8>),
    Block(Block, Vec<u8>),
    Skip(u8, Vec<u8>),
    Error(WireError),
}

/// Feeds `stream` in parts of the given sizes, as a receive loop does, and lists what came out.
fn frames(stream: &[u8], limits: &Limits, mut sizes: impl Iterator<Item = usize>) -> Vec<Seen> {
    let (mut seen, mut buf, mut fed) = (Vec::new(), Vec::new(), 0);
    loop {
        let step = match next_frame(&buf, limits) {
            Err(error) => {
                seen.push(Seen::Error(error));
                return seen;
            }
            Ok(Frame::Incomplete { need }) => {
                assert!(need > buf.len(), "asks for bytes it has");
                None
            }
            Ok(Frame::Message { message, consumed }) => {
                let mut wire = Vec::new();
                message.encode(&mut wire);
                Some((Seen::Message(wire), consumed))
            }
            Ok(Frame::Block { block, header_len }) => {
                let whole = header_len + block.len as usize;
                buf.get(header_len..whole).map(|payload| (Seen::Block(block, payload.to_vec()), whole))
            }
            Ok(Frame::Skip { id, header_len, body_len }) => {
                let whole = header_len + body_len as usize;
                buf.get(header_len..whole).map(|body| (Seen::Skip(id, body.to_vec()), whole))
            }
        };
        match step {
            Some((frame, consumed)) => {
                seen.push(frame);
                buf.drain(..consumed);
            }
            None if fed == stream.len() => return seen,
            None => {
                let end = stream.len().min(fed + sizes.next().unwrap_or(1).max(1));
                buf.extend_from_slice(&stream[fed..end]);
                fed = end;
            }
        }
    }
}

/// A message that owns its bodies, for strategies.
#[derive(Clone, Debug)]
enum Owned {
    Plain(Message<'static>),
    Bitfield(Vec<u8>),
    Extended(u8, Vec<u8>),
    Hashes(HashRange, Vec<u8>),
    Block(Block, u8),
    Unknown(u8, Vec<u8>),
}

const PIECES: u32 = 77;

impl Owned {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Owned::Plain(message) => message.encode(out),
            Owned::Bitfield(bits) => Message::Bitfield(bits).encode(out),
            Owned::Extended(id, body) => Message::Extended { id: *id, body }.encode(out),
            Owned::Hashes(range, hashes) => Message::Hashes { range: *range, hashes }.encode(out),
            Owned::Block(block, fill) => {
                out.extend(block_header(*block));
                out.resize(out.len() + block.len as usize, *fill);
            }
            Owned::Unknown(id, body) => {
                out.extend((body.len() as u32 + 1).to_be_bytes());
                out.push(*id);
                out.extend(body);
            }
        }
    }

    fn seen(&self) -> Seen {
        let mut wire = Vec::new();
        self.put(&mut wire);
        match self {
            Owned::Block(block, fill) => Seen::Block(*block, vec![*fill; block.len as usize]),
            Owned::Unknown(id, body) => Seen::Skip(*id, body.clone()),
            _ => Seen::Message(wire),
        }
    }
}

fn messages() -> impl Strategy<Value = Owned> {
    let piece = || (0..PIECES).prop_map(PieceIndex);
    let block = || {
        (piece(), any::<u32>(), any::<u32>()).prop_map(|(piece, offset, len)| Block { piece, offset, len })
    };
    let body = |max| prop::collection::vec(any::<u8>(), 0..max);
    let range = || {
        (any::<[u8; 32]>(), any::<[u32; 4]>()).prop_map(
            |(pieces_root, [base_layer, index, length, proof_layers])| HashRange {
                pieces_root,
                base_layer,
                index,
                length,
                proof_layers,
            },
        )
    };
    let plain = prop_oneof![
        prop::sample::select(vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::HaveAll,
            Message::HaveNone,
        ]),
        piece().prop_map(Message::Have),
        piece().prop_map(Message::Suggest),
        piece().prop_map(Message::AllowedFast),
        block().prop_map(Message::Request),
        block().prop_map(Message::Cancel),
        block().prop_map(Message::Reject),
        any::<u16>().prop_map(Message::Port),
        range().prop_map(Message::HashRequest),
        range().prop_map(Message::HashReject),
    ];
    prop_oneof![
        8 => plain.prop_map(Owned::Plain),
        1 => prop::collection::vec(any::<u8>(), Bitfield::wire_len(PIECES)).prop_map(Owned::Bitfield),
        1 => (any::<u8>(), body(300)).prop_map(|(id, body)| Owned::Extended(id, body)),
        1 => (range(), prop::collection::vec(any::<[u8; 32]>(), 0..8)).prop_map(|(r, h)| Owned::Hashes(r, h.concat())),
        2 => (piece(), any::<u32>(), 1u32..300, any::<u8>())
            .prop_map(|(piece, offset, len, fill)| Owned::Block(Block { piece, offset, len }, fill)),
        1 => (prop::sample::select(vec![10u8, 12, 18, 19, 24, 255]), body(40)).prop_map(|(id, b)| Owned::Unknown(id, b)),
    ]
}

#[test]
fn the_bytes_are_those_of_the_beps() {
    let block = Block { piece: PieceIndex(1), offset: 0x4000, len: 0x2000 };
    let range = HashRange { pieces_root: [9; 32], base_layer: 1, index: 2, length: 3, proof_layers: 4 };
    let cases: [(Message<'_>, &[u8]); 16] = [
        (Message::KeepAlive, &[0, 0, 0, 0]),
        (Message::Choke, &[0, 0, 0, 1, 0]),
        (Message::Unchoke, &[0, 0, 0, 1, 1]),
        (Message::Interested, &[0, 0, 0, 1, 2]),
        (Message::NotInterested, &[0, 0, 0, 1, 3]),
        (Message::Have(PieceIndex(0x0102)), &[0, 0, 0, 5, 4, 0, 0, 1, 2]),
        (Message::Bitfield(&[0xf0]), &[0, 0, 0, 2, 5, 0xf0]),
        (Message::Request(block), &[0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x20, 0]),
        (Message::Cancel(block), &[0, 0, 0, 13, 8, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x20, 0]),
        (Message::Port(6881), &[0, 0, 0, 3, 9, 0x1a, 0xe1]),
        (Message::Suggest(PieceIndex(7)), &[0, 0, 0, 5, 13, 0, 0, 0, 7]),
        (Message::HaveAll, &[0, 0, 0, 1, 14]),
        (Message::HaveNone, &[0, 0, 0, 1, 15]),
        (Message::Reject(block), &[0, 0, 0, 13, 16, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x20, 0]),
        (Message::AllowedFast(PieceIndex(7)), &[0, 0, 0, 5, 17, 0, 0, 0, 7]),
        (Message::Extended { id: 3, body: b"de" }, &[0, 0, 0, 4, 20, 3, b'd', b'e']),
    ];
    for (message, expected) in cases {
        let mut wire = Vec::new();
        message.encode(&mut wire);
        assert_eq!(wire, expected, "{}", message.name());
        assert_eq!(message.id(), expected.get(4).copied(), "{}", message.name());
    }
    assert_eq!(block_header(block), [0, 0, 0x20, 9, 7, 0, 0, 0, 1, 0, 0, 0x40, 0]);
    let mut wire = Vec::new();
    Message::HashRequest(range).encode(&mut wire);
    assert_eq!(wire[..5], [0, 0, 0, 49, 21]);
    let of_hashes =
        [Message::HashRequest(range), Message::Hashes { range, hashes: &[] }, Message::HashReject(range)];
    assert_eq!(of_hashes.map(|message| message.id()), [Some(21), Some(22), Some(23)]);
    assert_eq!(wire[37..], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]);
}

/// Every message with a length it cannot have, refused before a byte of its body is there.
#[test]
fn wrong_lengths_are_refused_from_the_header_alone() {
    let limits = Limits::new(Some(100));
    let block = 10..=9 + MAX_REQUEST_LEN;
    let extended = 2..=MAX_EXTENDED_LEN;
    let hashes = 49..=MAX_OTHER_LEN;
    for (id, expected, found) in [
        (id::CHOKE, 1..=1, 2),
        (id::UNCHOKE, 1..=1, 5),
        (id::HAVE, 5..=5, 4),
        (id::HAVE, 5..=5, 6),
        (id::BITFIELD, 14..=14, 13),
        (id::BITFIELD, 14..=14, 15),
        (id::BITFIELD, 14..=14, 1),
        (id::REQUEST, 13..=13, 12),
        (id::PIECE, block.clone(), 8),
        (id::PIECE, block.clone(), 9),
        (id::PIECE, block, 10 + MAX_REQUEST_LEN),
        (id::CANCEL, 13..=13, 14),
        (id::PORT, 3..=3, 2),
        (id::HAVE_ALL, 1..=1, 2),
        (id::REJECT, 13..=13, 1),
        (id::ALLOWED_FAST, 5..=5, 1),
        (id::EXTENDED, extended, 1),
        (id::HASH_REQUEST, 49..=49, 48),
        (id::HASHES, hashes, 48),
    ] {
        let mut header = u32::to_be_bytes(found).to_vec();
        header.push(id);
        let error = WireError::WrongLength { id, expected, found };
        assert_eq!(next_frame(&header, &limits), Err(error.clone()));
        assert!(error.to_string().starts_with(id::name(id)), "{error}");
    }
}

#[test]
fn each_message_has_the_name_of_its_bep() {
    let all: Vec<u8> = [(0..=9), (13..=17), (20..=23)].into_iter().flatten().collect();
    let mut names: Vec<&str> = all.iter().map(|&id| id::name(id)).collect();
    assert_eq!((names[2], names[13], names[18]), ("interested", "reject request", "hash reject"));
    assert!((0..=255).filter(|id| !all.contains(id)).all(|id| id::name(id) == "unknown message"));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len(), "each has its own");
    assert_eq!(Message::KeepAlive.name(), "keep-alive");
}

#[test]
fn the_largest_lengths_are_refused_from_four_bytes() {
    let limits = Limits::new(Some(100));
    for found in [u32::MAX, 1 << 31, MAX_OTHER_LEN + 1] {
        let error = WireError::TooLong { limit: MAX_OTHER_LEN, found };
        assert_eq!(next_frame(&found.to_be_bytes(), &limits), Err(error));
    }
    let found = MAX_OTHER_LEN;
    assert_eq!(next_frame(&found.to_be_bytes(), &limits), Ok(Frame::Incomplete { need: 5 }));
    let small = Limits { max_extended: 100, ..limits };
    let error = WireError::WrongLength { id: id::EXTENDED, expected: 2..=100, found: 101 };
    assert_eq!(next_frame(&[0, 0, 0, 101, id::EXTENDED], &small), Err(error));
    let large = Limits { max_extended: MAX_OTHER_LEN + 1, ..limits };
    let error = WireError::WrongLength { id: 99, expected: 1..=MAX_OTHER_LEN, found: MAX_OTHER_LEN + 1 };
    let header = [&(MAX_OTHER_LEN + 1).to_be_bytes()[..], &[99]].concat();
    assert_eq!(next_frame(&header, &large), Err(error));
}

#[test]
fn pieces_past_the_end_are_refused_once_the_metadata_is_known() {
    for id in [id::HAVE, id::SUGGEST, id::ALLOWED_FAST] {
        let wire = [0, 0, 0, 5, id, 0, 0, 0, 100];
        let error = WireError::NoSuchPiece { id, index: 100, pieces: 100 };
        assert_eq!(next_frame(&wire, &Limits::new(Some(100))), Err(error));
        assert!(next_frame(&wire, &Limits::new(Some(101))).is_ok());
        assert!(next_frame(&wire, &Limits::new(None)).is_ok());
    }
    for id in [id::REQUEST, id::CANCEL, id::REJECT] {
        let wire = [0, 0, 0, 13, id, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0x40, 0];
        let error = WireError::NoSuchPiece { id, index: 5, pieces: 5 };
        assert_eq!(next_frame(&wire, &Limits::new(Some(5))), Err(error));
    }
    let header = block_header(Block { piece: PieceIndex(5), offset: 0, len: 1 });
    let error = WireError::NoSuchPiece { id: id::PIECE, index: 5, pieces: 5 };
    assert_eq!(next_frame(&header, &Limits::new(Some(5))), Err(error));
}

#[test]
fn a_bitfield_of_unknown_length_is_taken_before_the_metadata_and_bounded() {
    let limits = Limits::new(None);
    assert_eq!(next_frame(&[0, 0, 0, 2, 5, 0xff], &limits), {
        Ok(Frame::Message { message: Message::Bitfield(&[0xff]), consumed: 6 })
    });
    let longest = 1 + MAX_PIECES / 8;
    let header = [&(longest + 1).to_be_bytes()[..], &[5]].concat();
    let error = WireError::WrongLength { id: 5, expected: 1..=longest, found: longest + 1 };
    assert_eq!(next_frame(&header, &limits), Err(error));
}

#[test]
fn hashes_come_in_whole_hashes() {
    let range = HashRange { pieces_root: [0; 32], base_layer: 0, index: 0, length: 2, proof_layers: 0 };
    let mut wire = Vec::new();
    Message::Hashes { range, hashes: &[1; 33] }.encode(&mut wire);
    assert_eq!(next_frame(&wire, &Limits::new(None)), Err(WireError::RaggedHashes { found: 33 }));
}

#[test]
fn hash_ranges_are_aligned_as_bep_52_says() {
    let range =
        |index, length| HashRange { pieces_root: [0; 32], base_layer: 0, index, length, proof_layers: 0 };
    for (index, length, ok) in [
        (0, 2, true),
        (512, 512, true),
        (6, 2, true),
        (0, 0, false),
        (0, 1, false),
        (0, 3, false),
        (2, 4, false),
    ] {
        assert_eq!(range(index, length).is_aligned(), ok, "{index} {length}");
    }
}

proptest! {
    #[test]
    fn a_stream_gives_the_same_frames_however_it_is_cut(
        sent in prop::collection::vec(messages(), 0..20), sizes in prop::collection::vec(1usize..60, 1..40),
    ) {
        let (limits, mut stream) = (Limits::new(Some(PIECES)), Vec::new());
        sent.iter().for_each(|message| message.put(&mut stream));
        let expected: Vec<Seen> = sent.iter().map(Owned::seen).collect();
        prop_assert_eq!(&frames(&stream, &limits, sizes.into_iter().cycle()), &expected);
        prop_assert_eq!(&frames(&stream, &limits, std::iter::repeat(usize::MAX / 2)), &expected);
        prop_assert_eq!(&frames(&stream, &limits, std::iter::repeat(1)), &expected);
    }

    #[test]
    fn a_broken_stream_gives_the_same_frames_and_error_however_it_is_cut(
        sent in prop::collection::vec(messages(), 1..6), at: prop::sample::Index, byte: u8,
    ) {
        let (limits, mut stream) = (Limits::new(Some(PIECES)), Vec::new());
        sent.iter().for_each(|message| message.put(&mut stream));
        let at = at.index(stream.len());
        stream[at] = byte;
        let whole = frames(&stream, &limits, std::iter::repeat(usize::MAX / 2));
        prop_assert_eq!(frames(&stream, &limits, std::iter::repeat(1)), whole);
    }

    #[test]
    fn messages_round_trip(sent in messages()) {
        let mut stream = Vec::new();
        sent.put(&mut stream);
        if let Owned::Plain(message) = sent {
            let frame = next_frame(&stream, &Limits::new(Some(PIECES)));
            prop_assert_eq!(frame, Ok(Frame::Message { message, consumed: stream.len() }));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_want_more_than_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..64), pieces in prop::option::of(0u32..5000), tame: bool,
    ) {
        let mut bytes = bytes;
        if let Some(top) = bytes.get_mut(..3).filter(|_| tame) {
            top.fill(0);
        }
        if let Ok(Frame::Incomplete { need }) = next_frame(&bytes, &Limits::new(pieces)) {
            prop_assert!(need > bytes.len() && need <= 4 + MAX_OTHER_LEN as usize);
        }
    }
}
