//! BitTorrent on the wire and on disk: bytes to types and back.
//!
//! Floor 0 of wgod: no state, no I/O, no clock. Every function here is total on hostile input: it
//! returns a typed error that carries the evidence, and allocates no more than the input's own size
//! allows.
#![forbid(unsafe_code)]

pub mod bencode;
pub mod bitfield;
pub mod compact;
pub mod host_port;
pub mod ip_list;
pub mod krpc;
pub mod layout;
pub mod lsd;
pub mod magnet;
pub mod merkle;
pub mod metainfo;
pub mod mse;
pub mod path;
pub mod portmap;
pub mod proxy;
mod text;
pub mod tracker;
pub mod units;
pub mod urls;
pub mod wire;

pub use bitfield::{Bitfield, BitfieldError};
pub use units::{
    BLOCK_LEN, Block, FileIndex, InfoHashV1, InfoHashV2, InfoHashes, NodeId, PeerId, PieceIndex, WireHash,
};
