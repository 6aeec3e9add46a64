//! Labels of torrents: words of the operator's, to find them by, and for what the configuration says of them.
use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::LabelParams;
use wgo_api::result::{ActResult, Acted};
use wgo_core::TorrentId;

use super::Driver;
use super::commands::Waits;

impl Driver {
    /// Changes labels; answers when that would survive a crash.
    pub(super) fn label(
        &mut self,
        params: &LabelParams,
        reply: oneshot::Sender<Result<ActResult, ApiError>>,
    ) {
        let selected = params.check().and_then(|()| self.select(&params.ids, params.all));
        let selected = match selected {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut acted = Vec::new();
        let mut waits = Waits::new();
        for (given, found) in selected {
            let labelled = found.and_then(|id| self.label_one(id, params).map(|changed| (id, changed)));
            let (id, changed) = match labelled {
                Ok(labelled) => labelled,
                Err(error) => {
                    acted.push(Acted::failed(given, error));
                    continue;
                }
            };
            let at = acted.len();
            acted.push(self.acted(&given, id));
            if changed || !self.is_saved(id) {
                let saved = self.saved(id);
                waits.spawn(async move { (at, saved.await.ok()) });
            }
        }
        self.touch();
        self.answer_when(waits, acted, Kind::Disk, reply);
    }

    /// Whether the torrent has other labels now.
    fn label_one(&mut self, id: TorrentId, params: &LabelParams) -> Result<bool, ApiError> {
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(false) };
        let labels = params.apply(&entry.settings.labels)?;
        let changed = labels != entry.settings.labels;
        entry.settings.labels = labels;
        if changed && let Some(entry) = self.entries.get(&id) {
            self.classify(entry);
            self.look_at_goal(id);
        }
        Ok(changed)
    }
}
