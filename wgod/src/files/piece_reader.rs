//! The bytes of a piece on disk, portion by portion, for a check to hash.
use wgo_hash::piece::ZEROS;
use wgo_proto::PieceIndex;
use wgo_proto::layout::Span;

use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::scratch::Scratch;
use super::torrent::TorrentFiles;

/// Bytes of one read at most: what is read directly is read best in such stretches.
pub(super) const READ_LEN: usize = 1024 * 1024;

/// Reads one piece from its beginning to its end; holds one portion of it in memory.
pub(super) struct PieceReader<'a, S> {
    torrent: &'a TorrentFiles,
    scratch: &'a mut Scratch,
    spans: S,
    /// The file's share that is being read.
    span: Option<Span>,
    /// Bytes of it that were read.
    done: usize,
}

/// A reader of the piece, from its beginning.
pub(super) fn read_piece<'a>(
    torrent: &'a TorrentFiles,
    piece: PieceIndex,
    scratch: &'a mut Scratch,
) -> PieceReader<'a, impl Iterator<Item = Span> + 'a> {
    let layout = torrent.layout();
    let mut spans = torrent.info.spans(piece, 0, layout.piece_len(piece));
    let span = spans.next();
    PieceReader { torrent, scratch, spans, span, done: 0 }
}

impl<S: Iterator<Item = Span>> PieceReader<'_, S> {
    /// The next portion: at most 1 MiB, empty when all is read. What lies in padding is zeros.
    pub(super) fn next_portion(&mut self) -> Result<&[u8], DiskError> {
        let Some(span) = self.span else { return Ok(&[]) };
        let (at, left) = (span.offset + self.done as u64, span.len as usize - self.done);
        let pad = self.torrent.is_pad(span.file);
        let n = left.min(if pad { ZEROS.len() } else { READ_LEN });
        let bytes = if pad {
            &ZEROS[..n]
        } else {
            let handle = self.torrent.handle_to_read(span.file)?;
            let path = || self.torrent.path(span.file);
            let read = self.scratch.read_clean(&self.torrent.cx.disk, &handle, at, n);
            read.map_err(|e| DiskError::new(DiskOp::Read, path(), &e)).and_then(|bytes| match bytes {
                [] => Err(DiskError::of_kind(DiskOp::Read, path(), DiskErrorKind::Short)),
                bytes => Ok(bytes),
            })?
        };
        self.done += bytes.len();
        if self.done == span.len as usize {
            self.span = self.spans.next();
            self.done = 0;
        }
        Ok(bytes)
    }

    /// Whether all is read.
    pub(super) fn is_done(&self) -> bool {
        self.span.is_none()
    }
}
