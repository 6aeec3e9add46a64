//! What is gone from disk, and must not be taken for "nothing downloaded yet": a mount may be missing.
//! Then nothing is made in its place and nothing is forgotten; it goes on when the files are back.
use std::sync::Arc;

use wgo_core::session::{Fault, FaultKind};
use wgo_proto::{Bitfield, FileIndex};

use super::super::fault;
use super::check::on_disk;
use super::{Cx, run_job};
use crate::files::{DiskErrorKind, Job, TorrentFiles};
use crate::store::FileStamp;

/// Whether something of the torrent is on disk, as far as is known.
fn has_begun(cx: &Cx) -> bool {
    let known = !cx.have.is_empty() || !cx.durable.is_empty() || !cx.partials.is_empty();
    cx.live.is_some() || known || cx.stamps.iter().any(Option::is_some)
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
        "{} {others}; put {back} back and it goes on by itself, or run `wgoctl verify` to start from what is there",
        cx.folder.join(path).display(),
    );
    Some(Fault { kind: FaultKind::Unreachable, message })
}

/// The folder of a torrent that has begun, if that is what is missing.
pub(super) async fn folder(cx: &Cx, files: &Arc<TorrentFiles>) -> Option<Fault> {
    if !has_begun(cx) {
        return None;
    }
    let error = run_job(&cx.engine, |done| Job::FindFolder { torrent: files.clone(), done }).await.err()?;
    if error.kind != DiskErrorKind::Missing {
        return fault::of_disk(&error);
    }
    let message = format!(
        "its folder {} is missing; bring it back and it goes on by itself; to start from nothing make it again and run `wgoctl verify`",
        cx.folder.display()
    );
    Some(Fault { kind: FaultKind::Unreachable, message })
}
