//! What peers say of the DHT (BEP 5): where their node is, and where ours is.
use std::net::SocketAddr;

use wgo_proto::wire::Message;

use super::{Action, Swarm};
use crate::peer_mgr::Source;
use crate::units::PeerKey;

impl<B> Swarm<B> {
    /// Our node of the DHT is at this port: the peer hears it if it has one, too. The peers of a private torrent are
    /// nobody's business and hear nothing (BEP 27).
    pub fn tell_dht_port(&mut self, key: PeerKey, port: u16) {
        let private = self.config.private;
        let Some(peer) = self.peers.peer_mut(key).filter(|peer| peer.info.reserved.dht() && !private) else {
            return;
        };
        peer.send(&Message::Port(port));
        self.wake(key);
    }

    /// The peer has a node. It says so once; what follows is not listened to.
    pub(super) fn on_dht_port(&mut self, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.peer_mut(key).filter(|peer| !peer.told_dht_port) else { return };
        peer.told_dht_port = true;
        let addr = SocketAddr::new(peer.info.addr.ip(), port);
        if port != 0 && !self.config.private {
            self.act(Action::DhtNode(addr));
        }
    }

    /// Whether the torrent takes peers from this source: a private one only from its tracker and the operator, and
    /// who comes by himself is one of the tracker's, too (BEP 27).
    pub(super) fn takes_from(&self, source: Source) -> bool {
        !self.config.private || !matches!(source, Source::Dht | Source::Pex | Source::Lsd)
    }
}
