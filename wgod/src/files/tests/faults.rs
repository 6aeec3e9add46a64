//! Disks that fail: every error is typed, reported once, and leaves nothing half-believed.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use wgo_proto::{BLOCK_LEN, Block, FileIndex, PieceIndex};

use super::rig::*;
use crate::files::disk::OnDone;
use crate::files::*;

/// A real disk that refuses some operations.
#[derive(Default)]
struct Faulty(Mutex<Option<Fault>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Write(Errno),
    Allocate(Errno),
    /// The next sync of a file.
    SyncOnce,
    /// The next sync of a file system.
    SyncFsOnce,
    SyncFolder,
    /// Operations are dropped, as by a simulation that ended.
    Gone,
    /// Writes move a few bytes at a time.
    ShortWrites,
    /// Reads fail.
    Read(Errno),
    /// Reads do.
    ShortReads,
    /// Writes to the file of this number fail.
    BadFile(u64),
    /// The next write moves so many bytes, those after it find no space.
    FullAfter(usize),
}

impl Disk for Faulty {
    fn submit(&self, op: Op, done: OnDone) {
        let mut fault = self.0.lock().unwrap();
        let errno = match (&op, *fault) {
            (_, Some(Fault::Gone)) => return drop(done),
            (Op::Write { .. }, Some(Fault::Write(errno))) => errno,
            (Op::Allocate { .. }, Some(Fault::Allocate(errno))) => errno,
            (Op::SyncData(_), Some(Fault::SyncOnce)) => {
                *fault = None;
                Errno::IO
            }
            (Op::SyncFs(_), Some(Fault::SyncFsOnce)) => {
                *fault = None;
                Errno::IO
            }
            (Op::SyncAll(_), Some(Fault::SyncFolder)) => Errno::IO,
            (Op::Write { file, .. }, Some(Fault::BadFile(inode))) if inode_of(file) == inode => Errno::IO,
            (Op::Write { .. }, Some(Fault::FullAfter(len))) => {
                *fault = Some(Fault::Write(Errno::NOSPC));
                return RealDisk.submit(shorter(op, len), done);
            }
            (Op::Write { .. }, Some(Fault::ShortWrites))
            | (Op::Read { .. } | Op::ReadClean { .. }, Some(Fault::ShortReads)) => {
                return RealDisk.submit(shorter(op, 1000), done);
            }
            (Op::Read { .. }, Some(Fault::Read(errno))) => errno,
            _ => return RealDisk.submit(op, done),
        };
        done(Err(io::Error::from_raw_os_error(errno.raw_os_error())).into());
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

fn inode_of(file: &Handle) -> u64 {
    BlockingDisk::new(Arc::new(RealDisk)).stat_handle(file).unwrap().inode
}

/// The operation on its first `len` bytes.
fn shorter(mut op: Op, len: usize) -> Op {
    if let Op::Write { bufs, .. } | Op::Read { bufs, .. } | Op::ReadClean { bufs, .. } = &mut op {
        let window = bufs.window();
        bufs.set_window(window.start..(window.start + len).min(window.end));
    }
    op
}

struct Bench {
    rig: Rig,
    disk: Arc<Faulty>,
    torrent: Torrent,
    files: Arc<TorrentFiles>,
}

fn bench(open_files: usize) -> Bench {
    let disk = Arc::new(Faulty::default());
    let limits = StorageLimits { open_files, ..StorageLimits::default() };
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), limits);
    let rig = Rig { preallocate: Preallocate::Full, ..rig };
    let torrent = multi("f", 32768, &[file("a", 32768), file("d/b", 32768 * 2)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    Bench { rig, disk, torrent, files }
}

/// Two pieces that are written directly where that is possible, and an edge that isn't.
fn large(preallocate: Preallocate) -> Bench {
    let disk = Arc::new(Faulty::default());
    let rig = Rig::with(disk.clone(), tempfile::tempdir().unwrap(), StorageLimits::default());
    let rig = Rig { preallocate, ..rig };
    let torrent = multi("l", 1 << 20, &[file("a", (2 << 20) - 100)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    Bench { rig, disk, torrent, files }
}

impl Bench {
    /// Which pieces a check finds.
    fn check(&self) -> Vec<bool> {
        let count = self.torrent.info.layout.piece_count();
        let found = Arc::new(Mutex::new(vec![false; count as usize]));
        let progress = found.clone();
        let on_checked = move |checked: &[Checked]| {
            checked.iter().for_each(|c| progress.lock().unwrap()[c.piece.0 as usize] = c.good);
        };
        let (files, pieces) = (self.files.clone(), CheckPieces::Range(0..count));
        let outcome = self.rig.ask(|done| {
            Job::Check(Arc::new(Check::new(files, pieces, Box::new(on_checked), Arc::default(), done)))
        });
        assert_eq!(outcome, CheckOutcome::Finished(None));
        found.lock().unwrap().clone()
    }

    fn fault(&self, fault: impl Into<Option<Fault>>) {
        *self.disk.0.lock().unwrap() = fault.into();
    }

    fn store(&self, piece: u32) -> StoreOutcome {
        self.rig.store(&self.files, &self.torrent, piece)
    }
}

#[test]
fn a_full_disk_is_told_from_a_broken_one_and_recovers() {
    let bench = bench(16);
    for (fault, kind) in [
        (Fault::Allocate(Errno::NOSPC), DiskErrorKind::Full),
        (Fault::Write(Errno::NOSPC), DiskErrorKind::Full),
        (Fault::Write(Errno::DQUOT), DiskErrorKind::Full),
        (Fault::Write(Errno::IO), DiskErrorKind::Io),
        (Fault::Gone, DiskErrorKind::Io),
    ] {
        bench.fault(fault);
        let StoreOutcome::Failed(error) = bench.store(1) else { panic!() };
        assert_eq!(error.kind, kind, "{error}");
        bench.fault(None);
    }
    assert_eq!(bench.store(1), StoreOutcome::Stored);
    assert_eq!(bench.rig.storage.pool().leased_blocks(), 0);
}

#[test]
fn a_file_system_without_fallocate_makes_files_sparse() {
    let bench = bench(16);
    bench.fault(Fault::Allocate(Errno::OPNOTSUPP));
    assert_eq!(bench.store(2), StoreOutcome::Stored);
    assert_eq!(bench.rig.content("f/d/b").len(), 65536);
}

#[test]
fn short_writes_are_continued() {
    let bench = bench(16);
    bench.fault(Fault::ShortWrites);
    bench.rig.store_all(&bench.files, &bench.torrent);
    bench.rig.assert_on_disk(&bench.torrent);
}

/// All blocks of piece 1.
fn blocks() -> Vec<Block> {
    let block = |number| Block { piece: PieceIndex(1), offset: number * BLOCK_LEN, len: BLOCK_LEN };
    (0..2).map(block).collect()
}

#[test]
fn a_read_that_fails_is_an_error_of_its_file_and_heals() {
    let bench = bench(16);
    bench.rig.store_all(&bench.files, &bench.torrent);
    bench.fault(Fault::Read(Errno::IO));
    let error = bench.rig.read(&bench.files, &blocks()).result.unwrap_err();
    assert_eq!((error.op, error.kind), (DiskOp::Read, DiskErrorKind::Io));
    assert!(error.path.ends_with("f/d/b"), "{error}");
    bench.fault(None);
    assert_eq!(bench.rig.read(&bench.files, &blocks()).result, Ok(()));
}

#[test]
fn a_watched_file_that_somebody_changed_is_not_opened_to_be_served() {
    let bench = bench(16);
    bench.rig.store_all(&bench.files, &bench.torrent);
    let stamps = bench.rig.sync(&bench.files, false).stamps;
    bench.files.watch(stamps.clone());
    std::fs::write(bench.rig.path().join("f/d/b"), vec![1; 65536]).unwrap();
    let look = || bench.rig.ask(|done| Job::Look { torrent: bench.files.clone(), done });
    assert_eq!(look(), Ok(()), "while it is ours to write to");
    assert!(bench.rig.sync(&bench.files, true).is_durable());
    assert_eq!(look(), Ok(()), "nothing is open");
    let error = bench.rig.read(&bench.files, &blocks()).result.unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::Changed, "{error}");
    let first = Block { piece: PieceIndex(0), offset: 0, len: BLOCK_LEN };
    assert_eq!(bench.rig.read(&bench.files, &[first]).result, Ok(()), "the other file is as it was");
    assert_eq!(look(), Ok(()));
    std::fs::write(bench.rig.path().join("f/a"), b"short").unwrap();
    assert_eq!(look().map_err(|error| error.kind), Err(DiskErrorKind::Changed));
}

#[test]
fn short_reads_are_continued() {
    let bench = bench(16);
    bench.rig.store_all(&bench.files, &bench.torrent);
    bench.fault(Fault::ShortReads);
    let block = bench.torrent.info.layout.block(PieceIndex(2), 1);
    let read = bench.rig.read(&bench.files, &[block]);
    read.result.unwrap();
    assert!(payload(&[block], &read.out) == bench.torrent.piece(2)[16384..]);
    assert_eq!(bench.check(), [true, true, true]);
}

#[test]
fn a_bad_sector_of_one_file_fails_that_file_only() {
    use std::os::unix::fs::MetadataExt;
    let bench = bench(16);
    assert_eq!(bench.store(0), StoreOutcome::Stored);
    let inode = std::fs::metadata(bench.rig.path().join("f/a")).unwrap().ino();
    bench.fault(Fault::BadFile(inode));
    let StoreOutcome::Failed(error) = bench.store(0) else { panic!() };
    assert_eq!((error.kind, error.path), (DiskErrorKind::Io, bench.rig.path().join("f/a")));
    assert_eq!((bench.store(1), bench.store(2)), (StoreOutcome::Stored, StoreOutcome::Stored));
}

#[test]
fn space_that_ends_in_the_middle_of_a_piece_leaves_no_piece_behind() {
    // Ends in the middle of a sector, so that going on is neither aligned nor direct at first.
    for len in [1, 5000, 300_000] {
        let bench = large(Preallocate::None);
        bench.fault(Fault::FullAfter(len));
        let StoreOutcome::Failed(error) = bench.store(1) else { panic!("{len}") };
        assert_eq!(error.kind, DiskErrorKind::Full, "{len}");
        assert_eq!(bench.check(), [false, false], "what was written of it is no piece");
        bench.fault(None);
        assert_eq!((bench.store(1), bench.store(0)), (StoreOutcome::Stored, StoreOutcome::Stored));
        assert_eq!(bench.check(), [true, true]);
        bench.rig.assert_on_disk(&bench.torrent);
    }
}

#[test]
fn each_way_of_reserving_space_stores_long_pieces() {
    for preallocate in [Preallocate::None, Preallocate::Sparse, Preallocate::Full] {
        let bench = large(preallocate);
        assert_eq!((bench.store(1), bench.store(0)), (StoreOutcome::Stored, StoreOutcome::Stored));
        assert_eq!(bench.check(), [true, true], "{preallocate:?}");
        assert!(bench.rig.sync(&bench.files, true).is_durable());
        bench.rig.assert_on_disk(&bench.torrent);
    }
}

#[test]
fn a_failed_sync_is_reported_once_and_for_the_right_file() {
    let bench = bench(16);
    bench.rig.store_all(&bench.files, &bench.torrent);
    bench.fault(Fault::SyncOnce);
    let outcome = bench.rig.sync(&bench.files, true);
    assert!(!outcome.is_durable() && bench.files.writes(), "it isn't sealed");
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!((outcome.failed[0].0, outcome.failed[0].1.op), (FileIndex(1), DiskOp::Sync));
    assert_eq!(stamps(&outcome), [(FileIndex(0), 32768)]);
    assert_eq!(bench.rig.sync(&bench.files, false), SyncOutcome::default(), "and never just retried");
    assert_eq!(bench.store(1), StoreOutcome::Stored, "after the file was opened again");
    assert_eq!(stamps(&bench.rig.sync(&bench.files, false)), [(FileIndex(1), 65536)]);
}

#[test]
fn a_write_that_failed_after_its_file_was_closed_is_reported() {
    for open_files in [1, 16] {
        let bench = bench(open_files);
        assert_eq!(bench.store(0), StoreOutcome::Stored);
        assert_eq!(bench.rig.storage.open_files(), 0, "it was written whole");
        assert_eq!(bench.store(1), StoreOutcome::Stored);
        bench.fault(Fault::SyncFsOnce);
        let outcome = bench.rig.sync(&bench.files, true);
        assert!(!outcome.is_durable() && bench.files.writes());
        assert_eq!(outcome.failed.len(), 1);
        assert_eq!((outcome.failed[0].0, outcome.failed[0].1.kind), (FileIndex(0), DiskErrorKind::Io));
        assert_eq!(stamps(&outcome), [(FileIndex(1), 65536)], "it is open and was asked itself");
        assert_eq!(bench.rig.sync(&bench.files, false), SyncOutcome::default());
        assert_eq!(bench.store(0), StoreOutcome::Stored);
        assert_eq!(stamps(&bench.rig.sync(&bench.files, true)), [(FileIndex(0), 32768)]);
    }
}

#[test]
fn a_file_that_was_closed_and_opened_again_is_not_believed_by_itself() {
    let bench = bench(1);
    let other = multi("g", 32768, &[file("a", 65536)]);
    let others = bench.rig.open(&other);
    bench.rig.prepare(&others);
    assert_eq!(bench.store(1), StoreOutcome::Stored);
    assert_eq!(bench.rig.store(&others, &other, 0), StoreOutcome::Stored, "it takes the one place");
    assert_eq!(bench.store(2), StoreOutcome::Stored);
    bench.fault(Fault::SyncFsOnce);
    assert_eq!(bench.rig.sync(&bench.files, false).failed.len(), 1);
    assert_eq!(bench.store(2), StoreOutcome::Stored);
    assert!(bench.rig.sync(&bench.files, true).is_durable());
}

#[test]
fn a_failure_that_another_torrent_was_told_of_is_not_lost() {
    let bench = bench(16);
    let other = multi("g", 32768, &[file("a", 32768), file("b", 32768)]);
    let others = bench.rig.open(&other);
    bench.rig.prepare(&others);
    assert_eq!(bench.store(0), StoreOutcome::Stored);
    assert_eq!(bench.rig.store(&others, &other, 0), StoreOutcome::Stored);
    bench.fault(Fault::SyncFsOnce);
    assert_eq!(bench.rig.sync(&others, false).failed.len(), 1, "it was the first to ask");
    assert_eq!(bench.rig.store(&others, &other, 1), StoreOutcome::Stored);
    assert_eq!(bench.rig.sync(&bench.files, false).failed.len(), 1);
    assert!(bench.rig.sync(&bench.files, false).is_durable(), "told once");
    // Written before anybody could know whether the failure concerned it: in doubt, and then no more.
    assert_eq!(bench.rig.sync(&others, false).failed.len(), 1);
    assert_eq!(bench.rig.store(&others, &other, 1), StoreOutcome::Stored);
    assert!(bench.rig.sync(&others, true).is_durable());
}

#[test]
fn a_folder_that_is_not_durable_puts_the_checkpoint_in_doubt_until_it_is() {
    let bench = bench(16);
    assert_eq!(bench.store(1), StoreOutcome::Stored);
    bench.fault(Fault::SyncFolder);
    let outcome = bench.rig.sync(&bench.files, false);
    assert!(outcome.folder.is_some() && !outcome.is_durable());
    assert!(bench.rig.sync(&bench.files, false).folder.is_some(), "still");
    bench.fault(None);
    assert!(bench.rig.sync(&bench.files, false).is_durable());
}

/// A tmpfs of 64 KiB, unmounted when it goes.
struct TinyFs(tempfile::TempDir);

impl TinyFs {
    fn mount() -> Option<TinyFs> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(dir.path());
        mount.output().is_ok_and(|out| out.status.success()).then_some(TinyFs(dir))
    }
}

impl Drop for TinyFs {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(self.0.path()).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("{} is still mounted", self.0.path().display());
        }
    }
}

#[test]
fn a_real_full_file_system_fails_with_full() {
    let Some(fs) = TinyFs::mount() else {
        println!("SKIPPED: mounting a tmpfs is not allowed here, a full file system was not tried");
        return;
    };
    for preallocate in [Preallocate::Full, Preallocate::Sparse] {
        let folder = tempfile::tempdir_in(fs.0.path()).unwrap();
        let rig = Rig::with(Arc::new(RealDisk), folder, StorageLimits::default());
        let rig = Rig { preallocate, ..rig };
        let torrent = multi("big", 32768, &[file("a", 1 << 20)]);
        let files = rig.open(&torrent);
        let outcomes: Vec<StoreOutcome> = (0..4).map(|piece| rig.store(&files, &torrent, piece)).collect();
        let full = outcomes.iter().find_map(|outcome| match outcome {
            StoreOutcome::Failed(e) => Some(e.kind),
            _ => None,
        });
        assert_eq!(full, Some(DiskErrorKind::Full), "{preallocate:?}");
        rig.remove(&files);
    }
}
