//! Good pieces on their way to the disk. Those that lie side by side in one file are written together, as
//! only a long write can go around the page cache (`real_disk/direct`).
use smallvec::SmallVec;
use wgo_proto::PieceIndex;
use wgo_proto::layout::Span;

use super::buf::BlockBuf;
use super::bufs::{Buf, Bufs};
use super::job::contain;
use super::piece::{MAX_WRITE, StoreOutcome, Storing, write_blocks, write_spans};
use super::torrent::TorrentFiles;

/// Writes pieces that match their hashes, given in order of torrent and piece, and tells of each what came
/// of it. A write that fails fails every piece it was for.
pub(super) fn write_each(pieces: Vec<Storing>) {
    let mut run: Vec<Storing> = Vec::new();
    let mut len = 0;
    for one in pieces {
        let more = one.torrent.layout().piece_len(one.piece) as usize;
        let joins = len + more <= MAX_WRITE && run.last().is_some_and(|last| one.follows(last));
        if !joins {
            write(std::mem::take(&mut run));
            len = 0;
        }
        len += more;
        run.push(one);
    }
    write(run);
}

fn write(mut run: Vec<Storing>) {
    contain(|| match run.len() {
        0 | 1 => run.pop().into_iter().for_each(Storing::write_alone),
        _ => write_together(run),
    });
}

/// Writes whole pieces that lie side by side.
fn write_together(mut run: Vec<Storing>) {
    let Some(torrent) = run.first().map(|first| first.torrent.clone()) else { return };
    let spans = joined_spans(&torrent, &run);
    let blocks = run.iter_mut().flat_map(|one| one.blocks.iter_mut().filter_map(Option::take));
    let bufs = Bufs::new(blocks.map(Buf::Block).collect());
    let mut result =
        write_spans(&torrent, spans.into_iter(), bufs).map(|bufs| bufs.into_blocks().into_iter());
    result = result.map_err(|error| torrent.explain(error));
    for one in run {
        let outcome = match &mut result {
            Ok(blocks) => {
                let blocks: Vec<BlockBuf> = blocks.take(one.blocks.len()).collect();
                keep_to_send(&torrent, one.piece, 0, blocks);
                StoreOutcome::Stored
            }
            Err(error) => StoreOutcome::Failed(error.clone()),
        };
        contain(|| one.done.call(outcome));
    }
}

/// Where pieces lie that follow one another; what is in a row in one file is one span.
fn joined_spans(torrent: &TorrentFiles, run: &[Storing]) -> SmallVec<[Span; 2]> {
    let layout = torrent.layout();
    let mut joined: SmallVec<[Span; 2]> = SmallVec::new();
    for span in run.iter().flat_map(|one| torrent.info.spans(one.piece, 0, layout.piece_len(one.piece))) {
        match joined.last_mut() {
            // A run is no longer than a write, so its length fits.
            Some(last) if ends_at(last, &span) => last.len += span.len,
            _ => joined.push(span),
        }
    }
    joined
}

/// Whether the second begins in the same file where the first ends.
fn ends_at(before: &Span, after: &Span) -> bool {
    before.file == after.file && before.offset + u64::from(before.len) == after.offset
}

impl Storing {
    /// Whether it lies beside `before`, and both are in memory as a whole. The bytes where they meet are of
    /// one file: a write never goes beyond a file, and one file's fault is not to fail pieces of another.
    fn follows(&self, before: &Storing) -> bool {
        let layout = self.torrent.layout();
        let is_whole = |one: &Storing| one.blocks.iter().all(Option::is_some);
        let last = layout.piece_len(before.piece).saturating_sub(1);
        let ends = self
            .torrent
            .info
            .spans(before.piece, last, 1)
            .next()
            .zip(self.torrent.info.spans(self.piece, 0, 1).next());
        std::ptr::eq(&*self.torrent, &*before.torrent)
            && before.piece.0.checked_add(1) == Some(self.piece.0)
            && ends.is_some_and(|(before, after)| ends_at(&before, &after))
            && is_whole(before)
            && is_whole(self)
    }

    /// Writes the piece in runs around what was spilled.
    fn write_alone(self) {
        let Storing { torrent, piece, blocks, done, .. } = self;
        let written = write_blocks(&torrent, piece, blocks.into_iter().enumerate(), |first, bufs| {
            keep_to_send(&torrent, piece, first, bufs.into_blocks());
        });
        let failed = |error| StoreOutcome::Failed(torrent.explain(error));
        done.call(written.map_or_else(failed, |()| StoreOutcome::Stored));
    }
}

/// Keeps neighbouring blocks that were just written for the peers that will ask for them, if any do.
fn keep_to_send(torrent: &TorrentFiles, piece: PieceIndex, first: usize, blocks: Vec<BlockBuf>) {
    if torrent.upload.is_wanted() {
        torrent.cx.pieces.insert(torrent.id, piece, first as u32, blocks);
    }
}
