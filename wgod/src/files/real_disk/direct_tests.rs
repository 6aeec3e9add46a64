//! Tests of direct writes: what is direct, what is not, and that nobody can tell from the content.
use std::sync::Arc;

use super::*;
use crate::files::disk::{At, OpenHow, OpenMode};
use crate::files::real_disk::RealFile;
use crate::files::{BlockingDisk, Bufs, Handle, RealDisk};

const K: usize = 1024;
const M: usize = 1024 * K;

/// Bytes from start to end, and the step that is to come of them.
type Case = (u64, &'static [(usize, usize)], Step);

fn disk() -> BlockingDisk {
    BlockingDisk::new(Arc::new(RealDisk))
}

fn create(dir: &std::path::Path) -> Handle {
    let how = OpenHow { mode: OpenMode::Create { executable: false }, follow: false };
    disk().open(At::path(dir.join("f")), how).unwrap()
}

/// Whether the file can be written directly; says so when it can't.
fn is_direct(file: &Handle) -> bool {
    let file: &RealFile = file.inner().unwrap();
    let direct = file.direct().is_some();
    if !direct {
        println!("SKIPPED: no direct I/O in the temp folder");
    }
    direct
}

/// Bytes that differ from place to place and from round to round.
fn image(len: usize, round: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 512) as u8 ^ (i % 251) as u8 ^ round).collect()
}

/// A copy of `image[from..to]` in memory that lies as the file does.
fn laid_out(image: &[u8], from: usize, to: usize) -> Bufs {
    let mut bytes = vec![0; to - from + 8192];
    let start = bytes.as_ptr().align_offset(4096) + from % 4096;
    bytes[start..start + to - from].copy_from_slice(&image[from..to]);
    let mut bufs = Bufs::bytes(bytes);
    bufs.set_window(start..start + to - from);
    bufs
}

#[test]
fn the_aligned_middle_of_a_write_is_direct_and_its_edges_are_not() {
    let fd = std::fs::File::open("/dev/null").unwrap().into();
    let opened = Opened::with_alignment(fd, 512, 4096);
    let memory = vec![0_u8; 1600 * K];
    let skew = memory.as_ptr().align_offset(4096);
    let memory = &memory[skew..];
    let cases: &[Case] = &[
        (0, &[(0, 512 * K)], Step::Direct(512 * K)),
        (1 << 40, &[(0, 512 * K), (600 * K, 16 * K)], Step::Direct(528 * K)),
        (4096, &[(0, 511 * K)], Step::Buffered(511 * K)),
        (0, &[(0, 512 * K), (600 * K, 5000)], Step::Direct(516 * K)),
        (0, &[(0, 512 * K + 1), (600 * K, 16 * K)], Step::Direct(512 * K)),
        (0, &[(0, 512 * K), (600 * K + 1, 16 * K)], Step::Direct(512 * K)),
        // The offset reaches a multiple 96 bytes on; the memory doesn't.
        (4000, &[(0, 599 * K)], Step::Buffered(599 * K)),
        // With memory that lies as the file does, it is direct from there on.
        (3584, &[(3584, 599 * K)], Step::Buffered(512)),
        (3584, &[(3584, 512), (8192, 512 * K)], Step::Buffered(512)),
        (3584, &[(3584, 200 * K)], Step::Buffered(200 * K)),
        (0, &[(0, 0), (0, 512 * K)], Step::Direct(512 * K)),
        (0, &[], Step::Buffered(0)),
    ];
    for (offset, slices, want) in cases {
        let slices: Vec<IoSlice<'_>> =
            slices.iter().map(|(at, len)| IoSlice::new(&memory[*at..at + len])).collect();
        assert_eq!(opened.plan(*offset, &slices), *want, "{offset} {want:?}");
    }
}

#[test]
fn readers_see_each_write_whichever_way_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, file) = (disk(), create(dir.path()));
    is_direct(&file);
    let mut want = vec![0; 3 * M];
    // Edges in the middle of sectors, over what was read into the page cache before.
    let cuts = [0, 100, 300 * K, 700 * K + 1, M + 4096, 2 * M - 7, 2 * M + 300 * K, 3 * M];
    for round in 1..4 {
        let image = image(3 * M, round);
        for cut in cuts.windows(2) {
            let (from, to) = (cut[0], cut[1]);
            disk.write_all_at(&file, from as u64, laid_out(&image, from, to)).1.unwrap();
            want[from..to].copy_from_slice(&image[from..to]);
            let (bufs, read) = disk.read_full_at(&file, 0, Bufs::bytes(vec![9; 3 * M]));
            let read = read.unwrap();
            assert!(bufs.into_bytes()[..read] == want[..read], "round {round}, after {from}..{to}");
        }
    }
    assert!(std::fs::read(dir.path().join("f")).unwrap() == want);
}

#[test]
fn neighbours_that_share_sectors_are_written_at_once_without_loss() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, file) = (disk(), create(dir.path()));
    let direct = is_direct(&file);
    disk.set_len(&file, 16 * M as u64).unwrap();
    for round in 0..3 {
        let image = image(16 * M, round);
        let piece = |n: usize| (n * M + 100).saturating_sub(100 * usize::from(n == 0));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (disk, file, image) = (&disk, &file, &image);
                scope.spawn(move || {
                    for n in (thread..16).step_by(2) {
                        let (from, to) = (piece(n), if n == 15 { 16 * M } else { piece(n + 1) });
                        disk.write_all_at(file, from as u64, laid_out(image, from, to)).1.unwrap();
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..20 {
                    disk.read_full_at(&file, 0, Bufs::bytes(vec![0; 16 * M])).1.unwrap();
                }
            });
        });
        assert!(std::fs::read(dir.path().join("f")).unwrap() == image, "round {round}");
        if direct {
            disk.sync_data(&file).unwrap();
            let (bufs, read) = disk.read_clean_at(&file, 0, 16 * M, laid_out(&vec![0; 16 * M], 0, 16 * M));
            assert_eq!(read.unwrap(), 16 * M);
            let seen: Vec<u8> = bufs.slices().iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(seen == image, "round {round}, on the device");
        }
    }
}

#[test]
fn a_file_system_that_refuses_is_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, file) = (disk(), create(dir.path()));
    let inner: &RealFile = file.inner().unwrap();
    let Ok(opened) = Opened::open(inner.fd.as_fd(), OFlags::RDWR) else {
        println!("SKIPPED: no direct I/O in the temp folder");
        return;
    };
    // It seems to take anything; then it refuses the first byte.
    inner.direct.force(Opened::with_alignment(opened.fd, 1, 1));
    let image = image(600 * K, 0);
    disk.write_all_at(&file, 1, Bufs::bytes(image.clone())).1.unwrap();
    assert!(inner.direct.is_off() && inner.direct().is_none());
    assert!(std::fs::read(dir.path().join("f")).unwrap()[1..] == image);
}

#[test]
fn files_in_memory_are_never_written_directly() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        println!("SKIPPED: no /dev/shm here");
        return;
    };
    let (disk, file) = (disk(), create(dir.path()));
    let image = image(600 * K, 0);
    disk.write_all_at(&file, 0, laid_out(&image, 0, 600 * K)).1.unwrap();
    let inner: &RealFile = file.inner().unwrap();
    assert!(inner.direct().is_none() && inner.direct.opened.get().is_none());
    assert!(std::fs::read(dir.path().join("f")).unwrap() == image);
}

#[test]
fn small_writes_take_no_second_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, file) = (disk(), create(dir.path()));
    let image = image(MIN_WRITE, 0);
    disk.write_all_at(&file, 0, laid_out(&image, 0, MIN_WRITE - 1)).1.unwrap();
    let inner: &RealFile = file.inner().unwrap();
    assert!(inner.direct.opened.get().is_none());
    disk.write_all_at(&file, 0, laid_out(&image, 0, MIN_WRITE)).1.unwrap();
    assert_eq!(inner.direct.opened.get().is_some(), is_direct(&file));
}
