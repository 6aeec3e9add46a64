//! What two peers say to each other: handshake, messages and their framing, and the extension
//! messages inside them (BEP 3, 6, 9, 10, 11, 21, 52, 54).
//!
//! The shell reads bytes and asks [`next_frame`]; core handles the [`Message`]s and encodes its own.
//! Everything here borrows from the caller's buffer.
pub mod allowed_fast;
pub mod error;
pub mod extended;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod peer_id;

pub use allowed_fast::allowed_fast;
pub use error::{HandshakeError, WireError};
pub use extended::{ExtHandshake, ExtMessage, Extension, ExtensionIds, MetadataMessage};
pub use frame::{BLOCK_HEADER_LEN, Frame, Limits, next_frame};
pub use handshake::{HANDSHAKE_LEN, Handshake, Reserved};
pub use message::{HashRange, Message, block_header};
