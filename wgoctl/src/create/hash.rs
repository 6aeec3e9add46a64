//! Hashes the pieces of a draft on all cores.
//!
//! A thread takes pieces in *runs*, as many at a time as the machine hashes together, and reads the runs in
//! step. So memory is bounded by threads and not by pieces, each read is long, and all are in the order of
//! the files, nearly. There are two threads a core, so that one hashes while the other waits for the device.
//!
//! A disk that turns is another matter: there one thread reads one run after the other, which is its fastest
//! way and costs no time beside it. What merely claims to turn, as disks of virtual machines do, is found
//! out by its rate.
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wgo_hash::lanes;
use wgo_hash::piece::{Digests, PieceHasher, ZEROS, update_all};
use wgo_proto::PieceIndex;
use wgo_proto::metainfo::draft::{Draft, Hashes, Part};

use super::read::{FromDevice, Opened, Window};
use super::walk::Found;
use crate::failure::Failure;

/// Bytes of a run where pieces are shorter: as long as the longest read.
const RUN: u32 = 1024 * 1024;
/// Bytes that a disk which claims to turn is judged by.
const TRIAL: u64 = 64 * 1024 * 1024;
/// Bytes per second that disks which turn stay below.
const SLOW: f64 = 300e6;
/// Threads for each core.
const THREADS_PER_CORE: usize = 2;
/// Threads at most: more are quicker than any device, and each has up to 8 MiB to read into.
const MAX_THREADS: usize = 32;

/// Everything that the threads share.
struct Work<'a> {
    draft: &'a Draft,
    found: &'a [Found],
    /// The first piece that nobody has taken.
    next: AtomicU32,
    /// Bytes of files that are hashed.
    done: AtomicU64,
    /// Something failed: nothing more is to be hashed.
    over: AtomicBool,
    /// Whether one thread reads alone.
    alone: Mutex<bool>,
    together: Condvar,
}

/// Hashes all pieces; `tick` is called with the bytes of files that are hashed, every `period`.
pub(super) fn pieces(
    draft: &Draft,
    found: &[Found],
    period: Duration,
    mut tick: impl FnMut(u64),
) -> Result<Hashes, Failure> {
    let count = draft.layout().piece_count() as usize;
    let mut hashes = Hashes::default();
    hashes.v1.resize(if draft.version().has_v1() { count } else { 0 }, [0; 20]);
    hashes.v2.resize(if draft.version().has_v2() { count } else { 0 }, [0; 32]);
    let devices: BTreeSet<u64> = found.iter().map(|file| file.stamp.device()).collect();
    let work = Work {
        draft,
        found,
        next: AtomicU32::new(0),
        done: AtomicU64::new(0),
        over: AtomicBool::new(false),
        alone: Mutex::new(devices.into_iter().any(is_rotational)),
        together: Condvar::new(),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let failure = thread::scope(|scope| {
        // As long as the results of pieces that are hashed; the receiver does nothing else.
        let (results, receiver) = mpsc::channel();
        for number in 0..(cores * THREADS_PER_CORE).min(MAX_THREADS) {
            let (work, results) = (&work, results.clone());
            scope.spawn(move || work.run(number, &results));
        }
        drop(results);
        let (mut failure, mut ticked) = (None, Instant::now());
        loop {
            match receiver.recv_timeout(period) {
                Ok(Ok((first, digests))) => store(&mut hashes, first, digests),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return failure,
            }
            if ticked.elapsed() >= period {
                ticked = Instant::now();
                tick(work.done.load(Ordering::Relaxed));
            }
        }
    });
    match failure {
        Some(failure) => Err(failure),
        None => Ok(hashes),
    }
}

fn store(hashes: &mut Hashes, first: u32, digests: Vec<Digests>) {
    for (at, digests) in (first as usize..).zip(digests) {
        if let (Some(slot), Some(hash)) = (hashes.v1.get_mut(at), digests.v1) {
            *slot = hash;
        }
        if let (Some(slot), Some(hash)) = (hashes.v2.get_mut(at), digests.v2) {
            *slot = hash;
        }
    }
}

/// The first piece of a run and what its pieces hash to; or why there is no more.
type Outcome = Result<(u32, Vec<Digests>), Failure>;

impl Work<'_> {
    /// One thread.
    fn run(&self, number: usize, results: &Sender<Outcome>) {
        // Merkle trees alone need no company: the blocks of one piece are hashed together.
        let lanes = if self.draft.version().has_v1() { lanes() } else { 1 };
        let mut windows: Vec<Window> = (0..lanes).map(|_| Window::new()).collect();
        let mut recent = None;
        let mut device = FromDevice::default();
        while !self.over.load(Ordering::Relaxed) {
            let alone = self.wait_for_turn(number);
            let wanted = if alone { 1 } else { windows.len() };
            let mut runs = Vec::new();
            for window in windows.iter_mut().take(wanted) {
                runs.extend(self.take().map(|pieces| Run::new(self, pieces, window)));
            }
            if runs.is_empty() {
                break;
            }
            if let Err(failure) = self.hash(&mut runs, &mut recent, &mut device) {
                self.over.store(true, Ordering::Relaxed);
                // The receiver outlives all threads.
                let _ = results.send(Err(failure));
                break;
            }
            for run in runs {
                let _ = results.send(Ok((run.first, run.digests)));
            }
            if alone {
                self.judge(&mut device);
            }
        }
        self.let_all_read();
    }

    /// Waits until this thread may read; whether it does so alone.
    fn wait_for_turn(&self, number: usize) -> bool {
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if number == 0 {
            return *alone;
        }
        let alone = self.together.wait_while(alone, |alone| *alone);
        *alone.unwrap_or_else(PoisonError::into_inner)
    }

    fn let_all_read(&self) {
        *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.together.notify_all();
    }

    /// After so many bytes, whether the disk may turn. What is in memory needs no disk.
    fn judge(&self, device: &mut FromDevice) {
        let hashed = self.done.load(Ordering::Relaxed);
        if device.bytes >= TRIAL {
            let is_slow = (device.bytes as f64) < SLOW * device.took.as_secs_f64();
            *device = FromDevice::default();
            if !is_slow {
                self.let_all_read();
            }
        } else if hashed >= TRIAL && device.bytes * 2 < hashed.min(TRIAL) {
            self.let_all_read();
        }
    }

    /// The pieces of the next run.
    fn take(&self) -> Option<Range<u32>> {
        let layout = self.draft.layout();
        let pieces = (RUN / layout.nominal_piece_len()).max(1);
        let count = layout.piece_count();
        let taken = self.next.try_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            (next < count).then(|| count.min(next + pieces))
        });
        let first = taken.ok()?;
        Some(first..count.min(first + pieces))
    }

    /// Reads runs in step and hashes them together.
    fn hash(
        &self,
        runs: &mut [Run<'_>],
        recent: &mut Option<(usize, Rc<Opened>)>,
        device: &mut FromDevice,
    ) -> Result<(), Failure> {
        while !self.over.load(Ordering::Relaxed) {
            for run in runs.iter_mut() {
                run.fill(self, recent, device)?;
            }
            let (mut hashers, mut inputs) = (Vec::new(), Vec::new());
            for run in runs.iter_mut() {
                if let Some((hasher, input)) = run.next_input() {
                    hashers.push(hasher);
                    inputs.push(input);
                }
            }
            if inputs.is_empty() {
                break;
            }
            update_all(&mut hashers, &inputs);
            let done: u64 = runs.iter_mut().map(|run| run.advance(self)).sum();
            self.done.fetch_add(done, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Bytes that follow one another in a part.
struct Stretch {
    part: Part,
    offset: u64,
    len: u64,
}

/// Pieces on their way through one lane.
struct Run<'w> {
    first: u32,
    left: Range<u32>,
    /// What is still to be read of all its pieces.
    stretches: VecDeque<Stretch>,
    window: &'w mut Window,
    /// Zeros that come before what is in the window, which is empty then.
    zeros: u64,
    hasher: Option<PieceHasher>,
    /// Bytes that the present piece still needs.
    piece_left: u64,
    digests: Vec<Digests>,
}

impl<'w> Run<'w> {
    fn new(work: &Work<'_>, pieces: Range<u32>, window: &'w mut Window) -> Run<'w> {
        let layout = work.draft.layout();
        let mut stretches: VecDeque<Stretch> = VecDeque::new();
        for span in pieces.clone().flat_map(|piece| layout.spans(PieceIndex(piece), 0, u32::MAX)) {
            let Some(part) = work.draft.part(span.file) else { continue };
            let len = u64::from(span.len);
            match stretches.back_mut() {
                Some(last) if last.part == part && last.offset + last.len == span.offset => last.len += len,
                _ => stretches.push_back(Stretch { part, offset: span.offset, len }),
            }
        }
        let mut run = Run {
            first: pieces.start,
            left: pieces,
            stretches,
            window,
            zeros: 0,
            hasher: None,
            piece_left: 0,
            digests: Vec::new(),
        };
        run.begin_piece(work);
        run
    }

    fn begin_piece(&mut self, work: &Work<'_>) {
        self.hasher = self.left.next().map(|piece| {
            let piece = PieceIndex(piece);
            self.piece_left = work.draft.layout().piece_len(piece).into();
            PieceHasher::new(work.draft.version().has_v1(), work.draft.subtree(piece))
        });
    }

    /// Has something to hash next, unless all is hashed.
    fn fill(
        &mut self,
        work: &Work<'_>,
        recent: &mut Option<(usize, Rc<Opened>)>,
        device: &mut FromDevice,
    ) -> Result<(), Failure> {
        if self.hasher.is_none() || self.zeros > 0 || !self.window.bytes().is_empty() {
            return Ok(());
        }
        let Some(stretch) = self.stretches.front_mut() else { return Ok(()) };
        let index = match stretch.part {
            Part::File(index) => index,
            Part::Pad(_) => {
                self.zeros = stretch.len;
                self.stretches.pop_front();
                return Ok(());
            }
        };
        let found = &work.found[index];
        let trouble = |trouble: super::read::Trouble| trouble.of(&found.path);
        let opened = match recent {
            Some((same, opened)) if *same == index => opened.clone(),
            _ => recent.insert((index, Opened::open(found).map_err(trouble)?)).1.clone(),
        };
        self.window.fill(&opened, &found.path, stretch.offset, stretch.len, device).map_err(trouble)?;
        let read = self.window.bytes().len() as u64;
        stretch.offset += read;
        stretch.len -= read;
        if stretch.len == 0 {
            self.stretches.pop_front();
        }
        Ok(())
    }

    /// What the hasher takes next; not beyond its piece.
    fn next_input(&mut self) -> Option<(&mut PieceHasher, &[u8])> {
        let bytes = if self.zeros > 0 { &ZEROS[..] } else { self.window.bytes() };
        let len = Run::len(self.piece_left, self.zeros, bytes);
        self.hasher.as_mut().map(|hasher| (hasher, &bytes[..len]))
    }

    fn len(piece_left: u64, zeros: u64, bytes: &[u8]) -> usize {
        let left = if zeros > 0 { piece_left.min(zeros) } else { piece_left };
        bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Goes past what the hasher took; how many bytes of files that were.
    fn advance(&mut self, work: &Work<'_>) -> u64 {
        if self.hasher.is_none() {
            return 0;
        }
        let pad = self.zeros > 0;
        let bytes = if pad { &ZEROS[..] } else { self.window.bytes() };
        let len = Run::len(self.piece_left, self.zeros, bytes);
        match pad {
            true => self.zeros -= len as u64,
            false => self.window.take(len),
        }
        self.piece_left -= len as u64;
        if self.piece_left == 0
            && let Some(hasher) = self.hasher.take()
        {
            self.digests.push(hasher.finish());
            self.begin_piece(work);
        }
        if pad { 0 } else { len as u64 }
    }
}

/// What the kernel says of a disk; a partition is asked for its disk.
fn is_rotational(device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let says = |file| std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{file}")).ok();
    says("queue/rotational").or_else(|| says("../queue/rotational")).is_some_and(|text| text.trim() == "1")
}
