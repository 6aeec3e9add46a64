//! Removing a torrent: its files if that was asked for, then everything that is known of it.
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_core::TorrentId;
use wgo_proto::FileIndex;

use super::{Cx, Outcome, live, missing, open_files, relocate, rename, run_job};
use crate::engine::Engine;
use crate::files::{DiskError, Job, RemoveOutcome, SyncOutcome, TorrentFiles};
use crate::session::save::report;
use crate::store::{Change, CheckKind, MoveStage, OwedCheck, Progress, Settings};

/// Files that other torrents have too: they stay.
pub(super) struct Kept {
    /// In the torrent's folder.
    pub(super) here: BTreeSet<FileIndex>,
    /// In the one that it was being moved to.
    pub(super) other: BTreeSet<FileIndex>,
}

/// `moves`: the settings of a torrent that is on its way.
pub(super) async fn run(
    mut cx: Cx,
    kept: Kept,
    data: bool,
    mut moves: Option<Box<Settings>>,
    reply: oneshot::Sender<Result<(), String>>,
) -> Outcome {
    let (engine, id) = (cx.engine.clone(), cx.id);
    match &mut moves {
        Some(settings) => leave_one_place(&cx, settings, kept.other).await,
        None => rename::abandon(&mut cx, kept.here.clone()).await,
    }
    // Of those that stay, nobody needs what was kept apart.
    let has_parts = cx.is_known() && cx.info.part_file().is_some();
    let files = match (&cx.files, data) {
        (Some(files), _) => Ok(Some(files.clone())),
        (None, false) if has_parts => Ok(open_files(&cx).await.ok()),
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
    let (mut staying, mut unsynced) = (None, None);
    // Also for one that sleeps: it answers to its info-hash.
    if let Outcome::Down { rest, .. } = live::halt(cx).await {
        counters = rest.counters;
        unsynced = rest.undurable.filter(|_| rest.unsynced);
    }
    let mut result = match files {
        Err(error) => {
            Err(format!("it is removed, but its files in {} were not deleted: {error}", root.display()))
        }
        Ok(None) => Ok(()),
        Ok(Some(torrent)) if data => {
            let moved = moves.map(|settings| Change::Settings(id, settings));
            let removed = delete(&engine, id, moved, torrent, kept.here).await;
            match (absent, removed.errors.first()) {
                (Some(why), _) if removed.removed == 0 => Err(format!(
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
            staying = Some(torrent);
            unsynced.map_or(Ok(()), |why| Err(format!("it is removed, but {why}")))
        }
    };
    // What it transferred goes into the daemon's totals with the same commit.
    let changes = vec![Change::Counters(id, counters.clone()), Change::Remove(id)];
    let stored = engine.store.put(changes).await;
    let forgotten = stored.is_ok();
    if let Some(torrent) = staying {
        leave(&engine, torrent, has_parts && forgotten).await;
    }
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

/// Deletes its files. `moved`: what else the store is to hear first.
async fn delete(
    engine: &Engine,
    id: TorrentId,
    moved: Option<Change>,
    torrent: Arc<TorrentFiles>,
    kept: BTreeSet<FileIndex>,
) -> RemoveOutcome {
    // Cut off in the middle, it has nothing but what is found then.
    let nothing = OwedCheck::anew(CheckKind::Full);
    let nothing = Progress { check: Some(Box::new(nothing)), ..Progress::default() };
    let changes = moved.into_iter().chain([Change::Progress(id, nothing)]);
    report(engine.store.put(changes.collect()).await);
    run_job(engine, |done| Job::Remove { torrent, kept, done }).await
}

/// Lets go of files that stay, and deletes what was kept apart of unwanted ones: nobody knows of that any more.
async fn leave(engine: &Engine, torrent: Arc<TorrentFiles>, drop_parts: bool) {
    let files = torrent.clone();
    if drop_parts {
        let dropped: Result<(), DiskError> =
            run_job(engine, |done| Job::DropParts { torrent: files, done }).await;
        if let Err(error) = dropped {
            tracing::warn!(%error, "what was kept of unwanted files stays on disk");
        }
    }
    let _synced: SyncOutcome = run_job(engine, |done| Job::Close { torrent, done }).await;
}

/// Ends a move. The store hears before anything changes that it goes on no more, or after a crash the place without its
/// mark would count as one that is gone.
async fn leave_one_place(cx: &Cx, settings: &mut Settings, kept: BTreeSet<FileIndex>) {
    if let Some(moving) = &mut settings.moving
        && moving.stage == MoveStage::Placing
    {
        moving.stage = MoveStage::Undoing;
        report(cx.engine.store.put(vec![Change::Settings(cx.id, Box::new(settings.clone()))]).await);
    }
    relocate::abandon(cx, kept).await;
    settings.moving = None;
}
