//! What is gone from disk, and must not be taken for "nothing downloaded yet": a mount may be missing.
//! Then nothing is made in its place and nothing is forgotten; it goes on when the files are back.
use std::path::Path;
use std::sync::Arc;

use wgo_core::session::{Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex};

use super::check::on_disk;
use super::hindrance::Hindrance;
use super::{Cx, add, run_job};
use crate::files::{DiskError, Job, Presence, TorrentFiles, Whereabouts};
use crate::store::FileStamp;

/// Whether something of the torrent is on disk, as far as is known; at least its folder was.
pub(super) fn has_begun(cx: &Cx) -> bool {
    let known = !cx.have.is_empty() || !cx.durable.is_empty() || !cx.partials.is_empty();
    // One that is live may only be read from, since its folder can't be made.
    let settled = cx.files.as_ref().is_some_and(|files| files.is_settled());
    let prepared = settled || cx.writing || cx.mount.is_some();
    prepared || known || cx.stamps.iter().any(Option::is_some)
}

/// How to go on without what is missing.
fn way_out(cx: &Cx) -> String {
    format!("to start from what is there run `wgoctl verify --start-over {}`", cx.hashes.canonical())
}

/// Files that were there at the last checkpoint, or have pieces of ours in them, and are missing. Those that
/// nobody wants may be: their owner needed the room.
pub(super) fn files(cx: &Cx, have: &Bitfield, stamps: &[Option<FileStamp>]) -> Option<Fault> {
    missed(cx, stamps, |index, file| {
        let known = cx.stamps.get(index).is_some_and(Option::is_some);
        known || cx.info.pieces_in(file).any(|piece| have.get(piece.0))
    })
}

/// Files that were there when a check paused that is to go on, or at the time of a backup that was restored,
/// and are missing. One that the operator asks for anew knows of none.
pub(super) fn since(cx: &Cx, stamps: &[Option<FileStamp>]) -> Option<Fault> {
    let owed = cx.owed.as_ref()?;
    missed(cx, stamps, |index, _| owed.files.get(index).is_some_and(Option::is_some))
}

fn missed(
    cx: &Cx,
    stamps: &[Option<FileStamp>],
    expected: impl Fn(usize, FileIndex) -> bool,
) -> Option<Fault> {
    let all = (0..cx.info.files.len()).map(|index| (index, FileIndex(index as u32)));
    let mut missing = all.filter(|(index, file)| {
        on_disk(cx, *file)
            && !cx.may_miss(*file)
            && stamps.get(*index).is_none_or(Option::is_none)
            && expected(*index, *file)
    });
    let (first, _) = missing.next()?;
    let path = cx.path_of(FileIndex(first as u32));
    let (others, back) = match missing.count() {
        0 => ("is missing".to_owned(), "it"),
        n => (format!("and {n} more of its files are missing"), "them"),
    };
    let message =
        format!("{} {others}; put {back} back and it goes on by itself; {}", path.display(), way_out(cx));
    Some(Fault { kind: FaultKind::Unreachable, message })
}

/// Where the torrent's files are now; a fault if the file system that they were on isn't mounted, or the
/// folder of a torrent that has begun is missing.
pub(super) async fn place(cx: &Cx, files: &Arc<TorrentFiles>) -> Result<Whereabouts, Hindrance> {
    let (torrent, mount) = (files.clone(), cx.mount.clone());
    let found: Result<Whereabouts, DiskError> =
        run_job(&cx.engine, |done| Job::FindFolder { torrent, mount, done }).await;
    let now = found?;
    match &cx.mount {
        Some(mount) if now.unmounted => Err(unmounted(cx, mount).into()),
        _ if !now.exists() && has_begun(cx) => Err(no_folder(cx).into()),
        _ => Ok(now),
    }
}

/// Whether all files of a torrent are in its final folder already, and none are where they were to be kept until
/// it is complete: somebody brought them there, or a backup of wgod's state is older than its arrival.
pub(super) async fn went_ahead(cx: &Cx) -> bool {
    let Some(home) = cx.final_folder.clone().filter(|_| cx.moving.is_none()) else { return false };
    let mounts = cx.engine.storage.mounts();
    if cx.mount.as_ref().is_some_and(|mount| mounts.lacks(mount)) {
        return false;
    }
    add::find(cx, cx.folder.clone()).await == Ok(Presence::Nothing)
        && add::find(cx, home).await == Ok(Presence::All)
}

/// Why none of the torrent's files can be where they belong, for one that is being removed.
pub(super) async fn absent(cx: &Cx, files: &Arc<TorrentFiles>) -> Option<String> {
    let (torrent, mount) = (files.clone(), cx.mount.clone());
    let found: Result<Whereabouts, DiskError> =
        run_job(&cx.engine, |done| Job::FindFolder { torrent, mount, done }).await;
    let now = found.ok()?;
    match &cx.mount {
        Some(mount) if now.unmounted => Some(format!("{} is not mounted", mount.display())),
        _ if !now.exists() && has_begun(cx) => Some(format!("{} is missing", cx.folder.display())),
        _ => None,
    }
}

fn unmounted(cx: &Cx, mount: &Path) -> Fault {
    let message = format!(
        "{} is not mounted, and its files are missing from {}; mount it and it goes on by itself; {}",
        mount.display(),
        cx.folder.display(),
        way_out(cx)
    );
    Fault { kind: FaultKind::Unreachable, message }
}

fn no_folder(cx: &Cx) -> Fault {
    let message = format!(
        "its folder {} is missing; bring it back and it goes on by itself; {}",
        cx.folder.display(),
        way_out(cx)
    );
    Fault { kind: FaultKind::Unreachable, message }
}
