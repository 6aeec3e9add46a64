//! The sending half of a connection: one batch at a time, laid out as on the wire, one write each.
//!
//! A batch is pulled from the Swarm when the one before has left. Blocks that are in memory are read
//! into a scratch buffer of the worker thread and written from there; only what the socket did not
//! take is kept. Blocks that are not go through a storage thread. On an encrypted connection a batch is encrypted
//! where it lies once it is complete: batches leave in the order in which they are made, and whole.
use std::cell::RefCell;
use std::io;

use tokio::sync::oneshot;
use wgo_core::peer::CloseReason;
use wgo_proto::mse::Cipher;
use wgo_proto::wire::message::block_header;
use wgo_proto::{BLOCK_LEN, Block};

use super::{Connection, Progress, gone};
use crate::files::{DiskError, HEADER_LEN, Nowait, wire_len};
use crate::shaper::Flow;

/// Most payload in a batch (DESIGN: 256 KiB).
const MAX_BATCH: u32 = 256 * 1024;
/// Least payload that a batch is shrunk to for a socket that takes little.
const MIN_BATCH: u32 = BLOCK_LEN;
/// Batches after which a connection that still has more lets others go first.
const TURN: u32 = 4;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes on their way out.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Bytes that have left.
    at: usize,
    shape: Shape,
}

/// What a batch consists of: `control` bytes that no limit applies to, then blocks with headers.
#[derive(Clone, Copy, Default)]
struct Shape {
    control: usize,
    blocks: usize,
    payload: u64,
    /// Payload already told to the Swarm.
    told: u64,
}

/// What a storage thread answers.
type ReadResult = Result<Vec<u8>, DiskError>;

pub(super) struct Sender {
    flow: Flow,
    batch: Option<Batch>,
    /// A read under way, and what it is for.
    reading: Option<(oneshot::Receiver<ReadResult>, Vec<Block>)>,
    read: Option<ReadResult>,
    /// Blocks pulled but not read yet, in order.
    pulled: Vec<Block>,
    batch_limit: u32,
    cipher: Option<Box<Cipher>>,
}

impl Sender {
    pub(super) fn new(flow: Flow, cipher: Option<Box<Cipher>>) -> Sender {
        Sender {
            flow,
            batch: None,
            reading: None,
            read: None,
            pulled: Vec::new(),
            batch_limit: MIN_BATCH * 4,
            cipher,
        }
    }

    /// Resolves when a read that is under way ends; never without one.
    pub(super) async fn read_done(&mut self) {
        if self.read.is_some() {
            // It has ended, and waits for the batch before to leave; it must not be polled again.
            return std::future::pending().await;
        }
        let Some((answer, _)) = &mut self.reading else { return std::future::pending().await };
        self.read = Some(answer.await.unwrap_or_else(|_| Err(DiskError::stopped())));
    }

    /// Sends until the socket is full, nothing is left, or a turn is over.
    pub(super) fn pump(&mut self, connection: &Connection) -> Result<Progress, CloseReason> {
        for _ in 0..TURN {
            if let Some(mut batch) = self.batch.take() {
                let bytes = std::mem::take(&mut batch.bytes);
                let done = self.write(connection, &bytes, &mut batch.at, &mut batch.shape)?;
                if let Some(progress) = done {
                    batch.bytes = bytes;
                    self.batch = Some(batch);
                    return Ok(progress);
                }
            }
            if !self.take_read(connection)? {
                match self.next_batch(connection)? {
                    Some(progress) => return Ok(progress),
                    None => continue,
                }
            }
        }
        Ok(Progress::More)
    }

    /// A finished read becomes the batch.
    fn take_read(&mut self, connection: &Connection) -> Result<bool, CloseReason> {
        let Some(result) = self.read.take() else { return Ok(false) };
        let Some((_, mut blocks)) = self.reading.take() else { return Ok(false) };
        connection.torrent.call(|swarm, _| swarm.refuse_lost(connection.key, &mut blocks))?;
        match result {
            // They are all of one piece.
            Ok(_) if blocks.is_empty() => return Ok(false),
            Ok(mut bytes) => {
                write_headers(&blocks, &mut bytes);
                self.encrypt(&mut bytes);
                let shape = shape_of(0, &blocks);
                self.batch = Some(Batch { bytes, at: 0, shape });
            }
            Err(error) => self.read_failed(connection, &blocks, error)?,
        }
        Ok(true)
    }

    fn read_failed(
        &mut self,
        connection: &Connection,
        blocks: &[Block],
        error: DiskError,
    ) -> Result<(), CloseReason> {
        connection.torrent.call(|swarm, _| {
            for block in blocks {
                swarm.on_upload_failed(connection.key, *block);
            }
        })?;
        connection.engine.report_read_error(&connection.torrent, error);
        Ok(())
    }

    /// Pulls, reads and writes one batch. `Some` when nothing more can be done now.
    fn next_batch(&mut self, connection: &Connection) -> Result<Option<Progress>, CloseReason> {
        let busy = self.reading.is_some();
        let budget = if busy || !self.pulled.is_empty() { 0 } else { self.budget(connection)? };
        let (mut control, mut pulled) = (Vec::new(), std::mem::take(&mut self.pulled));
        connection
            .torrent
            .call(|swarm, now| swarm.poll_transmit(now, connection.key, budget, &mut control, &mut pulled))?;
        if control.is_empty() && (pulled.is_empty() || busy) {
            self.pulled = pulled;
            self.flow.rest();
            return Ok(Some(Progress::Waiting));
        }
        let run = if busy { 0 } else { run_len(&pulled) };
        let rest = pulled.split_off(run);
        self.pulled = rest;
        SCRATCH.with_borrow_mut(|scratch| self.send_run(connection, scratch, &control, pulled))
    }

    /// Payload bytes to pull now.
    fn budget(&mut self, connection: &Connection) -> Result<u64, CloseReason> {
        let backlog = connection.torrent.call(|swarm, _| swarm.upload_backlog(connection.key))?;
        let want = backlog.min(u64::from(self.batch_limit)) as u32;
        Ok(if want == 0 { 0 } else { u64::from(self.flow.allowance(want)) })
    }

    /// Sends control bytes and a run of blocks, reading the blocks from memory or asking for a read.
    fn send_run(
        &mut self,
        connection: &Connection,
        scratch: &mut Vec<u8>,
        control: &[u8],
        mut run: Vec<Block>,
    ) -> Result<Option<Progress>, CloseReason> {
        let most = control.len() + wire_len(&run);
        if scratch.len() < most {
            // What the batch before left there is written over: never cleared.
            scratch.resize(most, 0);
        }
        let (head, body) = scratch[..most].split_at_mut(control.len());
        head.copy_from_slice(control);
        let mut len = most;
        if !run.is_empty() {
            let doubtful = run.first().is_some_and(|block| connection.torrent.is_unverified(block.piece));
            let read = match connection.torrent.files().filter(|_| !doubtful) {
                Some(files) => files.read_run_nowait(&run, body),
                None => Nowait::Miss,
            };
            let ready = match &read {
                Nowait::Done(n) => *n,
                Nowait::Miss | Nowait::Failed(_) => 0,
            };
            let missed = run.split_off(ready);
            len = control.len() + wire_len(&run);
            write_headers(&run, body);
            match read {
                Nowait::Failed(error) => self.read_failed(connection, &missed, error)?,
                _ if !missed.is_empty() => {
                    self.reading =
                        Some((connection.engine.read_blocks(&connection.torrent, &missed), missed));
                }
                _ => {}
            }
        }
        let mut shape = shape_of(control.len(), &run);
        let mut at = 0;
        let bytes = &mut scratch[..len];
        self.encrypt(bytes);
        let progress = self.write(connection, bytes, &mut at, &mut shape)?;
        if progress.is_some() {
            self.batch = Some(Batch { bytes: bytes.to_vec(), at, shape });
        }
        self.adapt(at, len);
        Ok(progress)
    }

    /// Encrypts a batch that is complete, if the connection is encrypted.
    fn encrypt(&mut self, batch: &mut [u8]) {
        if let Some(cipher) = &mut self.cipher {
            cipher.apply(batch);
        }
    }

    /// A batch that the socket took whole may grow; one of which most was left shrinks.
    fn adapt(&mut self, sent: usize, of: usize) {
        if sent == of {
            self.batch_limit = (self.batch_limit * 2).min(MAX_BATCH);
        } else if sent < of / 2 {
            self.batch_limit = (self.batch_limit / 2).max(MIN_BATCH);
        }
    }

    /// Writes as much as the socket and the limit allow. `None` when all has left.
    fn write(
        &mut self,
        connection: &Connection,
        bytes: &[u8],
        at: &mut usize,
        shape: &mut Shape,
    ) -> Result<Option<Progress>, CloseReason> {
        while *at < bytes.len() {
            let free = shape.control.saturating_sub(*at);
            let want = bytes.len() - *at - free;
            let allowed = if want > 0 { self.flow.allowance(want as u32) as usize } else { 0 };
            if free + allowed == 0 {
                return Ok(Some(Progress::Waiting));
            }
            match connection.transport.try_write(&bytes[*at..*at + free + allowed]) {
                Ok(n) => {
                    *at += n;
                    self.flow.charge(n.saturating_sub(free));
                    tell_sent(connection, bytes.len(), *at, shape)?;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.flow.rest();
                    return Ok(Some(Progress::Blocked));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(gone(&e)),
            }
        }
        self.flow.refund(shape.blocks * HEADER_LEN);
        Ok(None)
    }
}

/// Tells the Swarm of payload that left: exact at the end of a batch, in proportion before.
fn tell_sent(connection: &Connection, len: usize, at: usize, shape: &mut Shape) -> Result<(), CloseReason> {
    let (sent, all) = ((at.saturating_sub(shape.control)) as u64, (len - shape.control) as u64);
    if all == 0 || sent == 0 {
        return Ok(());
    }
    let payload = sent * shape.payload / all;
    let news = payload - shape.told;
    shape.told = payload;
    if news > 0 {
        connection.torrent.call(|swarm, now| swarm.on_uploaded(now, connection.key, news))?;
    }
    Ok(())
}

fn shape_of(control: usize, blocks: &[Block]) -> Shape {
    let payload = blocks.iter().map(|block| u64::from(block.len)).sum();
    Shape { control, blocks: blocks.len(), payload, told: 0 }
}

/// Puts each block's header into the gap before its payload.
fn write_headers(blocks: &[Block], out: &mut [u8]) {
    let mut rest = out;
    for block in blocks {
        let (frame, after) = rest.split_at_mut((HEADER_LEN + block.len as usize).min(rest.len()));
        if let Some(header) = frame.get_mut(..HEADER_LEN) {
            header.copy_from_slice(&block_header(*block));
        }
        rest = after;
    }
}

/// How many of the first blocks follow one another in one piece.
fn run_len(blocks: &[Block]) -> usize {
    let follows = |pair: &[Block]| match pair {
        [a, b] => a.piece == b.piece && a.offset.checked_add(a.len) == Some(b.offset),
        _ => false,
    };
    blocks.len().min(1 + blocks.windows(2).take_while(|pair| follows(pair)).count())
}
