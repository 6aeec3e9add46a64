//! The extension protocol (BEP 10): its handshake, and the extensions that we know: metadata
//! (BEP 9), peer exchange (BEP 11), upload-only (BEP 21) and don't-have (BEP 54).
//!
//! Each side numbers the extensions that it takes. We always use [`Extension::local_id`], so an
//! incoming id needs no table; the other side's numbers are its [`ExtensionIds`].
pub mod handshake;
pub mod ut_metadata;
pub mod ut_pex;

use super::error::WireError;
use super::frame::Limits;
use super::message::id;
use crate::units::PieceIndex;
pub use handshake::ExtHandshake;
pub use ut_metadata::MetadataMessage;
pub use ut_pex::{Pex, PexFlags, PexPeer};

/// The id of the extension handshake in both directions.
pub const HANDSHAKE_ID: u8 = 0;

/// An extension that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `ut_metadata`: the info dictionary from peers (BEP 9).
    Metadata,
    /// `ut_pex`: addresses from peers (BEP 11).
    Pex,
    /// `upload_only`: a change of that state, whose first value is in the handshake (BEP 21).
    UploadOnly,
    /// `lt_donthave`: a piece that the sender no longer has (BEP 54).
    DontHave,
}

impl Extension {
    /// Every extension, in the order of their local ids.
    pub const ALL: [Self; 4] = [Self::Metadata, Self::Pex, Self::UploadOnly, Self::DontHave];

    /// Its key in the handshake's `m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "ut_metadata",
            Self::Pex => "ut_pex",
            Self::UploadOnly => "upload_only",
            Self::DontHave => "lt_donthave",
        }
    }

    /// The id that others put on their messages to us, from 1.
    pub const fn local_id(self) -> u8 {
        self as u8 + 1
    }

    /// The extension that a message to us is of.
    pub fn from_local_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.local_id() == id)
    }
}

/// The ids of one side's extensions, as far as it has said (BEP 10, `m`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds([Option<u8>; Extension::ALL.len()]);

impl ExtensionIds {
    /// Ours: [`Extension::local_id`] for each of `extensions`, nothing said of the others.
    pub fn local(extensions: impl IntoIterator<Item = Extension>) -> Self {
        let mut ids = Self::default();
        extensions.into_iter().for_each(|extension| ids.set(extension, extension.local_id()));
        ids
    }

    /// The id to send with; `None` where the extension is not supported.
    pub fn get(&self, extension: Extension) -> Option<u8> {
        self.said(extension).filter(|&id| id != 0)
    }

    /// What was said of the extension: `Some(0)` that it is switched off, `None` nothing.
    pub fn said(&self, extension: Extension) -> Option<u8> {
        self.0[extension as usize]
    }

    /// Gives the extension an id; 0 switches it off.
    pub fn set(&mut self, extension: Extension, id: u8) {
        self.0[extension as usize] = Some(id);
    }

    /// Takes over what a further handshake says; what it doesn't mention stays (BEP 10).
    pub fn apply(&mut self, changes: &Self) {
        for (mine, change) in self.0.iter_mut().zip(changes.0) {
            *mine = change.or(*mine);
        }
    }
}

/// A message of the extension protocol, in terms of what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtMessage<'a> {
    /// What the sender supports and tells of itself (BEP 10). May come again at any time.
    Handshake(Box<ExtHandshake>),
    /// Of `ut_metadata` (BEP 9).
    Metadata(MetadataMessage<'a>),
    /// Of `ut_pex` (BEP 11).
    Pex(Pex),
    /// Whether the sender wants nothing more, though it may be incomplete (BEP 21).
    UploadOnly(bool),
    /// The sender no longer has this piece (BEP 54).
    DontHave(PieceIndex),
    /// Of an extension that we don't know: to be ignored.
    Unknown(u8),
}

impl<'a> ExtMessage<'a> {
    /// Reads the body of an `extended` message to us. Fails where it breaks its BEP.
    pub fn decode(id: u8, body: &'a [u8], limits: &Limits) -> Result<Self, WireError> {
        if id == HANDSHAKE_ID {
            return ExtHandshake::decode(body).map(|handshake| Self::Handshake(Box::new(handshake)));
        }
        match Extension::from_local_id(id) {
            Some(Extension::Metadata) => MetadataMessage::decode(body).map(Self::Metadata),
            Some(Extension::Pex) => Pex::decode(body).map(Self::Pex),
            Some(Extension::UploadOnly) => decode_upload_only(body).map(Self::UploadOnly),
            Some(Extension::DontHave) => decode_dont_have(body, limits).map(Self::DontHave),
            None => Ok(Self::Unknown(id)),
        }
    }

    /// The extension that it belongs to; none for the handshake and the unknown.
    pub fn extension(&self) -> Option<Extension> {
        match self {
            Self::Metadata(_) => Some(Extension::Metadata),
            Self::Pex(_) => Some(Extension::Pex),
            Self::UploadOnly(_) => Some(Extension::UploadOnly),
            Self::DontHave(_) => Some(Extension::DontHave),
            Self::Handshake(_) | Self::Unknown(_) => None,
        }
    }

    /// Appends the whole wire message, with the id that `receiver` has given to the extension.
    ///
    /// Returns whether it did: a receiver that doesn't support the extension gets nothing.
    pub fn encode(&self, receiver: &ExtensionIds, out: &mut Vec<u8>) -> bool {
        let id = match self {
            Self::Handshake(_) => Some(HANDSHAKE_ID),
            Self::Unknown(_) => None,
            _ => self.extension().and_then(|extension| receiver.get(extension)),
        };
        let Some(id) = id else { return false };
        let start = out.len();
        out.extend([0, 0, 0, 0, id::EXTENDED, id]);
        match self {
            Self::Handshake(handshake) => handshake.encode(out),
            Self::Metadata(message) => message.encode(out),
            Self::Pex(pex) => pex.encode(out),
            Self::UploadOnly(on) => out.push(u8::from(*on)),
            Self::DontHave(piece) => out.extend(piece.0.to_be_bytes()),
            Self::Unknown(_) => {}
        }
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        true
    }
}

/// One byte in practice; any non-zero byte means on.
fn decode_upload_only(body: &[u8]) -> Result<bool, WireError> {
    match body {
        [] => Err(WireError::ExtensionLength { name: Extension::UploadOnly.name(), expected: 1, found: 0 }),
        bytes => Ok(bytes.iter().any(|&byte| byte != 0)),
    }
}

fn decode_dont_have(body: &[u8], limits: &Limits) -> Result<PieceIndex, WireError> {
    let wrong =
        WireError::ExtensionLength { name: Extension::DontHave.name(), expected: 4, found: body.len() };
    let index = <[u8; 4]>::try_from(body).map_err(|_| wrong)?;
    limits.piece(id::EXTENDED, u32::from_be_bytes(index))
}

#[cfg(test)]
mod tests;
