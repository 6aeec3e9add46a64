//! The receiving half of a connection: bytes to messages, payload into block buffers.
//!
//! Bytes are read into a scratch buffer that the worker thread owns, and taken out of it before the
//! next await, so an idle connection holds nothing but an unfinished message. The rest of a block under
//! way is read straight into its buffer, in the same system call, and so are the blocks that follow one
//! another ([`Scatter`]). What comes encrypted is decrypted where it was read to.
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::time::Duration;

use wgo_core::Time;
use wgo_core::peer::{CloseReason, PeerFault};
use wgo_core::piece_mgr::Complete;
use wgo_proto::mse;
use wgo_proto::wire::{BLOCK_HEADER_LEN, Frame, Limits, WireError, next_frame};
use wgo_proto::{BLOCK_LEN, Block};

use super::lull::Lull;
use super::scatter::Scatter;
use super::{Connection, Progress, gone};
use crate::files::BlockBuf;
use crate::shaper::Flow;
use crate::transport::Transport;

/// Bytes of a worker thread's scratch buffer: eight blocks, which fit a core's own cache.
const SCRATCH_LEN: usize = 128 * 1024;
/// Bytes after which a connection that still has more lets others go first.
const TURN: usize = 512 * 1024;
/// And messages: of four bytes each there are 131,072 in a turn of bytes, and others wait for each of them. Of the dearest,
/// extension handshakes of 2.4 µs, these are 0.6 ms, in which a worker serves nobody else.
const TURN_MESSAGES: u32 = 250;
/// A read that brought so many messages, of no more bytes than these on average, is followed by a short one, so that a
/// turn ends about where it should.
const MANY_MESSAGES: u32 = 10;
const SHORT_MESSAGE: usize = 128;
/// Bytes of a short read.
const SHORT_READ: usize = 2 * 1024;
/// A message of which so much has come is gathered before it is looked at again.
const LONG_MESSAGE: usize = 16 * 1024;
/// Memory is asked for again after so long.
const STARVED_PAUSE: Duration = Duration::from_millis(100);
/// The Swarm is told this often that a block is on its way.
const HEARD_INTERVAL: Duration = Duration::from_secs(10);
/// Under a limit, so much is read beyond what was granted, to find the messages between the blocks.
const READ_AHEAD: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_LEN]);
}

/// What the stream holds next.
pub(super) enum Incoming {
    /// The start of a message.
    Frame,
    /// Payload of a block.
    Block { block: Block, buf: BlockBuf },
    /// Bytes that mean nothing to us.
    Skip(u32),
}

pub(super) struct Receiver {
    pub(super) flow: Flow,
    pub(super) limits: Limits,
    pub(super) incoming: Incoming,
    /// The beginning of a message that has not come whole. Bounded by `limits`.
    pub(super) pending: Vec<u8>,
    /// Bytes that `pending` must hold before anything can be said of it.
    pub(super) need: usize,
    pub(super) scatter: Scatter,
    pub(super) cipher: Option<Box<mse::Incoming>>,
    lull: Lull,
    /// The socket is asked itself, whatever is known of it: some bytes don't wake us.
    pub(super) look: bool,
    /// When the Swarm was last told that a part of a block came.
    heard_told_at: Time,
    /// A block begins in `pending` for which there was no memory: nothing is read until there is.
    starved: bool,
    /// Pieces that became complete in this turn.
    complete: Vec<Complete<BlockBuf>>,
    /// Messages of this turn.
    messages: u32,
    /// The last read brought many short messages.
    chatty: bool,
}

impl Receiver {
    pub(super) fn new(flow: Flow, pieces: Option<u32>, cipher: Option<Box<mse::Incoming>>) -> Receiver {
        Receiver {
            flow,
            limits: Limits::new(pieces),
            incoming: Incoming::Frame,
            pending: Vec::new(),
            need: 0,
            scatter: Scatter::default(),
            cipher,
            lull: Lull::default(),
            look: false,
            heard_told_at: Time::ZERO,
            starved: false,
            complete: Vec::new(),
            messages: 0,
            chatty: false,
        }
    }

    /// Reads until the socket is empty, the limit is reached or a turn is over.
    pub(super) async fn pump(&mut self, connection: &Connection) -> Result<Progress, CloseReason> {
        if self.limits.pieces.is_none() {
            // The metadata may have come. Until then the Swarm checks what it is told.
            self.limits.pieces = connection.torrent.piece_count();
        }
        let mut turn = 0;
        self.messages = 0;
        let progress = loop {
            let most = if self.chatty { SHORT_READ } else { SCRATCH_LEN };
            let allowed = self.flow.allowance(most as u32) as usize;
            if self.starved {
                self.resume(connection)?;
                self.submit(connection).await?;
            }
            if allowed == 0 || self.starved {
                // Time in which we do not read is not the peer's silence.
                connection.torrent.call(|swarm, now| swarm.excuse(now, connection.key))?;
                break Progress::Waiting;
            }
            let before = self.messages;
            let read = SCRATCH.with_borrow_mut(|scratch| self.read(connection, scratch, allowed));
            let result = match read {
                Ok(n) => n,
                Err(reason) => {
                    self.submit(connection).await?;
                    return Err(reason);
                }
            };
            self.submit(connection).await?;
            match result {
                None => {
                    self.empty(connection, turn)?;
                    break Progress::Blocked;
                }
                Some(n) => {
                    turn += n;
                    self.chatty = is_chatty(self.messages - before, n);
                }
            }
            if turn >= TURN || self.messages >= TURN_MESSAGES {
                break Progress::More;
            }
        };
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        self.scatter.rest();
        if turn > 0 && !matches!(self.incoming, Incoming::Frame) {
            self.tell_heard(connection)?;
        }
        Ok(progress)
    }

    /// The socket is empty after `came` bytes.
    fn empty(&mut self, connection: &Connection, came: usize) -> Result<(), CloseReason> {
        let looked = std::mem::take(&mut self.look);
        if self.flow.rest() {
            connection.torrent.call(|swarm, now| swarm.dry(now, connection.key))?;
        }
        let mark = if self.flow.is_limited() {
            self.lull.end()
        } else {
            let more = || connection.torrent.call(|swarm, _| swarm.download_backlog(connection.key));
            self.lull.empty(connection.torrent.clock().now(), came, looked, || more().unwrap_or(0))
        };
        if let Some(mark) = mark {
            connection.transport.wake_at(mark.max(1));
        }
        Ok(())
    }

    /// Goes on with what had been read when memory ran out.
    fn resume(&mut self, connection: &Connection) -> Result<(), CloseReason> {
        self.starved = false;
        let bytes = std::mem::take(&mut self.pending);
        let mut payload = 0;
        let used = self.parse(connection, &bytes, &mut payload)?;
        self.pending = bytes[used..].to_vec();
        self.flow.charge(payload);
        Ok(())
    }

    /// Whether it waits for memory.
    pub(super) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Resolves when the socket must be looked at although it doesn't wake us, or memory asked for again.
    pub(super) async fn lull(&mut self, connection: &Connection) {
        if self.starved {
            return Box::pin(tokio::time::sleep(STARVED_PAUSE)).await;
        }
        let Some(due) = self.lull.due() else { return std::future::pending().await };
        // Boxed, as idle connections have none.
        Box::pin(tokio::time::sleep_until(connection.torrent.clock().instant(due))).await;
        self.look = true;
    }

    /// A block that takes minutes to come is no silence.
    fn tell_heard(&mut self, connection: &Connection) -> Result<(), CloseReason> {
        let now = connection.torrent.clock().now();
        if now.since(self.heard_told_at) >= HEARD_INTERVAL {
            self.heard_told_at = now;
            connection.torrent.call(|swarm, now| swarm.heard(now, connection.key))?;
        }
        Ok(())
    }

    /// Hands complete pieces to the storage threads; waits when their queue is full, so that TCP slows
    /// the peer down.
    async fn submit(&mut self, connection: &Connection) -> Result<(), CloseReason> {
        if self.complete.is_empty() {
            return Ok(());
        }
        self.scatter.rest();
        for complete in self.complete.drain(..) {
            // Boxed, as it is rare: idle connections hold no room for it.
            Box::pin(connection.engine.store_piece(&connection.torrent, complete)).await;
        }
        connection.torrent.call(|swarm, now| swarm.excuse(now, connection.key))?;
        Ok(())
    }

    /// One read and all that it completes. `None` when nothing has come.
    fn read(
        &mut self,
        connection: &Connection,
        scratch: &mut [u8],
        allowed: usize,
    ) -> Result<Option<usize>, CloseReason> {
        let kept = self.pending.len();
        if kept >= LONG_MESSAGE {
            return self.read_long(connection, scratch, allowed);
        }
        let at_block = kept < BLOCK_HEADER_LEN && !matches!(self.incoming, Incoming::Skip(_));
        let scattered = self.scatter.is_on() && at_block && allowed == SCRATCH_LEN;
        if scattered && self.scatter.provide(&connection.engine.pool) {
            return self.read_scattered(connection, scratch);
        }
        scratch[..kept].copy_from_slice(&self.pending);
        let ahead = if allowed < SCRATCH_LEN { READ_AHEAD } else { 0 };
        let (direct, n) = {
            let (mut first, room): (&mut [u8], usize) = match &mut self.incoming {
                Incoming::Block { block, buf } => {
                    let left = block.len as usize - buf.len();
                    let now = left.min(allowed);
                    (&mut buf.unfilled()[..now], if now < left { 0 } else { allowed - now + ahead })
                }
                Incoming::Frame | Incoming::Skip(_) => (&mut [], allowed + ahead),
            };
            let end = (kept + room).min(scratch.len());
            let direct = first.len();
            let mut bufs =
                [IoSliceMut::new(std::mem::take(&mut first)), IoSliceMut::new(&mut scratch[kept..end])];
            match read_some(&connection.transport, self.look, &mut self.cipher, &mut bufs)? {
                Some(n) => (n.min(direct), n),
                None => return Ok(None),
            }
        };
        self.pending.clear();
        let mut payload = direct;
        if let Incoming::Block { buf, .. } = &mut self.incoming {
            buf.add_filled(direct);
        }
        self.finish_block(connection)?;
        let rest = &scratch[..kept + n - direct];
        let used = self.parse(connection, rest, &mut payload)?;
        self.pending.extend_from_slice(&rest[used..]);
        self.flow.charge(payload);
        Ok(Some(n))
    }

    /// The same within a long message, which is gathered until it is whole: looked at with each read, a
    /// message that comes byte by byte would cost its length each time.
    fn read_long(
        &mut self,
        connection: &Connection,
        scratch: &mut [u8],
        allowed: usize,
    ) -> Result<Option<usize>, CloseReason> {
        let room = allowed.saturating_add(READ_AHEAD).min(scratch.len());
        let mut bufs = [IoSliceMut::new(&mut scratch[..room])];
        let Some(n) = read_some(&connection.transport, self.look, &mut self.cipher, &mut bufs)? else {
            return Ok(None);
        };
        self.pending.extend_from_slice(&scratch[..n]);
        if self.pending.len() >= self.need {
            let bytes = std::mem::take(&mut self.pending);
            let mut payload = 0;
            let used = self.parse(connection, &bytes, &mut payload)?;
            self.pending = bytes[used..].to_vec();
            self.flow.charge(payload);
        }
        Ok(Some(n))
    }

    /// Takes messages off the front of `bytes`; returns how many bytes they took.
    pub(super) fn parse(
        &mut self,
        connection: &Connection,
        bytes: &[u8],
        payload: &mut usize,
    ) -> Result<usize, CloseReason> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match &mut self.incoming {
                Incoming::Block { block, buf } => {
                    let n = rest.len().min(block.len as usize - buf.len());
                    buf.append(&rest[..n]);
                    *payload += n;
                    at += n;
                    if !self.finish_block(connection)? {
                        return Ok(at);
                    }
                }
                Incoming::Skip(left) => {
                    let n = rest.len().min(*left as usize);
                    *left -= n as u32;
                    at += n;
                    if *left > 0 {
                        return Ok(at);
                    }
                    self.incoming = Incoming::Frame;
                }
                Incoming::Frame => match next_frame(rest, &self.limits).map_err(malformed)? {
                    Frame::Message { message, consumed } => {
                        self.messages += 1;
                        connection
                            .torrent
                            .call(|swarm, now| swarm.on_message(now, connection.key, &message))??;
                        at += consumed;
                    }
                    Frame::Block { block, header_len } => {
                        self.messages += 1;
                        if block.len > BLOCK_LEN {
                            return Err(PeerFault::OutOfRange { message: "piece", block }.into());
                        }
                        if block.len == BLOCK_LEN {
                            self.scatter.begin();
                        }
                        let Some(buf) = connection.engine.pool.take() else {
                            self.starved = true;
                            return Ok(at);
                        };
                        self.incoming = Incoming::Block { block, buf };
                        at += header_len;
                    }
                    Frame::Skip { header_len, body_len, .. } => {
                        self.messages += 1;
                        self.incoming = Incoming::Skip(body_len);
                        at += header_len;
                    }
                    Frame::Incomplete { need } => {
                        self.need = need;
                        return Ok(at);
                    }
                },
            }
        }
    }

    /// Gives a block that has come whole to the Swarm. Whether the stream is at a message again.
    pub(super) fn finish_block(&mut self, connection: &Connection) -> Result<bool, CloseReason> {
        match std::mem::replace(&mut self.incoming, Incoming::Frame) {
            Incoming::Block { block, buf } if buf.len() == block.len as usize => {
                let complete = connection
                    .torrent
                    .call(|swarm, now| swarm.on_block(now, connection.key, block, buf))??;
                self.complete.extend(complete);
                Ok(true)
            }
            Incoming::Frame => Ok(true),
            other => {
                self.incoming = other;
                Ok(false)
            }
        }
    }
}

/// Whether so many messages in so many bytes are a flood of short ones.
fn is_chatty(messages: u32, bytes: usize) -> bool {
    messages >= MANY_MESSAGES && bytes <= messages as usize * SHORT_MESSAGE
}

/// The bytes that came, decrypted, at least one unless a signal came between; `None` when nothing has come, or (but
/// for `look`) nothing that wakes us.
pub(super) fn read_some(
    transport: &Transport,
    look: bool,
    cipher: &mut Option<Box<mse::Incoming>>,
    bufs: &mut [IoSliceMut<'_>],
) -> Result<Option<usize>, CloseReason> {
    match if look { transport.read_now(bufs) } else { transport.try_read(bufs) } {
        Ok(0) => Err(CloseReason::Gone("closed by the peer".into())),
        Ok(n) => {
            if let Some(incoming) = cipher {
                decrypt(incoming, n, bufs);
                if incoming.is_over() {
                    *cipher = None;
                }
            }
            Ok(Some(n))
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(e) => Err(gone(&e)),
    }
}

/// Decrypts the first `left` bytes of `bufs`.
fn decrypt(incoming: &mut mse::Incoming, mut left: usize, bufs: &mut [IoSliceMut<'_>]) {
    for buf in bufs {
        let n = left.min(buf.len());
        incoming.apply(&mut buf[..n]);
        left -= n;
    }
}

pub(super) fn malformed(error: WireError) -> PeerFault {
    PeerFault::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_soon_after_its_last_message_however_short_they_are() {
        let keep_alives = |bytes: usize| (bytes / 4) as u32;
        assert!(is_chatty(keep_alives(SCRATCH_LEN), SCRATCH_LEN));
        // What follows a long read is short ones, and what one of them brings is little more than two turns.
        assert!(is_chatty(keep_alives(SHORT_READ), SHORT_READ));
        assert!(keep_alives(SHORT_READ) < 3 * TURN_MESSAGES);
        // Longer messages keep reads short, too, as long as they flood.
        assert!((4..=SHORT_MESSAGE).all(|len| is_chatty((SHORT_READ / len) as u32, SHORT_READ)));
        // Blocks, and a few messages, are read as far as there is room.
        assert!(!is_chatty(8, SCRATCH_LEN) && !is_chatty(9, 9 * 17));
    }
}
