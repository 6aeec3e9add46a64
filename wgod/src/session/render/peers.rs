//! The connections of a torrent, as readers get them.
use wgo_api::result::{Peer, PeerEncryption};
use wgo_core::peer::Encryption;
use wgo_core::peer_mgr::Source;
use wgo_core::swarm::PeerView;

use super::Driver;
use crate::session::entry::Entry;

impl Driver {
    pub(super) fn peers(&self, entry: &Entry) -> Vec<Peer> {
        let now = self.engine.clock.now();
        let views = entry.live.as_ref().and_then(|live| live.call(|swarm, now| swarm.peer_views(now)).ok());
        views.unwrap_or_default().iter().map(|view| peer(view, now)).collect()
    }
}

fn peer(view: &PeerView, now: wgo_core::Time) -> Peer {
    let outgoing = view.direction == wgo_core::peer::Direction::Outgoing;
    Peer {
        address: view.addr.to_string(),
        client: view.client.clone(),
        outgoing,
        source: view.source.map_or("unknown", source_word).to_owned(),
        transport: "tcp".to_owned(),
        encryption: match view.encryption {
            Encryption::None => PeerEncryption::None,
            Encryption::Handshake => PeerEncryption::Handshake,
            Encryption::Rc4 => PeerEncryption::Rc4,
        },
        progress: view.progress,
        down_rate: view.down.0,
        up_rate: view.up.0,
        downloaded_bytes: view.downloaded,
        uploaded_bytes: view.uploaded,
        we_interested: view.am_interested,
        we_choked: view.peer_choking,
        peer_interested: view.peer_interested,
        peer_choked: view.am_choking,
        snubbed: view.snubbed,
        connected_secs: now.since(view.connected_at).as_secs(),
    }
}

fn source_word(source: Source) -> &'static str {
    match source {
        Source::User => "given",
        Source::Lsd => "lsd",
        Source::Incoming => "incoming",
        Source::Tracker => "tracker",
        Source::Dht => "dht",
        Source::Pex => "pex",
        Source::Saved => "saved",
    }
}
