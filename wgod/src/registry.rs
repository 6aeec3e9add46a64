//! Who answers to which info-hash on the wire, and where live torrents are found.
//!
//! Written by the session's driver, read by whoever accepts a connection. A leaf lock: nothing else is
//! locked under it.
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;
use wgo_core::TorrentId;
use wgo_proto::{InfoHashes, WireHash, mse};

use crate::torrent::{Broken, Torrent};

/// The table. Cheap to clone; all clones are one table.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    tables: RwLock<Tables>,
    /// Bounded by the torrents: each breaks once.
    broken: mpsc::UnboundedSender<TorrentId>,
}

#[derive(Default)]
struct Tables {
    /// Active torrents, with a Swarm or asleep; a hybrid is here twice.
    by_hash: HashMap<WireHash, TorrentId>,
    live: HashMap<TorrentId, Arc<Torrent>>,
    /// What encrypted handshakes call the hashes, by the first bytes of that: some 50 bytes a torrent. `None` while
    /// encryption is off.
    obfuscated: Option<HashMap<u64, WireHash>>,
}

/// Where a hash is kept by the name that encrypted handshakes give it.
fn place_of(name: &[u8; 20]) -> u64 {
    name.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first))
}

impl Registry {
    /// An empty table. Torrents whose engine failed are told to `broken`.
    pub fn new(broken: mpsc::UnboundedSender<TorrentId>) -> Registry {
        Registry(Arc::new(Inner { tables: RwLock::default(), broken }))
    }

    /// The torrent answers to its hashes from now on.
    pub fn listen(&self, id: TorrentId, hashes: &InfoHashes) {
        let mut tables = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes.wire() {
            tables.by_hash.insert(hash, id);
            if let Some(obfuscated) = &mut tables.obfuscated {
                obfuscated.insert(place_of(&mse::obfuscated(&hash)), hash);
            }
        }
    }

    /// It answers no longer, and is not live.
    pub fn remove(&self, id: TorrentId, hashes: &InfoHashes) {
        let mut tables = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes.wire() {
            if tables.by_hash.get(&hash) == Some(&id) {
                tables.by_hash.remove(&hash);
                if let Some(obfuscated) = &mut tables.obfuscated {
                    obfuscated.remove(&place_of(&mse::obfuscated(&hash)));
                }
            }
        }
        tables.live.remove(&id);
    }

    /// It has a Swarm.
    pub fn set_live(&self, torrent: Arc<Torrent>) {
        let mut tables = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.live.insert(torrent.id, torrent);
    }

    /// It sleeps: it answers still, but has no Swarm.
    pub fn set_dormant(&self, id: TorrentId) {
        let mut tables = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.live.remove(&id);
    }

    /// Whose hash this is.
    pub fn find(&self, hash: &WireHash) -> Option<TorrentId> {
        let tables = self.0.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.by_hash.get(hash).copied()
    }

    /// Whether torrents are found by what encrypted handshakes call them, from now on. Rarely changed: only then
    /// are all of them looked at.
    pub fn name_obfuscated(&self, wanted: bool) {
        let mut tables = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        if wanted == tables.obfuscated.is_some() {
            return;
        }
        let entry = |hash: &WireHash| (place_of(&mse::obfuscated(hash)), *hash);
        tables.obfuscated = wanted.then(|| tables.by_hash.keys().map(entry).collect());
    }

    /// The hash that an encrypted handshake calls by this name.
    pub fn find_obfuscated(&self, name: &[u8; 20]) -> Option<WireHash> {
        let tables = self.0.tables.read().unwrap_or_else(PoisonError::into_inner);
        let found = tables.obfuscated.as_ref()?.get(&place_of(name)).copied()?;
        (mse::obfuscated(&found) == *name).then_some(found)
    }

    /// The torrent, if it has a Swarm.
    pub fn live(&self, id: TorrentId) -> Option<Arc<Torrent>> {
        let tables = self.0.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.live.get(&id).cloned()
    }

    /// Every torrent that has a Swarm.
    pub fn all_live(&self) -> Vec<Arc<Torrent>> {
        let tables = self.0.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.live.values().cloned().collect()
    }

    /// The torrent's engine failed: the session stops it with an error. Told once for each Swarm,
    /// however many calls find it so.
    pub fn report_broken(&self, torrent: &Torrent, _: Broken) {
        if torrent.broken_told.swap(true, Ordering::Relaxed) {
            return;
        }
        // The session only goes away at the end of the process.
        let _ = self.0.broken.send(torrent.id);
    }
}
