//! Verification of what is on disk: whole torrents or some pieces, on all storage threads of a device.
//!
//! A check is worked on batch by batch in the device's background queue, so that payload jobs pass it.
//! Pieces with bytes in a missing or short file are missing at once; pieces that lie in holes are
//! compared with the hash of zeros, which is computed once.
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use wgo_hash::piece::{Digests, PieceHasher, update_all, wanted};
use wgo_hash::{MAX_LANES, lanes};
use wgo_proto::layout::Span;
use wgo_proto::{FileIndex, PieceIndex};

use super::error::{DiskError, DiskOp};
use super::job::Done;
use super::piece_reader::{READ_LEN, read_piece};
use super::pulled::{Pulled, pull};
use super::scratch::Scratch;
use super::torrent::TorrentFiles;

/// Bytes that a thread checks before it looks for other work: long enough to read in sequence, short
/// enough that a store waits a few tens of milliseconds.
const BATCH_LEN: u64 = 8 * 1024 * 1024;
/// Bytes that a thread checks for the sake of full lanes, where pieces are large.
const MOST_LEN: u64 = 64 * 1024 * 1024;

/// Bytes per second that disks which turn stay below: what claims to be one and is faster (a virtual machine's
/// disk says so often) is read by all threads.
const SLOW: f64 = 300e6;

/// One place for each piece that is hashed with others.
type Lanes<T> = SmallVec<[T; MAX_LANES]>;

/// Whether a piece is good; `None` while that is not known.
type Verdict = Result<Option<bool>, DiskError>;

/// Which pieces to check.
#[derive(Clone, Debug)]
pub enum CheckPieces {
    /// These, by index.
    Range(Range<u32>),
    /// These.
    List(Arc<[PieceIndex]>),
}

impl CheckPieces {
    fn len(&self) -> usize {
        match self {
            CheckPieces::Range(range) => range.len(),
            CheckPieces::List(list) => list.len(),
        }
    }

    fn at(&self, position: usize) -> PieceIndex {
        match self {
            CheckPieces::Range(range) => PieceIndex(range.start + position as u32),
            CheckPieces::List(list) => list.get(position).copied().unwrap_or(PieceIndex(u32::MAX)),
        }
    }
}

/// One piece's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The piece.
    pub piece: PieceIndex,
    /// Whether the disk holds it whole and right.
    pub good: bool,
}

/// How a check ended. Verdicts went to its `progress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// All pieces have their verdict. A piece that couldn't be read isn't good; the first error says why.
    Finished(Option<DiskError>),
    /// It was cancelled, the torrent closed, or the storage was stopped.
    Cancelled,
}

/// What receives verdicts, a batch at a time, from several storage threads at once.
pub type OnChecked = Box<dyn Fn(&[Checked]) + Send + Sync>;

/// A check to be done: what [`Job::Check`](super::Job::Check) takes.
pub struct Check {
    pub(super) torrent: Arc<TorrentFiles>,
    pieces: CheckPieces,
    progress: OnChecked,
    cancel: Arc<AtomicBool>,
    /// Lengths of the files on disk, `None` for a missing one; known after the first step.
    lens: OnceLock<Box<[Option<u64>]>>,
    /// The first piece that no thread has taken, as a position in `pieces`.
    next: AtomicUsize,
    /// Pieces that have no verdict yet.
    left: AtomicUsize,
    /// What a whole piece of zeros hashes to.
    zeros: OnceLock<Digests>,
    /// Memory to read into, left by threads for the next ones. Bounded by the threads.
    scratches: Mutex<Vec<Lanes<Scratch>>>,
    /// Held by the thread that pulls what it reads next: the device reads in one sequence.
    pulling: Mutex<()>,
    /// See [`is_slow`](Self::is_slow).
    slow: AtomicBool,
    error: Mutex<Option<DiskError>>,
    done: Mutex<Option<Done<CheckOutcome>>>,
}

/// How a batch was read.
#[derive(Default)]
struct Reading {
    bytes: usize,
    took: Duration,
}

impl Reading {
    /// Whether all of the `threads` that read like this one are together slower than [`SLOW`].
    fn is_slow(&self, threads: usize) -> bool {
        ((self.bytes * threads) as f64) < SLOW * self.took.as_secs_f64()
    }
}

/// What a storage thread found to do.
pub(super) enum Claim {
    /// Look at the files; nobody else can do anything before.
    Prepare,
    /// Check these positions; there may be more for other threads.
    Batch(Range<usize>),
    /// Nothing is left to begin.
    Nothing,
}

impl Check {
    /// A check of `pieces`. `progress` gets every verdict, `cancel` ends it early when it is set, then
    /// `done` is called.
    pub fn new(
        torrent: Arc<TorrentFiles>,
        pieces: CheckPieces,
        progress: OnChecked,
        cancel: Arc<AtomicBool>,
        done: Done<CheckOutcome>,
    ) -> Check {
        let left = AtomicUsize::new(pieces.len());
        Check {
            torrent,
            pieces,
            progress,
            cancel,
            lens: OnceLock::new(),
            next: AtomicUsize::new(0),
            left,
            zeros: OnceLock::new(),
            scratches: Mutex::default(),
            pulling: Mutex::default(),
            slow: AtomicBool::new(false),
            error: Mutex::new(None),
            done: Mutex::new(Some(done)),
        }
    }

    /// Takes the next work. After [`Claim::Prepare`] nothing may be claimed until that is done.
    pub(super) fn claim(&self) -> Claim {
        if self.lens.get().is_none() {
            return Claim::Prepare;
        }
        let piece_len = u64::from(self.torrent.layout().nominal_piece_len()).max(1);
        let within = |len: u64| usize::try_from(len / piece_len).unwrap_or(usize::MAX).max(1);
        // What is slow leaves no time to fill lanes: a store would wait for it.
        let most = if self.is_slow() { BATCH_LEN } else { MOST_LEN };
        let batch = within(BATCH_LEN).max(lanes().min(within(most)));
        let start = self.next.fetch_add(batch, Ordering::Relaxed);
        if start >= self.pieces.len() {
            return Claim::Nothing;
        }
        Claim::Batch(start..(start + batch).min(self.pieces.len()))
    }

    /// Looks at the files.
    pub(super) fn prepare(&self) {
        let Some(_gate) = self.torrent.enter() else { return self.end() };
        let files = self.torrent.info.files.len() as u32;
        let lens = (0..files).map(|file| self.len_on_disk(FileIndex(file))).collect();
        let first = self.lens.set(lens).is_ok();
        if first && self.pieces.len() == 0 {
            self.end();
        }
    }

    fn len_on_disk(&self, file: FileIndex) -> Option<u64> {
        if self.torrent.entry(file).is_none_or(|entry| entry.pad || entry.len == 0) || self.is_over() {
            return None;
        }
        match self.torrent.stat(file) {
            Ok(stamp) => stamp.map(|stamp| stamp.len),
            Err(e) => {
                self.note(e);
                None
            }
        }
    }

    /// Whether the device brought the last batch so slowly that hashing costs no time beside it.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Checks a batch as one of so many threads: several pieces in step, unless they are to be read in one
    /// `sequence` and are longer than a read.
    pub(super) fn run(&self, batch: Range<usize>, threads: usize, sequence: bool) {
        let count = batch.len();
        if let Some(_gate) = self.torrent.enter() {
            let mut scratches = self.take_scratches();
            let mut checked = Vec::with_capacity(count);
            let mut reading = Reading::default();
            let pieces: Vec<PieceIndex> = batch.map(|position| self.pieces.at(position)).collect();
            let _pulled = self.pull(&pieces, &mut reading);
            let long = self.torrent.layout().nominal_piece_len() as usize > READ_LEN;
            for group in pieces.chunks(if sequence && long { 1 } else { scratches.len() }) {
                if self.is_over() {
                    break;
                }
                checked.extend(self.judge(group, &mut scratches, &mut reading));
            }
            self.slow.store(reading.is_slow(threads), Ordering::Relaxed);
            self.torrent.cx.hashed.fetch_add(reading.bytes as u64, Ordering::Relaxed);
            if !checked.is_empty() {
                (self.progress)(&checked);
            }
            self.scratches().push(scratches);
        }
        if self.left.fetch_sub(count, Ordering::AcqRel) == count {
            self.end();
        }
    }

    /// Brings what is to be read of the pieces into memory, if that is a good way to read it.
    fn pull(&self, pieces: &[PieceIndex], time: &mut Reading) -> Pulled<'_> {
        let layout = self.torrent.layout();
        let spans =
            pieces.iter().flat_map(|piece| self.torrent.info.spans(*piece, 0, layout.piece_len(*piece)));
        let spans = spans.filter(|span| self.is_on_disk(*span));
        let _turn = self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        let pulled = pull(&self.torrent, spans, || self.is_over());
        time.took += begun.elapsed();
        pulled
    }

    /// Memory for a thread: that of one that is done with it, or fresh.
    fn take_scratches(&self) -> Lanes<Scratch> {
        let used = self.scratches().pop();
        used.unwrap_or_else(|| (0..lanes()).map(|_| Scratch::new()).collect())
    }

    fn scratches(&self) -> MutexGuard<'_, Vec<Lanes<Scratch>>> {
        self.scratches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was told to end early.
    fn is_over(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || self.torrent.is_closing()
    }

    /// Reports the end, once.
    fn end(&self) {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            let over = self.is_over();
            done.call(if over { CheckOutcome::Cancelled } else { CheckOutcome::Finished(error) });
        }
    }

    fn note(&self, error: DiskError) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Verdicts on a few pieces, in their order.
    fn judge(
        &self,
        pieces: &[PieceIndex],
        scratches: &mut [Scratch],
        time: &mut Reading,
    ) -> impl Iterator<Item = Checked> {
        let verdicts = self.verify_each(pieces, scratches, time);
        pieces.iter().zip(verdicts).map(|(&piece, verdict)| {
            let good = match verdict {
                Ok(verdict) => verdict == Some(true),
                // It went away since the check began: that piece isn't there, and nothing is wrong.
                Err(e) if e.is_lost_data() => false,
                Err(e) => {
                    self.note(e);
                    false
                }
            };
            if !good {
                self.torrent.forget_cached(piece);
            }
            Checked { piece, good }
        })
    }

    /// Reads pieces in step and hashes them together. None of the verdicts is left open.
    fn verify_each(
        &self,
        pieces: &[PieceIndex],
        scratches: &mut [Scratch],
        time: &mut Reading,
    ) -> Lanes<Verdict> {
        let info = &self.torrent.info;
        let mut verdicts: Lanes<Verdict> = pieces.iter().map(|piece| self.known_unread(*piece)).collect();
        let mut reading: Lanes<_> = SmallVec::new();
        for (((lane, piece), scratch), verdict) in (0..).zip(pieces).zip(scratches).zip(&verdicts) {
            if matches!(verdict, Ok(None)) {
                let reader = read_piece(&self.torrent, *piece, scratch);
                reading.push((lane, reader, PieceHasher::of(info, *piece)));
            }
        }
        while !reading.is_empty() {
            {
                let (mut verifiers, mut inputs): (Lanes<&mut PieceHasher>, Lanes<&[u8]>) = Default::default();
                let begun = Instant::now();
                for (lane, reader, verifier) in &mut reading {
                    inputs.push(reader.next_portion().unwrap_or_else(|e| {
                        verdicts[*lane] = Err(e);
                        &[]
                    }));
                    verifiers.push(verifier);
                }
                time.took += begun.elapsed();
                time.bytes += inputs.iter().map(|input| input.len()).sum::<usize>();
                update_all(&mut verifiers, &inputs);
            }
            let (ended, rest): (Lanes<_>, Lanes<_>) = reading
                .into_iter()
                .partition(|(lane, reader, _)| reader.is_done() || verdicts[*lane].is_err());
            for (lane, _, verifier) in ended {
                if verdicts[lane].is_ok() {
                    verdicts[lane] = Ok(Some(wanted(info, pieces[lane]) == Some(verifier.finish())));
                }
            }
            reading = rest;
        }
        verdicts
    }

    /// The verdict on a piece, if it is clear without a look at its bytes.
    fn known_unread(&self, piece: PieceIndex) -> Verdict {
        let layout = self.torrent.layout();
        let want = wanted(&self.torrent.info, piece);
        let mut whole = self.torrent.info.spans(piece, 0, layout.piece_len(piece));
        if want.is_none() || !whole.all(|span| self.is_on_disk(span)) {
            return Ok(Some(false));
        }
        Ok(if self.is_hole(piece)? { Some(want == Some(self.zeros(piece))) } else { None })
    }

    /// Whether the file is long enough for its share of a piece.
    fn is_on_disk(&self, span: Span) -> bool {
        let len = self.lens.get().and_then(|lens| *lens.get(span.file.0 as usize)?);
        self.torrent.is_pad(span.file) || len.is_some_and(|len| len >= span.offset + u64::from(span.len))
    }

    /// Whether all of the piece lies in holes of its files.
    fn is_hole(&self, piece: PieceIndex) -> Result<bool, DiskError> {
        let layout = self.torrent.layout();
        for span in self.torrent.info.spans(piece, 0, layout.piece_len(piece)) {
            if self.torrent.is_pad(span.file) {
                continue;
            }
            let handle = self.torrent.handle_to_read(span.file)?;
            let data = self.torrent.cx.disk.next_data(&handle, span.offset);
            let data = data.map_err(|e| DiskError::new(DiskOp::Read, self.torrent.path(span.file), &e))?;
            if data.is_some_and(|at| at < span.offset + u64::from(span.len)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the piece would hash to if it were all zeros.
    fn zeros(&self, piece: PieceIndex) -> Digests {
        let layout = self.torrent.layout();
        let len = layout.piece_len(piece);
        let compute = || {
            let mut verifier = PieceHasher::of(&self.torrent.info, piece);
            verifier.update_zeros(len as usize);
            verifier.finish()
        };
        let subtree = self.torrent.info.hashes.v2(piece);
        let usual = len == layout.nominal_piece_len() && subtree.is_none_or(|tree| tree.len == len);
        if usual { *self.zeros.get_or_init(compute) } else { compute() }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({:?}, {:?})", self.torrent.id(), self.pieces)
    }
}
