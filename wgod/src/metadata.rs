//! Metadata for others (BEP 9): info dictionaries that peers ask for, read from the store and kept for a while, since
//! who asks for one piece of it asks for all. Swarms say who gets how much.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Instrument;
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::metainfo::Metainfo;

use crate::engine::Engine;
use crate::torrent::Torrent;

/// Bytes kept, and a single one that is larger.
const MAX_KEPT: usize = 8 * 1024 * 1024;
/// What nobody asked for in this time is forgotten.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Info dictionaries in memory, those that were asked for last at the end. A leaf lock.
#[derive(Debug, Default)]
pub struct Dictionaries(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    id: TorrentId,
    bytes: Arc<[u8]>,
    asked_at: Time,
}

impl Dictionaries {
    fn find(&self, now: Time, id: TorrentId) -> Option<Arc<[u8]>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|one| one.id == id)?;
        let found = Kept { asked_at: now, ..kept.remove(at)? };
        let bytes = found.bytes.clone();
        kept.push_back(found);
        Some(bytes)
    }

    fn keep(&self, now: Time, id: TorrentId, bytes: Arc<[u8]>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.id != id);
        kept.push_back(Kept { id, bytes, asked_at: now });
        while kept.len() > 1 && kept.iter().map(|one| one.bytes.len()).sum::<usize>() > MAX_KEPT {
            kept.pop_front();
        }
    }

    /// Forgets what nobody asks for any more.
    pub fn trim(&self, now: Time) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| now.since(one.asked_at) < KEPT_FOR);
    }
}

impl Engine {
    /// Gives memory back that is not used any more.
    pub fn trim(&self) {
        self.storage.trim();
        self.dictionaries.trim(self.clock.now());
    }

    /// Has a piece of the torrent's metadata sent to a peer.
    pub fn tell_metadata(self: &Arc<Self>, torrent: &Arc<Torrent>, key: PeerKey, piece: u32) {
        let (engine, owner) = (self.clone(), torrent.clone());
        let telling = async move {
            let bytes = engine.dictionary(owner.id).await;
            engine.call(&owner, |swarm, _| swarm.send_metadata(key, piece, bytes.as_deref()));
        };
        torrent.tasks.spawn(telling.instrument(torrent.span.clone()));
    }

    async fn dictionary(&self, id: TorrentId) -> Option<Arc<[u8]>> {
        if let Some(bytes) = self.dictionaries.find(self.clock.now(), id) {
            return Some(bytes);
        }
        let raw = match self.store.metainfo(id).await {
            Ok(raw) => raw?,
            Err(error) => {
                tracing::warn!(%error, "metadata that a peer asks for can't be read");
                return None;
            }
        };
        // It may be large, and it is read with all that there is to be found wrong in it.
        let read = move || {
            let span = Metainfo::parse(&raw).ok()?.info_span;
            raw.get(span).map(Arc::<[u8]>::from)
        };
        let bytes = self.compute(read).await??;
        self.dictionaries.keep(self.clock.now(), id, bytes.clone());
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_last_is_kept_within_bounds_and_for_a_while() {
        let at = |secs| Time::from_start(Duration::from_secs(secs));
        let kept = Dictionaries::default();
        let third: Arc<[u8]> = vec![0; MAX_KEPT / 3].into();
        for id in 1..=3 {
            kept.keep(at(0), TorrentId(id), third.clone());
        }
        assert!(kept.find(at(1), TorrentId(1)).is_some());
        kept.keep(at(2), TorrentId(4), third);
        let found = |at, id| kept.find(at, TorrentId(id)).is_some();
        assert_eq!([1, 2, 3, 4].map(|id| found(at(3), id)), [true, false, true, true]);
        kept.keep(at(3), TorrentId(5), vec![0; MAX_KEPT + 1].into());
        assert_eq!(
            [1, 3, 4, 5].map(|id| found(at(4), id)),
            [false, false, false, true],
            "one alone may be larger"
        );
        kept.trim(at(33));
        assert!(found(at(33), 5));
        kept.trim(at(63));
        assert!(!found(at(63), 5));
    }
}
