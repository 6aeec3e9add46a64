//! What the stored state of a torrent is worth when the daemon starts again: which pieces count as had without a
//! look at them, and which are hashed first.
use wgo_proto::metainfo::Info;
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use crate::store::FileStamp;

/// What the stored state says, less what changed behind our back, plus what the log of stored pieces names
/// (`suspects`): the pieces that are had, and those that are to be hashed.
pub fn doubted(
    info: &Info,
    have: &Bitfield,
    suspects: &[PieceIndex],
    is_changed: impl Fn(FileIndex) -> bool,
) -> (Bitfield, Bitfield) {
    let count = info.layout.piece_count();
    let mut base = have.clone();
    let mut wanted = Bitfield::new(count);
    for piece in suspects.iter().filter(|piece| piece.0 < count) {
        wanted.set(piece.0);
    }
    for file in (0..info.files.len() as u32).map(FileIndex).filter(|file| is_changed(*file)) {
        for piece in info.pieces_in(file).filter(|piece| have.get(piece.0)) {
            wanted.set(piece.0);
            base.clear(piece.0);
        }
    }
    (base, wanted)
}

/// Whether nobody else touched a file. One that we were writing to has a new time anyhow, and may only
/// have grown.
pub fn is_unchanged(known: Option<FileStamp>, found: Option<FileStamp>, writing: bool) -> bool {
    match (known, found) {
        (Some(known), Some(found)) if writing => found.len >= known.len,
        (Some(known), Some(found)) => known.is_like(&found),
        (Some(_), None) => false,
        // Never synced with data in it, so no piece of it counts as stored.
        (None, _) => true,
    }
}
