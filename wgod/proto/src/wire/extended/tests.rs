//! Extension messages: the examples of the BEPs, there and back, and what strangers send.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::handshake::{MAX_CLIENT_NAME, MAX_METADATA_LEN, MAX_REQQ};
use super::ut_metadata::{METADATA_PIECE_LEN, metadata_piece_len, metadata_pieces};
use super::ut_pex::MAX_CONTACTS;
use super::*;
use crate::bencode::{BencodeError, Encoder, Fault, Kind};
use crate::wire::{Frame, Message, next_frame};
use proptest::prelude::*;

const LIMITS: Limits = Limits { pieces: Some(100), max_extended: 1 << 20 };

fn body(message: &ExtMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(message.encode(&ExtensionIds::local(Extension::ALL), &mut out));
    out.split_off(6)
}

fn handshake(body: &[u8]) -> Result<ExtHandshake, WireError> {
    ExtHandshake::decode(body)
}

#[test]
fn the_handshake_of_the_bep_is_read() {
    let example = "d1:md11:LT_metadatai1e6:µT_PEXi2ee1:pi6881e1:v13:µTorrent 1.2e".as_bytes();
    let expected =
        ExtHandshake { port: Some(6881), client: Some("µTorrent 1.2".into()), ..ExtHandshake::default() };
    // The example counts characters; `µ` has two bytes.
    let example = String::from_utf8(example.to_vec()).unwrap().replace("6:µT_PEX", "7:µT_PEX");
    assert_eq!(handshake(example.as_bytes()), Ok(expected));
}

#[test]
fn our_handshake_has_its_keys_in_order() {
    let mut out = Vec::new();
    ExtHandshake {
        extensions: ExtensionIds::local(Extension::ALL),
        client: Some("wgod 0.1.0".into()),
        reqq: Some(500),
        metadata_size: Some(31235),
        upload_only: Some(true),
        yourip: Some(Ipv4Addr::new(1, 2, 3, 4).into()),
        ..ExtHandshake::default()
    }
    .encode(&mut out);
    let expected: &[u8] = b"d1:md11:lt_donthavei4e11:upload_onlyi3e11:ut_metadatai1e6:ut_pexi2ee\
        13:metadata_sizei31235e4:reqqi500e11:upload_onlyi1e1:v10:wgod 0.1.06:yourip4:\x01\x02\x03\x04e";
    assert_eq!(out, expected, "{}", out.escape_ascii());
}

#[test]
fn impossible_advice_is_ignored_or_clamped() {
    let none = ExtHandshake::default();
    for (body, expected) in [
        (&b"de"[..], none.clone()),
        (b"d1:mi7ee", none.clone()),
        (b"d1:md9:unheardofi4000eee", none.clone()),
        (b"d1:md6:ut_pex1:1ee", none.clone()),
        (b"d1:pi0ee", none.clone()),
        (b"d1:pi65536ee", none.clone()),
        (b"d1:pi-1ee", none.clone()),
        (b"d1:p4:6881e", none.clone()),
        (b"d4:reqqi-5ee", ExtHandshake { reqq: Some(1), ..none.clone() }),
        (b"d4:reqqi99999999999ee", ExtHandshake { reqq: Some(MAX_REQQ), ..none.clone() }),
        (b"d6:yourip3:abce", none.clone()),
        (b"d4:ipv416:aaaaaaaaaaaaaaaae", none.clone()),
        (b"d4:ipv64:aaaae", none.clone()),
        (b"d13:metadata_sizei0ee", none.clone()),
        (b"d12:complete_agoi-1ee", none.clone()),
        (b"d1:v0:e", none.clone()),
        (b"d1:v3:a\x1bbe", ExtHandshake { client: Some("a\u{fffd}b".into()), ..none.clone() }),
        (b"d1:v1:a1:ai1ee", ExtHandshake { client: Some("a".into()), ..none.clone() }),
    ] {
        assert_eq!(handshake(body), Ok(expected), "{}", body.escape_ascii());
    }
    let long = [b"d1:v5000:", &[b'x'; 5000][..], b"e"].concat();
    assert_eq!(handshake(&long).unwrap().client.unwrap().len(), MAX_CLIENT_NAME);
}

#[test]
fn a_handshake_that_could_harm_is_refused_with_evidence() {
    let name = "extension handshake";
    let size = |found| WireError::MetadataSize { limit: MAX_METADATA_LEN, found };
    for (body, error) in [
        (&b"le"[..], WireError::ExtensionNotDict { name, found: Kind::List }),
        (b"", WireError::ExtensionBencode { name, error: BencodeError { fault: Fault::Truncated, at: 0 } }),
        (b"d1:md6:ut_pexi256eee", WireError::ExtensionId { name: "ut_pex", found: 256 }),
        (b"d1:md6:ut_pexi-1eee", WireError::ExtensionId { name: "ut_pex", found: -1 }),
        (b"d13:metadata_sizei-1ee", size(-1)),
        (b"d13:metadata_sizei67108865ee", size(67_108_865)),
    ] {
        assert_eq!(handshake(body), Err(error), "{}", body.escape_ascii());
    }
    let nested = [b"d1:m", "l".repeat(20_000).as_bytes()].concat();
    assert!(matches!(handshake(&nested), Err(WireError::ExtensionBencode { .. })));
}

#[test]
fn a_further_handshake_changes_only_what_it_mentions() {
    let mut ids = handshake(b"d1:md6:ut_pexi3e11:ut_metadatai9eee").unwrap().extensions;
    ids.apply(&handshake(b"d1:md6:ut_pexi0e11:lt_donthavei5eee").unwrap().extensions);
    assert_eq!(Extension::ALL.map(|e| ids.get(e)), [Some(9), None, None, Some(5)]);
    assert_eq!(ids.said(Extension::Pex), Some(0));
}

#[test]
fn messages_go_out_under_the_id_of_the_receiver() {
    let mut ids = ExtensionIds::default();
    ids.set(Extension::DontHave, 77);
    ids.set(Extension::UploadOnly, 0);
    let mut out = Vec::new();
    assert!(ExtMessage::DontHave(PieceIndex(258)).encode(&ids, &mut out));
    assert_eq!(out, [0, 0, 0, 6, 20, 77, 0, 0, 1, 2]);
    for message in [ExtMessage::UploadOnly(true), ExtMessage::Pex(Pex::default()), ExtMessage::Unknown(9)] {
        assert!(!message.encode(&ids, &mut out));
    }
    assert_eq!(out.len(), 10);
    assert_eq!(ExtMessage::decode(200, b"anything", &LIMITS), Ok(ExtMessage::Unknown(200)));
    assert_eq!(Extension::ALL.map(|e| Extension::from_local_id(e.local_id())), Extension::ALL.map(Some));
}

#[test]
fn small_messages_of_wrong_length_or_range_are_refused() {
    let decode = |extension: Extension, body| ExtMessage::decode(extension.local_id(), body, &LIMITS);
    for found in [0, 3, 5] {
        let error = WireError::ExtensionLength { name: "lt_donthave", expected: 4, found };
        assert_eq!(decode(Extension::DontHave, &[0; 5][..found]), Err(error));
    }
    let error = WireError::NoSuchPiece { id: 20, index: 100, pieces: 100 };
    assert_eq!(decode(Extension::DontHave, &[0, 0, 0, 100]), Err(error));
    let error = WireError::ExtensionLength { name: "upload_only", expected: 1, found: 0 };
    assert_eq!(decode(Extension::UploadOnly, &[]), Err(error));
    for (body, on) in [(&[0][..], false), (&[1], true), (&[0, 0, 0, 1], true)] {
        assert_eq!(decode(Extension::UploadOnly, body), Ok(ExtMessage::UploadOnly(on)));
    }
}

/// The examples of BEP 9.
#[test]
fn metadata_messages_are_those_of_the_bep() {
    let data = [b'x'; 3425];
    let with_data = [b"d8:msg_typei1e5:piecei0e10:total_sizei3425ee", &data[..]].concat();
    for (message, expected) in [
        (MetadataMessage::Request { piece: 0 }, &b"d8:msg_typei0e5:piecei0ee"[..]),
        (MetadataMessage::Data { piece: 0, total_size: Some(3425), data: &data }, &with_data),
        (MetadataMessage::Reject { piece: 0 }, b"d8:msg_typei2e5:piecei0ee"),
    ] {
        assert_eq!(body(&ExtMessage::Metadata(message)), expected);
        assert_eq!(MetadataMessage::decode(expected), Ok(message));
    }
    let unknown = b"d8:msg_typei9e5:stuff1:xetail";
    assert_eq!(MetadataMessage::decode(unknown), Ok(MetadataMessage::Unknown { msg_type: 9 }));
}

#[test]
fn metadata_of_the_wrong_length_or_place_is_refused() {
    let name = "ut_metadata";
    let wrong_data = |piece, total_size, found| WireError::MetadataData { piece, total_size, found };
    let size = |found| WireError::MetadataSize { limit: MAX_METADATA_LEN, found };
    for (body, error) in [
        (&b"de"[..], WireError::ExtensionKey { name, key: "msg_type" }),
        (b"d8:msg_typei0ee", WireError::ExtensionKey { name, key: "piece" }),
        (b"d8:msg_typei0e5:piecei-1ee", WireError::MetadataPiece { last: 4095, found: -1 }),
        (b"d8:msg_typei0e5:piecei4096ee", WireError::MetadataPiece { last: 4095, found: 4096 }),
        (b"d8:msg_typei0e5:piecei0eex", WireError::ExtensionLength { name, expected: 25, found: 26 }),
        (b"d8:msg_typei1e5:piecei0e10:total_sizei3ee12", wrong_data(0, Some(3), 2)),
        (b"d8:msg_typei1e5:piecei0e10:total_sizei3ee1234", wrong_data(0, Some(3), 4)),
        (b"d8:msg_typei1e5:piecei1e10:total_sizei3ee123", wrong_data(1, Some(3), 3)),
        (b"d8:msg_typei1e5:piecei0e10:total_sizei0ee", size(0)),
        (b"d8:msg_typei1e5:piecei0e10:total_sizei67108865ee", size(67_108_865)),
        (b"d8:msg_typei1e5:piecei0ee", wrong_data(0, None, 0)),
    ] {
        assert_eq!(MetadataMessage::decode(body), Err(error), "{}", body.escape_ascii());
    }
    let long = [b"d8:msg_typei1e5:piecei0ee", &[0; METADATA_PIECE_LEN as usize + 1][..]].concat();
    assert_eq!(MetadataMessage::decode(&long), Err(wrong_data(0, None, METADATA_PIECE_LEN as usize + 1)));
}

#[test]
fn pieces_of_metadata_add_up_to_the_whole() {
    for total in [1, METADATA_PIECE_LEN - 1, METADATA_PIECE_LEN, METADATA_PIECE_LEN + 1, MAX_METADATA_LEN] {
        let pieces = metadata_pieces(total);
        let sum: u64 = (0..pieces).map(|piece| u64::from(metadata_piece_len(total, piece).unwrap())).sum();
        assert_eq!(sum, u64::from(total));
        assert_eq!(metadata_piece_len(total, pieces), None);
    }
    assert_eq!(metadata_piece_len(u32::MAX, u32::MAX), None);
}

#[test]
fn pex_lists_are_read_with_their_flags_and_the_unusable_left_out() {
    let mut body = Vec::new();
    Encoder::new(&mut body).dict(|dict| {
        dict.entry("added").bytes([1, 2, 3, 4, 0, 80, 5, 6, 7, 8, 0, 0, 9, 9, 9, 9, 0, 81, 1, 1]);
        dict.entry("added.f").bytes([0x02, 0x04]);
        dict.entry("added6").bytes([[0; 15].as_slice(), &[1, 0, 82]].concat());
        dict.entry("added6.f").bytes([0x10, 0xff, 0xff]);
        dict.entry("dropped").bytes([4, 4, 4, 4, 0, 83]);
    });
    let peer = |addr: &str, flags| PexPeer { addr: addr.parse().unwrap(), flags: PexFlags(flags) };
    let pex = Pex::decode(&body).unwrap();
    assert_eq!(pex.added, [peer("1.2.3.4:80", 0x02), peer("9.9.9.9:81", 0), peer("[::1]:82", 0x10)]);
    assert_eq!(pex.dropped, ["4.4.4.4:83".parse().unwrap()]);
    assert!(pex.added[0].flags.contains(PexFlags::SEED) && !pex.added[0].flags.contains(PexFlags::UTP));
    assert_eq!(Pex::decode(b"de"), Ok(Pex::default()));
    assert!(Pex::decode(b"d5:addedi1ee").unwrap().is_empty());
}

#[test]
fn pex_lists_are_capped() {
    let mut body = Vec::new();
    Encoder::new(&mut body).dict(|dict| {
        dict.entry("added").bytes([1; 6 * 10_000]);
        dict.entry("added6").bytes([1; 18 * 1_000]);
        dict.entry("dropped").bytes([1; 6 * 10_000]);
    });
    let pex = Pex::decode(&body).unwrap();
    assert_eq!((pex.added.len(), pex.dropped.len()), (MAX_CONTACTS, MAX_CONTACTS));
}

fn ids() -> impl Strategy<Value = ExtensionIds> {
    any::<[Option<u8>; Extension::ALL.len()]>().prop_map(ExtensionIds)
}

fn handshakes() -> impl Strategy<Value = ExtHandshake> {
    let client = prop::option::of("[!-~µ]([ -~µ]{0,40}[!-~])?");
    let numbers = (prop::option::of(1u16..), prop::option::of(1..=MAX_REQQ), any::<Option<bool>>());
    let sizes = (prop::option::of(1..=MAX_METADATA_LEN), any::<Option<u32>>());
    let ips = (any::<Option<std::net::IpAddr>>(), any::<Option<Ipv4Addr>>(), any::<Option<Ipv6Addr>>());
    (ids(), client, numbers, sizes, ips).prop_map(|(extensions, client, numbers, sizes, ips)| ExtHandshake {
        extensions,
        client,
        port: numbers.0,
        reqq: numbers.1,
        yourip: ips.0,
        ipv4: ips.1,
        ipv6: ips.2,
        metadata_size: sizes.0,
        upload_only: numbers.2,
        complete_ago: sizes.1,
    })
}

fn pexes() -> impl Strategy<Value = Pex> {
    let v4 = || (1u32.., 1u16..).prop_map(|(ip, port)| SocketAddr::from((Ipv4Addr::from(ip), port)));
    let v6 = || (1u128.., 1u16..).prop_map(|(ip, port)| SocketAddr::from((Ipv6Addr::from(ip), port)));
    let list = || {
        (prop::collection::vec(v4(), 0..30), prop::collection::vec(v6(), 0..30))
            .prop_map(|(four, six)| four.into_iter().chain(six).collect::<Vec<_>>())
    };
    (list(), prop::collection::vec(any::<u8>(), 60), list()).prop_map(|(added, flags, dropped)| {
        let peer = |(addr, flags)| PexPeer { addr, flags: PexFlags(flags) };
        Pex { added: added.into_iter().zip(flags).map(peer).collect(), dropped }
    })
}

proptest! {
    #[test]
    fn handshakes_round_trip_through_the_framer(handshake in handshakes()) {
        let sent = ExtMessage::Handshake(Box::new(handshake));
        let mut wire = Vec::new();
        prop_assert!(sent.encode(&ExtensionIds::default(), &mut wire));
        let Ok(Frame::Message { message: Message::Extended { id, body }, consumed }) = next_frame(&wire, &LIMITS)
        else { panic!("not an extended message") };
        prop_assert_eq!(consumed, wire.len());
        prop_assert_eq!(ExtMessage::decode(id, body, &LIMITS), Ok(sent));
    }

    #[test]
    fn other_messages_round_trip(
        pex in pexes(), piece in 0u32..100, on: bool, total in 1u32..200_000, at: prop::sample::Index,
    ) {
        let metadata_piece = at.index(metadata_pieces(total) as usize) as u32;
        let data = vec![7; metadata_piece_len(total, metadata_piece).unwrap() as usize];
        for sent in [
            ExtMessage::Pex(pex),
            ExtMessage::DontHave(PieceIndex(piece)),
            ExtMessage::UploadOnly(on),
            ExtMessage::Metadata(MetadataMessage::Request { piece: metadata_piece }),
            ExtMessage::Metadata(MetadataMessage::Reject { piece: metadata_piece }),
            ExtMessage::Metadata(MetadataMessage::Data { piece: metadata_piece, total_size: Some(total), data: &data }),
            ExtMessage::Metadata(MetadataMessage::Data { piece: metadata_piece, total_size: None, data: &data }),
        ] {
            let id = sent.extension().unwrap().local_id();
            let received = body(&sent);
            prop_assert_eq!(ExtMessage::decode(id, &received, &LIMITS), Ok(sent));
        }
    }

    #[test]
    fn ids_merge_like_a_map(old in ids(), new in ids()) {
        let mut merged = old;
        merged.apply(&new);
        for extension in Extension::ALL {
            prop_assert_eq!(merged.said(extension), new.said(extension).or(old.said(extension)));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(id in 0u8..6, bytes: Vec<u8>, at: prop::sample::Index, flip: u8) {
        let _ = ExtMessage::decode(id, &bytes, &LIMITS);
        let mut near = b"d1:md6:ut_pexi3ee13:metadata_sizei5e5:added6:aaaaaa8:msg_typei1e5:piecei0ee".to_vec();
        let at = at.index(near.len());
        near[at] = flip;
        let _ = ExtMessage::decode(id, &near, &LIMITS);
    }
}
