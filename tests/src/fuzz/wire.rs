//! What peers send: handshake, frames, messages and those of extensions (BEP 3, 6, 9, 10, 11, 21, 52, 54).
use std::net::SocketAddr;

use wgo_proto::Bitfield;
use wgo_proto::compact::Family;
use wgo_proto::wire::extended::handshake::MAX_METADATA_LEN;
use wgo_proto::wire::extended::ut_metadata::{METADATA_PIECE_LEN, metadata_piece_len, metadata_pieces};
use wgo_proto::wire::extended::ut_pex::{MAX_CONTACTS, Pex};
use wgo_proto::wire::{
    ExtMessage, Extension, ExtensionIds, Frame, HANDSHAKE_LEN, Handshake, Limits, MetadataMessage,
    block_header, next_frame,
};

use super::Reader;

/// A handshake is written as it was read.
pub(super) fn handshake(data: &[u8]) {
    let bytes: [u8; HANDSHAKE_LEN] = Reader::new(data).array();
    let whole = Handshake::may_begin_with(&bytes);
    assert_eq!(Handshake::decode(&bytes).map(|read| read.encode()).ok(), whole.then_some(bytes));
    for len in 0..bytes.len() {
        assert!(!whole || Handshake::may_begin_with(&bytes[..len]));
    }
}

/// A stream of messages: each is written as it was read, and how the stream was cut changes nothing.
pub(super) fn frames(data: &[u8]) {
    let mut reader = Reader::new(data);
    let pieces = reader.short();
    let limits = Limits::new((pieces != 0).then_some(pieces.into()));
    let mut rest = reader.rest();
    loop {
        let cut = rest.len() / 2;
        let early = next_frame(&rest[..cut], &limits);
        let frame = next_frame(rest, &limits);
        match early {
            Ok(Frame::Incomplete { need }) => assert!(need > cut),
            decided => assert_eq!(decided, frame, "more bytes change nothing"),
        }
        let taken = match frame {
            Err(_) => return,
            Ok(Frame::Incomplete { need }) => {
                assert!(need > rest.len() && need <= 4 + (1 << 21), "{need}");
                return;
            }
            Ok(Frame::Message { message, consumed }) => {
                let mut written = Vec::new();
                message.encode(&mut written);
                assert_eq!(written, &rest[..consumed], "{message:?}");
                consumed
            }
            Ok(Frame::Block { block, header_len }) => {
                assert_eq!(block_header(block), &rest[..header_len]);
                header_len + (block.len as usize).min(rest.len() - header_len)
            }
            Ok(Frame::Skip { header_len, body_len, .. }) => {
                header_len + (body_len as usize).min(rest.len() - header_len)
            }
        };
        assert!(taken > 0);
        rest = &rest[taken..];
    }
}

/// The body of an extension's message says the same when it is written and read again.
pub(super) fn extended(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (id, pieces) = (reader.byte() % 8, reader.byte());
    let limits = Limits::new((pieces != 0).then_some(pieces.into()));
    let body = reader.rest();
    let Ok(message) = ExtMessage::decode(id, body, &limits) else { return };
    let mut written = Vec::new();
    if message.encode(&ExtensionIds::local(Extension::ALL), &mut written) {
        assert_eq!(written[5], id);
        assert_eq!(ExtMessage::decode(id, &written[6..], &limits).as_ref(), Ok(&message));
        assert!(written.len() <= 4 * body.len() + 512, "{} bytes from {}", written.len(), body.len());
    }
}

/// The set of pieces of a peer.
pub(super) fn bitfield(data: &[u8]) {
    let mut reader = Reader::new(data);
    let len = u32::from(reader.short());
    let bytes = reader.rest();
    let Ok(bits) = Bitfield::from_wire(bytes, len) else { return };
    bits.check_invariants();
    assert_eq!(bits.to_wire(), bytes);
    assert_eq!(bits.iter_ones().count() as u32, bits.count());
    assert_eq!(bits.count() + bits.count_zeros(), len);
}

/// A message about metadata has a piece that there can be, and just the bytes of it (BEP 9).
pub(super) fn metadata(data: &[u8]) {
    let Ok(message) = MetadataMessage::decode(data) else { return };
    let last = metadata_pieces(MAX_METADATA_LEN) - 1;
    match message {
        MetadataMessage::Request { piece } | MetadataMessage::Reject { piece } => assert!(piece <= last),
        MetadataMessage::Data { piece, total_size, data: bytes } => {
            assert!(data.ends_with(bytes) && piece <= last);
            assert!((1..=METADATA_PIECE_LEN as usize).contains(&bytes.len()));
            if let Some(total) = total_size {
                assert!(total <= MAX_METADATA_LEN);
                assert_eq!(metadata_piece_len(total, piece), Some(bytes.len() as u32));
                let start = u64::from(piece) * u64::from(METADATA_PIECE_LEN);
                assert!(start + bytes.len() as u64 <= u64::from(total));
            }
        }
        MetadataMessage::Unknown { msg_type } => assert!(!(0..=2).contains(&msg_type)),
    }
    let mut written = Vec::new();
    message.encode(&mut written);
    assert_eq!(MetadataMessage::decode(&written), Ok(message));
}

/// Contacts are such as can be dialled, few, and paid for by the bytes that came (BEP 11).
pub(super) fn pex(data: &[u8]) {
    let Ok(pex) = Pex::decode(data) else { return };
    let added: Vec<SocketAddr> = pex.added.iter().map(|peer| peer.addr).collect();
    for list in [&added, &pex.dropped] {
        assert!(list.len() <= MAX_CONTACTS && list.is_sorted_by_key(SocketAddr::is_ipv6));
        assert!(list.iter().all(|addr| addr.port() != 0 && !addr.ip().is_unspecified()));
    }
    let len = |list: &[SocketAddr]| list.iter().map(|addr| Family::of(addr).entry_len()).sum::<usize>();
    assert!(len(&added) + len(&pex.dropped) <= data.len(), "contacts are not made of nothing");
    assert_eq!(pex.is_empty(), added.len() + pex.dropped.len() == 0);
    let mut written = Vec::new();
    pex.encode(&mut written);
    assert_eq!(Pex::decode(&written).as_ref(), Ok(&pex));
}
