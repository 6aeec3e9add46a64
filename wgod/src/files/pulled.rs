//! What a batch of a check is about to read, brought into memory in one sequence where that is quickest
//! ([`Disk::pull`](super::Disk::pull)), and let go afterwards.
use std::ops::Range;

use wgo_proto::FileIndex;
use wgo_proto::layout::Span;

use super::disk::Handle;
use super::torrent::TorrentFiles;

/// Bytes of one pull at most: a check that is cancelled waits for one.
const PART: u64 = 8 * 1024 * 1024;
/// Fewer bytes of one file are read as they are.
const LEAST: u64 = 1024 * 1024;

/// Stretches of files that are in memory until this is dropped.
pub(super) struct Pulled<'a> {
    torrent: &'a TorrentFiles,
    stretches: Vec<(Handle, Range<u64>)>,
}

/// Pulls what lies under `spans`, but for holes, unless it `is_over`. What can't be read is told by those who
/// read it.
pub(super) fn pull<'a>(
    torrent: &'a TorrentFiles,
    spans: impl Iterator<Item = Span>,
    is_over: impl Fn() -> bool,
) -> Pulled<'a> {
    let disk = &torrent.cx.disk;
    let mut pulled = Pulled { torrent, stretches: Vec::new() };
    for (file, range) in joined(spans.filter(|span| !torrent.is_pad(span.file))) {
        if range.end - range.start < LEAST {
            continue;
        }
        let Ok(handle) = torrent.handle_to_read(file) else { continue };
        let mut at = range.start;
        while let Ok(Some(data)) = disk.next_data(&handle, at)
            && data < range.end
            && !is_over()
        {
            let part = data..range.end.min(data + PART);
            at = part.end;
            if disk.disk().pull(&handle, part.clone()) {
                pulled.stretches.push((handle.clone(), part));
            }
        }
    }
    pulled
}

/// Spans that go on where the last one ended, as one.
fn joined(spans: impl Iterator<Item = Span>) -> Vec<(FileIndex, Range<u64>)> {
    let mut all: Vec<(FileIndex, Range<u64>)> = Vec::new();
    for span in spans {
        let end = span.offset + u64::from(span.len);
        match all.last_mut() {
            Some((file, range)) if *file == span.file && range.end == span.offset => range.end = end,
            _ => all.push((span.file, span.offset..end)),
        }
    }
    all
}

impl Drop for Pulled<'_> {
    fn drop(&mut self) {
        for (handle, range) in self.stretches.drain(..) {
            self.torrent.cx.disk.disk().release(&handle, range);
        }
    }
}
