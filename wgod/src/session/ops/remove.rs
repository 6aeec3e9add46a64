//! Removing a torrent: its files if that was asked for, then everything that is known of it.
use std::collections::BTreeSet;

use tokio::sync::oneshot;
use wgo_proto::FileIndex;

use super::{Cx, Outcome, live, open_files, relocate, rename, run_job};
use crate::files::{Job, RemoveOutcome, SyncOutcome};
use crate::store::Change;

pub(super) async fn run(
    mut cx: Cx,
    kept: BTreeSet<FileIndex>,
    data: bool,
    reply: oneshot::Sender<Result<(), String>>,
) -> Outcome {
    let (engine, id) = (cx.engine.clone(), cx.id);
    match cx.moving {
        Some(_) => relocate::abandon(&cx, kept).await,
        None => rename::abandon(&mut cx, kept).await,
    }
    let files = match (&cx.files, data) {
        (Some(files), _) => Ok(Some(files.clone())),
        (None, false) => Ok(None),
        (None, true) => open_files(&cx).await.map(Some).map_err(|error| error.to_string()),
    };
    let mut counters = cx.counters.clone();
    // Also for one that sleeps: it answers to its info-hash.
    if let Outcome::Down { rest, .. } = live::halt(cx).await {
        counters = rest.counters;
    }
    let mut result = match files {
        Err(error) => Err(format!("its files were not deleted: {error}")),
        Ok(None) => Ok(()),
        Ok(Some(torrent)) if data => {
            let outcome: RemoveOutcome = run_job(&engine, |done| Job::Remove { torrent, done }).await;
            match outcome.errors.first() {
                None => Ok(()),
                Some(error) => Err(format!("not all of its files were deleted: {error}")),
            }
        }
        Ok(Some(torrent)) => {
            let _synced: SyncOutcome = run_job(&engine, |done| Job::Close { torrent, done }).await;
            Ok(())
        }
    };
    let stored = engine.store.put(vec![Change::Remove(id)]).await;
    let forgotten = stored.is_ok();
    if let Err(error) = stored {
        let failed = result.err().map(|error| format!("{error}; and ")).unwrap_or_default();
        result = Err(format!(
            "{failed}it is removed, but not from wgod's state: {error}; that is tried again while wgod runs, and if it ends before, the torrent comes back"
        ));
    }
    Outcome::Removed { result, forgotten, counters, reply }
}
