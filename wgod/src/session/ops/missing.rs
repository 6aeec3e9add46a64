//! What is gone from disk, and must not be taken for "nothing downloaded yet": a mount may be missing.
//! Then nothing is made in its place and nothing is forgotten; it goes on when the files are back.
use std::path::Path;
use std::sync::Arc;

use wgo_core::session::{Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex};

use super::check::on_disk;
use super::hindrance::Hindrance;
use super::{Cx, run_job};
use crate::files::{DiskError, Job, TorrentFiles, Whereabouts};
use crate::store::FileStamp;

/// Whether something of the torrent is on disk, as far as is known; at least its folder was.
pub(super) fn has_begun(cx: &Cx) -> bool {
    let known = !cx.have.is_empty() || !cx.durable.is_empty() || !cx.partials.is_empty();
    let prepared = cx.live.is_some() || cx.writing || cx.mount.is_some();
    prepared || known || cx.stamps.iter().any(Option::is_some)
}

/// How to go on without what is missing.
fn way_out(cx: &Cx) -> String {
    format!("to start from what is there run `wgoctl verify --start-over {}`", cx.hashes.canonical())
}

/// Files that were there at the last checkpoint, or have pieces of ours in them, and are missing.
pub(super) fn files(cx: &Cx, have: &Bitfield, stamps: &[Option<FileStamp>]) -> Option<Fault> {
    let layout = &cx.info.layout;
    let all = (0..cx.info.files.len()).map(|index| (index, FileIndex(index as u32)));
    let mut missing = all.filter(|(index, file)| {
        let known = cx.stamps.get(*index).is_some_and(Option::is_some);
        let had = || layout.pieces_of(*file).any(|piece| have.get(piece));
        on_disk(cx, *file) && stamps.get(*index).is_none_or(Option::is_none) && (known || had())
    });
    let (first, _) = missing.next()?;
    let path = cx.info.files.get(first)?.path.as_path();
    let (others, back) = match missing.count() {
        0 => ("is missing".to_owned(), "it"),
        n => (format!("and {n} more of its files are missing"), "them"),
    };
    let message = format!(
        "{} {others}; put {back} back and it goes on by itself; {}",
        cx.folder.join(path).display(),
        way_out(cx)
    );
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
