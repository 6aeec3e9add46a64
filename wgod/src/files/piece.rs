//! Pieces and blocks on their way to and from the disk, on storage threads.
//!
//! A piece is hashed from memory, then written in runs over its blocks, with its neighbours if they are
//! there too (`runs`); only blocks that were spilled early are read back.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use wgo_hash::MAX_LANES;
use wgo_hash::piece::{PieceHasher, update_all, wanted};
use wgo_proto::layout::Span;
use wgo_proto::{BLOCK_LEN, PieceIndex};

use super::buf::BlockBuf;
use super::bufs::{Buf, Bufs};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::job::{Done, contain};
use super::runs::write_each;
use super::torrent::TorrentFiles;
use super::witness::Witness;

/// Longest write: as long as pays when it is direct. What isn't, the disk cuts shorter.
pub(super) const MAX_WRITE: usize = 4 * 1024 * 1024;

/// What came of a complete piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It matches its hash, and the write returned. Durable after the next sync.
    Stored,
    /// It doesn't match its hash; nothing was written.
    BadHash,
    /// It couldn't be read back or written.
    Failed(DiskError),
}

/// A complete piece on its way to the disk.
pub(super) struct Storing {
    pub(super) torrent: Arc<TorrentFiles>,
    pub(super) piece: PieceIndex,
    /// By number; `None` was spilled and is read back to be hashed.
    pub(super) blocks: Vec<Option<BlockBuf>>,
    pub(super) witness: Option<Witness>,
    pub(super) done: Done<StoreOutcome>,
}

/// Hashes pieces together from their blocks, then writes those that are good.
pub(super) fn store_each(mut pieces: Vec<Storing>) {
    // One gate for each torrent: a thread that took a lock twice could meet a writer in between.
    let mut torrents: Pieces<Arc<TorrentFiles>> = pieces.iter().map(|one| one.torrent.clone()).collect();
    torrents.sort_by_key(Arc::as_ptr);
    torrents.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let gates: Pieces<_> = torrents.iter().map(|torrent| (Arc::as_ptr(torrent), torrent.enter())).collect();
    let is_open = |one: &Storing| {
        gates.iter().any(|(torrent, gate)| *torrent == Arc::as_ptr(&one.torrent) && gate.is_some())
    };
    for closed in pieces.extract_if(.., |one| !is_open(one)) {
        contain(|| closed.done.call(StoreOutcome::Failed(DiskError::stopped())));
    }
    pieces.sort_by_key(|one| (one.torrent.id, one.piece));
    for one in &pieces {
        let len = one.torrent.layout().piece_len(one.piece);
        one.torrent.cx.hashed.fetch_add(u64::from(len), Ordering::Relaxed);
    }
    let verdicts: Vec<_> = pieces.chunks_mut(MAX_LANES).flat_map(verify_each).collect();
    let mut good = Vec::with_capacity(pieces.len());
    for (mut one, verdict) in pieces.into_iter().zip(verdicts) {
        if let (Ok(right), Some(witness)) = (&verdict, one.witness.take()) {
            witness.hear(*right, &one.blocks);
        }
        match verdict {
            Ok(true) => good.push(one),
            Ok(false) => contain(|| one.done.call(StoreOutcome::BadHash)),
            Err(error) => {
                let error = one.torrent.explain(error);
                contain(|| one.done.call(StoreOutcome::Failed(error)));
            }
        }
    }
    write_each(good);
}

/// A row with one place for each piece that is hashed with others.
type Pieces<T> = SmallVec<[T; MAX_LANES]>;

/// Whether each piece matches its hash.
fn verify_each(pieces: &mut [Storing]) -> Pieces<Result<bool, DiskError>> {
    let verifier = |one: &Storing| PieceHasher::of(&one.torrent.info, one.piece);
    let mut verifiers: Pieces<PieceHasher> = pieces.iter().map(verifier).collect();
    let mut verdicts: Pieces<Result<bool, DiskError>> =
        pieces.iter().map(|one| Ok(one.is_of_its_length())).collect();
    let numbers = pieces.iter().map(|one| one.torrent.layout().blocks_in(one.piece)).max().unwrap_or(0);
    for number in 0..numbers {
        let mut spilled: Pieces<Option<BlockBuf>> = SmallVec::new();
        for (one, verdict) in pieces.iter().zip(&mut verdicts) {
            let read = if matches!(verdict, Ok(true)) { one.spilled_block(number) } else { Ok(None) };
            spilled.push(read.unwrap_or_else(|error| {
                *verdict = Err(error);
                None
            }));
        }
        for (one, spilled) in pieces.iter_mut().zip(&spilled) {
            if let (Some(witness), Some(block)) = (&mut one.witness, spilled) {
                witness.see_spilled(number, block);
            }
        }
        let mut inputs: Pieces<&[u8]> = SmallVec::new();
        for ((one, spilled), verdict) in pieces.iter().zip(&spilled).zip(&mut verdicts) {
            let held = one.blocks.get(number as usize).and_then(Option::as_deref);
            let bytes = held.or(spilled.as_deref()).unwrap_or_default();
            if matches!(verdict, Ok(true)) && bytes.len() != one.block_len(number) {
                // Not the block that this place is for: no piece.
                *verdict = Ok(false);
            }
            inputs.push(bytes);
        }
        update_all(&mut verifiers.iter_mut().collect::<Pieces<_>>(), &inputs);
    }
    for ((one, verifier), verdict) in pieces.iter().zip(verifiers).zip(&mut verdicts) {
        if matches!(verdict, Ok(true)) {
            *verdict = Ok(Some(verifier.finish()) == wanted(&one.torrent.info, one.piece));
        }
    }
    verdicts
}

impl Storing {
    /// Whether it comes with a place for each of its blocks, and none else.
    fn is_of_its_length(&self) -> bool {
        self.blocks.len() == self.torrent.layout().blocks_in(self.piece) as usize
    }

    /// Bytes that block `number` has; none past the end of the piece.
    fn block_len(&self, number: u32) -> usize {
        let layout = self.torrent.layout();
        let exists = number < layout.blocks_in(self.piece);
        if exists { layout.block(self.piece, number).len as usize } else { 0 }
    }

    /// Reads a block back that was written before the others came; `None` for one that is here.
    fn spilled_block(&self, number: u32) -> Result<Option<BlockBuf>, DiskError> {
        if !matches!(self.blocks.get(number as usize), Some(None)) {
            return Ok(None);
        }
        Ok(read_blocks(&self.torrent, self.piece, number, 1)?.pop())
    }
}

/// Writes blocks of one piece, given by number. Each run of neighbours is written as one; `written` gets
/// the number of its first block, and the blocks back.
pub(super) fn write_blocks(
    torrent: &TorrentFiles,
    piece: PieceIndex,
    blocks: impl Iterator<Item = (usize, Option<BlockBuf>)>,
    written: impl Fn(usize, Bufs),
) -> Result<(), DiskError> {
    let mut run: Vec<Buf> = Vec::new();
    let mut start = 0;
    let mut next = 0;
    for (number, block) in blocks {
        if (number != next || block.is_none()) && !run.is_empty() {
            written(start, write_run(torrent, piece, start, std::mem::take(&mut run))?);
        }
        next = number + 1;
        if let Some(block) = block {
            if run.is_empty() {
                start = number;
            }
            run.push(Buf::Block(block));
        }
    }
    if !run.is_empty() {
        written(start, write_run(torrent, piece, start, run)?);
    }
    Ok(())
}

/// Writes neighbouring blocks, the first of which has number `start`.
fn write_run(
    torrent: &TorrentFiles,
    piece: PieceIndex,
    start: usize,
    run: Vec<Buf>,
) -> Result<Bufs, DiskError> {
    let bufs = Bufs::new(run);
    // A run lies inside one piece, whose offsets are 32 bits.
    let len = bufs.window().len() as u32;
    write_spans(torrent, torrent.info.spans(piece, start as u32 * BLOCK_LEN, len), bufs)
}

/// Writes buffers to where their bytes lie.
pub(super) fn write_spans(
    torrent: &TorrentFiles,
    spans: impl Iterator<Item = Span>,
    mut bufs: Bufs,
) -> Result<Bufs, DiskError> {
    let mut at = 0;
    for span in spans {
        let end = at + span.len as usize;
        if !torrent.is_pad(span.file) {
            bufs = write_span(torrent, span, bufs, at)?;
        }
        at = end;
    }
    Ok(bufs)
}

/// Writes one file's share: `span.len` bytes from byte `at` of the buffers.
fn write_span(torrent: &TorrentFiles, span: Span, mut bufs: Bufs, at: usize) -> Result<Bufs, DiskError> {
    let handle = torrent.handle_to_write(span.file, span.len)?;
    let mut done = 0;
    let mut result = Ok(());
    while done < span.len as usize && result.is_ok() {
        let n = (span.len as usize - done).min(MAX_WRITE);
        bufs.set_window(at + done..at + done + n);
        (bufs, result) = torrent.cx.disk.write_all_at(&handle, span.offset + done as u64, bufs);
        done += n;
    }
    torrent.wrote(span.file);
    result.map_err(|e| DiskError::new(DiskOp::Write, torrent.path(span.file), &e))?;
    Ok(bufs)
}

/// Reads `count` neighbouring blocks of a piece, the first of which has number `first`.
pub(super) fn read_blocks(
    torrent: &TorrentFiles,
    piece: PieceIndex,
    first: u32,
    count: u32,
) -> Result<Vec<BlockBuf>, DiskError> {
    let layout = torrent.layout();
    let mut len = 0;
    let take = |number| {
        let block = layout.block(piece, number);
        len += block.len;
        let mut buf = torrent.cx.pool.take()?;
        buf.set_filled(block.len as usize);
        Some(Buf::Block(buf))
    };
    let Some(bufs) = (first..first + count).map(take).collect() else {
        let no_memory = std::io::ErrorKind::OutOfMemory.into();
        return Err(DiskError::new(DiskOp::Read, torrent.path(wgo_proto::FileIndex(0)), &no_memory));
    };
    let mut bufs = Bufs::new(bufs);
    let mut at = 0;
    for span in torrent.info.spans(piece, first * BLOCK_LEN, len) {
        let end = at + span.len as usize;
        bufs.set_window(at..end);
        bufs = read_window(torrent, span, bufs)?;
        at = end;
    }
    Ok(bufs.into_blocks())
}

/// Reads one file's share into the window of the buffers.
fn read_window(torrent: &TorrentFiles, span: Span, mut bufs: Bufs) -> Result<Bufs, DiskError> {
    if torrent.is_pad(span.file) {
        bufs.slices_mut().iter_mut().for_each(|slice| slice.fill(0));
        return Ok(bufs);
    }
    let handle = torrent.handle_to_read(span.file)?;
    let want = bufs.window().len();
    let (bufs, result) = torrent.cx.disk.read_full_at(&handle, span.offset, bufs);
    let failed = |e| DiskError::new(DiskOp::Read, torrent.path(span.file), &e);
    if result.map_err(failed)? < want {
        return Err(DiskError::of_kind(DiskOp::Read, torrent.path(span.file), DiskErrorKind::Short));
    }
    Ok(bufs)
}
