//! Work of a node's disk: pieces to hash and write, blocks to spill, blocks to read, files to sync.
//! Each is a few operations submitted through the `Disk` trait, which come back when they like.
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::sync::PoisonError;

use wgo_core::TorrentId;
use wgo_core::piece_mgr::BadBlocks;
use wgo_core::session::{Fault, FaultKind};
use wgo_core::smart_ban::Digest;
use wgo_core::swarm::PieceOutcome;
use wgo_proto::layout::Span;
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PieceIndex};
use wgod::files::disk::{Completion, Output};
use wgod::files::{Bufs, Disk, Op};

use crate::sim::disk::NO_SPACE;
use crate::sim::link::{EndId, NodeId};
use crate::sim::node::Payload;
use crate::sim::world::{Event, World};

/// What is to be done.
pub enum Task {
    /// Reads back what was spilled, hashes, writes.
    Store { piece: PieceIndex, blocks: Vec<Option<Payload>> },
    /// Writes blocks early.
    Spill { piece: PieceIndex, blocks: Vec<(u32, Payload)> },
    /// Reads blocks for a peer.
    Upload { end: EndId, blocks: Vec<Block> },
    /// Makes what is had now durable.
    Sync { have: Bitfield },
}

/// A task under way.
pub struct Job {
    torrent: TorrentId,
    epoch: u32,
    task: Task,
    /// Operations under way.
    waiting: usize,
    /// A store's second half: it writes.
    writing: bool,
    failed: Option<io::Error>,
    /// What was read, by the number of the operation.
    read: BTreeMap<usize, Payload>,
}

impl World {
    /// Begins a task.
    pub fn start(&mut self, node: NodeId, torrent: TorrentId, task: Task) {
        let epoch = self.epoch(node, torrent);
        let (read, writing) = (BTreeMap::new(), false);
        let job = Job { torrent, epoch, task, waiting: 0, writing, failed: None, read };
        let one = &mut self.nodes[node];
        let number = one.next_job;
        one.next_job += 1;
        one.jobs.insert(number, job);
        self.begin(node, number);
        self.todo.push_back(crate::sim::world::Todo::Jobs(node));
    }

    /// Submits the first operations of a job.
    fn begin(&mut self, node: NodeId, number: u64) {
        let Some(job) = self.nodes[node].jobs.get(&number) else { return };
        let torrent = job.torrent;
        let layout = self.content(torrent).layout.clone();
        let mut ops = Vec::new();
        let hashes = matches!(job.task, Task::Store { .. });
        match &job.task {
            Task::Store { piece, blocks } => {
                for (at, _) in blocks.iter().enumerate().filter(|(_, block)| block.is_none()) {
                    let block = layout.block(*piece, at as u32);
                    ops.extend(layout.spans(*piece, block.offset, block.len).map(|span| (span, None)));
                }
            }
            Task::Spill { piece, blocks } => {
                for (at, payload) in blocks {
                    let block = layout.block(*piece, *at);
                    let mut from = 0;
                    for span in layout.spans(*piece, block.offset, block.len) {
                        ops.push((span, Some(payload[from..from + span.len as usize].to_vec())));
                        from += span.len as usize;
                    }
                }
            }
            Task::Upload { blocks, .. } => {
                for block in blocks {
                    let spans = layout.spans(block.piece, block.offset, block.len);
                    ops.extend(spans.map(|span| (span, None)));
                }
            }
            Task::Sync { .. } => {
                for file in self.nodes[node].torrents[&torrent].files.clone() {
                    self.submit(node, number, usize::MAX, Op::SyncData(file));
                }
            }
        }
        if hashes {
            // Hashing waits for its turn too; a look at a file stands for that.
            let file = self.nodes[node].torrents[&torrent].files[0].clone();
            self.submit(node, number, usize::MAX, Op::StatHandle(file));
        }
        self.submit_spans(node, number, ops);
    }

    fn submit_spans(&mut self, node: NodeId, number: u64, ops: Vec<(Span, Option<Payload>)>) {
        let torrent = self.nodes[node].jobs[&number].torrent;
        for (at, (span, payload)) in ops.into_iter().enumerate() {
            let file = self.nodes[node].torrents[&torrent].files[span.file.0 as usize].clone();
            let op = match payload {
                Some(bytes) => Op::Write { file, offset: span.offset, bufs: Bufs::bytes(bytes) },
                None => {
                    let bufs = Bufs::bytes(vec![0; span.len as usize]);
                    Op::Read { file, offset: span.offset, bufs }
                }
            };
            self.submit(node, number, at, op);
        }
    }

    fn submit(&mut self, node: NodeId, number: u64, at: usize, op: Op) {
        let one = &mut self.nodes[node];
        if let Some(job) = one.jobs.get_mut(&number) {
            job.waiting += 1;
        }
        let done = one.done.clone();
        let finish = move |completion| {
            done.lock().unwrap_or_else(PoisonError::into_inner).push_back((number, at, completion));
        };
        let slowest = if matches!(op, Op::SyncData(_)) { 3000 } else { one.habits.disk_millis };
        one.disk.submit(op, Box::new(finish));
        for operation in self.nodes[node].disk.submitted() {
            let wait = self.millis(0, slowest);
            self.after(wait, Event::Disk(node, operation));
        }
    }

    /// Looks at operations that happened and at jobs that had none to wait for.
    pub fn reap_jobs(&mut self, node: NodeId) {
        let done: VecDeque<_> = {
            let mut done = self.nodes[node].done.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *done)
        };
        for (number, at, completion) in done {
            self.collect(node, number, at, completion);
        }
        loop {
            let idle = self.nodes[node].jobs.iter().find(|(_, job)| job.waiting == 0).map(|(n, _)| *n);
            let Some(number) = idle else { return };
            self.advance(node, number);
        }
    }

    fn collect(&mut self, node: NodeId, number: u64, at: usize, completion: Completion) {
        let Some(job) = self.nodes[node].jobs.get_mut(&number) else { return };
        job.waiting -= 1;
        match completion.result {
            Ok(Output::Moved(moved)) => {
                let bufs = completion.bufs.expect("reads and writes give their buffers back");
                assert_eq!(moved, bufs.window().len(), "the simulated disk reads and writes in full");
                job.read.insert(at, bufs.into_bytes());
            }
            Ok(_) => {}
            Err(e) => job.failed = Some(e),
        }
    }

    /// A job's operations are done: hashes and writes, or reports.
    fn advance(&mut self, node: NodeId, number: u64) {
        let Some(mut job) = self.nodes[node].jobs.remove(&number) else { return };
        if let Task::Store { piece, blocks } = &job.task
            && !job.writing
            && job.failed.is_none()
        {
            let bytes = whole_piece(&self.content(job.torrent).layout, *piece, blocks, &job.read);
            let right = self.content(job.torrent).is_good(*piece, &bytes);
            self.on_digests(node, &job, *piece, right, blocks, &bytes);
            self.note_verdict(node, job.torrent, *piece, right, blocks);
            if !right {
                let outcome = PieceOutcome::BadHash(BadBlocks::All);
                return self.on_piece(node, &job, *piece, outcome);
            }
            let layout = self.content(job.torrent).layout.clone();
            let (mut at, mut ops) = (0, Vec::new());
            for span in layout.spans(*piece, 0, layout.piece_len(*piece)) {
                ops.push((span, Some(bytes[at..at + span.len as usize].to_vec())));
                at += span.len as usize;
            }
            job.writing = true;
            job.read.clear();
            self.nodes[node].jobs.insert(number, job);
            return self.submit_spans(node, number, ops);
        }
        self.finish(node, job);
    }

    fn finish(&mut self, node: NodeId, mut job: Job) {
        let (torrent, ok) = (job.torrent, job.failed.is_none());
        if let Some(error) = job.failed.take() {
            self.disk_failed(node, torrent, &error);
        }
        match std::mem::replace(&mut job.task, Task::Sync { have: Bitfield::new(0) }) {
            Task::Store { piece, .. } => {
                let outcome = if ok { PieceOutcome::Stored } else { PieceOutcome::DiskFailed };
                self.on_piece(node, &job, piece, outcome);
            }
            Task::Spill { piece, .. } => {
                if self.epoch(node, torrent) == job.epoch {
                    self.call(node, torrent, |swarm, now| swarm.on_spilled(now, piece, ok));
                }
            }
            Task::Upload { end, blocks } => {
                let mut read = job.read.into_values();
                let layout = self.content(torrent).layout.clone();
                let mut answer = Vec::new();
                for block in blocks {
                    let spans = layout.spans(block.piece, block.offset, block.len).count();
                    let payload: Payload = read.by_ref().take(spans).collect::<Vec<_>>().concat();
                    answer.push((block, ok.then_some(payload)));
                }
                self.send_blocks(end, answer);
            }
            Task::Sync { have } => self.synced(node, torrent, job.epoch, have, ok),
        }
    }

    /// As the daemon's storage threads do it, though for right pieces without being asked.
    fn on_digests(
        &mut self,
        node: NodeId,
        job: &Job,
        piece: PieceIndex,
        right: bool,
        blocks: &[Option<Payload>],
        bytes: &[u8],
    ) {
        // With the same key in every run, so that a run can be repeated.
        let digest = |block: &[u8]| Digest(BuildHasherDefault::<DefaultHasher>::new().hash_one(block));
        // What was read back is known to be as it was sent only once it is right.
        let read = bytes.chunks(BLOCK_LEN as usize);
        let digests: Vec<_> = blocks
            .iter()
            .zip(read)
            .map(|(block, read)| block.as_deref().or(right.then_some(read)).map(digest))
            .collect();
        if self.epoch(node, job.torrent) == job.epoch {
            self.call(node, job.torrent, |swarm, now| swarm.on_digests(now, piece, right, &digests));
        }
    }

    fn on_piece(&mut self, node: NodeId, job: &Job, piece: PieceIndex, outcome: PieceOutcome<Payload>) {
        self.note_outcome(node, job.torrent, piece, &outcome, self.epoch(node, job.torrent) == job.epoch);
        if self.epoch(node, job.torrent) == job.epoch {
            self.call(node, job.torrent, |swarm, now| swarm.on_piece(now, piece, outcome));
        }
    }

    fn disk_failed(&mut self, node: NodeId, torrent: TorrentId, error: &io::Error) {
        let full = error.raw_os_error() == Some(NO_SPACE);
        let kind = if full { FaultKind::DiskFull } else { FaultKind::Unreachable };
        self.stand(node, torrent, Fault { kind, message: error.to_string() });
    }

    /// Whether a piece is being hashed or written.
    pub fn is_storing(&self, node: NodeId) -> bool {
        self.nodes[node].jobs.values().any(|job| matches!(job.task, Task::Store { .. }))
    }

    /// Lets every job of a torrent end at once, as a clean stop waits for them.
    pub fn finish_jobs(&mut self, node: NodeId, torrent: TorrentId) {
        while self.nodes[node].jobs.values().any(|job| job.torrent == torrent) {
            let operations = self.nodes[node].disk.waiting();
            for operation in operations {
                self.nodes[node].disk.finish(operation);
            }
            self.reap_jobs(node);
        }
    }
}

/// The piece's bytes: what is in memory, and what was read back.
fn whole_piece(
    layout: &wgo_proto::layout::Layout,
    piece: PieceIndex,
    blocks: &[Option<Payload>],
    read: &BTreeMap<usize, Payload>,
) -> Payload {
    let mut read = read.values();
    let mut bytes = Payload::new();
    assert_eq!(blocks.len(), layout.blocks_in(piece) as usize);
    for (number, block) in (0..).zip(blocks) {
        let at = layout.block(piece, number);
        assert_eq!(at.offset, number * BLOCK_LEN);
        match block {
            Some(payload) => bytes.extend_from_slice(payload),
            None => {
                let spans = layout.spans(piece, at.offset, at.len).count();
                read.by_ref().take(spans).for_each(|share| bytes.extend_from_slice(share));
            }
        }
    }
    assert_eq!(bytes.len(), layout.piece_len(piece) as usize, "a complete piece has all its bytes");
    bytes
}
