//! The extension protocol (BEP 10): our handshake, theirs, and the small extensions (BEP 21, 54). Metadata (BEP 9)
//! has a file of its own.
use std::net::SocketAddr;

use wgo_proto::wire::{ExtHandshake, ExtMessage, Extension, ExtensionIds, Limits, WireError};

use super::Swarm;
use crate::peer::uploads::MAX_QUEUED;
use crate::peer::{Encryption, Peer, PeerFault};
use crate::piece_mgr::PeerHave;
use crate::time::Time;
use crate::units::PeerKey;

/// Our name in extension handshakes.
const CLIENT: &str = concat!("wgod ", env!("CARGO_PKG_VERSION"));

impl<B> Swarm<B> {
    /// Puts our extension handshake for the peer into `outbox`.
    pub(super) fn extension_handshake(&self, peer: &Peer, outbox: &mut Vec<u8>) {
        let metadata_size = Some(self.config.metadata_len).filter(|len| *len > 0);
        let mut extensions = ExtensionIds::local([Extension::UploadOnly, Extension::DontHave]);
        if metadata_size.is_some() || self.is_unknown() {
            extensions.set(Extension::Metadata, Extension::Metadata.local_id());
        }
        let handshake = ExtHandshake {
            extensions,
            metadata_size,
            client: Some(CLIENT.to_owned()),
            port: (self.config.listen_port != 0).then_some(self.config.listen_port),
            reqq: Some(MAX_QUEUED as u32),
            yourip: Some(peer.info.addr.ip()),
            upload_only: self.pieces.is_finished().then_some(true),
            ..ExtHandshake::default()
        };
        let message = ExtMessage::Handshake(Box::new(handshake));
        message.encode(&ExtensionIds::default(), outbox);
    }

    /// Tells every peer that speaks `upload_only` that we want nothing more (BEP 21).
    pub(super) fn tell_upload_only(&mut self) {
        let on = self.pieces.is_finished();
        for key in self.peers.keys() {
            let Some(peer) = self.peers.peer_mut(key) else { continue };
            if ExtMessage::UploadOnly(on).encode(&peer.extensions, &mut peer.outbox) {
                self.wake(key);
            }
        }
    }

    pub(super) fn on_extended(
        &mut self,
        now: Time,
        key: PeerKey,
        id: u8,
        body: &[u8],
    ) -> Result<(), PeerFault> {
        let limits = Limits::new(self.layout.is_known().then(|| self.layout.piece_count()));
        let bad = |e: WireError| PeerFault::BadExtension(e.to_string());
        match ExtMessage::decode(id, body, &limits).map_err(bad)? {
            ExtMessage::Handshake(handshake) => self.on_extension_handshake(now, key, *handshake),
            ExtMessage::UploadOnly(on) => self.note_upload_only(key, on),
            ExtMessage::DontHave(piece) if self.is_unknown() => self.on_early_loss(key, piece),
            ExtMessage::DontHave(piece) => self.on_dont_have(now, key, piece),
            ExtMessage::Metadata(message) => self.on_metadata(now, key, message)?,
            // We offered none of these, so the peer should not have sent them.
            ExtMessage::Pex(_) | ExtMessage::Unknown(_) => self.nuisance(key)?,
        }
        Ok(())
    }

    fn on_extension_handshake(&mut self, now: Time, key: PeerKey, said: ExtHandshake) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        peer.extensions.apply(&said.extensions);
        if let Some(client) = said.client {
            peer.client = client;
        }
        if let Some(reqq) = said.reqq {
            peer.pipeline.set_reqq(reqq);
        }
        if let Some(port) = said.port {
            peer.listen_port = Some(port);
            self.peer_mgr.on_listen_port(now, peer.info.addr, port);
            if peer.info.encryption != Encryption::None {
                self.peer_mgr.wants_encryption(SocketAddr::new(peer.info.addr.ip(), port));
            }
        }
        if let Some(on) = said.upload_only {
            self.note_upload_only(key, on);
        }
        self.on_metadata_size(now, key, said.metadata_size);
    }

    fn on_dont_have(&mut self, now: Time, key: PeerKey, piece: wgo_proto::PieceIndex) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let was_all = matches!(peer.has, PeerHave::All);
        if !self.pieces.peer_lost(&mut peer.has, piece) {
            return;
        }
        if self.pieces.wants(piece) {
            peer.interesting = peer.interesting.saturating_sub(1);
        }
        if was_all {
            peer.upload_only = false;
        }
        self.release_where(key, |block| block.piece == piece);
        self.update_interest(now, key);
        self.fill(now, key);
    }
}
