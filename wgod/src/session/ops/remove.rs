//! Removing a torrent: its files if that was asked for, then everything that is known of it.
use std::collections::BTreeSet;

use tokio::sync::oneshot;
use wgo_proto::FileIndex;

use super::{Cx, Outcome, live, missing, open_files, relocate, rename, run_job};
use crate::files::{Job, RemoveOutcome, SyncOutcome};
use crate::session::save::report;
use crate::store::{Change, CheckKind, OwedCheck, Progress};

/// Files that other torrents have too: they stay.
pub(super) struct Kept {
    /// In the torrent's folder.
    pub(super) here: BTreeSet<FileIndex>,
    /// In the one that it was being moved to.
    pub(super) other: BTreeSet<FileIndex>,
}

pub(super) async fn run(
    mut cx: Cx,
    kept: Kept,
    data: bool,
    reply: oneshot::Sender<Result<(), String>>,
) -> Outcome {
    let (engine, id) = (cx.engine.clone(), cx.id);
    match cx.moving {
        Some(_) => relocate::abandon(&cx, kept.other).await,
        None => rename::abandon(&mut cx, kept.here.clone()).await,
    }
    let files = match (&cx.files, data) {
        (Some(files), _) => Ok(Some(files.clone())),
        (None, false) => Ok(None),
        // Nobody knows what they would be.
        (None, true) if !cx.is_known() => Ok(None),
        (None, true) => open_files(&cx).await.map(Some).map_err(|error| error.to_string()),
    };
    // Where they are deleted nothing is found wrong with what isn't there.
    let absent = match &files {
        Ok(Some(files)) if data => missing::absent(&cx, files).await,
        _ => None,
    };
    let top = cx.info.files.first().and_then(|file| file.path.components().next());
    let root = top.map_or_else(|| cx.folder.clone(), |top| cx.folder.join(top));
    let mut counters = cx.counters.clone();
    // Also for one that sleeps: it answers to its info-hash.
    if let Outcome::Down { rest, .. } = live::halt(cx).await {
        counters = rest.counters;
    }
    let mut result = match files {
        Err(error) => {
            Err(format!("it is removed, but its files in {} were not deleted: {error}", root.display()))
        }
        Ok(None) => Ok(()),
        Ok(Some(torrent)) if data => {
            // Cut off in the middle, it has nothing but what is found then.
            let nothing = OwedCheck::anew(CheckKind::Full);
            let nothing = Progress { check: Some(Box::new(nothing)), ..Progress::default() };
            report(engine.store.put(vec![Change::Progress(id, nothing)]).await);
            let job = |done| Job::Remove { torrent, kept: kept.here, done };
            let outcome: RemoveOutcome = run_job(&engine, job).await;
            match (absent, outcome.errors.first()) {
                (Some(why), _) if outcome.removed == 0 => Err(format!(
                    "it is removed, but none of its files were deleted: {why}; \
                    when that is back, delete {} yourself",
                    root.display()
                )),
                (_, Some(error)) => {
                    Err(format!("it is removed, but not all of its files were deleted: {error}"))
                }
                (_, None) => Ok(()),
            }
        }
        Ok(Some(torrent)) => {
            let _synced: SyncOutcome = run_job(&engine, |done| Job::Close { torrent, done }).await;
            Ok(())
        }
    };
    // What it transferred goes into the daemon's totals with the same commit.
    let changes = vec![Change::Counters(id, counters.clone()), Change::Remove(id)];
    let stored = engine.store.put(changes).await;
    let forgotten = stored.is_ok();
    if let Err(error) = stored {
        let before = match result {
            Err(failed) => format!("{failed}; and it is still in wgod's state"),
            Ok(()) => "it is removed, but not from wgod's state".to_owned(),
        };
        result = Err(format!(
            "{before}: {error}; that is tried again while wgod runs, and if it ends before, the torrent comes back"
        ));
    }
    Outcome::Removed { result, forgotten, counters, reply }
}
