//! What the DHT does for a torrent, for people.
use wgo_api::result::{DhtLookups, DhtUse};

use super::Driver;
use super::entry::Entry;

impl Driver {
    /// How a torrent's lookups stand.
    pub(super) fn dht_lookups(&self, entry: &Entry) -> DhtLookups {
        let dht = &self.engine.dht;
        let nothing = |status| DhtLookups { status, ..DhtLookups::default() };
        if entry.info.private {
            return nothing(DhtUse::Private);
        }
        if !dht.is_on() {
            return nothing(DhtUse::Off);
        }
        let Some(view) = dht.view(entry.id) else { return nothing(DhtUse::Inactive) };
        let now = self.engine.clock.now();
        let last = view.last;
        DhtLookups {
            status: if view.due.is_some() { DhtUse::Waiting } else { DhtUse::Looking },
            next_secs: view.due.map(|due| due.since(now).as_secs()),
            last_secs: last.map(|(at, _)| now.since(at).as_secs()),
            peers: last.map(|(_, found)| found.peers),
            nodes: last.map(|(_, found)| found.answered),
            announced: last.map(|(_, found)| found.stored),
        }
    }
}
