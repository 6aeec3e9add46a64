//! The driver's torrents, and what can be asked of all of them without looking at each.
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use wgo_core::TorrentId;
use wgo_proto::metainfo::Info;

use super::entry::Entry;
use crate::store::Settings;

/// Entries by number.
///
/// Whichever was reached for to be changed counts as touched, so that whoever shows torrents has to look
/// at no others ([`Entries::take_touched`]).
#[derive(Default)]
pub(super) struct Entries {
    // Boxed: nodes of the map hold room for eleven, and half of it stays empty when numbers only grow.
    by_id: BTreeMap<TorrentId, Box<Entry>>,
    /// Bounded by the torrents that there are and those removed since it was last taken.
    touched: BTreeSet<TorrentId>,
    /// Where each torrent's files begin: a hash of its folder and the first part of a path. Two torrents
    /// that share a file share one of them.
    roots: BTreeSet<(u64, TorrentId)>,
    /// Of those hashes: random, since strangers choose names.
    keys: RandomState,
}

impl Entries {
    pub(super) fn get(&self, id: &TorrentId) -> Option<&Entry> {
        self.by_id.get(id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: &TorrentId) -> Option<&mut Entry> {
        let entry = self.by_id.get_mut(id)?;
        self.touched.insert(*id);
        Some(entry)
    }

    /// The same to note what readers were shown, which changes nothing for them.
    pub(super) fn untouched_mut(&mut self, id: &TorrentId) -> Option<&mut Entry> {
        self.by_id.get_mut(id).map(Box::as_mut)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let id = entry.id;
        self.add_roots(&entry);
        self.touched.insert(id);
        self.by_id.insert(id, Box::new(entry));
    }

    pub(super) fn remove(&mut self, id: &TorrentId) -> Option<Box<Entry>> {
        let entry = self.by_id.remove(id)?;
        self.remove_roots(&entry);
        Some(entry)
    }

    /// Changes where a torrent's files are, or where they are on their way to.
    pub(super) fn relocate(&mut self, id: &TorrentId, change: impl FnOnce(&mut Settings)) {
        self.rearrange(id, |entry| change(&mut entry.settings));
    }

    /// Changes where a torrent's files are, or what they are called.
    pub(super) fn rearrange(&mut self, id: &TorrentId, change: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.by_id.remove(id) else { return };
        self.remove_roots(&entry);
        change(&mut entry);
        self.add_roots(&entry);
        self.touched.insert(*id);
        self.by_id.insert(*id, entry);
    }

    /// In both places of one that is being moved, with both names of one that is being renamed.
    fn all_roots(&self, entry: &Entry) -> Vec<u64> {
        let other = entry.settings.moving.as_ref().map(|moving| moving.other.as_path());
        let places = std::iter::once(entry.settings.folder.as_path()).chain(other);
        let new = entry.renaming.as_ref().map(|pending| &pending.info);
        let infos = || std::iter::once(&entry.info).chain(new);
        places.flat_map(|place| infos().flat_map(|info| self.roots_of(place, info))).collect()
    }

    fn add_roots(&mut self, entry: &Entry) {
        for root in self.all_roots(entry) {
            self.roots.insert((root, entry.id));
        }
    }

    fn remove_roots(&mut self, entry: &Entry) {
        for root in self.all_roots(entry) {
            self.roots.remove(&(root, entry.id));
        }
    }

    /// In the order in which they were added.
    pub(super) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.values().map(Box::as_ref)
    }

    /// Those that people see, in the order in which they were added.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Entry> {
        self.values().filter(|entry| !entry.leaving)
    }

    pub(super) fn ids(&self) -> Vec<TorrentId> {
        self.by_id.keys().copied().collect()
    }

    /// Torrents that may have changed since the last call, some of which may be gone.
    pub(super) fn take_touched(&mut self) -> BTreeSet<TorrentId> {
        std::mem::take(&mut self.touched)
    }

    /// Torrents that may have a file in common with `info` in `folder`.
    pub(super) fn neighbours(&self, folder: &Path, info: &Info) -> impl Iterator<Item = &Entry> {
        let ids: BTreeSet<TorrentId> = self
            .roots_of(folder, info)
            .into_iter()
            .flat_map(|root| self.roots.range((root, TorrentId(0))..=(root, TorrentId(u64::MAX))))
            .map(|(_, id)| *id)
            .collect();
        ids.into_iter().filter_map(|id| self.get(&id))
    }

    fn roots_of(&self, folder: &Path, info: &Info) -> BTreeSet<u64> {
        let files = info.files.iter().filter(|file| !file.pad);
        let mut firsts: Vec<&str> = files.filter_map(|file| file.path.as_str().split('/').next()).collect();
        // Nearly always one for all files.
        firsts.dedup();
        firsts.into_iter().map(|first| self.keys.hash_one((folder, first))).collect()
    }
}
