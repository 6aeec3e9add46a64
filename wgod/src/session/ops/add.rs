//! Making a new torrent durable, in the folder where it begins.
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use wgo_api::result::Added;
use wgo_core::session::Check;

use super::{Cx, Outcome, run_job};
use crate::files::{DiskError, Job, Presence};
use crate::store::{Change, TorrentRecord};

/// A disk that does not say for so long what is on it is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A torrent that is new.
#[derive(Debug)]
pub(in crate::session) struct Newborn {
    /// What is to be stored of it.
    pub record: Box<TorrentRecord>,
    /// Its `.torrent` file; empty as long as its metadata has to come.
    pub raw: Vec<u8>,
    /// The check that it needs first.
    pub check: Check,
    /// Who added it.
    pub reply: oneshot::Sender<Added>,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::session) struct Born {
    /// The check that it needs first.
    pub check: Check,
    /// It begins in its final folder.
    pub in_place: bool,
    /// It is durable, or why not.
    pub result: Result<(), String>,
    /// Who added it.
    pub reply: oneshot::Sender<Added>,
}

/// What is in its final folder already is used there: it may be complete.
pub(super) async fn run(cx: Cx, newborn: Newborn) -> Outcome {
    let Newborn { mut record, raw, check, reply } = newborn;
    let final_folder = record.settings.final_folder.as_ref().map(|folder| folder.path.clone());
    let in_place = match final_folder {
        None => false,
        // Another client says where its files are.
        Some(_) if check == Check::Suspects => false,
        Some(folder) => find(&cx, folder).await != Ok(Presence::Nothing),
    };
    if in_place {
        record.settings.begin_in_place();
    }
    let mut changes = vec![Change::Torrent(record)];
    if cx.is_known() {
        changes.push(Change::Metainfo(cx.id, raw));
    }
    let result = cx.engine.store.put(changes).await.map_err(|error| error.to_string());
    Outcome::Added(Born { check, in_place, result, reply })
}

/// What of the torrent is in a folder. Where that can't be found out a new torrent begins there all the same: it
/// shows what is wrong with the folder, and nothing that is there is fetched again.
pub(super) async fn find(cx: &Cx, folder: PathBuf) -> Result<Presence, ()> {
    let info = cx.info.clone();
    let found = run_job(&cx.engine, |done| Job::FindFiles { folder, info, done });
    let found: Result<Presence, DiskError> = timeout(PATIENCE, found).await.map_err(|_| {
        tracing::warn!("the disk of its final folder does not answer");
    })?;
    found.map_err(|error| tracing::warn!(%error, "its final folder can't be looked at"))
}
