//! The extension protocol (BEP 10): our handshake, theirs, and the small extensions (BEP 21, 54). Metadata (BEP 9)
//! has a file of its own.
use std::net::SocketAddr;

use wgo_proto::wire::{ExtHandshake, ExtMessage, Extension, ExtensionIds, Limits, WireError};

use super::{Action, Swarm};
use crate::peer::uploads::MAX_QUEUED;
use crate::peer::{Direction, Encryption, Peer, PeerFault};
use crate::piece_mgr::PeerHave;
use crate::time::Time;
use crate::units::PeerKey;

/// Our name in extension handshakes.
const CLIENT: &str = concat!("wgod ", env!("CARGO_PKG_VERSION"));

impl<B> Swarm<B> {
    /// Puts our extension handshake for the peer into `outbox`.
    ///
    /// `ipv4` and `ipv6` are left out, and not used of others: they are for a second connection to the same peer, and
    /// whoever binds us to one address may not want the other one told.
    fn extension_handshake(&self, peer: &Peer, outbox: &mut Vec<u8>) {
        let metadata_size = Some(self.config.metadata_len).filter(|len| *len > 0);
        let mut extensions = ExtensionIds::local([Extension::UploadOnly, Extension::DontHave]);
        if self.exchanges() {
            extensions.set(Extension::Pex, Extension::Pex.local_id());
        } else if peer.exchange.offered {
            extensions.set(Extension::Pex, 0);
        }
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

    /// Another extension handshake for everybody who understands it: what it says has changed (BEP 10).
    pub(super) fn introduce_again(&mut self) {
        for key in self.peers.keys() {
            self.introduce(key);
            self.wake(key);
        }
    }

    /// Sends the peer our extension handshake, if it understands it.
    pub(super) fn introduce(&mut self, key: PeerKey) {
        let offered = self.exchanges();
        let Some(mut outbox) = self.peers.peer_mut(key).map(|peer| std::mem::take(&mut peer.outbox)) else {
            return;
        };
        if let Some(peer) = self.peers.peer(key).filter(|peer| peer.info.reserved.extensions()) {
            self.extension_handshake(peer, &mut outbox);
        }
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.outbox = outbox;
            peer.exchange.offered |= offered;
        }
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
            ExtMessage::Pex(pex) => self.on_pex(now, key, &pex)?,
            // We offered no such extension, so the peer should not have sent it.
            ExtMessage::Unknown(_) => self.nuisance(key)?,
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
        let by = peer.info.addr;
        let encrypted = peer.info.encryption != Encryption::None;
        if let Some(at) = said.yourip.filter(|at| at.is_ipv4() == by.ip().to_canonical().is_ipv4())
            && !std::mem::replace(&mut peer.has_voted, true)
        {
            self.act(Action::SeenAt { by: by.ip(), at });
        }
        if let Some(port) = said.port {
            self.on_listen_port(now, key, port);
            if encrypted {
                self.peer_mgr.wants_encryption(SocketAddr::new(by.ip(), port));
            }
        }
        if let Some(on) = said.upload_only {
            self.note_upload_only(key, on);
        }
        self.on_metadata_size(now, key, said.metadata_size);
    }

    /// The peer listens at this port. Of one that we dialled we know better.
    fn on_listen_port(&mut self, now: Time, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        if peer.info.direction == Direction::Incoming {
            peer.listen_port = Some(port);
            self.peer_mgr.on_listen_port(now, peer.info.addr, port);
            self.reachable_at(key, port);
        }
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
