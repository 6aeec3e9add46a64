//! Work of a node's disk: pieces to hash and write, blocks to spill, blocks to read, files to sync. The daemon's own
//! storage does it, a job at a time and at a simulated moment, on the simulated disk.
use std::sync::{Arc, Mutex, PoisonError};

use wgo_core::TorrentId;
use wgo_core::piece_mgr::BadBlocks;
use wgo_core::smart_ban::Digest;
use wgo_core::swarm::PieceOutcome;
use wgo_proto::{Bitfield, Block, PieceIndex};
use wgod::files::{
    BlockBuf, BufPool, DiskError, DiskErrorKind, Done, HEADER_LEN, Job as FileJob, Nowait, ReadOutcome,
    StoreOutcome, TorrentFiles, Unfinished, Witness, wire_len,
};
use wgod::session::of_disk;

use crate::sim::disk::Condition;
use crate::sim::link::{EndId, NodeId};
use crate::sim::node::Payload;
use crate::sim::world::{Event, World};

/// The longest that a sync takes, in milliseconds.
const SYNC_MILLIS: u64 = 3000;

/// What is to be done.
pub enum Task {
    /// Reads back what was spilled, hashes, writes.
    Store { piece: PieceIndex, blocks: Vec<Option<Payload>> },
    /// Writes blocks early.
    Spill { piece: PieceIndex, blocks: Vec<(u32, Payload)> },
    /// Reads blocks for a peer.
    Upload { end: EndId, blocks: Vec<Block> },
    /// Makes what is had now durable, and parts of other pieces.
    Sync { have: Bitfield, partials: Vec<(PieceIndex, Bitfield)> },
}

/// A task that waits for its turn.
pub struct Job {
    pub torrent: TorrentId,
    pub epoch: u32,
    files: Option<Arc<TorrentFiles>>,
    task: Task,
}

/// What a piece's witness said: whether it is right, and what its blocks are like.
type Heard = Arc<Mutex<Option<(bool, Vec<Option<Digest>>)>>>;

impl World {
    /// Queues a task.
    pub fn start(&mut self, node: NodeId, torrent: TorrentId, task: Task) {
        if self.scale.played_disks {
            return self.play_disk(node, torrent, task);
        }
        let disk = self.nodes[node].habits.disk_millis;
        let slowest = if matches!(task, Task::Sync { .. }) { SYNC_MILLIS } else { 2 * disk };
        let (wait, epoch) = (self.millis(0, slowest), self.epoch(node, torrent));
        let one = &mut self.nodes[node];
        let number = one.next_job;
        one.next_job += 1;
        let files = one.torrents.get(&torrent).and_then(|entry| entry.files.clone());
        one.jobs.insert(number, Job { torrent, epoch, files, task });
        self.after(wait, Event::Disk(node, number));
    }

    /// A job's turn has come; where the device hangs it waits until that answers.
    pub fn take_turn(&mut self, node: NodeId, number: u64) {
        let Some(torrent) = self.nodes[node].jobs.get(&number).map(|job| job.torrent) else { return };
        if self.condition(node, torrent) == Condition::Hung {
            self.nodes[node].owed.insert(number);
            return;
        }
        self.perform(node, number);
    }

    fn perform(&mut self, node: NodeId, number: u64) {
        let Some(Job { torrent, epoch, files, task }) = self.nodes[node].jobs.remove(&number) else { return };
        self.touched.insert((node, None));
        match task {
            Task::Store { piece, blocks } => self.store_piece(node, torrent, epoch, files, piece, blocks),
            Task::Spill { piece, blocks } => {
                let blocks = blocks.iter().map(|(at, block)| (*at, self.buf(node, block))).collect();
                let job = |torrent, done| FileJob::Spill { torrent, piece, blocks, done };
                let outcome: Result<(), DiskError> = self.run_job(node, files, job);
                let ok = outcome.is_ok();
                if !self.nodes[node].disk.is_dark() && self.epoch(node, torrent) == epoch {
                    self.call(node, torrent, |swarm, now| swarm.on_spilled(now, piece, ok));
                }
                self.report_disk_error(node, torrent, outcome.err());
            }
            Task::Upload { end, blocks } => self.read_for(node, torrent, files, end, blocks),
            Task::Sync { have, partials } => self.sync(node, torrent, epoch, files, have, partials),
        }
    }

    /// Runs a job of the daemon's storage now.
    pub fn run_job<T: Unfinished + Send + 'static>(
        &mut self,
        node: NodeId,
        files: Option<Arc<TorrentFiles>>,
        job: impl FnOnce(Arc<TorrentFiles>, Done<T>) -> FileJob,
    ) -> T {
        match files {
            Some(files) => self.run_on_disk(node, |done| job(files, done)),
            None => T::unfinished(),
        }
    }

    /// The same of one that is about no open torrent.
    pub fn run_on_disk<T: Unfinished + Send + 'static>(
        &mut self,
        node: NodeId,
        job: impl FnOnce(Done<T>) -> FileJob,
    ) -> T {
        let one = &self.nodes[node];
        one.disk.set_now(self.now);
        let outcome = Arc::new(Mutex::new(None));
        let tell = outcome.clone();
        let done = Done::new(move |ended| *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended));
        one.storage.run_here(job(done));
        let ended = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended.unwrap_or_else(T::unfinished)
    }

    fn buf(&self, node: NodeId, bytes: &[u8]) -> BlockBuf {
        filled(self.nodes[node].storage.pool(), bytes)
    }

    fn store_piece(
        &mut self,
        node: NodeId,
        torrent: TorrentId,
        epoch: u32,
        files: Option<Arc<TorrentFiles>>,
        piece: PieceIndex,
        blocks: Vec<Option<Payload>>,
    ) {
        let bufs: Vec<_> =
            blocks.iter().map(|block| block.as_ref().map(|bytes| self.buf(node, bytes))).collect();
        let heard = Heard::default();
        let tell = heard.clone();
        let witness = Witness::new(self.nodes[node].digest_key.clone(), true, move |right, digests| {
            *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some((right, digests.to_vec()));
        });
        let witness = Some(witness);
        let job = |torrent, done| FileJob::Store { torrent, piece, blocks: bufs, witness, done };
        let outcome: StoreOutcome = self.run_job(node, files, job);
        if self.nodes[node].disk.is_dark() {
            return;
        }
        let current = self.epoch(node, torrent) == epoch;
        let said = heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((right, digests)) = said {
            if current {
                self.call(node, torrent, |swarm, now| swarm.on_digests(now, piece, right, &digests));
            }
            self.note_verdict(node, torrent, piece, right, &blocks);
        }
        let (outcome, error) = match outcome {
            StoreOutcome::Stored => {
                self.note_stored(node, torrent, piece);
                (PieceOutcome::Stored, None)
            }
            StoreOutcome::BadHash => (PieceOutcome::BadHash(BadBlocks::All), None),
            StoreOutcome::Failed(error) => (PieceOutcome::DiskFailed, Some(error)),
        };
        self.note_outcome(node, torrent, piece, &outcome, current);
        if current {
            self.call(node, torrent, |swarm, now| swarm.on_piece(now, piece, outcome));
        }
        self.report_disk_error(node, torrent, error);
    }

    /// Reads blocks as a peer's task and a storage thread do it together: what is in memory, then the rest.
    fn read_for(
        &mut self,
        node: NodeId,
        torrent: TorrentId,
        files: Option<Arc<TorrentFiles>>,
        end: EndId,
        blocks: Vec<Block>,
    ) {
        let mut answer = Vec::new();
        let mut failed = None;
        for run in runs(&blocks) {
            let mut out = vec![0; wire_len(run)];
            let ready = match files.as_ref().map(|files| files.read_run_nowait(run, &mut out)) {
                Some(Nowait::Done(count)) => count,
                _ => 0,
            };
            let (now, later) = run.split_at(ready);
            let mut at = 0;
            let mut take = |out: &[u8], block: &Block, at: &mut usize| {
                *at += HEADER_LEN;
                let payload = out[*at..*at + block.len as usize].to_vec();
                *at += block.len as usize;
                answer.push((*block, Some(payload)));
            };
            now.iter().for_each(|block| take(&out, block, &mut at));
            if later.is_empty() {
                continue;
            }
            let (files, blocks) = (files.clone(), later.to_vec());
            let job = |torrent, done| FileJob::Read { torrent, blocks, out: Vec::new(), done };
            let read: ReadOutcome = self.run_job(node, files, job);
            let mut at = 0;
            match read.result {
                Ok(()) => later.iter().for_each(|block| take(&read.out, block, &mut at)),
                Err(error) => {
                    answer.extend(later.iter().map(|block| (*block, None)));
                    failed = Some(error);
                }
            }
        }
        if !self.nodes[node].disk.is_dark() {
            self.send_blocks(end, answer);
            self.report_disk_error(node, torrent, failed);
        }
    }

    /// What a failed access means for its torrent, as the shell's driver has it.
    pub fn report_disk_error(&mut self, node: NodeId, torrent: TorrentId, error: Option<DiskError>) {
        let Some(error) = error.filter(|_| !self.nodes[node].disk.is_dark()) else { return };
        if matches!(error.kind, DiskErrorKind::Changed | DiskErrorKind::Short) {
            let now = self.clock(node);
            self.nodes[node].session.on_changed(now, torrent);
            self.touched.insert((node, None));
        } else if let Some(fault) = of_disk(&error) {
            self.stand(node, torrent, fault);
        }
    }

    /// Whether a piece is being hashed or written.
    pub fn is_storing(&self, node: NodeId) -> bool {
        self.nodes[node].jobs.values().any(|job| matches!(job.task, Task::Store { .. }))
    }

    /// Lets every job of a torrent end at once, as a clean stop waits for them.
    pub fn finish_jobs(&mut self, node: NodeId, torrent: TorrentId) {
        loop {
            let of_it = |(_, job): &(&u64, &Job)| job.torrent == torrent;
            let next = self.nodes[node].jobs.iter().find(of_it).map(|(number, _)| *number);
            let Some(number) = next else { return };
            self.perform(node, number);
        }
    }
}

/// A block's bytes in a buffer as the daemon has them.
fn filled(pool: &BufPool, bytes: &[u8]) -> BlockBuf {
    let mut buf = pool.take().expect("there is memory for a block");
    buf.append(bytes);
    buf
}

/// Blocks that follow one another in a piece belong together.
fn runs(blocks: &[Block]) -> impl Iterator<Item = &[Block]> {
    blocks.chunk_by(|a, b| a.piece == b.piece && b.offset == a.offset + a.len)
}
