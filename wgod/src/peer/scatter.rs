//! Payload that lands where it stays: one read fills several block buffers.
//!
//! While a peer sends one block after the other, the bytes to come are known but for the headers'
//! numbers: 13 bytes of header (BEP 3), a whole block, and again. A read is laid out for that, so the
//! system's copy out of the socket is the only one. Where the stream turns out otherwise (a HAVE between
//! two blocks, a shorter one), what came is put back into one row and parsed like any other bytes.
use std::io::IoSliceMut;

use smallvec::SmallVec;
use wgo_core::peer::CloseReason;
use wgo_proto::BLOCK_LEN;
use wgo_proto::wire::{BLOCK_HEADER_LEN, Frame, next_frame};

use super::Connection;
use super::receive::{Incoming, Receiver, malformed, read_some};
use crate::files::{BlockBuf, BufPool};

/// Blocks that one read is laid out for at most, beyond the one under way.
pub(super) const MOST_AHEAD: usize = 7;

/// What a connection expects of its stream.
#[derive(Default)]
pub(super) struct Scatter {
    /// Blocks that the next read is laid out for: as many as come at once. 0 while anything may come.
    ahead: usize,
    /// Empty buffers for them, used from the end. Held while the connection is being read only.
    spare: Vec<BlockBuf>,
}

impl Scatter {
    /// Whether the next read is laid out for blocks.
    pub(super) fn is_on(&self) -> bool {
        self.ahead > 0
    }

    /// A whole block came by the ordinary way: more of them may follow.
    pub(super) fn begin(&mut self) {
        self.ahead = self.ahead.max(1);
    }

    /// Gives the spare buffers back.
    pub(super) fn rest(&mut self) {
        self.spare = Vec::new();
    }

    /// The last read, laid out for `ahead` blocks, brought something of `came` of them.
    fn adapt(&mut self, came: usize) {
        self.ahead = if came == self.ahead { came * 2 } else { (self.ahead + came).div_ceil(2) };
        self.ahead = self.ahead.clamp(1, MOST_AHEAD);
    }

    /// Sees to it that there are `ahead` buffers, or, where memory is short, `ahead` as many as there are.
    /// Whether there are any.
    pub(super) fn provide(&mut self, pool: &BufPool) -> bool {
        while self.spare.len() < self.ahead {
            match pool.take() {
                Some(buf) => self.spare.push(buf),
                None => self.ahead = self.spare.len(),
            }
        }
        self.is_on()
    }
}

/// The headers between the blocks of one read.
type Headers = [[u8; BLOCK_HEADER_LEN]; MOST_AHEAD];

impl Receiver {
    /// One read laid out for whole blocks, and all that it completes. `None` when nothing has come. To
    /// be called where a message begins or within a block, with buffers provided.
    pub(super) fn read_scattered(
        &mut self,
        connection: &Connection,
        scratch: &mut [u8],
    ) -> Result<Option<usize>, CloseReason> {
        let mut headers: Headers = Default::default();
        let kept = self.pending.len();
        headers[0][..kept].copy_from_slice(&self.pending);
        let under_way = match &mut self.incoming {
            Incoming::Block { block, buf } => {
                let left = block.len as usize - buf.len();
                &mut buf.unfilled()[..left]
            }
            Incoming::Frame | Incoming::Skip(_) => &mut [],
        };
        let first = under_way.len();
        let mut bufs: SmallVec<[IoSliceMut<'_>; 2 * MOST_AHEAD + 1]> = SmallVec::new();
        bufs.push(IoSliceMut::new(under_way));
        let spare = self.scatter.spare.iter_mut().rev().take(self.scatter.ahead);
        for (number, (header, buf)) in headers.iter_mut().zip(spare).enumerate() {
            let known = if number == 0 { kept } else { 0 };
            bufs.push(IoSliceMut::new(&mut header[known..]));
            bufs.push(IoSliceMut::new(buf.unfilled()));
        }
        let Some(n) = read_some(&connection.transport, self.look, &mut self.cipher, &mut bufs)? else {
            return Ok(None);
        };
        drop(bufs);
        let mut payload = n.min(first);
        if let Incoming::Block { buf, .. } = &mut self.incoming {
            buf.add_filled(payload);
        }
        self.finish_block(connection)?;
        if n > first {
            self.pending.clear();
            // What was kept of the first header counts as having come.
            self.take_blocks(connection, scratch, &headers, n - first + kept, &mut payload)?;
        }
        self.flow.charge(payload);
        Ok(Some(n))
    }

    /// Takes `left` bytes that lie in headers and spare buffers.
    fn take_blocks(
        &mut self,
        connection: &Connection,
        scratch: &mut [u8],
        headers: &Headers,
        mut left: usize,
        payload: &mut usize,
    ) -> Result<(), CloseReason> {
        let mut came = 0;
        while left > 0 && came < self.scatter.ahead {
            let header = &headers[came][..left.min(BLOCK_HEADER_LEN)];
            let frame = next_frame(header, &self.limits).map_err(malformed)?;
            match frame {
                Frame::Block { block, .. } if block.len == BLOCK_LEN => {
                    // `provide` saw to it that there are `ahead` of them.
                    let Some(mut buf) = self.scatter.spare.pop() else { break };
                    left -= BLOCK_HEADER_LEN;
                    buf.set_filled(left.min(BLOCK_LEN as usize));
                    left -= buf.len();
                    *payload += buf.len();
                    self.incoming = Incoming::Block { block, buf };
                    self.finish_block(connection)?;
                }
                Frame::Incomplete { need } if header.len() < BLOCK_HEADER_LEN => {
                    self.pending.extend_from_slice(header);
                    self.need = need;
                    left = 0;
                }
                _ => return self.take_row(connection, scratch, &headers[came..], left, payload),
            }
            came += 1;
        }
        self.scatter.adapt(came);
        Ok(())
    }

    /// No block: puts `left` bytes into one row again, from a header on, and parses that.
    fn take_row(
        &mut self,
        connection: &Connection,
        scratch: &mut [u8],
        headers: &[[u8; BLOCK_HEADER_LEN]],
        left: usize,
        payload: &mut usize,
    ) -> Result<(), CloseReason> {
        let mut end = 0;
        for (header, buf) in headers.iter().zip(self.scatter.spare.iter_mut().rev()) {
            buf.set_filled(BlockBuf::CAPACITY);
            for part in [&header[..], &buf[..]] {
                let n = part.len().min(left - end);
                scratch[end..end + n].copy_from_slice(&part[..n]);
                end += n;
            }
            buf.set_filled(0);
        }
        // Until blocks come by the ordinary way again.
        self.scatter.ahead = 0;
        let used = self.parse(connection, &scratch[..end], payload)?;
        self.pending.extend_from_slice(&scratch[used..end]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_laid_out_for_what_came_at_once_lately() {
        let mut scatter = Scatter::default();
        assert!(!scatter.is_on());
        scatter.begin();
        let ahead: Vec<usize> = [1, 2, 4, 7, 7, 3, 1, 1, 0, 0, 0]
            .into_iter()
            .map(|came: usize| {
                scatter.adapt(came.min(scatter.ahead));
                scatter.ahead
            })
            .collect();
        assert_eq!(ahead, [2, 4, 7, 7, 7, 5, 3, 2, 1, 1, 1]);
    }
}
