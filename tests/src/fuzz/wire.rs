//! What peers send: handshake, frames, messages and those of extensions (BEP 3, 6, 9, 10, 11, 21, 52, 54).
use wgo_proto::Bitfield;
use wgo_proto::wire::{
    ExtMessage, Extension, ExtensionIds, Frame, HANDSHAKE_LEN, Handshake, Limits, block_header, next_frame,
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
