//! Pieces and blocks on their way to and from the disk, on storage threads.
//!
//! A piece is hashed from memory, then written in runs over its blocks; only blocks that were spilled
//! early are read back.
use wgo_proto::layout::Span;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex};

use super::buf::BlockBuf;
use super::bufs::{Buf, Bufs};
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::torrent::TorrentFiles;
use super::verify::{Verifier, wanted};

/// Longest buffered write. One of 1 MiB costs ten times as much a byte: it makes very large folios
/// (measured, see DESIGN).
const MAX_WRITE: usize = 256 * 1024;

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

/// Hashes the piece from `blocks` (by number; `None` was spilled and is read back) and writes it.
pub(super) fn store(
    torrent: &TorrentFiles,
    piece: PieceIndex,
    blocks: Vec<Option<BlockBuf>>,
) -> StoreOutcome {
    let outcome = verify(torrent, piece, &blocks).and_then(|good| {
        if !good {
            return Ok(StoreOutcome::BadHash);
        }
        write_blocks(torrent, piece, blocks.into_iter().enumerate())?;
        Ok(StoreOutcome::Stored)
    });
    outcome.unwrap_or_else(StoreOutcome::Failed)
}

fn verify(torrent: &TorrentFiles, piece: PieceIndex, blocks: &[Option<BlockBuf>]) -> Result<bool, DiskError> {
    let layout = torrent.layout();
    let mut verifier = Verifier::new(&torrent.info, piece);
    for number in 0..layout.blocks_in(piece) {
        let block = layout.block(piece, number);
        match blocks.get(number as usize).and_then(Option::as_ref) {
            Some(buf) if buf.len() == block.len as usize => verifier.update(buf),
            // Not the block that this place is for: no piece.
            Some(_) => return Ok(false),
            None => {
                let mut buf = torrent.cx.pool.take();
                buf.set_filled(block.len as usize);
                read_block(torrent, block, &mut buf)?;
                verifier.update(&buf);
            }
        }
    }
    Ok(Some(verifier.finish()) == wanted(&torrent.info, piece))
}

/// Writes blocks of one piece, given by number. Each run of neighbours is written as one.
pub(super) fn write_blocks(
    torrent: &TorrentFiles,
    piece: PieceIndex,
    blocks: impl Iterator<Item = (usize, Option<BlockBuf>)>,
) -> Result<(), DiskError> {
    let mut run: Vec<Buf> = Vec::new();
    let mut start = 0;
    let mut next = 0;
    for (number, block) in blocks {
        if (number != next || block.is_none()) && !run.is_empty() {
            write_run(torrent, piece, start, std::mem::take(&mut run))?;
        }
        next = number + 1;
        if let Some(block) = block {
            if run.is_empty() {
                start = number;
            }
            run.push(Buf::Block(block));
        }
    }
    if run.is_empty() { Ok(()) } else { write_run(torrent, piece, start, run) }
}

/// Writes neighbouring blocks, the first of which has number `start`.
fn write_run(
    torrent: &TorrentFiles,
    piece: PieceIndex,
    start: usize,
    run: Vec<Buf>,
) -> Result<(), DiskError> {
    let mut bufs = Bufs::new(run);
    let len = bufs.window().len();
    let mut at = 0;
    // A run lies inside one piece, whose offsets are 32 bits.
    for span in torrent.layout().spans(piece, start as u32 * BLOCK_LEN, len as u32) {
        let end = at + span.len as usize;
        if !torrent.is_pad(span.file) {
            bufs = write_span(torrent, span, bufs, at)?;
        }
        at = end;
    }
    Ok(())
}

/// Writes one file's share: `span.len` bytes from byte `at` of the buffers.
fn write_span(torrent: &TorrentFiles, span: Span, mut bufs: Bufs, at: usize) -> Result<Bufs, DiskError> {
    let handle = torrent.handle_to_write(span.file)?;
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

/// Reads a block, or any run of bytes inside one piece, into `out` of the same length.
pub(super) fn read_block(torrent: &TorrentFiles, block: Block, out: &mut [u8]) -> Result<(), DiskError> {
    let mut at = 0;
    for span in torrent.layout().spans(block.piece, block.offset, block.len) {
        let Some(share) = out.get_mut(at..at + span.len as usize) else { break };
        at += share.len();
        if torrent.is_pad(span.file) {
            share.fill(0);
        } else {
            let bytes = read_span(torrent, span, vec![0; share.len()])?;
            share.copy_from_slice(&bytes);
        }
    }
    // What the layout doesn't know can't be read: the caller has checked the block.
    if at == out.len() { Ok(()) } else { Err(DiskError::of_kind(DiskOp::Read, "", DiskErrorKind::Io)) }
}

/// Reads one file's share into `scratch`, which has the span's length, and returns it full.
pub(super) fn read_span(torrent: &TorrentFiles, span: Span, scratch: Vec<u8>) -> Result<Vec<u8>, DiskError> {
    let handle = torrent.handle_to_read(span.file)?;
    let want = scratch.len();
    let (bufs, result) = torrent.cx.disk.read_full_at(&handle, span.offset, Bufs::bytes(scratch));
    let failed = |e| DiskError::new(DiskOp::Read, torrent.path(span.file), &e);
    if result.map_err(failed)? < want {
        return Err(DiskError::of_kind(DiskOp::Read, torrent.path(span.file), DiskErrorKind::Short));
    }
    Ok(bufs.into_bytes())
}
