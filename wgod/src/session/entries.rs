//! The driver's torrents, and what can be asked of all of them without looking at each.
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use wgo_core::TorrentId;
use wgo_proto::FileIndex;
use wgo_proto::metainfo::Info;
use wgo_proto::path::SafePath;

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
    /// The folders that torrents are in or on their way to, each with the number of those.
    folders: BTreeMap<PathBuf, usize>,
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

    /// All of them may look different now.
    pub(super) fn touch_all(&mut self) {
        self.touched.extend(self.by_id.keys().copied());
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

    /// In all places of one that is being moved, or is to be; with both names of one that is being renamed.
    fn all_roots(&self, entry: &Entry) -> Vec<u64> {
        let new = entry.renaming.as_ref().map(|pending| &pending.info);
        let infos = || std::iter::once(&entry.info).chain(new);
        let places = entry.settings.places();
        places.flat_map(|place| infos().flat_map(|info| self.roots_of(place, info))).collect()
    }

    fn add_roots(&mut self, entry: &Entry) {
        for place in entry.settings.places() {
            *self.folders.entry(place.to_owned()).or_default() += 1;
        }
        for root in self.all_roots(entry) {
            self.roots.insert((root, entry.id));
        }
    }

    fn remove_roots(&mut self, entry: &Entry) {
        for place in entry.settings.places() {
            if let Some(torrents) = self.folders.get_mut(place) {
                *torrents -= 1;
                if *torrents == 0 {
                    self.folders.remove(place);
                }
            }
        }
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

    /// How many there are, listed or not.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
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
        self.rooted(self.roots_of(folder, info))
    }

    fn rooted(&self, roots: BTreeSet<u64>) -> impl Iterator<Item = &Entry> {
        let ids: BTreeSet<TorrentId> = roots
            .into_iter()
            .flat_map(|root| self.roots.range((root, TorrentId(0))..=(root, TorrentId(u64::MAX))))
            .map(|(_, id)| *id)
            .collect();
        ids.into_iter().filter_map(|id| self.get(&id))
    }

    /// The files of `info` in `folder` that a torrent other than `id` has too. The other's folder may be another
    /// one, above or below: `/srv` and `films/a` name the same file as `/srv/films` and `a`.
    pub(super) fn shared(&self, id: TorrentId, folder: &Path, info: &Info) -> BTreeSet<FileIndex> {
        let above = folder.ancestors().skip(1).filter(|above| self.folders.contains_key(*above));
        let below = self
            .folders
            .range::<Path, _>((Bound::Included(folder), Bound::Unbounded))
            .map(|(below, _)| below.as_path());
        let related = above.chain(below.take_while(|below| below.starts_with(folder)));
        let mut shared = BTreeSet::new();
        for place in related {
            let seen_from = |path: PathBuf| path.strip_prefix(place).ok().map(Path::to_owned);
            let files = self.get(&id).into_iter().flat_map(|entry| entry.paths_of(info));
            let files: Vec<(FileIndex, PathBuf)> =
                files.filter_map(|(index, path)| Some((index, seen_from(folder.join(&*path))?))).collect();
            let firsts = files.iter().filter_map(|(_, path)| path.iter().next()?.to_str());
            let others = self.rooted(firsts.map(|first| self.keys.hash_one((place, first))).collect());
            for other in others.filter(|other| other.id != id && other.has_files_in(place)) {
                let theirs: BTreeSet<PathBuf> = other.paths().map(|path| PathBuf::from(&*path)).collect();
                shared.extend(files.iter().filter(|(_, path)| theirs.contains(path)).map(|(i, _)| *i));
            }
        }
        shared
    }

    fn roots_of(&self, folder: &Path, info: &Info) -> BTreeSet<u64> {
        let files = (0..).map(FileIndex).zip(&info.files).filter(|(_, file)| !file.pad);
        let mut firsts: Vec<&str> =
            files.clone().filter_map(|(_, file)| file.path.as_str().split('/').next()).collect();
        // Nearly always one for all files.
        firsts.dedup();
        let lone = files.filter(|(_, file)| file.path.parent().is_none());
        let seconds: Vec<SafePath> = lone.filter_map(|(file, _)| info.suffixed_path(file)).collect();
        let firsts = firsts.into_iter().chain(seconds.iter().map(SafePath::as_str));
        firsts.map(|first| self.keys.hash_one((folder, first))).collect()
    }
}
