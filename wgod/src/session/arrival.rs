//! Torrents that are kept in `[storage] incomplete_folder` until they are complete: where a new one begins, and
//! how one that is complete gets to its final folder.
//!
//! The way there is a move like any other (see `moving`), with two differences. Nobody waits for an answer:
//! what stands in its way is shown, and it is tried again until it succeeds. And meanwhile, until the switch,
//! the torrent is no worse off than before: it seeds from where it is.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_core::{Time, TorrentId};
use wgo_proto::metainfo::Info;

use super::Driver;
use super::entry::Entry;
use super::moving::{Asker, not_moved};
use super::ops::relocate;
use crate::store::{FinalFolder, Settings};

/// What stood in the way is looked at again after this long, which costs a look at each file.
const RETRY: Duration = Duration::from_secs(60);
/// A move that fails after it began ended connections and perhaps copied a lot: the wait doubles each time, up
/// to this.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// Complete torrents on their way to their final folders, bounded by the torrents that there are.
#[derive(Debug, Default)]
pub(super) struct Arrivals(BTreeMap<TorrentId, Arrival>);

/// One of them.
#[derive(Debug, Default)]
struct Arrival {
    /// When it is tried next; `None` while it is being tried.
    due: Option<Time>,
    /// Moves that failed after they began.
    failures: u32,
}

impl Arrivals {
    /// It is tried at this time.
    pub(super) fn plan(&mut self, id: TorrentId, at: Time) {
        self.0.entry(id).or_default().due = Some(at);
    }

    /// It is there, or is not to go there any more.
    pub(super) fn forget(&mut self, id: TorrentId) {
        self.0.remove(&id);
    }

    /// Something changed that may have stood in the way of any.
    pub(super) fn hurry(&mut self, now: Time) {
        self.0.values_mut().filter_map(|arrival| arrival.due.as_mut()).for_each(|due| *due = now);
    }

    /// Begins a try, unless one is under way.
    fn begin(&mut self, id: TorrentId) -> bool {
        let known = self.0.contains_key(&id);
        self.0.entry(id).or_default().due.take().is_some() || !known
    }

    /// A try failed, one that had begun to move or not.
    fn failed(&mut self, id: TorrentId, now: Time, began: bool) {
        let arrival = self.0.entry(id).or_default();
        arrival.failures += u32::from(began);
        let wait = RETRY.saturating_mul(1 << arrival.failures.saturating_sub(1).min(8)).min(RETRY_MAX);
        arrival.due = Some(now + wait);
    }

    fn due(&self, now: Time) -> Vec<TorrentId> {
        let due = self.0.iter().filter(|(_, arrival)| arrival.due.is_some_and(|due| due <= now));
        due.map(|(id, _)| *id).collect()
    }
}

impl Entry {
    /// Whether it is complete in a folder that it is not to stay in.
    pub(super) fn is_to_arrive(&self) -> bool {
        let whole = self.is_finished() && !self.owes_check();
        whole && self.settings.final_folder.is_some() && self.settings.moving.is_none() && !self.leaving
    }
}

impl Driver {
    /// Where a new torrent begins that is to end in `folder`, if that is elsewhere. What another torrent has
    /// the paths of there is no place for it.
    pub(super) fn beginning(&self, info: &Info, folder: &Path) -> Option<PathBuf> {
        let begins = self.tunables.incomplete_folder.as_ref().filter(|begins| *begins != folder)?;
        if info.layout.piece_count() == 0 {
            return None;
        }
        let mut others = self.entries.neighbours(begins, info);
        let taken = others.any(|other| other.has_paths_of(info, begins));
        (!taken).then(|| begins.clone())
    }

    /// A final folder, and what is mounted there now.
    pub(super) fn final_folder(&self, path: &Path) -> FinalFolder {
        let mounts = self.engine.storage.mounts();
        let mount = mounts.holding(path).map(|mount| mount.point.clone());
        FinalFolder { path: path.to_owned(), mount }
    }

    /// Torrents that are to be tried again.
    pub(super) fn watch_arrivals(&mut self) {
        for id in self.arrivals.due(self.engine.clock.now()) {
            self.arrive(id);
        }
    }

    /// The torrent has no Swarm any more and may have become complete at the end; what was tried before is tried
    /// again in its time.
    pub(super) fn arrive_at_last(&mut self, id: TorrentId) {
        if !self.arrivals.0.contains_key(&id) {
            self.arrive(id);
        }
    }

    /// The torrent may be complete: then it goes to its final folder, if it isn't there or on its way.
    pub(super) fn arrive(&mut self, id: TorrentId) {
        let moves = |entry: &Entry| entry.settings.moving.is_some();
        if self.is_stopping() || self.entries.get(&id).is_some_and(moves) {
            return;
        }
        let entry = self.entries.get(&id).filter(|entry| entry.is_to_arrive());
        let Some(home) = entry.and_then(|entry| entry.settings.final_folder.clone()) else {
            return self.arrivals.forget(id);
        };
        if !self.arrivals.begin(id) {
            return;
        }
        if let Some(point) = home.mount.filter(|point| self.engine.storage.mounts().lacks(point)) {
            let point = point.display();
            let why = format!("{point} is not mounted; mount it, or choose another folder by `wgoctl move`");
            return self.not_arrived(id, &not_moved(&home.path, &why), false);
        }
        if let Some(occupied) = self.occupied(id, &home.path) {
            return self.not_arrived(id, &not_moved(&home.path, &occupied), false);
        }
        self.survey(id, home.path, Asker::Nobody);
    }

    /// The torrent stays where it is for now. `began`: its files were on the way already.
    pub(super) fn not_arrived(&mut self, id: TorrentId, why: &str, began: bool) {
        let now = self.engine.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // It was changed meanwhile, and is not to go there any more, or goes by somebody's wish.
        if !entry.is_to_arrive() {
            return self.arrivals.forget(id);
        }
        let folder = entry.settings.folder.display();
        let message =
            format!("{why}; until then its files stay in {folder}, and it is tried again by itself");
        if entry.move_error.as_ref() != Some(&message) {
            entry.span().in_scope(|| tracing::warn!(error = message, "complete, but not in its folder"));
            entry.move_error = Some(message);
        }
        self.arrivals.failed(id, now, began);
        self.touch();
    }

    /// The torrent's files are in its final folder already, whatever is known of them: they are hashed there.
    pub(super) fn on_ahead(&mut self, id: TorrentId) {
        self.entries.relocate(&id, Settings::begin_in_place);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let folder = entry.settings.folder.display();
        entry.span().in_scope(|| tracing::info!(%folder, "found in its final folder; hashing everything"));
        entry.starts_over = true;
        self.session.verify(self.engine.clock.now(), id);
    }

    /// The torrent's files are in its final folder, which is this one.
    pub(super) fn stay(&mut self, id: TorrentId) {
        self.arrivals.forget(id);
        self.entries.relocate(&id, |settings| settings.final_folder = None);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.move_error = None;
        }
        self.arrived(id);
        self.touch();
    }

    /// A torrent that has not left the folder where it began goes to another one in the end, or stays;
    /// `None` if it has left, or is complete and can go there now.
    pub(super) fn redirect(
        &mut self,
        id: TorrentId,
        to: &Path,
    ) -> Option<Result<super::moving::Wait, ApiError>> {
        let entry = self.entries.get(&id)?;
        let waits = entry.settings.final_folder.is_some() && entry.settings.moving.is_none();
        let stays = entry.settings.folder == to;
        let goes_now = entry.is_finished() && !stays;
        if !waits || goes_now {
            return None;
        }
        if stays {
            self.stay(id);
        } else {
            if let Some(occupied) = self.occupied(id, to) {
                return Some(Err(ApiError::new(Kind::Conflict, occupied.to_string())));
            }
            let home = self.final_folder(to);
            self.entries.relocate(&id, |settings| settings.final_folder = Some(home));
            self.touch();
        }
        let (reply, wait) = oneshot::channel();
        self.answer_when_saved(id, reply);
        Some(Ok(wait))
    }

    /// One of which nobody knows what it consists of has no files that could be moved: it will begin there.
    pub(super) fn redirect_unknown(&mut self, id: TorrentId, to: &Path) -> super::moving::Asked {
        if self.entries.get(&id).is_none_or(|entry| entry.settings.folder == to) {
            return super::moving::Asked::There;
        }
        self.entries.relocate(&id, |settings| to.clone_into(&mut settings.folder));
        let device = self.engine.storage.device_of(to);
        self.session.on_device(self.engine.clock.now(), id, device);
        self.touch();
        let (reply, wait) = oneshot::channel();
        self.answer_when_saved(id, reply);
        super::moving::Asked::Waits(wait)
    }

    /// What to tell somebody who moved a torrent that goes later.
    pub(super) fn note_of(&self, id: TorrentId) -> Option<String> {
        let entry = self.entries.get(&id)?;
        let home = entry.settings.final_folder.as_ref().filter(|_| entry.settings.moving.is_none())?;
        let (folder, home) = (entry.settings.folder.display(), home.path.display());
        (!entry.is_finished())
            .then(|| format!("goes to {home} when it is complete, and stays in {folder} until then"))
    }

    /// Looks whether the final move can be made.
    pub(super) fn survey(&mut self, id: TorrentId, folder: PathBuf, asker: Asker) {
        let Some(cx) = self.cx(id) else { return };
        let kept = self.kept(id, &cx.folder);
        self.surveys.spawn(async move {
            let result = relocate::survey(&cx, kept, folder.clone()).await;
            super::moving::Surveyed { id, folder, marked: false, result, asker }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_is_tried_ever_more_rarely_and_a_look_is_not() {
        let at = |secs| Time::from_start(Duration::from_secs(secs));
        let (id, mut arrivals) = (TorrentId(1), Arrivals::default());
        assert!(arrivals.begin(id) && !arrivals.begin(id), "one try at a time");
        let wait = |arrivals: &Arrivals| (0..10_000).find(|secs| !arrivals.due(at(*secs)).is_empty());
        for _ in 0..3 {
            arrivals.failed(id, at(0), false);
            assert_eq!(wait(&arrivals), Some(60));
            assert!(arrivals.begin(id));
            assert_eq!(wait(&arrivals), None);
        }
        for secs in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            arrivals.failed(id, at(0), true);
            assert_eq!(wait(&arrivals), Some(secs));
        }
        arrivals.hurry(at(7));
        assert_eq!(arrivals.due(at(7)), [id]);
        arrivals.forget(id);
        assert_eq!(arrivals.due(at(9999)), []);
    }
}
