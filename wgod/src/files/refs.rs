//! Which torrents use which absolute path: files are held by reference.
//!
//! Two torrents may share a file to read. A second torrent that would *write* to it is refused, and a
//! path that another torrent uses is never deleted, moved or preallocated.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use wgo_core::TorrentId;

/// Two torrents would write to one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} would be written to by both “{this}” and “{other}”; choose another folder for one of them",
    path = path.display()
)]
pub struct SecondWriter {
    /// The file.
    pub path: PathBuf,
    /// Name of the torrent that was refused.
    pub this: String,
    /// Name of the torrent that writes to it already.
    pub other: String,
}

/// The registry. Bounded by the torrents that the operator added.
#[derive(Debug, Default)]
pub(super) struct PathRefs {
    /// Paths are kept as 64-bit hashes under a random key: 100,000 torrents may have millions of
    /// files. A collision would only keep a file or refuse a writer, and takes billions of files.
    keys: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<u64, SmallVec<[TorrentId; 1]>>,
    torrents: HashMap<TorrentId, User>,
}

#[derive(Debug)]
struct User {
    name: Arc<str>,
    paths: Box<[u64]>,
    writes: bool,
    /// Paths that it is being moved to, and has as if it wrote to them.
    claims: Box<[u64]>,
}

impl PathRefs {
    /// Adds torrent `id` as a user of all `paths`, or of none when another writes to one of them and
    /// this one would too.
    pub(super) fn register(
        &self,
        id: TorrentId,
        name: &str,
        writes: bool,
        paths: &[PathBuf],
    ) -> Result<(), SecondWriter> {
        let keys: Box<[u64]> = paths.iter().map(|path| self.keys.hash_one(path)).collect();
        let mut inner = self.lock();
        if writes && let Some((index, other)) = inner.writer_of(id, &keys) {
            let path = paths.get(index).cloned().unwrap_or_default();
            return Err(SecondWriter { path, this: name.into(), other: other.to_string() });
        }
        inner.remove(id);
        for key in &keys {
            inner.users.entry(*key).or_default().push(id);
        }
        inner.torrents.insert(id, User { name: name.into(), paths: keys, writes, claims: Box::default() });
        Ok(())
    }

    /// From now on torrent `id` writes to its files, unless another writes to one of them.
    /// `path_of` names the path at an index, for the refusal.
    pub(super) fn begin_writing(
        &self,
        id: TorrentId,
        path_of: impl FnOnce(usize) -> PathBuf,
    ) -> Result<(), SecondWriter> {
        let mut inner = self.lock();
        let Some(user) = inner.torrents.get(&id) else { return Ok(()) };
        if let Some((index, other)) = inner.writer_of(id, &user.paths) {
            let this = user.name.to_string();
            return Err(SecondWriter { path: path_of(index), this, other: other.to_string() });
        }
        if let Some(user) = inner.torrents.get_mut(&id) {
            user.writes = true;
        }
        Ok(())
    }

    /// The first of `paths` that a torrent other than `id` uses or is being moved to, and its name.
    pub(super) fn user_of(&self, id: TorrentId, paths: &[PathBuf]) -> Option<(PathBuf, Arc<str>)> {
        let inner = self.lock();
        paths.iter().find_map(|path| {
            let users = inner.users.get(&self.keys.hash_one(path))?;
            let other = users.iter().filter(|user| **user != id).find_map(|user| inner.torrents.get(user))?;
            Some((path.clone(), other.name.clone()))
        })
    }

    /// Torrent `id`, which is registered, is being moved to `paths`: nobody else may write there. Refused
    /// when another torrent uses one of them.
    pub(super) fn claim(&self, id: TorrentId, paths: &[PathBuf]) -> Result<(), (PathBuf, Arc<str>)> {
        if let Some(occupied) = self.user_of(id, paths) {
            return Err(occupied);
        }
        let keys: Box<[u64]> = paths.iter().map(|path| self.keys.hash_one(path)).collect();
        let mut inner = self.lock();
        inner.drop_claims(id);
        let Some(user) = inner.torrents.get_mut(&id) else { return Ok(()) };
        user.claims = keys.clone();
        for key in keys {
            inner.users.entry(key).or_default().push(id);
        }
        Ok(())
    }

    /// Torrent `id` is moved nowhere.
    pub(super) fn drop_claims(&self, id: TorrentId) {
        self.lock().drop_claims(id);
    }

    /// From now on torrent `id` only reads its files.
    pub(super) fn end_writing(&self, id: TorrentId) {
        if let Some(user) = self.lock().torrents.get_mut(&id) {
            user.writes = false;
        }
    }

    /// Torrent `id` uses no path any more.
    pub(super) fn release(&self, id: TorrentId) {
        self.lock().remove(id);
    }

    /// Whether a torrent other than `id` uses `path`.
    pub(super) fn is_shared(&self, id: TorrentId, path: &Path) -> bool {
        let key = self.keys.hash_one(path);
        self.lock().users.get(&key).is_some_and(|users| users.iter().any(|user| *user != id))
    }

    /// No step leaves the maps half-changed for longer than a panic-free call, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The first of `keys` that a torrent other than `id` writes to, and that torrent's name.
    fn writer_of(&self, id: TorrentId, keys: &[u64]) -> Option<(usize, Arc<str>)> {
        keys.iter().enumerate().find_map(|(index, key)| {
            let others = self.users.get(key)?.iter().filter(|user| **user != id);
            let mut writers = others
                .filter_map(|user| self.torrents.get(user))
                .filter(|user| user.writes || user.claims.contains(key));
            writers.next().map(|user| (index, user.name.clone()))
        })
    }

    fn remove(&mut self, id: TorrentId) {
        let Some(user) = self.torrents.remove(&id) else { return };
        user.paths.iter().chain(&user.claims).for_each(|key| self.leave(id, *key));
    }

    fn drop_claims(&mut self, id: TorrentId) {
        let Some(user) = self.torrents.get_mut(&id) else { return };
        let claims = std::mem::take(&mut user.claims);
        let held = user.paths.clone();
        claims.iter().filter(|key| !held.contains(key)).for_each(|key| self.leave(id, *key));
    }

    fn leave(&mut self, id: TorrentId, key: u64) {
        if let Some(users) = self.users.get_mut(&key) {
            users.retain(|user| *user != id);
            if users.is_empty() {
                self.users.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_second_writer_is_refused_with_both_names_and_readers_are_not() {
        let refs = PathRefs::default();
        let (a, b, c) = (TorrentId(1), TorrentId(2), TorrentId(3));
        refs.register(a, "A", true, &paths(&["/d/x", "/d/y"])).unwrap();
        let refused = refs.register(b, "B", true, &paths(&["/d/z", "/d/y"])).unwrap_err();
        assert_eq!(refused, SecondWriter { path: "/d/y".into(), this: "B".into(), other: "A".into() });
        assert!(!refs.is_shared(a, Path::new("/d/y")), "a refused torrent holds nothing");
        refs.register(b, "B", false, &paths(&["/d/z", "/d/y"])).unwrap();
        assert!(refs.is_shared(a, Path::new("/d/y")) && !refs.is_shared(b, Path::new("/d/z")));
        assert_eq!(refs.begin_writing(b, |i| ["/d/z", "/d/y"][i].into()), Err(refused));
        refs.end_writing(a);
        refs.begin_writing(b, |_| PathBuf::new()).unwrap();
        assert!(refs.register(c, "C", true, &paths(&["/d/z"])).is_err());
        refs.release(b);
        refs.register(c, "C", true, &paths(&["/d/z"])).unwrap();
        assert!(!refs.is_shared(a, Path::new("/d/y")));
    }

    #[test]
    fn where_a_torrent_is_moved_to_nobody_else_writes() {
        let refs = PathRefs::default();
        let (a, b) = (TorrentId(1), TorrentId(2));
        refs.register(a, "A", false, &paths(&["/d/x"])).unwrap();
        refs.register(b, "B", false, &paths(&["/e/y"])).unwrap();
        assert_eq!(refs.claim(a, &paths(&["/e/x", "/e/y"])), Err(("/e/y".into(), "B".into())));
        assert!(refs.register(b, "B", true, &paths(&["/e/x"])).is_ok(), "a refused claim holds nothing");
        refs.register(b, "B", false, &paths(&["/e/y"])).unwrap();
        refs.claim(a, &paths(&["/e/x", "/d/x"])).unwrap();
        assert!(refs.register(b, "B", true, &paths(&["/e/x"])).is_err());
        assert_eq!(refs.user_of(b, &paths(&["/e/x"])), Some(("/e/x".into(), "A".into())));
        refs.drop_claims(a);
        assert!(refs.register(b, "B", true, &paths(&["/e/x"])).is_ok());
        assert!(refs.is_shared(b, Path::new("/d/x")), "what it holds it goes on holding");
    }

    #[test]
    fn registering_again_replaces_what_the_torrent_held() {
        let refs = PathRefs::default();
        refs.register(TorrentId(1), "A", true, &paths(&["/x"])).unwrap();
        refs.register(TorrentId(1), "A", true, &paths(&["/y"])).unwrap();
        assert!(!refs.is_shared(TorrentId(2), Path::new("/x")));
        assert!(refs.is_shared(TorrentId(2), Path::new("/y")));
    }
}
