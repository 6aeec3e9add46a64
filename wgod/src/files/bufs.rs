//! What a read fills and a write takes: owned buffers in a row, and a window on their bytes.
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;

use super::buf::BlockBuf;

/// One owned buffer of an operation.
#[derive(Debug)]
pub enum Buf {
    /// Up to a block of payload; its filled part counts.
    Block(BlockBuf),
    /// Any bytes: a database page, the scratch space of a check.
    Bytes(Vec<u8>),
}

impl Buf {
    fn as_slice(&self) -> &[u8] {
        match self {
            Buf::Block(block) => block,
            Buf::Bytes(bytes) => bytes,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Buf::Block(block) => block,
            Buf::Bytes(bytes) => bytes,
        }
    }
}

/// Buffers in a row, seen as one run of bytes, and the part of it that an operation moves.
///
/// The disk owns them while the operation is under way, as a kernel that writes on its own does.
#[derive(Debug, Default)]
pub struct Bufs {
    parts: Vec<Buf>,
    window: Range<usize>,
}

impl Bufs {
    /// Buffers in a row, the window on all of their bytes.
    pub fn new(parts: Vec<Buf>) -> Bufs {
        let len = parts.iter().map(|part| part.as_slice().len()).sum();
        Bufs { parts, window: 0..len }
    }

    /// One buffer.
    pub fn bytes(bytes: Vec<u8>) -> Bufs {
        Bufs::new(vec![Buf::Bytes(bytes)])
    }

    /// Which bytes of the row an operation moves.
    pub fn window(&self) -> Range<usize> {
        self.window.clone()
    }

    /// Moves the window; what lies outside the row is cut off.
    pub fn set_window(&mut self, window: Range<usize>) {
        let len = self.parts.iter().map(|part| part.as_slice().len()).sum::<usize>();
        let end = window.end.min(len);
        self.window = window.start.min(end)..end;
    }

    /// The buffers again.
    pub fn into_parts(self) -> Vec<Buf> {
        self.parts
    }

    /// The blocks among the buffers.
    pub fn into_blocks(self) -> Vec<BlockBuf> {
        let blocks = self.parts.into_iter().filter_map(|part| match part {
            Buf::Block(block) => Some(block),
            Buf::Bytes(_) => None,
        });
        blocks.collect()
    }

    /// The first buffer's bytes, for a row of one; empty for a row of blocks.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.parts.into_iter().next() {
            Some(Buf::Bytes(bytes)) => bytes,
            _ => Vec::new(),
        }
    }

    /// The bytes of the window, for a write.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut start = 0;
        let mut out = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let bytes = part.as_slice();
            let cut = overlap(&self.window, start, bytes.len());
            start += bytes.len();
            if let Some(bytes) = bytes.get(cut).filter(|b| !b.is_empty()) {
                out.push(IoSlice::new(bytes));
            }
        }
        out
    }

    /// The bytes of the window, for a read.
    pub fn slices_mut(&mut self) -> Vec<IoSliceMut<'_>> {
        let window = self.window.clone();
        let mut start = 0;
        let mut out = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let bytes = part.as_mut_slice();
            let len = bytes.len();
            if let Some(bytes) = bytes.get_mut(overlap(&window, start, len)).filter(|b| !b.is_empty()) {
                out.push(IoSliceMut::new(bytes));
            }
            start += len;
        }
        out
    }
}

/// The part of a buffer of `len` bytes, `start` bytes into the row, that lies in the window.
fn overlap(window: &Range<usize>, start: usize, len: usize) -> Range<usize> {
    let from = window.start.saturating_sub(start).min(len);
    let to = window.end.saturating_sub(start).min(len);
    from..to.max(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_cuts_the_row_at_its_edges() {
        let row = || Bufs::new(vec![Buf::Bytes(vec![1, 2, 3]), Buf::Bytes(vec![]), Buf::Bytes(vec![4, 5])]);
        for (window, want) in [
            (0..5, vec![1, 2, 3, 4, 5]),
            (2..4, vec![3, 4]),
            (3..5, vec![4, 5]),
            (1..2, vec![2]),
            (5..9, vec![]),
        ] {
            let mut bufs = row();
            bufs.set_window(window.clone());
            let seen: Vec<u8> = bufs.slices().iter().flat_map(|s| s.iter().copied()).collect();
            assert_eq!(seen, want, "{window:?}");
            let seen: Vec<u8> = bufs.slices_mut().iter().flat_map(|s| s.iter().copied()).collect();
            assert_eq!(seen, want, "{window:?}");
        }
    }
}
