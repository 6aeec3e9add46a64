//! Saving what the operator wants of torrents: beside their lanes, since a check or a hung disk in a lane
//! must not keep an answer waiting.
//!
//! A torrent has one save under way at a time, so the store sees its settings in order; a wish that
//! comes meanwhile makes one more save, whatever their number.
use std::collections::HashMap;

use tokio::sync::oneshot;
use wgo_core::TorrentId;
use wgo_proto::units::WireHash;

use super::{Driver, Event, fault};
use crate::store::{Change, Settings, Store, StoreError, TorrentRecord, Wanted};

/// Whether a torrent's settings are on their way to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Saving {
    /// What the store has is right.
    #[default]
    No,
    /// A save is under way.
    Yes,
    /// It is, and comes too early for the newest wish.
    Again,
}

impl Driver {
    /// Keeps the torrent's settings as they are now.
    pub(super) fn save(&mut self, id: TorrentId) {
        let settings = self.wishes(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(settings) = settings else {
            if entry.removing {
                // Whoever waits for that may be what its removal waits for.
                entry.awaiting_save.clear();
            }
            return;
        };
        if entry.saving != Saving::No {
            entry.saving = Saving::Again;
            return;
        }
        entry.saving = Saving::Yes;
        let told = std::mem::take(&mut entry.awaiting_save);
        let mut changes = std::mem::take(&mut entry.unsaved);
        changes.push(Change::Settings(id, Box::new(settings)));
        let store = self.engine.store.clone();
        self.saves.spawn(async move {
            let saved = store.put(changes).await;
            if let Err(error) = &saved {
                tracing::error!(%error, "settings not saved; it is tried again by itself");
            }
            let done = saved.is_ok();
            let why = saved.err().map(|error| format!("it may not outlast a restart: {error}"));
            for caller in told {
                // Whoever asked may have hung up.
                let _ = caller.send(why.clone().map_or(Ok(()), Err));
            }
            (id, done)
        });
    }

    /// The same; the answer comes when they are on disk, and none for a torrent that is being removed.
    pub(super) fn saved(&mut self, id: TorrentId) -> oneshot::Receiver<Result<(), String>> {
        let (done, saved) = oneshot::channel();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.awaiting_save.push(done);
        }
        self.save(id);
        saved
    }

    /// Whether the store has the torrent's settings as they are: who asks for what is so already may be told that at once.
    pub(super) fn is_saved(&self, id: TorrentId) -> bool {
        let is_saving = self.entries.get(&id).is_some_and(|entry| entry.saving != Saving::No);
        !is_saving && !self.unsaved.contains(&id)
    }

    /// A save ended.
    pub(super) fn on_saved(&mut self, id: TorrentId, done: bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let again = std::mem::take(&mut entry.saving) == Saving::Again;
        match done {
            true => drop(self.unsaved.remove(&id)),
            false => drop(self.unsaved.insert(id)),
        }
        if again {
            self.save(id);
        }
    }

    /// Saves again what could not be saved: whoever asked was told that it is in force, and may not come again.
    pub(super) fn save_again(&mut self) {
        for id in std::mem::take(&mut self.unsaved) {
            self.save(id);
        }
    }

    /// Asks the store again to forget torrents that were removed when it couldn't.
    pub(super) fn forget_again(&mut self) {
        if self.remembered.is_empty() {
            return;
        }
        let ids = std::mem::take(&mut self.remembered);
        let engine = self.engine.clone();
        self.replies.spawn(async move {
            let done = engine.store.put(removals(&ids)).await.is_ok();
            engine.tell(Event::Forgot(ids, done));
        });
    }

    /// The store forgot them, or is asked another time.
    pub(super) fn on_forgot(&mut self, ids: Vec<TorrentId>, done: bool) {
        match done {
            true => tracing::info!(torrents = ids.len(), "removed torrents are forgotten by the store, too"),
            false => self.remembered.extend(ids),
        }
    }

    /// The settings with what the session knows of the operator's wishes and of what stands in the way; `None` for a torrent that is
    /// being added or removed.
    fn wishes(&mut self, id: TorrentId) -> Option<Settings> {
        let row = self.session.row(id)?;
        let (started, check_asked) = (row.started, row.check_asked);
        let error = row.trouble().map(fault::to_stored);
        let place = self.session.place(id)?;
        let entry = self.entries.get_mut(&id)?;
        entry.settings.wanted = if started { Wanted::Started } else { Wanted::Stopped };
        entry.settings.check_asked = check_asked;
        entry.settings.error = error;
        entry.settings.place = place;
        Some(entry.settings.clone())
    }
}

/// The torrents of the store, and those to be forgotten: a commit that failed may be there all the same, so one that
/// was said not to be added, or to be removed, can lie beside the one that was added after it.
pub(super) async fn load(store: &Store) -> Result<(Vec<TorrentRecord>, Vec<TorrentId>), StoreError> {
    let mut records: Vec<TorrentRecord> = Vec::new();
    let mut newest: HashMap<WireHash, TorrentId> = HashMap::new();
    store
        .load(|record| match record {
            Ok(record) => {
                // They come in order of id.
                newest.extend(record.settings.hashes.wire().map(|hash| (hash, record.id)));
                records.push(record);
            }
            Err(error) => tracing::error!(%error, "a torrent can't be read; it is kept aside"),
        })
        .await?;
    let is_double = |record: &mut TorrentRecord| {
        let mut hashes = record.settings.hashes.wire();
        hashes.any(|hash| newest.get(&hash).is_some_and(|id| *id > record.id))
    };
    let doubles: Vec<TorrentId> = records.extract_if(.., is_double).map(|record| record.id).collect();
    if !doubles.is_empty() {
        tracing::warn!(
            torrents = doubles.len(),
            "what is left of torrents that were added anew is forgotten"
        );
    }
    Ok((records, doubles))
}

/// What makes the store forget torrents.
pub(super) fn removals(ids: &[TorrentId]) -> Vec<Change> {
    ids.iter().map(|id| Change::Remove(*id)).collect()
}

/// A store that does not take what is not vital: the log says so, the next time tries again.
pub(super) fn report(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "not saved; it is tried again with the next change");
    }
}
