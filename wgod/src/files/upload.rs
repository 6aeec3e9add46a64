//! Reading for upload: runs of blocks, laid out as on the wire.
//!
//! The fast path runs on the async worker of the peer and reads what is in memory only; what isn't
//! goes to a storage thread as [`Job::Read`](super::Job::Read). A file that lost bytes since it was
//! checked makes the read fail with `Missing` or `Short`: the torrent has lost these pieces.
use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use smallvec::SmallVec;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex, layout::Span};

use super::buf::BlockBuf;
use super::disk::Op;
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::piece::read_blocks;
use super::piece_cache::STRETCH;
use super::torrent::TorrentFiles;

/// Bytes that a `piece` message has before its payload: length, type, piece, offset (BEP 3).
pub const HEADER_LEN: usize = 13;

/// Blocks in a 256 KiB batch: the usual run.
const USUAL_RUN: usize = (256 * 1024 / BLOCK_LEN) as usize;

/// What a read without waiting gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nowait {
    /// The first so many blocks are in place, at least one.
    Done(usize),
    /// The first block isn't in memory, or its file isn't open: ask a storage thread.
    Miss,
    /// It can't be read.
    Failed(DiskError),
}

/// After a peer read from a torrent, so many pieces are kept when they are written. Peers that never ask
/// cost no memory and leave the buffers warm for the next piece.
const KEEP_PIECES: u32 = 64;

/// What uploading leaves behind for other work on a torrent.
#[derive(Debug, Default)]
pub(super) struct UploadState {
    /// Pieces still to be kept when they are written.
    wanted: AtomicU32,
    /// Raised when a piece turns out to be bad on disk: what was read before isn't cached any more.
    doubts: AtomicU64,
}

impl UploadState {
    /// A peer reads.
    fn want(&self) {
        // Mostly it is so already: a load leaves the cache line shared.
        if self.wanted.load(Ordering::Relaxed) != KEEP_PIECES {
            self.wanted.store(KEEP_PIECES, Ordering::Relaxed);
        }
    }

    /// Whether a piece that was just written will probably be read.
    pub(super) fn is_wanted(&self) -> bool {
        let less = |wanted: u32| wanted.checked_sub(1);
        self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Bytes that `blocks` take on the wire, headers included.
pub fn wire_len(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| HEADER_LEN + block.len as usize).sum()
}

impl TorrentFiles {
    /// Reads a block into `out`, which has its length, if all of it is in memory.
    pub fn read_nowait(&self, block: Block, out: &mut [u8]) -> Nowait {
        if out.len() != block.len as usize {
            return Nowait::Miss;
        }
        match self.read_ready(block, &mut [out]) {
            Ok(n) if n == block.len as usize => Nowait::Done(1),
            Ok(_) => Nowait::Miss,
            Err(e) => Nowait::Failed(e),
        }
    }

    /// Reads blocks that follow one another in one piece into `out`, [`wire_len`] bytes: each payload
    /// after a gap of [`HEADER_LEN`] bytes that is left for the header. One system call for each file
    /// they lie in.
    pub fn read_run_nowait(&self, blocks: &[Block], out: &mut [u8]) -> Nowait {
        let (Some(run), Some(mut payloads)) = (run_of(blocks), payloads(blocks, out)) else {
            return Nowait::Miss;
        };
        let mut ready = match self.read_ready(run, &mut payloads) {
            Ok(ready) => ready,
            Err(e) => return Nowait::Failed(e),
        };
        let whole = |block: &&Block| {
            let fits = ready >= block.len as usize;
            ready = ready.saturating_sub(block.len as usize);
            fits
        };
        match blocks.iter().take_while(whole).count() {
            0 => Nowait::Miss,
            n => Nowait::Done(n),
        }
    }

    /// The disk holds something wrong in place of a piece: nothing of it is served from memory.
    pub(super) fn forget_cached(&self, piece: PieceIndex) {
        self.upload.doubts.fetch_add(1, Ordering::AcqRel);
        self.cx.pieces.forget_piece(self.id, piece);
    }

    /// Fills `out`, slices in a row, from the start of `run` as far as memory holds it.
    fn read_ready(&self, run: Block, out: &mut [&mut [u8]]) -> Result<usize, DiskError> {
        self.upload.want();
        let mut ready = self.cx.pieces.read(self.id, run, out);
        if ready > 0 {
            return Ok(ready);
        }
        for span in self.info.spans(run.piece, run.offset, run.len) {
            let len = span.len as usize;
            let n = if self.is_pad(span.file) {
                cut(out, ready, len).iter_mut().for_each(|slice| slice.fill(0));
                len
            } else {
                self.read_span_ready(span, &mut cut(out, ready, len))?
            };
            ready += n;
            if n < len {
                break;
            }
        }
        Ok(ready)
    }

    fn read_span_ready(&self, span: Span, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, DiskError> {
        let Some(handle) = self.open_already(span.file) else { return Ok(0) };
        match self.cx.disk.disk().read_nowait(&handle, span.offset, bufs) {
            Ok(0) => Err(DiskError::of_kind(DiskOp::Read, self.path(span.file), DiskErrorKind::Short)),
            Ok(n) => Ok(n),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(e) => Err(DiskError::new(DiskOp::Read, self.path(span.file), &e)),
        }
    }
}

/// Reads a run into `out` as [`TorrentFiles::read_run_nowait`] does, waiting for the disk, and has the
/// piece's next bytes brought into memory: by the system, or into the piece cache where reads that don't
/// wait can't find what the system caches.
pub(super) fn read_run(torrent: &TorrentFiles, blocks: &[Block], out: &mut [u8]) -> Result<(), DiskError> {
    let unfit = || DiskError::of_kind(DiskOp::Read, torrent.folder(), DiskErrorKind::Io);
    let run = run_of(blocks).ok_or_else(unfit)?;
    let mut payloads = payloads(blocks, out).ok_or_else(unfit)?;
    let len = torrent.layout().piece_len(run.piece);
    let end = run.offset.checked_add(run.len).filter(|end| *end <= len).ok_or_else(unfit)?;
    torrent.upload.want();
    let doubts = torrent.upload.doubts.load(Ordering::Acquire);
    let first = run.offset / BLOCK_LEN;
    let count = end.div_ceil(BLOCK_LEN) - first;
    let stretch = stretch(torrent, run, first);
    let mut found = None;
    if stretch > count && !read_ahead(torrent, run, stretch) {
        // What was only read ahead may be missing without harm.
        found = read_blocks(torrent, run.piece, first, stretch).ok();
    }
    let ahead = found.is_some();
    let found = match found {
        Some(found) => found,
        None => read_blocks(torrent, run.piece, first, count)?,
    };
    copy_run(&found, (run.offset % BLOCK_LEN) as usize, &mut payloads);
    if ahead {
        torrent.cx.pieces.insert(torrent.id, run.piece, first, found);
        // After the insertion, so that a doubt either is seen here or forgets the piece itself.
        if torrent.upload.doubts.load(Ordering::Acquire) != doubts {
            torrent.cx.pieces.forget_piece(torrent.id, run.piece);
        }
    }
    Ok(())
}

/// Blocks that are worth having in memory with `run`, whose first is block `first`: up to the end of the
/// stretch, of the piece, and of the last file that the run needs open anyway.
fn stretch(torrent: &TorrentFiles, run: Block, first: u32) -> u32 {
    let layout = torrent.layout();
    let start = first * BLOCK_LEN;
    let rest = layout.piece_len(run.piece) - start;
    let most = ((STRETCH - first % STRETCH) * BLOCK_LEN).min(rest);
    let last = torrent.info.spans(run.piece, run.offset, run.len).map(|span| span.file).last();
    let near = torrent.info.spans(run.piece, start, most).take_while(|span| Some(span.file) <= last);
    let len: u32 = near.map(|span| span.len).sum();
    if len == rest { len.div_ceil(BLOCK_LEN) } else { len / BLOCK_LEN }
}

/// Has the system read `run` and what follows it, `stretch` blocks in all. False when it can't.
fn read_ahead(torrent: &TorrentFiles, run: Block, stretch: u32) -> bool {
    let start = run.offset / BLOCK_LEN * BLOCK_LEN;
    let len = (stretch * BLOCK_LEN).min(torrent.layout().piece_len(run.piece) - start);
    torrent.info.spans(run.piece, start, len).filter(|span| !torrent.is_pad(span.file)).all(|span| {
        // A file that can't be opened is reported by the read itself, if that needs it.
        let Ok(file) = torrent.handle_to_read(span.file) else { return true };
        torrent.cx.disk.run(Op::ReadAhead { file, offset: span.offset, len: span.len.into() }).is_ok()
    })
}

/// Copies blocks from byte `skip` on into slices in a row, until those are full.
fn copy_run(blocks: &[BlockBuf], mut skip: usize, out: &mut [&mut [u8]]) {
    let mut blocks = blocks.iter();
    let mut rest: &[u8] = &[];
    for slice in out {
        let mut at = 0;
        while at < slice.len() {
            if rest.is_empty() {
                let Some(block) = blocks.next() else { return };
                rest = block.get(std::mem::take(&mut skip)..).unwrap_or_default();
            }
            let (now, later) = rest.split_at(rest.len().min(slice.len() - at));
            slice[at..at + now.len()].copy_from_slice(now);
            at += now.len();
            rest = later;
        }
    }
}

/// The run of bytes that blocks make up; `None` when they don't follow one another in one piece.
fn run_of(blocks: &[Block]) -> Option<Block> {
    let (first, rest) = blocks.split_first()?;
    rest.iter().try_fold(*first, |run, block| {
        let follows = block.piece == run.piece && block.offset == run.offset.checked_add(run.len)?;
        follows.then_some(Block { len: run.len.checked_add(block.len)?, ..run })
    })
}

/// The places of the payloads in a wire buffer; `None` when it has another length.
fn payloads<'a>(blocks: &[Block], out: &'a mut [u8]) -> Option<SmallVec<[&'a mut [u8]; USUAL_RUN]>> {
    let mut rest = out;
    let mut places = SmallVec::new();
    for block in blocks {
        let (_header, after) = rest.split_at_mut_checked(HEADER_LEN)?;
        let (payload, after) = after.split_at_mut_checked(block.len as usize)?;
        places.push(payload);
        rest = after;
    }
    rest.is_empty().then_some(places)
}

/// `len` bytes of slices in a row, from byte `start` on.
fn cut<'a>(slices: &'a mut [&mut [u8]], start: usize, len: usize) -> SmallVec<[IoSliceMut<'a>; USUAL_RUN]> {
    let (mut skip, mut want) = (start, len);
    let mut out = SmallVec::new();
    for slice in slices {
        let from = skip.min(slice.len());
        let to = from + want.min(slice.len() - from);
        skip -= from;
        want -= to - from;
        if to > from {
            out.push(IoSliceMut::new(&mut slice[from..to]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use wgo_proto::PieceIndex;

    use super::*;

    #[test]
    fn only_neighbours_in_one_piece_are_a_run() {
        let block = |piece, offset, len| Block { piece: PieceIndex(piece), offset, len };
        assert_eq!(run_of(&[block(1, 10, 5), block(1, 15, 1)]), Some(block(1, 10, 6)));
        for bad in [
            &[][..],
            &[block(1, 10, 5), block(1, 16, 1)],
            &[block(1, 10, 5), block(2, 15, 1)],
            &[block(1, u32::MAX, 1), block(1, 0, 1)],
        ] {
            assert_eq!(run_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_cut_takes_the_asked_bytes_across_slices() {
        let (mut a, mut b, mut c) = ([1, 2, 3], [4], [5, 6]);
        let mut row: [&mut [u8]; 3] = [&mut a, &mut b, &mut c];
        for (start, len, want) in [(0, 6, "123456"), (2, 3, "345"), (3, 1, "4"), (5, 9, "6"), (6, 1, "")] {
            let bytes: Vec<u8> = cut(&mut row, start, len).iter().flat_map(|s| s.to_vec()).collect();
            assert_eq!(bytes.iter().map(|b| b.to_string()).collect::<String>(), want);
        }
    }
}
