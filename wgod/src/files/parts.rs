//! The part file on disk: bytes of unwanted files in pieces that wanted ones share. Which bytes lie there
//! is [`Info::spans`](wgo_proto::metainfo::Info::spans)' business, and all that reads and writes pieces
//! follows it. Here is how they get into the file itself, once that is wanted.
use std::path::Path;

use wgo_proto::{FileIndex, PieceIndex};

use super::bufs::Bufs;
use super::disk::Handle;
use super::error::{DiskError, DiskErrorKind, DiskOp};
use super::remove::remove_file;
use super::sync::sync_folder;
use super::torrent::TorrentFiles;

/// Bytes of one read and write.
const STRETCH: u64 = 1024 * 1024;

/// Some bytes of the part file, and where they belong in their own.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: u64,
    to: u64,
    len: u64,
}

/// Copies what the part file holds of some files into them, to be synced. The part file is not changed, so
/// it can be done again after a crash.
pub(super) fn take_out(torrent: &TorrentFiles, files: &[FileIndex]) -> Result<(), DiskError> {
    let Some(part_file) = torrent.info.part_file() else { return Ok(()) };
    let parts = match torrent.handle_to_read(part_file) {
        // Nothing was ever put there.
        Err(e) if e.kind == DiskErrorKind::Missing => return Ok(()),
        parts => parts?,
    };
    let mut memory = Some(Bufs::bytes(vec![0; STRETCH as usize]));
    for &file in files.iter().filter(|file| torrent.info.is_parted(**file)) {
        for piece in torrent.layout().pieces_of(file).map(PieceIndex) {
            for part in moves(torrent, part_file, file, piece) {
                copy(torrent, &parts, file, part, &mut memory)?;
            }
        }
    }
    Ok(())
}

/// What of a piece belongs to the file and is in the part file.
fn moves(
    torrent: &TorrentFiles,
    part_file: FileIndex,
    file: FileIndex,
    piece: PieceIndex,
) -> impl Iterator<Item = Move> + '_ {
    let len = torrent.layout().piece_len(piece);
    let spans = torrent.layout().spans(piece, 0, len).zip(torrent.info.spans(piece, 0, len));
    let ours = spans.filter(move |(own, real)| own.file == file && real.file == part_file);
    ours.map(|(own, real)| Move { from: real.offset, to: own.offset, len: own.len.into() })
}

/// Copies what is there of it: holes are blocks that never came.
fn copy(
    torrent: &TorrentFiles,
    parts: &Handle,
    file: FileIndex,
    part: Move,
    memory: &mut Option<Bufs>,
) -> Result<(), DiskError> {
    let disk = &torrent.cx.disk;
    let part_file = torrent.info.part_file().unwrap_or(file);
    let read_failed = |e| DiskError::new(DiskOp::Read, torrent.path(part_file), &e);
    let (mut at, end) = (part.from, part.from + part.len);
    while let Some(data) = disk.next_data(parts, at).map_err(read_failed)?.filter(|data| *data < end) {
        at = data.max(at);
        let n = (end - at).min(STRETCH) as usize;
        let mut bufs = memory.take().unwrap_or_else(|| Bufs::bytes(vec![0; STRETCH as usize]));
        bufs.set_window(0..n);
        let (mut bufs, read) = disk.read_full_at(parts, at, bufs);
        let read = read.map_err(read_failed)?;
        if read == 0 {
            break;
        }
        bufs.set_window(0..read);
        // All of the file comes later: it is to be kept open, with its space reserved.
        let target = torrent.handle_to_write(file, 0)?;
        let (bufs, written) = disk.write_all_at(&target, part.to + (at - part.from), bufs);
        torrent.wrote(file);
        written.map_err(|e| DiskError::new(DiskOp::Write, torrent.path(file), &e))?;
        *memory = Some(bufs);
        at += read as u64;
    }
    Ok(())
}

/// Removes the part file, of which nothing is needed any more.
pub(super) fn drop_parts(torrent: &TorrentFiles) -> Result<(), DiskError> {
    let Some(file) = torrent.info.part_file() else { return Ok(()) };
    torrent.cx.open.remove(torrent.key(file));
    {
        let mut state = torrent.state();
        state.dirty.remove(&file);
        state.reopened.remove(&file);
    }
    let Some(entry) = torrent.entry(file) else { return Ok(()) };
    remove_file(torrent, file, entry)?;
    // Durably, whichever run removed it: it is forgotten next, and a power cut would bring it back to nobody.
    match sync_folder(torrent, entry.path.as_path().parent().unwrap_or(Path::new(""))) {
        Err(e) if e.kind == DiskErrorKind::Missing => Ok(()),
        synced => synced,
    }
}
