//! What happens to torrents, told to the operator's programs (`hooks/`).
//!
//! That a torrent completed is told at least once. The mark that it is to be told is stored when the torrent is
//! added, and taken away when the program has ended, or when there is none; so neither a crash nor the end of
//! the daemon in between loses it. The other events are told when they happen, or not at all.
use std::ffi::OsString;

use wgo_core::TorrentId;

use super::Driver;
use super::entry::Entry;
use crate::hooks::{Event, Happening};

/// Whether it was told that a torrent completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Telling {
    /// Nothing is under way.
    #[default]
    No,
    /// Its program waits or runs.
    UnderWay,
}

impl Driver {
    /// Tells of something that happened to the torrent.
    pub(super) fn happened(&self, event: Event, id: TorrentId) {
        if let Some(entry) = self.entries.get(&id) {
            self.tell_of(event, entry);
        }
    }

    /// The same of a torrent that is not in the table any more.
    pub(super) fn tell_of(&self, event: Event, entry: &Entry) {
        if self.engine.hooks.wants(event) {
            let happening = Happening {
                event,
                torrent: entry.id,
                hash: entry.settings.hashes.canonical(),
                name: entry.settings.name.clone(),
                fields: self.fields(event, entry),
            };
            self.engine.hooks.tell(happening);
        }
    }

    /// A torrent completed, durably, and that was not told yet.
    pub(super) fn tell_completion(&mut self, id: TorrentId) {
        let wanted = self.engine.hooks.wants(Event::Completed);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // One that goes elsewhere when it is complete is done when its files are there.
        if entry.telling == Telling::UnderWay || entry.settings.final_folder.is_some() {
            return;
        }
        if entry.settings.completion_owed != wanted {
            entry.settings.completion_owed = wanted;
            self.save(id);
        }
        if wanted {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.telling = Telling::UnderWay;
            }
            self.happened(Event::Completed, id);
        }
    }

    /// The torrent's files are where they stay.
    pub(super) fn arrived(&mut self, id: TorrentId) {
        let complete = |entry: &Entry| entry.completed_at.is_some() && entry.is_finished();
        if self.entries.get(&id).is_some_and(|entry| entry.settings.completion_owed && complete(entry)) {
            self.tell_completion(id);
        }
    }

    /// The program of the torrent's completion has ended.
    pub(super) fn on_completion_told(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.telling = Telling::No;
        entry.settings.completion_owed = false;
        self.save(id);
    }

    /// All of a torrent was found on the disk. `begun`: it had some of it before, so it was not added complete,
    /// which is not told.
    pub(super) fn found_complete(&mut self, id: TorrentId, begun: bool) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.settings.completion_owed && begun => self.tell_completion(id),
            Some(entry) if entry.settings.completion_owed => {
                entry.settings.completion_owed = false;
                self.save(id);
            }
            _ => {}
        }
    }

    /// What programs are told of a torrent, beside where the daemon is.
    fn fields(&self, event: Event, entry: &Entry) -> Vec<(&'static str, OsString)> {
        let row = self.row_of(entry);
        let folder = entry.settings.folder.clone();
        let first = entry.info.files.iter().find(|file| !file.pad);
        // A file, or the folder that all files are in.
        let top = first.and_then(|file| file.path.as_str().split('/').next());
        let path = top.map_or_else(|| folder.clone(), |top| folder.join(top));
        let mut fields: Vec<(&'static str, OsString)> = vec![
            ("WGOD_EVENT", event.name().into()),
            ("WGOD_INFO_HASH", row.info_hash.into()),
            ("WGOD_NAME", row.name.into()),
            ("WGOD_FOLDER", folder.into()),
            ("WGOD_PATH", path.into()),
            ("WGOD_LABELS", row.labels.join(",").into()),
            ("WGOD_SIZE_BYTES", row.size_bytes.unwrap_or(0).to_string().into()),
            ("WGOD_DOWNLOADED_BYTES", row.downloaded_bytes.to_string().into()),
            ("WGOD_UPLOADED_BYTES", row.uploaded_bytes.to_string().into()),
            ("WGOD_ADDED_AT", row.added_at.to_string().into()),
            ("WGOD_PRIVATE", if entry.info.private { "1" } else { "0" }.into()),
        ];
        let known: [(&'static str, Option<String>); 4] = [
            ("WGOD_INFO_HASH_V2", row.info_hash_v2),
            ("WGOD_RATIO", row.ratio.map(|ratio| format!("{ratio:.3}"))),
            ("WGOD_COMPLETED_AT", row.completed_at.map(|at| at.to_string())),
            ("WGOD_ERROR", row.error),
        ];
        fields.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
        fields
    }
}
